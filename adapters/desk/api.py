"""The desk's HTTP interface below `/desk/api/`: who calls, what is asked, what is answered.

GET  conversations?before=        a page of the list, newest first, and where the `next` starts
GET  conversations/ID?after=      a conversation and its entries beyond a `seq`; `more` where there are more
POST conversations/ID/messages    {"id","text","name","attachments"}, the same id again changes nothing
POST conversations/ID/typing      {"name","on"}
POST conversations/ID/seen        {"name","seq"}
POST conversations/ID/close       {"name"}
POST files?name=                  the bytes of a file, gives the id for a message
GET  events                       server-sent "ready", "changed" and "typing"
"""

from __future__ import annotations

import hmac
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import structlog
from pydantic import ValidationError

from adapters.desk.feed import events
from adapters.desk.frames import (
    Frame,
    Reply,
    Request,
    Seen,
    Typing,
    attachment_frame,
    encode,
    entry_frame,
    instant,
    summary_frame,
)
from bridge.commands import is_note
from bridge.errors import BadFile, StoreError, StoreFull
from bridge.model import Attachment, ConversationId, RemoteId, Staff, StaffMessage, ThreadKey
from bridge.ports import House, HttpRequest, HttpResponse, InboundSink, Summary
from bridge.richtext import from_markdown

