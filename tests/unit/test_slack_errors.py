"""What Slack's errors mean."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError

from adapters.slack.errors import ChannelClosed, CursorGone, delivery_error, reason_and_remedy, upload_error
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
    error = delivery_error(answered({"ok": False, "error": code}))
    assert type(error) is meaning
    assert code in str(error)


SPECIFIED: dict[type[DeliveryError], str] = {
    AuthFailed: """
        access_denied app_access_restricted ekm_access_denied forbidden_team invalid_auth invalid_channel
        missing_scope posting_to_channel_denied restricted_action restricted_action_non_threadable_channel
        restricted_action_read_only_channel restricted_action_thread_only_channel team_not_found
    """,
    ChannelClosed: """
        channel_is_limited_access channel_not_found is_archived not_in_channel
    """,
    OutcomeUnknown: """
        internal_error
    """,
    Rejected: """
        alt_txt_too_large as_user_not_supported attachment_payload_limit_exceeded bad_timestamp
        block_mismatch blocked_file_type cant_broadcast_message cant_delete_file cant_delete_message
        cant_update_message channels_limit_exceeded delete_not_allowed draft_already_deleted
        draft_already_sent draft_has_conflict draft_not_found duplicate_channel_not_found
        duplicate_message_not_found edit_window_closed file_comment_not_found file_deleted
        file_deleting_disabled file_is_deleted file_not_found file_share_limit_reached file_type_not_allowed
        file_upload_size_restricted file_uploads_disabled file_uploads_except_images_disabled
        insecure_request invalid_attachments invalid_blocks invalid_blocks_format
        invalid_metadata_filter_keys invalid_metadata_format invalid_metadata_schema invalid_ts_latest
        invalid_ts_oldest is_inactive list_record_comment_fetch_failed markdown_text_conflict
        max_file_sharing_exceeded message_not_found messages_tab_disabled metadata_must_be_sent_from_app
        metadata_too_large method_not_supported_for_channel_type missing_args missing_argument
        missing_file_data msg_blocks_too_long msg_too_long no_dual_broadcast_content_update
        no_item_specified no_text send_on_behalf_not_allowed slack_connect_blocked_file_type
        slack_connect_canvas_sharing_blocked slack_connect_clip_sharing_blocked
        slack_connect_file_link_sharing_blocked slack_connect_file_upload_sharing_blocked
        slack_connect_lists_sharing_blocked snippet_too_large storage_limit_reached streaming_state_conflict
        too_many_attachments too_many_contact_cards too_many_users unable_to_share_files
        unknown_snippet_type unknown_subtype user_not_found user_not_visible
    """,
    CursorGone: "invalid_cursor",
    RetryLater: """
        external_channel_migrating file_update_failed message_limit_exceeded rate_limited update_failed
    """,
    ThreadGone: """
        cannot_reply_to_message restricted_action_thread_locked thread_not_found
    """,
}
"""What Slack's documentation names for the methods that are called. Rejected is about this one message or file."""


@pytest.mark.parametrize(("meaning", "codes"), SPECIFIED.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_each_code_of_the_documentation_has_its_meaning(meaning: type[DeliveryError], codes: str) -> None:
    meant = {code: type(delivery_error(answered({"error": code}))) for code in codes.split()}
    assert meant == dict.fromkeys(meant, meaning)


def test_a_missing_scope_is_named() -> None:
    error = delivery_error(answered({"error": "missing_scope", "needed": "chat:write"}))
    reason, remedy = reason_and_remedy(error)
    assert "chat:write" in reason
    assert "OAuth" in remedy
    assert remedy not in reason


def test_a_scope_that_is_missing_for_files_alone_refuses_the_file() -> None:
    error = delivery_error(answered({"error": "missing_scope", "needed": "files:write"}))
    assert isinstance(error, Rejected)
    assert "files:write" in str(error)
    assert "OAuth" in str(error)


@pytest.mark.parametrize(("header", "after"), [("30", 30), ("soon", None)])
def test_429_carries_when_to_come_back(header: str, after: float | None) -> None:
    error = delivery_error(answered({"error": "ratelimited"}, 429, Retry_After=header))
    assert isinstance(error, RetryLater)
    assert error.after == after


@pytest.mark.parametrize("data", [{}, "upstream error", None, b""])
def test_a_server_error_may_have_been_taken(data: Any) -> None:
    assert isinstance(delivery_error(answered(data, 502)), OutcomeUnknown)
    assert isinstance(delivery_error(answered(data, 502), written=False), RetryLater)


def test_the_rubbish_of_a_proxy_may_have_been_taken() -> None:
    error = SlackApiError("no JSON", SimpleNamespace(status=200, headers={}))  # type: ignore[no-untyped-call]
    assert isinstance(delivery_error(error), OutcomeUnknown)


@pytest.mark.parametrize(
    ("status", "meaning", "scope"),
    [
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
    meant = upload_error(refused, "files.slack.com")
    assert isinstance(meant, RetryLater)
    assert (type(meant), meant.scope, meant.outage) == (meaning, scope, status >= 500)


def test_only_a_connection_that_never_was_is_certain() -> None:
    refused = aiohttp.ClientConnectorError(SimpleNamespace(ssl=None, host="x", port=1), OSError("refused"))  # type: ignore[arg-type]
    for error in (refused, aiohttp.ConnectionTimeoutError()):
        meant = delivery_error(error)
        assert isinstance(meant, RetryLater)
        assert meant.outage
    for lost in (aiohttp.ServerDisconnectedError(), ConnectionResetError(), TimeoutError(), ValueError()):
        assert isinstance(delivery_error(lost), OutcomeUnknown)


def test_what_nobody_could_find_later_is_never_unknown() -> None:
    for error in (answered({"error": "internal_error"}), TimeoutError(), aiohttp.ServerDisconnectedError()):
        assert isinstance(delivery_error(error, written=False), RetryLater)


@pytest.mark.parametrize("status", [413, 415])
def test_a_file_that_the_host_of_files_will_never_take_is_refused(status: int) -> None:
    refused = aiohttp.ClientResponseError(SimpleNamespace(real_url="x"), (), status=status)  # type: ignore[arg-type]
    assert isinstance(upload_error(refused, "files.slack.com"), Rejected)
