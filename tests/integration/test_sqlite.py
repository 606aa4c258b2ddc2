"""What only the SQLite store has: a file, a schema version, one writer."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.errors import SchemaTooNew, StoreError
from bridge.store.sqlite import schema
from bridge.store.sqlite.store import open_store


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with open_store(path):
        pass
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 999")
    with pytest.raises(SchemaTooNew, match="newer version"):
        async with open_store(path):
            pass


async def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"this is not a database, it only has its name" * 100)
    with pytest.raises(StoreError, match=r"store\.db"):
        async with open_store(path):
            pass


async def test_the_generation_outlives_the_process(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db") as store:
        first = store.generation
    async with open_store(tmp_path / "store.db") as store:
        assert store.generation == first


async def test_a_closed_store_takes_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db") as store:
        pass
    with pytest.raises(StoreError):
        await store.recover(datetime.now(UTC))


async def test_a_file_that_was_removed_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with open_store(path) as store:
        await store.probe()
        path.unlink()
        for _ in range(2):
            with pytest.raises(StoreError):
                await store.probe()
        assert not path.exists()


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """An acknowledgement follows a commit, and a loss of power may follow at once."""
    with closing(schema.connect(tmp_path / "store.db", create=True)) as connection:
        assert connection.execute("pragma synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
