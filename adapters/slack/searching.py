"""Looks bit by bit for what may have been sent: a long thread or a busy channel is not read in the time of one call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.slack.api import Api
from adapters.slack.errors import CursorGone
from bridge.errors import RetryLater, Scope
from bridge.model import RemoteId, Token

_PAGE = 200
_PAGES = 5
"""How many pages one look reads: they have to come within its time."""


@dataclass(slots=True)
class Search:
    """How far a search has come. It takes as many looks as it needs, whatever becomes of one of them."""

    cursor: str = ""
    """Of the page with which it goes on."""
    found: dict[Token, RemoteId] = field(default_factory=dict)

    async def messages(self, api: Api, method: str, since: datetime, **params: Any) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the messages from there to the end. Raises RetryLater where the next look is to go on."""
        params |= {"oldest": f"{since.timestamp():.6f}", "include_all_metadata": True, "limit": _PAGE}
        for _ in range(_PAGES):
            try:
                answer = await api.read(method, cursor=self.cursor, **params)
            except CursorGone:
                self.cursor = ""
                self.found.clear()
                raise
            for message in answer.get("messages") or ():
                yield message
            following = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not following:
                return
            self.cursor = following
        raise RetryLater("there is much to read: the search goes on", 0.0, Scope.THREAD)
