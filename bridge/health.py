"""How the way to one destination is, and whose a failure is: the way's, or the delivery's alone."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from bridge.deliveries import Claim
from bridge.errors import AuthFailed, DeliveryError
from bridge.model import DeliveryId, Destination
from bridge.pacing import backoff
from bridge.ports import Clock

_REMEMBERED = 10_000
"""Of how many deliveries, those that failed last, it is known how: others may have been dropped."""
log = structlog.get_logger()


class LaneState(StrEnum):
    """How a lane is: `waiting` until a time that the platform named, `down` while it cannot be used."""

    UP = "up"
    WAITING = "waiting"
    DOWN = "down"


class Health:
    """Counts what got through and what failed in a row, and pauses the way accordingly.

    A failure is the way's only while nothing else gets through. Attempts are numbered as they begin, so that an answer
    to what was sent before a failure says nothing of what is since, whatever the clock does.
    """

    def __init__(self, destination: Destination, clock: Clock) -> None:
        self.state = LaneState.UP
        self.reason = ""
        self.sent = 0
        self.failures = 0
        """In a row: of attempts that were under way together one counts."""
        self.paused_until: datetime | None = None
        self._destination = destination
        self._clock = clock
        self._begun = 0
        self._got_through = 0
        """The last attempt that succeeded."""
        self._counted_at = 0
        self._paused_at = 0
        """Which attempt had begun last when a failure was counted, and when a pause began."""
        self._failed: dict[DeliveryId, int] = {}
        """Of what failed, its last attempt, in that order."""
        self._alone: Counter[DeliveryId] = Counter()

    def begin(self) -> int:
        """Return the number of an attempt that begins."""
        self._begun += 1
        return self._begun

    def pause(self, until: datetime, state: LaneState, reason: str) -> None:
        """Send nothing before a time. A lane that is down stays so: it is up again when a probe has succeeded."""
        self.paused_until = max(until, self.paused_until or until)
        self._paused_at = self._begun
        self.reason = reason
        if state is not self.state and self.state is not LaneState.DOWN:
            self.state = state
            log.warning(f"lane_{state}", destination=str(self._destination), until=until.isoformat(), reason=reason)

    def down_before(self, reason: str) -> None:
        """Take up the state that the lane had before a restart: it is probed rather than used at once."""
        self.reason = reason
        self.state = LaneState.DOWN
        log.warning("lane_down", destination=str(self._destination), reason=reason, since="before the start")

    def succeeded(self, attempt: int) -> None:
        """Note a success; of a pause that began after the attempt it says nothing."""
        self.sent += 1
        self._got_through = max(self._got_through, attempt)
        if self.paused_until is None or attempt > self._paused_at:
            self.up()

    def up(self) -> None:
        """Have the way used again."""
        self.failures = 0
        self.paused_until = None
        if self.state is not LaneState.UP:
            self.state = LaneState.UP
            log.info("lane_up", destination=str(self._destination))

    def trouble(self, attempt: int, reason: str, after: int) -> timedelta:
        """Count a failure that is the platform's, and return how long to wait; after so many the lane is down."""
        if attempt > self._counted_at:
            self.failures += 1
            self._counted_at = self._begun
        wait = backoff(self.failures)
        if self.failures >= after:
            self.pause(self._clock.now() + wait, LaneState.DOWN, reason)
        return wait

    def is_alone(self, claim: Claim) -> bool:
        """Tell whether what began later than a delivery's last attempt has got through, since the start."""
        before = self._failed.get(claim.id, 0) if claim.attempts > 1 else self._begun
        return self._got_through > before

    def alone(self, delivery: DeliveryId) -> int:
        """Return how often a delivery was counted as failing alone, since the start."""
        return self._alone[delivery]

    def count_alone(self, claim: Claim, error: DeliveryError) -> None:
        """Count a failure that is the delivery's own; what a person can mend, and a thread not yet open, only once."""
        before = self._alone[claim.id]
        if not before:
            log.warning(
                "delivery_waits_alone", destination=str(self._destination), delivery=claim.id, reason=str(error)
            )
        once = isinstance(error, AuthFailed) or claim.thread.thread is None
        self._alone[claim.id] = max(before, 1) if once else before + 1

    def note(self, delivery: DeliveryId, attempt: int) -> None:
        """Keep that an attempt at a delivery has failed."""
        self._failed.pop(delivery, None)
        self._failed[delivery] = attempt
        if len(self._failed) > _REMEMBERED:
            self.forget(next(iter(self._failed)))

    def forget(self, delivery: DeliveryId) -> None:
        """Forget a delivery that is settled, or planned anew by itself."""
        self._failed.pop(delivery, None)
        self._alone.pop(delivery, None)
