"""Puts the gateway together and binds it to a port."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Self

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError

from bridge.conversations import Conversations
from bridge.errors import StartError
from bridge.gateway import hooks, wire
from bridge.gateway.admission import Admission, Limits, Network
from bridge.gateway.fallback import Fallback
from bridge.gateway.files import FileStore
from bridge.gateway.metrics import Metrics
from bridge.gateway.pages import Pages
from bridge.gateway.session import Services
from bridge.gateway.socket import Sockets
from bridge.gateway.tokens import Tokens
from bridge.gateway.uploads import Uploads
from bridge.hints import Wakeups
from bridge.model import AdapterName, Site, SiteKey
from bridge.ports import Adapter, Clock, ServesHttp

log = structlog.get_logger()

_BACKLOG = 4096
_SHUT_DOWN_WITHIN = 5.0

SOCKETS = web.AppKey("sockets", Sockets)


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell whether an error is more than a request that cannot be read: anybody can send those by the thousand."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


_SERVER_LOG = logging.getLogger("threadbridge.gateway")
_SERVER_LOG.addFilter(_is_ours)


def create_app(
    *,
    sites: Mapping[SiteKey, Site],
    conversations: Conversations,
    wakeups: Wakeups,
    files: FileStore,
    adapters: Mapping[AdapterName, Adapter],
    secrets: Sequence[bytes],
    public_url: str,
    limits: Limits,
    trusted_proxies: Sequence[Network],
    clock: Clock,
    ready: Callable[[], Awaitable[bool]],
    metrics: Metrics | None = None,
    answers_in: wire.AnswersIn = lambda _: None,
) -> web.Application:
    """Return the gateway as an application. `secrets` sign visitors' tokens: the first signs, all are read."""
    admission = Admission(sites, public_url, Tokens(secrets), limits, clock)
    services = Services(conversations, wakeups, admission, wire.Encoder(files.address, answers_in))
    app = web.Application(client_max_size=max(files.limit, hooks.MAX_BODY))
    app[hooks.STREAMS] = set()
    app.on_shutdown.append(hooks.end_streams)
    app[SOCKETS] = sockets = Sockets(services, trusted_proxies)
    app.cleanup_ctx.append(sockets.beating)
    app.router.add_get("/v1/socket", sockets.handle)
    app.router.add_routes(Fallback(services, trusted_proxies).routes())
    app.router.add_routes(Uploads(admission, files, trusted_proxies).routes())
    pages = Pages(sites, ready, answers_in)
    app.on_startup.append(pages.load)
    app.router.add_routes(pages.routes())
    if metrics is not None:
        app.router.add_routes(metrics.routes(admission))
    for name, adapter in adapters.items():
        if isinstance(adapter, ServesHttp):
            app.router.add_routes(hooks.routes(name, adapter))
    app.on_response_prepare.append(_harden)
    return app


async def _harden(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.pop("Server", None)


def bind(host: str, port: int) -> socket.socket:
    """Take a port, a free one where it is 0, before anything is built that must know the address. Raises StartError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)  # at once: until somebody listens, two processes may be bound to one port
    except (OSError, ValueError, TypeError) as error:  # the latter two where it is no host's name
        listening.close()
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        remedy = "Choose another address: gateway.host and gateway.port in the configuration, --port for the demo."
        raise StartError(f"The gateway cannot listen on {host}:{port}: {reason}. {remedy}") from error
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the address of a taken port, as this machine reaches it."""
    host, port = listening.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{local}:{port}"


class Gateway:
    """The application on a port that was taken: `async with` serves it, and stops it at the end."""

    def __init__(self, app: web.Application, listening: socket.socket) -> None:
        self._app = app
        self._listening = listening
        # Cancelled when its client goes: a stream of an adapter's has no other way to learn it. What a handler has
        # under way in the store is wholly done or not at all.
        # Timers are not put off to the next full second: thousands of heartbeats would fall due in the same moment.
        self._runner = web.AppRunner(
            app, access_log=None, logger=_SERVER_LOG, handler_cancellation=True, shutdown_timeout=_SHUT_DOWN_WITHIN,
            timeout_ceil_threshold=math.inf,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        """Serve."""
        await self._runner.setup()
        await web.SockSite(self._runner, self._listening, backlog=_BACKLOG).start()
        log.info("gateway_listening", address=url_of(self._listening))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Refuse new work, tell clients to come back, and end. Again is harmless; each stage has a deadline."""
        for site in list(self._runner.sites):
            await site.stop()
        await self._app[SOCKETS].stop(_SHUT_DOWN_WITHIN)
        try:
            async with asyncio.timeout(2 * _SHUT_DOWN_WITHIN):
                await self._runner.cleanup()
        except TimeoutError:
            log.warning("gateway_cut")
