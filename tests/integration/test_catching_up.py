"""Catching up, in the core: what an adapter hears live waits until its thread has been read again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from bridge.conversations import Conversations
from bridge.deliveries import Outcome, Plan
from bridge.errors import StoreFull
from bridge.ids import mint
from bridge.inbound import Sink
from bridge.model import (
    AdapterName,
    Destination,
    Opened,
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
from bridge.ports import Known
from bridge.storage import NewMessage, Store
from bridge.store.sqlite.store import open_store
from bridge.wakeups import MemoryWakeups
from tests.clock import HandClock
from tests.emulators.base import eventually

TEAM = Destination(AdapterName("team"))
ANNA = Staff("U1", "Anna")
ONE, TWO = ThreadKey("T1"), ThreadKey("T2")


@dataclass
class Scene:
    """Two visitors' conversations with their threads; T2 was active last."""

    store: Store
    sink: Sink
    clock: HandClock
    visitors: dict[ThreadKey, VisitorId]

    async def texts(self, thread: ThreadKey) -> list[str]:
        """Return what a thread's visitor has of staff, revisions as `of: text`."""
        log = await self.store.folded(self.visitors[thread], None, 1000)
        return [entry.text for entry in log if entry.author.name == "Anna" and not entry.deleted]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock, wakeups = HandClock(), MemoryWakeups()
    async with open_store(tmp_path / "store.db") as store:
        conversations = Conversations(store, wakeups, clock)
        visitors = {}
        for number, thread in enumerate((ONE, TWO)):
            visitors[thread] = await _linked(store, thread, clock.now() + timedelta(seconds=number))
        yield Scene(store, Sink(TEAM.adapter, store, conversations, clock), clock, visitors)


async def _linked(store: Store, thread: ThreadKey, at: datetime) -> VisitorId:
    visitor = VisitorId(mint(at))
    new = NewMessage(visitor, SiteKey("shop"), Profile(), thread, "Hi", (), at, at, lambda _, __: (TEAM,))
    conversation = (await store.append(new)).message.conversation

    claim = await store.claim(TEAM, conversation, at, at, lambda pending, _: Plan((next(pending).id,), ()))
    assert claim
    await store.opening(claim, Token("t"), at)
    await store.opened(claim, Opened(thread), at)
    await store.settle(claim, Outcome.SENT, "", at)
    return visitor


def said(thread: ThreadKey, id: str, text: str = "") -> StaffMessage:
    return StaffMessage(thread, RemoteId(id), ANNA, RichText(text or id), datetime.now(UTC))


class Platform:
    """What an adapter would read of its threads; each reading waits for a permit."""

    def __init__(self, **threads: Sequence[str]) -> None:
        self.threads = threads
        self.read: list[Known] = []
        self.permits = asyncio.Semaphore(0)
        self.after: list[StaffEvent] = []

    async def __call__(self, known: Known) -> AsyncGenerator[StaffEvent, None]:
        self.read.append(known)
        for id in self.threads.get(known.thread, ()):
            await self.permits.acquire()
            if id not in known.messages:
                yield said(known.thread, id)
        for event in self.after:
            yield event


@asynccontextmanager
async def catching_up(sink: Sink, platform: Platform) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(sink.catch_up(platform))
    try:
        await eventually(lambda: platform.read or task.done())
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settled(tasks: Sequence[asyncio.Task[None]]) -> list[bool]:
    """Tell which tasks have ended, once whatever can run has run."""
    for _ in range(20):
        await asyncio.sleep(0.001)
    return [task.done() for task in tasks]


async def test_what_is_heard_live_comes_after_what_was_missed(scene: Scene) -> None:
    scene.sink.hold()
    live = asyncio.create_task(scene.sink.take([said(TWO, "r3")]))
    platform = Platform(T2=["r1", "r2", "r3"])
    async with catching_up(scene.sink, platform) as task:
        platform.permits.release()
        assert await settled([live]) == [False]
        for _ in range(2):
            platform.permits.release()
        await asyncio.wait_for(asyncio.gather(live, task), 20)
    assert await scene.texts(TWO) == ["r1", "r2", "r3"]


