"""A message's text is copied, and the log is walked through, by mouse, finger and keyboard."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from playwright.async_api import expect

from bridge.app import running
from bridge.config import demo_config
from tests.browser.test_host_pages import Host, gateway_for, hosted
from tests.browser.test_looks import LOOKS, looks
from tests.browsing import PHONE, Chat, DeskPage, Windows, barriers, picture
from tests.emulators.discord import DiscordEmulator
from tests.platforms import Emulated, emulated, eventually_equal

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKED = "Which of your coffees is good in a moka pot?"
WRITTEN = "The **Midnight**, see [our shop](https://shop.example/):\n1. *dark*\n2. `strong`"
READ = "The Midnight, see our shop (https://shop.example/):\n1. dark\n2. strong"
CLIPBOARD: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
NO_CLIPBOARD = "delete Navigator.prototype.clipboard"
ADDED = """log => {
  window.added = 0;
  new MutationObserver((records) => records.forEach(({ addedNodes }) => (added += addedNodes.length)))
    .observe(log, { childList: true, subtree: true, characterData: true });
}"""


@asynccontextmanager
async def talk(windows: Windows, data: Path, before: str = "", **options: Any) -> AsyncIterator[Chat]:
    """A visitor has asked something and Ada has answered."""
    async with running(demo_config(data, 0)) as app:
        page = await windows.open("about:blank", **{**CLIPBOARD, **options})
        if before:
            await page.add_init_script(before)
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.begin(ASKED)
        assert app.desk_url
        ada = DeskPage(await windows.open(app.desk_url))
        await ada.enter("Ada")
        await ada.rows.click()
        await ada.reply(WRITTEN)
        await expect(chat.messages("staff")).to_have_count(1)
        await chat.page.bring_to_front()
        yield chat


async def copied(chat: Chat, text: str) -> None:
    await expect(chat.part("status")).to_have_text("Copied")
    await eventually_equal(lambda: chat.page.evaluate("navigator.clipboard.readText()"), text)


async def test_a_button_beside_the_message_copies_it(windows: Windows, tmp_path: Path) -> None:
    async with talk(windows, tmp_path) as chat:
        await chat.part("log").evaluate(ADDED)
        await chat.messages("staff").hover()
        await expect(chat.part("copy")).to_have_accessible_name("Copy message")
        await chat.part("copy").click()
        await copied(chat, READ)
        await picture(chat.page, "widget-copied")
        await chat.messages("visitor").hover()
        await expect(chat.part("copy")).not_to_have_attribute("data-done", "")
        await chat.part("copy").click()
        await copied(chat, ASKED)
        await chat.page.mouse.move(10, 10)
        await chat.part("composer").focus()
        await expect(chat.part("copy")).to_be_hidden()
        await expect(chat.part("status")).to_be_empty()
        assert await chat.page.evaluate("added") == 0  # nothing of it was read out as a message


async def test_the_log_is_one_stop_for_the_tab_key(windows: Windows, tmp_path: Path) -> None:
    async with talk(windows, tmp_path) as chat:
        own, answer = chat.messages("visitor"), chat.messages("staff")
        keys = chat.page.keyboard
        await chat.part("close").focus()
        await keys.press("Tab")  # what scrolls
        await keys.press("Tab")
        await expect(answer).to_be_focused()
        whole = re.compile(r"^Ada, The Midnight, .* 1\. dark 2\. strong, \d\d:\d\d$")
        await expect(answer).to_have_accessible_name(whole)
        await keys.press("Enter")
        await copied(chat, READ)
        await keys.press("ArrowUp")
        await expect(own).to_be_focused()
        await picture(chat.page, "widget-copy-focus")
        await keys.press("ArrowUp")
        await expect(own).to_be_focused()
        await keys.press("c")
        await copied(chat, ASKED)
        await keys.press("End")
        await expect(answer).to_be_focused()
        await keys.press("Home")
        await expect(own).to_be_focused()
        assert await barriers(chat.page) == []
        await chat.say("Thank you!")
        await expect(own.last).to_have_attribute("tabindex", "0")
        assert await chat.messages().evaluate_all("all => all.filter((one) => one.tabIndex === 0).length") == 1


async def test_what_is_edited_or_deleted_is_called_so(windows: Windows, tmp_path: Path) -> None:
    async with (
        hosted(Host()) as host,
        emulated("discord") as discord,
        ClientSession() as http,
        gateway_for(host, discord, tmp_path, [host.origin]) as app,
    ):
        discord.attach(app, http)
        assert isinstance(discord, Emulated)
        assert isinstance(discord.emulator, DiscordEmulator)
        chat = Chat(await windows.open(host.origin))
        await chat.begin(ASKED)
        (thread,) = await discord.threads()
        said = await discord.says(thread, "The Sunrose", name="Ada")
        answer = chat.messages("staff")
        await answer.focus()
        await expect(answer).to_have_accessible_name(re.compile(r"^Ada, The Sunrose, \d\d:\d\d$"))
        await expect(chat.part("copy")).to_be_visible()
        await discord.edits(thread, said, "The Sunrise")
        await expect(answer).to_have_accessible_name(re.compile(r"^Ada, The Sunrise, \d\d:\d\d$"))
        below = "one => one.closest('.scroller').getBoundingClientRect().bottom - one.getBoundingClientRect().bottom"
        assert await answer.evaluate(below) >= 4  # room for the ring of the focus
        await picture(chat.page, "widget-edited")
        await discord.emulator.staff_deletes(thread, said)
        await expect(answer).to_have_accessible_name(re.compile(r"^Ada, Message deleted, \d\d:\d\d$"))
        await expect(chat.part("copy")).to_be_hidden()
        await picture(chat.page, "widget-deleted")


async def test_a_finger_copies(windows: Windows, tmp_path: Path) -> None:
    async with talk(windows, tmp_path, **{**PHONE, **CLIPBOARD}) as chat:
        await chat.texts("staff").locator("p").first.tap()
        box = await chat.part("copy").bounding_box()
        assert box
        assert (box["width"], box["height"]) == (44, 44)
        await chat.part("copy").tap()
        await copied(chat, READ)


async def test_without_a_clipboard_it_is_copied_too(windows: Windows, tmp_path: Path) -> None:
    """Browsers give one only to pages with TLS."""
    async with talk(windows, tmp_path, NO_CLIPBOARD) as chat:
        await chat.messages("staff").hover()
        await chat.part("copy").click()
        await expect(chat.part("status")).to_have_text("Copied")
        await expect(chat.part("copy")).to_be_focused()
        await chat.part("composer").press("Control+v")
        await expect(chat.part("composer")).to_have_value(READ)


@looks
async def test_copying_has_no_barriers(look: str, windows: Windows, tmp_path: Path) -> None:
    async with talk(windows, tmp_path, **LOOKS[look]) as chat:
        await chat.messages("staff").hover()
        await expect(chat.part("copy")).to_be_visible()
        assert await barriers(chat.page) == []
        await picture(chat.page, f"widget-copy-{look}")
