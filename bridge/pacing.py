"""When what goes: budgets, the queue of conversations with work, waits between attempts. Pure but for the dice."""

from __future__ import annotations

import heapq
import random
from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import takewhile

from bridge.hints import Precedence
from bridge.model import ConversationId
from bridge.ports import Budget


def backoff(failures: int, at_most: float = 60.0) -> timedelta:
    """Return how long to wait after so many failures in a row: from half a second up, with jitter."""
    longest = min(at_most, 2.0 ** min(failures, 10))
    return timedelta(seconds=longest * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


class Window:
    """Keeps a Budget: at most `count` calls in any `seconds`. Who has to wait goes in the order of asking.

    Nobody is promised a time: a call counts when it goes, so one that was not made, or goes late, costs the others
    nothing.
    """

    def __init__(self, budget: Budget) -> None:
        self._count = budget.count
        self._span = timedelta(seconds=budget.seconds)
        self._taken: list[datetime] = []
        """Ascending; twice as many as count, as one that is given back uncovers an older one."""
        self._waiting: list[ConversationId] = []

    def ready_at(self, now: datetime, waiting: ConversationId | None = None) -> datetime | None:
        """Return when one that waits may go, or the next behind all that wait; None where at once."""
        ahead = len(self._waiting) if waiting is None else self._waiting.index(waiting)
        rounds, ahead = divmod(ahead, self._count)
        last = len(self._taken) - self._count + ahead
        ready = (max(self._taken[last] + self._span, now) if last >= 0 else now) + rounds * self._span
        return ready if ready > now else None

    @contextmanager
    def wait(self, conversation: ConversationId) -> Iterator[None]:
        """Stand in line."""
        self._waiting.append(conversation)
        try:
            yield
        finally:
            self._waiting.remove(conversation)

    def take(self, now: datetime) -> None:
        """Count a call that goes now."""
        insort(self._taken, now)
        del self._taken[: -2 * self._count]

    def give_back(self, at: datetime) -> None:
        """Take back a call that was counted at this time: it was not made."""
        with suppress(ValueError):  # so long ago that it counts no more
            self._taken.remove(at)

    def forget(self) -> None:
        """Count no call of before."""
        self._taken.clear()

    def taken(self, now: datetime) -> int:
        """Return how many calls still count, with those that wait."""
        return len(self._waiting) + sum(1 for _ in takewhile(lambda at: at + self._span > now, reversed(self._taken)))

    def idle(self, now: datetime) -> bool:
        """Tell whether nobody waits and nothing that was taken counts any more."""
        return not self._waiting and (not self._taken or self._taken[-1] + self._span <= now)


_LONG = timedelta(minutes=1)
"""Who has waited for so long no longer expects an answer at once, as somebody who writes now does."""


class Queue:
    """The conversations that have something to deliver: those that are ready by their precedence, the others by time.

    Among equals the one that has waited longest goes first. Where that is long, it takes turns with the one that came
    last: after an outage nobody who writes now waits for all that has piled up, which goes on nevertheless.
    """

    def __init__(self) -> None:
        self._ready: dict[Precedence, OrderedDict[ConversationId, datetime]] = {
            each: OrderedDict() for each in Precedence
        }
        self._later: dict[ConversationId, tuple[datetime, Precedence]] = {}
        self._times: list[tuple[datetime, ConversationId]] = []
        self._last_one_first = False

    def add(self, conversation: ConversationId, precedence: Precedence, since: datetime) -> None:
        """Queue a conversation, where it waits already by the better of both precedences, unless it waits for a time.

        One that has waited for long now counts as the last.
        """
        if later := self._later.get(conversation):
            self._later[conversation] = later[0], min(precedence, later[1])
            return
        for before, ready in self._ready.items():
            waiting = ready.get(conversation)
            if waiting is not None:
                if precedence >= before and since - waiting <= _LONG:
                    return
                del ready[conversation]
                precedence = min(precedence, before)
        self._ready[precedence][conversation] = since

    def add_at(self, conversation: ConversationId, due: datetime, precedence: Precedence) -> None:
        """Queue a conversation from a time on."""
        for ready in self._ready.values():
            ready.pop(conversation, None)
        self._later[conversation] = due, precedence
        heapq.heappush(self._times, (due, conversation))

    def __len__(self) -> int:
        return len(self._later) + sum(map(len, self._ready.values()))

    def __contains__(self, conversation: ConversationId) -> bool:
        return conversation in self._later or any(conversation in ready for ready in self._ready.values())

    def pop(self, now: datetime, *, probe: bool = False) -> tuple[ConversationId, Precedence] | None:
        """Take the one whose turn it is; to probe the one that has waited longest since it was tried, if it was."""
        self._ripen(now)
        if probe:
            firsts = [(next(iter(ready.items())), each) for each, ready in self._ready.items() if ready]
            for (conversation, _), precedence in sorted(firsts, key=lambda first: first[0][1])[:1]:
                del self._ready[precedence][conversation]
                return conversation, precedence
            return None
        for precedence, ready in self._ready.items():
            if ready:
                waiting = now - next(iter(ready.values()))
                self._last_one_first = waiting > _LONG and not self._last_one_first
                return ready.popitem(last=self._last_one_first)[0], precedence
        return None

    def _ripen(self, now: datetime) -> None:
        while self._times and self._times[0][0] <= now:
            due, conversation = heapq.heappop(self._times)
            at, precedence = self._later.get(conversation, (None, Precedence.TEXT))
            if at == due:
                del self._later[conversation]
                self._ready[precedence][conversation] = due

    def next_due(self) -> datetime | None:
        """Return when the next one comes ready."""
        return self._times[0][0] if self._times else None
