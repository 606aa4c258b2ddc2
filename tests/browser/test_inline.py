"""The conversation as a part of a page, and as a page of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import ClientSession
from playwright.async_api import expect

from tests.browser.test_api import LISTENING, STUB
from tests.browser.test_host_pages import NOTES
from tests.browser.test_looks import LOOKS, looks, shop
from tests.browsing import Chat, Windows, barriers, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")


@looks
async def test_a_link_leads_to_the_chat_alone(look: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        page = await windows.open("about:blank", **LOOKS[look])
        await page.add_init_script(NOTES)
        await page.goto(f"{app.url}/chat/demo")
        chat = Chat(page)
        panel = chat.part("panel")
        await expect(panel).to_be_visible()
        await expect(page).to_have_title("Corner Coffee")
        await expect(chat.part("launcher")).to_be_hidden()
        await expect(chat.part("close")).to_be_hidden()
        await chat.say("Which is for a moka pot?")
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, "The Midnight", name="Ada")
        await chat.shows("Which is for a moka pot?", "The Midnight")
        await page.keyboard.press("Escape")
        await expect(panel).to_be_visible()
        box = await panel.bounding_box()
        assert box
        assert box["width"] <= page.viewport_size["width"] if page.viewport_size else False
        assert box["height"] >= page.viewport_size["height"] - 64 if page.viewport_size else False
        assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight")
        assert await barriers(page) == []
        assert await page.evaluate("({ violations, thrown })") == {"violations": [], "thrown": []}
        await picture(page, f"chat-{look}")


async def test_the_page_speaks_the_browsers_language(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/chat/demo", locale="it-IT"))
        await expect(chat.part("send")).to_have_accessible_name("Invia")


async def test_a_chat_that_is_not_there(tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _), ClientSession() as http:
        async with http.get(f"{app.url}/chat/nobody") as response:
            assert (response.status, await response.text()) == (404, "There is no such chat here.\n")
        odd = {"Accept-Language": '"><script>'}
        async with http.get(f"{app.url}/chat/demo", headers=odd) as response:
            assert '<html lang="en">' in await response.text()


async def test_the_conversation_stands_in_an_element(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        page = await windows.open("about:blank")
        place = "const place = document.createElement('div'); place.id = 'help'; place.style.blockSize = '480px'"
        stub = "window.threadbridge = (...call) => (threadbridge.q ??= []).push(call)"
        await page.add_init_script(f"{stub}; threadbridge('boot', {{target: '#help'}})")
        await page.add_init_script(
            f"addEventListener('DOMContentLoaded', () => {{ {place}; document.querySelector('#how').prepend(place); }})"
        )
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await expect(chat.part("panel")).to_be_visible()
        await expect(chat.part("composer")).not_to_be_focused()
        frame, box = await page.locator("#help").bounding_box(), await chat.part("panel").bounding_box()
        assert frame == box
        assert frame
        assert frame["height"] == 480
        await chat.say("from within")
        await chat.latest_is("sent")
        await page.locator("#how").scroll_into_view_if_needed()
        await picture(page, "widget-inline")


async def test_what_stands_below_the_window_is_not_read(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        page = await windows.open("about:blank")
        await page.add_init_script(STUB + LISTENING + "; threadbridge('boot', { target: '#foot' })")
        style = "margin-top: 2000px; block-size: 480px"
        foot = f"Object.assign(document.createElement('div'), {{ id: 'foot', style: '{style}' }})"
        await page.add_init_script(f"addEventListener('DOMContentLoaded', () => document.body.append({foot}))")
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.say("hello")
        await chat.latest_is("sent")
        await page.evaluate("scrollTo(0, 0)")
        await expect(chat.part("panel")).not_to_be_in_viewport()
        (thread,) = await desk.threads()
        await desk.says(thread, "down here")
        await page.wait_for_function("() => threadbridge('unread') === 1")
        await chat.part("panel").scroll_into_view_if_needed()
        await page.wait_for_function("() => threadbridge('unread') === 0")
        assert [detail for name, detail in await page.evaluate("heard") if name == "unread"] == [1, 0]
