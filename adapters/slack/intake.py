"""Takes events: each is committed before Slack is told that it arrived."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import structlog

from adapters.slack.api import Api
from adapters.slack.errors import NotNow
from adapters.slack.inbound import Heard, Me, Reaction, admits, bare_event, heard, reaction, staff_event, thread_of
from adapters.slack.people import People
from adapters.slack.reading import files_of, mentioned, read
from bridge.commands import is_note
from bridge.errors import BadFile, DeliveryError, RetryLater, StoreError
from bridge.model import Attachment, RemoteId, StaffEvent, StaffMessage, ThreadKey
from bridge.ports import Clock, Files, InboundSink

FILE_LIMIT = 20 * 2**20
_FILE_WITHIN = 20.0
"""And one second more for every 100 kB."""
_FILE_PATIENCE = 100.0
"""So many seconds a file is tried again that cannot be had for the moment. What follows in its thread waits as well."""
_ITEM_WITHIN = 2.0
_REMEMBERED = 2000
_TAKING = 1000
"""How many events may be under way at once."""
_DOWNLOADS = 8

_Key = tuple[str, str, str]
Take = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Commits an event. What it raises withholds the acknowledgement."""

log = structlog.get_logger()


class Intake:
    """Turns events into staff events and commits them, those of one thread in the order they came."""

    def __init__(
        self,
        api: Api,
        people: People,
        files: Files,
        clock: Clock,
        me: Me,
        sink: InboundSink,
        missed: Callable[[], None],
    ) -> None:
        self._api, self._people, self._files, self._me, self._sink = api, people, files, me, sink
        self._clock = clock
        self._missed = missed
        self._locks: WeakValueDictionary[ThreadKey, asyncio.Lock] = WeakValueDictionary()
        self._taken: OrderedDict[_Key, None] = OrderedDict()
        self._taking: dict[_Key, asyncio.Task[None]] = {}
        self._downloads = asyncio.Semaphore(_DOWNLOADS)
        self.closed: set[str] = set()
        """Channels that could not be read, as the app is not in them: what was missed there comes first."""

    async def take(self, event: Mapping[str, Any]) -> None:
        """Commit what a person did in a thread of ours. Raises StoreError or RetryLater: it must not be acknowledged.

        Slack hangs up after three seconds and sends the event again, a few times. So the work goes on where the caller
        is cancelled, and each delivery waits for the same.
        """
        if admits(event, self._me):
            self._missed()
        if to := reaction(event, self._me):
            await self._reacted(to)
        what = heard(event, self._me)
        if what is None or what.key in self._taken:
            return
        if (task := self._taking.get(what.key)) is None:
            if len(self._taking) >= _TAKING:
                self._missed()  # Slack sends it again some time, or never
                raise RetryLater("too many events at once")
            task = self._taking[what.key] = asyncio.create_task(self._take(what))
            task.add_done_callback(lambda done: self._end(what, done))
        await asyncio.shield(task)

    async def _reacted(self, to: Reaction) -> None:
        """Tell what a person has seen. Of a file our receipt is the file's own id, for which Slack has to be asked."""
        if await self._people.staff(to.user) is None or await self._found(to.ts, to.channel):
            return
        try:
            item = await self._api.read("reactions.get", _ITEM_WITHIN, channel=to.channel, timestamp=to.ts)
        except DeliveryError as error:
            log.info("slack_reaction_passed_over", message=to.ts, reason=str(error))
            return
        for file in files_of(item.get("message") or {}):
            await self._found(str(file.get("id")), to.channel)

    async def _found(self, id: str, channel: str) -> bool:
        return await self._sink.reacted(RemoteId(id), lambda thread: thread_of(thread)[0] == channel)

    def _end(self, what: Heard, task: asyncio.Task[None]) -> None:
        del self._taking[what.key]
        if not task.cancelled() and (error := task.exception()):  # perhaps nobody waits for it any more
            stored = isinstance(error, StoreError)
            if stored:
                self._missed()  # Slack sends it again some time, when others of its thread have long come
            tell = log.debug if stored else log.warning  # the store tells its own troubles, once
            tell("slack_event_failed", thread=what.thread, message=what.remote_id, error=type(error).__name__)

    async def close(self) -> None:
        """End what is under way; Slack sends again what it was not told of."""
        tasks = list(self._taking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, what: Heard) -> None:
        # A file takes time to fetch: without the lock the next message would overtake it.
        async with self._locks.setdefault(what.thread, asyncio.Lock()):
            if not await self._sink.follows(what.thread) or what.key in self._taken:
                return
            if thread_of(what.thread)[0] in self.closed:
                self._missed()
                raise RetryLater("its channel could not be read yet")
            if (event := await self._read(what)) is not None:
                await self._sink.take([event])
            self._remember(what)

    async def again(self, what: Heard) -> AsyncIterator[StaffEvent]:
        """Yield the event of what was found by reading a thread again. It is committed when this is resumed."""
        if what.key in self._taken:
            return
        if (event := await self._read(what)) is not None:
            yield event
        self._remember(what)

    def place(self, event: Mapping[str, Any]) -> tuple[ThreadKey, str] | None:
        """Return the thread of what a person did, and when that was as Slack writes it."""
        what = heard(event, self._me)
        return (what.thread, str(event.get("event_ts") or event["ts"])) if what else None

    def _remember(self, what: Heard) -> None:
        self._taken[what.key] = None
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)

    async def _read(self, what: Heard) -> StaffEvent | None:
        """Return the event, with the files that it needs; of what cannot be read its bare text."""
        try:
            return await self._whole(what)
        except (StoreError, DeliveryError):
            raise
        except Exception as error:  # noqa: BLE001 - it would be as odd each time it came
            log.error("slack_event_not_read", thread=what.thread, message=what.remote_id, error=type(error).__name__)
            return bare_event(what)

    async def _whole(self, what: Heard) -> StaffEvent | None:
        message = what.message or {}
        staff = await self._people.staff(what.user) if what.user else None
        names = await self._people.names(mentioned(message))
        shown = staff and not what.version and not is_note(read(message, names).text)
        attachments, failures = await self._attachments(files_of(message) if shown else ())
        event = staff_event(what, staff, names, attachments)
        if not isinstance(event, StaffMessage):
            return event
        if not failures and not event.attachments and not event.text.text.strip():
            failures.append("a message of a kind that has no text and no files")
        return replace(event, lost=tuple(failures))

    async def _attachments(self, files: Sequence[Mapping[str, Any]]) -> tuple[tuple[Attachment, ...], list[str]]:
        kept: list[Attachment] = []
        failures: list[str] = []
        for file in files:
            try:
                kept.append(await self._attachment(file))
            except BadFile as error:
                failures.append(f"{file.get('name') or 'a file'} ({error})")
        return tuple(kept), failures

    async def _attachment(self, file: Mapping[str, Any]) -> Attachment:
        url = str(file.get("url_private_download") or file.get("url_private") or "")
        if not url or file.get("is_external"):
            raise BadFile("Slack does not hand it out")
        size = int(file.get("size") or 0)
        if size > FILE_LIMIT:
            raise BadFile(f"it is larger than {FILE_LIMIT // 2**20} MB")
        content, type = await self._fetched(url, _FILE_WITHIN + size / 100_000)
        if type == "text/html" and len(content) != size:  # what Slack answers, with 200, to a token without the right
            raise BadFile("the app needs the scope files:read")
        return await self._files.keep(str(file.get("name") or "file"), str(file.get("mimetype") or type), content)

    async def _fetched(self, url: str, within: float) -> tuple[bytes, str]:
        """Fetch a file, again and again where Slack fails for the moment."""
        wait, left = 0.5, _FILE_PATIENCE
        now = self._clock.steady
        while True:
            began = now()
            try:
                async with self._downloads:
                    return await self._api.download(url, FILE_LIMIT, within)
            except NotNow:
                left -= now() - began
                if left <= 0:
                    raise
                await self._clock.sleep(wait)
                left -= wait
                wait = min(2 * wait, 16.0)


async def taken(payload: Mapping[str, Any], take: Take) -> bool:
    """Take what the Events API tells of. False: it must not be acknowledged, so that Slack sends it again."""
    try:
        if payload.get("type") == "event_callback":
            await take(payload["event"])
    except Exception as error:  # noqa: BLE001 - whatever it was, the event is not with us
        tell = log.debug if isinstance(error, StoreError) else log.warning  # the store tells its own troubles, once
        tell("slack_event_not_taken", event_id=payload.get("event_id"), error=type(error).__name__)
        return False
    if payload.get("type") == "app_rate_limited":
        log.warning("slack_events_rate_limited")
    return True
