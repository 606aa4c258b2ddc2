"""Opens conversations' threads in a text channel or a forum, and finds one of which nobody told that it was opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import discord

from adapters.discord import checks, outbound
from adapters.discord.errors import CHANNEL, THREAD_EXISTS, UNKNOWN, UNKNOWN_MESSAGE
from adapters.discord.inbound import thread_key
from adapters.discord.memory import Memory
from adapters.discord.outbound import remote_id
from adapters.discord.rest import SILENT, Rest
from adapters.discord.searching import Search
from bridge.errors import AuthFailed, RetryLater, Scope, ThreadGone
from bridge.model import Card, ConversationId, Opened, Token
from bridge.ports import Clock

_POSTS = 50
"""At how many posts of a forum one look looks."""


class Opening:
    """Makes threads. What limits that limits none of those that stand."""

    def __init__(self, channel: str, rest: Rest, clock: Clock) -> None:
        self._channel = channel
        self._rest = rest
        self._clock = clock
        self._homes: dict[str, checks.Home] = {}
        self._closed: dict[str, float] = {}
        """Until when Discord lets no thread be made in a channel, for minutes."""
        self._cards: Memory[tuple[int, ConversationId], discord.Message] = Memory()
        """Cards whose thread is not made yet: a limit on threads outlasts nonces, and each attempt has its token."""
        self._found: Memory[Token, discord.Message] = Memory()
        """Such cards that `find` has come upon."""
        self._searches: Memory[Token, Search] = Memory()
        """How far `find` has read."""
        self._looked_at: Memory[Token, set[int]] = Memory()
        """Posts of a forum at which it has looked."""
        self._deleted: Memory[Token, int] = Memory()
        """How many cards of a token somebody has deleted: Discord would give back what has its nonce."""

    @asynccontextmanager
    async def _home(self, channel: str) -> AsyncIterator[tuple[discord.Client, checks.Home]]:
        """Give a channel for one call. All that goes wrong comes out as DeliveryError."""
        channel = channel or self._channel
        try:
            async with self._rest.calling(Scope.THREAD) as client:
                yield client, await self._fetched(client, channel)
        except ThreadGone as error:  # no thread is: it is the channel
            self._homes.pop(channel, None)
            raise AuthFailed(str(error), CHANNEL) from error

    async def _fetched(self, client: discord.Client, channel: str) -> checks.Home:
        if not checks.is_id(channel):
            raise AuthFailed(f"{channel!r} is no channel's id", CHANNEL)
        if channel not in self._homes:
            found = await client.fetch_channel(int(channel))
            if not isinstance(found, checks.Home):
                raise AuthFailed(f"channel {channel} is neither a text channel nor a forum", CHANNEL)
            self._homes[channel] = found
        return self._homes[channel]

    # a new thread

    async def open(self, channel: str, card: Card, token: Token) -> Opened:
        """Make a thread (`Adapter.open_thread`)."""
        left = self._closed.get(channel, 0.0) - self._clock.steady()
        if left > 0:  # no card is posted meanwhile that would stand there alone
            raise RetryLater("Discord's limit on new threads", left, Scope.THREAD)
        try:
            async with self._home(channel) as (_, home):
                if isinstance(home, discord.ForumChannel):
                    return await self._post(home, card, token)
                return await self._under_card(home, card, token)
        except RetryLater as error:
            if error.after and error.scope is Scope.THREAD:
                self._closed[channel] = self._clock.steady() + error.after
            raise

    async def _post(self, home: discord.ForumChannel, card: Card, token: Token) -> Opened:
        # It takes no nonce: what came of an unknown outcome, `find` finds.
        post = await home.create_thread(
            name=outbound.thread_name(card),
            content=outbound.card(card, token),
            allowed_mentions=SILENT,
            suppress_embeds=True,
        )
        return Opened(thread_key(post.thread.id), remote_id(post.thread.id, post.message.id))

    async def _under_card(self, home: discord.TextChannel, card: Card, token: Token) -> Opened:
        place = (home.id, card.conversation)
        try:
            message = self._cards[place] = await self._card(home, card, token)
            opened = await self._under(message, card)
        except discord.NotFound as error:
            if error.code != UNKNOWN_MESSAGE:
                raise
            self._cards.pop(place, None)
            self._deleted[token] = self._deleted.get(token, 0) + 1
            raise RetryLater("somebody has deleted its card", None, Scope.THREAD) from error
        del self._cards[place]
        self._deleted.pop(token, None)
        return opened

    async def _card(self, home: discord.TextChannel, card: Card, token: Token) -> discord.Message:
        """Return the card that the thread is to be made from: one that stands there, or a new one."""
        content = outbound.card(card, token)
        found = self._found.pop(token, None)
        message = self._cards.get((home.id, card.conversation)) or found
        if message is None:
            deleted = self._deleted.get(token, 0)
            nonce = f"{token}/{deleted}" if deleted else token
            return await home.send(content, nonce=nonce, allowed_mentions=SILENT, suppress_embeds=True)
        if not message.content.endswith(outbound.reference(token)):  # which `find` looks for
            return await message.edit(content=content, allowed_mentions=SILENT)
        return message

    async def _under(self, message: discord.Message, card: Card) -> Opened:
        try:
            await message.create_thread(name=outbound.thread_name(card))
        except discord.HTTPException as error:
            if error.code != THREAD_EXISTS:
                raise
        return _opened_under(message)

    # one of which nobody told

    async def find(self, channel: str, token: Token, since: datetime) -> Opened | None:
        """Look for a thread (`FindsThread.find_thread`)."""
        async with self._home(channel) as (client, home):
            if isinstance(home, discord.ForumChannel):
                return await self._find_post(client, home, token, since)
            start = discord.utils.time_snowflake(since)
            search = self._searches.setdefault(token, Search(start))
            async for message in search.messages(home):
                if _is_card(client, message, token):
                    if message.flags.has_thread:
                        return _opened_under(message)
                    self._found[token] = message  # `open` makes its thread: it knows the name
                    return None
            del self._searches[token]
        return None

    async def _find_post(
        self, client: discord.Client, home: discord.ForumChannel, token: Token, since: datetime
    ) -> Opened | None:
        """Look at the posts that stand, the latest first: for each that costs a call."""
        looked_at, earliest = self._looked_at.setdefault(token, set()), discord.utils.time_snowflake(since)
        posts = {thread.id for thread in await home.guild.active_threads() if thread.parent_id == home.id}
        left = sorted((post for post in posts - looked_at if post >= earliest), reverse=True)
        for post in left[:_POSTS]:
            try:
                message = await client.get_partial_messageable(post).fetch_message(post)
            except discord.NotFound as error:
                if error.code not in UNKNOWN:
                    raise  # else somebody has deleted it
            else:
                if _is_card(client, message, token):
                    del self._looked_at[token]
                    return Opened(thread_key(post), remote_id(post, post))
            looked_at.add(post)
        if len(left) > _POSTS:
            raise RetryLater("there are many posts: the search goes on", 0.0, Scope.THREAD)
        del self._looked_at[token]
        return None


def _opened_under(card: discord.Message) -> Opened:
    """Return the thread that was made from a card. The card itself lies in the channel."""
    return Opened(thread_key(card.id), remote_id(card.channel.id, card.id))


def _is_card(client: discord.Client, message: discord.Message, token: Token) -> bool:
    return message.author == client.user and message.content.endswith(outbound.reference(token))
