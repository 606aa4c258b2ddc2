"""The seams of the house: what the core asks of adapters and of its surroundings, and what it gives them.

An adapter is a small required core (`Adapter`) and any of the optional abilities below it, each a Protocol of its own
that the core asks for once, at start, with `isinstance`. `docs/adapters.md` is the author's guide.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, runtime_checkable

from pydantic import BaseModel, BeforeValidator

from bridge.hints import Hint
from bridge.model import (
    AdapterName,
    Attachment,
    Card,
    ConversationId,
    Entry,
    FileId,
    Message,
    Opened,
    Part,
    Piece,
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

# --- surroundings -----------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time, injected so that tests can turn it."""

    def now(self) -> datetime:
        """Return the time of day, aware UTC. A host's may be set, back too: measure and wait by `steady`."""

    def steady(self) -> float:
        """Return the seconds since some moment, which are the same for all that this process measures."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, at the longest so many seconds."""


class Files(Protocol):
    """The bytes of attachments and pictures, kept by us: platforms' addresses expire or leak secrets."""

    async def keep(self, name: str, type: str, content: bytes, owner: VisitorId | None = None) -> Attachment:
        """Store bytes durably and return their description. Raises StoreFull; BadFile where it is not kept."""

    async def keep_picture(self, name: str, type: str, content: bytes) -> FileId:
        """Store a person's picture, once however often it is given: the id is made of the bytes. Raises as `keep`."""

    async def read(self, file: FileId) -> bytes:
        """Return the bytes. Raises FileNotFoundError."""

    def address(self, file: FileId) -> str:
        """Return a path, below the gateway's root, that serves the file for a day: signed, no secret in it."""


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
            raise ValueError('how many in how many seconds, both above 0, such as "20/60s"')
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
    reads_log: bool = False
    """It shows the store's conversations themselves (`House.conversations`): what is stored is delivered.

    Nothing is sent to it; the thread of a conversation has the conversation's id as its key.
    """


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


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of staff's messages in a thread that is to be read again."""

    thread: ThreadKey
    since: RemoteId | None
    """The message from which on the thread is to be read, itself included. None: from its beginning."""
    messages: frozenset[RemoteId]
    """Those from there on that were taken and are not known to be deleted, notes included."""


Reading = Callable[[Known], AsyncGenerator[StaffEvent, None]]
"""Reads a thread again, for `InboundSink.catch_up`."""


