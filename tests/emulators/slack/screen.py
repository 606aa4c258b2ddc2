"""What a person sees of a message, and whom it calls: blocks and mrkdwn as Slack's clients show them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_CONTROL = re.compile(r"<([^<>]*)>")
_EMOJI = {"smile": "😄", "+1": "👍", "heart": "❤️", "tada": "🎉", "thumbsup": "👍"}
_SHORTCODE = re.compile(r":([a-z0-9_+'-]+):")
_FORMATS = (
    re.compile(r"```(.+?)```", re.DOTALL),
    re.compile(r"`([^`\n]+)`"),
    re.compile(r"(?<![\w*])\*([^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])"),
    re.compile(r"(?<!\w)_([^\s_](?:[^_\n]*[^\s_])?)_(?!\w)"),
    re.compile(r"(?<![\w~])~([^\s~](?:[^~\n]*[^\s~])?)~(?![\w~])"),
    re.compile(r"(?m)^&gt; ?(.*)$"),
)


def unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Screen:
    """Renders one message. `pings` holds whom it would have notified."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self.pings: list[str] = []

    def message(self, text: str, blocks: Sequence[Mapping[str, Any]]) -> str:
        if not blocks:
            return self._mrkdwn(text)
        self._mrkdwn(text)  # not shown, but it is what a notification says, and it may call people
        return "\n".join(shown for block in blocks if (shown := self._block(block)) is not None)

    def _block(self, block: Mapping[str, Any]) -> str | None:
        match block["type"]:
            case "rich_text":
                return self._rich_text(block["elements"])
            case "header":
                return self._text(block["text"])
            case "section":
                parts = [block["text"]] if "text" in block else []
                return "\n".join(self._text(part) for part in [*parts, *block.get("fields", ())])
            case "context":
                return " ".join(self._text(element) for element in block["elements"] if "text" in element)
            case "markdown":
                return str(block["text"])
            case _:
                return None

    def _text(self, value: Mapping[str, Any]) -> str:
        if value["type"] == "mrkdwn":
            return self._mrkdwn(str(value["text"]))
        if value.get("emoji", True):
            return _shortcodes(str(value["text"]))
        return str(value["text"])

    def _mrkdwn(self, text: str) -> str:
        for form in _FORMATS:
            text = form.sub(r"\1", text)
        return unescape(_CONTROL.sub(lambda match: self._control(match[1]), _shortcodes(text)))

    def _control(self, inner: str) -> str:
        what, _, label = inner.partition("|")
        if what[:1] == "!" or what[:1] == "@":
            self.pings.append(f"<{inner}>")
            name = what[1:]
            return label or "@" + self._names.get(name, name)
        if what[:1] == "#":
            return "#" + (label or self._names.get(what[1:], what[1:]))
        return label or what

    def _rich_text(self, elements: Sequence[Mapping[str, Any]]) -> str:
        out = ""
        for element in elements:
            if out and not out.endswith("\n"):
                out += "\n"
            if element["type"] == "rich_text_list":
                first = element.get("offset", 0) + 1
                bullets = element["style"] == "bullet"
                out += "\n".join(
                    ("• " if bullets else f"{number}. ") + self._inline(item["elements"])
                    for number, item in enumerate(element["elements"], first)
                )
            else:
                out += self._inline(element["elements"])
        return out

    def _inline(self, elements: Sequence[Mapping[str, Any]]) -> str:
        return "".join(self._element(element) for element in elements)

    def _element(self, element: Mapping[str, Any]) -> str:
        match element["type"]:
            case "text":
                return str(element["text"])
            case "link":
                return str(element.get("text") or element["url"])
            case "emoji":
                codes = element.get("unicode")
                return "".join(chr(int(code, 16)) for code in codes.split("-")) if codes else f":{element['name']}:"
            case "user":
                self.pings.append(f"<@{element['user_id']}>")
                return "@" + self._names.get(str(element["user_id"]), str(element["user_id"]))
            case "usergroup":
                self.pings.append(f"<!subteam^{element['usergroup_id']}>")
                return "@group"
            case "broadcast":
                self.pings.append(f"<!{element['range']}>")
                return f"@{element['range']}"
            case "channel":
                return "#" + self._names.get(str(element["channel_id"]), str(element["channel_id"]))
            case "date":
                return str(element.get("fallback", element["timestamp"]))
            case _:
                return ""


def _shortcodes(text: str) -> str:
    return _SHORTCODE.sub(lambda match: _EMOJI.get(match[1], match[0]), text)
