"""`threadbridge backup` and `threadbridge restore`: the database, the files and the secrets in one archive."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge import disk
from bridge.config import Config
from bridge.errors import StartError
from bridge.gateway.files import path_in
from bridge.model import FileId
from bridge.store.sqlite import copies

_DATABASE, _FILES, _SECRETS = "threadbridge.db", "files", ("secret", "desk-token")
_MEMBER = re.compile(rf"{re.escape(_DATABASE)}|{'|'.join(_SECRETS)}|{_FILES}/[0-9a-f]{{2}}/(?P<file>[0-9a-f]{{32}})")


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive holds. `secret`: the one that was made because none was configured."""

    files: int
    secret: bool


def write(config: Config, to: Path) -> Contents:
    """Write all that is kept into an archive, beside a running bridge: whole or not at all. Raises StartError.

    The database is copied first: the bytes of the files that it names were on the disk before. In the archive it
    stands last, so that one which was cut short holds none.
    """
    places = _places(config)
    if not places[_DATABASE].is_file():
        raise StartError(f"There is no store at {places[_DATABASE]}: nothing was served with this configuration yet.")
    if to.exists():
        raise StartError(f"There is a file {to} already; nothing was changed.")
    with _told(f"The backup cannot be written to {to}"), _workplace(to) as work:
        copy, archive = work / _DATABASE, work / "archive"
        copies.copy(places[_DATABASE], copy)
        archive.touch(0o600)
        with archive.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                secrets = [name for name in _SECRETS if _added(tar, places[name], name)]
                files = _add_files(tar, places[_FILES], copy)
                tar.add(copy, _DATABASE)
            file.flush()
            os.fsync(file.fileno())
        copy.unlink()
        archive.replace(to)
        disk.sync_folder(to.parent)
    return Contents(files, "secret" in secrets)


def restore(config: Config, archive: Path) -> Contents:
    """Put what an archive holds where nothing is yet. Raises StartError, SchemaTooNew, StoreError."""
    places = _places(config)
    staged = {name: disk.part_of(path) for name, path in places.items()}
    with _told(f"{archive} cannot be restored"), disk.locked(config.data, config.store.path):
        if staged[_DATABASE].exists():
            _remove(places)  # of an earlier restore that was killed: the bridge has not started since
        elif present := _present(places):
            raise StartError(f"There is data already: {', '.join(present)}. Move it away first; nothing was changed.")
        try:
            contents = _unpack(archive, staged)
            os.sync()  # all of it before any of it has its name
            for name, path in places.items():
                if staged[name].exists():
                    staged[name].replace(path)
                    disk.sync_folder(path.parent)
        finally:
            _remove(staged)
    return contents


def _present(places: Mapping[str, Path]) -> list[str]:
    """Return what is in the way. A log of writes that was left behind would be replayed into another database."""
    database = places[_DATABASE]
    logs = (database.with_name(f"{database.name}-{log}") for log in ("wal", "journal"))
    return [str(path) for path in (*places.values(), *logs) if path.is_file() or any(path.glob("**/*"))]


def _places(config: Config) -> Mapping[str, Path]:
    """Return where things are, by their names in an archive; the database last, as with it the bridge would start."""
    names = (_FILES, *_SECRETS)
    return {name: config.data / name for name in names} | {_DATABASE: config.store.path}


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, tarfile.TarError) as error:
        raise StartError(f"{what}: {getattr(error, 'strerror', None) or error}.") from error


@contextmanager
def _workplace(to: Path) -> Iterator[Path]:
    """Yield a folder beside the archive that is to be; what a backup that was killed has left there goes first."""
    work = to.with_name(f".{to.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _add_files(tar: tarfile.TarFile, folder: Path, copy: Path) -> int:
    """Add the files that a copy knows. It forgets what was removed meanwhile, which no message holds."""
    known = copies.files(copy)
    gone = [file for file in known if not _added(tar, path_in(folder, file), str(path_in(Path(_FILES), file)))]
    copies.forget(copy, gone)
    return len(known) - len(gone)


def _added(tar: tarfile.TarFile, path: Path, name: str) -> bool:
    try:
        tar.add(path, name, recursive=False)
    except FileNotFoundError:
        return False
    return True


def _unpack(archive: Path, staged: Mapping[str, Path]) -> Contents:
    """Write an archive's members beside their places. Raises StartError where it is no whole backup."""
    _remove(staged)
    files, names = set(), set()
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            name = _MEMBER.fullmatch(member.name)
            source = tar.extractfile(member) if name and member.isfile() else None
            if name is None or source is None:
                raise StartError(f"{archive} is no backup of Threadbridge: it holds {member.name!r}.")
            path = staged.get(member.name)
            if path is None:
                files.add(file := FileId(name["file"]))
                path = path_in(staged[_FILES], file)
                path.parent.mkdir(parents=True, exist_ok=True)
            names.add(member.name)
            path.touch(0o600 if member.name in _SECRETS else 0o666)
            with path.open("wb") as target:
                shutil.copyfileobj(source, target)
    if _DATABASE not in names or set(copies.checked(staged[_DATABASE])) != files:
        raise StartError(f"{archive} is not whole.")
    return Contents(len(files), "secret" in names)


def _remove(staged: Mapping[str, Path]) -> None:
    for path in staged.values():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
