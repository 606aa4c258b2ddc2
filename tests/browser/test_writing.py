"""What people type is sent as they typed it, and stands under the day and time when it was said."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession
from playwright.async_api import expect

from bridge.clock import SystemClock
from tests.browser.test_elsewhere import NOTED
from tests.browser.test_history import kept
from tests.browser.test_looks import shop
from tests.browsing import Chat, Windows, picture, slowed
from tests.house import Visitor, config_for, house

pytestmark = pytest.mark.asyncio(loop_scope="session")

TYPED = """async (box, most) => {
  for (let length = most - 5; length <= most; length++) {
    box.value = "x".repeat(length);
    box.dispatchEvent(new Event("input"));
    for (let turn = 0; turn < 9; turn++) await undefined;
  }
}"""
"""Keys that leave no time to rest, yet those who look on their turn."""


class Past(SystemClock):
    """A clock that is some days behind."""

    days = 0

    def now(self) -> datetime:
        return super().now() - timedelta(days=self.days)


async def test_an_input_method_keeps_its_enter_key(windows: Windows, tmp_path: Path) -> None:
    """It chooses among what was composed; the next one sends."""
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        keyboard = await chat.page.context.new_cdp_session(chat.page)
        await keyboard.send("Input.imeSetComposition", {"text": "こーひー", "selectionStart": 4, "selectionEnd": 4})
        await expect(chat.part("composer")).to_have_value("こーひー")
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
        await keyboard.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **enter})
        await keyboard.send("Input.insertText", {"text": "コーヒー"})
        await expect(chat.part("composer")).to_have_value("コーヒー")
        await expect(chat.messages()).to_have_count(0)
        await chat.part("composer").press("Enter")
        await chat.shows("コーヒー")


async def test_lines_and_emoji_are_sent_as_typed(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        composer = chat.part("composer")
        low = await composer.bounding_box()
        for line in (":-) 👩🏽‍🚀", "🇲🇹 *no* markup", "<b>&amp;"):
            await chat.page.keyboard.insert_text(line)
            await composer.press("Shift+Enter")
        high = await composer.bounding_box()
        assert low and high  # noqa: PT018
        assert high["height"] > low["height"] + 40
        await composer.press("Enter")
        await chat.latest_is("sent")
        typed = ":-) 👩🏽‍🚀\n🇲🇹 *no* markup\n<b>&amp;"
        assert await chat.texts().inner_text() == typed
        assert (await composer.bounding_box() or {}).get("height") == low["height"]
        (thread,) = await desk.threads()
        assert [shown.raw["text"] for shown in await desk.shown(thread)] == [typed]
        await chat.say("👍🏿")
        large, small = [
            await text.evaluate("text => parseFloat(getComputedStyle(text).fontSize)")
            for text in (chat.texts().last, chat.texts().first)
        ]
        assert large > 2 * small


async def test_who_writes_too_much_is_told_before_it_is_sent(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        count = chat.page.locator("threadbridge-widget .count")
        await chat.part("composer").fill("🛰" * 3600)
        await expect(count).to_have_count(0)
        await chat.part("composer").fill("🛰" * 3900)
        await expect(count).to_have_text("3,900 of 4,000 characters")
        await chat.say("🛰" * 4001)
        await expect(count).to_have_text("4,001 of 4,000 characters. Please shorten your message.")
        await expect(chat.part("composer")).to_have_attribute("aria-invalid", "true")
        await picture(chat.page, "widget-too-long")
        await chat.say("🛰" * 4000)
        await expect(count).to_be_hidden()
        await chat.shows("🛰" * 4000)


async def test_how_much_is_written_is_announced_when_the_writer_rests(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        composer, told = chat.part("composer"), chat.page.locator("threadbridge-widget form [role=status]")
        await composer.fill("x" * 3700)
        await expect(told).to_have_text("3,700 of 4,000 characters")
        await told.evaluate(NOTED)
        await composer.evaluate(TYPED, 3999)
        await expect(told).to_have_text("3,999 of 4,000 characters")
        assert await chat.page.evaluate("noted") == ["3,999 of 4,000 characters"]


async def test_a_draft_of_several_lines_comes_back_in_a_box_as_high(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        composer = chat.part("composer")
        await composer.fill("one\ntwo\nthree")
        before = await composer.bounding_box()
        await chat.page.reload()
        await chat.open()
        await expect(composer).to_have_value("one\ntwo\nthree")
        after = await composer.bounding_box()
        assert before
        assert after
        assert after["height"] == before["height"] > 80


async def test_an_address_is_a_link_with_all_that_belongs_to_it(windows: Windows, tmp_path: Path) -> None:
    links = {
        "(see https://en.wikipedia.org/wiki/Cup_(disambiguation))": "https://en.wikipedia.org/wiki/Cup_(disambiguation)",
        "(https://a.example/).": "https://a.example/",
        "[https://a.example/?in[]=1&in[2]] or": "https://a.example/?in[]=1&in[2]",
        "Is it http://[::1]?": "http://[::1]/",
        "https://a.example/(b)/, or": "https://a.example/(b)/",
        "to ada.l+shop@mail.a-b.example.": "mailto:ada.l+shop@mail.a-b.example",
    }
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        await chat.say(*links)
        await chat.shows(*links)
        assert await chat.texts().locator("a").evaluate_all("all => all.map((one) => one.href)") == [*links.values()]


async def test_a_long_text_without_spaces_is_shown_at_once(windows: Windows, tmp_path: Path) -> None:
    """Work that grew with the square of its length would hold the page up for a minute."""
    async with shop(tmp_path, "slack") as (app, slack):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await slowed(chat.page)
        await chat.begin("hello")
        (thread,) = await slack.threads()
        for unit in ("5e", "a.", "https://(", "@") * 3:
            await slack.says(thread, unit * (40_000 // len(unit)))
        await expect(chat.messages("staff")).to_have_count(12)
        await chat.say("still here")
        await chat.latest_is("sent")


async def test_days_part_what_was_said(windows: Windows, tmp_path: Path) -> None:
    site = {"name": "Shop", "origins": ["https://shop.example"], "destinations": ["desk"]}
    desk = {"type": "desk", "token": "an-agent-who-tests-the-desk"}
    clock = Past()
    async with ClientSession() as http, house(config_for(tmp_path, {"desk": desk}, sites={"demo": site}), clock) as app:
        visitor = Visitor(http, app.url, site="demo", origin=app.url)
        for clock.days in (9, 1, 0):
            await visitor.connect()
            for text in (f"{clock.days} days ago", "and then"):
                await visitor.say(text)
            await visitor.leave()
        page = await windows.open("about:blank", timezone_id="UTC")
        await page.add_init_script(kept(visitor))
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await expect(chat.texts()).to_have_count(6)
        date = "new Date(Date.now() - 9 * 864e5).toLocaleDateString('en-GB', { dateStyle: 'full' })"
        log = (
            await chat.part("log")
            .locator("> div > *")
            .evaluate_all("all => all.map((one) => (one.querySelector('[part=text]') ?? one).textContent)")
        )
        assert [line for line in log if "conversation" not in line.lower()] == [
            await page.evaluate(date), "9 days ago", "and then",
            "yesterday", "1 days ago", "and then",
            "today", "0 days ago", "and then",
        ]  # fmt: skip
        times = chat.messages("visitor").locator("time")
        await expect(times.last).to_be_visible()
        await expect(times.last).to_have_text(re.compile(r"^\d\d:\d\d$"))
        stamps = await times.evaluate_all("all => all.map((time) => time.dateTime)")
        assert stamps == sorted(stamps)
        assert len({stamp[:10] for stamp in stamps}) == 3
