"""The desk's settings, and the token that it makes for itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.desk.settings import Settings, kept_token
from bridge.errors import StartError
from bridge.ports import Budget


def test_nothing_has_to_be_set() -> None:
    settings = Settings()
    assert settings.token is None
    assert settings.budget == Budget(1000, 1.0)


@pytest.mark.parametrize(
    "token", ["", "short", "with a space in it", "ünicode-that-is-long", "line\nbreak-in-the-token"]
)
def test_a_weak_token_is_refused_with_what_to_do_and_not_shown(token: str) -> None:
    with pytest.raises(ValidationError) as error:
        Settings(token=token)
    assert "at least 16" in str(error.value)
    assert not token or token not in str(error.value)


def test_a_key_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Settings.model_validate({"tokn": "x" * 16})


def test_the_token_is_made_once_and_readable_for_its_owner_alone(tmp_path: Path) -> None:
    token = kept_token(tmp_path)
    assert len(token) >= 32
    assert kept_token(tmp_path) == token
    assert (tmp_path / "desk-token").stat().st_mode & 0o777 == 0o600


def test_a_crash_while_it_was_written_leaves_no_empty_token(tmp_path: Path) -> None:
    (tmp_path / "desk-token.new").write_text("half")
    (tmp_path / "desk-token").touch()
    token = kept_token(tmp_path)
    assert len(token) >= 32
    assert (tmp_path / "desk-token").read_text() == f"{token}\n"


def test_a_folder_that_is_not_there_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="desk-token"):
        kept_token(tmp_path / "missing")
