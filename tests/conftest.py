"""What holds in every test: our code never blocks the event loop, and laws are tried without a stop-watch."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, BlockingError, blockbuster
from hypothesis import settings

from tests.process import installed

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")

ROOT = Path(__file__).parents[1]

MAY_BLOCK = {
    # Before anything is served: the file, the libraries of the adapters that it names, the lock and the secrets.
    "bridge/config.py": {"load"},
    "bridge/discovery.py": {"load"},
    "bridge/app.py": {"_secrets", "adapter_of"},
    "bridge/disk.py": {"locked"},
    # A log is written where it is told.
    "logging/__init__.py": {"emit"},
    "structlog/_output.py": {"msg"},
    # Only in tests, which log in structlog's own way: tracebacks with source lines. Ours name places.
    "structlog/dev.py": {"__call__"},
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, as for a release, and return the folder with what an installation has of it."""
    return installed(tmp_path_factory.mktemp("wheel"))


class Blocked(BlockingError):
    """Notes where it happened: what it is raised into may well catch it."""

    places: list[str] = []  # noqa: RUF012 - one list for all, emptied for each test

    def __init__(self, func: str) -> None:
        super().__init__(func)
        ours = [
            f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_stack()
            if frame.filename.startswith((f"{ROOT}/bridge/", f"{ROOT}/adapters/"))
        ]
        self.places.append(f"{func} in {ours[-1] if ours else 'unknown'}")


@pytest.fixture(autouse=True)
def nothing_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which our code makes the event loop wait for a disk, a socket or a clock."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    monkeypatch.setattr(blockbuster, "BlockingError", Blocked)
    Blocked.places.clear()
    guard = BlockBuster(["bridge", "adapters"])
    for function in guard.functions.values():
        for file, names in MAY_BLOCK.items():
            function.can_block_in(file, names)
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()
    assert not Blocked.places
