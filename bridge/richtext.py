"""The neutral rich text: to and from the contract's Markdown subset, cutting, splitting.

The subset, line by line: `**bold**`, `*italic*` (`__` and `_` too, at the edges of words), `` `code` ``,
`[text](address)`, lines that start with `> `, `- ` or `1. `, and blocks between lines of three or more backticks.
A backslash takes its meaning from any ASCII punctuation. Everything else is literal.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from bridge.model import Mark, MarkKind, RichText

# --- cutting and walking ----------------------------------------------------------------------------------------------


def cut(text: RichText, start: int, end: int) -> RichText:
    """Return the code points from `start` to `end` with the marks that lie on them."""
    return RichText(text.text[start:end], tuple(_clip(text.marks, start, min(end, len(text.text)))))


def _clip(marks: Iterable[Mark], start: int, end: int) -> Iterator[Mark]:
    for mark in marks:
        first, last = max(mark.start, start), min(mark.end, end)
        if first < last:
            yield replace(mark, start=first - start, end=last - start)


def join(parts: Iterable[RichText], separator: str = "") -> RichText:
    """Put texts one after the other."""
    texts: list[str] = []
    marks: list[Mark] = []
    offset = 0
    for part in parts:
        marks += (replace(mark, start=mark.start + offset, end=mark.end + offset) for mark in part.marks)
        texts.append(part.text)
        offset += len(part.text) + len(separator)
    return RichText(separator.join(texts), tuple(marks))


def runs(text: RichText) -> Iterator[tuple[str, tuple[Mark, ...]]]:
    """Walk the text in maximal stretches that lie under the same marks."""
    marks = [mark for mark in text.marks if max(mark.start, 0) < min(mark.end, len(text.text))]
    edges = {0, len(text.text)}
    for mark in marks:
        edges |= {max(mark.start, 0), min(mark.end, len(text.text))}
    ordered = sorted(edges)
    for start, end in pairwise(ordered):
        yield text.text[start:end], tuple(mark for mark in marks if mark.start <= start and end <= mark.end)


def utf16_length(text: str) -> int:
    """Count UTF-16 code units, in which Telegram measures. Half of a character counts as one."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


# --- splitting --------------------------------------------------------------------------------------------------------

_GAP = re.compile(r"\s+")
_ZWJ = "\u200d"


def split(text: RichText, start: int, fits: Callable[[RichText], bool]) -> int:
    """Return the best end for a part that begins at `start`: as long as `fits` allows, at a natural boundary if near.

    `fits` is monotone. White space at a boundary ends the earlier part, so the parts joined are the text again.
    """
    size = len(text.text)
    if fits(cut(text, start, size)):
        return size
    low, high = start, size  # `low` fits or is empty, `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        if fits(cut(text, start, middle)):
            low = middle
        else:
            high = middle
    limit = max(low, start + 1)
    return _boundary(text.text, start, limit) or _whole(text.text, start, limit)


def _boundary(text: str, start: int, limit: int) -> int | None:
    """Return the last of the strongest boundaries in the last third: of paragraphs, else of lines, else of words."""
    near = start + (limit - start) * 2 // 3
    begin = near
    while begin > start and text[begin - 1].isspace():
        begin -= 1
    best: tuple[int, int] | None = None
    for gap in _GAP.finditer(text, begin):
        if gap.end() > limit:
            break
        if gap.end() >= near and not _joined(text, gap.end()):
            strength = min(gap.group().count("\n"), 2)
            if best is None or strength >= best[0]:
                best = strength, gap.end()
    return best and best[1]


def _whole(text: str, start: int, limit: int) -> int:
    """Return the last end up to `limit` that cuts no grapheme cluster, or `limit` if one cluster fills it all."""
    end = limit
    while end > start and _joined(text, end):
        end -= 1
    return end if end > start else limit


