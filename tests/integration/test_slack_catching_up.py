"""What staff write in Slack while the bridge does not hear it: over the whole bridge, at the test server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession

from adapters.slack import rereading, socket_mode
from bridge import inbound
from bridge.app import App
from bridge.clock import SystemClock
from bridge.model import AdapterName
from bridge.ports import Link
from tests.emulators.base import Fault, Kind, eventually
from tests.emulators.slack import SlackEmulator
from tests.emulators.slack.server import CHANNEL, SCOPES
from tests.house import Visitor, config_for, house
from tests.platforms import UNLIMITED

both = pytest.mark.parametrize("mode", ["socket", "http"])


@dataclass
class Scene:
    """A workspace, and a visitor who has written once. The bridge runs within `bridge`."""

    slack: SlackEmulator
    http: ClientSession
    folder: Path
    mode: str
    token: str | None = None
    after: int = 0
    thread: str = ""

    @asynccontextmanager
    async def bridge(self) -> AsyncIterator[tuple[App, Visitor]]:
        """Run the bridge; the visitor is there with what they have not seen yet."""
        settings = self.slack.settings() if self.mode == "socket" else self.slack.http_settings()
        async with house(config_for(self.folder, {"slack": {"budget": UNLIMITED} | settings})) as app:
            self.slack.hooks_url = f"{app.url}/hooks/slack" if self.mode == "http" else None
            visitor = Visitor(self.http, app.url, token=self.token, after=self.after)
            await visitor.connect()
            visitor.log = None
            yield app, visitor
            self.token, self.after = visitor.token, 0
        assert self.slack.violations == []

    async def begin(self, visitor: Visitor) -> None:
        """Write a first message, and learn the thread."""
        await visitor.say("hello")
        await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
        (self.thread,) = self.slack.threads()

    async def says(self, text: str) -> str:
        return await self.slack.staff_says(self.thread, text)


@pytest.fixture
async def scene(mode: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with SlackEmulator() as slack, ClientSession() as http:
        slack.sockets.retry_delays = slack.http.retry_delays = ()  # what nobody takes is lost
        yield Scene(slack, http, tmp_path, mode)


async def seen(visitor: Visitor, last: str, gone: str | None = None) -> list[str]:
    """Return staff's texts as the visitor's page shows them, once the last one is there, and another no more."""
    shown: dict[int, str | None] = {}

    def note(frame: dict[str, Any]) -> bool:
        for told in frame["messages"] if frame["type"] == "welcome" else [frame]:
            if told["type"] == "message" and told["from"]["kind"] == "staff":
                assert told["seq"] not in shown
                shown[told["seq"]] = None if told.get("deleted") else told["text"]
            elif told["type"] == "revision":
                shown[told["of"]] = None if told.get("deleted") else told["text"]
        return last in shown.values() and (gone is None or gone not in shown.values())

    if not [frame for frame in list(visitor.frames) if note(frame)]:
        await visitor.until(note)
    return [text for _, text in sorted(shown.items()) if text is not None]


@both
async def test_what_was_written_during_a_restart_arrives_once_and_in_order(scene: Scene) -> None:
    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
        await scene.says("before")
        assert await seen(visitor, "before") == ["before"]
    scene.slack.hooks_url = None
    for number in range(5):
        await scene.says(f"meanwhile {number}")
    await scene.slack.staff_uploads(scene.thread, "plan.txt", b"abc", "text/plain", text="with a file")
    await eventually(lambda: len(scene.slack.lost) == 6)
    for _ in range(2):
        async with scene.bridge() as (_, visitor):
            await scene.says("afterwards")
            texts = await seen(visitor, "afterwards")
            assert texts[:7] == ["before", *(f"meanwhile {number}" for number in range(5)), "with a file"]
            assert set(texts[7:]) == {"afterwards"}
    assert len(scene.slack.downloads) - len([each for each in scene.slack.downloads if "avatar" in each[0]]) == 1


@pytest.mark.parametrize("mode", ["socket"])
async def test_what_was_written_while_no_socket_was_open_arrives(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_mode, "CONNECT_WITHIN", 0.3)
    async with scene.bridge() as (app, visitor):
        await scene.begin(visitor)
        sink = app.sinks[AdapterName("slack")]
        scene.slack.sockets.refuse_upgrades = 10**6
        await scene.slack.disconnect()
        await eventually(lambda: sink.link.link is not Link.UP)
        await scene.says("one")
        await scene.says("two")
        await eventually(lambda: len(scene.slack.lost) == 2)
        scene.slack.sockets.refuse_upgrades = 0
        assert await seen(visitor, "two") == ["one", "two"]


@pytest.mark.parametrize("mode", ["socket"])
async def test_what_one_of_two_sockets_swallowed_comes_before_what_the_other_brings(scene: Scene) -> None:
    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
        await eventually(lambda: scene.slack.sockets.connected == 2)
        scene.slack.sockets.drop(1)
        scene.slack.faults.add("conversations.replies", Kind.SLOW, seconds=0.5)
        for number in range(6):
            await scene.says(str(number))
        assert await seen(visitor, "5") == [str(number) for number in range(6)]


async def another_says(scene: Scene, app: App, text: str) -> str:
    """Let another visitor write, and return their thread."""
    before = scene.slack.threads()
    other = Visitor(scene.http, app.url)
    await other.connect()
    await other.say(text)
    await other.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
    (thread,) = {*scene.slack.threads()}.difference(before)
    return thread


@both
async def test_a_reply_in_a_thread_that_was_quiet_for_long_arrives(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbound, "_LIVE", 1)
    monkeypatch.setattr(rereading, "_PAGE", 1)
    async with scene.bridge() as (app, visitor):
        await scene.begin(visitor)
        await another_says(scene, app, "hello")  # which takes the only place among the live ones
    scene.slack.hooks_url = None
    await scene.says("one")
    await scene.says("two")
    await eventually(lambda: len(scene.slack.lost) == 2)
    scene.slack.faults.add("conversations.history", Kind.RATE_LIMIT, seconds=0.1)
    async with scene.bridge() as (_, visitor):
        assert await seen(visitor, "two") == ["one", "two"]


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_reply_in_a_thread_that_was_quiet_for_long_arrives_where_the_clock_was_ahead_before(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbound, "_LIVE", 1)
    with monkeypatch.context() as ahead:
        ahead.setattr(SystemClock, "now", lambda _: datetime.now(UTC) + timedelta(hours=3))
        async with scene.bridge() as (app, visitor):
            await scene.begin(visitor)
            await another_says(scene, app, "hello")  # which takes the only place among the live ones
            await noted(app, None)
    await scene.says("one")
    await eventually(lambda: len(scene.slack.lost) == 1)
    async with scene.bridge() as (_, visitor):
        assert await seen(visitor, "one") == ["one"]


@both
async def test_what_was_under_way_as_the_app_was_taken_out_of_a_channel_comes_behind_what_was_missed(
    scene: Scene,
) -> None:
    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
    scene.slack.hooks_url = None
    await scene.says("one")
    two = await scene.says("two")
    scene.slack.dismiss(CHANNEL)
    async with scene.bridge() as (_, visitor):
        await eventually(lambda: [call for call in scene.slack.calls if call.error == "channel_not_found"])
        channel = scene.slack.workspace.channels[CHANNEL]
        channel.member = True  # without a word of it
        scene.slack.tell(
            scene.thread, scene.slack.workspace.message_json(channel, channel.messages[two], metadata=False)
        )
        assert await seen(visitor, "two") == ["one", "two"]


@pytest.mark.parametrize("mode", ["socket"])
async def test_threads_are_read_again_where_the_clock_was_set_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rereading, "_CALLS", 1)
    monkeypatch.setattr(rereading, "_IN", 0.1)

    def readings() -> int:
        return sum(call.method == "conversations.replies" for call in scene.slack.calls)

    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
        for ahead in (0, -3600):
            monkeypatch.setattr(SystemClock, "now", lambda _, ahead=ahead: datetime.now(UTC) + timedelta(seconds=ahead))
            before = readings()
            await scene.slack.disconnect()
            await eventually(lambda before=before: readings() > before)


@pytest.mark.parametrize("mode", ["socket"])
async def test_threads_in_which_nothing_stirred_since_all_was_heard_are_not_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbound, "_LIVE", 1)
    monkeypatch.setattr(rereading, "_MARGIN", timedelta(0))
    async with scene.bridge() as (app, visitor):
        await scene.begin(visitor)
        await scene.says("before")
        await seen(visitor, "before")
        live = await another_says(scene, app, "hello")
        heard = await noted(app, None)
    async with scene.bridge() as (app, _):
        heard = await noted(app, heard)
    calls = len(scene.slack.calls)
    async with scene.bridge() as (app, _):
        await noted(app, heard)
    read = [call.params["ts"] for call in scene.slack.calls[calls:] if call.method == "conversations.replies"]
    assert read == [live.partition("/")[2]]


async def noted(app: App, before: str | None) -> str:
    """Return what the adapter notes, once all is read, of when it was heard."""
    sink = app.sinks[AdapterName("slack")]
    async with asyncio.timeout(20):
        while (now := await sink.cursor()) in {None, before}:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
    return str(now)


@both
async def test_edits_and_deletions_of_the_gap_are_found(scene: Scene) -> None:
    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
        edited, deleted, noted = [await scene.says(text) for text in ("fist", "wrong", "// a note")]
        await scene.says("last")
        await seen(visitor, "last")
    scene.slack.hooks_url = None
    await scene.slack.staff_edits(scene.thread, edited, "first")
    await scene.slack.staff_deletes(scene.thread, deleted)
    await scene.slack.staff_deletes(scene.thread, noted)
    await scene.says("// another note")
    unseen = await scene.says("draft")
    await scene.slack.staff_edits(scene.thread, unseen, "final")
    await eventually(lambda: len(scene.slack.lost) == 6)
    for again in (1, 2):
        async with scene.bridge() as (_, visitor):
            await scene.says(f"after {again}")
            texts = await seen(visitor, f"after {again}", "wrong")  # what is missing is told last
            assert texts[:4] == ["first", "last", "final", "after 1"]


@both
async def test_what_cannot_be_told_is_reported_once(scene: Scene) -> None:
    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
    scene.slack.hooks_url = None
    await scene.slack.staff_posts(scene.thread, "")
    for _ in range(2):
        async with scene.bridge() as (_, visitor):
            await scene.says("next")
            await seen(visitor, "next")
    notices = [one.text for one in scene.slack.messages(scene.thread) if "did not reach" in one.text]
    assert len(notices) == 1


@both
async def test_what_was_written_before_a_crashed_opening_was_found_again_arrives(scene: Scene) -> None:
    async with scene.bridge() as (_, visitor):
        scene.slack.faults.add("chat.postMessage", Kind.CUT_AFTER)
        await visitor.say("hello")
        await eventually(lambda: scene.slack.faults.happened)
    (scene.thread,) = scene.slack.threads()
    scene.slack.hooks_url = None
    await scene.says("who is there?")
    await eventually(lambda: [event for event in scene.slack.lost if "who is there?" in str(event)])
    async with scene.bridge() as (_, visitor):
        assert await seen(visitor, "who is there?") == ["who is there?"]
    assert list(scene.slack.threads()) == [scene.thread]


@pytest.mark.parametrize("mode", ["socket"])
async def test_the_head_of_a_thread_that_is_gone_deletes_nothing(scene: Scene) -> None:
    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
        await scene.says("stays")
        await seen(visitor, "stays")
    scene.slack.remove(scene.thread)
    calls = len(scene.slack.calls)
    async with scene.bridge() as (_, visitor):
        await eventually(lambda: [c for c in scene.slack.calls[calls:] if c.method == "conversations.replies"])
        assert await seen(visitor, "stays") == ["stays"]


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_rate_limit_of_reading_delays_what_is_read_and_no_sends(scene: Scene) -> None:
    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
    await scene.says("meanwhile")
    scene.slack.faults.add("conversations.replies", Kind.RATE_LIMIT, times=2, seconds=1.0)
    async with scene.bridge() as (_, visitor):
        await eventually(lambda: scene.slack.faults.happened)
        await visitor.say("quick", "quick")
        await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
        assert len(scene.slack.faults.happened) < 2  # the reading still waits
        assert await seen(visitor, "meanwhile") == ["meanwhile"]
    replies = [call for call in scene.slack.calls if call.method == "conversations.replies"]
    assert [call.status for call in replies[-3:]] == [429, 429, 200]


@pytest.mark.parametrize("mode", ["socket"])
async def test_threads_are_read_page_by_page_no_faster_than_allowed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rereading, "_PAGE", 3)
    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
    for number in range(9):
        await scene.says(str(number))
    async with scene.bridge() as (_, visitor):
        assert await seen(visitor, "8") == [str(number) for number in range(9)]
    replies = [call for call in scene.slack.calls if call.method == "conversations.replies"]
    assert len(replies) == 4


@pytest.mark.parametrize("mode", ["http"])
async def test_what_slack_gave_up_is_read_once_it_gets_through_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.slack.adapter._LOOK_EVERY", 0.3)
    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
        hooks, scene.slack.hooks_url = scene.slack.hooks_url, "http://127.0.0.1:9/"
        await scene.says("given up")
        await eventually(lambda: scene.slack.lost)
        assert hooks
        event = {"type": "event_callback", "event": {"type": "message", "subtype": "channel_topic"}}
        assert (await scene.slack.http.post(hooks, event, {"X-Slack-Retry-Num": "1"}))[0] == 200
        assert await seen(visitor, "given up") == ["given up"]


@both
async def test_where_slack_shows_no_threads_staff_are_heard_and_the_rest_follows(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rereading, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(rereading, "_AGAIN", (0.2, 0.2))
    async with scene.bridge() as (_, visitor):
        await scene.begin(visitor)
    scene.slack.hooks_url = None
    await scene.says("missed")
    await eventually(lambda: scene.slack.lost)
    scene.slack.faults.add("conversations.replies", Kind.ERROR, times=10**6)
    scene.slack.sockets.retry_delays = scene.slack.http.retry_delays = (0.1, 0.1, 0.1)
    async with scene.bridge() as (_, visitor):
        await scene.says("live")
        assert await seen(visitor, "live") == ["live"]
        scene.slack.faults.waiting.clear()
        assert sorted(await seen(visitor, "missed")) == ["live", "missed"]


@dataclass
class Shut:
    """A second visitor's thread, which Slack does not show. It was active last, so it comes first."""

    token: str | None
    thread: str
    fault: Fault


