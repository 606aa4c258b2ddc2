"""The adapter: conversations as Discord threads."""

from __future__ import annotations

import asyncio
import io
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import discord
import structlog

from adapters.discord import checks, outbound
from adapters.discord.copies import Copies
from adapters.discord.errors import CHANNEL, NETWORK
from adapters.discord.inbound import thread_key
from adapters.discord.inbox import Inbox
from adapters.discord.listener import Listener
from adapters.discord.process import release
from adapters.discord.rest import Rest
from adapters.discord.settings import Settings
from bridge.errors import AuthFailed, DeliveryError, Rejected, RetryLater, Scope, ThreadGone
from bridge.model import SYSTEM, Card, ConversationId, Opened, Part, Piece, RemoteId, RichText, ThreadKey, Token
from bridge.ports import AdapterState, Capabilities, Finding, House, InboundSink, Link, send_within

log = structlog.get_logger()

_SILENT = discord.AllowedMentions.none()
_UNKNOWN_CHANNEL = 10003
_UNKNOWN_MESSAGE = 10008
_UNKNOWN = {_UNKNOWN_CHANNEL, _UNKNOWN_MESSAGE}
_THREAD_EXISTS = 160004
_ARCHIVED = 50083
_SKEW = timedelta(seconds=2)
"""How far Discord's clock, which the ids of messages tell, may lie behind ours."""
_REMEMBERED = 10_000
_LOOKED_THROUGH = 500


K = TypeVar("K")
V = TypeVar("V")


