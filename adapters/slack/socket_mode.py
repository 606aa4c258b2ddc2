"""Socket Mode: connections from their address to their end, two at a time, and the order of what they bring."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from bisect import insort
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import structlog
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from adapters.slack.api import SDK_LOG, proxy_for
from adapters.slack.intake import Take, taken
from bridge.errors import DeliveryError, RetryLater
from bridge.model import AdapterName, ThreadKey
from bridge.ports import Clock

CONNECT_WITHIN = 8.0
PONG_WITHIN = 5.0
_PING_EVERY = 5.0
_LOOK_EVERY = 0.5
_CLOSE_WITHIN = 1.0
_DRAIN_WITHIN = 3.0
"""Slack sends again what was not acknowledged for so long."""
_PONG = "pong "
_MOVES = frozenset({"warning", "refresh_requested"})
"""Slack will close this socket soon and wants us on another."""
_OFF = "link_disabled"
_SETTLED = 1.0
"""So old, in seconds, is a socket at the least before another takes its place."""

Place = tuple[ThreadKey, str]
"""An event's thread, and its time there as Slack writes it."""

log = structlog.get_logger()


class Order:
    """Lets the events of a thread go in the order of their times, whichever socket brings them.

    Slack writes them in that order, each to one of the sockets. So an earlier one can only be on its way to another
    socket, and has come when a ping that is sent there now is answered.
    """

    def __init__(self, place: Callable[[Mapping[str, Any]], Place | None]) -> None:
        self.sockets: set[Socket] = set()
        self._place = place
        self._queues: dict[ThreadKey, list[tuple[str, int, asyncio.Event]]] = {}
        self._numbers = itertools.count()

    @asynccontextmanager
    async def turn(self, socket: Socket, event: Mapping[str, Any]) -> AsyncIterator[None]:
        """Wait for an event's turn, and let later ones wait for its end. Joins the queue before it waits."""
        if (place := self._place(event)) is None:
            yield
            return
        thread, at = place
        queue = self._queues.setdefault(thread, [])
        ticket = (at, next(self._numbers), asyncio.Event())
        insort(queue, ticket)
        try:
            await asyncio.gather(*(other.settled() for other in self.sockets if other is not socket))
            while queue[0][0] < at:
                await queue[0][2].wait()
            yield
        finally:
            queue.remove(ticket)
            ticket[2].set()
            if not queue:
                self._queues.pop(thread, None)


