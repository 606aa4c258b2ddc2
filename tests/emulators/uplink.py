"""Slow ways to a test server, and back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

_CHUNK = 16 * 1024


@asynccontextmanager
async def slow_uplink(host: str, port: int, rate: float) -> AsyncIterator[str]:
    """Yield the address of a relay to a server that takes `rate` bytes a second and gives back at once."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(len(chunk) * pause)
        writer.close()

    ends: list[asyncio.StreamWriter] = []
    relays: list[asyncio.Task[None]] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(host, port)
        ends.extend((writer, to_writer))
        async with asyncio.TaskGroup() as group:
            relays.append(group.create_task(pass_on(reader, to_writer, 1 / rate), name="up"))
            relays.append(group.create_task(pass_on(to_reader, writer, 0), name="down"))

    listening = socket.socket()
    # What the system keeps for a slow reader would hide the slowness
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
    listening.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(relay, sock=listening, limit=_CHUNK)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.close()
        for end in ends:
            end.transport.abort()
        await asyncio.gather(*relays)


@dataclass
class Downlink:
    """A relay to a server: what the server writes comes through `pause` seconds later."""

    address: str
    pause: float


@asynccontextmanager
async def slow_downlink(host: str, port: int, pause: float) -> AsyncIterator[Downlink]:
    """Yield a relay to a server whose answers take their time."""
    tasks: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowly: bool) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                await asyncio.sleep(relay.pause if slowly else 0)
                writer.write(chunk)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(host, port)
        tasks.add(asyncio.create_task(pass_on(reader, to_writer, slowly=False)))
        tasks.add(asyncio.create_task(pass_on(to_reader, writer, slowly=True)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    relay = Downlink(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", pause)
    try:
        yield relay
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
