"""What the store's writer gains: whole operations in groups, beside statements awaited through aiosqlite."""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import aiosqlite

from bench.load import TEXT
from bench.report import Row
from bridge.ids import mint
from bridge.model import AdapterName, Destination, Profile, SiteKey, VisitorId
from bridge.storage import NewMessage
from bridge.store.sqlite import schema
from bridge.store.sqlite.store import open_store

CALLERS = 50
_TO = Destination(AdapterName("desk"))


def writer(options: Namespace) -> Sequence[Row]:
    """Messages a second that are durably appended for 50 callers: the writer beside awaited statements of aiosqlite."""
    row = Row("writer", f"{CALLERS} callers", "msg/s")
    for turn in range(options.turns):
        awaited = asyncio.run(_awaited(Path(options.folder) / f"awaited-{turn}.db", options.seconds))
        row.add(asyncio.run(_grouped(Path(options.folder) / f"grouped-{turn}.db", options.seconds)), awaited)
    return [row]


async def _grouped(path: Path, seconds: float) -> float:
    async with open_store(path) as store:

        async def append(caller: VisitorId, number: int) -> None:
            now = datetime.now(UTC)
            new = NewMessage(caller, SiteKey("shop"), Profile(), str(number), TEXT, (), now, now, lambda *_: (_TO,))
            await store.append(new)

        return await _rate(append, seconds)


async def _awaited(path: Path, seconds: float) -> float:
    """Do what `append` does to the rows, a transaction for each message, each statement awaited."""
    connection = schema.connect(path, create=True)
    schema.migrate(connection, path)
    connection.close()
    async with aiosqlite.connect(path, isolation_level=None) as db:
        await db.executescript("pragma synchronous = full; pragma foreign_keys = on;")
        one_at_a_time = asyncio.Lock()

        async def append(caller: VisitorId, number: int) -> None:
            async with one_at_a_time:
                await db.execute("begin immediate")
                if number == 0:
                    await db.execute("insert into visitor (id, site, created_at) values (?, 'shop', 0)", (caller,))
                    await db.execute(
                        """insert into conversation (id, visitor, opened_at, active_at, context)
                           values (?, ?, 0, 0, '[]')""",
                        (caller, caller),
                    )
                await db.execute_fetchall(
                    "select seq from entry where visitor = ? and client_id = ?", (caller, str(number))
                )
                await db.execute_fetchall(
                    "select id from conversation where visitor = ? and closed_at is null", (caller,)
                )
                ((seq,),) = await db.execute_fetchall(
                    "select coalesce(max(seq), 0) + 1 from entry where visitor = ?", (caller,)
                )
                entry = await db.execute_insert(
                    """insert into entry (visitor, seq, conversation, author, text, at, client_id)
                       values (?, ?, ?, 'visitor', ?, 0, ?)""",
                    (caller, seq, caller, TEXT, str(number)),
                )
                assert entry
                await db.execute("update conversation set active_at = ? where id = ?", (number, caller))
                await db.execute(
                    """insert into delivery (destination, conversation, entry, created_at, due_at)
                       values ('desk', ?, ?, 0, 0)""",
                    (caller, entry[0]),
                )
                await db.execute("commit")

        return await _rate(append, seconds)


async def _rate(append: Callable[[VisitorId, int], Awaitable[None]], seconds: float) -> float:
    """Return how many appends a second all callers come to, each making the next when the last is durable."""
    until = time.monotonic() + seconds

    async def call(caller: VisitorId) -> int:
        number = 0
        while time.monotonic() < until:
            await append(caller, number)
            number += 1
        return number

    now = datetime.now(UTC)
    return sum(await asyncio.gather(*(call(VisitorId(mint(now))) for _ in range(CALLERS)))) / seconds
