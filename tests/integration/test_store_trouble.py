"""The disk is full, locked, read-only or damaged: what cannot be kept is refused, and the rest goes on."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sqlite3
import subprocess
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiohttp import ClientSession, FormData

from bridge.errors import StoreError
from bridge.ids import mint
from bridge.model import AdapterName, Destination, Profile, SiteKey, VisitorId
from bridge.storage import Appended, NewMessage
from bridge.store.sqlite import copies, examination
from bridge.store.sqlite.store import open_store
from tests.emulators.base import Emulator, eventually
from tests.emulators.slack import SlackEmulator
from tests.emulators.telegram import TelegramEmulator
from tests.house import ORIGIN, Visitor, config_for
from tests.process import Serving, ended, serving

PLENTY = "1000/1s"
REMEDY = "Remedy: let the user that runs the bridge write the file and its folder."


# --- means ------------------------------------------------------------------------------------------------------------


class Room(Protocol):
    """What a process can write."""

    def take(self, running: Serving) -> None:
        """Leave none."""

    def give(self, running: Serving) -> None:
        """Give it back."""


class SizeLimit:
    """No file may be written beyond a few bytes: the system says so, to whoever runs the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, running: Serving) -> None:
        _, self.hard = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (512, self.hard))

    def give(self, running: Serving) -> None:
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (self.hard, self.hard))


class SmallDisk:
    """A file system of its own, filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)

    def take(self, running: Serving) -> None:
        with suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(b"\0" * 4096):
                pass

    def give(self, running: Serving) -> None:
        (self.folder / "ballast").unlink()

    def close(self) -> None:
        subprocess.run(["umount", self.folder], check=True)


def may_mount() -> bool:
    """Tell whether a file system of its own can be had here, which takes root's rights."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    with suppress(OSError):
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    return False


class DiskImage:
    """A disk of its own, which can fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._image = folder.with_suffix(".img")
        with self._image.open("wb") as image:
            image.truncate(32 * 2**20)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", self._image], check=True)
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop,errors=remount-ro", self._image, self.folder], check=True)

    def fail(self) -> None:
        """Show the system an error of the disk: from then on it lets nobody write there."""
        subprocess.run(["sync", "--file-system", self.folder], check=True)
        look = ["findmnt", "--noheadings", "--output", "SOURCE", self.folder]
        device = Path(subprocess.run(look, capture_output=True, check=True, text=True).stdout.strip()).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")

    def repair(self) -> None:
        self.close()
        subprocess.run(["e2fsck", "-p", self._image], capture_output=True, check=False)
        self.mount()

    def forbid(self, sign: str = "+") -> None:
        """Forbid everybody to write the database and to make files, also who holds it open."""
        files = [self.folder / "threadbridge.db", self.folder / "threadbridge.db-wal", self.folder / "files"]
        subprocess.run(["chattr", f"{sign}i", *files, self.folder], check=True)

    def close(self) -> None:
        subprocess.run(["umount", self.folder], check=True)


MEANS = ["size limit", "small disk"]
if not may_mount():
    MEANS.remove("small disk")
    warnings.warn("as root, who may mount, these tests fill a whole file system, and others fail", stacklevel=1)


@pytest.fixture(params=MEANS)
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "size limit":
        yield SizeLimit(folder)
        return
    disk = SmallDisk(folder)
    yield disk
    disk.close()


@asynccontextmanager
async def shop(folder: Path, *options: str) -> AsyncIterator[tuple[Serving, Visitor]]:
    """Serve a shop with a desk, and a visitor who has written "first"."""
    config_for(folder)
    async with ClientSession() as http, serving(folder / "config.toml", "--log-format", "json", *options) as running:
        visitor = Visitor(http, running.url)
        await visitor.connect()
        assert (await visitor.say("first"))["type"] == "ack"
        yield running, visitor


async def ready(visitor: Visitor) -> int:
    async with visitor.http.get(f"{visitor.url}/readyz") as answer:
        return answer.status


async def upload(visitor: Visitor, content: bytes) -> tuple[int, dict[str, Any]]:
    form = FormData()
    form.add_field("file", content, filename="a.txt", content_type="text/plain")
    headers = {"Origin": ORIGIN, "Authorization": f"Bearer {visitor.token}"}
    async with visitor.http.post(f"{visitor.url}/v1/uploads", data=form, headers=headers) as answer:
        return answer.status, await answer.json()


def told(running: Serving, event: str) -> list[dict[str, Any]]:
    """Return the lines of the log about an event."""
    lines = [json.loads(line) for line in running.said if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def until(condition: Callable[[], Any], value: object) -> None:
    async with asyncio.timeout(60):
        while await condition() != value:  # noqa: ASYNC110 - it looks at another process
            await asyncio.sleep(0.05)


# --- full -------------------------------------------------------------------------------------------------------------


def stands(emulator: Emulator, text: str) -> int:
    """Count how often a text stands in a platform's threads."""
    return sum(shown.text.count(text) for thread in emulator.threads() for shown in emulator.messages(thread))


