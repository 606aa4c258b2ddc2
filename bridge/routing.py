"""Which destinations a conversation goes to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bridge.model import ConversationId, Destination, Site


def destinations(
    site: Site, conversation: ConversationId, linked: Collection[Destination], load: Mapping[Destination, float]
) -> Sequence[Destination]:
    """Return one destination of each of a site's spreads: where the conversation is already, else the least loaded."""
    chosen = (_chosen(spread, conversation, linked, load) for spread in site.destinations)
    return tuple(dict.fromkeys(chosen))


def _chosen(
    spread: Sequence[Destination],
    conversation: ConversationId,
    linked: Collection[Destination],
    load: Mapping[Destination, float],
) -> Destination:
    # The low bits of an id are random (ids.py): among equals conversations spread evenly.
    first = conversation % len(spread)
    turn = (*spread[first:], *spread[:first])
    return next((each for each in turn if each in linked), min(turn, key=lambda each: load.get(each, 0.0)))


def spreads(site: Site) -> Sequence[Destination]:
    """Return the destinations among which a new conversation's are chosen by their load."""
    return [each for spread in site.destinations if len(spread) > 1 for each in spread]
