"""What HTTP requests share: who asks, errors as answers, and who may read them from another origin."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import hdrs, web

from bridge.errors import WireCode, WireError
from bridge.gateway import wire
from bridge.gateway.admission import Admission, Network, client_address

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


def origin_of(request: web.Request, admission: Admission) -> str | None:
    """Return the origin of the page that asks.

    Browsers name none in a GET to the page's own origin, which is then ours. They say so in a header that no page can
    set, and that a request of any other page has with another value; the Host would only tell whom it is sent to.
    """
    same = hdrs.ORIGIN not in request.headers and request.headers.get("Sec-Fetch-Site") == "same-origin"
    return admission.own_origin if same else request.headers.get(hdrs.ORIGIN)


def refusal(error: WireError, id: str | None = None) -> web.Response:
    """Return an error frame with its status; `id` is that of the frame which caused it."""
    response = web.Response(status=_STATUS[error.code], body=wire.error(error, id), content_type="application/json")
    if error.retry_after is not None:
        response.headers[hdrs.RETRY_AFTER] = str(int(error.retry_after) + 1)
    return response


def readable_by(response: web.StreamResponse, origin: str) -> None:
    """Let pages of one origin read an answer."""
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
    response.headers[hdrs.VARY] = hdrs.ORIGIN


def readable_by_sites(response: web.StreamResponse, request: web.Request, admission: Admission) -> None:
    """Let the page that asks read an answer, where some site lists its origin: also why it was refused."""
    origin = request.headers.get(hdrs.ORIGIN, "")
    if admission.some_site_allows(origin):
        readable_by(response, origin)


def preflight(request: web.Request, admission: Admission, method: str, headers: str) -> web.Response:
    """Tell a browser whether a page may send a request of this method, with these headers."""
    origin = request.headers.get(hdrs.ORIGIN, "")
    if not admission.some_site_allows(origin):
        return refusal(WireError(WireCode.ORIGIN_NOT_ALLOWED, "No site lists this page's origin."))
    response = web.Response(status=204)
    readable_by(response, origin)
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = method
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = headers
    response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = "3600"
    return response


def bearer(request: web.Request) -> str:
    """Return the visitor's token of a request. Raises WireError."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer":
        raise WireError(WireCode.BAD_TOKEN, "This needs the visitor's token.")
    return token.strip()


def readable_by_all(response: web.StreamResponse) -> None:
    """Let pages of every origin read an answer: it holds nothing of a visitor's."""
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"


def address_of(request: web.Request, trusted: Sequence[Network]) -> str:
    """Return whom a request counts as."""
    return client_address(request.remote or "", request.headers.getall("X-Forwarded-For", ()), trusted)
