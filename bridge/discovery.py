"""Finds adapter types by entry point, the shipped ones and strangers', and imports only what is asked for."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import cast

from bridge.errors import BridgeError
from bridge.ports import AdapterType

GROUP = "threadbridge.adapters"


class NotInstalled(BridgeError):
    """There is no such adapter type here, or what it needs is missing. The text says what to do."""


def known() -> list[str]:
    """Return the names of the adapter types that are there, whether or not what they need is installed."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load(name: str) -> AdapterType:
    """Import one adapter type. Raises NotInstalled."""
    entry = next(iter(entry_points(group=GROUP, name=name)), None)
    if entry is None:
        raise NotInstalled(f"one of {', '.join(known())}, or the package that brings {name!r} installed")
    try:
        return cast("AdapterType", entry.load())
    except ImportError as error:
        missing = error.name or str(error)
        raise NotInstalled(f"{missing} installed: {_command(entry)}") from error


def _command(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist else "threadbridge"
    return f"pip install '{package}[{entry.name}]'"
