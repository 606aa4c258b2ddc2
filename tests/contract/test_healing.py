"""A thread that takes nothing any more gets a successor: the real client libraries against the test servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.emulators.base import Emulator, Shown
from tests.emulators.discord import DiscordEmulator
from tests.emulators.slack import SlackEmulator
from tests.house import Visitor, config_for, house
from tests.platforms import CARD, Emulated, delete, emulated, eventually_equal

SUPPRESS_NOTIFICATIONS = 1 << 12


@asynccontextmanager
async def conversation(kind: str, tmp_path: Path) -> AsyncIterator[tuple[Emulator, Visitor, str]]:
    """Give a conversation with a question and its answer, and its thread."""
    async with emulated(kind) as platform, ClientSession() as http:
        assert isinstance(platform, Emulated)
        async with house(config_for(tmp_path, {platform.name: platform.settings()})) as app:
            platform.attach(app, http)
            visitor = Visitor(http, app.url)
            await visitor.connect()
            await visitor.say("one")
            await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
            (thread,) = await platform.threads()
            await platform.says(thread, "an answer")
            await visitor.hear()
            yield platform.emulator, visitor, thread
        assert list(platform.violations()) == []


def lock(emulator: Emulator, thread: str) -> str:
    """Lock a thread; return its address."""
    if isinstance(emulator, SlackEmulator):
        emulator.lock(thread)
        channel, ts = thread.split("/")
        return f"https://emulated.slack.com/archives/{channel}/p{ts.replace('.', '')}"
    assert isinstance(emulator, DiscordEmulator)
    emulator.archive(thread, locked=True)
    return f"https://discord.com/channels/{emulator.world.guild_id}/{thread}"


def is_silent(emulator: Emulator, shown: Shown) -> bool:
    if isinstance(emulator, DiscordEmulator):
        return bool(shown.raw["flags"] & SUPPRESS_NOTIFICATIONS)
    sent = next(call for call in emulator.calls if call.method == "sendMessage" and call.params["text"] == shown.text)
    return bool(sent.params.get("disable_notification"))


async def successor(emulator: Emulator, former: str) -> list[Shown]:
    """Return what the bridge brought into the thread that follows a former one."""
    threads = [thread for thread in emulator.threads() if thread != former]
    return list(emulator.messages(threads[0])) if threads else []


@pytest.mark.parametrize("kind", ["slack", "telegram", "discord", "discord-forum"])
async def test_a_deleted_threads_successor_shows_card_past_and_why(kind: str, tmp_path: Path) -> None:
    async with conversation(kind, tmp_path) as (emulator, visitor, thread):
        delete(emulator, thread)
        await visitor.say("two")
        await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
        shown = await successor(emulator, thread)
        whole = "\n".join(each.text for each in shown)
        for expected in (CARD, "Cart", "takes no messages any more", "one", "Anna", "an answer", "UTC"):
            assert expected in whole
        assert whole.count("two") == 1
        assert shown[-1].text.endswith("two")
        if kind != "slack":  # where each message in a thread can be silent
            assert [is_silent(emulator, each) for each in shown[-2:]] == [True, False]


@pytest.mark.parametrize("kind", ["slack", "discord", "discord-forum"])
async def test_a_locked_thread_is_linked_and_still_heard(kind: str, tmp_path: Path) -> None:
    async with conversation(kind, tmp_path) as (emulator, visitor, thread):
        address = lock(emulator, thread)
        await visitor.say("two")
        await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
        assert address in "\n".join(each.text for each in await successor(emulator, thread))
        await emulator.staff_says(thread, "said in the old one")
        assert (await visitor.hear())["text"] == "said in the old one"

        async def told() -> bool:
            return "said in the old one" in (await successor(emulator, thread))[-1].text

        await eventually_equal(told, True)
