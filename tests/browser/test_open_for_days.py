"""A page that stays open for days: the addresses of its files have ended, and the visitor notices nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_files import NOTE, choose, drawn, ready
from tests.browser.test_viewer import shows
from tests.browser.test_voice import TONE, plays
from tests.browser.test_writing import Past
from tests.browsing import PHONE, Chat, Windows, loaded, picture
from tests.house import config_for, house

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOUND = {"name": "knock.wav", "mimeType": "audio/wav", "buffer": TONE}


@asynccontextmanager
async def sent_days_ago(windows: Windows, data: Path, **options: Any) -> AsyncIterator[Chat]:
    """A note, a sound and a picture, in a page that was loaded two days ago, and that nobody has touched since."""
    site = {"name": "Shop", "origins": ["https://shop.example"], "destinations": ["desk"]}
    clock = Past()
    clock.days = 2
    async with house(config_for(data, sites={"demo": site}), clock) as app:
        chat = Chat(await windows.open(f"{app.url}/demo/", **options))
        await chat.open()
        await choose(chat, NOTE, SOUND, await drawn(chat))
        await ready(chat, 3)
        await chat.say("all that I have")
        await chat.latest_is("sent")
        await chat.page.reload()
        await chat.open()
        await loaded(chat.messages("visitor").locator("a img"))
        await chat.page.evaluate("dispatchEvent(new Event('online'))")
        await expect(chat.part("copy")).to_be_attached()  # with it comes what a tap on them will need
        clock.days = 0
        yield chat


async def status(page: Page, address: str) -> int:
    return int(await page.evaluate("async (address) => (await fetch(address, { cache: 'no-store' })).status", address))


async def test_files_are_there_for_as_long_as_the_page(windows: Windows, tmp_path: Path) -> None:
    async with sent_days_ago(windows, tmp_path) as chat:
        note = chat.messages("visitor").locator("a", has_text="order.txt")
        assert await status(chat.page, await note.get_attribute("href") or "") == 404
        async with chat.page.expect_download() as download:
            await note.click()
        assert await asyncio.to_thread((await (await download.value).path()).read_bytes) == NOTE["buffer"]
        picture = chat.messages("visitor").locator("a:has(img)")
        assert await status(chat.page, await picture.get_attribute("href") or "") == 200
        await picture.click()
        await shows(chat, "cup.png")


async def test_the_first_tap_finds_a_file_on_a_line_that_brings_no_script_any_more(
    windows: Windows, tmp_path: Path
) -> None:
    async with sent_days_ago(windows, tmp_path, **PHONE) as chat:
        await chat.page.route("**/*.js", lambda route: route.abort())
        async with chat.page.expect_download() as download:
            await chat.messages("visitor").locator("a", has_text="order.txt").tap()
        assert await asyncio.to_thread((await (await download.value).path()).read_bytes) == NOTE["buffer"]


async def test_a_sound_is_there_for_as_long_as_the_page(windows: Windows, tmp_path: Path) -> None:
    async with sent_days_ago(windows, tmp_path) as chat:
        sound = chat.messages("visitor").locator("audio")
        ended = await sound.get_attribute("src") or ""
        await sound.evaluate("sound => sound.play().catch(() => {})")
        await expect(sound).not_to_have_attribute("src", ended)
        await plays(sound)


async def test_what_cannot_be_had_is_told(windows: Windows, tmp_path: Path) -> None:
    async with sent_days_ago(windows, tmp_path) as chat:
        note = chat.messages("visitor").locator("a", has_text="order.txt")
        await chat.page.route("**/v1/frames", lambda route: route.abort())
        await note.click()
        await expect(chat.part("status")).to_have_text("No connection.")
        await picture(chat.page, "widget-offline")
        await chat.page.unroute("**/v1/frames")
        async with chat.page.expect_download():
            await note.click()