LISTED = 30
READ = 200
KEPT = 500
HEADERS = {
    "content-type": "application/json; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
ROUTE = re.compile(
    r"api/(?:(?P<what>conversations|events|files)|conversations/(?P<id>[1-9]\d{0,18})(?:/(?P<act>messages|close|seen|typing))?)"
)

log = structlog.get_logger()
Body = TypeVar("Body", bound=Request)


class Refused(Exception):
    """Ends a request with an answer for a person."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.frame: Frame = {"type": "error", "code": code, "detail": detail}


class Api:
    """Answers requests below `/desk/api/`. `sink` is there while the adapter runs."""

    def __init__(self, house: House, token: str) -> None:
        self.sink: InboundSink | None = None
        self._house = house
        self._token = token.encode()
        self._files: OrderedDict[str, Attachment] = OrderedDict()
        """The files that agents sent last. One that a message names stays: the same message may come again."""
        self._handlers: dict[tuple[str, str | None], Callable[[HttpRequest], Awaitable[HttpResponse]]] = {
            ("GET", "conversations"): self._list,
            ("GET", "events"): self._events,
            ("POST", "files"): self._keep,
        }
        self._actions: dict[tuple[str, str | None], Callable[[Summary, HttpRequest], Awaitable[HttpResponse]]] = {
            ("GET", None): self._read,
            ("POST", "messages"): self._reply,
            ("POST", "close"): self._close,
            ("POST", "seen"): self._see,
            ("POST", "typing"): self._type,
        }

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; what goes wrong becomes an error frame with a sentence."""
        try:
            self._admit(request)
            return await self._route(request)
        except Refused as refused:
            return _json(refused.frame, refused.status)
        except BadFile as error:
            return _json(Refused(400, "bad_file", str(error)).frame, 400)
        except StoreFull:
            sentence = "There is no room left on the server, so this was not taken. Keep it and try again later."
            return _json(Refused(507, "store_full", sentence).frame, 507)
        except StoreError as error:
            log.debug("desk_request_failed", path=request.path, reason=str(error))
            sentence = "The server could not take this. Nothing is lost here: try again."
            return _json(Refused(503, "unavailable", sentence).frame, 503)

    def _admit(self, request: HttpRequest) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        # As bytes: compare_digest refuses text beyond ASCII.
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            raise Refused(401, "bad_token", "This token does not open the desk. Use the one printed at the start.")

    async def _route(self, request: HttpRequest) -> HttpResponse:
        found = ROUTE.fullmatch(request.path)
        if not found:
            raise Refused(404, "not_found", "There is nothing here.")
        if what := found["what"]:
            if handler := self._handlers.get((request.method, what)):
                return await handler(request)
        elif action := self._actions.get((request.method, found["act"])):
            id = int(found["id"])
            summary = await self._house.conversations.conversation(ConversationId(id)) if id < 2**63 else None
            if summary is None:
                raise Refused(404, "not_found", "There is no such conversation at this desk.")
            return await action(summary, request)
        raise Refused(405, "bad_method", "This address does not take such a request.")

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _list(self, request: HttpRequest) -> HttpResponse:
        before = _time(request.query.get("before"))
        found = await self._house.conversations.conversations(before, LISTED)
        frames = [summary_frame(summary, self._house.files) for summary in found]
        following = instant(found[-1].active_at, "microseconds") if len(found) >= LISTED else None
        return _json({"conversations": frames, "next": following})

    async def _read(self, summary: Summary, request: HttpRequest) -> HttpResponse:
        after = request.query.get("after", "0")
        if not re.fullmatch(r"\d{1,18}", after):
            raise Refused(400, "bad_frame", "`after` is the number of an entry.")
        found = await self._house.conversations.entries(summary.conversation, int(after), READ)
        frames = [entry_frame(entry, self._house.files) for entry in found]
        conversation = summary_frame(summary, self._house.files)
        return _json({"conversation": conversation, "entries": frames, "more": len(found) == READ})

    async def _events(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - a handler's
        headers = {**HEADERS, "content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
        return HttpResponse(200, events(self._house.conversations, self._house.files), headers)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _reply(self, summary: Summary, request: HttpRequest) -> HttpResponse:
        reply = _body(Reply, request)
        attachments = tuple(self._kept(file) for file in reply.attachments)
        text = from_markdown(reply.text)
        if not text.text.strip() and not attachments:
            raise Refused(400, "bad_frame", "Write something, or attach a file.")
        thread, sink = ThreadKey(str(summary.conversation)), self._running()
        if not await sink.follows(thread):
            # Taken now, it would be dropped as an event of an unknown thread.
            raise Refused(409, "unavailable", "This conversation is just being opened. Try again in a moment.")
        at = self._house.clock.now()
        if await sink.take([StaffMessage(thread, RemoteId(reply.id), _staff(reply), text, at, attachments)]):
            raise Refused(400, "bad_frame", "This cannot be stored, and did not reach the visitor: write it otherwise.")
        # No entry of the log will show a note, so the page has to.
        return _json({"type": "ack", "id": reply.id, "at": instant(at), "note": is_note(text.text)})

    async def _close(self, summary: Summary, request: HttpRequest) -> HttpResponse:
        await self._house.conversations.close(summary.conversation, _staff(_body(Request, request)))
        return _json({"type": "ack"})

    async def _see(self, summary: Summary, request: HttpRequest) -> HttpResponse:
        await self._house.conversations.seen(summary.conversation, _body(Seen, request).seq)
        return _json({"type": "ack"})

    async def _type(self, summary: Summary, request: HttpRequest) -> HttpResponse:
        typing = _body(Typing, request)
        self._running().typing(ThreadKey(str(summary.conversation)), _staff(typing), typing.on)
        return _json({"type": "ack"})

    async def _keep(self, request: HttpRequest) -> HttpResponse:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        name = request.query.get("name", "").strip() or "file"
        kept = await self._house.files.keep(name, kind or "application/octet-stream", request.body)
        self._files[kept.id] = kept
        if len(self._files) > KEPT:
            self._files.popitem(last=False)
        return _json(attachment_frame(kept, self._house.files), 201)

    def _kept(self, file: str) -> Attachment:
        if file not in self._files:
            raise Refused(409, "bad_file", "The attached file is not here any more. Attach it again.")
        return self._files[file]

    def _running(self) -> InboundSink:
        if self.sink is None:
            raise Refused(503, "unavailable", "The desk is starting or stopping. Try again in a moment.")
        return self.sink


def _staff(request: Request) -> Staff:
    """Name an agent. Who enters the same name is the same person: the token is all that the desk can prove."""
    return Staff(request.name.casefold(), request.name)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Refused(400, "bad_frame", "`before` is a time as the list gives it.")
    return at


def _body(model: type[Body], request: HttpRequest) -> Body:
    try:
        return model.model_validate_json(request.body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise Refused(400, "bad_frame", f"{where}: {first['msg']}" if where else first["msg"]) from None


def _json(frame: Frame, status: int = 200) -> HttpResponse:
    return HttpResponse(status, encode(frame), HEADERS)
