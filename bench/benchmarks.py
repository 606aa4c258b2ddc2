"""The benchmarks. Each runs yardstick and product in turns, both fresh, under the same load."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from itertools import count
from pathlib import Path

import uvloop

from bench.load import TEXT, Load, Times, measured, percentile
from bench.platforms import MARK, Staff, mark, started
from bench.processes import Server, product, raise_file_limit, yardstick
from bench.report import Row
from tests.emulators.base import eventually

SDKS = {"slack": {"slack_sdk"}, "telegram": {"telegram"}, "discord": {"discord"}, "desk": set()}
VISITORS, RATE = 75, 20.0
WAVES = 4
STAFF_MARKS = 500_000
_numbers = count()


def fresh(options: Namespace) -> Path:
    """Return a fresh folder."""
    return Path(options.folder) / str(next(_numbers))


@contextmanager
def bridged(
    platform: str, options: Namespace, *flags: str, store: Path | None = None
) -> Iterator[tuple[Server, Staff]]:
    """Run the product with one platform, on an empty store or on a copy of one."""
    folder = fresh(options)
    folder.mkdir()
    if store:
        with Path(shutil.copy(store, folder / "threadbridge.db")).open() as copy:
            os.fsync(copy.fileno())  # else the server's first checkpoint would wait until all of it is on the disk
    with (
        started(platform, folder / "platform.log") as staff,
        product(folder, {platform: staff.settings}, *flags) as server,
    ):
        staff.ask("attach", url=server.url)
        yield server, staff


# --- acknowledged messages a second, and how long an acknowledgement takes --------------------------------------------


def acks(options: Namespace) -> Sequence[Row]:
    """Durable acknowledged messages a second, each visitor sending the next when the last is acknowledged."""
    rows = []
    for platform in options.platforms or ["desk"]:
        for connections in options.connections or [50, 500]:
            row = Row("acks", f"{connections} connections, {platform}", "msg/s")
            for _ in range(options.turns):
                theirs, ours, delivered = _turn(platform, connections, 0, options)
                row.add(ours.per_second, theirs.per_second)
                row.more = {"delivered_share": round(delivered, 3), "load_cpu": round(ours.load_cpu, 2)}
            rows.append(row)
    return rows


def ack_latency(options: Namespace) -> Sequence[Row]:
    """How long an acknowledgement takes at 1,000 messages a second."""
    rows = []
    for platform in options.platforms or ["desk"]:
        for connections in options.connections or [500]:
            what = f"{connections} connections, {platform}, 1000 msg/s"
            p50, p99 = (Row("ack-latency", f"{what}, {name}", "ms") for name in ("p50", "p99"))
            for _ in range(options.turns):
                theirs, ours, _ = _turn(platform, connections, 1000, options)
                p50.add(ours.p50_ms, theirs.p50_ms)
                p99.add(ours.p99_ms, theirs.p99_ms)
            rows += [p50, p99]
    return rows


def _turn(platform: str, connections: int, rate: float, options: Namespace) -> tuple[Times, Times, float]:
    """Load the yardstick, then the product; tell also which share of the messages was delivered by the end."""
    with yardstick(fresh(options)) as server:
        theirs = uvloop.run(measured(server.url, connections, options.seconds, rate))
    with bridged(platform, options) as (server, _):
        ours = uvloop.run(measured(server.url, connections, options.seconds, rate))
        with closing(sqlite3.connect(server.output.parent / "threadbridge.db")) as store:
            (delivered,) = store.execute("select coalesce(avg(state = 'sent'), 1) from delivery").fetchone()
    return theirs, ours, delivered


# --- from a visitor to a platform and back ----------------------------------------------------------------------------


def latency(options: Namespace) -> Sequence[Row]:
    """From a visitor's frame to the platform's request, and from its event to the visitor, at so many a second.

    Beside it the yardstick's echo: from a visitor's frame to its acknowledgement, at the same rate.
    """
    return [row for platform in options.platforms or list(SDKS) for row in _both_ways("latency", platform, 0, options)]


def connections(options: Namespace) -> Sequence[Row]:
    """The same among 15,000 idle connections, whose server pings each of them."""
    return [
        row
        for platform in options.platforms or ["desk"]
        for idle in _possible(options.connections or [15_000])
        for row in _both_ways("connections", platform, idle, options)
    ]


def _both_ways(bench: str, platform: str, idle: int, options: Namespace) -> Sequence[Row]:
    """Measure one platform, with so many idle connections beside those that talk."""
    ways = [f"visitor to {platform}", f"{platform} to visitor"]
    among = f" among {idle}" if idle else ""
    table = {(way, name): Row(bench, f"{way}{among}, {name}", "ms") for way in ways for name in FIGURES}
    for _ in range(options.turns):
        echoed, echoed_cpu = echo(idle, options)
        for way, found in zip(ways, talked(platform, options, idle), strict=True):
            for name, figure, beside in zip(FIGURES, found, (echoed.p50_ms, echoed.p99_ms, echoed_cpu), strict=True):
                table[way, name].add(figure, beside)
    return list(table.values())


FIGURES = ("p50", "p99", "cpu")


def talked(
    platform: str, options: Namespace, idle: int = 0, store: Path | None = None
) -> Sequence[tuple[float, float, float]]:
    """Return `FIGURES` in milliseconds of the way to a platform, and of the way back."""
    with bridged(platform, options, store=store) as (server, staff):
        if store:
            server.calm()
        both = uvloop.run(_talk(server, staff, idle, options))
    return [(percentile(times, 0.5), percentile(times, 0.99), cpu) for times, cpu in both]


@asynccontextmanager
async def _idle(server: Server, count: int) -> AsyncIterator[None]:
    """Hold so many connections that do nothing."""
    crowd = Load(server.url)
    await crowd.connect(count)
    yield
    if crowd.closed:
        raise RuntimeError(f"{crowd.closed} idle connections were closed")
    await crowd.leave()


def echo(idle: int, options: Namespace) -> tuple[Times, float]:
    """Return the yardstick's times at the same rate, and its milliseconds of processor time for a message."""

    async def echoed(server: Server) -> tuple[Times, float]:
        async with _idle(server, idle):
            return await spoken(server)

    async def spoken(server: Server) -> tuple[Times, float]:
        load = Load(server.url)
        await load.connect(VISITORS)
        before = server.cpu()
        times = await load.run(options.seconds, options.rate)
        await load.leave()
        return times, (server.cpu() - before) * 1000 / load.sent

    with yardstick(fresh(options)) as server:
        return uvloop.run(echoed(server))


