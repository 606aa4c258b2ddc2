"""What the widget costs a page on a phone's processor, under a strict policy: no long task, and nothing refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Page

from bridge.gateway.tokens import Tokens
from bridge.model import SiteKey
from tests.browser.test_host_pages import Host, Visit, gateway_for, hosted
from tests.browsing import PHONE, Chat, Windows
from tests.platforms import emulated
from tests.stored import fill
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


OPENED = """new Promise((done) => {
  window.threadbridge("open");
  const { shadowRoot } = document.querySelector("threadbridge-widget");
  const look = () => {
    if (shadowRoot.querySelectorAll(".open .message").length >= 100) done();
    else setTimeout(look, 20);
  };
  look();
})"""
REACHED = """([seq, way]) => {
  const scroller = document.querySelector("threadbridge-widget").shadowRoot.querySelector(".scroller");
  const message = scroller.querySelector(`[data-seq="${seq}"]`);
  if (!message) return false;
  const { top, bottom } = scroller.getBoundingClientRect();
  const box = message.getBoundingClientRect();
  return way < 0 ? box.bottom > top : box.top < bottom; // above the first is the greeting, as high as a screen
}"""
Scroll = Callable[[int], Awaitable[object]]
"""Goes a good way up (-1) or down (1)."""


async def by_wheel(page: Page) -> Scroll:
    await page.mouse.move(200, 400)
    return lambda way: page.mouse.wheel(0, way * 1500)


async def by_keys(page: Page) -> Scroll:
    await page.evaluate('document.querySelector("threadbridge-widget").shadowRoot.querySelector(".scroller").focus()')
    return lambda way: page.keyboard.press("Home" if way < 0 else "End")


@pytest.mark.parametrize("many", [450, pytest.param(5000, marks=pytest.mark.full)])
@pytest.mark.parametrize("by", [by_wheel, by_keys])
async def test_a_long_conversation_opens_and_scrolls_without_a_long_task(
    by: Callable[[Page], Awaitable[Scroll]], many: int, windows: Windows, tmp_path: Path
) -> None:
    (visitor,) = await asyncio.to_thread(fill, tmp_path / "threadbridge.db", datetime.now(UTC), 1, messages=many)
    first, last = 2, many + 2  # among what was opened and what was closed, which is said too
    async with (
        hosted(Host(strict="dynamic")) as host,
        emulated("desk") as desk,
        gateway_for(host, desk, tmp_path, [host.origin]),
    ):
        secret = await asyncio.to_thread((tmp_path / "secret").read_bytes)
        token = Tokens([secret]).issue(visitor, SiteKey("shop"), datetime.now(UTC))
        kept = json.dumps({"token": token, "queue": []})
        page = await windows.open(host.origin, **PHONE | {"is_mobile": False})  # which would scale the page
        # A browser's first format takes long, whoever asks for it
        await page.evaluate("Intl.DateTimeFormat()")
        await page.add_init_script(f"localStorage.setItem('threadbridge:shop', {json.dumps(kept)})")
        took = {}
        async with worked(page) as took["load"]:
            await page.reload()
            await page.evaluate(LOADED)
        async with worked(page) as took["opening"]:
            await page.evaluate(OPENED)
        assert await page.evaluate(REACHED, [last, 1])
        scroll = await by(page)
        for way, end in ((-1, first), (1, last)):
            async with worked(page) as took["up" if way < 0 else "down"]:
                while not await page.evaluate(REACHED, [end, way]):
                    await scroll(way)
        assert {act: tasks for act, tasks in took.items() if max(tasks) > LONG} == {}


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
