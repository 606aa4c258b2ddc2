"""Reads threads again: what people wrote, edited and deleted while nobody told us."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any

import structlog

from adapters.slack.api import Api
from adapters.slack.errors import ChannelClosed
from adapters.slack.inbound import Me, reread, thread_key, thread_of
from adapters.slack.intake import Intake
from bridge.errors import AuthFailed, DeliveryError, RetryLater, StoreError
from bridge.model import RemoteId, StaffDeletion, StaffEvent, ThreadKey
from bridge.ports import Clock, InboundSink, Known

_PAGE = 200
_PAGES_OF_HEADS = 100
"""So far back in a channel older threads are looked for."""
_CALLS, _IN = 40, 60.0
"""How often Slack is asked at most. It allows 50 calls of a method a minute, and the outbox looks for messages too."""
_NOTED_EVERY = 300.0
_MARGIN = timedelta(days=1)
"""By so much our clock may have been ahead of Slack's, which tries for some minutes to hand over an event."""
_TRIES = 5
_FIRST_WAIT = 1.0
_AGAIN = (60.0, 900.0)
"""After so many seconds what Slack did not show is read again, ever more seldom."""
_ROUNDS = 100
"""How often it is tried: for a day."""
_PATIENCE = "it is tried again for a day; look whether Slack shows the thread, and at https://slack-status.com"
_TOO_LATE = "what staff wrote there while the bridge was not connected is not with the visitor: have it written again"

log = structlog.get_logger()


