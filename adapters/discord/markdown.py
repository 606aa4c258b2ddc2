"""Discord's Markdown, both ways. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby

from bridge.model import Mark, MarkKind, RichText
from bridge.richtext import cut, join, runs

# --- writing ----------------------------------------------------------------------------------------------------------

# An address stays as it is, or it would not be a link any more: Discord takes all up to a space for it, backslashes
# too. So only one that holds nothing to escape, up to a space or the end; any other loses its link, never its text.
_ADDRESS = re.compile(r"""https?://(?=[^\s<]+[^<.,:;"'\]\s])[\w.~:/?#@!$&'"()+,;=%-]+(?![^ \t\n])""")
_SPECIAL = re.compile(
    r"[\\*_~|`\[<]"
    r"|@(?=everyone|here)"
    r"|:(?=[\w+-]+:)"  # :smile:
    r"|(?<=http|ttps|team):(?=//)",
    re.IGNORECASE,
)
_LINE_START = re.compile(r"^([ \t]*)(?:([-#>+])|([0-9]+)\.)", re.MULTILINE)


def escape(text: str) -> str:
    """Return the source that shows literally this text; only plain web addresses become links."""
    out: list[str] = []
    at = 0
    for address in _ADDRESS.finditer(text):
        out += [_escaped(text[at : address.start()]), address[0]]
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
    stretches = [(chunk, {mark.kind: mark.value for mark in marks}) for chunk, marks in runs(line)]
    out: list[str] = []
    for address, linked in groupby(stretches, key=_link_address):
        body = "".join(
            _wrapped("**", _italics(list(group))) if bold else _italics(list(group), before="".join(out))
            for bold, group in groupby(linked, key=lambda stretch: MarkKind.BOLD in stretch[1])
        )
        out.append(f"[{body}]({address})" if address else body)
    return "".join(out)


def _link_address(stretch: Stretch) -> str:
    address = stretch[1].get(MarkKind.LINK, "")
    if not re.match(r"https?://\S", address) or address == stretch[0]:
        return ""
    return re.sub(r"[\s()<>\\]", lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode()), address)


def _italics(stretches: list[Stretch], before: str = "") -> str:
    out: list[str] = []
    for i, (chunk, kinds) in enumerate(stretches):
        following = stretches[i + 1][0] if i + 1 < len(stretches) else ""
        source = _code(chunk) if MarkKind.CODE in kinds or MarkKind.PRE in kinds else _plain(chunk, last=not following)
        if MarkKind.ITALIC in kinds:
            # Inside a word the underscore means nothing; the star would merge with a bold text's ahead of it.
            inside_word = following[:1].isalnum() or following[:1] == "_"
            delimiter = "" if inside_word and (out or [before])[-1].endswith("*") else "*" if inside_word else "_"
            source = _wrapped(delimiter, source)
        out.append(source)
    return "".join(out)


def _plain(chunk: str, *, last: bool) -> str:
    # Where more source follows, an address at the end would swallow it: what is no space makes it end unlinked.
    return escape(chunk) if last else escape(chunk + "\0")[:-1]


def _wrapped(delimiter: str, source: str) -> str:
    """Put delimiters around a source, within the white space at its ends: there they would mean nothing."""
    bare = source.strip()
    if not bare:
        return source
    start = source.index(bare)
    return f"{source[:start]}{delimiter}{bare}{delimiter}{source[start + len(bare) :]}"


def _code(chunk: str) -> str:
    if "`" not in chunk and chunk.strip():
        return f"`{chunk}`"
    return escape(chunk)


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
