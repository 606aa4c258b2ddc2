"""From Telegram's updates to staff events. Pure: nothing here waits or asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import telegram
from telegram import Message, MessageEntity, Update

from bridge.model import (
    Attachment,
    FileId,
    Mark,
    MarkKind,
    RemoteId,
    RichText,
    Staff,
    StaffDeletion,
    StaffEdit,
    StaffEvent,
    StaffMessage,
    ThreadKey,
)

_MESSAGES: Final = ("message", "edited_message")
ALLOWED_UPDATES: Final = [*_MESSAGES, "message_reaction", "my_chat_member"]
"""Deletions do not exist: Telegram tells bots of none in a group."""

_BARE: Final = frozenset(
    {"message_id", "date", "edit_date", "chat", "from", "sender_chat", "author_signature", "message_thread_id"}
    | {"is_topic_message", "is_automatic_forward", "text", "entities", "caption", "caption_entities"}
)
"""The fields of a message that tell who says what where."""

_MARKS: Final = {
    MessageEntity.BOLD: MarkKind.BOLD,
    MessageEntity.ITALIC: MarkKind.ITALIC,
    MessageEntity.CODE: MarkKind.CODE,
    MessageEntity.PRE: MarkKind.PRE,
    MessageEntity.TEXT_LINK: MarkKind.LINK,
    MessageEntity.BLOCKQUOTE: MarkKind.QUOTE,
    MessageEntity.EXPANDABLE_BLOCKQUOTE: MarkKind.QUOTE,
}
"""Addresses, mentions and the like are what their characters say, and need no mark."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a message, still at Telegram. `size` is 0 where it is not told."""

    id: str
    name: str
    type: str
    size: int


