"""What the widget costs a page on a phone's processor, under a strict policy: no long task, and nothing refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.test_host_pages import Host, Visit, gateway_for, hosted
from tests.browsing import Chat, Windows
from tests.platforms import emulated
from tests.tasks import LONG, worked

pytestmark = pytest.mark.asyncio(loop_scope="session")

TURNS = 3
BUSY = "for (let number = 0; number < 6e7; number++) window.sum = number % 7;"
"""Takes a quarter of any processor longer than a page may be kept waiting."""
LOADED = """new Promise((done) => {
  const look = () => {
    if (document.querySelector("threadbridge-widget")?.shadowRoot.querySelector(".launcher")) done();
    else setTimeout(look, 20);
  };
  look();
})"""
"""Playwright's own way to wait would bring a large script of its own into the page."""


@pytest.mark.parametrize("early", ["", BUSY], ids=["", "busy"])
async def test_a_page_loads_without_a_long_task(early: str, windows: Windows, tmp_path: Path) -> None:
    """Each time it is loaded; and one of the page's own is found each time."""
    async with (
        hosted(Host(strict="dynamic", early=early)) as host,
        emulated("desk") as desk,
        gateway_for(host, desk, tmp_path, [host.origin]),
    ):
        for _ in range(TURNS):
            page = await windows.open("about:blank")
            async with worked(page) as tasks:
                await page.goto(host.origin)
                await page.evaluate(LOADED)
            assert (max(tasks) > LONG) == bool(early), tasks
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
