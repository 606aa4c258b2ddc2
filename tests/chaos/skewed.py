"""Runs the command line on a host whose clock is off by as many seconds as a file says at that moment.

python -m tests.chaos.skewed FILE serve ...

Only the time of day is off, as on a real host: what measures how long something takes goes on.
"""

from __future__ import annotations

import mmap
import struct
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bridge.__main__ import main
from bridge.clock import SystemClock

_SECONDS = struct.Struct("d")


def skew(path: Path, seconds: float) -> None:
    """Set by how much the clock is off from now on."""
    if not path.exists():
        path.write_bytes(_SECONDS.pack(0))
    with path.open("r+b") as file:
        file.write(_SECONDS.pack(seconds))


def run(path: Path) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), _SECONDS.size, access=mmap.ACCESS_READ) as shared:

        def now(_: SystemClock) -> datetime:
            (seconds,) = _SECONDS.unpack_from(shared)
            return datetime.now(UTC) + timedelta(seconds=seconds)

        SystemClock.now = now  # type: ignore[method-assign]
        main()


if __name__ == "__main__":
    _, name, *sys.argv[1:] = sys.argv
    run(Path(name))
