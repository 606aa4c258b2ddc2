"""No work that grows with what is stored: plans of statements, and steps of SQLite's machine, not times."""

from __future__ import annotations

import asyncio
import inspect
import re
import sqlite3
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
)
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bridge.deliveries import Claim, Outcome, Pending, Plan, Settled, Slice
from bridge.ids import mint
from bridge.model import (
    AdapterName,
    Attachment,
    Destination,
    FileId,
    Opened,
    Page,
    Profile,
    RemoteId,
    RichText,
    SiteKey,
    Staff,
    StaffDeletion,
    StaffEdit,
    StaffEvent,
    StaffMessage,
    ThreadKey,
    Token,
    VisitorId,
)
from bridge.storage import NewMessage, Store, StoredFile
from bridge.store.sqlite.store import open_store
from tests.stored import DESK, fill

T = TypeVar("T")

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SITE, ANNA = SiteKey("shop"), Staff("anna", "Anna")
BEFORE = NOW - timedelta(days=3)
SLACK, DOWN = Destination(AdapterName("slack")), Destination(AdapterName("down"))

MAY_GROW = {
    "lanes_down": "once at the start, all destinations that are down",
    "recover": "once at the start, with what is unsettled",
    "make_due": "after a clock was set back, with what is unsettled at one destination",
    "waiting": "every 15 seconds, with what is unsettled at one destination",
    "destinations": "every 15 seconds, with what is unsettled",
    "backlog": "a scrape of the metrics, with what is not sent, up to its limit",
    "outbox": "the operator's list",
    "standing": "a reaction, with what was sent last, up to its limit",
    "revive": "the operator's list of what is dead",
}
"""Methods of the store that may go through rows, and through which."""

SORTS = {
    "claim": "the receipts of one message, each of whose files may be a delivery",
    "deliveries": "what waits of one visitor in the last conversations",
    "live": "threads of as many conversations as its limit says",
}
"""Methods whose statements may sort, and what."""

GOES_THROUGH = re.compile(r"SCAN (?!CONSTANT ROW|recent$|queue$)|.*AUTOMATIC")
"""Steps of a plan that go through a table or an index. `recent` and `queue` are subqueries with a limit."""


