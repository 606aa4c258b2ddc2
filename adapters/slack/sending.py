"""Sends threads and messages, and looks for what may have been sent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from adapters.slack import outbound
from adapters.slack.api import Api
from adapters.slack.errors import ChannelClosed, thread_stands
from adapters.slack.inbound import Me, thread_key, thread_of
from adapters.slack.intake import FILE_LIMIT, Intake
from adapters.slack.searching import Search
from adapters.slack.settings import Settings
from bridge.errors import AuthFailed, OutcomeUnknown, Rejected, RetryLater, Scope
from bridge.model import Attachment, Card, Opened, Part, Piece, RemoteId, ThreadKey, Token
from bridge.ports import Capabilities, House, send_within

_SEARCHES = 10_000
"""How many searches that are not at their end are remembered."""
# A text: who we are, then a post, perhaps again without the name: together within the 20 s of a send. A file: who we
# are, a ticket, then its bytes as long as they leave time to share it, perhaps again without the name.
_IDENTITY_WITHIN, _POST_WITHIN = 3.0, 8.0
_URL_WITHIN, _SHARE_WITHIN = 3.0, 5.0
_MARGIN_OF_SEND = 1.0
_TAKEN_WITHIN = 5.0
"""So long after its answer was lost a text may still be taken."""
_SHOWN_WITHIN = 10.0
"""The same of a file, which Slack takes some time to show in its thread."""
_OVERTAKEN_WITHIN = 3.0
"""So long a file that Slack has taken is waited for: what is sent next would stand ahead of it."""


class Sender:
    """The half of the adapter that speaks: what goes out, and whether it arrived."""

    def __init__(self, settings: Settings, house: House) -> None:
        self._settings = settings
        self._house = house
        self._api = Api(settings)
        self._me: Me | None = None
        self._workspace = ""
        """Its address, once we know who we are."""
        self._intake: Intake | None = None
        self._unshown: dict[str, asyncio.Event] = {}
        """Files that have yet to be in their threads, by id."""
        self._began = house.clock.steady()
        """Until then answers to a former process may have been lost."""
        self._lost: dict[ThreadKey | Token, float] = {}
        """When an answer was lost last: in a thread, or to an opening."""
        self._searches: OrderedDict[Token, Search] = OrderedDict()
        """Those that are not at their end, by the first token that is sought."""
        self._channels = {settings.channel, *house.channels} - {""}
        """Those that are configured."""
        self._capabilities = Capabilities(text_limit=outbound.TEXT_LIMIT, budget=settings.budget, file_limit=FILE_LIMIT)

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def measure(self, pieces: Sequence[Piece]) -> int:
        return outbound.measure(pieces)

    async def open_thread(self, channel: str, card: Card, token: Token) -> Opened:
        """Post the card, which heads the thread."""
        channel = channel or self._settings.channel
        with self._noting_loss(token):
            answer = await self._api.write("chat.postMessage", {"channel": channel, **outbound.card(card, token)})
        return _opened(channel, str(answer["ts"]))

    async def send(self, thread: ThreadKey, part: Part, token: Token) -> RemoteId:
        """Post a part. Of an attachment the remote id is the file's: the message's ts comes later, in an event."""
        until = asyncio.get_running_loop().time() + send_within(part)
        channel, ts = thread_of(thread)
        await self._identity()
        with self._in(channel), self._noting_loss(thread):
            if part.attachment:
                return await self._send_file(channel, ts, part.pieces[0], part.attachment, until)
            answer = await self._write_signed(
                "chat.postMessage",
                lambda named: {"channel": channel, "thread_ts": ts, **outbound.message(part, token, named=named)},
                _POST_WITHIN,
            )
        return RemoteId(str(answer["ts"]))

    @contextmanager
    def _in(self, channel: str) -> Iterator[None]:
        """Leave it to the operator where a channel of ours is closed; of one of before the thread is gone."""
        try:
            yield
        except ChannelClosed as error:
            if channel in self._channels:
                raise
            raise thread_stands(str(error)) from error

    async def _send_file(self, channel: str, ts: str, piece: Piece, file: Attachment, until: float) -> RemoteId:
        try:
            content = await self._house.files.read(file.id)
        except FileNotFoundError:
            raise Rejected("the file is no longer kept") from None
        if not content:
            raise Rejected("Slack takes no empty files")
        ticket = await self._api.prepare(
            "files.getUploadURLExternal", _URL_WITHIN, filename=file.name, length=len(content)
        )
        left = until - asyncio.get_running_loop().time() - 2 * _SHARE_WITHIN - _OVERTAKEN_WITHIN - _MARGIN_OF_SEND
        await self._api.upload(str(ticket["upload_url"]), content, file.type, left)
        shared = {"files": [{"id": ticket["file_id"], "title": file.name}], "channel_id": channel, "thread_ts": ts}
        id = str(ticket["file_id"])
        shown = self._unshown[id] = asyncio.Event()
        try:
            await self._write_signed(
                "files.completeUploadExternal",
                lambda named: {**shared, **outbound.comment(piece, named=named)},
                _SHARE_WITHIN,
            )
            if self._intake:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_OVERTAKEN_WITHIN):
                        await shown.wait()
        finally:
            del self._unshown[id]
        return RemoteId(id)

    async def _write_signed(
        self, method: str, arguments: Callable[[bool], Mapping[str, Any]], within: float
    ) -> Mapping[str, Any]:
        """Call under the author's name; once more without it where that alone is refused, so certainly not taken."""
        signs = self._api.signs
        try:
            return await self._api.write(method, arguments(signs), within)
        except AuthFailed:
            if signs and not self._api.signs:
                return await self._api.write(method, arguments(False), within)
            raise

    @contextmanager
    def _noting_loss(self, of: ThreadKey | Token) -> Iterator[None]:
        """Note where and when an answer is lost, as long as that counts."""
        try:
            yield
        except OutcomeUnknown:
            now = self._house.clock.steady()
            self._lost = {other: at for other, at in self._lost.items() if at > now - _SHOWN_WITHIN} | {of: now}
            raise

    def permalink(self, thread: ThreadKey) -> str | None:
        """Return the address of the message that heads a thread, in Slack's own form."""
        channel, ts = thread_of(thread)
        return f"{self._workspace}archives/{channel}/p{ts.replace('.', '')}" if self._workspace else None

    async def edit(self, thread: ThreadKey, remote_id: RemoteId, part: Part) -> None:
        """Replace a text."""
        if _is_file(remote_id):
            raise Rejected("Slack does not let the text of an upload be changed")
        (piece,) = part.pieces
        channel, _ = thread_of(thread)
        await self._identity()
        content = outbound.content(piece, named=self._api.signs)
        with self._in(channel):
            await self._api.write("chat.update", {"channel": channel, "ts": remote_id, **content})

    async def delete(self, thread: ThreadKey, remote_id: RemoteId) -> None:
        """Remove a text or a file."""
        channel, _ = thread_of(thread)
        if _is_file(remote_id):
            gone = {"file_not_found", "file_deleted"}
            await self._api.write("files.delete", {"file": remote_id}, harmless=gone)
        else:
            arguments = {"channel": channel, "ts": remote_id}
            with self._in(channel):
                await self._api.write("chat.delete", arguments, harmless={"message_not_found"})

    # --- looking for what may have arrived ----------------------------------------------------------------------------

    async def find_sent(
        self, thread: ThreadKey, parts: Mapping[Token, Part], since: datetime, after: RemoteId | None
    ) -> Mapping[Token, RemoteId]:
        """Find texts by their metadata, and files, which carry none, by name, size and order."""
        channel, ts = thread_of(thread)
        me = await self._identity()
        in_question = next(iter(parts))  # those behind it are sent after it
        search = self._search(in_question)
        with self._in(channel):
            async for message in search.messages(self._api, "conversations.replies", since, channel=channel, ts=ts):
                if _by(me, message):
                    _note(message, parts, after, search.found)
        found = self._searches.pop(in_question).found
        if in_question not in found:
            self._await_late(thread, _SHOWN_WITHIN if parts[in_question].attachment else _TAKEN_WITHIN)
        return found

    async def find_thread(self, channel: str, token: Token, since: datetime) -> Opened | None:
        """Find a card by its metadata."""
        channel = channel or self._settings.channel
        me = await self._identity()
        search = self._search(token)
        async for message in search.messages(self._api, "conversations.history", since, channel=channel):
            if _by(me, message) and outbound.token_of(message, outbound.THREAD_EVENT) == token:
                return _opened(channel, str(message["ts"]))
        del self._searches[token]
        self._await_late(token, _TAKEN_WITHIN)
        return None

    def _await_late(self, of: ThreadKey | Token, within: float) -> None:
        """Have it looked for again where it may be taken still. Raises RetryLater."""
        left = self._lost.get(of, self._began) + within - self._house.clock.steady()
        if left > 0:
            raise RetryLater("Slack may be about to show it", left, Scope.THREAD)

    def _search(self, token: Token) -> Search:
        """Return the search for a token that has begun, or a new one."""
        search = self._searches.setdefault(token, Search())
        if len(self._searches) > _SEARCHES:
            self._searches.popitem(last=False)
        return search

    async def _identity(self, *, anew: bool = False) -> Me:
        """Learn who we are and, from the same answer, which scopes we have."""
        if self._me is None or anew:
            answer = await self._api.read("auth.test", _IDENTITY_WITHIN)
            self._me = Me(str(answer.get("user_id") or ""), str(answer.get("bot_id") or ""))
            self._workspace = str(answer.get("url") or "")
        return self._me


