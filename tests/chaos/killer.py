"""Kills the gateway at named points. No hook in it is needed: a platform or a line that holds its answer makes it wait
there, and so does a locked store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from tests.chaos.gateway import Books, Gateway
from tests.chaos.schedule import Point
from tests.emulators.base import Emulator, Fault, Kind, eventually
from tests.emulators.discord import DiscordEmulator
from tests.emulators.slack import SlackEmulator
from tests.emulators.telegram import TelegramEmulator

Calls = Callable[[Emulator], tuple[str, Callable[[Mapping[str, Any]], bool]]]


def sends(emulator: Emulator) -> tuple[str, Callable[[Mapping[str, Any]], bool]]:
    """Return which calls bring a message into a thread."""
    match emulator:
        case SlackEmulator():
            return "chat.postMessage", lambda params: "thread_ts" in params
        case DiscordEmulator():
            return "create_message", lambda params: params["channel_id"] in emulator.threads()
        case TelegramEmulator():
            return "sendMessage", lambda params: "message_thread_id" in params
    raise TypeError(emulator)


def _opens(emulator: Emulator) -> tuple[str, Callable[[Mapping[str, Any]], bool]]:
    """Return which calls make a thread."""
    match emulator:
        case SlackEmulator():
            return "chat.postMessage", lambda params: "thread_ts" not in params
        case DiscordEmulator():
            forum = emulator.world.forum
            return ("create_thread" if forum else "create_thread_from_message"), lambda params: True
        case TelegramEmulator():
            return "createForumTopic", lambda params: True
    raise TypeError(emulator)


def _carries(emulator: Emulator) -> tuple[str, Callable[[Mapping[str, Any]], bool]]:
    """Return which calls bring a file's bytes; on Slack nobody sees them yet."""
    match emulator:
        case SlackEmulator():
            return "upload", lambda params: True
        case DiscordEmulator():
            return "create_message", lambda params: "attachments" in params
        case TelegramEmulator():
            return "*", lambda params: "document" in params or "photo" in params
    raise TypeError(emulator)


def _shares(emulator: Emulator) -> tuple[str, Callable[[Mapping[str, Any]], bool]]:
    """Return which calls bring a file into a thread."""
    if isinstance(emulator, SlackEmulator):
        return "files.completeUploadExternal", lambda params: True
    return _carries(emulator)


class Killer:
    """Lies in wait for the gateway."""

    def __init__(self, gateway: Gateway, books: Books) -> None:
        self._gateway = gateway
        self._books = books

    async def kill(self, point: Point, emulators: Sequence[Emulator], within: float) -> bool:
        """Kill it when the ways to all platforms have come to a point, at the latest after some seconds.

        Tell whether they came there.
        """
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(within):
                    await self._reached(point, emulators, held)
            except TimeoutError:
                return False
            else:
                return True
            finally:
                await self._gateway.kill()

    async def _reached(self, point: Point, emulators: Sequence[Emulator], held: AsyncExitStack) -> None:
        match point:
            case Point.COMMITTED:
                kept = self._books.messages
                self._gateway.line.hold()
                await eventually(lambda: self._books.messages > kept)
            case Point.ACCEPTED:
                await _taken(emulators, sends, held)
            case Point.OPENED:
                await _taken(emulators, _opens, held)
            case Point.CARRIED:
                await _taken(emulators, _carries, held)
            case Point.SHARED:
                await _taken(emulators, _shares, held)
            case Point.UNSETTLED:
                answered = await _taken(emulators, sends, held)
                await held.enter_async_context(self._books.locked())
                due = await self._gateway.measured("sends_total") + len(emulators)
                answered.set()
                while await self._gateway.measured("sends_total") < due:  # noqa: ASYNC110 - it looks at another process
                    await asyncio.sleep(0.05)


async def _taken(emulators: Sequence[Emulator], calls: Calls, held: AsyncExitStack) -> asyncio.Event:
    """Wait until each platform has taken a call; they answer when the event that is returned is set."""
    answered = asyncio.Event()
    held.callback(answered.set)
    faults: list[tuple[Emulator, Fault]] = []
    for emulator in emulators:
        method, where = calls(emulator)
        fault = Fault(method, Kind.SLOW, where=where, answered=answered)
        emulator.faults.waiting.insert(0, fault)
        held.callback(_withdraw, emulator, fault)
        faults.append((emulator, fault))
    await eventually(lambda: not any(fault in emulator.faults.waiting for emulator, fault in faults))
    return answered


def _withdraw(emulator: Emulator, fault: Fault) -> None:
    if fault in emulator.faults.waiting:
        emulator.faults.waiting.remove(fault)
