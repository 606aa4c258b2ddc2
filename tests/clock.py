"""A clock that a test turns, and one that runs fast."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bridge.clock import SystemClock


class HandClock:
    """`ports.Clock` whose time stands still until `advance`.

    `busy` tells how many tasks of the tested code are under way; time goes on only when each of them sleeps.
    """

    def __init__(self, start: datetime = datetime(2026, 5, 1, 12, tzinfo=UTC)) -> None:
        self._now = start
        self._waiting: list[tuple[datetime, int, asyncio.Event]] = []
        self._order = itertools.count()
        self._sleeping = 0
        self._passed = 0.0
        self.busy: Callable[[], int] = lambda: 0

    def now(self) -> datetime:
        return self._now

    def steady(self) -> float:
        return self._passed

    def set_back(self, seconds: float) -> None:
        """Turn the time back; who waits goes on waiting for as long as before."""
        self._now -= timedelta(seconds=seconds)
        self._waiting = [(at - timedelta(seconds=seconds), order, alarm) for at, order, alarm in self._waiting]

    async def sleep(self, seconds: float) -> None:
        self._sleeping += 1
        try:
            await self._alarm(self._now + timedelta(seconds=seconds)).wait()
        finally:
            self._sleeping -= 1

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        alarm = self._alarm(self._now + timedelta(seconds=seconds))
        waits = [asyncio.create_task(each.wait()) for each in (event, alarm)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    def _alarm(self, at: datetime) -> asyncio.Event:
        alarm = asyncio.Event()
        if at <= self._now:
            alarm.set()
        else:
            heapq.heappush(self._waiting, (at, next(self._order), alarm))
        return alarm

    async def advance(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, in steps, so that everything that falls due on the way is done at its time."""
        left = timedelta(seconds=seconds)
        await self._settle()
        while left:
            passes = min(left, timedelta(seconds=step))
            left -= passes
            self._now += passes
            self._passed += passes.total_seconds()
            while self._waiting and self._waiting[0][0] <= self._now:
                heapq.heappop(self._waiting)[2].set()
            await self._settle()

    async def _settle(self) -> None:
        """Let everything run that can run without time passing."""
        calm = 0
        while calm < 5:
            await asyncio.sleep(0)
            if self.busy() > self._sleeping:
                calm = 0
                await asyncio.sleep(0.0005)  # the store's thread is at work
            else:
                calm += 1


class FastClock(SystemClock):
    """`ports.Clock` whose time runs so many times as fast, from now on."""

    def __init__(self, times: float = 20) -> None:
        self._times = times
        self._start = super().now()

    def now(self) -> datetime:
        return self._start + (super().now() - self._start) * self._times

    def steady(self) -> float:
        return super().steady() * self._times

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._times)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        await super().wait(event, seconds / self._times)
