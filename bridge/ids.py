"""Mints the ids of visitors and conversations: ordered by time, so that what is active lies together; not guessable."""

from __future__ import annotations

import secrets
from datetime import datetime
from threading import Lock

_EPOCH = 1_767_225_600_000  # 2026-01-01, in milliseconds
_RANDOM_BITS = 22


class _Mint:
    """Knows what was minted in the present millisecond: two visitors with one id would share a log."""

    def __init__(self) -> None:
        self._lock = Lock()  # the store's thread mints too
        self._milliseconds = -1
        self._minted: set[int] = set()

    def draw(self, milliseconds: int) -> int:
        """Return bits that were not drawn in this millisecond."""
        with self._lock:
            if milliseconds != self._milliseconds:
                self._milliseconds = milliseconds
                self._minted.clear()
            while (bits := secrets.randbits(_RANDOM_BITS)) in self._minted:
                pass
            self._minted.add(bits)
            return bits


_mint = _Mint()


def mint(now: datetime) -> int:
    """Return a new id below 2**63: the milliseconds since 2026, then 22 random bits.

    A process mints none twice, but perhaps where its clock is set back.
    """
    milliseconds = max(0, int(now.timestamp() * 1000) - _EPOCH)
    return milliseconds << _RANDOM_BITS | _mint.draw(milliseconds)
