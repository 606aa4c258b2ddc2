"""The Telegram adapter with the real library against the test server, over sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import structlog
from aiohttp import encode_basic_auth, web

from adapters.telegram import Settings, adapter, create, inbound, late, outbound, receiving, request
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
    StaffDeletion,
    StaffEdit,
    StaffEvent,
    StaffMessage,
    ThreadKey,
    Token,
    VisitorId,
)
from bridge.ports import AdapterState, Checks, FindsSent, House, HttpRequest, Link, Revises, ServesHttp, ShowsTyping
from tests.emulators.base import Fault, Kind, eventually
from tests.emulators.proxy import proxied
from tests.emulators.telegram import BadText, TelegramEmulator, arrives, slow_uplink

VISITOR = Author(AuthorKind.VISITOR, "Vera")
CARD = Card(ConversationId(7), "Shop 7", "Vera", (("Page", "https://shop.example"),))
TOKEN = Token("t")
NAUGHTY = json.loads((Path(__file__).parents[1] / "data" / "texts" / "naughty.json").read_text())
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")


class QuickClock:
    """The real time; waits are kept, and cut to moments."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(min(seconds, 0.02))

    def steady(self) -> float:
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        raise AssertionError("an adapter waits by sleeping")


class Folder:
    """Files in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, str, bytes]] = {}

    async def keep(self, name: str, type: str, content: bytes, owner: VisitorId | None = None) -> Attachment:
        if name.endswith(".exe"):
            raise BadFile("programs are not kept")
        id = f"f{len(self.kept)}"
        self.kept[id] = (name, type, content)
        return Attachment(FileId(id), name, type, len(content))

    async def keep_picture(self, name: str, type: str, content: bytes) -> FileId:
        return (await self.keep(name, type, content)).id

    async def read(self, file: FileId) -> bytes:
        if file not in self.kept:
            raise FileNotFoundError(file)
        return self.kept[file][2]

    def address(self, file: FileId) -> str:
        return f"/files/{file}"


class Sink:
    """Records what it is given, as a store that may be out of room."""

    def __init__(self) -> None:
        self.events: list[StaffEvent] = []
        self.committed: str | None = None
        self.states: list[AdapterState] = []
        self.full = False
        self.refused = 0
        self.unknown: set[str] = set()
        self.waiting: dict[RemoteId, StaffMessage] = {}
        self.known: set[tuple[ThreadKey, RemoteId]] = set()

    async def follows(self, thread: ThreadKey) -> bool:
        return thread not in self.unknown

    async def take(self, events: Sequence[StaffEvent], cursor: str | None = None) -> None:
        if self.full:
            self.refused += 1
            raise StoreFull("no room")
        for event in events:
            self._take(event)
        self.committed = cursor or self.committed

    def _take(self, event: StaffEvent) -> None:
        """Do what the ledger does: repeats are dropped, and a deletion keeps out what comes later."""
        id = event.thread, event.remote_id
        key = id
        match event:
            case StaffMessage(owed=str(owed)) if owed:
                if id not in self.known:
                    self.waiting[event.remote_id] = event
                return
            case StaffEdit():
                key = (event.thread, RemoteId(f"{event.remote_id} {event.version}"))
            case StaffDeletion():
                key = (event.thread, RemoteId(f"{event.remote_id} deleted"))
        self.waiting.pop(event.remote_id, None)
        if key not in self.known and not (isinstance(event, StaffDeletion) and id not in self.known):
            self.events.append(event)
        self.known |= {id, key}

    async def owed(self) -> Sequence[StaffMessage]:
        return list(self.waiting.values())

    async def cursor(self) -> str | None:
        return self.committed

    def typing(self, *_: Any) -> None: ...

    def state(self, state: AdapterState) -> None:
        if not self.states or self.states[-1] != state:
            self.states.append(state)

    @property
    def link(self) -> Link | None:
        return self.states[-1].link if self.states else None

    def texts(self) -> list[str]:
        return [event.text.text for event in self.events if isinstance(event, StaffMessage) and not event.lost]

    def lost(self) -> list[str]:
        return [lost for event in self.events if isinstance(event, StaffMessage) for lost in event.lost]


def as_shown(text: str) -> str:
    try:
        return arrives(text)
    except BadText:
        return outbound.BLANK.text


class Rig:
    """An adapter that runs, beside its test server."""

    def __init__(self, emulator: TelegramEmulator, sink: Sink | None = None, **settings: Any) -> None:
        self.emulator = emulator
        self.sink = sink or Sink()
        self.files = Folder()
        self.clock = QuickClock()
        self.public_url = settings.pop("public_url", "http://127.0.0.1:9")
        given = {key: value for key, value in emulator.settings().items() if key != "type"} | settings
        house = House(
            AdapterName("tg"), self.files, self.clock, cast("Any", None), self.public_url, Path("unused")
        )  # the adapter has no use for conversations and the data folder
        self.adapter = cast("adapter.TelegramAdapter", create(Settings.model_validate(given), house))

    async def open(self) -> ThreadKey:
        return (await self.adapter.open_thread("", CARD, TOKEN)).thread

    async def say(self, thread: ThreadKey, text: str, *marks: Mark, by: Author = VISITOR) -> RemoteId:
        return await self.adapter.send(thread, Part((Piece(by, RichText(text, marks)),)), TOKEN)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Rig]:
        task = asyncio.create_task(self.adapter.run(self.sink), name="adapter under test")
        try:
            yield self
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@pytest.fixture
async def emulator() -> AsyncIterator[TelegramEmulator]:
    async with TelegramEmulator() as emulator:
        yield emulator
        assert emulator.violations == []


@pytest.fixture
async def rig(emulator: TelegramEmulator) -> AsyncIterator[Rig]:
    async with Rig(emulator).running() as rig:
        await eventually(lambda: rig.sink.link is Link.UP)
        yield rig


# --- sending ----------------------------------------------------------------------------------------------------------


async def test_all_sends_share_a_connection(rig: Rig) -> None:
    thread = await rig.open()
    rig.emulator.connections.clear()
    for number in range(10):
        await rig.say(thread, str(number))
    assert len(rig.emulator.connections) <= 2, "besides that which waits for updates"


async def test_abilities(emulator: TelegramEmulator) -> None:
    made = Rig(emulator).adapter
    assert isinstance(made, Revises)
    assert isinstance(made, Checks)
    assert isinstance(made, ServesHttp)
    assert not isinstance(made, FindsSent)
    assert not isinstance(made, ShowsTyping), "it would count against the group's 20 messages a minute"
    assert made.capabilities.coalesces
    assert not made.capabilities.card_in_thread
    assert (made.capabilities.budget.count, made.capabilities.budget.seconds) == (20, 60.0)


async def test_a_topic_for_a_conversation_and_its_texts_in_order(rig: Rig) -> None:
    thread = await rig.open()
    assert rig.emulator.threads() == [thread]
    assert rig.emulator.title(thread) == "Shop 7"
    for number in range(5):
        await rig.say(thread, f"text {number}")
    assert [shown.text for shown in rig.emulator.messages(thread)] == [f"text {number}" for number in range(5)]


async def test_its_own_messages_and_service_messages_never_come_back(rig: Rig) -> None:
    thread = await rig.open()
    await rig.say(thread, "mine")
    await rig.emulator.staff_says(thread, "theirs")
    await eventually(lambda: rig.sink.events)
    assert rig.sink.texts() == ["theirs"]


async def test_another_channel_is_another_group(rig: Rig) -> None:
    rig.emulator.add_group(-1002, "Sales")
    opened = await rig.adapter.open_thread("-1002", CARD, TOKEN)
    assert opened.thread.startswith("-1002/")
    with pytest.raises(AuthFailed, match="no group's id"):
        await rig.adapter.open_thread("sales", CARD, TOKEN)


async def test_coalesced_pieces_arrive_as_one_message(rig: Rig) -> None:
    thread = await rig.open()
    part = Part(
        (Piece(SYSTEM, RichText("Page: shop")), Piece(VISITOR, RichText("one")), Piece(VISITOR, RichText("two")))
    )
    await rig.adapter.send(thread, part, TOKEN)
    (shown,) = rig.emulator.messages(thread)
    assert shown.text == "Page: shop\n\none\n\ntwo"


@pytest.mark.parametrize("text", ["x" * 4096, "👍🏽" * 1024])
async def test_a_text_at_the_limit_arrives_whole(rig: Rig, text: str) -> None:
    thread = await rig.open()
    assert rig.adapter.measure([Piece(VISITOR, RichText(text))]) <= rig.adapter.capabilities.text_limit
    await rig.say(thread, text)
    assert rig.emulator.messages(thread)[0].text == text
    with pytest.raises(Rejected, match="too long"):
        await rig.say(thread, text + "x")


async def test_naughty_texts_arrive_but_for_what_telegram_trims_and_nobody_is_called(rig: Rig) -> None:
    thread = await rig.open()
    texts = [text for text in NAUGHTY if text]
    for text in texts:
        await rig.say(thread, text)
    shown = rig.emulator.messages(thread)
    assert [message.text for message in shown] == [as_shown(text) for text in texts]
    kinds = {entity["type"] for message in shown for entity in message.raw["entities"]}
    assert kinds <= {"code", "url", "email", "hashtag", "bot_command", "italic"}


async def test_an_edit_to_nothing_visible_says_so(rig: Rig) -> None:
    thread = await rig.open()
    sent = await rig.say(thread, "x")
    await rig.adapter.edit(thread, sent, Part((Piece(VISITOR, RichText("\u200b")),)))
    assert rig.emulator.messages(thread)[0].text == outbound.BLANK.text


async def test_marks_are_shown_and_previews_are_not(rig: Rig) -> None:
    thread = await rig.open()
    await rig.say(thread, "👍🏽 see @anna", Mark(MarkKind.BOLD, 3, 6), by=Author(AuthorKind.STAFF, "Ben"))
    raw = rig.emulator.messages(thread)[0].raw
    assert raw["text"] == "Ben:\n👍🏽 see @anna"
    assert [(e["type"], e["offset"], e["length"]) for e in raw["entities"]] == [
        ("bold", 0, 4),
        ("bold", 10, 3),
        ("code", 14, 5),
    ]
    sent = next(call for call in rig.emulator.calls if call.method == "sendMessage")
    assert sent.params["link_preview_options"] == {"is_disabled": True}
    assert "parse_mode" not in sent.params


@pytest.mark.parametrize(
    ("name", "type", "method"),
    [
        ("a b.jpg", "image/jpeg", "sendPhoto"),
        ("prices.pdf", "application/pdf", "sendDocument"),
        ('Größe "M" 中.pdf', "application/pdf", "sendDocument"),
        ("x.svg", "image/svg+xml", "sendDocument"),
    ],
)
async def test_attachments(rig: Rig, name: str, type: str, method: str) -> None:
    thread = await rig.open()
    kept = await rig.files.keep(name, type, JPEG)
    await rig.adapter.send(thread, Part((Piece(VISITOR, RichText("")),), kept), TOKEN)
    (shown,) = rig.emulator.messages(thread)
    assert shown.files == (name,)
    assert [file.content for file in rig.emulator.world.files.values()] == [JPEG]
    assert method in {call.method for call in rig.emulator.calls}


async def test_a_photo_that_telegram_cannot_read_goes_as_a_document(rig: Rig) -> None:
    thread = await rig.open()
    kept = await rig.files.keep("empty.jpg", "image/jpeg", b"")
    await rig.adapter.send(thread, Part((Piece(VISITOR, RichText("")),), kept), TOKEN)
    assert "document" in rig.emulator.messages(thread)[0].raw


async def test_a_file_that_is_gone_is_given_up(rig: Rig) -> None:
    thread = await rig.open()
    gone = Attachment(FileId("gone"), "a.pdf", "application/pdf", 3)
    with pytest.raises(Rejected):
        await rig.adapter.send(thread, Part((Piece(VISITOR, RichText("")),), gone), TOKEN)


async def test_edit_and_delete(rig: Rig) -> None:
    thread = await rig.open()
    sent = await rig.say(thread, "befor")
    after = Part((Piece(VISITOR, RichText("before @bob")),))
    await rig.adapter.edit(thread, sent, after)
    await rig.adapter.edit(thread, sent, after)
    assert rig.emulator.messages(thread)[0].text == "before @bob"
    assert [e["type"] for e in rig.emulator.messages(thread)[0].raw["entities"]] == ["code"]
    await rig.adapter.delete(thread, sent)
    await rig.adapter.delete(thread, sent)
    assert rig.emulator.messages(thread) == []
    with pytest.raises(Rejected):
        await rig.adapter.edit(thread, sent, after)


async def test_the_caption_of_a_file_is_edited(rig: Rig) -> None:
    thread = await rig.open()
    kept = await rig.files.keep("a.pdf", "application/pdf", JPEG)
    staff = Author(AuthorKind.STAFF, "Ben")
    sent = await rig.adapter.send(thread, Part((Piece(staff, RichText("old")),), kept), TOKEN)
    await rig.adapter.edit(thread, sent, Part((Piece(staff, RichText("new")),), kept))
    assert rig.emulator.messages(thread)[0].text == "Ben:\nnew"


# --- what goes wrong with a send --------------------------------------------------------------------------------------


async def test_a_rate_limit_says_when(rig: Rig) -> None:
    thread = await rig.open()
    rig.emulator.faults.add("sendMessage", Kind.RATE_LIMIT, seconds=9)
    with pytest.raises(RetryLater) as caught:
        await rig.say(thread, "x")
    assert caught.value.after == 9
    assert not caught.value.outage
    assert rig.emulator.messages(thread) == []


async def test_a_group_takes_twenty_a_minute_topics_and_edits_included() -> None:
    now = 100.0
    async with TelegramEmulator(group_rate=(20, 60.0), clock=lambda: now) as emulator, Rig(emulator).running() as rig:
        thread = await rig.open()
        sent = [await rig.say(thread, str(number)) for number in range(18)]
        await rig.adapter.edit(thread, sent[0], Part((Piece(VISITOR, RichText("edited")),)))
        with pytest.raises(RetryLater):
            await rig.say(thread, "too much")
        now = 160.0
        await rig.say(thread, "later")


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.CUT_AFTER, Kind.ERROR, Kind.ERROR_AFTER])
async def test_what_may_have_been_taken_is_unknown_and_not_repeated(rig: Rig, kind: Kind) -> None:
    """PTB's TimedOut and NetworkError after a send: Telegram has nothing that would find the message."""
    thread = await rig.open()
    rig.emulator.faults.add("sendMessage", kind)
    with pytest.raises(OutcomeUnknown):
        await rig.say(thread, "x")
    assert len([call for call in rig.emulator.calls if call.method == "sendMessage"]) <= 1
    assert len(rig.emulator.messages(thread)) == (1 if kind in {Kind.CUT_AFTER, Kind.ERROR_AFTER} else 0)


