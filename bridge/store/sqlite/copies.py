"""Copies of a store, for backups: one moment of it, taken beside whoever writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from bridge.model import FileId
from bridge.store.sqlite import schema
from bridge.store.sqlite.examination import damage_in
from bridge.store.sqlite.trouble import damaged, unusable


def copy(path: Path, to: Path) -> None:
    """Copy a store into a file of its own. Raises StoreError, also where the store is damaged.

    Pages are copied as they are, all in one read, which holds up no writer. The copy has no generation of logs:
    whoever opens it begins one (`schema.migrate`).
    """
    try:
        with closing(schema.connect(path)) as source, closing(sqlite3.connect(to)) as target:
            source.backup(target)
            if found := damage_in(target):
                raise damaged(path, found)
            target.execute("pragma synchronous = off")  # the archive is flushed as a whole
            target.execute("pragma journal_mode = delete")  # one file is all of it
            schema.end_generation(target)
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def files(path: Path) -> Sequence[FileId]:
    """Return the files that a copy knows."""
    with closing(sqlite3.connect(path)) as connection:
        return [FileId(id) for (id,) in connection.execute("select id from file")]


def forget(path: Path, files: Iterable[FileId]) -> None:
    """Remove files' rows from a copy."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("delete from file where id = ?", [(file,) for file in files])


def checked(path: Path) -> Sequence[FileId]:
    """Return the files that a copy knows, which must be whole and of a schema known here. Raises StoreError."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            if found := damage_in(connection):
                raise damaged(path, found)
            schema.version(connection, path)
        return files(path)
    except sqlite3.Error as error:
        raise unusable(path, error) from error
