"""Looks bit by bit for what may have been sent: a long thread or a busy channel is not read in the time of one call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import discord

from bridge.errors import RetryLater, Scope
from bridge.model import RemoteId, Token

_PAGE = 100
_PAGES = 5
"""How many pages one look reads: they have to come within its time."""


@dataclass(slots=True)
class Search:
    """How far a search has come. It takes as many looks as it needs, whatever becomes of one of them."""

    place: int
    """The message behind which it goes on."""
    found: dict[Token, RemoteId] = field(default_factory=dict)

    async def messages(self, where: discord.abc.Messageable) -> AsyncIterator[discord.Message]:
        """Yield the messages from there to the end. Raises RetryLater where the next look is to go on."""
        for _ in range(_PAGES):
            behind = discord.Object(self.place)
            page = [each async for each in where.history(limit=_PAGE, after=behind, oldest_first=True)]
            for message in page:
                yield message
            if len(page) < _PAGE:
                return
            self.place = page[-1].id
        raise RetryLater("there is much to read: the search goes on", 0.0, Scope.THREAD)
