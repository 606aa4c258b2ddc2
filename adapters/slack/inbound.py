"""From Slack's message events to the bridge's staff events. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapters.slack.reading import Names, read
from bridge.model import (
    Attachment,
    RemoteId,
    RichText,
    Staff,
    StaffDeletion,
    StaffEdit,
    StaffEvent,
    StaffMessage,
    ThreadKey,
)

Json = Mapping[str, Any]

_WRITTEN = {None, "file_share", "thread_broadcast"}


@dataclass(frozen=True, slots=True)
class Me:
    """Who the app is in its workspace: its own messages come back as events."""

    user_id: str
    bot_id: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A person's message in a thread, written, changed (`version`) or deleted (`message` is None)."""

    thread: ThreadKey
    remote_id: RemoteId
    at: datetime
    user: str = ""
    message: Json | None = None
    version: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Names the event over all its deliveries."""
        return self.thread, self.remote_id, self.version if self.message is not None else "deleted"


def thread_key(channel: str, ts: str) -> ThreadKey:
    return ThreadKey(f"{channel}/{ts}")


def thread_of(key: ThreadKey) -> tuple[str, str]:
    """Return a thread's channel and the ts of its first message."""
    channel, _, ts = key.partition("/")
    return channel, ts


def heard(event: Json, me: Me) -> Heard | None:
    """Return what a person did in a thread; None for everything else, the app's and other bots' doings included."""
    if event.get("type") != "message":
        return None
    match event.get("subtype"):
        case "message_changed":
            return _changed(event, me)
        case "message_deleted":
            return _deleted(event, me)
        case subtype if subtype in _WRITTEN:
            return _written(event, me)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Reaction:
    """A person's reaction to a message that may be the app's."""

    user: str
    channel: str
    ts: str


def reaction(event: Json, me: Me) -> Reaction | None:
    """Return a reaction. Messages under another name than the app's may have no `item_user`."""
    item = event.get("item") or {}
    if event.get("type") != "reaction_added" or item.get("type") != "message":
        return None
    if event.get("user") in {None, "", me.user_id} or event.get("item_user") not in {None, me.user_id}:
        return None
    return Reaction(str(event["user"]), str(item["channel"]), str(item["ts"]))


def admits(event: Json, me: Me) -> bool:
    """Tell whether the app was taken into a channel, of which it heard nothing before."""
    joined = event.get("type") == "message" and event.get("subtype") in {"channel_join", "group_join"}
    return joined and event.get("user") == me.user_id


def reread(channel: str, message: Json, me: Me, known: Collection[str]) -> Heard | None:
    """Return what a person did, of which a message that was read tells; None where that is known."""
    if message.get("subtype") not in _WRITTEN:
        return None
    event = {**message, "channel": channel}
    return _edited(event, message, me) if message["ts"] in known else _written(event, me)


def _written(event: Json, me: Me) -> Heard | None:
    thread = _thread(event, event)
    if thread is None or not _by_person(event, me):
        return None
    ts = str(event["ts"])
    return Heard(thread, RemoteId(ts), time_of(ts), str(event["user"]), event)


def _changed(event: Json, me: Me) -> Heard | None:
    message, previous = event.get("message") or {}, event.get("previous_message") or {}
    # A preview of a link or a new reply changes a message too, without an `edited` or with an old one.
    return None if previous.get("text") == message.get("text") else _edited(event, message, me)


def _edited(event: Json, message: Json, me: Me) -> Heard | None:
    thread, edited = _thread(event, message), message.get("edited")
    if thread is None or not edited or not _by_person(message, me):
        return None
    version = str(edited["ts"])
    return Heard(thread, RemoteId(str(message["ts"])), time_of(version), str(message["user"]), message, version)


def _deleted(event: Json, me: Me) -> Heard | None:
    previous = event.get("previous_message") or {}
    thread = _thread(event, previous)
    if thread is None or not _by_person(previous, me):
        return None
    return Heard(thread, RemoteId(str(event["deleted_ts"])), time_of(str(event["event_ts"])))


def _thread(event: Json, message: Json) -> ThreadKey | None:
    """Return the thread that a message answers in; None for a first message."""
    root = message.get("thread_ts")
    if not root or root == message.get("ts"):
        return None
    return thread_key(str(event["channel"]), str(root))


def _by_person(message: Json, me: Me) -> bool:
    """Tell whether a person wrote it. The file_share of an upload of our own carries no bot_id, only our user."""
    if message.get("bot_id") or message.get("subtype") == "bot_message":
        return False
    return message.get("user") not in {None, "", me.user_id, "USLACKBOT"}


def staff_event(
    heard: Heard, staff: Staff | None, names: Names, attachments: tuple[Attachment, ...] = ()
) -> StaffEvent | None:
    """Return the event for the core, a message of which nothing can be told too; None for what a bot did."""
    if heard.message is None:
        return StaffDeletion(heard.thread, heard.remote_id, heard.at)
    if staff is None:
        return None
    text = read(heard.message, names)
    if heard.version:
        return StaffEdit(heard.thread, heard.remote_id, staff, text, heard.at, heard.version)
    return StaffMessage(heard.thread, heard.remote_id, staff, text, heard.at, attachments)


def bare_event(heard: Heard) -> StaffEvent | None:
    """Return the event of what a person wrote with nothing but its text; None where there is none."""
    if heard.message is None:
        return None
    staff, text = Staff(str(heard.user), "Staff"), RichText(str(heard.message.get("text") or ""))
    if heard.version:
        return StaffEdit(heard.thread, heard.remote_id, staff, text, heard.at, heard.version)
    lost = ("what came with a message (it could not be read)",)
    return StaffMessage(heard.thread, heard.remote_id, staff, text, heard.at, lost=lost)


def time_of(ts: str) -> datetime:
    """Return the time that a ts names."""
    return datetime.fromtimestamp(float(ts), UTC)