async def test_an_answer_that_does_not_come_is_unknown_in_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = await rig.open()
    monkeypatch.setattr(adapter, "send_within", lambda _: 5.1)
    rig.emulator.faults.add("sendMessage", Kind.SLOW, seconds=30)
    with pytest.raises(OutcomeUnknown):
        await rig.say(thread, "x")


async def test_a_file_has_the_time_that_a_slow_uplink_needs(
    emulator: TelegramEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "DEADLINE", 1.0)
    async with slow_uplink(emulator.host, emulator.port, 4_000_000) as slow:
        rig = Rig(emulator, api_url=slow)
        thread = await rig.open()
        kept = await rig.files.keep("a.pdf", "application/pdf", bytes(8_000_000))
        await rig.adapter.send(thread, Part((Piece(VISITOR, RichText("")),), kept), TOKEN)
        assert [shown.files for shown in emulator.messages(thread)] == [("a.pdf",)]
        await rig.adapter._request.shutdown()


async def test_a_file_that_was_not_written_in_time_was_not_taken(
    emulator: TelegramEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "send_within", lambda _: 5.5)
    async with slow_uplink(emulator.host, emulator.port, 200_000) as slow:
        rig = Rig(emulator, api_url=slow)
        thread = await rig.open()
        kept = await rig.files.keep("a.pdf", "application/pdf", bytes(10_000_000))
        with pytest.raises(RetryLater) as caught:
            await rig.adapter.send(thread, Part((Piece(VISITOR, RichText("")),), kept), TOKEN)
        assert (caught.value.scope, caught.value.outage) == (Scope.THREAD, False)
        await rig.adapter._request.shutdown()
    assert emulator.messages(thread) == []


