"""The widget in the visitor's language: its texts, plurals, dates and direction; the page's own words over them."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from bridge.app import App
from tests.browser.test_api import STUB, call, heard
from tests.browser.test_api import arrive as arrive_calling
from tests.browser.test_files import NOTE, choose, ready
from tests.browser.test_host_pages import Host, gateway_for, hosted
from tests.browser.test_looks import mainly, shop
from tests.browsing import PHONE, Chat, Windows, barriers, picture
from tests.platforms import emulated

pytestmark = pytest.mark.asyncio(loop_scope="session")

SPOKEN = ["en", "ar", "de", "es", "fa", "fr", "it", "ja", "nl", "pl", "pt", "tr"]
NARROW: dict[str, Any] = {**PHONE, "viewport": {"width": 320, "height": 640}}


async def arrive(windows: Windows, app: App, language: str, **options: Any) -> Chat:
    """Open the shop's page in a language."""
    chat = Chat(await windows.open(f"{app.url}/demo/", **options))
    await chat.page.evaluate("language => (document.documentElement.lang = language)", language)
    return chat


async def test_the_page_says_in_which_language(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app, "pl-PL")
        await chat.open()
        await expect(chat.part("composer")).to_have_attribute("placeholder", "Napisz wiadomość…")
        await expect(chat.page.locator("threadbridge-widget .root")).to_have_attribute("lang", "pl-PL")
        await chat.say("Dzień dobry")
        await chat.latest_is("sent")
        await expect(chat.messages("visitor").locator(".state")).to_have_text("Dostarczono")
        await expect(chat.page.locator("threadbridge-widget .day")).to_have_text("dzisiaj")
        (thread,) = await desk.threads()
        await chat.part("composer").press("Escape")
        for count, label in ((1, "1 nieprzeczytana wiadomość"), (2, "2 nieprzeczytane wiadomości")):
            await desk.says(thread, str(count))
            await expect(chat.part("launcher")).to_have_accessible_name(f"Otwórz czat, {label}")


@pytest.mark.parametrize(("locale", "clock"), [("en-GB", r"^\d\d:\d\d$"), ("en-US", r"^\d?\d:\d\d\s[AP]M$")])
async def test_the_browser_says_in_which_country(locale: str, clock: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, "en", locale=locale)
        await chat.open()
        await chat.say("hello")
        await expect(chat.messages("visitor").locator("time")).to_have_text(re.compile(clock))


async def test_a_language_that_is_not_there_is_english(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, "sw")
        await chat.open()
        await expect(chat.part("send")).to_have_accessible_name("Send")
        other = await arrive(windows, app, "de")
        await other.page.route("**/lang/*", lambda route: route.abort())
        await other.open()
        await expect(other.part("send")).to_have_accessible_name("Send")
        await other.say("hello")
        await other.latest_is("sent")


