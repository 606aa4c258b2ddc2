"""What the widget costs a page on a phone's processor, under a strict policy: no long task, and nothing refused."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.gateway.tokens import Tokens
from bridge.model import SiteKey
from tests.browser.test_history import THROUGH
from tests.browser.test_host_pages import Host, Visit, gateway_for, hosted
from tests.browsing import Chat, Windows
from tests.platforms import emulated
from tests.stored import fill
from tests.tasks import LONG, SLOWER, worked

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
        await chat.begin("hello")
        assert await chat.part("composer").evaluate("box => parseFloat(getComputedStyle(box).fontSize)") >= 16
        await Visit(page).unharmed()
        assert host.reports == []


OPENED = """new Promise((done) => {
  threadbridge("open");
  const { shadowRoot } = document.querySelector("threadbridge-widget");
  const look = () => {
    if (shadowRoot.querySelectorAll(".open .message").length >= 100) done();
    else setTimeout(look, 20);
  };
  look();
})"""
LABOURED = """
const { insertBefore } = Node.prototype;
Node.prototype.insertBefore = function (...given) {
  if (given[0].dataset?.seq % 100 === 0) for (let number = 0; number < 3e8; number++) window.sum = number % 7;
  return insertBefore.apply(this, given);
};
"""
"""Makes drawing one message in a hundred a long task on any processor."""


@pytest.mark.parametrize(
    ("early", "many"),
    [("", 250), (LABOURED, 250), pytest.param("", 5000, marks=pytest.mark.full)],
    ids=["250", "laboured", "5000"],
)
async def test_a_long_conversation_opens_and_scrolls_without_a_long_task(
    early: str, many: int, windows: Windows, tmp_path: Path
) -> None:
    """To its beginning and back; and a long task where it is drawn is found each time."""
    (visitor,) = await asyncio.to_thread(fill, tmp_path / "threadbridge.db", datetime.now(UTC), 1, messages=many)
    first, last = 2, many + 2  # between its opening and its closing, which is shown too
    async with (
        hosted(Host(strict="dynamic", early=early)) as host,
        emulated("desk") as desk,
        gateway_for(host, desk, tmp_path, [host.origin]),
    ):
        secret = await asyncio.to_thread((tmp_path / "secret").read_bytes)
        token = Tokens([secret]).issue(visitor, SiteKey("shop"), datetime.now(UTC))
        kept = json.dumps({"token": token, "queue": []})
        page = await windows.open("about:blank")
        await page.add_init_script(f"localStorage.setItem('threadbridge:shop', {json.dumps(kept)})")
        took: dict[str, list[float]] = {}
        async with worked(page) as took["opening"]:
            await page.goto(host.origin)
            await page.evaluate(LOADED)
            await page.evaluate(OPENED)
        scroller = page.locator("threadbridge-widget .scroller")
        for act, step, end in (("up", -1000, first), ("down", 1000, last)):
            async with worked(page) as took[act]:
                await scroller.evaluate(THROUGH, {"step": step, "last": end})
        long = {act for act, tasks in took.items() if max(tasks) > LONG * SLOWER}
        assert long == (set(took) if early else set()), took


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
