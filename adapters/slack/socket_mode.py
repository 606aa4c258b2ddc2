"""One connection of Socket Mode, from its address to its end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app, send_async_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from adapters.slack.api import SDK_LOG, proxy_for

CONNECT_WITHIN = 8.0
_PING_EVERY = 5.0
_LOOK_EVERY = 0.5
_CLOSE_WITHIN = 1.0


class Socket(SocketModeClient):
    """slack_sdk's client for one address and one connection.

    The library would reconnect by itself, but after a failed upgrade it tries the same address for ever, and an
    address works once. So it is not let: it connects within a deadline, tells when it has ended, and is thrown away.
    """

    def __init__(self, app: AsyncApp, url: str) -> None:
        super().__init__(app_token="", logger=SDK_LOG, web_client=app.client, ping_interval=_PING_EVERY)
        self.wss_uri = url
        self.proxy = proxy_for(url)
        self.reason = ""
        """Why Slack ended the connection, where it said so."""
        self._app = app
        self._greeted = asyncio.Event()
        self._ended = asyncio.Event()
        self._working: set[asyncio.Task[Any]] = set()
        self.socket_mode_request_listeners.append(self._handle)

    async def open(self) -> None:
        """Connect and wait for Slack's hello. Raises TimeoutError."""
        async with asyncio.timeout(CONNECT_WITHIN):
            await self.connect()  # type: ignore[no-untyped-call]  # slack_sdk annotates it in part
            await self._greeted.wait()

    async def ended(self) -> None:
        """Wait until the connection is over, or as good as over."""
        while not self._ended.is_set() and await self.is_connected():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._ended.wait()

    async def leave(self) -> None:
        """Close, and end every task of the library's. What was not acknowledged comes again on the next socket."""
        self.closed = True
        await asyncio.sleep(0)  # a task that was just made has not yet told us of itself
        own = (self.message_processor, self.current_session_monitor, self.message_receiver)
        tasks = [task for task in (*own, *self._working) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_CLOSE_WITHIN):
                await self.disconnect()  # type: ignore[no-untyped-call]  # slack_sdk annotates it in part
        await self.aiohttp_client_session.close()

    async def connect_to_new_endpoint(self, force: bool = False) -> None:  # noqa: ARG002 - the library's
        """Note that the library would reconnect."""
        self._ended.set()

    async def run_message_listeners(self, message: dict[str, Any], raw_message: str) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        if message.get("type") == "hello":
            self._greeted.set()
        elif message.get("type") == "disconnect":
            self.reason = str(message.get("reason") or "")
        await super().run_message_listeners(message, raw_message)

    async def _handle(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        start = asyncio.get_running_loop().time()
        await send_async_response(client, request, await run_async_bolt_app(self._app, request), start)
