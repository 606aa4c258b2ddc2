"""What Discord's client makes of a message's content, reduced to the characters that a person sees.

The rules and their order are those of the client's parser (its simple-markdown rules, as published by several
re-implementations and shown by the client itself).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

_EMOJI = {
    "smile": "😄",
    "heart": "❤️",
    "thumbsup": "👍",
    "+1": "👍",
    "wave": "👋",
    "eyes": "👀",
    "100": "💯",
    "fire": "🔥",
}

_HEADING = re.compile(r" *#{1,3} +(?=[^\s])([^\n]*?)(?: +#+)? *(?=\n|$)")
_SUBTEXT = re.compile(r" *-# +(?!-#)([^\n]+?) *(?=\n|$)")
_BIG_QUOTE = re.compile(r" *>>> +([\s\S]*)")
_QUOTE = re.compile(r" *> [^\n]*(?:\n *> [^\n]*)*")
_BULLET = re.compile(r" *[-*] +(?=\S)([^\n]*)")
_NUMBERED = re.compile(r" *(\d+)\. +(?=\S)([^\n]*)")

_ESCAPE = re.compile(r"\\([^0-9A-Za-z\s])")
_CODE_BLOCK = re.compile(r"```(?:([a-zA-Z0-9_+\-.#]+?)\n)?\n*([^\n][\s\S]*?)\n*```")
_CODE = re.compile(r"(`+)([\s\S]*?[^`])\1(?!`)")
_URL = re.compile(r"""(?:https?|steam)://[^\s<]+[^<.,:;"'\]\s]""")
_ANGLED = re.compile(r"<((?:https?|mailto|tel|steam):[^ >]+)>")
_LINK = re.compile(
    r"\[((?:\[[^\]]*\]|[^\[\]]|\](?=[^\[]*\]))*)\]\(\s*<?(https?://(?:\([^)]*\)|[^\s\\)>]|\\.)*?)>?(?:\s+['\"][\s\S]*?['\"])?\s*\)"
)
_ITALIC = re.compile(
    r"_((?:__|\\[\s\S]|[^\\_])+?)_(?![0-9A-Za-z_])"
    r"|\*(?=\S)((?:\*\*|\\[\s\S]|\s+(?:\\[\s\S]|[^\s*\\]|\*\*)|[^\s*\\])+?)\*(?!\*)"
)
_BOLD = re.compile(r"\*\*((?:\\[\s\S]|[^\\])+?)\*\*(?!\*)")
_UNDERLINE = re.compile(r"__((?:\\[\s\S]|[^\\])+?)__(?!_)")
_STRIKE = re.compile(r"~~([\s\S]+?)~~(?!_)")
_SPOILER = re.compile(r"\|\|([\s\S]+?)\|\|")
_USER = re.compile(r"<@!?(\d+)>")
_ROLE = re.compile(r"<@&(\d+)>")
_CHANNEL = re.compile(r"<#(\d+)>")
_CUSTOM_EMOJI = re.compile(r"<a?:(\w+):\d+>")
_TIMESTAMP = re.compile(r"<t:(-?\d{1,17})(?::[a-zA-Z])?>")
_SHORTCODE = re.compile(r":([\w+-]+):")
_EVERYONE = re.compile(r"@(?:everyone|here)")
_STOP = re.compile(r"[^0-9A-Za-z\s\u00c0-\uffff]|\n|[A-Za-z0-9_]+:\S")

Rule = Callable[["View", re.Match[str]], str]


