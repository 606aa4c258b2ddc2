"""The nouns of the bridge, as data. Standard library only; everything is frozen; times are aware UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, NewType

from bridge.values import dataclass

VisitorId = NewType("VisitorId", int)
ConversationId = NewType("ConversationId", int)
EntryId = NewType("EntryId", int)
DeliveryId = NewType("DeliveryId", int)
FileId = NewType("FileId", str)
SiteKey = NewType("SiteKey", str)
AdapterName = NewType("AdapterName", str)
"""The NAME of an `[adapters.NAME]` section: one instance of an adapter."""
ThreadKey = NewType("ThreadKey", str)
"""Names a remote thread. Minted and read by its adapter alone; the core stores and compares it."""
RemoteId = NewType("RemoteId", str)
"""Names a remote message within its thread. As opaque as a ThreadKey."""
Token = NewType("Token", str)
"""Names one part of a plan, or one opening of a thread, over all its attempts. At most 25 ASCII characters."""


# --- text -------------------------------------------------------------------------------------------------------------


class MarkKind(StrEnum):
    """What a stretch of rich text is."""

    BOLD = "bold"
    ITALIC = "italic"
    CODE = "code"
    PRE = "pre"
    """A block of code on lines of its own."""
    LINK = "link"
    """`value` is the address."""
    QUOTE = "quote"
    ITEM = "item"
    """One item of a list, its line or lines without the bullet. `value` is its number, or empty for a bullet."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A style on the code points `start` to `end` (exclusive) of a text."""

    kind: MarkKind
    start: int
    end: int
    value: str = ""


@dataclass(frozen=True, slots=True)
class RichText:
    """The neutral rich text: the bare characters, and marks that lie on them. Without marks it is literal text."""

    text: str
    marks: tuple[Mark, ...] = ()


class Format(StrEnum):
    """How the stored text of a message is to be read."""

    PLAIN = "plain"
    MARKDOWN = "markdown"
    """The contract's subset: bold, italic, code, links, lists, quotes, with backslash escapes."""


# --- people and places ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Destination:
    """An adapter instance plus the channel in which conversations appear. An empty channel is the adapter's own."""

    adapter: AdapterName
    channel: str = ""

    def __str__(self) -> str:
        return f"{self.adapter}:{self.channel}" if self.channel else self.adapter

    @classmethod
    @lru_cache(maxsize=1000)
    def parse(cls, text: str) -> Destination:
        """Read what `str` wrote."""
        adapter, _, channel = text.partition(":")
        return cls(AdapterName(adapter), channel)


@dataclass(frozen=True, slots=True)
class Site:
    """A website that embeds the widget."""

    key: SiteKey
    name: str
    origins: frozenset[str]
    destinations: tuple[tuple[Destination, ...], ...]
    """A conversation goes to one destination of each inner tuple: several tuples mirror, a longer one spreads."""
    identity_secrets: tuple[str, ...] = ()
    look: Mapping[str, Any] = field(default_factory=dict)
    """What the widget is told, ready for JSON. What is at its default is left out."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where in the site a visitor is."""

    url: str = ""
    title: str = ""
    referrer: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a visitor. Only `identity` is proved; the rest is what the browser or the site's page says."""

    identity: str | None = None
    name: str | None = None
    email: str | None = None
    locale: str | None = None
    timezone: str | None = None
    page: Page = Page()


class AuthorKind(StrEnum):
    VISITOR = "visitor"
    STAFF = "staff"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Author:
    kind: AuthorKind
    name: str | None = None
    avatar: FileId | None = None


SYSTEM = Author(AuthorKind.SYSTEM)


@dataclass(frozen=True, slots=True)
class Staff:
    """A person on a platform, as one adapter instance sees them."""

    remote_id: str
    name: str
    avatar: FileId | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that we keep and serve: `size` in bytes, `type` as `type/subtype`."""

    id: FileId
    name: str
    type: str
    size: int


# --- the visitor's log ------------------------------------------------------------------------------------------------


class Event(StrEnum):
    """What a system message reports."""

    OPENED = "opened"
    CLOSED = "closed"
    REOPENED = "reopened"
    TRACKED = "tracked"
    """What the visitor did on the site before a message, as its page told: the text, a line for each."""


class DeliveryState(StrEnum):
    """How far a visitor's message has come, over all its destinations."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a visitor's log. `edited` and `deleted` are set only where revisions were folded in."""

    id: EntryId
    visitor: VisitorId
    conversation: ConversationId
    seq: int
    author: Author
    text: str
    at: datetime
    format: Format = Format.PLAIN
    attachments: tuple[Attachment, ...] = ()
    client_id: str | None = None
    event: Event | None = None
    delivery: DeliveryState | None = None
    edited: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Revision:
    """A later version of the message at `of`: its whole new text, or its deletion. An entry with its own `seq`."""

    id: EntryId
    visitor: VisitorId
    conversation: ConversationId
    seq: int
    of: int
    author: Author
    text: str
    at: datetime
    format: Format = Format.PLAIN
    deleted: bool = False


Entry = Message | Revision


# --- what goes out ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Card:
    """What staff see at the head of a new thread. Every value came from a browser: literal text, never markup."""

    conversation: ConversationId
    title: str
    """A name for the thread, without personal data, at most 100 characters."""
    visitor: str
    fields: tuple[tuple[str, str], ...]
    """Label and value, in the order to show: page, referrer, language, local time, ..."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one author says in one part."""

    author: Author
    text: RichText
    at: datetime | None = None
    """The original time, given only where the text comes so late that its time should be shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """One remote message: pieces of text, or one attachment with its author's piece (whose text may be empty).

    Only an adapter that coalesces is given more than one piece.
    """

    pieces: tuple[Piece, ...]
    attachment: Attachment | None = None
    silent: bool = False
    """Nobody is to be called to it: it tells what was said before, or what other staff have seen long ago."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A thread that now exists. `card` is the remote id of the card where the thread starts with it, else None."""

    thread: ThreadKey
    card: RemoteId | None = None


# --- what comes in ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StaffMessage:
    """A person wrote in a thread."""

    thread: ThreadKey
    remote_id: RemoteId
    staff: Staff
    text: RichText
    at: datetime
    attachments: tuple[Attachment, ...] = ()
    lost: tuple[str, ...] = ()
    """What of it does not reach the visitor, and why: staff are told in its thread."""
    owed: str = ""
    """What its adapter has still to fetch for it, in the adapter's own words. So it is only noted, as often as they
    change (`InboundSink.owed`), and comes once more when it is whole."""


@dataclass(frozen=True, slots=True)
class StaffEdit:
    """A person changed a message: its whole new text. `version` is the platform's own edit time or counter.

    `at` is the platform's time of it, too: what is older than an edit that was taken changes nothing.
    """

    thread: ThreadKey
    remote_id: RemoteId
    staff: Staff
    text: RichText
    at: datetime
    version: str


@dataclass(frozen=True, slots=True)
class StaffDeletion:
    """A message is gone from a thread. Who deleted it is not always told."""

    thread: ThreadKey
    remote_id: RemoteId
    at: datetime


StaffEvent = StaffMessage | StaffEdit | StaffDeletion
