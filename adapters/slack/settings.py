"""The keys of a Slack adapter's section."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from bridge.ports import Budget, BudgetSetting

_CHANNEL = re.compile(r"[CG][A-Z0-9]{6,}")


def check_channel(value: str) -> str:
    """Return a channel's id. Names will not do: events carry ids."""
    if not _CHANNEL.fullmatch(value):
        raise ValueError("the channel's id, such as C0123456789: it stands at the end of the channel's details")
    return value


class Settings(BaseModel):
    """Connects one Slack app. `app_token` chooses Socket Mode, `signing_secret` events over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    bot_token: SecretStr
    """The Bot User OAuth Token, xoxb-...: the app's page OAuth & Permissions shows it"""
    app_token: SecretStr | None = Field(None, json_schema_extra={"ask": True})
    """The App-Level Token for Socket Mode, xapp-...: Basic Information, App-Level Tokens, scope connections:write
    (leave it empty for events over HTTP)"""
    signing_secret: SecretStr | None = None
    """The Signing Secret for events over HTTP: Basic Information, App Credentials"""
    channel: str
    """The id of the channel in which conversations appear, such as C0123456789: at the end of the channel's details"""
    api_url: str = "https://slack.com/api/"
    """Another server that speaks Slack's Web API"""
    budget: BudgetSetting = Budget(1, 1.0)
    """Calls in seconds in each channel, as Slack limits them"""

    _channel = field_validator("channel")(check_channel)

    @field_validator("bot_token")
    @classmethod
    def _bot_token(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"xoxb-[!-~]+", value.get_secret_value()):
            raise ValueError("the Bot User OAuth Token, which starts with xoxb-: OAuth & Permissions of the app")
        return value

    @field_validator("app_token")
    @classmethod
    def _app_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"xapp-[!-~]+", value.get_secret_value()):
            raise ValueError("an App-Level Token, which starts with xapp-: Basic Information of the app")
        return value

    @field_validator("signing_secret")
    @classmethod
    def _signing_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError(
                "the signing secret, as Basic Information of the app shows it: an empty one would let anybody in"
            )
        return value

    @field_validator("api_url")
    @classmethod
    def _api_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("an address such as https://slack.com/api/")
        return value if value.endswith("/") else f"{value}/"

    @model_validator(mode="after")
    def _one_mode(self) -> Settings:
        if (self.app_token is None) == (self.signing_secret is None):
            raise ValueError("either app_token (Socket Mode) or signing_secret (events over HTTP), and only one")
        return self
