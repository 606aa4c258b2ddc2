"""The way to one destination: in order within a conversation, in parallel across conversations."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from bridge import planning
from bridge.conversations import Conversations
from bridge.deliveries import Claim, Outcome, Pending, Plan, Settled
from bridge.errors import (
    AuthFailed,
    Conflict,
    DeliveryError,
    OutcomeUnknown,
    Rejected,
    RetryLater,
    Scope,
    StoreError,
    ThreadGone,
    Unstorable,
    UploadCut,
)
from bridge.health import Health, LaneState
from bridge.hints import Precedence, Wakeups, WorkHint
from bridge.model import (
    AdapterName,
    ConversationId,
    Destination,
    Profile,
    RemoteId,
    ThreadKey,
)
from bridge.pacing import Queue, Window, backoff
from bridge.ports import Adapter, Clock, Links
from bridge.sending import CLAIM, Overdue, RejectedAsPlanned, Sender
from bridge.storage import Store

_MARGIN = timedelta(minutes=5)
"""How long before its end a claim is to begin a send, the longest of which takes a little less."""
_LOOKS_EVERY = timedelta(seconds=15)
_LOOKS_AT_MOST = 10_000
"""How many conversations a look takes up, those that wait longest; the next look takes more."""
_UNANSWERED = 5
"""So often something is tried that has no answer while others get through, where each may be another copy."""
_ALONE = 10
"""So often anything else is tried that fails while others get through: for some minutes."""
_DEFECTS = 5
"""After so many attempts that failed by an error which nobody foresaw, a delivery is given up."""
_DEFECTS_JOINED = 2
"""After so many, where nobody can look what stands, what was joined is sent each by itself."""
_AT_ONCE = timedelta()
_LONGEST = 86400.0
"""For so many seconds is waited at most at a platform's word."""
log = structlog.get_logger()
T = TypeVar("T")


