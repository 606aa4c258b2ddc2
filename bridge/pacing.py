"""When what goes: budgets, the queue of conversations with work, waits between attempts. Pure but for the dice."""

from __future__ import annotations

import heapq
import random
from collections import deque
from datetime import datetime, timedelta

from bridge.model import ConversationId
from bridge.ports import Budget


def backoff(failures: int, at_most: float = 60.0) -> timedelta:
    """Return how long to wait after so many failures in a row: from half a second up, with jitter."""
    longest = min(at_most, 2.0 ** min(failures, 10))
    return timedelta(seconds=longest * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


class Window:
    """Keeps a Budget: at most `count` calls in any `seconds`."""

    def __init__(self, budget: Budget) -> None:
        self._count = budget.count
        self._span = timedelta(seconds=budget.seconds)
        # Twice as many as count: one that is given back uncovers an older one.
        self._taken: deque[datetime] = deque(maxlen=2 * budget.count)

    def ready_at(self, now: datetime) -> datetime | None:
        """Return when the next call may go, None where at once."""
        if len(self._taken) < self._count:
            return None
        ready = self._taken[-self._count] + self._span
        return ready if ready > now else None

    def take(self, now: datetime) -> None:
        """Count a call."""
        self._taken.append(now)

    def give_back(self) -> None:
        """Take back the latest call: it was not made."""
        if self._taken:
            self._taken.pop()

    def idle(self, now: datetime) -> bool:
        """Tell whether nothing that was taken counts any more."""
        return not self._taken or self._taken[-1] + self._span <= now


class Queue:
    """The conversations that have something to deliver: those ready in the order they came, the others by time."""

    def __init__(self) -> None:
        self._ready: dict[ConversationId, None] = {}
        self._later: dict[ConversationId, datetime] = {}
        self._times: list[tuple[datetime, ConversationId]] = []

    def add(self, conversation: ConversationId) -> None:
        """Queue a conversation, unless it waits for a time."""
        if conversation not in self._later:
            self._ready.setdefault(conversation)

    def add_at(self, conversation: ConversationId, due: datetime) -> None:
        """Queue a conversation from a time on."""
        self._ready.pop(conversation, None)
        self._later[conversation] = due
        heapq.heappush(self._times, (due, conversation))

    def __contains__(self, conversation: ConversationId) -> bool:
        return conversation in self._ready or conversation in self._later

    def pop(self, now: datetime) -> ConversationId | None:
        """Take the first that is ready."""
        while self._times and self._times[0][0] <= now:
            due, delayed = heapq.heappop(self._times)
            if self._later.get(delayed) == due:
                del self._later[delayed]
                self._ready.setdefault(delayed)
        conversation = next(iter(self._ready), None)
        if conversation is not None:
            del self._ready[conversation]
        return conversation

    def next_due(self) -> datetime | None:
        """Return when the next one comes ready."""
        return self._times[0][0] if self._times else None
