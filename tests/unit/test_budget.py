"""The budget as every adapter's settings take it."""

import pytest
from pydantic import BaseModel, ValidationError

from bridge.ports import Budget, BudgetSetting


class Settings(BaseModel):
    budget: BudgetSetting = Budget(1, 1.0)


@pytest.mark.parametrize(
    ("text", "budget"),
    [("1/1s", Budget(1, 1.0)), (" 20 / 60 s ", Budget(20, 60.0)), ("5/0.5", Budget(5, 0.5))],
)
def test_reads_a_budget(text: str, budget: Budget) -> None:
    assert Settings.model_validate({"budget": text}).budget == budget


@pytest.mark.parametrize(
    "wrong", ["", "fast", "0/1s", "10/0s", "-1/1s", "10", "10/1m", "1e9/1s", "²/1s", 5, None, {}, []]
)
def test_a_wrong_budget_is_refused_with_an_example(wrong: object) -> None:
    with pytest.raises(ValidationError, match='such as "20/60s"') as caught:
        Settings.model_validate({"budget": wrong})
    assert caught.value.error_count() == 1
