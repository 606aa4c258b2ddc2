"""Starts servers on a core of their own, reads what they take, and stops them. Their output goes to files."""

from __future__ import annotations

import http.client
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.house import config_for

ROOT = Path(__file__).parents[1]
SERVER_CORE, LOAD_CORE = 0, 1
_READY_WITHIN = 30.0


PINNED = hasattr(os, "sched_setaffinity") and {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0)
"""Whether servers and load can have cores of their own."""


def pin_load() -> None:
    """Keep this process, and what it starts and does not pin itself, off the servers' core."""
    if PINNED:
        os.sched_setaffinity(0, {LOAD_CORE})


def raise_file_limit() -> int:
    """Take as many open files as the system gives, for this process and those that it starts."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return limit


@dataclass(frozen=True)
class Server:
    """A running server. `ready_after` is the seconds from its start until it answered."""

    url: str
    pid: int
    output: Path
    ready_after: float

    def cpu(self) -> float:
        """Return the seconds of processor time that it has taken, to the nanosecond (Linux's clock_getcpuclockid)."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def calm(self) -> None:
        """Wait until it has nothing to do: after its start it looks through the store."""
        before = -1.0
        while self.cpu() - before > 0.05:
            before = self.cpu()
            time.sleep(1)

    def resident(self) -> float:
        """Return its resident memory in KiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@contextmanager
def yardstick(folder: Path) -> Iterator[Server]:
    """Run the yardstick."""
    port = _free_port()
    arguments = ["-m", "bench.yardstick", "--port", str(port), "--db", str(folder / "yardstick.db")]
    with _running(arguments, port, folder / "yardstick.log") as server:
        yield server


@contextmanager
def product(
    folder: Path,
    adapters: Mapping[str, Mapping[str, Any]],
    *flags: str,
    environ: Mapping[str, str] | None = None,
    **sections: Mapping[str, Any],
) -> Iterator[Server]:
    """Run `threadbridge serve` without limits, until its adapters are connected. `flags` are Python's."""
    port = _free_port()
    config_for(folder, adapters, gateway={"host": "127.0.0.1", "port": port}, **sections)
    arguments = [*flags, "-m", "bridge", "serve", "--config", str(folder / "config.toml"), "--log-format", "json"]
    with _running(arguments, port, folder / "product.log", environ) as server:
        deadline = time.monotonic() + _READY_WITHIN
        while server.output.read_text().count("adapter_up") < len(adapters):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the adapters did not connect: {_tail(server.output)}")
            time.sleep(0.01)
        yield server


@contextmanager
def _running(
    arguments: Sequence[str], port: int, output: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start Python on the servers' core, wait until it answers, and kill it at the end."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        started = time.monotonic()
        command, env = [sys.executable, *arguments], os.environ | (environ or {})
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT, env=env)
    try:
        if PINNED:
            os.sched_setaffinity(process.pid, {SERVER_CORE})
        while not _answers(port):
            if process.poll() is not None or time.monotonic() - started > _READY_WITHIN:
                raise RuntimeError(f"the server did not start: {_tail(output)}")
            time.sleep(0.002)
        yield Server(f"http://127.0.0.1:{port}", process.pid, output, time.monotonic() - started)
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    """Tell whether something answers; the yardstick has no such page, and answers too."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status in {200, 404}
    except OSError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(output: Path) -> str:
    return output.read_text(errors="replace")[-2000:]
