"""A platform's test server in a process of its own, which notes when texts reach it and when they leave it.

The times are those of the bytes at the sockets, so that the test server's own work counts for neither side. The
process is told what to do by lines of JSON on its standard input, and answers each with one.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from asyncio.selector_events import _SelectorSocketTransport
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp import ClientSession, ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.web_protocol import RequestHandler

from bench.processes import ROOT
from tests.platforms import UNLIMITED, Platform, emulated

NAMES = ("slack", "telegram", "discord", "desk")
MARK = re.compile(rb"mark[0-9]{6}x")

_CHECKS = {
    "slack": ("problems_of_request", "problems_of_answer", "problems_of_event"),
    "telegram": ("answer", "update"),
    "discord": ("request_problems", "answer_problems"),
}
"""What a test server checks against its platform's specification: work that no real platform does on this machine."""


def mark(number: int) -> str:
    """Return a word that a text is known by on its way; no platform and no encoding changes it."""
    return f"mark{number:06}x"


# --- the side that measures -------------------------------------------------------------------------------------------


class Staff:
    """The process, as its parent speaks to it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.settings: dict[str, Any] = self._answer()

    def ask(self, what: str, **more: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"what": what, **more}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the test server ended")
        return json.loads(line)


@contextmanager
def started(name: str, output: Path) -> Iterator[Staff]:
    """Run a platform's process."""
    with output.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.platforms", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, text=True,
        )  # fmt: skip
    try:
        yield Staff(process)
    finally:
        process.kill()
        process.communicate()


# --- the process ------------------------------------------------------------------------------------------------------


class Tap:
    """Notes when each mark first came in over a socket of this process, and when it first went out."""

    def __init__(self) -> None:
        self.came: dict[str, float] = {}
        self.left: dict[str, float] = {}

    def install(self) -> None:
        for reader in (RequestHandler, ResponseHandler):
            reader.data_received = self._noting(reader.data_received, self.came)
        for name in ("write", "writelines"):
            setattr(_SelectorSocketTransport, name, self._noting(getattr(_SelectorSocketTransport, name), self.left))

    @staticmethod
    def _noting(method: Callable[..., Any], seen: dict[str, float]) -> Callable[..., Any]:
        def noting(self: Any, data: Any) -> Any:
            now = time.monotonic()
            for found in MARK.findall(data if isinstance(data, bytes | bytearray | memoryview) else b"".join(data)):
                seen.setdefault(found.decode(), now)
            return method(self, data)

        return noting


async def _says(platform: Platform, first: int, rate: float, seconds: float) -> None:
    """Staff answer in all threads in turn."""
    threads, started = await platform.threads(), time.monotonic()
    async with asyncio.timeout(seconds + 20), asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(started + number / rate - time.monotonic())
            text = f"We have looked it up, it is on its way. {mark(first + number)}"
            tasks.create_task(platform.says(threads[number % len(threads)], text))


async def _listen(url: str, http: ClientSession) -> None:
    """Hear the desk's stream, as its page does: its bytes are what staff see of a message."""
    async with http.get(url) as stream:
        async for _ in stream.content.iter_any():
            pass


@asynccontextmanager
async def _attached(platform: Platform, url: str) -> AsyncIterator[None]:
    """Be an agent at the desk, whose address is known only now; the other platforms are called."""
    if platform.name != "desk":
        yield
        return
    headers = {"Authorization": f"Bearer {platform.settings()['token']}"}
    async with ClientSession(timeout=ClientTimeout(total=None)) as http, ClientSession(headers=headers) as agent:
        platform.attach(SimpleNamespace(url=url), http)  # type: ignore[arg-type]
        listening = asyncio.create_task(_listen(f"{url}/desk/api/events", agent))
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def _commands() -> AsyncIterator[dict[str, Any]]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def _main(name: str) -> None:
    if name in _CHECKS:
        spec = import_module(f"tests.emulators.{name}.spec")
        for check in _CHECKS[name]:
            setattr(spec, check, lambda *_: [])
    tap = Tap()
    tap.install()
    async with emulated(name) as platform:
        print(json.dumps(platform.settings() | {"budget": UNLIMITED}), flush=True)
        commands = _commands()
        attach = await anext(commands)
        async with _attached(platform, attach["url"]):
            print(json.dumps("attached"), flush=True)
            async for command in commands:
                if command["what"] == "say":
                    await _says(platform, command["first"], command["rate"], command["seconds"])
                print(json.dumps({"came": tap.came, "left": tap.left}), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