async def test_what_does_not_fit_is_refused_and_taken_once_there_is_room(room: Room, tmp_path: Path) -> None:
    async with SlackEmulator() as slack, TelegramEmulator() as telegram, ClientSession() as http:
        platforms: dict[str, Emulator] = {"slack": slack, "telegram": telegram}
        adapters = {name: each.settings() | {"budget": PLENTY} for name, each in platforms.items()}
        sites = {name: {"origins": [ORIGIN], "destinations": [name]} for name in platforms}
        config = tmp_path / "disk/config.toml"
        config_for(config.parent, adapters, sites=sites)
        async with serving(config, "--log-format", "json") as running:
            visitors = {name: Visitor(http, running.url, site=name) for name in platforms}
            for name, visitor in visitors.items():
                await visitor.connect()
                _, file = await upload(visitor, b"kept")
                await visitor.say("before", attachments=[file["id"]])
                await eventually(lambda: stands(platforms[name], "before"))  # noqa: B023
            visitor = visitors["slack"]
            room.take(running)

            # Refused, and nothing of it is anywhere.
            number = 0
            while (answer := await visitor.say("fills the last page", id=f"f{number}"))["type"] == "ack":
                number += 1
            assert answer["code"] == "store_full"
            status, error = await upload(visitor, b"x" * 100_000)
            assert (status, error["code"]) == (507, "store_full")
            assert await ready(visitor) == 503

            # What needs no room goes on.
            reader = Visitor(http, running.url, site="slack", token=visitor.token)
            welcome = await reader.connect()
            assert welcome["seq"] == visitor.after
            (file,) = welcome["messages"][-1 - number]["attachments"]
            async with http.get(running.url + file["url"]) as answer:
                assert (answer.status, await answer.read()) == (200, b"kept")

            # What staff write is not confirmed to the platform.
            await telegram.staff_says(telegram.threads()[0], "answer on telegram")
            await slack.staff_says(slack.threads()[0], "answer on slack")
            await eventually(lambda: any(not attempt.acked for attempt in slack.attempts))
            asked = len(telegram.calls)
            await eventually(lambda: sum(call.method == "getUpdates" for call in telegram.calls[asked:]) >= 1)
            assert telegram.updates.pending

            room.give(running)
            assert (await visitor.say("fills the last page", id=f"f{number}"))["type"] == "ack"
            await until(lambda: ready(visitor), 200)
            assert (await upload(visitor, b"x" * 100_000))[0] == 201
            for name, visitor in visitors.items():
                assert (await visitor.hear())["text"] == f"answer on {name}"
            await eventually(lambda: not telegram.updates.pending)
            await eventually(lambda: stands(slack, "fills the last page") == number + 1)
            for visitor in (*visitors.values(), reader):
                await visitor.leave()

        troubles = told(running, "store_fails")
        assert troubles[0]["remedy"].startswith("free some room")
        assert told(running, "store_works_again")
        assert len(told(running, "files_not_written")) == len(told(running, "files_written_again")) == 1
        if isinstance(room, SizeLimit):  # of the other a small commit may find a corner where a large one did not
            assert len(troubles) == len(told(running, "store_works_again")) == 1
        assert not any("not_taken" in line or "not_stored" in line or "store_failed" in line for line in running.said)
        assert not slack.violations
        assert not telegram.violations


