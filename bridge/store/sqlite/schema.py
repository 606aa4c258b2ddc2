"""Opens the database file and brings it to this version's schema."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from bridge.errors import SchemaTooNew, StoreError

# synchronous=FULL: a commit is on the disk before it returns, so that an acknowledgement means durable also after a
# loss of power. With WAL that is one flush for a commit, shared by all that the commit holds.
_FORMER = "generation before "
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


def version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the number of the last step that was applied. Raises SchemaTooNew."""
    (version,) = connection.execute("pragma user_version").fetchone()
    if version > (known := migrations()[-1][0]):
        raise SchemaTooNew(
            f"{path} was written by a newer version of Threadbridge (schema {version}, this program knows "
            f"{known}). Start that version, or restore a backup made before the upgrade."
        )
    return int(version)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply the steps that are missing, each in a transaction of its own. Raises SchemaTooNew."""
    for number, script in migrations():
        connection.execute("begin immediate")  # another process may be at it: only now it is certain what is missing
        with connection:
            if number > version(connection, path):
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"pragma user_version = {number}")
    _begin_generation(connection)


def _statements(script: str) -> Iterator[str]:
    """Yield a script's statements, of which each ends a line: `executescript` would begin with a commit."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def expect_present(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that no step is missing. Raises SchemaTooNew, and StoreError where the store is older."""
    if version(connection, path) < migrations()[-1][0]:
        raise StoreError(
            f"{path} was written by an older version of Threadbridge, which may still run on it. Start "
            "`threadbridge serve` of this version, or run `threadbridge migrate`, first."
        )
    _begin_generation(connection)


def _begin_generation(connection: sqlite3.Connection) -> None:
    """Name the generation of a store that has none: a new one, or a copy, of whose deliveries nobody knows the fate."""
    connection.execute("begin immediate")
    made = connection.execute(
        "insert into meta (key, value) values ('generation', ?) on conflict do nothing", (secrets.token_hex(4),)
    ).rowcount
    if made:
        connection.execute(
            "update delivery set state = 'uncertain', claimed_until = null where state in ('pending', 'claimed')"
        )
    connection.execute("commit")


def end_generation(connection: sqlite3.Connection) -> None:
    """Leave a copy without a generation, and note up to which delivery the former one went."""
    connection.execute("begin immediate")
    connection.execute(
        f"""insert into meta (key, value) select '{_FORMER}' || (select coalesce(max(id), 0) + 1 from delivery), value
            from meta where key = 'generation' on conflict do nothing"""
    )
    connection.execute("delete from meta where key = 'generation'")
    connection.execute("commit")


def probe(connection: sqlite3.Connection) -> None:
    """Write a row that says nothing: whether it can be committed tells whether messages can."""
    connection.execute(
        "insert into meta (key, value) values ('probe', '0') on conflict (key) do update set value = 1 - value"
    )


def generations(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    """Return the generations of all logs: for each the delivery before which it ended, ascending, and its name."""
    former = connection.execute("select key, value from meta where key glob ?", (f"{_FORMER}*",)).fetchall()
    (present,) = connection.execute("select value from meta where key = 'generation'").fetchone()
    return [*sorted((int(key.removeprefix(_FORMER)), name) for key, name in former), (2**63, present)]
