"""What passes between the desk's page and the desk: entries as the visitor's wire protocol has them, and requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bridge.hints import TypingHint
from bridge.model import Attachment, Author, Entry, Format, Message, Profile, Revision
from bridge.ports import Files, Summary
from bridge.richtext import from_markdown

Frame = dict[str, Any]


def encode(frame: Mapping[str, Any]) -> bytes:
    """Write compact JSON."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()


def instant(at: datetime, precision: str = "milliseconds") -> str:
    """Write a time as the wire protocol does."""
    return at.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def attachment_frame(attachment: Attachment, files: Files) -> Frame:
    """Describe a file, with an address that serves it."""
    return {
        "id": attachment.id,
        "name": attachment.name,
        "type": attachment.type,
        "size": attachment.size,
        "url": files.address(attachment.id),
    }


def _author(author: Author, files: Files) -> Frame:
    avatar = files.address(author.avatar) if author.avatar else None
    return _present({"kind": author.kind.value, "name": author.name, "avatar": avatar})


def _present(frame: Frame) -> Frame:
    return {key: value for key, value in frame.items() if value is not None and value is not False}


def _text(text: str, format: Format) -> Frame:
    """Give Markdown also as bare characters with marks: read here, once, so that the page needs no reader."""
    if format is Format.PLAIN:
        return {"text": text}
    rich = from_markdown(text)
    marks = [[mark.kind.value, mark.start, mark.end, mark.value] for mark in rich.marks]
    return {"text": text, "format": format.value, "rich": {"text": rich.text, "marks": marks}}


def entry_frame(entry: Entry, files: Files) -> Frame:
    """Write an entry of the log."""
    head = {"seq": entry.seq, "conversation": str(entry.conversation), "from": _author(entry.author, files)}
    body = _text(entry.text, entry.format)
    if isinstance(entry, Revision):
        tail = _present({"of": entry.of, "deleted": entry.deleted})
        return {"type": "revision", **head, **body, **tail, "at": instant(entry.at)}
    tail = _present(
        {
            "id": entry.client_id,
            "event": entry.event,
            "delivery": entry.delivery,
            "edited": entry.edited,
            "deleted": entry.deleted,
        }
    )
    attachments = [attachment_frame(each, files) for each in entry.attachments]
    return {"type": "message", **head, **body, "attachments": attachments, "at": instant(entry.at), **tail}


def _profile(profile: Profile) -> Frame:
    page = {"url": profile.page.url, "title": profile.page.title, "referrer": profile.page.referrer}
    return _present(
        {
            "identity": profile.identity,
            "name": profile.name,
            "email": profile.email,
            "locale": profile.locale,
            "timezone": profile.timezone,
            "page": page,
        }
    )


def summary_frame(summary: Summary, files: Files) -> Frame:
    """Write a conversation at a glance."""
    last: Message | None = summary.last
    return {
        "id": str(summary.conversation),
        "visitor": str(summary.visitor),
        "site": summary.site,
        "open": summary.open,
        "opened_at": instant(summary.opened_at),
        "active_at": instant(summary.active_at),
        "profile": _profile(summary.profile),
        "last": entry_frame(last, files) if last else None,
    }


def typing_frame(hint: TypingHint, files: Files) -> Frame:
    """Tell who types where."""
    return {"conversation": str(hint.conversation), "from": _author(hint.author, files), "on": hint.on}


# --- requests ---------------------------------------------------------------------------------------------------------


def _name(value: str) -> str:
    name = " ".join(value.split())
    if not name or not name.isprintable():
        raise ValueError("give the name that visitors shall see")
    return name


def _writable(value: str) -> str:
    if "\0" in value:
        raise ValueError("a text cannot hold the character NUL")
    return value.strip()


class Request(BaseModel):
    """The body of a request. Unknown keys are passed over."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(max_length=80), AfterValidator(_name)]
    """The agent's."""


class Reply(Request):
    """What an agent writes. `id` makes a repeat harmless."""

    id: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
    text: Annotated[str, Field(max_length=50_000), AfterValidator(_writable)] = ""
    attachments: Annotated[tuple[str, ...], Field(max_length=10)] = ()


class Seen(Request):
    """Up to which entry an agent has a conversation before them."""

    seq: Annotated[int, Field(ge=0, lt=2**53)]


class Typing(Request):
    """Whether an agent types."""

    on: bool = True