async def test_a_log_that_cannot_be_written_keeps_nobody_waiting(tmp_path: Path) -> None:
    """As on a disk that is full of what else is on it, the log too."""
    room = SizeLimit(tmp_path)
    async with shop(tmp_path) as (running, visitor):
        running.deafen()
        room.take(running)
        assert (await asyncio.wait_for(visitor.say("too much", id="m"), 20))["code"] == "store_full"
        assert await ready(visitor) == 503
        room.give(running)
        assert (await asyncio.wait_for(visitor.say("too much", id="m"), 20))["type"] == "ack"
        await until(lambda: ready(visitor), 200)


# --- locked, read-only ------------------------------------------------------------------------------------------------


async def test_a_locked_store_refuses_and_goes_on_when_the_lock_is_gone(tmp_path: Path) -> None:
    async with shop(tmp_path) as (running, visitor):
        with closing(sqlite3.connect(tmp_path / "threadbridge.db", isolation_level=None)) as other:
            other.execute("begin immediate")
            refused = await visitor.say("second", id="again")
            assert (refused["type"], refused["code"]) == ("error", "unavailable")
            assert (await Visitor(visitor.http, running.url, token=visitor.token).connect())["seq"] == visitor.after
            assert await ready(visitor) == 503
            other.execute("rollback")
        assert (await visitor.say("second", id="again"))["type"] == "ack"
        assert await ready(visitor) == 200
        await visitor.leave()
    (trouble,) = told(running, "store_fails")
    assert (trouble["reason"], trouble["remedy"]) == (
        "database is locked",
        "end the other program that holds the database",
    )
    assert len(told(running, "store_works_again")) == 1


async def test_what_waits_behind_a_lock_is_refused_along_with_the_first(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db") as store:
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
            other.execute("begin immediate")
            many = [asyncio.create_task(store.probe()) for _ in range(2000)]  # several groups
            await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)
            assert [type(task.exception()) for task in many] == [StoreError] * len(many)


@pytest.mark.parametrize("statement", ["begin immediate", "commit"])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("nobody foresaw it")], ids=["memory", "defect"])
async def test_a_commit_that_fails_by_no_fault_of_the_file_is_refused_and_the_next_one_taken(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    statement: str,
    error: Exception,
) -> None:
    failing: list[Exception] = []

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == statement and failing:
                raise failing.pop()
            return super().execute(sql, *values)

    async with open_store(tmp_path / "store.db") as store:
        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Failing))
        await asyncio.wait_for(store.probe(), 20)
        failing.append(error)
        with pytest.raises(StoreError, match=r"the store failed: \w+"):
            await asyncio.wait_for(store.probe(), 20)
        await asyncio.wait_for(store.probe(), 20)
    told = capsys.readouterr().out
    assert told.count("store_fails") == 1
    assert (str(error) or "MemoryError") in told


