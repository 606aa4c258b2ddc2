"""Telegram's errors and settings, as the core and the operator see them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)

from adapters.telegram import Settings, errors
from adapters.telegram.request import NotSent, Unfinished
from bridge.errors import AuthFailed, OutcomeUnknown, Rejected, RetryLater, Scope, ThreadGone
from bridge.ports import Budget

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (BadRequest("Bad Request: message thread not found"), ThreadGone),
        (BadRequest("Bad Request: TOPIC_DELETED"), ThreadGone),
        (BadRequest("Bad Request: TOPIC_CLOSED"), ThreadGone),
        (BadRequest("Bad Request: message is too long"), Rejected),
        (BadRequest("Bad Request: something new"), Rejected),
        (BadRequest("Bad Request: chat not found"), AuthFailed),
        (BadRequest("Bad Request: the chat is not a forum"), AuthFailed),
        (BadRequest("Bad Request: not enough rights to create a topic"), AuthFailed),
        (BadRequest("Bad Request: not enough rights to send text messages to the chat"), AuthFailed),
        (BadRequest("Bad Request: not enough rights to send photos to the chat"), Rejected),
        (Forbidden("Forbidden: bot was kicked from the supergroup chat"), AuthFailed),
        (InvalidToken(f"The token `{TOKEN}` was rejected"), AuthFailed),
        (ChatMigrated(-1009), ThreadGone),
        (NetworkError("Request Entity Too Large"), Rejected),
        (NetworkError("Internal Server Error"), OutcomeUnknown),
        (NetworkError("Bad Gateway"), OutcomeUnknown),
        (TimedOut(), OutcomeUnknown),
        (NotSent("no connection"), RetryLater),
        (RetryAfter(7), RetryLater),
        (TelegramError("Invalid server response"), OutcomeUnknown),
    ],
)
def test_the_table(error: TelegramError, meaning: type[Exception]) -> None:
    translated = errors.translate(error)
    assert type(translated) is meaning
    assert TOKEN not in str(translated)


def test_the_unknown_keeps_its_text() -> None:
    assert "something new" in str(errors.translate(BadRequest("Bad Request: something new"))).lower()


def test_waiting_is_for_the_channel_and_an_outage_for_all() -> None:
    wait, outage = errors.translate(RetryAfter(7)), errors.translate(NotSent("x"))
    assert isinstance(wait, RetryLater)
    assert isinstance(outage, RetryLater)
    assert (wait.after, wait.scope, wait.outage) == (7, Scope.CHANNEL, False)
    assert (outage.after, outage.scope, outage.outage) == (None, Scope.ADAPTER, True)


def test_a_cut_upload_holds_up_its_thread_alone() -> None:
    cut = errors.translate(Unfinished("too slow"))
    assert isinstance(cut, RetryLater)
    assert (cut.after, cut.scope, cut.outage) == (None, Scope.THREAD, False)


@pytest.mark.parametrize("error", [BadRequest("Bad Request: chat not found"), Forbidden("Forbidden: bot was kicked")])
def test_a_former_group_that_is_lost_takes_its_threads_with_it(error: TelegramError) -> None:
    assert type(errors.translate(error, former=True)) is ThreadGone
    assert type(errors.translate(error)) is AuthFailed


def test_settings() -> None:
    settings = Settings.model_validate({"token": TOKEN, "chat_id": "-100123", "budget": "30 / 10s"})
    assert (settings.chat_id, settings.budget, settings.mode) == (-100123, Budget(30, 10.0), "polling")
    assert Settings.model_validate({"token": TOKEN, "chat_id": -1}).budget == Budget(20, 60.0)
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize(
    ("key", "value", "advice"),
    [
        ("token", "nonsense", "BotFather"),
        ("chat_id", "@group", "negative number"),
        ("chat_id", 123, "negative number"),
        ("budget", "lots", "20/60s"),
        ("webhook_secret", "a b", "made from the token"),
        ("api_url", "telegram", "https://api.telegram.org"),
        ("colour", "red", "not permitted"),
    ],
)
def test_wrong_settings_say_what_to_do(key: str, value: Any, advice: str) -> None:
    given = {"token": TOKEN, "chat_id": -100123} | {key: value}
    with pytest.raises(ValidationError, match=advice) as caught:
        Settings.model_validate(given)
    assert TOKEN not in str(caught.value)
