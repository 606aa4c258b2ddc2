"""The adapter: threads and messages out, connections and events in."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from slack_bolt.request.async_request import AsyncBoltRequest

from adapters.slack import outbound
from adapters.slack.api import Api
from adapters.slack.checks import examine
from adapters.slack.errors import reason_and_remedy
from adapters.slack.inbound import Me, thread_key, thread_of
from adapters.slack.intake import FILE_LIMIT, Intake, bolt_app
from adapters.slack.people import People
from adapters.slack.settings import Settings
from adapters.slack.socket_mode import Socket
from bridge.errors import AuthFailed, DeliveryError, Rejected, RetryLater
from bridge.model import Attachment, Card, Opened, Part, Piece, RemoteId, ThreadKey, Token
from bridge.ports import (
    AdapterState,
    Capabilities,
    Finding,
    House,
    HttpRequest,
    HttpResponse,
    InboundSink,
    Link,
)

_MARGIN = timedelta(minutes=2)
"""How far Slack's clock and ours may differ."""
_PAGE = 200
_PAGES = 25
_URL_WITHIN, _UPLOAD_WITHIN, _SHARE_WITHIN = 3.0, 9.0, 6.0  # together within the 20 s of a send
_STEADY = 30.0
"""A connection that lasts so many seconds was a good one."""
_LOOK_EVERY = 300.0
_WAITS = (0.25, 60.0)

log = structlog.get_logger()