class InboundSink(Protocol):
    """Where an adapter puts what it hears. One for each adapter instance; every method is called from its tasks."""

    async def follows(self, thread: ThreadKey) -> bool:
        """Tell whether events of this thread matter: ask before fetching names, pictures or files for one.

        Waits while the thread is being caught up with, or may have to be.
        """

    async def take(self, events: Sequence[StaffEvent], cursor: str | None = None) -> Sequence[StaffEvent]:
        """Commit events and the adapter's cursor in one transaction. Acknowledge to the platform only after it.

        Repeats and events of unknown threads are dropped here. Waits as `follows` does: an event must not overtake
        what came before it. Raises StoreError: do not acknowledge, try again. Returns those that the store can never
        take, which are passed over: staff are told in their threads, but where `Capabilities.reads_log`.
        """

    def hold(self) -> None:
        """Let all events wait from now on, as some before them may be missed. `catch_up` lets them go."""

    async def catch_up(
        self,
        read: Reading,
        threads: Sequence[ThreadKey] | None = None,
        *,
        active: Sequence[ThreadKey] = (),
        at_once: int = 1,
    ) -> None:
        """Call `read` for each live thread, and commit what it yields before it is resumed.

        It is called for `at_once` threads side by side; nobody else catches up at the same time. Those that the
        platform names as `active` are live too, where they are linked. With `threads` only for these, such as could not
        be read before: all others go on.

        `read` yields, in the thread's order, a StaffMessage for each message that is not among those known, then a
        StaffEdit for each known one that shows an edit and a StaffDeletion for each that is gone; what the ledger has
        already is dropped. It raises nothing. The thread's own events go on when it ends. Those that are `active` come
        first, in that order, then the ones that were active last here; those for which an event waits before all.
        """

    async def cursor(self) -> str | None:
        """Return what the last `take` with a cursor committed."""

    async def owed(self) -> Sequence[StaffMessage]:
        """Return the messages that were taken with something `owed`, and have not come whole or been deleted since.

        Ask at the start: a process that died left them. Raises StoreError.
        """

    async def reacted(self, message: RemoteId, within: Callable[[ThreadKey], bool]) -> bool:
        """Tell that somebody of staff reacted to a message: what the visitor wrote, up to it, is seen.

        `within` tells which threads may hold it: where the platform does not tell the thread, all of its channel.
        Returns whether it shows something of a visitor's, and is among the last ones sent; else it is passed over.
        Raises StoreError.
        """

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

        `parts` are those of the plan that have no receipt, one at least, in its order. They stand, if at all, behind
        `after`, the last one that has, and were sent since `since` by the platform's time, by which that is a day too
        early, as the host's clock may have been ahead: so a platform that shows no token can be searched by content.
        Raises DeliveryError, such as RetryLater where there is more to read: the same search goes on with the next
        call.
        """


@runtime_checkable
class FindsThread(Protocol):
    """Can look whether a thread was opened after all."""

    async def find_thread(self, channel: str, token: Token, since: datetime) -> Opened | None:
        """Return the thread that `open_thread` made with this token since `since`, as in `FindsSent`.

        Called by the outbox. Raises DeliveryError.
        """


@runtime_checkable
class Revises(Protocol):
    """Can change and remove what it sent."""

    async def edit(self, thread: ThreadKey, remote_id: RemoteId, part: Part) -> None:
        """Replace a sent part. Called by the outbox, again where the outcome was unknown. Raises DeliveryError.

        Where this or `delete` raises ThreadGone of what does not stand any more, nothing is left to be changed: no
        successor is opened for that.
        """

    async def delete(self, thread: ThreadKey, remote_id: RemoteId) -> None:
        """Remove a sent part; one that is gone already is no error. Called by the outbox. Raises DeliveryError."""


@runtime_checkable
class Links(Protocol):
    """Can name the address of a thread."""

    def permalink(self, thread: ThreadKey) -> str | None:
        """Return an address at which staff find a thread, or None. Pure; called also from other threads."""


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
        """Look at token, scopes, channels, rights. An unreachable platform is a finding.

        Called instead of `run`, or once beside it when it is connected: then what both use stays open.
        """


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


class ConversationView(Protocol):
    """What the built-in desk sees of the store: its threads are the conversations themselves."""

    async def conversations(self, before: datetime | None, limit: int) -> Sequence[Summary]:
        """Return this adapter's conversations that were last active before a time, newest first."""

    async def conversation(self, conversation: ConversationId) -> Summary | None:
        """Return one of them."""

    async def entries(self, conversation: ConversationId, after: int, limit: int) -> Sequence[Entry]:
        """Return its entries beyond a `seq`, ascending, at most `limit`."""

    async def seen(self, conversation: ConversationId, seq: int) -> None:
        """Note that somebody has a conversation before them, up to a `seq`."""

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
    channels: frozenset[str] = frozenset()
    """The channels in which sites want their conversations. An empty one is the adapter's own."""


class AdapterType(Protocol):
    """What an entry point in the group `threadbridge.adapters` names: a module or an object with these two."""

    @property
    def Settings(self) -> type[BaseModel]:  # noqa: N802 - it is a class
        """The keys of `[adapters.NAME]` besides `type`. Secrets are SecretStr; validation messages say what to do."""

    def create(self, settings: Any, house: House) -> Adapter:
        """Return an instance. Settings are of the type above."""
