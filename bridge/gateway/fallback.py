"""The frames over plain HTTP, for networks that block WebSockets: `POST /v1/frames` takes one, `GET /v1/stream` gives.

Each posted frame has a session of its own, which gives the answers to that frame alone; the log comes by the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import hdrs, web

from bridge.conversations import Caller
from bridge.errors import WireCode, WireError
from bridge.gateway import wire
from bridge.gateway.admission import Network
from bridge.gateway.answers import address_of, bearer, origin_of, preflight, readable_by_sites, refusal
from bridge.gateway.hooks import streaming
from bridge.gateway.session import Services, Session, told
from bridge.hints import Hint
from bridge.model import Profile, VisitorId
from bridge.storage import Appended

_BODY_WITHIN = 20.0
_COMMENT_EVERY = 15.0
_WRITTEN_WITHIN = 30.0
_MAX_SEQ = 2**53
_MAX_KNOWN = 5000


@dataclass(frozen=True, slots=True)
class _Known:
    """What a visitor's last posted frame left, so that the next need not tell or read it again."""

    profile: Profile
    seq: int
    """The end of the log, as it was then."""


class _Posters:
    """Remembers those who posted last. Who is forgotten is let in all the same, by the token."""

    def __init__(self) -> None:
        self._known: dict[VisitorId, _Known] = {}

    def get(self, visitor: VisitorId) -> _Known:
        return self._known.get(visitor) or _Known(Profile(), 0)

    def note(self, visitor: VisitorId, known: _Known) -> None:
        self._known.pop(visitor, None)
        self._known[visitor] = known
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]


class _Post(Session):
    """A session for one posted frame: it gives one frame at most, the answer."""

    __slots__ = ("_posters", "_request", "refused")

    def __init__(self, services: Services, request: web.Request, address: str, posters: _Posters) -> None:
        super().__init__(services, request.headers.get(hdrs.ORIGIN), address, lambda: None)
        self._posters = posters
        self._request = request
        self.refused: web.Response | None = None

    async def answer(self, data: bytes) -> web.Response:
        """Take the frame and return the frames that it caused, or why it was refused."""
        try:
            await self.feed(data)
        finally:
            self.end()
        if self.refused is not None:
            return self.refused
        if self._caller is not None:
            self._posters.note(self._caller.visitor, _Known(self._caller.profile, self._sent))
        body = b"[" + (self.pop() or b"") + b"]"
        return web.Response(body=body, content_type="application/json")

    async def _take(self, frame: wire.ClientFrame) -> None:
        if type(frame) is not wire.HelloFrame:
            await self._recognise()
        await super()._take(frame)

    async def _recognise(self) -> None:
        """Go on where the visitor is, without a welcome."""
        admission, conversations = self._services.admission, self._services.conversations
        shown = admission.show(bearer(self._request))
        site = admission.site(shown.site, self._origin)
        known = self._posters.get(shown.visitor)
        standing = await conversations.resume(shown.visitor, conversations.log_of(shown.visitor), known.seq)
        self._caller = Caller(shown.visitor, site, known.profile)
        self._conversation = standing.conversation
        self._sent = standing.seq
        self._read = standing.read

    async def _acknowledge(self, appended: Appended) -> None:
        self._sent = max(self._sent, appended.message.seq)
        self._push(wire.ack(appended.message))

    def _hear(self, hint: Hint) -> None:
        """Pass over it: it is the stream's to tell."""

    def _refuse(self, error: WireError, data: bytes) -> None:
        self.refused = refusal(error, wire.frame_id(data))