class Rereading:
    """Reads an app's threads, as often as Slack allows."""

    def __init__(self, api: Api, intake: Intake, me: Me, clock: Clock, channels: AbstractSet[str]) -> None:
        self._api, self._intake, self._me, self._clock, self._channels = api, intake, me, clock, channels
        self._read_once: set[ThreadKey] = set()
        self._calls: deque[float] = deque(maxlen=_CALLS)
        """When Slack was asked."""
        self._closed: set[str] = set()
        """Channels that the app may not read: one attempt tells it of all their threads."""
        self._unread: dict[ThreadKey, int] = {}
        """In how many rounds Slack did not show a thread."""
        self._left = asyncio.Event()
        """There are such threads."""
        self._doubtful = False
        """Slack did not show the last one: perhaps it shows none, and other threads must not wait for that."""
        self._limited = False
        """Slack wants to be asked for no thread at all for now."""

    async def all(self, sink: InboundSink) -> None:
        """Read the live threads and older ones that stirred, then those again that Slack did not show, until cancelled.

        Where all are read, that is noted from time to time, so that the next reading knows what has stirred since.
        """
        self._closed.clear()
        self._intake.closed.clear()
        self._unread.clear()
        self._left.clear()
        self._read_once.clear()
        threads: Sequence[ThreadKey] | None = None
        looked = False
        first, longest = _AGAIN
        while True:
            self._doubtful = self._limited = False
            await sink.catch_up(self._read, threads)
            looked = looked or await self._read_stirred(sink)
            while looked and not self._unread:
                await self._note(sink)
                await self._clock.wait(self._left, _NOTED_EVERY)
            await self._clock.sleep(min(first * 2.0 ** (min(self._unread.values(), default=1) - 1), longest))
            threads = tuple(self._unread)

    async def _read_stirred(self, sink: InboundSink) -> bool:
        """Read the older threads in which somebody wrote after all was heard; tell whether Slack has shown which."""
        try:
            if (heard := await sink.cursor()) is None:
                return True
            since = f"{float(heard) - _MARGIN.total_seconds():.6f}"
            stirred = [thread async for thread in self._stirred(since) if await sink.follows(thread)]
        except (RetryLater, StoreError) as error:
            log.warning("slack_older_threads_not_read", reason=str(error), remedy="it is tried again")
            return False
        await sink.catch_up(self._read, stirred)
        return True

    async def _stirred(self, since: str) -> AsyncGenerator[ThreadKey, None]:
        """Yield the threads that were not read and have a reply that is later: a channel's history tells it of each."""
        for channel in sorted(self._channels - self._closed):
            try:
                async for head in self._heads(channel):
                    thread = thread_key(channel, str(head["ts"]))
                    if str(head.get("latest_reply") or "") > since and thread not in self._read_once:
                        yield thread
            except RetryLater:
                raise
            except DeliveryError as error:
                log.info("slack_older_threads_not_read", channel=channel, reason=str(error))

    async def _heads(self, channel: str) -> AsyncGenerator[Mapping[str, Any], None]:
        cursor = None
        for _ in range(_PAGES_OF_HEADS):
            answer = await self._asked("conversations.history", channel=channel, limit=_PAGE, cursor=cursor)
            for head in answer.get("messages") or ():
                yield head
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return

    async def _note(self, sink: InboundSink) -> None:
        try:
            await sink.take((), f"{self._clock.now().timestamp():.6f}")
        except StoreError as error:
            log.debug("slack_hearing_not_noted", error=type(error).__name__)

    async def _read(self, known: Known) -> AsyncGenerator[StaffEvent, None]:
        """Compare a thread with what is known of it (`ports.Reading`); one that Slack does not show is passed over."""
        channel, _ = thread_of(known.thread)
        self._read_once.add(known.thread)
        if channel in self._closed:
            self._done_with(known.thread)
            return
        if self._limited:
            self._not_shown(known.thread, RetryLater("Slack asks to be called less often"))
            return
        try:
            async for event in self._compared(known):
                yield event
        except RetryLater as error:
            self._not_shown(known.thread, error)
            return
        except DeliveryError as error:
            if isinstance(error, AuthFailed):
                self._closed.add(channel)
            if isinstance(error, ChannelClosed):
                self._intake.closed.add(channel)
            tell = log.warning if isinstance(error, AuthFailed) else log.info
            tell("slack_thread_not_read", thread=known.thread, reason=str(error))
        self._done_with(known.thread)

    def _not_shown(self, thread: ThreadKey, error: RetryLater) -> None:
        rounds = self._unread[thread] = self._unread.get(thread, 0) + 1
        self._left.set()
        about = {"thread": thread, "reason": str(error)}
        if rounds == _ROUNDS:
            log.error("slack_thread_given_up", **about, remedy=_TOO_LATE)
            self._done_with(thread)
        elif rounds == 1 and not self._doubtful and not self._limited:  # told once, not for every thread
            log.warning("slack_thread_not_read", **about, remedy=_PATIENCE)
        else:
            log.info("slack_thread_not_read", **about)
        self._doubtful = error.outage
        self._limited = not error.outage

    def _done_with(self, thread: ThreadKey) -> None:
        self._unread.pop(thread, None)
        if not self._unread:
            self._left.clear()

    async def _compared(self, known: Known) -> AsyncGenerator[StaffEvent, None]:
        channel, root = thread_of(known.thread)
        seen: set[str] = set()
        async for message in self._messages(channel, root, known.since):
            seen.add(str(message["ts"]))
            what = reread(channel, message, self._me, known.messages)
            if what is not None:
                async for event in self._intake.again(what):
                    yield event
        if root in seen:  # where not even the thread's head is shown, nothing follows from what is not
            for gone in sorted(known.messages - seen):
                yield StaffDeletion(known.thread, RemoteId(gone), self._clock.now())

    async def _messages(self, channel: str, ts: str, since: RemoteId | None) -> AsyncGenerator[Mapping[str, Any], None]:
        """Yield a thread's first message and those since one, in order."""
        page: dict[str, Any] = {"oldest": since, "inclusive": True} if since else {}
        while True:
            answer = await self._asked("conversations.replies", channel=channel, ts=ts, limit=_PAGE, **page)
            for message in answer.get("messages") or ():
                yield message
            following = (answer.get("response_metadata") or {}).get("next_cursor")
            if not following:
                return
            page["cursor"] = following

    async def _asked(self, method: str, **params: Any) -> Mapping[str, Any]:
        wait = _FIRST_WAIT
        for attempt in itertools.count(1):
            await self._pace()
            try:
                answer = await self._api.read(method, **params)
            except RetryLater as error:
                if attempt == _TRIES or (error.outage and self._doubtful):
                    raise
                await self._clock.sleep(max(wait, error.after or 0.0))
                wait *= 2
            else:
                self._doubtful = False
                return answer
        raise AssertionError  # it counts without end

    async def _pace(self) -> None:
        if len(self._calls) == _CALLS:
            await self._clock.sleep(self._calls[0] + _IN - self._clock.steady())
        self._calls.append(self._clock.steady())
