"""The real adapter, on the real discord.py, over sockets against the test server."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import discord
import pytest
from aiohttp import ClientSession, encode_basic_auth, web

from adapters.discord import Settings, copies, create
from adapters.discord.adapter import DiscordAdapter
from adapters.discord.rest import MARGIN
from bridge.errors import (
    AuthFailed,
    BadFile,
    DeliveryError,
    OutcomeUnknown,
    Rejected,
    RetryLater,
    Scope,
    StoreFull,
    ThreadGone,
)
from bridge.model import (
    AdapterName,
    Attachment,
    Author,
    AuthorKind,
    Card,
    ConversationId,
    FileId,
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
    VisitorId,
)
from bridge.ports import (
    Adapter,
    AdapterState,
    Checks,
    ConversationView,
    FindsSent,
    FindsThread,
    House,
    Known,
    Link,
    Reading,
    Revises,
    ShowsTyping,
)
from tests.emulators.base import Fault, Kind, eventually
from tests.emulators.discord import DiscordEmulator
from tests.emulators.discord.rest import Upload
from tests.emulators.discord.world import REQUIRE_TAG, poll
from tests.emulators.proxy import proxied
from tests.emulators.uplink import slow_uplink
from tests.platforms import found_bit_by_bit

CARD = Card(ConversationId(1), "Talk 1", "Vera", (("Page", "https://shop.example/a_b"),))
OPENING = Token("1-open")


@dataclass
class TheClock:
    ahead: timedelta = timedelta()
    passed: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def steady(self) -> float:
        return time.monotonic() + self.passed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


@dataclass
class TheFiles:
    kept: dict[FileId, bytes] = field(default_factory=dict)
    refuse: str = ""
    failures: int = 0

    async def keep(self, name: str, type: str, content: bytes, owner: VisitorId | None = None) -> Attachment:
        if self.failures:
            self.failures -= 1
            raise StoreFull("full")
        if self.refuse:
            raise BadFile(self.refuse)
        id_ = FileId(f"file{len(self.kept)}")
        self.kept[id_] = content
        return Attachment(id_, name, type, len(content))

    async def keep_picture(self, name: str, type: str, content: bytes) -> FileId:
        return (await self.keep(name, type, content)).id

    async def read(self, file: FileId) -> bytes:
        if file not in self.kept:
            raise FileNotFoundError(file)
        return self.kept[file]

    def address(self, file: FileId) -> str:
        return f"/files/{file}"


@dataclass
class Sink:
    events: list[StaffEvent] = field(default_factory=list)
    states: list[AdapterState] = field(default_factory=list)
    typed: list[tuple[ThreadKey, Staff]] = field(default_factory=list)
    failures: int = 0
    caught_up: int = 0
    live: list[ThreadKey] = field(default_factory=list)
    unknown: bool = False

    async def follows(self, thread: ThreadKey) -> bool:
        return not self.unknown

    async def take(self, events: Sequence[StaffEvent], cursor: str | None = None) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreFull("full")
        self.events += events

    def hold(self) -> None:
        """Nothing waits: how the core holds is not this test's."""

    async def catch_up(self, read: Reading, *, active: Sequence[ThreadKey], at_once: int) -> None:
        self.caught_up += 1
        for thread in self.live:
            async for event in read(Known(thread, None, frozenset())):
                self.events.append(event)

    async def cursor(self) -> str | None:
        return None

    def typing(self, thread: ThreadKey, staff: Staff, on: bool) -> None:
        self.typed.append((thread, staff))

    def state(self, state: AdapterState) -> None:
        self.states.append(state)

    @property
    def link(self) -> Link | None:
        return self.states[-1].link if self.states else None

    def texts(self) -> list[str]:
        return [event.text.text for event in self.events if isinstance(event, StaffMessage | StaffEdit)]


@dataclass
class Setup:
    server: DiscordEmulator
    adapter: DiscordAdapter
    files: TheFiles
    clock: TheClock
    sink: Sink = field(default_factory=Sink)

    async def open(self, token: Token = OPENING) -> tuple[ThreadKey, str]:
        """Open a thread; return its key and the server's id of it."""
        opened = await self.adapter.open_thread("", CARD, token)
        return opened.thread, self.server.threads()[-1]

    @asynccontextmanager
    async def running(self, link: Link = Link.UP) -> AsyncIterator[None]:
        task = asyncio.create_task(self.adapter.run(self.sink))
        try:
            await eventually(lambda: self.sink.link is link)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def make(server: DiscordEmulator, files: TheFiles | None = None, **changes: Any) -> Setup:
    settings = {key: value for key, value in server.settings().items() if key != "type"} | changes
    files = files or TheFiles()
    clock = TheClock()
    house = House(AdapterName("discord"), files, clock, cast("ConversationView", None), "", Path())
    return Setup(server, create(Settings(**settings), house), files, clock)


@pytest.fixture(params=[False, True], ids=["text", "forum"])
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[Setup]:
    """A setup in a text channel and in a forum. What the test did broke no specification and called nobody."""
    async with DiscordEmulator(forum=request.param) as server:
        yield (setup := make(server))
        await setup.adapter._close()
        assert server.violations == []
        assert server.pings == []


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    async with DiscordEmulator() as server:
        yield (setup := make(server))
        await setup.adapter._close()
        assert server.violations == []
        assert server.pings == []


def said(text: str, kind: AuthorKind = AuthorKind.VISITOR, name: str | None = None) -> Part:
    return Part((Piece(Author(kind, name), RichText(text)),))


def long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=1)


