"""Hints, "there is something new": they wake and may be lost, the log is the truth."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from bridge.model import Author, ConversationId, DeliveryState, Destination, Entry, VisitorId
from bridge.values import dataclass


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
class SeenHint:
    """Staff have seen what a visitor wrote, up to `seq`."""

    visitor: VisitorId
    seq: int


@dataclass(frozen=True, slots=True)
class TypingHint:
    """Somebody types in a conversation, or has stopped."""

    visitor: VisitorId
    conversation: ConversationId
    author: Author
    on: bool


class Precedence(IntEnum):
    """What goes first between conversations, by the best that waits in each; within one it is the order of its log."""

    REPLY = 0
    """What staff wrote elsewhere."""
    TEXT = 1
    """What a visitor wrote, with the opening ahead of it."""
    COSMETIC = 2
    """That a conversation was closed, and notices."""


@dataclass(frozen=True, slots=True)
class WorkHint:
    """A destination has something to deliver in a conversation, or will have with the next commit."""

    destination: Destination
    conversation: ConversationId
    precedence: Precedence


@dataclass(frozen=True, slots=True)
class MergedHint:
    """A visitor's log was merged into another's: who follows it must come back, as somebody else."""

    visitor: VisitorId


Hint = MergedHint | LogHint | DeliveryHint | ReadHint | SeenHint | TypingHint | WorkHint


class Wakeups(Protocol):
    """Carries hints to whoever listens, in this process and, where there are several, in the others."""

    def publish(self, *hints: Hint) -> None:
        """Tell everybody. Never waits, never raises."""

    def listen(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call `listener` for each hint, from the event loop; it must not block. Returns what ends it."""

    def follow(self, visitor: VisitorId, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call `listener` for each hint that concerns one visitor. Returns what ends it."""
