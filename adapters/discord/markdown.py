"""Discord's Markdown, both ways. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter

from bridge.model import Mark, MarkKind, RichText
from bridge.richtext import cut, join, runs

# --- writing ----------------------------------------------------------------------------------------------------------

# An address stays as it is, or it would not be a link any more: Discord takes all up to a space for it, backslashes
# too. So only one that holds nothing to escape, up to a space or the end; any other loses its link, never its text.
_ADDRESS = re.compile(r"""https?://(?=[^\s<]+[^<.,:;"'\]\s])[\w.~:/?#@!$&'"()+,;=%-]+(?![^ \t\n])""")
_MORE = "\0"
"""Stands for what follows behind a text, while that is escaped."""
_SPECIAL = re.compile(
    r"[\\*_~|`\[<]"
    r"|@(?=everyone|here)"
    rf"|:(?=[\w+-]+:|[\w+-]*{_MORE})"  # :smile:
    r"|(?<=http|ttps|team):(?=//)",
    re.IGNORECASE,
)
_LABEL = re.compile(r"(?:\[[^\]]*\]|[^\[\]])*")
"""What can be a link's label: brackets in it are in pairs, also those behind a backslash."""
_ESCAPED = re.compile(r"\\[\s\S]")
_LINE_START = re.compile(r"^([ \t]*)(?:([-#>+])|([0-9]+)\.)", re.MULTILINE)


def escape(text: str) -> str:
    """Return the source that shows literally this text; only plain web addresses become links."""
    out: list[str] = []
    at = 0
    for address in _ADDRESS.finditer(text):
        out += [_escaped(text[at : address.start()] + _MORE)[:-1], address[0]]
        at = address.end()
    out.append(_escaped(text[at:]))
    return "".join(out)


def _escaped(text: str) -> str:
    text = _SPECIAL.sub(r"\\\g<0>", text)
    return _LINE_START.sub(lambda m: f"{m[1]}{m[3]}\\." if m[3] else f"{m[1]}\\{m[2]}", text)


def render(text: RichText) -> str:
    """Return the source that shows a rich text."""
    lines: list[str] = []
    start = 0
    while start <= len(text.text):
        block = next((m for m in text.marks if m.kind is MarkKind.PRE and m.start == start < m.end), None)
        end = block.end if block else _line_end(text.text, start)
        body = _block(text.text[start:end]) if block else _line(text, start, end)
        quoted = _covers(text, MarkKind.QUOTE, start, end)
        lines += [f"> {line}" for line in body.split("\n")] if quoted else [body]
        start = end + (text.text[end : end + 1] == "\n" or end >= len(text.text))
    return "\n".join(lines)


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _covers(text: RichText, kind: MarkKind, start: int, end: int) -> Mark | None:
    return next((m for m in text.marks if m.kind is kind and m.start < max(end, start + 1) and m.end > start), None)


def _block(code: str) -> str:
    return escape(code) if "```" in code or not code.strip() else f"```\n{code}\n```"


def _line(text: RichText, start: int, end: int) -> str:
    body = _styled(cut(text, start, end))
    item = _covers(text, MarkKind.ITEM, start, end)
    if item is None or item.start < start:
        return body
    return f"{item.value}. {body}" if item.value.isdecimal() else f"- {body}"


Stretch = tuple[str, Mapping[MarkKind, str]]
"""Characters under the same styles, and those styles with their values."""


def _styled(line: RichText) -> str:
    styled = [(chunk, {mark.kind: mark.value for mark in marks}) for chunk, marks in runs(line)]
    # Where one style lies in itself, nothing changes at its edges.
    stretches = [("".join(chunk for chunk, _ in same), kinds) for kinds, same in groupby(styled, key=itemgetter(1))]
    source = ""
    for address, linked in groupby(stretches, key=_link_address):
        label = list(linked)
        if address and _LABEL.fullmatch(shown := _bold(label)):
            source += f"[{shown}]({address})"
        else:
            source += _bold(label, source, more=label[-1] is not stretches[-1])
    return source


def _bold(stretches: list[Stretch], before: str = "", *, more: bool = False) -> str:
    source = ""
    for bold, together in groupby(stretches, key=lambda stretch: MarkKind.BOLD in stretch[1]):
        group = list(together)
        if bold:
            source += _wrapped("**", _italics(group))
        else:
            source += _italics(group, before + source, more=more or group[-1] is not stretches[-1])
    return source


def _link_address(stretch: Stretch) -> str:
    address = stretch[1].get(MarkKind.LINK, "")
    if not re.match(r"https?://\S", address) or address == stretch[0]:
        return ""
    return re.sub(r"[\s()<>\\]", lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode()), address)


