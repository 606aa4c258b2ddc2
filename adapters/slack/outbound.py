"""From the bridge's parts and cards to Slack's messages. Pure.

Nothing goes out as mrkdwn: text stands in rich_text elements, which Slack neither formats nor scans for mentions. The
`text` beside the blocks is what notifications and old clients show; it is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from bridge.model import Author, AuthorKind, Card, Mark, MarkKind, Part, Piece, RichText, Token
from bridge.richtext import cut, runs, utf16_length

TEXT_LIMIT = 3900
"""Slack recommends to stay below 4,000 characters of text."""
_JSON_BYTES = 3
"""A third of the blocks' JSON bytes counts too: `msg_blocks_too_long` comes at 12,000 to 13,200 "characters" of blocks,
containers included, and this keeps their bytes below 11,700."""

PART_EVENT = "threadbridge_part"
THREAD_EVENT = "threadbridge_thread"

_NAME_LIMIT = 80
_CLAIMED = " (visitor)"
"""Stands behind the name that a visitor claims: it may be a colleague's."""
_TITLE_LIMIT = 150
_FIELD_LIMIT = 350
_FIELDS_LIMIT = 10
_LINKS = ("http://", "https://", "mailto:", "tel:")
_STYLES = {MarkKind.BOLD: "bold", MarkKind.ITALIC: "italic", MarkKind.CODE: "code"}
_BLOCKS = {MarkKind.PRE, MarkKind.QUOTE, MarkKind.ITEM}
_DATE_FORMAT = "{date_short_pretty} {time}"

Json = dict[str, Any]


def escape(text: str) -> str:
    """Take their meaning from the three characters that have one."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def measure(pieces: Sequence[Piece]) -> int:
    """Return what the pieces count against TEXT_LIMIT, shown in the longer of the two ways to show an author."""
    return sum(_measure(piece) for piece in pieces)


def _measure(piece: Piece) -> int:
    if not piece.text.text:
        return 0
    blocks = json.dumps(_blocks(piece, named=False), ensure_ascii=False, separators=(",", ":"))
    return max(utf16_length(_fallback(piece, named=False)), -(-len(blocks.encode()) // _JSON_BYTES))


def message(part: Part, token: Token, *, named: bool) -> Json:
    """Return the arguments of chat.postMessage for a part of text. `named`: the app may show another name."""
    (piece,) = part.pieces
    username = {"username": shown_name(piece.author)} if named and shown_name(piece.author) else {}
    return {**content(piece, named=named), "metadata": metadata(PART_EVENT, token), **username, **_QUIET}


def content(piece: Piece, *, named: bool) -> Json:
    """Return a message's `text` and `blocks`, which chat.update takes too."""
    return {"text": _fallback(piece, named=named), "blocks": _blocks(piece, named=named)}


def comment(piece: Piece, *, named: bool) -> Json:
    """Return the arguments of files.completeUploadExternal that go with an attachment."""
    name = shown_name(piece.author)
    told = {"username": name} if named and name else {}
    if piece.text.text.strip() or _lead(piece, named=named):
        return {"blocks": _blocks(piece, named=named), **told}
    return told


def notice(text: str) -> Json:
    """Return a message in the bridge's own words."""
    blocks = [_rich_text([_section([_text(text, ("italic",))])])]
    return {"text": escape(text), "blocks": blocks, **_QUIET}


def card(opening: Card, token: Token) -> Json:
    """Return the message that heads a thread."""
    fields = [_plain(f"{label}\n{_shortened(value, _FIELD_LIMIT)}") for label, value in opening.fields if value.strip()]
    title = _shortened(opening.title.strip() or "Conversation", _TITLE_LIMIT)
    visitor = _shortened(opening.visitor.strip() or "Visitor", _TITLE_LIMIT)
    blocks: list[Json] = [
        {"type": "header", "text": _plain(title)},
        {"type": "section", "text": _plain(visitor)},
    ]
    if fields:
        blocks.append({"type": "section", "fields": fields[:_FIELDS_LIMIT]})
    return {
        "text": escape(f"{title}: {visitor}"),
        "blocks": blocks,
        "metadata": metadata(THREAD_EVENT, token),
        **_QUIET,
    }


_QUIET: Mapping[str, Any] = {"unfurl_links": False, "unfurl_media": False, "parse": "none"}


def metadata(event_type: str, token: Token) -> Json:
    """Return metadata that names a token. Anybody in the workspace may read it: no personal data."""
    return {"event_type": event_type, "event_payload": {"token": token}}


def token_of(told: Mapping[str, Any], event_type: str) -> Token | None:
    """Return the token that `metadata` left in a message."""
    found = told.get("metadata") or {}
    if found.get("event_type") != event_type:
        return None
    token = (found.get("event_payload") or {}).get("token")
    return Token(token) if isinstance(token, str) else None


def shown_name(author: Author) -> str | None:
    """Return the name to show; the bridge's own words stand under the app's."""
    if author.kind is AuthorKind.SYSTEM:
        return None
    mark = _CLAIMED if author.kind is AuthorKind.VISITOR else ""
    name = _shortened(" ".join((author.name or "").split()), _NAME_LIMIT - len(mark))
    return name + mark if any(char.isalnum() for char in name) else author.kind.capitalize()


