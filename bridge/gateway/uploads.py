"""`POST /v1/uploads` takes a visitor's file; `GET /files/ID` serves files by their signed addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import quote

import msgspec
from aiohttp import BodyPartReader, hdrs, web
from aiohttp.http import HttpProcessingError

from bridge.errors import BadFile, StoreError, StoreFull, WireCode, WireError
from bridge.gateway.admission import Admission, Network
from bridge.gateway.answers import address_of, bearer, preflight, readable_by_all, readable_by_sites, refusal
from bridge.gateway.files import FileStore
from bridge.model import Attachment, FileId

_AT_ONCE = 16
"""Their bytes are held in memory until they are written."""
_WITHIN = 120.0
_ENVELOPE = 16 * 1024
"""What a multipart body has besides the file."""

# A browser may show these in its window: none of them can hold a script.
_SHOWN = frozenset(
    f"{kind}/{name}"
    for kind, names in {
        "image": ("png", "jpeg", "gif", "webp", "avif"),
        "audio": ("mpeg", "mp4", "ogg", "wav", "webm"),
        "video": ("mp4", "ogg", "webm"),
    }.items()
    for name in names
)


class Uploads:
    """Takes and serves files."""

    def __init__(self, admission: Admission, files: FileStore, trusted_proxies: Sequence[Network]) -> None:
        self._admission = admission
        self._trusted = trusted_proxies
        self._files = files
        self._under_way = 0

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post("/v1/uploads", self.upload),
            web.options("/v1/uploads", self.preflight),
            web.get("/files/{id}", self.serve),
        ]

    async def preflight(self, request: web.Request) -> web.Response:
        """Tell a browser whether a page may upload."""
        return preflight(request, self._admission, hdrs.METH_POST, "authorization, content-type")

    async def upload(self, request: web.Request) -> web.Response:
        """Take one file."""
        try:
            response = _created(await self._take(request))
        except WireError as error:
            response = refusal(error)
        except StoreFull:
            response = refusal(WireError(WireCode.STORE_FULL, "There is no room for files at the moment."))
        except StoreError:
            response = refusal(WireError(WireCode.UNAVAILABLE, "This does not work at the moment. Try again."))
        readable_by_sites(response, request, self._admission)
        return response

    async def _take(self, request: web.Request) -> Attachment:
        shown = self._admission.show(bearer(request))
        self._admission.site(shown.site, request.headers.get(hdrs.ORIGIN))
        self._admission.uploading(address_of(request, self._trusted))
        self._admission.message(shown.visitor)
        if (request.content_length or 0) > self._files.limit + _ENVELOPE:
            raise self._too_large()
        if self._under_way >= _AT_ONCE:
            raise WireError(WireCode.UNAVAILABLE, "Too many uploads at once. Try again.", retry_after=5.0)
        self._under_way += 1
        try:
            async with asyncio.timeout(_WITHIN):
                name, type, content = await self._receive(request)
            return await self._files.keep(name, type, content, shown.visitor)
        except BadFile as error:
            raise WireError(WireCode.BAD_FILE, str(error)) from None
        except TimeoutError:
            raise WireError(WireCode.UNAVAILABLE, "The file came too slowly.") from None
        finally:
            self._under_way -= 1

    async def _receive(self, request: web.Request) -> tuple[str, str, bytes]:
        """Return name, type and content of the part `file`."""
        if request.content_type != "multipart/form-data":
            raise WireError(WireCode.BAD_FRAME, "An upload is multipart/form-data with one part named file.")
        file: tuple[str, str, bytes] | None = None
        try:
            async for part in await request.multipart():  # to the end: without its last boundary a body was cut short
                if file is None and isinstance(part, BodyPartReader) and part.name == "file":
                    type = part.headers.get(hdrs.CONTENT_TYPE, "")
                    file = part.filename or "file", type, await self._content(part)
        # A boundary that is missing or wrong, a body cut short; wrong headers within; a wrong compression.
        except (ValueError, RuntimeError, HttpProcessingError, web.RequestPayloadError):
            raise WireError(WireCode.BAD_FRAME, "The upload cannot be read.") from None
        if file is None:
            raise WireError(WireCode.BAD_FRAME, "The upload has no part named file.")
        return file

    async def _content(self, part: BodyPartReader) -> bytes:
        content = bytearray()
        while not part.at_eof():
            content += await part.read_chunk(64 * 1024)
            if len(content) > self._files.limit:
                raise self._too_large()
        return bytes(content)

    def _too_large(self) -> WireError:
        return WireError(WireCode.TOO_LARGE, f"A file has at most {self._files.limit:,} bytes.")

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve a file to whoever has its address."""
        file = FileId(request.match_info["id"])
        lasts = self._files.lasts(file, request.query.get("e", ""), request.query.get("s", ""))
        row = await self._files.row(file) if lasts else None
        if row is None:
            raise web.HTTPNotFound(text="This address is not valid any more.\n")
        response = web.FileResponse(self._files.path(file))
        shown = row.attachment.type in _SHOWN
        response.headers[hdrs.CONTENT_TYPE] = row.attachment.type
        response.headers[hdrs.CONTENT_DISPOSITION] = (
            f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{quote(row.attachment.name, safe='')}"
        )
        response.headers[hdrs.CACHE_CONTROL] = f"private, max-age={lasts}, immutable"
        response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
        readable_by_all(response)
        return response


def _created(attachment: Attachment) -> web.Response:
    body = {"id": attachment.id, "name": attachment.name, "type": attachment.type, "size": attachment.size}
    return web.Response(status=201, body=msgspec.json.encode(body), content_type="application/json")
