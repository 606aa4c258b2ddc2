"""Staff events made of messages, with copies of the pictures and files that they show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import discord

from adapters.discord import inbound
from adapters.discord.copies import Copies
from bridge.model import StaffEdit, StaffMessage, ThreadKey

TellLost = Callable[[ThreadKey, Sequence[str], int], Awaitable[None]]


class Reader:
    """Reads messages."""

    def __init__(self, copies: Copies, tell_lost: TellLost) -> None:
        self._copies = copies
        self._tell_lost = tell_lost

    async def message(self, message: discord.Message) -> tuple[StaffMessage, list[str]]:
        """Return what a person wrote, and a line for each thing of it that stays behind."""
        attachments, failed = await self._copies.attachments(inbound.files_of(message))
        event = inbound.message_event(message, await self._copies.picture(message.author), attachments)
        return event, [*failed, *inbound.left_behind(message)]

    async def edit(self, message: discord.Message) -> StaffEdit | None:
        """Return a changed text; None where something else changed."""
        return inbound.edit_event(message, await self._copies.picture(message.author))

    async def tell(self, message: discord.Message, lost: Sequence[str]) -> None:
        """Say in the thread what stayed behind, if anything did. To be called when the event is committed."""
        if lost:
            await self._tell_lost(inbound.thread_key(message.channel.id), lost, message.id)
