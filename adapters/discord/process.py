"""The library's addresses, which are global to a process."""

from __future__ import annotations

import gc
import logging
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

_holders: WeakKeyDictionary[object, str] = WeakKeyDictionary()


def claim(holder: object, api_url: str) -> None:
    """Point the library at a server for as long as `holder` lives, or until it releases.

    Raises ValueError where another holder uses another server.
    """
    if any(url != api_url for url in _holders.values()):
        gc.collect()  # one that nobody has any more does not count
    other = next((url for url in _holders.values() if url != api_url), None)
    if other is not None:
        raise ValueError(
            f"every Discord adapter of a process must have the same api_url, one has {other} and another {api_url}: "
            "give them the same, or run a second gateway for the other"
        )
    _holders[holder] = api_url
    Route.BASE = f"{api_url}/api/v10"
    # Its records hold texts below WARNING, and tracebacks of every lost connection below CRITICAL.
    logging.getLogger("discord").setLevel(logging.WARNING)
    logging.getLogger("discord.client").setLevel(logging.CRITICAL)


def release(holder: object) -> None:
    """Give the addresses up."""
    _holders.pop(holder, None)


def host() -> str:
    """Return the name of the server that the library calls."""
    return urlsplit(Route.BASE).netloc.rpartition("@")[2]


def way_out() -> dict[str, Any]:
    """Return what a client is given of the proxy that the environment names for the server: the library looks at none.

    The gateway and the files, on other hosts, are reached the same way.
    """
    named = None if proxy_bypass(host()) else getproxies().get(urlsplit(Route.BASE).scheme)
    return {"proxy": str(yarl.URL(named))} if named else {}


def use_gateway(url: str) -> None:
    """Connect to this gateway from now on."""
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)
