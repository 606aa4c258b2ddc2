"""The seams of the house: what the core asks of adapters, of a store and of its surroundings, and what it gives them.

An adapter is a small required core (`Adapter`) and any of the optional abilities below it, each a Protocol of its own
that the core asks for once, at start, with `isinstance`. `docs/adapters.md` is the author's guide.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, runtime_checkable

from pydantic import BaseModel, BeforeValidator

from bridge.model import (
    AdapterName,
    Attachment,
    Author,
    Card,
    ConversationId,
    DeliveryId,
    DeliveryState,
    Destination,
    Entry,
    EntryId,
    FileId,
    Message,
    Opened,
    Page,
    Part,
    Piece,
    Profile,
    RemoteId,
    SiteKey,
    Staff,
    StaffEvent,
    ThreadKey,
    Token,
    VisitorId,
)

# --- surroundings -----------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time, injected so that tests can turn it."""

    def now(self) -> datetime:
        """Return the time, aware UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def wait(self, event: asyncio.Event, until: datetime | None) -> None:
        """Wait for an event, at the longest until a time."""


class Files(Protocol):
    """The bytes of attachments and pictures, kept by us: platforms' addresses expire or leak secrets."""

    async def keep(self, name: str, type: str, content: bytes, owner: VisitorId | None = None) -> Attachment:
        """Store bytes durably and return their description. Raises StoreFull; BadFile where it is not kept."""

    async def read(self, file: FileId) -> bytes:
        """Return the bytes. Raises FileNotFoundError."""

    def address(self, file: FileId) -> str:
        """Return a path, below the gateway's root, that serves the file for a day: signed, no secret in it."""


# --- hints: they wake, the log is the truth, they may be lost ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogHint:
    """A visitor's log has grown. `entries` saves a reader the look into the store where it lacks just these."""

    visitor: VisitorId
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveryHint:
    """A visitor's message has come to another state."""

    visitor: VisitorId
    of: int
    state: DeliveryState


@dataclass(frozen=True, slots=True)
class ReadHint:
    """A visitor has read up to `seq`, on one of their connections."""

    visitor: VisitorId
    seq: int


@dataclass(frozen=True, slots=True)
class TypingHint:
    """Somebody types in a conversation, or has stopped."""

    visitor: VisitorId
    conversation: ConversationId
    author: Author
    on: bool


@dataclass(frozen=True, slots=True)
class WorkHint:
    """A destination has something to deliver in a conversation."""

    destination: Destination
    conversation: ConversationId


@dataclass(frozen=True, slots=True)
class MergedHint:
    """A visitor's log was merged into another's: who follows it must come back, as somebody else."""

    visitor: VisitorId


Hint = MergedHint | LogHint | DeliveryHint | ReadHint | TypingHint | WorkHint


