"""The use cases: a visitor's message, coming back, reading, what staff did, closing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import (
    Callable,
    Collection,
    Coroutine,
    Sequence,
)
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from bridge import routing
from bridge.errors import (
    Conflict,
    Merged,
    StoreError,
    WireCode,
    WireError,
)
from bridge.hints import DeliveryHint, Hint, LogHint, MergedHint, Precedence, ReadHint, TypingHint, Wakeups, WorkHint
from bridge.ids import mint
from bridge.log import note_defect
from bridge.model import (
    AdapterName,
    Author,
    AuthorKind,
    ConversationId,
    Destination,
    Entry,
    FileId,
    Message,
    Page,
    Profile,
    RemoteId,
    Site,
    Staff,
    StaffEvent,
    ThreadKey,
    VisitorId,
)
from bridge.ports import Clock
from bridge.presence import Tracked
from bridge.storage import Appended, NewMessage, Store, Taken

PAGE = 200
"""The most entries of a log that are handed out at once."""

T = TypeVar("T")
_REOPENS_FOR = timedelta(hours=24)
_REACTED_TO = 2000
"""Among how many deliveries, the last, a message is looked for that staff reacted to."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks on a connection, and what is known of them."""

    visitor: VisitorId
    site: Site
    profile: Profile


@dataclass(frozen=True, slots=True)
class Resumption:
    """What a client lacks. Where `reset`, it drops what it has and takes the folded messages in `entries`."""

    seq: int
    read: int
    seen: int
    conversation: ConversationId | None
    reset: bool
    entries: Sequence[Entry]
    deliveries: Sequence[DeliveryHint]


@dataclass(frozen=True, slots=True)
class History:
    """Older messages, folded; `more` where there are older ones still."""

    messages: Sequence[Message]
    more: bool


