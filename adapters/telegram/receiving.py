"""Turns updates into staff events: asks whose thread it is, and fetches names, pictures and files."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import structlog
import telegram
from telegram import Bot, Message, Update
from telegram.error import BadRequest, NetworkError, RetryAfter, TelegramError

from adapters.telegram import errors, inbound
from bridge.commands import is_note
from bridge.errors import BadFile, StoreError
from bridge.model import Attachment, FileId, RemoteId, Staff, StaffEvent
from bridge.ports import House, InboundSink

_log = structlog.get_logger()

DOWNLOAD_LIMIT: Final = 20 * 1024 * 1024
REQUEST_DEADLINE: Final = 300.0
"""For one file: 20 MB at 100 kB/s, and some."""
_BATCH_DEADLINE: Final = 5.0
"""For all names, pictures and files of a batch: their texts, and the next batch, wait no longer."""
_DOWNLOADS_AT_ONCE: Final = 4
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 15.0
_PICTURES_KEPT: Final = 1000
_PICTURE_AGE: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What some updates come to, in their order."""

    events: tuple[StaffEvent, ...] = ()
    moved: tuple[tuple[int, int], ...] = ()
    """Groups that have become supergroups, each with its id before and its id from now on."""
    rights: bool = False
    """Whether the bot's rights in a group have changed."""