def bare(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return an update, as JSON gave it, with nothing but the text of its message."""
    messages = {kind: raw[kind] for kind in _MESSAGES if kind in raw}
    return {"update_id": raw["update_id"]} | {
        kind: {key: value for key, value in message.items() if key in _BARE} for kind, message in messages.items()
    }


def heard(update: Update) -> Message | None:
    """Return the message that a person wrote or changed in a topic, with something in it; None for everything else."""
    message = from_person(update)
    if message is None or (update.edited_message is not None and not (message.text or file_of(message))):
        return None
    return message if text_of(message).text or file_of(message) or unsupported(message) else None


def from_person(update: Update) -> Message | None:
    """Return the message of a person in a topic, whatever is in it."""
    message = update.message or update.edited_message
    if message is None or not message.is_topic_message or message.message_thread_id is None:
        return None
    if message.from_user is None or message.is_automatic_forward:
        return None
    # Whoever writes in a chat's name is a person behind a bot of Telegram's own
    if message.from_user.is_bot and message.sender_chat is None:
        return None
    return message


def reacted_to(update: Update) -> tuple[int, int] | None:
    """Return the group and number of the message to which somebody has added a reaction."""
    change = update.message_reaction
    if change is None or (change.user is not None and change.user.is_bot):
        return None
    return (change.chat.id, change.message_id) if set(change.new_reaction) - set(change.old_reaction) else None


def address(thread: ThreadKey) -> tuple[int, int]:
    """Return the group and the number of a topic."""
    chat, _, topic = thread.partition("/")
    return int(chat), int(topic)


def thread_of(message: Message) -> ThreadKey:
    """Return the key of the topic that a message is in."""
    return ThreadKey(f"{message.chat_id}/{message.message_thread_id}")


def staff_of(message: Message, avatar: FileId | None = None) -> Staff:
    """Return who wrote a message."""
    if message.sender_chat is not None:
        name = message.author_signature or message.sender_chat.title or "Staff"
        return Staff(f"{message.sender_chat.id}/{name}", name)
    assert message.from_user is not None  # `heard` has seen to it
    return Staff(str(message.from_user.id), message.from_user.full_name, avatar)


def event_of(update: Update, staff: Staff, attachments: Sequence[Attachment] = ()) -> StaffEvent | None:
    """Return the event of an update; None where nothing is left to say."""
    message = heard(update)
    if message is None:
        return None
    text = text_of(message)
    thread, remote_id = thread_of(message), RemoteId(str(message.message_id))
    if update.edited_message is not None:
        at = message.edit_date or message.date
        return StaffEdit(thread, remote_id, staff, text, at.astimezone(UTC), _version(at, text))
    if not text.text and not attachments:
        return None
    return StaffMessage(thread, remote_id, staff, text, message.date.astimezone(UTC), tuple(attachments))


def lost_event(update: Update, message: Message, staff: Staff, lost: str) -> StaffMessage:
    """Return the event that tells staff what of a message, or of a change to it, stays behind."""
    at = message.edit_date or message.date
    about = _late_id(message)  # of a file it is either told that it is lost, or it comes
    if update.edited_message is not None:
        about = RemoteId(f"{message.message_id}/lost {int(at.timestamp())}")
    return StaffMessage(thread_of(message), about, staff, RichText(""), at.astimezone(UTC), lost=(lost,))


def owed_file(message: Message, staff: Staff, file: RemoteFile) -> StaffMessage:
    """Return the event of a file that comes after its message's text, as long as it is not here."""
    at = message.date.astimezone(UTC)
    return StaffMessage(thread_of(message), _late_id(message), staff, RichText(""), at, owed=_owed(file, None))


MAY_STAND: Final = 0
"""The number of a notice that may stand in the topic, though nobody knows where."""


def with_notice(owed: StaffMessage, notice: int | None) -> StaffMessage:
    """Return the event of `owed_file` with the number of the notice that stands in the topic meanwhile."""
    return replace(owed, owed=_owed(owed_of(owed)[0], notice))


def owed_of(owed: StaffMessage) -> tuple[RemoteFile, int | None]:
    """Return what the event of `owed_file` waits for, and its notice."""
    read = json.loads(owed.owed)
    return RemoteFile(**read["file"]), read["notice"]


def _owed(file: RemoteFile, notice: int | None) -> str:
    return json.dumps({"file": asdict(file), "notice": notice})


def withdrawn_file(message: Message) -> StaffDeletion:
    """Return the event that takes a late file back, or keeps it from coming."""
    at = message.edit_date or message.date
    return StaffDeletion(thread_of(message), _late_id(message), at.astimezone(UTC))


def _late_id(message: Message) -> RemoteId:
    return RemoteId(f"{message.message_id}/file")


def _version(at: datetime, text: RichText) -> str:
    # The edit time has whole seconds only, and two edits fit into one
    return f"{int(at.timestamp())}-{hashlib.sha256(repr(text).encode()).hexdigest()[:16]}"


# --- text -------------------------------------------------------------------------------------------------------------


def text_of(message: Message) -> RichText:
    """Return a message's text: its own, a file's caption, or the words for a contact, a place, a poll or a die."""
    if message.text is not None:
        return rich_text(message.text, message.entities)
    if message.caption is not None:
        return rich_text(message.caption, message.caption_entities)
    return RichText(_in_words(message))


def rich_text(text: str, entities: Sequence[MessageEntity]) -> RichText:
    """Turn entities, which count in UTF-16 units, into marks, which count in code points."""
    if not entities:
        return RichText(text)
    wide = len(text.encode("utf-16-le")) // 2 != len(text)
    marks = []
    for entity in entities:
        kind = _MARKS.get(entity.type)
        if kind is None:
            continue
        start, end = entity.offset, entity.offset + entity.length
        if wide:
            start, end = _code_points(text, start), _code_points(text, end)
        end = min(end, len(text))
        if start < end:
            marks.append(Mark(kind, start, end, (entity.url or "") if kind is MarkKind.LINK else ""))
    return RichText(text, tuple(sorted(marks, key=lambda mark: (mark.start, -mark.end))))


def _code_points(text: str, units: int) -> int:
    return len(text.encode("utf-16-le")[: 2 * units].decode("utf-16-le", "ignore"))


def _in_words(message: Message) -> str:
    if message.contact is not None:
        contact = message.contact
        name = " ".join(part for part in (contact.first_name, contact.last_name) if part)
        return f"{name}: {contact.phone_number}"
    if message.venue is not None:
        return f"{message.venue.title}, {message.venue.address}\n{_map(message.venue.location)}"
    if message.location is not None:
        return _map(message.location)
    if message.poll is not None:
        return "\n".join([message.poll.question, *(f"- {option.text}" for option in message.poll.options)])
    if message.dice is not None:
        return f"{message.dice.emoji} {message.dice.value}"
    return ""


def _map(location: telegram.Location) -> str:
    place = f"{location.latitude:.6f}/{location.longitude:.6f}"
    return f"https://www.openstreetmap.org/?mlat={place.replace('/', '&mlon=')}#map=17/{place}"


# --- files ------------------------------------------------------------------------------------------------------------


def file_of(message: Message) -> RemoteFile | None:
    """Return the file of a message."""
    if message.photo:
        largest = max(message.photo, key=lambda size: size.width * size.height)
        return RemoteFile(largest.file_id, "photo.jpg", "image/jpeg", largest.file_size or 0)
    # An animation comes with a document as well, for clients that know no animations
    if (media := message.animation or message.document or message.video or message.audio) is not None:
        type = media.mime_type or "application/octet-stream"
        name = media.file_name or _UNNAMED.get(type, "file")
        return RemoteFile(media.file_id, name, type, media.file_size or 0)
    if message.voice is not None:
        return RemoteFile(message.voice.file_id, "voice.ogg", "audio/ogg", message.voice.file_size or 0)
    if message.video_note is not None:
        return RemoteFile(message.video_note.file_id, "video.mp4", "video/mp4", message.video_note.file_size or 0)
    return _sticker(message.sticker) if message.sticker is not None else None


_UNNAMED: Final = {"video/mp4": "video.mp4", "audio/mpeg": "audio.mp3", "audio/mp4": "audio.m4a"}


def _sticker(sticker: telegram.Sticker) -> RemoteFile:
    name, type = "sticker.webp", "image/webp"
    if sticker.is_video:
        name, type = "sticker.webm", "video/webm"
    elif sticker.is_animated:
        name, type = "sticker.tgs", "application/gzip"
    return RemoteFile(sticker.file_id, name, type, sticker.file_size or 0)


def unsupported(message: Message) -> str:
    """Name the content of a message that has no form for visitors; empty for service messages and for the rest."""
    for name in ("paid_media", "story", "checklist", "game", "invoice", "giveaway"):
        if getattr(message, name) is not None:
            return name.replace("_", " ")
    # What is newer than the library it keeps as it came
    return next((name.replace("_", " ") for name in ("rich_message", "live_photo") if name in message.api_kwargs), "")