class Lane:
    """The way to one destination."""

    def __init__(
        self, destination: Destination, adapter: Adapter, store: Store, conversations: Conversations,
        wakeups: Wakeups, clock: Clock, pause_adapter: Callable[[AdapterName, datetime, str], None],
        found: Callable[[AdapterName, ThreadKey], None],
    ) -> None:  # fmt: skip
        self.destination = destination
        self.health = Health(destination, clock)
        self.failed: Counter[str] = Counter()
        """Attempts by the kind of their failure."""
        self._adapter = adapter
        self._capabilities = adapter.capabilities
        self._address: Callable[[ThreadKey], str | None] = lambda _: None
        if isinstance(adapter, Links):
            self._address = adapter.permalink
        self._store = store
        self._wakeups = wakeups
        self._clock = clock
        self._pause_adapter = pause_adapter
        self._queue = Queue()
        self._busy: dict[ConversationId, datetime] = {}
        """What is worked on, and when it took its place in the budget."""
        self._again: dict[ConversationId, Precedence] = {}
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._stopping = False
        self._kept: str | None = None
        """Why the store holds the lane to be down, if it does."""
        self._looks_at = clock.now()
        self._window = Window(self._capabilities.budget)
        self._thread_windows: dict[ConversationId, Window] = {}
        self._sender = Sender(
            destination, adapter, store, conversations, clock, found, self._take_budget, self._patiently
        )

    def hint(self, conversation: ConversationId, precedence: Precedence) -> None:
        """Tell that a conversation has something to deliver."""
        if conversation in self._busy:
            # What its task has claimed may not hold the newest.
            self._again[conversation] = min(precedence, self._again.get(conversation, precedence))
        else:
            now = self._clock.now()
            self._queue.add(conversation, precedence, now)
            self._begin(now)

    @property
    def state(self) -> LaneState:
        """How the lane is."""
        return self.health.state

    def down_before(self, reason: str) -> None:
        """Take up the state that the lane had before a restart."""
        self._kept = reason
        self.health.down_before(reason)

    @property
    def possible_duplicates(self) -> int:
        """How often something was sent again although it may stand there, as the adapter cannot look."""
        return self._sender.possible_duplicates

    @property
    def load(self) -> float:
        """How much is ahead of a new conversation: what waits, and what the budget still counts. Infinite unless up."""
        if self.state is not LaneState.UP:
            return math.inf
        return len(self._queue) + len(self._busy) + self._window.taken(self._clock.now())

    def stop(self) -> None:
        """Begin nothing new; `run` ends when what is under way has ended."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped."""
        async with asyncio.TaskGroup() as self._tasks:
            while not self._stopping:
                try:
                    await self._begin_what_is_due()
                except Exception:  # which is to end no other lane
                    log.exception("lane_defect", destination=str(self.destination))
                    await self._clock.sleep(1.0)

    async def _begin_what_is_due(self) -> None:
        """Begin with whatever may be worked on, and wait until there may be more."""
        if self._looks_at - self._clock.now() > _LOOKS_EVERY:
            await self._forget_times()
        if self._clock.now() >= self._looks_at:
            await self._look()
        now = self._clock.now()  # what falls due after this is waited for
        self._begin(now)
        if not self._stopping:  # which it may have been told while it looked
            self._wake.clear()
        await self._clock.wait(self._wake, self._wakes_in(now).total_seconds())

    async def _forget_times(self) -> None:
        """Begin afresh where the clock was set back: all that was to be waited for would last that much longer."""
        with suppress(StoreError):
            await self._patiently(lambda: self._store.make_due(self.destination, self._clock.now()))
        self._looks_at = self._clock.now()
        self.health.paused_until = None
        self._queue = Queue()
        for window in (self._window, *self._thread_windows.values()):
            window.forget()

    async def _look(self) -> None:
        """Queue what waits according to the store: at the start, and now and then, as a hint may have been lost."""
        now = self._clock.now()
        self._looks_at = now + _LOOKS_EVERY
        try:
            waiting = await self._store.waiting(self.destination, _LOOKS_AT_MOST)
        except StoreError as error:
            log.debug("lane_cannot_read", destination=str(self.destination), error=str(error))
            return
        if not waiting and not self._busy and not (self.health.paused_until and now < self.health.paused_until):
            self.health.up()  # what it was down with was dropped, and nothing is left to probe it with
            await self._keep_state()
        for each in waiting:
            if each.conversation in self._busy or each.conversation in self._queue:
                continue
            if each.due > now:
                self._queue.add_at(each.conversation, each.due, each.precedence)
            else:
                self._queue.add(each.conversation, each.precedence, each.due)

    # what to do next

    def _begin(self, now: datetime) -> None:
        """Begin with whatever may be worked on now, at once: a claim is then in one commit with what it is to send."""
        while self._tasks and not self._stopping and (work := self._next(now)):
            conversation, precedence = work
            claiming = self._store.claim(self.destination, conversation, now, now + CLAIM, self._plan)
            self._tasks.create_task(self._work(conversation, precedence, claiming), name=f"deliver-{self.destination}")
        if self._queue:
            self._wake.set()  # `run` finds out how long there is to wait

    def _next(self, now: datetime) -> tuple[ConversationId, Precedence] | None:
        """Take the next conversation that may be worked on now."""
        # A lane that is down is probed with one conversation at a time, and not with the same ones again and again.
        probe = self.state is LaneState.DOWN
        at_once = 1 if probe else self._capabilities.concurrency
        if len(self._busy) >= at_once or (self.health.paused_until and now < self.health.paused_until):
            return None
        if not self._capabilities.budget.per_thread and self._window.ready_at(now):
            return None
        while (work := self._queue.pop(now, probe=probe)) is not None:
            conversation, precedence = work
            window = self._window_of(conversation, now)
            ready = window.ready_at(now)
            if ready is None:
                window.take(now)
                self._busy[conversation] = now
                return work
            self._queue.add_at(conversation, ready, precedence)
        return None

    def _wakes_in(self, now: datetime) -> timedelta:
        """Return how long there is to wait where no hint comes, soon enough to notice a clock that is set back."""
        budget = None if self._capabilities.budget.per_thread else self._window.ready_at(now)
        times = (self._queue.next_due(), self.health.paused_until, self._looks_at, budget)
        return min([_LOOKS_EVERY, *(time - now for time in times if time is not None and time > now)])

    def _window_of(self, conversation: ConversationId, now: datetime) -> Window:
        if not self._capabilities.budget.per_thread:
            return self._window
        if len(self._thread_windows) > 1000:
            self._thread_windows = {key: each for key, each in self._thread_windows.items() if not each.idle(now)}
        return self._thread_windows.setdefault(conversation, Window(self._capabilities.budget))

    async def _take_budget(self, conversation: ConversationId, until: datetime) -> None:
        """Wait until a further call may go, and for the lane. What would outwait its claim waits without one."""
        window = self._window_of(conversation, self._clock.now())
        with window.wait(conversation):
            while (ready := self._ready_at(window, conversation)) > (now := self._clock.now()):
                if self._stopping:
                    raise RetryLater("the bridge is stopping", after=0.0, scope=Scope.THREAD)
                if ready > until - _MARGIN:
                    left = (ready - now).total_seconds()
                    raise RetryLater("waits for the budget, or for the platform", after=left, scope=Scope.THREAD)
                await self._clock.sleep(min((ready - now).total_seconds(), 1.0))
            window.take(now)

    def _ready_at(self, window: Window, waiting: ConversationId) -> datetime:
        now = self._clock.now()
        return max(window.ready_at(now, waiting) or now, self.health.paused_until or now)

    # one conversation

    async def _work(
        self, conversation: ConversationId, precedence: Precedence, claiming: Awaitable[Claim | None]
    ) -> None:
        """Carry out the next plan of a conversation, and queue what is left."""
        retry: timedelta | None = None
        more: Precedence | None = None
        claim: Claim | None = None
        try:
            claim = await claiming
            if claim is None:
                self._give_back(conversation)
            else:
                more, retry = await self._carry_out(claim)
        except StoreError as error:
            if claim is None:
                self._give_back(conversation)
            retry = backoff(2)
            tell = log.error if isinstance(error, Conflict) else log.debug  # the store tells its own troubles, once
            tell("delivery_not_stored", destination=str(self.destination), error=str(error))
        except Exception:
            retry = backoff(6)
            log.exception("delivery_defect", destination=str(self.destination), conversation=conversation)
        finally:
            del self._busy[conversation]
            try:
                self._queue_again(conversation, precedence, more, retry)
            except Exception:  # which is to end nobody else's; the next look into the store queues it
                log.exception("lane_defect", destination=str(self.destination))

    def _queue_again(
        self, conversation: ConversationId, precedence: Precedence, more: Precedence | None, retry: timedelta | None
    ) -> None:
        """Queue what is left of a conversation, or came meanwhile; then begin with whatever has a place now."""
        waiting = [each for each in (more, self._again.pop(conversation, None)) if each is not None]
        now = self._clock.now()
        if retry is not None:
            self._queue.add_at(conversation, now + retry, min([precedence, *waiting]))
        elif waiting:
            self._queue.add(conversation, min(waiting), now)
        self._begin(now)

    def _give_back(self, conversation: ConversationId) -> None:
        """Give back the place in the budget of a conversation that is worked on: no call was made."""
        self._window_of(conversation, self._clock.now()).give_back(self._busy[conversation])

    def _plan(self, pending: Iterator[Pending], profile: Profile) -> Plan:
        """Plan; where that fails for one delivery, plan what is ahead of it, and give it up when it comes first."""
        seen: list[Pending] = []
        try:
            return planning.plan(
                _noting(pending, seen), profile, self._capabilities, self._adapter.measure, self._clock.now(),
                revises=self._sender.revises is not None, address=self._address,
            )  # fmt: skip
        except (StoreError, MemoryError):
            raise
        except Exception as error:
            if len(seen) > 1:
                return self._plan(iter(seen[:-1]), profile)
            log.exception("planning_defect", destination=str(self.destination), delivery=seen[0].id)
            return Plan((seen[0].id,), (), defect=f"unexpected {type(error).__name__}")

    async def _carry_out(self, claim: Claim) -> tuple[Precedence | None, timedelta | None]:
        """Send a claimed plan and settle it; return what waits behind it and, after a failure, for how long."""
        attempt = self.health.begin()
        receipt: RemoteId | None = None
        retry: timedelta | None = None
        reason = ""
        try:
            outcome, receipt = await self._sender.send(claim, last_look=self.health.alone(claim.id) >= _ALONE)
            reason = claim.reason if outcome is Outcome.TOLD else ""
            self.health.succeeded(attempt)
        except DeliveryError as error:
            if isinstance(error, OutcomeUnknown) and self._is_given_up(claim):
                refused = RejectedAsPlanned if claim.plan.compound else Rejected
                error = refused(f"{error}, time and again; it may stand above nevertheless")
            outcome, retry = await self._failed(claim, attempt, error)
            if outcome is Outcome.RETRY and claim.uncertain and not isinstance(error, ThreadGone):
                outcome = Outcome.UNCERTAIN  # it may be the look that failed: nobody knows yet
            reason = str(error)
        except Overdue:
            outcome, retry = Outcome.RETRY if self._sender.can_look else Outcome.ANEW, _AT_ONCE
        except Conflict:
            raise
        except Unstorable as error:  # nor will it be at the next attempt
            claim, outcome = replace(claim, uncertain=True), Outcome.DEAD
            reason = f"what came of it could not be stored ({error}); it may stand above nevertheless"
        except StoreError as error:  # what was sent before it is not known to be
            outcome, retry = Outcome.UNCERTAIN, backoff(claim.attempts)
            reason = str(error)
        except Exception as error:
            self.failed["defect"] += 1
            log.exception("adapter_defect", destination=str(self.destination), delivery=claim.id)
            outcome, retry = self._met_defect(claim)
            reason = f"unexpected {type(error).__name__}"
        if outcome in {Outcome.SENT, Outcome.APART, Outcome.DEAD, Outcome.TOLD}:
            self.health.forget(claim.id)
        else:
            self.health.note(claim.id, attempt)
        settled = await self._settle(claim, outcome, reason, retry or _AT_ONCE, receipt)
        self._wakeups.publish(*settled.changes)
        await self._keep_state()
        return settled.next, retry

    async def _settle(
        self, claim: Claim, outcome: Outcome, reason: str, wait: timedelta, receipt: RemoteId | None
    ) -> Settled:
        """End a claim, and tell of what is given up with it."""
        settled = await self._patiently(
            lambda: self._store.settle(claim, outcome, reason, self._clock.now() + wait, receipt)
        )
        if settled.dead is not None:
            log.warning("delivery_dead", destination=str(self.destination), delivery=settled.dead, reason=reason)
        return settled

    async def _keep_state(self) -> None:
        """Have the store know that the lane is down, or up again, so that a restart knows it too."""
        down = self.state is LaneState.DOWN
        if down != (self._kept is not None):
            before, self._kept = self._kept, self.health.reason if down else None
            try:
                await self._store.lane_down(self.destination, self._kept)
            except StoreError:
                self._kept = before  # the next attempt notes it

    async def _patiently(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write down what came of an attempt, though the store refuses at first: what is sent would be sent again."""
        failures = 0
        while True:
            try:
                return await write()
            except (Conflict, Unstorable):
                raise
            except StoreError:
                failures += 1
                if self._stopping:
                    raise
                await self._clock.sleep(backoff(failures, at_most=5.0).total_seconds())

    # what failures mean

    async def _failed(self, claim: Claim, attempt: int, error: DeliveryError) -> tuple[Outcome, timedelta | None]:
        """Decide what a failed attempt means: for the delivery, and for the lane."""
        self.failed[type(error).__name__] += 1
        log.info(
            "delivery_failed", destination=str(self.destination), delivery=claim.id, attempts=claim.attempts,
            error=type(error).__name__, reason=str(error),
        )  # fmt: skip
        alone = self.health.is_alone(claim)
        match error:
            case Rejected():
                return Outcome.APART if isinstance(error, RejectedAsPlanned) else Outcome.DEAD, None
            case ThreadGone():
                stands = error.stands
                await self._patiently(lambda: self._store.abandon_thread(claim, str(error), stands=stands))
                return Outcome.RETRY, _AT_ONCE if claim.attempts < _DEFECTS else backoff(claim.attempts)
            case RetryLater(outage=False, scope=Scope.THREAD):
                outcome = Outcome.CUT if isinstance(error, UploadCut) else Outcome.RETRY
                return outcome, _wait(error, claim)
            case RetryLater(outage=False) if error.after is not None or not alone:
                wait = _wait(error, claim)
                until = self._clock.now() + wait
                if error.scope is Scope.ADAPTER:
                    self._pause_adapter(self.destination.adapter, until, str(error))
                else:
                    self.health.pause(until, LaneState.WAITING, str(error))
                return Outcome.RETRY, wait
            case _:  # no answer, an outage, or AuthFailed
                outcome = Outcome.UNANSWERED if isinstance(error, OutcomeUnknown) else Outcome.RETRY
                # What only a person can mend in one thread does not become the lane's where others are quiet.
                if alone or (isinstance(error, AuthFailed) and self.health.alone(claim.id)):
                    self.health.count_alone(claim, error)
                    return outcome, backoff(claim.attempts)
                return outcome, await self._trouble(claim, attempt, error)

    async def _trouble(self, claim: Claim, attempt: int, error: DeliveryError) -> timedelta:
        """Take a failure for the lane's: it is down until a probe succeeds. Return how long it pauses."""
        wait = self.health.trouble(attempt, str(error), after=3 if isinstance(error, OutcomeUnknown) else 1)
        if isinstance(error, AuthFailed) and self.health.failures > 1:  # nothing got through in between
            await self._tell_elsewhere(claim, error)
        return wait

    def _met_defect(self, claim: Claim) -> tuple[Outcome, timedelta | None]:
        """Decide what follows an error that nobody foresaw. Only the one to blame is given up."""
        copied = claim.plan.joined and not self._sender.can_look  # all of it, perhaps, at each attempt
        if claim.defects + 1 < (_DEFECTS_JOINED if copied else _DEFECTS):
            return Outcome.DEFECT, backoff(claim.attempts)
        return Outcome.APART if claim.plan.compound else Outcome.DEAD, None

    def _is_given_up(self, claim: Claim) -> bool:
        """Tell whether this alone has no answer, again and again, where each attempt may be another copy of it."""
        if self._sender.can_look or claim.thread.thread is None or claim.plan.revises is not None:
            return False
        return claim.unanswered + 1 >= _UNANSWERED and self.health.is_alone(claim)

    async def _tell_elsewhere(self, claim: Claim, error: AuthFailed) -> None:
        """Tell staff elsewhere that only a person can mend this way: in each outage once at each destination."""
        text = f"Nothing reaches {self.destination} for now: {error}. What is written here follows there later."
        reason, now = str(error), self._clock.now()
        told = await self._patiently(lambda: self._store.tell_elsewhere(claim, reason, text, now))
        self._kept = reason
        self._wakeups.publish(*(WorkHint(destination, claim.conversation, Precedence.COSMETIC) for destination in told))


def _wait(error: RetryLater, claim: Claim) -> timedelta:
    """Return how long a delivery waits that was put off."""
    return backoff(claim.attempts) if error.after is None else timedelta(seconds=min(_LONGEST, error.after))


def _noting(pending: Iterator[Pending], seen: list[Pending]) -> Iterator[Pending]:
    """Hand deliveries on, and keep which were asked for."""
    for each in pending:
        seen.append(each)
        yield each
