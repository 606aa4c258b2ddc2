"""A long conversation: older messages come as one scrolls up, and a new one leaves the rest alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import ClientSession
from playwright.async_api import expect

from tests.browser.test_looks import shop, signed_in
from tests.browsing import Chat, Windows

pytestmark = pytest.mark.asyncio(loop_scope="session")

MANY = 450
WATCH = """log => {
  window.touched = new Set();
  new MutationObserver((records) => {
    for (const { target } of records) {
      const message = (target.nodeType === 1 ? target : target.parentElement).closest("[data-seq]");
      if (message) touched.add(Number(message.dataset.seq));
    }
  }).observe(log, { subtree: true, childList: true, attributes: true, characterData: true });
}"""


async def test_a_long_conversation_is_read_up_to_its_beginning(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _), ClientSession() as http:
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        for number in range(MANY):
            await visitor.say(f"message {number}")
        page = await windows.open("about:blank")
        kept = (
            f"""localStorage.setItem("threadbridge:demo", JSON.stringify({{ token: "{visitor.token}", queue: [] }}))"""
        )
        await page.add_init_script(kept)
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await expect(chat.texts().last).to_have_text(f"message {MANY - 1}")
        scroller = page.locator("threadbridge-widget .scroller")
        for shown in (400, MANY):
            await scroller.evaluate("scroller => scroller.scrollTo(0, 0)")
            await expect(chat.texts()).to_have_count(shown)
        texts = await chat.texts().all_inner_texts()
        assert texts == [f"message {number}" for number in range(MANY)]

        await chat.part("log").evaluate(WATCH)
        await chat.say("one more")
        await chat.latest_is("sent")
        assert min(await page.evaluate("[...touched]")) >= MANY + 1
