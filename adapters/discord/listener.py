"""The library's client as the listening side uses it: the gateway, and what it tells of staff."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import discord
import structlog
from pydantic import SecretStr

from adapters.discord import inbound
from adapters.discord.catching_up import CatchingUp
from adapters.discord.errors import INVITE, NETWORK, NEW_TOKEN, RateLimited, ServerFailed
from adapters.discord.inbox import Arrival, Inbox
from adapters.discord.outbound import remote_id
from adapters.discord.process import host, use_gateway, way_out
from adapters.discord.reading import Reader
from adapters.discord.rest import Rest, trace
from bridge.model import StaffEvent
from bridge.ports import AdapterState, Clock, InboundSink, Link

log = structlog.get_logger()

INTENTS = discord.Intents(
    guilds=True, guild_messages=True, guild_reactions=True, guild_typing=True, message_content=True
)
PATIENCE = 60.0
"""How long the library may try to mend a connection before all is built anew."""
_LOGIN_DEADLINE = 20.0
_BEGINS = {"GUILD_CREATE", "THREAD_LIST_SYNC"}
"""What comes ahead of all events of a server or channel of which something was not told: after READY, so also after a
RESUME that failed; after an outage of Discord's; when the bot is let in, or allowed to see a channel again."""
_MENDS = {"GUILD_ROLE_UPDATE", "CHANNEL_UPDATE"}
"""What may have given the bot a right."""
_STARTS_LEFT = 50
"""So many of the sessions that Discord allows in a day are not begun: the one too many voids the bot's token."""
ENABLE_INTENT = 'switch on "Message Content Intent" in the developer portal, page "Bot"'


class Listener(discord.Client):
    """One connection to the gateway, resumed by the library where that is possible.

    Handlers only put arrivals into the inbox, without waiting: so they stay in the order of the gateway.
    """

    def __init__(self, token: SecretStr, sink: InboundSink, inbox: Inbox, reader: Reader, clock: Clock) -> None:
        super().__init__(
            intents=INTENTS,
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            guild_ready_timeout=0,
            http_trace=trace(),
            **way_out(),
        )
        self._token = token
        self._sink = sink
        self._inbox = inbox
        self._reader = reader
        self._clock = clock
        self._catching_up = CatchingUp(self, Rest(token, self), sink, reader, clock)
        self.was_up = False
        self._deadline: asyncio.Timeout | None = None

    async def listen(self) -> AdapterState:
        """Connect, and stay connected as long as it goes. Returns why it ended."""
        server = host()
        try:
            async with asyncio.timeout(_LOGIN_DEADLINE):
                await self.login(self._token.get_secret_value())
                _, url, starts = await self.http.get_bot_gateway()
            if starts["remaining"] <= _STARTS_LEFT:
                return too_many_starts(starts["reset_after"] / 3_600_000)
            use_gateway(url)
            server = urlsplit(url).netloc
            async with asyncio.timeout(PATIENCE) as self._deadline:
                await self.connect()
        except Exception as error:  # noqa: BLE001 - whatever ended it is a state; the next attempt starts from nothing
            return ended_by(error, server)
        finally:
            # What has arrived may need this connection's session. The next connection reads it again, in its order.
            self._sink.hold()
            await self._catching_up.end()
            await self.close()
        return AdapterState(Link.DOWN, "Discord has closed the connection")

    def server_of(self, thread: int) -> int | None:
        """Return the server that a thread is on; None where it is archived and the bot is on several, or on none."""
        found = self.get_channel(thread)
        servers = [found.guild] if isinstance(found, discord.Thread) else self.guilds
        return servers[0].id if len(servers) == 1 else None

    # the connection; READY arrives as "connect"

    async def on_connect(self) -> None:
        self._up()

    async def on_resumed(self) -> None:
        self._up()

    async def on_socket_event_type(self, event_type: str) -> None:
        if event_type in _BEGINS or (event_type in _MENDS and self._catching_up.refused):
            self._catching_up.begin()

    def _up(self) -> None:
        self.was_up = True
        if self._deadline is not None:
            self._deadline.reschedule(None)
        self._sink.state(AdapterState(Link.UP))

    async def on_disconnect(self) -> None:
        if self._deadline is not None and self._deadline.when() is None:
            self._deadline.reschedule(asyncio.get_running_loop().time() + PATIENCE)
        if not self.is_closed():
            self._sink.state(AdapterState(Link.CONNECTING))

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        log.error("discord_event_failed", handler=event_method)

    # staff

    async def on_message(self, message: discord.Message) -> None:
        if not inbound.is_staffs(message):
            return

        async def read() -> StaffEvent | None:
            return await self._reader.message(message)

        self._put(Arrival(inbound.thread_key(message.channel.id), read))

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        message = payload.message
        if not inbound.is_staffs(message) or message.edited_at is None:
            return

        async def read() -> StaffEvent | None:
            return await self._reader.edit(message)

        self._put(Arrival(inbound.thread_key(payload.channel_id), read))

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        self._deleted(payload.channel_id, payload.message_id)

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        for message_id in sorted(payload.message_ids):
            self._deleted(payload.channel_id, message_id)

    def _deleted(self, channel_id: int, message_id: int) -> None:
        event = inbound.deletion_event(channel_id, message_id, self._clock.now())

        async def read() -> StaffEvent | None:
            return event

        self._put(Arrival(event.thread, read))

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        if payload.member is None or payload.member.bot:
            return
        thread, message = inbound.thread_key(payload.channel_id), remote_id(payload.channel_id, payload.message_id)

        async def read() -> StaffEvent | None:
            await self._sink.reacted(message, lambda other: other == thread)
            return None

        self._put(Arrival(thread, read))

    def _put(self, arrival: Arrival) -> None:
        if not self._inbox.put(arrival):
            self._catching_up.begin_once_more()

    async def on_raw_typing(self, payload: discord.RawTypingEvent) -> None:
        if payload.user is not None and not payload.user.bot:
            self._sink.typing(inbound.thread_key(payload.channel_id), inbound.staff(payload.user), on=True)


def too_many_starts(hours: float) -> AdapterState:
    """Return the state of a bot that has connected too often."""
    reason = f"the bot has connected so often that Discord would soon void its token: it waits for up to {hours:.0f} h"
    return AdapterState(
        Link.DOWN, reason, "see in the log what ended its connections, and end other programs with its token"
    )


def ended_by(error: Exception, server: str) -> AdapterState:
    """Return the state that a failure of a server leaves."""
    match error:
        case discord.LoginFailure():
            return AdapterState(Link.DOWN, "Discord does not know the bot's token", NEW_TOKEN)
        case discord.ConnectionClosed(code=4004):
            return AdapterState(Link.DOWN, "Discord does not take the bot's token", NEW_TOKEN)
        case discord.PrivilegedIntentsRequired():
            return AdapterState(Link.DOWN, "the bot may not read what people write", ENABLE_INTENT)
        case discord.Forbidden():
            return AdapterState(Link.DOWN, f"Discord refuses the bot: {error.text}", INVITE)
        case RateLimited() | ServerFailed():
            return AdapterState(Link.DOWN, f"Discord does not answer well: {error}", NETWORK)
        case _:
            # The library's first connection, where it fails, ends in an AttributeError of its own.
            return AdapterState(Link.DOWN, f"Discord cannot be reached at {server} ({type(error).__name__})", NETWORK)