@dataclass
class View:
    """What the person who looks knows: names by id. Collects who is named, as the server does for pings."""

    names: Mapping[str, str] = field(default_factory=dict)

    def inside(self, source: str) -> str:
        """Render what stands within a line."""
        out: list[str] = []
        at = 0
        while at < len(source):
            text, at = self._next(source, at)
            out.append(text)
        return "".join(out)

    def _next(self, source: str, at: int) -> tuple[str, int]:
        for pattern, rule in _RULES:
            if match := pattern.match(source, at):
                return rule(self, match), match.end()
        stop = _STOP.search(source, at + 1)
        end = stop.start() if stop else len(source)
        return source[at:end], end

    def blocks(self, source: str) -> str:
        """Render lines: headings, small print, lists, quotes, and what spans several lines."""
        out: list[str] = []
        at, number = 0, None
        while at <= len(source):
            text, at, number = self._block(source, at, number)
            out.append(text)
        return "\n".join(out)

    def _block(self, source: str, at: int, number: int | None) -> tuple[str, int, int | None]:
        if match := _BIG_QUOTE.match(source, at):
            return self.blocks(match[1]), len(source) + 1, None
        if match := _QUOTE.match(source, at):
            lines = re.sub(r"^ *> ", "", match[0], flags=re.MULTILINE)  # as one text: blocks of code span them
            return self.blocks(lines), match.end() + 1, None
        if match := _NUMBERED.match(source, at):
            number = int(match[1]) if number is None else number + 1
            return f"{number}. {self.inside(match[2])}", match.end() + 1, number
        if match := _BULLET.match(source, at):
            return f"• {self.inside(match[1])}", match.end() + 1, None
        for pattern in (_HEADING, _SUBTEXT):
            if match := pattern.match(source, at):
                return self.inside(match[1]), match.end() + 1, None
        text, end = self._paragraph(source, at)
        return text, end + 1, None

    def _paragraph(self, source: str, at: int) -> tuple[str, int]:
        """Render up to a line break that no style or block of code spans."""
        out: list[str] = []
        while at < len(source) and source[at] != "\n":
            text, at = self._next(source, at)
            out.append(text)
        return "".join(out), at


def _named(prefix: str, unknown: str) -> Rule:
    return lambda view, match: prefix + view.names.get(match[1], unknown)


def _shortcode(view: View, match: re.Match[str]) -> str:
    return _EMOJI.get(match[1], match[0])


_RULES: tuple[tuple[re.Pattern[str], Rule], ...] = (
    (_CODE_BLOCK, lambda view, match: match[2]),
    (_ESCAPE, lambda view, match: match[1]),
    (_ANGLED, lambda view, match: match[1]),
    (_URL, lambda view, match: match[0]),
    (_BOLD, lambda view, match: view.inside(match[1])),
    (_UNDERLINE, lambda view, match: view.inside(match[1])),
    (_ITALIC, lambda view, match: view.inside(match[1] if match[1] is not None else match[2])),
    (_LINK, lambda view, match: view.inside(match[1])),
    (_STRIKE, lambda view, match: view.inside(match[1])),
    (_CODE, lambda view, match: match[2]),
    (_SPOILER, lambda view, match: view.inside(match[1])),
    (_USER, _named("@", "unknown-user")),
    (_ROLE, _named("@", "unknown-role")),
    (_CHANNEL, _named("#", "unknown")),
    (_CUSTOM_EMOJI, lambda view, match: f":{match[1]}:"),
    (_TIMESTAMP, lambda view, match: datetime.fromtimestamp(int(match[1]), UTC).strftime("%d %B %Y %H:%M")),
    (_SHORTCODE, _shortcode),
)


def render(content: str, names: Mapping[str, str] | None = None) -> str:
    """Return the characters that stand on the screen."""
    return View(names or {}).blocks(content)


def literally(text: str) -> str:
    """Return what a person must type so that exactly `text` stands on the screen."""
    numbered = any(_NUMBERED.match(line) for line in text.split("\n"))  # a list, although its characters are the same
    if render(text) == text and not numbered:
        return text
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def pings(content: str, allowed: Mapping[str, object] | None) -> list[str]:
    """Return whom a message calls, as `allowed_mentions` lets it: everybody that it names where that is absent."""
    parse = {"users", "roles", "everyone"} if allowed is None else set(allowed.get("parse") or ())
    found: list[str] = []
    for kind, pattern in (("users", _USER), ("roles", _ROLE)):
        chosen = set() if allowed is None else set(allowed.get(kind) or ())
        found += (match[0] for match in pattern.finditer(content) if kind in parse or match[1] in chosen)
    if "everyone" in parse:
        found += (match[0] for match in _EVERYONE.finditer(content))
    return found
