"""Parts and cards as Discord's content; settings; the table of errors."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import discord
import pytest
from pydantic import ValidationError

from adapters.discord import Settings, outbound
from adapters.discord.errors import RateLimited, ServerFailed, translate
from adapters.discord.process import claim, release
from bridge.errors import AuthFailed, OutcomeUnknown, Rejected, RetryLater, Scope, ThreadGone
from bridge.model import SYSTEM, Author, AuthorKind, Card, ConversationId, Part, Piece, RichText, Token
from bridge.ports import Budget
from tests.emulators.discord.markdown import render as shown

VISITOR = Author(AuthorKind.VISITOR, "Vera")
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def part(text: str, author: Author = VISITOR, at: datetime | None = None) -> Part:
    return Part((Piece(author, RichText(text), at),))


def test_a_visitors_text_stands_bare() -> None:
    assert outbound.message(part("1 * 2")) == r"1 \* 2"


def test_mirrored_staff_have_their_name_ahead() -> None:
    source = outbound.message(part("hi", Author(AuthorKind.STAFF, "An*na\n# x")))
    assert source == "**An\\*na # x**\nhi"
    assert shown(source) == "An*na # x\nhi"


def test_the_systems_pieces_are_small_print() -> None:
    assert outbound.message(part("closed\n\nby *Anna*", SYSTEM)) == "-# closed\n\n-# by \\*Anna\\*"


def test_late_pieces_carry_their_time() -> None:
    assert outbound.message(part("hi", at=NOW)) == "-# <t:1769860800:f>\nhi"


@pytest.mark.parametrize("text", ["", "  ", "\n\t", "\u2003\u3000"])
def test_blank_text_arrives_visibly(text: str) -> None:
    assert shown(outbound.message(part(text)) or "") == "(blank message)"


def card(**fields: str) -> Card:
    return Card(ConversationId(7), "Talk 7", "Vera *V*", tuple(fields.items()))


def test_a_card_shows_its_values_literally_and_its_token() -> None:
    text = shown(outbound.card(card(Page="https://shop.example/a_b", Title="# **x** <@1>"), Token("7-0")))
    assert text == "Vera *V*\nPage: https://shop.example/a_b\nTitle: # **x** <@1>\nref 7-0"


def test_a_card_fits_whatever_a_browser_says() -> None:
    text = outbound.card(card(**{f"field{i}": "*" * 5000 for i in range(20)}), Token("7-0"))
    assert len(text) <= outbound.TEXT_LIMIT
    assert text.endswith(outbound.reference(Token("7-0")))


def test_a_thread_always_has_a_name() -> None:
    def named(title: str) -> str:
        return outbound.thread_name(Card(ConversationId(1), title, "x", ()))

    assert named("  a\n b ") == "a b"
    assert named(" ") == "Conversation"
    assert len(named("x" * 300)) == 100


# --- settings


def test_settings_have_the_platforms_budget() -> None:
    settings = Settings(token="t", channel_id=123)  # type: ignore[arg-type] - TOML may hold a number
    assert settings.channel_id == "123"
    assert settings.budget == Budget(5, 5.0)
    assert "secret-token" not in repr(Settings(token="secret-token", channel_id="1"))


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"token": " "}, "developer portal"),
        ({"channel_id": "#support"}, "Copy Channel ID"),
        ({"token": "in two\nlines"}, "developer portal"),
        ({"budget": "fast"}, "20/60s"),
        ({"api_url": "discord"}, "https://"),
        ({"chanel": "1"}, "Extra inputs"),
    ],
)
def test_wrong_settings_say_what_to_do(wrong: dict[str, Any], advice: str) -> None:
    with pytest.raises(ValidationError, match=advice):
        Settings(**{"token": "t", "channel_id": "1", **wrong})


def test_a_wrong_token_is_not_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(token="my secret", channel_id="1")  # type: ignore[arg-type] - as TOML gives it
    assert "my secret" not in str(caught.value)


class Holder:
    """Somebody who uses the library's addresses."""


def test_one_process_has_one_address() -> None:
    first, second = Holder(), Holder()
    claim(first, "http://one.example")
    claim(second, "http://one.example")
    with pytest.raises(ValueError, match="same api_url"):
        claim(Holder(), "http://two.example")
    release(first)
    release(second)
    claim(first, "http://two.example")
    del first
    gc.collect()
    claim(second, "http://three.example")
    release(second)


# --- errors


def refusal(status: int, code: int) -> discord.HTTPException:
    return discord.HTTPException(SimpleNamespace(status=status, reason="no"), {"code": code, "message": "text"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, 10003, ThreadGone),
        (403, 160005, ThreadGone),
        (400, 50083, ThreadGone),
        (401, 0, AuthFailed),
        (403, 50001, AuthFailed),
        (403, 50013, AuthFailed),
        (400, 50035, Rejected),
        (400, 50006, Rejected),
        (404, 10008, Rejected),
        (413, 40005, Rejected),
        (400, 160006, RetryLater),
        (400, 20029, RetryLater),
        (400, 40004, RetryLater),
        (403, 40333, RetryLater),
        (413, 0, Rejected),
        (429, 20016, RetryLater),
        (500, 0, OutcomeUnknown),
    ],
)
def test_refusals_say_what_to_do(status: int, code: int, expected: type[Exception]) -> None:
    assert type(translate(refusal(status, code), Scope.THREAD)) is expected


def test_what_limits_the_opening_of_threads_holds_up_one_conversation() -> None:
    found = translate(refusal(400, 160006), Scope.CHANNEL)
    assert isinstance(found, RetryLater)
    assert found.scope is Scope.THREAD


@pytest.mark.parametrize("status", [400, 403, 404])
def test_what_a_proxy_says_is_an_outage_and_its_page_is_no_reason(status: int) -> None:
    page = "<html>\n<h1>Attention Required!</h1>\n" + "x" * 5000
    response = SimpleNamespace(status=status, reason="no")
    found = translate(discord.HTTPException(response, page), Scope.THREAD)  # type: ignore[arg-type]
    assert isinstance(found, RetryLater)
    assert found.outage
    assert len(str(found)) <= 300
    assert "\n" not in str(found)


def test_an_unknown_refusal_keeps_its_text() -> None:
    found = translate(refusal(400, 987654), Scope.THREAD)
    assert isinstance(found, Rejected)
    assert "text" in found.reason
    assert "987654" in found.reason


def test_rate_limits_say_when_and_how_much() -> None:
    own = translate(RateLimited(2.5, everywhere=False), Scope.THREAD)
    everywhere = translate(RateLimited(2.5, everywhere=True), Scope.THREAD)
    assert isinstance(own, RetryLater)
    assert isinstance(everywhere, RetryLater)
    assert (own.after, own.scope, own.outage) == (2.5, Scope.THREAD, False)
    assert everywhere.scope is Scope.ADAPTER


def test_what_may_have_been_taken_is_unknown() -> None:
    for error in (ServerFailed("502"), TimeoutError(), aiohttp.ServerDisconnectedError(), ConnectionResetError()):
        assert isinstance(translate(error, Scope.THREAD), OutcomeUnknown)


def test_what_was_never_reached_is_an_outage() -> None:
    error = aiohttp.ClientConnectorError(SimpleNamespace(host="x", port=1, ssl=None), OSError(111, "refused"))  # type: ignore[arg-type]
    found = translate(error, Scope.THREAD)
    assert isinstance(found, RetryLater)
    assert found.outage
