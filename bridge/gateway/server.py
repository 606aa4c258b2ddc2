"""Puts the gateway together and binds it to a port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Self

import structlog
from aiohttp import web

from bridge.conversations import Conversations
from bridge.errors import StartError
from bridge.gateway import hooks, wire
from bridge.gateway.admission import Admission, Limits, Network
from bridge.gateway.files import FileStore
from bridge.gateway.pages import Pages
from bridge.gateway.session import Services
from bridge.gateway.socket import Sockets
from bridge.gateway.tokens import Tokens
from bridge.gateway.uploads import Uploads
from bridge.model import AdapterName, Site, SiteKey
from bridge.ports import Adapter, Clock, ServesHttp, Wakeups

log = structlog.get_logger()

_BACKLOG = 4096
_SHUT_DOWN_WITHIN = 5.0

SOCKETS = web.AppKey("sockets", Sockets)


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
) -> web.Application:
    """Return the gateway as an application. `secrets` sign visitors' tokens: the first signs, all are read."""
    admission = Admission(sites, public_url, Tokens(secrets), limits, clock)
    services = Services(conversations, wakeups, admission, wire.Encoder(files.address))
    app = web.Application(client_max_size=max(files.limit, hooks.MAX_BODY))
    app[SOCKETS] = sockets = Sockets(services, trusted_proxies)
    app.router.add_get("/v1/socket", sockets.handle)
    app.router.add_routes(Uploads(admission, files).routes())
    app.router.add_routes(Pages(sites, ready).routes())
    for name, adapter in adapters.items():
        if isinstance(adapter, ServesHttp):
            app.router.add_routes(hooks.routes(name, adapter))
    app.on_response_prepare.append(_harden)
    return app


async def _harden(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.pop("Server", None)


class Gateway:
    """The application on a port: `async with` binds it, and stops it at the end."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._asked = port
        # Cancelled when its client goes: a stream of an adapter's has no other way to learn it. What a handler has
        # under way in the store is wholly done or not at all.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUT_DOWN_WITHIN
        )

    @property
    def port(self) -> int:
        """The port that it is bound to."""
        address = self._runner.addresses[0]
        return int(address[1])

    async def __aenter__(self) -> Self:
        """Bind. Raises StartError."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._asked, backlog=_BACKLOG).start()
        except OSError as error:
            await self._runner.cleanup()
            reason = error.strerror or str(error)
            raise StartError(f"The gateway cannot listen on {self._host}:{self._asked}: {reason}.") from error
        log.info("gateway_listening", host=self._host, port=self.port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Refuse new work, tell clients to come back, and end. Again is harmless; each stage has a deadline."""
        for site in list(self._runner.sites):
            await site.stop()
        await self._app[SOCKETS].stop(_SHUT_DOWN_WITHIN)
        async with asyncio.timeout(2 * _SHUT_DOWN_WITHIN):
            await self._runner.cleanup()
