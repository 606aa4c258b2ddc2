"""What is volatile: who types, what visitors do on their site. Nothing of it is stored here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from bridge.hints import Hint, TypingHint, Wakeups
from bridge.model import AdapterName, AuthorKind, ConversationId, VisitorId
from bridge.ports import Adapter, Clock, ShowsTyping
from bridge.storage import Store

_SHOWN_FOR = 8.0
log = structlog.get_logger()


class Tracked:
    """What pages tell of their visitors, kept until the next message: the latest of each, of those who came last.

    A visitor who has written nothing is nobody's yet: several people may sign in, so each identity has its own.
    """

    def __init__(self, visitors: int = 2000, most: int = 10) -> None:
        self._visitors = visitors
        self._most = most
        self._told: dict[tuple[VisitorId, str | None], tuple[str, ...]] = {}

    def add(self, visitor: VisitorId, identity: str | None, *told: str) -> None:
        """Keep what was told, a line each."""
        if not told:
            return
        self._told[visitor, identity] = (*self.take(visitor, identity), *told)[-self._most :]
        if len(self._told) > self._visitors:
            del self._told[next(iter(self._told))]

    def take(self, visitor: VisitorId, identity: str | None) -> tuple[str, ...]:
        """Return what is kept of a visitor, and forget it."""
        return self._told.pop((visitor, identity), ())


class VisitorTyping:
    """Shows staff that a visitor types, on the platforms that can, and seldom enough not to cost messages."""

    def __init__(self, store: Store, wakeups: Wakeups, clock: Clock, adapters: Mapping[AdapterName, Adapter]) -> None:
        self._store = store
        self._wakeups = wakeups
        self._clock = clock
        self._adapters = {name: adapter for name, adapter in adapters.items() if isinstance(adapter, ShowsTyping)}
        self._shown: dict[ConversationId, float] = {}
        self._waiting: asyncio.Queue[ConversationId] = asyncio.Queue(maxsize=100)

    async def run(self) -> None:
        """Show it until cancelled."""
        end = self._wakeups.listen(self._hint)
        try:
            while True:
                await self._show(await self._waiting.get())
        finally:
            end()

    def _hint(self, hint: Hint) -> None:
        if not (isinstance(hint, TypingHint) and hint.on and hint.author.kind is AuthorKind.VISITOR and self._adapters):
            return
        now = self._clock.steady()
        shown = self._shown.get(hint.conversation)
        if (shown is None or now - shown > _SHOWN_FOR) and not self._waiting.full():
            if len(self._shown) > 10_000:
                self._shown.clear()
            self._shown[hint.conversation] = now
            self._waiting.put_nowait(hint.conversation)

    async def _show(self, conversation: ConversationId) -> None:
        try:
            for destination, thread in await self._store.threads(conversation):
                if adapter := self._adapters.get(destination.adapter):
                    async with asyncio.timeout(5):
                        await adapter.show_typing(thread)
        except Exception as error:  # noqa: BLE001 - cosmetic: whatever an adapter does here, nothing depends on it
            log.debug("typing_not_shown", conversation=conversation, error=type(error).__name__)
