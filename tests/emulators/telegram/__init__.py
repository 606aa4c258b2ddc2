"""A test server that speaks Telegram's Bot API."""

from tests.emulators.uplink import slow_uplink

from .server import TelegramEmulator
from .text import BadText, arrives

__all__ = ["BadText", "TelegramEmulator", "arrives", "slow_uplink"]
