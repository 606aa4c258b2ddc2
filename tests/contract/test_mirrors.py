"""A conversation with several destinations: staff in each read all of it, and nothing comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.emulators.base import Emulator, Shown, eventually
from tests.emulators.discord import DiscordEmulator
from tests.emulators.slack import SlackEmulator
from tests.emulators.telegram import TelegramEmulator
from tests.house import Visitor, config_for, house
from tests.platforms import Emulated, Platform, emulated, eventually_equal

EMULATED = ["slack", "telegram", "discord"]
EVERY = [*EMULATED, "desk"]
CHANGING = {"chat.update", "chat.delete", "editMessageText", "deleteMessage", "update_message", "delete_message"}
"""Calls that change what stands in a thread."""


@dataclass
class Mirrored:
    """A visitor's conversation in several threads."""

    visitor: Visitor
    platforms: dict[str, Platform]
    threads: dict[str, str]

    async def brought(self, name: str) -> list[str]:
        """Return what the bridge brought into a thread."""
        return [shown.text for shown in await self.shown(name) if shown.by_bot]

    async def shown(self, name: str) -> list[Shown]:
        return list(await self.platforms[name].shown(self.threads[name]))

    def emulator(self, name: str) -> Emulator:
        platform = self.platforms[name]
        assert isinstance(platform, Emulated)
        return platform.emulator


@asynccontextmanager
async def mirrored(names: list[str], tmp_path: Path) -> AsyncIterator[Mirrored]:
    async with AsyncExitStack() as stack:
        platforms = {name: await stack.enter_async_context(emulated(name)) for name in names}
        http = await stack.enter_async_context(ClientSession())
        config = config_for(tmp_path, {name: platform.settings() for name, platform in platforms.items()})
        app = await stack.enter_async_context(house(config))
        for platform in platforms.values():
            platform.attach(app, http)
        unknown = {"page": {"url": "", "title": "", "referrer": ""}, "locale": None, "timezone": None}
        visitor = Visitor(http, app.url, hello=unknown)
        await visitor.connect()
        await visitor.say("hello")
        made = Mirrored(visitor, platforms, {})
        for name in names:
            async with asyncio.timeout(20):
                while not (threads := await platforms[name].threads()):  # noqa: ASYNC110 - a server without our events
                    await asyncio.sleep(0.02)
            (made.threads[name],) = threads
            await eventually_equal(lambda name=name: made.brought(name), ["hello"])
        for destination, lane in app.outbox.lanes.items():
            if destination.adapter != "desk":  # nothing is sent again as a test cuts its answer off
                await eventually(lambda lane=lane: lane.health.sent)
        yield made
        assert [list(platform.violations()) for platform in platforms.values()] == [[]] * len(names)


@pytest.mark.parametrize("origin", EVERY)
async def test_a_reply_is_seen_by_all_with_its_authors_name_and_once(origin: str, tmp_path: Path) -> None:
    async with mirrored(EVERY, tmp_path) as it:
        await it.platforms[origin].says(it.threads[origin], "an answer", name="Anna")
        assert (await it.visitor.hear())["text"] == "an answer"
        mirrors = {"slack": "an answer", "telegram": "Anna:\nan answer", "discord": "Anna\nan answer"}
        # The desk shows the log, where the answer is by Anna.
        expected = {name: ["hello", *([mirrors[name]] if name in mirrors and name != origin else [])] for name in EVERY}
        for name in EVERY:
            await eventually_equal(lambda name=name: it.brought(name), expected[name])
        await it.visitor.say("thanks")
        for name in EVERY:
            await eventually_equal(lambda name=name: it.brought(name), [*expected[name], "thanks"])
            said = [shown for shown in await it.shown(name) if "an answer" in shown.text]
            assert len(said) == 1
            assert "Anna" in f"{said[0].author} {said[0].text}"
        answers = [frame for frame in it.visitor.frames if frame.get("text") == "an answer"]
        assert len(answers) == 1


@pytest.mark.parametrize(("origin", "mirror"), list(permutations(EMULATED, 2)))
async def test_an_edit_and_a_deletion_change_the_mirror_itself(origin: str, mirror: str, tmp_path: Path) -> None:
    async with mirrored([origin, mirror], tmp_path) as it:
        thread = it.threads[origin]

        async def mirrors_of_it() -> list[str]:
            return [text.removeprefix("Anna").lstrip(":\n") for text in await it.brought(mirror)]

        id = await it.platforms[origin].says(thread, "fist version")
        await eventually_equal(mirrors_of_it, ["hello", "fist version"])
        await it.platforms[origin].edits(thread, id, "first version")
        await eventually_equal(mirrors_of_it, ["hello", "first version"])
        if origin != "telegram":  # which tells nobody of deletions
            await it.emulator(origin).staff_deletes(thread, id)
            await eventually_equal(mirrors_of_it, ["hello"])


@pytest.mark.parametrize(("origin", "mirror"), list(permutations(EMULATED, 2)))
async def test_what_staff_change_while_a_mirror_is_down_is_sent_there_as_it_reads_by_then(
    origin: str, mirror: str, tmp_path: Path
) -> None:
    async with mirrored([origin, mirror], tmp_path) as it:
        platform, down, thread = it.platforms[origin], it.emulator(mirror), it.threads[origin]
        await down.go_down()
        first, second = [await platform.says(thread, text) for text in ("a fist", "a secret")]
        assert [(await it.visitor.hear())["text"] for _ in range(2)] == ["a fist", "a secret"]
        await platform.edits(thread, first, "a first")
        await it.visitor.until(lambda frame: frame["type"] == "revision")
        if origin != "telegram":  # which tells nobody of deletions
            await it.emulator(origin).staff_deletes(thread, second)
            await it.visitor.until(lambda frame: frame.get("deleted"))
        await platform.says(thread, "an answer")
        await it.visitor.hear()
        seen = len(down.calls)
        await down.come_back()

        async def mirrors_of_it() -> list[str]:
            texts = [text for shown in await it.brought(mirror) for text in shown.split("\n\n")]
            return [text.removeprefix("Anna").lstrip(":\n") for text in texts]

        kept = ["a secret"] if origin == "telegram" else []
        await eventually_equal(mirrors_of_it, ["hello", "a first", *kept, "an answer"], 60)
        assert CHANGING.isdisjoint(call.method for call in down.calls[seen:])


