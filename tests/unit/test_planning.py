"""What goes into a thread together, and in which parts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.deliveries import Claim, Pending, ThreadState
from bridge.model import (
    Attachment,
    Author,
    AuthorKind,
    ConversationId,
    DeliveryId,
    Destination,
    EntryId,
    Event,
    FileId,
    Message,
    Page,
    Part,
    Piece,
    Profile,
    VisitorId,
)
from bridge.planning import card, parts, plan
from bridge.ports import Budget, Capabilities

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PROFILE = Profile(name="Eve", locale="it-IT", timezone="Europe/Rome", page=Page("https://shop.example/", "Shop"))
VISITOR = Author(AuthorKind.VISITOR)


def measure(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.text.text) + 2 for piece in pieces)


def capabilities(*, coalesces: bool = False, card_in_thread: bool = True, limit: int = 20) -> Capabilities:
    return Capabilities(
        limit, Budget(1, 1), coalesces=coalesces, card_in_thread=card_in_thread, file_limit=1000, concurrency=1
    )


def waiting(*texts: str, author: Author = VISITOR, files: tuple[Attachment, ...] = ()) -> list[Pending]:
    return [
        Pending(
            DeliveryId(number),
            Message(EntryId(number), VisitorId(1), ConversationId(1), number, author, text, NOW, attachments=files),
            None,
            NOW,
        )
        for number, text in enumerate(texts, start=1)
    ]


OPENING = Pending(
    DeliveryId(0),
    Message(EntryId(0), VisitorId(1), ConversationId(1), 1, Author(AuthorKind.SYSTEM), "", NOW, event=Event.OPENED),
    None,
    NOW,
)


def planned(
    pending: Sequence[Pending], able: Capabilities, now: datetime = NOW
) -> tuple[tuple[DeliveryId, ...], Sequence[Part]]:
    chosen = plan(pending, PROFILE, able, measure, now)
    claim = Claim(
        DeliveryId(1), Destination.parse("x"), ConversationId(1), VisitorId(1), PROFILE,
        tuple(each for each in pending if each.id in chosen.members), chosen, 0, None, uncertain=False, attempts=1,
        unanswered=0, defects=0, cuts=0, cut_since=None, reason="", since=NOW, until=NOW,
        thread=ThreadState(None, None, None),
    )  # fmt: skip
    return chosen.members, parts(claim, able)


def texts(sent: Sequence[Part]) -> list[list[str]]:
    return [[piece.text.text for piece in part.pieces] for part in sent]


def test_one_message_at_a_time_where_the_platform_shows_each_author() -> None:
    members, sent = planned(waiting("one", "two"), capabilities())
    assert members == (1,)
    assert texts(sent) == [["one"]]


def test_what_waits_for_one_thread_is_joined_up_to_the_limit() -> None:
    members, sent = planned(waiting("one", "two", "three", "four", "five"), capabilities(coalesces=True))
    assert members == (1, 2, 3)  # 5 + 5 + 7 fit into 20, 6 more do not
    assert texts(sent) == [["one", "two", "three"]]


def test_the_parts_of_a_long_text_have_room_for_their_time() -> None:
    def stamped(pieces: Sequence[Piece]) -> int:
        return sum(len(piece.text.text) + (5 if piece.at else 0) for piece in pieces)

    (text,) = waiting("a" * 50)
    chosen = plan([text], PROFILE, capabilities(), stamped, NOW)
    assert [[each.end - each.start for each in part] for part in chosen.parts] == [[15], [15], [15], [5]]
    (text,) = waiting("a" * 20)
    assert len(plan([text], PROFILE, capabilities(), stamped, NOW).parts) == 1


def test_a_card_that_its_thread_shows_rides_along() -> None:
    members, sent = planned([OPENING, *waiting("one")], capabilities())
    assert members == (0, 1)
    assert texts(sent) == [["one"]]


def test_a_card_that_its_thread_does_not_show_goes_ahead_in_the_same_part() -> None:
    able = capabilities(coalesces=True, card_in_thread=False, limit=4000)
    members, sent = planned([OPENING, *waiting("one")], able)
    assert members == (0, 1)
    ((head, text),) = texts(sent)
    assert head == "Eve\nPage: Shop – https://shop.example/\nLanguage: it-IT\nLocal time: 14:00 (Europe/Rome)"
    assert text == "one"


def test_attachments_are_parts_of_their_own_and_too_large_ones_are_told() -> None:
    small = Attachment(FileId("a"), "a.png", "image/png", 1000)
    large = Attachment(FileId("b"), "b.mp4", "video/mp4", 5_200_000)
    _, sent = planned(waiting("look", files=(small, large)), capabilities())
    assert [part.attachment for part in sent] == [None, small, None]
    assert texts(sent)[2] == ["The file b.mp4 (5.2 MB) is too large to be shown here."]


def test_an_attachment_without_text_is_one_part() -> None:
    small = Attachment(FileId("a"), "a.png", "image/png", 1000)
    _, sent = planned(waiting("", files=(small,)), capabilities())
    assert [part.attachment for part in sent] == [small]


def test_late_texts_carry_their_time() -> None:
    (part,) = planned(waiting("one"), capabilities(), NOW + timedelta(hours=1))[1]
    assert part.pieces[0].at == NOW
    (part,) = planned(waiting("one"), capabilities(), NOW)[1]
    assert part.pieces[0].at is None


@given(st.text(min_size=1, max_size=300), st.booleans())
def test_a_long_text_is_split_and_complete(text: str, coalesces: bool) -> None:
    able = capabilities(coalesces=coalesces)
    _, sent = planned(waiting(text), able)
    assert "".join(piece.text.text for part in sent for piece in part.pieces) == text
    assert all(measure(part.pieces) <= able.text_limit for part in sent)


def test_a_card_holds_no_personal_data_in_its_title_and_survives_odd_zones() -> None:
    odd = Profile(name="Eve", timezone="../../etc/passwd")
    made = card(ConversationId(0xABCDEF), odd, NOW)
    assert made.title == "Visitor CDEF"
    assert made.fields == ()
