"""Telegram: a forum topic for each conversation."""

from __future__ import annotations

import logging

from adapters.telegram.adapter import TelegramAdapter
from adapters.telegram.settings import Settings
from bridge.ports import Adapter, House

__all__ = ["Settings", "create"]


def create(settings: Settings, house: House) -> Adapter:
    """Return an instance."""
    # The library writes the token and people's texts, an answer that it cannot read even as an error; states tell the
    # rest
    logging.getLogger("telegram").setLevel(logging.CRITICAL)
    return TelegramAdapter(settings, house)
