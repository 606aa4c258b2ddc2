"""The one writer: a thread that commits together whatever queued up while its last commit ran."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import structlog

from bridge.errors import (
    BridgeError,
    Conflict,
    Merged,
    StoreError,
    Unstorable,
)
from bridge.store.sqlite.trouble import PASSING, Trouble, cause, refusal

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]
"""One atomic piece of work: runs in the writer's thread, inside a transaction, perhaps twice, the first time undone."""

_BATCH = 500
_BUSY = 20
"""Where so much waits for a batch, what yields gets a few places in it: acknowledgements go ahead of deliveries."""
_YIELDING_WHEN_BUSY = 4
_QUEUE = 20_000
"""More than this much waiting work is refused: it would only make every answer later."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Job:
    number: int
    operation: Operation[Any]
    done: asyncio.Future[Any]
    told: Callable[[Any], None] | None
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs operations in the order in which they were given, many to a commit; one that fails spoils no other."""

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection], trouble: Trouble) -> None:
        self.errors = 0
        """How many operations have failed since the start. A Conflict or Merged is an answer."""
        self._path = path
        self._trouble = trouble
        self._file: int | None = None
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._numbers = count()
        self._waiting: deque[_Job] = deque()
        self._yielding: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def do(
        self, operation: Operation[T], *, yields: bool = False, told: Callable[[T | None], None] | None = None
    ) -> asyncio.Future[T]:
        """Queue one operation; its result comes once it is durable. One that yields may be overtaken by others.

        `told` is called with the result, or None after a failure: before the caller goes on, or where it was cancelled.

        Raises StoreError where it is not known to be, StoreFull where there is no room, and what the operation raises.
        A cancelled caller loses only the result: the operation is wholly done or wholly not.
        """
        job = _Job(next(self._numbers), operation, self._loop.create_future(), told)
        with self._changed:
            if self._stopping:
                refused = "the store is closed"
            elif self._trouble.damaged:
                refused = "the store's file is damaged"
            elif len(self._waiting) + len(self._yielding) >= _QUEUE:
                refused = "the store is overloaded"
            else:
                (self._yielding if yields else self._waiting).append(job)
                self._changed.notify()
                return job.done
        job.error = StoreError(refused)
        self._loop.call_soon(self._finish, [job])
        return job.done

    async def close(self) -> None:
        """Finish what is queued and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while batch := self._next_batch():
            try:
                self._make_sure_of_the_file()
                connection = connection or self._connect(self._path)
                self._commit(connection, batch)
                if connection.total_changes:  # a commit of nothing tells nothing; after a failure it begins at 0
                    self._trouble.over()
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends no thread for which others wait
                # Whether the commit took place is not known: fail all of it, callers repeat by id, and start afresh.
                why = cause(self._path, error)
                self._trouble.writing(why)
                batch += self._behind(error)
                for job in batch:
                    job.error = refusal(why)
                if connection:
                    connection.close()
                connection = None
            self._loop.call_soon_threadsafe(self._finish, batch)
        if connection:
            connection.close()

    def _make_sure_of_the_file(self) -> None:
        """Refuse where the file was removed: it would take everything, and give nothing back after a restart."""
        present = self._path.stat().st_ino
        if self._file is None:
            self._file = present
        if present != self._file:
            raise FileNotFoundError(f"another file stands at {self._path}")

    def _next_batch(self) -> list[_Job]:
        """Take what waits, and behind it what yields: all of it, or a little where much waits."""
        with self._changed:
            while not self._waiting and not self._yielding and not self._stopping:
                self._changed.wait()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
            places = _BATCH if len(batch) < _BUSY else _YIELDING_WHEN_BUSY
            while self._yielding and places and not self._is_behind(self._yielding[0]):
                batch.append(self._yielding.popleft())
                places -= 1
            return batch

    def _is_behind(self, job: _Job) -> bool:
        """Tell whether a job that yields was given after one that still waits: it may be about what that one stores."""
        return bool(self._waiting) and self._waiting[0].number < job.number

    def _behind(self, error: Exception) -> list[_Job]:
        """Return what waited behind a lock, and would wait as long again, or would write into a damaged file."""
        if getattr(error, "sqlite_errorname", "") != "SQLITE_BUSY" and not self._trouble.damaged:
            return []
        with self._changed:
            behind = [*self._waiting, *self._yielding]
            self._waiting.clear()
            self._yielding.clear()
        return behind

    def _finish(self, batch: list[_Job]) -> None:
        for job in batch:
            if job.told:
                self._loop.call_soon(job.told, job.result if job.error is None else None)
            if job.error is not None:
                self._refuse(job, job.error)
            elif not job.done.done():  # else its caller was cancelled
                job.done.set_result(job.result)

    def _refuse(self, job: _Job, error: BaseException) -> None:
        if not isinstance(error, BridgeError):
            log.error("store_operation_failed", exc_info=error)
            kind = StoreError if isinstance(error, PASSING) else Unstorable
            error = kind(f"{type(error).__name__} in the store")
        self.errors += isinstance(error, StoreError) and not isinstance(error, Conflict | Merged)
        if not job.done.done():
            job.done.set_exception(error)

    @staticmethod
    def _commit(connection: sqlite3.Connection, batch: list[_Job]) -> None:
        try:
            connection.execute("begin immediate")
            _run_all(connection, batch)
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise


def _run_all(connection: sqlite3.Connection, batch: list[_Job]) -> None:
    """Run a batch as if nothing went wrong, which is cheap; where something does, again with a savepoint for each.

    One savepoint around all would cost more than what it spares: SQLite keeps a copy of each page that it guards.
    """
    try:
        for job in batch:
            job.result = job.operation(connection)
    except Exception as error:
        if _is_of_the_file(error):
            raise
        connection.execute("rollback")
        connection.execute("begin immediate")
        for job in batch:
            _run_alone(connection, job)


def _run_alone(connection: sqlite3.Connection, job: _Job) -> None:
    connection.execute("savepoint job")
    try:
        job.result = job.operation(connection)
    except Exception as error:
        if _is_of_the_file(error):
            raise
        connection.execute("rollback to job")
        job.error = error
    connection.execute("release job")


def _is_of_the_file(error: Exception) -> bool:
    """Tell what puts the whole transaction in doubt from what one operation alone has done wrong."""
    alone = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.NotSupportedError)
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, alone)