class Work:
    """What a store does: each statement with the method that ran it first, and how many steps each method took."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int]] = []
        self.statements: dict[str, tuple[str, Any]] = {}
        self._method = ""
        self._count = 0

    async def of(self, method: Callable[..., Awaitable[T]], *arguments: Any, **named: Any) -> T:
        """Call a method of the store, and note what it does."""
        self._method, self._count = method.__name__, 0
        try:
            return await method(*arguments, **named)
        finally:
            self.steps.append((self._method, self._count))

    def note(self, sql: str, values: Any) -> None:
        if re.match(r"\s*(select|insert|update|delete|with|replace)\b", sql):
            self.statements.setdefault(sql, (self._method, values))

    def step(self) -> None:
        self._count += 1


class _Cursor(sqlite3.Cursor):
    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        self.connection.work.note(sql, values)
        return super().execute(sql, values)

    def executemany(self, sql: str, values: Any) -> sqlite3.Cursor:
        many = list(values)
        for one in many[:1]:
            self.connection.work.note(sql, one)
        return super().executemany(sql, many)


class _Connection(sqlite3.Connection):
    def __init__(self, *arguments: Any, work: Work, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.work = work
        self.set_progress_handler(work.step, 1)

    def cursor(self, factory: type[sqlite3.Cursor] = _Cursor) -> sqlite3.Cursor:
        return super().cursor(factory)

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        return self.cursor().execute(sql, values)

    def executemany(self, sql: str, values: Any) -> sqlite3.Cursor:
        return self.cursor().executemany(sql, values)


@asynccontextmanager
async def watched(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Store, Work]]:
    work = Work()
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=partial(_Connection, work=work)))
        async with open_store(path) as store:
            yield store, work


def whole(pending: Iterator[Pending], _: Profile) -> Plan:
    """Plan the first delivery alone, in one part."""
    first = next(pending).id
    return Plan((first,), ((Slice(first, 0, 5),),))


def halves(pending: Iterator[Pending], _: Profile) -> Plan:
    first = next(pending).id
    return Plan((first,), ((Slice(first, 0, 2),), (Slice(first, 2, 5),)))


class Day:
    """A day of a visitor's and staff's, in which everything happens that the store can do."""

    def __init__(self, store: Store, work: Work, visitor: VisitorId, at: datetime) -> None:
        self.store, self.of, self.visitor, self.at = store, work.of, visitor, at
        self.name = f"{at.timestamp():.0f}"
        self._said = 0

    def message(self, client_id: str = "", **more: Any) -> NewMessage:
        self._said += 1
        client_id = client_id or f"{self.name}-{self._said}"
        new = NewMessage(
            self.visitor, SITE, Profile(locale="en"), client_id, "Hello", (), self.at, self.at - timedelta(hours=24),
            lambda *_: (SLACK, DESK), {DESK.adapter},
        )  # fmt: skip
        return replace(new, **more)

    async def claim(self, planner: Any = whole) -> Claim:
        until = self.at + timedelta(minutes=1)
        claim = await self.of(self.store.claim, SLACK, self.conversation, self.at, until, planner)
        assert claim
        return claim

    async def settle(self, claim: Claim, outcome: Outcome) -> Settled:
        receipt = RemoteId(f"{self.name}-{claim.id}") if outcome is Outcome.SENT else None
        return await self.of(self.store.settle, claim, outcome, "", self.at, receipt)

    async def open(self, claim: Claim, thread: ThreadKey) -> None:
        await self.of(self.store.opening, claim, Token("t"), self.at)
        await self.of(self.store.opened, claim, Opened(thread), self.at)

    async def take(self, *events: StaffEvent) -> None:
        await self.of(self.store.take, SLACK.adapter, events, self.name, self.at)

    async def pass_by(self) -> None:
        await self.write()
        await self.come_back()
        thread = await self.deliver()
        await self.answer(thread)
        await self.look(thread)
        await self.operate()
        await self.part()

    async def write(self) -> None:
        file = Attachment(FileId(f"f{self.name}"), "cat.png", "image/png", 10)
        await self.of(self.store.add_file, StoredFile(file, self.visitor, self.at))
        appended = await self.of(self.store.append, self.message("first"))
        self.conversation = appended.message.conversation
        for message in (self.message(attachments=(file.id,)), self.message("first"), self.message()):
            appended = await self.of(self.store.append, message)
        self.seq = appended.message.seq

    async def come_back(self) -> None:
        visitor, seq = self.visitor, self.seq
        await self.of(self.store.visitor, visitor)
        await self.of(self.store.entries, visitor, seq - 20, 10)
        await self.of(self.store.folded, visitor, None, 20)
        await self.of(self.store.deliveries, visitor, seq)
        await self.of(self.store.read, visitor, seq)
        await self.of(self.store.moved, visitor, Page())

    async def deliver(self) -> ThreadKey:
        former, thread = ThreadKey(f"{self.name}-former"), ThreadKey(self.name)
        first = await self.claim()
        await self.of(self.store.opening, first, Token("t"), self.at)
        await self.of(self.store.not_opened, first)
        await self.settle(first, Outcome.UNCERTAIN)
        first = await self.claim()
        await self.of(self.store.opening, first, Token("t"), self.at)
        await self.take(StaffMessage(former, RemoteId("early"), ANNA, RichText("Hi"), self.at))
        await self.of(self.store.opened, first, Opened(former), self.at)
        await self.settle(first, Outcome.SENT)
        second = await self.claim(halves)
        await self.of(self.store.receipt, second, 0, RemoteId(f"{self.name}-half"), self.at)
        await self.settle(second, Outcome.RETRY)
        again = await self.claim()
        await self.of(self.store.tell_elsewhere, again, "gone", "told", self.at)
        await self.of(self.store.abandon_thread, again, "gone", stands=True)
        await self.settle(again, Outcome.UNCERTAIN)
        again = await self.claim()
        await self.open(again, thread)
        await self.settle(again, Outcome.SENT)
        await self.settle(await self.claim(), Outcome.DEAD)
        return thread

    async def answer(self, thread: ThreadKey) -> None:
        first, note = RemoteId("first"), RemoteId("note")
        await self.of(self.store.follows, SLACK.adapter, thread)
        await self.take(StaffMessage(thread, first, ANNA, RichText("Hi"), self.at))
        await self.take(StaffMessage(thread, first, ANNA, RichText("Hi"), self.at))
        await self.take(StaffEdit(thread, first, ANNA, RichText("Hi there"), self.at, "2"))
        await self.take(StaffEdit(thread, first, ANNA, RichText("Hi, there"), self.at, "3"))
        await self.take(StaffDeletion(thread, first, self.at))
        await self.take(StaffMessage(thread, note, ANNA, RichText("// angry"), self.at))
        await self.take(StaffEdit(thread, note, ANNA, RichText("public"), self.at, "2"))
        await self.take(StaffMessage(ThreadKey("elsewhere"), first, ANNA, RichText("Hi"), self.at))
        poison = StaffMessage(thread, RemoteId("poison"), ANNA, RichText("Hi"), self.at)
        await self.of(self.store.pass_over, SLACK.adapter, poison, "not taken", self.at)
        part = StaffMessage(thread, RemoteId("part"), ANNA, RichText("Hi"), self.at, lost=("a file",))
        late = StaffMessage(thread, RemoteId("late"), ANNA, RichText(""), self.at, owed="a file")
        for event in (part, late, replace(late, text=RichText("Hi"), owed="")):
            await self.take(event)
            await self.of(self.store.owed, SLACK.adapter)
        await self.of(self.store.cursor, SLACK.adapter)
        await self.correct_what_is_old()
        await self.change_what_waits()
        await self.of(self.store.live, SLACK.adapter, self.at, timedelta(days=1), 50)
        await self.of(self.store.known, SLACK.adapter, thread, 50)
        await self.of(self.store.answers, self.at - timedelta(days=30), 5)
        await self.of(self.store.conversation_of, SLACK.adapter, thread)
        await self.of(self.store.seen, self.conversation, self.seq)
        await self.of(self.store.standing, SLACK.adapter, RemoteId(f"{self.name}-half"), 50)
        await self.of(self.store.threads, self.conversation)

    async def correct_what_is_old(self) -> None:
        """Edit and delete the first that staff ever wrote to the visitor."""
        _, _, old, *_ = await self.of(self.store.entries, self.visitor, 0, 5)
        ((_, thread),) = await self.of(self.store.threads, old.conversation)
        edit = StaffEdit(thread, RemoteId(f"r{old.id}"), ANNA, RichText("Hi there"), self.at, "2")
        for event in (edit, replace(edit, version="3"), StaffDeletion(thread, edit.remote_id, self.at)):
            await self.of(self.store.take, DESK.adapter, [event], None, self.at)

    async def change_what_waits(self) -> None:
        """Edit and delete at the desk what no other destination was sent yet."""
        thread, at, said = ThreadKey(str(self.conversation)), self.at, (RemoteId("kept"), RemoteId("gone"))
        events: list[StaffEvent] = [StaffMessage(thread, id, ANNA, RichText("Hi"), at) for id in said]
        edit = StaffEdit(thread, said[0], ANNA, RichText("Hello"), at, "2")
        for event in (*events, edit, StaffDeletion(thread, said[1], at)):
            await self.of(self.store.take, DESK.adapter, [event], None, at)

    async def look(self, thread: ThreadKey) -> None:
        await self.of(self.store.folded, self.visitor, None, 10)
        await self.of(self.store.summaries, DESK.adapter, None, 2)
        await self.of(self.store.summary, DESK.adapter, self.conversation)
        await self.of(self.store.conversation_entries, self.conversation, self.seq - 2, 10)
        await self.of(self.store.file, FileId(f"f{self.name}"))
        await self.of(self.store.drop_unattached, self.at - timedelta(days=7))

    async def operate(self) -> None:
        await self.of(self.store.backlog, 1000)
        (dead,) = await self.of(self.store.outbox, "dead", 10)
        await self.of(self.store.revive, [dead.id], self.at)
        await self.of(self.store.drop, dead.id, self.at)
        await self.of(self.store.revive, None, self.at)
        await self.of(self.store.recover, self.at)
        await self.of(self.store.waiting, SLACK, 100)
        await self.of(self.store.destinations)
        await self.of(self.store.make_due, SLACK, self.at)
        await self.of(self.store.lane_down, SLACK, "no network")
        await self.of(self.store.lanes_down)
        await self.of(self.store.lane_down, SLACK, None)
        await self.of(self.store.probe)

    async def part(self) -> None:
        while (await self.settle(await self.claim(), Outcome.SENT)).next is not None:
            pass
        await self.of(self.store.close_conversation, self.conversation, SLACK.adapter, ANNA, self.at)
        await self.of(self.store.append, self.message())
        await self.of(self.store.close_conversation, self.conversation, SLACK.adapter, ANNA, self.at)
        later = self.at + timedelta(days=2)
        await self.of(self.store.append, self.message(at=later, reopens_since=later))
        guest = VisitorId(mint(self.at))
        await self.of(self.store.append, self.message(visitor=guest))
        profile = Profile(identity="42")
        await self.of(self.store.identify, SITE, self.visitor, profile, self.at)
        await self.of(self.store.identify, SITE, guest, profile, self.at)


def a_day(path: Path, visitor: VisitorId, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Let a day pass in the store; return what it took."""

    async def passed() -> Work:
        async with watched(path, monkeypatch) as (store, work):
            await Day(store, work, visitor, NOW).pass_by()
        return work

    return asyncio.run(passed())


