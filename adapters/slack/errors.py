"""What Slack's errors mean to the bridge: one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError

from bridge.errors import (
    AuthFailed,
    BadFile,
    DeliveryError,
    OutcomeUnknown,
    Rejected,
    RetryLater,
    Scope,
    ThreadGone,
    UploadCut,
)

_TOKEN = "make a new bot token under OAuth & Permissions of the app and set bot_token"
_ID = "check the channel's id in `channel` or the sites' `destinations`"
_INVITE = "invite the app into the channel: /invite @its name"
_NETWORK = "look at the network, at `api_url` and at https://slack-status.com"
_SCOPE = "add the scope under OAuth & Permissions of the app and install the app again"
_RIGHTS = "ask an admin of the workspace to let the app post in this channel"


class ChannelClosed(AuthFailed):
    """The channel takes nothing, or not from us."""


class CursorGone(RetryLater):
    """Slack knows no more how far something was read: begin anew."""


class NotNow(BadFile):
    """Slack does not hand a file out at this moment."""


def _channel(remedy: str) -> Callable[[str], DeliveryError]:
    return lambda reason: ChannelClosed(reason, remedy)


def _auth(remedy: str) -> Callable[[str], DeliveryError]:
    return lambda reason: AuthFailed(reason, remedy)


def _rejected(reason: str) -> DeliveryError:
    return Rejected(reason)


def thread_stands(reason: str) -> DeliveryError:
    """Return that a thread takes nothing more, and can still be read."""
    return ThreadGone(reason, stands=True)


def _later(reason: str) -> DeliveryError:
    return RetryLater(reason)


def _outage(reason: str) -> DeliveryError:
    return RetryLater(reason, scope=Scope.ADAPTER, outage=True)


def _unknown(reason: str) -> DeliveryError:
    return OutcomeUnknown(reason)


_TABLE: Mapping[str, Callable[[str], DeliveryError]] = {
    # the token, the app's rights
    "access_denied": _auth(_RIGHTS),
    "account_inactive": _auth(_TOKEN),
    "app_access_restricted": _auth(_RIGHTS),
    "ekm_access_denied": _auth(_RIGHTS),
    "file_uploads_disabled": _rejected,
    "forbidden_team": _auth(_TOKEN),
    "invalid_auth": _auth(_TOKEN),
    "missing_scope": _auth(_SCOPE),
    "no_permission": _auth(_RIGHTS),
    "not_allowed_token_type": _auth("bot_token takes the xoxb- token and app_token the xapp- token"),
    "not_authed": _auth(_TOKEN),
    "posting_to_channel_denied": _auth(_RIGHTS),
    "restricted_action": _auth(_RIGHTS),
    "restricted_action_non_threadable_channel": _auth("choose a channel that allows threads"),
    "restricted_action_read_only_channel": _auth(_RIGHTS),
    "restricted_action_thread_only_channel": _auth(_RIGHTS),
    "team_access_not_granted": _auth("install the app into this workspace"),
    "team_not_found": _auth(_TOKEN),
    "token_expired": _auth(_TOKEN),
    "token_revoked": _auth(_TOKEN),
    # the channel
    "channel_is_limited_access": _channel(_INVITE),
    "channel_not_found": _channel(f"{_ID}; a private channel is visible to the app once it is invited"),
    "invalid_channel": _auth(_ID),
    "is_archived": _channel("unarchive the channel or choose another one"),
    "not_in_channel": _channel(_INVITE),
    # the thread
    "cannot_reply_to_message": thread_stands,
    "restricted_action_thread_locked": thread_stands,
    "thread_not_found": ThreadGone,
    # not now
    "external_channel_migrating": _later,
    "file_update_failed": lambda reason: RetryLater(reason, scope=Scope.THREAD),
    "invalid_cursor": lambda reason: CursorGone(reason, scope=Scope.THREAD),
    "message_limit_exceeded": _later,
    "org_login_required": _outage,
    "rate_limited": _later,
    "ratelimited": _later,
    "request_timeout": _later,
    "service_unavailable": _outage,
    "team_added_to_org": _outage,
    "update_failed": lambda reason: RetryLater(reason, scope=Scope.THREAD),
    # "some aspect of the operation" may have succeeded
    "fatal_error": _unknown,
    "internal_error": _unknown,
    # never
    "invalid_blocks": _rejected,
    "msg_blocks_too_long": _rejected,
    "msg_too_long": _rejected,
    "no_text": _rejected,
}

_REFUSED_FILE = {413, 415}
"""What a host of files answers that is about the file itself. Another ticket may mend the others."""
FAILURES = (SlackApiError, aiohttp.ClientError, OSError, TimeoutError, ValueError, AttributeError)
"""What a call of slack_sdk may raise. The last two where an answer is no JSON object."""


def delivery_error(
    error: Exception, *, written: bool = True, scope: Scope = Scope.CHANNEL, host: str = "slack.com"
) -> DeliveryError:
    """Return what a failed call of a host means.

    `written` is False where the call changes nothing that could be found later; `scope` is what its rate limit counts.
    """
    if isinstance(error, SlackApiError):
        return _answered(error, written=written, scope=scope)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) or not written:
        return _outage(f"Slack cannot be reached at {host} ({_name(error)})")
    return OutcomeUnknown(f"Slack's answer was lost ({_name(error)})")


def upload_error(error: Exception, host: str) -> DeliveryError:
    """Return what a failed upload of bytes means: nobody has seen them, so they were not taken.

    Slack has just named the address, so it is there. Where it is this one file that is slow or refused, nobody else
    need wait for it; the next attempt has an address of its own.
    """
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return delivery_error(error, written=False, host=host)
        case aiohttp.ClientResponseError(status=429):
            return RetryLater("Slack asks to upload less often", _retry_after(error.headers or {}), Scope.THREAD)
        case aiohttp.ClientResponseError() if error.status >= 500:
            return _outage(f"{host} answers with HTTP status {error.status}")
        case aiohttp.ClientResponseError():
            final = error.status in _REFUSED_FILE
            return (Rejected if final else UploadCut)(f"{host} refuses it with HTTP status {error.status}")
        case TimeoutError():
            return UploadCut("the upload took too long")
        case _:
            return UploadCut(f"the upload was cut off ({_name(error)})")


def download_error(error: Exception) -> BadFile:
    """Return what a failed download means."""
    refused = isinstance(error, aiohttp.ClientResponseError) and error.status < 500 and error.status != 429
    passing = aiohttp.ClientError | ConnectionError | TimeoutError
    kind = NotNow if isinstance(error, passing) and not refused else BadFile
    return kind(f"it could not be downloaded from Slack ({_name(error)})")


def _answered(error: SlackApiError, *, written: bool, scope: Scope) -> DeliveryError:
    status, headers, body = _parts(error.response)
    code = str(body.get("error") or "")
    if status == 429:
        return RetryLater("Slack asks to be called less often", _retry_after(headers), scope)
    if not code:
        reason = f"Slack answered with HTTP status {status}"
        return OutcomeUnknown(reason) if written else _outage(reason)
    if (meaning := _TABLE.get(code)) is None:
        return Rejected(f"Slack refused it: {code}")
    if code == "missing_scope" and body.get("needed") == "files:write":  # texts go on
        return Rejected(f"{_reason(code, body)} ({_SCOPE})")
    meant = meaning(_reason(code, body))
    return _outage(str(meant)) if isinstance(meant, OutcomeUnknown) and not written else meant


def _parts(response: Any) -> tuple[int, Mapping[str, str], Mapping[str, Any]]:
    """Return status, headers and body; where the body was no JSON, slack_sdk gives aiohttp's response."""
    status: int = getattr(response, "status_code", 0) or getattr(response, "status", 0)
    body = getattr(response, "data", None)
    return status, getattr(response, "headers", None) or {}, body if isinstance(body, Mapping) else {}


def _reason(code: str, body: Mapping[str, Any]) -> str:
    needed = body.get("needed")
    return f"Slack refused it: {code}, needed: {needed}" if needed else f"Slack refused it: {code}"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers.get("Retry-After", ""))
    except ValueError:
        return None


def _name(error: Exception) -> str:
    return type(error).__name__


def code_of(error: Exception) -> str:
    """Return Slack's own code of an error, empty where there is none."""
    return str(_parts(error.response)[2].get("error") or "") if isinstance(error, SlackApiError) else ""


def reason_and_remedy(error: DeliveryError) -> tuple[str, str]:
    """Return what to tell the operator."""
    if isinstance(error, AuthFailed):
        return str(error).removesuffix(f" ({error.remedy})"), error.remedy
    return str(error), _NETWORK if isinstance(error, RetryLater) and error.outage else ""
