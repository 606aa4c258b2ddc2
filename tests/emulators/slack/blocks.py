"""Block Kit's rules, as far as messages of a bridge can break them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# "12,000 text characters with a buffer for block containers" say the maintainers, about 13,200 the field. Counted here
# in the harshest way, bytes of JSON, so that what passes here passes there.
TOTAL = 13_200


def too_long(blocks: Sequence[Mapping[str, Any]]) -> bool:
    return len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":")).encode()) > TOTAL


def problems(blocks: Any) -> Iterator[str]:
    """Tell what makes the answer `invalid_blocks`."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        yield "blocks is no list of objects"
        return
    if len(blocks) > 50:
        yield "no more than 50 items allowed"
    for number, block in enumerate(blocks):
        for problem in _block(block):
            yield f"{problem} [json-pointer:/blocks/{number}]"


def _block(block: Mapping[str, Any]) -> Iterator[str]:
    match block.get("type"):
        case "header":
            yield from _text(block.get("text"), 150, {"plain_text"})
        case "section":
            fields = block.get("fields", [])
            if "text" not in block and not fields:
                yield "missing required field: text"
            if len(fields) > 10:
                yield "no more than 10 items allowed"
            if "text" in block:
                yield from _text(block["text"], 3000)
            for field in fields:
                yield from _text(field, 2000)
        case "context":
            elements = block.get("elements", [])
            if not 1 <= len(elements) <= 10:
                yield "context takes 1 to 10 elements"
            for element in elements:
                yield from _text(element, 2000)
        case "divider":
            pass
        case "rich_text":
            yield from _rich_text(block.get("elements"))
        case other:
            yield f"unsupported type: {other}"


def _text(
    value: Any, limit: int, kinds: frozenset[str] | set[str] = frozenset({"plain_text", "mrkdwn"})
) -> Iterator[str]:
    if not isinstance(value, dict) or value.get("type") not in kinds:
        yield f"no text object: {value!r}"
    elif not isinstance(value.get("text"), str) or not value["text"]:
        yield "must be more than 0 characters"
    elif len(value["text"].encode("utf-16-le")) // 2 > limit:
        yield f"must be less than {limit + 1} characters"


def _rich_text(elements: Any) -> Iterator[str]:
    if not isinstance(elements, list) or not elements:
        yield "missing required field: elements"
        return
    for element in elements:
        kind = element.get("type")
        if kind == "rich_text_list":
            if element.get("style") not in {"bullet", "ordered"}:
                yield "rich_text_list needs a style"
            for item in element.get("elements") or [{}]:
                if item.get("type") != "rich_text_section":
                    yield "a list holds sections"
                yield from _inline(item.get("elements"), styled=True)
        elif kind in {"rich_text_section", "rich_text_quote"}:
            yield from _inline(element.get("elements"), styled=True)
        elif kind == "rich_text_preformatted":
            yield from _inline(element.get("elements"), styled=False)
        else:
            yield f"unsupported type: {kind}"


_FIELDS = {
    "text": {"text", "style"},
    "link": {"url", "text", "style", "unsafe"},
    "emoji": {"name", "unicode", "style"},
    "user": {"user_id", "style"},
    "channel": {"channel_id", "style"},
    "usergroup": {"usergroup_id", "style"},
    "broadcast": {"range", "style"},
    "date": {"timestamp", "format", "url", "fallback", "style"},
}


def _inline(elements: Any, *, styled: bool) -> Iterator[str]:
    if not isinstance(elements, list):
        yield "missing required field: elements"
        return
    for element in elements:
        kind = element.get("type")
        if kind not in _FIELDS:
            yield f"unsupported type: {kind}"
        elif strange := set(element) - {"type"} - _FIELDS[kind]:
            yield f"invalid additional property: {strange}"
        elif kind == "text" and not (isinstance(element.get("text"), str) and element["text"]):
            yield "must be more than 0 characters"
        elif kind == "link" and not str(element.get("url", "")).startswith(("http://", "https://", "mailto:", "tel:")):
            yield f"invalid url: {element.get('url')!r}"
        elif "style" in element and not styled:
            yield "a preformatted block takes no styles"
        elif not set(element.get("style", {})) <= {"bold", "italic", "strike", "code"}:
            yield f"invalid style: {element['style']}"