def end_within(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let every send end so soon."""
    monkeypatch.setattr("adapters.discord.adapter.send_within", lambda _: MARGIN + seconds)


def shown(setup: Setup, thread: str) -> list[str]:
    return [message.text for message in setup.server.messages(thread)][1:]


def test_it_has_the_abilities_of_its_platform() -> None:
    adapter = make(DiscordEmulator()).adapter
    for ability in (Adapter, FindsSent, FindsThread, Revises, ShowsTyping, Checks):
        assert isinstance(adapter, ability)


# --- sending


async def test_a_conversation_becomes_a_thread_before_the_gateway_is_up(anywhere: Setup) -> None:
    opened = await anywhere.adapter.open_thread("", CARD, OPENING)
    (thread,) = anywhere.server.threads()
    assert opened.thread == thread
    assert anywhere.server.title(thread) == "Talk 1"
    await anywhere.adapter.send(opened.thread, said("hi"), Token("1-0"))
    assert [message.text for message in anywhere.server.messages(thread)] == [
        "Vera\nPage: https://shop.example/a_b\nref 1-open",
        "hi",
    ]
    assert anywhere.server.gateway.identified == 0
    assert opened.card
    await anywhere.adapter.edit(opened.thread, opened.card, said("another card"))
    assert anywhere.server.messages(thread)[0].text == "another card"


async def test_a_thread_made_from_a_message_has_its_id(setup: Setup) -> None:
    _, thread = await setup.open()
    assert thread in setup.server.world.messages[setup.server.world.text_channel]


@pytest.mark.filterwarnings("error::DeprecationWarning:adapters")
@pytest.mark.parametrize("excepted", [False, True])
async def test_a_proxy_of_the_environment_is_used_but_for_what_needs_none(
    excepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """discord.py uses a proxy only where it is given one."""
    async with proxied() as proxy, DiscordEmulator() as server:
        proxy.gateway = server.settings()["api_url"]
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url.replace("//", "//user:secret@"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1" if excepted else "")
        setup = make(server)
        async with setup.running():
            key, thread = await setup.open()
            await server.staff_posts(thread, "hello", files=[Upload("a.txt", "text/plain", b"abc")])
            await eventually(lambda: setup.sink.events)
        assert setup.sink.events[0].thread == key
        ways = {asked.split("/")[1] for asked in proxy.asked}
        assert ways == (set() if excepted else {"api", "gateway", "attachments"})
        assert proxy.authorities == (set() if excepted else {encode_basic_auth("user", "secret")})


async def test_visitors_text_neither_formats_nor_calls(anywhere: Setup) -> None:
    key, thread = await anywhere.open()
    staff = anywhere.server.world.person("Anna")["id"]
    text = f"# @everyone <@{staff}> <@&1> @here **b** [a](https://evil.example) :smile: <t:0>"
    await anywhere.adapter.send(key, said(text), Token("1-0"))
    assert shown(anywhere, thread) == [text]


async def test_text_at_the_limit_is_taken_and_more_is_rejected(setup: Setup) -> None:
    key, thread = await setup.open()
    text = "*" * 1000
    assert setup.adapter.measure(said(text).pieces) == setup.adapter.capabilities.text_limit
    await setup.adapter.send(key, said(text), Token("1-0"))
    assert shown(setup, thread) == [text]
    with pytest.raises(Rejected):
        await setup.adapter.send(key, said("x" * 2001), Token("1-1"))


async def test_blank_text_arrives_visibly(setup: Setup) -> None:
    key, thread = await setup.open()
    await setup.adapter.send(key, said(" \n "), Token("1-0"))
    assert shown(setup, thread) == ["(blank message)"]


async def test_files_go_out_with_their_text(setup: Setup) -> None:
    key, thread = await setup.open()
    kept = await setup.files.keep("a.txt", "text/plain", b"hello")
    remote = await setup.adapter.send(key, Part(said("see").pieces, kept), Token("1-0"))
    again = await setup.adapter.send(key, Part(said("see").pieces, kept), Token("1-0"))
    await setup.adapter.send(key, Part(said("").pieces, kept), Token("1-1"))
    assert again == remote
    first, second = setup.server.messages(thread)[1:]
    assert (first.text, first.files, second.text, second.files) == ("see", ("a.txt",), "", ("a.txt",))
    async with ClientSession() as session, session.get(first.raw["attachments"][0]["url"]) as answer:
        assert await answer.read() == b"hello"


async def test_a_file_that_is_too_large_or_gone_is_rejected(setup: Setup) -> None:
    key, _ = await setup.open()
    for attachment in (
        Attachment(FileId("x"), "x", "a/b", 10 * 1024 * 1024 + 1),
        Attachment(FileId("y"), "y", "a/b", 1),
    ):
        with pytest.raises(Rejected):
            await setup.adapter.send(key, Part(said("").pieces, attachment), Token("1-0"))


async def test_edit_and_delete(setup: Setup) -> None:
    key, thread = await setup.open()
    remote = await setup.adapter.send(key, said("a"), Token("1-0"))
    await setup.adapter.edit(key, remote, said("*b*"))
    assert shown(setup, thread) == ["*b*"]
    setup.server.archive(thread)
    await setup.adapter.edit(key, remote, said("c"))
    assert shown(setup, thread) == ["c"]
    setup.server.archive(thread)
    await setup.adapter.delete(key, remote)
    await setup.adapter.delete(key, remote)
    assert shown(setup, thread) == []


async def test_a_change_is_tried_again_where_its_thread_is_archived_while_it_is_made(setup: Setup) -> None:
    """It is no sign that the thread takes no messages: a text would open it."""
    key, thread = await setup.open()
    remote = await setup.adapter.send(key, said("a"), Token("1-0"))
    setup.server.archive(thread)
    answered = asyncio.Event()
    setup.server.faults.waiting.append(Fault("update_channel", Kind.SLOW, answered=answered))
    change = asyncio.create_task(setup.adapter.edit(key, remote, said("b")))
    await eventually(lambda: not setup.server.world.channels[thread]["thread_metadata"]["archived"])
    setup.server.archive(thread)
    answered.set()
    with pytest.raises(RetryLater):
        await change
    await setup.adapter.edit(key, remote, said("b"))
    assert shown(setup, thread) == ["b"]


@pytest.mark.parametrize("may_manage", [True, False])
async def test_what_a_locked_thread_holds_is_changed_where_the_bot_may(setup: Setup, may_manage: bool) -> None:
    """The conversation goes on in a successor; a refusal here is no reason to stop everything."""
    key, thread = await setup.open()
    changed, removed = [await setup.adapter.send(key, said(text), Token(text)) for text in ("a", "b")]
    setup.server.archive(thread, locked=True)
    successor, _ = await setup.open(Token("2-open"))
    if not may_manage:
        setup.server.world.granted.discard("MANAGE_THREADS")
    changes = (setup.adapter.edit(successor, changed, said("c")), setup.adapter.delete(successor, removed))
    for change in changes:
        if may_manage:
            await change
        else:
            with pytest.raises(Rejected, match="locked"):
                await change
    assert shown(setup, thread) == (["c"] if may_manage else ["a", "b"])
    state = setup.server.world.channels[thread]["thread_metadata"]
    assert (state["archived"], state["locked"]) == (True, True)


async def test_changes_of_what_is_gone_with_its_thread_end_no_other(setup: Setup) -> None:
    key, thread = await setup.open()
    remote = await setup.adapter.send(key, said("a"), Token("1-0"))
    setup.server.delete_thread(thread)
    successor, _ = await setup.open(Token("2-open"))
    await setup.adapter.edit(successor, remote, said("b"))
    await setup.adapter.delete(successor, remote)


async def test_a_change_is_made_by_an_id_of_before(setup: Setup) -> None:
    """One that names no channel means the thread's."""
    key, thread = await setup.open()
    remote = await setup.adapter.send(key, said("a"), Token("1-0"))
    await setup.adapter.edit(key, RemoteId(remote.rpartition("/")[2]), said("b"))
    assert shown(setup, thread) == ["b"]


async def test_typing_is_shown(setup: Setup) -> None:
    key, thread = await setup.open()
    await setup.adapter.show_typing(key)
    assert setup.server.rest.typed == [thread]


# --- outcomes


async def test_all_sends_share_a_connection(setup: Setup) -> None:
    key, _ = await setup.open()
    setup.server.connections.clear()
    for number in range(10):
        await setup.adapter.send(key, said(str(number)), Token(f"1-{number}"))
    assert len(setup.server.connections) == 1


@pytest.mark.parametrize("kind", [Kind.ERROR_AFTER, Kind.CUT_AFTER])
async def test_a_lost_answer_leaves_one_message(setup: Setup, kind: Kind) -> None:
    key, thread = await setup.open()
    setup.server.faults.add("create_message", kind)
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        await setup.adapter.send(key, said("once"), Token("1-0"))
    assert time.monotonic() - started < 1  # the library would sleep and send again by itself
    remote = await setup.adapter.send(key, said("once"), Token("1-0"))
    assert [f"{thread}/{message.id}" for message in setup.server.messages(thread)[1:]] == [remote]


@pytest.mark.parametrize("kind", [Kind.ERROR_AFTER, Kind.CUT_AFTER])
async def test_a_lost_opening_is_found(anywhere: Setup, kind: Kind) -> None:
    method = "create_thread" if anywhere.server.world.forum else "create_thread_from_message"
    anywhere.server.faults.add(method, kind)
    with pytest.raises(OutcomeUnknown):
        await anywhere.adapter.open_thread("", CARD, OPENING)
    (thread,) = anywhere.server.threads()
    anywhere.server.rest.forget_nonces()
    opened = await anywhere.adapter.find_thread("", OPENING, long_ago())
    assert opened
    assert opened.thread == thread
    assert await anywhere.adapter.find_thread("", Token("2-open"), long_ago()) is None


async def test_a_lost_opening_is_found_behind_many_messages_of_others(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.discord.searching._PAGE", 2)
    monkeypatch.setattr("adapters.discord.searching._PAGES", 2)
    for _ in range(9):
        await setup.server.staff_says(setup.server.world.text_channel, "meanwhile")
    key, _ = await setup.open(OPENING)
    limits_now_and_then(setup.server)
    for _ in range(2):  # what was found once is found again
        found = await found_bit_by_bit(lambda: setup.adapter.find_thread("", OPENING, long_ago()))
        assert found
        assert found.thread == key
    assert await found_bit_by_bit(lambda: setup.adapter.find_thread("", Token("2-open"), long_ago())) is None


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_lost_post_is_found_behind_many_others(
    anywhere: Setup, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    monkeypatch.setattr("adapters.discord.opening._POSTS", 2)
    opened = [await anywhere.adapter.open_thread("", CARD, Token(f"{number}-open")) for number in range(6)]
    if deleted:  # one that is on the way
        anywhere.server.delete_thread(opened[2].thread)
    anywhere.server.faults.add("get_message", Kind.RATE_LIMIT, seconds=0.01)
    for token, expected in (("1-open", opened[1]), ("1-open", opened[1]), ("9-open", None)):
        found = await found_bit_by_bit(lambda token=token: anywhere.adapter.find_thread("", Token(token), long_ago()))
        assert found == expected
    assert bool(anywhere.server.faults.happened) == bool(anywhere.server.world.forum)


def limits_now_and_then(server: DiscordEmulator) -> None:
    """Refuse every third page of a history."""
    third = itertools.cycle([False, False, True])
    server.faults.waiting.append(
        Fault("list_messages", Kind.RATE_LIMIT, times=4, seconds=0.01, where=lambda _: next(third))
    )


async def test_a_card_without_a_thread_gets_one(setup: Setup) -> None:
    setup.server.faults.add("create_thread_from_message", Kind.ERROR)
    with pytest.raises(OutcomeUnknown):
        await setup.adapter.open_thread("", CARD, OPENING)
    await setup.adapter._close()
    setup.server.rest.forget_nonces()
    after_a_crash = make(setup.server)
    assert await after_a_crash.adapter.find_thread("", OPENING, long_ago()) is None
    opened = await after_a_crash.adapter.open_thread("", CARD, OPENING)
    await after_a_crash.adapter._close()
    assert list(setup.server.world.messages[setup.server.world.text_channel]) == [opened.thread]
    assert setup.server.threads() == [opened.thread]
    assert setup.server.title(opened.thread) == "Talk 1"


async def test_a_card_that_is_deleted_while_its_thread_is_looked_for_is_posted_again(setup: Setup) -> None:
    setup.server.faults.add("create_thread_from_message", Kind.ERROR)
    with pytest.raises(OutcomeUnknown):
        await setup.adapter.open_thread("", CARD, OPENING)
    assert await setup.adapter.find_thread("", OPENING, long_ago()) is None
    channel = setup.server.world.text_channel
    (card,) = setup.server.world.messages[channel]
    await setup.server.staff_deletes(channel, card)
    with pytest.raises(RetryLater) as caught:
        await setup.adapter.open_thread("", CARD, OPENING)
    assert caught.value.scope is Scope.THREAD
    opened = await setup.adapter.open_thread("", CARD, OPENING)
    assert list(setup.server.world.messages[channel]) == setup.server.threads() == [opened.thread]


async def test_a_card_whose_thread_must_wait_long_is_not_posted_again(setup: Setup) -> None:
    setup.server.faults.add("create_thread_from_message", Kind.RATE_LIMIT, seconds=219)
    with pytest.raises(RetryLater) as caught:
        await setup.adapter.open_thread("", CARD, OPENING)
    assert (caught.value.after, caught.value.scope) == (219, Scope.THREAD)
    calls = len(setup.server.calls)
    for conversation in (1, 2):  # no card is posted that would stand there alone
        with pytest.raises(RetryLater) as again:
            await setup.adapter.open_thread("", replace(CARD, conversation=ConversationId(conversation)), Token("2"))
        assert (again.value.after, again.value.scope) == (pytest.approx(219, abs=5), Scope.THREAD)
    assert len(setup.server.calls) == calls
    setup.server.rest.forget_nonces()
    setup.clock.passed = 219
    opened = await setup.adapter.open_thread("", CARD, OPENING)
    assert list(setup.server.world.messages[setup.server.world.text_channel]) == [opened.thread]


async def test_a_deleted_card_hides_no_other(anywhere: Setup) -> None:
    first = await anywhere.adapter.open_thread("", CARD, Token("1-open"))
    second = await anywhere.adapter.open_thread("", CARD, Token("2-open"))
    if anywhere.server.world.forum:
        await anywhere.server.staff_deletes(first.thread, first.thread)
    else:
        await anywhere.server.staff_deletes(anywhere.server.world.text_channel, first.thread)
    found = await anywhere.adapter.find_thread("", Token("2-open"), long_ago())
    assert found
    assert found.thread == second.thread


async def test_another_attempt_takes_the_card_that_stands(setup: Setup) -> None:
    setup.server.faults.add("create_thread_from_message", Kind.RATE_LIMIT)
    with pytest.raises(RetryLater):
        await setup.adapter.open_thread("", CARD, Token("1t1"))
    setup.clock.passed = 1
    setup.server.faults.add("create_thread_from_message", Kind.ERROR_AFTER)
    with pytest.raises(OutcomeUnknown):
        await setup.adapter.open_thread("", CARD, Token("1t2"))
    opened = await setup.adapter.find_thread("", Token("1t2"), long_ago())
    assert opened
    assert list(setup.server.world.messages[setup.server.world.text_channel]) == [opened.thread]


async def test_sent_parts_are_found_by_what_they_say(setup: Setup) -> None:
    key, thread = await setup.open()
    since = long_ago()
    first = await setup.adapter.send(key, said("same"), Token("1-0"))
    setup.server.faults.add("create_message", Kind.ERROR_AFTER)
    with pytest.raises(OutcomeUnknown):
        await setup.adapter.send(key, said("same"), Token("1-1"))
    parts = {Token("1-0"): said("same"), Token("1-1"): said("same"), Token("1-2"): said("same")}
    second = setup.server.messages(thread)[-1].id
    expected = {Token("1-0"): first, Token("1-1"): RemoteId(f"{thread}/{second}")}
    assert await setup.adapter.find_sent(key, parts, since, None) == expected
    await setup.adapter._close()
    after_a_crash = make(setup.server)
    assert await after_a_crash.adapter.find_sent(key, parts, since, None) == expected
    await after_a_crash.adapter._close()


async def test_an_equal_text_from_before_is_not_taken_for_a_lost_one(setup: Setup) -> None:
    key, _ = await setup.open()
    since = long_ago()
    first = await setup.adapter.send(key, said("ok"), Token("1-0"))
    await setup.adapter._close()
    after_a_crash = make(setup.server)
    lost = {Token("2-0"): said("ok")}
    assert await after_a_crash.adapter.find_sent(key, lost, since, first) == {}
    second = await after_a_crash.adapter.send(key, said("ok"), Token("2-0"))
    assert await after_a_crash.adapter.find_sent(key, lost, since, first) == {Token("2-0"): second}
    await after_a_crash.adapter._close()


async def test_a_lost_answer_is_found_behind_many_messages_of_others(setup: Setup) -> None:
    key, thread = await setup.open()
    since = long_ago()
    for _ in range(101):
        await setup.server.staff_says(thread, "meanwhile")
    sent = await setup.adapter.send(key, said("ok"), Token("1-0"))
    assert await setup.adapter.find_sent(key, {Token("1-0"): said("ok")}, since, None) == {Token("1-0"): sent}


async def test_a_long_thread_is_searched_bit_by_bit(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.discord.searching._PAGE", 2)
    monkeypatch.setattr("adapters.discord.searching._PAGES", 2)
    key, thread = await setup.open()
    since = long_ago()
    tokens = [Token("1-0"), Token("1-1"), Token("1-2")]
    sent = {}
    for token in tokens:
        sent[token] = await setup.adapter.send(key, said("same"), token)
        for _ in range(6):
            await setup.server.staff_says(thread, "meanwhile")
    await setup.adapter._close()
    after_a_crash = make(setup.server)
    limits_now_and_then(setup.server)
    setup.server.calls.clear()
    parts = {token: said("same") for token in tokens}
    assert await found_bit_by_bit(lambda: after_a_crash.adapter.find_sent(key, parts, since, None)) == sent
    read = [call for call in setup.server.calls if call.method == "list_messages" and call.status == 200]
    assert len(read) == len({call.params["after"] for call in read})  # no page twice
    await after_a_crash.adapter._close()


async def test_a_search_for_other_parts_begins_at_the_beginning(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.discord.searching._PAGE", 1)
    monkeypatch.setattr("adapters.discord.searching._PAGES", 3)
    key, _ = await setup.open()
    since = long_ago()
    parts = {Token(f"1-{number}"): said(str(number)) for number in range(4)}
    sent = {token: await setup.adapter.send(key, part, token) for token, part in parts.items()}
    with pytest.raises(RetryLater):
        await setup.adapter.find_sent(key, parts, since, None)
    del parts[Token("1-0")]
    del sent[Token("1-0")]
    assert await found_bit_by_bit(lambda: setup.adapter.find_sent(key, parts, since, None)) == sent


async def test_a_message_of_another_part_is_not_taken_for_it(setup: Setup) -> None:
    key, thread = await setup.open()
    since = long_ago()
    await setup.adapter.send(key, said("ok"), Token("1-0"))
    await setup.server.staff_says(thread, "ok")
    assert await setup.adapter.find_sent(key, {Token("2-0"): said("ok")}, since, None) == {}


@pytest.mark.parametrize("seconds", [1, 90])
async def test_a_rate_limit_is_handed_on_and_not_slept_through(setup: Setup, seconds: float) -> None:
    key, thread = await setup.open()
    setup.server.faults.add("create_message", Kind.RATE_LIMIT, seconds=seconds)
    started = time.monotonic()
    with pytest.raises(RetryLater) as caught:
        await setup.adapter.send(key, said("x"), Token("1-0"))
    assert time.monotonic() - started < 0.9
    assert (caught.value.after, caught.value.scope) == (seconds, Scope.THREAD)
    assert shown(setup, thread) == []


async def test_a_ban_by_the_proxy_in_front_stops_the_whole_adapter(setup: Setup) -> None:
    """Such a 429 has no `Via` and no JSON: the library takes it for a refusal of the request."""
    key, _ = await setup.open()
    setup.server.banned = True
    with pytest.raises(RetryLater) as caught:
        await setup.adapter.send(key, said("x"), Token("1-0"))
    assert caught.value.scope is Scope.ADAPTER
    assert caught.value.after == 600


async def test_the_true_rate_of_a_thread() -> None:
    async with DiscordEmulator(create_rate=(3, 60)) as server:
        setup = make(server)
        key, _ = await setup.open()
        await setup.adapter.send(key, said("1"), Token("1-0"))
        server.rest.spend(key)
        server.rest.spend(key)
        with pytest.raises(RetryLater) as caught:
            await setup.adapter.send(key, said("2"), Token("1-1"))
        assert caught.value.after
        assert caught.value.after > 50
        other, _ = await setup.open(Token("2-open"))
        await setup.adapter.send(other, said("1"), Token("2-0"))
        await setup.adapter._close()


async def test_what_the_library_holds_back_was_certainly_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async with DiscordEmulator(create_rate=(1, 60)) as server:
        setup = make(server)
        opened = await setup.adapter._rest._login()
        thread = server.world.add_thread(server.world.text_channel, "x", server.world.snowflake())["id"]
        assert opened.user
        end_within(monkeypatch, 0.3)
        with pytest.raises(OutcomeUnknown):  # taken, and then the library waits for the next window
            await setup.adapter.send(ThreadKey(thread), said("1"), Token("1-0"))
        with pytest.raises(RetryLater):
            await setup.adapter.send(ThreadKey(thread), said("2"), Token("1-1"))
        assert [message.text for message in server.messages(thread)] == ["1"]
        await setup.adapter._close()


@pytest.mark.parametrize("asked_before", [True, False])
async def test_a_card_that_somebody_deletes_is_posted_again(setup: Setup, asked_before: bool) -> None:
    """While Discord limits threads, and while it would still give the deleted card back for its nonce."""
    setup.server.faults.add("create_thread_from_message", Kind.RATE_LIMIT)
    with pytest.raises(RetryLater):
        await setup.adapter.open_thread("", CARD, OPENING)
    channel = setup.server.world.text_channel
    (card,) = setup.server.world.messages[channel]
    await setup.server.staff_deletes(channel, card)
    adapter = setup.adapter
    if not asked_before:  # as after a restart
        await setup.adapter._close()
        adapter = make(setup.server).adapter
    setup.clock.passed = 1
    with pytest.raises(RetryLater) as caught:
        await adapter.open_thread("", CARD, OPENING)
    assert caught.value.scope is Scope.THREAD
    opened = await adapter.open_thread("", CARD, OPENING)
    await adapter._close()
    assert list(setup.server.world.messages[channel]) == setup.server.threads() == [opened.thread]


async def test_a_limit_on_threads_is_not_prolonged_by_a_clock_that_is_set_back(setup: Setup) -> None:
    setup.server.faults.add("create_thread_from_message", Kind.RATE_LIMIT)
    with pytest.raises(RetryLater):
        await setup.adapter.open_thread("", CARD, OPENING)
    setup.clock.ahead = -timedelta(hours=1)
    setup.clock.passed = 1
    assert (await setup.adapter.open_thread("", CARD, OPENING)).thread


@pytest.mark.parametrize("status", [403, 404])
async def test_a_proxy_that_refuses_kills_no_message(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    key, _ = await setup.open()
    remote = await setup.adapter.send(key, said("x"), Token("1-0"))

    async def refuse(*_: object) -> web.Response:
        return web.Response(status=status, text="<html>Attention Required!</html>", content_type="text/html")

    monkeypatch.setattr(setup.server, "_respond", refuse)
    for call in (
        setup.adapter.send(key, said("x"), Token("1-1")),
        setup.adapter.delete(key, remote),
        setup.adapter.open_thread("", CARD, Token("2-open")),
        setup.adapter.open_thread("77", CARD, Token("3-open")),
    ):
        with pytest.raises(RetryLater) as caught:
            await call
        assert caught.value.outage


async def test_a_proxy_that_wants_another_password_is_told_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxied() as proxy, DiscordEmulator() as server:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url.replace("//", "//user:secret@"))
        setup = make(server, api_url="https://discord.example")
        with pytest.raises(RetryLater, match="through the proxy, which answers 4") as caught:
            await setup.open()
        assert caught.value.outage
        assert "secret" not in str(caught.value)
        await setup.adapter._close()


async def test_a_page_in_the_place_of_an_answer_kills_no_message(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 200, as networks say who must log in. The library hands on the text of whatever is not bare JSON."""
    key, _ = await setup.open()

    async def welcome(*_: object) -> web.Response:
        return web.Response(text="<html>Welcome to the hotel</html>", content_type="text/html")

    monkeypatch.setattr(setup.server, "_respond", welcome)
    with pytest.raises(OutcomeUnknown):
        await setup.adapter.send(key, said("x"), Token("1-1"))
    with pytest.raises(OutcomeUnknown):
        await setup.adapter.find_sent(key, {Token("1-1"): said("x")}, long_ago(), None)
    fresh = make(setup.server)
    with pytest.raises(RetryLater) as caught:
        await fresh.adapter.send(key, said("x"), Token("1-1"))
    assert caught.value.outage


SIZE, RATE = 8_000_000, 4_000_000


@pytest.mark.parametrize("enough", [True, False])
async def test_a_file_has_the_time_that_its_size_needs(monkeypatch: pytest.MonkeyPatch, enough: bool) -> None:
    """With a second for every 1 or every 40 MB: scaled to what the test's uplink carries."""
    async with DiscordEmulator() as server, slow_uplink(server.host, server.port, RATE) as slow:
        setup = make(server, api_url=slow)
        key, thread = await setup.open()
        monkeypatch.setattr(
            "adapters.discord.adapter.send_within",
            lambda part: MARGIN + 0.2 + part.attachment.size / (1_000_000 if enough else 40_000_000),
        )
        kept = await setup.files.keep("a.bin", "application/octet-stream", b"x" * SIZE)
        sending = setup.adapter.send(key, Part(said("see").pieces, kept), Token("1-0"))
        if enough:
            await sending
            assert [message.files for message in server.messages(thread)[1:]] == [("a.bin",)]
        else:
            with pytest.raises(RetryLater) as caught:
                await sending
            assert caught.value.scope is Scope.THREAD
            assert shown(setup, thread) == []
        await setup.adapter._close()


async def test_a_send_ends_in_time(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = await setup.open()
    end_within(monkeypatch, 0.2)
    setup.server.faults.add("create_message", Kind.SLOW, seconds=1)
    with pytest.raises(OutcomeUnknown):
        await setup.adapter.send(key, said("x"), Token("1-0"))


async def test_a_platform_that_cannot_be_reached_is_an_outage() -> None:
    async with DiscordEmulator() as server:
        pass
    setup = make(server)
    with pytest.raises(RetryLater) as caught:
        await setup.adapter.send(ThreadKey("1"), said("x"), Token("1-0"))
    assert caught.value.outage
    await setup.adapter._close()


async def test_a_wrong_token_needs_the_operator(setup: Setup) -> None:
    wrong = make(setup.server, token="wrong")
    with pytest.raises(AuthFailed):
        await wrong.adapter.send(ThreadKey("1"), said("x"), Token("1-0"))


async def test_threads_that_are_archived_take_text_and_those_locked_or_gone_do_not(setup: Setup) -> None:
    key, thread = await setup.open()
    setup.server.archive(thread)
    await setup.adapter.send(key, said("woken"), Token("1-0"))
    assert shown(setup, thread) == ["woken"]
    setup.server.archive(thread, locked=True)
    with pytest.raises(ThreadGone):
        await setup.adapter.send(key, said("x"), Token("1-1"))
    setup.server.delete_thread(thread)
    with pytest.raises(ThreadGone):
        await setup.adapter.send(key, said("x"), Token("1-2"))


@pytest.mark.parametrize("permission", ["VIEW_CHANNEL", "SEND_MESSAGES_IN_THREADS"])
async def test_missing_rights_need_the_operator(setup: Setup, permission: str) -> None:
    key, _ = await setup.open()
    setup.server.world.granted.discard(permission)
    with pytest.raises(AuthFailed) as caught:
        await setup.adapter.send(key, said("x"), Token("1-0"))
    assert caught.value.remedy


async def test_a_channel_that_does_not_exist(setup: Setup) -> None:
    with pytest.raises(AuthFailed, match="channel_id"):
        await setup.adapter.open_thread("12345", CARD, OPENING)


async def test_a_channel_that_is_deleted_needs_the_operator(anywhere: Setup) -> None:
    key, _ = await anywhere.open()
    anywhere.server.delete_channel(anywhere.server.world.default_channel)
    with pytest.raises(ThreadGone):
        await anywhere.adapter.send(key, said("x"), Token("1-0"))
    for call in (
        anywhere.adapter.open_thread("", CARD, Token("2-open")),
        anywhere.adapter.find_thread("", Token("2-open"), long_ago()),
    ):
        with pytest.raises(AuthFailed, match="channel_id"):
            await call


async def test_a_server_that_is_full_of_threads_says_what_makes_room(anywhere: Setup) -> None:
    key, thread = await anywhere.open()
    anywhere.server.world.active_limit = 1
    with pytest.raises(RetryLater, match="close posts and threads") as caught:
        await anywhere.adapter.open_thread("", CARD, Token("2-open"))
    assert caught.value.scope is Scope.THREAD
    await anywhere.adapter.send(key, said("x"), Token("1-0"))
    anywhere.server.archive(thread)
    opened = await anywhere.adapter.open_thread("", CARD, Token("3-open"))
    with pytest.raises(RetryLater, match="close posts and threads"):
        await anywhere.adapter.send(key, said("y"), Token("1-1"))
    assert anywhere.server.threads()[-1] == opened.thread


async def test_a_forum_that_requires_a_tag_needs_the_operator() -> None:
    async with DiscordEmulator(forum=True) as server:
        setup = make(server)
        server.world.channels[server.world.forum_channel]["flags"] = REQUIRE_TAG
        with pytest.raises(AuthFailed, match="Require people to select tags"):
            await setup.open()
        await setup.adapter._close()
        assert server.violations == []


async def test_a_refused_file_right(setup: Setup) -> None:
    key, _ = await setup.open()
    setup.server.world.granted.discard("ATTACH_FILES")
    kept = await setup.files.keep("a.txt", "text/plain", b"x")
    with pytest.raises(DeliveryError):
        await setup.adapter.send(key, Part(said("").pieces, kept), Token("1-0"))


# --- receiving


async def test_staffs_messages_edits_and_deletions_arrive(anywhere: Setup) -> None:
    key, thread = await anywhere.open()
    async with anywhere.running():
        message = await anywhere.server.staff_posts(thread, "**hi** <@5> a\\*b")
        await anywhere.server.staff_edits(thread, message, "hello")
        await anywhere.server.staff_deletes(thread, message)
        await eventually(lambda: len(anywhere.sink.events) == 3)
    written, edited, deleted = anywhere.sink.events
    assert isinstance(written, StaffMessage)
    assert isinstance(edited, StaffEdit)
    assert isinstance(deleted, StaffDeletion)
    assert {event.thread for event in anywhere.sink.events} == {key}
    assert {event.remote_id for event in anywhere.sink.events} == {message}
    assert (written.text.text, written.staff.name) == ("hi @unknown a*b", "Anna")
    assert (edited.text, edited.staff.name) == (RichText("hello"), "Anna")
    assert edited.version


async def test_own_messages_bots_webhooks_and_notices_are_passed_over(setup: Setup) -> None:
    key, thread = await setup.open()
    setup.server.world.person("Robot", bot=True)
    async with setup.running():
        await setup.adapter.send(key, said("own"), Token("1-0"))
        await setup.server.staff_posts(thread, "robot", name="Robot")
        await setup.server.staff_posts(thread, "hook", webhook_id="99")
        await setup.server.staff_posts(thread, "joined", type=7)
        await setup.server.staff_posts(thread, "person")
        await setup.server.staff_posts(thread, "reply", type=19)
        await eventually(lambda: len(setup.sink.events) >= 2)
    assert setup.sink.texts() == ["person", "reply"]


async def test_a_preview_added_by_discord_is_no_edit(setup: Setup) -> None:
    _, thread = await setup.open()
    async with setup.running():
        message = await setup.server.staff_posts(thread, "https://a.example")
        setup.server.rest.tell("MESSAGE_UPDATE", setup.server.world.messages[thread][message])
        await setup.server.staff_says(thread, "last")
        await eventually(lambda: len(setup.sink.events) >= 2)
    assert setup.sink.texts() == ["https://a.example", "last"]


async def test_messages_in_an_archived_thread_arrive(setup: Setup) -> None:
    """The library's cache holds no archived threads: the message comes with a channel that it does not know."""
    key, thread = await setup.open()
    setup.server.archive(thread)
    async with setup.running():
        setup.server.world.channels[thread]["thread_metadata"]["archived"] = False  # without telling the gateway
        await setup.server.staff_says(thread, "still here")
        await eventually(lambda: setup.sink.events)
    assert setup.sink.events[0].thread == key


async def test_names_and_pictures_are_those_of_the_server(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord.Asset, "BASE", setup.server.api_url)
    _, thread = await setup.open()
    setup.server.world.person("Anna", nick="Anna from support", avatar="abc123")
    async with setup.running():
        await setup.server.staff_says(thread, "one")
        await setup.server.staff_says(thread, "two")
        await eventually(lambda: len(setup.sink.events) == 2)
    people = {event.staff for event in setup.sink.events if isinstance(event, StaffMessage)}
    (person,) = people
    assert person.name == "Anna from support"
    assert person.avatar is not None
    assert len(setup.files.kept) == 1


async def test_staffs_files_are_copied_at_once(setup: Setup) -> None:
    _, thread = await setup.open()
    async with setup.running():
        await setup.server.staff_posts(thread, "see", files=[Upload("a.txt", "text/plain", b"hello")])
        await eventually(lambda: setup.sink.events)
    (event,) = setup.sink.events
    assert isinstance(event, StaffMessage)
    (attachment,) = event.attachments
    assert (attachment.name, attachment.type) == ("a.txt", "text/plain")
    assert setup.files.kept[attachment.id] == b"hello"


@pytest.mark.parametrize("kind", [Kind.ERROR, Kind.RATE_LIMIT, Kind.CUT_WITHIN, Kind.STALL])
async def test_a_file_that_cannot_be_had_for_the_moment_is_fetched_again(
    setup: Setup, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_DEADLINE", 0.5)
    _, thread = await setup.open()
    setup.server.faults.add("download", kind)
    async with setup.running():
        await setup.server.staff_posts(thread, "see", files=[Upload("a.txt", "text/plain", b"hello")])
        await setup.server.staff_says(thread, "after it")
        await eventually(lambda: len(setup.sink.events) == 2)
    event = setup.sink.events[0]
    assert isinstance(event, StaffMessage)
    assert [setup.files.kept[attachment.id] for attachment in event.attachments] == [b"hello"]
    assert setup.sink.texts() == ["see", "after it"]


@pytest.mark.parametrize("why", ["expired", "refused"])
async def test_a_file_that_cannot_be_had_leaves_the_text_and_a_notice(setup: Setup, why: str) -> None:
    _, thread = await setup.open()
    setup.server.expired_cdn = why == "expired"
    setup.files.refuse = "no programs" if why == "refused" else ""
    async with setup.running():
        await setup.server.staff_posts(thread, "see", files=[Upload("a.exe", "text/plain", b"hello")])
        await eventually(lambda: setup.sink.texts() == ["see"])
    (event,) = setup.sink.events
    assert isinstance(event, StaffMessage)
    assert [lost.startswith("a.exe (") for lost in event.lost] == [True]


def snapshot(text: str, **more: Any) -> dict[str, Any]:
    message = {
        "type": 0,
        "content": text,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "flags": 0,
        "components": [],
    }
    return {"message": message | more}


async def test_a_forward_brings_its_text_and_its_files(setup: Setup) -> None:
    _, thread = await setup.open()
    files = setup.server.rest.attach(thread, [Upload("photo.png", "image/png", b"picture")])
    reference = {"type": 1, "message_id": "1", "channel_id": thread}
    async with setup.running():
        for forwarded in (snapshot("see **this**", attachments=files), snapshot("", attachments=files)):
            await setup.server.staff_posts(thread, "", message_snapshots=[forwarded], message_reference=reference)
        await eventually(lambda: len(setup.sink.events) == 2)
    assert setup.sink.texts() == ["see this", ""]
    for event in setup.sink.events:
        assert isinstance(event, StaffMessage)
        assert [setup.files.kept[file.id] for file in event.attachments] == [b"picture"]


async def test_a_sticker_arrives_as_its_name_and_a_poll_is_said_to_stay_behind(setup: Setup) -> None:
    _, thread = await setup.open()
    async with setup.running():
        await setup.server.staff_posts(thread, "hi", sticker_items=[{"id": "1", "name": "wave", "format_type": 1}])
        await setup.server.staff_posts(thread, "", poll=poll("Which day?", "Monday"))
        await eventually(lambda: len(setup.sink.events) == 2)
    assert setup.sink.texts() == ["hi\n:wave:", ""]  # an empty one is noted, and shown to nobody
    assert cast("StaffMessage", setup.sink.events[1]).lost == ('the poll "Which day?"',)


async def test_typing_arrives(setup: Setup) -> None:
    key, thread = await setup.open()
    async with setup.running():
        setup.server.staff_types(thread)
        await eventually(lambda: setup.sink.typed)
    ((thread_key, staff),) = setup.sink.typed
    assert (thread_key, staff.name) == (key, "Anna")


async def test_nothing_is_fetched_for_threads_that_nobody_follows(setup: Setup) -> None:
    _, thread = await setup.open()
    setup.sink.unknown = True
    async with setup.running():
        await setup.server.staff_posts(thread, "x", files=[Upload("a.txt", "text/plain", b"hello")])
        setup.server.staff_types(thread)  # comes after it
        await eventually(lambda: setup.sink.typed)
    assert setup.sink.events == []
    assert setup.files.kept == {}


async def test_a_full_store_loses_nothing_and_keeps_the_order(setup: Setup) -> None:
    _, thread = await setup.open()
    setup.sink.failures = 5
    async with setup.running():
        for i in range(20):
            await setup.server.staff_says(thread, f"text {i}")
        await eventually(lambda: len(setup.sink.events) == 20)
    assert setup.sink.texts() == [f"text {i}" for i in range(20)]


# --- the connection


async def test_a_dropped_connection_is_resumed_and_nothing_lost(setup: Setup) -> None:
    _, thread = await setup.open()
    async with setup.running():
        for i in range(3):
            await setup.server.disconnect()
            await setup.server.staff_says(thread, f"text {i}")
            await eventually(lambda i=i: setup.server.gateway.resumed == i + 1 and setup.sink.link is Link.UP)
        await eventually(lambda: len(setup.sink.events) == 3)
    assert setup.sink.texts() == ["text 0", "text 1", "text 2"]
    assert setup.server.gateway.identified == 1


@pytest.mark.parametrize("how", ["op7", "op9 resumable", "op9", "4000"])
async def test_what_the_gateway_asks_for_is_done(setup: Setup, how: str) -> None:
    _, thread = await setup.open()
    gateway = setup.server.gateway
    async with setup.running():
        before = len(setup.sink.states)
        match how:
            case "op7":
                gateway.ask_to_reconnect()
            case "op9 resumable":
                gateway.invalidate(resumable=True)
            case "op9":
                gateway.invalidate(resumable=False)
            case _:
                gateway.close(4000)
        await eventually(lambda: len(setup.sink.states) > before and setup.sink.link is Link.UP)
        await setup.server.staff_says(thread, "here")
        await eventually(lambda: setup.sink.texts() == ["here"])
    assert gateway.identified == (2 if how == "op9" else 1)


async def test_a_session_that_is_gone_begins_anew_at_the_stale_address(setup: Setup) -> None:
    """The library identifies at the address that it was to resume at; READY comes a second time."""
    _, thread = await setup.open()
    async with setup.running():
        setup.server.gateway.sessions.clear()
        await setup.server.disconnect()
        await eventually(lambda: setup.server.gateway.identified == 2 and setup.sink.link is Link.UP)
        await setup.server.staff_says(thread, "here")
        await eventually(lambda: setup.sink.texts() == ["here"])


async def test_a_wrong_token_is_a_state(setup: Setup) -> None:
    wrong = make(setup.server, token="wrong")
    async with wrong.running(Link.DOWN):
        await eventually(lambda: sum(state.link is Link.DOWN for state in wrong.sink.states) >= 2)
    assert "token" in wrong.sink.states[-1].reason
    assert "developer portal" in wrong.sink.states[-1].remedy


async def test_a_token_that_the_gateway_refuses_is_a_state(setup: Setup) -> None:
    setup.server.gateway.refusals = [4004]
    async with setup.running(Link.DOWN):
        assert "developer portal" in setup.sink.states[-1].remedy
        await eventually(lambda: setup.sink.link is Link.UP)


async def test_a_missing_intent_is_a_state_and_mends(setup: Setup) -> None:
    setup.server.world.message_content = False
    async with setup.running(Link.DOWN):
        assert "Message Content Intent" in setup.sink.states[-1].remedy
        setup.server.world.message_content = True
        await eventually(lambda: setup.sink.link is Link.UP)


async def test_an_unreachable_platform_is_a_state() -> None:
    async with DiscordEmulator() as server:
        pass
    setup = make(server)
    async with setup.running(Link.DOWN):
        assert setup.sink.states[0].link is Link.CONNECTING


async def test_cancelled_run_leaves_no_task(setup: Setup) -> None:
    _, thread = await setup.open()
    before = asyncio.all_tasks()
    async with setup.running():
        setup.sink.failures = 1_000_000
        await setup.server.staff_says(thread, "stuck")
        await eventually(lambda: setup.sink.failures < 1_000_000)
    served = {task for task in asyncio.all_tasks() if "web_protocol" in repr(task) or "ResponseHandler" in repr(task)}
    await eventually(
        lambda: not {task for task in asyncio.all_tasks() - before - served if "aiohttp" not in repr(task)}
    )


async def test_two_addresses_in_one_process_are_refused(setup: Setup) -> None:
    with pytest.raises(ValueError, match="same api_url"):
        make(setup.server, api_url="http://other.example")
    await setup.adapter._close()


async def test_a_server_of_the_gateways_that_is_gone_is_left(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would ask the address that it was to resume at for ever."""
    monkeypatch.setattr("adapters.discord.listener.PATIENCE", 0.3)
    async with DiscordEmulator() as gone:
        setup.server.gateway.resume_url = gone.gateway.resume_url
    async with setup.running():
        await setup.server.disconnect()
        await eventually(lambda: setup.server.gateway.identified == 2 and setup.sink.link is Link.UP)
    assert setup.sink.caught_up == 2


async def test_a_bot_that_connects_too_often_keeps_its_token(setup: Setup) -> None:
    setup.server.gateway.identified = 990
    async with setup.running(Link.DOWN):
        assert "void its token" in setup.sink.states[-1].reason
        assert setup.server.gateway.identified == 990
        setup.server.gateway.identified = 0  # another day
        await eventually(lambda: setup.sink.link is Link.UP)


async def test_a_store_that_is_full_hides_no_message_that_was_missed(setup: Setup) -> None:
    key, thread = await setup.open()
    await setup.server.staff_posts(thread, "one", files=[Upload("a.txt", "text/plain", b"hello")])
    await setup.server.staff_says(thread, "two")
    setup.sink.live, setup.files.failures = [key], 3
    async with setup.running():
        await eventually(lambda: len(setup.sink.events) == 2)
    assert setup.sink.texts() == ["one", "two"]
    assert list(setup.files.kept.values()) == [b"hello"]


async def test_a_message_that_cannot_be_read_hides_no_other_and_leaves_its_text(setup: Setup) -> None:
    key, thread = await setup.open()
    await setup.server.staff_posts(thread, "one", files=[Upload("a.txt", "text/plain", b"hello")])
    await setup.server.staff_says(thread, "two")
    setup.server.world.messages[thread][list(setup.server.world.messages[thread])[-2]]["attachments"][0]["size"] = None
    setup.sink.live = [key]
    async with setup.running():
        await eventually(lambda: len(setup.sink.events) == 2)
    assert setup.sink.texts() == ["one", "two"]
    assert cast("StaffMessage", setup.sink.events[0]).lost == ("what came with a message (it could not be read)",)
    setup.server.violations.clear()


# --- the operator's check


async def test_a_good_configuration_passes(anywhere: Setup) -> None:
    findings = await anywhere.adapter.check([])
    assert [finding for finding in findings if not finding.ok] == []
    assert len(findings) >= 10


@pytest.mark.parametrize(
    ("granted", "title"),
    [
        ("SEND_MESSAGES", "Send Messages"),
        ("SEND_MESSAGES_IN_THREADS", "Send Messages in Threads"),
        ("CREATE_PUBLIC_THREADS", "Create Public Threads"),
        ("READ_MESSAGE_HISTORY", "Read Message History"),
        ("ATTACH_FILES", "Attach Files"),
        ("MANAGE_THREADS", "Manage Threads"),
    ],
)
async def test_each_missing_permission_is_named(setup: Setup, granted: str, title: str) -> None:
    setup.server.world.granted.discard(granted)
    failing = [finding for finding in await setup.adapter.check([]) if not finding.ok]
    assert title in failing[0].remedy  # without some, others are void too


async def test_check_names_what_else_is_wrong(setup: Setup) -> None:
    setup.server.world.message_content = False
    setup.server.world.channels["77"] = {
        **setup.server.world.channels[setup.server.world.text_channel],
        "id": "77",
        "type": 2,
        "bitrate": 64000,
        "user_limit": 0,
    }
    failing = [finding for finding in await setup.adapter.check(["12345", "77"]) if not finding.ok]
    assert len(failing) == 3
    assert all(finding.remedy for finding in failing)


@pytest.mark.parametrize("what", ["token", "view", "unreachable"])
async def test_check_of_what_cannot_be_entered(what: str) -> None:
    async with DiscordEmulator() as server:
        setup = make(server, **({"token": "wrong"} if what == "token" else {}))
        server.world.granted -= {"VIEW_CHANNEL"} if what == "view" else set()
        if what != "unreachable":
            failing = [finding for finding in await setup.adapter.check([]) if not finding.ok]
    if what == "unreachable":
        failing = [finding for finding in await setup.adapter.check([]) if not finding.ok]
    assert len(failing) == 1
    assert failing[0].remedy


# --- the server itself


async def test_the_servers_page_answers(setup: Setup) -> None:
    _, thread = await setup.open()
    async with setup.running(), ClientSession() as session:
        form = {"thread": thread, "name": "Bea", "text": "from the page"}
        async with session.post(f"{setup.server.api_url}/staff", data=form) as answer:
            page = await answer.text()
        await eventually(lambda: setup.sink.texts() == ["from the page"])
    assert "Talk 1" in page
    assert "from the page" in page
