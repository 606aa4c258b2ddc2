"""What Telegram does to a text on its way: cleaning, trimming, emptiness, entities. Facts from TDLib's source."""

from __future__ import annotations

import html.parser
import re
from collections.abc import Iterable, Sequence
from typing import Any

from bridge.richtext import utf16_length

Entity = dict[str, Any]

MAX_ENTITIES = 100
"""The server passes over what a sender gives beyond this."""

# Control characters become spaces; a carriage return, separators, bidirectional overrides and three combining lines go.
_SPACED = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f]")
_GONE = re.compile("[\r\u2028-\u202e\u0333\u033f\u030a]")
_MARKS = re.compile("[\u200e\u200f]+(?=[\u200e\u200f])")
_SPACE_LIKE = re.compile("[\u1680\u180e\u2000-\u200a\u202e\u202f\u205f\u2800\u3000\ufffc\U000e0000-\U000e007f]")
_EMPTY_LIKE = re.compile("[ \n\u200b-\u200f\u202e\ufeff\xa0]")

_CONTINUOUS = {"code", "pre", "text_link", "text_mention", "custom_emoji"}
_QUOTES = {"blockquote", "expandable_blockquote"}
_SPLITTABLE = {"bold", "italic", "underline", "strikethrough", "spoiler"}
_FOUND = (
    ("url", re.compile(r"(?:https?://|tg://|(?<![\w@.])(?=[\w-]+\.(?:com|org|net|example|me|io)\b))[^\s<>\"']+")),
    ("email", re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("mention", re.compile(r"(?<!\w)@[a-zA-Z0-9_]{2,32}(?![\w])")),
    ("bot_command", re.compile(r"(?<![\w/<>])/[a-zA-Z0-9_]{1,64}(?:@[a-zA-Z0-9_]{3,32})?(?![\w/<>])")),
    ("hashtag", re.compile(r"(?<!\w)#\w{1,256}")),
)


class BadText(ValueError):
    """The text is refused; the message is Telegram's description."""


def arrives(text: str) -> str:
    """Return what is left of a text that was sent without entities. Raises BadText where it is refused as empty."""
    return settled(text, [], limit=10**9)[0]


def settled(
    text: str,
    entities: Sequence[Entity],
    *,
    limit: int,
    too_long: str = "message is too long",
    may_be_empty: bool = False,
) -> tuple[str, list[Entity]]:
    """Return text and entities as the message will hold them, those included that Telegram finds by itself."""
    check_bounds(text, entities)
    text, entities = _cleaned(text, entities)
    text, entities = _trimmed(text, entities)
    if _EMPTY_LIKE.sub("", _SPACE_LIKE.sub("", text)) == "":
        if may_be_empty:
            return "", []
        raise BadText("message text is empty")
    if utf16_length(text) > limit:
        raise BadText(too_long)
    kept = _within_limit(entities)
    found = [new for new in _found(text) if not any(_overlap(new, old) for old in kept if old["type"] in _CONTINUOUS)]
    return text, sorted([*kept, *found], key=lambda entity: (entity["offset"], -entity["length"]))


def check_bounds(text: str, entities: Sequence[Entity]) -> None:
    length = utf16_length(text)
    for entity in entities:
        if entity["offset"] < 0 or entity["length"] < 1 or entity["offset"] + entity["length"] > length:
            raise BadText(f"can't parse entities: entity {entity['type']} lies outside of the text")


def overlaps(entities: Sequence[Entity]) -> list[str]:
    """Return what breaks the documented rules of nesting."""
    broken = []
    for index, one in enumerate(entities):
        for other in entities[index + 1 :]:
            if not _overlap(one, other):
                continue
            if {one["type"], other["type"]} & {"code", "pre"} and not {one["type"], other["type"]} & _QUOTES:
                broken.append(f"{one['type']} and {other['type']} lie on the same characters")
            elif not (_inside(one, other) or _inside(other, one)):
                broken.append(f"{one['type']} and {other['type']} cross")
    return broken


def _cleaned(text: str, entities: Sequence[Entity]) -> tuple[str, list[Entity]]:
    gone = [utf16_length(text[: match.start()]) for match in _GONE.finditer(text)]
    moved = []
    for entity in entities:
        start, end = entity["offset"], entity["offset"] + entity["length"]
        start, end = start - sum(at < start for at in gone), end - sum(at < end for at in gone)
        if end > start:
            moved.append({**entity, "offset": start, "length": end - start})
    text = _GONE.sub("", _SPACED.sub(" ", text))
    return _MARKS.sub(lambda match: "\u200c" * len(match.group()), text), moved


def _trimmed(text: str, entities: Sequence[Entity]) -> tuple[str, list[Entity]]:
    right = text.rstrip(" \n")
    length = utf16_length(right)
    left = len(right) - len(right.lstrip(" \n"))
    kept = []
    for entity in entities:
        start, end = max(entity["offset"], left), min(entity["offset"] + entity["length"], length)
        if end > start:
            kept.append({**entity, "offset": start - left, "length": end - start})
    return right[left:], kept


def _within_limit(entities: Sequence[Entity]) -> list[Entity]:
    first = [entity for entity in entities if entity["type"] not in _SPLITTABLE]
    then = [entity for entity in entities if entity["type"] in _SPLITTABLE]
    return [*first, *then][:MAX_ENTITIES]


def _found(text: str) -> list[Entity]:
    found: list[Entity] = []
    for type, pattern in _FOUND:
        for match in pattern.finditer(text):
            entity = {
                "type": type,
                "offset": utf16_length(text[: match.start()]),
                "length": utf16_length(match.group()),
            }
            if not any(_overlap(entity, other) for other in found):
                found.append(entity)
    return found


def _overlap(one: Entity, other: Entity) -> bool:
    return bool(one["offset"] < other["offset"] + other["length"] and other["offset"] < one["offset"] + one["length"])


def _inside(one: Entity, other: Entity) -> bool:
    return bool(one["offset"] >= other["offset"] and one["offset"] + one["length"] <= other["offset"] + other["length"])


# --- parse_mode HTML --------------------------------------------------------------------------------------------------

_TAGS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "del": "strikethrough", "code": "code", "pre": "pre", "a": "text_link",
    "blockquote": "blockquote", "tg-spoiler": "spoiler",
}  # fmt: skip


class _Html(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.entities: list[Entity] = []
        self.open: list[tuple[str, int, str]] = []

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            raise BadText(f'can\'t parse entities: Unsupported start tag "{tag}"')
        self.open.append((tag, utf16_length(self.text), dict(attrs).get("href") or ""))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            raise BadText(f'can\'t parse entities: Unmatched end tag "{tag}"')
        _, start, href = self.open.pop()
        entity: Entity = {"type": _TAGS[tag], "offset": start, "length": utf16_length(self.text) - start}
        if entity["length"]:
            self.entities.append(entity | ({"url": href} if tag == "a" else {}))

    def handle_data(self, data: str) -> None:
        self.text += data


def parse_html(source: str) -> tuple[str, list[Entity]]:
    """Read parse_mode HTML."""
    parser = _Html()
    parser.feed(source)
    parser.close()
    if parser.open:
        raise BadText(f"can't parse entities: Can't find end tag corresponding to start tag \"{parser.open[-1][0]}\"")
    return parser.text, parser.entities
