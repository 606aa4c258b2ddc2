"""The system's time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic


class SystemClock:
    """`ports.Clock` of the machine."""

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime.now(UTC)

    def steady(self) -> float:
        """Return the seconds since the machine's start, or thereabouts."""
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, at the longest so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
