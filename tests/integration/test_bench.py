"""The benchmarks run, and print ratios. What they measure is never asserted."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "more"),
    [("acks", ()), ("connections", ()), ("waves", ()), ("stored", ("--stored", "20")), ("drain", ("--stored", "5"))],
)
async def test_a_short_run_prints_a_ratio_beside_the_yardstick(name: str, more: tuple[str, ...]) -> None:
    arguments = ("-m", "bench", name, "--seconds", "0.5", "--turns", "1", "--connections", "10", *more)
    bench = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(90):
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
