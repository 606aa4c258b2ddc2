"""The bytes of attachments and pictures: kept in a folder beside the store, named by signed addresses."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import structlog

from bridge import disk
from bridge.errors import BadFile, StoreError, StoreFull
from bridge.log import note_defect
from bridge.model import Attachment, FileId, VisitorId
from bridge.ports import Clock
from bridge.storage import StoredFile

log = structlog.get_logger()

MAX_NAME = 120

"""The last where a process or a file system limits how large a file may be."""

_ADDRESS_LIFE = 24 * 3600
_ADDRESS_STEP = 6 * 3600
"""Within it a file keeps its address, so that browsers can cache it."""
_ID = re.compile(r"[0-9a-f]{32}")
_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}")
_UNKNOWN_TYPE = "application/octet-stream"
# Characters that turn the direction of a text can make "gpj.exe" look like "exe.jpg".
_TURNING = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# What a file of a type starts with: at an offset, one of these. Browsers show these types, so they must be true.
_STARTS: dict[str, tuple[int, tuple[bytes, ...]]] = {
    "image/png": (0, (b"\x89PNG\r\n\x1a\n",)),
    "image/jpeg": (0, (b"\xff\xd8\xff",)),
    "image/gif": (0, (b"GIF87a", b"GIF89a")),
    "image/webp": (8, (b"WEBP",)),
    "image/avif": (4, (b"ftypavif", b"ftypavis", b"ftypmif1")),
    "image/heic": (4, (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1")),
    "image/bmp": (0, (b"BM",)),
    "image/tiff": (0, (b"II*\0", b"MM\0*")),
    "application/pdf": (0, (b"%PDF-",)),
}


class FileRows(Protocol):
    """What is needed of the store."""

    async def add_file(self, file: StoredFile) -> None:
        """Note a file whose bytes are already durable."""

    async def file(self, file: FileId) -> StoredFile | None:
        """Return a file's row."""