class Wakeups(Protocol):
    """Carries hints to whoever listens, in this process and, where there are several, in the others."""

    def publish(self, *hints: Hint) -> None:
        """Tell everybody. Never waits, never raises."""

    def listen(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call `listener` for each hint, from the event loop; it must not block. Returns what ends it."""

    def follow(self, visitor: VisitorId, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call `listener` for each hint that concerns one visitor. Returns what ends it."""


# --- the adapter ------------------------------------------------------------------------------------------------------


_BUDGET = re.compile(r"\s*(\d{1,6})\s*/\s*(\d{1,5}(?:\.\d{1,3})?)\s*s?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `count` calls in any `seconds`, for each channel or, where `per_thread`, for each thread."""

    count: int
    seconds: float
    per_thread: bool = False

    @classmethod
    def read(cls, text: object) -> Self:
        """Read "count/seconds", such as "20/60s". Raises ValueError with a sentence for the operator."""
        found = _BUDGET.fullmatch(text) if isinstance(text, str) else None
        if not found or not int(found[1]) or not float(found[2]):
            raise ValueError('write how many in how many seconds, both above 0, such as "20/60s"')
        return cls(int(found[1]), float(found[2]))


def _budget(value: object) -> Budget:
    return value if isinstance(value, Budget) else Budget.read(value)


BudgetSetting = Annotated[Budget, BeforeValidator(_budget)]
"""A budget as an adapter's `Settings` takes it: a text."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a platform can take, so that the core can plan for it."""

    text_limit: int
    """The most that one part may measure (`Adapter.measure`)."""
    budget: Budget
    coalesces: bool = False
    """Join what waits for one thread into few parts. Where False, each part holds one piece."""
    card_in_thread: bool = True
    """`open_thread` shows the card itself. Where False it goes ahead of the first text, as a piece of its own."""
    file_limit: int = 0
    """The largest attachment in bytes that `send` takes; 0 where the platform takes none."""
    concurrency: int = 8
    """How many sends may be under way at once in one channel."""


class Link(StrEnum):
    """How an adapter's connection to its platform is."""

    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class AdapterState:
    """The state that `run` reports. Where DOWN, `reason` says why and `remedy` what the operator can do."""

    link: Link
    reason: str = ""
    remedy: str = ""


class InboundSink(Protocol):
    """Where an adapter puts what it hears. One for each adapter instance; every method is called from its tasks."""

    async def follows(self, thread: ThreadKey) -> bool:
        """Tell whether events of this thread matter: ask before fetching names, pictures or files for one."""

    async def take(self, events: Sequence[StaffEvent], cursor: str | None = None) -> None:
        """Commit events and the adapter's cursor in one transaction. Acknowledge to the platform only after it.

        Repeats and events of unknown threads are dropped here. Raises StoreError: do not acknowledge, try again.
        """

    async def cursor(self) -> str | None:
        """Return what the last `take` with a cursor committed."""

    def typing(self, thread: ThreadKey, staff: Staff, on: bool) -> None:
        """Tell that somebody types in a thread. Never waits; unknown threads are passed over."""

    def state(self, state: AdapterState) -> None:
        """Report how the connection is. A repeat of the present state is passed over."""


def send_within(part: Part) -> float:
    """Return how many seconds a send may take: 20, and one more for every 100 kB of a file on a slow uplink."""
    return 20.0 + (part.attachment.size / 100_000 if part.attachment else 0.0)


@runtime_checkable
class Adapter(Protocol):
    """One instance of a platform's adapter. Constructing it touches no network."""

    @property
    def capabilities(self) -> Capabilities:
        """Constant for the life of the instance."""

    def measure(self, pieces: Sequence[Piece]) -> int:
        """Return what the rendered pieces count against `text_limit`. Pure; called often, also from other threads.

        It must not shrink when a piece's text grows.
        """

    async def run(self, sink: InboundSink) -> None:
        """Connect, report the state, feed the sink. Called once, in a task of its own.

        Ends only when cancelled, leaving no task behind. A wrong token or a lost network is a state, never an
        exception: report it and keep trying. Sends may come before, while and after the connection is up.
        """

    async def open_thread(self, channel: str, card: Card, token: Token) -> Opened:
        """Make a thread for a conversation. Called by the outbox, once at a time for each conversation.

        Raises DeliveryError. Leave `token` where `find_thread` can find it, if the adapter has that.
        """

    async def send(self, thread: ThreadKey, part: Part, token: Token) -> RemoteId:
        """Put one part into a thread and return its remote id. Called by the outbox, one at a time for each thread.

        Raises DeliveryError, nothing else. It must end within `send_within`, and must not retry by itself what may
        have been taken: the outbox does, with the same token.
        """


@runtime_checkable
class FindsSent(Protocol):
    """Can look whether a part arrived after all."""

    async def find_sent(
        self, thread: ThreadKey, parts: Mapping[Token, Part], since: datetime, after: RemoteId | None
    ) -> Mapping[Token, RemoteId]:
        """Return those of the parts that stand in the thread. Called by the outbox after an unknown outcome.

        `parts` are those of the plan that have no receipt, in its order. They stand, if at all, behind `after`, the
        last one that has, and were sent since `since`: so a platform that shows no token can be searched by content.
        Raises DeliveryError.
        """


@runtime_checkable
class FindsThread(Protocol):
    """Can look whether a thread was opened after all."""

    async def find_thread(self, channel: str, token: Token, since: datetime) -> Opened | None:
        """Return the thread that `open_thread` made with this token. Called by the outbox. Raises DeliveryError."""


@runtime_checkable
class Revises(Protocol):
    """Can change and remove what it sent."""

    async def edit(self, thread: ThreadKey, remote_id: RemoteId, part: Part) -> None:
        """Replace a sent part. Called by the outbox, again where the outcome was unknown. Raises DeliveryError."""

    async def delete(self, thread: ThreadKey, remote_id: RemoteId) -> None:
        """Remove a sent part; one that is gone already is no error. Called by the outbox. Raises DeliveryError."""


@runtime_checkable
class ShowsTyping(Protocol):
    """Can show staff that the visitor types."""

    async def show_typing(self, thread: ThreadKey) -> None:
        """Show it for some seconds. Cosmetic: called rarely, its errors are passed over."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request below an adapter's mount. Header names are in lower case; `path` is below the mount, no slash ahead."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer: all its bytes, or a stream that the gateway closes when the client goes."""

    status: int
    body: bytes | AsyncIterator[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class ServesHttp(Protocol):
    """Has a place of its own on the gateway: a platform's webhook, or pages."""

    @property
    def mount(self) -> str:
        """Where it is, constant: `/hooks/NAME`, or `/desk` for the built-in desk."""

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer. Called by the gateway, many at once, also before `run`. Verifies who calls by itself."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One point that `threadbridge check` looked at. `remedy` says what to do where it is not `ok`."""

    ok: bool
    what: str
    remedy: str = ""


@runtime_checkable
class Checks(Protocol):
    """Can examine its configuration against the platform."""

    async def check(self, channels: Sequence[str]) -> Sequence[Finding]:
        """Look at token, scopes, channels, rights. Called instead of `run`; an unreachable platform is a finding."""


class ConversationView(Protocol):
    """What the built-in desk sees of the store: its threads are the conversations themselves."""

    async def conversations(self, before: datetime | None, limit: int) -> Sequence[Summary]:
        """Return this adapter's conversations that were last active before a time, newest first."""

    async def conversation(self, conversation: ConversationId) -> Summary | None:
        """Return one of them."""

    async def entries(self, conversation: ConversationId, after: int, limit: int) -> Sequence[Entry]:
        """Return its entries beyond a `seq`, ascending, at most `limit`."""

    async def close(self, conversation: ConversationId, staff: Staff) -> None:
        """Close a conversation; one that is closed already stays so."""

    def changes(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call `listener` for each hint of this process. Returns what ends it."""


@dataclass(frozen=True, slots=True)
class House:
    """What an adapter is given: the few things of the house that it may touch."""

    name: AdapterName
    files: Files
    clock: Clock
    conversations: ConversationView
    public_url: str
    """The gateway's address from outside, no slash at the end."""
    data: Path
    """The data folder, for what must outlive the process and is not a row (the desk's token)."""


class AdapterType(Protocol):
    """What an entry point in the group `threadbridge.adapters` names: a module or an object with these two."""

    @property
    def Settings(self) -> type[BaseModel]:  # noqa: N802 - it is a class
        """The keys of `[adapters.NAME]` besides `type`. Secrets are SecretStr; validation messages say what to do."""

    def create(self, settings: Any, house: House) -> Adapter:
        """Return an instance. Settings are of the type above."""


# --- the store --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation at a glance."""

    conversation: ConversationId
    visitor: VisitorId
    site: SiteKey
    open: bool
    opened_at: datetime
    active_at: datetime
    profile: Profile
    """As it was when the conversation opened, with the name and e-mail of now."""
    last: Message | None


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
    destinations: Callable[[ConversationId], Sequence[Destination]]
    """Routing: pure, called inside the transaction once it is known which conversation it is."""


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
    open_conversation: ConversationId | None
    profile: Profile
    merged: bool
    """The log's entries stand in another visitor's log now; nothing may be added here."""


@dataclass(frozen=True, slots=True)
class Identified:
    """What `identify` did: the visitor to go on with, whether another's log was merged into theirs, and its close."""

    visitor: VisitorId
    merged: bool = False
    closed: Taken | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What one event became. `entry` is None where it was a repeat, of an unknown thread, a note, or parked."""

    event: StaffEvent | None
    entry: Entry | None
    destinations: tuple[Destination, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """One delivery as the planner sees it: an entry, or a notice of the bridge (`notice` is its text)."""

    id: DeliveryId
    entry: Entry | None
    notice: str | None
    created_at: datetime
    original: RemoteId | None = None
    """Of a revision: where the revised message stands at the destination, if it stands there whole and alone."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of one delivery's text within a part, in code points, or one of its attachments."""

    delivery: DeliveryId
    start: int
    end: int
    attachment: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is claimed: the deliveries that it settles, and for each part the slices that it holds.

    A member without a slice is settled along with the rest, as a card is by the opening of its thread.
    """

    members: tuple[DeliveryId, ...]
    parts: tuple[tuple[Slice, ...], ...]
    late: bool = False
    """Whether the texts come so late that each shows its original time."""
    defect: str = ""
    """Why nothing could be planned: the members are given up."""
    revises: RemoteId | None = None
    """Nothing is sent: this remote message is replaced by the part or, where there is none, deleted."""


@dataclass(frozen=True, slots=True)
class ThreadState:
    """Where a conversation's thread at a destination is. `thread` is None until it is open."""

    thread: ThreadKey | None
    token: Token | None
    """The token of an opening that is under way or of unknown outcome."""
    opening_since: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A plan that is ours until `until`."""

    id: DeliveryId
    """The first member. With a part's index it makes that part's token, the same over all attempts."""
    destination: Destination
    conversation: ConversationId
    visitor: VisitorId
    profile: Profile
    members: tuple[Pending, ...]
    plan: Plan
    done: int
    """How many of the plan's parts have a Receipt."""
    after: RemoteId | None
    """The conversation's last receipt at the destination."""
    uncertain: bool
    """An earlier attempt's outcome at the part after `done` is unknown."""
    attempts: int
    since: datetime
    """When the first member was made: nothing of the plan stands in the thread from before."""
    until: datetime
    thread: ThreadState


class Outcome(StrEnum):
    """How an attempt at a claim ended."""

    SENT = "sent"
    RETRY = "retry"
    UNCERTAIN = "uncertain"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as the operator sees it."""

    id: DeliveryId
    destination: Destination
    conversation: ConversationId
    entry: EntryId | None
    state: str
    attempts: int
    due_at: datetime
    created_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many deliveries of a destination are in a state that is not sent, and when the oldest was made."""

    destination: Destination
    state: str
    count: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settled claim changed for visitors, to be told as hints; `more` where the conversation has work left."""

    changes: tuple[DeliveryHint, ...]
    more: bool


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

    @property
    def errors(self) -> int:
        """How many operations have failed since the start. A Conflict or Merged is an answer."""

    # the visitor's way

    async def append(self, message: NewMessage) -> Appended:
        """Take a visitor's message: its conversation, its `seq`, a Delivery for each destination. Repeats give the old.

        Raises Conflict where an attachment is unknown, of another visitor, or taken; Merged where the log is closed.
        """

    async def visitor(self, visitor: VisitorId) -> VisitorState | None:
        """Return a visitor's row."""

    async def entries(self, visitor: VisitorId, after: int, limit: int) -> Sequence[Entry]:
        """Return entries of a log beyond `after`, ascending."""

    async def folded(self, visitor: VisitorId, before: int | None, limit: int) -> Sequence[Message]:
        """Return the last messages before a `seq` (None: of all), ascending, with revisions folded in."""

    async def deliveries(self, visitor: VisitorId, below: int) -> Sequence[DeliveryHint]:
        """Return the states of a visitor's messages with a `seq` up to `below`: those that wait, and the latest."""

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

    async def cursor(self, adapter: AdapterName) -> str | None:
        """Return an adapter's cursor."""

    async def conversation_of(self, adapter: AdapterName, thread: ThreadKey) -> tuple[ConversationId, VisitorId] | None:
        """Return whose thread it is."""

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
        """Make deliveries whose claim ended without a result uncertain; return how many."""

    async def waiting(self, destination: Destination) -> Sequence[tuple[ConversationId, datetime]]:
        """Return the conversations with unsettled deliveries at a destination, oldest first, and when each is due."""

    async def destinations(self) -> Sequence[Destination]:
        """Return every destination that unsettled deliveries name, configured or not."""

    async def claim(
        self,
        destination: Destination,
        conversation: ConversationId,
        now: datetime,
        until: datetime,
        planner: Callable[[Iterator[Pending], Profile], Plan],
    ) -> Claim | None:
        """Claim the head of a conversation's queue; None where nothing is due.

        A head with an unfinished plan gives that plan. Else `planner`, pure, is called inside the transaction with the
        pending deliveries, each read as the planner asks for it, and the plan's members are claimed together.
        """

    async def opening(self, claim: Claim, token: Token, now: datetime) -> None:
        """Note, before it is tried, that a thread is being opened with a token. Raises Conflict where one is open."""

    async def not_opened(self, claim: Claim) -> None:
        """Take back `opening`: the platform certainly made no thread."""

    async def opened(self, claim: Claim, opened: Opened, now: datetime) -> Sequence[Taken]:
        """Commit the Link; parked events of the thread are taken now. Raises Conflict where the claim is lost."""

    async def abandon_thread(self, claim: Claim, reason: str) -> None:
        """Make the current thread a former one, which still resolves; the next attempt opens a successor."""

    async def receipt(self, claim: Claim, part: int, remote_id: RemoteId, until: datetime) -> None:
        """Commit that a part is in the thread, and prolong the claim. Raises Conflict where the claim is lost."""

    async def settle(
        self, claim: Claim, outcome: Outcome, reason: str, due_at: datetime, receipt: RemoteId | None = None
    ) -> Settled:
        """End a claim. `receipt` is that of the plan's last part, committed along with SENT.

        DEAD leaves a notice in its place. Raises Conflict where the claim is lost.
        """

    async def outbox(self, state: str | None, limit: int) -> Sequence[DeliveryRow]:
        """Return deliveries for the operator."""

    async def backlog(self, limit: int) -> Sequence[Backlog]:
        """Count what is not sent. Of more than `limit` that are on their way, or dead, the rest is not counted."""

    async def revive(self, ids: Sequence[DeliveryId] | None, now: datetime) -> int:
        """Make dead deliveries pending again (None: all of them) along with what stood in one plan; return how many.

        What is partly in its thread goes on where it broke off. Raises Conflict where one is unknown or not dead.
        """

    async def drop(self, id: DeliveryId, now: datetime) -> None:
        """Remove a delivery for good. A visitor's message that has none left has failed.

        Raises Conflict where it is unknown, sent, being sent, or shares a plan that may be in the thread already.
        """