class Socket(SocketModeClient):
    """slack_sdk's client for one address and one connection.

    The library would reconnect by itself, but after a failed upgrade it tries the same address for ever, and an
    address works once. So it is not let: it connects within a deadline, tells when it has ended, and is thrown away.
    """

    def __init__(self, take: Take, url: str, order: Order) -> None:
        self._pings: list[tuple[float, asyncio.Future[None]]] = []
        self._pong = time.time()
        super().__init__(app_token="", logger=SDK_LOG, ping_interval=_PING_EVERY)
        self.wss_uri = url
        self.proxy = proxy_for(url)
        self.reason = ""
        """Why Slack ended the connection, where it said so."""
        self._take = take
        self._order = order
        self._connected = asyncio.Event()
        self._greeted = asyncio.Event()
        self._ended = asyncio.Event()
        self._left = asyncio.Event()
        self._working: set[asyncio.Task[Any]] = set()
        self.socket_mode_request_listeners.append(self._handle)

    async def open(self) -> None:
        """Connect and wait for Slack's hello. Raises TimeoutError, also where it is over before that."""
        self._order.sockets.add(self)  # Slack may write events to it before we know that it is open
        async with asyncio.timeout(CONNECT_WITHIN):
            await self.connect()  # type: ignore[no-untyped-call]  # slack_sdk annotates it in part
            self._connected.set()
            await self._greeted.wait()
        if self._ended.is_set():
            raise TimeoutError

    async def ended(self) -> None:
        """Wait until the connection is over, or as good as over."""
        while not self._ended.is_set() and await self.is_connected():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._ended.wait()

    async def settled(self) -> None:
        """Wait until all that Slack has written to this socket before now is in its queues, or nothing more comes.

        Its hello is not waited for: what comes ahead of the answer to a ping has come, greeted or not.
        """
        sent, answered = 0.0, asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PONG_WITHIN):
                await self._connected.wait()
                if self._left.is_set():
                    return
                sent = time.time()
                self._pings.append((sent, answered))
                assert self.current_session
                await self.current_session.ping(f"sdk-ping-pong:{sent}".encode())
                await answered
        except (TimeoutError, aiohttp.ClientError, OSError):
            self._end()
            await self._left.wait()  # what it may have swallowed is looked for first
        finally:
            with contextlib.suppress(ValueError):
                self._pings.remove((sent, answered))

    async def swallowed(self) -> bool:
        """Tell of a socket that did not open whether Slack may have written to it what did not come."""
        return self._connected.is_set() and (self._ended.is_set() or not await self.drained())

    async def drained(self) -> bool:
        """Wait until all that came is acknowledged; False where that takes so long that Slack sends it again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_WITHIN):
                await self.settled()
                while working := {task for task in self._working if task is not asyncio.current_task()}:
                    await asyncio.wait(working)
                return True
        return False

    async def leave(self) -> None:
        """Close, and end every task of the library's. What was not acknowledged comes again on another socket."""
        self._order.sockets.discard(self)
        self._left.set()
        self._connected.set()  # nobody need wait for that any more
        self._answered(math.inf)
        self.closed = True
        await asyncio.sleep(0)  # a task that was just made has not yet told us of itself
        own = (self.message_processor, self.current_session_monitor, self.message_receiver)
        tasks = [task for task in (*own, *self._working) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_CLOSE_WITHIN):
                await self.disconnect()  # type: ignore[no-untyped-call]  # slack_sdk annotates it in part
        await self.aiohttp_client_session.close()

    # --- what the library calls ---------------------------------------------------------------------------------------

    @property
    def last_ping_pong_time(self) -> float:
        """When the last ping that was answered had been sent; at first when this was made."""
        return self._pong

    @last_ping_pong_time.setter
    def last_ping_pong_time(self, sent: float | None) -> None:
        if sent is None:
            return
        self._pong = sent
        if self._pings:
            self.message_queue.put_nowait(f"{_PONG}{sent}")  # behind all that came before it

    async def connect_to_new_endpoint(self, force: bool = False) -> None:  # noqa: ARG002 - the library's
        """Note that the library would reconnect."""
        self._end()

    async def run_message_listeners(self, message: dict[str, Any], raw_message: str) -> None:
        if raw_message.startswith(_PONG):
            self._answered(float(raw_message.removeprefix(_PONG)))
            return
        task = asyncio.current_task()
        if task is not None:
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        if message.get("type") == "hello":
            self._greeted.set()
        elif message.get("type") == "disconnect":
            self.reason = str(message.get("reason") or "")
        async with self._order.turn(self, (message.get("payload") or {}).get("event") or {}):
            await super().run_message_listeners(message, raw_message)

    def _end(self) -> None:
        self._ended.set()
        self._greeted.set()  # there is no use in waiting for that any more

    def _answered(self, sent: float) -> None:
        for asked, answered in self._pings:
            if asked <= sent and not answered.done():
                answered.set_result(None)

    async def _handle(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        if await taken(request.payload, self._take):
            response = SocketModeResponse(envelope_id=request.envelope_id)
            await client.send_socket_mode_response(response)


class Sockets:
    """Keeps two sockets open: where one is refreshed or breaks off, the other one goes on taking events."""

    def __init__(
        self,
        open_one: Callable[[], Awaitable[Socket]],
        missed: Callable[[], None],
        clock: Clock,
        waits: Callable[[int], float],
        name: AdapterName,
    ) -> None:
        self._open_one = open_one
        self._missed = missed
        self._clock = clock
        self._waits = waits
        self._name = name
        self._sockets: list[Socket] = []
        self._none_left = asyncio.Event()
        self.reason = ""
        """Why Slack ended the last one, where it said so."""

    async def run(self, first: Socket) -> None:
        """Go on from a first one until none is left."""
        self._sockets.append(first)
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = [tasks.create_task(self._keep(socket)) for socket in (first, None)]
                await self._none_left.wait()
                for task in keeping:
                    task.cancel()
        finally:
            for socket in self._sockets:
                await socket.leave()

    async def _keep(self, socket: Socket | None) -> None:
        while True:
            socket = socket or await self._another()
            began = self._clock.steady()
            await socket.ended()
            self.reason = socket.reason
            log.info("slack_socket_ended", adapter=self._name, reason=socket.reason)
            lasted = self._clock.steady() - began
            fresh = await self._successor(lasted) if socket.reason in _MOVES else None
            if fresh is None or not await socket.drained():
                self._missed()
            self._sockets.remove(socket)
            await socket.leave()
            if not self._sockets or self.reason == _OFF:
                self._none_left.set()
            socket = fresh

    async def _another(self) -> Socket:
        """Open a socket beside the one that there is, however long it takes."""
        for attempt in itertools.count():
            try:
                return await self._opened()
            except DeliveryError as error:
                log.warning("slack_socket_not_opened", adapter=self._name, error=str(error))
                wait = self._waits(attempt)
                if isinstance(error, RetryLater) and error.after:
                    wait = max(wait, error.after)
                await self._clock.sleep(wait)
        raise AssertionError  # it counts without end

    async def _successor(self, lasted: float) -> Socket | None:
        """Open a socket in the place of one that Slack will close; a new one is not left at once."""
        if lasted < _SETTLED:
            await self._clock.sleep(_SETTLED - lasted)
        try:
            return await self._opened()
        except DeliveryError as error:
            log.warning("slack_socket_not_opened", adapter=self._name, error=str(error))
            return None

    async def _opened(self) -> Socket:
        socket = await self._open_one()
        self._sockets.append(socket)
        return socket
