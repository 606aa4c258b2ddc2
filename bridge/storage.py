"""What the core asks of a store: the truth, as atomic operations, and what they take and give."""

from __future__ import annotations

import asyncio
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime, timedelta
from typing import Protocol

from bridge.deliveries import Backlog, Claim, DeliveryRow, Outcome, Pending, Plan, Settled, Waiting
from bridge.hints import DeliveryHint, SeenHint
from bridge.model import (
    AdapterName,
    Attachment,
    ConversationId,
    DeliveryId,
    Destination,
    Entry,
    FileId,
    Message,
    Opened,
    Page,
    Profile,
    RemoteId,
    SiteKey,
    Staff,
    StaffEvent,
    StaffMessage,
    ThreadKey,
    Token,
    VisitorId,
)
from bridge.ports import Summary
from bridge.values import dataclass


@dataclass(frozen=True, slots=True)
class NewMessage:
    """What a visitor sends."""

    visitor: VisitorId
    site: SiteKey
    profile: Profile
    client_id: str
    text: str
    attachments: tuple[FileId, ...]
    at: datetime
    reopens_since: datetime
    """A conversation closed after this is reopened, an older one is left and a new one opened."""
    destinations: Callable[[ConversationId, Collection[Destination]], Sequence[Destination]]
    """Routing: pure, called inside the transaction given the conversation and where it is already."""
    tracked: tuple[str, ...] = ()
    """What the visitor did on the site before, a line each: an entry of its own ahead of the message."""
    log_readers: Collection[AdapterName] = ()
    """Adapters that show the log itself (`Capabilities.reads_log`): what is stored is delivered to them."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What `append` did. `entries` are new, ascending, the message last; of a repeat only the old message.

    `destinations` may have something to deliver.
    """

    message: Message
    entries: tuple[Entry, ...]
    repeat: bool
    destinations: tuple[Destination, ...]


@dataclass(frozen=True, slots=True)
class VisitorState:
    """A visitor's row. One who never wrote has none."""

    id: VisitorId
    site: SiteKey
    seq: int
    read: int
    seen: int
    """Up to where staff have seen what the visitor wrote."""
    open_conversation: ConversationId | None
    profile: Profile
    merged: bool
    """The log's entries stand in another visitor's log now; nothing may be added here."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A thread in which a sent message stands, and the last `seq` of the visitor's own that it shows."""

    thread: ThreadKey
    conversation: ConversationId
    seq: int


@dataclass(frozen=True, slots=True)
class Identified:
    """What `identify` did: the visitor to go on with, whether another's log was merged into theirs, and its close.

    `left`: the visitor of before is another person, or was merged already, and stays as it is.
    """

    visitor: VisitorId
    merged: bool = False
    closed: Taken | None = None
    left: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What one event became. `entry` is None where it was a repeat, of an unknown thread, a note, or parked."""

    event: StaffEvent | None
    entry: Entry | None
    destinations: tuple[Destination, ...] = ()
    notice: tuple[Destination, ConversationId] | None = None
    """Where staff are told that something of theirs stays behind."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file's row. Its bytes lie beside the store."""

    attachment: Attachment
    owner: VisitorId | None
    created_at: datetime


