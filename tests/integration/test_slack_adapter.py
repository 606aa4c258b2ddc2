"""The Slack adapter, over real sockets, with slack_sdk, against the test server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from aiohttp import web

from adapters.slack import Settings, create, intake, socket_mode
from adapters.slack.adapter import HttpAdapter, SlackAdapter
from bridge.errors import AuthFailed, BadFile, OutcomeUnknown, Rejected, RetryLater, Scope, StoreError, ThreadGone
from bridge.model import (
    SYSTEM,
    AdapterName,
    Attachment,
    Author,
    AuthorKind,
    Card,
    ConversationId,
    FileId,
    Mark,
    MarkKind,
    Part,
    Piece,
    RemoteId,
    RichText,
    Staff,
    StaffDeletion,
    StaffEdit,
    StaffEvent,
    StaffMessage,
    ThreadKey,
    Token,
)
from bridge.ports import (
    Adapter,
    AdapterState,
    Checks,
    FindsSent,
    FindsThread,
    House,
    HttpRequest,
    Link,
    Reading,
    Revises,
    ServesHttp,
)
from tests.emulators.base import Fault, Kind, eventually
from tests.emulators.slack import SlackEmulator
from tests.emulators.slack.server import CHANNEL, OTHER_CHANNEL, SCOPES
from tests.emulators.slack.workspace import File
from tests.emulators.uplink import slow_downlink
from tests.platforms import found_bit_by_bit

NAUGHTY: list[str] = json.loads((Path(__file__).parents[1] / "data" / "texts" / "naughty.json").read_text())


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def steady(self) -> float:
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class KeptFiles:
    """Files in memory."""

    kept: dict[FileId, tuple[Attachment, bytes]] = field(default_factory=dict)
    refuse: str = ""

    async def keep(self, name: str, type: str, content: bytes, owner: object = None) -> Attachment:
        if name == self.refuse:
            raise BadFile("it is not what it says")
        attachment = Attachment(FileId(f"file{len(self.kept)}"), name, type, len(content))
        self.kept[attachment.id] = attachment, content
        return attachment

    async def keep_picture(self, name: str, type: str, content: bytes) -> FileId:
        return (await self.keep(name, type, content)).id

    async def read(self, file: FileId) -> bytes:
        try:
            return self.kept[file][1]
        except KeyError:
            raise FileNotFoundError(file) from None

    def address(self, file: FileId) -> str:
        return f"/files/{file}"


@dataclass
class Sink:
    """Records what an adapter hears and says of itself."""

    events: list[StaffEvent] = field(default_factory=list)
    states: list[AdapterState] = field(default_factory=list)
    asked: list[ThreadKey] = field(default_factory=list)
    followed: set[str] | None = None
    """None: all."""
    failures: int = 0
    """How many `take`s fail from now on."""
    pause: asyncio.Event | None = None
    taking: int = 0
    held: int = 0

    async def follows(self, thread: ThreadKey) -> bool:
        self.asked.append(thread)
        return self.followed is None or thread in self.followed

    async def take(self, events: Sequence[StaffEvent], cursor: str | None = None) -> None:
        if not events:  # a mere cursor
            return
        self.taking += 1
        if self.pause:
            await self.pause.wait()
        if self.failures:
            self.failures -= 1
            raise StoreError("no room")
        self.events += events

    async def cursor(self) -> str | None:
        return None

    def hold(self) -> None:
        self.held += 1

    async def catch_up(self, read: Reading, threads: Sequence[ThreadKey] | None = None) -> None: ...

    def typing(self, thread: ThreadKey, staff: Staff, on: bool) -> None: ...

    def state(self, state: AdapterState) -> None:
        if not self.states or self.states[-1] != state:
            self.states.append(state)

    @property
    def up(self) -> bool:
        return bool(self.states) and self.states[-1].link is Link.UP

    def ups(self) -> int:
        return sum(state.link is Link.UP for state in self.states)

    def downs(self) -> list[AdapterState]:
        return [state for state in self.states if state.link is Link.DOWN]

    def texts(self) -> list[str]:
        return [event.text.text for event in self.events if isinstance(event, StaffMessage)]


@dataclass
class Rig:
    slack: SlackEmulator
    adapter: SlackAdapter
    sink: Sink
    files: KeptFiles

    async def thread(self, token: str = "t-open") -> ThreadKey:
        return (await self.adapter.open_thread("", card(), Token(token))).thread

    async def say(
        self, thread: ThreadKey, text: str | RichText, token: str = "t-1", author: Author | None = None
    ) -> RemoteId:
        return await self.adapter.send(thread, part(text, author), Token(token))


def card(**more: str) -> Card:
    fields = (("Page", "https://shop.example/a?b=<c>&d"), ("Language", "en-GB"), *more.items())
    return Card(ConversationId(1), "Conversation 1", "Visitor *Bob* <!here>", fields)


def part(text: str | RichText, author: Author | None = None, attachment: Attachment | None = None) -> Part:
    rich = RichText(text) if isinstance(text, str) else text
    return Part((Piece(author or Author(AuthorKind.VISITOR), rich),), attachment)


def house(files: KeptFiles, tmp_path: Path, channels: frozenset[str] = frozenset()) -> House:
    return House(AdapterName("team"), files, RealClock(), None, "https://chat.example", tmp_path, channels)  # type: ignore[arg-type]  # no desk here


def build(slack: SlackEmulator, files: KeptFiles, tmp_path: Path, **changed: Any) -> SlackAdapter:
    keys = {**slack.settings(), **changed}
    keys.pop("type")
    return create(
        Settings.model_validate({key: value for key, value in keys.items() if value is not None}),
        house(files, tmp_path),
    )


@asynccontextmanager
async def running(adapter: SlackAdapter, sink: Sink) -> AsyncIterator[None]:
    task = asyncio.create_task(adapter.run(sink))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def rig(slack: SlackEmulator, tmp_path: Path, **changed: Any) -> AsyncIterator[Rig]:
    """A running, connected adapter; whatever it did must have kept to Slack's reference."""
    files, sink = KeptFiles(), Sink()
    adapter = build(slack, files, tmp_path, **changed)
    async with running(adapter, sink):
        await eventually(lambda: sink.up)
        yield Rig(slack, adapter, sink, files)
    assert slack.violations == []


@pytest.fixture
async def slack() -> AsyncIterator[SlackEmulator]:
    async with SlackEmulator() as emulator:
        yield emulator


