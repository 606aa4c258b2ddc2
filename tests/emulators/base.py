"""What every test server offers to tests: a look at it, staff who act, and faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Protocol, Self

from aiohttp import web

REFRESH = """<script>setInterval(() => {
  if (document.activeElement === document.body) location.reload();
}, 2000);</script>"""
"""Keeps a person's look at a server fresh, but for the time in which an answer is written."""


class Kind(StrEnum):
    """What goes wrong with a call."""

    RATE_LIMIT = "rate_limit"
    """Refused with the platform's own 429; `seconds` is its retry-after."""
    ERROR = "error"
    """500, not taken."""
    ERROR_AFTER = "error_after"
    """500, although taken."""
    CUT = "cut"
    """The connection is closed, not taken."""
    CUT_AFTER = "cut_after"
    """The connection is closed, although taken."""
    CUT_WITHIN = "cut_within"
    """The connection is closed in the middle of the answer, taken."""
    LATE = "late"
    """The connection is closed, and it is taken `seconds` after that."""
    SLOW = "slow"
    """Taken and answered after `seconds`, or when a test lets it."""
    STALL = "stall"
    """Taken, and not answered as long as anybody waits."""


FAILS = frozenset({Kind.RATE_LIMIT, Kind.ERROR, Kind.ERROR_AFTER, Kind.CUT, Kind.CUT_AFTER})
"""Faults after which nothing of an answer comes."""
_LONGER_THAN_ANYBODY = 120.0


@dataclass
class Fault:
    """Happens to the next `times` calls of `method` (the platform's own name of it, or "*") that `where` accepts."""

    method: str
    kind: Kind
    times: int = 1
    seconds: float = 1.0
    where: Callable[[Mapping[str, Any]], bool] | None = None
    answered: asyncio.Event | None = None
    """Of SLOW: with it a test lets the answer go."""

    async def late(self, request: web.Request) -> None:
        """Close the connection and wait with the rest, where it is taken late."""
        if self.kind is Kind.LATE:
            if request.transport is not None:
                request.transport.abort()
            await asyncio.sleep(self.seconds)

    async def slow(self) -> None:
        """Wait with the answer, where it is slow."""
        if self.kind is Kind.STALL:
            await asyncio.sleep(_LONGER_THAN_ANYBODY)
        elif self.kind is not Kind.SLOW:
            return
        if self.answered:
            await self.answered.wait()
        else:
            await asyncio.sleep(self.seconds)


MET: web.RequestKey[Fault | None] = web.RequestKey("fault")
"""The fault that a request has met."""


@dataclass
class Faults:
    """The faults that are still to happen."""

    waiting: list[Fault] = field(default_factory=list)
    happened: list[tuple[str, Kind]] = field(default_factory=list)

    def add(self, method: str, kind: Kind, *, times: int = 1, seconds: float = 1.0) -> None:
        self.waiting.append(Fault(method, kind, times, seconds))

    def take(self, method: str, params: Mapping[str, Any]) -> Fault | None:
        """Return the fault that this call meets, and count it."""
        for fault in self.waiting:
            if fault.method in {method, "*"} and (fault.where is None or fault.where(params)):
                fault.times -= 1
                if fault.times <= 0:
                    self.waiting.remove(fault)
                self.happened.append((method, fault.kind))
                return fault
        return None


@dataclass
class _Waiting:
    """An event on its way."""

    thread: str
    tell: Callable[[], None]
    may_come_late: bool


class Way:
    """The way of events to the bot. While it is held they wait.

    Those of one thread do not overtake each other, but for those that may come late.
    """

    def __init__(self) -> None:
        self.overtaken = 0
        """How many events came behind a later one of their thread."""
        self._waiting: list[_Waiting] | None = None

    def send(self, thread: str, tell: Callable[[], None], *, may_come_late: bool = False) -> None:
        """Tell of an event, now or when the way is let go."""
        if self._waiting is None:
            tell()
        else:
            self._waiting.append(_Waiting(thread, tell, may_come_late))

    def hold(self) -> None:
        """Let events wait from now on."""
        self._waiting = self._waiting or []

    def let_go(self, dice: Random | None = None) -> None:
        """Tell of all that wait, with dice in another order than they came."""
        waiting, self._waiting = self._waiting or [], None
        threads = [each.thread for each in waiting]
        if dice:
            dice.shuffle(threads)
        for thread in threads:
            those = [each for each in waiting if each.thread == thread]
            in_time = (each for each in those if not (dice and each.may_come_late and dice.random() < 0.5))
            first = next(in_time, those[0])
            self.overtaken += first is not those[0]
            waiting.remove(first)
            first.tell()


