"""Pictures of a conversation, seen large."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from bridge.app import running
from bridge.config import demo_config
from tests.browser.test_files import choose, drawn, ready
from tests.browser.test_looks import LOOKS, looks
from tests.browser.test_looks import shop as shop_with_desk
from tests.browsing import Chat, Windows, barriers, loaded, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "a-rather-" + "long-" * 9 + "name"


async def send_pictures(chat: Chat, **colors: str) -> None:
    await choose(chat, *[await drawn(chat, f"{name}.png", color) for name, color in colors.items()])
    await ready(chat, len(colors))
    await chat.part("send").click()
    await chat.latest_is("sent")
    await loaded(pictures(chat))


def pictures(chat: Chat) -> Locator:
    return chat.messages().locator("a img")


async def shows(chat: Chat, name: str, place: str = "") -> None:
    viewer = chat.part("viewer")
    await expect(viewer).to_have_accessible_name(name)
    await expect(viewer.locator(".caption")).to_have_text(name + place)
    await loaded(viewer.locator("img"))


async def test_one_goes_from_picture_to_picture(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        await send_pictures(chat, cup="#ae4a20", bag="#33604c")
        await pictures(chat).first.click()
        await shows(chat, "cup.png", "Picture 1 of 2")
        await expect(chat.page.get_by_role("button", name="Back to the chat")).to_be_focused()
        await chat.page.keyboard.press("ArrowRight")
        await shows(chat, "bag.png", "Picture 2 of 2")
        await chat.page.get_by_role("button", name="Next picture").click()
        await shows(chat, "cup.png", "Picture 1 of 2")
        await chat.page.keyboard.press("ArrowLeft")
        await shows(chat, "bag.png", "Picture 2 of 2")
        await chat.page.keyboard.press("Escape")
        await expect(chat.part("viewer")).to_have_count(0)
        await expect(chat.part("panel")).to_be_visible()
        await expect(chat.messages().locator("a:has(img)").last).to_be_focused()

        await chat.page.reload()
        await chat.open()
        await loaded(pictures(chat))
        await pictures(chat).first.focus()
        await chat.messages().locator("a:has(img)").first.press("Enter")
        await shows(chat, "cup.png", "Picture 1 of 2")
        async with chat.page.expect_download() as downloading:
            await chat.page.get_by_role("button", name="Download").click()
        file = await downloading.value
        assert file.suggested_filename == "cup.png"
        assert (await asyncio.to_thread((await file.path()).read_bytes))[:4] == b"\x89PNG"
        await chat.part("viewer").click(position={"x": 10, "y": 300})
        await expect(chat.part("viewer")).to_have_count(0)


async def test_a_picture_still_opens_in_a_tab(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        await send_pictures(chat, cup="#ae4a20")
        await chat.page.reload()
        await chat.open()
        for how in ({"modifiers": ["Control"]}, {"button": "middle"}):
            async with chat.page.context.expect_page() as opening:
                await pictures(chat).click(**how)  # type: ignore[arg-type]
            await expect((await opening.value).locator("img")).to_have_count(1)
            await expect(chat.part("viewer")).to_have_count(0)


async def test_what_is_modal_goes_with_what_it_belongs_to(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        await send_pictures(chat, cup="#ae4a20")
        for call in ("close", "hide", "logout"):
            await chat.page.evaluate("() => { threadbridge('show'); threadbridge('open') }")
            await pictures(chat).click()
            await expect(chat.part("viewer")).to_be_visible()
            await chat.page.evaluate("call => threadbridge(call)", call)
            await expect(chat.part("viewer")).to_have_count(0)


async def test_from_right_to_left_the_arrows_change_places(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.page.evaluate("document.documentElement.lang = 'ar'")
        await chat.open()
        await send_pictures(chat, cup="#ae4a20", bag="#33604c", box="#35405c")
        await pictures(chat).first.click()
        await shows(chat, "cup.png", "الصورة 1 من 3")
        await chat.page.keyboard.press("ArrowLeft")
        await shows(chat, "bag.png", "الصورة 2 من 3")
        following = await chat.page.get_by_role("button", name="الصورة التالية").bounding_box()
        assert following
        assert following["x"] < 100
        assert await barriers(chat.page) == []
        await picture(chat.page, "widget-viewer-ar")


@looks
async def test_the_viewer_has_no_barriers(look: str, windows: Windows, tmp_path: Path) -> None:
    async with shop_with_desk(tmp_path) as (app, desk):
        chat = Chat(await windows.open(f"{app.url}/demo/", **LOOKS[look]))
        await chat.begin("Which of these?")
        (thread,) = await desk.threads()
        await send_pictures(chat, **{LONG: "#33604c"})
        cup = await drawn(chat)
        await desk.shares(thread, "cup.png", "image/png", cup["buffer"])
        await expect(pictures(chat)).to_have_count(2)
        await loaded(pictures(chat))
        await pictures(chat).first.click()
        await shows(chat, f"{LONG}.png", "Picture 1 of 2")
        assert await barriers(chat.page) == []
        await picture(chat.page, f"widget-viewer-{look}")
