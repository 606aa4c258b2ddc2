"""Which destinations a conversation goes to. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.model import ConversationId, Destination, Site


def destinations(site: Site, conversation: ConversationId) -> Sequence[Destination]:
    """Return one destination of each of a site's spreads; the same ones whenever it is asked."""
    # The low bits of an id are random (ids.py), so that conversations spread evenly.
    chosen = (spread[conversation % len(spread)] for spread in site.destinations)
    return tuple(dict.fromkeys(chosen))
