"""Many who only listen, and one who reads nothing among them: `threadbridge serve` as a process, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bench.load import Load
from tests.emulators.base import eventually
from tests.house import ORIGIN, Visitor, config_for
from tests.process import Serving, serving

DESK = "a-token-for-the-desk"
TEXT = "x" * 30_000
AT_MOST = 1000
"""Of these texts: ours and the system's buffers hold fewer, and what is not bounded would hold more."""


@contextmanager
def few_files(count: int) -> Iterator[None]:
    """Let what is started meanwhile have few open files, unless it takes more itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Serving]:
    config_for(folder, {"desk": {"type": "desk", "token": DESK}})
    with few_files(200):
        running = serving(folder / "config.toml")
        house = await running.__aenter__()
    try:
        yield house
    finally:
        await running.__aexit__(None, None, None)


class Agent:
    """Staff at the desk."""

    def __init__(self, http: ClientSession, url: str) -> None:
        self._http, self._url, self._said = http, f"{url}/desk/api", 0

    async def conversation(self) -> str:
        """Return the only conversation, once its thread is open."""
        while True:
            async with self._http.get(f"{self._url}/conversations", headers=self._headers) as response:
                found = (await response.json())["conversations"]
            if found and await self._follows(found[0]["id"]):
                return str(found[0]["id"])

    async def _follows(self, conversation: str) -> bool:
        return await self.answer(conversation, "// ready?") == 200

    async def answer(self, conversation: str, text: str) -> int:
        self._said += 1
        frame = {"id": f"r{self._said}", "text": text, "name": "Anna", "attachments": []}
        url = f"{self._url}/conversations/{conversation}/messages"
        async with self._http.post(url, json=frame, headers=self._headers) as response:
            return response.status

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {DESK}"}


async def connections(http: ClientSession, url: str) -> int:
    async with http.get(f"{url}/metrics") as response:
        found = re.search(r"^threadbridge_connections (\d+)", await response.text(), re.MULTILINE)
    assert found
    return int(found[1])


async def deaf(url: str, token: str) -> socket.socket:
    """Come back as a visitor, and read nothing from then on."""
    host, port = url.removeprefix("http://").split(":")
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((host, int(port)))
    reader.setblocking(False)
    hello = json.dumps({"type": "hello", "v": 1, "site": "shop", "token": token}).encode()
    upgrade = (
        f"GET /v1/socket HTTP/1.1\r\nHost: {host}\r\nOrigin: {ORIGIN}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
    frame = bytes([0x81, 0xFE]) + len(hello).to_bytes(2, "big") + b"\0" * 4 + hello
    await asyncio.get_running_loop().sock_sendall(reader, upgrade + frame)
    return reader


def numbers(frames: list[dict[str, Any]]) -> list[int]:
    return [int(frame["text"].split()[0]) for frame in frames]


@pytest.mark.parametrize("idle", [400, pytest.param(10_000, marks=[pytest.mark.full, pytest.mark.timeout(600)])])
async def test_who_reads_nothing_is_dropped_and_holds_up_nobody(tmp_path: Path, idle: int) -> None:
    async with served(tmp_path) as house, ClientSession() as http:
        crowd = Load(house.url)
        await crowd.connect(idle)
        visitor, agent = Visitor(http, house.url), Agent(http, house.url)
        await visitor.connect()
        await visitor.say("hello")
        conversation = await agent.conversation()
        assert visitor.token
        with await deaf(house.url, visitor.token):
            async with asyncio.timeout(20):
                while await connections(http, house.url) < idle + 2:
                    pass
            said = 0
            while await connections(http, house.url) == idle + 2:
                assert said < AT_MOST
                for _ in range(20):
                    said += 1
                    assert await agent.answer(conversation, f"{said} {TEXT}") == 200
                heard = [await visitor.hear() for _ in range(20)]  # before the deaf one has read anything
                assert numbers(heard) == list(range(said - 19, said + 1))
        assert await connections(http, house.url) == idle + 1
        again = Visitor(http, house.url, token=visitor.token, log=visitor.log, after=visitor.after - 3)
        welcome = await again.connect()
        assert numbers(welcome["messages"]) == [said - 2, said - 1, said]
        await visitor.leave()
        await again.leave()
        assert not crowd.closed
        await crowd.leave()
        await eventually(lambda: crowd.closed == idle, 60)
