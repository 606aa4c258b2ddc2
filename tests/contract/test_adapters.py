"""What every adapter must keep: the same scenarios over the whole bridge, the real client library, a real socket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import ClientSession, FormData

from adapters.slack import sending
from bridge.app import App
from bridge.clock import SystemClock
from bridge.model import AdapterName
from bridge.ports import Clock, Link
from bridge.store.sqlite import log
from tests.emulators.base import Kind, eventually
from tests.emulators.discord import DiscordEmulator, rest
from tests.emulators.slack.server import SlackEmulator
from tests.house import ORIGIN, Visitor, config_for, house
from tests.platforms import Emulated, Platform, emulated, eventually_equal

EMULATED = ["slack", "slack-http", "telegram", "telegram-webhook", "discord", "discord-forum"]
EVERY = [*EMULATED, "desk"]
UNKNOWN = {"page": {"url": "", "title": "", "referrer": ""}, "locale": None, "timezone": None}
"""A hello that tells nothing, so that the card is one word."""

every = pytest.mark.parametrize("kind", EVERY)
every_emulated = pytest.mark.parametrize("kind", EMULATED)


@dataclass
class Scene:
    """A site with one destination, and whoever comes."""

    app: App
    platform: Platform
    http: ClientSession

    async def visitor(self) -> Visitor:
        visitor = Visitor(self.http, self.app.url, hello=UNKNOWN)
        assert (await visitor.connect())["type"] == "welcome"
        return visitor

    async def upload(self, visitor: Visitor) -> str:
        """Upload a picture as a visitor, and return its id."""
        form = FormData()
        form.add_field("file", PNG, filename="screenshot.png", content_type="image/png")
        headers = {"Authorization": f"Bearer {visitor.token}", "Origin": ORIGIN}
        async with self.http.post(f"{self.app.url}/v1/uploads", data=form, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["id"])

    async def texts(self, thread: str) -> str:
        """Return what the bridge brought into a thread, joined as a person reads it."""
        return "\n\n".join(shown.text for shown in await self.platform.shown(thread) if shown.by_bot)

    async def thread(self) -> str:
        """Return the only thread, once it is there."""
        async with asyncio.timeout(20):
            while not (found := await self.platform.threads()):  # noqa: ASYNC110 - a server that knows no event of ours
                await asyncio.sleep(0.02)
        assert len(found) == 1
        return found[0]


@asynccontextmanager
async def scene(kind: str, tmp_path: Path, clock: Clock | None = None) -> AsyncIterator[Scene]:
    async with emulated(kind) as platform, ClientSession() as http:
        config = config_for(tmp_path, {platform.name: platform.settings()})
        async with house(config, clock) as app:
            assert app.sinks[AdapterName(platform.name)].link.link is Link.UP
            platform.attach(app, http)
            yield Scene(app, platform, http)
        assert list(platform.violations()) == []


@every
async def test_a_conversation_goes_both_ways_in_order(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        visitor = await it.visitor()
        for number in range(5):
            await visitor.say(f"question {number}")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "\n\n".join(f"question {number}" for number in range(5)))
        for number in range(5):
            await it.platform.says(thread, f"answer {number}")
        heard = [await visitor.hear() for _ in range(5)]
        assert [frame["text"] for frame in heard] == [f"answer {number}" for number in range(5)]
        assert {frame["from"]["name"] for frame in heard} == {"Anna"}
        assert [frame["seq"] for frame in heard] == list(range(7, 12))


@every
async def test_who_answers_has_seen_the_question(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        visitor = await it.visitor()
        await visitor.say("hello")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "hello")
        await it.platform.says(thread, "// who is that?")
        await it.platform.says(thread, "hi")
        assert (await visitor.hear())["seq"] == 3
        assert (await visitor.until(lambda frame: frame["type"] == "seen"))["seq"] == 3
        assert [frame["seq"] for frame in visitor.frames if frame["type"] == "seen"] == [3]


@every
async def test_what_staff_have_seen_is_told_also_of_what_was_sent_before_a_restart(kind: str, tmp_path: Path) -> None:
    async with emulated(kind) as platform, ClientSession() as http:
        config = config_for(tmp_path, {platform.name: platform.settings()})
        async with house(config) as app:
            platform.attach(app, http)
            visitor = Visitor(http, app.url, hello=UNKNOWN)
            await visitor.connect()
            for text in ("one", "two", "three"):
                seq = (await visitor.say(text))["seq"]
                await visitor.until(lambda frame, of=seq: frame["type"] == "delivery" and frame["of"] == of)
            (thread,) = await platform.threads()
        async with house(config) as app:
            platform.attach(app, http)
            returned = Visitor(http, app.url, token=visitor.token, hello=UNKNOWN)
            assert (await returned.connect())["seen"] == 0
            await platform.sees(thread, "two")
            assert await returned.receive() == {"type": "seen", "seq": 3}
        async with house(config) as app:
            platform.attach(app, http)
            assert (await Visitor(http, app.url, token=visitor.token).connect())["seen"] == 3
        assert list(platform.violations()) == []


@every_emulated
async def test_staff_read_with_the_next_message_what_the_visitor_did(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        visitor = await it.visitor()
        for number in range(12):
            await visitor.send({"type": "track", "name": f"step {number}", "data": {"count": number, "sort": "a\nb"}})
        await visitor.say("hello")
        steps = [f"On the page: step {number} (count: {number}, sort: a b)" for number in range(2, 12)]
        thread = await it.thread()
        await eventually_equal(lambda: told(it, thread), [*steps, "hello"])
        await visitor.say("again")
        await visitor.send({"type": "track", "name": "Paid"})
        await visitor.say("thanks")
        await eventually_equal(lambda: told(it, thread), [*steps, "hello", "again", "On the page: Paid", "thanks"])


async def told(it: Scene, thread: str) -> list[str]:
    """Return a thread's lines, however many messages hold them."""
    return (await it.texts(thread)).replace("\n\n", "\n").split("\n")


