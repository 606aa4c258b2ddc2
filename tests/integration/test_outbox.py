"""Lanes: order, budgets, failures. The store is real; time is turned by hand; the platform is a scripted one."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sqlite3
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import (
    Any,
    ParamSpec,
    TypeVar,
    cast,
)

import pytest
import structlog

from bridge import health, sending
from bridge.conversations import Caller, Conversations
from bridge.deliveries import Claim
from bridge.errors import (
    AuthFailed,
    DeliveryError,
    OutcomeUnknown,
    Rejected,
    RetryLater,
    Scope,
    StoreFull,
    ThreadGone,
    UploadCut,
)
from bridge.health import LaneState
from bridge.hints import Hint, LogHint, Precedence, WorkHint
from bridge.model import (
    AdapterName,
    Attachment,
    Card,
    ConversationId,
    Destination,
    Entry,
    FileId,
    Opened,
    Part,
    Piece,
    Profile,
    RemoteId,
    RichText,
    Site,
    SiteKey,
    Staff,
    StaffDeletion,
    StaffEdit,
    StaffMessage,
    ThreadKey,
    Token,
    VisitorId,
)
from bridge.outbox import Outbox
from bridge.pacing import Queue
from bridge.ports import Budget, Capabilities, InboundSink
from bridge.storage import Store, StoredFile
from bridge.store.sqlite import outbox as outbox_operations
from bridge.store.sqlite import rows, schema
from bridge.store.sqlite.store import open_store
from bridge.wakeups import MemoryWakeups
from tests import stored
from tests.clock import HandClock
from tests.emulators.base import eventually

PLATFORM = Destination(AdapterName("platform"))
DESK = Destination(AdapterName("desk"))
SITE = Site(SiteKey("shop"), "Shop", frozenset(), ((PLATFORM,),))
OTHER = Destination(PLATFORM.adapter, "other")
MIRRORED = replace(SITE, destinations=((PLATFORM,), (OTHER,)))
ANNA = Staff("u1", "Anna")
PLENTY = Budget(1000, 1)
P = ParamSpec("P")
T = TypeVar("T")
Script = Callable[[str, Part | None], DeliveryError | None]


class Platform:
    """An adapter whose platform is a script: what it was sent, when, and what it answers."""

    def __init__(self, clock: HandClock, capabilities: Capabilities) -> None:
        self.clock = clock
        self.capabilities = capabilities
        self.calls: list[datetime] = []
        self.threads: dict[ThreadKey, list[str]] = {}
        self.parts: list[tuple[ThreadKey, Part]] = []
        self.tokens: dict[Token, RemoteId] = {}
        self.places: dict[Token, ThreadKey] = {}
        self.sent: list[str] = []
        """All texts, and names of files, in the order in which they came."""
        self.script: Script = lambda _thread, _part: None
        self.taken_although: Script = lambda _thread, _part: None
        self.takes: dict[str, float] = {}
        """How many seconds the sending of a text takes."""
        self.sending = 0
        self.most_at_once = 0

    def measure(self, pieces: Sequence[Piece]) -> int:
        return sum(len(piece.text.text) for piece in pieces)

    async def run(self, sink: InboundSink) -> None:
        await asyncio.Event().wait()

    async def open_thread(self, channel: str, card: Card, token: Token) -> Opened:
        self.calls.append(self.clock.now())
        key = ThreadKey(f"{channel}T{card.conversation}.{len(self.threads)}")
        if error := self.script(key, None):
            raise error.with_traceback(None)  # else one that is raised again carries all of its past
        self.threads[key] = []
        return Opened(key, RemoteId("card") if self.capabilities.card_in_thread else None)

    async def send(self, thread: ThreadKey, part: Part, token: Token) -> RemoteId:
        self.calls.append(self.clock.now())
        self.sending += 1
        self.most_at_once = max(self.most_at_once, self.sending)
        try:
            await asyncio.sleep(0)
            await self.clock.sleep(self.takes.get(part.pieces[0].text.text, 0))
            if error := self.script(thread, part):
                raise error.with_traceback(None)
            texts = [part.attachment.name] if part.attachment else [piece.text.text for piece in part.pieces]
            self.threads[thread] += texts
            self.sent += texts
            self.parts.append((thread, part))
            self.tokens[token] = RemoteId(f"r{len(self.tokens)}")
            self.places[token] = thread
            if error := self.taken_although(thread, part):
                raise error.with_traceback(None)
            return self.tokens[token]
        finally:
            self.sending -= 1

    def permalink(self, thread: ThreadKey) -> str | None:
        return f"https://platform.example/{thread}"

    @property
    def texts(self) -> list[list[str]]:
        return list(self.threads.values())


class SearchablePlatform(Platform):
    """One whose threads can be searched for a token."""

    async def find_sent(
        self, thread: ThreadKey, parts: Mapping[Token, Part], since: datetime, after: RemoteId | None
    ) -> Mapping[Token, RemoteId]:
        if error := self.script(thread, None):
            raise error.with_traceback(None)
        assert parts, "nothing is looked for"
        return {token: self.tokens[token] for token in parts if token in self.tokens}


class SlowToShowPlatform(Platform):
    """One whose threads can be searched for a token, but show up only after a while."""

    def __init__(self, clock: HandClock, capabilities: Capabilities) -> None:
        super().__init__(clock, capabilities)
        self.hidden = 0
        """How many looks do not show yet what is there."""
        self._opened: dict[Token, tuple[Opened, datetime]] = {}

    async def open_thread(self, channel: str, card: Card, token: Token) -> Opened:
        opened = await super().open_thread(channel, card, token)
        self._opened.setdefault(token, (opened, self.clock.now()))
        if error := self.taken_although(opened.thread, None):
            raise error.with_traceback(None)
        return opened

    async def find_thread(self, channel: str, token: Token, since: datetime) -> Opened | None:
        self.hidden -= 1
        opened, at = self._opened[token]
        return opened if self.hidden < 0 and at >= since else None


class KnowingPlatform(Platform):
    """One that takes a token only once, and answers the next time as the first."""

    async def send(self, thread: ThreadKey, part: Part, token: Token) -> RemoteId:
        return self.tokens.get(token) or await super().send(thread, part, token)


class EditingPlatform(Platform):
    """One that can change what it sent, where it still stands in the thread."""

    fixed = False
    """Whether it lets nothing be changed any more."""

    async def edit(self, thread: ThreadKey, remote_id: RemoteId, part: Part) -> None:
        stand = {receipt for token, receipt in self.tokens.items() if self.places[token] == thread}
        if error := self.script(thread, part):
            raise error.with_traceback(None)
        if self.fixed or remote_id not in stand:
            raise Rejected("no such message here")

    async def delete(self, thread: ThreadKey, remote_id: RemoteId) -> None:
        if error := self.script(thread, None):
            raise error.with_traceback(None)
        assert self.fixed
        raise Rejected("it is too old")


class Bench:
    """A store, lanes and a scripted platform."""

    def __init__(self, store: Store, clock: HandClock, platform: Platform) -> None:
        self.wakeups = wakeups = MemoryWakeups()
        self.store, self.clock, self.platform = store, clock, platform
        self.conversations = Conversations(store, wakeups, clock, {DESK.adapter})
        self.outbox = Outbox(
            store, self.conversations, wakeups, clock, {PLATFORM.adapter: platform}, [PLATFORM], lambda _, __: None
        )
        self._said = 0
        self._open: dict[VisitorId, ConversationId] = {}
        self._looking = 0
        store.waiting = self._work(store.waiting)  # type: ignore[method-assign]
        store.lanes_down = self._work(store.lanes_down)  # type: ignore[method-assign]
        store.destinations = self._work(store.destinations)  # type: ignore[method-assign]
        store.make_due = self._work(store.make_due)  # type: ignore[method-assign]
        store.lane_down = self._work(store.lane_down)  # type: ignore[method-assign]
        clock.busy = lambda: self._looking + sum(len(lane._busy) for lane in self.outbox.lanes.values())

    def _work(self, look: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Count the lanes' looks into the store as work: time is not to pass meanwhile."""

        async def counted(*arguments: P.args, **named: P.kwargs) -> T:
            self._looking += 1
            try:
                return await look(*arguments, **named)
            finally:
                self._looking -= 1

        return counted

    def visitor(self, site: Site = SITE) -> Caller:
        return Caller(self.conversations.new_visitor(), site, Profile())

    async def say(self, caller: Caller, *texts: str) -> ConversationId:
        """Send texts, as a visitor's connection does that knows the open conversation."""
        for text in texts:
            self._said += 1
            here = self._open.get(caller.visitor)
            appended = await self.conversations.send(caller, f"c{self._said}", text, (), here)
            self._open[caller.visitor] = appended.message.conversation
        return self._open[caller.visitor]

    async def say_with(self, caller: Caller, text: str, *names: str) -> None:
        """Send a message with files, or the same one again."""
        for name in names:
            file = Attachment(FileId(f"{name:0>32}"), name, "image/png", 9)
            await self.store.add_file(StoredFile(file, caller.visitor, self.clock.now()))
        ids = tuple(FileId(f"{name:0>32}") for name in names)
        await self.conversations.send(caller, "files", text, ids, None)

    async def staff_says(self, thread: ThreadKey, text: str, *files: str) -> None:
        self._said += 1
        kept = tuple(Attachment(FileId(f"{name:0>32}"), name, "image/png", 1000) for name in files)
        event = StaffMessage(thread, RemoteId(f"s{self._said}"), ANNA, RichText(text), self.clock.now(), kept)
        await self.conversations.take(PLATFORM.adapter, [event], None)

    async def state_of(self, caller: Caller, seq: int) -> str | None:
        found = {entry.seq: entry for entry in await self.store.folded(caller.visitor, None, 200)}
        return found[seq].delivery


@asynccontextmanager
async def bench(
    path: Path, kind: type[Platform] = Platform, budget: Budget = PLENTY, platform: Platform | None = None, **able: bool
) -> AsyncIterator[Bench]:
    """Run the lanes on a store. `platform`: that of a run before, and with it the time."""
    platform = platform or kind(HandClock(), Capabilities(text_limit=4000, budget=budget, file_limit=1000, **able))
    clock = platform.clock
    async with open_store(path / "store.db") as store:
        made = Bench(store, clock, platform)
        running = asyncio.create_task(made.outbox.run())
        try:
            yield made
        finally:
            made.outbox.stop()
            await clock.advance(5)
            await asyncio.wait_for(running, 5)


PAST = (
    "The conversation goes on here: its thread takes no messages any more (deleted).{link}\n\n"
    "Before that:\n\nVisitor, 2026-05-01 12:00 UTC\none{answer}"
)
ANSWER = "\n\nAnna, 2026-05-01 12:00 UTC\nan answer"


def once(error: DeliveryError, when: Callable[[Part | None], bool] = lambda part: part is not None) -> Script:
    """Answer the first call that `when` accepts with an error."""
    left = [error]
    return lambda _thread, part: left.pop() if left and when(part) else None


