"""Runs the whole bridge in a test: the real gateway, store and adapters, on a free port and a folder of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakSet

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from bridge.app import App, running
from bridge.config import Config, load
from bridge.ports import Clock

ORIGIN = "https://shop.example"
_visitors: WeakSet[Visitor] = WeakSet()


def config_for(
    data: Path,
    adapters: Mapping[str, Mapping[str, Any]] | None = None,
    destinations: list[str] | None = None,
    **sections: Mapping[str, Any],
) -> Config:
    """Return a configuration with one site, `shop`; the desk alone where no adapters are given. No limits."""
    adapters = adapters or {"desk": {"type": "desk"}}
    counted = ("messages_per_minute", "conversations_per_hour", "uploads_per_hour", "connections_per_address")
    unlimited = dict.fromkeys(counted, 0)
    site = {"name": "Shop", "origins": [ORIGIN], "destinations": destinations or list(adapters)}
    whole = {
        "gateway": {"port": 0},
        "store": {"url": f"sqlite:///{data / 'threadbridge.db'}"},
        "limits": unlimited,
        "adapters": adapters,
        "sites": {"shop": site},
    } | sections
    path = data / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_toml(whole))
    return load(path, {})


def _toml(value: Mapping[str, Any], prefix: str = "") -> str:
    lines = [f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items() if not isinstance(item, Mapping)]
    for key, item in value.items():
        if isinstance(item, Mapping):
            name = f"{prefix}{json.dumps(key)}"
            lines += [f"[{name}]", _toml(item, f"{name}.")]
    return "\n".join(lines)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    return f"[{', '.join(map(_inline, value))}]" if isinstance(value, (list, tuple)) else json.dumps(value)


@asynccontextmanager
async def house(config: Config, clock: Clock | None = None) -> AsyncIterator[App]:
    """Run the bridge and wait until its adapters have connected, or have said why not."""
    async with running(config, clock) as app:
        async with asyncio.timeout(20):
            await app.until_connected()
        yield app
        leaving = [asyncio.create_task(visitor.answer()) for visitor in _visitors if visitor.url == app.url]
    await asyncio.gather(*leaving)


@dataclass(eq=False)
class Visitor:
    """A visitor's client as the contract wants it: keeps its token and what it holds of the log."""

    http: ClientSession
    url: str
    site: str = "shop"
    origin: str | None = ORIGIN
    token: str | None = None
    log: str | None = None
    after: int = 0
    hello: dict[str, Any] = field(default_factory=dict)
    frames: list[dict[str, Any]] = field(default_factory=list)
    """All frames since the first connection."""
    socket: ClientWebSocketResponse | None = None
    _counter: int = 0

    async def connect(self) -> dict[str, Any]:
        """Open a socket and say hello; return the answer, a welcome or an error."""
        headers = {"Origin": self.origin} if self.origin is not None else {}
        self.socket = await self.http.ws_connect(f"{self.url}/v1/socket", headers=headers)
        _visitors.add(self)
        page = {"url": "https://shop.example/cart", "title": "Cart", "referrer": "https://search.example/"}
        hello = {"type": "hello", "v": 1, "site": self.site, "token": self.token, "log": self.log, "after": self.after}
        about = {"page": page, "locale": "en-GB", "timezone": "Europe/Rome", "identity": None}
        await self.send(hello | about | self.hello)
        frame = await self.receive()
        if frame["type"] == "welcome":
            self.token, self.log = frame["token"], frame["log"]
        return frame

    async def send(self, frame: Mapping[str, Any]) -> None:
        """Send a frame as it is."""
        assert self.socket
        await self.socket.send_str(json.dumps(frame))

    async def receive(self, seconds: float = 20) -> dict[str, Any]:
        """Return the next frame. Raises ConnectionError where the socket is closed."""
        assert self.socket
        message = await asyncio.wait_for(self.socket.receive(), seconds)
        if message.type is not WSMsgType.TEXT and message.type is not WSMsgType.BINARY:
            raise ConnectionError(f"closed with {self.socket.close_code}")
        frame: dict[str, Any] = json.loads(message.data)
        if frame["type"] == "alive":  # comes when it comes
            return await self.receive(seconds)
        self.frames.append(frame)
        if "seq" in frame and frame["type"] in {"ack", "message", "revision", "welcome"}:
            self.after = max(self.after, frame["seq"])
        return frame

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Receive frames up to the one that is wanted, and return it."""
        while True:
            frame = await self.receive()
            if wanted(frame):
                return frame

    async def say(self, text: str, id: str | None = None, **more: Any) -> dict[str, Any]:
        """Send a message and return its ack, or the error that answers it."""
        self._counter += 1
        id = id or f"m{self._counter}"
        await self.send({"type": "message", "id": id, "text": text} | more)
        return await self.until(lambda frame: frame["type"] in {"ack", "error"} and frame.get("id") == id)

    async def hear(self) -> dict[str, Any]:
        """Return the next message of staff's."""
        return await self.until(lambda frame: frame["type"] == "message" and frame["from"]["kind"] == "staff")

    async def answer(self) -> None:
        """Read until the socket is closed: a goodbye that nobody reads is not answered, and is waited for."""
        with suppress(RuntimeError, ConnectionError):  # somebody else reads it; the other side is gone already
            while self.socket and not self.socket.closed:
                await self.socket.receive()

    async def leave(self) -> None:
        """Close the socket."""
        if self.socket:
            await self.socket.close()
