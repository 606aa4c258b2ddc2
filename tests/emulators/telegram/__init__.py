"""A test server that speaks Telegram's Bot API."""

from .server import TelegramEmulator
from .text import BadText, arrives

__all__ = ["BadText", "TelegramEmulator", "arrives"]
