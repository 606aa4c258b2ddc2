"""The frames of the contract as bytes: decoded and checked on the way in, encoded on the way out. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bridge.conversations import History, Resumption
from bridge.errors import WireCode, WireError
from bridge.hints import DeliveryHint
from bridge.model import (
    Author,
    AuthorKind,
    DeliveryState,
    Entry,
    FileId,
    Format,
    Message,
    Page,
    Revision,
    Site,
    SiteKey,
)

MAX_FRAME = 64 * 1024
"""In bytes. What a client sends beyond it closes its socket with 1009."""
MAX_TEXT = 4000
"""In code points."""
_MAX_ID = 64
_MAX_URL = 2000
_MAX_TITLE = 300
_MAX_TRACKED_NAME = 64
_MAX_TRACKED_DATA = 500

ClientId = Annotated[str, Meta(min_length=1, max_length=_MAX_ID)]
FileName = Annotated[str, Meta(min_length=1, max_length=_MAX_ID)]
Short = Annotated[str, Meta(max_length=300)]
Seq = Annotated[int, Meta(ge=0, lt=2**53)]


# --- from the client --------------------------------------------------------------------------------------------------


class _In(msgspec.Struct, frozen=True, tag_field="type"):
    pass


class PageInfo(msgspec.Struct, frozen=True):
    """Where the visitor is. A browser's addresses may be long: they are cut, not refused."""

    url: str | None = None
    title: str | None = None
    referrer: str | None = None

    def to_page(self) -> Page:
        """Return it within bounds."""
        return Page((self.url or "")[:_MAX_URL], (self.title or "")[:_MAX_TITLE], (self.referrer or "")[:_MAX_URL])


class Identity(msgspec.Struct, frozen=True):
    """Who the site says that the visitor is. Only `id` is proved, by `hash`."""

    id: Short | None = None
    name: Short | None = None
    email: Short | None = None
    hash: Short | None = None


class HelloFrame(_In, tag="hello", frozen=True):
    v: Literal[1]
    site: str
    token: str | None = None
    log: str | None = None
    after: Seq = 0
    page: PageInfo | None = None
    locale: str | None = None
    timezone: str | None = None
    identity: Identity | None = None


class MessageFrame(_In, tag="message", frozen=True):
    id: ClientId
    text: str = ""
    attachments: Annotated[tuple[FileName, ...], Meta(max_length=10)] = ()


class TypingFrame(_In, tag="typing", frozen=True):
    on: bool


class ReadFrame(_In, tag="read", frozen=True):
    seq: Seq


class PageFrame(_In, tag="page", frozen=True):
    url: str | None = None
    title: str | None = None

    def to_page(self) -> Page:
        """Return it within bounds."""
        return PageInfo(self.url, self.title).to_page()


class TrackFrame(_In, tag="track", frozen=True):
    """What the visitor did, in the words of the site's page. What is too long is cut, as addresses are."""

    name: str
    data: dict[str, str | int | float | bool | None] | None = None

    def to_text(self) -> str:
        """Return it as one line for staff, within bounds."""
        pairs = (self.data or {}).items()
        name = _line(self.name, _MAX_TRACKED_NAME)
        data = _line(", ".join(f"{key}: {_plain(value)}" for key, value in pairs), _MAX_TRACKED_DATA)
        return f"{name} ({data})" if data else name


def _plain(value: object) -> str:
    return value if isinstance(value, str) else _encode(value).decode()