@pytest.fixture
async def bridge(slack: SlackEmulator, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(slack, tmp_path) as connected:
        yield connected


def now() -> datetime:
    return datetime.now(UTC)


def long_ago() -> datetime:
    return now() - timedelta(minutes=1)


async def test_has_the_abilities_of_its_platform(bridge: Rig) -> None:
    for ability in (Adapter, Revises, FindsSent, FindsThread, Checks):
        assert isinstance(bridge.adapter, ability)
    assert not isinstance(bridge.adapter, ServesHttp)  # without a signing secret anybody could call it


# --- out --------------------------------------------------------------------------------------------------------------


async def test_a_thread_starts_with_a_card_that_neither_formats_nor_pings(bridge: Rig) -> None:
    opened = await bridge.adapter.open_thread("", card(), Token("t-1"))
    assert bridge.slack.threads() == [opened.thread]
    shown = bridge.slack.messages(opened.thread)[0]
    assert opened.card == shown.id
    assert shown.by_bot
    for words in ("Conversation 1", "Visitor *Bob* <!here>", "https://shop.example/a?b=<c>&d", "en-GB"):
        assert words in shown.text
    assert bridge.slack.pings == []


async def test_a_card_of_endless_values_fits(bridge: Rig) -> None:
    many = {f"Field {number}": "長" * 5000 for number in range(30)}
    opened = await bridge.adapter.open_thread("", card(**many), Token("t-1"))
    assert "Field 1" in bridge.slack.title(opened.thread)


async def test_opens_in_the_channel_asked_for(bridge: Rig) -> None:
    opened = await bridge.adapter.open_thread("C0000BILLING", card(), Token("t-1"))
    assert opened.thread.startswith("C0000BILLING/")


async def test_a_visitors_text_is_shown_as_it_is_under_the_visitors_name(bridge: Rig) -> None:
    thread = await bridge.thread()
    text = "*bold* _it_ `x` <!channel> <@U0BRIDGEBOT> <https://evil.example|bank> &lt; :smile: > quote\n> q"
    await bridge.say(thread, text, author=Author(AuthorKind.VISITOR, "Zoë"))
    shown = bridge.slack.messages(thread)[1]
    assert shown.text == text
    assert shown.author == "Zoë (visitor)"
    assert bridge.slack.pings == []
    assert bridge.slack.calls[-1].params["unfurl_links"] is False


async def test_calls_share_connections(bridge: Rig) -> None:
    """slack_sdk by itself makes a session for each call, which costs more than the call."""
    thread = await bridge.thread()
    await eventually(lambda: bridge.slack.sockets.connected == 2)
    before = set(bridge.slack.connections)
    for number in range(10):
        await bridge.say(thread, str(number), f"t-{number}")
    assert bridge.slack.connections == before


async def test_authors_are_told_apart(bridge: Rig) -> None:
    thread = await bridge.thread()
    await bridge.say(thread, "one", "t-1")
    await bridge.say(thread, "two", "t-2", Author(AuthorKind.STAFF, "Anna"))
    await bridge.say(thread, "three", "t-3", SYSTEM)
    await bridge.say(thread, "four", "t-4", Author(AuthorKind.VISITOR, " \u200b\n "))
    await bridge.say(thread, "five", "t-5", Author(AuthorKind.VISITOR, "Anna"))
    assert [shown.author for shown in bridge.slack.messages(thread)[1:]] == [
        "Visitor",
        "Anna",
        "Threadbridge",
        "Visitor",
        "Anna (visitor)",
    ]


@pytest.mark.parametrize("refuses", [False, True])
async def test_without_the_scope_for_names_a_colleagues_name_stands_in_the_text(tmp_path: Path, refuses: bool) -> None:
    async with SlackEmulator() as slack, rig(slack, tmp_path) as bridge:
        thread = await bridge.thread()
        slack.api.scopes.discard("chat:write.customize")  # as when the app is installed again without it
        slack.api.refuses_username = refuses
        anna = Author(AuthorKind.STAFF, "Anna")
        await bridge.say(thread, "one", "t-1", anna)
        await bridge.say(thread, "two", "t-2", anna)
        await bridge.say(thread, "three", "t-3")
        texts = [shown.text for shown in slack.messages(thread)[1:]]
        assert texts == ["Anna: one" if refuses else "one", "Anna: two", "three"]


async def test_staffs_marks_become_slacks_styles(bridge: Rig) -> None:
    text = RichText(
        "bold link\nitem\nsecond\ncode\nend",
        (
            Mark(MarkKind.BOLD, 0, 4),
            Mark(MarkKind.LINK, 5, 9, "https://a.example/?b&c"),
            Mark(MarkKind.ITEM, 10, 14),
            Mark(MarkKind.ITEM, 15, 21),
            Mark(MarkKind.PRE, 22, 26),
        ),
    )
    thread = await bridge.thread()
    await bridge.say(thread, text, author=Author(AuthorKind.STAFF, "Anna"))
    shown = bridge.slack.messages(thread)[1]
    assert shown.text == "bold link\n• item\n• second\ncode\nend"
    elements = shown.raw["blocks"][0]["elements"]
    assert [element["type"] for element in elements] == [
        "rich_text_section",
        "rich_text_list",
        "rich_text_preformatted",
        "rich_text_section",
    ]
    assert elements[0]["elements"][0] == {"type": "text", "text": "bold", "style": {"bold": True}}
    assert elements[0]["elements"][2]["url"] == "https://a.example/?b&c"


async def test_late_text_carries_its_time(bridge: Rig) -> None:
    thread = await bridge.thread()
    piece = Piece(Author(AuthorKind.VISITOR), RichText("hello"), datetime(2026, 1, 31, 12, 5, tzinfo=UTC))
    await bridge.adapter.send(thread, Part((piece,)), Token("t-1"))
    assert bridge.slack.messages(thread)[1].text == "2026-01-31 12:05 UTC\nhello"


async def test_every_naughty_string_arrives_unchanged(bridge: Rig) -> None:
    thread = await bridge.thread()
    for number, text in enumerate(NAUGHTY):
        await bridge.say(thread, text, f"t-{number}")
    shown = [message.text for message in bridge.slack.messages(thread)[1:]]
    assert shown == [text or "(blank)" for text in NAUGHTY]
    assert bridge.slack.pings == []


@pytest.mark.parametrize("char", ["a", "<", '"', "\x01", "é", "長", "😀", "a\n"])
async def test_text_at_the_limit_is_taken(bridge: Rig, char: str) -> None:
    limit = bridge.adapter.capabilities.text_limit
    count = bisect_right(range(1, limit + 1), limit, key=lambda n: bridge.adapter.measure(part(char * n).pieces))
    assert count > 500
    thread = await bridge.thread()
    await bridge.say(thread, char * count)
    assert bridge.slack.messages(thread)[1].text == char * count


async def test_edits_and_deletes_what_it_sent(bridge: Rig) -> None:
    thread = await bridge.thread()
    first, second = await bridge.say(thread, "one", "t-1"), await bridge.say(thread, "two", "t-2")
    await bridge.adapter.edit(thread, first, part("*one* & more"))
    await bridge.adapter.delete(thread, second)
    await bridge.adapter.delete(thread, second)
    assert [shown.text for shown in bridge.slack.messages(thread)[1:]] == ["*one* & more"]
    parts = {Token("t-1"): part("one")}
    assert await bridge.adapter.find_sent(thread, parts, long_ago(), None) == {Token("t-1"): first}


async def test_a_file_appears_in_its_thread_with_its_text(bridge: Rig) -> None:
    thread = await bridge.thread()
    file = await bridge.files.keep("plan *A*.txt", "text/plain", b"the plan")
    sent = await bridge.adapter.send(thread, part("see <!here> " * 300, attachment=file), Token("t-1"))
    shown = await eventually(lambda: [one for one in bridge.slack.messages(thread) if one.files])
    assert shown[0].files == ("plan *A*.txt",)
    assert shown[0].text == "see <!here> " * 300
    await bridge.adapter.delete(thread, sent)
    await bridge.adapter.delete(thread, sent)
    assert bridge.slack.messages(thread)[1].files == ()


async def test_a_file_that_slack_cannot_take_is_rejected(bridge: Rig) -> None:
    thread = await bridge.thread()
    empty = await bridge.files.keep("empty", "text/plain", b"")
    gone = Attachment(FileId("gone"), "gone", "text/plain", 3)
    for file in (empty, gone):
        with pytest.raises(Rejected):
            await bridge.adapter.send(thread, part("", attachment=file), Token("t-1"))


async def test_a_slow_file_has_the_time_that_its_size_needs(bridge: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = await bridge.thread()
    file = await bridge.files.keep("a.txt", "text/plain", b"x" * 1000)
    bridge.slack.upload_rate = 1000.0
    # what the steps other than the upload may take is kept free: 11 s
    monkeypatch.setattr("adapters.slack.sending.send_within", lambda _: 11.3)
    with pytest.raises(RetryLater) as caught:
        await bridge.adapter.send(thread, part("", attachment=file), Token("t-1"))
    assert (caught.value.scope, caught.value.outage) == (Scope.THREAD, False)
    assert "files.completeUploadExternal" not in {call.method for call in bridge.slack.calls}
    monkeypatch.setattr("adapters.slack.sending.send_within", lambda part: 11.3 + part.attachment.size / 100)
    assert await bridge.adapter.send(thread, part("", attachment=file), Token("t-1"))


async def test_a_file_that_is_refused_for_its_name_is_not_uploaded_again(bridge: Rig) -> None:
    thread = await bridge.thread()
    file = await bridge.files.keep("a.txt", "text/plain", b"abc")
    bridge.slack.api.refuses_username = True

    def lose_the_scope(_: object) -> bool:
        bridge.slack.api.scopes.discard("chat:write.customize")
        return False

    bridge.slack.faults.waiting.append(Fault("upload", Kind.SLOW, where=lose_the_scope))
    await bridge.adapter.send(thread, part("see", Author(AuthorKind.STAFF, "Anna"), file), Token("t-1"))
    methods = [call.method for call in bridge.slack.calls]
    assert (methods.count("upload"), methods.count("files.completeUploadExternal")) == (1, 2)
    shown = await eventually(lambda: [one for one in bridge.slack.messages(thread) if one.files])
    assert shown[0].text == "Anna: see"


async def test_the_first_text_after_a_restart_has_its_authors_name(bridge: Rig, tmp_path: Path) -> None:
    thread = await bridge.thread()
    restarted = build(bridge.slack, bridge.files, tmp_path)
    await restarted.send(thread, part("hello", Author(AuthorKind.STAFF, "Anna")), Token("t-1"))
    await restarted._api.close()
    assert bridge.slack.messages(thread)[1].author == "Anna"


# --- what Slack refuses -----------------------------------------------------------------------------------------------


async def test_a_rate_limit_says_when_to_come_back(bridge: Rig) -> None:
    thread = await bridge.thread()
    bridge.slack.faults.add("chat.postMessage", Kind.RATE_LIMIT, seconds=7)
    with pytest.raises(RetryLater) as caught:
        await bridge.say(thread, "hello")
    assert caught.value.after == 7
    assert not caught.value.outage
    assert [call.status for call in bridge.slack.calls if call.method == "chat.postMessage"] == [200, 429]


async def test_a_rate_limit_of_another_method_holds_up_no_posts(bridge: Rig) -> None:
    thread = await bridge.thread()
    bridge.slack.faults.add("conversations.replies", Kind.RATE_LIMIT, seconds=7)
    with pytest.raises(RetryLater) as caught:
        await bridge.adapter.find_sent(thread, {Token("t-1"): part("x")}, long_ago(), None)
    assert (caught.value.scope, caught.value.outage) == (Scope.THREAD, False)


async def test_slacks_own_rate_is_met(tmp_path: Path) -> None:
    async with SlackEmulator(post_rate=(1, 30.0)) as slack, rig(slack, tmp_path) as bridge:
        thread = await bridge.thread()
        with pytest.raises(RetryLater):
            await bridge.say(thread, "hello")
        assert (await bridge.adapter.open_thread("C0000BILLING", card(), Token("t-2"))).thread


@pytest.fixture
def nothing_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there when it is looked for was not taken."""
    monkeypatch.setattr("adapters.slack.sending._TAKEN_WITHIN", 0)


@pytest.mark.usefixtures("nothing_is_late")
@pytest.mark.parametrize("kind", [Kind.CUT, Kind.CUT_AFTER, Kind.ERROR, Kind.ERROR_AFTER])
async def test_a_lost_answer_is_reconciled_and_never_posted_twice(bridge: Rig, kind: Kind) -> None:
    thread = await bridge.thread()
    since = long_ago()
    bridge.slack.faults.add("chat.postMessage", kind)
    with pytest.raises(OutcomeUnknown):
        await bridge.say(thread, "hello", "t-7")
    posts = [call for call in bridge.slack.calls if call.method == "chat.postMessage"]
    assert len(posts) == 2  # the card and one attempt: the library's own retry would make a second
    found = await bridge.adapter.find_sent(thread, {Token("t-7"): part("hello")}, since, None)
    taken = kind in {Kind.CUT_AFTER, Kind.ERROR_AFTER}
    assert list(found) == ([Token("t-7")] if taken else [])
    assert [shown.text for shown in bridge.slack.messages(thread)[1:]] == (["hello"] if taken else [])


@pytest.mark.parametrize("set_by", [0, 60, -60])
async def test_what_slack_takes_late_is_waited_for_before_it_is_sent_again(
    bridge: Rig, monkeypatch: pytest.MonkeyPatch, set_by: int
) -> None:
    thread = await bridge.thread()
    bridge.slack.faults.add("chat.postMessage", Kind.LATE, times=2, seconds=0.5)
    with pytest.raises(OutcomeUnknown):
        await bridge.say(thread, "hello", "t-1")
    with pytest.raises(OutcomeUnknown):
        await bridge.adapter.open_thread("", card(), Token("t-2"))
    monkeypatch.setattr(RealClock, "now", lambda _: now() + timedelta(seconds=set_by))
    parts = {Token("t-1"): part("hello")}
    for look in (
        bridge.adapter.find_sent(thread, parts, long_ago(), None),
        bridge.adapter.find_thread("", Token("t-2"), long_ago()),
    ):
        with pytest.raises(RetryLater) as later:
            await look
        assert later.value.after
        assert 0 < later.value.after <= 5
    await eventually(lambda: len(bridge.slack.threads()) == 2 and len(bridge.slack.messages(thread)) == 2)
    assert list(await bridge.adapter.find_sent(thread, parts, long_ago(), None)) == [Token("t-1")]
    assert await bridge.adapter.find_thread("", Token("t-2"), long_ago())


async def test_an_answer_that_is_lost_elsewhere_prolongs_no_wait(bridge: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = 1000.0
    monkeypatch.setattr(RealClock, "steady", lambda _: passed)
    threads = [await bridge.thread(f"t-{number}") for number in range(2)]

    async def lose(number: int) -> tuple[float, float]:
        """Lose an answer in a thread and to an opening; return for how many seconds the first ones are waited for."""
        bridge.slack.faults.add("chat.postMessage", Kind.CUT, times=2)
        with pytest.raises(OutcomeUnknown):
            await bridge.say(threads[number], "hello", "t-5")
        with pytest.raises(OutcomeUnknown):
            await bridge.adapter.open_thread("", card(), Token(f"t-{number}-open"))
        return (
            await waited(bridge.adapter.find_sent(threads[0], {Token("t-5"): part("hello")}, long_ago(), None)),
            await waited(bridge.adapter.find_thread("", Token("t-0-open"), long_ago())),
        )

    assert await lose(0) == pytest.approx((5, 5), abs=1)
    passed += 3
    assert await lose(1) == pytest.approx((2, 2), abs=1)


async def waited(look: Awaitable[object]) -> float:
    """Look for what is not there, and return in how many seconds to look again."""
    with pytest.raises(RetryLater, match="about to show") as later:
        await look
    assert later.value.after
    return later.value.after


async def test_a_lost_answer_to_an_upload_is_found_by_the_file(bridge: Rig) -> None:
    thread = await bridge.thread()
    file = await bridge.files.keep("a.txt", "text/plain", b"abc")
    first = await bridge.adapter.send(thread, part("", attachment=file), Token("t-1"))
    bridge.slack.faults.add("files.completeUploadExternal", Kind.CUT_AFTER)
    with pytest.raises(OutcomeUnknown):
        await bridge.adapter.send(thread, part("", attachment=file), Token("t-2"))
    await eventually(lambda: len([one for one in bridge.slack.messages(thread) if one.files]) == 2)
    parts = {Token(f"t-{number}"): part("", attachment=file) for number in (1, 2, 3)}
    found = await bridge.adapter.find_sent(thread, parts, long_ago(), None)
    assert found[Token("t-1")] == first
    assert found[Token("t-2")] not in {first, None}
    assert Token("t-3") not in found


async def test_an_equal_file_from_before_is_not_taken_for_a_lost_one(bridge: Rig) -> None:
    thread = await bridge.thread()
    parts = {Token("t-2"): part("", attachment=await bridge.files.keep("a.txt", "text/plain", b"abc"))}
    first = await bridge.adapter.send(thread, parts[Token("t-2")], Token("t-1"))
    await eventually(lambda: any(one.files for one in bridge.slack.messages(thread)))
    assert await bridge.adapter.find_sent(thread, parts, long_ago(), None) == {Token("t-2"): first}
    with pytest.raises(RetryLater, match="about to show"):
        await bridge.adapter.find_sent(thread, parts, long_ago(), first)


async def test_a_file_that_slack_shows_late_is_waited_for_before_it_is_sent_again(bridge: Rig) -> None:
    thread = await bridge.thread()
    file = await bridge.files.keep("a.txt", "text/plain", b"abc")
    bridge.slack.share_delay = 0.5
    bridge.slack.faults.add("files.completeUploadExternal", Kind.CUT_AFTER)
    parts = {Token("t-1"): part("", attachment=file)}
    with pytest.raises(OutcomeUnknown):
        await bridge.adapter.send(thread, parts[Token("t-1")], Token("t-1"))
    with pytest.raises(RetryLater) as later:
        await bridge.adapter.find_sent(thread, parts, long_ago(), None)
    assert later.value.after
    await eventually(lambda: any(one.files for one in bridge.slack.messages(thread)))
    assert list(await bridge.adapter.find_sent(thread, parts, long_ago(), None)) == [Token("t-1")]


async def test_a_text_stands_behind_the_file_that_was_sent_before_it(bridge: Rig) -> None:
    thread = await bridge.thread()
    file = await bridge.files.keep("a.txt", "text/plain", b"abc")
    bridge.slack.share_delay = 0.5
    await bridge.adapter.send(thread, part("", attachment=file), Token("t-1"))
    await bridge.say(thread, "hello", "t-2")
    assert [bool(one.files) for one in bridge.slack.messages(thread)[1:]] == [True, False]


async def test_a_text_that_overtook_the_file_ahead_of_it_is_found(bridge: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.slack.sending._OVERTAKEN_WITHIN", 0)
    thread = await bridge.thread()
    file = await bridge.files.keep("a.txt", "text/plain", b"abc")
    bridge.slack.share_delay = 0.5
    sent = await bridge.adapter.send(thread, part("", attachment=file), Token("t-1"))
    bridge.slack.faults.add("chat.postMessage", Kind.CUT_AFTER)
    with pytest.raises(OutcomeUnknown):
        await bridge.say(thread, "hello", "t-2")
    await eventually(lambda: any(one.files for one in bridge.slack.messages(thread)))
    assert [bool(one.files) for one in bridge.slack.messages(thread)[1:]] == [False, True]
    parts = {Token("t-2"): part("hello")}
    assert list(await bridge.adapter.find_sent(thread, parts, long_ago(), sent)) == [Token("t-2")]


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "upload"])
async def test_an_upload_that_nobody_saw_is_simply_repeated(bridge: Rig, method: str) -> None:
    thread = await bridge.thread()
    file = await bridge.files.keep("a.txt", "text/plain", b"abc")
    bridge.slack.faults.add(method, Kind.CUT_AFTER)
    with pytest.raises(RetryLater):
        await bridge.adapter.send(thread, part("", attachment=file), Token("t-1"))


async def test_a_slack_that_nobody_answers_for_is_an_outage(bridge: Rig, tmp_path: Path) -> None:
    async with SlackEmulator() as gone:
        adapter = build(gone, KeptFiles(), tmp_path)
    with pytest.raises(RetryLater) as caught:
        await adapter.send(ThreadKey(f"{CHANNEL}/1.0"), part("hello"), Token("t-1"))
    assert caught.value.outage
    await adapter._api.close()


async def test_an_answer_that_takes_too_long_is_unknown(bridge: Rig) -> None:
    bridge.slack.faults.add("chat.postMessage", Kind.SLOW, seconds=30)
    with pytest.raises(OutcomeUnknown):
        await bridge.adapter._api.write("chat.postMessage", {"channel": CHANNEL, "text": "x"}, 0.2)


async def test_a_thread_that_is_gone_or_locked_wants_a_successor(bridge: Rig) -> None:
    gone, locked = await bridge.thread("t-a"), await bridge.thread("t-b")
    bridge.slack.remove(gone)
    bridge.slack.lock(locked)
    for thread in (gone, locked):
        with pytest.raises(ThreadGone):
            await bridge.say(thread, "hello")


async def test_a_channel_that_takes_nothing_needs_the_operator(bridge: Rig) -> None:
    channels = bridge.slack.workspace.channels
    thread = await bridge.thread()
    channels[CHANNEL].archived = True
    with pytest.raises(AuthFailed, match="is_archived"):
        await bridge.say(thread, "hello")
    channels[CHANNEL].archived, channels[CHANNEL].member = False, False
    with pytest.raises(AuthFailed, match="/invite"):
        await bridge.say(thread, "hello")
    with pytest.raises(AuthFailed, match="channel_not_found"):
        await bridge.adapter.open_thread("C0000NOWHERE", card(), Token("t-2"))


async def test_a_thread_in_a_channel_of_before_wants_a_successor(bridge: Rig, tmp_path: Path) -> None:
    thread = await bridge.thread()
    moved = build(bridge.slack, bridge.files, tmp_path, channel=OTHER_CHANNEL)
    channels = bridge.slack.workspace.channels
    channels[CHANNEL].archived = True
    with pytest.raises(ThreadGone, match="is_archived"):
        await moved.send(thread, part("hello"), Token("t-1"))
    channels[CHANNEL].member = False
    with pytest.raises(ThreadGone, match="not_in_channel"):
        await moved.send(thread, part("hello"), Token("t-1"))
    with pytest.raises(ThreadGone):
        await moved.find_sent(thread, {Token("t-1"): part("hello")}, long_ago(), None)
    bridge.slack.workspace.channels.pop(CHANNEL)
    with pytest.raises(ThreadGone):
        await moved.edit(thread, RemoteId("1.0"), part("hello"))
    with pytest.raises(ThreadGone):
        await moved.delete(thread, RemoteId("1.0"))
    with pytest.raises(AuthFailed):
        await moved.open_thread(CHANNEL, card(), Token("t-2"))
    await moved._api.close()


async def test_a_scope_that_is_missing_for_files_refuses_the_file_alone(tmp_path: Path) -> None:
    async with SlackEmulator(scopes=SCOPES - {"files:write"}) as slack, rig(slack, tmp_path) as bridge:
        thread = await bridge.thread()
        file = await bridge.files.keep("a.txt", "text/plain", b"abc")
        with pytest.raises(Rejected, match="files:write"):
            await bridge.adapter.send(thread, part("", attachment=file), Token("t-1"))


# --- finding ----------------------------------------------------------------------------------------------------------


async def test_finds_parts_beyond_the_first_page(bridge: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.slack.searching._PAGE", 3)
    thread = await bridge.thread()
    sent = {Token(f"t-{number}"): await bridge.say(thread, str(number), f"t-{number}") for number in range(8)}
    wanted = {token: part("") for token in [*sent, Token("t-missing")]}
    assert await bridge.adapter.find_sent(thread, wanted, long_ago(), None) == sent


@pytest.mark.usefixtures("nothing_is_late")
async def test_finds_a_thread_by_its_token_and_only_its_own(bridge: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.slack.searching._PAGE", 2)
    opened = [await bridge.adapter.open_thread("", card(), Token(f"t-{number}")) for number in range(5)]
    assert await bridge.adapter.find_thread("", Token("t-1"), long_ago()) == opened[1]
    assert await bridge.adapter.find_thread("", Token("t-9"), long_ago()) is None
    assert await bridge.adapter.find_thread("", Token("t-1"), now() + timedelta(hours=1)) is None


def pages_read(bridge: Rig) -> int:
    return sum(call.method.startswith("conversations.") and call.status == 200 for call in bridge.slack.calls)


async def test_a_long_thread_is_searched_bit_by_bit(bridge: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.slack.searching._PAGE", 2)
    monkeypatch.setattr("adapters.slack.searching._PAGES", 2)
    thread, since = await bridge.thread(), long_ago()
    file = await bridge.files.keep("a.txt", "text/plain", b"abc")
    parts = {
        Token("t-1"): part("one"), Token("t-2"): part("", attachment=file), Token("t-3"): part("", attachment=file)
    }  # fmt: skip
    sent = {Token("t-1"): await bridge.say(thread, "one", "t-1")}
    for number, token in enumerate(["t-2", "t-3"], 1):
        for _ in range(6):
            await bridge.slack.staff_says(thread, "meanwhile")
        sent[Token(token)] = await bridge.adapter.send(thread, parts[Token(token)], Token(token))
        await eventually(lambda: sum(bool(one.files) for one in bridge.slack.messages(thread)) == number)  # noqa: B023
    limits = Fault("conversations.replies", Kind.RATE_LIMIT, times=4, where=lambda _: next(every_other))
    every_other = itertools.cycle([False, False, True])
    bridge.slack.faults.waiting.append(limits)
    assert await found_bit_by_bit(lambda: bridge.adapter.find_sent(thread, parts, since, None)) == sent
    assert pages_read(bridge) == len(bridge.slack.messages(thread)) / 2  # each once


async def test_a_search_for_other_parts_begins_at_the_beginning(bridge: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.slack.searching._PAGE", 1)
    monkeypatch.setattr("adapters.slack.searching._PAGES", 3)
    thread, since = await bridge.thread(), long_ago()
    sent = {Token(f"t-{number}"): await bridge.say(thread, str(number), f"t-{number}") for number in range(4)}
    with pytest.raises(RetryLater):
        await bridge.adapter.find_sent(thread, {token: part("") for token in sent}, since, None)
    del sent[Token("t-0")]
    others = {token: part("") for token in sent}
    assert await found_bit_by_bit(lambda: bridge.adapter.find_sent(thread, others, since, None)) == sent


@pytest.mark.usefixtures("nothing_is_late")
async def test_a_busy_channel_is_searched_bit_by_bit(bridge: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.slack.searching._PAGE", 1)
    monkeypatch.setattr("adapters.slack.searching._PAGES", 2)
    opened = [await bridge.adapter.open_thread("", card(), Token(f"t-{number}")) for number in range(5)]
    for _ in range(2):  # what was found once is found again
        assert await found_bit_by_bit(lambda: bridge.adapter.find_thread("", Token("t-0"), long_ago())) == opened[0]
    assert await found_bit_by_bit(lambda: bridge.adapter.find_thread("", Token("t-9"), long_ago())) is None


async def test_a_search_begins_anew_where_slack_does_not_know_how_far_it_was(
    bridge: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.slack.searching._PAGE", 1)
    monkeypatch.setattr("adapters.slack.searching._PAGES", 2)
    thread, since = await bridge.thread(), long_ago()
    file = await bridge.files.keep("a.txt", "text/plain", b"abc")
    parts = {Token(f"t-{number}"): part("", attachment=file) for number in range(4)}
    sent = {}
    for number, token in enumerate(list(parts)[:3], 1):
        sent[token] = await bridge.adapter.send(thread, parts[token], token)
        await eventually(lambda: sum(bool(one.files) for one in bridge.slack.messages(thread)) == number)  # noqa: B023
    with pytest.raises(RetryLater):
        await bridge.adapter.find_sent(thread, parts, since, None)
    bridge.slack.api.cursor_kind = "other:"
    assert await found_bit_by_bit(lambda: bridge.adapter.find_sent(thread, parts, since, None)) == sent


async def test_finding_in_an_outage_is_to_be_tried_again(bridge: Rig) -> None:
    thread = await bridge.thread()
    bridge.slack.faults.add("conversations.replies", Kind.CUT_AFTER, times=2)  # aiohttp repeats a GET once by itself
    with pytest.raises(RetryLater):
        await bridge.adapter.find_sent(thread, {Token("t-1"): part("x")}, long_ago(), None)


# --- in ---------------------------------------------------------------------------------------------------------------


async def test_a_reply_arrives_with_name_and_picture(bridge: Rig) -> None:
    thread = await bridge.thread()
    ts = await bridge.slack.staff_says(thread, "Hello & <welcome> *you* 👍🏽 https://a.example/?b=1&c", name="Anna")
    event = (await eventually(lambda: bridge.sink.events))[0]
    assert isinstance(event, StaffMessage)
    assert (event.thread, event.remote_id) == (thread, ts)
    assert event.text.text == "Hello & <welcome> *you* 👍🏽 https://a.example/?b=1&c"
    assert [(mark.kind, mark.value) for mark in event.text.marks] == [(MarkKind.LINK, "https://a.example/?b=1&c")]
    assert event.staff.name == "Anna"
    assert event.staff.avatar is not None
    assert bridge.files.kept[event.staff.avatar][0].type == "image/png"
    assert abs(event.at - now()) < timedelta(seconds=60)


async def test_a_name_that_slack_did_not_tell_is_asked_for_again_though_the_clock_was_set_back(
    bridge: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = await bridge.thread()
    bridge.slack.faults.add("users.info", Kind.ERROR)
    await bridge.slack.staff_says(thread, "one", name="Anna")
    await eventually(lambda: len(bridge.sink.events) == 1)
    monkeypatch.setattr(RealClock, "now", lambda _: now() - timedelta(hours=1))
    monkeypatch.setattr(RealClock, "steady", lambda _: monotonic() + 61)
    await bridge.slack.staff_says(thread, "two", name="Anna")
    await eventually(lambda: len(bridge.sink.events) == 2)
    assert [event.staff.name for event in bridge.sink.events if isinstance(event, StaffMessage)] == ["Staff", "Anna"]


async def test_every_naughty_string_of_staff_arrives_unchanged(bridge: Rig) -> None:
    thread = await bridge.thread()
    texts = [text for text in NAUGHTY if text.strip()]
    for text in texts:
        await bridge.slack.staff_says(thread, text)
    await eventually(lambda: len(bridge.sink.events) == len(texts))
    assert bridge.sink.texts() == texts
    assert len([call for call in bridge.slack.calls if call.method == "users.info"]) == 1


async def test_formatted_text_and_mentions_are_read(bridge: Rig) -> None:
    thread = await bridge.thread()
    bert = bridge.slack.workspace.person("Bert").id
    blocks = [
        {
            "type": "rich_text",
            "elements": [
                {
                    "type": "rich_text_section",
                    "elements": [
                        {"type": "text", "text": "Ask ", "style": {"bold": True}},
                        {"type": "user", "user_id": bert},
                        {"type": "text", "text": " in "},
                        {"type": "channel", "channel_id": "C0000BILLING"},
                        {"type": "emoji", "name": "shop-logo"},
                        {"type": "text", "text": "\n"},
                    ],
                },
                {
                    "type": "rich_text_list",
                    "style": "ordered",
                    "elements": [
                        {"type": "rich_text_section", "elements": [{"type": "text", "text": "first"}]},
                        {"type": "rich_text_section", "elements": [{"type": "text", "text": "second"}]},
                    ],
                },
            ],
        }
    ]
    await bridge.slack.staff_posts(thread, "*Ask* ...", blocks)
    await bridge.slack.staff_posts(thread, f"Ask <@{bert}> &amp; <https://a.example|them> <#C0000BILLING|>")
    await eventually(lambda: len(bridge.sink.events) == 2)
    first, second = (event.text for event in bridge.sink.events if isinstance(event, StaffMessage))
    assert first.text == "Ask @Bert in #billing:shop-logo:\nfirst\nsecond"
    assert [(mark.kind, mark.value) for mark in first.marks] == [
        (MarkKind.BOLD, ""),
        (MarkKind.ITEM, "1"),
        (MarkKind.ITEM, "2"),
    ]
    assert second.text == "Ask @Bert & them #billing"


async def test_edits_and_deletions_are_told(bridge: Rig) -> None:
    thread = await bridge.thread()
    ts = await bridge.slack.staff_says(thread, "one")
    await eventually(lambda: len(bridge.sink.events) == 1)
    await bridge.slack.staff_edits(thread, ts, "two")
    await eventually(lambda: len(bridge.sink.events) == 2)
    await bridge.slack.staff_edits(thread, ts, "three")
    await eventually(lambda: len(bridge.sink.events) == 3)
    await bridge.slack.staff_deletes(thread, ts)
    await eventually(lambda: len(bridge.sink.events) == 4)
    _, second, third, gone = bridge.sink.events
    assert isinstance(second, StaffEdit)
    assert isinstance(third, StaffEdit)
    assert (second.remote_id, second.text.text, third.text.text) == (ts, "two", "three")
    assert second.version < third.version
    assert isinstance(gone, StaffDeletion)
    assert (gone.thread, gone.remote_id) == (thread, ts)


async def test_only_what_people_write_in_threads_counts(bridge: Rig) -> None:
    """Our own posts and uploads, their edits and deletions, other bots, previews and first messages are no replies."""
    thread = await bridge.thread()
    sent = await bridge.say(thread, "visitor", author=Author(AuthorKind.VISITOR, "Zoë"))
    await bridge.say(thread, "system", "t-2", SYSTEM)
    await bridge.adapter.edit(thread, sent, part("changed"))
    file = await bridge.files.keep("a.txt", "text/plain", b"abc")
    await bridge.adapter.send(thread, part("", attachment=file), Token("t-3"))
    await eventually(lambda: any(one.files for one in bridge.slack.messages(thread)))
    await bridge.adapter.delete(thread, sent)
    ts = thread.partition("/")[2]
    base = {"type": "message", "ts": "1790000000.000001", "thread_ts": ts, "text": "x"}
    bridge.slack.tell(thread, {**base, "subtype": "bot_message", "bot_id": "B0SOMEBODY", "username": "Other"})
    bridge.slack.tell(thread, {**base, "user": "U0OTHERBOT", "bot_id": "B0OTHERBOT"})
    bridge.slack.tell(thread, {"type": "message", "ts": "1790000000.000002", "user": "U1", "text": "first message"})
    preview = {**base, "user": "U1", "edited": {"user": "U1", "ts": "1790000000.000003"}}
    changed = {"subtype": "message_changed", "message": {**preview, "attachments": []}, "previous_message": preview}
    bridge.slack.tell(thread, {"type": "message", "ts": "1790000000.000004", "hidden": True, **changed})
    await bridge.slack.staff_says(thread, "the only one")
    await eventually(lambda: bridge.sink.events)
    await eventually(
        lambda: all(attempt.acked for attempt in bridge.slack.attempts) and len(bridge.slack.attempts) == 11
    )
    assert bridge.sink.texts() == ["the only one"]
    assert len(bridge.sink.events) == 1


async def test_forwarded_messages_arrive(bridge: Rig) -> None:
    thread = await bridge.thread()
    anna = bridge.slack.workspace.person("Anna").id
    file = File("F0SHARED", "plan.txt", anna, b"abc", 3, "text/plain")
    bridge.slack.workspace.files[file.id] = file
    inner = {"type": "rich_text_section", "elements": [{"type": "text", "text": "packed", "style": {"bold": True}}]}
    told = {"message": {"blocks": [{"type": "rich_text", "elements": [inner]}]}}
    preview = {"is_msg_unfurl": True, "text": "a preview"}
    for number, (text, *attachments) in enumerate(
        (
            ("", {"is_share": True, "text": "number 4 &amp; 2", "files": [file.json(bridge.slack.workspace.base)]}),
            ("look", {"is_share": True, "text": "*packed*", "message_blocks": [told]}, preview),
        )
    ):
        at = {"ts": f"1790000000.00000{number}", "thread_ts": thread.partition("/")[2]}
        bridge.slack.tell(thread, {"type": "message", "user": anna, "text": text, "attachments": attachments, **at})
    first, second = await eventually(lambda: bridge.sink.events[1:] and bridge.sink.events)
    assert (first.text.text, [one.name for one in first.attachments]) == ("number 4 & 2", ["plan.txt"])
    assert second.text == RichText("look\npacked", (Mark(MarkKind.BOLD, 5, 11),))


async def test_what_cannot_be_taken_over_is_told(bridge: Rig) -> None:
    thread = await bridge.thread()
    at = {"ts": "1790000000.000001", "thread_ts": thread.partition("/")[2]}
    anna = bridge.slack.workspace.person("Anna").id
    bridge.slack.tell(thread, {"type": "message", "user": anna, "text": "", "attachments": [{"is_share": True}], **at})
    (event,) = await eventually(lambda: bridge.sink.events)
    assert isinstance(event, StaffMessage)
    assert (event.text.text, event.lost) == ("", ("a message of a kind that has no text and no files",))


async def test_of_a_message_that_cannot_be_read_its_text_arrives(bridge: Rig) -> None:
    thread = await bridge.thread()
    at = {"ts": "1790000000.000001", "thread_ts": thread.partition("/")[2]}
    anna = bridge.slack.workspace.person("Anna").id
    odd = {"type": "message", "user": anna, "text": "see", "files": [{"url_private": "x", "size": "many"}], **at}
    bridge.slack.tell(thread, odd)
    (event,) = await eventually(lambda: bridge.sink.events)
    assert isinstance(event, StaffMessage)
    assert (event.text.text, event.lost) == ("see", ("what came with a message (it could not be read)",))
    bridge.slack.violations.clear()


async def test_a_broadcast_reply_counts(bridge: Rig) -> None:
    thread = await bridge.thread()
    await bridge.slack.staff_posts(thread, "to all", broadcast=True)
    await eventually(lambda: bridge.sink.events)
    assert bridge.sink.texts() == ["to all"]


async def test_nothing_is_fetched_for_threads_that_are_not_ours(bridge: Rig) -> None:
    thread = await bridge.thread()
    bridge.sink.followed = set()
    await bridge.slack.staff_uploads(thread, "secret.txt", b"secret", "text/plain", text="<@U0BRIDGEBOT> look")
    await eventually(lambda: len(bridge.slack.attempts) == 2)
    assert bridge.sink.asked == [thread]
    assert bridge.sink.events == []
    assert bridge.slack.downloads == []
    assert not [call for call in bridge.slack.calls if call.method == "users.info"]


async def test_files_of_staff_are_copied_with_the_token(bridge: Rig) -> None:
    thread = await bridge.thread()
    await bridge.slack.staff_uploads(thread, "a.pdf", b"%PDF", "application/pdf", text="here")
    event = (await eventually(lambda: bridge.sink.events))[0]
    assert isinstance(event, StaffMessage)
    assert event.text.text == "here"
    (attachment,) = event.attachments
    assert (attachment.name, attachment.type, attachment.size) == ("a.pdf", "application/pdf", 4)
    assert await bridge.files.read(attachment.id) == b"%PDF"
    assert bridge.slack.downloads[0][1]


async def test_a_file_without_the_right_to_read_is_not_mistaken_for_a_page(tmp_path: Path) -> None:
    """Slack answers 200 and a page for signing in."""
    async with SlackEmulator(scopes=SCOPES - {"files:read"}) as slack, rig(slack, tmp_path) as bridge:
        thread = await bridge.thread()
        await slack.staff_uploads(thread, "a.html", b"<b>", "text/html", text="here")
        event = (await eventually(lambda: bridge.sink.events))[0]
        assert isinstance(event, StaffMessage)
        assert (event.text.text, event.attachments) == ("here", ())
        assert event.lost == ("a.html (the app needs the scope files:read)",)


@pytest.mark.parametrize("kind", [Kind.ERROR, Kind.RATE_LIMIT, Kind.CUT_WITHIN, Kind.STALL])
async def test_a_file_that_cannot_be_had_for_the_moment_is_fetched_again(
    bridge: Rig, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_FILE_WITHIN", 0.5)
    thread = await bridge.thread()
    bridge.slack.faults.add("download", kind)
    await bridge.slack.staff_uploads(thread, "a.pdf", b"%PDF", "application/pdf", text="here")
    await bridge.slack.staff_says(thread, "after it")
    await eventually(lambda: len(bridge.sink.events) == 2)
    assert bridge.sink.texts() == ["here", "after it"]
    event = bridge.sink.events[0]
    assert isinstance(event, StaffMessage)
    assert [attachment.name for attachment in event.attachments] == ["a.pdf"]


async def test_a_file_that_fails_leaves_the_text_and_a_notice(bridge: Rig) -> None:
    thread = await bridge.thread()
    bridge.files.refuse = "bad.exe"
    user = bridge.slack.workspace.person("Anna").id
    files = [File(f"F{n}", name, user, b"abc", 3) for n, name in enumerate(("gone.txt", "bad.exe", "good.txt"))]
    files.append(File("F9", "huge.iso", user, b"", 2**40))
    bridge.slack.workspace.files.update({file.id: file for file in files[1:]})
    await bridge.slack.staff_posts(thread, "four files", files=files)
    event = (await eventually(lambda: bridge.sink.events))[0]
    assert isinstance(event, StaffMessage)
    assert event.text.text == "four files"
    assert [attachment.name for attachment in event.attachments] == ["good.txt"]
    assert [name.partition(" ")[0] for name in event.lost] == ["gone.txt", "bad.exe", "huge.iso"]
    assert event.lost[1] == "bad.exe (it is not what it says)"


async def test_the_token_goes_to_slack_alone(bridge: Rig) -> None:
    seen: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(body=b"abc")

    app = web.Application()
    app.router.add_get("/{tail:.*}", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        content, _ = await bridge.adapter._api.download(f"http://127.0.0.1:{port}/x", 10, 5)
    finally:
        await runner.cleanup()
    assert content == b"abc"
    assert seen == [None]


async def test_a_person_whom_slack_does_not_tell_still_gets_through(tmp_path: Path) -> None:
    async with SlackEmulator(scopes=SCOPES - {"users:read"}) as slack, rig(slack, tmp_path) as bridge:
        thread = await bridge.thread()
        await slack.staff_says(thread, "hello")
        event = (await eventually(lambda: bridge.sink.events))[0]
        assert isinstance(event, StaffMessage)
        assert (event.staff.name, event.staff.avatar) == ("Staff", None)


async def test_a_picture_that_does_not_load_is_left_out(bridge: Rig) -> None:
    thread = await bridge.thread()
    bridge.slack.faults.add("avatar", Kind.ERROR)
    await bridge.slack.staff_says(thread, "hello")
    event = (await eventually(lambda: bridge.sink.events))[0]
    assert isinstance(event, StaffMessage)
    assert event.staff.avatar is None


# --- acknowledging ----------------------------------------------------------------------------------------------------


async def test_an_event_is_acknowledged_after_it_is_committed_and_not_before(bridge: Rig) -> None:
    thread = await bridge.thread()
    await eventually(lambda: len(bridge.slack.attempts) == 1)
    bridge.sink.pause = asyncio.Event()
    await bridge.slack.staff_says(thread, "hello")
    await eventually(lambda: bridge.sink.taking)
    await asyncio.wait_for(bridge.adapter._api.read("auth.test"), 5)  # the loop has turned, the server has had its say
    assert len(bridge.slack.attempts) == 1
    bridge.sink.pause.set()
    await eventually(lambda: len(bridge.slack.attempts) == 2)
    assert bridge.slack.attempts[1].acked


async def test_what_could_not_be_committed_comes_again(tmp_path: Path) -> None:
    async with SlackEmulator(ack_within=0.3) as slack, rig(slack, tmp_path) as bridge:
        thread = await bridge.thread()
        bridge.sink.failures = 2
        await slack.staff_says(thread, "hello")
        await eventually(lambda: bridge.sink.events)
        assert bridge.sink.texts() == ["hello"]
        await eventually(lambda: [a.acked for a in slack.attempts] == [True, False, False, True])


async def test_what_comes_after_an_event_that_was_not_committed_waits_until_its_thread_was_read(bridge: Rig) -> None:
    thread = await bridge.thread()
    held = bridge.sink.held
    bridge.sink.failures = 1
    await bridge.slack.staff_says(thread, "hello")
    await eventually(lambda: bridge.sink.held > held)


async def test_what_comes_after_an_event_for_which_there_was_no_room_waits_until_its_thread_was_read(
    bridge: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.slack.intake._TAKING", 1)
    thread, other = await bridge.thread("t-a"), await bridge.thread("t-b")
    bridge.sink.pause = asyncio.Event()
    await bridge.slack.staff_says(thread, "slow")
    await eventually(lambda: bridge.sink.taking)
    held = bridge.sink.held
    await bridge.slack.staff_says(other, "no room")
    await eventually(lambda: bridge.sink.held > held)
    bridge.sink.pause.set()


async def test_a_slow_commit_is_not_done_twice(tmp_path: Path) -> None:
    """Slack sends again what is not acknowledged in time, while the first is still being taken."""
    async with SlackEmulator(ack_within=0.2) as slack, rig(slack, tmp_path) as bridge:
        thread = await bridge.thread()
        bridge.sink.pause = asyncio.Event()
        await slack.staff_uploads(thread, "a.txt", b"abc", "text/plain", text="hello")
        await eventually(lambda: [attempt.retry for attempt in slack.attempts if not attempt.acked][1:])
        bridge.sink.pause.set()
        await eventually(lambda: slack.attempts[-1].acked and len(slack.attempts) > 2)
        assert bridge.sink.texts() == ["hello"]
        assert len(slack.downloads) == 1


async def test_a_slow_file_does_not_let_the_next_message_overtake(bridge: Rig) -> None:
    thread, other = await bridge.thread("t-a"), await bridge.thread("t-b")
    bridge.slack.faults.add("download", Kind.SLOW, seconds=0.5)
    await bridge.slack.staff_uploads(thread, "a.txt", b"abc", "text/plain", text="first")
    await bridge.slack.staff_says(thread, "second")
    await bridge.slack.staff_says(other, "elsewhere")
    await eventually(lambda: len(bridge.sink.events) == 3)
    assert bridge.sink.texts() == ["elsewhere", "first", "second"]


# --- the connection ---------------------------------------------------------------------------------------------------


async def test_a_wrong_token_is_a_state_with_a_remedy(slack: SlackEmulator, tmp_path: Path) -> None:
    for wrong, words in (({"bot_token": "xoxb-wrong"}, "bot_token"), ({"app_token": "xapp-wrong"}, "token")):
        sink = Sink()
        async with running(build(slack, KeptFiles(), tmp_path, **wrong), sink):
            state = await eventually(sink.downs)
        assert "invalid_auth" in state[0].reason
        assert words in state[0].remedy
        assert "xoxb-wrong" not in repr(sink.states)


async def test_an_unreachable_slack_is_a_state_and_it_comes_up_when_slack_does(tmp_path: Path) -> None:
    async with SlackEmulator() as first:
        port = int(first.api_url.rsplit(":", 1)[1].partition("/")[0])
        adapter = build(first, KeptFiles(), tmp_path)
    sink = Sink()
    async with running(adapter, sink):
        await eventually(lambda: any(state.link is Link.DOWN for state in sink.states))
        async with SlackEmulator(port=port):
            await eventually(lambda: sink.up)


async def test_a_cut_connection_comes_back_and_nothing_is_lost(bridge: Rig) -> None:
    thread = await bridge.thread()
    for number in range(3):
        await bridge.slack.disconnect()
        await bridge.slack.staff_says(thread, str(number))
        await eventually(lambda: bridge.sink.texts()[-1:] == [bridge.slack.messages(thread)[-1].text])
    assert bridge.sink.texts() == ["0", "1", "2"]


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_moves_to_new_sockets_without_a_gap_when_slack_asks(bridge: Rig, reason: str) -> None:
    thread = await bridge.thread()
    sockets = bridge.slack.sockets
    await eventually(lambda: sockets.connected == 2)
    for text in ("by the one", "by the other"):  # so that both are open here too
        await bridge.slack.staff_says(thread, text)
    await eventually(lambda: len(bridge.sink.events) == 2)
    held = bridge.sink.held
    await sockets.say_disconnect(reason)
    await bridge.slack.staff_says(thread, "meanwhile")
    await eventually(lambda: len(sockets.upgrades) == 4)
    await eventually(lambda: sockets.connected == 2)
    assert sockets.fewest >= 2
    await bridge.slack.staff_says(thread, "afterwards")
    await eventually(lambda: len(bridge.sink.events) == 4)
    assert bridge.sink.texts()[2:] == ["meanwhile", "afterwards"]
    assert {attempt.retry for attempt in bridge.slack.attempts} == {0}
    assert bridge.sink.ups() == 1
    assert bridge.sink.held == held  # nothing had to be read again


async def test_moves_to_new_sockets_where_the_clock_was_set_back(bridge: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = await bridge.thread()
    sockets = bridge.slack.sockets
    await eventually(lambda: sockets.connected == 2)
    for text in ("by the one", "by the other"):  # so that both are open here too
        await bridge.slack.staff_says(thread, text)
    await eventually(lambda: len(bridge.sink.events) == 2)
    monkeypatch.setattr(RealClock, "now", lambda _: datetime.now(UTC) - timedelta(hours=1))
    await sockets.say_disconnect("warning")
    await eventually(lambda: len(sockets.upgrades) == 4)


async def test_comes_back_when_slack_sees_too_many_sockets(bridge: Rig) -> None:
    await eventually(lambda: bridge.slack.sockets.connected == 2)
    await bridge.slack.sockets.say_disconnect("too_many_websockets")
    await eventually(lambda: len(bridge.slack.sockets.upgrades) == 4)
    await eventually(lambda: bridge.slack.sockets.connected == 2)
    assert bridge.sink.up


async def test_a_socket_that_cannot_be_opened_beside_the_first_is_tried_again(
    slack: SlackEmulator, tmp_path: Path
) -> None:
    def second(_: object) -> bool:
        return slack.sockets.opened > 0

    slack.faults.waiting.append(Fault("apps.connections.open", Kind.RATE_LIMIT, 2, 0.2, second))
    async with rig(slack, tmp_path) as bridge:
        await eventually(lambda: slack.sockets.connected == 2)
        assert len(slack.faults.happened) == 2
        assert bridge.sink.ups() == 1
        assert bridge.sink.downs() == []


async def test_messages_keep_their_order_over_a_fast_socket_and_a_slow_one(
    slack: SlackEmulator, tmp_path: Path
) -> None:
    async with slow_downlink("127.0.0.1", slack.port, 0.2) as slow:
        slack.socket_hosts += [slow.address]
        async with rig(slack, tmp_path) as bridge:
            await eventually(lambda: slack.sockets.connected == 2)
            thread = await bridge.thread()
            for number in range(6):
                await slack.staff_says(thread, str(number))
            await eventually(lambda: len(bridge.sink.events) == 6)
            assert bridge.sink.texts() == [str(number) for number in range(6)]


async def test_messages_keep_their_order_over_a_socket_that_is_still_opening(
    slack: SlackEmulator, tmp_path: Path
) -> None:
    async with slow_downlink("127.0.0.1", slack.port, 0.5) as slow:
        slack.socket_hosts += [f"127.0.0.1:{slack.port}", slow.address]
        async with rig(slack, tmp_path) as bridge:
            thread = await bridge.thread()
            await eventually(lambda: slack.sockets.connected == 2)  # which the bridge does not know yet
            for number in range(6):
                await slack.staff_says(thread, str(number))
            await eventually(lambda: len(bridge.sink.events) == 6)
            assert bridge.sink.texts() == [str(number) for number in range(6)]


async def test_a_socket_that_says_nothing_more_is_left_and_what_it_swallowed_is_looked_for(
    slack: SlackEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_mode, "PONG_WITHIN", 0.3)
    async with slow_downlink("127.0.0.1", slack.port, 0.0) as slow:
        slack.socket_hosts += [slow.address]
        async with rig(slack, tmp_path) as bridge:
            await eventually(lambda: slack.sockets.connected == 2)
            thread = await bridge.thread()
            held = bridge.sink.held
            slow.pause = 3600.0
            await slack.staff_says(thread, "one")
            await slack.staff_says(thread, "two")
            await eventually(lambda: bridge.sink.held > held)
            await eventually(lambda: len(slack.sockets.upgrades) == 3)
            assert bridge.sink.ups() == 1


async def test_a_socket_that_is_not_greeted_holds_up_no_event_of_the_other(
    slack: SlackEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_mode, "CONNECT_WITHIN", 60.0)
    monkeypatch.setattr(socket_mode, "PONG_WITHIN", 60.0)
    slack.sockets.greetings = 1
    async with rig(slack, tmp_path) as bridge:
        await eventually(lambda: len(slack.sockets.upgrades) == 2)
        thread = await bridge.thread()
        await slack.staff_says(thread, "hello")
        await eventually(lambda: bridge.sink.texts() == ["hello"])


async def test_a_socket_that_is_not_greeted_in_time_is_closed_and_another_opened(
    slack: SlackEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_mode, "CONNECT_WITHIN", 0.3)
    slack.sockets.greetings = 1
    async with rig(slack, tmp_path) as bridge:
        held = bridge.sink.held
        await eventually(lambda: len(slack.sockets.upgrades) >= 3)
        slack.sockets.greetings = math.inf
        await eventually(lambda: slack.sockets.connected == 2)
        await eventually(lambda: not slack.sockets.ungreeted)
        assert bridge.sink.held == held  # it answered pings, so nothing can have been missed
        assert bridge.sink.ups() == 1


async def test_a_socket_that_opens_dead_is_left_and_what_it_swallowed_is_looked_for(
    slack: SlackEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_mode, "CONNECT_WITHIN", 60.0)
    monkeypatch.setattr(socket_mode, "PONG_WITHIN", 0.3)
    slack.sockets.greetings, slack.sockets.answers_pings = 1, False
    async with rig(slack, tmp_path) as bridge:
        await eventually(lambda: len(slack.sockets.upgrades) == 2)
        held, slack.sockets.greetings = bridge.sink.held, math.inf
        thread = await bridge.thread()
        await slack.staff_says(thread, "hello")
        await eventually(lambda: bridge.sink.texts() == ["hello"])
        assert bridge.sink.held > held
        await eventually(lambda: slack.sockets.connected == 2)


async def test_a_socket_mode_that_is_switched_off_is_a_state(bridge: Rig) -> None:
    await bridge.slack.sockets.say_disconnect("link_disabled")
    state = await eventually(bridge.sink.downs)
    assert "Socket Mode" in state[0].reason


async def test_a_failed_upgrade_asks_for_a_new_address(
    slack: SlackEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """slack_sdk by itself would try the same address, which works once, for ever."""
    monkeypatch.setattr(socket_mode, "CONNECT_WITHIN", 0.3)
    slack.sockets.refuse_upgrades = 1
    async with rig(slack, tmp_path):
        assert slack.sockets.upgrades[0] is False
        assert slack.sockets.upgrades[-1] is True
        assert slack.sockets.opened >= 2


async def test_a_cancelled_run_leaves_no_task(slack: SlackEmulator, tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    sink, files = Sink(), KeptFiles()
    adapter = build(slack, files, tmp_path)
    task = asyncio.create_task(adapter.run(sink))
    await eventually(lambda: sink.up)
    thread = (await adapter.open_thread("", card(), Token("t-1"))).thread
    sink.pause = asyncio.Event()
    await slack.staff_says(thread, "never taken")
    await eventually(lambda: sink.taking)
    own = _tasks_of_libraries(before)
    assert own  # otherwise the test looks for nothing
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _tasks_of_libraries(before) == set()


def _tasks_of_libraries(before: set[asyncio.Task[Any]]) -> set[str]:
    """Name the tasks of the adapter's and its libraries', not those of the test server."""
    names = {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks() - before}
    return {
        name for name in names if name.startswith(("AsyncBaseSocketModeClient", "Socket", "SlackAdapter", "Intake"))
    } - {"SocketMode.handle"}


async def test_a_proxy_is_not_used_where_the_environment_excepts_the_host(
    slack: SlackEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """slack_sdk reads HTTP_PROXY but not NO_PROXY."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with rig(slack, tmp_path) as bridge:
        thread = await bridge.thread()
        await slack.staff_uploads(thread, "a.txt", b"abc", "text/plain", text="hello")
        event = (await eventually(lambda: bridge.sink.events))[0]
        assert isinstance(event, StaffMessage)
        assert event.attachments


# --- events over HTTP -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def http_rig(slack: SlackEmulator, tmp_path: Path) -> AsyncIterator[tuple[Rig, HttpAdapter]]:
    """A connected adapter in HTTP mode behind a small gateway."""
    files, sink = KeptFiles(), Sink()
    secret = slack.http_settings()["signing_secret"]
    adapter = build(slack, files, tmp_path, app_token=None, signing_secret=secret)
    assert isinstance(adapter, HttpAdapter)

    async def gateway(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = await adapter.handle(HttpRequest("POST", "", dict(request.query), headers, await request.read()))
        assert isinstance(answer.body, bytes)
        return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))

    app = web.Application()
    app.router.add_post(adapter.mount, gateway)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.hooks_url = f"http://127.0.0.1:{runner.addresses[0][1]}{adapter.mount}"
    try:
        yield Rig(slack, adapter, sink, files), adapter
    finally:
        await runner.cleanup()
    assert slack.violations == []


async def test_http_takes_signed_events_and_acknowledges_after_the_commit(slack: SlackEmulator, tmp_path: Path) -> None:
    slack.http.retry_delays = (0.05, 0.05, 0.05)
    async with http_rig(slack, tmp_path) as (bridge, adapter), running(adapter, bridge.sink):
        assert isinstance(adapter, ServesHttp)
        assert adapter.mount == "/hooks/team"
        await eventually(lambda: bridge.sink.up)
        thread = await bridge.thread()
        await eventually(lambda: len(slack.attempts) == 1)
        bridge.sink.failures = 2
        await slack.staff_says(thread, "hello")
        await eventually(lambda: bridge.sink.events)
        await eventually(lambda: [a.acked for a in slack.attempts] == [True, False, False, True])
        assert bridge.sink.texts() == ["hello"]


@pytest.mark.parametrize("slow", ["download", "users.info", "avatar"])
async def test_http_takes_what_takes_longer_than_slack_waits(slack: SlackEmulator, tmp_path: Path, slow: str) -> None:
    """Slack hangs up, which cancels the request, and sends the event again a few times."""
    slack.http.retry_delays, slack.http.ack_within = (0.05, 0.05, 0.05), 0.15
    async with http_rig(slack, tmp_path) as (bridge, adapter), running(adapter, bridge.sink):
        await eventually(lambda: bridge.sink.up)
        thread = await bridge.thread()
        slack.faults.add(slow, Kind.SLOW, times=4, seconds=1.5)
        await slack.staff_uploads(thread, "a.txt", b"abc", "text/plain", text="see")
        await eventually(lambda: slack.lost)
        (event,) = await eventually(lambda: bridge.sink.events)
        assert isinstance(event, StaffMessage)
        assert (event.text.text, len(event.attachments)) == ("see", 1)
        assert slack.faults.happened == [(slow, Kind.SLOW)]


async def test_http_leaves_nothing_under_way_when_it_ends(slack: SlackEmulator, tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with http_rig(slack, tmp_path) as (bridge, adapter):
        async with running(adapter, bridge.sink):
            await eventually(lambda: bridge.sink.up)
            thread = await bridge.thread()
            bridge.sink.pause = asyncio.Event()
            await slack.staff_says(thread, "never taken")
            await eventually(lambda: bridge.sink.taking)
            assert "Intake._take" in _tasks_of_libraries(before)
        assert "Intake._take" not in _tasks_of_libraries(before)


async def test_http_answers_the_challenge_before_it_runs_and_takes_nothing_yet(
    slack: SlackEmulator, tmp_path: Path
) -> None:
    async with http_rig(slack, tmp_path) as (bridge, _):
        assert await slack.verify_hooks()
        assert slack.hooks_url
        event = {"type": "event_callback", "event": {"type": "message"}}
        assert (await slack.http.post(slack.hooks_url, event))[0] == 503
        assert bridge.sink.events == []


async def test_http_refuses_what_slack_did_not_sign(slack: SlackEmulator, tmp_path: Path) -> None:
    async with http_rig(slack, tmp_path) as (bridge, adapter), running(adapter, bridge.sink):
        await eventually(lambda: bridge.sink.up)
        assert slack.hooks_url
        event = {"type": "event_callback", "event": {"type": "message"}}
        assert (await slack.http.post(slack.hooks_url, event))[0] == 200
        old = datetime.now(UTC).timestamp() - 301
        assert (await slack.http.post(slack.hooks_url, event, at=old))[0] == 401
        slack.http.secret = "guessed"
        assert (await slack.http.post(slack.hooks_url, event))[0] == 401
        json_type = {"content-type": "application/json"}
        strange = {"x-slack-request-timestamp": "noon", "x-slack-signature": "v0=é"}
        for body in (b"\xff\xfe", b"{}", b"{", b"[1]", b"null"):
            for headers in (
                {},
                json_type,
                json_type | strange,
                json_type | strange | {"x-slack-request-timestamp": "1"},
            ):
                assert (await adapter.handle(HttpRequest("POST", "", {}, headers, body))).status == 401
        slack.http.secret = slack.http_settings()["signing_secret"]
        assert (await slack.http.post(slack.hooks_url, [1]))[0] == 400


async def test_http_reports_a_wrong_token(slack: SlackEmulator, tmp_path: Path) -> None:
    sink = Sink()
    adapter = build(slack, KeptFiles(), tmp_path, app_token=None, signing_secret="s", bot_token="xoxb-wrong")
    async with running(adapter, sink):
        await eventually(lambda: any(state.link is Link.DOWN for state in sink.states))


# --- check ------------------------------------------------------------------------------------------------------------


async def test_check_is_content_with_a_good_configuration(slack: SlackEmulator, tmp_path: Path) -> None:
    adapter = build(slack, KeptFiles(), tmp_path)
    await adapter.open_thread("", card(), Token("t-1"))
    findings = await adapter.check(["", "C0000BILLING"])
    assert [finding for finding in findings if not finding.ok] == []
    assert "conversations.replies" in {call.method for call in slack.calls}
    assert slack.violations == []


async def test_check_says_what_to_do(tmp_path: Path) -> None:
    scopes = SCOPES - {"users:read", "channels:history"}
    async with SlackEmulator(scopes=scopes) as slack:
        slack.add_channel("C0000ELSEWHERE", "elsewhere", member=False)
        slack.add_channel("C0000ARCHIVED", "old").archived = True
        channels = ["", "C0000ELSEWHERE", "C0000ARCHIVED", "C0000NOWHERE"]
        findings = await build(slack, KeptFiles(), tmp_path, app_token="xapp-wrong").check(channels)
        failed = [finding for finding in findings if not finding.ok]
        told = "\n".join(finding.what for finding in failed)
        for words in (
            "users:read",
            "channels:history",
            "not in the channel #elsewhere",
            "#old",
            "C0000NOWHERE",
            "app token",
        ):
            assert words in told
        assert all(finding.remedy for finding in failed)


async def test_check_notes_what_a_scope_would_add(tmp_path: Path) -> None:
    async with SlackEmulator(scopes=SCOPES - {"reactions:read"}) as slack:
        findings = await build(slack, KeptFiles(), tmp_path).check([""])
    assert all(finding.ok for finding in findings)
    (noted,) = [finding.what for finding in findings if "not reactions:read" in finding.what]
    assert "seen" in noted


async def test_check_of_an_unreachable_slack_is_a_finding(tmp_path: Path) -> None:
    async with SlackEmulator() as gone:
        adapter = build(gone, KeptFiles(), tmp_path)
    (finding,) = await adapter.check([""])
    assert not finding.ok
    assert finding.remedy


async def test_check_of_http_names_the_address_to_enter(slack: SlackEmulator, tmp_path: Path) -> None:
    adapter = build(slack, KeptFiles(), tmp_path, app_token=None, signing_secret="s")
    assert "https://chat.example/hooks/team" in (await adapter.check([""]))[-1].what
