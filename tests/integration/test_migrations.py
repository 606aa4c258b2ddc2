"""Stores of every schema come forward with all that is in them, also where power fails on the way; none goes back."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bridge.deliveries import Claim, Outcome, Pending, Plan, Slice
from bridge.model import (
    AdapterName,
    ConversationId,
    DeliveryState,
    Destination,
    Event,
    FileId,
    Message,
    Profile,
    RemoteId,
    RichText,
    SiteKey,
    Staff,
    StaffMessage,
    ThreadKey,
    VisitorId,
)
from bridge.storage import NewMessage, Store
from bridge.store.sqlite import schema
from bridge.store.sqlite.examination import damage_in
from bridge.store.sqlite.store import open_store
from tests.house import config_for
from tests.process import died, ended, serving

ROWS = Path(__file__).parents[1] / "data/stores"
NUMBERS = [number for number, _ in schema.migrations()]
NOW = datetime(2026, 5, 2, 13, tzinfo=UTC)
ADA = VisitorId(101)
SLACK = AdapterName("slack")
TELEGRAM = Destination(AdapterName("telegram"), "-100")
ANNA = Staff("U1", "Anna")


def make(path: Path, number: int) -> None:
    """Make a store as the program of a schema left it; of schema 0 it is an empty file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("pragma journal_mode = wal")
        for step, script in schema.migrations():
            if step <= number:
                rows = ROWS / f"{step:04}.sql"
                written = rows.read_text("utf-8") if rows.exists() else ""
                db.executescript(f"begin; {script} {written} pragma user_version = {step}; commit;")


async def holds_all(store: Store) -> None:
    """Make sure that what the rows say is there and of use."""
    state = await store.visitor(ADA)
    assert state
    assert (state.seq, state.read, state.open_conversation, state.profile.name) == (7, 3, 202, "Ada")
    assert store.generation == "abcd1234"

    messages = {message.seq: message for message in await store.folded(ADA, None, 100)}
    assert [messages[seq].text for seq in (2, 3, 7)] == ["Where is my parcel?", "On its **way**", "It is not here yet"]
    assert [messages[seq].event for seq in (1, 5, 6)] == [Event.OPENED, Event.CLOSED, Event.OPENED]
    assert (messages[3].edited, messages[3].author.name) == (True, "Anna")
    assert [messages[seq].delivery for seq in (2, 7)] == [DeliveryState.SENT, DeliveryState.WAITING]
    (attachment,) = messages[2].attachments
    file = await store.file(attachment.id)
    assert file
    assert (file.attachment, file.owner) == (attachment, ADA)
    assert await store.cursor(AdapterName("telegram")) == "700000005"
    assert (await store.outbox("dead", 10))[-1].reason == "refused"
    assert [summary.conversation for summary in await store.summaries(SLACK, None, 10)] == [202, 201]
    for thread in ("C1:1.0", "C1:2.0"):
        assert await store.conversation_of(SLACK, ThreadKey(thread)) == (201, ADA)


async def holds_what_came_later(store: Store, number: int) -> None:
    """Make sure that what the rows of later schemas say is there, or what follows from those of before."""
    desk = [summary.conversation for summary in await store.summaries(AdapterName("desk"), None, 10)]
    assert desk == ([201] if number >= 3 else [])
    assert await store.answers(NOW - timedelta(days=30), 10) == [("shop", 60.0 if number >= 11 else 2.0)]
    ada = await store.visitor(ADA)
    assert ada
    assert ada.seen == 3
    assert await store.lanes_down() == ({TELEGRAM: "the bot is no member of the group"} if number >= 5 else {})
    files_given_up = [(row.id, row.reason) for row in (await store.outbox("dead", 10))[:-1]]
    assert files_given_up == ([(20, "missing_scope")] if number >= 16 else [])


async def goes_on(store: Store, number: int) -> None:
    """Make sure that conversations go on from where they were."""
    slack = (Destination(SLACK),)
    repeat = NewMessage(ADA, SiteKey("shop"), Profile(), "c2", "It is not here yet", (), NOW, NOW, lambda _, __: slack)
    assert (await store.append(repeat)).message.seq == 7
    again = StaffMessage(ThreadKey("C1:2.0"), RemoteId("4.0"), ANNA, RichText("On its wey"), NOW)
    late = StaffMessage(ThreadKey("C1:1.0"), RemoteId("9.0"), ANNA, RichText("Are you there?"), NOW)
    taken = await store.take(SLACK, [again, late], None, NOW)
    assert [each.entry and each.entry.seq for each in taken] == [None, 8]
    assert set(taken[1].destinations) == {*slack, TELEGRAM}  # nothing is sent to a desk

    claim = await store.claim(slack[0], ConversationId(202), NOW, NOW + timedelta(minutes=1), plan)
    assert claim
    assert [item.entry.text for item in claim.members if isinstance(item.entry, Message)] == ["", "It is not here yet"]
    await store.settle(claim, Outcome.SENT, "", NOW, RemoteId("10.0"))
    (message,) = await store.folded(ADA, 8, 1)
    assert message.delivery is DeliveryState.SENT
    assert await store.drop_unattached(NOW) == (FileId(f"{3:032}"),)
    if number >= 4:
        past = (await waiting_at(Destination(SLACK, "C2"), store)).members[0].past
        assert past
        assert (past.former, past.reason) == ("C2:1.0", "it is locked")
    if number >= 7:
        claim = await waiting_at(TELEGRAM, store)
        past = claim.members[0].past
        assert past
        assert (past.former, past.reason) == (None, "deleted")
        assert (claim.unanswered, claim.defects) == ((2, 1) if number >= 10 else (0, 0))
        assert claim.members[0].apart == (number >= 13)
        assert claim.cuts == (2 if number >= 16 else 0)


