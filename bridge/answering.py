"""How soon staff usually answer on each site, measured now and then from what is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from statistics import median

import structlog

from bridge.errors import StoreError
from bridge.model import SiteKey
from bridge.ports import Clock
from bridge.storage import Store

_EVERY = 600.0
_WITHIN = timedelta(days=30)
_LATEST = 50
"""How many conversations of a site count, those that were answered last."""
_FEWEST = 5
"""Of fewer nothing can be told."""
_LOOKED_THROUGH = 2000
"""At how many conversations of all sites each measurement looks."""

log = structlog.get_logger()


class AnswerTimes:
    """The median of each site's, as it was measured last."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._medians: Mapping[SiteKey, int] = {}

    def of(self, site: SiteKey) -> int | None:
        """Return after how many seconds somebody usually answers; None where too few conversations tell."""
        return self._medians.get(site)

    async def run(self) -> None:
        """Measure every ten minutes."""
        while True:
            try:
                await self.measure()
            except StoreError as error:
                log.debug("answers_not_measured", error=str(error))  # the store tells its own troubles, once
            await self._clock.sleep(_EVERY)

    async def measure(self) -> None:
        """Measure now. Raises StoreError."""
        latest: defaultdict[SiteKey, list[float]] = defaultdict(list)
        for site, seconds in await self._store.answers(self._clock.now() - _WITHIN, _LOOKED_THROUGH):
            if len(latest[site]) < _LATEST:
                latest[site].append(seconds)
        self._medians = {site: round(median(taken)) for site, taken in latest.items() if len(taken) >= _FEWEST}
