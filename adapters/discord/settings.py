"""The keys of a Discord adapter."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, field_validator

from bridge.ports import Budget, BudgetSetting

DISCORD = "https://discord.com"


def _id(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Settings(BaseModel):
    """What `[adapters.NAME]` holds where `type = "discord"`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    token: SecretStr
    """The bot's token: the developer portal shows it on the page "Bot" after Reset Token"""
    channel_id: Annotated[str, BeforeValidator(_id)]
    """The id of the text channel or forum in which conversations appear, a number: switch on Developer Mode in
    Discord's settings, right-click the channel, Copy Channel ID"""
    api_url: str = DISCORD
    """Another server that speaks Discord's API. One for all Discord adapters of a process."""
    budget: BudgetSetting = Budget(5, 5.0)
    """Messages in seconds for each thread, as Discord limits them."""

    @field_validator("token")
    @classmethod
    def _token(cls, token: SecretStr) -> SecretStr:
        value = token.get_secret_value().strip()
        if not re.fullmatch(r"(Bot )?[!-~]+", value):
            raise ValueError('the bot\'s token, which the developer portal shows on the page "Bot"')
        return SecretStr(value.removeprefix("Bot "))

    @field_validator("channel_id")
    @classmethod
    def _channel_id(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9]{1,20}", value):
            raise ValueError(
                "the channel's id, a number: switch on developer mode in Discord's settings, then "
                'right-click the channel and choose "Copy Channel ID"'
            )
        return value

    @field_validator("api_url")
    @classmethod
    def _api_url(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/]+(/[^\s]*)?", value):
            raise ValueError("an address such as https://discord.com, or leave the key out")
        return value.rstrip("/")