def _line(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


class HistoryFrame(_In, tag="history", frozen=True):
    before: Seq


ClientFrame = HelloFrame | MessageFrame | TypingFrame | ReadFrame | PageFrame | TrackFrame | HistoryFrame

_decode: Callable[[bytes], ClientFrame] = msgspec.json.Decoder(ClientFrame).decode


def decode(data: bytes) -> ClientFrame:
    """Read a client's frame. Raises WireError; `frame_id` then tells the frame's id where it can be read."""
    try:
        if not data.isascii():
            data.decode()  # msgspec does not look into what it passes over
        frame = _decode(data)
    except (ValueError, RecursionError) as error:
        raise WireError(WireCode.BAD_FRAME, f"This frame cannot be read: {str(error)[:200]}") from None
    # This escape is the only way that a NUL can be written in JSON.
    if b"\\u0000" in data and _holds_nul(msgspec.to_builtins(frame)):
        raise WireError(WireCode.BAD_FRAME, "A text holds the character NUL.")
    if type(frame) is MessageFrame:
        if len(frame.text) > MAX_TEXT:
            raise WireError(WireCode.TOO_LONG, f"A message has at most {MAX_TEXT} characters.")
        if not frame.attachments and not frame.text.strip():
            raise WireError(WireCode.BAD_FRAME, "A message needs a text or an attachment.")
    if type(frame) is TrackFrame and not any(map(str.isprintable, "".join(frame.name.split()))):
        raise WireError(WireCode.BAD_FRAME, "What is told of a visitor needs a name that can be seen.")
    return frame


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(map(_holds_nul, (*value, *value.values())))
    return isinstance(value, list | tuple) and any(map(_holds_nul, value))


def frame_id(data: bytes) -> str | None:
    """Return the `id` of a client's frame, whatever else is wrong with it. Slow: for errors only."""
    try:
        # Unlike msgspec this passes over lone surrogates and broken UTF-8 in the other fields.
        frame: Any = json.loads(data.decode(errors="replace"))
        found: Any = frame.get("id")
        found.encode()
    except (ValueError, RecursionError, AttributeError):
        return None
    return found if isinstance(found, str) and 0 < len(found) <= _MAX_ID and "\0" not in found else None


# --- to the client ----------------------------------------------------------------------------------------------------


class _Out(msgspec.Struct, tag_field="type", omit_defaults=True):
    """Fields without a default are always there; the others are left out while they say nothing."""


class _From(msgspec.Struct, omit_defaults=True):
    kind: AuthorKind
    name: str | None = None
    avatar: str | None = None


class _Attachment(msgspec.Struct):
    id: str
    name: str
    type: str
    size: int
    url: str


class _Message(_Out, tag="message"):
    seq: int
    conversation: str
    author: _From = msgspec.field(name="from")
    text: str
    attachments: list[_Attachment]
    at: str
    format: str | None = None
    id: str | None = None
    event: str | None = None
    delivery: str | None = None
    edited: bool = False
    deleted: bool = False


class _Revision(_Out, tag="revision"):
    seq: int
    of: int
    conversation: str
    text: str | None = None
    format: str | None = None
    deleted: bool = False


class _Ack(_Out, tag="ack"):
    id: str
    seq: int
    at: str


class _Delivery(_Out, tag="delivery"):
    of: int
    state: DeliveryState


class _DeliveryItem(msgspec.Struct):
    of: int
    state: DeliveryState


class _Read(_Out, tag="read"):
    seq: int


class _Seen(_Out, tag="seen"):
    seq: int


class _Typing(_Out, tag="typing"):
    author: _From = msgspec.field(name="from")
    on: bool


class _History(_Out, tag="history"):
    messages: list[_Message]
    more: bool


class _Error(_Out, tag="error"):
    code: WireCode
    detail: str
    id: str | None = None
    retry_after: float | None = None


class _Welcome(_Out, tag="welcome"):
    v: int
    token: str
    visitor: str
    log: str
    conversation: str | None
    seq: int
    read: int
    seen: int
    reset: bool
    messages: list[_Message | _Revision]
    deliveries: list[_DeliveryItem]
    site: Mapping[str, Any]


_encode = msgspec.json.Encoder().encode

ALIVE = b'{"type":"alive"}'
"""Tells a client that its socket lives."""


AnswersIn = Callable[[SiteKey], int | None]
"""Tells after how many seconds somebody usually answers on a site, where that is known."""


def site_card(site: Site, answers_in: AnswersIn) -> dict[str, Any]:
    """Return what the widget is told of a site: what was measured where the site says nothing of its own instead."""
    card: dict[str, Any] = {"key": site.key, "name": site.name, "look": dict(site.look)}
    answers = answers_in(site.key) if "notice" not in site.look else None
    return card if answers is None else card | {"answers": answers}


def moment(at: datetime) -> str:
    """Return a UTC time as the contract writes it."""
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


def error(problem: WireError, id: str | None = None) -> bytes:
    """Encode an error; `id` is that of the client's frame which caused it."""
    return _encode(_Error(problem.code, problem.detail, id, problem.retry_after))


def ack(message: Message) -> bytes:
    """Encode the acknowledgement of a visitor's message."""
    return _encode(_Ack(message.client_id or "", message.seq, moment(message.at)))


def delivery(hint: DeliveryHint) -> bytes:
    """Encode how far a message has come."""
    return _encode(_Delivery(hint.of, hint.state))


def read(seq: int) -> bytes:
    """Encode how far the visitor has read elsewhere."""
    return _encode(_Read(seq))


def seen(seq: int) -> bytes:
    """Encode up to where staff have seen what the visitor wrote."""
    return _encode(_Seen(seq))


class _Head(msgspec.Struct):
    type: str
    seq: int | None = None


_decode_head = msgspec.json.Decoder(_Head).decode
_OF_THE_LOG = frozenset({"welcome", "message", "revision"})


def seq_of(frame: bytes) -> int | None:
    """Return up to where whoever has got an encoded frame holds the log; None where it says nothing of that."""
    head = _decode_head(frame)
    return head.seq if head.type in _OF_THE_LOG else None  # how far has been read is a `seq` too


class Encoder:
    """Encodes the frames that may name files; `address` gives a file's present address."""

    __slots__ = ("_address", "_answers_in")

    def __init__(self, address: Callable[[FileId], str], answers_in: AnswersIn) -> None:
        self._address = address
        self._answers_in = answers_in

    def entry(self, entry: Entry) -> bytes:
        """Encode one entry of the log."""
        return _encode(self._entry(entry))

    def typing(self, author: Author, on: bool) -> bytes:
        """Encode that somebody types, or has stopped."""
        return _encode(_Typing(self._from(author), on))

    def history(self, history: History) -> bytes:
        """Encode older messages."""
        return _encode(_History([self._message(message) for message in history.messages], history.more))

    def welcome(self, token: str, visitor: int, log: str, resumption: Resumption, site: Site) -> bytes:
        """Encode the answer to a hello."""
        return _encode(
            _Welcome(
                v=1,
                token=token,
                visitor=str(visitor),
                log=log,
                conversation=None if resumption.conversation is None else str(resumption.conversation),
                seq=resumption.seq,
                read=resumption.read,
                seen=resumption.seen,
                reset=resumption.reset,
                messages=[self._entry(entry) for entry in resumption.entries],
                deliveries=[_DeliveryItem(hint.of, hint.state) for hint in resumption.deliveries],
                site=site_card(site, self._answers_in),
            )
        )

    def _entry(self, entry: Entry) -> _Message | _Revision:
        return self._message(entry) if isinstance(entry, Message) else self._revision(entry)

    def _message(self, message: Message) -> _Message:
        return _Message(
            seq=message.seq,
            conversation=str(message.conversation),
            author=self._from(message.author),
            text="" if message.deleted else message.text,
            attachments=[] if message.deleted else self._attachments(message),
            at=moment(message.at),
            format=_format(message.format),
            id=message.client_id,
            event=message.event,
            delivery=message.delivery,
            edited=message.edited,
            deleted=message.deleted,
        )

    def _attachments(self, message: Message) -> list[_Attachment]:
        return [
            _Attachment(file.id, file.name, file.type, file.size, self._address(file.id))
            for file in message.attachments
        ]

    def _from(self, author: Author) -> _From:
        return _From(author.kind, author.name, None if author.avatar is None else self._address(author.avatar))

    @staticmethod
    def _revision(revision: Revision) -> _Revision:
        return _Revision(
            seq=revision.seq,
            of=revision.of,
            conversation=str(revision.conversation),
            text=None if revision.deleted else revision.text,
            format=None if revision.deleted else _format(revision.format),
            deleted=revision.deleted,
        )


def _format(format: Format) -> str | None:
    return None if format is Format.PLAIN else format.value
