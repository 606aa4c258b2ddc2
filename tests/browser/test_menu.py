"""The menu in the panel's head, and the conversation as a file of text."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import ClientSession
from playwright.async_api import expect

from tests.browser.test_files import NOTE, choose, ready
from tests.browser.test_history import SHOWN, kept
from tests.browser.test_host_pages import NOTHING, STORED, Host, gateway_for, hosted, visit
from tests.browser.test_looks import LOOKS, looks, shop, signed_in
from tests.browsing import Chat, Windows, barriers, picture
from tests.emulators.discord import DiscordEmulator
from tests.platforms import Emulated, emulated

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def download(chat: Chat) -> tuple[str, str]:
    """Ask for the conversation; return the file's name and text."""
    await chat.part("more").click()
    async with chat.page.expect_download() as downloading:
        await chat.page.get_by_role("menuitem", name="Download the conversation").click()
    file = await downloading.value
    return file.suggested_filename, (await asyncio.to_thread((await file.path()).read_bytes)).decode("utf-8")


async def test_the_menu_is_used_by_keyboard(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        more, menu = chat.part("more"), chat.page.get_by_role("menu")
        items = menu.locator("[role^=menuitem]")
        await more.focus()
        await chat.page.keyboard.press("Enter")
        await expect(more).to_have_attribute("aria-expanded", "true")
        await expect(items.first).to_be_focused()
        await chat.page.keyboard.press("ArrowUp")
        await expect(items.last).to_be_focused()
        await chat.page.keyboard.press("ArrowDown")
        await expect(items.first).to_be_focused()
        await chat.page.keyboard.press("Escape")
        await expect(menu).to_have_count(0)
        await expect(more).to_be_focused()
        await expect(more).to_have_attribute("aria-expanded", "false")
        await expect(chat.part("panel")).to_be_visible()

        await chat.page.keyboard.press("Enter")
        await chat.page.keyboard.press("Tab")
        await expect(menu).to_have_count(0)
        await expect(chat.part("close")).to_be_focused()

        for away in (more, chat.part("composer"), chat.page.locator("h1")):
            await more.click()
            await expect(menu).to_be_visible()
            await away.click()
            await expect(menu).to_have_count(0)


async def test_a_key_right_behind_finds_the_menu_open(windows: Windows, tmp_path: Path) -> None:
    """Once it is loaded: whoever leaves it with the Tab key at once is not called back into it."""
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        await chat.part("more").click()
        await expect(chat.page.get_by_role("menu")).to_be_visible()
        await chat.part("more").click()
        await expect(chat.page.get_by_role("menu")).to_have_count(0)
        shown = "more => { more.click(); return more.getRootNode().activeElement.role; }"
        assert await chat.part("more").evaluate(shown) == "menuitem"
        await chat.page.keyboard.press("Tab")
        await expect(chat.page.get_by_role("menu")).to_have_count(0)
        await expect(chat.part("close")).to_be_focused()


async def test_the_menu_opens_again_after_the_panel_was_replaced_under_it(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        await chat.part("more").click()
        await expect(chat.page.get_by_role("menu")).to_be_visible()
        await chat.page.evaluate("threadbridge('setLocale', 'de')")
        await expect(chat.part("more")).to_have_accessible_name("Mehr")
        await expect(chat.page.get_by_role("menu")).to_have_count(0)
        await chat.part("more").focus()
        await chat.page.keyboard.press("Enter")
        await expect(chat.page.get_by_role("menu")).to_be_visible()


async def test_the_conversation_is_downloaded(windows: Windows, tmp_path: Path) -> None:
    """All of it, as it stands now: who said what and when, what was changed or taken back, and the files."""
    async with (
        hosted(Host(strict="dynamic")) as host,
        emulated("discord") as discord,
        ClientSession() as http,
        gateway_for(host, discord, tmp_path, [host.origin]) as app,
    ):
        discord.attach(app, http)
        assert isinstance(discord, Emulated)
        assert isinstance(discord.emulator, DiscordEmulator)
        visitor = await visit(windows, host)
        chat = Chat(visitor.page)
        await chat.open()
        await chat.part("more").click()
        await chat.page.get_by_role("menuitem", name="Download the conversation").click()
        await expect(chat.part("status")).to_have_text("There is nothing to download yet.")
        assert await chat.page.evaluate(STORED) == NOTHING
        await choose(chat, NOTE)
        await ready(chat, 1)
        await chat.say("Which one,\n**please**?")
        await chat.latest_is("sent")
        (thread,) = await discord.threads()
        await discord.emulator.staff_posts(thread, "The **Midnight**:\n- *dark*\n- strong\n> and `sweet`", name="Ada")
        wrong = await discord.says(thread, "Or the Sunrose", name="Ada")
        slip = await discord.says(thread, "Or what Bo has", name="Ada")
        await expect(chat.messages("staff")).to_have_count(3)
        await discord.edits(thread, wrong, "Or the Sunrise")
        await discord.emulator.staff_deletes(thread, slip)
        await expect(chat.texts("staff").last).to_have_text("Message deleted")

        name, text = await download(chat)
        today = await chat.page.evaluate("new Date().toLocaleDateString('sv')")
        day = await chat.page.evaluate("new Date().toLocaleDateString('en-GB', { dateStyle: 'full' })")
        assert name == f"Shop {today}.txt"
        expected = f"""Shop
{host.origin}

--- {day} ---

AT  You
Which one,
**please**?
File: order.txt (1 kB)

AT  Ada
The Midnight:
- dark
- strong
> and sweet

AT  Ada  (Edited)
Or the Sunrise

AT  Ada
Message deleted
"""
        assert re.fullmatch(re.escape(expected).replace("AT", r"\d\d:\d\d"), text), text
        await visitor.unharmed()


async def test_a_long_conversation_is_downloaded_whole(windows: Windows, tmp_path: Path) -> None:
    """Also what the panel has never fetched; and it does not fetch it."""
    async with shop(tmp_path) as (app, _), ClientSession() as http:
        mara = signed_in(http, app, "Mara Lindqvist")
        await mara.connect()
        said = [f"message {number}" for number in range(450)]
        for text in said:
            await mara.say(text)
        chat = Chat(await windows.open("about:blank"))
        await chat.page.add_init_script(kept(mara))
        await chat.page.goto(f"{app.url}/demo/")
        await chat.open()
        await expect(chat.texts().last).to_have_text(said[-1])
        await expect(chat.texts()).to_have_count(SHOWN)
        shown = await chat.texts().all_inner_texts()
        _, text = await download(chat)
        assert [line for line in text.splitlines() if line.startswith("message ")] == said
        assert await chat.texts().all_inner_texts() == shown
        await chat.page.route("**/v1/frames", lambda route: route.abort())
        await chat.part("more").click()
        await chat.page.get_by_role("menuitem", name="Download the conversation").click()
        await expect(chat.part("status")).to_have_text("This does not work at the moment.")


@looks
async def test_the_menu_has_no_barriers(look: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/", **LOOKS[look]))
        await chat.begin("Hello!")
        await chat.part("more").click()
        await expect(chat.page.get_by_role("menu")).to_be_visible()
        assert await barriers(chat.page) == []
        await picture(chat.page, f"widget-menu-{look}")