async def test_an_answer_to_a_file_that_does_not_come_is_unknown(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = await rig.open()
    monkeypatch.setattr(adapter, "send_within", lambda _: 5.5)
    rig.emulator.faults.add("sendDocument", Kind.SLOW, seconds=30)
    kept = await rig.files.keep("a.pdf", "application/pdf", b"%PDF")
    with pytest.raises(OutcomeUnknown):
        await rig.adapter.send(thread, Part((Piece(VISITOR, RichText("")),), kept), TOKEN)


async def test_a_thread_in_a_lost_former_group_is_gone_and_its_messages_stay_as_they_are(rig: Rig) -> None:
    former = rig.emulator.add_group(-1002, "Before")
    thread = (await rig.adapter.open_thread("-1002", CARD, TOKEN)).thread
    sent = await rig.say(thread, "x")
    former.bot_status = "kicked"
    with pytest.raises(ThreadGone):
        await rig.say(thread, "y")
    with pytest.raises(ThreadGone):
        await rig.adapter.delete(thread, sent)
    ours = await rig.open()
    rig.emulator.world.groups[rig.emulator.chat].bot_status = "kicked"
    with pytest.raises(AuthFailed):
        await rig.say(ours, "x")


async def test_no_connection_is_an_outage(emulator: TelegramEmulator) -> None:
    rig = Rig(emulator, api_url="http://127.0.0.1:1")
    async with rig.running():
        with pytest.raises(RetryLater) as caught:
            await rig.open()
        assert caught.value.outage
        await eventually(lambda: rig.sink.link is Link.DOWN)


@pytest.mark.filterwarnings("error::DeprecationWarning:adapters")
@pytest.mark.parametrize("excepted", [False, True])
async def test_a_proxy_of_the_environment_is_used_but_for_what_needs_none(
    excepted: bool, emulator: TelegramEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxied() as proxy:
        proxy.gateway = emulator.api_url
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url.replace("//", "//user:secret@"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1" if excepted else "")
        async with Rig(emulator).running() as rig:
            await rig.open()
    assert proxy.authorities == (set() if excepted else {encode_basic_auth("user", "secret")})


async def test_a_deleted_topic_is_gone(rig: Rig) -> None:
    thread = await rig.open()
    rig.emulator.staff_deletes_topic(thread)
    with pytest.raises(ThreadGone):
        await rig.say(thread, "x")


async def test_a_closed_topic_is_reopened(rig: Rig) -> None:
    thread = await rig.open()
    rig.emulator.staff_closes(thread)
    await rig.say(thread, "x")
    assert [shown.text for shown in rig.emulator.messages(thread)] == ["x"]
    assert [call.method for call in rig.emulator.calls if "reopen" in call.method] == ["reopenForumTopic"]


@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        (lambda group: group.rights.clear(), "administrator"),
        (lambda group: setattr(group, "forum", False), "turn on Topics"),
        (lambda group: setattr(group, "bot_status", "kicked"), "add the bot"),
    ],
)
async def test_what_only_the_operator_can_mend(rig: Rig, spoil: Any, advice: str) -> None:
    spoil(rig.emulator.world.groups[rig.emulator.chat])
    with pytest.raises(AuthFailed) as caught:
        await rig.open()
    assert advice in caught.value.remedy


async def test_a_wrong_token_is_a_state_and_no_exception(emulator: TelegramEmulator) -> None:
    wrong = "7000000001:AAWrongTokenWrongTokenWrongToken-0000"
    async with Rig(emulator, token=wrong).running() as rig:
        await eventually(lambda: rig.sink.link is Link.DOWN)
        assert "BotFather" in rig.sink.states[-1].remedy
        with pytest.raises(AuthFailed):
            await rig.open()


# --- receiving --------------------------------------------------------------------------------------------------------


async def test_a_reply_with_name_picture_and_marks(rig: Rig) -> None:
    thread = await rig.open()
    rig.emulator.world.set_picture("Anna Berg", JPEG)
    bold = {"type": "bold", "offset": 5, "length": 2}
    number = await rig.emulator.staff_posts(thread, name="Anna Berg", text="👍🏽 so", entities=[bold])
    await rig.emulator.staff_says(thread, "again", name="Anna Berg")
    first, second = await eventually(lambda: len(rig.sink.events) == 2 and rig.sink.events)
    assert (first.thread, first.remote_id, first.staff.name) == (thread, number, "Anna Berg")
    assert first.text == RichText("👍🏽 so", (Mark(MarkKind.BOLD, 3, 5),))
    assert rig.files.kept[first.staff.avatar] == ("picture.jpg", "image/jpeg", JPEG)
    assert second.staff == first.staff
    assert len(rig.files.kept) == 1


async def test_naughty_texts_of_staff_arrive_as_written(rig: Rig) -> None:
    thread = await rig.open()
    texts = []
    for text in NAUGHTY:
        try:
            texts.append(arrives(text))
        except BadText:
            continue
        await rig.emulator.staff_says(thread, text)
    await eventually(lambda: len(rig.sink.texts()) == len(texts))
    assert rig.sink.texts() == texts


async def test_the_offset_rises_only_after_the_commit(rig: Rig) -> None:
    """The library's Updater confirms while handlers still run; here a refused commit leaves the update at Telegram."""
    thread = await rig.open()
    rig.sink.full = True
    await rig.emulator.staff_says(thread, "keep me")
    await eventually(lambda: rig.sink.refused >= 2)
    assert "keep me" in repr(rig.emulator.updates.pending)
    rig.sink.full = False
    await eventually(lambda: rig.sink.texts() == ["keep me"])
    await eventually(lambda: rig.emulator.updates.pending == [])


async def test_what_was_said_while_nobody_listened_comes_once(emulator: TelegramEmulator) -> None:
    sink = Sink()
    async with Rig(emulator, sink).running() as first:
        await eventually(lambda: sink.link is Link.UP)
        thread = await first.open()
        await emulator.staff_says(thread, "one")
        await eventually(lambda: sink.texts() == ["one"])
    await emulator.staff_says(thread, "two")
    async with Rig(emulator, sink).running():
        await eventually(lambda: sink.texts() == ["one", "two"])


async def test_other_numbers_after_a_week_without_updates_are_followed(rig: Rig) -> None:
    thread = await rig.open()
    await rig.emulator.staff_says(thread, "one")
    await eventually(lambda: rig.sink.texts() == ["one"] and not rig.emulator.updates.pending)
    rig.emulator.updates.restart_at(1000)
    await rig.emulator.staff_says(thread, "two")
    await eventually(lambda: rig.sink.texts() == ["one", "two"])
    await eventually(lambda: rig.sink.committed == "1001" and not rig.emulator.updates.pending)


async def test_a_bad_update_does_not_hold_up_what_follows(rig: Rig) -> None:
    thread = await rig.open()
    rig.emulator.updates.pending.append({"update_id": 700_000_100, "message": {"message_id": "no number", "date": "?"}})
    rig.emulator.updates.restart_at(700_000_101)
    await rig.emulator.staff_says(thread, "after")
    await eventually(lambda: rig.sink.texts() == ["after"])
    assert rig.sink.link is Link.UP
    assert rig.emulator.violations
    rig.emulator.violations.clear()


async def test_edits_in_one_second_are_two_events(rig: Rig) -> None:
    thread = await rig.open()
    number = await rig.emulator.staff_says(thread, "one")
    await rig.emulator.staff_edits(thread, number, "two")
    await rig.emulator.staff_edits(thread, number, "three")
    await eventually(lambda: len(rig.sink.events) == 3)
    edits = [event for event in rig.sink.events if isinstance(event, StaffEdit)]
    assert [edit.text.text for edit in edits] == ["two", "three"]
    assert len({edit.version for edit in edits}) == 2


async def test_nothing_is_heard_of_other_topics_bots_and_general(rig: Rig) -> None:
    thread, other = await rig.open(), await rig.open()
    rig.sink.unknown.add(other)
    chat = rig.emulator.chat
    await rig.emulator.staff_posts(thread, sender={"id": 8, "is_bot": True, "first_name": "Bot"}, text="bot")
    await rig.emulator.staff_says(f"{chat}/1", "general")
    await rig.emulator.staff_says(other, "unknown", name="Curt")
    await rig.emulator.anonymous_says(thread, "hidden", signature="Boss")
    await rig.emulator.staff_says(thread, "heard")
    await eventually(lambda: "heard" in rig.sink.texts())
    assert rig.sink.texts() == ["hidden", "heard"]
    curt = rig.emulator.world.person("Curt")["id"]
    asked = [call.params["user_id"] for call in rig.emulator.calls if call.method == "getUserProfilePhotos"]
    assert curt not in asked


async def test_files_are_copied(rig: Rig) -> None:
    thread = await rig.open()
    await rig.emulator.staff_sends(thread, "prices.pdf", b"%PDF", type="application/pdf", caption="here")
    await rig.emulator.staff_sends(thread, "x.jpg", JPEG, kind="photo", type="image/jpeg")
    first, second = await eventually(lambda: len(rig.sink.events) == 2 and rig.sink.events)
    assert first.text.text == "here"
    assert [(file.name, file.type, file.size) for file in first.attachments] == [("prices.pdf", "application/pdf", 4)]
    assert rig.files.kept[second.attachments[0].id] == ("photo.jpg", "image/jpeg", JPEG)


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [("big.zip", 21 << 20, "20 MB"), ("broken.zip", None, "did not give it"), ("virus.exe", None, "not kept")],
)
async def test_a_file_that_cannot_come_leaves_its_text_and_a_notice(
    rig: Rig, name: str, size: int | None, why: str
) -> None:
    thread = await rig.open()
    await rig.emulator.staff_sends(thread, name, b"abc", caption="see", size=size)
    if name == "broken.zip":
        rig.emulator.world.files.clear()
    (lost,) = await eventually(rig.sink.lost)
    assert (rig.sink.texts(), rig.sink.events[0].attachments) == (["see"], ())
    assert name in lost
    assert why in lost