class _Stream:
    """One open stream and its session."""

    __slots__ = ("_request", "_session", "_woken")

    def __init__(self, services: Services, request: web.Request, address: str) -> None:
        self._request = request
        self._session = Session(services, origin_of(request, services.admission), address, self._wake)
        self._woken = asyncio.Event()

    async def greet(self, hello: wire.HelloFrame) -> None:
        """Put the welcome in place. Raises WireError, StoreError."""
        await self._session.greet(hello)

    async def run(self, response: web.StreamResponse) -> None:
        """Write what there is and what comes, until it ends: the client then comes back, as from a closed socket."""
        session = self._session
        try:
            await response.prepare(self._request)
            while session.closing is None and not session.overflown:
                self._woken.clear()
                await self._flush(response)
                if not session.waiting:
                    await self._pause(response)
            if not session.overflown:
                async with asyncio.timeout(_WRITTEN_WITHIN):
                    await response.write_eof()
                return
        except TimeoutError:
            pass  # it reads nothing any more
        except ConnectionError:
            return
        self._cut()

    def end(self) -> None:
        """Let go of the log."""
        self._session.end()

    async def _flush(self, response: web.StreamResponse) -> None:
        await self._session.settle()
        while (frame := self._session.pop()) is not None:
            await _write(response, _event(frame))

    async def _pause(self, response: web.StreamResponse) -> None:
        """Wait for a hint. A comment now and then shows proxies, and the client, that the stream lives."""
        try:
            async with asyncio.timeout(_COMMENT_EVERY):
                await self._woken.wait()
        except TimeoutError:
            await _write(response, b":\n\n")

    def _wake(self) -> None:
        """Take note of a hint; called from its publisher, so that it must not wait."""
        if self._session.overflown:
            self._cut()
        self._woken.set()

    def _cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


class Fallback:
    """Serves `/v1/frames` and `/v1/stream`."""

    def __init__(self, services: Services, trusted_proxies: Sequence[Network]) -> None:
        self._services = services
        self._admission = services.admission
        self._trusted = trusted_proxies
        self._posters = _Posters()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post("/v1/frames", self.post),
            web.options("/v1/frames", self.before_post),
            web.get("/v1/stream", self.stream, allow_head=False),
            web.options("/v1/stream", self.before_stream),
        ]

    async def before_post(self, request: web.Request) -> web.Response:
        """Tell a browser whether a page may post frames."""
        return preflight(request, self._admission, hdrs.METH_POST, "authorization, content-type")

    async def before_stream(self, request: web.Request) -> web.Response:
        """Tell a browser whether a page may read a stream."""
        return preflight(request, self._admission, hdrs.METH_GET, "authorization, cache-control, last-event-id")

    async def post(self, request: web.Request) -> web.Response:
        """Take one frame."""
        try:
            data = await _body(request)
        except WireError as error:
            response = refusal(error)
        else:
            address = address_of(request, self._trusted)
            response = await _Post(self._services, request, address, self._posters).answer(data)
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        readable_by_sites(response, request, self._admission)
        return response

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Give the welcome, then everything that the visitor's other frames do not answer."""
        address = address_of(request, self._trusted)
        try:
            self._admission.enter(address)
        except WireError as error:
            response = refusal(error)
            readable_by_sites(response, request, self._admission)
            return response
        try:
            return await self._stream(request, address)
        finally:
            self._admission.leave(address)

    async def _stream(self, request: web.Request, address: str) -> web.StreamResponse:
        stream = _Stream(self._services, request, address)
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream", "X-Accel-Buffering": "no"})
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        try:
            await stream.greet(self._hello(request))
        except Exception as error:  # noqa: BLE001 - `told` logs what is not the client's
            response = refusal(told(error))
            readable_by_sites(response, request, self._admission)
            return response
        readable_by_sites(response, request, self._admission)
        try:
            with streaming(request):
                await stream.run(response)
        finally:
            stream.end()
        return response

    def _hello(self, request: web.Request) -> wire.HelloFrame:
        """Read what stands for a hello: the token names the site, the rest is in the address. Raises WireError."""
        token = bearer(request)
        after = request.headers.get("Last-Event-ID") or request.query.get("after") or "0"
        if not (after.isascii() and after.isdecimal() and len(after) <= 16 and int(after) < _MAX_SEQ):
            raise WireError(WireCode.BAD_FRAME, "Where the stream goes on (after, Last-Event-ID) is a number.")
        shown = self._admission.show(token)
        return wire.HelloFrame(1, shown.site, token, request.query.get("log"), int(after))


async def _body(request: web.Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > wire.MAX_FRAME:
                    raise WireError(WireCode.TOO_LARGE, f"A frame has at most {wire.MAX_FRAME:,} bytes.")
    except TimeoutError:
        raise WireError(WireCode.UNAVAILABLE, "The frame came too slowly.") from None
    except web.RequestPayloadError:  # cut short, or not compressed as it says
        raise WireError(WireCode.BAD_FRAME, "The frame cannot be read.") from None
    return bytes(body)


def _event(frame: bytes) -> bytes:
    seq = wire.seq_of(frame)
    return b"data: " + frame + b"\n\n" if seq is None else b"id: %d\ndata: " % seq + frame + b"\n\n"


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(_WRITTEN_WITHIN):
        await response.write(data)
