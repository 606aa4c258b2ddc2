"""Parts as Telegram's text and entities."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.telegram import outbound
from adapters.telegram.inbound import rich_text
from bridge.model import SYSTEM, Author, AuthorKind, Mark, MarkKind, Piece, RichText
from bridge.richtext import utf16_length
from tests.emulators.telegram.text import overlaps, settled

VISITOR = Author(AuthorKind.VISITOR, "Vera")
ANNA = Author(AuthorKind.STAFF, "Anna")


def said(text: str, *marks: Mark, by: Author = VISITOR, at: datetime | None = None) -> Piece:
    return Piece(by, RichText(text, marks), at)


def entities(*pieces: Piece) -> list[dict[str, Any]]:
    return [entity.to_dict() for entity in outbound.render(pieces).entities]


texts = st.text(st.sampled_from("ab @x_-.\n👍🏽é中"), min_size=1, max_size=40)


@st.composite
def rich(draw: st.DrawFn) -> RichText:
    text = draw(texts)
    marks = []
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(text) - 1))
        kind = draw(st.sampled_from([MarkKind.BOLD, MarkKind.ITALIC, MarkKind.CODE, MarkKind.LINK, MarkKind.QUOTE]))
        marks.append(Mark(kind, start, draw(st.integers(start + 1, len(text))), "https://a.example"))
    return RichText(text, tuple(marks))


def test_a_single_visitors_text_stands_bare() -> None:
    assert outbound.render([said("hello *you*")]) == outbound.Rendered("hello *you*", ())


def test_pieces_are_joined_with_blank_lines_and_named_where_there_are_several_authors() -> None:
    rendered = outbound.render([said("one"), said("two", by=ANNA), said("three", by=SYSTEM)])
    assert rendered.text == "Vera (visitor):\none\n\nAnna:\ntwo\n\nthree"
    assert [(e.type, e.offset, e.length) for e in rendered.entities] == [
        ("bold", 0, 15),
        ("bold", 21, 5),
        ("italic", 32, 5),
    ]


@pytest.mark.parametrize("name", ["Anna", " Anna\n", "Staff", None])
def test_a_visitor_cannot_pass_for_staff(name: str | None) -> None:
    for staff in (ANNA, Author(AuthorKind.STAFF)):
        rendered = outbound.render([said("paid", by=Author(AuthorKind.VISITOR, name)), said("paid", by=staff)])
        visitors, theirs = (paragraph.partition("\n")[0] for paragraph in rendered.text.split("\n\n"))
        assert "isitor" in visitors
        assert visitors != theirs


def test_mirrored_staff_are_always_named_and_one_visitor_never() -> None:
    assert outbound.render([said("hi", by=ANNA)]).text == "Anna:\nhi"
    assert outbound.render([said("one"), said("two")]).text == "one\n\ntwo"


def test_a_late_piece_carries_its_time() -> None:
    at = datetime(2026, 1, 31, 12, 5, tzinfo=UTC)
    assert outbound.render([said("late", at=at)]).text == "2026-01-31 12:05 UTC\nlate"
    assert outbound.render([said("late", by=ANNA, at=at)]).text == "Anna: 2026-01-31 12:05 UTC\nlate"


def test_offsets_count_utf16_units() -> None:
    assert entities(said("👍🏽a bold", Mark(MarkKind.BOLD, 4, 8))) == [{"type": "bold", "offset": 6, "length": 4}]


def test_lists_get_their_bullets_and_marks_move_with_them() -> None:
    text = "a\nbc"
    piece = said(text, Mark(MarkKind.ITEM, 0, 1), Mark(MarkKind.ITEM, 2, 4, "2"), Mark(MarkKind.BOLD, 3, 4))
    rendered = outbound.render([piece])
    assert rendered.text == "• a\n2. bc"
    assert [(e.type, e.offset, e.length) for e in rendered.entities] == [("bold", 8, 1)]


@pytest.mark.parametrize("text", ["@anna", "hi @anna_b!", "x\n@anna, @bob", ".@anna", "é@anna"])
def test_nobody_is_mentioned_and_the_characters_stay(text: str) -> None:
    rendered = outbound.render([said(text)])
    assert rendered.text == text
    kinds = {entity["type"] for entity in settled(text, entities(said(text)), limit=4096)[1]}
    assert kinds == {"code"}


def test_an_address_of_mail_is_no_mention() -> None:
    assert entities(said("write to a@b.example")) == []


def test_a_mention_cannot_hide_in_marks() -> None:
    piece = said("@anna", Mark(MarkKind.BOLD, 0, 1), Mark(MarkKind.LINK, 0, 3, "https://a.example"))
    assert entities(piece) == [{"type": "code", "offset": 0, "length": 5}]


def test_a_wall_of_mentions_calls_nobody() -> None:
    text = " ".join(f"@user{number}" for number in range(150))
    given_entities = entities(said(text, Mark(MarkKind.BOLD, 0, 3)))
    assert len(given_entities) <= 100
    assert not [e for e in settled(text, given_entities, limit=4096)[1] if e["type"] == "mention"]


def test_a_link_that_would_be_a_mention_is_left_out() -> None:
    assert entities(said("you", Mark(MarkKind.LINK, 0, 3, "tg://user?id=1"))) == []


def test_a_topics_name() -> None:
    assert outbound.topic_name("Shop\n 12", "x") == "Shop 12"
    assert outbound.topic_name(" ", "Conversation 7") == "Conversation 7"
    assert len(outbound.topic_name("n" * 300, "x")) == 128


@given(st.lists(rich(), min_size=1, max_size=4), st.booleans())
def test_measure_is_no_less_than_what_is_sent(bodies: list[RichText], late: bool) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC) if late else None
    pieces = [Piece((VISITOR, ANNA, SYSTEM)[i % 3], body, at) for i, body in enumerate(bodies)]
    assert outbound.measure(pieces) >= utf16_length(outbound.render(pieces).text)


@given(texts, texts)
def test_measure_does_not_shrink(text: str, more: str) -> None:
    assert outbound.measure([said(text + more)]) >= outbound.measure([said(text)])


@given(rich())
def test_entities_keep_the_rules_and_nobody_is_mentioned(text: RichText) -> None:
    rendered = outbound.render([Piece(VISITOR, text)])
    sent = [entity.to_dict() for entity in rendered.entities]
    assert overlaps(sent) == []
    found = settled(rendered.text, sent, limit=4096, may_be_empty=True)[1]  # blank text never goes out as it is
    assert not [e for e in found if e["type"] == "mention"]


@given(rich())
def test_marks_come_back_where_they_were(text: RichText) -> None:
    """Of bold and italic, every character outside of code keeps its style through both conversions of offsets."""
    rendered = outbound.render([Piece(VISITOR, text)])
    back = rich_text(rendered.text, rendered.entities)
    assert back.text == text.text
    code = _covered(back, MarkKind.CODE)
    for kind in (MarkKind.BOLD, MarkKind.ITALIC):
        assert _covered(back, kind) == _covered(text, kind) - code
    mentions = {i for found in re.finditer("@[a-z_]+", text.text) for i in range(found.start(), found.end())}
    assert code <= _covered(text, MarkKind.CODE) | mentions


def _covered(text: RichText, kind: MarkKind) -> set[int]:
    return {index for mark in text.marks if mark.kind is kind for index in range(mark.start, mark.end)}