class DiscordAdapter:
    """One bot, its channel and the threads in it."""

    def __init__(self, settings: Settings, house: House) -> None:
        self._settings = settings
        self._house = house
        self._rest = Rest(settings.token, house.clock)
        self._sent: OrderedDict[str, Token] = OrderedDict()
        """Messages of ours that are known to belong to a token: never taken for another part's."""
        self._cards: OrderedDict[tuple[int, ConversationId], discord.Message] = OrderedDict()
        """Cards whose thread is not made yet: a limit on threads outlasts nonces, and each attempt has its token."""
        self._deleted: OrderedDict[Token, int] = OrderedDict()
        """How many cards of a token somebody has deleted: Discord would give back what has its nonce."""
        self._homes: dict[int, checks.Home] = {}
        self.capabilities = Capabilities(
            text_limit=outbound.TEXT_LIMIT,
            budget=replace(settings.budget, per_thread=True),
            file_limit=outbound.FILE_LIMIT,
        )

    def measure(self, pieces: Sequence[Piece]) -> int:
        return outbound.measure(pieces)

    # --- the listening side

    async def run(self, sink: InboundSink) -> None:
        sink.state(AdapterState(Link.CONNECTING))
        copies = Copies(self._house.files, self._house.clock)
        try:
            async with asyncio.TaskGroup() as tasks:
                inbox = Inbox(sink, self._house.clock, tasks)
                waits = backoff()
                while True:
                    listener = Listener(sink, inbox, copies, self._house.clock, self._tell_lost)
                    state = await listener.listen(self._settings.token)
                    sink.state(state)
                    if listener.was_up:
                        waits = backoff()
                    await self._house.clock.sleep(next(waits))
        finally:
            await self._close()

    async def _close(self) -> None:
        release(self)
        await self._rest.close()

    async def _tell_lost(self, thread: ThreadKey, lost: Sequence[str], message_id: int) -> None:
        """Say in the thread what of a message stayed behind."""
        text = "\n".join(f"This did not reach the visitor: {line}" for line in lost)[:1000]
        try:
            await self.send(thread, Part((Piece(SYSTEM, RichText(text)),)), Token(f"lost{message_id}"))
        except DeliveryError as error:
            log.warning("discord_notice_failed", thread=thread, error=type(error).__name__)

    # --- the sending side

    async def open_thread(self, channel: str, card: Card, token: Token) -> Opened:
        # What limits the opening of threads limits none of those that stand.
        async with self._rest.calling(Scope.THREAD) as client:
            home = await self._home(client, channel)
            if isinstance(home, discord.ForumChannel):
                # It takes no nonce: what came of an unknown outcome, `find_thread` finds.
                post = await home.create_thread(
                    name=outbound.thread_name(card),
                    content=outbound.card(card, token),
                    allowed_mentions=_SILENT,
                    suppress_embeds=True,
                )
                return Opened(thread_key(post.thread.id), RemoteId(str(post.message.id)))
            try:
                return await self._open_under_card(home, card, token)
            except discord.NotFound as error:
                if error.code != _UNKNOWN_MESSAGE:
                    raise
                self._cards.pop((home.id, card.conversation), None)
                _put(self._deleted, token, self._deleted.get(token, 0) + 1)
                raise RetryLater("somebody has deleted its card", None, Scope.THREAD) from error

    async def _open_under_card(self, home: discord.TextChannel, card: Card, token: Token) -> Opened:
        content, place = outbound.card(card, token), (home.id, card.conversation)
        message = self._cards.get(place)
        if message is None:
            deleted = self._deleted.get(token, 0)
            nonce = f"{token}/{deleted}" if deleted else token
            message = await home.send(content, nonce=nonce, allowed_mentions=_SILENT, suppress_embeds=True)
        elif not message.content.endswith(outbound.reference(token)):
            message = await message.edit(
                content=content, allowed_mentions=_SILENT
            )  # `find_thread` looks for this token
        _put(self._cards, place, message)
        opened = await self._thread_from(message, outbound.thread_name(card))
        del self._cards[place]
        self._deleted.pop(token, None)
        return opened

    async def _thread_from(self, message: discord.Message, name: str) -> Opened:
        try:
            await message.create_thread(name=name)
        except discord.HTTPException as error:
            if error.code != _THREAD_EXISTS:
                raise
        # The card lies in the channel, not in its thread.
        return Opened(thread_key(message.id), RemoteId(f"{message.channel.id}/{message.id}"))

    async def _home(self, client: discord.Client, channel: str) -> checks.Home:
        channel = channel or self._settings.channel_id
        if not checks.is_id(channel):
            raise AuthFailed(f"{channel!r} is no channel's id", CHANNEL)
        number = int(channel)
        if number not in self._homes:
            try:
                found = await client.fetch_channel(number)
            except discord.NotFound as error:
                if error.code != _UNKNOWN_CHANNEL:
                    raise
                raise AuthFailed(f"Discord knows no channel {number}", CHANNEL) from error
            if not isinstance(found, checks.Home):
                raise AuthFailed(f"channel {number} is neither a text channel nor a forum", CHANNEL)
            self._homes[number] = found
        return self._homes[number]

    async def find_thread(self, channel: str, token: Token, since: datetime) -> Opened | None:
        async with self._rest.calling(Scope.THREAD) as client:
            home = await self._home(client, channel)
            if isinstance(home, discord.ForumChannel):
                return await self._find_post(client, home, token, since - _SKEW)
            async for message in home.history(limit=_LOOKED_THROUGH, after=since - _SKEW, oldest_first=True):
                if _is_card(client, message, token):
                    return await self._thread_from(message, f"Conversation {token}")
        return None

    async def _find_post(
        self, client: discord.Client, home: discord.ForumChannel, token: Token, since: datetime
    ) -> Opened | None:
        for thread in await home.guild.active_threads():
            if thread.parent_id != home.id or discord.utils.snowflake_time(thread.id) < since:
                continue
            try:
                message = await client.get_partial_messageable(thread.id).fetch_message(thread.id)
            except discord.NotFound as error:
                if error.code not in _UNKNOWN:
                    raise
                continue  # somebody has deleted it
            if _is_card(client, message, token):
                return Opened(thread_key(thread.id), RemoteId(str(message.id)))
        return None

    async def send(self, thread: ThreadKey, part: Part, token: Token) -> RemoteId:
        files = await self._files(part)
        async with self._rest.calling(Scope.THREAD, send_within(part)) as client:
            message = await client.get_partial_messageable(int(thread)).send(
                outbound.message(part),
                nonce=token,
                allowed_mentions=_SILENT,
                suppress_embeds=True,
                files=files,
            )
        _put(self._sent, str(message.id), token)
        return RemoteId(str(message.id))

    async def _files(self, part: Part) -> list[discord.File]:
        if part.attachment is None:
            return []
        if part.attachment.size > outbound.FILE_LIMIT:
            raise Rejected(f"{part.attachment.name} is larger than Discord takes")
        try:
            content = await self._house.files.read(part.attachment.id)
        except FileNotFoundError as error:
            raise Rejected(f"{part.attachment.name} is not there any more") from error
        return [discord.File(io.BytesIO(content), filename=part.attachment.name)]

    async def find_sent(
        self, thread: ThreadKey, parts: Mapping[Token, Part], since: datetime, after: RemoteId | None
    ) -> Mapping[Token, RemoteId]:
        """Look by content: the history tells no nonce.

        For some minutes `send` with the same token gives the first message back, whatever this finds.
        """
        ours = set(self._sent.values())
        unknown = {token: part for token, part in parts.items() if token not in ours}
        found: dict[Token, RemoteId] = {}
        async with self._rest.calling(Scope.THREAD) as client:
            place = client.get_partial_messageable(int(thread))
            start = _start(since, after)
            async for message in place.history(limit=_LOOKED_THROUGH, after=start, oldest_first=True):
                if message.author != client.user:
                    continue
                token = self._sent.get(str(message.id)) or _first_like(message, unknown)
                if token is not None and token in parts:
                    unknown.pop(token, None)
                    found[token] = RemoteId(str(message.id))
        return found

    async def edit(self, thread: ThreadKey, remote_id: RemoteId, part: Part) -> None:
        async with self._rest.calling(Scope.THREAD) as client:
            message = _message(client, thread, remote_id)
            try:
                await message.edit(content=outbound.message(part), allowed_mentions=_SILENT)
            except discord.HTTPException as error:
                if error.code != _ARCHIVED:
                    raise
                await self._unarchive(client, thread)
                await message.edit(content=outbound.message(part), allowed_mentions=_SILENT)

    async def _unarchive(self, client: discord.Client, thread: ThreadKey) -> None:
        found = await client.fetch_channel(int(thread))
        if not isinstance(found, discord.Thread) or found.locked:
            raise ThreadGone("the thread is locked")
        await found.edit(archived=False)

    async def delete(self, thread: ThreadKey, remote_id: RemoteId) -> None:
        async with self._rest.calling(Scope.THREAD) as client:
            try:
                await _message(client, thread, remote_id).delete()
            except discord.NotFound as error:
                if error.code not in _UNKNOWN:
                    raise
                log.info("discord_message_gone", thread=thread, message=remote_id)

    async def show_typing(self, thread: ThreadKey) -> None:
        async with self._rest.calling(Scope.THREAD) as client:
            await client.get_partial_messageable(int(thread)).typing()

    # --- the operator

    async def check(self, channels: Sequence[str]) -> Sequence[Finding]:
        try:
            return [finding async for finding in self._findings(channels)]
        except AuthFailed as error:
            return [Finding(False, "the bot's token", error.remedy)]
        except DeliveryError as error:
            return [Finding(False, str(error), NETWORK)]
        finally:
            await self._close()

    async def _findings(self, channels: Sequence[str]) -> AsyncIterator[Finding]:
        async with self._rest.calling(Scope.ADAPTER) as client:
            yield Finding(True, f"the bot's token, as {client.user}")
            yield await checks.intent(client)
            for channel in dict.fromkeys(channel or self._settings.channel_id for channel in channels or [""]):
                async for finding in checks.channel(client, channel):
                    yield finding


