"""The REST API's operations, each named as in Discord's own specification."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.emulators.discord.gateway import Gateway
from tests.emulators.discord.markdown import pings
from tests.emulators.discord.world import FORUM, PUBLIC_THREAD, REQUIRE_TAG, TEXT, Json, World, is_thread, timestamp

NONCE_SECONDS = 300
CDN_SECONDS = 86_400


class ApiError(Exception):
    """Discord's answer to a request that it refuses."""

    def __init__(self, status: int, code: int, message: str, errors: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"message": message, "code": code}
        if errors is not None:
            self.body["errors"] = errors


class TooMany(Exception):
    """Refused with 429."""

    def __init__(self, seconds: float, *, everywhere: bool = False) -> None:
        self.seconds = seconds
        self.everywhere = everywhere


def invalid(field_name: str, code: str, message: str) -> ApiError:
    errors = {field_name: {"_errors": [{"code": code, "message": message}]}}
    return ApiError(400, 50035, "Invalid Form Body", errors)


@dataclass(frozen=True)
class Upload:
    """A file that came with a request."""

    filename: str
    type: str
    content: bytes


@dataclass
class Ask:
    """One request: what its path, query and body say."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    files: Mapping[int, Upload] = field(default_factory=dict)


class Rest:
    """Answers requests out of the world, and tells the gateway."""

    def __init__(self, world: World, gateway: Gateway, create_rate: tuple[int, float] | None) -> None:
        self.world = world
        self.gateway = gateway
        self.create_rate = create_rate
        self.address = ""
        self.pings: list[str] = []
        self.typed: list[str] = []
        self.uploads: dict[str, Upload] = {}
        self._created: dict[str, deque[float]] = {}
        self._nonces: dict[str, tuple[float, str]] = {}
        self._secret = b"cdn"

    # what it looks at before it answers

    def channel(self, ask: Ask) -> Json:
        channel = self.world.channels.get(ask.path["channel_id"])
        if channel is None:
            raise ApiError(404, 10003, "Unknown Channel")
        if not self.world.sees(channel):
            raise ApiError(403, 50001, "Missing Access")
        return channel

    def need(self, *permissions: str) -> None:
        if not self.world.granted.issuperset(permissions):
            raise ApiError(403, 50013, "Missing Permissions")

    def message(self, channel: Json, ask: Ask) -> Json:
        message = self.world.messages[channel["id"]].get(ask.path["message_id"])
        if message is None:
            raise ApiError(404, 10008, "Unknown Message")
        return message

    def active(self, channel: Json) -> None:
        if is_thread(channel) and channel["thread_metadata"]["archived"]:
            raise ApiError(400, 50083, "Thread is archived")

    def own(self, message: Json, code: int, what: str) -> None:
        if message["author"]["id"] != self.world.bot["id"]:
            raise ApiError(403, code, what)

    def content(self, body: Mapping[str, Any]) -> str:
        content = (body.get("content") or "").strip()
        if len(content) > 2000:
            raise invalid("content", "BASE_TYPE_MAX_LENGTH", "Must be 2000 or fewer in length.")
        if any(link in content for link in self.world.harmful_links):
            raise ApiError(400, 240000, "Message blocked by harmful links filter")
        return content

    def spend(self, channel_id: str) -> tuple[int, int, float]:
        """Count a message against its channel's rate; return limit, what remains, and when it starts anew."""
        if self.create_rate is None:
            return 50, 49, 1.0
        count, seconds = self.create_rate
        now = time.monotonic()
        window = self._created.setdefault(channel_id, deque())
        while window and window[0] <= now - seconds:
            window.popleft()
        if len(window) >= count:
            raise TooMany(window[0] + seconds - now)
        window.append(now)
        return count, count - len(window), window[0] + seconds - now

    # about the bot

    def get_my_user(self, ask: Ask) -> Json:
        return {**self.world.bot, "mfa_enabled": False, "locale": "en-US"}

    def get_my_oauth2_application(self, ask: Ask) -> Json:
        return self.world.application()

    get_my_application = get_my_oauth2_application

    def get_gateway(self, ask: Ask) -> Json:
        return {"url": self.address.replace("http", "ws", 1) + "/gateway"}

    def get_bot_gateway(self, ask: Ask) -> Json:
        left = max(0, 1000 - self.gateway.identified)
        limit = {"total": 1000, "remaining": left, "reset_after": 14_400_000, "max_concurrency": 1}
        return {**self.get_gateway(ask), "shards": 1, "session_start_limit": limit}

    # guild

    def _guild(self, ask: Ask) -> None:
        if ask.path["guild_id"] != self.world.guild_id:
            raise ApiError(404, 10004, "Unknown Guild")

    def get_guild(self, ask: Ask) -> Json:
        self._guild(ask)
        return self.world.guild()

    def list_guild_roles(self, ask: Ask) -> list[Json]:
        self._guild(ask)
        return self.world.roles()

    def list_guild_channels(self, ask: Ask) -> list[Json]:
        self._guild(ask)
        return [channel for channel in self.world.channels.values() if not is_thread(channel)]

    def get_guild_member(self, ask: Ask) -> Json:
        self._guild(ask)
        if ask.path["user_id"] not in self.world.members:
            raise ApiError(404, 10007, "Unknown Member")
        return self.world.members[ask.path["user_id"]]

    def get_active_guild_threads(self, ask: Ask) -> Json:
        self._guild(ask)
        return {"threads": list(self.world.threads(active=True)), "members": [], "has_more": False}

    # channels and threads

    def get_channel(self, ask: Ask) -> Json:
        return self.channel(ask)

    def update_channel(self, ask: Ask) -> Json:
        channel = self.channel(ask)
        if is_thread(channel):
            meta = channel["thread_metadata"]
            needs_right = "locked" in ask.body or (meta["locked"] and not ask.body.get("archived", True))
            self.need("MANAGE_THREADS" if needs_right else "SEND_MESSAGES_IN_THREADS")
            if meta["archived"] and ask.body.get("archived", True) and "name" in ask.body:
                raise ApiError(400, 50083, "Thread is archived")
            if meta["archived"] and not ask.body.get("archived", True):
                self.room()
            meta.update({key: ask.body[key] for key in ("archived", "locked") if key in ask.body})
        if "name" in ask.body:
            channel["name"] = ask.body["name"]
        self.gateway.dispatch("THREAD_UPDATE" if is_thread(channel) else "CHANNEL_UPDATE", channel)
        return channel

    def create_thread_from_message(self, ask: Ask) -> tuple[int, Json]:
        channel = self.channel(ask)
        self.need("CREATE_PUBLIC_THREADS")
        message = self.message(channel, ask)
        if message["id"] in self.world.channels:
            raise ApiError(400, 160004, "A thread has already been created for this message")
        return 201, self._open(channel, ask, message["id"])

    def room(self) -> None:
        if sum(1 for _ in self.world.threads(active=True)) >= self.world.active_limit:
            raise ApiError(400, 160006, "Maximum number of active threads reached")

    def create_thread(self, ask: Ask) -> tuple[int, Json]:
        channel = self.channel(ask)
        if channel["type"] != FORUM:
            self.need("CREATE_PUBLIC_THREADS")
            return 201, self._open(channel, ask, self.world.snowflake())
        self.need("SEND_MESSAGES")
        if channel["flags"] & REQUIRE_TAG and not ask.body.get("applied_tags"):
            raise ApiError(400, 40067, "A tag is required to create a forum post in this channel")
        if "message" not in ask.body:
            raise invalid("message", "BASE_TYPE_REQUIRED", "This field is required")
        content = self.content(ask.body["message"])
        if not content and not ask.files:
            raise ApiError(400, 50006, "Cannot send an empty message")
        thread = self._open(channel, ask, self.world.snowflake())
        message = self._post(thread, content, Ask(ask.path, ask.query, ask.body["message"], ask.files), thread["id"])
        return 201, {**thread, "message": message}

    def _open(self, parent: Json, ask: Ask, id_: str) -> Json:
        name = (ask.body.get("name") or "").strip()
        if not 1 <= len(name) <= 100:
            raise invalid("name", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
        self.room()
        thread = self.world.add_thread(parent["id"], name, id_, ask.body.get("auto_archive_duration") or 4320)
        if id_ in self.world.messages[parent["id"]]:
            self.world.messages[parent["id"]][id_]["flags"] |= 1 << 5  # HAS_THREAD
            self.world.add_message(thread, self.world.bot, "", type=21)  # the pointer to the starter message
        self.gateway.dispatch("THREAD_CREATE", {**thread, "newly_created": True})
        return thread

    # messages

    def list_messages(self, ask: Ask) -> list[Json]:
        channel = self.channel(ask)
        if "READ_MESSAGE_HISTORY" not in self.world.granted:
            return []
        limit = int(ask.query.get("limit", 50))
        if not 1 <= limit <= 100:
            raise invalid("limit", "NUMBER_TYPE_MAX", "int value should be less than or equal to 100.")
        return [without_nonce(message) for message in self._range(channel, ask.query, limit)]

    def _range(self, channel: Json, query: Mapping[str, str], limit: int) -> Sequence[Json]:
        """Return the newest first, whichever way was asked."""
        stored = sorted(self.world.messages[channel["id"]].values(), key=lambda message: int(message["id"]))
        if "after" in query:
            found = [m for m in stored if int(m["id"]) > int(query["after"])][:limit]
        elif "before" in query:
            found = [m for m in stored if int(m["id"]) < int(query["before"])][-limit:]
        elif "around" in query:
            middle = sum(int(m["id"]) <= int(query["around"]) for m in stored)
            first = max(0, middle - limit // 2 - 1)
            found = stored[first : first + limit]
        else:
            found = stored[-limit:]
        return found[::-1]

    def get_message(self, ask: Ask) -> Json:
        channel = self.channel(ask)
        self.need("READ_MESSAGE_HISTORY")
        return without_nonce(self.message(channel, ask))

    def create_message(self, ask: Ask) -> Json:
        channel = self.channel(ask)
        if channel["type"] not in {TEXT, PUBLIC_THREAD}:
            raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
        self.need("SEND_MESSAGES_IN_THREADS" if is_thread(channel) else "SEND_MESSAGES")
        if ask.files:
            self.need("ATTACH_FILES")
        content = self.content(ask.body)
        if first := self._by_nonce(ask.body):
            return self._first(channel, first)
        if not content and not ask.files and not ask.body.get("embeds"):
            raise ApiError(400, 50006, "Cannot send an empty message")
        self._unarchive(channel)
        message = self._post(channel, content, ask)
        if ask.body.get("nonce") is not None and ask.body.get("enforce_nonce"):
            self._nonces[str(ask.body["nonce"])] = (time.monotonic(), message["id"])
        return message

    def _by_nonce(self, body: Mapping[str, Any]) -> str | None:
        at, first = self._nonces.get(str(body.get("nonce")), (0.0, ""))
        return first if body.get("enforce_nonce") and first and time.monotonic() - at < NONCE_SECONDS else None

    def _first(self, channel: Json, id_: str) -> Json:
        if id_ not in self.world.messages[channel["id"]]:
            raise ApiError(404, 10008, "Unknown Message")
        return self.world.messages[channel["id"]][id_]

    def forget_nonces(self) -> None:
        """As if some minutes had passed."""
        self._nonces.clear()

    def _unarchive(self, channel: Json) -> None:
        if not is_thread(channel):
            return
        if channel["thread_metadata"]["locked"]:
            raise ApiError(403, 160005, "Thread is locked")
        if channel["thread_metadata"]["archived"]:
            self.room()
            channel["thread_metadata"]["archived"] = False
            self.gateway.dispatch("THREAD_UPDATE", channel)

    def _post(self, channel: Json, content: str, ask: Ask, id_: str | None = None) -> Json:
        self.pings += pings(content, ask.body.get("allowed_mentions"))
        more: Json = {
            "attachments": self.attach(channel["id"], list(ask.files.values())),
            "embeds": ask.body.get("embeds") or [],
            "flags": ask.body.get("flags") or 0,
        }
        if ask.body.get("nonce") is not None:
            more["nonce"] = ask.body["nonce"]
        message = self.world.add_message(channel, self.world.bot, content, id=id_, **more)
        self.tell("MESSAGE_CREATE", message)
        return message

    def attach(self, channel_id: str, files: Sequence[Upload]) -> list[Json]:
        """Store files and return their descriptions with signed addresses that expire."""
        attachments = []
        for file in files:
            id_ = self.world.snowflake()
            path = f"/attachments/{channel_id}/{id_}/{file.filename}"
            self.uploads[path] = file
            address = self.sign(path, time.time() + CDN_SECONDS)
            attachments.append(
                {
                    "id": id_,
                    "filename": file.filename,
                    "size": len(file.content),
                    "url": address,
                    "proxy_url": address,
                    "content_type": file.type,
                }
            )
        return attachments

    def sign(self, path: str, until: float) -> str:
        query = f"ex={int(until):x}&is={int(time.time()):x}"
        signature = hmac.new(self._secret, f"{path}?{query}".encode(), hashlib.sha256).hexdigest()
        return f"{self.address}{path}?{query}&hm={signature}&"

    def download(self, path: str, query: Mapping[str, str]) -> Upload | None:
        """Return a file where its address is right and has not expired."""
        signed = f"{path}?ex={query.get('ex')}&is={query.get('is')}"
        good = hmac.new(self._secret, signed.encode(), hashlib.sha256).hexdigest() == query.get("hm")
        return self.uploads.get(path) if good and int(query["ex"], 16) > time.time() else None

    def update_message(self, ask: Ask) -> Json:
        channel = self.channel(ask)
        message = self.message(channel, ask)
        self.own(message, 50005, "Cannot edit a message authored by another user")
        self.active(channel)
        if "content" in ask.body:
            content = self.content(ask.body)
            if not content and not message["attachments"]:
                raise ApiError(400, 50006, "Cannot send an empty message")
            self.pings += pings(content, ask.body.get("allowed_mentions"))
            message["content"] = content
        message["edited_timestamp"] = timestamp()
        self.tell("MESSAGE_UPDATE", message)
        return message

    def delete_message(self, ask: Ask) -> None:
        channel = self.channel(ask)
        message = self.message(channel, ask)
        if "MANAGE_MESSAGES" not in self.world.granted:
            self.own(message, 50013, "Missing Permissions")
        self.active(channel)
        self.remove(message)

    def remove(self, message: Json) -> None:
        del self.world.messages[message["channel_id"]][message["id"]]
        where = {"channel_id": message["channel_id"], "guild_id": self.world.guild_id}
        self.gateway.dispatch("MESSAGE_DELETE", {"id": message["id"], **where})

    def tell(self, event: str, message: Json) -> None:
        """Send a message's event, in the gateway's form."""
        member = self.world.members.get(message["author"]["id"])
        more = {"member": {k: v for k, v in member.items() if k != "user"}} if member else {}
        self.gateway.dispatch(event, {**message, "guild_id": self.world.guild_id, **more})

    def trigger_typing_indicator(self, ask: Ask) -> None:
        channel = self.channel(ask)
        self.need("SEND_MESSAGES_IN_THREADS" if is_thread(channel) else "SEND_MESSAGES")
        self.typed.append(channel["id"])

    def add_my_message_reaction(self, ask: Ask) -> None:
        channel = self.channel(ask)
        self.need("ADD_REACTIONS", "READ_MESSAGE_HISTORY")
        self._react("MESSAGE_REACTION_ADD", self.message(channel, ask), ask)

    def delete_my_message_reaction(self, ask: Ask) -> None:
        self._react("MESSAGE_REACTION_REMOVE", self.message(self.channel(ask), ask), ask)

    def _react(self, event: str, message: Json, ask: Ask) -> None:
        where = {"channel_id": message["channel_id"], "message_id": message["id"], "guild_id": self.world.guild_id}
        emoji = {"id": None, "name": ask.path["emoji_name"]}
        self.gateway.dispatch(event, {**where, "user_id": self.world.bot["id"], "emoji": emoji})


def without_nonce(message: Json) -> Json:
    """Return a message as the history has it: the nonce is told on creation alone."""
    return {key: value for key, value in message.items() if key != "nonce"}
