"""Copies of what the platform's CDN holds, whose addresses expire: staff's pictures, and files that staff send."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import discord
import structlog

from adapters.discord.errors import FAILURES
from adapters.discord.rest import backoff
from bridge.errors import BadFile
from bridge.model import Attachment, FileId
from bridge.ports import Clock, Files

log = structlog.get_logger()

LARGEST = 25 * 1024 * 1024
_DEADLINE = 20.0
"""And for a file one second more for every 100 kB."""
_PATIENCE = 100.0
"""So long a file is tried again that Discord does not hand out for the moment. What follows in its thread waits."""
_AT_ONCE = 4
_PEOPLE = 1000
_AGE = 86400.0


class Copies:
    """Fetches bytes, a few at a time, and has them kept."""

    def __init__(self, files: Files, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._pictures: OrderedDict[int, tuple[str, float, FileId]] = OrderedDict()

    async def picture(self, author: discord.abc.User) -> FileId | None:
        """Return the copy of a person's picture; None where they have none or it cannot be had now."""
        asset = getattr(author, "guild_avatar", None) or author.avatar
        if asset is None:
            return None
        known = self._pictures.get(author.id)
        if known and known[0] == asset.key and self._clock.steady() - known[1] < _AGE:
            self._pictures.move_to_end(author.id)
            return known[2]
        try:
            async with self._gate, asyncio.timeout(_DEADLINE):
                content = await asset.with_size(128).with_static_format("png").read()
            kept = await self._files.keep_picture(f"{author.id}.png", "image/png", content)
        except (*FAILURES, BadFile) as error:
            log.warning("discord_picture_failed", user=author.id, error=type(error).__name__)
            return None
        self._pictures[author.id] = (asset.key, self._clock.steady(), kept)
        if len(self._pictures) > _PEOPLE:
            self._pictures.popitem(last=False)
        return kept

    async def attachments(self, sent: Sequence[discord.Attachment]) -> tuple[list[Attachment], list[str]]:
        """Return copies of files, and a line for each that could not be copied."""
        kept: list[Attachment] = []
        lost: list[str] = []
        for attachment in sent:
            try:
                kept.append(await self._attachment(attachment))
            except BadFile as error:
                lost.append(f"{attachment.filename} ({error})")
            except FAILURES as error:
                log.warning("discord_file_failed", attachment=attachment.id, error=type(error).__name__)
                lost.append(f"{attachment.filename} (it could not be fetched from Discord)")
        return kept, lost

    async def _attachment(self, attachment: discord.Attachment) -> Attachment:
        if attachment.size > LARGEST:
            raise BadFile(f"larger than {LARGEST // 1024 // 1024} MB")
        content = await self._fetched(attachment)
        type_ = (attachment.content_type or "application/octet-stream").partition(";")[0]
        return await self._files.keep(attachment.filename, type_, content)

    async def _fetched(self, attachment: discord.Attachment) -> bytes:
        waits, left = backoff(), _PATIENCE
        now = self._clock.steady
        while True:
            began = now()
            try:
                async with self._gate, asyncio.timeout(_DEADLINE + attachment.size / 100_000):
                    return await attachment.read()
            except (discord.NotFound, discord.Forbidden):
                raise
            except FAILURES:
                left -= now() - began
                if left <= 0:
                    raise
                wait = next(waits)
                await self._clock.sleep(wait)
                left -= wait
