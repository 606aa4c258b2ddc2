"""What comes in: Discord's messages as staff events. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import discord

from adapters.discord.markdown import parse
from bridge.model import (
    Attachment,
    FileId,
    RemoteId,
    RichText,
    Staff,
    StaffDeletion,
    StaffEdit,
    StaffMessage,
    ThreadKey,
)
from bridge.richtext import join

_WRITTEN = {discord.MessageType.default, discord.MessageType.reply}


def thread_key(channel_id: int) -> ThreadKey:
    """Return a thread's key: its id, which names it in all of Discord and is all that a message tells of its place."""
    return ThreadKey(str(channel_id))


def is_staffs(message: discord.Message) -> bool:
    """Tell whether a person wrote it: no bot (ourselves included), no webhook, nothing that Discord itself says."""
    return not message.author.bot and message.webhook_id is None and message.type in _WRITTEN


def staff(author: discord.abc.User, avatar: FileId | None = None) -> Staff:
    """Return a person under the name that the server shows."""
    return Staff(str(author.id), author.display_name, avatar)


def message_event(
    message: discord.Message, avatar: FileId | None, attachments: Sequence[Attachment], lost: Sequence[str]
) -> StaffMessage:
    """Return what a person wrote, without text or files where nothing of it can be shown elsewhere."""
    return StaffMessage(
        thread_key(message.channel.id),
        RemoteId(str(message.id)),
        staff(message.author, avatar),
        text_of(message),
        message.created_at,
        tuple(attachments),
        tuple(lost),
    )


def bare_event(message: discord.Message) -> StaffMessage:
    """Return what a person wrote with nothing but its text, and that the rest stays behind."""
    lost = ("what came with a message (it could not be read)",)
    thread, id = thread_key(message.channel.id), RemoteId(str(message.id))
    return StaffMessage(thread, id, staff(message.author), RichText(message.content), message.created_at, lost=lost)


def edit_event(message: discord.Message, avatar: FileId | None) -> StaffEdit | None:
    """Return a changed text; None where something else changed, such as a preview that Discord added."""
    if message.edited_at is None:
        return None
    return StaffEdit(
        thread_key(message.channel.id),
        RemoteId(str(message.id)),
        staff(message.author, avatar),
        text_of(message),
        message.edited_at,
        message.edited_at.isoformat(),
    )


def deletion_event(channel_id: int, message_id: int, at: datetime) -> StaffDeletion:
    """Return a deletion. Discord tells neither who nor when."""
    return StaffDeletion(thread_key(channel_id), RemoteId(str(message_id)), at)


def text_of(message: discord.Message) -> RichText:
    """Return the text of a message and of what it forwards, with the names of stickers."""
    names = _names(message)
    texts = [parse(source.content, names) for source in _sources(message) if source.content]
    texts += [RichText(f":{sticker.name}:") for source in _sources(message) for sticker in source.stickers]
    return join(texts, "\n")


def files_of(message: discord.Message) -> list[discord.Attachment]:
    """Return the files of a message and of what it forwards."""
    return [file for source in _sources(message) for file in source.attachments]


def left_behind(message: discord.Message) -> list[str]:
    """Return a line for each thing that is neither text nor a file."""
    return [f'the poll "{message.poll.question}"'] if message.poll else []


def _sources(message: discord.Message) -> list[discord.Message | discord.MessageSnapshot]:
    return [message, *message.message_snapshots]


def _names(message: discord.Message) -> dict[str, str]:
    names = {f"@{user.id}": user.display_name for user in message.mentions}
    names |= {f"&{role.id}": role.name for role in message.role_mentions}
    return names | {f"#{channel.id}": channel.name for channel in message.channel_mentions}