class Store(Protocol):
    """The truth. Each method is one atomic operation: wholly there or wholly absent, also when its caller is cancelled.

    All raise StoreError (StoreFull where there is no room). What returned has been committed durably.
    """

    @property
    def generation(self) -> str:
        """The generation of all logs: another one after a restore from a backup."""

    def generation_of(self, delivery: DeliveryId) -> str:
        """Return the generation in which a delivery was made: after a restore its tokens are still the same."""

    @property
    def errors(self) -> int:
        """How many operations have failed since the start. A Conflict or Merged is an answer."""

    # the visitor's way

    def append(
        self, message: NewMessage, told: Callable[[Appended | None], None] | None = None
    ) -> asyncio.Future[Appended]:
        """Take a visitor's message: its conversation, its `seq`, a Delivery for each destination. Repeats give the old.

        What was given up everywhere is revived by a repeat, whose message then has a `delivery`; its conversation is
        open again, where it was closed and the visitor has no other that is open.

        It has its place in the order of operations when this returns, not only when it is awaited. `told` is called
        with what was done, or None after a failure: before the caller goes on, or where the caller was cancelled.

        Raises Conflict where an attachment is unknown, of another visitor, or taken; Merged where the log is closed.
        """

    async def visitor(self, visitor: VisitorId) -> VisitorState | None:
        """Return a visitor's row."""

    async def entries(self, visitor: VisitorId, after: int, limit: int) -> Sequence[Entry]:
        """Return entries of a log beyond `after`, ascending."""

    async def folded(self, visitor: VisitorId, before: int | None, limit: int) -> Sequence[Message]:
        """Return the last messages before a `seq` (None: of all), ascending, with revisions folded in."""

    async def deliveries(self, visitor: VisitorId, below: int) -> Sequence[DeliveryHint]:
        """Return the states of a visitor's messages with a `seq` up to `below`.

        They are those of the latest, and of what waits in the last conversations.
        """

    async def read(self, visitor: VisitorId, seq: int) -> int:
        """Raise how far a visitor has read, at most to the end of the log; return how far it is."""

    async def moved(self, visitor: VisitorId, page: Page) -> None:
        """Note the page that a visitor is on. A visitor without a row is passed over."""

    async def identify(self, site: SiteKey, visitor: VisitorId, profile: Profile, at: datetime) -> Identified:
        """Bind `profile.identity` to a visitor or, where it is known, merge the visitor's log into the known one's."""

    async def close_conversation(
        self, conversation: ConversationId, adapter: AdapterName, by: Staff, at: datetime
    ) -> Taken | None:
        """Close an open conversation; None where it is not open."""

    async def add_file(self, file: StoredFile) -> None:
        """Note a file whose bytes are already durable."""

    async def file(self, file: FileId) -> StoredFile | None:
        """Return a file's row."""

    async def drop_unattached(self, before: datetime) -> Sequence[FileId]:
        """Forget visitors' files from before a time that no message holds; return which, for their bytes to go too."""

    async def probe(self) -> None:
        """Commit something: raises StoreError where no message could be taken."""

    # the staff's way

    async def follows(self, adapter: AdapterName, thread: ThreadKey) -> bool:
        """Tell whether a thread is linked, or may be about to be."""

    async def take(
        self, adapter: AdapterName, events: Sequence[StaffEvent], cursor: str | None, at: datetime
    ) -> Sequence[Taken]:
        """Take staff events: ledger, entries, mirrors' deliveries and cursor together. One result for each event."""

    async def pass_over(
        self, adapter: AdapterName, event: StaffEvent, lost: str, at: datetime
    ) -> tuple[Destination, ConversationId] | None:
        """Note in the ledger an event that `take` can never take, and queue a notice for its thread; return where.

        `lost` says what of it does not reach the visitor, and why. None where nothing is queued: for a repeat, where
        the log itself is shown, for a thread that is not linked; where that may be about to be, staff are told then.
        """

    async def cursor(self, adapter: AdapterName) -> str | None:
        """Return an adapter's cursor."""

    async def owed(self, adapter: AdapterName) -> Sequence[StaffMessage]:
        """Return the messages that wait for what their adapter has still to fetch."""

    async def live(self, adapter: AdapterName, now: datetime, within: timedelta, limit: int) -> Sequence[ThreadKey]:
        """Return the threads, former ones too, of an adapter's conversations, the last active first.

        They are at most `limit` conversations, active so long before whichever was active last: how long nothing ran
        since does not count, nor what a clock that was wrong has put behind `now`.
        """

    async def known(self, adapter: AdapterName, thread: ThreadKey, limit: int) -> Sequence[RemoteId]:
        """Return staff's last messages in a thread that are not known to be deleted, notes included, last first.

        In the order of their ids, as texts.
        """

    async def conversation_of(self, adapter: AdapterName, thread: ThreadKey) -> tuple[ConversationId, VisitorId] | None:
        """Return whose thread it is."""

    async def seen(self, conversation: ConversationId, seq: int) -> SeenHint | None:
        """Raise up to where staff have seen what a conversation's visitor wrote; None where they had already."""

    async def standing(self, adapter: AdapterName, message: RemoteId, limit: int) -> Sequence[Standing]:
        """Return where a message of this id stands, once for each thread, if it shows what a visitor wrote.

        Looked for among the last `limit` deliveries.
        """

    async def answers(self, since: datetime, limit: int) -> Sequence[tuple[SiteKey, float]]:
        """Return how many seconds the first answers in conversations took: those given since a time, the last first."""

    async def threads(self, conversation: ConversationId) -> Sequence[tuple[Destination, ThreadKey]]:
        """Return the current threads of a conversation."""

    # the desk's view

    async def summaries(self, adapter: AdapterName, before: datetime | None, limit: int) -> Sequence[Summary]:
        """Return an adapter's conversations that were last active before a time, the latest first.

        As many as `limit`, and all besides that were active in the same moment as the last of these.
        """

    async def summary(self, adapter: AdapterName, conversation: ConversationId) -> Summary | None:
        """Return one conversation of an adapter's."""

    async def conversation_entries(self, conversation: ConversationId, after: int, limit: int) -> Sequence[Entry]:
        """Return entries of one conversation beyond a `seq`, ascending."""

    # the outbox

    async def recover(self, now: datetime) -> int:
        """Make deliveries whose claim ended without a result uncertain; return how many. No attempt is waited for."""

    async def waiting(self, destination: Destination, limit: int) -> Sequence[Waiting]:
        """Return conversations with unsettled deliveries at a destination, those with the oldest heads, ascending."""

    async def destinations(self) -> Sequence[Destination]:
        """Return every destination that unsettled deliveries name, configured or not."""

    def claim(
        self,
        destination: Destination,
        conversation: ConversationId,
        now: datetime,
        until: datetime,
        planner: Callable[[Iterator[Pending], Profile], Plan],
    ) -> Awaitable[Claim | None]:
        """Claim the head of a conversation's queue; None where nothing is due.

        Like `append` it has its place in the order of operations when this returns.

        A head with an unfinished plan gives that plan. Else `planner`, pure, is called inside the transaction with the
        pending deliveries, each read as the planner asks for it, and the plan's members are claimed together. What
        waited long for a conversation that staff closed, has no thread here and stands in one elsewhere is dropped.
        What staff changed since, and of which certainly nothing was sent, is read as changed, or dropped as deleted.
        What a defect keeps from being read is claimed with a plan that tells so.
        """

    async def opening(self, claim: Claim, token: Token, now: datetime) -> None:
        """Note, before it is tried, that a thread is being opened with a token. Raises Conflict where one is open.

        `ThreadState.opening_since` is the first time of all with this token.
        """

    async def not_opened(self, claim: Claim) -> None:
        """Take back `opening`: the platform certainly made no thread."""

    async def opened(self, claim: Claim, opened: Opened, now: datetime) -> Sequence[Taken]:
        """Commit the Link; parked events of the thread are taken now. Raises Conflict where the claim is lost.

        How often the claim had no answer is counted anew.
        """

    async def abandon_thread(self, claim: Claim, reason: str, *, stands: bool) -> None:
        """Make the current thread a former one, which still resolves.

        What is not sent is planned anew, for a successor, also where the claim is never settled.
        """

    async def tell_elsewhere(self, claim: Claim, reason: str, text: str, now: datetime) -> Sequence[Destination]:
        """Note that the way is down, and queue a notice at the conversation's other destinations; return where.

        Those that were told since the way is down (`lane_down`) get no other.
        """

    async def receipt(self, claim: Claim, part: int, remote_id: RemoteId, until: datetime) -> None:
        """Commit that a part is in the thread, and prolong the claim. Raises Conflict where the claim is lost.

        An id that no row holds is left out: the part stands, and what staff change of it is told as a text.
        """

    async def settle(
        self, claim: Claim, outcome: Outcome, reason: str, due_at: datetime, receipt: RemoteId | None = None
    ) -> Settled:
        """End a claim. `receipt` is that of the plan's last part, committed along with SENT.

        DEAD leaves a notice in its place. A file that is given up becomes a dead delivery of its own, and what is
        behind it in its message one that waits; what is ahead of it counts as sent. A text is given up without the
        files behind it, which become a delivery that waits. Raises Conflict where the claim is lost.
        """

    async def make_due(self, destination: Destination, now: datetime) -> None:
        """Have nothing wait for another attempt any longer: the clock by which that was to be was set back."""

    async def lane_down(self, destination: Destination, reason: str | None) -> None:
        """Note why the way to a destination cannot be used; None where it can again."""

    async def lanes_down(self) -> Mapping[Destination, str]:
        """Return the ways that cannot be used, and why."""

    async def outbox(self, state: str | None, limit: int) -> Sequence[DeliveryRow]:
        """Return deliveries for the operator."""

    async def backlog(self, limit: int) -> Sequence[Backlog]:
        """Count what is not sent. Of more than `limit` that are on their way, or dead, the rest is not counted."""

    async def revive(self, ids: Sequence[DeliveryId] | None, now: datetime) -> int:
        """Make dead deliveries pending again (None: all of them) along with what stood in one plan; return how many.

        What is partly in its thread goes on where it broke off, and what may be there is uncertain. Raises Conflict
        where one is unknown or not dead.
        """

    async def drop(self, id: DeliveryId, now: datetime) -> None:
        """Remove a delivery for good. A visitor's message that has none left has failed.

        Raises Conflict where it is unknown, sent, being sent, or shares a plan that may be in the thread already.
        """
