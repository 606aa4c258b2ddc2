"""Text and cards on their way to Slack: what a person sees there is what was said, and nothing more happens."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.slack.outbound import (
    PART_EVENT,
    TEXT_LIMIT,
    card,
    content,
    escape,
    measure,
    message,
    shown_name,
    token_of,
)
from adapters.slack.reading import read, unescape
from bridge.model import SYSTEM, Author, AuthorKind, Card, ConversationId, Mark, MarkKind, Part, Piece, RichText, Token
from bridge.richtext import cut, from_markdown, split
from tests.emulators.slack import blocks as block_kit
from tests.emulators.slack.screen import Screen

VISITOR = Author(AuthorKind.VISITOR, "Bob")
STAFF = Author(AuthorKind.STAFF, "Anna")

signs = st.text(st.sampled_from("<>&!@#|*_~`:-\n> ab\u202e\u200d😀長"), max_size=60)
texts = st.one_of(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80), signs)
authors = st.sampled_from([VISITOR, STAFF, SYSTEM])


@st.composite
def marked(draw: st.DrawFn) -> RichText:
    text = draw(texts)
    marks = []
    for _ in range(draw(st.integers(0, 5))):
        start, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        kind = draw(st.sampled_from(MarkKind))
        value = {"link": "https://a.example/?a=1&b=<2>", "item": draw(st.sampled_from(["", "3"]))}.get(kind, "")
        if start < end:
            marks.append(Mark(kind, start, end, value))
    return RichText(text, tuple(marks))


def seen(piece: Piece, *, named: bool = True) -> tuple[str, list[str]]:
    told = content(piece, named=named)
    assert list(block_kit.problems(told["blocks"])) == []
    screen = Screen({})
    return screen.message(told["text"], told["blocks"]), screen.pings


@given(texts)
def test_literal_text_is_seen_as_it_is(text: str) -> None:
    shown, pings = seen(Piece(VISITOR, RichText(text)))
    assert shown == (text or "(blank)")
    assert pings == []


@given(texts)
def test_escaped_text_has_no_control_sequence(text: str) -> None:
    assert unescape(escape(text)) == text
    assert "<" not in escape(text)


@given(texts)
def test_out_and_in_again_is_the_same(text: str) -> None:
    told = content(Piece(VISITOR, RichText(text)), named=True)
    assert read(told, {}) == RichText(text or "(blank)", () if text else (Mark(MarkKind.ITALIC, 0, 7),))


@pytest.mark.parametrize(
    "source",
    [
        "**bold** *it* `code` [link](https://a.example/?a&b) plain",
        "before\n- one\n- **two**\nafter",
        "1. one\n2. two\n\n3. three",
        "a\n\n> quote\n> more\n\nb",
        "```\n*code* <b>\n\nx\n```\nend",
        "- a\n1. b\n> c\n```\nd\n```",
    ],
)
def test_the_subset_survives_the_way_out_and_in(source: str) -> None:
    text = from_markdown(source)
    back = read(content(Piece(STAFF, text), named=True), {})
    assert back.text == text.text
    assert {m for m in back.marks if m.kind is not MarkKind.QUOTE} >= {
        m for m in text.marks if m.kind not in {MarkKind.QUOTE, MarkKind.ITEM}
    }
    assert [m.value for m in back.marks if m.kind is MarkKind.ITEM] == [
        m.value for m in text.marks if m.kind is MarkKind.ITEM
    ]


@given(marked(), authors, st.booleans())
def test_any_marks_make_valid_blocks_and_call_nobody(text: RichText, author: Author, named: bool) -> None:
    _, pings = seen(Piece(author, text, datetime(2026, 1, 31, tzinfo=UTC)), named=named)
    assert pings == []


@given(marked(), authors, st.data())
def test_a_longer_text_never_measures_less(text: RichText, author: Author, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(text.text)))
    shorter, longer = Piece(author, cut(text, 0, end)), Piece(author, text)
    assert measure([shorter]) <= measure([longer])


@pytest.mark.parametrize("unit", ["a", "<", '"', "\x01", "é", "長", "😀", "👨‍👩‍👧 ", "ab\n"])
@pytest.mark.parametrize("author", [VISITOR, STAFF])
def test_parts_of_a_long_text_fit_and_make_the_whole(unit: str, author: Author) -> None:
    whole = RichText(unit * (9000 // len(unit)))
    start, parts = 0, []
    while start < len(whole.text):
        end = split(whole, start, lambda text: measure([Piece(author, text)]) <= TEXT_LIMIT)
        parts.append(cut(whole, start, end))
        start = end
    assert "".join(part.text for part in parts) == whole.text
    for part in parts:
        for named in (True, False):
            told = content(Piece(author, part), named=named)
            assert not block_kit.too_long(told["blocks"])
            assert len(told["text"].encode("utf-16-le")) // 2 <= TEXT_LIMIT


def test_a_text_of_many_marks_counts_what_they_cost() -> None:
    text = "ab" * 500
    many = RichText(text, tuple(Mark(MarkKind.BOLD, at, at + 1) for at in range(0, 1000, 2)))
    assert measure([Piece(STAFF, many)]) > TEXT_LIMIT
    assert measure([Piece(STAFF, RichText(text))]) < TEXT_LIMIT


def test_a_links_address_is_kept_only_where_a_browser_may_follow_it() -> None:
    text = RichText("a b", (Mark(MarkKind.LINK, 0, 1, "javascript:x"), Mark(MarkKind.LINK, 2, 3, "mailto:a@b.example")))
    elements = content(Piece(STAFF, text), named=True)["blocks"][0]["elements"][0]["elements"]
    assert [element.get("url") for element in elements] == [None, None, "mailto:a@b.example"]


@pytest.mark.parametrize(
    ("author", "name"),
    [
        (VISITOR, "Bob (visitor)"),
        (Author(AuthorKind.STAFF, "Bob"), "Bob"),
        (Author(AuthorKind.VISITOR), "Visitor"),
        (Author(AuthorKind.VISITOR, " \n\u200b"), "Visitor"),
        (Author(AuthorKind.VISITOR, "a\n  b"), "a b (visitor)"),
        (Author(AuthorKind.STAFF, None), "Staff"),
        (SYSTEM, None),
    ],
)
def test_shows_who_speaks(author: Author, name: str | None) -> None:
    assert shown_name(author) == name
    told = message(Part((Piece(author, RichText("x")),)), Token("t-1"), named=True)
    assert told.get("username") == name


def test_a_name_of_a_page_is_cut() -> None:
    assert len(shown_name(Author(AuthorKind.VISITOR, "x" * 500)) or "") == 80


def test_the_token_is_found_again_and_nobody_elses() -> None:
    told = message(Part((Piece(VISITOR, RichText("x")),)), Token("t-1"), named=True)
    assert token_of(told, PART_EVENT) == "t-1"
    for strange in ({}, {"metadata": None}, {"metadata": {"event_type": "other", "event_payload": {"token": "t-1"}}}):
        assert token_of(strange, PART_EVENT) is None
    assert token_of({"metadata": {"event_type": PART_EVENT, "event_payload": {"token": 1}}}, PART_EVENT) is None


@given(texts, texts, st.lists(st.tuples(texts, texts), max_size=30))
def test_any_card_is_valid_and_calls_nobody(title: str, visitor: str, fields: list[tuple[str, str]]) -> None:
    told = card(
        Card(ConversationId(1), title, visitor, tuple((label or "?", value) for label, value in fields)), Token("t")
    )
    assert list(block_kit.problems(told["blocks"])) == []
    assert not block_kit.too_long(told["blocks"])
    assert "mrkdwn" not in json.dumps(told["blocks"])
    screen = Screen({})
    screen.message(told["text"], told["blocks"])
    assert screen.pings == []
