"""What is taken for frozen: equal and hashable by its fields, without room for others."""

from dataclasses import replace

import pytest

from bridge.model import Author, AuthorKind


def test_values_are_equal_and_hashable_by_their_fields() -> None:
    anna, bert = Author(AuthorKind.STAFF, "Anna"), Author(AuthorKind.STAFF, "Bert")
    assert {anna: 1}[Author(AuthorKind.STAFF, "Anna")] == 1
    assert replace(anna, name="Bert") == bert != anna


def test_values_have_no_room_for_other_fields() -> None:
    with pytest.raises(AttributeError):
        Author(AuthorKind.STAFF, "Anna").nickname = "An"  # type: ignore[attr-defined]
