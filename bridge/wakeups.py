"""Hints within one process. They are told at once, to whoever listens; nothing is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import structlog

from bridge.hints import Hint, WorkHint
from bridge.model import VisitorId

Listener = Callable[[Hint], None]
log = structlog.get_logger()


class MemoryWakeups:
    """`ports.Wakeups` for a single process."""

    def __init__(self) -> None:
        self._listeners: dict[Listener, None] = {}
        self._followers: defaultdict[VisitorId, dict[Listener, None]] = defaultdict(dict)

    def publish(self, *hints: Hint) -> None:
        """Tell everybody whom a hint concerns."""
        for hint in hints:
            for listener in tuple(self._listeners):
                _tell(listener, hint)
            if not isinstance(hint, WorkHint):
                for listener in tuple(self._followers.get(hint.visitor, ())):
                    _tell(listener, hint)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for each hint."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    def follow(self, visitor: VisitorId, listener: Listener) -> Callable[[], None]:
        """Call `listener` for each hint that concerns one visitor."""
        self._followers[visitor][listener] = None
        return lambda: self._unfollow(visitor, listener)

    def _unfollow(self, visitor: VisitorId, listener: Listener) -> None:
        followers = self._followers.get(visitor, {})
        followers.pop(listener, None)
        if not followers:
            self._followers.pop(visitor, None)


def _tell(listener: Listener, hint: Hint) -> None:
    try:
        listener(hint)
    except Exception:
        log.exception("hint_listener_failed", hint=type(hint).__name__)
