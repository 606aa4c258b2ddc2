"""From parts to Telegram's text and entities. Pure.

A bot's "@name" notifies the member of that name: Telegram looks for mentions in every text, also beside entities that
are given. It finds none inside of code, so each "@name" is sent as code: its characters stay, nobody is called.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from telegram import MessageEntity

from bridge.model import Author, AuthorKind, Mark, MarkKind, Piece, RichText
from bridge.richtext import utf16_length

TEXT_LIMIT: Final = 4096
CAPTION_LIMIT: Final = 1024
TOPIC_LIMIT: Final = 128
_MAX_ENTITIES: Final = 100
"""Telegram passes over what comes beyond; an "@name" there would notify again."""
_NAME_LIMIT: Final = 64
_GAP: Final = "\n\n"
_MENTION: Final = re.compile(r"(?<![A-Za-z0-9_])@[A-Za-z0-9_]+")

_ENTITIES: Final = {
    MarkKind.BOLD: MessageEntity.BOLD,
    MarkKind.ITALIC: MessageEntity.ITALIC,
    MarkKind.CODE: MessageEntity.CODE,
    MarkKind.PRE: MessageEntity.PRE,
    MarkKind.LINK: MessageEntity.TEXT_LINK,
    MarkKind.QUOTE: MessageEntity.BLOCKQUOTE,
}
_STYLES: Final = (MarkKind.BOLD, MarkKind.ITALIC)
_CODES: Final = (MarkKind.CODE, MarkKind.PRE)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text with its entities, as the Bot API takes them."""

    text: str
    entities: tuple[MessageEntity, ...]


BLANK: Final = Rendered("[no visible text]", (MessageEntity(MessageEntity.ITALIC, 0, 17),))
"""Goes in place of a text that Telegram refuses as empty."""


def render(pieces: Sequence[Piece]) -> Rendered:
    """Join the pieces of a part into one text. A piece without text gives only its author's line, for a caption."""
    text, marks = "", list[Mark]()
    named = _several(pieces)
    for piece in pieces:
        header, body = _header(piece, named=named), _body(piece.text)
        if text:
            text += _GAP
        for part in (header, body):
            if part is header and header.text and body.text:
                part = RichText(header.text + "\n", header.marks)  # noqa: PLW2901 - with the line's end
            marks += [_moved(mark, len(text)) for mark in part.marks]
            text += part.text
        if piece.author.kind is AuthorKind.SYSTEM and body.text:
            marks.append(Mark(MarkKind.ITALIC, len(text) - len(body.text), len(text)))
    return Rendered(text, tuple(_entities(text, marks)))


def measure(pieces: Sequence[Piece]) -> int:
    """Return at least what `render` gives in UTF-16 units. Growing text never makes it less."""
    named = _several(pieces)
    total = len(_GAP) * (len(pieces) - 1)
    for piece in pieces:
        bullets = sum(len(_bullet(mark)) for mark in piece.text.marks if mark.kind is MarkKind.ITEM)
        header = _header(piece, named=named).text
        total += utf16_length(header) + bool(header) + utf16_length(piece.text.text) + bullets
    return total


def topic_name(title: str, fallback: str) -> str:
    """Return a topic's name: 1 to 128 characters on one line."""
    name = " ".join(title.split())
    return (name or fallback)[:TOPIC_LIMIT]


def permalink(chat: int, topic: int) -> str | None:
    """Return the address at which members find a topic; only supergroups have one."""
    number = str(chat).removeprefix("-100")
    return f"https://t.me/c/{number}/{topic}" if number != str(chat) else None


# --- one piece --------------------------------------------------------------------------------------------------------


def _several(pieces: Sequence[Piece]) -> bool:
    people = {(piece.author.kind, piece.author.name) for piece in pieces if piece.author.kind is not AuthorKind.SYSTEM}
    return len(people) > 1


def _header(piece: Piece, *, named: bool) -> RichText:
    """Return the line ahead of a piece: who says it where that is not plain, and when where it comes late."""
    name = _name(piece.author) if named or piece.author.kind is AuthorKind.STAFF else ""
    bold = f"{name}:" if name else ""
    time = f"{piece.at:%Y-%m-%d %H:%M} UTC" if piece.at is not None else ""
    text = " ".join(part for part in (bold, time) if part)
    marks = [Mark(MarkKind.BOLD, 0, len(bold))] if bold else []
    marks += [Mark(MarkKind.ITALIC, len(text) - len(time), len(text))] if time else []
    return RichText(text, tuple(marks))


