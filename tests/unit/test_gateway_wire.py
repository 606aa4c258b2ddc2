"""Frames: whatever comes gives a frame or a WireError, and what goes out says what the contract says."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.conversations import History, Resumption
from bridge.errors import WireCode, WireError
from bridge.gateway import wire
from bridge.hints import DeliveryHint
from bridge.model import (
    Attachment,
    Author,
    AuthorKind,
    ConversationId,
    DeliveryState,
    EntryId,
    Event,
    FileId,
    Format,
    Message,
    Revision,
    Site,
    SiteKey,
    VisitorId,
)

NAUGHTY = json.loads((Path(__file__).parents[1] / "data/texts/naughty.json").read_text())
AT = datetime(2026, 1, 31, 12, 0, 0, 5999, tzinfo=UTC)
ENCODER = wire.Encoder(lambda file: f"/files/{file}", lambda _: None)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
fields = ["type", "id", "text", "attachments", "on", "seq", "before", "url", "v", "site", "token", "after", "identity"]
types = st.sampled_from(["hello", "message", "typing", "read", "page", "track", "history"])
near_frames = st.builds(
    lambda kind, rest: {"type": kind, **rest}, types, st.dictionaries(st.sampled_from(fields[1:]), json_values)
)


def message(**changes):
    given = {
        "id": EntryId(7),
        "visitor": VisitorId(1),
        "conversation": ConversationId(2**62),
        "seq": 16,
        "author": Author(AuthorKind.STAFF, "Anna", FileId("a1")),
        "text": "Hi",
        "at": AT,
    }
    return Message(**{**given, **changes})


def refused(data: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        wire.decode(data)
    return caught.value


@given(st.binary() | near_frames.map(lambda frame: json.dumps(frame).encode()))
def test_any_bytes_give_a_frame_or_a_wire_error(data):
    wire.frame_id(data)
    try:
        frame = wire.decode(data)
    except WireError as error:
        wire.error(error, wire.frame_id(data)).decode()
    else:
        assert isinstance(frame, wire.ClientFrame)


@given(st.text(min_size=1, max_size=4000), st.text(min_size=1, max_size=64))
def test_a_message_arrives_as_it_was_written(text, id):
    data = json.dumps({"type": "message", "id": id, "text": text}).encode()
    if "\0" in text + id or not text.strip():
        assert refused(data).code is WireCode.BAD_FRAME
    else:
        frame = wire.decode(data)
        assert (frame.id, frame.text) == (id, text)


@pytest.mark.parametrize("text", NAUGHTY)
def test_strings_that_break_programs_pass_or_are_empty(text):
    data = json.dumps({"type": "message", "id": "1", "text": text}, ensure_ascii=False).encode()
    if text.strip():
        assert wire.decode(data).text == text
    else:
        assert refused(data).code is WireCode.BAD_FRAME


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"[]",
        b'"message"',
        b'{"id":"x"}',
        b'{"type":"unknown","id":"x"}',
        b'{"type":"message","text":"no id"}',
        b'{"type":"message","id":"","text":"hi"}',
        b'{"type":"message","id":"' + b"x" * 65 + b'","text":"hi"}',
        b'{"type":"message","id":"x","text":""}',
        b'{"type":"message","id":"x","text":"\\ud800"}',
        b'{"type":"message","id":"x","text":"a\\u0000"}',
        b'{"type":"message","id":"x","text":"\xff"}',
        b'{"type":"message","id":"x","text":"hi","other":"\xff"}',
        b'{"type":"message","id":"x","text":"hi","other":' + b"[" * 60_000,
        b'{"type":"message","id":"x","attachments":' + json.dumps(["a"] * 11).encode() + b"}",
        b'{"type":"read","seq":-1}',
        b'{"type":"read","seq":' + b"9" * 40 + b"}",
        b'{"type":"hello","site":"shop"}',
        b'{"type":"hello","v":2,"site":"shop"}',
        b'{"type":"hello","v":1,"site":"shop","page":{"title":"\\u0000"}}',
        b'{"type":"track","name":""}',
        b'{"type":"track","name":" \\n\\u200b\\u00a0"}',
        b'{"type":"track","name":"\\u0000"}',
        b'{"type":"track","name":"x","data":{"a\\u0000":1}}',
        b'{"type":"track","name":"x","data":{"a":"\\u0000"}}',
        b'{"type":"track","name":"x","data":{"a":{"b":1}}}',
        b'{"type":"track","name":"x","data":["a"]}',
        b'{"type":"track","name":"x","data":{"a":' + b"[" * 900 + b'"\\u0000"' + b"]" * 900 + b"}}",
    ],
)
def test_bad_frames(data):
    assert refused(data).code is WireCode.BAD_FRAME


def test_the_length_of_a_text_is_counted_in_code_points():
    frame = {"type": "message", "id": "1", "text": "😀" * 4000}
    assert wire.decode(json.dumps(frame).encode()).text == frame["text"]
    frame["text"] += "."
    assert refused(json.dumps(frame).encode()).code is WireCode.TOO_LONG


def test_unknown_fields_are_passed_over_and_attachments_need_no_text():
    frame = wire.decode(b'{"type":"message","new":{"a":[1,null]},"id":"1","text":"","attachments":["f"]}')
    assert frame.attachments == ("f",)


@pytest.mark.parametrize(
    ("data", "id"),
    [
        (b'{"type":"message","id":"x","text":"\\ud800"}', "x"),
        (b'{"type":"message","text":"\xff","id":"x"}', "x"),
        (b'{"type":"nothing","id":"x"}', "x"),
        (b'{"type":"message","id":5}', None),
        (b'{"type":"message","id":"\\ud800"}', None),
        (b'{"type":"message","id":"' + b"x" * 65 + b'"}', None),
        (b'{"type":"message","id":"x"', None),
        (b"[" * 60_000, None),
        (b"[]", None),
    ],
)
def test_an_error_names_the_frame_that_caused_it_where_it_can(data, id):
    assert wire.frame_id(data) == id


def test_long_pages_are_cut():
    data = {"type": "page", "url": "https://shop.example/" + "x" * 9000, "title": "t" * 9000}
    page = wire.decode(json.dumps(data).encode()).to_page()
    assert (len(page.url), len(page.title)) == (2000, 300)


def test_a_message_frame_says_what_there_is_to_say():
    frame = ENCODER.entry(message())
    assert frame.startswith(b'{"type":"message","seq":16,"conversation":"4611686018427387904",')
    assert json.loads(frame) == {
        "type": "message",
        "seq": 16,
        "conversation": "4611686018427387904",
        "from": {"kind": "staff", "name": "Anna", "avatar": "/files/a1"},
        "text": "Hi",
        "attachments": [],
        "at": "2026-01-31T12:00:00.005Z",
    }


def test_a_visitors_message_carries_its_id_and_delivery():
    file = Attachment(FileId("f1"), "a.png", "image/png", 9)
    own = message(
        author=Author(AuthorKind.VISITOR), client_id="c1", delivery=DeliveryState.SENT, attachments=(file,), edited=True
    )
    frame = json.loads(ENCODER.entry(own))
    assert frame["from"] == {"kind": "visitor"}
    assert (frame["id"], frame["delivery"], frame["edited"]) == ("c1", "sent", True)
    assert frame["attachments"] == [{"id": "f1", "name": "a.png", "type": "image/png", "size": 9, "url": "/files/f1"}]


def test_what_was_deleted_is_not_sent():
    frame = json.loads(ENCODER.entry(message(deleted=True)))
    assert (frame["text"], frame["deleted"]) == ("", True)


def test_revisions_system_messages_and_formats():
    staff = Author(AuthorKind.STAFF)
    one = Revision(EntryId(1), VisitorId(1), ConversationId(2), 17, 16, staff, "*b*", AT, Format.MARKDOWN)
    gone = Revision(EntryId(1), VisitorId(1), ConversationId(2), 18, 16, staff, "", AT, deleted=True)
    opened = message(author=Author(AuthorKind.SYSTEM), event=Event.OPENED, text="", format=Format.MARKDOWN)
    assert json.loads(ENCODER.entry(one)) == {
        "type": "revision", "seq": 17, "of": 16, "conversation": "2", "text": "*b*", "format": "markdown",
    }  # fmt: skip
    assert json.loads(ENCODER.entry(gone)) == {
        "type": "revision", "seq": 18, "of": 16, "conversation": "2", "deleted": True,
    }  # fmt: skip
    assert json.loads(ENCODER.entry(opened))["event"] == "opened"


def test_a_welcome_has_all_its_keys():
    site = Site(SiteKey("shop"), "Shop", frozenset(), (), look={"accent": "#123456"})
    hint = DeliveryHint(VisitorId(1), 3, DeliveryState.FAILED)
    resumption = Resumption(16, 0, 2, None, reset=False, entries=(message(),), deliveries=(hint,))
    frame = ENCODER.welcome("token", 5, "log", resumption, site)
    assert frame.startswith(b'{"type":"welcome","v":1,"token":"token","visitor":"5","log":"log","conversation":null,')
    welcome = json.loads(frame)
    assert (welcome["seq"], welcome["read"], welcome["seen"], welcome["reset"]) == (16, 0, 2, False)
    assert welcome["messages"] == [json.loads(ENCODER.entry(message()))]
    assert welcome["deliveries"] == [{"of": 3, "state": "failed"}]
    assert welcome["site"] == {"key": "shop", "name": "Shop", "look": {"accent": "#123456"}}


def test_small_frames():
    own = message(client_id="c1")
    assert wire.ack(own) == b'{"type":"ack","id":"c1","seq":16,"at":"2026-01-31T12:00:00.005Z"}'
    assert wire.read(4) == b'{"type":"read","seq":4}'
    assert ENCODER.typing(Author(AuthorKind.STAFF, "Anna"), on=False) == (
        b'{"type":"typing","from":{"kind":"staff","name":"Anna"},"on":false}'
    )
    assert json.loads(ENCODER.history(History([message()], more=True)))["more"] is True
    slow = WireError(WireCode.RATE_LIMITED, "Slowly.", retry_after=3.0)
    assert wire.error(slow, "x") == (
        b'{"type":"error","code":"rate_limited","detail":"Slowly.","id":"x","retry_after":3.0}'
    )


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ({"name": "Paid"}, "Paid"),
        ({"name": " Paid\n by\tcard", "data": {}}, "Paid by card"),
        ({"name": "Cart", "data": {"item": "Sunrise", "grams": 250, "new": True, "of": None, "rate": 0.5}},
         "Cart (item: Sunrise, grams: 250, new: true, of: null, rate: 0.5)"),
        ({"name": "n" * 65, "data": {"k": "v" * 600}}, f"{'n' * 63}… (k: {'v' * 496}…)"),
        ({"name": "🛒", "data": None}, "🛒"),
        ({"name": "Cart", "data": {"n": 10**20}}, "Cart (n: 100000000000000000000)"),
    ],
)  # fmt: skip
def test_what_a_page_tells_of_a_visitor_is_one_line_within_bounds(frame, told):
    decoded = wire.decode(json.dumps({"type": "track", **frame}).encode())
    assert isinstance(decoded, wire.TrackFrame)
    assert decoded.to_text() == told
