"""What becomes of conversations when people on Discord close, lock, delete or forbid: the whole bridge over sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

from bridge.app import App
from bridge.clock import SystemClock
from bridge.health import LaneState
from bridge.model import AdapterName, Destination
from bridge.ports import Clock
from tests.clock import FastClock
from tests.emulators.base import Fault, Kind, eventually
from tests.emulators.discord import DiscordEmulator
from tests.emulators.discord.world import REQUIRE_TAG
from tests.house import Visitor, config_for, house
from tests.platforms import UNLIMITED

DISCORD = Destination(AdapterName("discord"))

anywhere = pytest.mark.parametrize("forum", [False, True], ids=["text", "forum"])


@dataclass
class Scene:
    """A bridge with one Discord channel, whose time runs fast, and a visitor with a thread in it."""

    server: DiscordEmulator
    app: App
    http: ClientSession
    visitor: Visitor
    thread: str

    @property
    def lane(self) -> LaneState:
        return self.app.outbox.lanes[DISCORD].state

    async def comes(self) -> Visitor:
        visitor = Visitor(self.http, self.app.url)
        await visitor.connect()
        return visitor

    def threads_with(self, text: str) -> Sequence[str]:
        """Return the threads in which a text stands, each as often as it does; a late one has its time ahead."""
        lines = [(thread, shown.text) for thread in self.server.threads() for shown in self.server.messages(thread)]
        return [thread for thread, line in lines if line.rpartition("\n")[2] == text]

    async def arrives(self, text: str) -> str:
        """Wait until a text stands in a thread; return which. It stands there once."""
        (thread,) = await eventually(lambda: self.threads_with(text))
        return thread


def section(server: DiscordEmulator, **keys: Any) -> dict[str, Any]:
    return {"discord": server.settings() | {"budget": UNLIMITED} | keys}


@asynccontextmanager
async def scene(tmp_path: Path, *, forum: bool = False, clock: Clock | None = None) -> AsyncIterator[Scene]:
    async with DiscordEmulator(forum=forum) as server, ClientSession() as http:
        async with house(config_for(tmp_path, section(server)), clock or FastClock()) as app:
            it = Scene(server, app, http, Visitor(http, app.url), "")
            await it.visitor.connect()
            await it.visitor.say("hello")
            it.thread = await it.arrives("hello")
            yield it
        assert server.violations == []


async def hears(it: Scene, thread: str) -> None:
    """Staff answer in a thread, and the visitor has it."""
    await it.server.staff_says(thread, f"answer in {thread}")
    assert (await it.visitor.hear())["text"] == f"answer in {thread}"


@anywhere
async def test_an_archived_thread_opens_again_and_goes_on(tmp_path: Path, forum: bool) -> None:
    async with scene(tmp_path, forum=forum) as it:
        it.server.archive(it.thread)
        await it.visitor.say("are you there?")
        assert await it.arrives("are you there?") == it.thread
        assert not it.server.world.channels[it.thread]["thread_metadata"]["archived"]
        await hears(it, it.thread)


@anywhere
@pytest.mark.parametrize("how", ["locked", "deleted"])
async def test_a_thread_that_takes_no_more_has_a_successor(tmp_path: Path, forum: bool, how: str) -> None:
    async with scene(tmp_path, forum=forum) as it:
        if how == "locked":
            it.server.archive(it.thread, locked=True)
        else:
            it.server.delete_thread(it.thread)
        await it.visitor.say("one")
        await it.visitor.say("two")
        successor = await it.arrives("one")
        assert successor != it.thread
        assert await it.arrives("two") == successor
        await hears(it, successor)
        if how == "locked":  # a moderator may still write there
            await hears(it, it.thread)


async def test_a_former_thread_is_linked_after_a_restart_too(tmp_path: Path) -> None:
    async with DiscordEmulator() as server, ClientSession() as http:
        config = config_for(tmp_path, section(server))
        async with house(config) as app:
            it = Scene(server, app, http, visitor := Visitor(http, app.url), "")
            await visitor.connect()
            await visitor.say("hello")
            thread = await it.arrives("hello")
            await visitor.leave()
        server.archive(thread, locked=True)
        async with house(config) as app:
            it = Scene(server, app, http, visitor := Visitor(http, app.url, token=visitor.token), "")
            await visitor.connect()
            await visitor.say("one", "after the restart")
            successor = await it.arrives("one")
            address = f"https://discord.com/channels/{server.world.guild_id}/{thread}"
            assert any(address in shown.text for shown in server.messages(successor))


@anywhere
async def test_conversations_of_a_deleted_channel_wait_for_another(tmp_path: Path, forum: bool) -> None:
    async with DiscordEmulator(forum=forum) as server, ClientSession() as http:
        with capture_logs() as logs:
            async with house(config_for(tmp_path, section(server)), FastClock()) as app:
                it = Scene(server, app, http, visitor := Visitor(http, app.url), "")
                await visitor.connect()
                await visitor.say("hello")
                await it.arrives("hello")
                server.delete_channel(server.world.default_channel)
                for text in ("one", "two"):
                    assert (await visitor.say(text))["type"] == "ack"
                await eventually(lambda: it.lane is LaneState.DOWN)
                await visitor.leave()
        assert "set `channel_id`" in remedy(logs)
        other = server.world.text_channel if forum else server.world.forum_channel
        async with house(config_for(tmp_path, section(server, channel_id=other)), FastClock()) as app:
            it = Scene(server, app, http, Visitor(http, app.url, token=visitor.token), "")
            await it.visitor.connect()
            successor = await it.arrives("one")
            assert await it.arrives("two") == successor
            assert server.world.channels[successor]["parent_id"] == other
            await hears(it, successor)
        assert server.violations == []


@anywhere
@pytest.mark.parametrize("restarts", [False, True], ids=["seen", "unseen"])
async def test_conversations_of_a_channel_that_is_left_go_on_in_the_new_one(
    tmp_path: Path, forum: bool, restarts: bool
) -> None:
    """The operator moves to another channel, and takes the bot out of the one of before, at once or a while later."""
    async with DiscordEmulator(forum=forum) as server, ClientSession() as http:
        async with house(config_for(tmp_path, section(server)), FastClock()) as app:
            it = Scene(server, app, http, visitor := Visitor(http, app.url), "")
            await visitor.connect()
            await visitor.say("hello")
            it.thread = await it.arrives("hello")
            await visitor.leave()
        other = server.world.text_channel if forum else server.world.forum_channel
        if restarts:
            server.world.hidden.add(server.world.default_channel)
        async with house(config_for(tmp_path, section(server, channel_id=other)), FastClock()) as app:
            it = Scene(server, app, http, Visitor(http, app.url, token=visitor.token), it.thread)
            await it.visitor.connect()
            if not restarts:
                await it.visitor.say("still there", "m2")
                assert await it.arrives("still there") == it.thread
                server.world.hidden.add(server.world.default_channel)
            await it.visitor.say("one", "m3")
            successor = await it.arrives("one")
            assert server.world.channels[successor]["parent_id"] == other
            await hears(it, successor)
            assert it.lane is LaneState.UP
        assert server.violations == []


def remedy(logs: Sequence[Mapping[str, Any]]) -> str:
    """Return what the operator read when the lane went down."""
    return next(line["reason"] for line in logs if line["event"] == "lane_down")


@anywhere
@pytest.mark.parametrize(
    ("right", "words"), [("VIEW_CHANNEL", "let its role see the channel"), ("SEND_MESSAGES_IN_THREADS", "give the bot")]
)
async def test_what_is_forbidden_waits_until_it_is_allowed(tmp_path: Path, forum: bool, right: str, words: str) -> None:
    async with scene(tmp_path, forum=forum) as it:
        with capture_logs() as logs:
            it.server.world.granted.discard(right)
            for text in ("one", "two"):
                await it.visitor.say(text)
            await eventually(lambda: it.lane is LaneState.DOWN)
        assert words in remedy(logs)
        it.server.world.granted.add(right)
        assert [await it.arrives(text) for text in ("one", "two")] == [it.thread] * 2
        await eventually(lambda: it.lane is LaneState.UP)
        texts = [shown.text for shown in it.server.messages(it.thread)][1:]
        assert texts == ["hello", "one", "two"]


@anywhere
async def test_a_thread_that_opens_again_while_it_is_looked_for_has_no_successor(tmp_path: Path, forum: bool) -> None:
    async with scene(tmp_path, forum=forum) as it:
        allowed = asyncio.Event()
        look = Fault("get_channel", Kind.SLOW, where=lambda asked: asked["channel_id"] == it.thread, answered=allowed)
        it.server.faults.waiting.append(look)
        it.server.forbid("VIEW_CHANNEL")
        await it.visitor.say("one")
        await eventually(lambda: look not in it.server.faults.waiting)
        it.server.allow("VIEW_CHANNEL")
        allowed.set()
        assert await it.arrives("one") == it.thread


@anywhere
async def test_a_server_full_of_threads_holds_up_new_conversations_alone(tmp_path: Path, forum: bool) -> None:
    async with scene(tmp_path, forum=forum) as it:
        it.server.world.active_limit = 1
        other = await it.comes()
        await other.say("anybody?")
        await eventually(lambda: refused(it.server) >= 2)
        await it.visitor.say("still here")
        assert await it.arrives("still here") == it.thread
        assert it.threads_with("anybody?") == []
        it.server.world.active_limit = 2
        assert await it.arrives("anybody?") != it.thread
        cards = it.server.world.messages[it.server.world.text_channel]
        assert len(cards) == (0 if forum else 2)


async def test_a_card_whose_thread_a_full_server_refused_is_used_after_a_restart(tmp_path: Path) -> None:
    async with DiscordEmulator() as server, ClientSession() as http:
        server.world.active_limit = 0
        config = config_for(tmp_path, section(server))
        async with house(config) as app:
            visitor = Visitor(http, app.url)
            await visitor.connect()
            await visitor.say("anybody?")
            await eventually(lambda: refused(server))
            await visitor.leave()
        server.rest.forget_nonces()
        server.world.active_limit = 1
        async with house(config) as app:
            it = Scene(server, app, http, visitor, "")
            assert await it.arrives("anybody?") in server.world.messages[server.world.text_channel]
            assert len(server.world.messages[server.world.text_channel]) == 1


def refused(server: DiscordEmulator) -> int:
    return sum(call.status >= 400 for call in server.calls)


@anywhere
async def test_a_long_limit_on_new_threads_holds_up_new_conversations_alone(tmp_path: Path, forum: bool) -> None:
    async with scene(tmp_path, forum=forum) as it:
        method = "create_thread" if forum else "create_thread_from_message"
        it.server.faults.add(method, Kind.RATE_LIMIT, seconds=219)
        others = [await it.comes() for _ in range(3)]
        with capture_logs() as logs:
            await others[0].say("first")
            await eventually(lambda: [line for line in logs if line["event"] == "delivery_failed"])
        for number, other in enumerate(others[1:]):
            await other.say(f"next {number}")
        await it.visitor.say("still here")
        assert await it.arrives("still here") == it.thread
        assert len(it.server.threads()) == 1
        found = [await it.arrives(text) for text in ("first", "next 0", "next 1")]
        assert len({*found, it.thread}) == 4
        assert len(it.server.world.messages[it.server.world.text_channel]) == (0 if forum else 4)


async def test_a_forum_that_asks_for_a_tag_waits_until_it_does_not(tmp_path: Path) -> None:
    async with scene(tmp_path, forum=True) as it:
        forum = it.server.world.channels[it.server.world.forum_channel]
        with capture_logs() as logs:
            forum["flags"] = REQUIRE_TAG
            other = await it.comes()
            await other.say("anybody?")
            await eventually(lambda: it.lane is LaneState.DOWN)
        assert "Require people to select tags" in remedy(logs)
        await it.visitor.say("still here")
        assert await it.arrives("still here") == it.thread
        forum["flags"] = 0
        assert await it.arrives("anybody?") != it.thread


async def test_a_card_that_staff_delete_while_its_thread_is_sought_is_posted_again(tmp_path: Path) -> None:
    async with scene(tmp_path, clock=SystemClock()) as it:  # Discord's ids tell its time
        cards = it.server.world.messages[it.server.world.text_channel]

        def delete_the_card(_: Mapping[str, Any]) -> bool:
            """Between the look that finds it and the request that makes its thread."""
            if it.server.faults.happened:
                (card,) = set(cards) - {it.thread}
                it.server.rest.remove(cards[card])
                it.server.faults.waiting.clear()
            return not it.server.faults.happened

        fault = Fault("create_thread_from_message", Kind.ERROR, times=2, where=delete_the_card)
        it.server.faults.waiting.append(fault)
        other = await it.comes()
        await other.say("anybody?")
        successor = await it.arrives("anybody?")
        assert set(cards) == {it.thread, successor}


@anywhere
@pytest.mark.parametrize("kind", [Kind.ERROR_AFTER, Kind.CUT_AFTER])
async def test_an_opening_that_nobody_confirmed_leaves_one_thread(tmp_path: Path, forum: bool, kind: Kind) -> None:
    """A forum's post takes no nonce: only looking for it keeps it from standing there twice."""
    async with scene(tmp_path, forum=forum, clock=SystemClock()) as it:
        it.server.faults.add("create_thread" if forum else "create_thread_from_message", kind)
        other = await it.comes()
        await other.say("anybody?")
        found = await it.arrives("anybody?")
        assert list(it.server.threads()) == [it.thread, found]
        assert it.server.faults.happened


async def test_a_thread_that_is_made_after_all_has_the_name_of_its_card(tmp_path: Path) -> None:
    async with scene(tmp_path, clock=SystemClock()) as it:  # Discord's ids tell its time
        it.server.faults.add("create_thread_from_message", Kind.ERROR)
        other = await it.comes()
        await other.say("anybody?")
        thread = await it.arrives("anybody?")
        assert it.server.title(thread).startswith("Visitor ")
        assert len(it.server.world.messages[it.server.world.text_channel]) == 2


@anywhere
async def test_no_thread_is_ever_renamed(tmp_path: Path, forum: bool) -> None:
    """Discord takes two names in ten minutes, and the library sleeps on a third without a word."""
    async with scene(tmp_path, forum=forum) as it:
        for _ in range(4):
            it.server.archive(it.thread)
            await it.visitor.say("again")
            await eventually(lambda: not it.server.world.channels[it.thread]["thread_metadata"]["archived"])
            await it.visitor.send({"type": "page", "url": "https://shop.example/other", "title": "Other"})
        assert not [call for call in it.server.calls if call.method == "update_channel"]
