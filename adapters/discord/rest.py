"""The library's client as the sending side uses it: logged in when first needed, whether the gateway is up or not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
import discord
from pydantic import SecretStr

from adapters.discord.errors import FAILURES, RateLimited, ServerFailed, brief, translate
from adapters.discord.process import host, way_out
from bridge.errors import DeliveryError, RetryLater, Scope, UploadCut

SILENT = discord.AllowedMentions.none()
WITHIN = 20.0
"""What the outbox gives a call that carries no file."""
MARGIN = 2.0
"""So much earlier a call ends by itself, with the login that it may need and with what the library waits."""
_BEFORE_AND_AFTER = (discord.LoginFailure, RateLimited, aiohttp.ClientHttpProxyError)
"""What means the same whether one has logged in or not."""


@dataclass(slots=True)
class _Call:
    """How far a call has come."""

    logged_in: bool = False
    asked: bool = False
    length: int = 0
    """Of the body that its request promises."""
    written: int = 0
    """Of that body, what has at most left."""


_current: ContextVar[_Call] = ContextVar("discord_call")


async def _ask(_: aiohttp.ClientSession, __: SimpleNamespace, ___: aiohttp.TraceRequestStartParams) -> None:
    if call := _current.get(None):
        call.asked, call.length, call.written = True, 0, 0


async def _promise(
    _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    if call := _current.get(None):
        call.length = int(params.headers.get("Content-Length", 0))


async def _write(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestChunkSentParams) -> None:
    # Called ahead of the chunk's writing: this counts no less than what is written.
    if call := _current.get(None):
        call.written += len(params.chunk)


async def _look(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
    """Raise what the outbox must decide on, before the library sleeps on it or sends again.

    The library repeats after 5xx by itself, and a forum post has no nonce: it would stand there twice. On a 429 it
    sleeps without a word, or takes it for a ban where a proxy has removed `Via`. (Its `max_ratelimit_timeout` is no way
    out: it refuses calls that a long window has left.)
    """
    response = params.response
    headers = response.headers
    if response.status == 429:
        response.close()
        everywhere = "X-RateLimit-Global" in headers or "X-RateLimit-Scope" not in headers
        raise RateLimited(float(headers.get("Retry-After") or 5), everywhere=everywhere)
    if response.status >= 500 and "Sec-WebSocket-Key" not in params.headers:
        response.close()
        raise ServerFailed(f"status {response.status}")
    if _current.get(None) and response.status in {200, 201} and headers.get("Content-Type") != "application/json":
        # A page of something in between. The library would hand its text on as if it were the answer's object.
        response.close()
        raise ServerFailed(f"the answer is {headers.get('Content-Type')}, which Discord's are not")


def trace() -> aiohttp.TraceConfig:
    """Return what a client is given as `http_trace`."""
    config = aiohttp.TraceConfig()
    config.on_request_start.append(_ask)
    config.on_request_headers_sent.append(_promise)
    config.on_request_chunk_sent.append(_write)
    config.on_request_end.append(_look)
    return config


class Rest:
    """Discord's REST API through a client that never connects to the gateway, or through a given one that has."""

    def __init__(self, token: SecretStr, client: discord.Client | None = None) -> None:
        self._token = token
        self._client = client
        self._logging_in = asyncio.Lock()

    @asynccontextmanager
    async def calling(self, scope: Scope, within: float = WITHIN) -> AsyncIterator[discord.Client]:
        """Give a logged-in client for one call. All that goes wrong comes out as DeliveryError, `within` seconds."""
        call = _Call()
        outer = _current.set(call)
        try:
            async with asyncio.timeout(within - MARGIN):
                client = await self._login()
                call.logged_in, call.asked = True, False
                yield client
        except FAILURES as error:
            raise self._meaning(error, call, scope) from error
        finally:
            _current.reset(outer)

    def _meaning(self, error: Exception, call: _Call, scope: Scope) -> DeliveryError:
        if not call.logged_in and not isinstance(error, _BEFORE_AND_AFTER):
            return RetryLater(
                brief(f"Discord cannot be reached at {host()}: {type(error).__name__} {error}"),
                None,
                Scope.ADAPTER,
                outage=True,
            )
        if call.logged_in and not call.asked:  # it has spent its time waiting for a limit that the library knows of
            return RetryLater("Discord's rate limit", None, scope)
        if isinstance(error, TimeoutError) and call.written < call.length:
            return UploadCut("the way to Discord is too slow for it")
        return translate(error, scope)

    async def _login(self) -> discord.Client:
        async with self._logging_in:
            if self._client is None:
                client = discord.Client(
                    intents=discord.Intents(guilds=True), max_messages=None, http_trace=trace(), **way_out()
                )
                try:
                    await client.login(self._token.get_secret_value())
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client

    async def close(self) -> None:
        """Close the session. A later call would log in again."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def backoff() -> Iterator[float]:
    """Yield how long to wait before each further attempt: longer each time up to a minute, never for all the same."""
    longest = 1.0
    while True:
        yield longest * random.uniform(0.5, 1)  # noqa: S311 - spreads attempts, keeps no secret
        longest = min(longest * 2, 60)
