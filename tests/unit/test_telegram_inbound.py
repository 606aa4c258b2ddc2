"""Telegram's updates as staff events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telegram import MessageEntity, Update

from adapters.telegram import inbound
from bridge.model import Mark, MarkKind, RichText, StaffEdit, StaffEvent, StaffMessage
from bridge.richtext import utf16_length

CHAT = {"id": -100123, "type": "supergroup", "title": "Support", "is_forum": True}
ANNA = {"id": 5, "is_bot": False, "first_name": "Anna", "last_name": "Berg"}
STICKER = {"width": 1, "height": 1, "type": "regular", "is_animated": False, "is_video": False}


def update(kind: str = "message", **content: Any) -> Update:
    message = {
        "message_id": 9,
        "date": 1_800_000_000,
        "chat": CHAT,
        "from": ANNA,
        "message_thread_id": 4,
        "is_topic_message": True,
    } | content
    message = {key: value for key, value in message.items() if value is not None}
    return Update.de_json({"update_id": 1, kind: message})


def event(kind: str = "message", **content: Any) -> StaffEvent | None:
    change = update(kind, **content)
    message = inbound.heard(change)
    return inbound.event_of(change, inbound.staff_of(message)) if message is not None else None


def test_a_message() -> None:
    heard = event(text="hello")
    assert isinstance(heard, StaffMessage)
    assert (heard.thread, heard.remote_id, heard.text) == ("-100123/4", "9", RichText("hello"))
    assert (heard.staff.remote_id, heard.staff.name) == ("5", "Anna Berg")
    assert heard.at == datetime.fromtimestamp(1_800_000_000, UTC)


def test_a_note_is_passed_on_as_it_is() -> None:
    heard = event(text="//for us", entities=[{"type": "bot_command", "offset": 1, "length": 4}])
    assert isinstance(heard, StaffMessage)
    assert heard.text == RichText("//for us")


@pytest.mark.parametrize(
    "content",
    [
        {"from": {"id": 6, "is_bot": True, "first_name": "Other"}, "text": "x"},
        {"message_thread_id": None, "is_topic_message": None, "text": "in General"},
        {"is_topic_message": None, "text": "an answer outside of topics has a thread, too"},
        {"forum_topic_closed": {}},
        {"forum_topic_edited": {"name": "x"}},
        {"pinned_message": {"message_id": 3, "date": 0, "chat": CHAT}},
        {"new_chat_members": [ANNA]},
        {"is_automatic_forward": True, "text": "from the channel"},
    ],
)
def test_what_no_person_says_in_a_topic_is_dropped(content: dict[str, Any]) -> None:
    assert event(**content) is None


def test_an_anonymous_administrator_is_staff() -> None:
    hidden: dict[str, Any] = {
        "from": {"id": 1087968824, "is_bot": True, "first_name": "Group"},
        "sender_chat": CHAT,
        "text": "x",
    }
    signed, unsigned = event(**hidden, author_signature="Boss"), event(**hidden)
    assert isinstance(signed, StaffMessage)
    assert isinstance(unsigned, StaffMessage)
    assert (signed.staff.name, unsigned.staff.name) == ("Boss", "Support")


def test_edits_in_one_second_differ_and_a_repeat_does_not() -> None:
    first = event("edited_message", text="one", edit_date=1_800_000_005)
    second = event("edited_message", text="two", edit_date=1_800_000_005)
    again = event("edited_message", text="two", edit_date=1_800_000_005)
    assert isinstance(first, StaffEdit)
    assert isinstance(second, StaffEdit)
    assert isinstance(again, StaffEdit)
    assert first.version != second.version == again.version
    assert second.text == RichText("two")


def test_an_edit_may_take_a_files_caption_away_but_not_move_a_place() -> None:
    document = {"document": {"file_id": "a", "file_unique_id": "b"}, "edit_date": 1}
    assert isinstance(event("edited_message", **document), StaffEdit)
    assert event("edited_message", location={"latitude": 1.0, "longitude": 2.0}, edit_date=1) is None


def test_entities_become_marks() -> None:
    text = "👍🏽 bold code link https://a.example @anna"
    entities = [
        {"type": "bold", "offset": 5, "length": 4},
        {"type": "code", "offset": 10, "length": 4},
        {"type": "text_link", "offset": 15, "length": 4, "url": "https://b.example"},
        {"type": "url", "offset": 20, "length": 17},
        {"type": "mention", "offset": 38, "length": 5},
    ]
    heard = event(text=text, entities=entities)
    assert isinstance(heard, StaffMessage)
    assert heard.text == RichText(
        text,
        (
            Mark(MarkKind.BOLD, 3, 7),
            Mark(MarkKind.CODE, 8, 12),
            Mark(MarkKind.LINK, 13, 17, "https://b.example"),
        ),
    )


@given(st.text(st.sampled_from("aé中👍🏽\U0001f468"), min_size=1), st.data())
def test_every_offset_is_found(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    entity = MessageEntity("bold", utf16_length(text[:start]), utf16_length(text[start:end]))
    assert inbound.rich_text(text, [entity]).marks == (Mark(MarkKind.BOLD, start, end),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"contact": {"phone_number": "+390", "first_name": "Ugo", "last_name": "Bo"}}, "Ugo Bo: +390"),
        (
            {"location": {"latitude": 45.5, "longitude": 9.25}},
            "https://www.openstreetmap.org/?mlat=45.500000&mlon=9.250000#map=17/45.500000/9.250000",
        ),
        ({"dice": {"emoji": "🎲", "value": 4}}, "🎲 4"),
    ],
)
def test_things_have_words(content: dict[str, Any], words: str) -> None:
    heard = event(**content)
    assert isinstance(heard, StaffMessage)
    assert heard.text == RichText(words)


EYES, HEART = {"type": "emoji", "emoji": "👀"}, {"type": "emoji", "emoji": "❤"}


@pytest.mark.parametrize(
    ("change", "heard"),
    [
        ({"user": ANNA, "old_reaction": [], "new_reaction": [EYES]}, True),
        ({"user": ANNA, "old_reaction": [EYES], "new_reaction": [HEART]}, True),
        ({"actor_chat": CHAT, "old_reaction": [], "new_reaction": [EYES]}, True),
        ({"user": ANNA, "old_reaction": [EYES, HEART], "new_reaction": [HEART]}, False),
        ({"user": ANNA | {"is_bot": True}, "old_reaction": [], "new_reaction": [EYES]}, False),
    ],
)
def test_who_adds_a_reaction_has_seen_the_message(change: dict[str, Any], heard: bool) -> None:
    told = {"chat": CHAT, "message_id": 9, "date": 1_800_000_000, **change}
    update = Update.de_json({"update_id": 1, "message_reaction": told})
    assert inbound.reacted_to(update) == ((-100123, 9) if heard else None)


@pytest.mark.parametrize(
    ("content", "name", "type"),
    [
        ({"sticker": STICKER}, "sticker.webp", "image/webp"),
        ({"voice": {"duration": 1}}, "voice.ogg", "audio/ogg"),
        ({"video_note": {"duration": 1, "length": 1}}, "video.mp4", "video/mp4"),
        ({"video": {"duration": 1, "width": 1, "height": 1, "mime_type": "video/mp4"}}, "video.mp4", "video/mp4"),
        ({"document": {"file_name": "a b.pdf", "mime_type": "application/pdf"}}, "a b.pdf", "application/pdf"),
        ({"document": {}}, "file", "application/octet-stream"),
    ],
)  # fmt: skip
def test_files(content: dict[str, Any], name: str, type: str) -> None:
    ((kind, fields),) = content.items()
    message = inbound.heard(update(**{kind: fields | {"file_id": "a", "file_unique_id": "b", "file_size": 7}}))
    assert message is not None
    assert inbound.file_of(message) == inbound.RemoteFile("a", name, type, 7)


def test_the_largest_photo_is_taken() -> None:
    sizes = [{"file_id": str(s), "file_unique_id": str(s), "width": s, "height": s} for s in (90, 800, 320)]
    message = inbound.heard(update(photo=sizes))
    assert message is not None
    assert inbound.file_of(message) == inbound.RemoteFile("800", "photo.jpg", "image/jpeg", 0)
