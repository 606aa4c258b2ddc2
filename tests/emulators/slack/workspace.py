"""The state of one workspace: people, channels, messages, files."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TEAM = "T0EMULATOR1"
APP = "A0EMULATOR1"
BOT_USER = "U0BRIDGEBOT"
BOT = "B0BRIDGEBOT"
BOT_NAME = "Threadbridge"


@dataclass
class User:
    id: str
    name: str
    is_bot: bool = False
    picture: bytes | None = None


@dataclass
class Channel:
    id: str
    name: str
    private: bool = False
    member: bool = True
    archived: bool = False
    messages: dict[str, Message] = field(default_factory=dict)
    replies: dict[str, list[Message]] = field(default_factory=dict)
    """By the ts of a thread's first message."""
    locked: set[str] = field(default_factory=set)


@dataclass
class File:
    id: str
    name: str
    user: str
    content: bytes = b""
    size: int = 0
    type: str = "application/octet-stream"
    title: str = ""
    created: int = field(default_factory=lambda: int(time.time()))
    deleted: bool = False

    def json(self, base: str) -> dict[str, Any]:
        if self.deleted:
            return {"id": self.id, "mode": "tombstone"}
        address = f"{base}/files-pri/{TEAM}-{self.id}"
        return {
            "id": self.id,
            "created": self.created,
            "timestamp": self.created,
            "name": self.name,
            "title": self.title or self.name,
            "mimetype": self.type,
            "filetype": self.name.rpartition(".")[2],
            "pretty_type": self.type,
            "user": self.user,
            "user_team": TEAM,
            "editable": False,
            "size": self.size,
            "mode": "hosted",
            "is_external": False,
            "external_type": "",
            "is_public": True,
            "public_url_shared": False,
            "display_as_bot": False,
            "username": "",
            "url_private": f"{address}/{self.id}",
            "url_private_download": f"{address}/download/{self.id}",
            "permalink": f"{base}/files/{self.user}/{self.id}",
            "has_rich_preview": False,
            "file_access": "visible",
        }


@dataclass
class Message:
    ts: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    user: str | None = None
    bot_id: str | None = None
    subtype: str | None = None
    username: str | None = None
    thread_ts: str | None = None
    metadata: dict[str, Any] | None = None
    files: list[File] = field(default_factory=list)
    edited: dict[str, str] | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)
    """Who reacted, by the emoji's name."""

    @property
    def number(self) -> int:
        """The ts in microseconds."""
        return int(self.ts.replace(".", ""))


class Workspace:
    """People, channels, messages and files, and how they are told as JSON."""

    def __init__(self) -> None:
        self.base = ""
        self.users: dict[str, User] = {BOT_USER: User(BOT_USER, BOT_NAME, is_bot=True)}
        self.channels: dict[str, Channel] = {}
        self.files: dict[str, File] = {}
        self._last_ts = 0
        self._minted = 0

    def ts(self, behind: int = 1) -> str:
        """Mint a timestamp, so many microseconds at least behind any before."""
        self._last_ts = max(self._last_ts + behind, int(time.time() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def id(self, prefix: str) -> str:
        self._minted += 1
        return f"{prefix}0{self._minted:08d}"

    def person(self, name: str) -> User:
        """Return the user of that name; a new one gets a picture."""
        for user in self.users.values():
            if user.name == name and not user.is_bot:
                return user
        user = User(self.id("U"), name, picture=_PICTURE)
        self.users[user.id] = user
        return user

    def names(self) -> dict[str, str]:
        people = {user.id: user.name for user in self.users.values()}
        return people | {channel.id: channel.name for channel in self.channels.values()}

    def replies(self, channel: Channel, ts: str) -> list[Message]:
        return channel.replies.get(ts, [])

    def roots(self, channel: Channel) -> Iterator[Message]:
        return (m for m in channel.messages.values() if m.thread_ts is None or m.subtype == "thread_broadcast")

    def add(self, channel: Channel, message: Message) -> Message:
        channel.messages[message.ts] = message
        if message.thread_ts:
            channel.replies.setdefault(message.thread_ts, []).append(message)
        return message

    def remove(self, channel: Channel, message: Message) -> None:
        del channel.messages[message.ts]
        if message.thread_ts:
            channel.replies[message.thread_ts].remove(message)

    def message_json(self, channel: Channel, message: Message, *, metadata: bool) -> dict[str, Any]:
        told: dict[str, Any] = {"type": "message", "ts": message.ts, "text": message.text}
        if message.subtype:
            told["subtype"] = message.subtype
        told |= self._author_json(message)
        for key in ("blocks", "edited", "username"):
            if value := getattr(message, key):
                told[key] = copy.deepcopy(value)
        if message.files:
            told |= {"files": [file.json(self.base) for file in message.files], "upload": False}
        if message.reactions:
            reactions = message.reactions.items()
            told["reactions"] = [{"name": name, "users": users, "count": len(users)} for name, users in reactions]
        if message.metadata:
            told["metadata"] = {"event_type": message.metadata["event_type"]}
            if metadata:
                told["metadata"] = copy.deepcopy(message.metadata)
        return told | self._thread_json(channel, message)

    def _author_json(self, message: Message) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if message.user:
            told["user"] = message.user
        if message.bot_id:
            told["bot_id"] = message.bot_id
            if message.user:
                profile = {"id": message.bot_id, "deleted": False, "name": BOT_NAME, "updated": 1, "app_id": APP}
                told |= {"bot_profile": profile | {"icons": {}, "team_id": TEAM}, "team": TEAM}
        elif not message.files:
            told |= {"client_msg_id": f"client-{message.ts}", "team": TEAM}
        return told

    def _thread_json(self, channel: Channel, message: Message) -> dict[str, Any]:
        if message.thread_ts:
            root = channel.messages.get(message.thread_ts)
            parent = {"parent_user_id": root.user} if root and root.user else {}
            return {"thread_ts": message.thread_ts, **parent}
        replies = self.replies(channel, message.ts)
        if not replies:
            return {}
        people = sorted({reply.user or reply.bot_id or "" for reply in replies})
        return {
            "thread_ts": message.ts,
            "reply_count": len(replies),
            "reply_users_count": len(people),
            "latest_reply": replies[-1].ts,
            "reply_users": people[:5],
            "is_locked": message.ts in channel.locked,
            "subscribed": False,
        }

    def channel_json(self, channel: Channel) -> dict[str, Any]:
        return {
            "id": channel.id,
            "name": channel.name,
            "name_normalized": channel.name,
            "is_channel": not channel.private,
            "is_group": channel.private,
            "is_im": False,
            "is_mpim": False,
            "is_private": channel.private,
            "is_member": channel.member,
            "is_archived": channel.archived,
            "is_general": False,
            "is_shared": False,
            "created": 1,
            "creator": BOT_USER,
        }

    def user_json(self, user: User) -> dict[str, Any]:
        picture = f"{self.base}/avatars/{user.id}.png" if user.picture else ""
        profile: dict[str, Any] = {"real_name": f"{user.name} Emulated", "display_name": user.name, "team": TEAM}
        if picture:
            profile |= {f"image_{size}": picture for size in (24, 32, 48, 72, 192, 512)}
        return {
            "id": user.id,
            "team_id": TEAM,
            "name": user.name.lower(),
            "real_name": f"{user.name} Emulated",
            "deleted": False,
            "is_bot": user.is_bot,
            "is_app_user": False,
            "updated": 1,
            "profile": profile,
        }


_PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478"
    "9c63304e9b0900020201335687e2540000000049454e44ae426082"
)
