"""The desk's page: its files as they stand, under a policy that lets nothing else in."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bridge.ports import HttpRequest, HttpResponse

FOLDER = Path(__file__).parent / "page"
HTML, CSS, JS = (f"text/{kind}; charset=utf-8" for kind in ("html", "css", "javascript"))
FILES = {
    "": ("index.html", HTML),
    "desk.css": ("desk.css", CSS),
    **{
        name: (name, JS)
        for name in (
            "desk.js",
            "alerts.js",
            "composer.js",
            "connection.js",
            "dom.js",
            "facts.js",
            "list.js",
            "text.js",
            "thread.js",
        )
    },
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


async def page(request: HttpRequest) -> HttpResponse:
    """Answer a request for one of the page's files."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponse(405, b"", {**SAFE, "allow": "GET, HEAD"})
    if request.path not in FILES:
        return HttpResponse(404, b"There is nothing here.", {**SAFE, "content-type": "text/plain; charset=utf-8"})
    name, kind = FILES[request.path]
    content = await asyncio.to_thread((FOLDER / name).read_bytes)
    headers = {**SAFE, "content-type": kind, "content-security-policy": POLICY, "cache-control": "no-cache"}
    return HttpResponse(200, content, headers)
