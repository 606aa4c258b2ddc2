"""Slack: a thread in a channel for each conversation. Socket Mode, or events over HTTP."""

from __future__ import annotations

from adapters.slack.adapter import HttpAdapter, SlackAdapter, SocketModeAdapter
from adapters.slack.settings import Settings
from bridge.ports import House

__all__ = ["Settings", "create"]


def create(settings: Settings, house: House) -> SlackAdapter:
    """Return the adapter of the mode that the settings choose."""
    return SocketModeAdapter(settings, house) if settings.app_token else HttpAdapter(settings, house)