def _name(author: Author) -> str:
    """Name a person, and a visitor as one: they choose their name, which may be that of one of the staff."""
    name = " ".join((author.name or "").split())[:_NAME_LIMIT]
    match author.kind:
        case AuthorKind.SYSTEM:
            return ""
        case AuthorKind.VISITOR:
            return f"{name} (visitor)" if name else "Visitor"
        case AuthorKind.STAFF:
            return name or "Staff"


def _body(text: RichText) -> RichText:
    """Write the bullets of lists out."""
    bullets = sorted((mark.start, _bullet(mark)) for mark in text.marks if mark.kind is MarkKind.ITEM)
    if not bullets:
        return text
    written, last, starts, lengths = "", 0, list[int](), [0]
    for at, bullet in bullets:
        written += text.text[last:at] + bullet
        last = at
        starts.append(at)
        lengths.append(lengths[-1] + len(bullet))
    marks = tuple(
        Mark(
            mark.kind,
            mark.start + lengths[bisect.bisect_right(starts, mark.start)],
            mark.end + lengths[bisect.bisect_left(starts, mark.end)],
            mark.value,
        )
        for mark in text.marks
        if mark.kind is not MarkKind.ITEM
    )
    return RichText(written + text.text[last:], marks)


def _bullet(mark: Mark) -> str:
    return f"{mark.value}. " if mark.value else "• "


def _moved(mark: Mark, by: int) -> Mark:
    return Mark(mark.kind, mark.start + by, mark.end + by, mark.value)


# --- entities ---------------------------------------------------------------------------------------------------------


def _entities(text: str, marks: Sequence[Mark]) -> Iterator[MessageEntity]:
    """Yield entities by Telegram's rules: none crosses another, only a quote shares characters with code."""
    solid = _solid(text, marks)
    if len(solid) > _MAX_ENTITIES:
        # So much could not be held apart: all of it as code calls nobody
        solid, marks = [Mark(MarkKind.CODE, 0, len(text))], ()
    styles = _styles(marks, solid)[: _MAX_ENTITIES - len(solid)]
    wide = [index for index, char in enumerate(text) if char > "\uffff"]
    for mark in sorted([*solid, *styles], key=lambda mark: (mark.start, -mark.end)):
        start, end = _unit(wide, mark.start), _unit(wide, mark.end)
        url = mark.value if mark.kind is MarkKind.LINK else None
        yield MessageEntity(_ENTITIES[mark.kind], start, end - start, url=url)


def _solid(text: str, marks: Iterable[Mark]) -> list[Mark]:
    """Return what cannot be split: code, links and quotes, without crossings, and code over every mention outside."""
    chosen: list[Mark] = []
    mentions = [Mark(MarkKind.CODE, match.start(), match.end()) for match in _MENTION.finditer(text)]
    given = [mark for mark in marks if mark.kind in _CODES or (mark.kind is MarkKind.LINK and _is_web(mark.value))]
    for mark in given:
        crossing = any(_overlap(mark, mention) and not _within(mention, mark) for mention in mentions)
        if not crossing and not any(_overlap(mark, other) for other in chosen):
            chosen.append(mark)
    chosen += [mention for mention in mentions if not any(_overlap(mention, other) for other in chosen)]
    quotes: list[Mark] = []
    for mark in marks:
        if mark.kind is MarkKind.QUOTE and not any(_overlap(mark, other) for other in quotes):
            quotes += [] if any(_overlap(mark, other) and not _within(other, mark) for other in chosen) else [mark]
    return [*chosen, *quotes]


def _styles(marks: Iterable[Mark], solid: Sequence[Mark]) -> list[Mark]:
    """Return bold and italic, cut at every edge of another mark and left out of code."""
    styles = [mark for mark in marks if mark.kind in _STYLES]
    edges = sorted({edge for mark in [*styles, *solid] for edge in (mark.start, mark.end)})
    codes = [mark for mark in solid if mark.kind in _CODES]
    stretches = [Mark(MarkKind.BOLD, start, end) for start, end in pairwise(edges)]
    free = [stretch for stretch in stretches if not any(_overlap(stretch, code) for code in codes)]
    return [
        Mark(kind, stretch.start, stretch.end)
        for stretch in free
        for kind in _STYLES
        if any(mark.kind is kind and _within(stretch, mark) for mark in styles)
    ]


def _is_web(address: str) -> bool:
    # "tg://user?id=..." would be a mention
    return address.startswith(("http://", "https://"))


def _overlap(one: Mark, other: Mark) -> bool:
    return one.start < other.end and other.start < one.end


def _within(inner: Mark, outer: Mark) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


def _unit(wide: Sequence[int], index: int) -> int:
    """Count UTF-16 units ahead of a code point; `wide` are the places of those that take two."""
    return index + bisect.bisect_left(wide, index)
