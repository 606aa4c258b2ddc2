"""The gateway as a process of its own, which may be killed at any moment and comes back; and its books, read from
outside."""

from __future__ import annotations

import asyncio
import re
import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

from aiohttp import ClientSession

from tests.chaos.line import Line
from tests.chaos.skewed import skew
from tests.emulators.base import eventually
from tests.process import Serving, started

_WITHIN = 240.0
"""How long it takes at most to start, or to end: rounds may be played beside other work."""
_DEFECT = re.compile(r"_defect|frame_failed|store_operation_failed|never retrieved|Traceback|adapter_ended")


class Gateway:
    """`threadbridge serve` behind a line, on one data folder for all its lives."""

    def __init__(self, config: Path, line: Line, http: ClientSession) -> None:
        self.url = line.url
        self.line = line
        self.said: list[str] = []
        """What it has logged in all its lives."""
        self.lives = 0
        self._config = config
        self._clock = config.with_name("clock")
        skew(self._clock, 0)
        self._http = http
        self._life: Serving | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and wait until it serves."""
        serve = ("serve", "--config", self._config, "--log-format", "json")
        process = await started(self._clock, *serve, program="tests.chaos.skewed")
        self._life = life = Serving(process)
        self._reading = reading = asyncio.create_task(life.read(), name="log")
        await eventually(lambda: life.url or reading.done(), _WITHIN)
        assert life.url, "it did not start: " + "".join(life.said)
        self.line.to = int(life.url.rpartition(":")[2])
        self.line.let_go()
        self.lives += 1

    def set_clock(self, seconds: float) -> None:
        """Have its host's clock be off by so much from now on."""
        skew(self._clock, seconds)

    async def kill(self) -> None:
        """Kill it as a loss of power would."""
        await self._end(kill=True)

    async def stop(self) -> None:
        """Stop it as an operator does."""
        status = await self._end(kill=False)
        assert status == 0, f"it ended with {status}: " + "".join(self.said[-20:])

    async def _end(self, *, kill: bool) -> int | None:
        life, reading = self._life, self._reading
        if life is None or reading is None:
            return 0
        self._life = self._reading = None
        if life.process.returncode is None:
            if kill:
                life.process.kill()
            else:
                life.process.terminate()
        try:
            return await asyncio.wait_for(life.process.wait(), _WITHIN)
        finally:
            self.line.to = None
            self.line.cut()  # what was held of its answers dies with it
            await reading
            self.said += life.said

    @contextmanager
    def no_room(self) -> Iterator[None]:
        """Let it write nothing: the system refuses whatever goes beyond a few bytes of a file.

        One that is still starting is left alone: it would rightly end, and nobody is there to start it again.
        """
        if self._life is None or not self._life.url:
            yield
            return
        pid = self._life.process.pid
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (512, most))
        try:
            yield
        finally:
            with suppress(ProcessLookupError):  # it has died meanwhile
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))

    async def measured(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all that has these labels."""
        async with self._http.get(f"http://127.0.0.1:{self.line.to}/metrics") as answer:
            lines = re.findall(rf"^threadbridge_{name}\b(.*) (\S+)$", await answer.text(), re.MULTILINE)
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(value) for given, value in lines if all(each in given for each in wanted))

    @property
    def defects(self) -> list[str]:
        """What it logged that nobody foresaw."""
        return [line.strip() for line in self.said if _DEFECT.search(line)]


class Books:
    """What the store holds, read beside the process that writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = asyncio.Lock()

    def ask(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    def count(self, query: str, *values: object) -> int:
        """Return the number that a query gives."""
        ((found,),) = self.ask(query, *values)
        assert isinstance(found, int)
        return found

    @property
    def messages(self) -> int:
        """How many messages of visitors are kept."""
        return self.count("select count(*) from entry where author = 'visitor'")

    @property
    def answers(self) -> int:
        """How many messages of staff are kept."""
        return self.count("select count(*) from entry where author = 'staff'")

    @property
    def unsettled(self) -> int:
        """How many deliveries are not at an end."""
        return self.count("select count(*) from delivery where state in ('pending', 'claimed', 'uncertain')")

    def claimed(self, adapter: str) -> int:
        """How many plans were under way to an adapter."""
        return self.count(
            "select count(distinct claim) from delivery where state = 'claimed' and destination glob ?", f"{adapter}*"
        )

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Lock the file, as another process may: nothing can be committed meanwhile."""
        async with self._turn:
            with closing(sqlite3.connect(self.path, isolation_level=None, timeout=0)) as connection:
                while not _locked(connection):  # noqa: ASYNC110 - it waits for another process
                    await asyncio.sleep(0.01)
                yield


def _locked(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("begin immediate")
    except sqlite3.OperationalError:  # it is being written to
        return False
    return True