@every
async def test_fifty_first_messages_at_once_open_one_thread(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        first = await it.visitor()
        tabs = [Visitor(it.http, it.app.url, token=first.token, hello=UNKNOWN) for _ in range(10)]
        await asyncio.gather(*(tab.connect() for tab in tabs))
        said = {f"text {number:02}" for number in range(50)}
        for each in range(5):
            said_now = (tab.say(f"text {n * 5 + each:02}", f"c{n}-{each}") for n, tab in enumerate(tabs))
            await asyncio.gather(*said_now)
        thread = await it.thread()

        async def arrived() -> list[str]:
            return sorted((await it.texts(thread)).split("\n\n"))

        await eventually_equal(arrived, sorted(said))
        assert len(await it.platform.threads()) == 1


@every
async def test_its_own_words_do_not_come_back(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        visitor = await it.visitor()
        await visitor.say("hello")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "hello")
        await it.platform.says(thread, "the only answer")
        assert (await visitor.hear())["text"] == "the only answer"
        await visitor.say("thanks")
        await eventually_equal(lambda: it.texts(thread), "hello\n\nthanks")
        kinds = [frame["from"]["kind"] for frame in visitor.frames if frame["type"] == "message"]
        assert kinds == ["system", "staff"]


@every
async def test_a_note_stays_inside(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        visitor = await it.visitor()
        await visitor.say("hello")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "hello")
        await it.platform.says(thread, "// do not tell")
        await it.platform.says(thread, "an answer")
        assert (await visitor.hear())["text"] == "an answer"


@every_emulated
async def test_a_message_that_can_never_be_stored_holds_up_nothing_and_staff_read_why(
    kind: str, tmp_path: Path
) -> None:
    async with scene(kind, tmp_path) as it:
        assert isinstance(it.platform, Emulated)
        visitor = await it.visitor()
        await visitor.say("hello")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "hello")
        poison = await it.platform.says(thread, "half of a character: \ud83d")
        it.platform.emulator.repeat()
        await it.platform.says(thread, "an answer")
        assert (await visitor.hear())["text"] == "an answer"
        told = "This did not reach the visitor: a message of Anna (half of a character is in it: change that)"
        await eventually_equal(lambda: it.texts(thread), f"hello\n\n{told}")
        await it.platform.edits(thread, poison, "a whole one")
        assert (await visitor.hear())["text"] == "a whole one"
        assert await it.texts(thread) == f"hello\n\n{told}"


@every_emulated
async def test_a_reply_that_the_store_has_no_memory_for_arrives_a_moment_later(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, staff_id = [MemoryError()] * 4, log.staff_id  # an operation that fails is undone, and run again by itself

    def lacking(*about: Any) -> int:
        if failing:
            raise failing.pop()
        return staff_id(*about)

    async with scene(kind, tmp_path) as it:
        visitor = await it.visitor()
        await visitor.say("hello")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "hello")
        monkeypatch.setattr(log, "staff_id", lacking)
        await it.platform.says(thread, "an answer")
        assert (await visitor.hear())["text"] == "an answer"
        assert not failing


