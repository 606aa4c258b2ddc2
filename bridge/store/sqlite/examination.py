"""Looks through the whole file for damage, ahead of anything else or, where that takes long, beside it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bridge.store.sqlite import schema
from bridge.store.sqlite.trouble import Trouble, damaged, is_damage, unusable

_AHEAD = 100 * 2**20
"""For a file of so many bytes a start waits: some tenths of a second."""


@asynccontextmanager
async def examined(path: Path, trouble: Trouble) -> AsyncIterator[None]:
    """Raise StoreError where a file is damaged; in a large one that is `trouble`, and nothing is written any more.

    SQLite looks at every page (`quick_check`), which for a million messages takes longer than a start may.
    """
    connection = await asyncio.to_thread(_opened, path)
    looking = asyncio.create_task(asyncio.to_thread(damage_in, connection), name="store-examination")
    try:
        small = (await asyncio.to_thread(path.stat)).st_size <= _AHEAD
        if small and (found := await asyncio.shield(looking)):
            raise damaged(path, found)
        looking.add_done_callback(lambda done: trouble.damage(done.result()) if done.result() else None)
        yield
    finally:
        connection.interrupt()
        await looking
        connection.close()


def _opened(path: Path) -> sqlite3.Connection:
    """Open the file as it is written later: while it is read, a copy could not change over to a log of writes."""
    try:
        return schema.connect(path, create=True)
    except sqlite3.Error as error:
        raise (damaged(path, str(error)) if is_damage(error) else unusable(path, error)) from error


def damage_in(connection: sqlite3.Connection) -> str:
    """Return what is damaged, or nothing, also where it was interrupted."""
    try:
        (found,) = connection.execute("pragma quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error) if is_damage(error) else ""
    return "" if found == "ok" else " ".join(found.split())
