"""Reads threads again where events of them may have been missed: the gateway tells those of its own session alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import ParamSpec, TypeVar

import discord
import structlog

from adapters.discord import inbound
from adapters.discord.errors import RIGHTS, UNKNOWN_MESSAGE
from adapters.discord.memory import Memory
from adapters.discord.reading import Reader
from adapters.discord.rest import Rest, backoff
from bridge.errors import AuthFailed, DeliveryError, OutcomeUnknown, RetryLater, Scope, StoreError, ThreadGone
from bridge.model import RemoteId, StaffEvent, ThreadKey
from bridge.ports import Clock, InboundSink, Known

log = structlog.get_logger()
P = ParamSpec("P")
T = TypeVar("T")

_PAGE = 100
"""How many messages Discord gives at once."""
_AT_ONCE = 4
"""How many threads are read side by side: so they stay below the 50 calls a second that Discord allows a bot in all."""
_TRIES = 4
_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0
"""Before those threads are read again that were not to be had."""


class CatchingUp:
    """Brings what was missed, through the client that listens: it knows the server's names."""

    def __init__(self, client: discord.Client, rest: Rest, sink: InboundSink, reader: Reader, clock: Clock) -> None:
        self._client = client
        self._rest = rest
        self._sink = sink
        self._reader = reader
        self._clock = clock
        self._authors: Memory[tuple[int, int], discord.User | discord.Member] = Memory()
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._unanswered: set[ThreadKey] = set()
        """Threads that were left unread for want of an answer."""
        self.refused = False
        """Whether a thread was left unread for want of a right."""

    def begin(self) -> None:
        """Hold what comes from now on, until all threads are read again."""
        self._sink.hold()
        self._authors.clear()
        self.refused = False
        self._task = asyncio.create_task(self._read_after(self._cancelled()), name="discord catching up")

    def begin_once_more(self) -> None:
        """Read all threads again, after what is being read now."""
        if self._task is None or self._task.done():
            self.begin()
        else:
            self._wanted.set()

    def _cancelled(self) -> asyncio.Task[None] | None:
        if self._task is not None:
            self._task.cancel()
        return self._task

    async def _read_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait((before,))
        self._wanted.set()
        pause = _PAUSE
        while self._wanted.is_set() or self._unanswered:
            if self._wanted.is_set():
                self._wanted.clear()
                self._unanswered.clear()
                self._sink.hold()
                await self._sink.catch_up(self.read, active=self._active(), at_once=_AT_ONCE)
            else:
                await self._sink.catch_up(self.read, tuple(self._unanswered), at_once=_AT_ONCE)
            if self._unanswered:
                await self._clock.wait(self._wanted, pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _active(self) -> Sequence[ThreadKey]:
        """Return the threads that are not archived, the last written in first: what was missed stands in these."""
        threads = [thread for guild in self._client.guilds for thread in guild.threads]
        threads.sort(key=lambda thread: thread.last_message_id or thread.id, reverse=True)
        return [inbound.thread_key(thread.id) for thread in threads]

    async def end(self) -> None:
        """Leave off. What was not read is held until another connection begins anew."""
        if before := self._cancelled():
            await asyncio.wait((before,))

    async def read(self, known: Known) -> AsyncGenerator[StaffEvent, None]:
        """Compare a thread with what is known of it (`ports.Reading`)."""
        try:
            place = await self._asked(self._place, int(known.thread))
            async with aclosing(self._compared(place, known)) as events:
                async for event in events:
                    yield event
            self._unanswered.discard(known.thread)
        except DeliveryError as error:
            self.refused = self.refused or isinstance(error, AuthFailed)
            if isinstance(error, OutcomeUnknown):
                self._unanswered.add(known.thread)
            else:
                self._unanswered.discard(known.thread)
            tell = log.info if isinstance(error, ThreadGone) else log.warning
            tell("discord_thread_not_read", thread=known.thread, reason=str(error))

    async def _compared(self, place: discord.Thread, known: Known) -> AsyncGenerator[StaffEvent, None]:
        missing = set(known.messages)
        edited: list[discord.Message] = []
        after = int(known.since) - 1 if known.since else 0
        more = True
        while more:
            page = await self._asked(_page, place, after)
            more = len(page) == _PAGE
            after = page[-1].id if page else after
            for message in filter(inbound.is_staffs, page):
                if (id := RemoteId(str(message.id))) in missing:
                    missing.remove(id)
                    edited += [message] if message.edited_at else []
                elif found := await self._event(message, self._reader.message):
                    yield found
        for message in edited:
            if edit := await self._event(message, self._reader.edit):
                yield edit
        for id in sorted(missing):
            if await self._asked(_is_gone, place, int(id)):
                yield inbound.deletion_event(place.id, int(id), self._clock.now())
        if not after and not known.messages:  # a thread begins with a message; who may not read any is shown none
            raise AuthFailed("Discord shows nothing of the thread", RIGHTS)

    async def _place(self, thread: int) -> discord.Thread:
        found = self._client.get_channel(thread) or await self._client.fetch_channel(thread)
        if not isinstance(found, discord.Thread):
            raise ThreadGone("it is no thread")
        return found

    async def _event(self, message: discord.Message, read: Callable[[discord.Message], Awaitable[T]]) -> T | None:
        message.author = await self._asked(self._author, message)
        try:
            return await self._patiently(lambda: read(message))
        except Exception as error:  # noqa: BLE001 - one message that cannot be read must not hide the others
            log.error("discord_event_failed", thread=message.channel.id, error=repr(error))
            return None

    async def _author(self, message: discord.Message) -> discord.User | discord.Member:
        """Return the author with the name that they have on the server: the history tells their own."""
        guild, author = message.guild, message.author
        if guild is None:
            return author
        if (guild.id, author.id) not in self._authors:
            try:
                self._authors[guild.id, author.id] = await guild.fetch_member(author.id)
            except discord.NotFound:  # they have left it
                self._authors[guild.id, author.id] = author
        return self._authors[guild.id, author.id]

    async def _asked(self, ask: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask until Discord answers. Raises DeliveryError where waiting does not help, or not soon."""

        async def call() -> T:
            async with self._rest.calling(Scope.THREAD):
                return await ask(*args, **kwargs)

        return await self._patiently(call)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for limits, an outage, the store; not long for what Discord cannot answer: all other threads wait."""
        waits, unanswered = backoff(), 0
        while True:
            try:
                return await work()
            except (RetryLater, OutcomeUnknown, StoreError) as error:
                unanswered += isinstance(error, OutcomeUnknown)
                if unanswered == _TRIES:
                    raise
                log.info("discord_reading_waits", reason=str(error))
                asked = error.after if isinstance(error, RetryLater) else None
                await self._clock.sleep(next(waits) if asked is None else asked)


async def _page(place: discord.Thread, after: int) -> list[discord.Message]:
    """Return the first messages behind an id."""
    return [message async for message in place.history(limit=_PAGE, after=discord.Object(after), oldest_first=True)]


async def _is_gone(place: discord.Thread, message: int) -> bool:
    """Tell whether somebody has deleted a message. A history is empty, too, for who may not read it."""
    try:
        await place.fetch_message(message)
    except discord.NotFound as error:
        if error.code != UNKNOWN_MESSAGE:
            raise
        return True
    return False