class SlackAdapter:
    """What both modes share: everything but how events come in."""

    def __init__(self, settings: Settings, house: House) -> None:
        self._settings = settings
        self._house = house
        self._api = Api(settings, house.clock)
        self._people = People(self._api, house.files, house.clock)
        self._me: Me | None = None
        self._capabilities = Capabilities(text_limit=outbound.TEXT_LIMIT, budget=settings.budget, file_limit=FILE_LIMIT)

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def measure(self, pieces: Sequence[Piece]) -> int:
        return outbound.measure(pieces)

    # --- out ----------------------------------------------------------------------------------------------------------

    async def open_thread(self, channel: str, card: Card, token: Token) -> Opened:
        """Post the card, which heads the thread."""
        channel = channel or self._settings.channel
        answer = await self._api.write("chat.postMessage", {"channel": channel, **outbound.card(card, token)})
        return _opened(channel, str(answer["ts"]))

    async def send(self, thread: ThreadKey, part: Part, token: Token) -> RemoteId:
        """Post a part. Of an attachment the remote id is the file's: the message's ts comes later, in an event."""
        signs = self._api.signs
        try:
            return await self._send(thread, part, token, signs=signs)
        except AuthFailed:
            if signs and not self._api.signs:  # refused for that scope alone, so certainly not taken
                return await self._send(thread, part, token, signs=False)
            raise

    async def _send(self, thread: ThreadKey, part: Part, token: Token, *, signs: bool) -> RemoteId:
        channel, ts = thread_of(thread)
        if part.attachment:
            return await self._send_file(channel, ts, part.attachment, outbound.comment(part.pieces[0], named=signs))
        message = outbound.message(part, token, named=signs)
        answer = await self._api.write("chat.postMessage", {"channel": channel, "thread_ts": ts, **message})
        return RemoteId(str(answer["ts"]))

    async def _send_file(self, channel: str, ts: str, file: Attachment, comment: Mapping[str, Any]) -> RemoteId:
        try:
            content = await self._house.files.read(file.id)
        except FileNotFoundError:
            raise Rejected("the file is no longer kept") from None
        if not content:
            raise Rejected("Slack takes no empty files")
        ticket = await self._api.prepare(
            "files.getUploadURLExternal", _URL_WITHIN, filename=file.name, length=len(content)
        )
        await self._api.upload(str(ticket["upload_url"]), content, file.type, _UPLOAD_WITHIN)
        shared = {"files": [{"id": ticket["file_id"], "title": file.name}], "channel_id": channel, "thread_ts": ts}
        await self._api.write("files.completeUploadExternal", {**shared, **comment}, _SHARE_WITHIN)
        return RemoteId(str(ticket["file_id"]))

    async def edit(self, thread: ThreadKey, remote_id: RemoteId, part: Part) -> None:
        """Replace a text."""
        if _is_file(remote_id):
            raise Rejected("Slack does not let the text of an upload be changed")
        (piece,) = part.pieces
        channel, _ = thread_of(thread)
        content = outbound.content(piece, named=self._api.signs)
        await self._api.write("chat.update", {"channel": channel, "ts": remote_id, **content})

    async def delete(self, thread: ThreadKey, remote_id: RemoteId) -> None:
        """Remove a text or a file."""
        channel, _ = thread_of(thread)
        if _is_file(remote_id):
            gone = {"file_not_found", "file_deleted"}
            await self._api.write("files.delete", {"file": remote_id}, harmless=gone)
        else:
            arguments = {"channel": channel, "ts": remote_id}
            await self._api.write("chat.delete", arguments, harmless={"message_not_found"})

    # --- looking for what may have arrived ----------------------------------------------------------------------------

    async def find_sent(
        self, thread: ThreadKey, parts: Mapping[Token, Part], since: datetime, after: RemoteId | None
    ) -> Mapping[Token, RemoteId]:
        """Find texts by their metadata, and files, which carry none, by name, size and order."""
        channel, ts = thread_of(thread)
        me = await self._identity()
        found: dict[Token, RemoteId] = {}
        files: list[Mapping[str, Any]] = []
        async for message in self._pages("conversations.replies", since, channel=channel, ts=ts):
            if not _by(me, message):
                continue
            token = outbound.token_of(message, outbound.PART_EVENT)
            if token is not None and token in parts:
                found[token] = RemoteId(str(message["ts"]))
            files += message.get("files") or ()
            if after in (message["ts"], *(file["id"] for file in files)):
                files.clear()
        for token, part in parts.items():
            if part.attachment and (file := _take_file(files, part.attachment)):
                found[token] = RemoteId(str(file["id"]))
        return found

    async def find_thread(self, channel: str, token: Token, since: datetime) -> Opened | None:
        """Find a card by its metadata."""
        channel = channel or self._settings.channel
        me = await self._identity()
        async for message in self._pages("conversations.history", since, channel=channel):
            if _by(me, message) and outbound.token_of(message, outbound.THREAD_EVENT) == token:
                return _opened(channel, str(message["ts"]))
        return None

    async def _pages(self, method: str, since: datetime, **params: Any) -> AsyncIterator[Mapping[str, Any]]:
        oldest = f"{(since - _MARGIN).timestamp():.6f}"
        cursor: dict[str, Any] = {}
        for _ in range(_PAGES):
            answer = await self._api.read(
                method, oldest=oldest, include_all_metadata=True, limit=_PAGE, **params, **cursor
            )
            for message in answer.get("messages") or ():
                yield message
            following = (answer.get("response_metadata") or {}).get("next_cursor")
            if not following:
                return
            cursor = {"cursor": following}
        raise RetryLater("the thread is too long to be searched")

    async def _identity(self, *, anew: bool = False) -> Me:
        if self._me is None or anew:
            answer = await self._api.read("auth.test")
            self._me = Me(str(answer.get("user_id") or ""), str(answer.get("bot_id") or ""))
        return self._me

    # --- in -----------------------------------------------------------------------------------------------------------

    async def run(self, sink: InboundSink) -> None:
        """Keep a connection until cancelled, waiting ever longer between failures."""
        attempt = 0
        sink.state(AdapterState(Link.CONNECTING))
        try:
            while True:
                began = self._house.clock.now()
                at: datetime | None = None
                try:
                    await self._connected(sink)
                    sink.state(AdapterState(Link.CONNECTING))
                except DeliveryError as error:
                    at = error.at if isinstance(error, RetryLater) else None
                    sink.state(AdapterState(Link.DOWN, *reason_and_remedy(error)))
                now = self._house.clock.now()
                attempt = 0 if (now - began).total_seconds() > _STEADY else attempt + 1
                await self._house.clock.sleep(max(_wait(attempt), (at - now).total_seconds() if at else 0.0))
        finally:
            await self._api.close()

    async def _connected(self, sink: InboundSink) -> None:
        """Be connected until that ends. Raises DeliveryError."""
        raise NotImplementedError

    async def _intake(self, sink: InboundSink) -> Intake:
        """Ask Slack who we are, anew as the token may have become invalid, and take events as that app."""
        me = await self._identity(anew=True)
        return Intake(self._api, self._people, self._house.files, me, sink)

    async def check(self, channels: Sequence[str]) -> Sequence[Finding]:
        """Look at the token, its scopes, the channels and the way events come in."""
        try:
            return await examine(self._api, self._settings, self._house, channels)
        finally:
            await self._api.close()


