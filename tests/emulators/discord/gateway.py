"""The gateway: one WebSocket for events, sessions that can be resumed."""

from __future__ import annotations

import asyncio
import copy
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from tests.emulators.base import Way
from tests.emulators.discord.world import World

GUILDS, MESSAGES, REACTIONS, TYPING, CONTENT = 1, 1 << 9, 1 << 10, 1 << 11, 1 << 15
_INTENT = {"MESSAGE": MESSAGES, "TYPING": TYPING, "THREAD": GUILDS, "CHANNEL": GUILDS, "GUILD": GUILDS}


@dataclass(eq=False)
class Session:
    """What outlives a connection: events are numbered in it and kept for a RESUME."""

    id: str
    intents: int
    seq: int = 0
    events: list[tuple[int, str]] = field(default_factory=list)
    connection: Connection | None = None


@dataclass(eq=False)
class Connection:
    """One live socket. A writer of its own sends in order."""

    ws: web.WebSocketResponse
    request: web.Request
    queue: asyncio.Queue[str | int] = field(default_factory=asyncio.Queue)
    """Frames to send, or a code to close with."""
    closed_by_us: bool = False

    def send(self, frame: Mapping[str, Any]) -> None:
        self.queue.put_nowait(json.dumps(frame))

    async def write(self) -> None:
        while True:
            item = await self.queue.get()
            if isinstance(item, int):
                self.closed_by_us = True
                await self.ws.close(code=item)
                return
            try:
                await self.ws.send_str(item)
            except ConnectionError:
                return


class Gateway:
    """All sessions and connections of the bot's."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self.token = token
        self.sessions: dict[str, Session] = {}
        self.live: set[Connection] = set()
        self.events = Way()
        self.identified = 0
        self.resumed = 0
        self.refusals: list[int] = []
        """Codes that the next IDENTIFYs are closed with."""
        self.resume_url = ""
        self.guild_is_out = False
        self.at_ready: Callable[[], object] = lambda: None
        """Called when a new session has begun: what happens there comes in one go with it."""
        self.told_last: tuple[str, Mapping[str, Any]] | None = None
        """The last event, for a test to repeat."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(max_msg_size=4096)
        await ws.prepare(request)
        connection = Connection(ws, request)
        self.live.add(connection)
        writer = asyncio.create_task(connection.write())
        try:
            connection.send({"op": 10, "s": None, "t": None, "d": {"heartbeat_interval": 41250, "_trace": []}})
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    self._take(connection, json.loads(message.data))
        finally:
            ended = ws.close_code in {WSCloseCode.OK, WSCloseCode.GOING_AWAY} and not connection.closed_by_us
            self._forget(connection, ended=ended)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return ws

    def _forget(self, connection: Connection, *, ended: bool) -> None:
        self.live.discard(connection)
        for session in list(self.sessions.values()):
            if session.connection is connection:
                session.connection = None
                if ended:  # a client that closes with 1000 or 1001 ends its session
                    del self.sessions[session.id]

    def _take(self, connection: Connection, frame: Mapping[str, Any]) -> None:
        if frame["op"] == 1:
            # Not at once: discord.py notes when it sent a heartbeat only after it has, and would count from the last.
            ack = {"op": 11, "d": None, "s": None, "t": None}
            asyncio.get_running_loop().call_later(0.05, connection.send, ack)
        elif frame["op"] == 2:
            self._identify(connection, frame["d"])
        elif frame["op"] == 6:
            self._resume(connection, frame["d"])

    def _identify(self, connection: Connection, data: Mapping[str, Any]) -> None:
        self.identified += 1
        if self.refusals:
            connection.queue.put_nowait(self.refusals.pop(0))
        elif data["token"] != self.token:
            connection.queue.put_nowait(4004)
        elif data["intents"] & CONTENT and not self.world.message_content:
            connection.queue.put_nowait(4014)
        else:
            session = Session(secrets.token_hex(16), data["intents"], connection=connection)
            self.sessions[session.id] = session
            self._event(session, "READY", self._ready(session))
            self._event(session, "GUILD_CREATE", self.world.guild_create())
            self.at_ready()

    def _ready(self, session: Session) -> dict[str, Any]:
        return {
            "v": 10,
            "user": self.world.bot | {"mfa_enabled": False, "verified": True, "email": None},
            "guilds": [{"id": self.world.guild_id, "unavailable": True}],
            "session_id": session.id,
            "resume_gateway_url": self.resume_url,
            "application": {"id": self.world.application_id, "flags": self.world.application()["flags"]},
        }

    def _resume(self, connection: Connection, data: Mapping[str, Any]) -> None:
        session = self.sessions.get(data["session_id"] or "")
        if session is None or data["token"] != self.token:
            connection.send({"op": 9, "d": False, "s": None, "t": None})
            return
        self.resumed += 1
        session.connection = connection
        for seq, frame in session.events:
            if seq > data["seq"]:
                connection.queue.put_nowait(frame)
        self._event(session, "RESUMED", {"_trace": []})

    def _event(self, session: Session, name: str, data: Mapping[str, Any]) -> None:
        session.seq += 1
        frame = json.dumps({"op": 0, "s": session.seq, "t": name, "d": data})
        session.events.append((session.seq, frame))
        if session.connection:
            session.connection.queue.put_nowait(frame)

    # what the server and tests call

    def dispatch(self, name: str, data: Mapping[str, Any]) -> None:
        """Tell every session that asked for this kind of event."""
        place = str(data.get("channel_id") or data.get("id"))
        if self.guild_is_out or not self.world.sees(self.world.channels.get(place, {})):
            return
        self.told_last = name, data
        then = copy.deepcopy(data)
        self.events.send(place, lambda: self._tell(name, then))

    def _tell(self, name: str, data: Mapping[str, Any]) -> None:
        needed = REACTIONS if "REACTION" in name else _INTENT[name.partition("_")[0]]
        for session in self.sessions.values():
            if session.intents & needed:
                self._event(session, name, self._visible(session, data))

    def _visible(self, session: Session, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Empty what the bot may not read without the message content intent: everything but its own."""
        foreign = "content" in data and data["author"]["id"] != self.world.bot["id"]
        if foreign and not session.intents & CONTENT:
            return {**data, "content": "", "attachments": [], "embeds": [], "components": []}
        return data

    def drop(self) -> None:
        """Cut every connection without a word."""
        for connection in list(self.live):
            if connection.request.transport:
                connection.request.transport.abort()

    def close(self, code: int) -> None:
        """Close every connection with a code."""
        for connection in list(self.live):
            connection.queue.put_nowait(code)

    def ask_to_reconnect(self) -> None:
        """Send op 7."""
        for connection in list(self.live):
            connection.send({"op": 7, "d": None, "s": None, "t": None})

    def invalidate(self, *, resumable: bool) -> None:
        """Send op 9. Where not `resumable` the sessions are gone."""
        if not resumable:
            self.sessions.clear()
        for connection in list(self.live):
            connection.send({"op": 9, "d": resumable, "s": None, "t": None})
