"""What the gateway serves besides conversations: the widget's files, sites, the demonstration shop, health."""

from __future__ import annotations

import asyncio
import hashlib
import html
import importlib.resources
import mimetypes
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Final

import msgspec
from aiohttp import hdrs, web

from bridge.errors import WireCode, WireError
from bridge.gateway.answers import readable_by_all, refusal
from bridge.gateway.wire import AnswersIn, site_card
from bridge.model import Site, SiteKey

_LOADER: Final = "widget.js"
_VERSION: Final = "VERSION"
_PACKED: Final = ".br"
"""In a wheel the scripts are minified, lie beside themselves compressed, and have been given their address."""
_DEMO: Final = SiteKey("demo")
_READY_WITHIN = 5.0
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; "
    "img-src 'self' https: blob:; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; trusted-types 'none'; require-trusted-types-for 'script'"
)
# Windows and slim images know few types; a module is refused under a wrong one.
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".css": "text/css",
          ".html": "text/html", ".svg": "image/svg+xml"}  # fmt: skip


class Pages:
    """Serves files from memory: they are few, small, and part of the program."""

    def __init__(
        self, sites: Mapping[SiteKey, Site], ready: Callable[[], Awaitable[bool]], answers_in: AnswersIn
    ) -> None:
        self._sites = sites
        self._ready = ready
        self._answers_in = answers_in
        self._files: Mapping[str, bytes] = {}
        self._version = ""

    async def load(self, _: web.Application) -> None:
        """Read the files. Called at the start of the application."""
        files = await asyncio.to_thread(lambda: dict(_walk(importlib.resources.files("widget"))))
        self._version = files.pop(_VERSION, b"").decode() or _hash(files)
        files[_LOADER] = files[_LOADER].replace(b"__ASSETS__", f"/widget/{self._version}".encode())
        self._files = files

    def routes(self) -> Sequence[web.RouteDef]:
        routes = [
            web.get("/widget.js", self.loader),
            web.get("/widget/{version}/{name:.+}", self.asset),
            web.get("/v1/sites/{key}", self.site),
            web.get("/chat/{key}", self.chat),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
        ]
        if _DEMO in self._sites:
            routes += [web.get("/demo", _to_demo), web.get("/demo/{name:.*}", self.demo)]
        return routes

    async def loader(self, request: web.Request) -> web.Response:
        """Serve the one script of the script tag."""
        known = any(etag.value in {self._version, "*"} for etag in request.if_none_match or ())
        response = web.Response(status=304) if known else self._file(request, _LOADER)
        response.etag = self._version
        response.headers[hdrs.CACHE_CONTROL] = "public, max-age=300"
        readable_by_all(response)
        return response

    async def asset(self, request: web.Request) -> web.Response:
        """Serve what the loader loads; under its hash it never changes.

        A page that was open during an upgrade asks for another version: it gets what there is.
        """
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        response = self._file(request, name)
        present = request.match_info["version"] == self._version
        response.headers[hdrs.CACHE_CONTROL] = "public, max-age=31536000, immutable" if present else "no-cache"
        readable_by_all(response)
        return response

    async def site(self, request: web.Request) -> web.Response:
        """Tell what the launcher needs of a site."""
        site = self._sites.get(SiteKey(request.match_info["key"]))
        if site is None:
            response = refusal(WireError(WireCode.UNKNOWN_SITE, "There is no such site here."))
        else:
            card = site_card(site, self._answers_in)
            response = web.Response(body=msgspec.json.encode(card), content_type="application/json")
            response.headers[hdrs.CACHE_CONTROL] = "public, max-age=60"
        readable_by_all(response)
        return response

    async def chat(self, request: web.Request) -> web.Response:
        """Serve a site's chat as a page of its own, in the language that the browser asks for first."""
        site = self._sites.get(SiteKey(request.match_info["key"]))
        if site is None:
            raise web.HTTPNotFound(text="There is no such chat here.\n")
        language = _LANGUAGE.match(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))
        text = self._files["chat/index.html"].decode()
        said = {"LANG": language[0] if language else "en", "NAME": site.look.get("title", site.name), "SITE": site.key}
        for place, value in {**said, "ASSETS": f"/widget/{self._version}"}.items():
            text = text.replace(f"__{place}__", html.escape(value))
        response = web.Response(text=text, content_type="text/html")
        response.headers[hdrs.CACHE_CONTROL] = "no-cache"
        response.headers[hdrs.VARY] = hdrs.ACCEPT_LANGUAGE
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    async def demo(self, request: web.Request) -> web.Response:
        """Serve the demonstration shop."""
        name = "demo/" + (request.match_info["name"] or "index.html")
        if name not in self._files:
            raise web.HTTPNotFound
        response = self._file(request, name)
        response.headers[hdrs.CACHE_CONTROL] = "no-cache"
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    async def healthz(self, _: web.Request) -> web.Response:
        """Say that the process lives."""
        return web.Response(text="ok\n")

    async def readyz(self, _: web.Request) -> web.Response:
        """Say whether messages are taken."""
        try:
            async with asyncio.timeout(_READY_WITHIN):
                ready = await self._ready()
        except TimeoutError:
            ready = False
        return web.Response(text="ready\n") if ready else web.Response(status=503, text="not ready\n")

    def _file(self, request: web.Request, name: str) -> web.Response:
        ending = name[name.rfind(".") :]
        type = _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        charset = "utf-8" if ending in _TYPES else None
        packed = self._files.get(f"{name}{_PACKED}")
        if packed is None or "br" not in re.findall(r"\w+", request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            response = web.Response(body=self._files[name], content_type=type, charset=charset)
            response.enable_compression()
        else:
            response = web.Response(body=packed, content_type=type, charset=charset)
            response.headers[hdrs.CONTENT_ENCODING] = "br"
        response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        return response


async def _to_demo(_: web.Request) -> web.Response:
    raise web.HTTPPermanentRedirect("/demo/")


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield what browsers may have: scripts, and whatever lies in folders. The rest beside them is for developers."""
    for child in folder.iterdir():
        if child.is_dir():
            if child.name.isidentifier() and not child.name.startswith("_") and child.name != "node_modules":
                yield from _walk(child, f"{prefix}{child.name}/")
        elif prefix or child.name == _VERSION or child.name.endswith((".js", f".js{_PACKED}")):
            yield prefix + child.name, child.read_bytes()


def _hash(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return digest.hexdigest()[:16]