@dataclass(frozen=True)
class Shown:
    """A message as a person sees it in a thread."""

    id: str
    by_bot: bool
    author: str
    text: str
    """The bare characters on the screen: markup applied, entities decoded."""
    files: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)
    """The platform's own object, for tests of one platform."""


@dataclass(frozen=True)
class Call:
    """A request that the server was sent, with the time it came (event loop's clock) and what it was answered."""

    method: str
    params: Mapping[str, Any]
    at: float
    status: int
    error: str = ""


class Emulator(Protocol):
    """A test server of one platform. `async with` starts it on a free port (or `port`) and stops it."""

    faults: Faults
    calls: list[Call]
    violations: list[str]
    """Requests or answers that broke the platform's specification. Tests assert that it is empty."""
    events: Way

    @property
    def api_url(self) -> str:
        """What `api_url` of the adapter is to be."""

    def settings(self) -> dict[str, Any]:
        """Return the keys of an `[adapters.NAME]` section (`type` included) that connect an adapter to this server."""

    def threads(self) -> Sequence[str]:
        """Return the threads that stand, in the order they were made, by the ids that the methods below take."""

    def title(self, thread: str) -> str:
        """Return a thread's name or, where the platform has none, the text of its first message."""

    def messages(self, thread: str) -> Sequence[Shown]:
        """Return what a person sees in a thread, in order, its first message included."""

    def contents(self, shown: Shown) -> Sequence[bytes]:
        """Return what is in the files of a message."""

    async def staff_says(self, thread: str, text: str, *, name: str = "Anna") -> str:
        """A person writes in a thread, literally this text. Returns the message's id."""

    async def staff_edits(self, thread: str, message: str, text: str) -> None:
        """That person changes it."""

    async def staff_deletes(self, thread: str, message: str) -> None:
        """That person deletes it. On Telegram nobody is told, as on the real one."""

    async def staff_reacts(self, thread: str, message: str, *, name: str = "Anna") -> None:
        """A person reacts to a message of a thread with an emoji."""

    def refuse(self, text: str) -> None:
        """Take no message of the bot's with this in it any more, whatever else is taken."""

    def repeat(self, dice: Random | None = None) -> None:
        """Tell the bot once more what it was told last, as platforms do when they are not sure that it was heard.

        With dice something of before, where the platform does that. Where it was told nothing yet this does nothing.
        """

    async def disconnect(self) -> None:
        """Drop every live connection of the bot's, as a fault of the network does; it may come back at once."""

    async def go_down(self) -> None:
        """Drop everything and refuse every connection."""

    async def come_back(self) -> None:
        """Listen again."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...


@web.middleware
async def cut_within(request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> web.StreamResponse:
    """Give half of an answer whose call met `Kind.CUT_WITHIN`: the server notes the fault as `MET`."""
    response: web.StreamResponse = await handler(request)
    fault = request.get(MET)
    if fault is None or fault.kind is not Kind.CUT_WITHIN or not isinstance(response, web.Response):
        return response
    body = response.body if isinstance(response.body, bytes) else b""
    half = web.StreamResponse(status=response.status, headers=response.headers)
    half.content_length = len(body) + 1  # also of an empty one something is missing
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half


async def go_down(runner: web.AppRunner) -> None:
    """Stop listening and drop every connection."""
    for site in list(runner.sites):
        await site.stop()
    assert runner.server
    for connection in runner.server.connections:
        if connection.transport is not None:
            connection.transport.abort()


async def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the first true value of a condition, looked at often; raise TimeoutError past `seconds`."""
    async with asyncio.timeout(seconds):
        while not (value := condition()):  # noqa: ASYNC110 - it looks at servers that know no event of ours
            await asyncio.sleep(0.01)
    return value
