"""What Slack's clients make of a text that a person types: escaped mrkdwn and a rich_text block."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from tests.emulators.slack.screen import escape

_SPECIAL = re.compile(
    r"(?P<emoji>[\U0001f300-\U0001f5ff\U0001f600-\U0001f64f\U0001f680-\U0001f6ff\U0001f900-\U0001f9ff]"
    r"(?:\ufe0f|[\U0001f3fb-\U0001f3ff]|\u200d[\u2600-\u27bf\U0001f300-\U0001f9ff])*)"
    r"|(?P<link>https?://[^\s<>|\"']*[^\s<>|\"'.,;:!?)\]])"
)


def compose(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the `text` and the `blocks` of the message. Nothing in it becomes a mention or a style."""
    elements = list(_elements(text))
    written = "".join(_written(element) for element in elements)
    section = {"type": "rich_text_section", "elements": elements}
    return written, [{"type": "rich_text", "block_id": "b1", "elements": [section]}]


def _elements(text: str) -> Iterator[dict[str, Any]]:
    last = 0
    for match in _SPECIAL.finditer(text):
        if match.start() > last:
            yield {"type": "text", "text": text[last : match.start()]}
        last = match.end()
        if match["emoji"]:
            codes = "-".join(f"{ord(char):x}" for char in match["emoji"])
            name = unicodedata.name(match["emoji"][0], "emoji").lower().replace(" ", "_")
            yield {"type": "emoji", "name": name, "unicode": codes}
        else:
            yield {"type": "link", "url": match["link"]}
    if last < len(text):
        yield {"type": "text", "text": text[last:]}


def _written(element: dict[str, Any]) -> str:
    if element["type"] == "emoji":
        return f":{element['name']}:"
    return f"<{escape(element['url'])}>" if element["type"] == "link" else escape(element["text"])
