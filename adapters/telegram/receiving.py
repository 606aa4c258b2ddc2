"""Turns updates into staff events: asks whose thread it is, and fetches names, pictures and files."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import structlog
import telegram
from telegram import Bot, Message, Update
from telegram.error import TelegramError

from adapters.telegram import inbound
from bridge.errors import BadFile, StoreError
from bridge.model import Attachment, FileId, Staff, StaffEvent
from bridge.ports import House, InboundSink

_log = structlog.get_logger()

DOWNLOAD_LIMIT: Final = 20 * 1024 * 1024
_DOWNLOAD_DEADLINE: Final = 30.0
_PICTURE_DEADLINE: Final = 5.0
_DOWNLOADS_AT_ONCE: Final = 4
_PICTURES_KEPT: Final = 1000
_PICTURE_AGE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Notice:
    """What staff are told in a topic."""

    chat: int
    topic: int
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What some updates come to, in their order. `notices` are for after the commit."""

    events: tuple[StaffEvent, ...]
    notices: tuple[Notice, ...]
    migrated_to: int | None


class Receiver:
    """Reads updates. Holds the pictures that it has fetched."""

    def __init__(self, bot: Bot, house: House, chat: int) -> None:
        self._bot = bot
        self._house = house
        self._chat = chat
        self._pictures: OrderedDict[int, tuple[datetime, FileId | None]] = OrderedDict()
        self._one_picture = asyncio.Lock()
        self._downloads = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)

    async def read(self, updates: Sequence[Any], sink: InboundSink) -> Batch:
        """Return what updates, as JSON gave them, come to. A bad one is dropped. Raises StoreError."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(raw, sink), name="telegram update") for raw in updates]
        except* StoreError as errors:
            raise errors.exceptions[0] from None
        results = [result for task in tasks if (result := task.result()) is not None]
        return Batch(
            tuple(event for event, _, _ in results if event is not None),
            tuple(notice for _, notice, _ in results if notice is not None),
            next((to for _, _, to in reversed(results) if to is not None), None),
        )

    async def _one(self, raw: Any, sink: InboundSink) -> tuple[StaffEvent | None, Notice | None, int | None] | None:
        try:
            update = Update.de_json(raw, self._bot)
            if update.message is not None and update.message.migrate_to_chat_id is not None:
                ours = update.message.chat_id == self._chat
                return None, None, update.message.migrate_to_chat_id if ours else None
            message = inbound.heard(update)
            if message is None or not await sink.follows(inbound.thread_of(message)):
                return None
            return *await self._event(update, message), None
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - one bad update must not hold up those behind it
            number = raw.get("update_id") if isinstance(raw, dict) else None
            _log.warning("update_dropped", adapter=self._house.name, update=number, error=type(error).__name__)
            return None

    async def _event(self, update: Update, message: Message) -> tuple[StaffEvent | None, Notice | None]:
        staff = await self._staff(message)
        if update.edited_message is not None:
            return inbound.event_of(update, staff), None
        attachment, lost = await self._attachment(message)
        event = inbound.event_of(update, staff, [attachment] if attachment is not None else [])
        if not lost:
            return event, None
        topic = message.message_thread_id or 0
        return event, Notice(message.chat_id, topic, f"This did not reach the visitor: {lost}")

    # --- files

    async def _attachment(self, message: Message) -> tuple[Attachment | None, str]:
        """Return the message's file, kept by us, or what to tell staff of it where that fails."""
        file = inbound.file_of(message)
        if file is None:
            return None, inbound.unsupported(message)
        if file.size > DOWNLOAD_LIMIT:
            return None, f"{file.name} (larger than the 20 MB that Telegram gives to bots)"
        try:
            async with self._downloads:
                content = await self._download(file.id, _DOWNLOAD_DEADLINE)
            return await self._house.files.keep(file.name, file.type, content), ""
        except BadFile as error:
            return None, f"{file.name} ({error})"
        except (TelegramError, TimeoutError) as error:
            _log.warning("file_not_fetched", adapter=self._house.name, error=type(error).__name__)
            return None, f"{file.name} (Telegram did not give it to us)"

    async def _download(self, file_id: str, deadline: float) -> bytes:
        async with asyncio.timeout(deadline):
            # Not `Bot.get_file`: it looks on the disk whether the path is a local one, and the event loop waits.
            file: Mapping[str, str] = await self._bot.do_api_request("GetFile", {"file_id": file_id})
            address = f"{self._bot.base_file_url}/{quote(file['file_path'])}"
            return await self._bot.request.retrieve(address, read_timeout=deadline)

    # --- people

    async def _staff(self, message: Message) -> Staff:
        if message.sender_chat is not None or message.from_user is None:
            return inbound.staff_of(message)
        return inbound.staff_of(message, await self._picture(message.from_user.id))

    async def _picture(self, user: int) -> FileId | None:
        # One at a time: the messages of one album all ask for the same
        async with self._one_picture:
            now = self._house.clock.now()
            known = self._pictures.get(user)
            if known is not None and now - known[0] < _PICTURE_AGE:
                self._pictures.move_to_end(user)
                return known[1]
            picture = await self._fetched_picture(user)
            self._pictures[user] = (now, picture)
            self._pictures.move_to_end(user)
            if len(self._pictures) > _PICTURES_KEPT:
                self._pictures.popitem(last=False)
            return picture

    async def _fetched_picture(self, user: int) -> FileId | None:
        try:
            async with asyncio.timeout(_PICTURE_DEADLINE):
                photos = await self._bot.get_user_profile_photos(user, limit=1)
                if not photos.photos:
                    return None
                content = await self._download(_smallest(photos.photos[0]).file_id, _PICTURE_DEADLINE)
            return (await self._house.files.keep("picture.jpg", "image/jpeg", content)).id
        except (TelegramError, TimeoutError, BadFile) as error:
            _log.info("picture_not_fetched", adapter=self._house.name, error=type(error).__name__)
            return None


def _smallest(sizes: Sequence[telegram.PhotoSize]) -> telegram.PhotoSize:
    return min(sizes, key=lambda size: size.width * size.height)