def _italics(stretches: list[Stretch], before: str = "", *, more: bool = False) -> str:
    """Return the source of stretches. `more` where the line goes on behind them."""
    source = ""
    for i, (chunk, kinds) in enumerate(stretches):
        following = stretches[i + 1][0] if i + 1 < len(stretches) else ""
        piece = f"`{chunk}`" if _is_code(chunk, kinds) else _plain(chunk, last=not following and not more)
        if MarkKind.ITALIC in kinds:
            piece = _wrapped(_italic_delimiter(piece, before + source, following), piece)
        source += piece
    return source


def _is_code(chunk: str, kinds: Mapping[MarkKind, str]) -> bool:
    """Tell whether a chunk is code that can stand as such: what it holds must not end it, nor a style around it."""
    if MarkKind.CODE not in kinds and MarkKind.PRE not in kinds:
        return False
    styled = MarkKind.BOLD in kinds or MarkKind.ITALIC in kinds
    return bool(chunk.strip()) and not re.search("[`*_]" if styled else "`", chunk)


def _italic_delimiter(source: str, before: str, following: str) -> str:
    """Return what makes a source italic; nothing where neither delimiter would: the characters matter more."""
    bare = _ESCAPED.sub("", source)  # an address keeps its own, which would end the style
    inside_word = following[:1].isalnum() or following[:1] == "_"  # there the underscore means nothing
    if not inside_word and "_" not in bare and not before.endswith("_"):
        return "_"
    # A delimiter would merge with another style's next to it.
    return "*" if following and not before.endswith("*") else ""


def _plain(chunk: str, *, last: bool) -> str:
    # Where more source follows, an address at the end would swallow it, so that one ends unlinked.
    return escape(chunk) if last else escape(chunk + _MORE)[:-1]


def _wrapped(delimiter: str, source: str) -> str:
    """Put delimiters around a source, within the white space at its ends: there they would mean nothing."""
    bare = source.strip()
    if not bare:
        return source
    start = source.index(bare)
    return f"{source[:start]}{delimiter}{bare}{delimiter}{source[start + len(bare) :]}"


# --- reading ----------------------------------------------------------------------------------------------------------

Names = Mapping[str, str]
"""What mentions show: `@ID` of a person, `&ID` of a role, `#ID` of a channel."""

_QUOTE = re.compile(r" *> ([^\n]*)")
_REST_QUOTE = re.compile(r" *>>> +([\s\S]*)")
_BULLET = re.compile(r" *[-*] +(?=\S)([^\n]*)")
_NUMBERED = re.compile(r" *([0-9]+)\. +(?=\S)([^\n]*)")
_HEADING = re.compile(r" *#{1,3} +(?=\S)([^\n]*?)(?: +#+)? *(?=\n|\Z)")
_SUBTEXT = re.compile(r" *-# +(?!-#)([^\n]+?) *(?=\n|\Z)")
_CODE_BLOCK = re.compile(r"```(?:[a-zA-Z0-9_+\-.#]+?\n)?\n*([^\n][\s\S]*?)\n*```")

_INLINE = re.compile(
    r"""
      \\(?P<escaped>[^0-9A-Za-z\s])
    | <(?P<angled>(?:https?|mailto|tel|steam):[^ >]+)>
    | (?P<address>(?:https?|steam)://[^\s<]+[^<.,:;"'\]\s])
    | \*\*(?P<bold>(?:\\[\s\S]|[^\\])+?)\*\*(?!\*)
    | __(?P<underlined>(?:\\[\s\S]|[^\\])+?)__(?!_)
    | _(?P<italic>(?:__|\\[\s\S]|[^\\_])+?)_(?![0-9A-Za-z_])
    | \*(?=\S)(?P<starred>(?:\*\*|\\[\s\S]|\s+(?:\\[\s\S]|[^\s*\\]|\*\*)|[^\s*\\])+?)\*(?!\*)
    | \[(?P<label>(?:\[[^\]]*\]|[^\[\]])*)\]\(\s*<?(?P<target>https?://(?:\([^)]*\)|[^\s\\)>]|\\.)*?)>?
        (?:\s+['"][\s\S]*?['"])?\s*\)
    | ~~(?P<struck>[\s\S]+?)~~(?!_)
    | (?P<fence>`+)(?P<code>[\s\S]*?[^`])(?P=fence)(?!`)
    | \|\|(?P<spoiler>[\s\S]+?)\|\|
    | <(?P<mention>@!?|@&|\#)(?P<id>[0-9]+)>
    | <a?(?P<emoji>:\w+:)[0-9]+>
    | <t:(?P<time>-?[0-9]{1,12})(?::[a-zA-Z])?>
    | (?P<shortcode>:[\w+-]+:)
    """,
    re.VERBOSE,
)
_STOP = re.compile(r"[^0-9A-Za-z\s\u00c0-\uffff]|\n|[A-Za-z0-9_]+:\S")
_INNER = {"bold": MarkKind.BOLD, "italic": MarkKind.ITALIC, "starred": MarkKind.ITALIC}
_BARE = ("underlined", "spoiler", "struck")


