"""The HTTP server around the world: authorisation, faults, rate limits, validation; and the staff who act in it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from aiohttp import BodyPartReader, web

from tests.emulators.base import FAILS, MET, Call, Fault, Faults, Kind, Shown, cut_within, go_down
from tests.emulators.discord import page, spec
from tests.emulators.discord.gateway import Gateway
from tests.emulators.discord.markdown import literally, render
from tests.emulators.discord.rest import ApiError, Ask, Rest, TooMany, Upload
from tests.emulators.discord.world import Json, World, is_thread, timestamp

TOKEN = "discord-test-token"
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
VIA = {"Via": "1.1 google"}  # the library takes a 429 without it for Cloudflare's


class DiscordEmulator:
    """One guild with a text channel and a forum, behind REST API v10 and a gateway.

    `faults` and `calls` name methods by Discord's operation ids: `create_message`, `create_thread_from_message`, ...
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = TOKEN,
        forum: bool = False,
        create_rate: tuple[int, float] | None = None,
    ) -> None:
        self.host, self.port, self.token = host, port, token
        self.faults = Faults()
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self.connections: set[object] = set()
        """From where the API was called: a connection of HTTP each."""
        self.world = World(forum=forum)
        self.gateway = Gateway(self.world, token)
        self.events = self.gateway.events
        self.rest = Rest(self.world, self.gateway, create_rate)
        self.expired_cdn = False
        """Whether every address of a file has run out."""
        self.banned = False
        """Whether Cloudflare, in front of Discord, turns everything away."""
        self._runner: web.AppRunner | None = None

    # --- start and stop

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[cut_within], client_max_size=30 * 1024 * 1024)
        app.router.add_get("/", self._page)
        app.router.add_post("/staff", self._staff_form)
        app.router.add_get("/gateway", self.gateway.handle)
        app.router.add_get("/gateway/resume", self.gateway.handle)
        app.router.add_get("/attachments/{tail:.*}", self._attachment)
        app.router.add_get("/avatars/{tail:.*}", self._picture)
        app.router.add_get("/guilds/{tail:.*}", self._picture)
        app.router.add_route("*", "/api/v10/{tail:.*}", self._api)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.rest.address = self.api_url
        self.gateway.resume_url = self.api_url.replace("http", "ws", 1) + "/gateway/resume"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.gateway.drop()
        if self._runner:
            await self._runner.cleanup()

    @property
    def api_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def settings(self) -> dict[str, Any]:
        return {
            "type": "discord",
            "token": self.token,
            "channel_id": self.world.default_channel,
            "api_url": self.api_url,
        }

    # --- the API

    async def _api(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport and request.transport.get_extra_info("peername"))
        if self.banned:  # neither JSON, nor `Via`, nor Discord's own headers
            return web.Response(status=429, text="error code: 1015", headers={"Retry-After": "600"})
        found = spec.operation(request.method, request.path.removeprefix("/api/v10"))
        if found is None:
            return self._answer(404, {"message": "404: Not Found", "code": 0})
        op, path = found
        ask, body = await self._read(request, path)
        params = {**path, **request.query, **ask.body}
        fault = request[MET] = self.faults.take(op.id, params)
        if fault:
            await fault.late(request)
        called = asyncio.get_running_loop().time()
        response = await self._respond(request, op, ask, body, fault)
        self.calls.append(Call(op.id, params, called, response.status, response.reason or ""))
        if fault and fault.kind in {Kind.CUT, Kind.CUT_AFTER} and request.transport:
            request.transport.abort()
        return response

    async def _read(self, request: web.Request, path: Mapping[str, str]) -> tuple[Ask, Any]:
        path = {key: unquote(value) for key, value in path.items()}
        if request.content_type != "multipart/form-data":
            raw = await request.read()
            body = json.loads(raw) if raw else None
            return Ask(path, request.query, body or {}), body
        body, files = None, {}
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            if part.name == "payload_json":
                body = json.loads(await part.read())
            else:
                index = int(part.name.removeprefix("files[").removesuffix("]"))
                content_type = part.headers.get("Content-Type", "application/octet-stream")
                files[index] = Upload(part.filename or "file", content_type, bytes(await part.read()))
        return Ask(path, request.query, body or {}, files), body

    async def _respond(
        self, request: web.Request, op: spec.Operation, ask: Ask, body: Any, fault: Fault | None
    ) -> web.Response:
        if request.headers.get("Authorization") != f"Bot {self.token}":
            return self._answer(401, {"message": "401: Unauthorized", "code": 0}, op)
        self.violations += spec.request_problems(op, body)
        if fault and fault.kind is Kind.RATE_LIMIT:
            return self._too_many(TooMany(fault.seconds), op)
        if fault and fault.kind in {Kind.ERROR, Kind.CUT}:
            return self._answer(500, {"message": "500: Internal Server Error", "code": 0})
        response = self._perform(op, ask)
        if fault and fault.kind is Kind.ERROR_AFTER:
            return self._answer(500, {"message": "500: Internal Server Error", "code": 0})
        if fault:
            await fault.slow()
        return response

    def _perform(self, op: spec.Operation, ask: Ask) -> web.Response:
        handler = getattr(self.rest, op.id, None)
        if handler is None:
            return self._answer(404, {"message": "404: Not Found", "code": 0})
        try:
            limits = self.rest.spend(ask.path["channel_id"]) if op.id == "create_message" else (50, 49, 1.0)
            result = handler(ask)
        except TooMany as refusal:
            return self._too_many(refusal, op)
        except ApiError as refusal:
            return self._answer(refusal.status, refusal.body, op)
        status, answer = result if isinstance(result, tuple) else (200 if result is not None else 204, result)
        return self._answer(status, answer, op, limits)

    def _too_many(self, refusal: TooMany, op: spec.Operation) -> web.Response:
        body = {
            "message": "You are being rate limited.",
            "retry_after": refusal.seconds,
            "global": refusal.everywhere,
            "code": 0,
        }
        headers = {
            "Retry-After": str(int(-(-refusal.seconds // 1))),
            "X-RateLimit-Scope": "global" if refusal.everywhere else "user",
        }
        if refusal.everywhere:
            headers["X-RateLimit-Global"] = "true"
        response = self._answer(429, body, op, (5, 0, refusal.seconds))
        response.headers.update(headers)
        return response

    def _answer(
        self, status: int, body: Any, op: spec.Operation | None = None, limits: tuple[int, int, float] | None = None
    ) -> web.Response:
        headers = dict(VIA)
        if op:
            self.violations += spec.answer_problems(op, status, body)
        if op and limits:
            limit, remaining, after = limits
            headers |= {
                "X-RateLimit-Bucket": f"bucket-{op.id}",
                "X-RateLimit-Limit": str(limit),
                "X-RateLimit-Remaining": str(remaining),
                "X-RateLimit-Reset": f"{time.time() + after:.3f}",
                "X-RateLimit-Reset-After": f"{after:.3f}",
            }
        if body is None:
            return web.Response(status=status, headers=headers)
        # Without a charset: the library reads JSON of no other content type.
        return web.Response(
            status=status, body=json.dumps(body).encode(), headers=headers | {"Content-Type": "application/json"}
        )

    # --- the CDN

    async def _attachment(self, request: web.Request) -> web.Response:
        fault = request[MET] = self.faults.take("download", {})
        if fault:
            await fault.slow()
        if fault and fault.kind in FAILS:
            if fault.kind in {Kind.CUT, Kind.CUT_AFTER} and request.transport:
                request.transport.abort()
            return web.Response(status=429 if fault.kind is Kind.RATE_LIMIT else 500, text="not now")
        file = None if self.expired_cdn else self.rest.download(request.path, request.query)
        if file is None:
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(body=file.content, headers={"Content-Type": file.type})

    async def _picture(self, request: web.Request) -> web.Response:
        return web.Response(body=PICTURE, content_type="image/png")

    # --- looks

    def threads(self) -> Sequence[str]:
        return [thread["id"] for thread in self.world.threads()]

    def title(self, thread: str) -> str:
        return self.world.channels[thread]["name"]

    def messages(self, thread: str) -> Sequence[Shown]:
        names = self.world.names()
        return [self._shown(message, names) for message in self.world.thread_messages(thread)]

    def _shown(self, message: Json, names: Mapping[str, str]) -> Shown:
        author = message["author"]
        return Shown(
            id=message["id"],
            by_bot=author["id"] == self.world.bot["id"],
            author=self.world.display_name(author["id"]),
            text=render(message["content"], names),
            files=tuple(attachment["filename"] for attachment in message["attachments"]),
            raw=message,
        )

    def contents(self, shown: Shown) -> Sequence[bytes]:
        addresses = [urlsplit(attachment["url"]).path for attachment in shown.raw["attachments"]]
        return [self.rest.uploads[address].content for address in addresses]

    @property
    def pings(self) -> list[str]:
        """Whom the bot's messages called."""
        return self.rest.pings

    # --- staff

    async def staff_says(self, thread: str, text: str, *, name: str = "Anna") -> str:
        return await self.staff_posts(thread, literally(text), name=name)

    async def staff_posts(self, thread: str, content: str, **more: Any) -> str:
        """A person sends this source, its markup in it (`write`)."""
        return self.write(thread, content, **more)

    def write(self, thread: str, content: str, *, name: str = "Anna", files: Sequence[Upload] = (), **more: Any) -> str:
        """A person sends this source, with files. `more` is put into the message's object."""
        channel = self.world.channels[thread]
        content = content.strip()
        if not content and not files and not more:
            raise ValueError("Discord's client does not send an empty message")
        if channel.get("thread_metadata", {}).get("archived"):
            channel["thread_metadata"]["archived"] = False
            self.gateway.dispatch("THREAD_UPDATE", channel)
        attachments = self.rest.attach(thread, files)
        author = self.world.person(name)
        named = {"attachments": attachments, **self.world.named_in(content)}
        message = self.world.add_message(channel, author, content, **{**named, **more})
        self.rest.tell("MESSAGE_CREATE", message)
        return message["id"]

    async def staff_edits(self, thread: str, message: str, text: str) -> None:
        stored = self.world.messages[thread][message]
        stored["content"] = literally(text).strip()
        stored["edited_timestamp"] = timestamp()
        self.rest.tell("MESSAGE_UPDATE", stored)

    async def staff_deletes(self, thread: str, message: str) -> None:
        self.rest.remove(self.world.messages[thread][message])

    async def staff_reacts(self, thread: str, message: str, *, name: str = "Anna") -> None:
        user = self.world.person(name)
        stored = next(shown for shown in self.world.thread_messages(thread) if shown["id"] == message)
        event = {
            "user_id": user["id"],
            "channel_id": stored["channel_id"],
            "message_id": message,
            "guild_id": self.world.guild_id,
            "member": self.world.members[user["id"]],
            "emoji": {"id": None, "name": "👀"},
            "message_author_id": stored["author"]["id"],
            "burst": False,
            "type": 0,
        }
        self.gateway.dispatch("MESSAGE_REACTION_ADD", event)

    def staff_types(self, thread: str, *, name: str = "Anna") -> None:
        """A person starts to type."""
        user = self.world.person(name)
        where = {"channel_id": thread, "guild_id": self.world.guild_id}
        event = {
            **where,
            "user_id": user["id"],
            "timestamp": int(time.time()),
            "member": self.world.members[user["id"]],
        }
        self.gateway.dispatch("TYPING_START", event)

    def repeat(self, dice: Random | None = None) -> None:
        if self.gateway.told_last:
            self.gateway.dispatch(*self.gateway.told_last)

    def archive(self, thread: str, *, locked: bool = False) -> None:
        """A person, or time, archives a thread; a moderator also locks it."""
        channel = self.world.channels[thread]
        channel["thread_metadata"].update(archived=True, locked=locked)
        self.gateway.dispatch("THREAD_UPDATE", channel)

    def delete_thread(self, thread: str) -> None:
        """A moderator deletes a thread with all that is in it."""
        channel = self.world.channels.pop(thread)
        del self.world.messages[thread]
        gone = {key: channel[key] for key in ("id", "guild_id", "parent_id", "type")}
        self.gateway.dispatch("THREAD_DELETE", gone)

    def refuse(self, text: str) -> None:
        """Have the filter of messages object to a text."""
        self.world.harmful_links.add(text)

    def forbid(self, right: str) -> None:
        """An administrator takes a right from the bot's role."""
        self.world.granted.discard(right)

    def allow(self, right: str) -> None:
        """An administrator gives it back. Who sees a channel again is told of its threads, not of what it missed."""
        self.world.granted.add(right)
        self.gateway.dispatch("GUILD_ROLE_UPDATE", {"guild_id": self.world.guild_id, "role": self.world.roles()[1]})
        if right == "VIEW_CHANNEL":
            channels = [channel["id"] for channel in self.world.channels.values() if not is_thread(channel)]
            threads = list(self.world.threads(active=True))
            where = {"guild_id": self.world.guild_id, "channel_ids": channels}
            self.gateway.dispatch("THREAD_LIST_SYNC", {**where, "threads": threads, "members": []})

    def server_goes(self) -> None:
        """Discord has an outage: for the bot the server is not there."""
        self.gateway.dispatch("GUILD_DELETE", {"id": self.world.guild_id, "unavailable": True})
        self.gateway.guild_is_out = True

    def server_returns(self) -> None:
        """The outage is over. What was done meanwhile is not told."""
        self.gateway.guild_is_out = False
        self.gateway.dispatch("GUILD_CREATE", self.world.guild_create())

    def delete_channel(self, channel: str) -> None:
        """An administrator deletes a channel with all its threads. Of these nobody is told."""
        for thread in [thread["id"] for thread in self.world.threads() if thread["parent_id"] == channel]:
            del self.world.channels[thread], self.world.messages[thread]
        del self.world.messages[channel]
        self.gateway.dispatch("CHANNEL_DELETE", self.world.channels.pop(channel))

    async def go_down(self) -> None:
        assert self._runner
        await go_down(self._runner)

    async def come_back(self) -> None:
        assert self._runner
        await web.TCPSite(self._runner, self.host, self.port).start()

    async def disconnect(self) -> None:
        self.gateway.drop()

    # --- the page

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=page.html(self), content_type="text/html")

    async def _staff_form(self, request: web.Request) -> web.Response:
        form = await request.post()
        text = str(form["text"])
        if text.strip():
            await self.staff_posts(str(form["thread"]), text, name=str(form["name"]) or "Anna")
        raise web.HTTPSeeOther(f"/#{form['thread']}")
