"""The adapter: connections, and the events that they bring."""

from __future__ import annotations

import asyncio
import json
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from slack_sdk.signature import SignatureVerifier

from adapters.slack.checks import examine
from adapters.slack.errors import reason_and_remedy
from adapters.slack.intake import Intake, taken
from adapters.slack.people import People
from adapters.slack.rereading import Rereading
from adapters.slack.sending import Sender
from adapters.slack.settings import Settings
from adapters.slack.socket_mode import Order, Socket, Sockets
from bridge.errors import AuthFailed, DeliveryError, RetryLater
from bridge.ports import AdapterState, Finding, House, HttpRequest, HttpResponse, InboundSink, Link

_STEADY = 30.0
"""A connection that lasts so many seconds was a good one."""
_LOOK_EVERY = 300.0
_WAITS = (0.25, 60.0)


class SlackAdapter(Sender, ABC):
    """What both modes share: everything but how events come in."""

    def __init__(self, settings: Settings, house: House) -> None:
        super().__init__(settings, house)
        self._people = People(self._api, house.files, house.clock)
        self._rereading: Rereading | None = None
        self._behind = asyncio.Event()
        """Events may have been missed."""

    async def run(self, sink: InboundSink) -> None:
        """Keep connected until cancelled, waiting ever longer between failures."""
        attempt = 0
        sink.state(AdapterState(Link.CONNECTING))
        try:
            while True:
                began = self._house.clock.steady()
                asked = 0.0
                try:
                    await self._connected(sink)
                    sink.state(AdapterState(Link.CONNECTING))
                except DeliveryError as error:
                    asked = (isinstance(error, RetryLater) and error.after) or 0.0
                    sink.state(AdapterState(Link.DOWN, *reason_and_remedy(error)))
                attempt = 0 if self._house.clock.steady() - began > _STEADY else attempt + 1
                await self._house.clock.sleep(max(_wait(attempt), asked))
        finally:
            if self._intake is not None:
                intake, self._intake, self._rereading = self._intake, None, None
                await intake.close()
            await self._api.close()

    @abstractmethod
    async def _connected(self, sink: InboundSink) -> None:
        """Be connected until that ends. Raises DeliveryError."""

    async def _listen(self, sink: InboundSink) -> Intake:
        """Ask Slack who we are, anew as the token may have become invalid, and take events as that app.

        What is taken outlives the connection that it came on.
        """
        me = await self._identity(anew=True)
        if self._intake is None:
            files, clock = self._house.files, self._house.clock
            self._intake = Intake(self._api, self._people, files, clock, me, sink, lambda: self._missed(sink))
            self._rereading = Rereading(self._api, self._intake, me, clock, self._channels)
        return self._intake

    async def _take(self, event: Mapping[str, Any]) -> None:
        for file in event.get("files") or ():
            if shown := self._unshown.get(str(file.get("id"))):
                shown.set()
        if self._intake is None:
            raise RetryLater("not connected")  # not acknowledged, so Slack sends it again
        await self._intake.take(event)

    def _missed(self, sink: InboundSink) -> None:
        """Note that events may have been missed: what comes now waits until the threads have been read again."""
        sink.hold()
        self._behind.set()

    @asynccontextmanager
    async def _up(self, sink: InboundSink) -> AsyncIterator[None]:
        """Tell that events come in, and read threads again whenever some of them may have been missed."""
        sink.state(AdapterState(Link.UP))
        reading = asyncio.create_task(self._catch_up(sink), name="slack-catch-up")
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _catch_up(self, sink: InboundSink) -> None:
        reading: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._behind.wait()
                self._behind.clear()
                if reading is not None:
                    reading.cancel()
                    await asyncio.wait({reading})
                if self._rereading is not None:
                    reading = tasks.create_task(self._rereading.all(sink), name="slack-rereading")

    async def check(self, channels: Sequence[str]) -> Sequence[Finding]:
        """Look at the token, its scopes, the channels and the way events come in."""
        try:
            return await examine(self._api, self._settings, self._house, channels, listening=self._intake is not None)
        finally:
            if self._intake is None:
                await self._api.close()


class SocketModeAdapter(SlackAdapter):
    """Events over two sockets that we open: no public address is needed."""

    async def _connected(self, sink: InboundSink) -> None:
        intake = await self._listen(sink)
        order, clock = Order(intake.place), self._house.clock
        self._missed(sink)

        async def another() -> Socket:
            return await self._open(order, sink)

        sockets = Sockets(another, lambda: self._missed(sink), clock, _wait, self._house.name)
        first = await another()
        async with self._up(sink):
            await sockets.run(first)
        if sockets.reason == "link_disabled":
            raise AuthFailed("Socket Mode is switched off", "switch on Socket Mode in the app's settings")

    async def _open(self, order: Order, sink: InboundSink) -> Socket:
        url = await self._api.open_socket()
        socket = Socket(self._take, url, order)
        try:
            try:
                await socket.open()
            except TimeoutError:
                if await socket.swallowed():
                    self._missed(sink)
                raise RetryLater(f"Slack's socket did not open at {urlsplit(url).netloc}", outage=True) from None
        except BaseException:
            await socket.leave()
            raise
        return socket


class HttpAdapter(SlackAdapter):
    """Events as requests that Slack signs."""

    def __init__(self, settings: Settings, house: House) -> None:
        super().__init__(settings, house)
        secret = settings.signing_secret.get_secret_value() if settings.signing_secret else ""
        self._signatures = SignatureVerifier(secret)
        self._tried_again = False
        """Slack had to send something more than once, so that it may have given up something else."""

    @property
    def mount(self) -> str:
        return f"/hooks/{self._house.name}"

    async def _connected(self, sink: InboundSink) -> None:
        await self._listen(sink)
        self._missed(sink)
        async with self._up(sink):
            while True:
                await self._house.clock.sleep(_LOOK_EVERY)
                await self._listen(sink)
                if self._tried_again:
                    self._tried_again = False
                    self._missed(sink)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Take what Slack signed, and answer when that is committed."""
        if not self._signed(request):
            return HttpResponse(401)
        self._tried_again |= "x-slack-retry-num" in request.headers
        try:
            payload = json.loads(request.body)
        except ValueError:
            return HttpResponse(400)
        if not isinstance(payload, dict):
            return HttpResponse(400)
        if payload.get("type") == "url_verification":
            return HttpResponse(200, str(payload.get("challenge")).encode(), {"content-type": "text/plain"})
        return HttpResponse(200 if await taken(payload, self._take) else 503)

    def _signed(self, request: HttpRequest) -> bool:
        try:
            return self._signatures.is_valid_request(request.body, request.headers)
        except (ValueError, TypeError):  # a stamp that is no number, a signature that is not ASCII
            return False


def _wait(attempt: int) -> float:
    """Return how long to wait after so many short-lived connections: doubled each time, with jitter."""
    first, longest = _WAITS
    return min(first * 2.0 ** min(attempt, 10), longest) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