@every
async def test_a_text_longer_than_the_platform_takes_arrives_whole(kind: str, tmp_path: Path) -> None:
    text = " ".join(f"{number:03} <b>&amp; *words* 😀" for number in range(170))
    assert 3000 < len(text) <= 4000
    async with scene(kind, tmp_path) as it:
        visitor = await it.visitor()
        await visitor.say(text)
        thread = await it.thread()

        async def arrived() -> str:
            return "".join("".join(shown.text for shown in await it.platform.shown(thread) if shown.by_bot).split())

        await eventually_equal(arrived, "".join(text.split()))


@every
async def test_a_conversation_goes_on_after_a_restart(kind: str, tmp_path: Path) -> None:
    async with emulated(kind) as platform, ClientSession() as http:
        config = config_for(tmp_path, {platform.name: platform.settings()})
        token = None
        for text in ("before", "after"):
            async with house(config) as app:
                platform.attach(app, http)
                visitor = Visitor(http, app.url, token=token, hello=UNKNOWN)
                await visitor.connect()
                token = visitor.token
                await visitor.say(text, text)
                await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
                (thread,) = await platform.threads()
                await platform.says(thread, f"answer {text}")
                assert (await visitor.hear())["text"] == f"answer {text}"
        assert list(platform.violations()) == []


@every_emulated
async def test_a_person_who_edits_changes_what_the_visitor_sees(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        visitor = await it.visitor()
        await visitor.say("hello")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "hello")
        id = await it.platform.says(thread, "fist version")
        said = await visitor.hear()
        await it.platform.edits(thread, id, "first version")
        revision = await visitor.until(lambda frame: frame["type"] == "revision")
        assert (revision["of"], revision["text"]) == (said["seq"], "first version")


@pytest.mark.parametrize("kind", ["slack", "slack-http"])  # the others keep the order
async def test_an_edit_that_comes_behind_a_later_one_changes_nothing(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        assert isinstance(it.platform, Emulated)
        slack = it.platform.emulator
        assert isinstance(slack, SlackEmulator)
        slack.in_order = True  # one after the other, as they are let go
        visitor = await it.visitor()
        await visitor.say("hello")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "hello")
        id = await it.platform.says(thread, "fist version")
        await visitor.hear()
        slack.events.hold()
        await it.platform.edits(thread, id, "first version")
        await it.platform.edits(thread, id, "second version")
        slack.events.let_go(Random(4))
        assert slack.events.overtaken
        await it.platform.says(thread, "seen?")
        await visitor.hear()
        assert [frame["text"] for frame in visitor.frames if frame["type"] == "revision"] == ["second version"]


@every_emulated
async def test_a_repeated_event_is_shown_once(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        assert isinstance(it.platform, Emulated)
        visitor = await it.visitor()
        await visitor.say("hello")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "hello")
        for text in ("one", "two"):
            await it.platform.says(thread, text)
            assert (await visitor.hear())["text"] == text
            it.platform.emulator.repeat()
        await it.platform.says(thread, "three")
        assert (await visitor.hear())["text"] == "three"


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