async def test_an_edit_that_slack_refuses_is_told_there(tmp_path: Path) -> None:
    async with mirrored(["discord", "slack"], tmp_path) as it:
        discord, thread = it.platforms["discord"], it.threads["discord"]
        assert isinstance(discord, Emulated)
        id = await discord.shares(thread, "plan.txt", "text/plain", b"the plan")
        await eventually_equal(lambda: it.brought("slack"), ["hello", ""])
        await discord.edits(thread, id, "the plan of today")  # Slack lets nobody change the text of an upload
        await eventually_equal(lambda: it.brought("slack"), ["hello", "", "(edited) the plan of today"])


async def test_a_deletion_that_telegram_refuses_is_told_there(tmp_path: Path) -> None:
    async with mirrored(["discord", "telegram"], tmp_path) as it:
        thread, telegram = it.threads["discord"], it.emulator("telegram")
        assert isinstance(telegram, TelegramEmulator)
        id = await it.platforms["discord"].says(thread, "an answer")
        await eventually_equal(lambda: it.brought("telegram"), ["hello", "Anna:\nan answer"])
        group = telegram.world.groups[telegram.chat]
        group.rights.discard("can_delete_messages")
        for message in group.messages.values():
            message["date"] -= 49 * 3600  # of those older than two days the bot may not even delete its own
        await it.emulator("discord").staff_deletes(thread, id)
        told = "Staff:\n(deleted an earlier message)"
        await eventually_equal(lambda: it.brought("telegram"), ["hello", "Anna:\nan answer", told])


@pytest.mark.parametrize("origin", EVERY)
async def test_a_note_is_seen_where_it_was_written_alone(origin: str, tmp_path: Path) -> None:
    async with mirrored(EVERY, tmp_path) as it:
        await it.platforms[origin].says(it.threads[origin], "// she is a friend of mine")
        await it.platforms[origin].says(it.threads[origin], "an answer")
        assert (await it.visitor.hear())["text"] == "an answer"
        for name in EVERY:
            if name != origin:
                await eventually_equal(lambda name=name: _count(it, name), 2)
                assert not any("friend" in shown.text for shown in await it.shown(name))


async def _count(it: Mirrored, name: str) -> int:
    return len(await it.shown(name))


def shut(emulator: Emulator, thread: str) -> None:
    """Do what only a person can undo."""
    match emulator:
        case SlackEmulator():
            emulator.dismiss(thread.partition("/")[0])
        case DiscordEmulator():
            emulator.forbid("VIEW_CHANNEL")
        case _:
            raise TypeError(emulator)


def mend(emulator: Emulator, thread: str) -> None:
    match emulator:
        case SlackEmulator():
            emulator.invite(thread.partition("/")[0])
        case DiscordEmulator():
            emulator.allow("VIEW_CHANNEL")


@pytest.mark.parametrize(("down", "other"), [("slack", "discord"), ("slack", "telegram"), ("discord", "telegram")])
async def test_staff_elsewhere_read_what_only_a_person_can_mend(down: str, other: str, tmp_path: Path) -> None:
    async with mirrored([down, other], tmp_path) as it:
        shut(it.emulator(down), it.threads[down])
        await it.visitor.say("one")

        async def told() -> list[str]:
            """Of what is told, which may come before "one", only how it begins."""
            return sorted(text.partition(":")[0] for text in await it.brought(other))

        notice = f"Nothing reaches {down} for now"
        await eventually_equal(told, [notice, "hello", "one"])
        await it.visitor.say("two")
        await eventually_equal(told, [notice, "hello", "one", "two"])
        mend(it.emulator(down), it.threads[down])
        await eventually_equal(lambda: it.brought(down), ["hello", "one", "two"])


def forbid_files(emulator: Emulator) -> None:
    match emulator:
        case SlackEmulator():
            emulator.api.scopes.discard("files:write")
        case DiscordEmulator():
            emulator.forbid("ATTACH_FILES")
        case TelegramEmulator():
            for group in emulator.world.groups.values():
                group.takes_files = False


@pytest.mark.parametrize(("origin", "mirror"), [("discord", "slack"), ("slack", "discord")])
async def test_a_mirror_that_takes_no_files_tells_so_in_their_place_and_takes_texts(
    origin: str, mirror: str, tmp_path: Path
) -> None:
    async with mirrored([origin, mirror], tmp_path) as it:
        forbid_files(it.emulator(mirror))
        await it.platforms[origin].shares(it.threads[origin], "a.txt", "text/plain", b"abc")
        await it.visitor.hear()
        await it.visitor.say("a question")

        async def told() -> list[str]:
            return [text.partition(":")[0] for text in await it.brought(mirror)]

        await eventually_equal(told, ["hello", "The file a.txt could not be shown here", "a question"])

        async def answered() -> bool:
            return "a question" in await it.brought(origin)

        await eventually_equal(answered, True)
        assert not any("Nothing reaches" in text for text in await it.brought(origin))
