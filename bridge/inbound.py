"""What an adapter instance is given to speak to: where its events go, and what the desk sees."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import TypeVar

import structlog

from bridge.conversations import Conversations
from bridge.errors import StoreError, Unstorable
from bridge.hints import Hint, Wakeups
from bridge.model import (
    AdapterName,
    ConversationId,
    Entry,
    RemoteId,
    Staff,
    StaffDeletion,
    StaffEvent,
    StaffMessage,
    ThreadKey,
)
from bridge.pacing import backoff
from bridge.ports import AdapterState, Clock, Known, Link, Reading, Summary
from bridge.storage import Store

log = structlog.get_logger()
T = TypeVar("T")

_LIVE = 1000
_LIVE_FOR = timedelta(days=30)
"""Live are the threads of so many of the adapter's conversations, those that were active last, within so long."""
_COMPARED = 50
"""Of how many messages of staff, the last of a thread, edits and deletions are looked for."""
_TRIES = 3
_HALVES = re.compile("[\ud800-\udfff]")
"""Of pairs of UTF-16 units: alone they are no character."""


class _Gate:
    """Lets the events of a thread wait until it has been read again.

    Who waits is the adapter's task, unacknowledged: what waits is bounded where the adapter bounds its tasks.
    """

    def __init__(self) -> None:
        self._listed = asyncio.Event()
        self._listed.set()
        self._unread: dict[ThreadKey, asyncio.Event] = {}
        self._wanted: dict[ThreadKey, None] = {}

    def close(self) -> None:
        """Let everything wait, until `list` has told which threads are to be read."""
        self._listed.clear()

    def list(self, threads: Sequence[ThreadKey]) -> None:
        """Let go all but the events of these threads."""
        before, self._unread = self._unread, {thread: asyncio.Event() for thread in threads}
        self._wanted = {thread: None for thread in self._wanted if thread in self._unread}
        self._listed.set()
        for passed in before.values():
            passed.set()  # who waited looks again

    def reading(self, thread: ThreadKey) -> asyncio.Event:
        """Let the events of a thread wait while it is read; return what `open` wants."""
        return self._unread.setdefault(thread, asyncio.Event())

    def next(self, underway: Collection[ThreadKey]) -> ThreadKey | None:
        """Return the thread to be read next, besides those that are being read."""
        return next((thread for thread in chain(self._wanted, self._unread) if thread not in underway), None)

    def open(self, thread: ThreadKey, reading: asyncio.Event) -> None:
        """Let the events of a thread go, unless it was listed anew since its reading began."""
        if self._unread.get(thread) is reading:
            self._wanted.pop(thread, None)
            del self._unread[thread]
            reading.set()

    async def passed(self, thread: ThreadKey) -> None:
        """Wait until an event of a thread may go."""
        while not self._listed.is_set() or thread in self._unread:
            await self._listed.wait()
            if passed := self._unread.get(thread):
                self._wanted[thread] = None
                await passed.wait()


