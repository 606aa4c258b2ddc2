"""From what people write in Slack to the neutral rich text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bridge.model import Mark, MarkKind, RichText
from bridge.richtext import join

Json = Mapping[str, Any]
Names = Mapping[str, str]
"""What to show for the ids of people and channels."""

_CONTROL = re.compile(r"<([^<>]*)>")
_MENTION = re.compile(r"<[@#]([A-Z0-9]+)(?:\|[^<>]*)?>")
_STYLES = {"bold": MarkKind.BOLD, "italic": MarkKind.ITALIC, "code": MarkKind.CODE}


def read(message: Json, names: Names) -> RichText:
    """Return the text of a person's message, and that of the messages it forwards."""
    own, *forwarded = (_read(one, names) for one in _contents(message))
    told = [text for text in forwarded if text.text.strip()]
    return join([own, *told], "\n") if own.text.strip() or not told else join(told, "\n")


def _read(message: Json, names: Names) -> RichText:
    """Read rich_text where that is all there is, else mrkdwn."""
    if blocks := _rich_blocks(message):
        return join((_rich_text(block, names) for block in blocks), "\n")
    return _mrkdwn(str(message.get("text") or ""), names)


def mentioned(message: Json) -> frozenset[str]:
    """Return the ids of people and channels that a message names."""
    return frozenset(id for one in _contents(message) for id in _mentioned(one))


def _mentioned(message: Json) -> Iterable[str]:
    if blocks := _rich_blocks(message):
        found = (element.get("user_id") or element.get("channel_id") for block in blocks for element in _walk(block))
        return [id for id in found if isinstance(id, str)]
    return _MENTION.findall(str(message.get("text") or ""))


def files_of(message: Json) -> Sequence[Json]:
    """Return the files of a message and of those it forwards."""
    return [file for one in (message, *_shared(message)) for file in one.get("files") or ()]


def _contents(message: Json) -> Iterator[Json]:
    """Yield a message and those it forwards, each with its `text` and `blocks`."""
    yield message
    for share in _shared(message):
        told = (block.get("message") or {} for block in share.get("message_blocks") or ())
        yield {"text": share.get("text"), "blocks": [block for one in told for block in one.get("blocks") or ()]}


def _shared(message: Json) -> Iterable[Json]:
    """Return what a person forwards; the other attachments are previews of links."""
    return (one for one in message.get("attachments") or () if one.get("is_share"))


def _rich_blocks(message: Json) -> Sequence[Json]:
    blocks = message.get("blocks") or ()
    return blocks if all(block.get("type") == "rich_text" for block in blocks) else ()


def _walk(element: Json) -> Iterator[Json]:
    yield element
    for inner in element.get("elements") or ():
        yield from _walk(inner)


# --- rich_text --------------------------------------------------------------------------------------------------------


def _rich_text(block: Json, names: Names) -> RichText:
    return join(_unpadded(block.get("elements") or (), names), "\n")


def _unpadded(elements: Sequence[Json], names: Names) -> Iterator[RichText]:
    """Yield the parts of a message. A section that another part follows ends with a newline that is not shown."""
    for at, element in enumerate(elements):
        part = _part(element, names)
        follows = at + 1 < len(elements)
        if follows and element.get("type") == "rich_text_section" and part.text.endswith("\n"):
            part = RichText(part.text[:-1], part.marks)
        yield part


def _part(element: Json, names: Names) -> RichText:
    match element.get("type"):
        case "rich_text_list":
            return join(_items(element, names), "\n")
        case "rich_text_quote":
            return _under(_inline(element, names), MarkKind.QUOTE)
        case "rich_text_preformatted":
            return _under(RichText(_inline(element, names).text), MarkKind.PRE)
        case _:
            return _inline(element, names)


def _items(element: Json, names: Names) -> Iterator[RichText]:
    first = int(element.get("offset") or 0) + 1
    ordered = element.get("style") == "ordered"
    for number, item in enumerate(element.get("elements") or (), first):
        yield _under(_inline(item, names), MarkKind.ITEM, str(number) if ordered else "")


def _under(text: RichText, kind: MarkKind, value: str = "") -> RichText:
    return RichText(text.text, (Mark(kind, 0, len(text.text), value), *text.marks)) if text.text else text


def _inline(section: Json, names: Names) -> RichText:
    return join(_run(element, names) for element in section.get("elements") or ())


def _run(element: Json, names: Names) -> RichText:
    text = _shown(element, names)
    style = element.get("style") or {}
    marks = [Mark(kind, 0, len(text)) for name, kind in _STYLES.items() if style.get(name)]
    if element.get("type") == "link":
        marks.append(Mark(MarkKind.LINK, 0, len(text), str(element.get("url") or "")))
    return RichText(text, tuple(marks) if text else ())


def _shown(element: Json, names: Names) -> str:
    text = element.get("text") or element.get("fallback") or ""
    match element.get("type"):
        case "link":
            text = text or element.get("url")
        case "emoji":
            text = _emoji(element)
        case "user":
            text = _named("@", str(element.get("user_id")), names)
        case "channel":
            text = _named("#", str(element.get("channel_id")), names)
        case "usergroup":
            text = "@group"
        case "broadcast":
            text = f"@{element.get('range')}"
        case "color":
            text = element.get("value")
    return str(text or "")


def _emoji(element: Json) -> str:
    """Return the characters that Slack itself gives; a workspace's own emoji has none and keeps its shortcode."""
    try:
        return "".join(chr(int(code, 16)) for code in str(element["unicode"]).split("-"))
    except (KeyError, ValueError, OverflowError):
        return f":{element.get('name')}:"


def _named(sign: str, id: str, names: Names) -> str:
    return sign + names.get(id, "someone" if sign == "@" else "channel")


# --- mrkdwn -----------------------------------------------------------------------------------------------------------


def _mrkdwn(text: str, names: Names) -> RichText:
    """Read control sequences and entities; the signs of styles stay as they are."""
    return join(_mrkdwn_runs(text, names))


def _mrkdwn_runs(text: str, names: Names) -> Iterable[RichText]:
    last = 0
    for match in _CONTROL.finditer(text):
        yield RichText(unescape(text[last : match.start()]))
        yield _control(match[1], names)
        last = match.end()
    yield RichText(unescape(text[last:]))


def _control(inner: str, names: Names) -> RichText:
    what, _, label = (unescape(part) for part in inner.partition("|"))
    match what[:1]:
        case "@":
            return RichText(f"@{label}" if label else _named("@", what[1:], names))
        case "#":
            return RichText(f"#{label}" if label else _named("#", what[1:], names))
        case "!":
            return RichText(label or "@" + what[1:].partition("^")[0])
        case _:
            shown = label or what
            return RichText(shown, (Mark(MarkKind.LINK, 0, len(shown), what),) if shown else ())


def unescape(text: str) -> str:
    """Undo Slack's three entities."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
