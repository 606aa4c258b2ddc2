"""What waits after an outage, and what comes meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench.benchmarks import RATE, VISITORS, bridged, echo, fresh, reached, say
from bench.load import Load, measured, percentile
from bench.platforms import Staff
from bench.processes import Server, yardstick
from bench.report import Row
from bridge.model import AdapterName, Destination
from tests.stored import fill

CONVERSATIONS, EACH = 500, 20


def drain(options: Namespace) -> Sequence[Row]:
    """Deliveries a second of 10,000 that waited through an outage, and how long new messages take meanwhile."""
    rows, conversations = [], options.stored or CONVERSATIONS
    for platform in options.platforms or ["slack"]:
        path = Path(options.folder) / f"waiting-{platform}.db"
        to = Destination(AdapterName(platform))
        fill(path, datetime.now(UTC), conversations, messages=EACH - 1, to=to, waiting=True)
        delivered = Row("drain", f"to {platform}", "a second")
        p50, p99 = (Row("drain", f"new messages to {platform} meanwhile, {name}", "ms") for name in ("p50", "p99"))
        for _ in range(options.turns):
            calm, _ = echo(0, options)
            with yardstick(fresh(options)) as server:
                busy = uvloop.run(measured(server.url, 50, options.seconds))
            with bridged(platform, options, store=path) as (server, staff):
                rate, times = uvloop.run(_drained(server, staff, conversations * EACH))
            delivered.add(rate, busy.per_second)
            p50.add(percentile(times, 0.5), calm.p50_ms)
            p99.add(percentile(times, 0.99), calm.p99_ms)
        rows += [delivered, p50, p99]
    return rows


async def _drained(server: Server, staff: Staff, last: int) -> tuple[float, list[float]]:
    """Let visitors talk until what waited is sent; give deliveries a second, and the seconds on the way of the new."""
    load, loop = Load(server.url), asyncio.get_running_loop()
    await load.connect(VISITORS)
    sent: dict[str, float] = {}
    with closing(sqlite3.connect(server.output.parent / "threadbridge.db")) as store:

        def waiting() -> int:
            find = "select count(*) from delivery where id <= ? and state != 'sent'"
            return int(store.execute(find, (last,)).fetchone()[0])

        first, started = waiting(), loop.time()
        while waiting() or not sent:
            due = loop.time() + 1 / RATE
            name, at = say(load, len(sent))
            sent[name] = at
            await asyncio.sleep(due - loop.time())
    took = loop.time() - started
    came = await reached(staff, set(sent))
    await load.leave()
    return first / took, [came[name] - at for name, at in sent.items()]
