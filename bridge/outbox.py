"""All lanes: one for each destination that is configured, or still has something to be delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import structlog

from bridge.conversations import Conversations
from bridge.errors import StoreError
from bridge.health import LaneState
from bridge.hints import Hint, Wakeups, WorkHint
from bridge.lane import Lane
from bridge.model import AdapterName, Destination, ThreadKey
from bridge.ports import Adapter, Clock
from bridge.storage import Store

_LOOKS_EVERY = 15.0
log = structlog.get_logger()


class Outbox:
    """All lanes."""

    def __init__(
        self, store: Store, conversations: Conversations, wakeups: Wakeups, clock: Clock,
        adapters: Mapping[AdapterName, Adapter], destinations: Sequence[Destination],
        found: Callable[[AdapterName, ThreadKey], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._wakeups = wakeups
        self._adapters = adapters
        self._found = found
        self._conversations = conversations
        self._clock = clock
        self._stopped = asyncio.Event()
        self._parked: set[Destination] = set()
        self._down: dict[Destination, str] = {}
        """Why the last run left lanes as down that have not started since."""
        self.lanes: dict[Destination, Lane] = {each: self._make(each) for each in destinations}

    def _make(self, destination: Destination) -> Lane:
        return Lane(
            destination, self._adapters[destination.adapter], self._store, self._conversations, self._wakeups,
            self._clock, self._pause, self._found,
        )  # fmt: skip

    async def run(self) -> None:
        """Deliver until stopped. Ends when everything under way has ended."""
        async with asyncio.TaskGroup() as self._tasks:
            await self._recall()
            for lane in self.lanes.values():
                self._start(lane)
            end = self._wakeups.listen(self._hint)
            try:
                while not self._stopped.is_set():
                    await self._adopt()
                    await self._clock.wait(self._stopped, _LOOKS_EVERY)
            finally:
                end()

    def stop(self) -> None:
        """Begin nothing new."""
        self._stopped.set()
        for lane in self.lanes.values():
            lane.stop()

    async def _recall(self) -> None:
        """Learn which lanes the last run left as down."""
        try:
            self._down.update(await self._store.lanes_down())
        except StoreError as error:  # they find it out again
            log.error("outbox_cannot_read", error=str(error))

    def _start(self, lane: Lane) -> None:
        if lane.destination in self._down:
            lane.down_before(self._down.pop(lane.destination))
        self._tasks.create_task(lane.run(), name=f"lane-{lane.destination}")

    async def _adopt(self) -> None:
        """Take up destinations that are not configured any more, but have something that waits, perhaps again."""
        while not self._stopped.is_set():
            try:
                found = await self._store.destinations()
            except StoreError as error:
                log.debug("outbox_cannot_read", error=str(error))
                await self._clock.sleep(1.0)
            else:
                if not self._stopped.is_set():  # which it may have been told while it looked
                    for destination in found:
                        self._lane_to(destination)
                return

    def _lane_to(self, destination: Destination) -> Lane | None:
        """Return a destination's lane, made where its adapter is configured: open conversations keep their channel."""
        lane = self.lanes.get(destination)
        if lane is None and destination.adapter in self._adapters:
            lane = self.lanes[destination] = self._make(destination)
            self._start(lane)
        elif lane is None and destination not in self._parked:
            self._parked.add(destination)
            log.warning("deliveries_parked", destination=str(destination), reason="no such adapter is configured")
        return lane

    def load(self, destination: Destination) -> float:
        """Return how much is ahead of a new conversation at a destination."""
        lane = self.lanes.get(destination)
        return lane.load if lane else 0.0

    def _hint(self, hint: Hint) -> None:
        if isinstance(hint, WorkHint) and not self._stopped.is_set() and (lane := self._lane_to(hint.destination)):
            lane.hint(hint.conversation, hint.precedence)

    def _pause(self, adapter: AdapterName, until: datetime, reason: str) -> None:
        for lane in self.lanes.values():
            if lane.destination.adapter == adapter:
                lane.health.pause(until, LaneState.WAITING, reason)
