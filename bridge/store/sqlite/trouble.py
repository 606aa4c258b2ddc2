"""What is wrong with the file: each caller gets a refusal, the operator one line for each change."""

from __future__ import annotations

import errno
import resource
import sqlite3
from pathlib import Path

import structlog

from bridge import disk
from bridge.errors import StoreError, StoreFull

_RESTORE = "stop the bridge, move its data away and restore a backup with `threadbridge restore`"

_UNTOLD = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
"""What SQLite says, by its kind, of whatever else keeps it from writing: a limit or quota, a file system turned
read-only, a right that is gone, a disk that fails."""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REMEDIES = {
    sqlite3.SQLITE_BUSY: "end the other program that holds the database",
    sqlite3.SQLITE_READONLY: "let the user that runs the bridge write the file and its folder",
    sqlite3.SQLITE_IOERR: "look into the system's log for what is wrong with the disk",
    sqlite3.SQLITE_CANTOPEN: "let the user that runs the bridge open the file and its folder",
    **dict.fromkeys(_DAMAGED, _RESTORE),
}
_REMEDIES_OF_THE_DISK = {
    errno.EROFS: "the system lets nobody write there, as a rule because the disk failed: repair it, mount it anew and "
    "start the bridge again; what is refused meanwhile comes again by itself",
    **dict.fromkeys((errno.EACCES, errno.EPERM), _REMEDIES[sqlite3.SQLITE_READONLY]),
}
PASSING = (MemoryError, OSError)
"""What an operation may meet once and not the next time, beside what SQLite says of the file."""
log = structlog.get_logger()


def cause(path: Path, error: Exception) -> Exception:
    """Return why a commit failed: what another file in the folder meets, where SQLite does not tell."""
    if _code(error) & 0xFF in _UNTOLD:
        try:
            disk.try_to_write(path.parent)
        except OSError as found:
            return found
    return error


def refusal(error: Exception) -> StoreError:
    """Return what callers are told of a failure."""
    if _is_full(error):
        return StoreFull("there is no room left for the store")
    return StoreError(f"the store failed: {reason(error)}")


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in disk.FULL
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)  # this file has reached it, another one may not
    stopped = _code(error) in {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
    return _code(error) == sqlite3.SQLITE_FULL or (stopped and limit != resource.RLIM_INFINITY)


def reason(error: Exception) -> str:
    """Return what an error says, without the text of a row that it is about."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition(" with text ")[0] or type(error).__name__


def unusable(path: Path, error: sqlite3.Error) -> StoreError:
    """Return what the operator is told where the bridge cannot start."""
    what = f"{path} cannot be used as a store: {error}."
    return StoreError(f"{what} Remedy: {advice}." if (advice := remedy(error)) else what)


def damaged(path: Path, found: str) -> StoreError:
    """Return what the operator is told where the bridge does not start on a damaged file."""
    return StoreError(f"{path} is damaged: {found}. Remedy: {_RESTORE}.")


def is_damage(error: Exception) -> bool:
    """Tell whether an error shows that the file is damaged, or no database at all."""
    return _code(error) & 0xFF in _DAMAGED


def remedy(error: Exception) -> str:
    """Return what the operator can do, or nothing."""
    if _is_full(error):
        return "free some room; what is refused meanwhile comes again by itself"
    if isinstance(error, OSError):
        return _REMEDIES_OF_THE_DISK.get(error.errno or 0, "")
    return _REMEDIES.get(_code(error) & 0xFF, "")


class Trouble:
    """Knows whether the last commit failed and why, and whether the file was ever seen to be damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = self._reading = ""
        self.damaged = False
        """Nothing may be written then: it could fall into the hole, or tear it open further."""

    def writing(self, error: Exception) -> None:
        """Note that a commit has failed."""
        if not self._is_damage(error) and reason(error) != self._writing:
            self._writing = reason(error)
            self._tell(self._writing, remedy(error))

    def over(self) -> None:
        """Note that a commit has succeeded."""
        if self._writing:
            self._writing = ""
            log.info("store_works_again", path=str(self._path))

    def reading(self, error: Exception) -> None:
        """Note that a read has failed. Others succeed meanwhile, so nothing tells that it is over."""
        if not self._is_damage(error) and reason(error) != self._reading:
            self._reading = reason(error)
            self._tell(self._reading, remedy(error))

    def damage(self, found: str) -> None:
        """Refuse all that comes: the file is damaged."""
        if not self.damaged:
            self.damaged = True
            self._tell(found, _RESTORE)

    def _is_damage(self, error: Exception) -> bool:
        if is_damage(error):
            self.damage(str(error))
        return self.damaged

    def _tell(self, reason: str, remedy: str) -> None:
        log.error("store_fails", path=str(self._path), reason=reason, **({"remedy": remedy} if remedy else {}))


def _code(error: Exception) -> int:
    """Return SQLite's extended code, whose lowest byte is the kind."""
    return getattr(error, "sqlite_errorcode", None) or 0
