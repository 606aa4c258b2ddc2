"""Telegram: a forum topic for each conversation."""

from __future__ import annotations

import logging

from adapters.telegram.adapter import TelegramAdapter
from adapters.telegram.settings import Settings
from bridge.ports import Adapter, House

__all__ = ["Settings", "create"]


def create(settings: Settings, house: House) -> Adapter:
    """Return an instance."""
    # The library's finer levels write the token and people's texts
    logging.getLogger("telegram").setLevel(logging.WARNING)
    return TelegramAdapter(settings, house)
