"""What `threadbridge check` looks at."""

from __future__ import annotations

from collections.abc import AsyncIterator

import discord

from adapters.discord.errors import CHANNEL, INVITE, TAGS
from adapters.discord.listener import ENABLE_INTENT
from bridge.ports import Finding

Home = discord.TextChannel | discord.ForumChannel

# The library's name of a permission, and Discord's own.
_NEEDED = (
    ("view_channel", "View Channel"),
    ("send_messages", "Send Messages"),
    ("send_messages_in_threads", "Send Messages in Threads"),
    ("create_public_threads", "Create Public Threads"),
    ("read_message_history", "Read Message History"),
    ("attach_files", "Attach Files"),
    ("manage_threads", "Manage Threads"),
)


async def intent(client: discord.Client) -> Finding:
    """Tell whether the bot may read what people write."""
    flags = (await client.application_info()).flags
    allowed = flags.gateway_message_content or flags.gateway_message_content_limited
    return Finding(allowed, "Message Content Intent", "" if allowed else ENABLE_INTENT)


def is_id(text: str) -> bool:
    """Tell whether a text can be an id of Discord's."""
    return text.isascii() and text.isdigit() and len(text) <= 20


async def channel(client: discord.Client, channel_id: str) -> AsyncIterator[Finding]:
    """Look at a channel: that it is there, its type, what the bot may do in it."""
    if not is_id(channel_id):
        yield Finding(False, f"{channel_id!r} is no channel's id", CHANNEL)
        return
    try:
        found = await client.fetch_channel(int(channel_id))
    except discord.NotFound:
        yield Finding(False, f"channel {channel_id} does not exist", CHANNEL)
        return
    except discord.Forbidden:
        yield Finding(False, f"channel {channel_id} cannot be seen", INVITE)
        return
    if not isinstance(found, Home):
        yield Finding(False, f"channel {channel_id} is neither a text channel nor a forum", CHANNEL)
        return
    yield Finding(True, f"channel #{found.name}")
    if isinstance(found, discord.ForumChannel):
        free = not found.flags.require_tag
        yield Finding(free, f"forum #{found.name}: posts without tags", "" if free else TAGS)
    for finding in await _permissions(client, found):
        yield finding


async def lacks_files_alone(client: discord.Client, thread: int) -> bool:
    """Tell whether the bot may write in a thread, but attach no files."""
    found = await client.fetch_channel(thread)
    if not isinstance(found, discord.Thread):
        return False
    granted = await _granted(client, found.guild.id, found.parent_id)
    return granted.view_channel and granted.send_messages_in_threads and not granted.attach_files


async def _granted(client: discord.Client, guild_id: int, channel: int) -> discord.Permissions:
    guild = await client.fetch_guild(guild_id)
    user = client.user
    if user is None:
        raise TypeError("a client that is logged in has a user")
    member = await guild.fetch_member(user.id)
    whole = await guild.fetch_channel(channel)  # with the guild's roles, unlike one that the client fetched
    return whole.permissions_for(member)


async def _permissions(client: discord.Client, found: Home) -> list[Finding]:
    granted = await _granted(client, found.guild.id, found.id)
    return [
        Finding(
            getattr(granted, name),
            f"#{found.name}: {title}",
            "" if getattr(granted, name) else f'give the bot\'s role the permission "{title}" in #{found.name}',
        )
        for name, title in _NEEDED
    ]