async def test_each_conversation_keeps_its_order_while_others_go_on(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        callers = [it.visitor() for _ in range(5)]
        for number in range(10):
            await asyncio.gather(*(it.say(caller, str(number)) for caller in callers))
        await it.clock.advance(3)
        assert it.platform.texts == [[str(number) for number in range(10)]] * 5
        assert it.platform.most_at_once > 1


async def test_a_thread_is_opened_once_under_fifty_first_messages(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await asyncio.gather(*(it.say(caller, str(number)) for number in range(50)))
        await it.clock.advance(3)
        (texts,) = it.platform.texts
        assert sorted(texts) == sorted(str(number) for number in range(50))


async def test_a_groups_twenty_a_minute_are_kept_by_joining_what_waits(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(20, 60), coalesces=True) as it:
        callers = [it.visitor() for _ in range(12)]
        for minute in range(3):
            for number in range(10):
                await asyncio.gather(*(it.say(caller, f"{minute}-{number}") for caller in callers))
                await it.clock.advance(6)
        await it.clock.advance(120)
        expected = [f"{minute}-{number}" for minute in range(3) for number in range(10)]
        assert it.platform.texts == [expected] * 12
        calls = it.platform.calls
        for first, over in zip(calls, calls[20:], strict=False):
            assert over - first >= timedelta(seconds=60)


async def test_the_longest_waiting_thread_goes_first(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(1, 10), coalesces=True) as it:
        callers = [it.visitor() for _ in range(3)]
        for caller in callers:  # which opens their threads in this order
            await it.say(caller, "a")
            await it.clock.advance(20)
        sent: list[str] = []
        it.platform.script = lambda thread, part: sent.append(thread)  # type: ignore[func-returns-value]
        for caller in (callers[0], *reversed(callers)):  # the first takes the budget, the others wait in this order
            await it.say(caller, "b")
            await it.clock.advance(1)
        await it.say(callers[2], "c")
        await it.clock.advance(60)
        opened = list(it.platform.threads)
        assert sent == [opened[0], opened[2], opened[1], opened[0]]
        assert it.platform.texts == [["a", "b", "b"], ["a", "b"], ["a", "b", "c"]]


async def test_a_part_under_way_waits_with_its_lane(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(1, 10)) as it:
        await it.say(it.visitor(), "x" * 8000)
        await it.clock.advance(1)
        for seconds in (60, 3600):  # within its claim, and beyond
            it.outbox.lanes[PLATFORM].health.pause(
                it.clock.now() + timedelta(seconds=seconds), LaneState.WAITING, "429"
            )
            before = len(it.platform.calls)
            await it.clock.advance(seconds - 1, step=1 if seconds < 100 else 10)
            assert len(it.platform.calls) == before
        await it.clock.advance(120)
        assert ["".join(texts) for texts in it.platform.texts] == ["x" * 8000]


async def test_who_waits_gets_the_place_of_a_call_that_was_not_made(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(2, 10)) as it:
        long, idle = it.visitor(), it.visitor()
        await it.say(long, "opens")
        nothing = WorkHint(PLATFORM, await it.say(idle, "opens"), Precedence.TEXT)
        await it.clock.advance(60)
        claim = it.store.claim

        async def slowly(*arguments: Any) -> Claim | None:
            await it.clock.sleep(3 if arguments[1] == nothing.conversation else 0)
            return await claim(*arguments)

        it.store.claim = slowly  # type: ignore[method-assign]
        it.platform.takes["x" * 4000] = 1
        await it.say(long, "x" * 4000 + "y")
        it.wakeups.publish(nothing)
        await it.clock.advance(6)
        assert it.platform.sent[2:] == ["x" * 4000, "y"]


async def test_the_budget_is_kept_after_a_pause_too(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(1, 2)) as it:
        for _ in range(4):
            await it.say(it.visitor(), "x" * 4000 + "y")
        await it.clock.advance(7)  # all are opened, and wait with what they have to send
        it.outbox.lanes[PLATFORM].health.pause(it.clock.now() + timedelta(seconds=40), LaneState.WAITING, "429")
        await it.clock.advance(100)
        assert it.platform.texts == [["x" * 4000, "y"]] * 4
        for first, over in itertools.pairwise(it.platform.calls):
            assert over - first >= timedelta(seconds=2)


async def test_a_budget_for_each_thread_holds_up_no_other(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(2, 60, per_thread=True)) as it:
        busy, calm = it.visitor(), it.visitor()
        await it.say(busy, *(str(number) for number in range(6)))
        await it.clock.advance(1)
        await it.say(calm, "hello")
        await it.clock.advance(1)
        assert ["hello"] in it.platform.texts
        await it.clock.advance(300)
        assert [str(number) for number in range(6)] in it.platform.texts


async def test_the_platforms_own_hint_is_waited_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller, other = it.visitor(), it.visitor()
        it.platform.script = once(RetryLater("429", 30))
        await it.say(caller, "one", "two")
        await it.clock.advance(5)
        await it.say(other, "three")
        await it.clock.advance(20)
        assert all(not texts for texts in it.platform.texts)
        await it.clock.advance(30)
        assert it.platform.texts == [["one", "two"], ["three"]]


async def test_a_thread_that_must_wait_holds_up_no_other(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller, other = it.visitor(), it.visitor()
        it.platform.script = once(RetryLater("429", 30, Scope.THREAD))
        await it.say(caller, "one")
        await it.clock.advance(2)
        await it.say(other, "two")
        await it.clock.advance(2)
        assert it.platform.texts == [[], ["two"]]
        await it.clock.advance(40)
        assert it.platform.texts == [["one"], ["two"]]


async def test_what_will_never_be_taken_leaves_a_notice_and_the_conversation_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        it.platform.script = once(Rejected("too odd"), lambda part: part is not None and "bad" in str(part))
        await it.say(caller, "one", "bad", "three")
        await it.clock.advance(3)
        assert it.platform.texts == [["one", "A message could not be delivered here: too odd", "three"]]
        assert [await it.state_of(caller, seq) for seq in (2, 3, 4)] == ["sent", "failed", "sent"]


async def test_a_text_that_is_refused_takes_none_of_those_along_that_it_was_joined_with(tmp_path: Path) -> None:
    async with bench(tmp_path, coalesces=True) as it:
        caller = it.visitor()
        it.platform.script = lambda _thread, part: Rejected("too odd") if "bad" in str(part) else None
        await it.say(caller, "one")
        await it.clock.advance(3)
        for round in range(2):
            await it.say(caller, "two", "bad", "four")
            await it.clock.advance(20)
            expected = ["two", "A message could not be delivered here: too odd", "four"]
            assert it.platform.texts == [["one", *expected * (round + 1)]]
        assert [await it.state_of(caller, seq) for seq in (3, 4, 5)] == ["sent", "failed", "sent"]
        await it.store.revive(None, it.clock.now())
        await it.say(caller, "five")
        await it.clock.advance(20)
        assert it.platform.sent[-1] == "five"
        assert await it.state_of(caller, 9) == "sent"


async def test_a_text_that_is_refused_takes_no_file_along_that_waits_with_it(tmp_path: Path) -> None:
    async with bench(tmp_path, coalesces=True) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        it.platform.script = lambda _thread, part: Rejected("too odd") if "bad" in str(part) else None
        await it.staff_says(written, "bad")
        await it.staff_says(written, "", "a.png", "b.png")
        await it.clock.advance(20)
        assert shown[1:] == ["A message could not be delivered here: too odd", "a.png", "b.png"]


async def test_what_stands_ahead_of_a_text_that_is_refused_stands_there_once(tmp_path: Path) -> None:
    async with bench(tmp_path, KnowingPlatform, coalesces=True) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(3)
        refuse = Rejected("too odd")
        gone = list(it.platform.threads)
        it.platform.script = lambda thread, part: (
            ThreadGone("deleted") if thread in gone else refuse if part and "bad" in str(part) else None
        )
        await it.say(caller, "two", "bad", "four")
        await it.clock.advance(20)
        before, *texts = it.platform.texts[1]
        assert before == PAST.format(link="", answer="")
        assert texts == ["two", "A message could not be delivered here: too odd", "four"]


def uploads(part: Part | None, name: str) -> bool:
    return part is not None and part.attachment is not None and part.attachment.name == name


async def of_another_thread(it: Bench, caller: Caller) -> tuple[ThreadKey, list[str]]:
    """Begin a mirrored conversation. Return the thread in which staff write, and what the other one shows."""
    await it.say(caller, "one")
    await it.clock.advance(2)
    (written,) = (thread for thread in it.platform.threads if thread.startswith("other"))
    (shown,) = (texts for thread, texts in it.platform.threads.items() if thread != written)
    return written, shown


@pytest.mark.parametrize("coalesces", [False, True])
async def test_a_file_that_is_refused_is_told_in_its_place_and_the_others_come(
    tmp_path: Path, *, coalesces: bool
) -> None:
    async with bench(tmp_path, coalesces=coalesces) as it:
        caller = it.visitor(MIRRORED)
        written, shown = await of_another_thread(it, caller)
        it.platform.script = lambda _thread, part: Rejected("too odd") if uploads(part, "a.png") else None
        await it.staff_says(written, "look", "a.png", "b.png", "c.png")
        await it.staff_says(written, "", "a.png")
        await it.staff_says(written, "seen?")
        await it.clock.advance(30)
        instead = "The file a.png could not be shown here: too odd"
        assert shown[1:] == ["look", instead, "b.png", "c.png", instead, "seen?"]


async def test_a_file_that_was_refused_is_listed_and_sent_when_it_is_retried(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        it.platform.script = lambda _thread, part: Rejected("too odd") if uploads(part, "b.png") else None
        await it.staff_says(written, "look", "a.png", "b.png", "c.png")
        await it.clock.advance(30)
        (dead,) = await it.store.outbox("dead", 9)
        assert (dead.destination, dead.what, dead.reason) == (PLATFORM, "file", "too odd")
        instead = "The file b.png could not be shown here: too odd"
        assert shown[1:] == ["look", "a.png", instead, "c.png"]
        await it.store.revive([dead.id], it.clock.now())
        await it.clock.advance(30)
        assert shown[5:] == [instead]
        it.platform.script = lambda _thread, _part: None
        await it.store.revive([dead.id], it.clock.now())
        await it.clock.advance(30)
        assert shown[6:] == ["b.png"]
        assert await it.store.outbox(None, 9) == []


async def test_what_is_told_in_the_place_of_a_file_takes_nothing_along_where_it_is_refused_too(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        it.platform.script = lambda _thread, part: Rejected("too odd") if "b.png" in str(part) else None
        await it.staff_says(written, "look", "a.png", "b.png", "c.png")
        await it.staff_says(written, "seen?")
        await it.clock.advance(30)
        assert shown[1:] == ["look", "a.png", "c.png", "seen?"]
        assert len(await it.store.outbox("dead", 9)) == 2  # the file, and what was to be told of it


async def test_a_defect_at_a_file_takes_nothing_along_that_is_behind_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        defect = cast("DeliveryError", ZeroDivisionError())
        it.platform.script = lambda _thread, part: defect if uploads(part, "a.png") else None
        await it.staff_says(written, "look", "a.png", "b.png")
        await it.staff_says(written, "seen?")
        await it.clock.advance(300)
        instead = "The file a.png could not be shown here: unexpected ZeroDivisionError"
        assert shown[1:] == ["look", instead, "b.png", "seen?"]


async def test_a_visitors_message_is_delivered_when_all_its_files_are(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        it.platform.script = lambda _thread, part: (
            Rejected("too odd") if uploads(part, "a.png") else RetryLater("out of reach", outage=True)
            if uploads(part, "b.png") else None
        )  # fmt: skip
        await it.say_with(caller, "look", "a.png", "b.png")
        await it.clock.advance(30)
        assert it.platform.sent == ["one", "look", "The file a.png could not be shown here: too odd"]
        assert await it.state_of(caller, 3) == "waiting"
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(600, step=5)
        assert it.platform.sent[3:] == ["b.png"]
        assert await it.state_of(caller, 3) == "sent"


@pytest.mark.parametrize("refused", [["a.png"], ["b.png"], ["a.png", "b.png"]])
async def test_a_message_of_files_is_delivered_where_one_of_them_is(tmp_path: Path, refused: Sequence[str]) -> None:
    async with bench(tmp_path, KnowingPlatform) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        it.platform.script = lambda _thread, part: (
            Rejected("too odd") if any(uploads(part, name) for name in refused) else None
        )
        await it.say_with(caller, "", "a.png", "b.png")
        await it.clock.advance(30)
        told = [f"The file {name} could not be shown here: too odd" for name in refused]
        assert [text for text in it.platform.sent if text.startswith("The file")] == told
        assert {row.what for row in await it.store.outbox("dead", 9)} == {"file"}
        assert await it.state_of(caller, 3) == ("failed" if len(refused) == 2 else "sent")
        it.platform.script = lambda _thread, _part: None
        await it.say_with(caller, "", "a.png", "b.png")
        await it.clock.advance(30)
        assert await it.state_of(caller, 3) == "sent"
        assert it.platform.sent[3:] == (["a.png", "b.png"] if len(refused) == 2 else [])


@pytest.mark.parametrize("begun", [False, True])
async def test_a_text_that_is_refused_takes_none_of_its_files_along(tmp_path: Path, *, begun: bool) -> None:
    async with bench(tmp_path, KnowingPlatform) as it:
        caller = it.visitor()
        ahead = ["x" * 4000] * begun
        it.platform.script = once(Rejected("too odd"), lambda part: "bad" in str(part))
        await it.say_with(caller, "".join([*ahead, "bad"]), "a.png", "b.png")
        await it.say(caller, "three")
        await it.clock.advance(30)
        told = "A message could not be delivered here: too odd"
        assert it.platform.texts == [[*ahead, told, "a.png", "b.png", "three"]]
        assert await it.state_of(caller, 2) == "failed"
        await it.say_with(caller, "".join([*ahead, "bad"]), "a.png", "b.png")  # as the visitor tries again
        await it.clock.advance(30)
        assert it.platform.texts[0][-2:] == ["three", "bad"]
        assert await it.state_of(caller, 2) == "sent"
        assert await it.store.outbox(None, 9) == []


async def test_a_text_that_was_refused_is_changed_where_it_stands_once_it_is_retried(tmp_path: Path) -> None:
    async with bench(tmp_path, EditingPlatform) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        it.platform.script = once(Rejected("too odd"), lambda part: "bad" in str(part))
        await it.staff_says(written, "bad", "a.png")
        await it.clock.advance(30)
        await it.store.revive(None, it.clock.now())
        await it.clock.advance(30)
        await changes(it, written, 2, "good")
        await it.clock.advance(30)
        assert shown[1:] == ["A message could not be delivered here: too odd", "a.png", "bad"]
        assert await it.store.outbox(None, 9) == []


@pytest.mark.parametrize(("refused", "stands"), [("bad", ["a.png"]), ("a.png", ["bad"])], ids=["the text", "the file"])
@pytest.mark.parametrize("told", [False, True], ids=["before it is told", "once it is told"])
async def test_what_was_refused_of_a_reply_is_not_sent_where_it_is_retried_after_its_deletion(
    tmp_path: Path, refused: str, stands: list[str], *, told: bool
) -> None:
    async with bench(tmp_path) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        it.platform.script = lambda _thread, part: Rejected("too odd") if refused in str(part) else None
        await it.staff_says(written, "bad", "a.png")
        await it.clock.advance(30)
        it.platform.script = lambda _thread, _part: None if told else RetryLater("down", outage=True)
        await changes(it, written, it._said, None)
        await it.clock.advance(5)
        await it.store.revive(None, it.clock.now())
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(90)
        assert [text for text in shown[1:] if "too odd" not in text] == [*stands, "(deleted an earlier message)"]
        assert await it.store.outbox(None, 9) == []


async def test_a_text_that_is_retried_after_a_change_of_it_was_told_reads_as_it_was_changed(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        it.platform.script = once(Rejected("too odd"), lambda part: "bad" in str(part))
        await it.staff_says(written, "bad", "a.png")
        await it.clock.advance(30)
        await changes(it, written, it._said, "good")
        await it.clock.advance(5)
        await it.store.revive(None, it.clock.now())
        await it.clock.advance(90)
        assert shown[-2:] == ["(edited) good", "good"]


async def test_files_behind_a_refused_text_are_given_up_by_themselves(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        it.platform.script = lambda _thread, part: (
            Rejected("too odd") if "bad" in str(part) or uploads(part, "a.png") else None
        )
        await it.say_with(caller, "bad", "a.png", "b.png")
        await it.clock.advance(30)
        lost = "The file a.png could not be shown here: too odd"
        assert it.platform.sent == ["one", "A message could not be delivered here: too odd", lost, "b.png"]
        assert sorted(row.what for row in await it.store.outbox(None, 9)) == ["file", "text"]
        assert await it.state_of(caller, 3) == "failed"


async def test_a_refused_text_that_is_dropped_leaves_its_files_as_the_message(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        it.platform.script = once(Rejected("too odd"), lambda part: "bad" in str(part))
        await it.say_with(caller, "bad", "a.png")
        await it.clock.advance(30)
        (text,) = await it.store.outbox(None, 9)
        assert (text.what, await it.state_of(caller, 3)) == ("text", "failed")
        await it.store.drop(text.id, it.clock.now())
        assert await it.state_of(caller, 3) == "sent"
        await it.say_with(caller, "bad", "a.png")  # as the visitor tries again
        await it.clock.advance(30)
        assert it.platform.sent == ["one", "A message could not be delivered here: too odd", "a.png"]


async def test_a_file_that_is_cut_off_time_and_again_is_told_in_its_place(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor(MIRRORED)
        written, shown = await of_another_thread(it, caller)
        tried: list[Part] = []

        def cut(_thread: str, part: Part | None) -> DeliveryError | None:
            if part and uploads(part, "a.png"):
                tried.append(part)
                return UploadCut("the upload took too long")
            return None

        it.platform.script = cut
        await it.staff_says(written, "look", "a.png", "b.png")
        await it.staff_says(written, "seen?")
        await it.clock.advance(60)
        assert len(tried) > 3
        assert shown[1:] == ["look"]  # so short a trouble loses no file
        await it.clock.advance(600)
        instead = "The file a.png could not be shown here: the upload took too long"
        assert shown[1:] == ["look", instead, "b.png", "seen?"]


async def test_a_clock_that_is_set_back_keeps_no_file_that_is_cut_off_in_the_way(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        it.platform.script = lambda _thread, part: UploadCut("it broke off") if uploads(part, "a.png") else None
        await it.staff_says(written, "look", "a.png")
        await it.clock.advance(60)
        it.clock.set_back(24 * 3600)
        await it.clock.advance(900)
        assert shown[1:] == ["look", "The file a.png could not be shown here: it broke off"]


async def test_how_often_a_file_was_cut_off_is_known_after_a_restart(tmp_path: Path) -> None:
    platform: Platform | None = None
    for start in range(9):
        async with bench(tmp_path, platform=platform) as it:
            platform = it.platform
            platform.script = lambda _thread, part: UploadCut("it broke off") if uploads(part, "a.png") else None
            if start == 0:
                written, _ = await of_another_thread(it, it.visitor(MIRRORED))
                await it.staff_says(written, "", "a.png")
            await it.clock.advance(2)
        await platform.clock.advance(60)
    assert platform
    assert platform.sent[2:] == ["The file a.png could not be shown here: it broke off"]


async def test_a_refused_file_is_not_sent_again_where_the_answer_to_what_is_told_instead_is_lost(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        tried: list[Part | None] = []

        def refuse(_thread: str, part: Part | None) -> DeliveryError | None:
            tried.append(part)
            return Rejected("too odd") if uploads(part, "a.png") else None

        it.platform.script = refuse
        it.platform.taken_although = once(OutcomeUnknown("no answer"), lambda part: "too odd" in str(part))
        await it.staff_says(written, "", "a.png")
        await it.clock.advance(30)
        assert set(shown[1:]) == {"The file a.png could not be shown here: too odd"}
        assert sum(uploads(part, "a.png") for part in tried) == 1
        assert it.outbox.lanes[PLATFORM].possible_duplicates == len(shown[2:]) == 1


async def test_a_file_is_not_given_up_where_nothing_else_goes_through_either(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor(MIRRORED)
        written, shown = await of_another_thread(it, caller)
        refused: list[Part | None] = []

        def broken(_thread: str, part: Part | None) -> DeliveryError | None:
            if it.clock.now() - began > timedelta(minutes=15):
                return None
            refused.append(part)
            return UploadCut("it broke off") if uploads(part, "a.png") else RetryLater("it broke off", outage=True)

        began = it.clock.now()
        it.platform.script = broken
        await it.staff_says(written, "", "a.png")
        await it.clock.advance(1200, step=5)
        assert not all(uploads(part, "a.png") for part in refused)
        assert shown[1:] == ["a.png"]


async def test_an_unknown_outcome_is_looked_up_where_the_platform_can_be_searched(tmp_path: Path) -> None:
    async with bench(tmp_path, SearchablePlatform) as it:
        caller = it.visitor()
        it.platform.taken_although = once(OutcomeUnknown("cut"))
        await it.say(caller, "one", "two")
        await it.clock.advance(20)
        assert it.platform.texts == [["one", "two"]]
        assert await it.state_of(caller, 2) == "sent"


async def test_a_card_alone_is_not_looked_for_in_its_thread(tmp_path: Path) -> None:
    async with bench(tmp_path, SearchablePlatform, card_in_thread=True) as it:
        later = RetryLater("busy", 30, Scope.THREAD)
        it.platform.script = once(later, lambda part: part is None)
        caller = it.visitor()
        await it.say(caller, "dropped")
        await it.clock.advance(5)
        await it.store.drop((await it.store.outbox(None, 9))[0].id, it.clock.now())
        it.platform.script = once(OutcomeUnknown("no answer"), lambda part: part is None)
        await it.clock.advance(60)
        assert await it.store.outbox(None, 9) == []
        await it.say(caller, "one")
        await it.clock.advance(60)
        assert it.platform.sent == ["one"]


async def test_an_unknown_outcome_stays_one_where_looking_must_wait(tmp_path: Path) -> None:
    async with bench(tmp_path, SearchablePlatform) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        it.platform.taken_although = once(OutcomeUnknown("cut"))
        it.platform.script = once(RetryLater("429"), lambda part: part is None)
        await it.say(caller, "two")
        await it.clock.advance(60)
        assert it.platform.texts == [["one", "two"]]


async def test_a_thread_that_shows_up_late_is_found_whatever_was_tried_meanwhile(tmp_path: Path) -> None:
    async with bench(tmp_path, SlowToShowPlatform) as it:
        assert isinstance(it.platform, SlowToShowPlatform)
        it.platform.hidden = 1
        it.platform.taken_although = once(OutcomeUnknown("cut"), lambda part: part is None)
        await it.say(it.visitor(), "one")
        await it.clock.advance(0.5)
        it.platform.script = once(OutcomeUnknown("no answer"), lambda part: part is None)
        await it.clock.advance(30)
        assert it.platform.texts == [["one"]]


async def test_an_unknown_outcome_is_sent_again_with_its_token_where_it_cannot(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        it.platform.taken_although = once(OutcomeUnknown("cut"))
        await it.say(caller, "one", "two")
        await it.clock.advance(20)
        assert it.platform.texts == [["one", "one", "two"]]
        assert len(it.platform.tokens) == 2


@pytest.mark.parametrize("error", [AuthFailed("no", "mend it"), RetryLater("refused", outage=True)])
async def test_a_lane_that_is_down_is_probed_and_loses_nothing(tmp_path: Path, error: DeliveryError) -> None:
    async with bench(tmp_path) as it:
        callers = [it.visitor() for _ in range(20)]
        it.platform.script = lambda _thread, _part: error
        for caller in callers:
            await it.say(caller, "one", "two")
        await it.clock.advance(3600, step=10)
        lane = it.outbox.lanes[PLATFORM]
        assert lane.state is LaneState.DOWN
        assert len(it.platform.calls) < 200  # a probe a minute or so, not everything again and again
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(180)
        assert lane.state is LaneState.UP
        assert it.platform.texts == [["one", "two"]] * 20


async def test_a_thread_that_is_gone_gets_a_successor(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        (former,) = it.platform.threads
        await it.staff_says(former, "an answer")
        it.platform.script = once(ThreadGone("deleted"))
        await it.say(caller, "two")
        await it.clock.advance(10)
        assert it.platform.texts == [["one"], [PAST.format(link="", answer=ANSWER), "two"]]
        assert [part.silent for _, part in it.platform.parts] == [False, True, False]


async def test_a_former_thread_that_stands_is_linked_and_heard(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        (former,) = it.platform.threads
        it.platform.script = once(ThreadGone("deleted", stands=True))
        await it.say(caller, "two")
        await it.clock.advance(10)
        link = f"\n\nThe former thread is still there: https://platform.example/{former}"
        await it.staff_says(former, "said in the old one")
        await it.clock.advance(2)
        assert it.platform.texts == [["one"], [PAST.format(link=link, answer=""), "two", "said in the old one"]]
        assert "said in the old one" in [entry.text for entry in await it.store.folded(caller.visitor, None, 200)]


async def test_a_successors_past_stands_there_once_whatever_is_lost_on_the_way(tmp_path: Path) -> None:
    async with bench(tmp_path, SearchablePlatform) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        it.platform.script = once(ThreadGone("deleted"))
        it.platform.taken_although = once(OutcomeUnknown("cut"))
        await it.say(caller, "two")
        await it.clock.advance(2)
        it.platform.taken_although = once(OutcomeUnknown("cut"))
        await it.clock.advance(20)
        assert it.platform.texts == [["one"], [PAST.format(link="", answer=""), "two"]]


@pytest.mark.parametrize("error", [RetryLater("429"), RetryLater("down", outage=True), Rejected("too odd")])
async def test_a_successor_whose_first_message_is_put_off_shows_its_past_all_the_same(
    tmp_path: Path, error: DeliveryError
) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        errors = [error, ThreadGone("deleted")]
        at = "two" if isinstance(error, Rejected) else ""  # not what goes before it
        it.platform.script = lambda _thread, part: errors.pop() if errors and part and at in str(part) else None
        await it.say(caller, "two")
        await it.clock.advance(60)
        await it.say(caller, "three")
        await it.clock.advance(10)
        two = "A message could not be delivered here: too odd" if isinstance(error, Rejected) else "two"
        assert it.platform.texts == [["one"], [PAST.format(link="", answer=""), two, "three"]]


async def test_an_unknown_outcome_in_a_thread_that_goes_does_not_concern_its_successor(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        it.platform.script = once(OutcomeUnknown("cut"))
        await it.say(caller, "two")
        await it.clock.advance(0.1)
        it.platform.script = once(ThreadGone("deleted"))
        await it.clock.advance(20)
        assert it.platform.texts == [["one"], [PAST.format(link="", answer=""), "two"]]
        assert it.outbox.lanes[PLATFORM].possible_duplicates == 0


async def test_a_text_that_was_partly_in_a_thread_that_goes_is_whole_in_its_successor(tmp_path: Path) -> None:
    async with bench(tmp_path, KnowingPlatform) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        long = "a" * 3999 + " " + "b" * 3000
        it.platform.script = once(ThreadGone("deleted"), lambda part: part is not None and "b" in str(part.pieces))
        await it.conversations.send(caller, "long", long, ())
        await it.clock.advance(20)
        assert "".join(it.platform.texts[1][1:]) == long


async def test_a_first_text_that_was_partly_in_a_thread_that_goes_is_whole_in_its_successor(tmp_path: Path) -> None:
    async with bench(tmp_path, KnowingPlatform) as it:
        caller = it.visitor()
        long = "a" * 3999 + " " + "b" * 3000
        it.platform.script = once(ThreadGone("deleted"), lambda part: part is not None and "b" in str(part.pieces))
        await it.conversations.send(caller, "long", long, ())
        await it.clock.advance(20)
        assert "".join(it.platform.texts[1]) == long


async def test_an_edit_of_what_stands_in_a_former_thread_is_told_in_its_successor(tmp_path: Path) -> None:
    async with bench(tmp_path, EditingPlatform) as it:
        caller = it.visitor(MIRRORED)
        await it.say(caller, "one")
        await it.clock.advance(2)
        at_other = next(thread for thread in it.platform.threads if thread.startswith("other"))
        said = StaffMessage(at_other, RemoteId("s"), ANNA, RichText("before"), it.clock.now())
        await it.conversations.take(PLATFORM.adapter, [said], None)
        await it.clock.advance(2)
        gone = [thread for thread in it.platform.threads if thread != at_other]
        it.platform.script = lambda thread, _part: ThreadGone("deleted") if thread in gone else None
        await it.say(caller, "two")
        await it.clock.advance(10)
        edit = StaffEdit(at_other, RemoteId("s"), ANNA, RichText("after"), it.clock.now(), "1")
        await it.conversations.take(PLATFORM.adapter, [edit], None)
        await it.clock.advance(10)
        successor = list(it.platform.threads.values())[-1]
        assert successor[1:] == ["two", "(edited) after"]


async def test_a_change_that_a_mirror_refuses_is_told_there_as_a_text(tmp_path: Path) -> None:
    async with bench(tmp_path, EditingPlatform) as it:
        assert isinstance(it.platform, EditingPlatform)
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        for number in (1, 2):
            said = StaffMessage(written, RemoteId(str(number)), ANNA, RichText("before"), it.clock.now())
            await it.conversations.take(PLATFORM.adapter, [said], None)
        await it.clock.advance(5)
        it.platform.fixed = True
        edit = StaffEdit(written, RemoteId("1"), ANNA, RichText("after"), it.clock.now(), "1")
        deletion = StaffDeletion(written, RemoteId("2"), it.clock.now())
        await it.conversations.take(PLATFORM.adapter, [edit, deletion], None)
        await it.staff_says(written, "seen?")
        await it.clock.advance(10)
        assert shown[3:] == ["(edited) after", "(deleted an earlier message)", "seen?"]
        assert await it.store.outbox("dead", 9) == []


async def changes(it: Bench, written: ThreadKey, number: int, *texts: str | None) -> None:
    """Have staff change what they said as their `number`-th message to each text, or delete it."""
    id, now = RemoteId(f"s{number}"), it.clock.now()
    for text in texts:
        edit = StaffEdit(written, id, ANNA, RichText(text or ""), now, text or "")
        await it.conversations.take(PLATFORM.adapter, [edit if text else StaffDeletion(written, id, now)], None)


async def changed_unsent(it: Bench, written: ThreadKey, before: str, after: str | None) -> None:
    """Have staff say something and change it, or delete it, while the mirrors are down; they are up again then."""
    it.platform.script = lambda _thread, _part: RetryLater("down", outage=True)
    await it.staff_says(written, before)
    await it.clock.advance(5)
    await changes(it, written, it._said, after)
    it.platform.script = lambda _thread, _part: None
    await it.clock.advance(90)


@pytest.mark.parametrize("coalesces", [False, True])
@pytest.mark.parametrize("kind", [Platform, EditingPlatform])
async def test_what_staff_change_while_a_mirror_is_down_stands_there_once_as_it_reads_by_then(
    tmp_path: Path, kind: type[Platform], *, coalesces: bool
) -> None:
    async with bench(tmp_path, kind, coalesces=coalesces) as it:
        caller = it.visitor(MIRRORED)
        written, shown = await of_another_thread(it, caller)
        it.platform.script = lambda thread, _: None if thread == written else RetryLater("down", outage=True)
        await it.staff_says(written, "a fist", "a.png")
        first = it._said
        await it.staff_says(written, "a secret", "b.png")
        await it.staff_says(written, "an answer")
        await it.clock.advance(5)
        await changes(it, written, first, "a fisrt", "a first")
        await changes(it, written, first + 1, "no secret", None)
        await it.say(caller, "thanks")
        await it.clock.advance(30)
        assert shown == ["one"]
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(90)
        assert shown == ["one", "a first", "a.png", "an answer", "thanks"]
        assert await it.store.outbox(None, 9) == []


async def test_a_mirror_that_was_down_for_all_of_a_deleted_reply_is_up_again_without_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        await changed_unsent(it, written, "a secret", None)
        assert shown == ["one"]
        assert it.outbox.lanes[PLATFORM].state is LaneState.UP
        await it.staff_says(written, "an answer")
        await it.clock.advance(5)
        assert shown == ["one", "an answer"]


async def test_an_edit_of_a_reply_that_was_deleted_before_it_was_sent_is_told(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        await changed_unsent(it, written, "for you", "// for us")
        await changes(it, written, it._said, "for you after all")
        await it.clock.advance(5)
        assert shown == ["one", "(edited) for you after all"]


async def test_what_may_stand_at_a_mirror_is_changed_there_and_not_sent_as_another_text(tmp_path: Path) -> None:
    async with bench(tmp_path, SearchablePlatform) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        it.platform.taken_although = once(OutcomeUnknown("cut"))
        await it.staff_says(written, "before")
        await it.clock.advance(0.1)
        assert shown == ["one", "before"]
        await changes(it, written, it._said, "after")
        await it.clock.advance(90)
        assert shown == ["one", "before", "(edited) after"]


async def test_a_changed_text_of_which_a_part_stands_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    async with bench(tmp_path, KnowingPlatform) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        down = RetryLater("down", outage=True)
        it.platform.script = lambda _thread, _part: down
        await it.staff_says(written, "before")
        await it.clock.advance(5)
        long = "a" * 3999 + " " + "b" * 3000
        await changes(it, written, it._said, long)
        it.platform.script = lambda _thread, part: down if part and "b" in str(part.pieces) else None
        await it.clock.advance(90)
        assert len(shown) == 2
        await changes(it, written, it._said, "after")
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(90)
        assert ["".join(shown[1:3]), *shown[3:]] == [long, "(edited) after"]


@pytest.mark.parametrize("error", [RetryLater("down", outage=True), Rejected("too odd")])
async def test_of_a_deleted_text_of_which_a_part_stands_nothing_more_is_sent(
    tmp_path: Path, error: DeliveryError
) -> None:
    """Be it that the mirror is up again, or that the operator has it sent again."""
    async with bench(tmp_path) as it:
        caller = it.visitor(MIRRORED)
        written, shown = await of_another_thread(it, caller)
        it.platform.script = breaks_off(error)
        await it.staff_says(written, LONG)
        await it.clock.advance(30)
        await changes(it, written, it._said, None)
        await it.clock.advance(30)
        it.platform.script = lambda _thread, _part: None
        await it.store.revive(None, it.clock.now())
        await it.clock.advance(90)
        await it.say(caller, "thanks")
        await it.clock.advance(30)
        assert not any("bbb" in text for text in shown)
        assert shown[-2:] == ["(deleted an earlier message)", "thanks"]
        assert await it.store.outbox(None, 9) == []


@pytest.mark.parametrize("kind", [Platform, SearchablePlatform])
async def test_what_may_stand_and_was_given_up_is_not_sent_where_it_is_retried_after_its_deletion(
    tmp_path: Path, kind: type[Platform]
) -> None:
    async with bench(tmp_path, kind) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        defect = cast("DeliveryError", ZeroDivisionError())
        it.platform.script = lambda _thread, part: defect if "bad" in str(part) else None
        await it.staff_says(written, "bad")
        await it.clock.advance(90)
        await changes(it, written, it._said, None)
        await it.clock.advance(5)
        it.platform.script = lambda _thread, _part: None
        await it.store.revive(None, it.clock.now())
        await it.clock.advance(300)
        instead = "A message could not be delivered here: unexpected ZeroDivisionError"
        assert shown == ["one", instead, "(deleted an earlier message)"]
        assert await it.store.outbox(None, 9) == []


async def changed(it: Bench, written: ThreadKey, gone: Collection[ThreadKey]) -> None:
    """Have staff say two things, then delete the second and edit the first when threads that show them are gone."""
    for number in (1, 2):
        said = StaffMessage(written, RemoteId(str(number)), ANNA, RichText(f"before {number}"), it.clock.now())
        await it.conversations.take(PLATFORM.adapter, [said], None)
    await it.clock.advance(5)
    it.platform.script = lambda thread, _part: ThreadGone("deleted") if thread in gone else None
    edit = StaffEdit(written, RemoteId("1"), ANNA, RichText("after"), it.clock.now(), "1")
    deletion = StaffDeletion(written, RemoteId("2"), it.clock.now())
    await it.conversations.take(PLATFORM.adapter, [deletion, edit], None)
    await it.clock.advance(5)


async def test_a_change_in_a_thread_that_is_gone_opens_no_other(tmp_path: Path) -> None:
    async with bench(tmp_path, EditingPlatform) as it:
        caller = it.visitor(MIRRORED)
        written, _ = await of_another_thread(it, caller)
        threads = set(it.platform.threads)
        gone = threads - {written}
        await changed(it, written, gone)
        assert set(it.platform.threads) == threads
        await it.say(caller, "two")
        await it.clock.advance(10)
        (opened,) = set(it.platform.threads) - threads
        past, *texts = it.platform.threads[opened]
        assert texts == ["two"]
        assert "after" in past
        assert "before" not in past


async def test_a_successor_that_a_deletion_opens_does_not_show_what_was_deleted(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        written, _ = await of_another_thread(it, it.visitor(MIRRORED))
        threads = set(it.platform.threads)
        gone = threads - {written}
        await changed(it, written, gone)
        (opened,) = set(it.platform.threads) - threads
        past, *texts = it.platform.threads[opened]
        assert texts == ["(deleted an earlier message)", "(edited) after"]
        assert "after" in past
        assert "before" not in past


async def test_a_successor_does_not_show_what_was_deleted_however_much_waits_ahead_of_that(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor(MIRRORED)
        written, shown = await of_another_thread(it, caller)
        await it.staff_says(written, "a secret")
        await it.clock.advance(5)
        assert shown == ["one", "a secret"]
        gone = set(it.platform.threads) - {written}
        it.platform.script = lambda thread, _: ThreadGone("deleted") if thread in gone else None
        message = RemoteId(f"s{it._said}")
        await it.say(caller, "two")
        deletion = StaffDeletion(written, message, it.clock.now())
        await it.conversations.take(PLATFORM.adapter, [deletion], None)
        await it.clock.advance(30)
        past, *texts = it.platform.texts[-1]
        assert texts == ["two", "(deleted an earlier message)"]
        assert "secret" not in past


@pytest.mark.parametrize("error", [Rejected("too odd"), cast("DeliveryError", ZeroDivisionError())])
async def test_what_went_before_takes_no_message_along_where_it_is_refused(
    tmp_path: Path, error: DeliveryError
) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        gone = list(it.platform.threads)
        it.platform.script = lambda thread, part: (
            ThreadGone("deleted") if thread in gone else error if "Before that" in str(part) else None
        )
        await it.say(caller, "two", "three")
        await it.clock.advance(900, step=5)
        assert it.platform.texts == [["one"], ["two", "three"]]


@pytest.mark.parametrize("searchable", [False, True])
async def test_what_fails_behind_what_went_before_is_given_up_alone_and_told(tmp_path: Path, searchable: bool) -> None:
    async with bench(tmp_path, SearchablePlatform if searchable else Platform) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        gone = list(it.platform.threads)
        defect = cast("DeliveryError", ZeroDivisionError())
        it.platform.script = lambda thread, part: (
            ThreadGone("deleted") if thread in gone else defect if str(part).count("b" * 100) else None
        )
        await it.say(caller, "a" * 4000 + "b" * 4000, "three")
        await it.clock.advance(900, step=5)
        past, begun, notice, behind = it.platform.texts[1]
        assert ("Before that" in past, begun, behind) == (True, "a" * 4000, "three")
        assert "could not be delivered" in notice
        assert await it.state_of(caller, 3) == "failed"


async def test_what_went_before_is_in_the_way_of_one_message_alone(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        gone = list(it.platform.threads)
        tried: list[str] = []

        def refuses(thread: str, part: Part | None) -> DeliveryError | None:
            if thread in gone:
                return ThreadGone("deleted")
            tried.append(str(part))
            return Rejected("too odd") if "Before that" in str(part) else None

        it.platform.script = refuses
        for text in ("two", "three", "four"):
            await it.say(caller, text)
            await it.clock.advance(60)
        assert sum("Before that" in text for text in tried) == 1
        assert it.platform.texts[1] == ["two", "three", "four"]


async def test_no_thread_for_what_was_closed_while_a_destination_was_down(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        down = {"other": True}
        refuse = RetryLater("refused", outage=True)
        it.platform.script = lambda thread, _part: refuse if thread.startswith("other") and down["other"] else None
        closed, still_open = it.visitor(MIRRORED), it.visitor(MIRRORED)
        first = await it.conversations.send(closed, "c", "one", ())
        await it.say(still_open, "two")
        await it.clock.advance(300)
        thread = it.platform.texts.index(["two"])
        await it.staff_says(list(it.platform.threads)[thread], "an answer")
        await it.conversations.close(first.message.conversation, PLATFORM.adapter, ANNA)
        await it.clock.advance(3600, step=10)
        down["other"] = False
        await it.clock.advance(180)
        at_other = [thread for thread in it.platform.threads if thread.startswith("other")]
        assert [it.platform.threads[thread] for thread in at_other] == [["two", "an answer"]]
        late = [part for thread, part in it.platform.parts if thread in at_other]
        assert all(part.silent and part.pieces[0].at for part in late)
        assert await it.state_of(closed, 2) == "sent"

        await it.say(closed, "back again")
        await it.clock.advance(5)
        again = list(it.platform.threads.values())[-1]
        assert "one" in again[0]
        assert again[1:] == ["The visitor came back: the conversation is open again.", "back again"]


async def test_what_nobody_has_seen_calls_staff_however_late_it_is(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        refuse = RetryLater("refused", outage=True)
        it.platform.script = lambda _thread, _part: refuse
        caller = it.visitor()
        sent = await it.conversations.send(caller, "c", "one", ())
        await it.conversations.close(sent.message.conversation, PLATFORM.adapter, ANNA)
        await it.clock.advance(3600, step=10)
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(180)
        ((_, part), *_) = it.platform.parts
        assert (part.pieces[0].text.text, part.silent) == ("one", False)
        assert part.pieces[0].at


async def test_staff_elsewhere_are_told_once_where_only_a_person_can_mend_a_destination(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        down = {"other": True}
        refuse = AuthFailed("the bot was removed", "add it again")
        it.platform.script = lambda thread, _part: refuse if thread.startswith("other") and down["other"] else None
        callers = [it.visitor(MIRRORED) for _ in range(3)]
        for caller in callers:
            await it.say(caller, "one")
        await it.clock.advance(600, step=5)
        notices = [text for texts in it.platform.texts for text in texts if "add it again" in text]
        assert len(notices) == 1
        assert "platform:other" in notices[0]
        down["other"] = False
        await it.clock.advance(120)
        assert it.platform.texts.count(["one"]) == 5


async def test_staff_elsewhere_are_told_once_in_each_outage_whatever_restarts(tmp_path: Path) -> None:
    refuse = AuthFailed("the bot was removed", "add it again")
    platform: Platform | None = None
    notices = []
    for down in (True, True, False, True):
        async with bench(tmp_path, platform=platform) as it:
            platform = it.platform
            platform.script = lambda thread, _part, down=down: (  # type: ignore[misc]
                refuse if thread.startswith("other") and down else None
            )
            await it.say(it.visitor(MIRRORED), "one")
            await it.clock.advance(120)
            notices.append(sum("add it again" in text for text in platform.sent))
    assert notices == [1, 1, 1, 2]


@pytest.mark.parametrize(("coalesces", "card_in_thread"), [(False, True), (True, False), (False, False)])
async def test_nothing_is_lost_where_a_thread_goes_while_much_waits(
    tmp_path: Path, *, coalesces: bool, card_in_thread: bool
) -> None:
    async with bench(tmp_path, coalesces=coalesces, card_in_thread=card_in_thread) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        it.platform.script = once(ThreadGone("deleted"))
        await it.say(caller, "two", "three", "four")
        await it.clock.advance(10)
        card, past = ([], "") if card_in_thread else (["Visitor"], "Visitor\n\n")
        past += PAST.format(link="", answer="")
        assert it.platform.texts == [[*card, "one"], [past, "two", "three", "four"]]


async def test_a_lost_hint_is_made_up_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await it.clock.advance(1)
        it.wakeups.publish = lambda *_: None  # type: ignore[method-assign]
        await it.say(it.visitor(), "hello")
        await it.clock.advance(20)
        assert it.platform.texts == [["hello"]]


async def test_a_store_that_fails_in_the_middle_strands_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        left = [StoreFull("full"), StoreFull("full")]
        opened = it.store.opened

        async def sometimes(*arguments: object) -> object:
            if left:
                raise left.pop()
            return await opened(*arguments)  # type: ignore[arg-type]

        it.store.opened = sometimes  # type: ignore[method-assign, assignment]
        await it.say(it.visitor(), "hello")
        await it.clock.advance(60)
        assert it.platform.texts == [["hello"]]


async def test_a_store_that_fails_between_two_parts_has_none_of_them_sent_twice(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        left, receipt = [StoreFull("full"), StoreFull("full")], it.store.receipt

        async def sometimes(claim: Claim, index: int, remote: RemoteId, until: datetime) -> None:
            if left:
                raise left.pop()
            await receipt(claim, index, remote, until)

        it.store.receipt = sometimes  # type: ignore[method-assign]
        await it.say(it.visitor(), "a" * 6000)
        await it.clock.advance(60)
        assert [len(text) for text in it.platform.sent] == [4000, 2000]


async def test_a_store_that_lacks_memory_for_a_moment_gives_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        failing = [MemoryError()] * 4  # an operation that fails is undone, and run again by itself

        def time(at: datetime) -> int:
            if failing and it.platform.sent[-1] == "two":
                raise failing.pop()
            return rows.milliseconds(at)

        monkeypatch.setattr(outbox_operations, "milliseconds", time)
        await it.say(caller, "two", "three")
        await it.clock.advance(60)
        assert (it.platform.sent, failing) == (["one", "two", "three"], [])
        assert await it.state_of(caller, 3) == "sent"


async def test_a_store_that_fails_while_a_thread_is_given_up_holds_its_conversation_up_no_longer(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        left, abandon = [StoreFull("full"), StoreFull("full")], it.store.abandon_thread

        async def sometimes(claim: Claim, reason: str, *, stands: bool) -> None:
            if left:
                raise left.pop()
            await abandon(claim, reason, stands=stands)

        it.store.abandon_thread = sometimes  # type: ignore[method-assign]
        it.platform.script = once(ThreadGone("deleted"))
        await it.say(caller, "two")
        await it.clock.advance(60)
        assert it.platform.texts == [["one"], [PAST.format(link="", answer=""), "two"]]


async def test_a_channel_that_is_configured_no_more_is_still_served(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        former = Destination(PLATFORM.adapter, "former")
        site = replace(SITE, destinations=((former,),))
        await it.say(Caller(it.conversations.new_visitor(), site, Profile()), "hello")
        await it.clock.advance(2)
        assert it.platform.texts == [["hello"]]


async def test_who_is_stopped_while_it_looks_for_such_channels_begins_with_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = replace(SITE, destinations=((Destination(PLATFORM.adapter, "former"),),))
    async with bench(tmp_path) as it:
        it.platform.script = lambda _thread, _part: RetryLater("503", None, Scope.CHANNEL)
        await it.say(Caller(it.conversations.new_visitor(), site, Profile()), "hello")
        await it.clock.advance(2)
    async with bench(tmp_path, platform=it.platform) as it:
        destinations = it.store.destinations

        async def look() -> Sequence[Destination]:
            found = await destinations()
            it.outbox.stop()
            return found

        monkeypatch.setattr(it.store, "destinations", look)
        await it.clock.advance(5)
        assert list(it.outbox.lanes) == [PLATFORM]


async def test_a_text_that_cannot_be_planned_is_given_up_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        measure = it.platform.measure

        def defective(pieces: Sequence[Piece]) -> int:
            if any("bad" in piece.text.text for piece in pieces):
                raise ZeroDivisionError
            return measure(pieces)

        it.platform.measure = defective  # type: ignore[method-assign]
        await it.say(it.visitor(), "bad", "good")
        await it.clock.advance(30)
        (texts,) = it.platform.texts
        assert texts == ["A message could not be delivered here: unexpected ZeroDivisionError", "good"]


async def test_what_cannot_be_planned_is_sent_once_it_can_where_it_may_stand_too(tmp_path: Path) -> None:
    """As anything may that waited in a backup which was restored."""
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        it.platform.script = lambda _thread, _part: RetryLater("down", outage=True)
        await it.say(caller, "bad")
        await it.clock.advance(2)
    await asyncio.to_thread(restore, tmp_path)
    it.platform.script = lambda _thread, _part: None
    async with bench(tmp_path, platform=it.platform) as it:
        measure = it.platform.measure
        of_the_planning(it)
        await it.clock.advance(60)
        (dead,) = await it.store.outbox("dead", 9)
        it.platform.measure = measure  # type: ignore[method-assign]
        await it.store.revive([dead.id], it.clock.now())
        await it.clock.advance(60)
        assert it.platform.sent == [
            "one", "A message could not be delivered here: unexpected ZeroDivisionError", "bad"
        ]  # fmt: skip
        assert await it.state_of(caller, 3) == "sent"


def restore(path: Path) -> None:
    """Make the store what a restored backup is: a copy, of whose deliveries nobody knows the fate."""
    with closing(sqlite3.connect(path / "store.db", isolation_level=None)) as db:
        schema.end_generation(db)


async def test_a_defect_of_an_adapter_is_given_up_in_the_end(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()

        def defective(_thread: str, part: Part | None) -> DeliveryError | None:
            if part and "bad" in str(part):
                raise ZeroDivisionError
            return None

        it.platform.script = defective
        await it.say(caller, "bad", "good")
        await it.clock.advance(300)
        assert it.platform.texts == [["A message could not be delivered here: unexpected ZeroDivisionError", "good"]]


async def test_a_defect_at_one_text_takes_none_of_those_along_that_it_was_joined_with(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(1, 10), coalesces=True) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(12)
        defect = cast("DeliveryError", ZeroDivisionError())
        it.platform.script = lambda _thread, part: defect if "bad" in str(part) else None
        await it.say(caller, "two", "bad", "four")
        await it.clock.advance(600)
        instead = "A message could not be delivered here: unexpected ZeroDivisionError"
        assert it.platform.texts == [["one", "two", instead, "four"]]
        assert [await it.state_of(caller, seq) for seq in (3, 4, 5)] == ["sent", "failed", "sent"]
        # Joined once more, then each by itself, one of them five times: any attempt may have got through.
        assert it.outbox.lanes[PLATFORM].possible_duplicates == 8


async def test_a_defect_behind_what_was_joined_leaves_few_copies(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(1, 10), coalesces=True) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(12)
        defect = cast("DeliveryError", ZeroDivisionError())
        it.platform.taken_although = lambda _thread, part: defect if part and len(part.pieces) > 1 else None
        await it.say(caller, "two", "three")
        await it.clock.advance(600)
        assert it.platform.sent == ["one", *["two", "three"] * 3]
        assert it.outbox.lanes[PLATFORM].possible_duplicates == 3  # joined once more, then each by itself
        assert [await it.state_of(caller, seq) for seq in (3, 4)] == ["sent", "sent"]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), MemoryError()], ids=["file", "memory"])
async def test_what_cannot_be_read_for_a_moment_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int
) -> None:
    failing = [error] * times
    entry = rows.entry

    def read(row: rows.Row) -> Entry:
        found = entry(row)
        if found.text == "three" and failing:
            raise failing.pop()
        return found

    async with bench(tmp_path, budget=Budget(1, 10), coalesces=True) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(12)
        monkeypatch.setattr(rows, "entry", read)
        await it.say(caller, "two", "three", "four")
        await it.clock.advance(60)
        assert (it.platform.sent, failing) == (["one", "two", "three", "four"], [])


async def test_what_cannot_be_read_by_a_defect_holds_nothing_up_and_is_told_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = rows.entry

    def read(row: rows.Row) -> Entry:
        found = entry(row)
        if found.text == "three":
            raise ValueError("no such format")
        return found

    async with bench(tmp_path, budget=Budget(1, 10), coalesces=True) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(12)
        with monkeypatch.context() as broken, structlog.testing.capture_logs() as told:
            broken.setattr(rows, "entry", read)
            await it.say(caller, "two", "three", "four")
            await it.clock.advance(3600, step=60)
        instead = "A message could not be delivered here: unexpected ValueError"
        assert it.platform.sent == ["one", "two", instead, "four"]
        errors = [repr(each["exc_info"]) for each in told if each["log_level"] == "error"]
        assert errors == ["ValueError('no such format')"]
        (lost,) = await it.store.outbox(None, 9)
        assert (lost.state, lost.reason) == ("dead", "unexpected ValueError")
        await it.store.revive(None, it.clock.now())  # as it can be read again
        await it.clock.advance(60)
        assert it.platform.sent == ["one", "two", instead, "four", "three"]


def damage(path: Path, text: str, attachments: str | None = "[") -> None:
    """Have an entry's row hold what nobody can read, or let it be read again."""
    with closing(sqlite3.connect(path / "store.db")) as db, db:
        changed = db.execute("update entry set attachments = ? where text = ?", (attachments, text)).rowcount
        assert changed == 1


UNREADABLE = "A message could not be delivered here: unexpected DecodeError"


async def test_a_text_that_can_be_read_no_more_goes_on_where_it_broke_off_once_it_can(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        long = "x" * 4000 + "yyy"
        it.platform.script = lambda _thread, part: RetryLater("down", outage=True) if "yyy" in str(part) else None
        caller = it.visitor()
        await it.say(caller, long)
        await it.clock.advance(3)
        damage(tmp_path, long)
        it.platform.script = lambda _thread, _part: None
        await it.say(caller, "three")
        await it.clock.advance(90)
        assert it.platform.sent == ["x" * 4000, UNREADABLE, "three"]
        damage(tmp_path, long, None)
        await it.store.revive(None, it.clock.now())
        await it.clock.advance(90)
        assert it.platform.sent[3:] == ["yyy"]
        assert await it.state_of(caller, 2) == "sent"


async def test_a_text_that_can_be_read_no_more_takes_none_of_those_along_that_it_was_joined_with(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, budget=Budget(1, 10), coalesces=True) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(12)
        it.platform.script = once(OutcomeUnknown("no answer"))
        await it.say(caller, "two", "three")
        await it.clock.advance(1)
        damage(tmp_path, "three")
        await it.clock.advance(90)
        assert it.platform.sent == ["one", "two", UNREADABLE]


async def test_a_thread_goes_on_elsewhere_though_something_before_it_can_be_read_no_more(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one", "a part of it")
        await it.clock.advance(3)
        damage(tmp_path, "a part of it")
        it.platform.script = once(ThreadGone("deleted"))
        await it.say(caller, "three")
        await it.clock.advance(30)
        assert it.platform.texts[1] == [PAST.format(link="", answer=""), "three"]


HALF = "half of a character: \ud83d"


@pytest.mark.parametrize("error", [Rejected(HALF), ThreadGone(HALF), OutcomeUnknown(HALF), RetryLater(HALF)])
async def test_half_of_a_character_in_an_answer_holds_nothing_up(tmp_path: Path, error: DeliveryError) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(3)
        it.platform.script = once(error)
        await it.say(caller, "two", "three")
        await it.clock.advance(60)
        assert it.platform.sent[-1] == "three"


class OddPlatform(Platform):
    """One that answers some texts with an id that no store takes."""

    odd_threads = False

    async def open_thread(self, channel: str, card: Card, token: Token) -> Opened:
        opened = await super().open_thread(channel, card, token)
        if not self.odd_threads:
            return opened
        odd = ThreadKey(f"{opened.thread} {HALF}")
        self.threads[odd] = self.threads.pop(opened.thread)
        return Opened(odd, opened.card)

    async def send(self, thread: ThreadKey, part: Part, token: Token) -> RemoteId:
        receipt = await super().send(thread, part, token)
        return RemoteId(HALF) if "odd" in str(part) else receipt


@pytest.mark.parametrize("text", ["odd", "odd" + "x" * 4000, ""], ids=len)
async def test_what_stands_under_an_id_that_cannot_be_stored_counts_as_sent(tmp_path: Path, text: str) -> None:
    async with bench(tmp_path, OddPlatform, coalesces=True) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(3)
        await it.say_with(caller, text, "odd.png", "b.png")
        await it.say(caller, "three")
        await it.clock.advance(4000, step=60)
        parts = [text[:4000], text[4000:]]
        assert it.platform.texts == [["one", *filter(None, parts), "odd.png", "b.png", "three"]]
        assert await it.state_of(caller, 3) == "sent"


async def test_what_is_joined_under_an_id_that_cannot_be_stored_counts_as_sent(tmp_path: Path) -> None:
    async with bench(tmp_path, OddPlatform, budget=Budget(1, 10), coalesces=True) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(12)
        await it.say(caller, "two", "odd", "four")
        await it.clock.advance(4000, step=60)
        assert it.platform.texts == [["one", "two", "odd", "four"]]
        assert [await it.state_of(caller, seq) for seq in (3, 4, 5)] == ["sent"] * 3


async def test_a_change_of_what_stands_under_an_id_that_cannot_be_stored_is_told_as_a_text(tmp_path: Path) -> None:
    class Odd(OddPlatform, EditingPlatform):
        """One that can change what it sent, where it is told what."""

    async with bench(tmp_path, Odd) as it:
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        await it.staff_says(written, "odd")
        await it.clock.advance(5)
        await changes(it, written, it._said, "even")
        await it.clock.advance(30)
        assert shown == ["one", "odd", "(edited) even"]


async def test_what_follows_an_id_that_cannot_be_stored_is_looked_for_all_the_same(tmp_path: Path) -> None:
    class Odd(OddPlatform, SearchablePlatform):
        """One whose threads are searched from a message on."""

        async def find_sent(
            self, thread: ThreadKey, parts: Mapping[Token, Part], since: datetime, after: RemoteId | None
        ) -> Mapping[Token, RemoteId]:
            assert after is None or after in self.tokens.values()
            return await super().find_sent(thread, parts, since, after)

    async with bench(tmp_path, Odd) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(3)
        it.platform.taken_although = once(OutcomeUnknown("cut"), lambda part: "three" in str(part))
        await it.say(caller, "odd", "three")
        await it.clock.advance(30)
        assert it.platform.sent == ["one", "odd", "three"]
        assert await it.state_of(caller, 4) == "sent"


async def test_past_whose_id_cannot_be_stored_holds_up_no_message(tmp_path: Path) -> None:
    async with bench(tmp_path, OddPlatform) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(3)
        gone = list(it.platform.threads)
        it.platform.script = lambda thread, _part: ThreadGone("odd") if thread in gone else None
        await it.say(caller, "two", "three")
        await it.clock.advance(4000, step=5)
        assert it.platform.texts[1][1:] == ["two", "three"]


async def test_what_is_sent_into_a_thread_whose_id_cannot_be_stored_counts_as_sent(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logged:
        async with bench(tmp_path, OddPlatform, coalesces=True) as it:
            cast("OddPlatform", it.platform).odd_threads = True
            caller = it.visitor()
            for text in ("one", "x" * 4000 + "yyy"):
                await it.say(caller, text)
                await it.clock.advance(60)
            assert it.platform.texts == [["one"], ["So far:\n\nVisitor, 2026-05-01 12:00 UTC\none", "x" * 4000, "yyy"]]
            assert [await it.state_of(caller, seq) for seq in (2, 3)] == ["sent", "sent"]
    assert [line["log_level"] for line in logged if line["event"] == "thread_unstorable"] == ["error"] * 2


@pytest.mark.parametrize("broken", ["add", "next_due"])
async def test_a_defect_of_a_lane_strands_nothing_and_ends_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    works, failing = getattr(Queue, broken), [ZeroDivisionError()]

    def defective(*arguments: object) -> object:
        if failing:
            raise failing.pop()
        return works(*arguments)

    async with bench(tmp_path, budget=Budget(1, 10)) as it:
        caller, other = it.visitor(), it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(3)
        await it.say(caller, "two", "three")
        await it.say(other, "four")
        monkeypatch.setattr(Queue, broken, defective)
        await it.clock.advance(120)
        assert sorted(it.platform.texts) == [["four"], ["one", "two", "three"]]
        assert failing == []


async def test_what_is_dropped_again_and_again_is_not_remembered_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_REMEMBERED", 2)
    monkeypatch.setattr(sending, "_REMEMBERED", 2)
    async with bench(tmp_path) as it:
        other = it.visitor()
        it.platform.script = lambda thread, _part: (
            RetryLater("out of reach", outage=True)
            if it.platform.threads and thread not in it.platform.threads
            else None
        )
        for _ in range(6):
            await it.say(other, "gets through")
            await it.clock.advance(3)
            await it.say(it.visitor(), "never opens")
            await it.clock.advance(3)
            for waiting in await it.store.outbox(None, 9):
                await it.store.drop(waiting.id, it.clock.now())
            await it.clock.advance(120)
        lane = it.outbox.lanes[PLATFORM]
        assert 0 < len(lane.health._failed) <= 2
        assert len(lane.health._alone) <= 2
        assert 0 < len(lane._sender._tried) <= 2


def of_the_platform(it: Bench) -> None:
    it.platform.script = once(Rejected("too odd"))


def of_the_adapter(it: Bench) -> None:
    defect = cast("DeliveryError", ZeroDivisionError())
    it.platform.script = lambda _thread, part: defect if part and part.pieces[0].text.text == "bad" else None


def of_the_planning(it: Bench) -> None:
    def defective(pieces: Sequence[Piece]) -> int:
        return 1 // (0 if pieces[0].text.text == "bad" else 1)

    it.platform.measure = defective  # type: ignore[method-assign]


@pytest.mark.parametrize("fault", [of_the_platform, of_the_adapter, of_the_planning])
async def test_the_log_tells_once_of_whatever_is_given_up(tmp_path: Path, fault: Callable[[Bench], None]) -> None:
    with structlog.testing.capture_logs() as logged:
        async with bench(tmp_path) as it:
            caller = it.visitor()
            await it.say(caller, "opens")
            await it.clock.advance(2)
            fault(it)
            await it.say(caller, "bad", "good")
            await it.clock.advance(300)
            (dead,) = await it.store.outbox("dead", 9)
    (told,) = (line for line in logged if line["event"] == "delivery_dead")
    assert told == {
        "event": "delivery_dead", "log_level": "warning", "delivery": dead.id, "destination": "platform",
        "reason": dead.reason,
    }  # fmt: skip


def both_sides(it: Bench) -> Caller:
    """Return a visitor whose conversation the desk shows as well, where staff can answer and close it."""
    return replace(it.visitor(), site=replace(SITE, destinations=((PLATFORM,), (DESK,))))


async def test_what_is_only_stored_is_not_dropped_where_no_person_closed_the_conversation(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        known, guest, closed = (both_sides(it) for _ in range(3))
        await it.conversations.send(replace(known, profile=Profile(identity="u1")), "k", "from before", ())
        await it.clock.advance(2)
        it.platform.script = lambda _thread, _part: RetryLater("down", outage=True)
        await it.say(guest, "as a guest")
        await it.conversations.identify(guest.site, guest.visitor, Profile(identity="u1"))
        await it.conversations.close(await it.say(closed, "unseen"), DESK.adapter, ANNA)
        await it.clock.advance(300)
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(200)
        assert {"as a guest", "unseen"} <= set(it.platform.sent)
        texts = ("as a guest", "unseen")
        late = [part for _, part in it.platform.parts if part.pieces[0].text.text in texts]
        assert [part.silent for part in late] == [False, False]


async def test_a_merge_of_logs_drops_nothing_of_what_waits(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        known, guest = it.visitor(MIRRORED), it.visitor(MIRRORED)
        await it.conversations.send(replace(known, profile=Profile(identity="u1")), "k", "from before", ())
        await it.clock.advance(2)
        down = RetryLater("down", outage=True)
        it.platform.script = lambda thread, _part: None if thread.startswith("other") else down
        await it.say(guest, "as a guest")
        await it.clock.advance(2)
        await it.conversations.identify(guest.site, guest.visitor, Profile(identity="u1"))
        await it.clock.advance(300)
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(200)
        assert it.platform.sent.count("as a guest") == 2


async def test_what_was_revived_for_a_thread_that_went_is_dropped_with_a_closed_conversation(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor(MIRRORED)
        here = await it.say(caller, "one")
        await it.clock.advance(2)
        here_at = [thread for thread in it.platform.threads if not thread.startswith("other")]

        def refuses(thread: str, part: Part | None) -> DeliveryError | None:
            return Rejected("no") if thread in here_at and part and part.pieces[0].text.text.startswith("b") else None

        it.platform.script = refuses
        for client in ("long 1", "long 2"):
            await it.conversations.send(caller, client, "a" * 3999 + " " + "b" * 3000, ())
            await it.clock.advance(5)
        down = RetryLater("down", outage=True)
        it.platform.script = lambda thread, part: (
            None if thread.startswith("other") else ThreadGone("deleted") if part else down
        )
        assert await it.store.revive(None, it.clock.now()) == 2
        await it.clock.advance(30)
        await it.conversations.close(here, OTHER.adapter, ANNA)
        await it.clock.advance(300)
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(300)
        assert await it.store.outbox(None, 9) == []
        assert it.store.errors == 0


async def test_what_a_visitor_tries_again_opens_a_conversation_that_was_closed(tmp_path: Path) -> None:
    """Unless another is open: what was written in the former one stays there."""
    async with bench(tmp_path) as it:
        caller = it.visitor()
        here = await it.say(caller, "one")
        await it.clock.advance(2)
        it.platform.script = lambda _thread, part: Rejected("no") if part else None
        for text in ("two", "three"):
            await it.conversations.send(caller, text, text, ())
        await it.clock.advance(5)
        await it.conversations.close(here, PLATFORM.adapter, ANNA)
        await it.clock.advance(5)
        it.platform.script = lambda _thread, _part: None
        await it.conversations.send(caller, "two", "two", ())
        await it.clock.advance(5)
        assert it.platform.sent[-2:] == ["two", "The visitor came back: the conversation is open again."]
        assert (await it.conversations.resume(caller.visitor, None, 0)).conversation == here

        await it.conversations.close(here, PLATFORM.adapter, ANNA)
        it.clock.set_back(-25 * 3600)  # a day later it is another conversation
        there = await it.say(caller, "something else")
        await it.clock.advance(5)
        await it.conversations.send(caller, "three", "three", ())
        await it.clock.advance(5)
        assert it.platform.sent[-1].endswith("three")
        assert (await it.conversations.resume(caller.visitor, None, 0)).conversation == there != here


async def test_what_is_written_after_a_dropped_message_is_not_taken_for_it(tmp_path: Path) -> None:
    async with bench(tmp_path, KnowingPlatform) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        it.platform.taken_although = once(OutcomeUnknown("cut"))
        await it.say(caller, "dropped")
        await it.clock.advance(0.2)
        (row,) = await it.store.outbox(None, 9)
        await it.store.drop(row.id, it.clock.now())
        await it.say(caller, "new")
        await it.clock.advance(30)
        assert it.platform.texts == [["one", "dropped", "new"]]


async def answer(it: Bench, conversation: ConversationId, text: str) -> None:
    """Answer at the desk."""
    event = StaffMessage(ThreadKey(str(conversation)), RemoteId(text), ANNA, RichText(text), it.clock.now())
    await it.conversations.take(DESK.adapter, [event], None)


async def test_staffs_replies_go_ahead_of_visitors_texts_and_these_ahead_of_the_rest(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(1, 10), coalesces=True) as it:
        closed, asking, answered, other = (both_sides(it) for _ in range(4))
        here = [await it.say(caller, "opens") for caller in (closed, asking, answered, other)]
        await it.clock.advance(100)
        sent = it.platform.sent
        sent.clear()
        await it.say(other, "takes the budget")
        await it.clock.advance(1)
        await it.conversations.close(here[0], DESK.adapter, ANNA)
        await it.say(asking, "a question")
        await answer(it, here[2], "an answer")
        await it.clock.advance(60)
        assert sent == ["takes the budget", "an answer", "a question", "The conversation was closed by Anna."]


@pytest.mark.parametrize("put_off", [False, True])
async def test_who_writes_behind_something_cosmetic_does_not_wait_for_all_other_texts(
    tmp_path: Path, *, put_off: bool
) -> None:
    async with bench(tmp_path, budget=Budget(1, 10), coalesces=True) as it:
        closed, *others = (both_sides(it) for _ in range(4))
        here, *_ = [await it.say(caller, "opens") for caller in (closed, *others)]
        await it.clock.advance(100)
        it.platform.sent.clear()
        if put_off:
            it.platform.takes["The conversation was closed by Anna."] = 1
            it.platform.script = once(RetryLater("not now", scope=Scope.THREAD))
        else:
            await it.say(others[0], "takes the budget")
            await it.clock.advance(1)
        await it.conversations.close(here, DESK.adapter, ANNA)
        await it.clock.advance(0.5)
        await it.say(closed, "one more thing")
        for number in range(20):
            for other in others:
                await it.say(other, f"text {number}")
            await it.clock.advance(3)
        assert "one more thing" in it.platform.sent


async def test_a_lane_whose_last_delivery_was_dropped_is_up_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.platform.script = lambda _thread, _part: RetryLater("down", outage=True)
        await it.say(it.visitor(), "one")
        await it.clock.advance(60)
        lane = it.outbox.lanes[PLATFORM]
        assert lane.state is LaneState.DOWN
        for delivery in await it.store.outbox(None, 10):
            await it.store.drop(delivery.id, it.clock.now())
        await it.clock.advance(120)
        assert lane.state is LaneState.UP
        assert await it.store.lanes_down() == {}


async def test_who_writes_now_does_not_wait_for_all_that_an_outage_has_left(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(1, 10), coalesces=True) as it:
        it.platform.script = lambda _thread, _part: RetryLater("down", outage=True)
        for number in range(30):
            await it.say(it.visitor(), f"late {number}")
            await it.clock.advance(5)
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(120)
        now = it.visitor()
        await it.say(now, "now")
        await it.clock.advance(60)
        assert "now" in it.platform.sent
        assert len(it.platform.sent) < 30
        await it.clock.advance(30 * 2 * 10)
        assert sorted(it.platform.sent) == sorted([*(f"late {number}" for number in range(30)), "now"])


async def test_the_parts_of_long_texts_share_a_budget_in_the_order_of_asking(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(1, 2)) as it:
        callers = [it.visitor() for _ in range(3)]
        for caller in callers:
            await it.say(caller, "x" * 4000 + "y" * 4000 + "z")
        await it.clock.advance(200)
        assert ["".join(texts) for texts in it.platform.texts] == ["x" * 4000 + "y" * 4000 + "z"] * 3
        for first, over in itertools.pairwise(it.platform.calls):
            assert over - first >= timedelta(seconds=2)


async def test_a_lane_that_was_down_is_probed_with_one_message_after_a_restart(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.platform.script = lambda _thread, _part: RetryLater("unreachable", outage=True)
        for number in range(20):
            await it.say(it.visitor(), str(number))
        await it.clock.advance(30)
    async with bench(tmp_path) as it:
        lane = it.outbox.lanes[PLATFORM]
        it.platform.script = lambda _thread, _part: RetryLater("unreachable", outage=True)
        await eventually(lambda: lane.state is LaneState.DOWN)
        await it.clock.advance(1)
        assert len(it.platform.calls) == 1
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(120)
        assert lane.state is LaneState.UP
        assert sorted(it.platform.sent, key=int) == [str(number) for number in range(20)]
    async with bench(tmp_path) as it:
        await it.clock.advance(1)
        assert it.outbox.lanes[PLATFORM].state is LaneState.UP


async def test_after_an_outage_what_waits_goes_out_at_the_allowed_rate_and_what_is_new_goes_between(
    tmp_path: Path,
) -> None:
    conversations, texts = 500, 19  # with their openings, which cards deliver, these are 10,000
    fill = partial(stored.fill, to=PLATFORM, messages=texts, waiting=True)
    await asyncio.to_thread(fill, tmp_path / "store.db", HandClock().now() - timedelta(hours=1), conversations)
    async with bench(tmp_path, budget=Budget(20, 60), coalesces=True) as it:
        it.platform.script = lambda _thread, _part: RetryLater("down", outage=True)
        lane = it.outbox.lanes[PLATFORM]
        await eventually(lambda: lane.state is LaneState.DOWN)
        await it.clock.advance(300, step=5)
        assert lane.state is LaneState.DOWN
        it.platform.script = lambda _thread, _part: None
        before, most = len(it.platform.calls), 0
        while len(it.platform.threads) < conversations + most:
            await it.say(it.visitor(), f"new {most}")
            most += 1
            await it.clock.advance(120, step=3)
            assert [f"new {most - 1}"] in it.platform.texts, "what is new waits for all that is old"
        await it.clock.advance(300, step=3)
    calls = it.platform.calls[before:]
    took = [(over - first).total_seconds() for first, over in zip(calls, calls[20:], strict=False)]
    assert min(took) >= 60
    assert max(took[:conversations]) < 70  # as long as there is enough to do, the budget is used
    assert sorted(len(shown) for shown in it.platform.texts) == [1] * most + [texts] * conversations
    assert not lane._busy
    assert lane._queue.pop(it.clock.now()) is None
    assert lane._queue.next_due() is None


async def test_what_a_platform_never_answers_is_given_up_while_others_go_through(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        unlucky, other = it.visitor(), it.visitor()
        it.platform.taken_although = lambda _thread, part: (
            OutcomeUnknown("no answer") if part and part.pieces[0].text.text == "poison" else None
        )
        await it.say(unlucky, "poison", "behind it")
        for number in range(20):
            await it.say(other, str(number))
            await it.clock.advance(30)
        assert it.platform.sent.count("poison") <= 8
        assert "behind it" in it.platform.sent
        assert any("it may stand above" in text for text in it.platform.sent)
        assert await it.state_of(unlucky, 2) == "failed"


async def test_what_is_never_answered_takes_none_of_those_along_that_it_was_joined_with(tmp_path: Path) -> None:
    async with bench(tmp_path, coalesces=True) as it:
        unlucky, other = it.visitor(), it.visitor()
        await it.say(unlucky, "opens")
        await it.clock.advance(3)
        it.platform.script = lambda _thread, part: OutcomeUnknown("no answer") if "poison" in str(part) else None
        await it.say(unlucky, "ahead of it", "poison", "behind it")
        for number in range(20):
            await it.say(other, str(number))
            await it.clock.advance(30)
        texts = it.platform.texts[0]
        assert (texts[1], texts[3]) == ("ahead of it", "behind it")
        assert "it may stand above" in texts[2]
        assert [await it.state_of(unlucky, seq) for seq in (3, 4, 5)] == ["sent", "failed", "sent"]


async def test_openings_that_had_no_answer_do_not_count_against_the_message(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(it.visitor(), "before")
        await it.clock.advance(5)
        it.platform.script = lambda _thread, _part: OutcomeUnknown("no answer")
        await it.say(caller, "kept")
        await it.clock.advance(1200, step=5)
        it.platform.script = lambda _thread, part: OutcomeUnknown("no answer") if part else None
        await it.clock.advance(3600, step=10)
        assert await it.state_of(caller, 2) == "waiting"
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(600, step=5)
        assert it.platform.sent == ["before", "kept"]


async def test_how_often_something_had_no_answer_is_known_after_a_restart(tmp_path: Path) -> None:
    platform: Platform | None = None
    for start in range(9):
        async with bench(tmp_path, platform=platform) as it:
            platform, caller = it.platform, it.visitor()
            platform.taken_although = lambda _thread, part: (
                OutcomeUnknown("no answer") if part and part.pieces[0].text.text == "poison" else None
            )
            platform.takes["poison"] = 1  # what goes through has done so by then
            await it.say(caller, "poison" if start == 0 else "goes through")
            await it.clock.advance(2)
        await platform.clock.advance(10)
    assert platform
    assert platform.sent.count("poison") <= 8
    assert any("it may stand above" in text for text in platform.sent)


async def test_how_often_something_met_a_defect_is_known_after_a_restart(tmp_path: Path) -> None:
    platform: Platform | None = None
    for start in range(9):
        async with bench(tmp_path, platform=platform) as it:
            platform = it.platform
            platform.script = lambda _thread, part: (
                cast("DeliveryError", ZeroDivisionError()) if part and "bad" in str(part) else None
            )
            if start == 0:
                await it.say(it.visitor(), "bad")
            await it.clock.advance(2)
        await platform.clock.advance(10)
    assert platform
    assert platform.sent == ["A message could not be delivered here: unexpected ZeroDivisionError"]
    assert len(platform.calls) == 1 + 5 + 1  # the opening, and the notice


async def test_what_is_revived_is_looked_for_where_a_defect_hid_that_it_arrived(tmp_path: Path) -> None:
    async with bench(tmp_path, SearchablePlatform) as it:
        defect = cast("DeliveryError", ZeroDivisionError())
        caller = it.visitor()
        await it.say(caller, "opens")
        await it.clock.advance(2)
        it.platform.taken_although = once(defect)
        it.platform.script = lambda _thread, part: defect if part is None else None
        await it.say(caller, "one")
        await it.clock.advance(300)
        dead = await it.store.outbox("dead", 9)
        it.platform.script = lambda _thread, _part: None
        await it.store.revive([each.id for each in dead], it.clock.now())
        await it.clock.advance(60)
        assert it.platform.sent.count("one") == 1
        assert await it.store.outbox(None, 9) == []


async def test_what_is_revived_late_shows_its_time_where_a_look_does_not_find_it(tmp_path: Path) -> None:
    async with bench(tmp_path, SearchablePlatform) as it:
        defect = cast("DeliveryError", ZeroDivisionError())
        caller = it.visitor()
        await it.say(caller, "opens")
        await it.clock.advance(2)
        written = it.clock.now()
        it.platform.script = lambda _thread, _part: defect
        await it.say(caller, "one")
        await it.clock.advance(3600, step=10)
        dead = await it.store.outbox("dead", 9)
        it.platform.script = lambda _thread, _part: None
        await it.store.revive([each.id for each in dead if each.entry], it.clock.now())
        await it.clock.advance(60)
        assert it.platform.sent.count("one") == 1
        (shown,) = [piece for _, part in it.platform.parts for piece in part.pieces if piece.text.text == "one"]
        assert shown.at == written


async def test_what_had_no_answer_for_long_shows_its_time_where_nobody_can_look(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "opens")
        await it.clock.advance(2)
        written = it.clock.now()
        it.platform.script = lambda _thread, _part: OutcomeUnknown("no answer")
        await it.say(caller, "one")
        await it.clock.advance(3600, step=10)
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(600, step=5)
        assert it.platform.sent == ["opens", "one"]
        assert it.platform.parts[-1][1].pieces[0].at == written
        assert it.outbox.lanes[PLATFORM].possible_duplicates > 0


LONG = "a" * 4000 + "b" * 4000


def breaks_off(error: Exception) -> Script:
    return lambda _thread, part: cast("DeliveryError", error) if "bbb" in str(part) else None


@pytest.mark.parametrize("kind", [Platform, SearchablePlatform])
@pytest.mark.parametrize("error", [Rejected("too odd"), ZeroDivisionError()])
async def test_a_text_that_was_partly_sent_shows_its_time_when_it_is_revived(
    tmp_path: Path, error: Exception, kind: type[Platform]
) -> None:
    async with bench(tmp_path, kind) as it:
        caller = it.visitor()
        written = it.clock.now()
        it.platform.script = breaks_off(error)
        await it.say(caller, LONG)
        await it.clock.advance(600)
        it.platform.script = lambda _thread, _part: None
        await it.store.revive([each.id for each in await it.store.outbox("dead", 9)], it.clock.now())
        await it.clock.advance(60)
        assert [text[0] for text in it.platform.sent] == ["a", "A", "b"]
        assert [part.pieces[0].at for _, part in it.platform.parts] == [None, None, written]


@pytest.mark.parametrize("kind", [Platform, SearchablePlatform])
@pytest.mark.parametrize("error", [RetryLater("refused", outage=True), OutcomeUnknown("no answer")])
async def test_what_an_outage_breaks_off_shows_its_time_where_it_goes_on(
    tmp_path: Path, error: DeliveryError, kind: type[Platform]
) -> None:
    async with bench(tmp_path, kind) as it:
        caller = it.visitor()
        written = it.clock.now()
        it.platform.script = breaks_off(error)
        await it.say(caller, LONG, "short")
        await it.clock.advance(3600, step=5)
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(600, step=5)
        assert [text[0] for text in it.platform.sent] == ["a", "b", "s"]
        assert it.platform.parts[1][1].pieces[0].at == written


async def test_an_outage_without_answers_gives_nothing_up_however_long(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.platform.script = lambda _thread, _part: OutcomeUnknown("no answer")
        for number in range(5):
            await it.say(it.visitor(), str(number))
        await it.clock.advance(3600, step=10)
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(600, step=5)
        assert sorted(it.platform.sent) == [str(number) for number in range(5)]


async def test_a_defect_after_an_outage_does_not_give_up_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.platform.script = lambda _thread, _part: RetryLater("down", outage=True)
        caller = it.visitor()
        await it.say(caller, "kept")
        await it.clock.advance(600, step=5)
        it.platform.script = once(cast("DeliveryError", ZeroDivisionError()))
        await it.clock.advance(300, step=5)
        assert it.platform.sent == ["kept"]


async def test_a_success_from_before_lifts_no_pause(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        slow, limited, later = (it.visitor() for _ in range(3))
        for caller in (slow, limited, later):
            await it.say(caller, "opens")
        await it.clock.advance(5)
        it.platform.takes["slow"] = 3
        await it.say(slow, "slow")
        await it.clock.advance(1)
        it.platform.script = once(RetryLater("too many", 60))
        await it.say(limited, "limited")
        await it.clock.advance(3)
        await it.say(later, "later")
        await it.clock.advance(30)
        assert it.platform.sent[3:] == ["slow"]
        await it.clock.advance(60)
        assert sorted(it.platform.sent[3:]) == ["later", "limited", "slow"]


async def test_a_clock_that_is_set_back_holds_nothing_up(tmp_path: Path) -> None:
    async with bench(tmp_path, budget=Budget(2, 60)) as it:
        await it.say(it.visitor(), "before")
        await it.clock.advance(30)
        it.clock.set_back(3600)
        await it.say(it.visitor(), "after")
        await it.clock.advance(120)
        assert it.platform.sent == ["before", "after"]


async def test_what_waits_for_another_attempt_does_not_wait_for_a_clock_that_was_set_back(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        it.platform.script = lambda _thread, _part: RetryLater("not now", scope=Scope.THREAD)
        await it.say(caller, "two")
        await it.clock.advance(30)
        it.platform.script = lambda _thread, _part: None
        it.clock.set_back(3600)
        await it.clock.advance(120)
        assert it.platform.texts == [["one", "two"]]


async def test_a_clock_that_is_set_back_during_a_look_into_the_store_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path) as it:
        it.platform.script = once(RetryLater("429", 30, Scope.THREAD))
        await it.say(it.visitor(), "one")
        await it.clock.advance(5)
        waiting = it.store.waiting

        async def look(*arguments: Any) -> Any:
            monkeypatch.setattr(it.store, "waiting", waiting)
            it.clock.set_back(3600)
            return await waiting(*arguments)

        monkeypatch.setattr(it.store, "waiting", look)
        await it.clock.advance(60)
        assert it.platform.texts == [["one"]]


@pytest.mark.parametrize("scope", [Scope.THREAD, Scope.CHANNEL])
@pytest.mark.parametrize("operation", ["not_opened", "settle"])
async def test_a_clock_that_is_set_back_while_an_attempt_fails_prolongs_no_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, scope: Scope
) -> None:
    async with bench(tmp_path) as it:
        begun_afresh = asyncio.Event()
        make_due, write = it.store.make_due, getattr(it.store, operation)

        async def noticed(*arguments: Any) -> None:
            await make_due(*arguments)
            begun_afresh.set()

        async def write_and_set_back(*arguments: Any) -> Any:
            done = await write(*arguments)
            if not begun_afresh.is_set():
                it.clock.set_back(3600)
                while not begun_afresh.is_set():
                    it.outbox.lanes[PLATFORM]._wake.set()  # as it would be within seconds, also where it is busy now
                    await asyncio.sleep(0)
            return done

        monkeypatch.setattr(it.store, "make_due", noticed)
        monkeypatch.setattr(it.store, operation, write_and_set_back)
        it.platform.script = once(RetryLater("429", 30, scope), lambda part: part is None)
        await it.say(it.visitor(), "one")
        await it.clock.advance(60)
        assert begun_afresh.is_set()
        assert it.platform.texts == [["one"]]


async def test_who_is_cut_off_while_a_reply_is_stored_keeps_nobody_from_hearing_of_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        (thread,) = it.platform.threads
        heard: list[Hint] = []
        it.wakeups.follow(caller.visitor, heard.append)
        replying = asyncio.create_task(it.staff_says(thread, "an answer"))
        sending = asyncio.create_task(it.say(caller, "two"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        replying.cancel()
        sending.cancel()
        await eventually(lambda: sum(isinstance(hint, LogHint) for hint in heard) == 2)


async def test_a_reply_whose_commit_was_doubtful_is_told_of_when_it_comes_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor()
        await it.say(caller, "one")
        await it.clock.advance(2)
        (thread,) = it.platform.threads
        event = StaffMessage(thread, RemoteId("s"), ANNA, RichText("an answer"), it.clock.now())
        take = it.store.take

        async def unsure(*arguments: Any) -> Any:
            await take(*arguments)
            raise StoreFull("the disk was full, or not")

        it.store.take = unsure  # type: ignore[method-assign]
        with pytest.raises(StoreFull):
            await it.conversations.take(PLATFORM.adapter, [event], None)
        it.store.take = take  # type: ignore[method-assign]
        heard: list[Hint] = []
        it.wakeups.follow(caller.visitor, heard.append)
        await it.conversations.take(PLATFORM.adapter, [event], None)
        assert heard == [LogHint(caller.visitor)]


async def test_who_is_cut_off_while_the_store_refuses_a_reply_fills_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The store has told of its trouble, and the platform is asked again."""
    async with bench(tmp_path) as it:
        await it.say(it.visitor(), "one")
        await it.clock.advance(2)
        (thread,) = it.platform.threads
        begun, cut_off, refused = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def full(*_: Any) -> Any:
            begun.set()
            await cut_off.wait()
            refused.set()
            raise StoreFull("there is no room left for the store")

        it.store.take = full  # type: ignore[method-assign]
        replying = asyncio.create_task(it.staff_says(thread, "an answer"))
        await begun.wait()
        replying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await replying
        cut_off.set()
        await refused.wait()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()  # by which asyncio tells of what nobody asked for
        assert not caplog.records


FILES_RIGHT = AuthFailed("no right to attach files", "give the right")


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Platform, OutcomeUnknown("504")),
        (SearchablePlatform, OutcomeUnknown("500")),
        (Platform, RetryLater("a proxy refuses it", outage=True)),
        (Platform, RetryLater("not now")),
    ],
)
async def test_a_reply_that_is_never_taken_holds_nobody_else_up_and_is_told_in_its_place(
    tmp_path: Path, kind: type[Platform], error: DeliveryError
) -> None:
    async with bench(tmp_path, kind) as it:
        other = it.visitor()
        written, shown = await of_another_thread(it, it.visitor(MIRRORED))
        await it.say(other, "opens")
        await it.clock.advance(60, step=10)  # long enough that only the file is on its way for a while
        it.platform.script = lambda _thread, part: error if uploads(part, "a.png") else None
        await it.staff_says(written, "", "a.png")
        await it.staff_says(written, "behind it")
        for number in range(40):
            await it.clock.advance(30, step=5)
            await it.say(other, str(number))
        await it.clock.advance(60)
        assert [text for text in it.platform.sent if text.isdigit()] == [str(number) for number in range(40)]
        _, told, behind = shown
        assert told.startswith(f"The file a.png could not be shown here: {error}, time and again")
        assert behind == "behind it"
        assert it.outbox.lanes[PLATFORM].state is LaneState.UP
        assert [each.reason for each in await it.store.outbox("dead", 9)] == [told.partition("here: ")[2]]


async def test_what_a_platform_takes_without_an_answer_is_sent_a_few_times_though_little_else_is(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as it:
        other = it.visitor()
        written, _ = await of_another_thread(it, it.visitor(MIRRORED))
        await it.say(other, "opens")
        it.platform.taken_although = lambda _, part: OutcomeUnknown("504") if uploads(part, "a.png") else None
        await it.staff_says(written, "", "a.png")
        await it.clock.advance(10)
        for number in range(10):
            await it.say(other, str(number))
            await it.clock.advance(60, step=10)
        assert it.platform.sent.count("a.png") <= 7
        assert "9" in it.platform.sent


async def test_what_a_searched_platform_never_answered_is_looked_for_before_it_is_given_up(tmp_path: Path) -> None:
    async with bench(tmp_path, SearchablePlatform) as it:
        other, unlucky = it.visitor(), it.visitor()
        await it.say(other, "opens")
        await it.say(unlucky, "opens too")
        await it.clock.advance(5)
        lost = OutcomeUnknown("500")
        tries = itertools.count(1)
        poison = lambda part: bool(part) and part.pieces[0].text.text == "poison"  # noqa: E731
        it.platform.script = lambda _, part: lost if poison(part) and next(tries) < 12 else None
        it.platform.taken_although = lambda _, part: lost if poison(part) else None
        await it.say(unlucky, "poison", "behind it")
        for number in range(30):
            await it.clock.advance(30, step=5)
            await it.say(other, str(number))
        mine = next(texts for texts in it.platform.texts if "opens too" in texts)
        assert mine[-1] == "behind it"
        assert [text for text in it.platform.sent if text == "poison"] == mine[1:2] == ["poison"]
        assert await it.state_of(unlucky, 3) == "sent"


@pytest.mark.parametrize("every", [30, 313])
async def test_a_thread_that_only_a_person_can_mend_waits_alone(tmp_path: Path, every: float) -> None:
    async with bench(tmp_path) as it:
        bad, other = it.visitor(MIRRORED), it.visitor()
        written, shown = await of_another_thread(it, bad)
        await it.say(other, "opens")
        await it.clock.advance(5)
        closed = {thread for thread in it.platform.threads if it.platform.threads[thread] is shown}
        it.platform.script = lambda thread, _: AuthFailed("no access", "invite the bot") if thread in closed else None
        with structlog.testing.capture_logs() as logs:
            await it.say(bad, "two")
            for number in range(60):
                await it.clock.advance(every, step=5)
                await it.say(other, str(number))
        assert [text for text in it.platform.sent if text.isdigit()][:59] == [str(number) for number in range(59)]
        told = [text for text in it.platform.threads[written] if "invite the bot" in text]
        assert len(told) <= 1
        assert sum(each["event"] == "lane_down" for each in logs) == 1
        (alone,) = [each for each in logs if each["event"] == "delivery_waits_alone"]
        assert "invite the bot" in alone["reason"]
        it.platform.script = lambda _thread, _part: None
        await it.clock.advance(100)
        assert shown[1:] == ["two"]


async def test_an_edit_that_could_not_be_taken_does_not_overtake_its_correction(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor(MIRRORED)
        written, _ = await of_another_thread(it, caller)
        await it.staff_says(written, "first")
        said = RemoteId(f"s{it._said}")
        await it.clock.advance(60)
        ago = [it.clock.now() - timedelta(seconds=seconds) for seconds in (50, 40)]
        odd, correction = (
            StaffEdit(written, said, ANNA, RichText(text), at, text) for text, at in zip("ab", ago, strict=True)
        )
        await it.conversations.pass_over(PLATFORM.adapter, odd, "an edit")
        await it.conversations.take(PLATFORM.adapter, [correction], None)
        assert (await it.store.folded(caller.visitor, None, 10))[-1].text == "b"  # type: ignore[union-attr]


async def test_what_is_whole_at_one_destination_stays_sent_though_a_file_waits_at_another(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        caller = it.visitor(MIRRORED)
        await it.say(caller, "one")
        await it.clock.advance(2)
        files = [
            StoredFile(Attachment(FileId(f"{name:0>32}"), name, "image/png", 9), caller.visitor, it.clock.now())
            for name in ("a.png", "b.png")
        ]
        for file in files:
            await it.store.add_file(file)

        def one_is_odd(thread: str, part: Part | None) -> DeliveryError | None:
            if part is None or part.attachment is None or thread.startswith("other"):
                return None
            return Rejected("odd") if part.attachment.name == "a.png" else RetryLater("down", outage=True)

        it.platform.script = one_is_odd
        await it.conversations.send(caller, "files", "look", tuple(file.attachment.id for file in files), None)
        await it.clock.advance(10)
        assert await it.state_of(caller, 3) == "sent"
        it.platform.script = lambda _thread, part: Rejected("odd") if part and part.attachment else None
        await it.clock.advance(100)
        assert await it.state_of(caller, 3) == "sent"


async def test_staff_elsewhere_are_not_told_of_what_others_get_past(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        busy = it.visitor()
        written, _ = await of_another_thread(it, it.visitor(MIRRORED))
        await it.say(busy, "opens")
        await it.clock.advance(2)
        it.platform.script = lambda _, part: FILES_RIGHT if uploads(part, "a.png") else None
        for number in range(100):
            if number == 10:
                await it.staff_says(written, "", "a.png")
            await it.say(busy, str(number))
            await it.clock.advance(1)
        assert not any("give the right" in text for text in it.platform.sent)


async def test_what_fails_together_counts_as_one_failure(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        callers = [it.visitor() for _ in range(8)]
        for caller in callers:
            await it.say(caller, "opens")
        await it.clock.advance(5)
        it.platform.takes["x"] = 0.5
        began = it.clock.now()
        it.platform.script = lambda _thread, _part: (
            RetryLater("down", outage=True) if it.clock.now() - began < timedelta(seconds=1.5) else None
        )
        for caller in callers:
            await it.say(caller, "x")
        await it.clock.advance(10)
        assert it.platform.sent.count("x") == 8
