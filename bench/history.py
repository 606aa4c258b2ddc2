"""How long a conversation of thousands keeps a phone's page waiting: opened, read to its beginning, and down again."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from playwright.async_api import Browser, Page, async_playwright

from bench.report import Row
from bench.widget import Page as Pages
from bench.widget import shop
from tests.browsing import launch
from tests.house import Visitor
from tests.tasks import LONG, worked

MESSAGES = 5_000
OPEN = """new Promise((done) => {
  window.threadbridge?.("open");
  const look = () => {
    const shadow = document.querySelector("threadbridge-widget")?.shadowRoot;
    if (!window.threadbridge || shadow?.querySelectorAll(".open .message").length >= 100) done();
    else setTimeout(look, 50);
  };
  look();
})"""
SCROLL = """([step, last]) => new Promise((done) => {
  const scroller = document.querySelector("threadbridge-widget")?.shadowRoot.querySelector(".scroller");
  const frame = () => {
    if (!scroller || scroller.querySelector(`[data-seq="${last}"]`)) return done();
    scroller.scrollBy(0, step);
    requestAnimationFrame(frame);
  };
  frame();
})"""
Act = Callable[[Page], Awaitable[Any]]


def history(options: Namespace) -> Sequence[Row]:
    """How long one task of a long conversation takes at a quarter of the processor; beside an empty page."""
    return asyncio.run(_history(options))


async def _history(options: Namespace) -> Sequence[Row]:
    async with shop(Path(options.folder)) as pages, async_playwright() as playwright:
        token, said = await _talk(pages, options.stored or MESSAGES)
        acts: dict[str, Act] = {
            "opening": lambda page: page.evaluate(OPEN),
            "scrolling up": lambda page: page.evaluate(SCROLL, [-1000, said[0]]),
            "scrolling down": lambda page: page.evaluate(SCROLL, [1000, said[-1]]),
        }
        rows = {name: Row("history", f"longest task {name}", "ms") for name in acts}
        browser = await launch(playwright)
        for _ in range(options.turns):
            empty = await _tasks(browser, f"{pages.origin}/empty", "", acts)
            widget = await _tasks(browser, f"{pages.origin}/widget", token, acts)
            for name, row in rows.items():
                row.add(max(widget[name]), max(empty[name], default=0.0))
                row.more.setdefault("long_tasks", []).append(sum(took > LONG for took in widget[name]))
        return list(rows.values())


async def _talk(pages: Pages, messages: int) -> tuple[str, list[int]]:
    """Say thousands of things; return the visitor's token and the messages' numbers."""
    async with ClientSession() as http:
        visitor = Visitor(http, pages.gateway, origin=pages.origin)
        await visitor.connect()
        text = "Message {}, which is about as long as what people write in a chat"
        said = [await visitor.say(text.format(number)) for number in range(messages)]
        return str(visitor.token), [int(ack["seq"]) for ack in said]


async def _tasks(browser: Browser, url: str, token: str, acts: dict[str, Act]) -> dict[str, list[float]]:
    """Do one thing after the other on a page; return what each task took meanwhile, in a phone's milliseconds."""
    context = await browser.new_context(viewport={"width": 390, "height": 844})
    page = await context.new_page()
    kept = json.dumps({"token": token, "queue": []})
    if token:
        await page.add_init_script(f"localStorage.setItem('threadbridge:shop', {json.dumps(kept)})")
    took: dict[str, list[float]] = {}
    for name, act in acts.items():
        async with worked(page) as took[name]:
            if name == "opening":
                await page.goto(url)
            await act(page)
    await context.close()
    return took