async def waiting_at(destination: Destination, store: Store) -> Claim:
    """Claim what waits of the open conversation."""
    claim = await store.claim(destination, ConversationId(202), NOW, NOW + timedelta(minutes=1), plan)
    assert claim
    return claim


def plan(pending: Iterator[Pending], _: Profile) -> Plan:
    """Plan all that waits, the last of it in one part."""
    waiting = list(pending)
    return Plan(tuple(item.id for item in waiting), ((Slice(waiting[-1].id, 0, 18),),))


@pytest.mark.parametrize("number", NUMBERS)
async def test_a_store_of_any_schema_comes_forward_with_its_data(number: int, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await asyncio.to_thread(make, path, number)
    for _ in range(2):  # the second start finds nothing to do
        async with open_store(path) as store:
            await holds_all(store)
            await holds_what_came_later(store, number)
    async with open_store(path) as store:
        await goes_on(store, number)


@pytest.mark.parametrize("number", [0, 1, 9], ids=["empty", "first", "ninth"])
async def test_power_that_fails_while_migrating_costs_a_start(number: int, tmp_path: Path) -> None:
    config_for(tmp_path)
    path, original = tmp_path / "threadbridge.db", tmp_path / "original.db"
    await asyncio.to_thread(make, original, number)
    original.touch()
    command = ("migrate", "--config", tmp_path / "config.toml")
    steps, versions = 150, set()
    await asyncio.to_thread(shutil.copy, original, path)
    while await died("database", steps, *command):
        versions.add(await asyncio.to_thread(version_of, path))
        async with open_store(path) as store:
            if number:
                await holds_all(store)
            else:
                await store.probe()
        await asyncio.to_thread(shutil.copy, original, path)
        steps *= 2
    assert len(versions) > 1, "it never died between two schemas"
    assert await asyncio.to_thread(version_of, path) == NUMBERS[-1]


def version_of(path: Path) -> int:
    """Return the schema of a store that was left behind, which must be whole."""
    with closing(sqlite3.connect(path)) as db:
        assert damage_in(db) == ""
        return int(db.execute("pragma user_version").fetchone()[0])


async def test_an_older_program_refuses_a_newer_store_and_says_what_to_do(tmp_path: Path) -> None:
    config_for(tmp_path)
    path = tmp_path / "threadbridge.db"
    await asyncio.to_thread(make, path, NUMBERS[-1])
    await asyncio.to_thread(leap, path)
    before = path.read_bytes()
    told = (
        f"{path} was written by a newer version of Threadbridge (schema {NUMBERS[-1] + 1}, this program knows "
        f"{NUMBERS[-1]}). Start that version, or restore a backup made before the upgrade.\n"
    )
    for command in ("serve", "deliveries", "migrate"):
        assert await ended(command, "--config", tmp_path / "config.toml") == (1, told)
    assert path.read_bytes() == before


def leap(path: Path) -> None:
    """Mark a store as of a schema that nobody here knows."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"pragma user_version = {NUMBERS[-1] + 1}")


@pytest.mark.parametrize("number", [0, 1], ids=["empty", "first"])
async def test_processes_that_start_at_once_migrate_once(number: int, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await asyncio.to_thread(make, path, number)

    async def started() -> str:
        async with open_store(path) as store:
            return store.generation

    assert len(set(await asyncio.gather(*(started() for _ in range(4))))) == 1


async def test_a_command_beside_a_running_process_changes_no_schema(tmp_path: Path) -> None:
    """The process may be of the version that is being replaced."""
    config_for(tmp_path)
    path = tmp_path / "threadbridge.db"
    await asyncio.to_thread(make, path, 1)
    status, said = await ended("deliveries", "--config", tmp_path / "config.toml")
    assert (status, "run `threadbridge migrate`, first" in said) == (1, True), said
    assert await asyncio.to_thread(version_of, path) == 1
    assert (await ended("migrate", "--config", tmp_path / "config.toml"))[0] == 0
    status, said = await ended("deliveries", "--config", tmp_path / "config.toml")
    assert (status, said.count("parked"), said.count("dead")) == (0, 2, 1)


async def test_a_store_that_is_served_is_not_migrated_beside(tmp_path: Path) -> None:
    config_for(tmp_path)
    async with serving(tmp_path / "config.toml"):
        status, said = await ended("migrate", "--config", tmp_path / "config.toml")
    assert (status, "in use by another Threadbridge process" in said) == (1, True)
