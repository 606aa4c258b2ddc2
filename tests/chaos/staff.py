"""Staff who answer from the threads, and note what they said."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from contextlib import suppress

from aiohttp import ClientError

from tests.chaos.schedule import EDITED
from tests.platforms import Desk, Emulated, Platform

MARK = re.compile(r"\b(?:v\d+(?:-\d+)+|[sn]-[a-z]+-\d+-\d+[ab])\b")
"""What marks a visitor's text or part of it, a reply of staff's, and a note."""
_LOOKS_EVERY = 0.1
_NAMES = {"a": "Anna", "b": "Bert"}


class PatientDesk(Desk):
    """A desk's page: what could not be sent is sent again under the same id."""

    async def says(self, thread: str, text: str, name: str = "Anna") -> str:
        body = {"id": text.strip("/ "), "text": text, "name": name}
        address = f"{self._api}/conversations/{thread}/messages"
        while True:
            with suppress(ClientError, ConnectionError, TimeoutError):
                async with self._http.post(address, json=body, headers=self._headers) as answer:
                    if answer.status == 200:
                        return text
                    assert answer.status in {409, 503, 507}, await answer.text()
            await asyncio.sleep(_LOOKS_EVERY)


class Staff:
    """The people at one platform."""

    def __init__(self, name: str, platform: Platform) -> None:
        self.name = name
        self.platform = platform
        self.said: dict[str, list[str]] = defaultdict(list)
        """The marks of what was said to each visitor, in order, notes left out."""
        self.edited: set[str] = set()
        self.deleted: set[str] = set()
        self._ids: dict[str, str] = {}
        self._threads: dict[str, str] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def answer(self, visitor: str, text: str) -> None:
        """Write in a visitor's thread, as soon as there is one."""
        async with self._turns[visitor]:
            if not text.startswith("//"):
                self.said[visitor].append(text)
            thread = await self.thread(visitor)
            self._ids[text] = await self.platform.says(thread, text, name=_NAMES[text[-1]])

    async def change(self, visitor: str, text: str, *, deletes: bool) -> None:
        """Edit or delete what was said, unless it has been deleted."""
        assert isinstance(self.platform, Emulated)
        async with self._turns[visitor]:
            thread = await self.thread(visitor)
            if text not in self.deleted and deletes:
                self.deleted.add(text)
                self.edited.discard(text)
                await self.platform.emulator.staff_deletes(thread, self._ids[text])
            elif text not in self.deleted:
                self.edited.add(text)
                await self.platform.emulator.staff_edits(thread, self._ids[text], text + EDITED)

    def shown_to(self, visitor: str) -> list[str]:
        """Return what a visitor is to read of them in the end."""
        return [
            text + EDITED if text in self.edited else text for text in self.said[visitor] if text not in self.deleted
        ]

    async def thread(self, visitor: str) -> str:
        """Return a visitor's thread, once it is there."""
        while visitor not in self._threads:
            with suppress(ClientError, ConnectionError, TimeoutError):
                await self._look_for(visitor)
            await asyncio.sleep(_LOOKS_EVERY)
        return self._threads[visitor]

    async def _look_for(self, visitor: str) -> None:
        for thread in await self.platform.threads():
            if any(f"{visitor}-" in shown.text for shown in await self.platform.shown(thread) if shown.by_bot):
                self._threads[visitor] = thread
