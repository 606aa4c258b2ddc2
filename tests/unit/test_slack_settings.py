"""The settings of a Slack adapter: what is wrong is said with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.slack import Settings
from adapters.slack.api import CUSTOMIZE
from adapters.slack.checks import REQUIRED
from bridge.ports import Budget

GOOD = {"bot_token": "xoxb-1", "app_token": "xapp-1", "channel": "C0123456789"}


def test_good_settings_have_the_platforms_own_figure_as_budget() -> None:
    settings = Settings.model_validate(GOOD)
    assert settings.budget == Budget(1, 1.0)
    assert settings.api_url == "https://slack.com/api/"
    assert "xoxb-1" not in repr(settings)


def test_an_api_url_ends_with_a_slash() -> None:
    assert Settings.model_validate(GOOD | {"api_url": "http://127.0.0.1:1/api"}).api_url == "http://127.0.0.1:1/api/"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"bot_token": "xapp-secret"}, "xoxb-"),
        ({"app_token": "xoxb-secret"}, "xapp-"),
        ({"bot_token": "xoxb-with a break\n"}, "xoxb-"),
        ({"app_token": None}, "signing_secret"),
        ({"signing_secret": "secret"}, "only one"),
        ({"app_token": None, "signing_secret": " "}, "anybody"),
        ({"channel": "#support"}, "C0123456789"),
        ({"api_url": "slack.com"}, "https://"),
        ({"budget": "many"}, "20/60s"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_says_what_to_do(changed: dict[str, str | None], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(GOOD | changed)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value).replace("signing_secret", "").replace("signing secret", "")


def test_the_manifest_asks_for_the_scopes_that_the_adapter_needs() -> None:
    manifest = (Path(__file__).parents[2] / "adapters" / "slack" / "manifest.yaml").read_text()
    reading = {"channels:read", "channels:history", "groups:read", "groups:history"}
    for scope in REQUIRED | reading | {CUSTOMIZE}:
        assert f"- {scope} " in manifest.replace("\n", " \n")
    for event in ("message.channels", "message.groups"):
        assert f"- {event}\n" in manifest
