"""A network that is gone: the widget asks again less and less often, never too seldom, and at once when it is back."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.test_fallback import arrive, shop, talk
from tests.browsing import Windows, picture
from tests.platforms import eventually_equal

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOTED = """
window.sockets = [];
window.tries = [];
const Real = WebSocket;
window.WebSocket = class extends Real {
  constructor(...given) { super(...given); sockets.push(this); tries.push(Date.now()); }
};
window.asking = 0;
const ask = fetch;
window.fetch = async (address, options) => {
  if (!String(address).endsWith("/v1/frames")) return ask(address, options);
  tries.push(Date.now());
  asking++;
  try { return await ask(address, options); } finally { asking--; }
};
"""
BUSY = "asking + sockets.filter(({ readyState }) => readyState === 0 || readyState === 2).length"
MINUTES = 5


async def test_waiting_grows_and_ends_with_the_break(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (proxy, desk):
        proxy.sockets = "refuse"  # so that both ways are known to the page when there is none
        chat = await arrive(windows, proxy, NOTED)
        page = chat.page
        await talk(chat, desk)
        await page.clock.run_for(10_000)
        before = len(await page.evaluate("tries"))
        gateway, proxy.gateway = proxy.gateway, "http://127.0.0.1:9"
        await page.context.set_offline(True)
        proxy.cut()
        for _ in range(MINUTES * 60):
            await page.clock.run_for(1_000)
            await eventually_equal(lambda: page.evaluate(BUSY), 0)
        await expect(chat.part("status")).to_have_text("Connecting…")
        await picture(chat.page, "widget-connecting")
        tries = (await page.evaluate("tries"))[before:]
        waits = [(later - one) / 1000 for one, later in pairwise(tries)]
        assert waits[0] <= 2
        assert waits[-1] >= 15
        assert max(waits) <= 31
        assert len(tries) < 25

        (thread,) = await desk.threads()
        await desk.says(thread, "Are you there?")
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))
        await eventually_equal(lambda: page.evaluate(BUSY), 0)
        stood = await page.evaluate("Date.now()")
        proxy.gateway, proxy.sockets = gateway, "pass"
        await page.context.set_offline(False)
        await expect(chat.texts("staff").last).to_have_text("Are you there?")
        assert await page.evaluate("Date.now()") == stood
        await expect(chat.part("status")).to_be_empty()


async def test_a_fallback_that_cannot_be_loaded_is_waited_for_no_longer_than_anything_else(
    windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (proxy, desk):
        proxy.sockets = "refuse"
        chat = await arrive(windows, proxy, NOTED)
        page = chat.page
        await page.route("**/fallback.js", lambda route: route.abort())
        await chat.open()
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))
        async with page.expect_event("requestfailed", lambda request: request.url.endswith("/fallback.js")):
            await chat.say("Hello?")
            for _ in range(2):
                await eventually_equal(lambda: page.evaluate(BUSY), 0)
                await page.clock.run_for(1_000)
        tries = len(await page.evaluate("tries"))
        await page.unroute("**/fallback.js")
        await page.clock.run_for(2_000)
        assert len(await page.evaluate("tries")) == tries + 1

        async def arrived() -> int:
            await page.clock.run_for(250)
            return len(await desk.threads())

        await eventually_equal(arrived, 1)
