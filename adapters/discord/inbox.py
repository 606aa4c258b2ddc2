"""Hands staff events to the core: in order within a thread, side by side over threads, again where it failed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from bridge.errors import StoreError
from bridge.model import StaffEvent, ThreadKey
from bridge.ports import Clock, InboundSink

log = structlog.get_logger()

PER_THREAD = 500
IN_ALL = 10_000
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 10.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something happened in a thread. `read` makes the event of it, with the pictures and files that it needs."""

    thread: ThreadKey
    read: Callable[[], Awaitable[StaffEvent | None]]


class Inbox:
    """What has arrived and is not committed yet. The gateway takes no acknowledgement, so it is kept here meanwhile."""

    def __init__(self, sink: InboundSink, clock: Clock, tasks: asyncio.TaskGroup) -> None:
        self._sink = sink
        self._clock = clock
        self._tasks = tasks
        self._waiting: dict[ThreadKey, deque[Arrival]] = {}
        self._count = 0

    def put(self, arrival: Arrival) -> bool:
        """Take an arrival, without waiting; return False beyond the bounds: its thread must be read again."""
        queue = self._waiting.get(arrival.thread)
        if self._count >= IN_ALL or (queue is not None and len(queue) >= PER_THREAD):
            log.error("discord_inbox_full", thread=arrival.thread, waiting=self._count)
            return False
        self._count += 1
        if queue is not None:
            queue.append(arrival)
            return True
        self._waiting[arrival.thread] = deque([arrival])
        self._tasks.create_task(self._work(arrival.thread), name=f"discord inbox {arrival.thread}")
        return True

    async def _work(self, thread: ThreadKey) -> None:
        queue = self._waiting[thread]
        while queue:
            await self._until_taken(queue[0])
            queue.popleft()
            self._count -= 1
        del self._waiting[thread]

    async def _until_taken(self, arrival: Arrival) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                await self._take(arrival)
            except StoreError as error:
                log.debug("discord_event_not_taken", thread=arrival.thread, error=type(error).__name__)
                await self._clock.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            except Exception as error:  # noqa: BLE001 - one event that cannot be read must not stop all others
                log.error("discord_event_failed", thread=arrival.thread, error=repr(error))
                return
            else:
                return

    async def _take(self, arrival: Arrival) -> None:
        if not await self._sink.follows(arrival.thread):
            return
        event = await arrival.read()
        if event is not None:
            await self._sink.take([event])
