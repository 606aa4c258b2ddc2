"""Discord's Markdown: what is written shows as it was meant, what is read means what was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.discord.markdown import escape, parse, render
from adapters.discord.outbound import measure
from bridge.model import SYSTEM, Author, AuthorKind, Mark, MarkKind, Piece, RichText
from bridge.richtext import from_markdown
from tests.emulators.discord.markdown import literally, pings
from tests.emulators.discord.markdown import render as shown

TEXTS = Path(__file__).parents[1] / "data" / "texts"
NAUGHTY: list[str] = json.loads((TEXTS / "naughty.json").read_text(encoding="utf-8"))
LINES: list[str] = [line for talk in json.loads((TEXTS / "dialogues.json").read_text("utf-8")) for _, line in talk]

# Mostly what Discord gives a meaning, so that chance finds the constructs.
PIECES = [
    *"\\*_~|`[](){}<>#-+.:@!&/ \n\t=\"'",
    *("a", "b", "1", "12", "é", "😀", "  ", "\n# ", "\n- ", "\n1. ", "\n> ", "\n-# ", "```", "||", "~~", "__", "**"),
    *(":smile:", "<@1>", "<#2>", "<@&3>", "<t:1>", "<a:x:1>", "@everyone", "https://", "http://a.b/", "steam://"),
    *("https://a.b/c_d_e", "HTTPS://x_y_", "[a](http://b.c)", "<https://a.b>"),
]
MARKUP = st.lists(st.sampled_from(PIECES), max_size=24).map("".join)
TEXT = MARKUP | st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@settings(max_examples=1500, deadline=None)
@given(TEXT)
@example("https://a.b/c_d_e* and *b*")
@example("see https://a.b/c_d_e, ok_ok_")
@example("https://a.b<@1>")
@example("http://*.")
@example(":https://HTTPS://x_y_")
def test_escaped_text_shows_as_it_is(text: str) -> None:
    assert shown(escape(text)) == text


@pytest.mark.parametrize("text", NAUGHTY)
def test_naughty_text_shows_as_it_is(text: str) -> None:
    assert shown(escape(text)) == text


def test_dialogues_show_as_they_are() -> None:
    assert [shown(escape(line)) for line in LINES] == LINES


def test_the_renderer_can_tell() -> None:
    source = "# a **b** <@1> [c](http://d.e) :smile:\n- f"
    assert shown(source, {"1": "Anna"}) == "a b @Anna c 😄\n• f"
    assert pings("<@1> @everyone", None) == ["<@1>", "@everyone"]
    assert pings("<@1> @everyone", {"parse": []}) == []


def test_plain_addresses_stay_links() -> None:
    assert escape("see https://a.b/c_d?e=f&g=*") == r"see https\://a.b/c\_d?e=f&g=\*"
    for text in ("see https://a.b/c_d?e=f#g!", "(https://en.wikipedia.org/wiki/A_(b))", "https://a.b\nhttps://c.d/e_f"):
        assert escape(text).count("https://") == text.count("https://")
        assert "\\_" not in escape(text)


@settings(max_examples=1500, deadline=None)
@given(TEXT)
@example(":__:__")
def test_what_is_meant_literally_is_read_literally(text: str) -> None:
    assert parse(literally(text), {}).text == text


@pytest.mark.parametrize("text", NAUGHTY)
def test_naughty_text_is_read_literally(text: str) -> None:
    assert parse(literally(text), {}) == RichText(text)


@settings(max_examples=500, deadline=None)
@given(TEXT, MARKUP)
def test_measure_grows_with_the_text(text: str, more: str) -> None:
    def size(value: str) -> int:
        return measure((Piece(Author(AuthorKind.VISITOR), RichText(value)),))

    assert size(text) <= size(text + more)


def test_measure_counts_utf16_units_of_the_source() -> None:
    assert measure((Piece(Author(AuthorKind.VISITOR), RichText("*😀")),)) == 4


BOLD, ITALIC, LINK = MarkKind.BOLD, MarkKind.ITALIC, MarkKind.LINK


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("**a** *b* _c_", RichText("a b c", (Mark(BOLD, 0, 1), Mark(ITALIC, 2, 3), Mark(ITALIC, 4, 5)))),
        ("***a***", RichText("a", (Mark(BOLD, 0, 1), Mark(ITALIC, 0, 1)))),
        ("a_b_c", RichText("a_b_c")),
        ("`a*b*`", RichText("a*b*", (Mark(MarkKind.CODE, 0, 4),))),
        ("x\n```py\na\n\nb\n```\ny", RichText("x\na\n\nb\ny", (Mark(MarkKind.PRE, 2, 6),))),
        ("[a b](https://c.d/e)", RichText("a b", (Mark(LINK, 0, 3, "https://c.d/e"),))),
        ("<https://a.b>", RichText("https://a.b")),
        ("- a\n- b", RichText("a\nb", (Mark(MarkKind.ITEM, 0, 1), Mark(MarkKind.ITEM, 2, 3)))),
        ("7. a", RichText("a", (Mark(MarkKind.ITEM, 0, 1, "7"),))),
        ("> a\n> b\nc", RichText("a\nb\nc", (Mark(MarkKind.QUOTE, 0, 3),))),
        (">>> a\nb", RichText("a\nb", (Mark(MarkKind.QUOTE, 0, 3),))),
        ("# a", RichText("a", (Mark(BOLD, 0, 1),))),
        ("__a__ ~~b~~ ||c||", RichText("a b c")),
        ("<:party:123> <a:x:1>", RichText(":party: :x:")),
        ("<@1> <@!1> <@&2> <#3> <@9>", RichText("@Anna @Anna @team #shop @unknown")),
        ("<t:0:R>", RichText("1970-01-01 00:00 UTC")),
        (r"\*a\* \\", RichText("*a* \\")),
        ("// a note", RichText("// a note")),
    ],
)
def test_staffs_markup_becomes_marks(source: str, expected: RichText) -> None:
    names = {"@1": "Anna", "&2": "team", "#3": "shop"}
    found = parse(source, names)
    assert (found.text, sorted(found.marks, key=repr)) == (expected.text, sorted(expected.marks, key=repr))


@pytest.mark.parametrize(
    ("markdown", "source"),
    [
        ("**a** *b*", "**a** _b_"),
        ("*b*c", "*b*c"),
        ("`x*y`", "`x*y`"),
        ("- a\n- b", "- a\n- b"),
        ("3. a", "3. a"),
        ("> q **b**", "> q **b**"),
        ("```\na*b\n```\nc", "```\na*b\n```\nc"),
        ("[a*b](https://c.d)", "[a*b](https://c.d)".replace("*", r"\*")),
        (r"\*no\* @everyone <@1>", r"\*no\* \@everyone \<@1>"),
    ],
)
def test_marks_become_markup(markdown: str, source: str) -> None:
    assert render(from_markdown(markdown)) == source


@settings(max_examples=800, deadline=None)
@given(MARKUP)
@example("*https://a.b/c_d_e*")
@example("*`a_b`*")
@example("http://a.b/__*__")
@example("**`**`**")
@example("**a***b*c")
@example("```\\`https://__```\\")
@example(r"_\\_HTTPS://x_y_*_")
@example("*a`(`*")
@example(":*:*")
@example(r"[\[a](http://b.c)")
@example("\n> ```\n> \\")
def test_a_rich_text_loses_no_characters(source: str) -> None:
    text = from_markdown(source)
    seen = shown(render(text)).replace("• ", "")
    plain = "".join(text.text.split())
    if not any(mark.kind is MarkKind.ITEM for mark in text.marks):  # numbers of lists are characters too
        assert "".join(seen.split()) == plain


def test_a_systems_piece_is_small_print() -> None:
    assert shown("-# a") == "a"
    assert measure((Piece(SYSTEM, RichText("a")),)) == len("-# a")