class Conversations:
    """What visitors and staff can do. Everything is committed when a method returns; hints go out after that."""

    def __init__(self, store: Store, wakeups: Wakeups, clock: Clock, log_readers: Collection[AdapterName] = ()) -> None:
        self._store = store
        self._wakeups = wakeups
        self._clock = clock
        self._log_readers = log_readers
        self.load: Callable[[Destination], float] = lambda _: 0.0
        """How much is ahead of a new conversation at a destination: the outbox knows."""
        self._under_way: set[asyncio.Task[Any]] = set()
        self._tracked = Tracked()
        self._doubtful: set[tuple[AdapterName, ThreadKey]] = set()
        """Threads of events that could not be taken, or were without our knowing it."""
        self.taken = Counter({AuthorKind.VISITOR: 0, AuthorKind.STAFF: 0})
        """How many messages were taken since the start, by who wrote them."""

    def log_of(self, visitor: VisitorId) -> str:
        """Name a visitor's log: another name where the client must drop what it holds of one."""
        return f"{self._store.generation}-{visitor:x}"

    def new_visitor(self) -> VisitorId:
        """Name somebody of whom nothing is stored yet."""
        return VisitorId(mint(self._clock.now()))

    # the visitor's way

    async def send(
        self, caller: Caller, client_id: str, text: str, attachments: Sequence[FileId],
        conversation: ConversationId | None = None,
    ) -> Appended:  # fmt: skip
        """Take a message. A client id that this visitor sent before gives the old one. Raises WireError, StoreError.

        `conversation` is the open one, where the caller knows: its lanes are told before the commit, so that their
        claim stands right behind the message and shares its commit.
        """
        now = self._clock.now()
        load = {each: self.load(each) for each in routing.spreads(caller.site)} if conversation is None else {}
        new = NewMessage(
            visitor=caller.visitor,
            site=caller.site.key,
            profile=caller.profile,
            client_id=client_id,
            text=text,
            attachments=tuple(attachments),
            at=now,
            reopens_since=now - _REOPENS_FOR,
            destinations=lambda new, linked: routing.destinations(caller.site, new, linked, load),
            tracked=self._tracked.take(caller.visitor, caller.profile.identity),
            log_readers=self._log_readers,
        )
        ahead = self._ahead(caller.site, conversation)
        appending = self._store.append(new, partial(self._appended, new, ahead))
        self._wakeups.publish(*ahead)
        try:
            return await appending
        except Conflict as error:
            raise WireError(WireCode.BAD_FILE, f"The attachment cannot be used: {error}.") from error
        except Merged as error:
            raise _known_otherwise() from error

    def _appended(self, new: NewMessage, ahead: Sequence[WorkHint], appended: Appended | None) -> None:
        """Give the hints of a message, but for those that were given ahead."""
        if appended is None or appended.repeat:
            self._tracked.add(new.visitor, new.profile.identity, *new.tracked)  # for the message that comes next
        if appended is None:
            return
        message = appended.message
        if not appended.repeat:
            self.taken[AuthorKind.VISITOR] += 1
        # Of a repeat it is not known here how far it has come: who lacks it reads that too.
        log = LogHint(message.visitor, () if appended.repeat else appended.entries)
        # Also of a repeat: that it was committed the first time may not have been known.
        work = [WorkHint(each, message.conversation, Precedence.TEXT) for each in appended.destinations]
        self._wakeups.publish(log, *(hint for hint in work if hint not in ahead))
        if appended.repeat and message.delivery:
            self._wakeups.publish(DeliveryHint(message.visitor, message.seq, message.delivery))

    def _ahead(self, site: Site, conversation: ConversationId | None) -> Sequence[WorkHint]:
        if conversation is None or routing.spreads(site):  # who is told must be known before the commit
            return ()
        return [
            WorkHint(each, conversation, Precedence.TEXT)
            for (each,) in site.destinations
            if each.adapter not in self._log_readers
        ]

    async def resume(self, visitor: VisitorId, log: str | None, after: int) -> Resumption:
        """Return what a client lacks that holds the log of this name up to `after`. Raises WireError where it ended."""
        state = await self._store.visitor(visitor)
        if state and state.merged:
            raise _known_otherwise()
        if state is None:
            return Resumption(0, 0, 0, None, reset=after > 0, entries=(), deliveries=())
        stale = after > 0 and (log != self.log_of(visitor) or after > state.seq)
        after = 0 if stale else after
        reset = stale or state.seq - after > PAGE
        entries: Sequence[Entry]
        if reset or after == 0:
            entries = await self._store.folded(visitor, state.seq + 1, PAGE)
        else:
            entries = await self._store.entries(visitor, after, state.seq - after)
        deliveries = await self._store.deliveries(visitor, after) if after else ()
        return Resumption(state.seq, state.read, state.seen, state.open_conversation, reset, entries, deliveries)

    async def since(self, visitor: VisitorId, after: int) -> Sequence[Entry]:
        """Return the next entries beyond a `seq`, ascending, at most PAGE."""
        return await self._store.entries(visitor, after, PAGE)

    async def history(self, visitor: VisitorId, before: int) -> History:
        """Return the messages before a `seq`."""
        found = await self._store.folded(visitor, before, PAGE + 1)
        return History(found[-PAGE:], more=len(found) > PAGE)

    async def read(self, visitor: VisitorId, seq: int) -> None:
        """Note how far a visitor has read, and tell their other connections."""
        self._wakeups.publish(ReadHint(visitor, await self._store.read(visitor, seq)))

    async def moved(self, visitor: VisitorId, page: Page) -> None:
        """Note the page that a visitor is on."""
        await self._store.moved(visitor, page)

    def track(self, caller: Caller, told: str) -> None:
        """Keep what a page tells of a visitor, for staff to read with the next message."""
        self._tracked.add(caller.visitor, caller.profile.identity, told)

    def typing(self, visitor: VisitorId, conversation: ConversationId | None, on: bool) -> None:
        """Tell staff that a visitor types in the open conversation."""
        if conversation is not None:
            self._wakeups.publish(TypingHint(visitor, conversation, Author(AuthorKind.VISITOR), on))

    async def identify(self, site: Site, visitor: VisitorId, profile: Profile) -> VisitorId:
        """Bind a proved identity; return the visitor to go on with."""
        return await self._whole(self._identify(site, visitor, profile))

    async def _identify(self, site: Site, visitor: VisitorId, profile: Profile) -> VisitorId:
        identified = await self._store.identify(site.key, visitor, profile, self._clock.now())
        tracked = self._tracked.take(visitor, None)
        if not identified.left:
            self._tracked.add(identified.visitor, profile.identity, *tracked)
        if identified.merged:
            self._wakeups.publish(MergedHint(visitor), LogHint(identified.visitor))
        if identified.closed:
            self.announce([identified.closed])
        return identified.visitor

    # the staff's way

    async def take(self, adapter: AdapterName, events: Sequence[StaffEvent], cursor: str | None) -> None:
        """Take what staff did on a platform."""
        await self._whole(self._take(adapter, events, cursor))

    async def _take(self, adapter: AdapterName, events: Sequence[StaffEvent], cursor: str | None) -> None:
        threads = {(adapter, event.thread) for event in events}
        try:
            self.announce(await self._store.take(adapter, events, cursor, self._clock.now()))
        except StoreError:
            self._doubtful |= threads
            raise
        for thread in threads & self._doubtful:
            if found := await self._store.conversation_of(*thread):
                self._wakeups.publish(LogHint(found[1]))
            self._doubtful.discard(thread)

    async def pass_over(self, adapter: AdapterName, event: StaffEvent, lost: str) -> None:
        """Tell staff, once and in its thread, of something that the store can never take."""
        if where := await self._store.pass_over(adapter, event, lost, self._clock.now()):
            self._wakeups.publish(WorkHint(*where, Precedence.COSMETIC))

    async def close(self, conversation: ConversationId, adapter: AdapterName, by: Staff) -> None:
        """Close a conversation for staff; a later message of the visitor's reopens it or opens the next."""
        await self._whole(self._close(conversation, adapter, by))

    async def _close(self, conversation: ConversationId, adapter: AdapterName, by: Staff) -> None:
        if taken := await self._store.close_conversation(conversation, adapter, by, self._clock.now()):
            self.announce([taken])

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Commit and tell of it, also where the caller is cut off in between."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(note_defect)
        return await asyncio.shield(task)

    async def reacted(self, adapter: AdapterName, message: RemoteId, within: Callable[[ThreadKey], bool]) -> bool:
        """Note that staff have seen what a message shows, and what the visitor wrote before; tell if it was found."""
        found = await self._store.standing(adapter, message, _REACTED_TO)
        standing = next((each for each in found if within(each.thread)), None)
        if standing is not None:
            await self.seen(standing.conversation, standing.seq)
        return standing is not None

    async def seen(self, conversation: ConversationId, seq: int) -> None:
        """Note up to where staff have seen what a visitor wrote, and tell the visitor."""
        if hint := await self._store.seen(conversation, seq):
            self._wakeups.publish(hint)

    async def staff_typing(self, adapter: AdapterName, thread: ThreadKey, staff: Staff, on: bool) -> None:
        """Tell a visitor that somebody types."""
        found = await self._store.conversation_of(adapter, thread)
        if found:
            conversation, visitor = found
            author = Author(AuthorKind.STAFF, staff.name, staff.avatar)
            self._wakeups.publish(TypingHint(visitor, conversation, author, on))

    def announce(self, taken: Sequence[Taken]) -> None:
        """Give the hints for entries that came from the staff's side."""
        hints: list[Hint] = []
        for item in taken:
            if item.notice is not None:
                hints.append(WorkHint(*item.notice, Precedence.COSMETIC))
            if item.entry is not None:
                if isinstance(item.entry, Message) and item.entry.author.kind is AuthorKind.STAFF:
                    self.taken[AuthorKind.STAFF] += 1
                hints.append(LogHint(item.entry.visitor, (item.entry,)))
                precedence = _precedence(item.entry)
                hints += [WorkHint(each, item.entry.conversation, precedence) for each in item.destinations]
        self._wakeups.publish(*hints)


def _precedence(entry: Entry) -> Precedence:
    return Precedence.REPLY if entry.author.kind is AuthorKind.STAFF else Precedence.COSMETIC


def _known_otherwise() -> WireError:
    return WireError(WireCode.BAD_TOKEN, "The conversation went on under another sign-in. Start again.")
