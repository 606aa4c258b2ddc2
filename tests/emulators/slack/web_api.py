"""The methods of the Web API, on a workspace. What Slack refuses is refused with Slack's own error."""

from __future__ import annotations

import json
import time
from base64 import b64decode, b64encode
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from tests.emulators.slack import blocks as block_kit
from tests.emulators.slack import spec
from tests.emulators.slack.workspace import BOT, BOT_USER, TEAM, Channel, File, Message, Workspace


class Refused(Exception):
    """An answer with `ok` false."""

    def __init__(self, error: str, *, retry_after: float | None = None, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.retry_after = retry_after
        self.more = more


class WebApi:
    """Answers calls. What they cause is handed to `tell` (events) and `share` (uploads, shared a little later)."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        bot_token: str,
        app_token: str,
        scopes: set[str],
        post_rate: tuple[int, float] | None,
        tell: Callable[[Channel, dict[str, Any]], None],
        share: Callable[[Channel, Message], None],
        open_socket: Callable[[], str],
    ) -> None:
        self.workspace = workspace
        self.scopes = scopes
        self.post_rate = post_rate
        self.refuses_username = False
        self.refused: set[str] = set()
        """What no message may hold."""
        self.cursor_kind = "next_ts:"
        """How a cursor begins, before it is encoded; another beginning and those of before are not valid any more."""
        self._bot_token, self._app_token = bot_token, app_token
        self._tell, self._share, self._open_socket = tell, share, open_socket
        self._posts: dict[str, deque[float]] = defaultdict(deque)
        self._uploads: dict[str, File] = {}
        self._methods: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "auth.test": self._auth_test,
            "apps.connections.open": lambda params: {"url": self._open_socket()},
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.delete": self._delete,
            "chat.getPermalink": self._permalink,
            "conversations.info": lambda params: {"channel": self._channel_json(params)},
            "conversations.join": self._join,
            "conversations.list": self._list,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "users.info": self._user,
            "reactions.add": self._react,
            "reactions.get": self._reactions,
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._complete_upload,
            "files.info": self._file,
            "files.delete": self._delete_file,
        }

    def answer(self, method: str, params: Mapping[str, Any], token: str | None) -> dict[str, Any]:
        """Return what a call is answered. Raises Refused."""
        if method not in self._methods:
            raise Refused("unknown_method", req_method=method)
        self._authorise(method, params, token)
        if lacking := spec.missing(method, params):
            raise Refused("invalid_arguments", response_metadata={"messages": [f"missing: {lacking}"]})
        return {"ok": True, **self._methods[method](params)}

    def _authorise(self, method: str, params: Mapping[str, Any], token: str | None) -> None:
        if not token:
            raise Refused("not_authed")
        if token not in {self._bot_token, self._app_token}:
            raise Refused("invalid_auth")
        if (token == self._app_token) != (method == "apps.connections.open"):
            raise Refused("not_allowed_token_type")
        needed = spec.METHODS[method]["scope"].get("bot", [])
        if method.startswith("conversations.") and method != "conversations.join":
            channel = self.workspace.channels.get(str(params.get("channel")))
            kind = "groups:" if channel and channel.private else "channels:"
            needed = [scope for scope in needed if scope.startswith(kind)]
        for scope in needed:
            self._need(scope)

    def _need(self, scope: str) -> None:
        if scope not in self.scopes:
            raise Refused("missing_scope", needed=scope, provided=",".join(sorted(self.scopes)))

    def _auth_test(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "url": "https://emulated.slack.com/",
            "team": "Emulated",
            "user": "threadbridge",
            "team_id": TEAM,
            "user_id": BOT_USER,
            "bot_id": BOT,
            "is_enterprise_install": False,
        }

    # channels and people

    def _channel(self, params: Mapping[str, Any], *, key: str = "channel", member: str = "") -> Channel:
        channel = self.workspace.channels.get(str(params[key]))
        if channel is None or (channel.private and not channel.member):
            raise Refused("channel_not_found")
        if member and not channel.member:
            raise Refused(member)
        return channel

    def _channel_json(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return self.workspace.channel_json(self._channel(params))

    def _join(self, params: Mapping[str, Any]) -> dict[str, Any]:
        channel = self._channel(params)
        if channel.archived:
            raise Refused("is_archived")
        channel.member = True
        return {"channel": self.workspace.channel_json(channel)}

    def _list(self, params: Mapping[str, Any]) -> dict[str, Any]:
        channels = [self.workspace.channel_json(c) for c in self.workspace.channels.values() if not c.private]
        return {"channels": channels, "response_metadata": {"next_cursor": ""}}

    def _user(self, params: Mapping[str, Any]) -> dict[str, Any]:
        user = self.workspace.users.get(params["user"])
        if user is None:
            raise Refused("user_not_found")
        return {"user": self.workspace.user_json(user)}

    # messages

    def _post(self, params: Mapping[str, Any]) -> dict[str, Any]:
        channel = self._channel(params, member="not_in_channel")
        if channel.archived:
            raise Refused("is_archived")
        self._limit_rate(channel)
        text, blocks = self._content(params)
        thread_ts = params.get("thread_ts")
        if thread_ts is not None:
            self._check_thread(channel, thread_ts)
        message = Message(
            self.workspace.ts(), text[:40_000], blocks, BOT_USER, BOT, thread_ts=thread_ts, metadata=_metadata(params)
        )
        self._sign(message, params)
        self.workspace.add(channel, message)
        self._tell(channel, self.workspace.message_json(channel, message, metadata=False))
        told = self.workspace.message_json(channel, message, metadata=True)
        return {"channel": channel.id, "ts": message.ts, "message": told}

    def _limit_rate(self, channel: Channel) -> None:
        if self.post_rate is None:
            return
        count, seconds = self.post_rate
        posts, now = self._posts[channel.id], time.monotonic()
        while posts and posts[0] <= now - seconds:
            posts.popleft()
        if len(posts) >= count:
            raise Refused("ratelimited", retry_after=posts[0] + seconds - now)
        posts.append(now)

    def _content(self, params: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
        text = params.get("text") or ""
        blocks = _decoded(params.get("blocks"), "invalid_blocks_format") or []
        if problems := list(block_kit.problems(blocks)):
            raise Refused("invalid_blocks", response_metadata={"messages": problems})
        if block_kit.too_long(blocks) or any(each in f"{text}{blocks}" for each in self.refused):
            raise Refused("msg_blocks_too_long")
        if not text.strip() and not blocks:
            raise Refused("no_text")
        return text, blocks

    def _check_thread(self, channel: Channel, ts: str) -> None:
        root = channel.messages.get(ts)
        if root is None or root.subtype == "tombstone":
            raise Refused("thread_not_found")
        if root.thread_ts is not None:
            raise Refused("cannot_reply_to_message")
        if ts in channel.locked:
            raise Refused("restricted_action_thread_locked")

    def _sign(self, message: Message, params: Mapping[str, Any]) -> None:
        """Show another name. Without its scope, Slack has been seen to pass the name over and to refuse."""
        name = params.get("username")
        if not name:
            return
        if self.refuses_username:
            self._need("chat:write.customize")
        if "chat:write.customize" in self.scopes:
            message.username, message.user = str(name), None
            message.subtype = message.subtype or "bot_message"

    def _update(self, params: Mapping[str, Any]) -> dict[str, Any]:
        channel, message = self._own_message(params, "cant_update_message")
        text, blocks = self._content(params)
        if len(text) > 40_000:
            raise Refused("msg_too_long")
        previous = self.workspace.message_json(channel, message, metadata=False)
        message.text, message.blocks = text, blocks
        message.metadata = _metadata(params) or message.metadata
        if not blocks:
            message.edited = {"user": BOT, "ts": self.workspace.ts()}
        told = self.workspace.message_json(channel, message, metadata=True)
        self.tell_changed(channel, message, previous)
        return {"channel": channel.id, "ts": message.ts, "text": text, "message": told}

    def tell_changed(self, channel: Channel, message: Message, previous: dict[str, Any]) -> None:
        now = self.workspace.ts()
        changed = self.workspace.message_json(channel, message, metadata=False)
        event = {"type": "message", "subtype": "message_changed", "hidden": True, "ts": now}
        self._tell(channel, event | {"message": changed, "previous_message": previous})

    def _own_message(self, params: Mapping[str, Any], foreign: str) -> tuple[Channel, Message]:
        channel = self._channel(params)
        message = channel.messages.get(str(params["ts"]))
        if message is None:
            raise Refused("message_not_found")
        if message.bot_id != BOT:
            raise Refused(foreign)
        return channel, message

    def _delete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        channel, message = self._own_message(params, "cant_delete_message")
        self.remove(channel, message)
        return {"channel": channel.id, "ts": message.ts}

    def remove(self, channel: Channel, message: Message) -> None:
        """Take a message away. One with replies leaves a tombstone, as a thread needs its head."""
        previous = self.workspace.message_json(channel, message, metadata=False)
        if message.thread_ts is None and self.workspace.replies(channel, message.ts):
            message.subtype, message.text, message.blocks = "tombstone", "This message was deleted.", []
            message.metadata, message.user, message.bot_id = None, "USLACKBOT", None
            self.tell_changed(channel, message, previous)
            return
        self.workspace.remove(channel, message)
        event = {"type": "message", "subtype": "message_deleted", "hidden": True, "deleted_ts": message.ts}
        self._tell(channel, event | {"previous_message": previous, "ts": self.workspace.ts()})

    def _permalink(self, params: Mapping[str, Any]) -> dict[str, Any]:
        channel = self._channel(params)
        if params["message_ts"] not in channel.messages:
            raise Refused("message_not_found")
        number = params["message_ts"].replace(".", "")
        return {"channel": channel.id, "permalink": f"https://emulated.slack.com/archives/{channel.id}/p{number}"}

    def _history(self, params: Mapping[str, Any]) -> dict[str, Any]:
        channel = self._channel(params, member="not_in_channel")
        roots = sorted(self.workspace.roots(channel), key=lambda message: message.ts, reverse=True)
        return self._page(channel, [m for m in roots if _within(m, params)], params, 100) | {
            "channel_actions_ts": None,
            "channel_actions_count": 0,
        }

    def _replies(self, params: Mapping[str, Any]) -> dict[str, Any]:
        channel = self._channel(params, member="channel_not_found")
        message = channel.messages.get(params["ts"])
        if message is None:
            raise Refused("thread_not_found")
        root = channel.messages.get(message.thread_ts or message.ts, message)
        replies = [reply for reply in self.workspace.replies(channel, root.ts) if _within(reply, params)]
        return self._page(channel, [root, *replies], params, 1000)

    def _page(self, channel: Channel, messages: list[Message], params: Mapping[str, Any], most: int) -> dict[str, Any]:
        limit = min(int(params.get("limit") or most), most)
        if cursor := params.get("cursor"):
            ts, newest_first = self._ts_of(cursor), "ts" not in params
            messages = [each for each in messages if each.number == ts or (each.number < ts) == newest_first]
        metadata = str(params.get("include_all_metadata")).lower() in {"true", "1"}
        told = [self.workspace.message_json(channel, message, metadata=metadata) for message in messages[:limit]]
        if not metadata:
            for message in told:
                message.pop("metadata", None)
        if len(messages) <= limit:
            return {"messages": told, "has_more": False}
        following = b64encode(f"{self.cursor_kind}{messages[limit].number}".encode()).decode()
        return {"messages": told, "has_more": True, "response_metadata": {"next_cursor": following}}

    def _ts_of(self, cursor: str) -> int:
        """Return with which message's ts, in microseconds, the page of a cursor begins."""
        try:
            return int(b64decode(cursor, validate=True).decode().removeprefix(self.cursor_kind))
        except ValueError:
            raise Refused("invalid_cursor") from None

    def _react(self, params: Mapping[str, Any]) -> dict[str, Any]:
        channel = self._channel(params)
        if params["timestamp"] not in channel.messages:
            raise Refused("message_not_found")
        return {}

    def _reactions(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if not {"channel", "timestamp"} <= params.keys():
            raise Refused("no_item_specified")
        channel = self._channel(params)
        message = channel.messages.get(params["timestamp"])
        if message is None:
            raise Refused("message_not_found")
        told = self.workspace.message_json(channel, message, metadata=False)
        return {"type": "message", "channel": channel.id, "message": told}

    # files

    def _upload_url(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if int(params["length"]) < 1:
            raise Refused("missing_argument")
        file = File(self.workspace.id("F"), params["filename"], BOT_USER, size=int(params["length"]))
        self._uploads[file.id] = file
        return {"file_id": file.id, "upload_url": f"{self.workspace.base}/upload/v1/{file.id}"}

    def upload(self, file: str, content: bytes, type: str) -> bool:
        """Take the raw bytes of a file; False where they are not what was announced."""
        if file not in self._uploads or len(content) != self._uploads[file].size:
            return False
        self._uploads[file].content, self._uploads[file].type = content, type
        return True

    def _complete_upload(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if params.get("username") and self.refuses_username:
            self._need("chat:write.customize")
        files = []
        for named in _decoded(params["files"], "invalid_arguments"):
            file = self._uploads.pop(named["id"], None)
            if file is None or len(file.content) != file.size:
                raise Refused("file_not_found")
            file.title = named.get("title") or file.name
            self.workspace.files[file.id] = file
            files.append(file)
        if params.get("channel_id"):
            self._share_later(files, params)
        return {"files": [{"id": f.id, "title": f.title, "created": f.created, "user": f.user} for f in files]}

    def _share_later(self, files: list[File], params: Mapping[str, Any]) -> None:
        channel = self._channel(params, key="channel_id", member="not_in_channel")
        if channel.archived:
            raise Refused("is_archived")
        if params.get("thread_ts"):
            self._check_thread(channel, params["thread_ts"])
        blocks = _decoded(params.get("blocks"), "invalid_blocks") or []
        if list(block_kit.problems(blocks)) or any(block["type"] != "rich_text" for block in blocks):
            raise Refused("invalid_blocks")
        comment = params.get("initial_comment") or ""
        message = Message(
            "", comment, [] if comment else blocks, BOT_USER, None, "file_share", thread_ts=params.get("thread_ts")
        )
        message.files = files
        if "chat:write.customize" in self.scopes and params.get("username"):
            message.username = params["username"]
        self._share(channel, message)

    def _file(self, params: Mapping[str, Any]) -> dict[str, Any]:
        file = self.workspace.files.get(params["file"])
        if file is None:
            raise Refused("file_not_found")
        return {"file": file.json(self.workspace.base)}

    def _delete_file(self, params: Mapping[str, Any]) -> dict[str, Any]:
        file = self.workspace.files.get(params["file"])
        if file is None:
            raise Refused("file_not_found")
        if file.deleted:
            raise Refused("file_deleted")
        if file.user != BOT_USER:
            raise Refused("cant_delete_file")
        file.deleted = True
        return {}


def _decoded(value: Any, error: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise Refused(error) from None


def _metadata(params: Mapping[str, Any]) -> dict[str, Any] | None:
    metadata = _decoded(params.get("metadata"), "invalid_metadata_format")
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or not {"event_type", "event_payload"} <= set(metadata):
        raise Refused("invalid_metadata_schema")
    if len(json.dumps(metadata)) > 1024:  # the real limit is not told; what is built on it stays below 1 KB
        raise Refused("metadata_too_large")
    return metadata


def _within(message: Message, params: Mapping[str, Any]) -> bool:
    oldest, latest = Decimal(params.get("oldest") or 0), Decimal(params.get("latest") or "Infinity")
    if str(params.get("inclusive")).lower() in {"true", "1"}:
        return oldest <= Decimal(message.ts) <= latest
    return oldest < Decimal(message.ts) < latest
