"""Conversations as threads of a Discord channel, or as posts of a forum."""

from __future__ import annotations

from adapters.discord.adapter import DiscordAdapter
from adapters.discord.process import claim
from adapters.discord.settings import Settings
from bridge.ports import House

__all__ = ["Settings", "create"]


def create(settings: Settings, house: House) -> DiscordAdapter:
    """Return an adapter. Raises ValueError where another one in this process uses another `api_url`."""
    adapter = DiscordAdapter(settings, house)
    claim(adapter, settings.api_url)
    return adapter
