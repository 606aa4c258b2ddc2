"""A network between a browser and the gateway that has its own mind about WebSockets and streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, hdrs, web

_ITS_OWN = {
    hdrs.CONNECTION, hdrs.CONTENT_ENCODING, hdrs.CONTENT_LENGTH, hdrs.TRANSFER_ENCODING, hdrs.HOST,
    hdrs.PROXY_AUTHORIZATION,
}  # fmt: skip
_HANDSHAKE = "sec-websocket-"


@dataclass
class Proxy:
    """Relays to a gateway. What it does to each kind of request is set while it runs."""

    http: ClientSession
    url: str = ""
    gateway: str = ""
    sockets: str = "pass"
    """To WebSockets: "pass", "refuse" the upgrade, or "mute": they open, and nothing passes any more."""
    streams: str = "pass"
    """To streams: "pass", or "hold" what comes until the end, as proxies do that scan what they relay."""
    lost_answers: int = 0
    """Of how many of the next posts the answer is not passed on."""
    asked: list[str] = field(default_factory=list)
    """Method and path of all that was asked."""
    authorities: set[str | None] = field(default_factory=set)
    """Who they said that they are, for each that asked."""
    passed: int = 0
    """How many messages and parts of streams were relayed."""
    _mute: int = 0
    """How many of the sockets have gone mute, from the first on."""
    _sockets: int = 0
    _open: set[asyncio.Transport] = field(default_factory=set)

    def cut(self) -> None:
        """Break everything that is under way."""
        for transport in self._open:
            transport.abort()

    def lose(self) -> None:
        """Let nothing more pass by the sockets that are open, and tell neither side: as when a line is gone."""
        self._mute = self._sockets

    async def relay(self, request: web.Request) -> web.StreamResponse:
        """Serve one request of a browser's."""
        self.asked.append(f"{request.method} {request.path}")
        self.authorities.add(request.headers.get(hdrs.PROXY_AUTHORIZATION))
        assert request.transport
        self._open.add(request.transport)
        try:
            return await (self._socket(request) if hdrs.UPGRADE in request.headers else self._request(request))
        except (ClientError, ConnectionError):
            return web.Response(status=502)
        finally:
            self._open.discard(request.transport)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.sockets == "refuse":
            return web.Response(status=403)
        near = web.WebSocketResponse()
        self._sockets += 1
        number = self._sockets
        await near.prepare(request)
        async with (
            self.http.ws_connect(self.gateway + request.path, headers=_passed(request.headers)) as far,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._talk(number, near, far))
            group.create_task(self._talk(number, far, near))
        return near

    async def _talk(
        self,
        number: int,
        source: web.WebSocketResponse | ClientWebSocketResponse,
        target: web.WebSocketResponse | ClientWebSocketResponse,
    ) -> None:
        async for message in source:
            if self.sockets == "pass" and number > self._mute:
                self.passed += 1
                await target.send_str(message.data)
        await target.close(code=source.close_code or 1000)

    async def _request(self, request: web.Request) -> web.StreamResponse:
        url, headers = self.gateway + request.path_qs, _passed(request.headers)
        async with self.http.request(
            request.method, url, headers=headers, data=await request.read(), allow_redirects=False
        ) as got:
            if request.method == "POST" and self.lost_answers:
                self.lost_answers -= 1
                await got.read()
                raise ConnectionError
            response = web.StreamResponse(status=got.status, headers=_passed(got.headers))
            await response.prepare(request)
            if self.streams == "hold" and got.content_type == "text/event-stream":
                await got.read()
            async for chunk in got.content.iter_any():
                self.passed += 1
                await response.write(chunk)
            await response.write_eof()
            return response


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name.title() not in _ITS_OWN and name != hdrs.UPGRADE and not name.lower().startswith(_HANDSHAKE)
    }


@asynccontextmanager
async def proxied() -> AsyncIterator[Proxy]:
    """Run a proxy on a port of its own; its gateway is told before the first request."""
    async with ClientSession() as http:
        proxy = Proxy(http)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", proxy.relay)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield proxy
        finally:
            proxy.cut()
            await runner.cleanup()