def _put(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)


def _message(client: discord.Client, thread: ThreadKey, remote_id: RemoteId) -> discord.PartialMessage:
    channel, _, message = remote_id.rpartition("/")
    return client.get_partial_messageable(int(channel or thread)).get_partial_message(int(message))


def _is_card(client: discord.Client, message: discord.Message, token: Token) -> bool:
    return message.author == client.user and message.content.endswith(outbound.reference(token))


def _start(since: datetime, after: RemoteId | None) -> discord.Object:
    """Return the place behind which a part is sought: ids are ordered by time."""
    earliest = discord.utils.time_snowflake(since - _SKEW)
    return discord.Object(max(earliest, int(after.rpartition("/")[2])) if after else earliest)


def _first_like(message: discord.Message, parts: Mapping[Token, Part]) -> Token | None:
    return next((token for token, part in parts.items() if _is_like(message, part)), None)


def _is_like(message: discord.Message, part: Part) -> bool:
    sizes = [part.attachment.size] if part.attachment else []
    return message.content == (outbound.message(part) or "") and [file.size for file in message.attachments] == sizes


def backoff() -> Iterator[float]:
    """Yield how long to wait before each further attempt: longer each time up to a minute, never for all the same."""
    longest = 1.0
    while True:
        yield longest * random.uniform(0.5, 1)  # noqa: S311 - spreads attempts, keeps no secret
        longest = min(longest * 2, 60)
