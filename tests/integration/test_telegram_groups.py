"""Telegram's groups as they change, and several of them, over the whole bridge and the real client library."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession

from bridge.app import App
from bridge.health import LaneState
from bridge.model import AdapterName, Destination
from tests.emulators.base import Fault, Kind, eventually
from tests.emulators.slack import SlackEmulator
from tests.emulators.telegram import TelegramEmulator
from tests.house import Visitor, config_for, house

SECOND = -1001000000002
UPGRADED = -1001000000009


@dataclass
class Scene:
    """A bridge, Telegram, and visitors."""

    app: App
    telegram: TelegramEmulator
    http: ClientSession

    async def visitor(self, *texts: str) -> Visitor:
        visitor = Visitor(self.http, self.app.url)
        await visitor.connect()
        for text in texts:
            await visitor.say(text)
        return visitor

    def texts(self, chat: int) -> str:
        """Return what the bridge brought into all topics of a group."""
        threads = [thread for thread in self.telegram.threads() if thread.startswith(f"{chat}/")]
        return "\n".join(shown.text for thread in threads for shown in self.telegram.messages(thread) if shown.by_bot)

    def lane(self, channel: object = "") -> LaneState:
        return self.app.outbox.lanes[Destination(AdapterName("telegram"), str(channel))].state


@asynccontextmanager
async def scene(
    tmp_path: Path, telegram: TelegramEmulator, *destinations: str, budget: str = "100000/1s"
) -> AsyncIterator[Scene]:
    settings = {"telegram": telegram.settings() | {"budget": budget}}
    config = config_for(tmp_path, settings, list(destinations) or ["telegram"])
    async with ClientSession() as http, house(config) as app:
        yield Scene(app, telegram, http)
    assert telegram.violations == []


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramEmulator]:
    async with TelegramEmulator() as telegram:
        telegram.add_group(SECOND, "Sales")
        yield telegram


async def sent(visitor: Visitor) -> None:
    await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")


# --- groups that change -----------------------------------------------------------------------------------------------


async def test_a_group_that_becomes_a_supergroup_goes_on_under_its_new_id(
    tmp_path: Path, telegram: TelegramEmulator
) -> None:
    with structlog.testing.capture_logs() as logged:
        async with scene(tmp_path, telegram) as it:
            visitor = await it.visitor("one")
            await sent(visitor)
            telegram.migrate(telegram.chat, UPGRADED)
            await visitor.say("two")
            await sent(visitor)
            assert "supergroup" in it.texts(UPGRADED)
            assert it.texts(UPGRADED).endswith("two")
            (successor,) = (thread for thread in telegram.threads() if thread.startswith(str(UPGRADED)))
            await telegram.staff_says(successor, "an answer")
            assert (await visitor.hear())["text"] == "an answer"
    (told,) = (event for event in logged if event["event"] == "group_migrated")
    assert str(UPGRADED) in told["remedy"]
    assert all(event["event"] != "lane_down" for event in logged)

    async with scene(tmp_path, telegram) as it:  # with the configuration of before
        await telegram.staff_says(successor, "another")
        visitor = Visitor(it.http, it.app.url, token=visitor.token, after=visitor.after, log=visitor.log)
        await visitor.connect()
        await visitor.say("three", "third")
        await sent(await it.visitor("from somebody else"))
        await eventually(lambda: "three" in it.texts(UPGRADED))
        assert len([thread for thread in telegram.threads() if thread.startswith(str(UPGRADED))]) == 2
        texts = [frame.get("text") for each in visitor.frames for frame in each.get("messages", [each])]
        assert "another" in texts or (await visitor.hear())["text"] == "another"


def kicked(telegram: TelegramEmulator) -> Callable[[], None]:
    group = telegram.world.groups[telegram.chat]
    group.bot_status = "kicked"
    return lambda: setattr(group, "bot_status", "administrator")


def demoted(telegram: TelegramEmulator) -> Callable[[], None]:
    group, *_ = telegram.world.groups.values()
    group.bot_status = "member"
    for thread in telegram.threads():
        telegram.staff_closes(thread)
    return lambda: setattr(group, "bot_status", "administrator")


def without_topics(telegram: TelegramEmulator) -> Callable[[], None]:
    group = telegram.world.groups[telegram.chat]
    group.forum = False
    return lambda: setattr(group, "forum", True)


@pytest.mark.parametrize(
    ("spoil", "remedy"),
    [(kicked, "add the bot to the group"), (demoted, "make the bot an administrator"), (without_topics, "Topics")],
)
async def test_a_group_that_only_a_person_can_mend_is_waited_for_and_told_elsewhere(
    tmp_path: Path, telegram: TelegramEmulator, spoil: Callable[[TelegramEmulator], Callable[[], None]], remedy: str
) -> None:
    async with scene(tmp_path, telegram, "telegram", f"telegram:{SECOND}") as it:
        visitor = await it.visitor("one")
        await eventually(lambda: it.texts(telegram.chat).endswith("one"))
        mend = spoil(telegram)
        await visitor.say("two")
        await eventually(lambda: it.lane() is LaneState.DOWN)
        await visitor.say("three")
        await eventually(lambda: it.texts(SECOND).endswith("three") or "three\n" in it.texts(SECOND))
        await eventually(lambda: remedy in it.texts(SECOND))
        assert it.texts(SECOND).count(remedy) == 1
        assert "two" not in it.texts(telegram.chat)
        mend()
        await eventually(lambda: it.lane() is LaneState.UP)
        await eventually(lambda: "three" in it.texts(telegram.chat))
        (thread,) = (thread for thread in telegram.threads() if thread.startswith(f"{telegram.chat}/"))
        assert it.texts(telegram.chat).index("two") < it.texts(telegram.chat).index("three")
        await telegram.staff_says(thread, "an answer")
        assert (await visitor.hear())["text"] == "an answer"


# --- several groups ---------------------------------------------------------------------------------------------------


async def test_new_conversations_go_to_the_group_with_room_and_stay_there(
    tmp_path: Path, telegram: TelegramEmulator
) -> None:
    async with scene(tmp_path, telegram, f"telegram:{telegram.chat},{SECOND}", budget="100/600s") as it:
        visitors = []
        for number in range(6):
            visitors.append(await it.visitor(f"question {number}"))
            await sent(visitors[-1])
        before = telegram.threads()
        assert Counter(thread.partition("/")[0] for thread in before) == {str(telegram.chat): 3, str(SECOND): 3}
        for number, visitor in enumerate(visitors):
            await visitor.say(f"more {number}")
            await sent(visitor)
        assert telegram.threads() == before
        for number, thread in enumerate(before):
            whole = "\n".join(shown.text for shown in telegram.messages(thread))
            assert f"question {number}" in whole
            assert f"more {number}" in whole


async def test_a_group_that_asks_to_wait_is_waited_for_and_holds_up_no_other(
    tmp_path: Path, telegram: TelegramEmulator
) -> None:
    async with scene(tmp_path, telegram, f"telegram:{telegram.chat},{SECOND}", budget="100/600s") as it:
        first = await it.visitor("one")
        await sent(first)
        slow = int(telegram.threads()[0].partition("/")[0])
        here: Callable[[Any], bool] = lambda params: int(params.get("chat_id", 0)) == slow  # noqa: E731
        telegram.faults.waiting.append(Fault("*", Kind.RATE_LIMIT, times=1, seconds=4, where=here))
        await first.say("waits")
        await eventually(lambda: it.lane(slow) is LaneState.WAITING)
        refused = telegram.calls[-1]
        assert refused.status == 429
        for number in range(3):  # meanwhile all go to the other group
            await sent(await it.visitor(f"new {number}"))
        others = telegram.threads()[1:]
        assert all(not thread.startswith(f"{slow}/") for thread in others)
        states = [frame["state"] for frame in first.frames if frame["type"] == "delivery"]
        assert states == ["sent"]  # of the first text
        await sent(first)
        asked = [
            call.at for call in telegram.calls if int(call.params.get("chat_id", 0)) == slow and call.at > refused.at
        ]
        assert min(asked) - refused.at >= 3.9
        assert it.texts(slow).endswith("waits")


async def test_a_group_that_asks_to_wait_holds_up_no_other_platform(tmp_path: Path) -> None:
    async with TelegramEmulator() as telegram, SlackEmulator() as slack, ClientSession() as http:
        settings = {"telegram": telegram.settings(), "slack": slack.settings()}
        async with house(config_for(tmp_path, settings)) as app:
            telegram.faults.add("createForumTopic", Kind.RATE_LIMIT, seconds=30)
            it = Scene(app, telegram, http)
            visitor = await it.visitor("one")
            await eventually(lambda: it.lane() is LaneState.WAITING)
            for text in ("two", "three"):
                await visitor.say(text)
            (thread,) = await eventually(slack.threads)
            brought: Callable[[], list[str]] = lambda: [shown.text for shown in slack.messages(thread)][1:]  # noqa: E731
            await eventually(lambda: brought() == ["one", "two", "three"])
            assert it.lane() is LaneState.WAITING
            assert telegram.threads() == []
        assert [*telegram.violations, *slack.violations] == []


async def test_a_group_that_is_out_of_reach_gets_no_new_conversations(
    tmp_path: Path, telegram: TelegramEmulator
) -> None:
    async with scene(tmp_path, telegram, f"telegram:{telegram.chat},{SECOND}", budget="100/600s") as it:
        telegram.world.groups[SECOND].bot_status = "kicked"
        visitors = [await it.visitor(f"question {number}") for number in range(4)]
        await eventually(lambda: it.lane(SECOND) is LaneState.DOWN)
        for number in range(4):
            await sent(await it.visitor(f"later {number}"))
        assert all(thread.startswith(f"{telegram.chat}/") for thread in telegram.threads())
        telegram.world.groups[SECOND].bot_status = "administrator"
        for visitor in visitors:
            if not any(frame["type"] == "delivery" for frame in visitor.frames):
                await sent(visitor)


async def test_the_budget_of_a_group_is_kept_and_texts_wait_joined(tmp_path: Path) -> None:
    async with (
        TelegramEmulator(group_rate=(4, 1.8)) as telegram,  # requests come as much closer as the network makes them
        scene(tmp_path, telegram, budget="4/2s") as it,
    ):
        visitors = [await it.visitor() for _ in range(4)]
        for number in range(5):
            for visitor in visitors:
                await visitor.say(f"text {number}")
        await eventually(lambda: it.texts(telegram.chat).count("text 4") == 4)
        assert [call.status for call in telegram.calls if call.status == 429] == []
        for thread in telegram.threads():
            whole = "\n".join(shown.text for shown in telegram.messages(thread))
            assert [whole.count(f"text {number}") for number in range(5)] == [1] * 5
        sends = [call for call in telegram.calls if call.method == "sendMessage"]
        assert len(sends) < 20