async def with_a_thread_that_is_not_shown(scene: Scene) -> Shut:
    """Let staff write in two threads while nobody hears it."""
    async with scene.bridge() as (app, visitor):
        await scene.begin(visitor)
        other = Visitor(scene.http, app.url)
        await other.connect()
        await other.say("hello")
        await other.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
        (thread,) = {*scene.slack.threads()} - {scene.thread}
    scene.slack.hooks_url = None
    await scene.slack.staff_says(thread, "missed in the one")
    await scene.says("missed in the other")
    await eventually(lambda: len(scene.slack.lost) == 2)
    fault = Fault("conversations.replies", Kind.ERROR, 10**6, where=lambda params: params["ts"] in thread)
    scene.slack.faults.waiting.append(fault)
    return Shut(other.token, thread, fault)


def of_reading(logged: Sequence[MutableMapping[str, Any]], level: str) -> list[MutableMapping[str, Any]]:
    return [line for line in logged if line["log_level"] == level and line["event"].startswith("slack_thread")]


@both
async def test_a_thread_that_slack_does_not_show_holds_up_no_other_and_heals(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rereading, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(rereading, "_AGAIN", (0.1, 0.1))
    shut = await with_a_thread_that_is_not_shown(scene)
    with structlog.testing.capture_logs() as logged:
        async with scene.bridge() as (app, visitor):
            assert await seen(visitor, "missed in the other") == ["missed in the other"]
            calls = len(scene.slack.calls)
            await eventually(lambda: len(scene.slack.calls) > calls + 8)
            again = [call for call in scene.slack.calls[calls:] if call.method == "conversations.replies"]
            assert all(call.params["ts"] in shut.thread for call in again)
            scene.slack.faults.waiting.remove(shut.fault)
            other = Visitor(scene.http, app.url, token=shut.token)
            await other.connect()
            assert await seen(other, "missed in the one") == ["missed in the one"]
    (told,) = of_reading(logged, "warning")
    assert shut.thread in told["thread"]
    assert "look whether Slack shows the thread" in told["remedy"]
    assert "missed" not in str(logged)


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_thread_that_slack_never_shows_is_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rereading, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(rereading, "_AGAIN", (0.01, 0.01))
    monkeypatch.setattr(rereading, "_ROUNDS", 3)
    shut = await with_a_thread_that_is_not_shown(scene)
    with structlog.testing.capture_logs() as logged:
        async with scene.bridge() as (_, visitor):
            assert await seen(visitor, "missed in the other") == ["missed in the other"]
            (told,) = await eventually(lambda: of_reading(logged, "error"))
    assert (told["event"], shut.thread in told["thread"]) == ("slack_thread_given_up", True)
    assert "written again" in told["remedy"]


async def test_a_bridge_that_may_not_read_still_hears(tmp_path: Path) -> None:
    async with SlackEmulator(scopes=SCOPES - {"channels:history"}) as slack, ClientSession() as http:
        scene = Scene(slack, http, tmp_path, "socket")
        async with scene.bridge() as (_, visitor):
            await scene.begin(visitor)
        async with scene.bridge() as (_, visitor):
            await scene.says("hello")
            assert await seen(visitor, "hello") == ["hello"]
        assert CHANNEL in scene.thread
