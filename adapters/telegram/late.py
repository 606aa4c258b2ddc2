"""Delivers files that Telegram was too slow with, each behind its message's text.

A file on its way is not kept in the store, so the offset has passed it by: holding the offset would hold up every
topic. Instead staff see a notice in the topic for as long as the file is not with the visitor. When this program ends
in between, the file is lost and the notice stands, which is then the truth.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from telegram import Bot
from telegram.error import TelegramError

from adapters.telegram import inbound
from adapters.telegram.receiving import REQUEST_DEADLINE, Late, Receiver
from bridge.errors import StoreError
from bridge.ports import House, InboundSink

_log = structlog.get_logger()

_DEADLINE: Final = REQUEST_DEADLINE
_WAITING: Final = 50
_AT_ONCE: Final = 4


class LateFiles:
    """Owns a task for each file that is late."""

    def __init__(self, bot: Bot, house: House, receiver: Receiver) -> None:
        self._bot = bot
        self._house = house
        self._receiver = receiver
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def follow(self, late: Late, sink: InboundSink) -> None:
        """See to a file whose text is committed, in a task of its own as long as there are not too many."""
        if self._closed:
            return
        if len(self._tasks) >= _WAITING:
            await self._tell(late, None, f"This did not reach the visitor: {late.file.name} (too many files at once)")
            return
        task = asyncio.create_task(self._deliver(late, sink), name="telegram late file")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is under way. Its notices stay."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, late: Late, sink: InboundSink) -> None:
        text = f"Not with the visitor yet: {late.file.name}. This line goes away when it is there."
        notice = await self._tell(late, None, text)
        lost = await self._brought(late, sink)
        if lost:
            await self._tell(late, notice, f"This did not reach the visitor: {late.file.name} ({lost})")
        elif notice is not None:
            await self._tell(late, notice, "")

    async def _brought(self, late: Late, sink: InboundSink) -> str:
        """Fetch a file and commit it; return why that is not possible."""
        try:
            until = asyncio.get_running_loop().time() + _DEADLINE
            kept = await self._receiver.fetched(late.file, until, self._slots)
            if isinstance(kept, str):
                return kept
            await sink.take([inbound.late_file(late.message, late.staff, kept)])
        except TimeoutError:
            return "Telegram did not give it to us in time"
        except StoreError as error:
            _log.warning("receiving_failed", adapter=self._house.name, error=type(error).__name__)
            return "it could not be stored"
        except Exception as error:  # noqa: BLE001 - whatever it is, staff are told
            _log.warning("file_not_fetched", adapter=self._house.name, error=type(error).__name__)
            return "it could not be read"
        return ""

    async def _tell(self, late: Late, notice: int | None, text: str) -> int | None:
        """Post a notice, change it to another text or, to none, delete it. Return its number."""
        chat, topic = late.message.chat_id, late.message.message_thread_id
        try:
            if notice is None:
                return (await self._bot.send_message(chat, text, message_thread_id=topic)).message_id
            if text:
                await self._bot.edit_message_text(text, chat, notice)
            else:
                await self._bot.delete_message(chat, notice)
        except TelegramError as error:
            _log.warning("notice_not_posted", adapter=self._house.name, error=type(error).__name__)
        return notice
