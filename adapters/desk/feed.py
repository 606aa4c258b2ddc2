"""The stream of events to one agent's page: hints become frames; a page that does not keep up is let go and resumes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import groupby

import structlog

from adapters.desk.frames import Frame, encode, entry_frame, summary_frame, typing_frame
from bridge.errors import StoreError
from bridge.hints import Hint, LogHint, TypingHint
from bridge.model import ConversationId, Entry
from bridge.ports import ConversationView, Files

WAITING = 256
COMMENT_SECONDS = 15.0

log = structlog.get_logger()


class Backlog:
    """The hints that wait for one page."""

    def __init__(self, limit: int = WAITING) -> None:
        self._hints: asyncio.Queue[LogHint | TypingHint] = asyncio.Queue(limit)
        self.overflown = False

    def offer(self, hint: Hint) -> None:
        """Take a hint in. Where there is no room, who types is passed over and what was written ends the stream."""
        if not isinstance(hint, LogHint | TypingHint):
            return
        try:
            self._hints.put_nowait(hint)
        except asyncio.QueueFull:
            self.overflown = self.overflown or isinstance(hint, LogHint)

    async def next(self) -> Sequence[LogHint | TypingHint]:
        """Return all hints that wait; none when it is time for a sign of life."""
        try:
            async with asyncio.timeout(COMMENT_SECONDS):
                hints = [await self._hints.get()]
        except TimeoutError:
            return ()
        while not self._hints.empty():
            hints.append(self._hints.get_nowait())
        return hints


async def events(view: ConversationView, files: Files) -> AsyncIterator[bytes]:
    """Yield server-sent events: "ready" first, from when on nothing is missed, then "changed" and "typing"."""
    backlog = Backlog()
    end = view.changes(backlog.offer)
    try:
        yield _event("ready", {})
        while not backlog.overflown:
            hints = await backlog.next()
            if not hints:
                yield b":\n\n"
            # What comes together is told together: each frame costs a look into the store.
            for _, alike in groupby(hints, type):
                for event in await _told(tuple(alike), view, files):
                    yield event
    except StoreError as error:
        log.warning("desk_stream_ended", reason=str(error))
    finally:
        end()


async def _told(hints: Sequence[LogHint | TypingHint], view: ConversationView, files: Files) -> list[bytes]:
    """Return the events that hints of one kind give. Conversations that are not this desk's give none."""
    told, groups = [], dict[ConversationId, list[Entry]]()
    for hint in hints:
        if isinstance(hint, TypingHint):
            if await view.conversation(hint.conversation):
                told.append(_event("typing", typing_frame(hint, files)))
        elif not hint.entries:
            told.append(_event("changed", {"conversation": None, "entries": []}))
        else:
            for entry in hint.entries:
                groups.setdefault(entry.conversation, []).append(entry)
    for conversation, entries in groups.items():
        if summary := await view.conversation(conversation):
            frames = [entry_frame(entry, files) for entry in entries]
            told.append(_event("changed", {"conversation": summary_frame(summary, files), "entries": frames}))
    return told


def _event(name: str, frame: Frame) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(frame))