class _Listening(Load):
    """Visitors who note when a marked text reaches them."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.came: dict[str, float] = {}

    def heard(self, body: bytes) -> None:
        now = time.monotonic()
        for found in MARK.findall(body):
            self.came.setdefault(found.decode(), now)


async def _talk(server: Server, staff: Staff, idle: int, options: Namespace) -> list[tuple[list[float], float]]:
    """Measure both ways; give for each the seconds on the way and the processor's milliseconds for a message."""
    async with _idle(server, idle):
        return await _spoken(server, staff, options.rate, options.seconds)


async def _spoken(server: Server, staff: Staff, rate: float, seconds: float) -> list[tuple[list[float], float]]:
    load, loop = _Listening(server.url), asyncio.get_running_loop()
    await load.connect(VISITORS)
    opened = [say(load, number) for number in range(VISITORS)]
    await reached(staff, {name for name, _ in opened})
    await asyncio.sleep(1)  # the opening's work is behind the server

    before, sent = server.cpu(), {}
    for number in range(int(rate * seconds)):
        due = loop.time() + 1 / rate
        name, at = say(load, VISITORS + number)
        sent[name] = at
        await asyncio.sleep(due - loop.time())
    came = await reached(staff, set(sent))
    to = [came[name] - at for name, at in sent.items()], (server.cpu() - before) * 1000 / len(sent)

    before = server.cpu()
    await asyncio.to_thread(staff.ask, "say", first=STAFF_MARKS, rate=rate, seconds=seconds)
    said = {mark(STAFF_MARKS + number) for number in range(int(rate * seconds))}
    await eventually(lambda: said <= load.came.keys(), seconds=20)
    left = staff.ask("stamps")["left"]
    back = [load.came[name] - left[name] for name in said], (server.cpu() - before) * 1000 / len(said)
    await load.leave()
    return [to, back]


def say(load: Load, number: int) -> tuple[str, float]:
    name, at = mark(number), time.monotonic()
    load.visitors[number % len(load.visitors)].say(at, f"{TEXT} {name}")
    return name, at


