"""Telegram's errors, and what the core is to do about each."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from telegram.error import BadRequest, ChatMigrated, Conflict, Forbidden, InvalidToken, RetryAfter, TelegramError

from adapters.telegram.request import NotSent, Unfinished
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
from bridge.ports import AdapterState, Link

TOKEN_REMEDY: Final = "copy the token from @BotFather into `token`"
CHAT_REMEDY: Final = "check `chat_id` or the id in the sites' `destinations`, and add the bot to the group"
MEDIA_REMEDY: Final = "let members of the group send files and pictures, or make the bot an administrator"
RIGHTS_REMEDY: Final = "make the bot an administrator of the group who may manage topics and delete messages"
FORUM_REMEDY: Final = "turn on Topics in the group's settings"
NETWORK_REMEDY: Final = "look at the network, at `api_url` and at Telegram's status"
CONFLICT_REMEDY: Final = "stop the other program, or give this one a bot of its own"

MIGRATED: Final = "the group has become a supergroup"

NO_THREAD: Final = "message thread not found"
CLOSED: Final = "topic_closed"
OPEN_ALREADY: Final = "topic_not_modified"
NOT_MODIFIED: Final = "message is not modified"
ALREADY_GONE: Final = "message to delete not found"
EMPTY: Final = ("text is empty", "must be non-empty", "message_empty")
NO_PHOTO: Final = ("image_process_failed", "photo_invalid_dimensions", "photo_ext_invalid", "photo_save_file_invalid")

_LONGEST: Final = 300
"""A proxy's error page may be quoted."""

NO_CHAT: Final = "chat not found"

# What a description contains, in lower case -> what it means. The first that fits counts.
_GONE: Final = (NO_THREAD, "topic_deleted", "topic_id_invalid", CLOSED)
_NO_MEDIA: Final = re.compile(r"not enough rights to send (?!text|messages)[a-z ]+ to the chat")
_REMEDIES: Final = (
    (NO_CHAT, CHAT_REMEDY),
    ("the chat is not a forum", FORUM_REMEDY),
    ("not enough rights", RIGHTS_REMEDY),
    ("chat_admin_required", RIGHTS_REMEDY),
    ("chat_write_forbidden", RIGHTS_REMEDY),
    ("have no rights to send", RIGHTS_REMEDY),
    ("need administrator rights", RIGHTS_REMEDY),
)


def says(error: Exception, *needles: str) -> bool:
    """Tell whether a refusal's description contains one of these."""
    return isinstance(error, BadRequest) and any(needle in error.message.lower() for needle in needles)


def translate(error: TelegramError, *, former: bool = False) -> DeliveryError:  # noqa: C901, PLR0911 - it is the table
    """Return what the core is to do about an error. BadRequest and TimedOut are NetworkErrors: the order matters.

    `former` tells that it is about a thread in another group than the configured one: that one takes its successor.
    """
    if former and (isinstance(error, Forbidden) or says(error, NO_CHAT)):
        return ThreadGone(error.message, stands=isinstance(error, Forbidden))
    match error:
        case RetryAfter():
            # Per channel: all topics of a group share its limit, other groups have their own
            return RetryLater("Telegram asks to wait", wait_of(error), Scope.CHANNEL)
        case InvalidToken():
            # Its text may hold the token
            return AuthFailed("Telegram does not know this token", TOKEN_REMEDY)
        case ChatMigrated():
            return ThreadGone(MIGRATED)
        case Forbidden():
            return AuthFailed(error.message, CHAT_REMEDY)
        case BadRequest():
            return _refused(error.message)
        case NotSent():
            return RetryLater(error.message, scope=Scope.ADAPTER, outage=True)
        case Unfinished():
            return UploadCut(error.message)
        case Conflict():
            return RetryLater(error.message, scope=Scope.THREAD)
        case _ if error.message.lower().startswith("request entity too large"):
            return Rejected("the file is larger than Telegram takes")
        case _:
            # Timed out, cut after writing, 5xx, and what we do not know: it may have been taken
            return OutcomeUnknown(error.message[:_LONGEST])


def _refused(description: str) -> DeliveryError:
    lower = description.lower()
    if any(needle in lower for needle in _GONE):
        return ThreadGone(description, stands=CLOSED in lower)
    if _NO_MEDIA.search(lower):  # texts go on
        return Rejected(f"{description} ({MEDIA_REMEDY})")
    for needle, remedy in _REMEDIES:
        if needle in lower:
            return AuthFailed(description, remedy)
    return Rejected(description)


def down(error: TelegramError) -> AdapterState:
    """Return what an error means for the connection."""
    match error:
        case InvalidToken():
            return AdapterState(Link.DOWN, "Telegram does not know this token", TOKEN_REMEDY)
        case Conflict() if "webhook" in error.message:
            return AdapterState(Link.DOWN, "another program has set a webhook for this bot", CONFLICT_REMEDY)
        case Conflict():
            return AdapterState(Link.DOWN, "another program polls with this token", CONFLICT_REMEDY)
        case Forbidden():
            return AdapterState(Link.DOWN, error.message, CHAT_REMEDY)
        case BadRequest():
            return AdapterState(
                Link.DOWN, error.message, "see what Telegram says of the settings: `threadbridge check`"
            )
        case _:
            return AdapterState(Link.DOWN, error.message, NETWORK_REMEDY)


def wait_of(error: RetryAfter) -> float:
    """Return how many seconds Telegram asks to wait; the library gives them, or a timedelta if so configured."""
    wait = error.retry_after
    return wait.total_seconds() if isinstance(wait, timedelta) else wait


def migrated_remedy(before: int, now: int) -> str:
    """Tell the operator a group's new id."""
    return f"write {now} in place of {before}, in `chat_id` or the sites' `destinations`"