def _joined(text: str, at: int) -> bool:
    """Tell whether the code points around a position belong to one grapheme cluster."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if before in "\r\n":
        return before + after == "\r\n"
    if _is_flag_half(before) and _is_flag_half(after):
        first = at
        while first > 0 and _is_flag_half(text[first - 1]):
            first -= 1
        return (at - first) % 2 == 1
    return before == _ZWJ or _extends(after)


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _extends(char: str) -> bool:
    return (
        char in "\u200c\u200d"
        or unicodedata.category(char) in {"Mn", "Mc", "Me"}  # combining marks and variation selectors
        or "\u1160" <= char <= "\u11ff"  # the later letters of a Hangul syllable
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= char <= "\U000e007f"  # tags, as in the flag of Scotland
    )


# --- reading Markdown -------------------------------------------------------------------------------------------------

# What is white space to Python or to a browser: both must agree on where emphasis may begin and end.
_BLANK = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_FENCE = re.compile(r"(`{3,})[^`]*$")
_QUOTE = re.compile(r">(?: |$)")
_ITEM = re.compile(r"(?:[-*+]|([0-9]{1,9})[.)]) (?=.)", re.DOTALL)
_ADDRESS = re.compile(r"(?:https?://|mailto:|tel:)", re.IGNORECASE)
_TOKEN = re.compile(
    r"""
      \\(?P<escaped>[!-/:-@\[-`{-~])
    | (?P<fence>`+)(?!`)(?P<code>.+?)(?<!`)(?P=fence)(?!`)
    | `+
    | (?P<run>\*+|_+)
    | (?P<open>\[)
    | \]\((?P<address>(?:https?://|mailto:|tel:)(?:\\[!-/:-@\[-`{-~]|[^\s()\\]|\([^\s()\\]*\))++)\)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


def from_markdown(source: str) -> RichText:
    """Read the contract's Markdown subset. Never raises: what is no markup is literal."""
    return join(_blocks(source.split("\n"), quotes=True), "\n")


def _blocks(lines: Sequence[str], *, quotes: bool) -> Iterator[RichText]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if fence := _FENCE.match(line):
            end = _fence_end(lines, at + 1, fence[1])
            if end > at + 1:
                code = "\n".join(lines[at + 1 : end])
                yield _marked(RichText(code), MarkKind.PRE)
                at = end + 1
                continue
        if quotes and _QUOTE.match(line):
            end = next((i for i in range(at, len(lines)) if not _QUOTE.match(lines[i])), len(lines))
            yield _marked(join(_blocks([line[2:] for line in lines[at:end]], quotes=False), "\n"), MarkKind.QUOTE)
            at = end
            continue
        if item := _ITEM.match(line):
            yield _marked(_inline(line[item.end() :]), MarkKind.ITEM, item[1] or "")
        else:
            yield _inline(line)
        at += 1


def _fence_end(lines: Sequence[str], at: int, fence: str) -> int:
    while at < len(lines) and not (lines[at].startswith(fence) and not lines[at].strip("` \t")):
        at += 1
    return at


def _marked(text: RichText, kind: MarkKind, value: str = "") -> RichText:
    if not text.text:
        return text
    return RichText(text.text, (Mark(kind, 0, len(text.text), value), *text.marks))


@dataclass(slots=True)
class _Piece:
    """A token of a line, and what of it stays in the text."""

    text: str
    kind: str = ""
    """`code`, `run` of a delimiter, `open` or `address` of a link, or plain text."""
    value: str = ""
    opens: bool = False
    closes: bool = False


@dataclass(frozen=True, slots=True)
class _Delimiter:
    """One or two of a delimiter's characters that wait for their counterpart."""

    piece: int
    char: str
    width: int


def _inline(line: str) -> RichText:
    pieces = list(_pieces(line))
    spans: list[tuple[MarkKind, int, int, str]] = []
    outside: list[int] = []
    opener: int | None = None
    for i, piece in enumerate(pieces):
        outside.append(i)
        if piece.kind == "open":
            opener = i
        elif piece.kind == "address" and opener is not None and i > opener + 1:
            pieces[opener].text = piece.text = ""
            spans += [(MarkKind.LINK, opener, i, piece.value), *_emphasis(pieces, range(opener + 1, i))]
            del outside[-(i - opener + 1) :]
            opener = None
    spans += _emphasis(pieces, outside)
    return _assemble(pieces, spans)


def _pieces(line: str) -> Iterator[_Piece]:
    last = 0
    for match in _TOKEN.finditer(line):
        if match.start() > last:
            yield _Piece(line[last : match.start()])
        last = match.end()
        yield _piece(line, match)
    if last < len(line):
        yield _Piece(line[last:])


def _piece(line: str, match: re.Match[str]) -> _Piece:
    kind = match.lastgroup
    if kind == "escaped":
        return _Piece(match["escaped"])
    if kind == "code":
        code = match["code"]
        padded = code[0] == code[-1] == " " and code.strip(" ")
        return _Piece(code[1:-1] if padded else code, "code")
    if kind == "run":
        before, after = line[match.start() - 1 : match.start()], line[match.end() : match.end() + 1]
        loose = match["run"][0] == "*"
        return _Piece(
            match["run"],
            "run",
            opens=after not in _BLANK and (loose or not before.isalnum()),
            closes=before not in _BLANK and (loose or not after.isalnum()),
        )
    return _Piece(match[0], kind or "", _ESCAPED.sub(r"\1", match["address"] or ""))


def _emphasis(pieces: Sequence[_Piece], indices: Iterable[int]) -> Iterator[tuple[MarkKind, int, int, str]]:
    """Pair the delimiters of a stretch. Paired ones leave the text, the others stay in it."""
    waiting: list[_Delimiter] = []
    count: Counter[tuple[str, int]] = Counter()
    for i in indices:
        piece = pieces[i]
        if piece.kind != "run":
            continue
        char, left = piece.text[0], len(piece.text)
        nests = left == 2 and piece.opens  # the first run within `*a**b**c*` opens rather than closing
        while piece.closes and (width := _closing(count, char, left, nests=nests)):
            while (top := waiting.pop()) and (top.char != char or top.width > width):
                count[top.char, top.width] -= 1
            count[char, top.width] -= 1
            left -= top.width
            pieces[top.piece].text = pieces[top.piece].text[top.width :]
            yield (MarkKind.BOLD if top.width == 2 else MarkKind.ITALIC, top.piece, i, "")
        piece.text = char * left
        if piece.opens and left:
            for width in {1: (1,), 2: (2,)}.get(left, (1, 2)):
                waiting.append(_Delimiter(i, char, width))
                count[char, width] += 1


def _closing(count: Counter[tuple[str, int]], char: str, left: int, *, nests: bool) -> int:
    """Return how wide a waiting delimiter the `left` characters may close, 0 for none."""
    if left >= 2 and count[char, 2]:
        return 2
    if left >= 1 and count[char, 1] and not nests:
        return 1
    return 0


def _assemble(pieces: Sequence[_Piece], spans: Iterable[tuple[MarkKind, int, int, str]]) -> RichText:
    before: list[int] = []
    offset = 0
    for piece in pieces:
        before.append(offset)
        offset += len(piece.text)
    before.append(offset)
    marks = [Mark(kind, before[first + 1], before[last], value) for kind, first, last, value in spans]
    marks += [Mark(MarkKind.CODE, before[i], before[i + 1]) for i, piece in enumerate(pieces) if piece.kind == "code"]
    marks = sorted((mark for mark in marks if mark.start < mark.end), key=lambda mark: (mark.start, -mark.end))
    return RichText("".join(piece.text for piece in pieces), tuple(marks))


# --- writing Markdown -------------------------------------------------------------------------------------------------

_SPECIAL = re.compile(r"[\\`*\[]|\](?=\()|(?<![^\W_])_|_(?![^\W_])")
_NUMBER = re.compile(r"[0-9]{1,9}")
_BLOCK_START = re.compile(r"\A(?:([0-9]{1,9})(?=[.)] .)|(>(?= |$)|[-+](?= .)))", re.DOTALL)


def to_markdown(text: RichText) -> str:
    """Write the contract's Markdown subset; what would format by accident is escaped.

    Emphasis on white space, and styles below a block of code, are dropped. A link to anything but the web, mail or
    a telephone becomes its text.
    """
    lines: list[str] = []
    start = 0
    blocks = {mark.start: mark for mark in text.marks if mark.kind is MarkKind.PRE and _is_block(text.text, mark)}
    while start <= len(text.text):
        block = blocks.get(start)
        end = block.end if block else _line_end(text.text, start)
        prefix = "> " if _on_line(text, MarkKind.QUOTE, start, end) else ""
        body = _fenced(text.text[start:end]) if block else [_line(text, start, end)]
        lines += (prefix + line for line in body)
        start = end + 1
    return "\n".join(lines)


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _is_block(text: str, mark: Mark) -> bool:
    begins = mark.start == 0 or text[mark.start - 1] == "\n"
    return begins and mark.start < mark.end and text[mark.end : mark.end + 1] in {"", "\n"}


def _on_line(text: RichText, kind: MarkKind, start: int, end: int) -> Mark | None:
    on_line = (m for m in text.marks if m.kind is kind and m.start < max(end, start + 1) and m.end > start)
    return next(on_line, None)


def _fenced(code: str) -> list[str]:
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *code.split("\n"), fence]


def _line(text: RichText, start: int, end: int) -> str:
    body = _styled(cut(text, start, end))
    item = _on_line(text, MarkKind.ITEM, start, end)
    if item and item.start >= start:
        return f"{item.value}. {body}" if _NUMBER.fullmatch(item.value) else f"- {body}"
    return _BLOCK_START.sub(lambda match: f"{match[1] or ''}\\{match[2] or ''}", body, count=1)


@dataclass(frozen=True, slots=True)
class _Style:
    address: str
    stars: str
    code: bool


def _style(marks: Iterable[Mark]) -> _Style:
    kinds = {mark.kind: mark.value for mark in marks}
    address = kinds.get(MarkKind.LINK, "")
    return _Style(
        address if _ADDRESS.match(address) else "",
        "*" * ((MarkKind.ITALIC in kinds) + 2 * (MarkKind.BOLD in kinds)),
        MarkKind.CODE in kinds or MarkKind.PRE in kinds,
    )


def _styled(line: RichText) -> str:
    stretches = [(chunk, _style(marks)) for chunk, marks in runs(line)]
    out: list[str] = []
    for address, linked in groupby(stretches, key=lambda stretch: stretch[1].address):
        body = "".join(
            _emphasised(stars, list(group)) for stars, group in groupby(linked, key=lambda stretch: stretch[1].stars)
        )
        out.append(f"[{body}]({_escaped_address(address)})" if address else body)
    return "".join(out)


def _emphasised(stars: str, stretches: Sequence[tuple[str, _Style]]) -> str:
    body = ""
    for code, group in groupby(stretches, key=lambda stretch: stretch[1].code):
        chunk = "".join(text for text, _ in group)
        body += _code(chunk) if code else _SPECIAL.sub(r"\\\g<0>", chunk)
    core = body.strip(_BLANK)
    return body.replace(core, f"{stars}{core}{stars}", 1) if core else body


def _code(code: str) -> str:
    longest = {len(run) for run in re.findall("`+", code)}
    fence = "`" * next(size for size in range(1, len(code) + 2) if size not in longest)
    padding = " " if "`" in (code[0], code[-1]) or (code[0] == code[-1] == " " and code.strip(" ")) else ""
    return f"{fence}{padding}{code}{padding}{fence}"


def _escaped_address(address: str) -> str:
    address = re.sub(r"[\\()]", r"\\\g<0>", address)
    return re.sub(r"\s", lambda space: "".join(f"%{byte:02X}" for byte in space[0].encode()), address)