async def test_what_became_of_a_message_is_told_before_its_caller_goes_on_where_it_is_refused_at_once(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path / "store.db") as store:
        pass
    told = list[Appended | None]()
    with pytest.raises(StoreError, match="closed"):
        await store.append(message("m", "hello"), told.append)
    assert told == [None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[DiskImage]:
    (tmp_path / "disk").mkdir()
    image = DiskImage(tmp_path / "disk")
    yield image
    image.close()


async def is_refused(visitor: Visitor) -> None:
    """Write twice and upload, and see that what is stored is still served."""
    for _ in range(2):
        refused = await visitor.say("second", id="again")
        assert (refused["type"], refused["code"]) == ("error", "unavailable")
    status, error = await upload(visitor, b"content")
    assert (status, error["code"]) == (503, "unavailable")
    assert await ready(visitor) == 503
    welcome = await Visitor(visitor.http, visitor.url, token=visitor.token).connect()
    assert (welcome["seq"], welcome["messages"][-1]["text"]) == (visitor.after, "first")


if "small disk" in MEANS:

    async def test_a_disk_that_turned_read_only_refuses_until_it_is_repaired(disk: DiskImage) -> None:
        async with shop(disk.folder) as (running, visitor):
            disk.fail()
            await is_refused(visitor)
            await visitor.leave()
        (trouble,) = told(running, "store_fails")
        assert trouble["reason"] == "Read-only file system"
        assert "repair it, mount it anew and start the bridge again" in trouble["remedy"]
        assert len(told(running, "files_not_written")) == 1
        disk.repair()
        async with ClientSession() as http, serving(disk.folder / "config.toml") as running:
            again = Visitor(http, running.url, token=visitor.token)
            assert (await again.connect())["seq"] == visitor.after
            assert (await again.say("second", id="again"))["seq"] == visitor.after + 1
            await again.leave()

    async def test_files_that_nobody_may_write_are_written_once_somebody_may(disk: DiskImage) -> None:
        async with shop(disk.folder) as (running, visitor):
            disk.forbid()
            await is_refused(visitor)
            disk.forbid("-")
            assert (await visitor.say("second", id="again"))["seq"] == visitor.after
            assert await ready(visitor) == 200
            assert (await upload(visitor, b"content"))[0] == 201
            await visitor.leave()
        (trouble,) = told(running, "store_fails")
        assert (trouble["reason"], trouble["remedy"]) == ("Operation not permitted", REMEDY[8:-1])
        for event in ("store_works_again", "files_not_written", "files_written_again"):
            assert len(told(running, event)) == 1


async def test_serve_does_not_start_on_a_file_that_it_may_not_write(tmp_path: Path) -> None:
    async with shop(tmp_path) as (_, visitor):
        await visitor.leave()
    path = tmp_path / "threadbridge.db"
    path.chmod(0o444)
    own = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []
    status, said = await ended("serve", "--config", tmp_path / "config.toml", through=own)
    assert (status, said) == (1, f"{path} cannot be used as a store: attempt to write a readonly database. {REMEDY}\n")


# --- damaged ----------------------------------------------------------------------------------------------------------


def message(client_id: str, text: str) -> NewMessage:
    """Return the first message of a new visitor."""
    now, to = datetime.now(UTC), (Destination(AdapterName("desk")),)
    return NewMessage(
        VisitorId(mint(now)), SiteKey("shop"), Profile(), client_id, text, (), now, now, lambda _, __: to
    )  # fmt: skip


async def filled(folder: Path, messages: int = 400) -> Path:
    """Return a configuration whose store holds long messages of many visitors."""
    config_for(folder)
    async with open_store(folder / "threadbridge.db") as store:
        for number in range(messages):
            await store.append(message(str(number), "long " * 700))
    return folder / "config.toml"


def damage(path: Path, pages: slice) -> None:
    """Overwrite pages of a database as a failing disk does."""
    size = 4096
    count = path.stat().st_size // size
    with path.open("r+b") as file:
        for page in range(*pages.indices(count)):
            file.seek(page * size)
            file.write(b"\xff" * size)


async def test_a_damaged_text_stays_out_of_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await filled(tmp_path, messages=1)
    with closing(sqlite3.connect(tmp_path / "threadbridge.db")) as db, db:
        db.execute("update entry set text = cast(x'73656372657420ff' as text) where author = 'visitor'")  # no UTF-8
        (visitor,) = db.execute("select id from visitor").fetchone()
    async with open_store(tmp_path / "threadbridge.db") as store:
        with pytest.raises(StoreError) as refused:
            await store.entries(VisitorId(visitor), 0, 9)
    told = capsys.readouterr().out
    assert "store_fails" in told
    assert "secret" not in told + str(refused.value)


async def test_serve_does_not_start_on_a_damaged_store(tmp_path: Path) -> None:
    config = await filled(tmp_path)
    path = tmp_path / "threadbridge.db"
    damage(path, slice(100, 101))
    before = path.read_bytes()
    status, said = await ended("serve", "--config", config)
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith(f"{path} is damaged: ")
    assert "restore a backup with `threadbridge restore`" in said
    assert path.read_bytes() == before


async def test_serve_does_not_start_on_what_is_no_database(tmp_path: Path) -> None:
    config_for(tmp_path)
    path = tmp_path / "threadbridge.db"
    path.write_bytes(b"this is not a database, it only has its name" * 100)
    status, said = await ended("serve", "--config", tmp_path / "config.toml")
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith(f"{path} is damaged: file is not a database. Remedy: ")
    assert path.read_bytes().startswith(b"this is not")


async def test_damage_that_is_met_while_serving_ends_all_writing(tmp_path: Path) -> None:
    config = await filled(tmp_path)
    async with ClientSession() as http, serving(config, "--log-format", "json") as running:
        visitor = Visitor(http, running.url)
        await visitor.connect()
        damage(tmp_path / "threadbridge.db", slice(2, None))
        for number in range(3):
            refused = await visitor.say(f"number {number}")
            assert (refused["type"], refused["code"]) == ("error", "unavailable")
        assert await ready(visitor) == 503
        assert (await upload(visitor, b"content"))[0] == 503
        await visitor.leave()
    (trouble,) = told(running, "store_fails")
    assert "malformed" in trouble["reason"]
    assert "restore a backup" in trouble["remedy"]
    assert (await ended("serve", "--config", config))[0] == 1


async def test_damage_that_is_found_late_ends_all_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(tmp_path)
    path = tmp_path / "threadbridge.db"
    damage(path, slice(100, 101))
    monkeypatch.setattr(examination, "_AHEAD", 0)
    async with open_store(path, examine=True) as store:

        async def refused() -> bool:
            try:
                await store.probe()
            except StoreError as error:
                return "damaged" in str(error)
            return False

        await until(refused, True)


async def test_a_restored_store_is_served_however_long_it_is_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(tmp_path)
    await asyncio.to_thread(copies.copy, tmp_path / "threadbridge.db", tmp_path / "restored.db")
    open_file, served, waited = examination._opened, threading.Event(), threading.Event()

    def looks_until_served() -> bool:
        if not served.wait(20):
            waited.set()
        return waited.is_set()

    def opened_on_a_slow_disk(path: Path) -> sqlite3.Connection:
        connection = open_file(path)
        connection.set_progress_handler(looks_until_served, 1000)
        return connection

    monkeypatch.setattr(examination, "_opened", opened_on_a_slow_disk)
    monkeypatch.setattr(examination, "_AHEAD", 100_000)
    async with open_store(tmp_path / "restored.db", examine=True) as store:
        await store.probe()
        assert not waited.is_set()
        served.set()


async def test_a_log_that_is_cut_short_costs_its_end_alone(tmp_path: Path) -> None:
    config_for(tmp_path)
    async with ClientSession() as http:
        async with serving(tmp_path / "config.toml") as running:
            visitor = Visitor(http, running.url)
            await visitor.connect()
            for number in range(30):
                await visitor.say(f"text {number}")
            running.process.kill()
            await running.process.wait()
        wal = tmp_path / "threadbridge.db-wal"
        os.truncate(wal, wal.stat().st_size * 2 // 3)
        async with serving(tmp_path / "config.toml") as running:
            visitor.url = running.url
            welcome = await visitor.connect()
            assert welcome["reset"] is True
            kept = [message["text"] for message in welcome["messages"] if message["from"]["kind"] == "visitor"]
            assert 0 < len(kept) < 30
            assert kept == [f"text {number}" for number in range(len(kept))]
            assert (await visitor.say("goes on"))["seq"] == welcome["seq"] + 1
            await visitor.leave()
