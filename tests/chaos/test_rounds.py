"""Rounds of the fault suite."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.round import play
from tests.chaos.schedule import LONG, SHORT, Shape, schedule

EVERY = ("slack", "telegram", "discord", "desk")
SEED = int(os.environ.get("CHAOS_SEED", "1"))
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "20"))


async def hold(seed: int, platforms: tuple[str, ...], shape: Shape, folder: Path, driven: Counter[str]) -> None:
    plan = schedule(seed, platforms, shape)
    print(plan)
    verdict = await play(plan, folder, driven)
    driven["Telegram's repeats"] = verdict.duplicates
    driven["Telegram's lost answers"] = verdict.allowed
    assert not verdict.wrongs, "\n".join(verdict.wrongs)


@pytest.mark.parametrize("platforms", [("desk", "telegram"), ("desk", "slack"), ("desk", "discord")], ids="+".join)
async def test_a_short_round(platforms: tuple[str, ...], tmp_path: Path, driven: Counter[str]) -> None:
    await hold(1, platforms, SHORT, tmp_path, driven)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
async def test_a_round(seed: int, tmp_path: Path, driven: Counter[str]) -> None:
    await hold(seed, EVERY, LONG, tmp_path, driven)