def _lead(piece: Piece, *, named: bool) -> str:
    """Return what stands ahead of a text: its author where the message cannot be signed."""
    if named or piece.author.kind is not AuthorKind.STAFF:
        return ""
    return f"{shown_name(piece.author)}: "


def _late(piece: Piece) -> str:
    return f"{piece.at:%Y-%m-%d %H:%M} UTC" if piece.at else ""


def _fallback(piece: Piece, *, named: bool) -> str:
    late = f"{_late(piece)}\n" if piece.at else ""
    return escape(late + _lead(piece, named=named) + (piece.text.text if piece.text.text.strip() else "(blank)"))


def _blocks(piece: Piece, *, named: bool) -> list[Json]:
    ahead: list[Json] = []
    if piece.at:
        stamp = int(piece.at.timestamp())
        date = {"type": "date", "timestamp": stamp, "format": _DATE_FORMAT, "fallback": _late(piece)}
        ahead += [{**date, "style": {"italic": True}}, _text("\n")]
    if lead := _lead(piece, named=named):
        ahead.append(_text(lead, ("bold",)))
    elements = list(_elements(piece.text)) or ([] if ahead else [_section([_text("(blank)", ("italic",))])])
    if ahead and elements and elements[0]["type"] == "rich_text_section":
        elements[0]["elements"][:0] = ahead
    elif ahead:
        elements.insert(0, _section(ahead))
    return [_rich_text(elements)]


# --- rich text --------------------------------------------------------------------------------------------------------


_Line = tuple[Mark | None, int, int]
"""The block that a line belongs to, and its start and end, its newline included."""


def _elements(text: RichText) -> Iterator[Json]:
    """Walk stretches of lines of the same kind; the newline between two of them is shown by their being blocks."""
    stretches = [list(group) for _, group in groupby(_lines(text), key=lambda line: _stretch(line[0]))]
    for at, lines in enumerate(stretches):
        mark, start, end = lines[0][0], lines[0][1], lines[-1][2]
        if mark is None:
            # A section keeps its last newline: Slack's own composer writes it so, and no empty line is shown for it.
            yield _section(_inline(cut(text, start, end)))
        elif mark.kind is MarkKind.ITEM:
            yield _list(text, lines, last=at + 1 == len(stretches))
        else:
            end = _without_newline(text, start, end) if at + 1 < len(stretches) else end
            if mark.kind is MarkKind.QUOTE:
                yield {"type": "rich_text_quote", "elements": _inline(cut(text, start, end))}
            else:
                yield {"type": "rich_text_preformatted", "elements": [_text(text.text[start:end] or " ")]}


def _stretch(mark: Mark | None) -> tuple[MarkKind | None, Any]:
    """Return what lines of one block have in common; items of one kind make a list together."""
    if mark is None:
        return None, None
    return mark.kind, bool(mark.value) if mark.kind is MarkKind.ITEM else mark.start


def _lines(text: RichText) -> Iterator[_Line]:
    blocks = [mark for mark in text.marks if mark.kind in _BLOCKS]
    start = 0
    while start < len(text.text):
        newline = text.text.find("\n", start)
        end = len(text.text) if newline < 0 else newline + 1
        yield next((mark for mark in blocks if mark.start <= start < mark.end), None), start, end
        start = end


def _list(text: RichText, lines: Sequence[_Line], *, last: bool) -> Json:
    items = [list(group) for _, group in groupby(lines, key=lambda line: line[0])]
    sections = []
    for at, item in enumerate(items):
        start, end = item[0][1], item[-1][2]
        keep = last and at + 1 == len(items)
        sections.append(_section(_inline(cut(text, start, end if keep else _without_newline(text, start, end)))))
    told: Json = {"type": "rich_text_list", "style": "bullet", "indent": 0, "elements": sections}
    number = lines[0][0].value if lines[0][0] else ""
    if number:
        told["style"] = "ordered"
    if number.isdecimal() and int(number) > 1:
        told["offset"] = int(number) - 1
    return told


def _without_newline(text: RichText, start: int, end: int) -> int:
    return end - 1 if end > start and text.text[end - 1] == "\n" else end


def _inline(text: RichText) -> list[Json]:
    elements = []
    for chunk, marks in runs(text):
        styles = tuple(sorted({_STYLES[mark.kind] for mark in marks if mark.kind in _STYLES}))
        link = next((mark.value for mark in marks if mark.kind is MarkKind.LINK), "")
        if chunk and link.startswith(_LINKS):
            elements.append({**_text(chunk, styles), "type": "link", "url": link})
        elif chunk:
            elements.append(_text(chunk, styles))
    return elements or [_text(" ")]


def _text(text: str, styles: Sequence[str] = ()) -> Json:
    element: Json = {"type": "text", "text": text}
    return {**element, "style": dict.fromkeys(styles, True)} if styles else element


def _section(elements: list[Json]) -> Json:
    return {"type": "rich_text_section", "elements": elements}


def _rich_text(elements: list[Json]) -> Json:
    return {"type": "rich_text", "elements": elements}


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text, "emoji": False}


def _shortened(text: str, limit: int) -> str:
    """Cut to a number of UTF-16 units."""
    if utf16_length(text) <= limit:
        return text
    end = limit - 1
    while utf16_length(text[:end]) > limit - 1:
        end -= 1
    return text[:end] + "…"
