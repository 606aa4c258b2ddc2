"""Staff events made of messages, with copies of the pictures and files that they show."""

from __future__ import annotations

import discord
import structlog

from adapters.discord import inbound
from adapters.discord.copies import Copies
from bridge.commands import is_note
from bridge.errors import StoreError
from bridge.model import StaffEdit, StaffMessage

log = structlog.get_logger()


class Reader:
    """Reads messages."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies

    async def message(self, message: discord.Message) -> StaffMessage:
        """Return what a person wrote; of what cannot be read its bare text."""
        try:
            return await self._whole(message)
        except (StoreError, RuntimeError):  # the session was closed meanwhile: it is read whole by the next connection
            raise
        except Exception as error:  # noqa: BLE001 - it would be as odd each time it came
            log.error("discord_message_not_read", message=message.id, error=type(error).__name__)
            return inbound.bare_event(message)

    async def _whole(self, message: discord.Message) -> StaffMessage:
        files = [] if is_note(inbound.text_of(message).text) else inbound.files_of(message)
        attachments, failed = await self._copies.attachments(files)
        lost = [*failed, *inbound.left_behind(message)]
        return inbound.message_event(message, await self._copies.picture(message.author), attachments, lost)

    async def edit(self, message: discord.Message) -> StaffEdit | None:
        """Return a changed text; None where something else changed."""
        return inbound.edit_event(message, await self._copies.picture(message.author))
