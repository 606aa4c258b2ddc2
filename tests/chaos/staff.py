"""Staff who answer from the threads, and note what they said."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import ClientError

from tests.chaos.files import file_of
from tests.chaos.schedule import EDITED
from tests.emulators.discord import DiscordEmulator
from tests.platforms import Desk, Emulated, Platform

MARK = re.compile(r"\b(?:v\d+(?:-\d+)+|[sn]-[a-z]+-\d+-\d+[ab])\b")
"""What marks a visitor's text or part of it, a reply of staff's, and a note."""
_LOOKS_EVERY = 0.1
_NAMES = {"a": "Anna", "b": "Bert"}


class PatientDesk(Desk):
    """A desk's page: what could not be sent is sent again under the same id."""

    async def says(self, thread: str, text: str, name: str = "Anna") -> str:
        body = {"id": text.strip("/ "), "text": text, "name": name}
        while await self._once(f"conversations/{thread}/messages", json=body) is None:
            pass
        return text

    async def shares(
        self, thread: str, name: str, type: str, content: bytes, *, text: str = "", by: str = "Anna"
    ) -> str:
        body = {"id": name, "text": text, "name": by}
        sent = None
        while sent is None:  # a gateway that was started anew does not know the file of before
            file = await self._once("files", params={"name": name}, data=content, headers={"Content-Type": type})
            if file is not None:
                names_it = body | {"attachments": [file["id"]]}
                sent = await self._once(f"conversations/{thread}/messages", json=names_it)
        return name

    async def types(self, thread: str) -> None:
        await self._once(f"conversations/{thread}/typing", json={"name": "Anna", "on": True})

    async def _once(self, path: str, *, headers: Mapping[str, str] | None = None, **request: Any) -> Any:
        """Post something; None where it is to be tried again."""
        with suppress(ClientError, ConnectionError, TimeoutError):
            async with self._http.post(
                f"{self._api}/{path}", headers={**self._headers, **(headers or {})}, **request
            ) as answer:
                if answer.status in {200, 201}:
                    return await answer.json()
                assert answer.status in {409, 503, 507}, await answer.text()
        await asyncio.sleep(_LOOKS_EVERY)
        return None


class Staff:
    """The people at one platform."""

    def __init__(self, name: str, platform: Platform) -> None:
        self.name = name
        self.platform = platform
        self.said: dict[str, list[str]] = defaultdict(list)
        """The marks of what was said and sent to each visitor, in order, notes left out."""
        self.edited: Counter[str] = Counter()
        """How often each text was changed."""
        self.deleted: set[str] = set()
        self._ids: dict[str, str] = {}
        self._threads: dict[str, str] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def answer(self, visitor: str, text: str, files: Sequence[str] = ()) -> None:
        """Write in a visitor's thread, as soon as there is one, or share a file there."""
        async with self._turns[visitor]:
            if not text.startswith("//"):
                self.said[visitor] += [mark for mark in (text, *files) if mark]
            thread = await self.thread(visitor)
            for mark in files:
                file = file_of(mark, named=True)
                by = _NAMES[mark[-1]]
                self._ids[text] = await self.platform.shares(
                    thread, file.name, file.type, file.content, text=text, by=by
                )
            if not files:
                self._ids[text] = await self.platform.says(thread, text, name=_NAMES[text[-1]])

    async def type(self, visitor: str) -> None:
        """Begin to write, and leave it at that."""
        thread = await self.thread(visitor)
        if isinstance(self.platform, PatientDesk):
            await self.platform.types(thread)
        elif isinstance(self.platform, Emulated) and isinstance(self.platform.emulator, DiscordEmulator):
            self.platform.emulator.staff_types(thread)

    async def change(self, visitor: str, text: str, *, deletes: bool) -> None:
        """Edit or delete what was said, unless it has been deleted."""
        assert isinstance(self.platform, Emulated)
        async with self._turns[visitor]:
            thread = await self.thread(visitor)
            if text not in self.deleted and deletes:
                self.deleted |= {text, *(mark for mark in self.sent_to(visitor) if mark == f"f{text[1:]}")}
                del self.edited[text]
                await self.platform.emulator.staff_deletes(thread, self._ids[text])
            elif text not in self.deleted:
                self.edited[text] += 1
                changed = text + EDITED * self.edited[text]
                await self.platform.emulator.staff_edits(thread, self._ids[text], changed)

    def shown_to(self, visitor: str) -> list[str]:
        """Return what a visitor is to read of them in the end."""
        texts = [mark for mark in self.said[visitor] if mark.startswith("s-") and mark not in self.deleted]
        return [text + EDITED * self.edited[text] for text in texts]

    def sent_to(self, visitor: str) -> list[str]:
        """Return the marks of the files that they sent to a visitor."""
        return [mark for mark in self.said[visitor] if mark.startswith("f-") and mark not in self.deleted]

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
