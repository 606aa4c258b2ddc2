"""The laws of the neutral rich text."""

import itertools
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.model import Mark, MarkKind, RichText
from bridge.richtext import cut, from_markdown, join, runs, split, to_markdown, utf16_length

INLINE = (MarkKind.BOLD, MarkKind.ITALIC, MarkKind.CODE, MarkKind.LINK)
SPECIAL = st.text(alphabet="ab1 \\`*_[]()>-+.)\n\t#!\ufeff", max_size=40)
TEXTS = st.one_of(st.text(max_size=60), SPECIAL)
ADDRESSES = st.one_of(
    st.sampled_from(["https://shop.example/a_(b)*c*", "mailto:a@b.example", "tel:+39123"]),
    st.text(alphabet="a/()\\*_[]`.", max_size=12).map("https://x/".__add__),
)


@st.composite
def marked(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> RichText:
    """Texts whose inline marks lie anywhere and whose blocks are whole lines."""
    text = draw(texts)
    marks: list[Mark] = []
    if text:
        for kind in draw(st.lists(st.sampled_from(INLINE), max_size=5)):
            start = draw(st.integers(0, len(text) - 1))
            end = draw(st.integers(start + 1, len(text)))
            marks.append(Mark(kind, start, end, draw(ADDRESSES) if kind is MarkKind.LINK else ""))
    start = 0
    for line in text.split("\n"):
        block = draw(st.sampled_from([None, None, MarkKind.QUOTE, MarkKind.ITEM, MarkKind.PRE]))
        if line and block:
            value = draw(st.sampled_from(["", "1", "12"])) if block is MarkKind.ITEM else ""
            marks.append(Mark(block, start, start + len(line), value))
        start += len(line) + 1
    return RichText(text, tuple(marks))


def looks(text: RichText) -> list[tuple[str, object]]:
    """How each visible character looks. Emphasis on white space shows nothing, nor does it within a block of code."""
    shown: list[tuple[str, object]] = []
    for chunk, marks in runs(text):
        kinds = {mark.kind: mark.value for mark in marks}
        if MarkKind.PRE in kinds:
            kinds = {kind: "" for kind in kinds if kind in {MarkKind.PRE, MarkKind.QUOTE}}
        shown += [(char, kinds) for char in chunk if not char.isspace() and char != "\ufeff"]
    return shown


def with_one_link_each(text: RichText) -> RichText:
    """Links do not overlap: where they do, the last one counts."""
    return join(
        RichText(chunk, tuple({mark.kind: Mark(mark.kind, 0, len(chunk), mark.value) for mark in marks}.values()))
        for chunk, marks in runs(text)
    )


@given(TEXTS)
@example("- a\n1. b\n> c\n>\n```\ncode\n```")
@example("*a* **b** _c_ __d__ `e` [f](https://g) \\h \\* snake_case_name ](https://x)")
def test_literal_text_comes_back_without_a_mark(text: str) -> None:
    assert from_markdown(to_markdown(RichText(text))) == RichText(text)


@given(marked())
def test_marks_come_back_as_they_looked(text: RichText) -> None:
    back = from_markdown(to_markdown(text))
    assert back.text == text.text
    assert looks(back) == looks(with_one_link_each(text))


@given(TEXTS)
def test_markdown_is_stable_once_it_was_read(source: str) -> None:
    once = from_markdown(source)
    again = from_markdown(to_markdown(once))
    assert again.text == once.text
    assert looks(again) == looks(once)


@pytest.mark.parametrize(
    ("source", "text", "marks"),
    [
        ("**b**", "b", [Mark(MarkKind.BOLD, 0, 1)]),
        ("__b__", "b", [Mark(MarkKind.BOLD, 0, 1)]),
        ("*i* _j_", "i j", [Mark(MarkKind.ITALIC, 0, 1), Mark(MarkKind.ITALIC, 2, 3)]),
        ("***a** b*", "a b", [Mark(MarkKind.ITALIC, 0, 3), Mark(MarkKind.BOLD, 0, 1)]),
        ("**a *b* c**", "a b c", [Mark(MarkKind.BOLD, 0, 5), Mark(MarkKind.ITALIC, 2, 3)]),
        ("*a**b**c*", "abc", [Mark(MarkKind.ITALIC, 0, 3), Mark(MarkKind.BOLD, 1, 2)]),
        ("`a * b`", "a * b", [Mark(MarkKind.CODE, 0, 5)]),
        ("`` a`b ``", "a`b", [Mark(MarkKind.CODE, 0, 3)]),
        ("[a](https://x/(y))", "a", [Mark(MarkKind.LINK, 0, 1, "https://x/(y)")]),
        ("[**a**](mailto:x)", "a", [Mark(MarkKind.LINK, 0, 1, "mailto:x"), Mark(MarkKind.BOLD, 0, 1)]),
        ("- a\n2. b", "a\nb", [Mark(MarkKind.ITEM, 0, 1), Mark(MarkKind.ITEM, 2, 3, "2")]),
        ("> a\n> - b\nc", "a\nb\nc", [Mark(MarkKind.QUOTE, 0, 3), Mark(MarkKind.ITEM, 2, 3)]),
        ("```py\n> *a*\n```", "> *a*", [Mark(MarkKind.PRE, 0, 5)]),
        ("> ```\n> a\n> ```", "a", [Mark(MarkKind.QUOTE, 0, 1), Mark(MarkKind.PRE, 0, 1)]),
    ],
)
def test_subset(source: str, text: str, marks: list[Mark]) -> None:
    assert from_markdown(source) == RichText(text, tuple(marks))


@pytest.mark.parametrize(
    "source",
    [
        "2 * 3 * 4",
        "snake_case_name",
        "a**",
        "**a",
        "[a](javascript:alert)",
        "[a]",
        "[](https://x)",
        "# no heading",
        ">:(",
        "-5",
        "- ",
        "```\n```",
        "C:\\dir",
        "  - nested",
    ],
)
def test_anything_else_is_literal(source: str) -> None:
    assert from_markdown(source) == RichText(source)


def test_a_link_with_another_scheme_becomes_its_text() -> None:
    assert to_markdown(RichText("a", (Mark(MarkKind.LINK, 0, 1, "javascript:x"),))) == "a"


@pytest.mark.parametrize(
    "hostile", ["*a", "_a a*b ", "[", "](https://(", "`` ` ", "> ", "```a\n", "**a*", "\\", "[a]("]
)
def test_hostile_text_is_read_in_little_time(hostile: str) -> None:
    started = time.process_time()
    from_markdown(hostile * (40_000 // len(hostile)))
    assert time.process_time() - started < 2


@given(marked())
def test_runs_cover_the_text_and_neighbours_differ(text: RichText) -> None:
    stretches = list(runs(text))
    assert "".join(chunk for chunk, _ in stretches) == text.text
    assert all(chunk for chunk, _ in stretches) or text.text == ""
    assert all(a[1] != b[1] for a, b in itertools.pairwise(stretches))
    offset = 0
    for chunk, marks in stretches:
        assert all(mark.start <= offset and offset + len(chunk) <= mark.end for mark in marks)
        assert len(marks) == sum(mark.start <= offset < mark.end for mark in text.marks)
        offset += len(chunk)


@given(marked(), st.data())
def test_cutting_and_joining_give_the_text_back(text: RichText, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text.text)))
    back = join([cut(text, 0, at), cut(text, at, len(text.text))])
    assert back.text == text.text
    assert looks(back) == looks(text)


def test_join_shifts_marks_past_the_separator() -> None:
    bold = RichText("ab", (Mark(MarkKind.BOLD, 0, 1),))
    assert join([bold, bold], "--") == RichText("ab--ab", (Mark(MarkKind.BOLD, 0, 1), Mark(MarkKind.BOLD, 4, 5)))


CLUSTERS = st.lists(
    st.sampled_from(["a", " ", "\n\n", "\r\n", "e\u0301", "👩‍👩‍👧‍👦", "🇮🇹", "❤️", "👍🏽", "𝄞", "word "]), max_size=40
).map("".join)


@given(marked(st.one_of(CLUSTERS, TEXTS)), st.integers(1, 30))
def test_parts_fit_and_joined_are_the_text(text: RichText, limit: int) -> None:
    parts, at = [], 0
    while at < len(text.text):
        end = split(text, at, lambda part: utf16_length(part.text) <= limit)
        assert end > at
        parts.append(cut(text, at, end))
        at = end
    assert "".join(part.text for part in parts) == text.text
    assert all(utf16_length(part.text) <= limit or len(part.text) == 1 for part in parts)
    assert looks(join(parts)) == looks(text)


def up_to(count: int, text: str) -> str:
    return text[: split(RichText(text), 0, lambda part: len(part.text) <= count)]


def test_split_prefers_paragraphs_then_lines_then_words() -> None:
    assert up_to(12, "one two\n\nxx yyyyy") == "one two\n\n"
    assert up_to(12, "one two\nxx yyyyy") == "one two\n"
    assert up_to(12, "one two xxxx yyyyy") == "one two "  # up to 12 would leave the space to the next part
    assert up_to(12, "one twothreefour") == "one twothree"


@pytest.mark.parametrize("cluster", ["e\u0301", "👩‍👩‍👧‍👦", "🇮🇹", "❤️", "👍🏽", "\r\n", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "\u1112\u1161\u11ab"])
def test_split_keeps_a_grapheme_cluster_whole(cluster: str) -> None:
    for room in range(4, 4 + len(cluster)):
        assert up_to(room, "aaaa" + cluster + "b") == "aaaa"
    assert up_to(4 + len(cluster), "aaaa" + cluster + "bb").startswith("aaaa" + cluster)


def test_split_cuts_a_cluster_that_does_not_fit_alone() -> None:
    assert up_to(3, "e" + "\u0301" * 9) == "e\u0301\u0301"
    assert up_to(0, "ab") == "a"


def test_utf16_length() -> None:
    assert utf16_length("a𝄞é") == 4
