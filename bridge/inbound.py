"""What an adapter instance is given to speak to: where its events go, and what the desk sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from bridge.conversations import Conversations
from bridge.errors import StoreError
from bridge.model import AdapterName, ConversationId, Entry, Staff, StaffEvent, ThreadKey
from bridge.ports import AdapterState, Hint, Link, Summary, Wakeups
from bridge.storage import Store

log = structlog.get_logger()


class Sink:
    """`ports.InboundSink` of one adapter instance."""

    def __init__(self, adapter: AdapterName, store: Store, conversations: Conversations) -> None:
        self._adapter = adapter
        self._store = store
        self._conversations = conversations
        self._typing: set[asyncio.Task[None]] = set()
        self.link = AdapterState(Link.CONNECTING)

    async def follows(self, thread: ThreadKey) -> bool:
        """Tell whether events of a thread matter."""
        return await self._store.follows(self._adapter, thread)

    async def take(self, events: Sequence[StaffEvent], cursor: str | None = None) -> None:
        """Commit events and the cursor."""
        await self._conversations.take(self._adapter, events, cursor)

    async def cursor(self) -> str | None:
        """Return the committed cursor."""
        return await self._store.cursor(self._adapter)

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

    async def close(self, conversation: ConversationId, staff: Staff) -> None:
        """Close a conversation."""
        await self._conversations.close(conversation, self._adapter, staff)

    def changes(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call `listener` for each hint."""
        return self._wakeups.listen(listener)
