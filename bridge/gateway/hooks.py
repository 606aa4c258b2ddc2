"""Gives adapters their place on the gateway: platforms' webhooks, and the desk's pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog
from aiohttp import web

from bridge.model import AdapterName
from bridge.ports import HttpRequest, HttpResponse, ServesHttp

log = structlog.get_logger()

MAX_BODY = 5_000_000
_BODY_WITHIN = 60.0

STREAMS: web.AppKey[set[asyncio.Transport | None]] = web.AppKey("streams")
"""The connections on which a stream is under way: an adapter's, or a visitor's."""


def routes(name: AdapterName, adapter: ServesHttp) -> Sequence[web.RouteDef]:
    """Return the routes below an adapter's mount."""
    mount = adapter.mount.rstrip("/")

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            asked = await _translate(request)
            answer = await adapter.handle(asked)
        except web.HTTPException:
            raise
        except Exception:
            log.exception("hook_failed", adapter=name, method=request.method, mount=mount)
            return web.Response(status=500, text="This did not work. The log says why.\n")
        return await _answer(request, answer)

    async def add_slash(_: web.Request) -> web.StreamResponse:
        raise web.HTTPPermanentRedirect(f"{mount}/")

    # Pages need the slash, for their relative addresses; a webhook is called as it is.
    bare = handle if mount.startswith("/hooks/") else add_slash
    return [web.route("*", mount, bare), web.route("*", mount + "/{path:.*}", handle)]


async def _translate(request: web.Request) -> HttpRequest:
    return HttpRequest(
        method=request.method,
        path=request.match_info.get("path", ""),
        query=dict(request.query),
        headers={key.lower(): value for key, value in request.headers.items()},
        body=await _body(request) if request.can_read_body else b"",
    )


async def _body(request: web.Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    raise web.HTTPRequestEntityTooLarge(MAX_BODY, len(body))
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except web.RequestPayloadError:  # cut short, or not compressed as it says
        raise web.HTTPBadRequest from None
    return bytes(body)


async def _answer(request: web.Request, answer: HttpResponse) -> web.StreamResponse:
    if isinstance(answer.body, bytes):
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    try:
        with streaming(request), suppress(ConnectionError):
            await response.prepare(request)
            async for chunk in answer.body:
                await response.write(chunk)
    finally:
        # This task is cancelled when the client goes (`handler_cancellation`): the stream learns it here.
        await _close(answer.body)
    return response


@contextmanager
def streaming(request: web.Request) -> Iterator[None]:
    """Note that the answer to a request has no end of its own, for `end_streams`."""
    streams, transport = request.app[STREAMS], request.transport
    streams.add(transport)
    try:
        yield
    finally:
        streams.discard(transport)


async def end_streams(app: web.Application) -> None:
    """Cut the streams off at the stop: they have no end of their own, and whoever reads one comes back."""
    streams = app[STREAMS]
    for transport in tuple(streams):
        if transport is not None:
            transport.abort()


async def _close(body: AsyncIterator[bytes]) -> None:
    if isinstance(body, AsyncGenerator):
        await body.aclose()
