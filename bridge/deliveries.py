"""What waits for a destination, what is claimed of it as a plan, and how that ends."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from bridge.hints import DeliveryHint, Precedence
from bridge.model import (
    ConversationId,
    DeliveryId,
    Destination,
    Entry,
    EntryId,
    Message,
    Profile,
    RemoteId,
    RichText,
    ThreadKey,
    Token,
    VisitorId,
)
from bridge.values import dataclass


@dataclass(frozen=True, slots=True)
class Past:
    """What went before in a conversation whose thread is to be opened in the middle of it."""

    conversation: ConversationId
    messages: tuple[Message, ...]
    """The last ones, ascending, as they read by now."""
    former: ThreadKey | None
    """The thread that stood for the conversation before, where staff can still look at it."""
    reason: str
    """Why that one takes nothing any more; empty where there was none."""


@dataclass(frozen=True, slots=True)
class Pending:
    """One delivery as the planner sees it: an entry, or a notice of the bridge (`notice` is its text).

    Neither where a defect keeps it from being read, which no planner sees.
    """

    id: DeliveryId
    entry: Entry | None
    notice: str | None
    created_at: datetime
    original: RemoteId | None = None
    """Of a revision: where the revised message stands in the thread, if it stands there whole and alone."""
    past: Past | None = None
    """Of the first one: what its thread, which is not open yet or shows nothing of it, is to show ahead of it."""
    apart: bool = False
    """Whether it was refused as it was planned: with others, with what went before, as a change. It is told alone."""
    files: tuple[int, ...] | None = None
    """Which of its message's files, by their index there, it delivers, where it is these alone, or with none of them
    the text alone. `entry` has no more."""


PAST = DeliveryId(0)
"""In a Slice no delivery's id: it is a stretch of the plan's own `past`."""


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
    """Why nothing could be planned, or a member cannot be read: they are given up."""
    revises: RemoteId | None = None
    """Nothing is sent: this remote message is replaced by the part or, where there is none, deleted."""
    past: RichText | None = None
    """What went before, for a thread that begins in the middle of a conversation. Parts ahead of the others hold it."""
    silent: bool = False
    """Whether all of it came late, and staff elsewhere have seen it: the store finds out."""

    @property
    def ahead(self) -> int:
        """How many of the first parts hold what went before."""
        return sum(part[0].delivery == PAST for part in self.parts)

    @property
    def compound(self) -> bool:
        """Whether each delivery can be tried by itself: several share its only part, or what went before is ahead."""
        return self.past is not None or self.joined

    @property
    def joined(self) -> bool:
        """Whether several deliveries share its only part."""
        return len(self.parts) == 1 and len(self.parts[0]) > 1


@dataclass(frozen=True, slots=True)
class ThreadState:
    """Where a conversation's thread at a destination is. `thread` is None until it is open."""

    thread: ThreadKey | None
    token: Token | None
    """The token of an opening that is under way or of unknown outcome."""
    opening_since: datetime | None
    lacks_past: bool = False
    """Whether the thread began in the middle of the conversation and does not show yet what went before."""
    former: ThreadKey | None = None
    """The thread that stood for the conversation before."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A plan that is ours until `until`."""

    id: DeliveryId
    """The first member. With the thread and a part's index it makes that part's token, the same over all attempts."""
    destination: Destination
    conversation: ConversationId
    visitor: VisitorId
    profile: Profile
    members: tuple[Pending, ...]
    plan: Plan
    done: int
    """How many of the plan's parts have a Receipt."""
    after: RemoteId | None
    """The last receipt of the plan or, where the outcome is uncertain, of what came shortly before it."""
    uncertain: bool
    """An earlier attempt's outcome at the part after `done` is unknown."""
    attempts: int
    """With this one."""
    unanswered: int
    """How many attempts before had no answer: sends into the thread or, while there is none, openings."""
    defects: int
    """How many attempts before failed by an error that nobody foresaw."""
    cuts: int
    """How many uploads of the file after `done` were cut off in a row."""
    cut_since: datetime | None
    """Since when."""
    reason: str
    """Why the attempt before failed; empty where there was none."""
    since: datetime
    """When the first member was made: nothing of the plan stands in the thread from before."""
    until: datetime
    thread: ThreadState


class Outcome(StrEnum):
    """How an attempt at a claim ended."""

    SENT = "sent"
    RETRY = "retry"
    UNCERTAIN = "uncertain"
    """It may have been taken, by this attempt or an earlier one."""
    UNANSWERED = "unanswered"
    """As UNCERTAIN, and counted: there was no answer."""
    DEFECT = "defect"
    """As UNCERTAIN, and counted: an error that nobody foresaw."""
    CUT = "cut"
    """As RETRY, and counted: an upload was cut off."""
    APART = "apart"
    """They were refused as they were planned, and each is planned as a text of its own from now on.

    As DEAD where what went before stands already: then it was not in the way.

    As RETRY or, of a plan that was sent, as UNCERTAIN where an earlier attempt was.
    """
    ANEW = "anew"
    """As UNCERTAIN, and planned anew, or what is left of it: it is late by now, and nobody can look for it."""
    DEAD = "dead"
    TOLD = "told"
    """As DEAD, of a file in whose place staff were told already."""


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as the operator sees it."""

    id: DeliveryId
    destination: Destination
    conversation: ConversationId
    entry: EntryId | None
    what: str
    """"message" for a whole entry, "text", "file" or "files" for just these of one, "notice" for a text of the bridge's
    own, "unreadable" where nobody can tell."""
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
class Waiting:
    """A conversation with unsettled deliveries: when its head is due, and what it is."""

    conversation: ConversationId
    due: datetime
    precedence: Precedence


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settled claim changed for visitors, to be told as hints, and what its conversation has next, if any."""

    changes: tuple[DeliveryHint, ...]
    next: Precedence | None
    dead: DeliveryId | None = None
    """What was given up."""


def lost_file(name: str, reason: str) -> str:
    """Return what staff are told in the place of a file."""
    return f"The file {name} could not be shown here: {reason}"