class SocketModeAdapter(SlackAdapter):
    """Events over a socket that we open: no public address is needed."""

    async def _connected(self, sink: InboundSink) -> None:
        intake = await self._intake(sink)
        socket = Socket(bolt_app(self._api, intake.take), await self._api.open_socket())
        try:
            try:
                await socket.open()
            except TimeoutError:
                raise RetryLater("Slack's socket did not open", outage=True) from None
            sink.state(AdapterState(Link.UP))
            await socket.ended()
            log.info("slack_socket_ended", adapter=self._house.name, reason=socket.reason)
        finally:
            await socket.leave()
        if socket.reason == "link_disabled":
            raise AuthFailed("Socket Mode is switched off", "switch on Socket Mode in the app's settings")


class HttpAdapter(SlackAdapter):
    """Events as requests that Slack signs."""

    def __init__(self, settings: Settings, house: House) -> None:
        super().__init__(settings, house)
        self._taking: Intake | None = None
        secret = settings.signing_secret.get_secret_value() if settings.signing_secret else None
        self._app = bolt_app(self._api, self._take, secret)

    @property
    def mount(self) -> str:
        return f"/hooks/{self._house.name}"

    async def _connected(self, sink: InboundSink) -> None:
        self._taking = await self._intake(sink)
        sink.state(AdapterState(Link.UP))
        while True:
            await self._house.clock.sleep(_LOOK_EVERY)
            await self._intake(sink)

    async def _take(self, event: Mapping[str, Any]) -> None:
        if self._taking is None:
            raise RetryLater("not connected yet")  # not acknowledged, so Slack sends it again
        await self._taking.take(event)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Let bolt verify and dispatch a request; its signature is over the raw body."""
        try:
            body = request.body.decode()
        except UnicodeDecodeError:
            return HttpResponse(400)
        headers: dict[str, str | Sequence[str]] = dict(request.headers)
        answer = await self._app.async_dispatch(AsyncBoltRequest(body=body, query=dict(request.query), headers=headers))
        return HttpResponse(answer.status, answer.body.encode(), {"content-type": answer.headers["content-type"][0]})


def _opened(channel: str, ts: str) -> Opened:
    return Opened(thread_key(channel, ts), RemoteId(ts))


def _is_file(remote_id: RemoteId) -> bool:
    return remote_id.startswith("F")


def _by(me: Me, message: Mapping[str, Any]) -> bool:
    return me.user_id == message.get("user") or (bool(me.bot_id) and me.bot_id == message.get("bot_id"))


def _take_file(files: list[Mapping[str, Any]], wanted: Attachment) -> Mapping[str, Any] | None:
    """Return the first file that looks like an attachment, and remove it, as the next equal one is another."""
    for file in files:
        if (file.get("title") or file.get("name"), file.get("size")) == (wanted.name, wanted.size):
            files.remove(file)
            return file
    return None


def _wait(attempt: int) -> float:
    """Return how long to wait after so many short-lived connections: doubled each time, with jitter."""
    first, longest = _WAITS
    return min(first * 2.0 ** min(attempt, 10), longest) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
