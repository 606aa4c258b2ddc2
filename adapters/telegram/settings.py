"""What an `[adapters.NAME]` section of this type holds."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from bridge.ports import Budget, BudgetSetting


class Settings(BaseModel):
    """One bot in one group, or in several where sites name their own channel."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    token: SecretStr
    """The bot's token, such as 123456789:AA...: @BotFather gives it after /newbot"""
    chat_id: int
    """The group's id, a negative number such as -1001234567890: in the address of Telegram's web client"""
    mode: Literal["polling", "webhook"] = "polling"
    """How updates come in; a webhook needs an address that Telegram can reach"""
    webhook_secret: SecretStr | None = None
    """Proof that a webhook's caller is Telegram; made from the token when absent"""
    api_url: str = "https://api.telegram.org"
    """Another server that speaks the Bot API"""
    budget: BudgetSetting = Budget(20, 60.0)
    """Telegram lets a bot send about this much to one group, all its topics together."""

    @field_validator("token")
    @classmethod
    def _token(cls, token: SecretStr) -> SecretStr:
        if re.fullmatch(r"\d+:[\w-]+", token.get_secret_value(), re.ASCII) is None:
            raise ValueError("a bot's token as @BotFather gives it: a number, a colon, letters and digits")
        return token

    @field_validator("chat_id", mode="before")
    @classmethod
    def _chat_id(cls, chat_id: Any) -> Any:
        if isinstance(chat_id, bool) or re.fullmatch(r"-\d+", str(chat_id)) is None:
            raise ValueError("the group's id, a negative number such as -1001234567890")
        return int(chat_id)

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and re.fullmatch(r"[A-Za-z0-9_-]{16,256}", secret.get_secret_value()) is None:
            raise ValueError("16 to 256 letters, digits, _ and -, or leave the key out: one is made from the token")
        return secret

    @field_validator("api_url")
    @classmethod
    def _api_url(cls, url: str) -> str:
        if re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url) is None:
            raise ValueError("an address such as https://api.telegram.org")
        return url.rstrip("/")
