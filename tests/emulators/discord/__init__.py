"""A test server that speaks Discord's REST API v10 and its gateway."""

from tests.emulators.discord.server import DiscordEmulator

__all__ = ["DiscordEmulator"]