def _opened(channel: str, ts: str) -> Opened:
    return Opened(thread_key(channel, ts), RemoteId(ts))


def _is_file(remote_id: RemoteId) -> bool:
    return remote_id.startswith("F")


def _by(me: Me, message: Mapping[str, Any]) -> bool:
    return me.user_id == message.get("user") or (bool(me.bot_id) and me.bot_id == message.get("bot_id"))


def _note(
    message: Mapping[str, Any], parts: Mapping[Token, Part], after: RemoteId | None, found: dict[Token, RemoteId]
) -> None:
    """Add what a message of ours shows of the parts. A file that is not behind `after` is none of them.

    A text tells its token, and may stand ahead of the file that was sent before it, which Slack shows late.
    """
    token = outbound.token_of(message, outbound.PART_EVENT)
    if token is not None and token in parts:
        found[token] = RemoteId(str(message["ts"]))
    for file in message.get("files") or ():
        if (token := _part_like(file, parts, found)) is not None:
            found[token] = RemoteId(str(file["id"]))
    if after in (message["ts"], *(file["id"] for file in message.get("files") or ())):
        for token in [token for token in found if parts[token].attachment]:
            del found[token]


def _part_like(file: Mapping[str, Any], parts: Mapping[Token, Part], found: Mapping[Token, RemoteId]) -> Token | None:
    """Return the first part that looks like a file: of equal ones that are sent in turn, the next."""
    looks = file.get("title") or file.get("name"), file.get("size")
    attachments = {token: part.attachment for token, part in parts.items() if token not in found}
    return next((token for token, it in attachments.items() if it and (it.name, it.size) == looks), None)
