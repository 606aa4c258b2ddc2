"""Files and folders that are there, whole, after a loss of power; and the lock of the data folder."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bridge.errors import StartError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""A disk that is full, a quota or a limit of the process's that is reached."""


def write(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file whole or not at all, and return when it is on the disk. Raises OSError."""
    part = part_of(path)
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def try_to_write(folder: Path) -> None:
    """Write a page into a folder and take it away again. Raises the OSError that a file there meets."""
    trial = folder / "trial"
    write(trial, bytes(4096))
    trial.unlink()


def part_of(path: Path) -> Path:
    """Return where a file is that is not whole yet."""
    return path.with_name(f"{path.name}.part")


def remove_parts(folder: Path) -> None:
    """Remove what writes into the folders of a folder have left that were cut off. Nobody may be writing there."""
    for part in folder.glob("*/*.part"):
        with suppress(OSError):  # it is in nobody's way
            part.unlink()


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, and return when they are on the disk. Raises OSError."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Return when a folder's entries are on the disk: a file's own bytes are of no use without its name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(data: Path, store: Path) -> Iterator[None]:
    """Hold the data folder and that of the store's file: two processes on one would deliver everything twice."""
    with _held(data, "data folder", "gateway.data", data / "files"):
        if store.parent.resolve() == data.resolve():
            yield
        else:
            with _held(store.parent, "store's folder", "store.url", store.parent):
                yield


@contextmanager
def _held(folder: Path, what: str, key: str, needed: Path) -> Iterator[None]:
    try:
        make_folder(needed)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except (OSError, ValueError) as error:  # the latter where it is no path
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise StartError(f"The {what} {str(folder)!r} cannot be written: {reason}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 20).decode("ascii", "replace")
        raise StartError(
            f"The {what} {folder} is in use by another Threadbridge process, {holder or 'an earlier version'}: stop "
            f"that one, or set another folder with {key}."
        ) from error
    else:
        _name(descriptor, b"%d" % os.getpid())
        yield
        _name(descriptor, b"")
    finally:
        os.close(descriptor)


def _name(descriptor: int, holder: bytes) -> None:
    """Note who holds a lock, where the disk takes it: only the words that others read depend on it."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, holder)
