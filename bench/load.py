"""Visitors for anything that speaks the contract's sockets: they say hello, send, and time each message to its ack."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tests.house import ORIGIN

TEXT = "Hello, my order has not arrived yet and the tracking page shows nothing since Monday. Can you look it up?"


class Visitor(WSListener):
    """One connection. Sends its next message when told to, or, in a closed loop, when the last was acknowledged."""

    def __init__(self, load: Load, token: str | None) -> None:
        super().__init__()
        self._load = load
        self._token = token
        self._planned: dict[bytes, float] = {}
        self._prefix, self.sent = uuid.uuid4().hex[:12], 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        page = {"url": f"{ORIGIN}/page", "title": "Shop", "referrer": ""}
        hello = {"type": "hello", "v": 1, "site": "shop", "token": self._token, "log": None, "after": 0}
        about = {"page": page, "locale": "en", "timezone": "UTC", "identity": None}
        transport.send(WSMsgType.TEXT, json.dumps(hello | about).encode())

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - the listener's
        self._load.closed += 1
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("closed before the welcome"))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            return
        body = frame.get_payload_as_bytes()
        if b'"ack"' in body[:32]:
            start = body.index(b'"id":"') + 6
            planned = self._planned.pop(body[start : body.index(b'"', start)])
            self._load.acknowledged(self, time.monotonic() - planned)
        elif b'"welcome"' in body[:32]:
            if not self.ready.done():
                self.ready.set_result(None)
        elif b'"error"' in body[:32]:
            self._load.errors.append(body.decode(errors="replace"))
        else:
            self._load.heard(body)

    def say(self, planned: float, text: str = TEXT) -> None:
        self.sent += 1
        client_id = f"{self._prefix}-{self.sent}"
        self._planned[client_id.encode()] = planned
        self._transport.send(WSMsgType.TEXT, f'{{"type":"message","id":"{client_id}","text":"{text}"}}'.encode())

    def leave(self) -> None:
        self._transport.disconnect()


@dataclass(frozen=True)
class Times:
    """What a run saw. `load_cpu` is the share of a core that the load itself took: near 1 it measures itself."""

    per_second: float
    p50_ms: float
    p99_ms: float
    load_cpu: float


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return a percentile of times, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[int((len(ordered) - 1) * share)] * 1000 if ordered else float("nan")


class Load:
    """A crowd of visitors at one server."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("http", "ws", 1) + "/v1/socket"
        self.visitors: list[Visitor] = []
        self.errors: list[str] = []
        self.closed = 0
        self._closed_loop = self._measuring = False
        self._times: list[float] = []

    def acknowledged(self, visitor: Visitor, seconds: float) -> None:
        if self._measuring:
            self._times.append(seconds)
        if self._closed_loop:
            visitor.say(time.monotonic())

    def heard(self, body: bytes) -> None:
        """Take a frame that is neither welcome, ack nor error."""

    async def connect(self, count: int, tokens: Sequence[str] = ()) -> None:
        """Let visitors come: with these tokens first, if any, and then new ones."""
        gate = asyncio.Semaphore(64)

        async def one(token: str | None) -> None:
            async with gate:
                visitor = Visitor(self, token)
                await ws_connect(
                    lambda: visitor, self._url, extra_headers={"Origin": ORIGIN}, websocket_handshake_timeout=60
                )
                await visitor.ready
                self.visitors.append(visitor)

        async with asyncio.timeout(60 + count / 100), asyncio.TaskGroup() as tasks:
            for token in islice(chain(tokens, repeat(None)), count):
                tasks.create_task(one(token))

    @property
    def sent(self) -> int:
        return sum(visitor.sent for visitor in self.visitors)

    async def leave(self) -> None:
        for visitor in self.visitors:
            visitor.leave()
        await asyncio.sleep(0)

    async def run(self, seconds: float, rate: float = 0) -> Times:
        """Send for so long: at a rate over all visitors, timed from the planned moment, or, at 0, in a closed loop."""
        self._closed_loop = rate == 0
        sending = asyncio.create_task(self._send(rate))
        await asyncio.sleep(min(1.0, seconds))
        self._measuring, started, cpu = True, time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        self._measuring = self._closed_loop = False
        elapsed, cpu = time.monotonic() - started, time.process_time() - cpu
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        if self.errors or self.closed or not self._times:
            last = self.errors[-1:] or "no acknowledgement"
            raise RuntimeError(f"{len(self.errors)} errors, {self.closed} closed connections: {last}")
        p50, p99 = percentile(self._times, 0.5), percentile(self._times, 0.99)
        return Times(len(self._times) / elapsed, p50, p99, cpu / elapsed)

    async def _send(self, rate: float) -> None:
        if not rate:
            for visitor in self.visitors:
                visitor.say(time.monotonic())
            return
        planned, number = time.monotonic(), 0
        while True:
            while planned <= time.monotonic():
                self.visitors[number % len(self.visitors)].say(planned)
                planned, number = planned + 1 / rate, number + 1
            await asyncio.sleep(max(0.0005, planned - time.monotonic()))


async def measured(url: str, connections: int, seconds: float, rate: float = 0, tokens: Sequence[str] = ()) -> Times:
    """Load a server with so many visitors."""
    load = Load(url)
    await load.connect(connections, tokens)
    try:
        return await load.run(seconds, rate)
    finally:
        await load.leave()
