"""Runs the command line as a process of its own beside test servers in this one."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.emulators.base import eventually

ROOT = Path(__file__).parents[1]


async def started(
    *arguments: object, program: str = "bridge", through: Sequence[str] = (), **more: str
) -> asyncio.subprocess.Process:
    """Start the command line, or another module, with arguments, by way of another program's."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("THREADBRIDGE__")}
    return await asyncio.create_subprocess_exec(
        *through, sys.executable, "-m", program, *map(str, arguments),
        env=environ | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"} | more,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def ended(*arguments: object, through: Sequence[str] = ()) -> tuple[int | None, str]:
    """Run a command to its end, by way of another program's; return its status and all that it said."""
    process = await started(*arguments, through=through)
    said, _ = await asyncio.wait_for(process.communicate(), 90)
    return process.returncode, said.decode()


async def died(where: str, step: int, *arguments: object) -> bool:
    """Run a command that is killed at a step, see `tests.dying`; False where it ended, well, before that."""
    process = await started(where, step, *arguments, program="tests.dying")
    said, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode in {0, -signal.SIGKILL}, said.decode()
    return process.returncode != 0


class Serving:
    """`threadbridge serve`, and all that it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []

    async def read(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            self.said.append(line.decode())

    def deafen(self) -> None:
        """End whoever reads what it says: no line can be written any more."""
        self.process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        """Where it serves; empty before it does."""
        found = (re.search(r"http://[\d.:]+", line) for line in self.said if "ready" in line)
        return next((match[0] for match in found if match), "")


def installed(folder: Path) -> Path:
    """Build the wheel, as for a release, and return the folder with what an installation has of it."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "installed")
    return folder / "installed"


@asynccontextmanager
async def serving(config: Path, *options: str, **environ: str) -> AsyncIterator[Serving]:
    """Serve a configuration until it is left, then stop it as an operator does."""
    process = await started("serve", "--config", config, *options, **environ)
    running = Serving(process)
    reading = asyncio.create_task(running.read())
    try:
        await eventually(lambda: running.url or reading.done(), 60)
        assert running.url, "".join(running.said)
        yield running
        if process.returncode is not None:
            return  # it has ended by itself, which is for the test to judge
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 40) == 0, "".join(running.said)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading
