"""A test server that speaks Telegram's Bot API."""

from .server import TelegramEmulator
from .text import BadText, arrives
from .uplink import slow_uplink

__all__ = ["BadText", "TelegramEmulator", "arrives", "slow_uplink"]