async def reached(staff: Staff, marks: set[str]) -> dict[str, float]:
    """Wait until the platform has all marks; give when each came."""
    async with asyncio.timeout(30):
        while True:
            came: dict[str, float] = (await asyncio.to_thread(staff.ask, "stamps"))["came"]
            if marks <= came.keys():
                return came
            await asyncio.sleep(0.1)


# --- memory and the start ---------------------------------------------------------------------------------------------


def idle(options: Namespace) -> Sequence[Row]:
    """Memory for an idle connection."""
    rows = []
    for connections in _possible(options.connections or [1000, 5000, *([10_000] if options.long else [])]):
        row = Row("idle", f"{connections} idle connections", "KiB each")
        for _ in range(options.turns):
            with yardstick(fresh(options)) as server:
                theirs = uvloop.run(_held(server, connections))
            with bridged("desk", options) as (server, _):
                row.add(uvloop.run(_held(server, connections)), theirs)
        rows.append(row)
    return rows


def _possible(wanted: Sequence[int]) -> Iterator[int]:
    """Give how many connections this machine lets a process have."""
    limit = raise_file_limit()
    for connections in wanted:
        if connections + 200 > limit:
            print(f"{connections} connections are left out: no more than {limit} files may be open")
        else:
            yield connections


def waves(options: Namespace) -> Sequence[Row]:
    """Memory in the last of four waves of 5,000 connects and disconnects, as a multiple of that in the first.

    That is with all connected: how much of it goes back to the system after a wave is up to the allocator.
    """
    rows = []
    for connections in _possible(options.connections or [5000]):
        row = Row("waves", f"{WAVES} waves of {connections} connections", "x first")
        for _ in range(options.turns):
            with yardstick(fresh(options)) as server:
                theirs = uvloop.run(_washed(server, connections))
            with bridged("desk", options) as (server, _):
                ours = uvloop.run(_washed(server, connections))
            row.add(max(ours[1:]) / ours[0], max(theirs[1:]) / theirs[0])
            row.more = {"product_mib": ours, "yardstick_mib": theirs}
        rows.append(row)
    return rows


async def _washed(server: Server, connections: int) -> list[float]:
    """Give the memory in MiB with each wave connected, and in the end without any."""
    memory = []
    for _ in range(WAVES):
        load = Load(server.url)
        await load.connect(connections)
        memory.append(round(server.resident() / 1024, 1))
        await load.leave()
        await eventually(lambda load=load: load.closed == connections, seconds=60)
        await asyncio.sleep(1)  # the server has learned it too
    memory.append(round(server.resident() / 1024, 1))
    return memory


async def _held(server: Server, connections: int) -> float:
    load, before = Load(server.url), server.resident()
    await load.connect(connections)
    await asyncio.sleep(2)
    each = (server.resident() - before) / connections
    if load.closed:
        raise RuntimeError(f"{load.closed} connections were closed")
    await load.leave()
    return each


def start(options: Namespace) -> Sequence[Row]:
    """Time until ready and memory after it with one platform, and which platforms' libraries were loaded."""
    rows = []
    for platform in options.platforms or list(SDKS):
        ready, memory = Row("start", f"{platform}, ready", "s"), Row("start", f"{platform}, memory", "MiB")
        for _ in range(options.turns):
            with ExitStack() as stack:
                theirs = stack.enter_context(yardstick(fresh(options)))
                ours, _ = stack.enter_context(bridged(platform, options))
                ready.add(ours.ready_after, theirs.ready_after)
                memory.add(ours.resident() / 1024, theirs.resident() / 1024)
        memory.more = {"libraries": sorted(_libraries(platform, options))}
        rows += [ready, memory]
        for foreign in set(memory.more["libraries"]) - SDKS[platform]:
            print(f"WITH {platform} ALONE CONFIGURED, {foreign} IS LOADED")
    return rows


def _libraries(platform: str, options: Namespace) -> set[str]:
    """Return the platforms' libraries that a start imports, in a run of its own: telling imports takes time."""
    with bridged(platform, options, "-X", "importtime") as (server, _):
        imported = set(re.findall(r"\| +(\w+)", server.output.read_text()))
    return imported & set().union(*SDKS.values())
