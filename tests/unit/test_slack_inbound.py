"""Events on their way in: which are a person's reply, and what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.slack.inbound import Heard, Me, Reaction, heard, reaction, staff_event, thread_of
from adapters.slack.reading import mentioned, read
from bridge.model import Mark, MarkKind, RemoteId, RichText, Staff, StaffDeletion, StaffEdit, StaffMessage, ThreadKey
from tests.emulators.slack.composer import compose

ME = Me("U0ME", "B0ME")
ANNA = Staff("U0ANNA", "Anna")
BASE: dict[str, Any] = {
    "type": "message",
    "channel": "C0",
    "user": "U0ANNA",
    "text": "hello",
    "ts": "1790000001.000200",
    "thread_ts": "1790000000.000100",
}
THREAD = ThreadKey("C0/1790000000.000100")


def changed(after: dict[str, Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    event = {"type": "message", "subtype": "message_changed", "channel": "C0", "event_ts": "1790000009.000000"}
    return {**event, "message": {**BASE, **after}, "previous_message": {**BASE, **(before or {})}}


def deleted(**previous: Any) -> dict[str, Any]:
    event = {"type": "message", "subtype": "message_deleted", "channel": "C0", "event_ts": "1790000009.000000"}
    return {**event, "deleted_ts": BASE["ts"], "previous_message": {**BASE, **previous}}


def test_a_reply_is_heard() -> None:
    what = heard(BASE, ME)
    assert what == Heard(
        THREAD, RemoteId("1790000001.000200"), datetime(2026, 9, 21, 14, 13, 21, 200, UTC), "U0ANNA", BASE
    )
    assert thread_of(THREAD) == ("C0", "1790000000.000100")
    event = staff_event(what, ANNA, {})
    assert isinstance(event, StaffMessage)
    assert event.text == RichText("hello")


@pytest.mark.parametrize("subtype", ["file_share", "thread_broadcast"])
def test_replies_of_other_kinds_are_heard(subtype: str) -> None:
    assert heard({**BASE, "subtype": subtype}, ME) is not None


@pytest.mark.parametrize(
    "event",
    [
        {"type": "reaction_added"},
        {**BASE, "thread_ts": None},
        {**BASE, "thread_ts": BASE["ts"]},
        {**BASE, "user": "U0ME"},
        {**BASE, "user": None},
        {**BASE, "user": "USLACKBOT"},
        {**BASE, "bot_id": "B0ME"},
        {**BASE, "bot_id": "B0OTHER"},
        {**BASE, "subtype": "bot_message"},
        {**BASE, "subtype": "channel_join"},
        {**BASE, "subtype": "message_replied"},
        changed({"text": "new"}),
        changed({"attachments": [{}], "edited": {"user": "U0ANNA", "ts": "1790000002.0"}}),
        changed({"text": "new", "bot_id": "B0ME", "edited": {"user": "B0ME", "ts": "1790000002.0"}}),
        changed({"text": "This message was deleted.", "subtype": "tombstone", "user": "USLACKBOT"}),
        deleted(bot_id="B0ME"),
        deleted(user="U0ME"),
        deleted(thread_ts=None),
        {**deleted(), "previous_message": None},
    ],
)
def test_everything_else_is_passed_over(event: dict[str, Any]) -> None:
    assert heard(event, ME) is None


def test_an_edit_is_named_by_its_time() -> None:
    first = heard(changed({"text": "new", "edited": {"user": "U0ANNA", "ts": "1790000002.000000"}}), ME)
    second = heard(
        changed({"text": "newer", "edited": {"user": "U0ANNA", "ts": "1790000003.000000"}}, {"text": "new"}), ME
    )
    assert first is not None
    assert second is not None
    assert len({first.key, second.key, (THREAD, BASE["ts"], "")}) == 3
    event = staff_event(first, ANNA, {})
    assert isinstance(event, StaffEdit)
    assert (event.text.text, event.version) == ("new", "1790000002.000000")


def test_a_deletion_needs_no_author() -> None:
    what = heard(deleted(), ME)
    assert what is not None
    event = staff_event(what, None, {})
    assert event == StaffDeletion(THREAD, RemoteId(BASE["ts"]), datetime(2026, 9, 21, 14, 13, 29, tzinfo=UTC))


def test_an_edit_to_nothing_counts() -> None:
    edit = heard(changed({"text": "", "edited": {"user": "U0ANNA", "ts": "1790000002.0"}}), ME)
    assert edit is not None
    assert isinstance(staff_event(edit, ANNA, {}), StaffEdit)


def test_a_note_passes_through() -> None:
    what = heard({**BASE, "text": "// ask Bert"}, ME)
    assert what is not None
    event = staff_event(what, ANNA, {})
    assert isinstance(event, StaffMessage)
    assert event.text.text == "// ask Bert"


# --- reading ----------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
def test_what_a_person_types_is_read_as_typed(text: str) -> None:
    written, blocks = compose(text)
    assert read({"text": written, "blocks": blocks}, {}).text == text
    if ":" not in written:  # an emoji without its block is a shortcode
        assert read({"text": written}, {}).text == text


def section(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"blocks": [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(elements)}]}]}


@pytest.mark.parametrize(
    ("element", "text"),
    [
        ({"type": "user", "user_id": "U1"}, "@Bert"),
        ({"type": "user", "user_id": "U9"}, "@someone"),
        ({"type": "channel", "channel_id": "C1"}, "#billing"),
        ({"type": "usergroup", "usergroup_id": "S1"}, "@group"),
        ({"type": "broadcast", "range": "here"}, "@here"),
        ({"type": "emoji", "name": "+1", "unicode": "1f44d-1f3fd"}, "👍🏽"),
        ({"type": "emoji", "name": "logo"}, ":logo:"),
        ({"type": "emoji", "name": "odd", "unicode": "zz"}, ":odd:"),
        ({"type": "link", "url": "https://a.example"}, "https://a.example"),
        ({"type": "link", "url": "https://a.example", "text": "here"}, "here"),
        ({"type": "date", "timestamp": 1, "format": "{date}", "fallback": "1 January"}, "1 January"),
        ({"type": "color", "value": "#fff"}, "#fff"),
        ({"type": "something new", "text": "words"}, "words"),
        ({"type": "something new"}, ""),
    ],
)
def test_each_element_has_a_text(element: dict[str, Any], text: str) -> None:
    assert read(section(element), {"U1": "Bert", "C1": "billing"}).text == text


def test_styles_become_marks() -> None:
    style = {"bold": True, "italic": True, "strike": True, "code": False}
    text = read(section({"type": "link", "url": "https://a.example", "text": "x", "style": style}), {})
    assert set(text.marks) == {
        Mark(MarkKind.BOLD, 0, 1),
        Mark(MarkKind.ITALIC, 0, 1),
        Mark(MarkKind.LINK, 0, 1, "https://a.example"),
    }


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
        ("<@U1> <@U1|bert> <@U9>", "@Bert @bert @someone"),
        ("<#C1> <#C1|bill> <#C1|>", "#billing #bill #billing"),
        ("<!here> <!subteam^S1|@team> <!subteam^S1> <!date^1^{date}|then>", "@here @team @subteam then"),
        ("<https://a.example/?a=1&amp;b=2> <mailto:a@b.example|a@b.example>", "https://a.example/?a=1&b=2 a@b.example"),
        ("*stars* stay", "*stars* stay"),
        ("", ""),
    ],
)
def test_text_without_blocks_is_read_from_mrkdwn(written: str, text: str) -> None:
    assert read({"text": written}, {"U1": "Bert", "C1": "billing"}).text == text
    assert read({"text": written, "blocks": [{"type": "section"}]}, {"U1": "Bert", "C1": "billing"}).text == text


def reacted(**changes: Any) -> dict[str, Any]:
    item = {"type": "message", "channel": "C0", "ts": BASE["ts"]}
    return {"type": "reaction_added", "user": "U0ANNA", "item_user": "U0ME", "item": item, **changes}


@pytest.mark.parametrize("author", [{}, {"item_user": None}], ids=["ours", "under another name"])
def test_a_reaction_to_what_we_posted_is_heard(author: dict[str, Any]) -> None:
    assert reaction(reacted(**author), ME) == Reaction("U0ANNA", "C0", BASE["ts"])


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "reaction_removed"},
        {"user": "U0ME"},
        {"item_user": "U0ANNA"},
        {"item": {"type": "file", "file": "F1"}},
    ],
)
def test_other_reactions_are_not(changes: dict[str, Any]) -> None:
    assert reaction(reacted(**changes), ME) is None


def test_finds_whom_a_text_names() -> None:
    assert mentioned(section({"type": "user", "user_id": "U1"}, {"type": "channel", "channel_id": "C1"})) == {
        "U1",
        "C1",
    }
    assert mentioned({"text": "<@U1> &lt;@U2&gt; <#C1|x> <!here>"}) == {"U1", "C1"}
    assert mentioned({}) == frozenset()


def test_a_links_address_is_unescaped() -> None:
    text = read({"text": "<https://a.example/?a=1&amp;b=2|see &lt;this&gt;>"}, {})
    assert text == RichText("see <this>", (Mark(MarkKind.LINK, 0, 10, "https://a.example/?a=1&b=2"),))
