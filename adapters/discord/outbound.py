"""What goes out: parts and cards as Discord's content. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from adapters.discord.markdown import escape, render
from bridge.model import AuthorKind, Card, Part, Piece, RemoteId, RichText, Token
from bridge.richtext import utf16_length

TEXT_LIMIT = 2000
NAME_LIMIT = 100
FILE_LIMIT = 10 * 1024 * 1024
BLANK = "*(blank message)*"
"""Shown for a text of nothing but white space, which Discord would refuse as empty."""

_FIELD_LIMIT = 300


def content(pieces: Sequence[Piece]) -> str:
    """Return the source of pieces."""
    return "\n".join(_piece(piece) for piece in pieces)


def measure(pieces: Sequence[Piece]) -> int:
    """Count in UTF-16 units. Discord's server counts code points, its own client UTF-16 units: this fits both."""
    return utf16_length(content(pieces))


def message(part: Part) -> str | None:
    """Return the content of a message, as Discord will keep it; None where only a file is to be seen."""
    text = content(part.pieces).strip()
    return text or (None if part.attachment else BLANK)


def _piece(piece: Piece) -> str:
    late = f"-# {stamp(piece.at)}\n" if piece.at else ""
    if piece.author.kind is AuthorKind.SYSTEM:
        return late + "\n".join(f"-# {line}" if line.strip() else "" for line in _source(piece.text).split("\n"))
    if piece.author.kind is AuthorKind.STAFF and piece.author.name:
        return f"{late}**{escape(' '.join(piece.author.name.split()))}**\n{_source(piece.text)}"
    return late + _source(piece.text)


def _source(text: RichText) -> str:
    return render(text) if text.marks else escape(text.text)


def stamp(at: datetime) -> str:
    """Return a time that each reader sees in their own time zone."""
    return f"<t:{int(at.timestamp())}:f>"


def remote_id(channel_id: int, message_id: int) -> RemoteId:
    """Return a message's remote id, which leads to it when its conversation goes on in another thread too."""
    return RemoteId(f"{channel_id}/{message_id}")


def card(card: Card, token: Token) -> str:
    """Return the content of a card. Its last line is what a lost thread is found by."""
    lines = [f"**{escape(_short(card.visitor)) or 'Visitor'}**"]
    lines += [f"{escape(_short(label))}: {escape(_short(value))}" for label, value in card.fields]
    end = reference(token)
    while utf16_length("\n".join([*lines, end])) > TEXT_LIMIT:
        lines.pop()
    return "\n".join([*lines, end])


def reference(token: Token) -> str:
    """Return the small print that names the opening of a thread."""
    return f"-# ref {token}"


def thread_name(card: Card) -> str:
    """Return a name that Discord takes."""
    return " ".join(card.title.split())[:NAME_LIMIT].strip() or "Conversation"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _FIELD_LIMIT else line[: _FIELD_LIMIT - 1] + "…"
