"""The test server as a whole: routes, faults, staff who act."""

from __future__ import annotations

import asyncio
import copy
import math
from collections import defaultdict, deque
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from random import Random
from typing import Any, Self

from aiohttp import web

from tests.emulators.base import FAILS, MET, Call, Fault, Faults, Kind, Shown, Way, cut_within, go_down
from tests.emulators.slack import pages, spec
from tests.emulators.slack.composer import compose
from tests.emulators.slack.events import ACK_WITHIN, Delivered, HttpEvents, SocketMode
from tests.emulators.slack.screen import Screen
from tests.emulators.slack.web_api import Refused, WebApi
from tests.emulators.slack.workspace import APP, BOT, BOT_NAME, BOT_USER, TEAM, Channel, File, Message, Workspace

CHANNEL = "C0000SUPPORT"
OTHER_CHANNEL = "C0000BILLING"
SCOPES = frozenset(
    {
        "channels:history",
        "channels:join",
        "channels:read",
        "chat:write",
        "chat:write.customize",
        "files:read",
        "files:write",
        "groups:history",
        "groups:read",
        "reactions:read",
        "reactions:write",
        "users:read",
    }
)
_HTML = "<!DOCTYPE html><html><body>Sign in to Slack</body></html>"


class SlackEmulator:
    """A Slack workspace with two channels and one app in them. Threads are named `CHANNEL/TS`, messages by their ts."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        bot_token: str = "xoxb-emulator",
        app_token: str = "xapp-emulator",
        signing_secret: str = "emulated-signing-secret",
        scopes: frozenset[str] = SCOPES,
        post_rate: tuple[int, float] | None = None,
        ack_within: float = ACK_WITHIN,
        share_delay: float = 0.05,
        hooks_url: str | None = None,
    ) -> None:
        self.faults = Faults()
        self.calls: list[Call] = []
        self.events = Way()
        self.violations: list[str] = []
        self.pings: list[str] = []
        """Whom messages of the app's have notified, such as `<!here>` or `<@U…>`."""
        self.attempts: list[Delivered] = []
        """Each attempt to hand over an event, in the order they ended."""
        self.lost: list[dict[str, Any]] = []
        """Events that were given up."""
        self.hooks_url = hooks_url
        """Where the Events API posts. None: events go over Socket Mode."""
        self.downloads: list[tuple[str, bool]] = []
        """Files that were asked for, and whether with the token."""
        self.connections: set[object] = set()
        """From where methods were called: a connection of HTTP each."""
        self.socket_hosts: list[str] = []
        """Where the next addresses of sockets lead; the server itself where there are none."""
        self.share_delay = share_delay
        self.in_order = False
        """Whether an event of a thread is first tried when the one before it was answered, or given no answer to. The
        real one promises nothing, but people write seconds apart."""
        self.unshared = 0
        """Files that were completed and are not shown yet."""
        self.upload_rate = math.inf
        """How many bytes of a file come through in a second."""
        self.upload_limit = math.inf
        """How many bytes of a file the host of files takes."""
        self.workspace = Workspace()
        self.sockets = SocketMode(self.attempts, ack_within=ack_within)
        self.http = HttpEvents(self.attempts, signing_secret)
        self.api = WebApi(
            self.workspace,
            bot_token=bot_token,
            app_token=app_token,
            scopes=set(scopes),
            post_rate=post_rate,
            tell=self._tell,
            share=self._begin_to_share,
            open_socket=self._open_socket,
        )
        self._host, self._port = host, port
        self._bot_token, self._app_token, self._signing_secret = bot_token, app_token, signing_secret
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._told: deque[tuple[dict[str, Any], AbstractAsyncContextManager[None]]] = deque(maxlen=50)
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.add_channel(CHANNEL, "support")
        self.add_channel(OTHER_CHANNEL, "billing")

    def add_channel(self, id: str, name: str, *, private: bool = False, member: bool = True) -> Channel:
        channel = self.workspace.channels[id] = Channel(id, name, private, member)
        return channel

    # --- the protocol of all test servers -----------------------------------------------------------------------------

    @property
    def _authority(self) -> str:
        return f"{self._host}:{self._port}"

    @property
    def api_url(self) -> str:
        return f"http://{self._authority}/api/"

    def settings(self) -> dict[str, Any]:
        return self._settings(app_token=self._app_token)

    def http_settings(self) -> dict[str, Any]:
        """Return settings for the Events API; set `hooks_url` to where the adapter listens."""
        return self._settings(signing_secret=self._signing_secret)

    @property
    def port(self) -> int:
        return self._port

    def _open_socket(self) -> str:
        host = self.socket_hosts.pop(0) if self.socket_hosts else self._authority
        return f"ws://{host}/link?ticket={self.sockets.ticket()}"

    def _settings(self, **secret: str) -> dict[str, Any]:
        return {"type": "slack", "bot_token": self._bot_token, "channel": CHANNEL, "api_url": self.api_url, **secret}

    def threads(self) -> Sequence[str]:
        return [
            f"{channel.id}/{message.ts}"
            for channel, message in sorted(
                (
                    (channel, message)
                    for channel in self.workspace.channels.values()
                    for message in self._heads(channel)
                ),
                key=lambda pair: pair[1].ts,
            )
        ]

    def _heads(self, channel: Channel) -> list[Message]:
        return [
            message
            for message in channel.messages.values()
            if message.thread_ts is None and (message.bot_id or self.workspace.replies(channel, message.ts))
        ]

    def title(self, thread: str) -> str:
        channel, root = self._thread(thread)
        return self._shown(channel, root).text

    def messages(self, thread: str) -> Sequence[Shown]:
        channel, root = self._thread(thread)
        return [self._shown(channel, message) for message in [root, *self.workspace.replies(channel, root.ts)]]

    def contents(self, shown: Shown) -> Sequence[bytes]:
        return [self.workspace.files[file["id"]].content for file in shown.raw.get("files", ())]

    async def staff_says(self, thread: str, text: str, *, name: str = "Anna") -> str:
        written, blocks = compose(text)
        return await self.staff_posts(thread, written, blocks, name=name)

    async def staff_edits(self, thread: str, message: str, text: str) -> None:
        channel, _ = self._thread(thread)
        edited = channel.messages[message]
        previous = self.workspace.message_json(channel, edited, metadata=False)
        edited.text, edited.blocks = compose(text)
        edited.edited = {"user": edited.user or "", "ts": self.workspace.ts(1000)}  # a person takes a moment
        self.api.tell_changed(channel, edited, previous)

    async def staff_deletes(self, thread: str, message: str) -> None:
        channel, _ = self._thread(thread)
        self.api.remove(channel, channel.messages[message])

    async def staff_reacts(self, thread: str, message: str, *, name: str = "Anna") -> None:
        channel, _ = self._thread(thread)
        to, user = channel.messages[message], self.workspace.person(name).id
        to.reactions.setdefault("eyes", []).append(user)
        if "reactions:read" in self.api.scopes:
            item = {"type": "message", "channel": channel.id, "ts": to.ts}
            author = {"item_user": to.user} if to.user else {}  # what is under another name is nobody's
            event = {"type": "reaction_added", "user": user, "reaction": "eyes", "item": item, **author}
            self._send(channel, to.thread_ts or to.ts, event | {"event_ts": self.workspace.ts()})

    async def go_down(self) -> None:
        assert self._runner
        await go_down(self._runner)

    async def come_back(self) -> None:
        assert self._runner
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def disconnect(self) -> None:
        self.sockets.drop()

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[cut_within], client_max_size=200 * 2**20)
        app.router.add_route("*", "/api/{method}", self._call)
        app.router.add_get("/link", self.sockets.handle)
        app.router.add_post("/upload/v1/{file}", self._upload)
        app.router.add_get("/files-pri/{team}/{tail:.+}", self._download)
        app.router.add_get("/avatars/{user}.png", self._avatar)
        app.router.add_get("/", self._overview)
        app.router.add_route("*", "/thread", self._thread_page)
        app.router.add_get("/messages", self._messages_page)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.workspace.base = f"http://{self._authority}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.sockets.close()
        await self.http.close()
        if self._runner:
            await self._runner.cleanup()

    # --- what only Slack has ------------------------------------------------------------------------------------------

    async def staff_posts(
        self,
        thread: str,
        text: str,
        blocks: list[dict[str, Any]] | None = None,
        *,
        name: str = "Anna",
        files: Sequence[File] = (),
        broadcast: bool = False,
    ) -> str:
        """A person's message as raw parts: `text` is mrkdwn, `blocks` what the client adds."""
        channel, root = self._thread(thread)
        message = Message(self.workspace.ts(), text, blocks or [], self.workspace.person(name).id, thread_ts=root.ts)
        message.files = list(files)
        message.subtype = "file_share" if files else "thread_broadcast" if broadcast else None
        self.workspace.add(channel, message)
        self._tell(channel, self.workspace.message_json(channel, message, metadata=False))
        return message.ts

    async def staff_uploads(
        self, thread: str, filename: str, content: bytes, type: str, *, text: str = "", name: str = "Anna"
    ) -> str:
        """A person shares a file in a thread."""
        user = self.workspace.person(name)
        file = File(self.workspace.id("F"), filename, user.id, content, len(content), type)
        self.workspace.files[file.id] = file
        written, blocks = compose(text) if text else ("", [])
        return await self.staff_posts(thread, written, blocks, name=name, files=[file])

    def tell(self, thread: str, event: dict[str, Any]) -> None:
        """Send any event of a thread's channel."""
        self._tell(self._thread(thread)[0], event)

    def lock(self, thread: str) -> None:
        """Lock a thread, as an admin may."""
        channel, root = self._thread(thread)
        channel.locked.add(root.ts)

    def refuse(self, text: str) -> None:
        """Object to a text in messages of the app's."""
        self.api.refused.add(text)

    def dismiss(self, channel: str) -> None:
        """Take the app out of a channel: it hears nothing of it any more."""
        self.workspace.channels[channel].member = False

    def invite(self, channel: str) -> None:
        """Take the app into a channel, which says so there."""
        here = self.workspace.channels[channel]
        here.member = True
        join = "group_join" if here.private else "channel_join"
        message = Message(self.workspace.ts(), f"<@{BOT_USER}> has joined the channel", user=BOT_USER, subtype=join)
        self.workspace.add(here, message)
        self._tell(here, self.workspace.message_json(here, message, metadata=False))

    def remove(self, thread: str) -> None:
        """Remove a thread with all that is in it."""
        channel, root = self._thread(thread)
        for message in [*self.workspace.replies(channel, root.ts), root]:
            self.workspace.remove(channel, message)

    # --- events -------------------------------------------------------------------------------------------------------

    def _tell(self, channel: Channel, event: dict[str, Any]) -> None:
        kind = "group" if channel.private else "channel"
        about = event.get("previous_message") or event
        event = copy.deepcopy(event) | {"channel": channel.id, "channel_type": kind, "event_ts": event["ts"]}
        self._send(channel, str(about.get("thread_ts") or about["ts"]), event)

    def _send(self, channel: Channel, thread: str, event: dict[str, Any]) -> None:
        payload = {
            "token": "verification-token",
            "team_id": TEAM,
            "api_app_id": APP,
            "event": event,
            "type": "event_callback",
            "event_id": self.workspace.id("Ev"),
            "event_time": int(float(event["event_ts"])),
            "authorizations": [
                {"team_id": TEAM, "user_id": BOT_USER, "is_bot": True, "is_enterprise_install": False},
            ],
            "is_ext_shared_channel": False,
            "event_context": f"4-{event['event_ts']}",
        }
        self.violations += spec.problems_of_event(payload)
        if channel.member:
            turn = self._turns[thread] if self.in_order else nullcontext()
            # Slack tries again minutes later; of messages' order there is nothing that could be held against that
            revises = event.get("subtype") in {"message_changed", "message_deleted"}
            self.events.send(thread, lambda: self._hand_over(payload, turn), may_come_late=revises)

    def _hand_over(self, payload: dict[str, Any], turn: AbstractAsyncContextManager[None]) -> None:
        self._told.append((payload, turn))
        self._spawn(self._deliver(payload, turn))

    def repeat(self, dice: Random | None = None) -> None:
        if self._told:
            self._spawn(self._deliver(*(dice.choice(self._told) if dice else self._told[-1])))

    async def _deliver(self, payload: dict[str, Any], turn: AbstractAsyncContextManager[None]) -> None:
        if self.hooks_url:
            taken = await self.http.deliver(self.hooks_url, payload, turn)
        else:
            taken = await self.sockets.deliver(payload, turn)
        if not taken:
            self.lost.append(payload)

    async def verify_hooks(self) -> bool:
        """Ask the hooks' address for its challenge, as when an operator enters it."""
        challenge = {"token": "verification-token", "challenge": "c0ffee", "type": "url_verification"}
        status, body = await self.http.post(self.hooks_url or "", challenge)
        return status == 200 and b"c0ffee" in body

    def _begin_to_share(self, channel: Channel, message: Message) -> None:
        self.unshared += 1
        self._spawn(self._share(channel, message))

    async def _share(self, channel: Channel, message: Message) -> None:
        await asyncio.sleep(self.share_delay)
        message.ts = self.workspace.ts()
        self.workspace.add(channel, message)
        self.unshared -= 1
        self._tell(channel, self.workspace.message_json(channel, message, metadata=False))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the screen ---------------------------------------------------------------------------------------------------

    def _thread(self, thread: str) -> tuple[Channel, Message]:
        channel, _, ts = thread.partition("/")
        return self.workspace.channels[channel], self.workspace.channels[channel].messages[ts]

    def _shown(self, channel: Channel, message: Message) -> Shown:
        by_bot = message.bot_id is not None or message.user == BOT_USER
        user = self.workspace.users.get(message.user or "")
        author = message.username or (BOT_NAME if by_bot else user.name if user else "")
        raw = self.workspace.message_json(channel, message, metadata=True)
        text = Screen(self.workspace.names()).message(message.text, message.blocks)
        files = tuple(file.name for file in message.files if not file.deleted)
        return Shown(message.ts, by_bot, author, text, files, raw)

    def _note_pings(self, answer: Mapping[str, Any]) -> None:
        if isinstance(message := answer.get("message"), Mapping):
            screen = Screen(self.workspace.names())
            screen.message(message["text"], message.get("blocks", ()))
            self.pings += screen.pings

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.connections.add(request.transport and request.transport.get_extra_info("peername"))
        params = await _params(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer").strip() or params.pop("token", None)
        if method in spec.METHODS:
            self.violations += spec.problems_of_request(method, params)
        else:
            self.violations.append(f"{method}: unknown method")
        return await self._faulty(request, method, params, lambda: self._answer(method, params, token))

    def _answer(self, method: str, params: dict[str, Any], token: str | None) -> web.Response:
        headers = {"x-oauth-scopes": ",".join(sorted(self.api.scopes))}
        try:
            answer = self.api.answer(method, params, token)
            self._note_pings(answer)
        except Refused as refusal:
            answer = {"ok": False, "error": refusal.error, **refusal.more}
            if refusal.retry_after is not None:
                return self._answered(method, params, answer, _too_many(refusal.retry_after), 429)
        return self._answered(method, params, answer, headers, 200)

    def _answered(
        self, method: str, params: dict[str, Any], answer: dict[str, Any], headers: dict[str, str], status: int
    ) -> web.Response:
        if method in spec.METHODS:
            self.violations += spec.problems_of_answer(method, answer)
        self._note(method, params, status, answer.get("error", ""))
        return web.json_response(answer, status=status, headers=headers)

    def _note(self, method: str, params: Mapping[str, Any], status: int, error: str = "") -> None:
        self.calls.append(Call(method, params, asyncio.get_running_loop().time(), status, error))

    async def _faulty(
        self, request: web.Request, method: str, params: Mapping[str, Any], answer: Any
    ) -> web.StreamResponse:
        """Answer a call, unless a fault is due: then what the fault makes of it."""
        fault = request[MET] = self.faults.take(method, params)
        if fault is None:
            return answer()  # type: ignore[no-any-return]
        await fault.late(request)
        if refused := self._refused(request, method, params, fault):
            return refused
        response = answer()
        await fault.slow()
        if fault.kind in FAILS:
            return self._failed(request, cut=fault.kind is Kind.CUT_AFTER)
        return response  # type: ignore[no-any-return]

    def _refused(
        self, request: web.Request, method: str, params: Mapping[str, Any], fault: Fault
    ) -> web.Response | None:
        if fault.kind is Kind.RATE_LIMIT:
            self._note(method, params, 429, "ratelimited")
            return web.json_response(
                {"ok": False, "error": "ratelimited"}, status=429, headers=_too_many(fault.seconds)
            )
        if fault.kind in {Kind.ERROR, Kind.CUT}:
            self._note(method, params, 500, fault.kind)
            return self._failed(request, cut=fault.kind is Kind.CUT)
        return None

    @staticmethod
    def _failed(request: web.Request, *, cut: bool) -> web.Response:
        if cut and request.transport is not None:
            request.transport.abort()
        return web.Response(status=500, text="<html>server error</html>", content_type="text/html")

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        content = b""
        async for chunk in request.content.iter_chunked(2**20 if self.upload_rate == math.inf else 256):
            content += chunk
            await asyncio.sleep(len(chunk) / self.upload_rate)
        file = request.match_info["file"]
        if len(content) > self.upload_limit:
            self._note("upload", {"file": file}, 413)
            return web.Response(status=413)
        type = request.headers.get("Content-Type", "application/octet-stream")

        def take() -> web.Response:
            taken = self.api.upload(file, content, type)
            self._note("upload", {"file": file}, 200 if taken else 400)
            return web.Response(text=f"OK - {len(content)}") if taken else web.Response(status=400, text="bad upload")

        return await self._faulty(request, "upload", {"file": file}, take)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        file = self.workspace.files.get(request.match_info["tail"].rpartition("/")[2])
        authorised = request.headers.get("Authorization") == f"Bearer {self._bot_token}"
        self.downloads.append((file.id if file else "", authorised))

        def give() -> web.Response:
            if file is None or file.deleted:
                return web.Response(status=404)
            if not authorised or "files:read" not in self.api.scopes:
                return web.Response(text=_HTML, content_type="text/html")
            return web.Response(body=file.content, content_type=file.type)

        return await self._faulty(request, "download", {"file": file.id if file else ""}, give)

    async def _avatar(self, request: web.Request) -> web.StreamResponse:
        picture = self.workspace.users[request.match_info["user"]].picture
        return await self._faulty(request, "avatar", {}, lambda: web.Response(body=picture, content_type="image/png"))

    # --- pages --------------------------------------------------------------------------------------------------------

    async def _overview(self, request: web.Request) -> web.Response:
        channels = [
            (
                channel.name,
                [(f"{channel.id}/{head.ts}", self._shown(channel, head).text) for head in self._heads(channel)],
            )
            for channel in self.workspace.channels.values()
        ]
        return web.Response(text=pages.overview(channels), content_type="text/html")

    async def _thread_page(self, request: web.Request) -> web.Response:
        thread = request.query["id"]
        if request.method == "POST":
            form = await request.post()
            if text := str(form.get("text", "")):
                await self.staff_says(thread, text.replace("\r\n", "\n"), name=str(form.get("name") or "Anna"))
            raise web.HTTPSeeOther(str(request.rel_url))
        return web.Response(text=pages.thread(thread), content_type="text/html")

    async def _messages_page(self, request: web.Request) -> web.Response:
        return web.Response(text=pages.messages(self.messages(request.query["id"])), content_type="text/html")


async def _params(request: web.Request) -> dict[str, Any]:
    params: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        params |= await request.json()
    else:
        params |= {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    return params


def _too_many(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


__all__ = ["BOT", "CHANNEL", "OTHER_CHANNEL", "SCOPES", "SlackEmulator"]
