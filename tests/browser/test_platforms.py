"""A visitor in the browser, answered from each platform; and what becomes of a message that a platform refuses."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import discord
import pytest
from aiohttp import ClientSession
from playwright.async_api import expect

from tests.browser.test_files import NOTE, choose, ready
from tests.browsing import Chat, Windows, loaded, picture
from tests.emulators.base import Emulator
from tests.emulators.discord import DiscordEmulator
from tests.emulators.telegram import TelegramEmulator
from tests.house import config_for, house
from tests.platforms import Emulated, Platform, emulated, eventually_equal

pytestmark = pytest.mark.asyncio(loop_scope="session")

DRAWN = """(() => {
  const canvas = document.createElement("canvas");
  canvas.getContext("2d").fillRect(8, 8, 48, 48);
  return canvas.toDataURL("image/jpeg");
})()"""
"""A JPEG that a browser draws, as the address of data."""


@asynccontextmanager
async def answered_from(platform: Platform, windows: Windows, data: Path) -> AsyncIterator[Chat]:
    """Run a shop that is answered from a platform, with a visitor in it."""
    shop = {"name": "Corner Coffee", "origins": ["https://shop.example"], "destinations": [platform.name]}
    config = config_for(data, {platform.name: platform.settings()}, sites={"demo": shop})
    async with house(config) as app, ClientSession() as http:
        platform.attach(app, http)
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        yield chat
    assert list(platform.violations()) == []


async def give_picture(emulator: Emulator, name: str, windows: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a person have a picture; everybody has one at the emulated Slack."""
    if isinstance(emulator, TelegramEmulator):
        address = await (await windows.open("about:blank")).evaluate(DRAWN)
        emulator.world.set_picture(name, base64.b64decode(address.partition(",")[2]))
    elif isinstance(emulator, DiscordEmulator):
        monkeypatch.setattr(discord.Asset, "BASE", emulator.api_url.removesuffix("/api/v10"))
        emulator.world.person(name, avatar="a" * 32)


@pytest.mark.parametrize("kind", ["slack", "telegram", "discord"])
async def test_a_visitor_is_answered_from(
    kind: str, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emulated(kind) as platform:
        assert isinstance(platform, Emulated)
        await give_picture(platform.emulator, "Anna Weber", windows, monkeypatch)
        async with answered_from(platform, windows, tmp_path) as chat:
            await chat.say("Is it *open* today?", "And <b>tomorrow</b>?")
            await chat.latest_is("sent")
            (thread,) = await platform.threads()

            async def arrived() -> list[str]:
                return [line for shown in await platform.shown(thread) for line in shown.text.split("\n") if line]

            await eventually_equal(arrived, ["Is it *open* today?", "And <b>tomorrow</b>?"])
            said = await platform.says(thread, "Until five", name="Anna Weber")
            await platform.says(thread, "// she asked this last week too", name="Anna Weber")
            await platform.says(thread, "and tomorrow as well", name="Anna Weber")
            await chat.shows("Until five", "and tomorrow as well", kind="staff")
            await expect(chat.messages("staff").first.locator(".name")).to_have_text("Anna Weber")
            await loaded(chat.messages("staff").last.locator(".avatar img"))

            await platform.edits(thread, said, "Until six")
            await chat.shows("Until six", "and tomorrow as well", kind="staff")
            await expect(chat.messages("staff").first).to_have_attribute("data-edited", "")
            await chat.page.reload()
            await chat.shows("Is it *open* today?", "And <b>tomorrow</b>?", "Until six", "and tomorrow as well")


async def test_a_refused_message_says_so_and_can_be_tried_again(windows: Windows, tmp_path: Path) -> None:
    async with emulated("discord") as platform:
        assert isinstance(platform, Emulated)
        assert isinstance(platform.emulator, DiscordEmulator)
        stopped = platform.emulator.world.harmful_links
        async with answered_from(platform, windows, tmp_path) as chat:
            await chat.say("hello")
            await chat.latest_is("sent")
            stopped.add("shady.example")
            await chat.say("look at https://shady.example/")
            await chat.latest_is("failed")
            await expect(chat.messages("visitor").last.locator(".state")).to_contain_text("Not delivered")
            await picture(chat.page, "widget-failed")
            await chat.say("did you see it?")
            await chat.latest_is("sent")
            await chat.page.reload()
            await chat.open()
            await expect(chat.messages("visitor").nth(1)).to_have_attribute("data-state", "failed")

            stopped.clear()
            tab = Chat(await chat.page.context.new_page())
            await tab.page.goto(chat.page.url)
            await tab.open()
            await chat.part("retry").click()
            for one in (chat, tab):
                await one.shows("hello", "look at https://shady.example/", "did you see it?")
                await expect(one.messages("visitor").nth(1)).to_have_attribute("data-state", "sent")
                await expect(one.part("retry")).to_have_count(0)
            await tab.page.reload()
            await tab.shows("hello", "look at https://shady.example/", "did you see it?")
            await expect(tab.messages("visitor").nth(1)).to_have_attribute("data-state", "sent")
            (thread,) = await platform.threads()
            shown = [shown.text for shown in await platform.shown(thread)]
            assert shown.count("look at https://shady.example/") == 1
            assert shown[-1] == "look at https://shady.example/"


async def test_what_waits_for_a_platform_says_so(windows: Windows, tmp_path: Path) -> None:
    """Whoever comes back while it is away sees which message nobody has got, until it is there."""
    async with emulated("telegram") as platform:
        assert isinstance(platform, Emulated)
        async with answered_from(platform, windows, tmp_path) as chat:
            await chat.say("hello")
            await chat.latest_is("sent")
            await platform.emulator.go_down()
            await chat.say("are you there?", "nobody?")
            await chat.latest_is("stored")
            await chat.page.reload()
            await chat.open()
            late = chat.messages("visitor")
            for which, told in enumerate(("Delivered", "Not delivered yet", "Not delivered yet")):
                await expect(late.nth(which).locator(".state")).to_have_text(told)
            for which in (1, 2):
                await expect(late.nth(which).locator(".state")).to_be_visible()
            await picture(chat.page, "widget-waiting")
            await platform.emulator.come_back()
            await expect(late.nth(1).locator(".state")).to_have_text("Delivered", timeout=60_000)
            await chat.latest_is("sent")
            await expect(late.nth(1).locator(".state")).to_be_hidden()


async def test_what_was_refused_is_tried_again_with_its_file(windows: Windows, tmp_path: Path) -> None:
    async with emulated("discord") as platform:
        assert isinstance(platform, Emulated)
        assert isinstance(platform.emulator, DiscordEmulator)
        stopped = platform.emulator.world.harmful_links
        stopped.add("shady.example")
        async with answered_from(platform, windows, tmp_path) as chat:
            await chat.say("hello")
            await chat.latest_is("sent")
            await choose(chat, NOTE)
            await ready(chat, 1)
            await chat.say("look at https://shady.example/")
            await chat.latest_is("failed")
            await chat.part("retry").click()  # nothing has changed
            await chat.latest_is("failed")
            stopped.clear()
            await chat.part("retry").click()
            await chat.latest_is("sent")
            (thread,) = await platform.threads()
            assert [shown.text for shown in await platform.shown(thread)].count("look at https://shady.example/") == 1
