"""Reads threads again: what people wrote, edited and deleted while nobody told us."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from adapters.slack.api import Api
from adapters.slack.inbound import Me, reread, thread_of
from adapters.slack.intake import Intake
from bridge.errors import AuthFailed, DeliveryError, RetryLater
from bridge.model import RemoteId, StaffDeletion, StaffEvent
from bridge.ports import Clock, InboundSink, Known

_PAGE = 200
_CALLS, _IN = 40, timedelta(minutes=1)
"""How often the method is called at most. Slack allows 50 calls a minute, and the outbox looks for messages with it."""
_TRIES = 5
_FIRST_WAIT = 1.0
_AGAIN = (60.0, 900.0)
"""After so many seconds all are read again where one could not be, ever more seldom."""

log = structlog.get_logger()


class Rereading:
    """Reads an app's threads with conversations.replies, as often as Slack allows."""

    def __init__(self, api: Api, intake: Intake, me: Me, clock: Clock) -> None:
        self._api, self._intake, self._me, self._clock = api, intake, me, clock
        self._calls: deque[datetime] = deque(maxlen=_CALLS)
        self._closed: set[str] = set()
        """Channels that the app may not read: one attempt tells it of all their threads."""
        self._broken = False
        """Slack could not be asked. What staff write now must not wait for that, thread after thread."""

    async def all(self, sink: InboundSink) -> None:
        """Read the live threads, once more where Slack could not be asked."""
        wait, longest = _AGAIN
        while True:
            self._closed.clear()
            self._broken = False
            await sink.catch_up(self._read)
            if not self._broken:
                return
            await self._clock.sleep(wait)
            wait = min(2 * wait, longest)

    async def _read(self, known: Known) -> AsyncGenerator[StaffEvent, None]:
        channel, _ = thread_of(known.thread)
        if self._broken or channel in self._closed:
            return
        try:
            async for event in self._compared(known):
                yield event
        except DeliveryError as error:
            self._broken = isinstance(error, RetryLater)
            if isinstance(error, AuthFailed):
                self._closed.add(channel)
            tell = log.warning if isinstance(error, AuthFailed | RetryLater) else log.info
            tell("slack_thread_not_read", thread=known.thread, reason=str(error))

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
            answer = await self._replies(channel=channel, ts=ts, limit=_PAGE, **page)
            for message in answer.get("messages") or ():
                yield message
            following = (answer.get("response_metadata") or {}).get("next_cursor")
            if not following:
                return
            page["cursor"] = following

    async def _replies(self, **params: Any) -> Mapping[str, Any]:
        wait = _FIRST_WAIT
        for _ in range(_TRIES - 1):
            await self._pace()
            try:
                return await self._api.read("conversations.replies", **params)
            except RetryLater as error:
                until = (error.at - self._clock.now()).total_seconds() if error.at else 0.0
                await self._clock.sleep(max(wait, until))
                wait *= 2
        return await self._api.read("conversations.replies", **params)

    async def _pace(self) -> None:
        if len(self._calls) == _CALLS:
            await self._clock.sleep((self._calls[0] + _IN - self._clock.now()).total_seconds())
        self._calls.append(self._clock.now())