@every
async def test_files_go_both_ways(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        visitor = await it.visitor()
        await visitor.say("look", attachments=[await it.upload(visitor)])
        thread = await it.thread()

        async def arrived() -> list[str]:
            shown = [shown for shown in await it.platform.shown(thread) if shown.by_bot]
            ours = [file["name"] for shown in shown for file in shown.raw.get("attachments", ()) if "name" in file]
            return [name for shown in shown for name in shown.files] or ours

        await eventually_equal(arrived, ["screenshot.png"])
        if isinstance(it.platform, Emulated):
            await visitor.until(lambda frame: frame["type"] == "delivery")
            await it.platform.sees(thread, "screenshot.png")
            assert (await visitor.until(lambda frame: frame["type"] == "seen"))["seq"] == 2
        await it.platform.shares(thread, "answer.png", "image/png", PNG)
        (attachment,) = (await visitor.hear())["attachments"]
        assert (attachment["name"], attachment["type"], attachment["size"]) == ("answer.png", "image/png", len(PNG))
        async with it.http.get(it.app.url + attachment["url"]) as answer:
            assert (answer.status, await answer.read()) == (200, PNG)


@every_emulated
async def test_a_file_that_stays_behind_is_told_also_where_the_platform_took_no_notice_before_the_end(
    kind: str, tmp_path: Path
) -> None:
    sending = {"slack": "chat.postMessage", "telegram": "sendMessage", "discord": "create_message"}
    async with emulated(kind) as platform, ClientSession() as http:
        assert isinstance(platform, Emulated)
        config = config_for(tmp_path, {platform.name: platform.settings()})
        async with house(config) as app:
            it = Scene(app, platform, http)
            platform.attach(app, http)
            visitor = await it.visitor()
            await visitor.say("hello")
            thread = await it.thread()
            await eventually_equal(lambda: it.texts(thread), "hello")
            platform.emulator.faults.add(sending[platform.name], Kind.ERROR, times=1000)
            await platform.shares(thread, "holiday.png", "image/png", b"not a picture", text="look")
            assert (await visitor.hear())["text"] == "look"
            await eventually(lambda: platform.emulator.faults.happened)
        platform.emulator.faults.waiting.clear()
        async with house(config):
            told = "This did not reach the visitor: holiday.png (The file is not what it says: image/png.)"
            await eventually_equal(lambda: it.texts(thread), f"hello\n\n{told}")
        assert list(platform.violations()) == []


async def test_a_file_that_slacks_host_of_files_refuses_holds_up_nobody(tmp_path: Path) -> None:
    async with scene("slack", tmp_path) as it:
        assert isinstance(it.platform, Emulated)
        assert isinstance(it.platform.emulator, SlackEmulator)
        it.platform.emulator.upload_limit = len(PNG) - 1
        visitor, other = await it.visitor(), await it.visitor()
        await visitor.say("look", attachments=[await it.upload(visitor)])
        await eventually(lambda: "upload" in {call.method for call in it.platform.emulator.calls})
        await other.say("hello")
        assert (await other.until(lambda frame: frame["type"] == "delivery"))["state"] == "sent"
        await visitor.say("seen?")
        thread, _ = await it.platform.threads()
        instead = r"look\n\nThe file screenshot\.png could not be shown here: .*413\n\nseen\?"

        async def told() -> bool:
            return re.fullmatch(instead, await it.texts(thread)) is not None

        await eventually_equal(told, True)


@every_emulated
async def test_too_many_requests_are_waited_for(kind: str, tmp_path: Path) -> None:
    sending = {"slack": "chat.postMessage", "telegram": "sendMessage", "discord": "*"}
    async with scene(kind, tmp_path) as it:
        assert isinstance(it.platform, Emulated)
        visitor = await it.visitor()
        await visitor.say("one")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "one")
        it.platform.emulator.faults.add(sending[it.platform.name], Kind.RATE_LIMIT, times=2, seconds=0.3)
        await visitor.say("two")
        await eventually_equal(lambda: it.texts(thread), "one\n\ntwo")
        assert len(it.platform.emulator.faults.happened) == 2


@pytest.mark.parametrize("lost", [Kind.ERROR_AFTER, Kind.CUT_WITHIN])
@pytest.mark.parametrize("kind", ["slack", "discord"])  # Telegram cannot be asked
async def test_where_the_look_fails_too_it_is_looked_for_again(kind: str, lost: Kind, tmp_path: Path) -> None:
    sending, looking = {
        "slack": ("chat.postMessage", "conversations.replies"),
        "discord": ("create_message", "list_messages"),
    }[kind]
    async with scene(kind, tmp_path) as it:
        assert isinstance(it.platform, Emulated)
        visitor = await it.visitor()
        await visitor.say("one")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "one")
        it.platform.emulator.faults.add(sending, lost)
        it.platform.emulator.faults.add(looking, Kind.RATE_LIMIT)
        it.platform.emulator.faults.add(looking, Kind.ERROR)
        await visitor.say("two")
        await visitor.until(lambda frame: frame["type"] == "delivery" and frame["of"] == visitor.after)
        assert await it.texts(thread) == "one\n\ntwo"
        assert len(it.platform.emulator.faults.happened) == 3


@every_emulated
async def test_a_dropped_connection_comes_back_by_itself(kind: str, tmp_path: Path) -> None:
    async with scene(kind, tmp_path) as it:
        assert isinstance(it.platform, Emulated)
        visitor = await it.visitor()
        await visitor.say("hello")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "hello")
        await it.platform.emulator.disconnect()
        sink = it.app.sinks[AdapterName(it.platform.name)]
        await eventually(lambda: sink.link.link is Link.UP)
        await it.platform.says(thread, "still here")
        assert (await visitor.hear())["text"] == "still here"