async def test_a_thread_that_is_read_goes_on_while_others_are_not(scene: Scene) -> None:
    scene.sink.hold()
    platform = Platform(T1=["r1"])
    async with catching_up(scene.sink, platform) as task:
        await eventually(lambda: len(platform.read) == 2)
        assert await asyncio.wait_for(scene.sink.follows(TWO), 20)
        assert not await asyncio.wait_for(scene.sink.follows(ThreadKey("elsewhere")), 20)
        one = asyncio.create_task(scene.sink.take([said(ONE, "r2")]))
        assert await settled([one]) == [False]
        platform.permits.release()
        await asyncio.wait_for(asyncio.gather(one, task), 20)
    assert await scene.texts(ONE) == ["r1", "r2"]


async def test_threads_that_events_wait_for_are_read_first_then_the_last_active(scene: Scene) -> None:
    platform = Platform()
    await scene.sink.catch_up(platform)
    assert [known.thread for known in platform.read] == [TWO, ONE]
    third = ThreadKey("T3")
    await _linked(scene.store, third, scene.clock.now() + timedelta(minutes=1))
    scene.sink.hold()
    platform = Platform(T3=["r1"])
    async with catching_up(scene.sink, platform) as task:
        waiting = asyncio.create_task(scene.sink.follows(ONE))
        await asyncio.sleep(0)
        platform.permits.release()
        await asyncio.wait_for(asyncio.gather(waiting, task), 20)
    assert [known.thread for known in platform.read] == [third, ONE, TWO]


async def test_threads_that_the_platform_calls_active_come_before_others_in_its_order(scene: Scene) -> None:
    quiet = ThreadKey("T0")
    await _linked(scene.store, quiet, scene.clock.now() - timedelta(days=40))
    platform = Platform()
    await scene.sink.catch_up(platform, active=[quiet, ThreadKey("elsewhere"), ONE])
    assert [known.thread for known in platform.read] == [quiet, ONE, TWO]


async def test_threads_are_read_side_by_side_as_many_as_the_adapter_wants(scene: Scene) -> None:
    await _linked(scene.store, third := ThreadKey("T3"), scene.clock.now() + timedelta(minutes=1))
    scene.sink.hold()
    platform = Platform(T3=["r1"], T2=["r1"], T1=["r1", "r2"])
    task = asyncio.create_task(scene.sink.catch_up(platform, at_once=2))
    await eventually(lambda: len(platform.read) == 2)
    live = [asyncio.create_task(scene.sink.take([said(thread, "r3")])) for thread in (third, ONE)]
    assert await settled(live) == [False, False]
    assert {known.thread for known in platform.read} == {third, TWO}
    for _ in platform.read:
        platform.permits.release()
    await asyncio.wait_for(live[0], 20)
    assert not live[1].done()
    for _ in range(2):
        platform.permits.release()
    await asyncio.wait_for(asyncio.gather(task, *live), 20)
    assert await scene.texts(ONE) == ["r1", "r2", "r3"]
    assert [known.thread for known in platform.read][2:] == [ONE]


async def test_a_catch_up_that_breaks_off_lets_nothing_past_the_gap(scene: Scene) -> None:
    scene.sink.hold()
    live = asyncio.create_task(scene.sink.take([said(TWO, "r3")]))
    platform = Platform(T2=["r1", "r2", "r3"])
    async with catching_up(scene.sink, platform):
        platform.permits.release()
        assert await settled([live]) == [False]
    assert await scene.texts(TWO) == ["r1"]
    scene.sink.hold()
    assert await settled([live]) == [False]
    for _ in range(4):
        platform.permits.release()
    await asyncio.wait_for(asyncio.gather(scene.sink.catch_up(platform), live), 20)
    assert await scene.texts(TWO) == ["r1", "r2", "r3"]


async def test_edits_and_deletions_of_the_gap_reach_the_visitor_once(scene: Scene) -> None:
    await scene.sink.take([said(TWO, "r1", "fist"), said(TWO, "r2"), said(TWO, "r3", "// a note")])
    platform = Platform()
    platform.after = [
        StaffEdit(TWO, RemoteId("r1"), ANNA, RichText("first"), datetime.now(UTC), "v1"),
        StaffDeletion(TWO, RemoteId("r2"), datetime.now(UTC)),
    ]
    for _ in range(2):
        await scene.sink.catch_up(platform)
    assert await scene.texts(TWO) == ["first"]
    assert [sorted(known.messages) for known in platform.read if known.thread == TWO] == [
        ["r1", "r2", "r3"],
        ["r1", "r3"],
    ]
    assert len(await scene.store.entries(scene.visitors[TWO], 0, 100)) == 2 + 2 + 2


