"""The server: HTTP in and out, faults, and staff who act."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Self

from aiohttp import web

from tests.emulators.base import FAILS, MET, Call, Fault, Faults, Kind, Shown, Way, cut_within, go_down

from . import spec, text
from .api import Api, Refused, loop_time
from .page import page
from .updates import Updates
from .world import GENERAL, GROUP_ANONYMOUS_BOT, Group, Object, World

TOKEN = "7000000001:AAEmulatedTokenOfTheTestServer-000000"
CHAT = -1001000000001
_FILES = ("document", "video", "voice", "audio", "animation", "sticker", "video_note")
_SERVICE = re.compile("^(forum_topic_|general_forum_|new_chat_|left_chat_|pinned_message|migrate_)")


class TelegramEmulator:
    """Speaks the Bot API for one bot, and acts for the people in its groups."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = TOKEN,
        chat: int = CHAT,
        group_rate: tuple[int, float] | None = None,
        clock: Callable[[], float] = loop_time,
    ) -> None:
        self.host, self.port, self.token, self.chat = host, port, token, chat
        bot = {"id": int(token.partition(":")[0]), "is_bot": True, "first_name": "Bridge", "username": "bridge_bot"}
        self.world = World(bot)
        self.updates = Updates()
        self.api = Api(self.world, self.updates, group_rate, clock)
        self.faults = Faults()
        self.calls: list[Call] = []
        self.events = Way()
        self.world.on_update = self._update
        self._names: dict[int, str] = {}
        self._runner: web.AppRunner | None = None
        self.connections: set[object] = set()
        """From where methods were called: a connection of HTTP each."""
        self._told_last: tuple[str, Object] | None = None
        self.add_group(chat, "Support")

    # --- what tests see

    @property
    def violations(self) -> list[str]:
        return self.api.violations

    @property
    def api_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def settings(self) -> dict[str, Any]:
        return {"type": "telegram", "token": self.token, "chat_id": self.chat, "api_url": self.api_url}

    def threads(self) -> Sequence[str]:
        return [f"{chat}/{topic}" for chat, topic in self.world.made if topic in self.world.groups[chat].topics]

    def title(self, thread: str) -> str:
        group, topic = self._find(thread)
        return group.topics[topic].name

    def messages(self, thread: str) -> Sequence[Shown]:
        group, topic = self._find(thread)
        return [
            self._shown(message)
            for message in group.messages.values()
            if message.get("message_thread_id") == topic and not any(_SERVICE.match(key) for key in message)
        ]

    def contents(self, shown: Shown) -> Sequence[bytes]:
        described = [*shown.raw.get("photo", ())[-1:], *(shown.raw[kind] for kind in _FILES if kind in shown.raw)]
        return [self.world.files[file["file_id"]].content for file in described]

    def general(self, chat: int | None = None) -> Sequence[Shown]:
        """Return what a person sees outside of all topics."""
        group = self.world.groups[chat or self.chat]
        return [self._shown(message) for message in group.messages.values() if "message_thread_id" not in message]

    # --- what people do

    def refuse(self, text: str) -> None:
        self.api.refused.add(text)

    def add_group(self, chat: int, title: str, *, forum: bool = True) -> Group:
        group = self.world.groups[chat] = Group(chat, title, forum)
        return group

    async def staff_says(self, thread: str, text: str, *, name: str = "Anna") -> str:
        return await self.staff_posts(thread, name=name, **self._written(text))

    async def staff_sends(
        self,
        thread: str,
        filename: str,
        content: bytes,
        *,
        kind: str = "document",
        caption: str = "",
        name: str = "Anna",
        type: str = "application/octet-stream",
        size: int | None = None,
    ) -> str:
        """A person sends a file as `kind`: photo, document, video, voice, audio, animation, sticker, video_note."""
        file = self.world.keep(filename, type, content)
        described = self.world.described(file)
        if size is not None:
            described["file_size"] = size
        square = {"width": 320, "height": 320}
        shapes: dict[str, Any] = {
            "photo": [described | {"file_id": "small", "width": 90, "height": 90}, described | square],
            "document": described | {"file_name": filename, "mime_type": type},
            "video": described | square | {"duration": 3, "file_name": filename, "mime_type": type},
            "animation": described | square | {"duration": 3, "file_name": filename, "mime_type": type},
            "audio": described | {"duration": 3, "file_name": filename, "mime_type": type},
            "voice": described | {"duration": 3, "mime_type": type},
            "video_note": described | {"length": 240, "duration": 3},
            "sticker": described | square | {"type": "regular", "is_animated": False, "is_video": False, "emoji": "👍"},
        }
        written = self._written(caption) if caption else {}
        captions = {
            key.replace("text", "caption").replace("entities", "caption_entities"): v for key, v in written.items()
        }
        number = await self.staff_posts(thread, name=name, **{kind: shapes[kind]}, **captions)
        self._names[int(number)] = filename
        return number

    async def staff_posts(
        self, thread: str, *, name: str = "Anna", sender: Object | None = None, **content: Any
    ) -> str:
        """A person posts any content: the fields of a Message. `CHAT/1` is the General topic."""
        chat, topic = (int(part) for part in thread.split("/"))
        message = self.world.post(self.world.groups[chat], topic, sender or self.world.person(name), **content)
        return str(message["message_id"])

    async def anonymous_says(self, thread: str, text: str, *, signature: str = "") -> str:
        """An administrator who hides behind the group writes."""
        group, _ = self._find(thread)
        more: Object = {"sender_chat": group.chat()} | ({"author_signature": signature} if signature else {})
        return await self.staff_posts(thread, sender=GROUP_ANONYMOUS_BOT, **more, **self._written(text))

    async def staff_edits(self, thread: str, message: str, text: str) -> None:
        group, _ = self._find(thread)
        kept = group.messages[int(message)]
        written = self._written(text)
        if "text" not in kept:
            written = {"caption": written["text"], "caption_entities": written["entities"]}
        self.world.edited(kept, **written)

    async def staff_deletes(self, thread: str, message: str) -> None:
        del self._find(thread)[0].messages[int(message)]

    async def staff_reacts(self, thread: str, message: str, *, name: str = "Anna") -> None:
        group, _ = self._find(thread)
        self.world.react(group, int(message), self.world.person(name))

    def staff_closes(self, thread: str) -> None:
        """A person closes a topic."""
        group, topic = self._find(thread)
        group.topics[topic].closed = True
        self.world.post(group, topic, self.world.person("Anna"), forum_topic_closed={})

    def staff_deletes_topic(self, thread: str) -> None:
        self.world.delete_topic(*self._find(thread))

    def change_bot(self, chat: int, status: str) -> None:
        """A person makes the bot an administrator or a member of a group, or removes it: kicked."""
        self.world.change_bot(self.world.groups[chat], status, self.world.person("Anna"))

    def migrate(self, chat: int, to: int) -> None:
        """The group is upgraded: it has another id from now on."""
        group = self.world.groups[chat]
        self.world.post(group, None, self.world.person("Anna"), migrate_to_chat_id=to)
        group.migrated_to = to
        self.add_group(to, group.title)

    async def go_down(self) -> None:
        assert self._runner
        await go_down(self._runner)

    async def come_back(self) -> None:
        assert self._runner
        await web.TCPSite(self._runner, self.host, self.port).start()

    async def disconnect(self) -> None:
        if self._runner is not None and self._runner.server is not None:
            for connection in self._runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()

    # --- life

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[cut_within], client_max_size=64 << 20)
        app.router.add_get("/", self._page)
        app.router.add_post("/say", self._say)
        app.router.add_get("/file/bot{token}/{path:.+}", self._download)
        app.router.add_route("*", "/bot{token}/{method}", self._call)
        # A long poll ends when its client goes
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.updates.delete_webhook()
        self.updates.end_poll("stopped")
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- HTTP

    async def _call(self, request: web.Request) -> web.Response:
        at = loop_time()
        self.connections.add(request.transport and request.transport.get_extra_info("peername"))
        name = request.match_info["method"]
        method = spec.canonical(name)
        raw = await self._raw(request)
        params: Object = {}
        try:
            self._authorise(request)
            if method is None or not hasattr(self.api, _snake(method)):
                raise Refused(404, "Not Found: method not found")
            params, broken = spec.decoded(method, raw)
            self.violations.extend(f"{method}: {wrong}" for wrong in broken)
            if any(wrong.endswith(" is missing") for wrong in broken):
                raise Refused(400, f"Bad Request: {broken[0]}")
            result = await self._performed(method, params, request)
            self.violations.extend(f"answer: {wrong}" for wrong in spec.answer(method, result))
            status, body = 200, {"ok": True, "result": result}
        except Refused as refused:
            status = refused.status
            body = {"ok": False, "error_code": status, "description": refused.description}
            body |= {"parameters": refused.parameters} if refused.parameters else {}
        self.calls.append(Call(method or name, params or raw, at, status, str(body.get("description", ""))))
        return web.json_response(body, status=status)

    async def _performed(self, method: str, params: Object, request: web.Request) -> Any:
        fault = request[MET] = self.faults.take(method, params)
        if fault is not None:
            await fault.late(request)
            await self._before(fault, request)
        result = await getattr(self.api, _snake(method))(**params)
        if fault is not None:
            await self._after(fault, request)
        return result

    async def _before(self, fault: Fault, request: web.Request) -> None:
        if fault.kind is Kind.RATE_LIMIT:
            wait = max(1, round(fault.seconds))
            raise Refused(429, f"Too Many Requests: retry after {wait}", retry_after=wait)
        if fault.kind is Kind.ERROR:
            raise Refused(500, "Internal Server Error")
        if fault.kind is Kind.CUT:
            self._cut(request)

    async def _after(self, fault: Fault, request: web.Request) -> None:
        if fault.kind is Kind.ERROR_AFTER:
            raise Refused(500, "Internal Server Error")
        if fault.kind is Kind.CUT_AFTER:
            self._cut(request)
        await fault.slow()

    @staticmethod
    def _cut(request: web.Request) -> None:
        if request.transport is not None:
            request.transport.abort()
        raise Refused(500, "cut")

    def _authorise(self, request: web.Request) -> None:
        token = request.match_info["token"]
        if token != self.token:
            known_form = re.fullmatch(r"\d+:[\w-]{30,}", token)
            raise Refused(401, "Unauthorized") if known_form else Refused(404, "Not Found")

    @staticmethod
    async def _raw(request: web.Request) -> Object:
        if request.content_type == "application/json":
            return dict(json.loads(await request.read() or b"{}"))
        raw: Object = dict(request.query)
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                raw[name] = spec.Upload(value.filename, value.content_type, value.file.read())
            else:
                raw[name] = value
        return raw

    async def _download(self, request: web.Request) -> web.Response:
        if request.match_info["token"] != self.token:
            return web.Response(status=401)
        fault = request[MET] = self.faults.take("download", {})
        if fault:
            await fault.slow()
        if fault and fault.kind in FAILS:
            if fault.kind in {Kind.CUT, Kind.CUT_AFTER} and request.transport:
                request.transport.abort()
            return web.Response(status=500)
        file = next((file for file in self.world.files.values() if file.path == request.match_info["path"]), None)
        if file is None:
            return web.Response(status=404)
        return web.Response(body=file.content, content_type="application/octet-stream")

    async def _page(self, request: web.Request) -> web.Response:
        topics = [(thread, self.title(thread), list(self.messages(thread))) for thread in self.threads()]
        return web.Response(text=page(topics), content_type="text/html")

    async def _say(self, request: web.Request) -> web.Response:
        form = await request.post()
        try:
            await self.staff_says(str(form["thread"]), str(form["text"]), name=str(form.get("name") or "Anna"))
        except (KeyError, ValueError) as error:
            return web.Response(status=400, text=f"Not said: {error}")
        raise web.HTTPSeeOther("/")

    # --- shared

    def repeat(self, dice: Random | None = None) -> None:
        if self._told_last:
            self.updates.add(*self._told_last)

    def _update(self, kind: str, value: Object) -> None:
        self._told_last = kind, value
        then = copy.deepcopy(value)
        # Updates of one chat keep their order
        self.events.send(str(value["chat"]["id"]), lambda: self._tell(kind, then))

    def _tell(self, kind: str, value: Object) -> None:
        update = self.updates.add(kind, value)
        if update is not None:
            self.violations.extend(spec.update(update))

    def _find(self, thread: str) -> tuple[Group, int]:
        chat, topic = (int(part) for part in thread.split("/"))
        group = self.world.groups[chat]
        if topic != GENERAL and topic not in group.topics:
            raise KeyError(thread)
        return group, topic

    @staticmethod
    def _written(source: str) -> Object:
        body, entities = text.settled(source, [], limit=4096)
        return {"text": body, "entities": entities}

    def _shown(self, message: Object) -> Shown:
        sender = message["from"]
        author = " ".join(part for part in (sender["first_name"], sender.get("last_name")) if part)
        return Shown(
            id=str(message["message_id"]),
            by_bot=sender["id"] == self.world.bot["id"],
            author=message.get("author_signature") or author,
            text=message.get("text") or message.get("caption") or "",
            files=tuple(self._file_names(message)),
            raw=message,
        )

    def _file_names(self, message: Object) -> list[str]:
        if message["message_id"] in self._names:
            return [self._names[message["message_id"]]]
        if "photo" in message:
            return [self.world.files[message["photo"][-1]["file_id"]].name]
        return [message[kind].get("file_name", kind) for kind in _FILES if kind in message]


def _snake(method: str) -> str:
    return re.sub("(?=[A-Z])", "_", method).lower()