class FileStore:
    """`ports.Files` in a folder: each file under its id, in one of 256 folders."""

    def __init__(self, folder: Path, rows: FileRows, secret: bytes, clock: Clock, limit: int = 10_000_000) -> None:
        self._folder = folder
        self._rows = rows
        self._key = hmac.digest(secret, b"file address", hashlib.sha256)
        self._clock = clock
        self._trouble = ""
        self._pictures: dict[FileId, asyncio.Task[None]] = {}
        """Those that are being kept."""
        self.limit = limit
        """The most bytes that a file may have."""

    async def keep(self, name: str, type: str, content: bytes, owner: VisitorId | None = None) -> Attachment:
        """Store bytes durably and return their description. Raises StoreFull, StoreError, BadFile."""
        return await self._keep(FileId(secrets.token_hex(16)), name, type, content, owner)

    async def keep_picture(self, name: str, type: str, content: bytes) -> FileId:
        """Store a person's picture, of which adapters remember nothing after a restart, once."""
        id = FileId(hashlib.sha256(content).hexdigest()[:32])
        task = self._pictures.get(id)
        if task is None:
            task = self._pictures[id] = asyncio.create_task(self._keep_new(id, name, type, content))
            task.add_done_callback(lambda _: self._pictures.pop(id))
            task.add_done_callback(note_defect)
        await asyncio.shield(task)  # the others wait for it too, and a write goes on though its caller is cut off
        return id

    async def _keep_new(self, id: FileId, name: str, type: str, content: bytes) -> None:
        if await self._rows.file(id) is None:
            await self._keep(id, name, type, content, None)

    async def _keep(self, id: FileId, name: str, type: str, content: bytes, owner: VisitorId | None) -> Attachment:
        name, type = clean_name(name), clean_type(type)
        if not content:
            raise BadFile("The file is empty.")
        if len(content) > self.limit:
            raise BadFile(f"The file has more than {self.limit:,} bytes.")
        if not is_what_it_says(type, content):
            raise BadFile(f"The file is not what it says: {type}.")
        attachment = Attachment(id, name, type, len(content))
        path = self.path(attachment.id)
        try:
            await asyncio.to_thread(_write, path, content)
        except OSError as error:
            self._note(error.strerror or str(error))
            if error.errno in disk.FULL:
                raise StoreFull("There is no room for files.") from error
            raise StoreError(f"A file could not be written: {error.strerror}.") from error
        self._note("")
        try:
            await self._rows.add_file(StoredFile(attachment, owner, self._clock.now()))
        except StoreError:
            if not await self._is_known(attachment.id):
                await asyncio.to_thread(path.unlink, missing_ok=True)
            raise
        return attachment

    async def _is_known(self, file: FileId) -> bool:
        """Tell whether a row was committed after all; where that cannot be told, its bytes stay."""
        try:
            return await self._rows.file(file) is not None
        except StoreError:
            return True

    def _note(self, trouble: str) -> None:
        """Tell the operator that files cannot be written, or can again: one line for each change."""
        if trouble and trouble != self._trouble:
            log.error("files_not_written", folder=str(self._folder), reason=trouble)
        elif self._trouble and not trouble:
            log.info("files_written_again", folder=str(self._folder))
        self._trouble = trouble

    async def remove(self, files: Iterable[FileId]) -> None:
        """Remove the bytes of files whose rows are gone."""
        for file in files:
            await asyncio.to_thread(self.path(file).unlink, missing_ok=True)

    async def read(self, file: FileId) -> bytes:
        """Return the bytes. Raises FileNotFoundError."""
        return await asyncio.to_thread(self.path(file).read_bytes)

    def path(self, file: FileId) -> Path:
        """Return where the bytes are. Raises FileNotFoundError where it can be no file's id."""
        return path_in(self._folder, file)

    async def row(self, file: FileId) -> StoredFile | None:
        """Return what is known of a file."""
        return await self._rows.file(file)

    def address(self, file: FileId) -> str:
        """Return a path that serves the file for a day."""
        until = int(self._clock.now().timestamp()) + _ADDRESS_LIFE
        until += -until % _ADDRESS_STEP
        return f"/files/{quote(file, safe='')}?e={until}&s={self._signature(file, until)}"

    def lasts(self, file: str, expires: str, signature: str) -> int:
        """Return how many seconds an address is still good for; 0 where it is not."""
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
            return 0
        if not hmac.compare_digest(signature.encode(), self._signature(file, int(expires)).encode()):
            return 0
        return max(0, int(expires) - int(self._clock.now().timestamp()))

    def _signature(self, file: str, until: int) -> str:
        return hmac.new(self._key, f"{file} {until}".encode(), hashlib.sha256).hexdigest()[:32]


def path_in(folder: Path, file: FileId) -> Path:
    """Return where a file's bytes are in a folder of files. Raises FileNotFoundError where it can be no file's id."""
    if not _ID.fullmatch(file):
        raise FileNotFoundError(file)
    return folder / file[:2] / file


def clean_name(name: str) -> str:
    """Return the last part of a path, without what only deceives, short enough to show and to send on."""
    last = name.encode(errors="ignore").decode().replace("\\", "/").rpartition("/")[2]
    shown = "".join(
        char for char in last if unicodedata.category(char) not in {"Cc", "Zl", "Zp"} and char not in _TURNING
    )
    shown = shown.strip().lstrip(".") or "file"
    if len(shown) > MAX_NAME:
        stem, dot, ending = shown.rpartition(".")
        ending = dot + ending if stem and len(ending) <= 10 else ""
        shown = shown[: MAX_NAME - len(ending)] + ending
    return shown


def clean_type(type: str) -> str:
    """Return `type/subtype` in lower case without parameters."""
    bare = type.partition(";")[0].strip().lower()
    if bare == "image/jpg":
        return "image/jpeg"
    return bare if _TYPE.fullmatch(bare) else _UNKNOWN_TYPE


def is_what_it_says(type: str, content: bytes) -> bool:
    """Tell whether content starts as its type does. Types that are only ever downloaded are not looked at."""
    if type not in _STARTS:
        return True
    offset, starts = _STARTS[type]
    return content.startswith(starts, offset)


def _write(path: Path, content: bytes) -> None:
    """Write a file; its folder may be new, or somebody else's that is not on the disk yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    disk.write(path, content)
    disk.sync_folder(path.parent.parent)
