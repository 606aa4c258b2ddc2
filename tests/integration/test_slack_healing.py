"""Slack threads and channels that take nothing: what waits, who is told, and how it goes on by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bridge.app import App
from bridge.health import LaneState
from bridge.model import Destination
from tests.emulators.base import eventually
from tests.emulators.slack import SlackEmulator
from tests.emulators.slack.server import CHANNEL, OTHER_CHANNEL
from tests.house import Visitor, config_for, house
from tests.platforms import UNLIMITED, eventually_equal

pytestmark = pytest.mark.parametrize("channel", [CHANNEL, OTHER_CHANNEL])
"""The adapter's own channel, and one that only a site names."""


def archive(slack: SlackEmulator, channel: str) -> None:
    slack.workspace.channels[channel].archived = True


def unarchive(slack: SlackEmulator, channel: str) -> None:
    slack.workspace.channels[channel].archived = False


def hide(slack: SlackEmulator, channel: str) -> None:
    slack.workspace.channels[channel].private = True
    slack.dismiss(channel)


closed = pytest.mark.parametrize(
    ("close", "remedy", "reopen"),
    [
        (archive, "unarchive the channel", unarchive),
        (SlackEmulator.dismiss, "/invite", SlackEmulator.invite),
        (hide, "invited", SlackEmulator.invite),
    ],
)
Change = Callable[[SlackEmulator, str], None]


@dataclass
class Scene:
    slack: SlackEmulator
    http: ClientSession
    folder: Path
    channel: str

    @asynccontextmanager
    async def bridge(self, *tokens: str | None) -> AsyncIterator[tuple[App, list[Visitor]]]:
        """Run the bridge with one connected visitor for each token."""
        destination = "slack" if self.channel == CHANNEL else f"slack:{self.channel}"
        settings = {"slack": {"budget": UNLIMITED} | self.slack.settings()}
        async with house(config_for(self.folder, settings, [destination])) as app:
            visitors = [Visitor(self.http, app.url, token=token) for token in tokens]
            for visitor in visitors:
                await visitor.connect()
            yield app, visitors
        assert self.slack.violations == []

    def lane_is(self, app: App, state: LaneState) -> bool:
        destination = Destination.parse("slack" if self.channel == CHANNEL else f"slack:{self.channel}")
        return app.outbox.lanes[destination].state is state

    async def shown(self) -> list[list[str]]:
        """Return what the bridge wrote in each thread, without the card."""
        return [[one.text for one in self.slack.messages(thread)[1:] if one.by_bot] for thread in self.slack.threads()]


@pytest.fixture
async def scene(channel: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with SlackEmulator() as slack, ClientSession() as http:
        yield Scene(slack, http, tmp_path, channel)


async def sent(visitor: Visitor) -> None:
    await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")


@closed
@pytest.mark.parametrize("restarts", [False, True])
async def test_a_closed_channel_waits_for_a_person_and_goes_on_by_itself(
    scene: Scene, close: Change, remedy: str, reopen: Change, restarts: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scene.bridge(None, None) as (app, visitors):
        for number, visitor in enumerate(visitors):
            await visitor.say(f"question {number}", "first")
            await sent(visitor)
        tokens = [visitor.token for visitor in visitors]
        before = list(scene.slack.threads())
        if not restarts:
            close(scene.slack, scene.channel)
            await _waits_and_goes_on(scene, app, visitors, reopen)
    if restarts:
        close(scene.slack, scene.channel)
        async with scene.bridge(*tokens) as (app, visitors):
            await _waits_and_goes_on(scene, app, visitors, reopen)
    assert [thread for thread in scene.slack.threads() if thread in before] == before
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "lane_down" in line]
    assert remedy in told


async def _waits_and_goes_on(scene: Scene, app: App, visitors: list[Visitor], reopen: Change) -> None:
    for visitor in visitors:
        for text in ("one", "two"):
            assert (await visitor.say(text, text))["type"] == "ack"
    await eventually(lambda: scene.lane_is(app, LaneState.DOWN))
    reopen(scene.slack, scene.channel)
    for visitor in visitors:
        await sent(visitor)
        await sent(visitor)
    await eventually_equal(scene.shown, [["question 0", "one", "two"], ["question 1", "one", "two"], *_greeting(scene)])
    assert scene.lane_is(app, LaneState.UP)


def _greeting(scene: Scene) -> list[list[str]]:
    """Return what stands under the app's own greeting, which the test server counts as a thread."""
    return [[] for thread in scene.slack.threads() if "has joined" in scene.slack.title(thread)]


async def test_what_staff_wrote_while_the_app_was_not_in_the_channel_arrives(scene: Scene) -> None:
    async with scene.bridge(None) as (_, (visitor,)):
        await visitor.say("question")
        await sent(visitor)
        (thread,) = scene.slack.threads()
        scene.slack.dismiss(scene.channel)
        await scene.slack.staff_says(thread, "one")
        scene.slack.invite(scene.channel)
        await scene.slack.staff_says(thread, "two")
        assert [(await visitor.hear())["text"] for _ in range(2)] == ["one", "two"]


async def test_a_channel_that_opens_again_is_not_read_for_each_message_that_is_written_there(scene: Scene) -> None:
    def readings(error: str = "") -> int:
        return sum(call.method == "conversations.replies" and call.error == error for call in scene.slack.calls)

    async with scene.bridge(None) as (_, (visitor,)):
        await visitor.say("question")
        await sent(visitor)
        (thread,) = scene.slack.threads()
        scene.slack.dismiss(scene.channel)
        await scene.slack.staff_says(thread, "while it is closed")
        scene.slack.sockets.retry_delays = (0.1, 0.1, 0.1)
        scene.slack.sockets.drop()
        await eventually(lambda: readings("channel_not_found") and scene.slack.sockets.connected == 2)
        scene.slack.workspace.channels[scene.channel].member = True
        before = readings()
        texts = [str(number) for number in range(9)]
        for text in texts:
            await scene.slack.staff_says(thread, text)
        assert [(await visitor.hear())["text"] for _ in range(10)] == ["while it is closed", *texts]
        assert readings() - before < 5


async def test_a_thread_whose_first_message_was_deleted_gets_a_successor_and_is_still_heard(scene: Scene) -> None:
    async with scene.bridge(None) as (_, (visitor,)):
        await visitor.say("one")
        await sent(visitor)
        (thread,) = scene.slack.threads()
        await scene.slack.staff_deletes(thread, thread.partition("/")[2])
        await visitor.say("two")
        await sent(visitor)
        assert (await scene.shown())[-1][-1] == "two"
        await scene.slack.staff_says(thread, "in the old one")
        assert (await visitor.hear())["text"] == "in the old one"
