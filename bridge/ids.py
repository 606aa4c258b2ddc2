"""Mints the ids of visitors and conversations: ordered by time, so that what is active lies together; not guessable."""

from __future__ import annotations

import secrets
from datetime import datetime

_EPOCH = 1_767_225_600_000  # 2026-01-01, in milliseconds
_RANDOM_BITS = 22


def mint(now: datetime) -> int:
    """Return a new id below 2**63: the milliseconds since 2026, then 22 random bits."""
    milliseconds = max(0, int(now.timestamp() * 1000) - _EPOCH)
    return milliseconds << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
