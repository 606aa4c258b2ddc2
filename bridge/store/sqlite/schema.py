"""Opens the database file and brings it to this version's schema."""

from __future__ import annotations

import secrets
import sqlite3
from importlib import resources
from pathlib import Path

from bridge.errors import SchemaTooNew

# synchronous=FULL: a commit is on the disk before it returns, so that an acknowledgement means durable also after a
# loss of power. With WAL that is one flush for a commit, shared by all that the commit holds.
_PRAGMAS = "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma busy_timeout = 5000;"


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open the file for writing, from whichever thread uses it next."""
    address = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(
        address, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.executescript(_PRAGMAS)
    return connection


def migrations() -> list[tuple[int, str]]:
    """Return the numbered steps of the schema, in order."""
    folder = resources.files(__package__) / "migrations"
    steps = [(int(file.name[:4]), file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted(steps)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply the steps that are missing, each in a transaction of its own. Raises SchemaTooNew."""
    steps = migrations()
    (version,) = connection.execute("pragma user_version").fetchone()
    if version > steps[-1][0]:
        raise SchemaTooNew(
            f"{path} was written by a newer version of Threadbridge (schema {version}, this program knows "
            f"{steps[-1][0]}). Start that version, or restore a backup made before the upgrade."
        )
    for number, script in steps:
        if number > version:
            connection.executescript(f"begin immediate; {script} pragma user_version = {number}; commit;")
    connection.execute(
        "insert into meta (key, value) values ('generation', ?) on conflict do nothing", (secrets.token_hex(4),)
    )


def probe(connection: sqlite3.Connection) -> None:
    """Write a row that says nothing: whether it can be committed tells whether messages can."""
    connection.execute(
        "insert into meta (key, value) values ('probe', '0') on conflict (key) do update set value = 1 - value"
    )


def generation(connection: sqlite3.Connection) -> str:
    """Return the name of this generation of all logs."""
    (value,) = connection.execute("select value from meta where key = 'generation'").fetchone()
    return str(value)
