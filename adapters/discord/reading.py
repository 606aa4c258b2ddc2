"""Staff events made of messages, with copies of the pictures and files that they show."""

from __future__ import annotations

import discord

from adapters.discord import inbound
from adapters.discord.copies import Copies
from bridge.model import StaffEdit, StaffMessage


class Reader:
    """Reads messages."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies

    async def message(self, message: discord.Message) -> StaffMessage:
        """Return what a person wrote."""
        attachments, failed = await self._copies.attachments(inbound.files_of(message))
        lost = [*failed, *inbound.left_behind(message)]
        return inbound.message_event(message, await self._copies.picture(message.author), attachments, lost)

    async def edit(self, message: discord.Message) -> StaffEdit | None:
        """Return a changed text; None where something else changed."""
        return inbound.edit_event(message, await self._copies.picture(message.author))
