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

from bench.processes import product
from bench.report import Row
from bench.widget import Page as Pages
from bench.widget import served
from tests.browsing import launch, slowed
from tests.house import Visitor
from tests.process import installed

MESSAGES = 5_000
LONG = 50.0
"""Milliseconds from which on a browser calls a task long."""
CATEGORIES = ["toplevel", "blink.user_timing"]
TASK = "ThreadControllerImpl::RunTask"
MARK = "settled"
"""What a page leaves in the record, which tells its thread from those of the browser's own pages."""
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
SETTLED = f"""new Promise((done) => requestIdleCallback(() => setTimeout(() => {{
  performance.mark("{MARK}");
  done();
}}, 200)))"""
Act = Callable[[Page], Awaitable[Any]]


def history(options: Namespace) -> Sequence[Row]:
    """How long one task of a long conversation takes at a quarter of the processor; beside an empty page."""
    return asyncio.run(_history(options))


async def _history(options: Namespace) -> Sequence[Row]:
    folder = Path(options.folder)
    wheel = await asyncio.to_thread(installed, folder / "wheel")
    environ = {"PYTHONPATH": str(wheel), "PYTHONSAFEPATH": "1"}
    async with served() as pages, async_playwright() as playwright:
        site = {"name": "Shop", "origins": [pages.origin], "destinations": ["desk"]}
        with product(folder, {"desk": {"type": "desk"}}, environ=environ, sites={"shop": site}) as server:
            pages.gateway = server.url
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
                    row.add(max(widget[name]), max(empty[name]))
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
    """Do one thing after the other on a page; return what each of its tasks took meanwhile, in milliseconds."""
    context = await browser.new_context(viewport={"width": 390, "height": 844})
    page = await context.new_page()
    kept = json.dumps({"token": token, "queue": []})
    if token:
        await page.add_init_script(f"localStorage.setItem('threadbridge:shop', {json.dumps(kept)})")
    await slowed(page)
    took = {}
    for name, act in acts.items():
        await browser.start_tracing(page=page, categories=CATEGORIES)
        if name == "opening":
            await page.goto(url)
        await act(page)
        await page.evaluate(SETTLED)
        took[name] = _own(json.loads(await browser.stop_tracing())["traceEvents"])
    await context.close()
    return took


def _own(events: Sequence[dict[str, Any]]) -> list[float]:
    """Return the processor time of each task of the page's main thread: what other programs took is not in it."""
    threads = {(one["pid"], one["tid"]) for one in events if one["name"] == MARK}
    tasks = [one for one in events if one["name"] == TASK and (one["pid"], one["tid"]) in threads]
    return [one["tdur"] / 1000 for one in tasks if "tdur" in one]  # one that the end of the trace cuts off has none
