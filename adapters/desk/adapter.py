"""The desk as an adapter: its threads are the conversations of the store, so what is to be shown is there already."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from urllib.parse import quote

from adapters.desk.api import Api
from adapters.desk.pages import page
from adapters.desk.settings import Settings, kept_token
from bridge.model import Card, Opened, Part, Piece, RemoteId, ThreadKey, Token
from bridge.ports import AdapterState, Capabilities, House, HttpRequest, HttpResponse, InboundSink, Link


class Desk:
    """One desk. It implements Adapter, Revises and ServesHttp."""

    mount = "/desk"

    def __init__(self, settings: Settings, house: House) -> None:
        self.capabilities = Capabilities(
            text_limit=sys.maxsize,
            budget=settings.budget,
            coalesces=True,
            file_limit=sys.maxsize,
            concurrency=32,
            reads_log=True,
        )
        self.token = settings.token.get_secret_value() if settings.token else kept_token(house.data)
        self.url = f"{house.public_url}{self.mount}/#token={quote(self.token, safe='')}"
        """Where an agent enters. The token stands behind the `#`, which browsers send to nobody."""
        self._api = Api(house, self.token)

    def measure(self, pieces: Sequence[Piece]) -> int:  # noqa: ARG002 - nothing is rendered
        return 0

    async def run(self, sink: InboundSink) -> None:
        self._api.sink = sink
        sink.state(AdapterState(Link.UP))
        try:
            await asyncio.Event().wait()
        finally:
            self._api.sink = None

    async def handle(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("api/"):
            return await self._api.answer(request)
        return await page(request)

    # What follows has nothing to do, and is asked only for conversations that are older than `reads_log`: the log that
    # the desk shows has the text, the edit or the deletion already.

    async def open_thread(self, channel: str, card: Card, token: Token) -> Opened:  # noqa: ARG002 - the port's
        return Opened(ThreadKey(str(card.conversation)), RemoteId("card"))

    async def send(self, thread: ThreadKey, part: Part, token: Token) -> RemoteId:  # noqa: ARG002 - the port's
        return RemoteId(token)

    async def edit(self, thread: ThreadKey, remote_id: RemoteId, part: Part) -> None: ...

    async def delete(self, thread: ThreadKey, remote_id: RemoteId) -> None: ...


def create(settings: Settings, house: House) -> Desk:
    """Return a desk. Reads, and at the first start writes, the token's file."""
    return Desk(settings, house)
