"""The stream of events to one agent's page: hints become frames; a page that does not keep up is let go and resumes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

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

    async def next(self) -> LogHint | TypingHint | None:
        """Return the next hint, or None when it is time for a sign of life."""
        try:
            async with asyncio.timeout(COMMENT_SECONDS):
                return await self._hints.get()
        except TimeoutError:
            return None


async def events(view: ConversationView, files: Files) -> AsyncIterator[bytes]:
    """Yield server-sent events: "ready" first, from when on nothing is missed, then "changed" and "typing"."""
    backlog = Backlog()
    end = view.changes(backlog.offer)
    try:
        yield _event("ready", {})
        while not backlog.overflown:
            hint = await backlog.next()
            if hint is None:
                yield b":\n\n"
                continue
            for event in await _told(hint, view, files):
                yield event
    except StoreError as error:
        log.warning("desk_stream_ended", reason=str(error))
    finally:
        end()


async def _told(hint: LogHint | TypingHint, view: ConversationView, files: Files) -> list[bytes]:
    """Return the events that a hint gives. Conversations that are not this desk's give none."""
    if isinstance(hint, TypingHint):
        ours = await view.conversation(hint.conversation)
        return [_event("typing", typing_frame(hint, files))] if ours else []
    if not hint.entries:
        return [_event("changed", {"conversation": None, "entries": []})]
    told = []
    for conversation, entries in _by_conversation(hint.entries).items():
        if summary := await view.conversation(conversation):
            frames = [entry_frame(entry, files) for entry in entries]
            told.append(_event("changed", {"conversation": summary_frame(summary, files), "entries": frames}))
    return told


def _by_conversation(entries: tuple[Entry, ...]) -> dict[ConversationId, list[Entry]]:
    groups: dict[ConversationId, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.conversation, []).append(entry)
    return groups


def _event(name: str, frame: Frame) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(frame))