def little(path: Path) -> VisitorId:
    """Fill a store with one visitor's few conversations."""
    return fill(path, BEFORE, 25, visitors=1)[0]


def much(path: Path, conversations: int) -> VisitorId:
    """Fill a store with many conversations, some of which wait, and with one visitor's long log."""
    fill(path, BEFORE, conversations)
    fill(path, BEFORE, conversations // 10, to=DOWN, waiting=True)
    return fill(path, BEFORE, conversations // 10, visitors=1)[0]


def test_the_day_holds_everything_that_a_store_can_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = a_day(tmp_path / "store.db", little(tmp_path / "store.db"), monkeypatch)
    methods = {name for name, member in vars(Store).items() if inspect.iscoroutinefunction(member)}
    done = {method for method, _ in work.steps}
    assert methods - done == set(), "Day has to do this too"
    assert done >= MAY_GROW.keys() | SORTS.keys()


def test_no_statement_goes_through_a_table_or_sorts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    work = a_day(path, little(path), monkeypatch)
    assert len(work.statements) > 50
    found = []
    with closing(sqlite3.connect(path)) as db:  # not as the store does: plans of foreign keys are told that never run
        for sql, (method, values) in work.statements.items():
            plan = [step for *_, step in db.execute(f"explain query plan {sql}", values)]
            bad = [step for step in plan if GOES_THROUGH.match(step)]
            sorts = [step for step in plan if "TEMP B-TREE" in step]
            if (bad and method not in MAY_GROW) or (sorts and method not in MAY_GROW | SORTS):
                found.append((method, sql, plan))
    assert found == []


@pytest.mark.parametrize(
    "conversations", [2000, pytest.param(100_000, marks=[pytest.mark.full, pytest.mark.timeout(600)])]
)
def test_a_full_store_has_no_more_work_with_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conversations: int
) -> None:
    empty, full = tmp_path / "empty.db", tmp_path / "full.db"
    before = a_day(empty, little(empty), monkeypatch).steps
    after = a_day(full, much(full, conversations), monkeypatch).steps
    assert [method for method, _ in after] == [method for method, _ in before]
    grown = [
        (method, few, many)
        for (method, few), (_, many) in zip(before, after, strict=True)
        if many > 1.1 * few and method not in MAY_GROW
    ]
    assert grown == []
