"""The benchmarks run, and print ratios. What they measure is never asserted."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS

ROOT = Path(__file__).parents[2]
FULL = pytest.mark.full
BRIEF = {"acks", "connections", "waves", "drain"}
"""The others are run by the long suite."""
MORE = {
    "latency": ("--platforms", "desk"),
    "start": ("--platforms", "desk"),
    "stored": ("--stored", "20"),
    "drain": ("--stored", "5"),
    "history": ("--stored", "250"),
}


@pytest.mark.parametrize("name", [pytest.param(each, marks=() if each in BRIEF else FULL) for each in BENCHMARKS])
async def test_a_short_run_prints_a_ratio_beside_the_yardstick(name: str) -> None:
    arguments = ("-m", "bench", name, "--seconds", "0.5", "--turns", "1", "--connections", "10", *MORE.get(name, ()))
    bench = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(110):
            printed, complaints = await bench.communicate()
    finally:
        if bench.returncode is None:
            bench.send_signal(signal.SIGINT)  # it stops its servers
            await bench.wait()
    assert bench.returncode == 0, complaints.decode()
    row = json.loads(printed.decode().splitlines()[-1])
    assert row["bench"] == name
    assert row["product"] > 0
    assert row["ratio"] > 0
