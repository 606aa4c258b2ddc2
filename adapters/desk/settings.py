"""The keys of a desk's `[adapters.NAME]` section, and the token that is made where none is given."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from bridge.errors import StartError
from bridge.ports import Budget, BudgetSetting

SHORTEST_TOKEN = 16
TOKEN_FILE = "desk-token"


def _long_enough(token: SecretStr | None) -> SecretStr | None:
    if token is not None and not re.fullmatch(rf"[!-~]{{{SHORTEST_TOKEN},}}", token.get_secret_value()):
        raise ValueError(
            f"at least {SHORTEST_TOKEN} letters, digits or signs and no space; "
            "leave the key out and one is made and printed at the start"
        )
    return token


class Settings(BaseModel):
    """What the operator can set."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    token: Annotated[SecretStr | None, AfterValidator(_long_enough)] = None
    """What an agent shows to be let in. Made and kept in the data folder when absent."""
    budget: BudgetSetting = Budget(1000, 1.0)
    """How many deliveries a second may be noted as shown; the desk itself has no limit."""


def kept_token(data: Path) -> str:
    """Return the token of the data folder, made at the first start. Raises StartError."""
    path = data / TOKEN_FILE
    try:
        token = path.read_text("utf-8").strip() if path.exists() else ""
        return token or _keep(path, secrets.token_urlsafe())
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"The desk's token cannot be kept in {path}: {error}.") from error


def _keep(path: Path, token: str) -> str:
    """Write it whole or not at all, readable for the owner alone from the first moment."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{token}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return token
