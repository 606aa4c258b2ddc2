"""Delivers files that Telegram was too slow with, each behind its message's text.

Holding the offset for a file would hold up every topic, so the text goes ahead, and the store keeps what is owed until
the file has come or staff have been told, over restarts too. Meanwhile staff see a notice in the topic. It is taken
away by its number; where that was lost, with the answer or the process, a second line says that the file is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog
from telegram import Bot
from telegram.error import BadRequest, RetryAfter, TelegramError

from adapters.telegram import errors, inbound
from adapters.telegram.receiving import REQUEST_DEADLINE, Receiver
from bridge.errors import OutcomeUnknown, StoreError
from bridge.model import RemoteId, StaffEvent, StaffMessage, ThreadKey
from bridge.ports import House, InboundSink

_log = structlog.get_logger()

_DEADLINE: Final = REQUEST_DEADLINE
_WAITING: Final = 50
_AT_ONCE: Final = 4
_STORE_AGAIN: Final = 5.0
_AGAIN: Final = 60.0
_PATIENCE: Final = timedelta(days=1)
_AT_LEAST: Final = 3600.0
"""So long a file is asked for, an outage of Telegram's loses none, and for so many seconds by each process.

The bridge may have been away meanwhile, or the clock be ahead.
"""
_WITHDRAWN_WITHIN: Final = 3
"""How often it is tried to take a notice away."""


class LateFiles:
    """Owns a task for each file that is late."""

    def __init__(self, bot: Bot, house: House, receiver: Receiver) -> None:
        self._bot = bot
        self._house = house
        self._receiver = receiver
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._tasks: dict[tuple[ThreadKey, RemoteId], asyncio.Task[None]] = {}
        self._closed = False

    def has(self, event: StaffEvent) -> bool:
        """Tell whether an event announces a file again that is seen to already."""
        return isinstance(event, StaffMessage) and bool(event.owed) and (event.thread, event.remote_id) in self._tasks

    async def follow(self, owed: Sequence[StaffMessage], sink: InboundSink) -> None:
        """See to files that the store holds as owed, each in a task of its own as long as these are not many."""
        for event in owed:
            if not self._closed and not self.has(event):
                await self._follow(event, sink)

    async def _follow(self, owed: StaffMessage, sink: InboundSink) -> None:
        key = owed.thread, owed.remote_id
        if len(self._tasks) >= _WAITING:
            await sink.take([_lost(owed, "too many files at once")])
            return
        task = self._tasks[key] = asyncio.create_task(self._deliver(owed, sink), name="telegram late file")
        task.add_done_callback(lambda _: self._tasks.pop(key))

    async def close(self) -> None:
        """Leave what is under way to the next start."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, owed: StaffMessage, sink: InboundSink) -> None:
        file, notice = inbound.owed_of(owed)
        if notice is None:
            await self._take(inbound.with_notice(owed, inbound.MAY_STAND), sink)
            notice = await self._tell(owed.thread, file.name)
            await self._take(inbound.with_notice(owed, notice), sink)
        event = await self._whole(owed, file)
        # Ahead of the commit: afterwards nobody would know of it.
        if notice == inbound.MAY_STAND and not event.lost:
            await self._post(owed.thread, f"With the visitor now: {file.name}.")
        elif notice:
            await self._withdraw(owed.thread, notice)
        await self._take(event, sink)

    async def _whole(self, owed: StaffMessage, file: inbound.RemoteFile) -> StaffMessage:
        """Fetch a file; return its event or, where that is not possible, the one that tells why."""
        clock = self._house.clock
        began = clock.steady()
        while True:
            try:
                kept = await self._receiver.fetched(file, asyncio.get_running_loop().time() + _DEADLINE, self._slots)
            except TimeoutError:
                if clock.steady() - began > _AT_LEAST and clock.now() - owed.at > _PATIENCE:
                    return _lost(owed, "Telegram did not give it to us in time")
                await clock.sleep(_AGAIN)
            except StoreError as error:
                _log.debug("late_file_waits", adapter=self._house.name, error=type(error).__name__)
                await clock.sleep(_STORE_AGAIN)
            except Exception as error:  # noqa: BLE001 - whatever it is, staff are told
                _log.warning("file_not_fetched", adapter=self._house.name, error=type(error).__name__)
                return _lost(owed, "it could not be read")
            else:
                return _lost(owed, kept) if isinstance(kept, str) else replace(owed, attachments=(kept,), owed="")

    async def _take(self, event: StaffMessage, sink: InboundSink) -> None:
        while True:
            try:
                await sink.take([event])
            except StoreError as error:
                _log.debug("late_file_waits", adapter=self._house.name, error=type(error).__name__)
                await self._house.clock.sleep(_STORE_AGAIN)
            else:
                return

    async def _tell(self, thread: ThreadKey, name: str) -> int | None:
        """Post the notice that a file is on its way; return its number."""
        return await self._post(thread, f"Not with the visitor yet: {name}. This line goes away when it is there.")

    async def _post(self, thread: ThreadKey, text: str) -> int | None:
        """Post a line; return its number, MAY_STAND where nobody knows it, None where there is none."""
        chat, topic = inbound.address(thread)
        try:
            return (await self._bot.send_message(chat, text, message_thread_id=topic)).message_id
        except TelegramError as error:
            _log.warning("notice_not_posted", adapter=self._house.name, error=type(error).__name__)
            unknown = isinstance(errors.translate(error), OutcomeUnknown)
            return inbound.MAY_STAND if unknown else None

    async def _withdraw(self, thread: ThreadKey, notice: int) -> None:
        for _ in range(_WITHDRAWN_WITHIN):
            try:
                await self._bot.delete_message(inbound.address(thread)[0], notice)
            except BadRequest:  # somebody was faster
                return
            except TelegramError as error:
                _log.warning("notice_not_withdrawn", adapter=self._house.name, error=type(error).__name__)
                wait = errors.wait_of(error) if isinstance(error, RetryAfter) else 1.0
                await self._house.clock.sleep(wait)
            else:
                return


def _lost(owed: StaffMessage, why: str) -> StaffMessage:
    return replace(owed, owed="", lost=(f"{inbound.owed_of(owed)[0].name} ({why})",))
