"""How events reach the app: Socket Mode, or HTTP requests with a signature."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import math
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from tests.emulators.slack.workspace import APP

ACK_WITHIN = 3.0


@dataclass
class Delivered:
    """One attempt to hand over an event."""

    event_id: str
    retry: int
    acked: bool


@dataclass
class _Socket:
    response: web.WebSocketResponse
    request: web.Request
    waiting: dict[str, asyncio.Future[None]] = field(default_factory=dict)


class SocketMode:
    """Socket Mode: each event goes to one of the live sockets, and again to any of them until it is acknowledged.

    An attempt fails where none is live, and attempts are few. The real one waits a minute and five where this one
    waits seconds.
    """

    def __init__(self, attempts: list[Delivered], *, ack_within: float = ACK_WITHIN) -> None:
        self.retry_delays: Sequence[float] = (0, 1, 5)
        self.refuse_upgrades = 0
        """How many WebSocket upgrades to refuse from now on; each uses up its address."""
        self.greetings = math.inf
        """How many sockets are greeted from now on. Others open, and get no event."""
        self.answers_pings = True
        """Whether sockets that are not greeted answer so much as a ping."""
        self.ungreeted = 0
        """How many such sockets are open."""
        self.opened = 0
        self.fewest = 10
        """How few sockets were live at once after one had gone."""
        self.upgrades: list[bool] = []
        """For each upgrade that was tried, whether it was let in."""
        self.ack_within = ack_within
        self._attempts = attempts
        self._sockets: list[_Socket] = []
        self._turn = itertools.count()
        self._envelopes = itertools.count()
        self._tickets: set[str] = set()

    @property
    def connected(self) -> int:
        return len(self._sockets)

    def ticket(self) -> str:
        """Mint an address' ticket, good for one upgrade."""
        self.opened += 1
        ticket = f"ticket-{self.opened}"
        self._tickets.add(ticket)
        return ticket

    async def handle(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        known = ticket in self._tickets
        self._tickets.discard(ticket)
        self.upgrades.append(known and not self.refuse_upgrades)
        if not known:
            return web.Response(status=404, text="unknown ticket")
        if self.refuse_upgrades:
            self.refuse_upgrades -= 1
            return web.Response(status=503, text="not now")
        greets, self.greetings = self.greetings > 0, self.greetings - 1
        response = web.WebSocketResponse(autoping=greets or self.answers_pings)
        await response.prepare(request)
        if not greets:
            self.ungreeted += 1
            async for _ in response:
                pass
            self.ungreeted -= 1
            return response
        if len(self._sockets) >= 10:
            await response.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await response.close()
            return response
        await self._serve(_Socket(response, request))
        return response

    async def _serve(self, socket: _Socket) -> None:
        self._sockets.append(socket)
        try:
            await socket.response.send_json(
                {
                    "type": "hello",
                    "num_connections": len(self._sockets),
                    "debug_info": {"host": "emulator", "build_number": 1, "approximate_connection_time": 18060},
                    "connection_info": {"app_id": APP},
                }
            )
            async for message in socket.response:
                if message.type is WSMsgType.TEXT:
                    waiting = socket.waiting.get(json.loads(message.data).get("envelope_id", ""))
                    if waiting and not waiting.done():
                        waiting.set_result(None)
        finally:
            self._forget(socket)

    def _forget(self, socket: _Socket) -> None:
        if socket in self._sockets:
            self._sockets.remove(socket)
            self.fewest = min(self.fewest, len(self._sockets))
        for waiting in socket.waiting.values():
            waiting.cancel()

    async def deliver(self, payload: dict[str, Any], turn: AbstractAsyncContextManager[None]) -> bool:
        """Hand over an event, first when it is its turn; False where it was never acknowledged."""
        for retry, delay in enumerate([0, *self.retry_delays]):
            await asyncio.sleep(delay)
            async with contextlib.nullcontext() if retry else turn:
                acked = bool(self._sockets) and await self._attempt(payload, retry)
            self._attempts.append(Delivered(payload["event_id"], retry, acked))
            if acked:
                return True
        return False

    async def _attempt(self, payload: dict[str, Any], retry: int) -> bool:
        socket = self._sockets[next(self._turn) % len(self._sockets)]
        envelope = f"envelope-{next(self._envelopes)}"
        waiting = socket.waiting[envelope] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self.ack_within):
                await socket.response.send_json(
                    {
                        "envelope_id": envelope,
                        "type": "events_api",
                        "accepts_response_payload": False,
                        "retry_attempt": retry,
                        "retry_reason": "timeout" if retry else "",
                        "payload": payload,
                    }
                )
                await asyncio.wait({waiting})
        except TimeoutError:
            return False
        except (ConnectionError, aiohttp.ClientError):
            self._forget(socket)
            return False
        finally:
            del socket.waiting[envelope]
        return not waiting.cancelled()

    async def say_disconnect(self, reason: str) -> None:
        """Tell every socket to come back on a new one, as Slack does every few hours."""
        for socket in list(self._sockets):
            await socket.response.send_json(
                {"type": "disconnect", "reason": reason, "debug_info": {"host": "emulator"}}
            )

    def drop(self, most: int | None = None) -> None:
        """Cut sockets without a word: all, or only so many."""
        for socket in self._sockets[:most]:
            if socket.request.transport is not None:
                socket.request.transport.abort()
            self._forget(socket)

    async def close(self) -> None:
        for socket in list(self._sockets):
            await socket.response.close()


class HttpEvents:
    """The Events API: signed requests, tried again where they are not answered with 2xx within three seconds."""

    def __init__(self, attempts: list[Delivered], secret: str) -> None:
        self.retry_delays: Sequence[float] = (0, 60, 300)
        self.ack_within = ACK_WITHIN
        self.secret = secret
        self._attempts = attempts
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, url: str, payload: Any, headers: dict[str, str] | None = None, at: float | None = None
    ) -> tuple[int, bytes]:
        """Send a signed request; 0 where there was no answer."""
        self._session = self._session or aiohttp.ClientSession()
        body = json.dumps(payload).encode()
        stamp = str(int(time.time() if at is None else at))
        digest = hmac.new(self.secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        signed = {
            "Content-Type": "application/json",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={digest}",
            **(headers or {}),
        }
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(self.ack_within), self._session.post(url, data=body, headers=signed) as answer:
                return answer.status, await answer.read()
        return 0, b""

    async def deliver(self, url: str, payload: dict[str, Any], turn: AbstractAsyncContextManager[None]) -> bool:
        reason = ""
        for retry, delay in enumerate([0, *self.retry_delays]):
            await asyncio.sleep(delay)
            headers = {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": reason} if retry else {}
            async with contextlib.nullcontext() if retry else turn:
                status, _ = await self.post(url, payload, headers)
            acked = 200 <= status < 300
            self._attempts.append(Delivered(payload["event_id"], retry, acked))
            if acked:
                return True
            reason = "http_error" if status else "http_timeout"
        return False

    async def close(self) -> None:
        if self._session:
            await self._session.close()
