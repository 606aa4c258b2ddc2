"""How soon staff usually answer: measured from the store, told in the site's card."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bridge.answering import AnswerTimes
from bridge.clock import SystemClock
from bridge.ids import mint
from bridge.model import (
    AdapterName,
    Destination,
    Profile,
    RemoteId,
    RichText,
    SiteKey,
    Staff,
    StaffMessage,
    ThreadKey,
    VisitorId,
)
from bridge.storage import NewMessage, Store
from bridge.store.sqlite.store import open_store
from tests.house import ORIGIN, Visitor, config_for, house
from tests.platforms import eventually_equal
from tests.stored import fill

SHOP, BLOG = SiteKey("shop"), SiteKey("blog")
DESK = Destination(AdapterName("desk"))


async def talk(store: Store, site: SiteKey, ago: timedelta, *answers: timedelta) -> None:
    """Let somebody ask and be answered."""
    at = datetime.now(UTC) - ago
    asked = NewMessage(
        VisitorId(mint(at)), site, Profile(), "c1", "Hello?", (), at, at, lambda *_: (DESK,), log_readers={DESK.adapter}
    )
    conversation = (await store.append(asked)).message.conversation
    for number, after in enumerate(answers):
        message = StaffMessage(
            ThreadKey(str(conversation)), RemoteId(str(number)), Staff("anna", "Anna"), RichText("Yes."), at + after
        )
        await store.take(DESK.adapter, [message], None, at + after)


async def test_it_is_the_median_of_the_first_answers_of_a_month(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db") as store:
        times = AnswerTimes(store, SystemClock())
        for minutes in (1, 2, 3, 90):
            await talk(store, SHOP, timedelta(days=1), timedelta(minutes=minutes), timedelta(hours=5))
        await talk(store, SHOP, timedelta(days=31), timedelta(minutes=3))
        await talk(store, SHOP, timedelta(days=1))
        await talk(store, BLOG, timedelta(days=1), timedelta(minutes=50))
        await times.measure()
        assert times.of(SHOP) is None, "of so few nothing can be told"
        await talk(store, SHOP, timedelta(days=2), timedelta(minutes=10))
        await times.measure()
        assert (times.of(SHOP), times.of(BLOG)) == (180, None)


async def test_what_counts_are_the_last(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db") as store:
        for _ in range(60):
            await talk(store, SHOP, timedelta(days=9), timedelta(hours=9))
        for _ in range(26):
            await talk(store, SHOP, timedelta(days=2), timedelta(minutes=1))
        times = AnswerTimes(store, SystemClock())
        await times.measure()
        assert times.of(SHOP) == 60


@pytest.mark.parametrize(("look", "answers"), [({}, 120), ({"notice": ""}, None), ({"notice": "Mon-Fri, 9-17"}, None)])
async def test_it_is_told_in_the_sites_card_unless_the_site_says_otherwise(
    look: dict[str, Any], answers: int | None, tmp_path: Path
) -> None:
    await asyncio.to_thread(fill, tmp_path / "threadbridge.db", datetime.now(UTC), 30)
    site = {"origins": [ORIGIN], "destinations": ["desk"]} | look
    async with ClientSession() as http, house(config_for(tmp_path, sites={"shop": site})) as app:

        async def told() -> int | None:
            async with http.get(f"{app.url}/v1/sites/shop") as response:
                card: dict[str, Any] = await response.json()
                assert card["look"].get("notice") == look.get("notice")
                return card.get("answers")

        await eventually_equal(told, answers)
        assert (await Visitor(http, app.url).connect())["site"].get("answers") == answers