async def test_the_language_and_the_words_can_be_changed(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        own = "{texts: {write: 'Ask us anything'}}"
        chat = await arrive_calling(windows, app, f"threadbridge('update', {own})")
        await heard(chat.page, "ready")
        await chat.open()
        await expect(chat.part("composer")).to_have_attribute("placeholder", "Ask us anything")
        await chat.say("hello")
        await chat.latest_is("sent")
        await call(chat, "setLocale", "fr")
        await expect(chat.part("send")).to_have_accessible_name("Envoyer")
        await expect(chat.part("panel")).to_be_visible()
        await expect(chat.part("composer")).to_have_attribute("placeholder", "Ask us anything")
        await chat.shows("hello")
        await expect(chat.messages("visitor").locator(".state")).to_have_text("Remis")
        await call(chat, "setLocale", "en-GB")
        await expect(chat.part("send")).to_have_accessible_name("Send")


async def test_words_and_language_change_with_the_options(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, "en")
        await chat.open()
        await chat.part("composer").fill("half a sentence")
        await call(chat, "update", {"texts": {"send": "Off it goes"}})
        await expect(chat.part("send")).to_have_accessible_name("Off it goes")
        await call(chat, "update", {"locale": "fr", "texts": {}})
        await expect(chat.part("send")).to_have_accessible_name("Envoyer")
        await chat.part("panel").evaluate("panel => (panel.former = true)")
        await call(chat, "update", {"locale": "fr", "texts": {}, "theme": "dark"})
        await expect(chat.page.locator("threadbridge-widget .root")).to_have_attribute("data-theme", "dark")
        assert await chat.part("panel").evaluate("panel => panel.former")  # nothing of it was drawn again
        await expect(chat.part("composer")).to_have_value("half a sentence")


async def tagged(windows: Windows, host: Host, app: App, texts: str) -> tuple[Chat, list[str]]:
    """Open a page with words in the script's tag; return the chat, and the list of what the console says."""
    host.gateway, host.site = app.url, f'demo" data-texts="{html.escape(texts)}'
    page = await windows.open("about:blank")
    said: list[str] = []
    page.on("console", lambda line: said.append(line.text) if line.text.startswith("Threadbridge:") else None)
    await page.goto(host.origin)
    chat = Chat(page)
    await chat.open()
    return chat, said


async def test_words_stand_in_the_tag_as_json(windows: Windows, tmp_path: Path) -> None:
    async with hosted(Host()) as host, shop(tmp_path) as (app, _):
        words = {"write": 'Ask "us"', "open": None, "close": 7}
        chat, said = await tagged(windows, host, app, json.dumps(words))
        await expect(chat.part("composer")).to_have_attribute("placeholder", 'Ask "us"')
        await expect(chat.part("launcher")).to_have_accessible_name("7")
        assert said == []


@pytest.mark.parametrize("where", ["tag", "call"])
async def test_the_launcher_says_the_pages_words_before_there_is_a_panel(
    where: str, windows: Windows, tmp_path: Path
) -> None:
    words = json.dumps({"open": "Ask us"})
    site = f'demo" data-texts="{html.escape(words)}' if where == "tag" else 'demo"'
    early = f"{STUB} threadbridge('update', {{ texts: {words} }});" if where == "call" else ""
    async with hosted(Host(site=site, early=early)) as host, shop(tmp_path) as (app, _):
        host.gateway = app.url
        page = await windows.open("about:blank")
        await page.route("**/panel.js", lambda route: route.abort())
        await page.goto(host.origin)
        await expect(Chat(page).part("launcher")).to_have_accessible_name("Ask us")


async def test_numbers_are_those_of_the_language(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app, "fa")
        title = await chat.page.title()
        await chat.begin("سلام")
        await chat.part("composer").press("Escape")
        await chat.page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
        (thread,) = await desk.threads()
        await desk.says(thread, "سلام")
        await expect(chat.part("badge")).to_have_text("۱")
        await expect(chat.page).to_have_title(f"(۱) {title}")


async def test_words_that_are_no_json_are_told_and_passed_over(windows: Windows, tmp_path: Path) -> None:
    async with hosted(Host()) as host, shop(tmp_path) as (app, _):
        chat, said = await tagged(windows, host, app, "{write: 'Ask us'}")
        await expect(chat.part("composer")).to_have_attribute("placeholder", "Write a message…")
        assert said == ["Threadbridge: texts cannot be {write: 'Ask us'}"]


async def test_what_has_failed_is_there_in_another_language_too(windows: Windows, tmp_path: Path) -> None:
    async with (
        hosted(Host()) as host,
        emulated("desk") as desk,
        gateway_for(host, desk, tmp_path, ["https://shop.example"]),
    ):
        chat = Chat(await windows.open(host.origin))
        await chat.open()
        await chat.say("hello?", "anybody?")
        await expect(chat.part("retry")).to_have_count(2)
        await call(chat, "setLocale", "de")
        await expect(chat.part("send")).to_have_accessible_name("Senden")
        await chat.shows("hello?", "anybody?")
        await expect(chat.part("retry")).to_have_text(["Erneut versuchen", "Erneut versuchen"])
        await chat.part("retry").first.click()
        await chat.shows("hello?", "anybody?")
        await chat.latest_is("failed")


async def test_another_language_keeps_what_is_being_written(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, "en")
        await chat.page.evaluate("threadbridge('on', 'open', () => (window.opened = (window.opened ?? 0) + 1))")
        await chat.open()
        await choose(chat, NOTE)
        await ready(chat, 1)
        await chat.part("composer").fill("half a sentence")
        await call(chat, "setLocale", "de")
        await expect(chat.part("send")).to_have_accessible_name("Senden")
        await expect(chat.part("panel")).to_have_count(1)
        await expect(chat.part("composer")).to_have_value("half a sentence")
        await expect(chat.part("composer")).to_be_focused()
        await ready(chat, 1)
        await expect(chat.part("remove")).to_have_accessible_name("order.txt entfernen")
        await chat.part("composer").press("Enter")
        await chat.latest_is("sent")
        await expect(chat.messages("visitor").locator(".file")).to_have_count(1)
        assert await chat.page.evaluate("opened") == 1
        await call(chat, "close")
        await expect(chat.part("panel")).to_be_hidden()
        await call(chat, "setLocale", "fr")
        await expect(chat.part("launcher")).to_have_accessible_name("Ouvrir le chat")
        await expect(chat.part("panel")).to_be_hidden()


@pytest.mark.parametrize("language", ["ar", "fa"])
async def test_right_to_left_is_mirrored(language: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app, language)
        await chat.open()
        await chat.say("مرحبا", "Hello, in English.")
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, "أهلا وسهلا", name="Ada")
        await chat.shows("مرحبا", "Hello, in English.", "أهلا وسهلا")
        panel = await chat.part("panel").bounding_box()
        own = await chat.texts("visitor").first.bounding_box()
        staff = await chat.texts("staff").first.bounding_box()
        send, attach = await chat.part("send").bounding_box(), await chat.part("attach").bounding_box()
        assert panel and own and staff and send and attach  # noqa: PT018
        assert own["x"] - panel["x"] < 30
        assert panel["x"] + panel["width"] - staff["x"] - staff["width"] < 70
        assert send["x"] < attach["x"]
        ways = "texts => texts.map((text) => getComputedStyle(text).direction)"
        assert await chat.texts("visitor").locator("[dir=auto]").evaluate_all(ways) == ["rtl", "ltr"]
        assert await barriers(chat.page) == []
        await picture(chat.page, f"widget-{language}")


@pytest.mark.parametrize("language", mainly(SPOKEN, "ar", "de", "ja"))
async def test_every_language_fits_a_narrow_phone(language: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app, language, **NARROW)
        await chat.open()
        await chat.say("Donaudampfschifffahrtsgesellschaftskapitän", "👍")
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, "https://shop.example/" + "long-" * 20, name="Ada")
        await expect(chat.messages("staff")).to_have_count(1)
        await chat.part("composer").fill("x" * 3999)
        await picture(chat.page, f"widget-narrow-{language}")
        wide = "panel => [...panel.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > 320.5).length"
        assert await chat.part("panel").evaluate(wide) == 0
        assert await chat.page.evaluate("document.documentElement.scrollWidth") == 320
        assert await barriers(chat.page) == []
