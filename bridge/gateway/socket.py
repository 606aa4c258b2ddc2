"""The WebSocket transport: moves frames between a socket and its session, without a task of its own while idle."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import structlog
from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from bridge.errors import WireError
from bridge.gateway import wire
from bridge.gateway.admission import Network
from bridge.gateway.answers import address_of
from bridge.gateway.session import RESTART, TRY_LATER, Services, Session

log = structlog.get_logger()

_HEARTBEAT = 25.0
_ALIVE_EVERY = 25.0
_TURNS = 100
_HELLO_WITHIN = 10.0
_CLOSE_WITHIN = 3.0
_WRITE = 64 * 1024
"""From so many bytes on the next frame is left to the next write."""


class Sockets:
    """Serves `/v1/socket`, and knows every socket that is open."""

    def __init__(self, services: Services, trusted_proxies: Sequence[Network]) -> None:
        self._services = services
        self._trusted = trusted_proxies
        self._turns: tuple[set[_Connection], ...] = tuple(set() for _ in range(_TURNS))
        self._opened = 0
        self._stopping = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket, until it ends."""
        if self._stopping:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(
            timeout=_CLOSE_WITHIN,
            autoclose=False,
            heartbeat=_HEARTBEAT,
            compress=False,
            max_msg_size=wire.MAX_FRAME,
            decode_text=False,
        )
        try:
            writer = await socket.prepare(request)
        except ConnectionError:  # it left meanwhile
            return socket
        address = address_of(request, self._trusted)
        admission = self._services.admission
        try:
            admission.enter(address)
        except WireError as error:
            await _last_words(socket, wire.error(error))
            return socket
        connection = _Connection(self._services, request, socket, writer, address)
        turn = self._turns[self._opened % _TURNS]
        self._opened += 1
        turn.add(connection)
        try:
            await connection.run()
        finally:
            turn.discard(connection)
            admission.leave(address)
            _let_go(request, socket)
        return socket

    async def beating(self, _: web.Application) -> AsyncIterator[None]:
        """Tell clients that their sockets live, while the application runs: no page can see a ping.

        One timer serves all, a few in each of its turns, so that thousands are not due in the same moment.
        """
        task = asyncio.create_task(self._beat(), name="beat")
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            for turn in self._turns:
                await asyncio.sleep(_ALIVE_EVERY / _TURNS)
                _beat_all(tuple(turn))

    def _open(self) -> tuple[_Connection, ...]:
        return tuple(connection for turn in self._turns for connection in turn)

    async def stop(self, seconds: float) -> None:
        """Take no more sockets and tell all that are open to come back."""
        self._stopping = True
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(connection.close(RESTART) for connection in self._open()))
        except TimeoutError:
            log.warning("sockets_cut", count=len(self._open()))
        for connection in self._open():
            connection.cut()


def _beat_all(connections: Sequence[_Connection]) -> None:
    """Tell them that they live. A function of its own: a name in the endless loop would keep the last one alive."""
    for connection in connections:
        connection.beat()


async def _last_words(socket: web.WebSocketResponse[bool], frame: bytes) -> None:
    with suppress(ConnectionError):
        await socket.send_frame(frame, WSMsgType.TEXT)
        await socket.close(code=TRY_LATER)


def _framed(text: bytes) -> bytes:
    """Return a text as a server's frame (RFC 6455, 5.2). aiohttp would make a call of the system for each."""
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    if size < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, size) + text
    return struct.pack("!BBQ", 0x81, 127, size) + text


def _let_go(request: web.Request, socket: web.WebSocketResponse[bool]) -> None:
    """Free what aiohttp leaves of a socket: a heartbeat that would go on for half a minute, and a cycle.

    Cycles wait for the collector, which is to run seldom: among many connections it takes longer than an answer may.
    """
    socket._set_closed()  # noqa: SLF001 - `close` does it too, but leaves an error with its frames
    request.protocol._data_received_cb = None  # noqa: SLF001


class _Connection:
    """One open socket and its session."""

    __slots__ = ("_flusher", "_goodbye", "_request", "_session", "_socket", "_writer")

    def __init__(
        self, services: Services, request: web.Request, socket: web.WebSocketResponse[bool],
        writer: AbstractStreamWriter, address: str,
    ) -> None:  # fmt: skip
        self._request = request
        self._socket = socket
        self._writer = writer
        self._session = Session(services, request.headers.get("Origin"), address, self._wake)
        self._flusher: asyncio.Task[None] | None = None
        self._goodbye: asyncio.Future[None] | None = None
        """Since its client was told to go: done when it went."""

    async def run(self) -> None:
        """Feed the session with what comes, until the socket ends."""
        session = self._session
        hello_timer = asyncio.get_running_loop().call_later(_HELLO_WITHIN, session.expire)
        try:
            async for frame in self._socket:
                if frame.type is WSMsgType.ERROR:
                    break
                if self._goodbye is None:
                    await session.feed(frame.data)
                    await self._flush()
            if self._goodbye is None:
                await self._socket.close(drain=False)  # the answer to its goodbye
        except ConnectionError:
            pass
        finally:
            hello_timer.cancel()
            session.end()
            if self._flusher is not None:
                self._flusher.cancel()
                await asyncio.gather(self._flusher, return_exceptions=True)
            if self._goodbye is not None and not self._goodbye.done():
                self._goodbye.set_result(None)

    def beat(self) -> None:
        """Let its client hear that it lives."""
        self._session.beat()

    async def close(self, code: int) -> None:
        """Tell its client to go, and wait until it went."""
        with suppress(ConnectionError):
            await self._dismiss(code)
        if self._goodbye is not None:
            await self._goodbye

    async def _dismiss(self, code: int) -> None:
        """Tell its client to go; the reader takes the answer.

        aiohttp's own `close` ends the connection under a reader that waits: a client that sends something meanwhile
        loses the code.
        """
        if self._goodbye is None:
            loop = asyncio.get_running_loop()
            self._goodbye = loop.create_future()
            deadline = loop.call_later(_CLOSE_WITHIN, self.cut)
            self._goodbye.add_done_callback(lambda _: deadline.cancel())
            await self._socket.send_frame(code.to_bytes(2, "big"), WSMsgType.CLOSE)

    def cut(self) -> None:
        """End it at once."""
        if self._request.transport is not None:
            self._request.transport.abort()

    def _wake(self) -> None:
        """See that what a hint left is sent; called from its publisher, so that it must not wait."""
        if self._session.overflown:
            self.cut()
        elif self._flusher is None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush_apart(), name="flush")

    async def _flush_apart(self) -> None:
        try:
            await self._flush()
        except ConnectionError:
            pass  # the reader learns it too, and ends
        finally:
            self._flusher = None

    async def _flush(self) -> None:
        """Send what waits. The reader and the flusher may both be here: frames are taken and written in one step."""
        session, socket = self._session, self._socket
        while session.waiting and self._goodbye is None and not socket.closed:
            await session.settle()
            while self._goodbye is None and not socket.closed and (frames := self._next()):
                await self._writer.write(frames)
            if session.overflown:
                self.cut()
                return
            if session.closing is not None:
                await self._dismiss(session.closing)

    def _next(self) -> bytes:
        """Take frames for the next write."""
        frames = b""
        while len(frames) < _WRITE and (frame := self._session.pop()) is not None:
            frames += _framed(frame)
        return frames
