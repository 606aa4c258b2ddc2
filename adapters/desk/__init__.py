"""The built-in desk: staff answer from a page of the gateway, for the demo and for teams without a messenger."""

from adapters.desk.adapter import Desk, create
from adapters.desk.settings import Settings

__all__ = ["Desk", "Settings", "create"]
