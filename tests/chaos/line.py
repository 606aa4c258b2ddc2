"""The line to the gateway: one address however often the process behind it dies; it can be cut, and hold answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK = 64 * 1024


class Line:
    """Relays whatever comes to the gateway that runs now."""

    def __init__(self) -> None:
        self.url = ""
        self.to: int | None = None
        """The gateway's port; None while there is none, when who comes is turned away."""
        self._ends: set[asyncio.StreamWriter] = set()
        self._answering = asyncio.Event()
        self._answering.set()

    def hold(self) -> None:
        """Keep what the gateway answers from now on. What is kept when the line is cut never arrives."""
        self._answering.clear()

    def let_go(self) -> None:
        """Let answers through."""
        self._answering.set()

    def cut(self) -> None:
        """Drop every connection without a word."""
        for end in self._ends:
            end.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        try:
            if self.to is None:
                return
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.to)
            self._ends.add(to_writer)
            try:
                await asyncio.gather(self._pass_on(reader, to_writer), self._answer(to_reader, writer))
            finally:
                self._close(to_writer)
        except OSError:
            pass  # one of the two has gone
        finally:
            self._close(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await self._answering.wait()
                writer.write(chunk)
                await writer.drain()
        writer.close()

    def _close(self, end: asyncio.StreamWriter) -> None:
        self._ends.discard(end)
        end.transport.abort()


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    """Lay a line with an address of its own."""
    laid = Line()
    relays: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.create_task(laid._relay(reader, writer), name="relay")
        relays.add(relay)
        relay.add_done_callback(relays.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    laid.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield laid
    finally:
        server.close()
        laid.let_go()
        laid.cut()
        await asyncio.gather(*relays, return_exceptions=True)