@pytest.mark.parametrize("method", ["getFile", "download"])
async def test_a_file_that_cannot_be_had_for_the_moment_is_fetched_again(rig: Rig, method: str) -> None:
    thread = await rig.open()
    rig.emulator.faults.add(method, Kind.ERROR)
    await rig.emulator.staff_sends(thread, "a.txt", b"abc", caption="see")
    (heard,) = await eventually(lambda: rig.sink.events)
    assert [file.name for file in heard.attachments] == ["a.txt"]
    assert not [message for message in rig.emulator.messages(thread) if message.by_bot]


async def test_a_file_without_a_path_was_not_given(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = await rig.open()
    whole = rig.emulator.world.described
    monkeypatch.setattr(
        rig.emulator.world,
        "described",
        lambda file, **more: whole(file, **{key: value for key, value in more.items() if key != "file_path"}),
    )
    await rig.emulator.staff_sends(thread, "a.txt", b"abc", caption="the important words")
    await eventually(lambda: rig.sink.texts() == ["the important words"])
    await eventually(lambda: ["a.txt (Telegram did not give it to us)" in lost for lost in rig.sink.lost()] == [True])


@pytest.mark.parametrize("caption", ["the important words", ""])
async def test_what_is_odd_about_a_file_does_not_take_its_text_along(rig: Rig, caption: str) -> None:
    thread = await rig.open()
    odd = {"document": {"file_name": 7}} | ({"caption": caption} if caption else {})
    await rig.emulator.staff_posts(thread, **odd)
    await rig.emulator.staff_says(thread, "after")
    await eventually(lambda: rig.sink.texts() == ([caption] if caption else []) + ["after"])
    await eventually(lambda: ["could not be read" in lost for lost in rig.sink.lost()] == [True])
    rig.emulator.violations.clear()


NOT_YET = "Not with the visitor yet: a.txt. This line goes away when it is there."


def slow_with_files(emulator: TelegramEmulator) -> asyncio.Event:
    """Let Telegram be asked for files in vain until what is returned is set."""
    answered = asyncio.Event()
    emulator.faults.waiting.append(Fault("getFile", Kind.SLOW, times=9, answered=answered))
    return answered


async def test_a_slow_file_holds_up_nobody_and_follows(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_BATCH_DEADLINE", 0.2)
    thread, other = await rig.open(), await rig.open()
    answered = slow_with_files(rig.emulator)
    sent = await rig.emulator.staff_sends(thread, "a.txt", b"abc", type="text/plain", caption="see")
    await rig.emulator.staff_says(other, "quick")
    await eventually(lambda: rig.sink.texts() == ["see", "quick"], 5)
    notice = await eventually(lambda: next((m for m in rig.emulator.messages(thread) if m.by_bot), None))
    assert notice.text == NOT_YET
    answered.set()
    text, _, file = await eventually(lambda: len(rig.sink.events) == 3 and rig.sink.events)
    assert (text.remote_id, text.attachments) == (sent, ())
    assert (file.thread, file.remote_id, file.staff, file.text.text) == (thread, f"{sent}/file", text.staff, "")
    assert [kept.name for kept in file.attachments] == ["a.txt"]
    await eventually(lambda: not [m for m in rig.emulator.messages(thread) if m.by_bot])


async def test_a_slow_file_that_never_comes_is_told_to_staff(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_BATCH_DEADLINE", 0.2)
    monkeypatch.setattr(late, "_DEADLINE", 0.2)
    monkeypatch.setattr(late, "_PATIENCE", timedelta())
    monkeypatch.setattr(late, "_AT_LEAST", 0)
    thread = await rig.open()
    rig.emulator.faults.add("getFile", Kind.SLOW, times=2, seconds=30)
    await rig.emulator.staff_sends(thread, "a.txt", b"abc")
    await eventually(lambda: ["in time" in lost for lost in rig.sink.lost()] == [True])
    await eventually(lambda: not [m for m in rig.emulator.messages(thread) if m.by_bot])
    assert rig.sink.texts() == []
    assert rig.sink.waiting == {}


async def test_a_slow_file_is_still_asked_for_where_the_clock_is_days_ahead(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is where the bridge, or its machine, was away for days."""
    monkeypatch.setattr(receiving, "_BATCH_DEADLINE", 0.2)
    monkeypatch.setattr(late, "_DEADLINE", 0.2)
    monkeypatch.setattr(QuickClock, "now", lambda _: datetime.now(UTC) + timedelta(days=2))
    thread = await rig.open()
    rig.emulator.faults.add("getFile", Kind.SLOW, times=2, seconds=30)
    await rig.emulator.staff_sends(thread, "a.txt", b"abc")
    (file,) = await eventually(lambda: rig.sink.events)
    assert [kept.name for kept in file.attachments] == ["a.txt"]


async def test_a_slow_file_is_fetched_after_a_restart(
    emulator: TelegramEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "_BATCH_DEADLINE", 0.2)
    before = asyncio.all_tasks()
    async with Rig(emulator).running() as rig:
        thread = await rig.open()
        answered = slow_with_files(emulator)
        sent = await emulator.staff_sends(thread, "a.txt", b"abc", caption="see")
        await eventually(lambda: [m for m in emulator.messages(thread) if m.by_bot])
        await eventually(lambda: [inbound.owed_of(owed)[1] or 0 for owed in rig.sink.waiting.values()] > [0])
    await eventually(lambda: asyncio.all_tasks() == before)
    assert rig.sink.texts() == ["see"]
    answered.set()
    async with Rig(emulator, rig.sink).running() as rig:
        text, file = await eventually(lambda: len(rig.sink.events) == 2 and rig.sink.events)
        assert (text.remote_id, file.remote_id) == (sent, f"{sent}/file")
        assert [kept.name for kept in file.attachments] == ["a.txt"]
        await eventually(lambda: not [m for m in emulator.messages(thread) if m.by_bot])
        assert rig.sink.waiting == {}


async def test_a_line_about_a_slow_file_whose_number_is_lost_is_called_over(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "_BATCH_DEADLINE", 0.2)
    thread = await rig.open()
    answered = slow_with_files(rig.emulator)
    rig.emulator.faults.add("sendMessage", Kind.ERROR_AFTER)
    await rig.emulator.staff_sends(thread, "a.txt", b"abc")
    await eventually(lambda: [m for m in rig.emulator.messages(thread) if m.by_bot])
    answered.set()
    await eventually(lambda: rig.sink.events)
    lines = [message.text for message in rig.emulator.messages(thread) if message.by_bot]
    assert lines == [NOT_YET, "With the visitor now: a.txt."]


async def test_a_line_about_a_slow_file_that_a_restart_has_lost_is_called_over(
    emulator: TelegramEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "_BATCH_DEADLINE", 0.2)
    async with Rig(emulator).running() as rig:
        thread = await rig.open()
        answered = slow_with_files(emulator)
        emulator.faults.add("sendMessage", Kind.STALL)
        await emulator.staff_sends(thread, "a.txt", b"abc")
        await eventually(lambda: [m for m in emulator.messages(thread) if m.by_bot])
    answered.set()
    async with Rig(emulator, rig.sink).running() as rig:
        await eventually(lambda: rig.sink.events)
        lines = [message.text for message in emulator.messages(thread) if message.by_bot]
        assert lines == [NOT_YET, "With the visitor now: a.txt."]
        assert rig.sink.waiting == {}


async def test_a_file_that_telegram_tells_again_and_is_slow_with_is_not_shown_twice(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = await rig.open()
    await rig.emulator.staff_sends(thread, "a.txt", b"abc", caption="see")
    await eventually(lambda: rig.sink.texts() == ["see"])
    monkeypatch.setattr(receiving, "_BATCH_DEADLINE", 0.2)
    rig.emulator.faults.add("getFile", Kind.SLOW, seconds=1)
    rig.emulator.repeat()
    await rig.emulator.staff_says(thread, "after")
    await eventually(lambda: rig.sink.texts() == ["see", "after"])
    assert rig.emulator.faults.happened
    assert rig.sink.waiting == {}
    assert not [message for message in rig.emulator.messages(thread) if message.by_bot]


async def test_a_slow_file_outlives_a_long_outage(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_BATCH_DEADLINE", 0.2)
    monkeypatch.setattr(late, "_DEADLINE", 0.3)
    thread = await rig.open()
    rig.emulator.faults.add("getFile", Kind.ERROR, times=30)
    rig.emulator.faults.add("deleteMessage", Kind.ERROR)
    await rig.emulator.staff_sends(thread, "a.txt", b"abc")
    (file,) = await eventually(lambda: rig.sink.events)
    assert [kept.name for kept in file.attachments] == ["a.txt"]
    assert not [message for message in rig.emulator.messages(thread) if message.by_bot]


async def test_a_slow_picture_holds_up_a_message_only_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_BATCH_DEADLINE", 0.2)
    thread = await rig.open()
    rig.emulator.faults.add("getUserProfilePhotos", Kind.SLOW, times=9, seconds=30)
    for number in range(3):
        await rig.emulator.staff_says(thread, str(number))
        await eventually(lambda: len(rig.sink.events) == number + 1)  # noqa: B023
    assert len([kind for method, kind in rig.emulator.faults.happened if method == "getUserProfilePhotos"]) == 1


async def test_a_notes_file_stays_inside_and_a_change_to_a_note_takes_it_back(rig: Rig) -> None:
    thread = await rig.open()
    await rig.emulator.staff_sends(thread, "a.txt", b"abc", caption="// for us")
    sent = await rig.emulator.staff_sends(thread, "b.txt", b"abc", caption="see")
    await rig.emulator.staff_edits(thread, sent, "// not for them")
    note, _, edit = await eventually(lambda: len(rig.sink.events) == 3 and rig.sink.events)
    assert (note.text.text, note.attachments) == ("// for us", ())
    assert isinstance(edit, StaffEdit)
    assert (thread, f"{sent}/file deleted") in rig.sink.known
    assert [name for name, _, _ in rig.files.kept.values()] == ["b.txt"]


async def test_a_kind_of_message_that_visitors_cannot_see_is_told_to_staff(rig: Rig) -> None:
    thread = await rig.open()
    await rig.emulator.staff_posts(thread, story={"chat": rig.emulator.world.groups[rig.emulator.chat].chat(), "id": 1})
    await eventually(lambda: ["story" in lost for lost in rig.sink.lost()] == [True])
    assert rig.sink.texts() == []


async def test_an_upgraded_group_is_used_by_its_new_id_and_the_operator_told(rig: Rig) -> None:
    former = await rig.open()
    rig.emulator.migrate(rig.emulator.chat, -1009)
    await eventually(lambda: "-1009" in rig.sink.states[-1].remedy)
    assert rig.sink.link is Link.UP
    assert (await rig.open()).startswith("-1009/")
    with pytest.raises(ThreadGone):
        await rig.say(former, "x")


async def test_a_group_that_was_upgraded_before_the_start_is_found_under_its_new_id(emulator: TelegramEmulator) -> None:
    emulator.migrate(emulator.chat, -1009)
    rig = Rig(emulator)
    with pytest.raises(RetryLater):
        await rig.open()
    assert (await rig.open()).startswith("-1009/")
    (finding,) = [finding for finding in await rig.adapter.check([str(emulator.chat)]) if not finding.ok] or [None]
    assert finding is None  # what is checked is the group as it is used
    fresh = await Rig(emulator).adapter.check([""])
    assert any("-1009" in finding.remedy for finding in fresh if not finding.ok)


async def test_a_bot_that_is_not_told_what_people_write_says_so_at_once(rig: Rig) -> None:
    thread = await rig.open()
    rig.emulator.change_bot(rig.emulator.chat, "member")
    await eventually(lambda: rig.sink.link is Link.DOWN)
    assert "administrator" in rig.sink.states[-1].remedy
    await rig.emulator.staff_says(thread, "unheard")
    rig.emulator.change_bot(rig.emulator.chat, "administrator")
    await eventually(lambda: rig.sink.link is Link.UP)
    await rig.emulator.staff_says(thread, "heard")
    await eventually(lambda: rig.sink.texts() == ["heard"])


async def test_a_look_at_the_rights_that_fails_says_nothing_of_them(emulator: TelegramEmulator) -> None:
    emulator.faults.add("getChat", Kind.ERROR)
    async with Rig(emulator).running() as rig:
        await eventually(lambda: rig.sink.link is Link.UP)
        assert all("administrator" not in state.remedy for state in rig.sink.states)


async def test_a_webhook_of_before_is_taken_away(emulator: TelegramEmulator) -> None:
    await emulator.updates.set_webhook("http://127.0.0.1:1/old", None)
    async with Rig(emulator).running() as rig:
        thread = await rig.open()
        await emulator.staff_says(thread, "x")
        await eventually(lambda: rig.sink.texts() == ["x"])


async def test_a_second_program_with_the_token_is_a_state(rig: Rig) -> None:
    url = f"{rig.emulator.api_url}/bot{rig.emulator.token}/getUpdates"
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while not any("another program polls" in state.reason for state in rig.sink.states):
            async with session.post(url, data={"timeout": "0"}) as response:
                assert response.status == 200
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", [Kind.ERROR, Kind.CUT, Kind.RATE_LIMIT])
async def test_polling_goes_on_after_a_fault(rig: Rig, kind: Kind) -> None:
    thread = await rig.open()
    rig.emulator.faults.add("getUpdates", kind, seconds=3)
    await rig.emulator.disconnect()
    await eventually(lambda: rig.emulator.faults.happened)
    await rig.emulator.staff_says(thread, "x")
    await eventually(lambda: rig.sink.texts() == ["x"])
    assert rig.sink.link is Link.UP
    if kind is Kind.RATE_LIMIT:
        assert max(rig.clock.waits) >= 3


async def test_a_cancelled_run_leaves_nothing_behind(emulator: TelegramEmulator) -> None:
    before = asyncio.all_tasks()
    async with Rig(emulator).running() as rig:
        await eventually(lambda: rig.sink.link is Link.UP)
        await rig.say(await rig.open(), "x")
    server = emulator._runner and emulator._runner.server
    assert isinstance(server, web.Server)
    await eventually(lambda: not server.connections)
    await eventually(lambda: asyncio.all_tasks() == before)
    with pytest.raises(RetryLater):
        await rig.open()


async def test_neither_token_nor_texts_are_logged(emulator: TelegramEmulator, caplog: pytest.LogCaptureFixture) -> None:
    with structlog.testing.capture_logs() as events, caplog.at_level(logging.DEBUG):
        async with Rig(emulator).running() as rig:
            thread = await rig.open()
            emulator.faults.add("sendMessage", Kind.CUT)
            with pytest.raises(DeliveryError):
                await rig.say(thread, "a secret text")
            rig.sink.full = True
            await emulator.staff_says(thread, "another secret text")
            await eventually(lambda: rig.sink.refused)
    everything = caplog.text + repr(events)
    assert emulator.token not in everything
    assert "secret text" not in everything


# --- webhook ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def hooked(emulator: TelegramEmulator, **settings: Any) -> AsyncIterator[Rig]:
    """Run an adapter in webhook mode behind a small gateway of its own."""
    rigs: list[Rig] = []

    async def pass_on(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        path = request.path.removeprefix(rigs[0].adapter.mount)
        asked = HttpRequest(request.method, path, dict(request.query), headers, await request.read())
        answer = await rigs[0].adapter.handle(asked)
        return web.Response(status=answer.status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    rigs.append(Rig(emulator, mode="webhook", public_url=f"http://127.0.0.1:{runner.addresses[0][1]}", **settings))
    try:
        async with rigs[0].running() as rig:
            await eventually(lambda: rig.sink.link is Link.UP)
            yield rig
    finally:
        await emulator.updates.delete_webhook()
        await runner.cleanup()


async def test_a_webhook_hears_staff(emulator: TelegramEmulator) -> None:
    async with hooked(emulator) as rig:
        assert rig.adapter.mount == "/hooks/tg"
        thread = await rig.open()
        await emulator.staff_says(thread, "x")
        await eventually(lambda: rig.sink.texts() == ["x"])
        await eventually(lambda: emulator.updates.pending == [])
        assert "getUpdates" not in {call.method for call in emulator.calls}


async def test_a_webhook_answers_after_the_commit_and_refuses_while_the_store_does(emulator: TelegramEmulator) -> None:
    async with hooked(emulator) as rig:
        thread = await rig.open()
        rig.sink.full = True
        await emulator.staff_says(thread, "one")
        await emulator.staff_says(thread, "two")
        webhook = emulator.updates.webhook
        assert webhook is not None
        await eventually(lambda: webhook.answers.count(503) >= 2)
        rig.sink.full = False
        await eventually(lambda: rig.sink.texts() == ["one", "two"])


async def test_a_bad_update_does_not_stall_the_group(emulator: TelegramEmulator) -> None:
    """Telegram's sender has one queue for a group: an update that is not taken would hold up every topic."""
    async with hooked(emulator) as rig:
        thread = await rig.open()
        webhook = emulator.updates.webhook
        assert webhook is not None
        webhook.push({"update_id": 1, "message": {"chat": {"id": emulator.chat}, "date": "?"}})
        await emulator.staff_says(thread, "after")
        await eventually(lambda: rig.sink.texts() == ["after"])
        assert set(webhook.answers) == {200}


@pytest.mark.parametrize("secret", [None, "", "wrong", "wröng"])
async def test_nobody_else_may_call_the_webhook(emulator: TelegramEmulator, secret: str | None) -> None:
    async with hooked(emulator) as rig:
        headers = {} if secret is None else {"x-telegram-bot-api-secret-token": secret}
        asked = HttpRequest("POST", "", {}, headers, b"{}")
        assert (await rig.adapter.handle(asked)).status == 403


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"7", b"{}", b'{"update_id": "x"}'])
async def test_rubbish_with_the_secret_is_taken_and_dropped(emulator: TelegramEmulator, body: bytes) -> None:
    async with hooked(emulator, webhook_secret="a-secret-of-its-own") as rig:
        headers = {"x-telegram-bot-api-secret-token": "a-secret-of-its-own"}
        assert (await rig.adapter.handle(HttpRequest("POST", "", {}, headers, body))).status == 200
        assert (await rig.adapter.handle(HttpRequest("GET", "", {}, headers, body))).status == 405
        assert (await rig.adapter.handle(HttpRequest("POST", "/more", {}, headers, body))).status == 404


async def test_before_it_runs_a_webhook_asks_to_come_again(emulator: TelegramEmulator) -> None:
    rig = Rig(emulator, mode="webhook", webhook_secret="a-secret-of-its-own")
    headers = {"x-telegram-bot-api-secret-token": "a-secret-of-its-own"}
    assert (await rig.adapter.handle(HttpRequest("POST", "", {}, headers, b"{}"))).status == 503
    assert (await Rig(emulator).adapter.handle(HttpRequest("POST", "", {}, headers, b"{}"))).status == 404


async def test_a_webhook_that_somebody_replaced_is_set_again(emulator: TelegramEmulator) -> None:
    async with hooked(emulator) as rig:
        await emulator.updates.set_webhook("http://127.0.0.1:1/theirs", None)
        await eventually(lambda: emulator.updates.webhook and emulator.updates.webhook.url.endswith("/hooks/tg"))
        assert rig.sink.link is Link.UP


# --- check ------------------------------------------------------------------------------------------------------------


async def test_check_finds_nothing_wrong(emulator: TelegramEmulator) -> None:
    findings = await Rig(emulator).adapter.check([""])
    assert [finding.what for finding in findings if not finding.ok] == []
    assert any("@bridge_bot" in finding.what for finding in findings)


@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        (lambda emulator: setattr(emulator.world.groups[emulator.chat], "forum", False), "turn on Topics"),
        (lambda emulator: emulator.world.groups[emulator.chat].rights.discard("can_manage_topics"), "manage topics"),
        (
            lambda emulator: emulator.world.groups[emulator.chat].rights.discard("can_delete_messages"),
            "delete messages",
        ),
        (lambda emulator: setattr(emulator.world.groups[emulator.chat], "bot_status", "member"), "administrator"),
        (lambda emulator: emulator.world.groups.clear(), "chat_id"),
        (lambda emulator: setattr(emulator, "token", "7:" + "x" * 35), "BotFather"),
    ],
)
async def test_check_says_what_to_do(emulator: TelegramEmulator, spoil: Any, advice: str) -> None:
    rig = Rig(emulator)
    spoil(emulator)
    findings = await rig.adapter.check([""])
    assert any(advice in finding.remedy for finding in findings if not finding.ok)


async def test_check_finds_a_foreign_webhook_a_bad_channel_and_an_unreachable_server(
    emulator: TelegramEmulator,
) -> None:
    await emulator.updates.set_webhook("http://127.0.0.1:1/theirs", None)
    remedies = [finding.remedy for finding in await Rig(emulator).adapter.check(["", "sales"]) if not finding.ok]
    assert len(remedies) == 2
    (finding,) = await Rig(emulator, api_url="http://127.0.0.1:1").adapter.check([""])
    assert not finding.ok
    assert "network" in finding.remedy
