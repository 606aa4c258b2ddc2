"""Calls to Slack: one client, one session, deadlines, and errors in the bridge's own terms."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack.errors import FAILURES, code_of, delivery_error, download_error, reason_and_remedy, upload_error
from adapters.slack.settings import Settings
from bridge.errors import AuthFailed, BadFile, Scope

SDK_LOG = logging.getLogger("threadbridge.slack_sdk")
SDK_LOG.setLevel(logging.CRITICAL)  # it would log texts at DEBUG and tracebacks in an outage; states tell the rest

CALL_WITHIN = 9.0
_CONNECT_WITHIN = 5.0

CUSTOMIZE = "chat:write.customize"
_APP_TOKEN = (
    "make an App-Level Token with the scope connections:write under Basic Information of the app and set app_token; "
    "switch on Socket Mode"
)


def proxy_for(url: str) -> str | None:
    """Return the environment's proxy for an address. slack_sdk itself looks at no NO_PROXY."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return getproxies().get("https" if parts.scheme in {"https", "wss"} else "http")


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


class Api:
    """The Web API and Slack's files, as the app of one adapter instance."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        # No retries of its own: the library's would post twice where an answer is lost.
        token, url = settings.bot_token.get_secret_value(), settings.api_url
        self._client = AsyncWebClient(token=token, base_url=url, retry_handlers=[], logger=SDK_LOG)
        self._client.proxy = proxy_for(url)
        self.scopes: frozenset[str] = frozenset()
        """What the bot token may do, as the last answer told; empty before the first."""

    @property
    def signs(self) -> bool:
        """Tell whether messages may show another name. Without the scope Slack passes names over, or refuses."""
        return CUSTOMIZE in self.scopes

    def _open_session(self) -> aiohttp.ClientSession:
        """Return the shared session, made at its first use as it needs the event loop."""
        if self._session is None or self._session.closed:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_WITHIN)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    # --- the Web API --------------------------------------------------------------------------------------------------

    async def read(self, method: str, within: float = CALL_WITHIN, **params: Any) -> Mapping[str, Any]:
        """Call a method that changes nothing. Raises DeliveryError, never OutcomeUnknown."""
        return await self._call(method, within, written=False, http_verb="GET", params=params)

    async def write(
        self, method: str, arguments: Mapping[str, Any], within: float = CALL_WITHIN, harmless: Collection[str] = ()
    ) -> Mapping[str, Any]:
        """Call a method that changes something. Errors with a code in `harmless` are none. Raises DeliveryError."""
        return await self._call(method, within, harmless, json=dict(arguments))

    async def prepare(self, method: str, within: float = CALL_WITHIN, **data: Any) -> Mapping[str, Any]:
        """Call a method whose outcome nobody sees, so that it can be called again. Raises DeliveryError."""
        return await self._call(method, within, written=False, data=data)

    async def open_socket(self) -> str:
        """Return the address of a new socket. Raises DeliveryError."""
        token = self._settings.app_token.get_secret_value() if self._settings.app_token else ""
        try:
            answer = await self._call("apps.connections.open", CALL_WITHIN, written=False, params={"token": token})
        except AuthFailed as error:  # of the other token than the table speaks of
            raise AuthFailed(reason_and_remedy(error)[0], _APP_TOKEN) from error
        return str(answer["url"])

    async def _call(
        self, method: str, within: float, harmless: Collection[str] = (), *, written: bool = True, **request: Any
    ) -> Mapping[str, Any]:
        self._client.session = self._open_session()
        try:
            async with asyncio.timeout(within):
                answer = await self._client.api_call(method, **request)
        except FAILURES as error:
            if isinstance(error, SlackApiError):
                self._note_scopes(method, getattr(error.response, "headers", {}))
                if code_of(error) == "missing_scope" and error.response.get("needed") == CUSTOMIZE:
                    self.scopes -= {CUSTOMIZE}
            if code_of(error) in harmless:
                return {}
            # Slack counts posts by channel. The other methods are counted each by itself, and hold up no posts.
            scope = Scope.CHANNEL if method == "chat.postMessage" else Scope.THREAD
            host = _host(self._settings.api_url)
            raise delivery_error(error, written=written, scope=scope, host=host) from error
        self._note_scopes(method, answer.headers)
        return answer.data if isinstance(answer.data, dict) else {}

    def _note_scopes(self, method: str, headers: Mapping[str, str]) -> None:
        told = headers.get("x-oauth-scopes")
        if told and method != "apps.connections.open":  # that call is made with the other token
            self.scopes = frozenset(scope.strip() for scope in told.split(","))

    # --- files --------------------------------------------------------------------------------------------------------

    async def upload(self, url: str, content: bytes, type: str, within: float) -> None:
        """Put a file's bytes where Slack asked for them. Nobody sees them yet. Raises DeliveryError."""
        try:
            async with (
                asyncio.timeout(within),
                self._open_session().post(
                    url, data=io.BytesIO(content), headers={"Content-Type": type}, proxy=proxy_for(url)
                ) as answer,
            ):
                answer.raise_for_status()
        except FAILURES as error:
            raise upload_error(error, _host(url)) from error

    async def download(self, url: str, limit: int, within: float) -> tuple[bytes, str]:
        """Return the bytes and the content type of an address. Raises BadFile, NotNow."""
        # The token goes to Slack alone: the address came in a message.
        token = self._settings.bot_token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}"} if self._is_slack(url) else {}
        try:
            async with (
                asyncio.timeout(within),
                self._open_session().get(url, headers=headers, proxy=proxy_for(url)) as answer,
            ):
                answer.raise_for_status()
                content = await _read(answer, limit)
                return content, answer.content_type
        except FAILURES as error:
            raise download_error(error) from error

    def _is_slack(self, url: str) -> bool:
        parts, own = urlsplit(url), urlsplit(self._settings.api_url)
        if parts.netloc == own.netloc:
            return parts.scheme == own.scheme
        host = parts.hostname or ""
        return parts.scheme == "https" and any(host.endswith(f".{known}") for known in ("slack.com", "slack-gov.com"))


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_chunked(2**16):
        content += chunk
        if len(content) > limit:
            raise BadFile(f"it is larger than {limit // 2**20} MB")
    return bytes(content)