async def test_a_long_thread_is_read_from_its_fiftieth_last_message(scene: Scene) -> None:
    await scene.sink.take([said(TWO, f"r{number:02}") for number in range(60)])
    platform = Platform()
    await scene.sink.catch_up(platform)
    two, one = platform.read
    assert (two.since, min(two.messages), max(two.messages), len(two.messages)) == ("r10", "r10", "r59", 50)
    assert (one.since, one.messages) == (None, frozenset())


async def test_a_thread_whose_reading_fails_goes_on(scene: Scene) -> None:
    async def fails(known: Known) -> AsyncGenerator[StaffEvent, None]:
        yield said(known.thread, "r1")
        raise LookupError

    scene.sink.hold()
    await scene.sink.catch_up(fails)
    await asyncio.wait_for(scene.sink.take([said(TWO, "r2")]), 20)
    assert await scene.texts(TWO) == ["r1", "r2"]


async def test_an_event_that_the_store_can_never_take_holds_up_nothing(scene: Scene) -> None:
    async def poison(known: Known) -> AsyncGenerator[StaffEvent, None]:
        yield said(known.thread, "r1")
        if known.thread == TWO:
            yield said(known.thread, cast("str", object()), "no id that a column holds")
        yield said(known.thread, "r2")

    scene.sink.hold()
    reading = asyncio.create_task(scene.sink.catch_up(poison))
    await until_done(scene.clock, reading)
    live = [said(TWO, "r3"), said(ONE, "poison", "\ud800"), said(ONE, "r3")]
    await asyncio.wait_for(scene.sink.take(live, "cursor"), 20)
    assert await scene.texts(ONE) == await scene.texts(TWO) == ["r1", "r2", "r3"]
    assert await scene.sink.cursor() == "cursor"


async def test_a_thread_whose_reading_began_before_a_break_is_read_after_it(scene: Scene) -> None:
    await scene.sink.catch_up(before := Platform())
    before.threads = {"T1": ["r1"]}
    found = asyncio.create_task(scene.sink.found(ONE))
    await eventually(lambda: len(before.read) == 3)
    scene.sink.hold()
    after = Platform(T2=["r1"], T1=["r1", "r2"])
    async with catching_up(scene.sink, after) as task:
        before.permits.release()
        await asyncio.wait_for(found, 20)
        live = asyncio.create_task(scene.sink.take([said(ONE, "r3")]))
        assert await settled([live]) == [False]
        for _ in range(3):
            after.permits.release()
        await asyncio.wait_for(asyncio.gather(live, task), 20)
    assert await scene.texts(ONE) == ["r1", "r2", "r3"]


async def test_a_reading_that_there_is_no_room_for_begins_again(scene: Scene) -> None:
    begun: list[ThreadKey] = []

    async def reading(known: Known) -> AsyncGenerator[StaffEvent, None]:
        begun.append(known.thread)
        if len(begun) == 1:
            raise StoreFull("no room for a picture")
        yield said(known.thread, "r1")

    scene.sink.hold()
    catching_up = asyncio.create_task(scene.sink.catch_up(reading))
    await eventually(lambda: begun)
    live = asyncio.create_task(scene.sink.take([said(TWO, "r2")]))
    assert await settled([live]) == [False]
    await until_done(scene.clock, catching_up)
    await asyncio.wait_for(live, 20)
    assert await scene.texts(TWO) == ["r1", "r2"]


async def test_threads_that_the_store_cannot_list_are_read_when_it_can(scene: Scene, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as db:
        db.execute("alter table link rename to damaged")
        scene.sink.hold()
        reading = asyncio.create_task(scene.sink.catch_up(Platform()))
        for _ in range(30):
            await settled([reading])
            await scene.clock.advance(1)
        await scene.store.probe()
        assert not reading.done()
        db.execute("alter table damaged rename to link")
    await until_done(scene.clock, reading)
    await asyncio.wait_for(scene.sink.take([said(TWO, "r1")]), 20)
    assert await scene.texts(TWO) == ["r1"]


async def until_done(clock: HandClock, task: asyncio.Task[None]) -> None:
    """Let time pass until a task has ended."""
    async with asyncio.timeout(20):
        while not task.done():
            await clock.advance(1)
