"""A visitor sends files: chosen, pasted or dropped; told what is wrong with one; nothing is sent half."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route, expect

from bridge.app import App, running
from bridge.config import demo_config
from tests.browser.test_looks import LOOKS, looks, mainly
from tests.browsing import Chat, DeskPage, Windows, barriers, loaded, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

DRAWN = """([width, height, color]) => {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = color;
  context.fillRect(0, 0, width, height);
  return canvas.toDataURL("image/png");
}"""
GIVEN = """(target, [type, files, texts]) => {
  const data = new DataTransfer();
  for (const kind in texts) data.setData(kind, texts[kind]);
  for (const { name, mimeType, base64 } of files) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type: mimeType }));
  }
  const event = type === "paste"
    ? new ClipboardEvent(type, { clipboardData: data, bubbles: true, cancelable: true, composed: true })
    : new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true, composed: true });
  return target.dispatchEvent(event);
}"""
NOTE = {"name": "order.txt", "mimeType": "text/plain", "buffer": b"two bags"}


async def shop(windows: Windows, app: App, **options: Any) -> Chat:
    chat = Chat(await windows.open(f"{app.url}/demo/", **options))
    await chat.open()
    return chat


async def drawn(chat: Chat, name: str = "cup.png", color: str = "#ae4a20") -> dict[str, Any]:
    """Return a picture that a browser has drawn, as a file to choose."""
    address = await chat.page.evaluate(DRAWN, [320, 200, color])
    return {"name": name, "mimeType": "image/png", "buffer": base64.b64decode(address.partition(",")[2])}


async def choose(chat: Chat, *files: dict[str, Any]) -> None:
    async with chat.page.expect_file_chooser() as chooser:
        await chat.part("attach").click()
    await (await chooser.value).set_files(list(files))


async def give(
    chat: Chat, part: str, type: str, *files: dict[str, Any], texts: Mapping[str, str] | None = None
) -> bool:
    """Paste or drop files, or hold them over a part; return whether the browser still does its own with them."""
    given = [{**file, "base64": base64.b64encode(file["buffer"]).decode()} for file in files]
    for file in given:
        del file["buffer"]
    return bool(await chat.part(part).evaluate(GIVEN, [type, given, dict(texts or {})]))


async def ready(chat: Chat, count: int) -> None:
    await expect(chat.part("upload").and_(chat.page.locator("[data-state=ready]"))).to_have_count(count)


async def test_chosen_files_are_sent_with_the_text(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app)
        await choose(chat, await drawn(chat), NOTE)
        await ready(chat, 2)
        await chat.say("These two")
        await chat.latest_is("sent")
        await expect(chat.part("upload")).to_have_count(0)
        sent = chat.messages("visitor").last
        await loaded(sent.locator("img"))
        await expect(sent.locator(".file").last).to_have_text("order.txt1 kB")

        assert app.desk_url
        ada = DeskPage(await windows.open(app.desk_url))
        await ada.enter("Ada")
        await ada.rows.click()
        await loaded(ada.page.locator("#thread img"))
        await expect(ada.page.locator("#thread")).to_contain_text("order.txt")

        await chat.page.reload()
        await chat.open()
        await loaded(sent.locator("img"))
        async with chat.page.expect_download() as download:
            await sent.locator("a", has_text="order.txt").click()
        assert await asyncio.to_thread((await (await download.value).path()).read_bytes) == NOTE["buffer"]


async def test_a_file_needs_no_text(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app)
        await choose(chat, NOTE)
        await ready(chat, 1)
        await chat.part("send").click()
        await chat.latest_is("sent")
        await expect(chat.messages("visitor")).to_contain_text("order.txt")
        await chat.part("composer").press("Enter")
        await expect(chat.messages("visitor")).to_have_count(1)


@pytest.mark.parametrize("look", mainly(("desktop-light", "desktop-dark"), "desktop-light"))
async def test_files_are_pasted_and_dropped(look: str, windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app, **LOOKS[look])
        await give(chat, "composer", "paste", await drawn(chat, "pasted.png"))
        await give(chat, "log", "dragenter", NOTE)
        await expect(chat.part("panel")).to_have_attribute("data-drop", "Drop your files here")
        await picture(chat.page, f"widget-drop-{look}")
        await give(chat, "log", "drop", NOTE)
        await expect(chat.part("panel")).not_to_have_attribute("data-drop", re.compile(""))
        await ready(chat, 2)
        await chat.part("composer").press("Enter")
        await chat.latest_is("sent")
        await expect(chat.messages("visitor").locator(".file")).to_have_count(2)


async def test_a_text_that_brings_its_picture_is_pasted_as_text(windows: Windows, tmp_path: Path) -> None:
    """As cells of a spreadsheet do. A picture from a page brings its markup alone, and is a picture."""
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app)
        cells = await drawn(chat, "cells.png")
        assert await give(chat, "composer", "paste", cells, texts={"text/plain": "2\t3", "text/html": "<table>"})
        assert not await give(chat, "composer", "paste", cells, texts={"text/html": "<img>"})
        await ready(chat, 1)


async def test_the_focus_goes_on_where_a_button_goes_away(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app)
        await chat.page.route("**/v1/uploads", lambda route: route.abort())
        await choose(chat, NOTE)
        await expect(chat.part("upload")).to_contain_text("No connection.")
        await picture(chat.page, "widget-files-offline")
        await chat.page.unroute("**/v1/uploads")
        for part in ("retry", "remove"):
            await chat.part(part).focus()
            await chat.page.keyboard.press("Enter")
            await expect(chat.part("composer")).to_be_focused()
        await expect(chat.part("upload")).to_have_count(0)


async def test_what_is_wrong_with_a_file_is_told_and_the_rest_is_sent(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app)
        film = {"name": "film.mp4", "mimeType": "video/mp4", "buffer": bytes(10_000_001)}
        fake = {"name": "fake.png", "mimeType": "image/png", "buffer": b"<script>"}
        await choose(chat, film, fake, NOTE)
        await ready(chat, 1)
        uploads = chat.part("upload")
        await expect(uploads.nth(0).locator("small").first).to_have_text("10.1 MB")
        await expect(uploads.nth(0)).to_contain_text("Too large: at most 10 MB.")
        await expect(uploads.nth(1)).to_contain_text("The file is empty, or not what its name says.")
        await expect(uploads.locator("[part=retry]:not([hidden])")).to_have_count(0)
        await picture(chat.page, "widget-files-wrong")
        assert await barriers(chat.page) == []
        await chat.say("Here")
        await expect(chat.part("status")).to_have_text("A file could not be uploaded. Try again or remove it.")
        await expect(chat.messages("visitor")).to_have_count(0)
        for name in ("film.mp4", "fake.png"):
            await chat.page.get_by_role("button", name=f"Remove {name}").click()
        await chat.part("composer").press("Enter")
        await chat.latest_is("sent")
        await chat.shows("Here")
        await expect(chat.messages("visitor").locator(".file")).to_have_count(1)


async def test_a_message_holds_ten_files(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app)
        await choose(chat, *({**NOTE, "name": f"{number}.txt"} for number in range(11)))
        await expect(chat.part("status")).to_have_text("A message holds at most 10 files.")
        await ready(chat, 10)


async def test_a_message_waits_for_its_files(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app)
        go_on = asyncio.Event()

        async def slow(route: Route) -> None:
            await go_on.wait()
            await route.continue_()

        await chat.page.route("**/v1/uploads", slow)
        await choose(chat, await drawn(chat))
        await expect(chat.part("upload")).to_have_attribute("data-state", "uploading")
        await chat.say("With a picture")
        await expect(chat.part("status")).to_have_text("Your message is sent as soon as the files are uploaded.")
        await picture(chat.page, "widget-files-uploading")
        go_on.set()
        await chat.latest_is("sent")
        await chat.shows("With a picture")
        await loaded(chat.messages("visitor").locator("img"))
        await expect(chat.part("composer")).to_have_value("")


async def test_how_far_an_upload_has_come_is_shown(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app)
        line = await chat.page.context.new_cdp_session(chat.page)
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 1_000_000}
        await line.send("Network.emulateNetworkConditions", slow)
        await choose(chat, {"name": "long.txt", "mimeType": "text/plain", "buffer": b"two bags\n" * 200_000})
        progress = chat.part("upload").get_by_role("progressbar", name="long.txt")
        await expect(progress).to_be_visible()
        await chat.page.wait_for_function("one => one.value > 0 && one.value < 1", arg=await progress.element_handle())
        await line.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
        await ready(chat, 1)
        await expect(progress).to_be_hidden()


async def test_an_upload_that_broke_can_be_tried_again(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app)
        await chat.page.route("**/v1/uploads", lambda route: route.abort())
        await choose(chat, NOTE)
        await expect(chat.part("upload")).to_contain_text("No connection.")
        await chat.page.unroute("**/v1/uploads")
        await chat.part("retry").click()
        await ready(chat, 1)
        await chat.say("At last")
        await chat.latest_is("sent")
        await expect(chat.messages("visitor").locator(".file")).to_have_count(1)


async def test_a_draft_survives_the_way_to_the_next_page(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app)
        await chat.part("composer").fill("Half a senten")
        await chat.page.reload()
        await chat.open()
        await expect(chat.part("composer")).to_have_value("Half a senten")
        await chat.part("composer").press("End")
        await chat.part("composer").press_sequentially("ce")
        await chat.part("composer").press("Enter")
        await chat.shows("Half a sentence")
        await chat.page.reload()
        await chat.open()
        await chat.shows("Half a sentence")
        await expect(chat.part("composer")).to_have_value("")


@looks
async def test_files_have_no_barriers(look: str, windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await shop(windows, app, **LOOKS[look])
        await choose(chat, await drawn(chat), NOTE)
        await ready(chat, 2)
        await chat.say("Like this one, two bags please")
        await chat.latest_is("sent")
        await choose(
            chat, await drawn(chat, "another.png", "#33604c"), {**NOTE, "name": "a-rather-" + "long-" * 20 + "name.txt"}
        )
        await ready(chat, 2)
        await chat.part("composer").fill("And these")
        assert await barriers(chat.page) == []
        await picture(chat.page, f"widget-files-{look}")
