"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import os
import tempfile

from bench import benchmarks
from bench.drain import drain
from bench.history import history
from bench.platforms import NAMES
from bench.processes import PINNED, pin_load
from bench.report import show
from bench.stored import stored
from bench.widget import widget
from bench.writer import writer

BENCHMARKS = {
    "acks": benchmarks.acks,
    "ack-latency": benchmarks.ack_latency,
    "latency": benchmarks.latency,
    "connections": benchmarks.connections,
    "idle": benchmarks.idle,
    "waves": benchmarks.waves,
    "start": benchmarks.start,
    "stored": stored,
    "drain": drain,
    "writer": writer,
    "widget": widget,
    "history": history,
}


def main() -> None:
    """Run what was asked for; everything where nothing was."""
    options = argparse.ArgumentParser(prog="python -m bench", description="Measures Threadbridge beside a yardstick.")
    options.add_argument("benchmark", nargs="*", help=f"{', '.join(BENCHMARKS)}; all of them without it")
    options.add_argument("--turns", type=int, default=3, help="how often each side is measured")
    options.add_argument("--seconds", type=float, default=3.0, help="how long each measurement takes")
    options.add_argument("--rate", type=float, default=benchmarks.RATE, help="messages a second of `latency`")
    options.add_argument("--connections", type=int, nargs="+", help="instead of each benchmark's own")
    options.add_argument("--platforms", nargs="+", choices=NAMES, help="instead of each benchmark's own")
    options.add_argument(
        "--stored",
        type=int,
        help="conversations in the store, instead of 100,000, or 500 that wait; or messages in a long one",
    )
    options.add_argument("--long", action="store_true", help="10,000 idle connections too")
    chosen = options.parse_args()
    if unknown := set(chosen.benchmark) - set(BENCHMARKS):
        options.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    pin_load()
    print("servers on core 0, load on core 1" if PINNED else "NOT PINNED: server and load share the cores")
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.2f}: what else runs here blurs the figures")
    for name in chosen.benchmark or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="threadbridge-bench-") as chosen.folder:
            print(f"\n{name}: {BENCHMARKS[name].__doc__.splitlines()[0]}")
            show(BENCHMARKS[name](chosen))


if __name__ == "__main__":
    main()
