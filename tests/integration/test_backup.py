"""Backup and restore: all that was acknowledged is in the archive, and nobody notices that it was made."""

from __future__ import annotations

import asyncio
import shutil
import tarfile
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, FormData, TCPConnector

from bridge.disk import part_of
from bridge.store.sqlite import schema
from tests.emulators.base import Emulator, Kind, eventually
from tests.emulators.discord import DiscordEmulator
from tests.emulators.slack import SlackEmulator
from tests.house import ORIGIN, Visitor, config_for, house
from tests.process import died, ended, serving

PLENTY = "1000/1s"


async def command(name: str, file: Path, folder: Path) -> str:
    """Run `backup` or `restore` with the configuration in a folder; return what it said."""
    status, said = await ended(name, file, "--config", folder / "config.toml")
    assert status == 0, said
    return said


@dataclass(eq=False)
class Chatty(Visitor):
    """A visitor who sends one message after the other, some with a file, and notes what was acknowledged."""

    said: list[str] = field(default_factory=list)
    hushed: bool = False

    async def talk(self, name: str) -> None:
        number = 0
        while not self.hushed:
            text = f"{name} says {number}."
            attachments = [await self.upload(text)] if number % 5 == 0 else []
            assert (await self.say(text, attachments=attachments))["type"] == "ack"
            self.said.append(text)
            number += 1

    async def log_after(self, welcome: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the visitor's own messages of the whole log."""
        messages = welcome["messages"]
        while messages[0]["seq"] > 1:
            await self.send({"type": "history", "before": messages[0]["seq"]})
            messages = (await self.until(lambda frame: frame["type"] == "history"))["messages"] + messages
        return [message for message in messages if message["from"]["kind"] == "visitor"]

    async def upload(self, text: str) -> str:
        form = FormData()
        form.add_field("file", text.encode(), filename="a.txt", content_type="text/plain")
        headers = {"Origin": ORIGIN, "Authorization": f"Bearer {self.token}"}
        async with self.http.post(f"{self.url}/v1/uploads", data=form, headers=headers) as answer:
            return str((await answer.json())["id"])


async def test_a_backup_under_load_has_all_that_was_acknowledged_before_it(tmp_path: Path) -> None:
    old, new, archive = tmp_path / "old", tmp_path / "new", tmp_path / "backup.tar"
    config_for(old)
    config_for(new)
    async with ClientSession(connector=TCPConnector(limit=0)) as http:
        visitors = [Chatty(http, "") for _ in range(12)]
        async with serving(old / "config.toml") as running:
            for visitor in visitors:
                visitor.url = running.url
                await visitor.connect()
            talking = [asyncio.create_task(visitor.talk(f"visitor {n}")) for n, visitor in enumerate(visitors)]
            await eventually(lambda: all(len(visitor.said) >= 10 for visitor in visitors), 60)
            before = [list(visitor.said) for visitor in visitors]
            await command("backup", archive, old)
            for visitor, said in zip(visitors, before, strict=True):
                assert len(visitor.said) > len(said), "it was held up"
                visitor.hushed = True
            await asyncio.gather(*talking)
            for visitor in visitors:
                await visitor.leave()
        shutil.rmtree(old)

        await command("restore", archive, new)
        async with serving(new / "config.toml") as running:
            for visitor, said in zip(visitors, before, strict=True):
                visitor.url, known = running.url, visitor.log
                welcome = await visitor.connect()
                assert (welcome["reset"], welcome["log"] == known) == (True, False)
                own = await visitor.log_after(welcome)
                texts = [message["text"] for message in own]
                assert texts[: len(said)] == said
                assert texts == visitor.said[: len(texts)]
                for message in own[::5]:
                    (file,) = message["attachments"]
                    async with http.get(running.url + file["url"]) as answer:
                        assert (answer.status, await answer.text()) == (200, message["text"])
                assert (await visitor.say("goes on", id="new"))["seq"] == welcome["seq"] + 1
                await visitor.leave()


@pytest.mark.parametrize(("kind", "times"), [(Kind.RATE_LIMIT, 1), (Kind.SLOW, 2)], ids=["waiting", "being sent"])
@pytest.mark.parametrize("platform", [SlackEmulator, DiscordEmulator], ids=["slack", "discord"])
async def test_what_was_sent_after_the_backup_is_found_and_not_sent_again(
    platform: type[Emulator], kind: Kind, times: int, tmp_path: Path
) -> None:
    old, new, archive = tmp_path / "old", tmp_path / "new", tmp_path / "backup.tar"
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(platform())
        http = await stack.enter_async_context(ClientSession())
        adapters = {"it": emulator.settings() | {"budget": PLENTY}}
        config_for(new, adapters)
        async with house(config_for(old, adapters)) as app:
            known, fresh = Visitor(http, app.url), Visitor(http, app.url)
            await known.connect()
            await fresh.connect()
            await known.say("first of one")
            await eventually(lambda: shown(emulator, "first of one"))
            emulator.faults.add("*", kind, times=times, seconds=6)  # a backup takes a second or two
            await known.say("second of one")
            await eventually(lambda: emulator.faults.happened)
            await fresh.say("first of another")
            await command("backup", archive, old)
            await eventually(lambda: shown(emulator, "second of one") and shown(emulator, "first of another"))
            await known.leave()
            await fresh.leave()
        await command("restore", archive, new)
        async with house(config_for(new, adapters)) as app:
            for visitor, said in ((known, 2), (fresh, 1)):
                visitor.url = app.url
                welcome = await visitor.connect()
                own = [message for message in welcome["messages"] if message["from"]["kind"] == "visitor"]
                assert len(own) == said
                await visitor.say("and then", id="then")
                await visitor.until(lambda frame: (frame["type"], frame.get("state")) == ("delivery", "sent"))
            await eventually(lambda: shown(emulator, "and then") == 2)
            assert [shown(emulator, text) for text in ("first of one", "second of one", "first of another")] == [1] * 3
            assert len(emulator.threads()) == 2
            await emulator.staff_says(emulator.threads()[1], "an answer")
            assert (await fresh.hear())["text"] == "an answer"
            await known.leave()
            await fresh.leave()
        assert not emulator.violations


async def test_a_thread_that_took_several_attempts_after_the_backup_is_found(tmp_path: Path) -> None:
    old, new, archive = tmp_path / "old", tmp_path / "new", tmp_path / "backup.tar"
    async with SlackEmulator() as emulator, ClientSession() as http:
        adapters = {"it": emulator.settings() | {"budget": PLENTY}}
        config_for(new, adapters)
        async with house(config_for(old, adapters)) as app:
            visitor = Visitor(http, app.url)
            await visitor.connect()
            emulator.faults.add("chat.postMessage", Kind.RATE_LIMIT, times=2, seconds=4)
            await visitor.say("hello")
            await eventually(lambda: emulator.faults.happened)
            await command("backup", archive, old)
            await eventually(lambda: shown(emulator, "hello"))
            await visitor.leave()
        await command("restore", archive, new)
        async with house(config_for(new, adapters)) as app:
            visitor.url = app.url
            await visitor.connect()
            await visitor.say("and then", id="then")
            await visitor.until(lambda frame: (frame["type"], frame.get("state")) == ("delivery", "sent"))
        assert (len(emulator.threads()), shown(emulator, "hello"), shown(emulator, "and then")) == (1, 1, 1)


def shown(emulator: Emulator, text: str) -> int:
    return sum(each.text.count(text) for thread in emulator.threads() for each in emulator.messages(thread))


# --- what is refused --------------------------------------------------------------------------------------------------


async def backed_up(folder: Path, **sections: Any) -> Path:
    """Return the archive of a bridge that was served and stopped."""
    config_for(folder, **sections)
    async with ClientSession() as http, serving(folder / "config.toml") as running:
        visitor = Chatty(http, running.url)
        await visitor.connect()
        await visitor.say("somebody writes", attachments=[await visitor.upload("a file")])
        (folder / "token").write_text(visitor.token or "")
        await visitor.leave()
    archive = folder.with_suffix(".tar")
    await command("backup", archive, folder)
    return archive


def of_version(number: int, path: Path) -> None:
    with closing(schema.connect(path)) as db:
        db.execute(f"pragma user_version = {number}")


def contents_of(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, but for the lock, which names the process that had it last."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


async def test_a_backup_replaces_no_file_and_needs_a_store(tmp_path: Path) -> None:
    archive = await backed_up(tmp_path / "shop")
    before = archive.read_bytes()
    status, said = await ended("backup", archive, "--config", tmp_path / "shop/config.toml")
    assert (status, said) == (1, f"There is a file {archive} already; nothing was changed.\n")
    assert archive.read_bytes() == before
    assert archive.stat().st_mode & 0o777 == 0o600
    config_for(tmp_path / "empty")
    status, said = await ended("backup", tmp_path / "other.tar", "--config", tmp_path / "empty/config.toml")
    assert (status, said.startswith("There is no store at ")) == (1, True)


async def test_a_restore_replaces_nothing(tmp_path: Path) -> None:
    archive = await backed_up(tmp_path / "shop")
    for left in ("threadbridge.db", "threadbridge.db-wal", "secret", "files/ab/x"):
        target = tmp_path / left.replace("/", "-")
        config_for(target)
        (target / left).parent.mkdir(parents=True, exist_ok=True)
        (target / left).write_bytes(b"precious")
        before = contents(target)
        status, said = await ended("restore", archive, "--config", target / "config.toml")
        assert (status, "Move it away first; nothing was changed." in said) == (1, True), said
        assert contents(target) == before


async def test_what_is_no_whole_backup_of_ours_is_not_restored(tmp_path: Path) -> None:
    whole = (await backed_up(tmp_path / "shop")).read_bytes()
    broken = tmp_path / "broken.tar"
    config_for(tmp_path / "new")
    before = contents(tmp_path / "new")

    async def refused() -> str:
        status, said = await ended("restore", broken, "--config", tmp_path / "new/config.toml")
        assert (status, said.count("\n")) == (1, 1), said
        assert contents(tmp_path / "new") == before
        return said

    for cut in (100, len(whole) // 2, len(whole) - 30_000):
        broken.write_bytes(whole[:cut])
        await refused()
    broken.write_bytes(b"this is no archive at all" * 1000)
    await refused()
    with tarfile.open(broken, "w") as tar:
        tar.add(tmp_path / "new/config.toml", "../config.toml")
    assert "is no backup of Threadbridge" in await refused()


async def test_a_backup_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    await backed_up(folder)
    await asyncio.to_thread(of_version, 9999, folder / "threadbridge.db")
    await command("backup", tmp_path / "newer.tar", folder)
    config_for(tmp_path / "new")
    status, said = await ended("restore", tmp_path / "newer.tar", "--config", tmp_path / "new/config.toml")
    assert (status, "newer version of Threadbridge" in said) == (1, True)


async def test_a_configured_secret_is_not_in_the_archive_and_both_say_so(tmp_path: Path) -> None:
    gateway = {"port": 0, "secret": "configured-and-long-enough"}
    archive = await backed_up(tmp_path / "shop", gateway=gateway)
    with tarfile.open(archive) as tar:
        assert "secret" not in tar.getnames()
    said = await command("backup", tmp_path / "again.tar", tmp_path / "shop")
    assert "gateway.secret is not in it: keep " in said
    config_for(tmp_path / "without")
    assert "put gateway.secret into" in await command("restore", archive, tmp_path / "without")
    config_for(tmp_path / "with", gateway=gateway)
    assert "gateway.secret" not in await command("restore", archive, tmp_path / "with")


# --- power fails ------------------------------------------------------------------------------------------------------


async def test_a_backup_that_is_killed_leaves_no_half_archive_and_the_next_one_is_whole(tmp_path: Path) -> None:
    await backed_up(tmp_path / "shop")
    archive = tmp_path / "again.tar"
    point, deaths = 1, 0
    while not archive.exists():
        deaths += await died("files", point, "backup", archive, "--config", tmp_path / "shop/config.toml")
        point += 3
    assert deaths > 2
    assert contents_of(tmp_path / ".again.tar.part") == []
    config_for(tmp_path / "new")
    await command("restore", archive, tmp_path / "new")


async def test_a_restore_that_is_killed_is_done_once_more(tmp_path: Path) -> None:
    archive = await backed_up(tmp_path / "shop")
    config_for(tmp_path / "new")
    config = tmp_path / "new/config.toml"
    point, refusals = 1, 0
    while not (tmp_path / "new/threadbridge.db").exists():
        await died("files", point, "restore", archive, "--config", config)
        point += 4
        if part_of(tmp_path / "new/threadbridge.db").exists():
            status, said = await ended("serve", "--config", config)
            assert (status, "broken off: run `threadbridge restore` once more" in said) == (1, True)
            refusals += 1
    assert refusals
    async with ClientSession() as http, serving(config) as running:
        visitor = Chatty(http, running.url, token=(tmp_path / "shop/token").read_text())
        (own,) = await visitor.log_after(await visitor.connect())
        async with http.get(running.url + own["attachments"][0]["url"]) as answer:
            assert (own["text"], await answer.text()) == ("somebody writes", "a file")
        await visitor.leave()
