"""What the widget of a wheel costs a page, in Chromium with a quarter of the processor, as on a phone."""

from __future__ import annotations

import asyncio
import base64
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from aiohttp import web
from playwright.async_api import Browser, Request, StorageState, async_playwright, expect

from bench.processes import product
from bench.report import Row
from tests.browsing import Chat, launch, slowed
from tests.process import installed

EMPTY = """<!doctype html><html lang="en"><title>Page</title><body><h1>A page</h1><script>
window.long = [];
new PerformanceObserver((list) => long.push(...list.getEntries())).observe({ type: "longtask", buffered: true });
</script>"""
OPENED = """threadbridge("open"), new Promise((done) => {
  const look = () => {
    const shadow = document.querySelector("threadbridge-widget").shadowRoot;
    if (shadow.querySelector(".open .message img")?.naturalWidth) done(true);
    else setTimeout(look, 50);
  };
  look();
})"""
SETTLED = "new Promise((done) => requestIdleCallback(() => setTimeout(() => done(long.length), 200)))"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
UNITS = {"bytes": "B", "script": "ms", "main thread": "ms", "heap": "kB", "nodes": ""}
MOMENTS = ("before a click", "with the panel open")
LIMITS = {"bytes before a click": 3_000, "bytes with the panel open": 16_000, "script before a click": 50}
"""For what the widget adds."""
COUNTED = ("document", "script")
"""Whose bytes count. The site's card, and what the visitor sent, are not the widget's."""


@dataclass
class Page:
    """An empty page, and the same with the widget."""

    origin: str = ""
    gateway: str = ""

    async def serve(self, request: web.Request) -> web.Response:
        script = f'<script async src="{self.gateway}/widget.js" data-site="shop"></script>'
        # As long as one another, so that what the widget adds are its own bytes
        html = EMPTY + (f"{script}<!---->" if request.path == "/widget" else f"<!--{script}-->")
        return web.Response(text=html, content_type="text/html")


def widget(options: Namespace) -> Sequence[Row]:
    """What the widget costs a page at a quarter of the processor: bytes, time, heap, nodes; beside an empty page."""
    return asyncio.run(_widget(options))


async def _widget(options: Namespace) -> Sequence[Row]:
    async with shop(Path(options.folder)) as page, async_playwright() as playwright:
        return await _compare(await launch(playwright), page, options.turns)


@asynccontextmanager
async def shop(folder: Path) -> AsyncIterator[Page]:
    """Serve both pages, and run the product of a wheel for them."""
    wheel = await asyncio.to_thread(installed, folder / "wheel")
    environ = {"PYTHONPATH": str(wheel), "PYTHONSAFEPATH": "1"}
    page = Page()
    app = web.Application()
    app.add_routes([web.get("/empty", page.serve), web.get("/widget", page.serve)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    page.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    site = {"name": "Shop", "origins": [page.origin], "destinations": ["desk"]}
    with product(folder, {"desk": {"type": "desk"}}, environ=environ, sites={"shop": site}) as server:
        page.gateway = server.url
        yield page
    await runner.cleanup()


async def _compare(browser: Browser, page: Page, turns: int) -> Sequence[Row]:
    """Load both pages in turns, the widget's also with its panel open, a conversation and its picture in it."""
    rows = {(when, what): Row("widget", f"{what} {when}", unit) for when in MOMENTS for what, unit in UNITS.items()}
    talked = await _talk(browser, page)
    for _ in range(turns):
        empty = await _load(browser, f"{page.origin}/empty")
        for when, storage in zip(MOMENTS, (None, talked), strict=True):
            cost = await _load(browser, f"{page.origin}/widget", storage)
            for what in UNITS:
                rows[when, what].add(cost[what], empty[what])
            for whose, tasks in (("long_tasks", cost), ("long_tasks_empty", empty)):
                rows[when, "main thread"].more.setdefault(whose, []).append(tasks["long tasks"])
    for row in rows.values():
        row.more["added"] = round(median(row.product) - median(row.yardstick), 1)
        if row.what in LIMITS:
            row.more["limit"] = LIMITS[row.what]
    return list(rows.values())


async def _talk(browser: Browser, page: Page) -> StorageState:
    """Begin a conversation that has a picture; return what the browser keeps of it."""
    context = await browser.new_context()
    chat = Chat(await context.new_page())
    await chat.page.goto(f"{page.origin}/widget")
    await chat.open()
    async with chat.page.expect_file_chooser() as chooser:
        await chat.part("attach").click()
    await (await chooser.value).set_files({"name": "pixel.png", "mimeType": "image/png", "buffer": PIXEL})
    await expect(chat.part("upload")).to_have_attribute("data-state", "ready")
    await chat.say("Like this one?")
    await chat.latest_is("sent")
    storage = await context.storage_state()
    await context.close()
    return storage


async def _load(browser: Browser, url: str, storage: StorageState | None = None) -> dict[str, float]:
    """Load a page as a new visitor, or as one who has talked and opens the panel; return what it took until settled."""
    context = await browser.new_context(storage_state=storage, reduced_motion="reduce")
    page = await context.new_page()
    requests: list[Request] = []
    page.on("requestfinished", lambda request: requests.append(request))  # noqa: PLW0108 - it takes no built-in method
    chromium = await slowed(page)
    await chromium.send("Performance.enable")

    async def ask(expression: str) -> Any:
        """Ask the page by Chromium's own protocol: Playwright's locators would bring scripts of their own."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        return (await chromium.send("Runtime.evaluate", asked))["result"]["value"]

    async def metrics() -> dict[str, float]:
        return {one["name"]: one["value"] for one in (await chromium.send("Performance.getMetrics"))["metrics"]}

    await page.goto(url, wait_until="networkidle")
    if storage:
        await ask(OPENED)
    long_tasks, spent = await ask(SETTLED), await metrics()
    await chromium.send("HeapProfiler.collectGarbage")
    kept = await metrics()
    sizes = [await request.sizes() for request in requests if request.resource_type in COUNTED]
    await context.close()
    return {
        "bytes": sum(size["responseBodySize"] for size in sizes),
        "script": spent["ScriptDuration"] * 1000,
        "main thread": spent["TaskDuration"] * 1000,
        "heap": kept["JSHeapUsedSize"] / 1000,
        "nodes": kept["Nodes"],
        "long tasks": long_tasks,
    }
