"""What Slack's errors mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError

from adapters.slack.errors import ChannelClosed, delivery_error, reason_and_remedy, upload_error
from bridge.errors import (
    AuthFailed,
    DeliveryError,
    OutcomeUnknown,
    Rejected,
    RetryLater,
    Scope,
    ThreadGone,
    UploadCut,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def answered(data: Any, status: int = 200, **headers: str) -> SlackApiError:
    response = SimpleNamespace(
        status_code=status, data=data, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    return SlackApiError("failed", response)  # type: ignore[no-untyped-call]  # slack_sdk's


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("invalid_auth", AuthFailed),
        ("app_access_restricted", AuthFailed),
        ("team_not_found", AuthFailed),
        ("file_update_failed", RetryLater),
        ("not_in_channel", ChannelClosed),
        ("is_archived", ChannelClosed),
        ("thread_not_found", ThreadGone),
        ("restricted_action_thread_locked", ThreadGone),
        ("msg_blocks_too_long", Rejected),
        ("ratelimited", RetryLater),
        ("service_unavailable", RetryLater),
        ("fatal_error", OutcomeUnknown),
        ("something_new", Rejected),
    ],
)
def test_each_code_says_what_to_do_and_is_kept(code: str, meaning: type[DeliveryError]) -> None:
    error = delivery_error(answered({"ok": False, "error": code}), NOW)
    assert type(error) is meaning
    assert code in str(error)


def test_a_missing_scope_is_named() -> None:
    error = delivery_error(answered({"error": "missing_scope", "needed": "files:write"}), NOW)
    reason, remedy = reason_and_remedy(error)
    assert "files:write" in reason
    assert "OAuth" in remedy
    assert remedy not in reason


@pytest.mark.parametrize(("header", "at"), [("30", NOW + timedelta(seconds=30)), ("soon", None)])
def test_429_carries_when_to_come_back(header: str, at: datetime | None) -> None:
    error = delivery_error(answered({"error": "ratelimited"}, 429, Retry_After=header), NOW)
    assert isinstance(error, RetryLater)
    assert error.at == at


@pytest.mark.parametrize("data", [{}, "upstream error", None, b""])
def test_a_server_error_may_have_been_taken(data: Any) -> None:
    assert isinstance(delivery_error(answered(data, 502), NOW), OutcomeUnknown)
    assert isinstance(delivery_error(answered(data, 502), NOW, written=False), RetryLater)


def test_the_rubbish_of_a_proxy_may_have_been_taken() -> None:
    error = SlackApiError("no JSON", SimpleNamespace(status=200, headers={}))  # type: ignore[no-untyped-call]
    assert isinstance(delivery_error(error, NOW), OutcomeUnknown)


@pytest.mark.parametrize(
    ("status", "meaning", "scope"),
    [
        (413, UploadCut, Scope.THREAD),
        (400, UploadCut, Scope.THREAD),
        (408, UploadCut, Scope.THREAD),
        (429, RetryLater, Scope.THREAD),
        (503, RetryLater, Scope.ADAPTER),
    ],
)
def test_an_upload_that_is_refused_holds_up_its_thread_alone(
    status: int, meaning: type[RetryLater], scope: Scope
) -> None:
    refused = aiohttp.ClientResponseError(SimpleNamespace(real_url="x"), (), status=status)  # type: ignore[arg-type]
    meant = upload_error(refused, NOW, "files.slack.com")
    assert isinstance(meant, RetryLater)
    assert (type(meant), meant.scope, meant.outage) == (meaning, scope, status >= 500)


def test_only_a_connection_that_never_was_is_certain() -> None:
    refused = aiohttp.ClientConnectorError(SimpleNamespace(ssl=None, host="x", port=1), OSError("refused"))  # type: ignore[arg-type]
    for error in (refused, aiohttp.ConnectionTimeoutError()):
        meant = delivery_error(error, NOW)
        assert isinstance(meant, RetryLater)
        assert meant.outage
    for lost in (aiohttp.ServerDisconnectedError(), ConnectionResetError(), TimeoutError(), ValueError()):
        assert isinstance(delivery_error(lost, NOW), OutcomeUnknown)


def test_what_nobody_could_find_later_is_never_unknown() -> None:
    for error in (answered({"error": "internal_error"}), TimeoutError(), aiohttp.ServerDisconnectedError()):
        assert isinstance(delivery_error(error, NOW, written=False), RetryLater)