@pytest.mark.parametrize("kind", ["slack", "telegram", "discord"])
async def test_a_wrong_token_is_a_state_and_keeps_the_messages(kind: str, tmp_path: Path) -> None:
    wrong = {
        "slack": {"bot_token": "xoxb-wrong"},
        "telegram": {"token": "7000000001:wrong-wrong-wrong"},
        "discord": {"token": "wrong.wrong.wrong"},
    }[kind]
    async with emulated(kind) as platform, ClientSession() as http:
        async with house(config_for(tmp_path, {kind: platform.settings() | wrong})) as app:
            link = app.sinks[AdapterName(kind)].link
            assert link.link is Link.DOWN
            assert link.remedy
            visitor = Visitor(http, app.url, hello=UNKNOWN)
            await visitor.connect()
            assert (await visitor.say("kept"))["type"] == "ack"
        assert list(await platform.threads()) == []
        async with house(config_for(tmp_path, {kind: platform.settings()})):

            async def arrived() -> list[str]:
                return [shown.text for thread in await platform.threads() for shown in await platform.shown(thread)]

            await eventually_equal(arrived, ["kept"])


@every
async def test_a_cancelled_run_leaves_no_task(kind: str, tmp_path: Path) -> None:
    async with emulated(kind) as platform, ClientSession() as http:
        before = asyncio.all_tasks()
        async with house(config_for(tmp_path, {platform.name: platform.settings()})) as app:
            platform.attach(app, http)
            visitor = Visitor(http, app.url, hello=UNKNOWN)
            await visitor.connect()
            await visitor.say("hello")
            await visitor.until(lambda frame: frame["type"] == "delivery")
            assert visitor.socket
            await visitor.leave()
        left = {task for task in asyncio.all_tasks() - before if "bridge" in str(task) or "adapters" in str(task)}
        assert not left


class SetClock(SystemClock):
    """The clock of a host that somebody sets."""

    ahead = timedelta()
    passed = 0.0
    """What else has passed."""

    def now(self) -> datetime:
        return super().now() + self.ahead

    def steady(self) -> float:
        return super().steady() + self.passed


@pytest.mark.parametrize("kind", ["slack", "discord"])
async def test_a_clock_that_is_set_forward_gives_up_no_file_that_is_waited_for(kind: str, tmp_path: Path) -> None:
    clock = SetClock()
    async with scene(kind, tmp_path, clock) as it:
        visitor = await it.visitor()
        await visitor.say("hello")
        thread = await it.thread()
        await eventually_equal(lambda: it.texts(thread), "hello")
        assert isinstance(it.platform, Emulated)
        faults = it.platform.emulator.faults
        faults.add("download", Kind.ERROR, times=2)
        await it.platform.shares(thread, "plan.txt", "text/plain", b"the plan")
        await eventually(lambda: ("download", Kind.ERROR) in faults.happened)
        clock.ahead = timedelta(hours=1)
        assert [file["name"] for file in (await visitor.hear())["attachments"]] == ["plan.txt"]
        assert len(faults.happened) == 2


@pytest.mark.parametrize("lost", ["opening", "message"])
@pytest.mark.parametrize("kind", ["slack", "discord", "discord-forum"])  # Telegram cannot be asked
async def test_what_had_no_answer_shows_once_where_the_clock_was_hours_ahead(
    kind: str, lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_TAKEN_WITHIN", 0)
    monkeypatch.setattr(rest, "NONCE_SECONDS", 0)  # as after some minutes
    methods = {
        "slack": ("chat.postMessage", "chat.postMessage"),
        "discord": ("create_thread_from_message", "create_message"),
        "discord-forum": ("create_thread", "create_message"),
    }[kind]
    clock = SetClock()
    clock.ahead = timedelta(hours=3)
    async with scene(kind, tmp_path, clock) as it:
        assert isinstance(it.platform, Emulated)
        emulator = it.platform.emulator
        visitor = await it.visitor()
        if lost == "message":
            await visitor.say("one")
            await visitor.until(lambda frame: frame["type"] == "delivery")
        emulator.faults.add(methods[lost == "message"], Kind.ERROR_AFTER)
        await visitor.say("two")
        await visitor.until(lambda frame: frame["type"] == "delivery" and frame["of"] == visitor.after)
        assert len(emulator.faults.happened) == 1
        assert await it.texts(await it.thread()) == ("one\n\ntwo" if lost == "message" else "two")


async def test_staff_see_that_a_visitor_types_where_the_clock_was_set_back(tmp_path: Path) -> None:
    clock = SetClock()
    async with scene("discord", tmp_path, clock) as it:
        assert isinstance(it.platform, Emulated)
        assert isinstance(it.platform.emulator, DiscordEmulator)
        visitor = await it.visitor()
        await visitor.say("hello")
        await it.thread()
        await visitor.until(lambda frame: frame["type"] == "delivery")
        typed = it.platform.emulator.rest.typed
        for times in (1, 2):
            await visitor.send({"type": "typing", "on": True})
            await eventually(lambda times=times: len(typed) == times)
            clock.ahead, clock.passed = timedelta(hours=-1), 9
