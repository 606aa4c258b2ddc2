"""What HTTP requests share: who asks, errors as answers, and who may read them from another origin."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import hdrs, web

from bridge.errors import WireCode, WireError
from bridge.gateway import wire
from bridge.gateway.admission import Network, client_address

_STATUS = {
    WireCode.BAD_FRAME: 400,
    WireCode.TOO_LONG: 400,
    WireCode.TOO_LARGE: 413,
    WireCode.BAD_FILE: 415,
    WireCode.UNKNOWN_SITE: 404,
    WireCode.ORIGIN_NOT_ALLOWED: 403,
    WireCode.BAD_TOKEN: 401,
    WireCode.BAD_IDENTITY: 403,
    WireCode.BLOCKED: 403,
    WireCode.RATE_LIMITED: 429,
    WireCode.STORE_FULL: 507,
    WireCode.UNAVAILABLE: 503,
}


def refusal(error: WireError) -> web.Response:
    """Return an error frame with its status."""
    response = web.Response(status=_STATUS[error.code], body=wire.error(error), content_type="application/json")
    if error.retry_after is not None:
        response.headers[hdrs.RETRY_AFTER] = str(int(error.retry_after) + 1)
    return response


def readable_by(response: web.StreamResponse, origin: str) -> None:
    """Let pages of one origin read an answer."""
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
    response.headers[hdrs.VARY] = hdrs.ORIGIN


def readable_by_all(response: web.StreamResponse) -> None:
    """Let pages of every origin read an answer: it holds nothing of a visitor's."""
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"


def address_of(request: web.Request, trusted: Sequence[Network]) -> str:
    """Return whom a request counts as."""
    return client_address(request.remote or "", request.headers.getall("X-Forwarded-For", ()), trusted)