class Sink:
    """`ports.InboundSink` of one adapter instance."""

    def __init__(self, adapter: AdapterName, store: Store, conversations: Conversations, clock: Clock) -> None:
        self._adapter = adapter
        self._store = store
        self._conversations = conversations
        self._clock = clock
        self._gate = _Gate()
        self._reading: Reading | None = None
        self._typing: set[asyncio.Task[None]] = set()
        self.link = AdapterState(Link.CONNECTING)

    async def follows(self, thread: ThreadKey) -> bool:
        """Tell whether events of a thread matter, once it has been read as far as they are."""
        await self._gate.passed(thread)
        return await self._store.follows(self._adapter, thread)

    async def take(self, events: Sequence[StaffEvent], cursor: str | None = None) -> Sequence[StaffEvent]:
        """Commit events and the cursor, once their threads have been read as far as they are."""
        for thread in {event.thread for event in events}:
            await self._gate.passed(thread)
        return await self._take(events, cursor)

    async def _take(self, events: Sequence[StaffEvent], cursor: str | None = None) -> Sequence[StaffEvent]:
        """Commit events and the cursor. What the store can never take is passed over, as all others wait behind it."""
        try:
            await self._conversations.take(self._adapter, events, cursor)
        except Unstorable:
            passed_over = [event for event in events if not await self._take_alone(event)]
            await self._conversations.take(self._adapter, (), cursor)
            return passed_over
        return ()

    async def _take_alone(self, event: StaffEvent) -> bool:
        try:
            await self._conversations.take(self._adapter, [event], None)
        except Unstorable as error:
            about = {"adapter": self._adapter, "thread": event.thread, "message": event.remote_id}
            log.error("staff_event_passed_over", **about, kind=type(event).__name__, reason=str(error))
            with suppress(Unstorable):  # where it is the thread or the id that no row holds, the log alone tells
                await self._conversations.pass_over(self._adapter, event, _not_delivered(event))
            return False
        return True

    def hold(self) -> None:
        """Let all events wait."""
        self._gate.close()

    async def catch_up(
        self,
        read: Reading,
        threads: Sequence[ThreadKey] | None = None,
        *,
        active: Sequence[ThreadKey] = (),
        at_once: int = 1,
    ) -> None:
        """Read the live threads again, or some threads, and let the events of each go when it is read."""
        self._reading = read
        if threads is None:
            self._gate.list(await self._patiently(lambda: self._live(active), gives_up=False))  # all events wait for it
        for unread in threads or ():
            self._gate.reading(unread)
        underway: set[ThreadKey] = set()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(self._read_all(read, underway), name="catching-up")

    async def _read_all(self, read: Reading, underway: set[ThreadKey]) -> None:
        while (thread := self._gate.next(underway)) is not None:
            underway.add(thread)
            await self._read(thread, read)
            underway.remove(thread)

    async def _live(self, active: Sequence[ThreadKey]) -> Sequence[ThreadKey]:
        live = await self._store.live(self._adapter, self._clock.now(), _LIVE_FOR, _LIVE)
        ours = set(live)
        linked = [each for each in active if each in ours or await self._store.conversation_of(self._adapter, each)]
        return list(dict.fromkeys([*linked, *live]))

    async def found(self, thread: ThreadKey) -> None:
        """Read a thread that was linked long after it was opened: staff may have written there before."""
        if self._reading is not None:  # else it is read with the others
            await self._read(thread, self._reading)

    async def _read(self, thread: ThreadKey, read: Reading) -> None:
        reading = self._gate.reading(thread)
        try:
            await self._patiently(lambda: self._compare(thread, read))
        except Exception:
            log.exception("catch_up_defect", adapter=self._adapter, thread=thread)
        self._gate.open(thread, reading)

    async def _compare(self, thread: ThreadKey, read: Reading) -> None:
        known = await self._patiently(lambda: self._store.known(self._adapter, thread, _COMPARED))
        since = known[-1] if len(known) == _COMPARED else None
        async with aclosing(read(Known(thread, since, frozenset(known)))) as events:
            async for event in events:
                await self._patiently(partial(self._take, [event]))

    async def _patiently(self, work: Callable[[], Awaitable[T]], *, gives_up: bool = True) -> T:
        """Do it until the store takes it: the events of the thread wait for this, and would only come again.

        Raises StoreError, if it `gives_up`, where the store works and does not take it all the same.
        """
        failures = 0
        while True:
            try:
                return await work()
            except StoreError as error:
                failures += 1
                if gives_up and failures >= _TRIES and await self._store_works():
                    raise
                log.debug("catch_up_waits", adapter=self._adapter, error=str(error))
                await self._clock.sleep(backoff(failures, at_most=5.0).total_seconds())

    async def _store_works(self) -> bool:
        try:
            await self._store.probe()
        except StoreError:
            return False
        return True

    async def cursor(self) -> str | None:
        """Return the committed cursor."""
        return await self._store.cursor(self._adapter)

    async def owed(self) -> Sequence[StaffMessage]:
        """Return what waits for something to be fetched."""
        return await self._store.owed(self._adapter)

    async def reacted(self, message: RemoteId, within: Callable[[ThreadKey], bool]) -> bool:
        """Note that somebody of staff reacted to a message."""
        return await self._conversations.reacted(self._adapter, message, within)

    def typing(self, thread: ThreadKey, staff: Staff, on: bool) -> None:
        """Tell a visitor that somebody types; where many do at once, some are passed over."""
        if len(self._typing) < 20:
            task = asyncio.create_task(self._tell_typing(thread, staff, on), name="staff-typing")
            self._typing.add(task)
            task.add_done_callback(self._typing.discard)

    async def _tell_typing(self, thread: ThreadKey, staff: Staff, on: bool) -> None:
        try:
            await self._conversations.staff_typing(self._adapter, thread, staff, on)
        except StoreError as error:
            log.debug("typing_not_told", adapter=self._adapter, error=str(error))

    def state(self, state: AdapterState) -> None:
        """Note how the adapter's connection is, with one line in the log for each change."""
        if state == self.link:
            return
        self.link = state
        tell = log.warning if state.link is Link.DOWN else log.info
        why = {"reason": state.reason, "remedy": state.remedy}
        tell(f"adapter_{state.link}", adapter=self._adapter, **{key: text for key, text in why.items() if text})


def _not_delivered(event: StaffEvent) -> str:
    """Say to staff what of theirs could not be taken, and what to do."""
    if isinstance(event, StaffDeletion):
        return "a deletion (it cannot be stored)"
    what = "a message of" if isinstance(event, StaffMessage) else "a change to a message of"
    halves = _HALVES.search(event.text.text)
    why = "half of a character is in it: change that" if halves else "it cannot be stored: write it in other words"
    return f"{what} {_HALVES.sub('?', event.staff.name)} ({why})"


class View:
    """`ports.ConversationView` of one adapter instance."""

    def __init__(self, adapter: AdapterName, store: Store, conversations: Conversations, wakeups: Wakeups) -> None:
        self._adapter = adapter
        self._store = store
        self._conversations = conversations
        self._wakeups = wakeups

    async def conversations(self, before: datetime | None, limit: int) -> Sequence[Summary]:
        """Return this adapter's conversations, the latest activity first."""
        return await self._store.summaries(self._adapter, before, limit)

    async def conversation(self, conversation: ConversationId) -> Summary | None:
        """Return one conversation."""
        return await self._store.summary(self._adapter, conversation)

    async def entries(self, conversation: ConversationId, after: int, limit: int) -> Sequence[Entry]:
        """Return entries of one conversation, ascending."""
        return await self._store.conversation_entries(conversation, after, limit)

    async def seen(self, conversation: ConversationId, seq: int) -> None:
        """Note that somebody has a conversation before them."""
        await self._conversations.seen(conversation, seq)

    async def close(self, conversation: ConversationId, staff: Staff) -> None:
        """Close a conversation."""
        await self._conversations.close(conversation, self._adapter, staff)

    def changes(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call `listener` for each hint."""
        return self._wakeups.listen(listener)
