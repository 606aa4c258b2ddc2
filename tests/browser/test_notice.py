"""How soon somebody usually answers: below the title, as measured or in the site's own words."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.test_intro import INTRO, SCREENS, opened, screens
from tests.browser.test_looks import shop
from tests.browsing import DESKTOP, Windows, barriers, picture
from tests.stored import fill

pytestmark = pytest.mark.asyncio(loop_scope="session")


def answered(data: Path, seconds: int) -> None:
    """Fill the shop's store with conversations that were answered after so many seconds."""
    path = data / "threadbridge.db"
    fill(path, datetime.now(UTC), 30)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("update conversation set answered_at = opened_at + ?", (seconds * 1000,))
        db.execute("update visitor set site = 'demo'")


@pytest.mark.parametrize(
    ("seconds", "locale", "text"),
    [
        (40, "en", "Usually answers within a few minutes"),
        (700, "de", "Antwortet meist innerhalb von 15 Minuten"),
        (3600, "tr", "Genellikle bir saat içinde yanıt verir"),
        (7000, "ar", "الرد عادةً خلال ساعتين"),
        (15_000, "pl", "Zwykle odpowiada w ciągu 5 godzin"),
        (80_000, "ja", "通常、1日以内に返信します"),
    ],
)
async def test_it_is_as_it_was_measured(seconds: int, locale: str, text: str, windows: Windows, tmp_path: Path) -> None:
    await asyncio.to_thread(answered, tmp_path, seconds)
    async with shop(tmp_path) as (app, _):
        chat = await opened(windows, app, **DESKTOP | {"locale": locale})
        await expect(chat.part("panel").locator(".heading small")).to_have_text(text)


@pytest.mark.parametrize(("seconds", "look"), [(200_000, {}), (60, {"notice": ""})])
async def test_of_more_than_a_day_or_where_the_site_does_not_want_it_nothing_is_said(
    seconds: int, look: dict[str, str], windows: Windows, tmp_path: Path
) -> None:
    await asyncio.to_thread(answered, tmp_path, seconds)
    async with shop(tmp_path, **look) as (app, _):
        chat = await opened(windows, app)
        await chat.say("hello")
        await chat.latest_is("sent")
        await expect(chat.part("panel").locator(".heading")).to_have_text("CCorner Coffee")


@screens
async def test_the_sites_own_words_have_no_barriers(screen: str, windows: Windows, tmp_path: Path) -> None:
    words = "We are here from Monday to Friday, 9 to 17 o'clock, and answer the rest the next morning."
    async with shop(tmp_path, **INTRO, notice=words) as (app, _):
        chat = await opened(windows, app, **SCREENS[screen])
        await expect(chat.part("panel").locator(".heading small")).to_have_text(words)
        await expect(chat.part("panel").locator(".logo")).to_be_visible()
        assert await barriers(chat.page) == []
        await picture(chat.page, f"notice-{screen}")