def parse(source: str, names: Names) -> RichText:
    """Read what a person wrote. Never raises: what is no markup is literal."""
    return join(_blocks(source, names), "\n")


def _blocks(source: str, names: Names) -> Iterator[RichText]:
    at = 0
    while at <= len(source):
        if match := _REST_QUOTE.match(source, at):
            yield _marked(parse(match[1], names), MarkKind.QUOTE)
            return
        if _QUOTE.match(source, at):
            quoted: list[str] = []
            while match := _QUOTE.match(source, at):
                quoted.append(match[1])
                at = match.end() + 1
            yield _marked(parse("\n".join(quoted), names), MarkKind.QUOTE)
            continue
        block, at = _block_at(source, at, names)
        yield from block


def _block_at(source: str, at: int, names: Names) -> tuple[Iterable[RichText], int]:
    if match := _CODE_BLOCK.match(source, at):
        end = match.end() + (source[match.end() : match.end() + 1] == "\n")
        return [_marked(RichText(match[1]), MarkKind.PRE)], end if end < len(source) else len(source) + 1
    if match := _NUMBERED.match(source, at):
        return [_marked(_inside(match[2], names), MarkKind.ITEM, match[1])], match.end() + 1
    if match := _BULLET.match(source, at):
        return [_marked(_inside(match[1], names), MarkKind.ITEM)], match.end() + 1
    if match := _HEADING.match(source, at):
        return [_marked(_inside(match[1], names), MarkKind.BOLD)], match.end() + 1
    if match := _SUBTEXT.match(source, at):
        return [_inside(match[1], names)], match.end() + 1
    return _paragraph(source, at, names)


def _paragraph(source: str, at: int, names: Names) -> tuple[Iterable[RichText], int]:
    """Read up to a line break that no style spans, or to a block of code."""
    pieces: list[RichText] = []
    while at < len(source) and source[at] != "\n":
        if pieces and _CODE_BLOCK.match(source, at):
            return [join(pieces)], at
        piece, at = _next(source, at, names)
        pieces.append(piece)
    return [join(pieces)], at + 1


def _inside(source: str, names: Names) -> RichText:
    pieces: list[RichText] = []
    at = 0
    while at < len(source):
        piece, at = _next(source, at, names)
        pieces.append(piece)
    return join(pieces)


def _next(source: str, at: int, names: Names) -> tuple[RichText, int]:
    match = _INLINE.match(source, at)
    if match is None:
        stop = _STOP.search(source, at + 1)
        end = stop.start() if stop else len(source)
        return RichText(source[at:end]), end
    return _markup(match, names), match.end()


def _markup(match: re.Match[str], names: Names) -> RichText:
    groups = {key: value for key, value in match.groupdict().items() if value is not None}
    for key, kind in _INNER.items():
        if key in groups:
            return _marked(_inside(groups[key], names), kind)
    for key in _BARE:
        if key in groups:
            return _inside(groups[key], names)
    if "label" in groups:
        return _marked(_inside(groups["label"], names), MarkKind.LINK, groups["target"])
    if "code" in groups:
        return _marked(RichText(groups["code"]), MarkKind.CODE)
    return RichText(_readable(groups, names))


def _readable(groups: Mapping[str, str], names: Names) -> str:
    """Return what stands for a mention, an emoji or a time; anything else is itself."""
    if "mention" in groups:
        kind = {"@!": "@"}.get(groups["mention"], groups["mention"])[-1]
        return ("#" if kind == "#" else "@") + names.get(kind + groups["id"], "unknown")
    if "time" in groups:
        try:
            return f"{datetime.fromtimestamp(int(groups['time']), UTC):%Y-%m-%d %H:%M} UTC"
        except (ValueError, OverflowError, OSError):
            return f"<t:{groups['time']}>"
    return next(iter(groups.values()))


def _marked(text: RichText, kind: MarkKind, value: str = "") -> RichText:
    if not text.text:
        return text
    return RichText(text.text, (Mark(kind, 0, len(text.text), value), *text.marks))
