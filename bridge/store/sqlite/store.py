"""The embedded store: one SQLite file, one writer, one reader."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import aiosqlite

from bridge import disk
from bridge.deliveries import Claim, Outcome, Pending, Plan, Settled
from bridge.errors import StoreError
from bridge.hints import SeenHint
from bridge.model import (
    AdapterName,
    ConversationId,
    DeliveryId,
    Destination,
    FileId,
    Opened,
    Page,
    Profile,
    RemoteId,
    SiteKey,
    Staff,
    StaffEvent,
    Token,
    VisitorId,
)
from bridge.storage import Appended, Identified, NewMessage, StoredFile, Taken
from bridge.store.sqlite import claims, inbound, log, operating, outbox, schema
from bridge.store.sqlite.examination import examined
from bridge.store.sqlite.reads import Reads, connect
from bridge.store.sqlite.trouble import Trouble, unusable
from bridge.store.sqlite.writer import Operation, Writer

T = TypeVar("T")


class SqliteStore(Reads):
    """`storage.Store` on SQLite: reads are inherited, and each write is one operation of the writer's."""

    def __init__(
        self, reading: aiosqlite.Connection, writer: Writer, generations: Sequence[tuple[int, str]], trouble: Trouble
    ) -> None:
        super().__init__(reading, trouble)
        self._writer = writer
        self._generations = generations

    def _do(self, operation: Operation[T], *, yields: bool = False) -> asyncio.Future[T]:
        return self._writer.do(operation, yields=yields)

    @property
    def errors(self) -> int:
        """How many operations have failed."""
        return super().errors + self._writer.errors

    @property
    def generation(self) -> str:
        """The generation of all logs."""
        return self._generations[-1][1]

    def generation_of(self, delivery: DeliveryId) -> str:
        """Return the generation in which a delivery was made."""
        return next(name for before, name in self._generations if delivery < before)

    def append(
        self, message: NewMessage, told: Callable[[Appended | None], None] | None = None
    ) -> asyncio.Future[Appended]:
        """Take a visitor's message."""

        def take(db: sqlite3.Connection) -> Appended:
            appended = log.append(db, message)
            return operating.repeated(db, appended, message.at) if appended.repeat else appended

        return self._writer.do(take, told=told)

    async def read(self, visitor: VisitorId, seq: int) -> int:
        """Raise how far a visitor has read."""
        return await self._do(lambda db: log.read(db, visitor, seq))

    async def seen(self, conversation: ConversationId, seq: int) -> SeenHint | None:
        """Raise up to where staff have seen what a visitor wrote."""
        return await self._do(lambda db: log.seen(db, conversation, seq))

    async def moved(self, visitor: VisitorId, page: Page) -> None:
        """Note the page that a visitor is on."""
        await self._do(lambda db: log.moved(db, visitor, page))

    async def identify(self, site: SiteKey, visitor: VisitorId, profile: Profile, at: datetime) -> Identified:
        """Bind an identity, or merge into the visitor who has it."""
        return await self._do(lambda db: log.identify(db, site, visitor, profile, at))

    async def close_conversation(
        self, conversation: ConversationId, adapter: AdapterName, by: Staff, at: datetime
    ) -> Taken | None:
        """Close an open conversation."""

        def close(db: sqlite3.Connection) -> Taken | None:
            staff = log.staff_id(db, adapter, by.remote_id, by.name, by.avatar)
            return log.close_conversation(db, conversation, staff, by.name, at)

        return await self._do(close)

    async def drop_unattached(self, before: datetime) -> Sequence[FileId]:
        """Forget visitors' old files that no message holds."""
        return await self._do(lambda db: log.drop_unattached(db, before))

    async def probe(self) -> None:
        """Commit something."""
        await self._do(schema.probe)

    async def add_file(self, file: StoredFile) -> None:
        """Note a file."""
        await self._do(lambda db: log.add_file(db, file))

    async def take(
        self, adapter: AdapterName, events: Sequence[StaffEvent], cursor: str | None, at: datetime
    ) -> Sequence[Taken]:
        """Take staff events."""
        return await self._do(lambda db: inbound.take(db, adapter, tuple(events), cursor, at))

    async def pass_over(
        self, adapter: AdapterName, event: StaffEvent, lost: str, at: datetime
    ) -> tuple[Destination, ConversationId] | None:
        """Note an event that cannot be taken."""
        return await self._do(lambda db: inbound.pass_over(db, adapter, event, lost, at))

    async def recover(self, now: datetime) -> int:
        """Make claims that nobody holds any more uncertain."""
        return await self._do(lambda db: claims.recover(db, now))

    def claim(
        self,
        destination: Destination,
        conversation: ConversationId,
        now: datetime,
        until: datetime,
        planner: Callable[[Iterator[Pending], Profile], Plan],
    ) -> asyncio.Future[Claim | None]:
        """Claim the head of a conversation's queue."""
        return self._do(lambda db: claims.claim(db, destination, conversation, now, until, planner), yields=True)

    async def opening(self, claim: Claim, token: Token, now: datetime) -> None:
        """Note that a thread is being opened."""
        await self._do(lambda db: outbox.opening(db, claim, token, now), yields=True)

    async def not_opened(self, claim: Claim) -> None:
        """Take back `opening`."""
        await self._do(lambda db: outbox.not_opened(db, claim), yields=True)

    async def opened(self, claim: Claim, opened: Opened, now: datetime) -> Sequence[Taken]:
        """Commit a Link."""
        return await self._do(lambda db: outbox.opened(db, claim, opened, now), yields=True)

    async def abandon_thread(self, claim: Claim, reason: str, *, stands: bool) -> None:
        """Make the current thread a former one."""
        await self._do(lambda db: outbox.abandon_thread(db, claim, reason, stands=stands), yields=True)

    async def tell_elsewhere(self, claim: Claim, reason: str, text: str, now: datetime) -> Sequence[Destination]:
        """Note that the way is down, and queue a notice at the conversation's other destinations."""
        return await self._do(lambda db: outbox.tell_elsewhere(db, claim, reason, text, now), yields=True)

    async def receipt(self, claim: Claim, part: int, remote_id: RemoteId, until: datetime) -> None:
        """Commit that a part is in the thread."""
        await self._do(lambda db: outbox.receipt(db, claim, part, remote_id, until), yields=True)

    async def settle(
        self, claim: Claim, outcome: Outcome, reason: str, due_at: datetime, receipt: RemoteId | None = None
    ) -> Settled:
        """End a claim."""
        return await self._do(lambda db: outbox.settle(db, claim, outcome, reason, due_at, receipt), yields=True)

    async def make_due(self, destination: Destination, now: datetime) -> None:
        """Have nothing wait for another attempt any longer."""
        await self._do(lambda db: outbox.make_due(db, destination, now), yields=True)

    async def lane_down(self, destination: Destination, reason: str | None) -> None:
        """Note why the way to a destination cannot be used."""
        await self._do(lambda db: outbox.lane_down(db, destination, reason), yields=True)

    async def revive(self, ids: Sequence[DeliveryId] | None, now: datetime) -> int:
        """Make dead deliveries pending again."""
        return await self._do(lambda db: operating.revive(db, ids, now))

    async def drop(self, id: DeliveryId, now: datetime) -> None:
        """Remove a delivery for good."""
        await self._do(lambda db: operating.drop(db, id, now))


@asynccontextmanager
async def open_store(path: Path, *, examine: bool = False, migrate: bool = True) -> AsyncIterator[SqliteStore]:
    """Open the file, made and migrated where needed, and close it in order. Raises SchemaTooNew and StoreError.

    `examine`: look for damage first, or along with what is done where that takes long. Without `migrate` an older
    store is refused: another process, of an older version, may be at work on it.
    """
    if await asyncio.to_thread(disk.part_of(path).exists):
        raise StoreError(f"A restore into {path} was broken off: run `threadbridge restore` once more.")
    trouble = Trouble(path)
    async with examined(path, trouble) if examine else nullcontext():
        generations = await asyncio.to_thread(_prepare, path, schema.migrate if migrate else schema.expect_present)
        reading = await connect(path)
        writer = Writer(path, schema.connect, trouble)
        try:
            yield SqliteStore(reading, writer, generations, trouble)
        finally:
            await writer.close()
            await reading.close()


def _prepare(path: Path, bring: Callable[[sqlite3.Connection, Path], None]) -> Sequence[tuple[int, str]]:
    try:
        connection = schema.connect(path, create=True)
        try:
            bring(connection, path)
            return schema.generations(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise unusable(path, error) from error
