"""What a store that holds a million messages costs: figures beside an empty one's."""

from __future__ import annotations

import random
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import uvloop

from bench.benchmarks import FIGURES, bridged, talked
from bench.load import measured
from bench.processes import Server
from bench.report import Row
from bridge.gateway.tokens import Tokens
from bridge.model import SiteKey, VisitorId
from tests.stored import fill

CONVERSATIONS = 100_000
"""Of ten messages each."""
PLATFORMS = ("slack", "telegram", "discord")
"""Not the desk, whose staff would answer in all stored conversations too."""
LOADS = (
    (50, 0, {"per_second": "msg/s"}),
    (500, 0, {"per_second": "msg/s"}),
    (500, 1000, {"p50_ms": "ms", "p99_ms": "ms"}),
)
"""How many connections, at how many messages a second (0: as fast as they are answered), and what is told of it."""


def stored(options: Namespace) -> Sequence[Row]:
    """Acknowledgements, and the time until ready, with 1,000,000 messages stored beside an empty store's.

    The visitors are new; and then those of the stored conversations come back, spread over all of the file, so that
    each of their messages touches pages that no other does. Then the ways to the platforms and back.
    """
    path = Path(options.folder) / "stored.db"
    visitors = fill(path, datetime.now(UTC), options.stored or CONVERSATIONS)
    ready = Row("stored", "ready", "s")
    rows = [ready]
    chosen = tuple((connections, 0, {"per_second": "msg/s"}) for connections in options.connections or ())
    for (connections, rate, figures), who in product(chosen or LOADS, ("new", "returning")):
        what = f"{connections} {who} visitors"
        table = {name: Row("stored", f"{what}, {name}", unit) for name, unit in figures.items()}
        for _ in range(options.turns):
            returning = random.sample(visitors, connections) if who == "returning" else ()
            with bridged("desk", options, store=path) as (full, _):
                full.calm()
                many = uvloop.run(measured(full.url, connections, options.seconds, rate, _tokens(full, returning)))
            with bridged("desk", options) as (empty, _):
                empty.calm()
                none = uvloop.run(measured(empty.url, connections, options.seconds, rate))
            ready.add(full.ready_after, empty.ready_after)
            for name, row in table.items():
                row.add(getattr(many, name), getattr(none, name))
        rows += table.values()
    for platform in options.platforms or PLATFORMS:
        rows += _both_ways(platform, path, options)
    return rows


def _both_ways(platform: str, path: Path, options: Namespace) -> Sequence[Row]:
    """Measure the ways to a platform and back, with everything stored and with nothing."""
    ways = [f"visitor to {platform}", f"{platform} to visitor"]
    table = {(way, name): Row("stored", f"{way}, {name}", "ms") for way in ways for name in FIGURES}
    for _ in range(options.turns):
        full, empty = talked(platform, options, store=path), talked(platform, options)
        for way, ours, beside in zip(ways, full, empty, strict=True):
            for name, figure, figure_beside in zip(FIGURES, ours, beside, strict=True):
                table[way, name].add(figure, figure_beside)
    return list(table.values())


def _tokens(server: Server, visitors: Sequence[VisitorId]) -> Sequence[str]:
    """Sign in as visitors, with the secret that the server has made."""
    tokens = Tokens([(server.output.parent / "secret").read_bytes()])
    return [tokens.issue(visitor, SiteKey("shop"), datetime.now(UTC)) for visitor in visitors]
