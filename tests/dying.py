"""Runs the command line and kills it, as a loss of power would, in the middle of what it does.

python -m tests.dying files N backup ...: at the N-th operation on a file that has not its final name yet
python -m tests.dying database N migrate ...: after N steps of the database's own machine
"""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from typing import Any

from bridge.__main__ import main

_FILE_OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "sqlite3.connect"}


def _die_at(number: int) -> Any:
    count = itertools.count(1)

    def step() -> None:
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return step


def run(where: str, number: int) -> None:
    step = _die_at(number)
    if where == "files":
        sys.addaudithook(lambda event, arguments: _unfinished(event, arguments) and step())
    else:
        connect = sqlite3.connect

        def watched(*arguments: Any, **more: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **more)
            connection.set_progress_handler(step, 1)
            return connection

        sqlite3.connect = watched
    main()


def _unfinished(event: str, arguments: tuple[Any, ...]) -> bool:
    return event in _FILE_OPERATIONS and ".part" in str(arguments[0])


if __name__ == "__main__":
    _, where, number, *sys.argv[1:] = sys.argv
    run(where, int(number))
