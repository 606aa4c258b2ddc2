"""What the widget costs a page on a phone's processor, under a strict policy: no long task, and nothing refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_host_pages import Host, Visit, gateway_for, hosted
from tests.browsing import Chat, Windows, slowed
from tests.platforms import emulated

pytestmark = pytest.mark.asyncio(loop_scope="session")

TURNS = 12
"""A long task of the widget's own is there in each of them; one of a busy machine's is not."""
NOTED = """
window.long = [];
new PerformanceObserver((list) => long.push(...list.getEntries())).observe({ type: "longtask", buffered: true });
"""
SETTLED = "new Promise((done) => requestIdleCallback(() => setTimeout(() => done(long.length), 100)))"


async def load(windows: Windows, host: Host) -> tuple[Page, int]:
    """Load a page on a slow processor; return it and how many tasks took more than 50 ms."""
    page = await windows.open("about:blank")
    await slowed(page)
    await page.goto(host.origin)
    if host.gateway:
        await expect(Chat(page).part("launcher")).to_be_visible()
    return page, await page.evaluate(SETTLED)


async def test_a_page_loads_without_a_long_task_of_the_widgets(windows: Windows, tmp_path: Path) -> None:
    async with (
        hosted(Host(strict="dynamic", early=NOTED)) as host,
        hosted(Host(strict="dynamic", early=NOTED)) as empty,
        emulated("desk") as desk,
        gateway_for(host, desk, tmp_path, [host.origin]),
    ):
        caused = []
        while not caused or (min(caused) > 0 and len(caused) < TURNS):
            _, others = await load(windows, empty)
            page, all = await load(windows, host)
            caused.append(all - others)
        assert min(caused) <= 0
        chat = Chat(page)
        await chat.open()
        await chat.say("hello")
        await chat.latest_is("sent")
        assert await chat.part("composer").evaluate("box => parseFloat(getComputedStyle(box).fontSize)") >= 16
        await Visit(page).unharmed()
        assert host.reports == []


FORMATS = """
window.formats = [];
for (const kind of ["DateTimeFormat", "NumberFormat", "RelativeTimeFormat", "PluralRules"]) {
  Intl[kind] = new Proxy(Intl[kind], {
    construct: (real, given) => (formats.push(kind), new real(...given)),
    apply: (real, _, given) => (formats.push(kind), real(...given)),
  });
}
for (const type of [Number, Date]) for (const name of ["toLocaleString", "toLocaleTimeString", "toLocaleDateString"]) {
  const real = type.prototype[name];
  if (real) type.prototype[name] = function (...given) { formats.push(name); return real.apply(this, given); };
}
"""


async def test_opening_a_panel_formats_nothing(windows: Windows, tmp_path: Path) -> None:
    """The first number or date that a browser formats takes a phone longer than all else that opens a panel."""
    async with (
        hosted(Host(early=FORMATS)) as host,
        emulated("desk") as desk,
        gateway_for(host, desk, tmp_path, [host.origin]),
    ):
        chat = Chat(await windows.open(host.origin))
        await chat.open()
        assert await chat.page.evaluate("formats") == []
        await chat.say("hello")
        await chat.latest_is("sent")
        assert await chat.page.evaluate("formats.length") > 0
