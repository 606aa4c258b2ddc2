"""The adapter: conversations as Discord threads."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import discord
import structlog

from adapters.discord import checks, outbound
from adapters.discord.copies import Copies
from adapters.discord.errors import ARCHIVED, FILES, NETWORK, UNKNOWN
from adapters.discord.inbox import Inbox
from adapters.discord.listener import Listener
from adapters.discord.memory import Memory
from adapters.discord.opening import Opening
from adapters.discord.process import release
from adapters.discord.reading import Reader
from adapters.discord.rest import SILENT, WITHIN, Rest, backoff
from adapters.discord.searching import Search
from adapters.discord.settings import Settings
from bridge.errors import AuthFailed, DeliveryError, Rejected, RetryLater, Scope, ThreadGone
from bridge.model import Card, Opened, Part, Piece, RemoteId, ThreadKey, Token
from bridge.ports import AdapterState, Capabilities, Finding, House, InboundSink, Link, send_within

_LOOK_WITHIN = 4.0
"""For a look at why something was refused: two of them, together with that call, within the time of a send."""

log = structlog.get_logger()

Change = Callable[[discord.PartialMessage], Awaitable[object]]


class DiscordAdapter:
    """One bot, its channel and the threads in it."""

    def __init__(self, settings: Settings, house: House) -> None:
        self._settings = settings
        self._house = house
        self._rest = Rest(settings.token)
        self._channels = {each for each in (settings.channel_id, *house.channels) if checks.is_id(each)}
        self._opening = Opening(settings.channel_id, self._rest, house.clock)
        self._listener: Listener | None = None
        self._sent: Memory[str, Token] = Memory()
        """Messages of ours that are known to belong to a token: never taken for another part's."""
        self._searches: Memory[Token, Search] = Memory()
        """Those that are not at their end, by the first of the parts that are sought."""
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
        reader = Reader(Copies(self._house.files, self._house.clock))
        try:
            async with asyncio.TaskGroup() as tasks:
                inbox = Inbox(sink, self._house.clock, tasks)
                waits = backoff()
                while True:
                    listener = self._listener = Listener(self._settings.token, sink, inbox, reader, self._house.clock)
                    state = await listener.listen()
                    sink.state(state)
                    if listener.was_up:
                        waits = backoff()
                    await self._house.clock.sleep(next(waits))
        finally:
            await self._close()

    async def _close(self) -> None:
        release(self)
        await self._rest.close()

    # --- the sending side

    async def open_thread(self, channel: str, card: Card, token: Token) -> Opened:
        return await self._opening.open(channel, card, token)

    async def find_thread(self, channel: str, token: Token, since: datetime) -> Opened | None:
        return await self._opening.find(channel, token, since)

    async def send(self, thread: ThreadKey, part: Part, token: Token) -> RemoteId:
        files = await self._files(part)
        try:
            async with self._calling(thread, send_within(part)) as client:
                message = await client.get_partial_messageable(int(thread)).send(
                    outbound.message(part),
                    nonce=token,
                    allowed_mentions=SILENT,
                    suppress_embeds=True,
                    silent=part.silent,
                    files=files,
                )
        except AuthFailed as error:
            if files and await self._lacks_files_alone(thread):
                raise Rejected(FILES) from error
            raise
        self._sent[str(message.id)] = token
        return outbound.remote_id(message.channel.id, message.id)

    @asynccontextmanager
    async def _calling(self, thread: ThreadKey, within: float = WITHIN) -> AsyncIterator[discord.Client]:
        """Give a client for a call in a thread. In a channel of before, which is closed to us, the thread is gone."""
        try:
            async with self._rest.calling(Scope.THREAD, within) as client:
                yield client
        except AuthFailed as error:
            if await self._is_of_before(thread):
                raise ThreadGone(str(error), stands=True) from error
            raise

    async def _lacks_files_alone(self, thread: ThreadKey) -> bool:
        """Tell whether texts can still be sent in a thread that refused a file."""
        try:
            async with self._rest.calling(Scope.THREAD, _LOOK_WITHIN) as client:
                return await checks.lacks_files_alone(client, int(thread))
        except DeliveryError:
            return False

    async def _is_of_before(self, thread: ThreadKey) -> bool:
        """Tell whether a thread lies in a channel that is configured no more."""
        try:
            async with self._rest.calling(Scope.THREAD, _LOOK_WITHIN) as client:
                found = await _visible(client, thread)
                if found is None:  # nobody says where it lies: elsewhere, where all of ours are open
                    for channel in self._channels:
                        await client.fetch_channel(int(channel))
                    found = await _visible(client, thread)  # unless they were opened just now, and it with them
                return found is None or (
                    isinstance(found, discord.Thread) and str(found.parent_id) not in self._channels
                )
        except DeliveryError:
            return False

    def permalink(self, thread: ThreadKey) -> str | None:
        server = self._listener.server_of(int(thread)) if self._listener else None
        return f"https://discord.com/channels/{server}/{thread}" if server else None

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
        first = next(iter(parts))
        search = self._searches.setdefault(first, Search(_start(since, after)))
        unknown = {token: part for token, part in parts.items() if token not in ours | search.found.keys()}
        async with self._calling(thread) as client:
            async for message in search.messages(client.get_partial_messageable(int(thread))):
                if message.author != client.user:
                    continue
                token = self._sent.get(str(message.id)) or _first_like(message, unknown)
                if token is not None and token in parts:
                    unknown.pop(token, None)
                    search.found[token] = outbound.remote_id(message.channel.id, message.id)
        return self._searches.pop(first).found

    async def edit(self, thread: ThreadKey, remote_id: RemoteId, part: Part) -> None:
        content = outbound.message(part)
        await self._change(thread, remote_id, lambda it: it.edit(content=content, allowed_mentions=SILENT))

    async def delete(self, thread: ThreadKey, remote_id: RemoteId) -> None:
        await self._change(thread, remote_id, lambda it: it.delete())

    async def _change(self, thread: ThreadKey, remote_id: RemoteId, change: Change) -> None:
        """Change a message, also in a thread that takes no more. What is gone is left so: that ends no thread."""
        async with self._calling(thread) as client:
            channel, _, number = remote_id.rpartition("/")
            place = client.get_partial_messageable(int(channel or thread))
            message = place.get_partial_message(int(number))
            try:
                await self._awake(client, place.id, lambda: change(message))
            except discord.HTTPException as error:
                if error.code == ARCHIVED:
                    raise RetryLater("the thread was archived again meanwhile", None, Scope.THREAD) from error
                if error.code not in UNKNOWN:
                    raise
                log.info("discord_message_gone", thread=thread, message=remote_id)

    async def _awake(self, client: discord.Client, place: int, change: Callable[[], Awaitable[object]]) -> None:
        """Change something, in an archived thread too: it is opened for that, and closed again where it is locked."""
        try:
            await change()
        except discord.HTTPException as error:
            if error.code != ARCHIVED:
                raise
            found = await client.fetch_channel(place)
            if not isinstance(found, discord.Thread):
                raise
            try:
                await found.edit(archived=False)
            except discord.Forbidden as refusal:
                raise Rejected(f"the thread {found.name} is locked") from refusal
            await change()
            if found.locked:
                await found.edit(archived=True)

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
            if self._listener is None:
                await self._close()

    async def _findings(self, channels: Sequence[str]) -> AsyncIterator[Finding]:
        async with self._rest.calling(Scope.ADAPTER) as client:
            yield Finding(True, f"the bot's token, as {client.user}")
            yield await checks.intent(client)
            for channel in dict.fromkeys(channel or self._settings.channel_id for channel in channels or [""]):
                async for finding in checks.channel(client, channel):
                    yield finding


async def _visible(client: discord.Client, thread: ThreadKey) -> object | None:
    """Return a thread, or None where it is closed to us."""
    try:
        return await client.fetch_channel(int(thread))
    except discord.Forbidden:
        return None


def _start(since: datetime, after: RemoteId | None) -> int:
    """Return the place behind which a part is sought: ids are ordered by time."""
    earliest = discord.utils.time_snowflake(since)
    return max(earliest, int(after.rpartition("/")[2])) if after else earliest


def _first_like(message: discord.Message, parts: Mapping[Token, Part]) -> Token | None:
    return next((token for token, part in parts.items() if _is_like(message, part)), None)


def _is_like(message: discord.Message, part: Part) -> bool:
    sizes = [part.attachment.size] if part.attachment else []
    return message.content == (outbound.message(part) or "") and [file.size for file in message.attachments] == sizes