class Receiver:
    """Reads updates. Holds the pictures that it has fetched."""

    def __init__(self, bot: Bot, house: House) -> None:
        self._bot = bot
        self._house = house
        self._pictures: OrderedDict[int, tuple[float, FileId | None]] = OrderedDict()
        self._one_picture = asyncio.Lock()
        self._downloads = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)

    async def read(self, updates: Sequence[Any], sink: InboundSink) -> Batch:
        """Return what updates, as JSON gave them, come to. Of a bad one its text is left. Raises StoreError."""
        until = asyncio.get_running_loop().time() + _BATCH_DEADLINE
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(raw, sink, until), name="telegram update") for raw in updates]
        except* StoreError as failed:
            raise failed.exceptions[0] from None
        results = [task.result() for task in tasks]
        return Batch(
            tuple(event for result in results for event in result.events),
            tuple(moved for result in results for moved in result.moved),
            any(result.rights for result in results),
        )

    async def _one(self, raw: Any, sink: InboundSink, until: float) -> Batch:
        # One bad update must not hold up those behind it, and what is odd about a file must not take its text along
        number = raw.get("update_id") if isinstance(raw, dict) else None
        try:
            return await self._whole(Update.de_json(raw, self._bot), sink, until)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001
            _log.warning("update_not_read", adapter=self._house.name, update=number, error=type(error).__name__)
        try:
            return await self._bare(Update.de_json(inbound.bare(raw), self._bot), sink)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001
            _log.warning("update_dropped", adapter=self._house.name, update=number, error=type(error).__name__)
            return Batch()

    async def _whole(self, update: Update, sink: InboundSink, until: float) -> Batch:
        if update.message is not None and update.message.migrate_to_chat_id is not None:
            return Batch(moved=((update.message.chat_id, update.message.migrate_to_chat_id),))
        if update.my_chat_member is not None:
            return Batch(rights=True)
        if (to := inbound.reacted_to(update)) is not None:
            chat, number = to
            await sink.reacted(RemoteId(str(number)), lambda thread: inbound.address(thread)[0] == chat)
        message = inbound.heard(update)
        if message is None or not await sink.follows(inbound.thread_of(message)):
            return Batch()
        staff = await self._staff(message, until)
        if is_note(inbound.text_of(message).text):
            return _note(update, message, staff)
        if update.edited_message is not None:
            return Batch(_events(update, staff))
        return await self._with_file(update, message, staff, until)

    async def _with_file(self, update: Update, message: Message, staff: Staff, until: float) -> Batch:
        file = inbound.file_of(message)
        if file is None:
            return _without(update, message, staff, inbound.unsupported(message))
        try:
            kept = await self.fetched(file, until, self._downloads)
        except TimeoutError:
            return Batch((*_events(update, staff), inbound.owed_file(message, staff, file)))
        if isinstance(kept, str):
            return _without(update, message, staff, f"{file.name} ({kept})")
        # Told again, by a webhook whose answer was lost, the same file may be late
        return Batch((*_events(update, staff, [kept]), inbound.withdrawn_file(message)))

    async def _bare(self, update: Update, sink: InboundSink) -> Batch:
        message = inbound.from_person(update)
        if message is None or not await sink.follows(inbound.thread_of(message)):
            return Batch()
        staff = inbound.staff_of(message)
        lost = f"what came with the text of {staff.name}" if inbound.heard(update) else f"a message of {staff.name}"
        return _without(update, message, staff, f"{lost} (it could not be read)")

    # --- files

    async def fetched(self, file: inbound.RemoteFile, until: float, slots: asyncio.Semaphore) -> Attachment | str:
        """Return a file, kept by us, or why there is none. Raises TimeoutError past a time of the loop; StoreError."""
        if file.size > DOWNLOAD_LIMIT:
            return "larger than the 20 MB that Telegram gives to bots"
        try:
            async with asyncio.timeout_at(until), slots:
                content = await self._given(file.id)
            return await self._house.files.keep(file.name, file.type, content)
        except BadFile as error:
            return str(error)
        except TelegramError as error:
            _log.warning("file_not_fetched", adapter=self._house.name, error=type(error).__name__)
            return "Telegram did not give it to us"

    async def _given(self, file_id: str) -> bytes:
        """Fetch a file, again and again where Telegram fails for the moment."""
        wait = _FIRST_WAIT
        while True:
            try:
                return await self._download(file_id)
            except BadRequest:  # too is a NetworkError
                raise
            except (NetworkError, RetryAfter) as error:
                asked = errors.wait_of(error) if isinstance(error, RetryAfter) else 0.0
                await self._house.clock.sleep(max(wait, asked))
                wait = min(2 * wait, _LONGEST_WAIT)

    async def _download(self, file_id: str) -> bytes:
        # Not `Bot.get_file`: it looks on the disk whether the path is a local one, and the event loop waits.
        file: Mapping[str, Any] = await self._bot.do_api_request(
            "GetFile", {"file_id": file_id}, read_timeout=REQUEST_DEADLINE
        )
        if not (path := file.get("file_path")):
            raise TelegramError("the file has no path")
        address = f"{self._bot.base_file_url}/{quote(path)}"
        return await self._bot.request.retrieve(address, read_timeout=REQUEST_DEADLINE)

    # --- people

    async def _staff(self, message: Message, until: float) -> Staff:
        if message.sender_chat is not None or message.from_user is None:
            return inbound.staff_of(message)
        return inbound.staff_of(message, await self._picture(message.from_user.id, until))

    async def _picture(self, user: int, until: float) -> FileId | None:
        try:
            # One at a time: the messages of one album all ask for the same
            async with asyncio.timeout_at(until), self._one_picture:
                return await self._current_picture(user)
        except TimeoutError:
            return None

    async def _current_picture(self, user: int) -> FileId | None:
        now = self._house.clock.steady()
        at, known = self._pictures.get(user, (None, None))
        if at is None or now - at >= _PICTURE_AGE:
            # Noted ahead: where a picture takes too long, not every message of that person waits for it again
            self._pictures[user] = (now, known)
            self._pictures[user] = (now, known := await self._fetched_picture(user))
        self._pictures.move_to_end(user)
        if len(self._pictures) > _PICTURES_KEPT:
            self._pictures.popitem(last=False)
        return known

    async def _fetched_picture(self, user: int) -> FileId | None:
        try:
            photos = await self._bot.get_user_profile_photos(user, limit=1)
            if not photos.photos:
                return None
            content = await self._download(_smallest(photos.photos[0]).file_id)
            return await self._house.files.keep_picture("picture.jpg", "image/jpeg", content)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is odd about a picture, the message goes without
            _log.info("picture_not_fetched", adapter=self._house.name, error=type(error).__name__)
            return None


def _events(update: Update, staff: Staff, attachments: Sequence[Attachment] = ()) -> tuple[StaffEvent, ...]:
    event = inbound.event_of(update, staff, attachments)
    return () if event is None else (event,)


def _note(update: Update, message: Message, staff: Staff) -> Batch:
    """Pass a note on. Its file is not fetched, and one that went ahead of a change to a note is taken back."""
    went = update.edited_message is not None and inbound.file_of(message) is not None
    return Batch((*_events(update, staff), *([inbound.withdrawn_file(message)] if went else [])))


def _without(update: Update, message: Message, staff: Staff, lost: str) -> Batch:
    """Pass on what text there is, and tell staff what of the message stays behind."""
    return Batch((*_events(update, staff), *([inbound.lost_event(update, message, staff, lost)] if lost else [])))


def _smallest(sizes: Sequence[telegram.PhotoSize]) -> telegram.PhotoSize:
    return min(sizes, key=lambda size: size.width * size.height)
