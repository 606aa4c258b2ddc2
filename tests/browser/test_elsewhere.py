"""A visitor who looks elsewhere: at another tab, at another page and back, or listens to a screen reader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, expect

from bridge.app import App
from tests.browser.test_api import STUB, call, proved
from tests.browser.test_looks import shop
from tests.browsing import Chat, Windows
from tests.emulators.base import eventually
from tests.platforms import Desk, eventually_equal

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOTES = """
window.played = 0;
const { start } = AudioScheduledSourceNode.prototype;
AudioScheduledSourceNode.prototype.start = function (...when) {
  if (this.context.state === "running") window.played += 0.5; // of two tones
  start.apply(this, when);
};
window.away = false;
Object.defineProperty(document, "hidden", { get: () => window.away });
window.look = (away) => { window.away = away; document.dispatchEvent(new Event("visibilitychange")); };
"""
"""A browser that is driven shows every tab; here a page can be told that it is out of sight."""
STERN = """
const { resume } = AudioContext.prototype;
window.AudioContext = class extends AudioContext {
  constructor() { super(); this.suspend(); window.tried = true; }
  resume() { return (this.asked ||= !!window.event?.isTrusted) ? resume.call(this) : new Promise(() => {}); }
};
"""
"""As WebKit has it: a sound needs a gesture that asks for it, and then no more."""
BUSY = "window.requestIdleCallback = () => {};"
UNTOLD = "addEventListener('storage', (event) => event.stopImmediatePropagation(), true);"
READ_OUT = """log => {
  window.announced = [];
  new MutationObserver((records) => {
    for (const { target, addedNodes } of records) {
      if (!target.matches("[role=log]:not([aria-live=off])")) continue;
      for (const node of addedNodes) announced.push(node.querySelector("[part=text]")?.textContent ?? node.textContent);
    }
  }).observe(log.parentNode, { childList: true, subtree: true });
}"""

TOLD = """log => {
  window.told = [];
  new MutationObserver((records) => {
    const live = new Set(records.map(({ target }) => target.closest("[role=status]")));
    for (const region of live) if (region?.getClientRects().length) told.push(region.textContent);
  }).observe(log, { childList: true, subtree: true });
}"""
REGIONS = """panel => {
  window.regions = [];
  const live = "[role=log], [role=status], [role=alert], [aria-live]";
  new MutationObserver((records) => {
    for (const { target, addedNodes } of records) {
      const region = (target.nodeType === 1 ? target : target.parentElement).closest(live);
      const text = [...addedNodes].map((node) => node.textContent).join("");
      if (text && region?.getClientRects().length && region.ariaLive !== "off") regions.push([region.role, text]);
    }
  }).observe(panel.getRootNode(), { childList: true, subtree: true, characterData: true });
}"""
NOTED = """status => {
  window.noted = [];
  const all = { childList: true, subtree: true, characterData: true };
  new MutationObserver(() => noted.push(status.textContent)).observe(status, all);
}"""

QUICK = """
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    const send = () => document.querySelector("threadbridge-widget").shadowRoot.querySelector("[part=send]").click();
    this.addEventListener("open", () => this.addEventListener("message", send, { once: true }));
  }
};
"""
"""The visitor sends in the moment in which the gateway has answered: nothing comes between."""


async def arrive(windows: Windows, app: App, context: BrowserContext | None = None, early: str = "") -> Chat:
    page = await context.new_page() if context else await windows.open("about:blank")
    await page.add_init_script(NOTES + STUB + early)
    await page.goto(f"{app.url}/demo/")
    return Chat(page)


async def played(page: Page) -> int:
    return int(await page.evaluate("played"))


async def test_the_title_counts_what_came_while_the_page_was_out_of_sight(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        title = await chat.page.title()
        await chat.begin("hello")
        (thread,) = await desk.threads()
        await desk.says(thread, "in sight")
        await chat.shows("hello", "in sight")
        await chat.page.evaluate("look(true)")
        await desk.says(thread, "one")
        await expect(chat.page).to_have_title(f"(1) {title}")
        await chat.page.evaluate("document.title = 'Basket'")
        await desk.says(thread, "two")
        await expect(chat.page).to_have_title("(2) Basket")
        await chat.page.evaluate("look(false)")
        await expect(chat.page).to_have_title("Basket")
        await expect(chat.part("badge")).to_be_hidden()


async def test_staff_read_the_pages_own_title(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        title = await chat.page.title()
        sent: list[Any] = []
        chat.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(json.loads(frame))))
        await chat.begin("hello")
        (thread,) = await desk.threads()
        await chat.page.evaluate("look(true)")
        await desk.says(thread, "one")
        await expect(chat.page).to_have_title(f"(1) {title}")
        await chat.page.evaluate("history.pushState({}, '', '/demo/?basket'); document.title = '(1) (2) Baskets'")
        await call(chat, "send", "from the page")
        await chat.shows("hello", "one", "from the page")
        await chat.latest_is("sent")
        await chat.page.evaluate("dispatchEvent(new Event('online'))")
        await eventually(lambda: len([frame for frame in sent if frame["type"] == "hello"]) == 2)
        told = [frame["page"]["title"] if frame["type"] == "hello" else frame.get("title") for frame in sent]
        assert [each for each in told if each] == [title, "(2) Baskets", "(2) Baskets"]


async def test_what_could_not_be_loaded_is_asked_for_with_the_next_message(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        title = await chat.page.title()
        await chat.page.route("**/alerts.js", lambda route: route.abort())
        await chat.begin("hello")
        (thread,) = await desk.threads()
        await chat.page.evaluate("look(true)")
        async with chat.page.expect_event("requestfailed"):
            await desk.says(thread, "one")
        await expect(chat.part("badge")).to_have_text("1")
        await chat.page.unroute("**/alerts.js")
        await desk.says(thread, "two")
        await expect(chat.page).to_have_title(f"(2) {title}")


async def test_tabs_count_alike_and_one_of_them_sounds(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        first = await arrive(windows, app)
        await first.begin("hello")
        other = await arrive(windows, app, first.page.context)
        await other.open()
        await other.shows("hello")
        for tab in (first, other):
            await tab.part("composer").press("Escape")
        (thread,) = await desk.threads()
        await desk.says(thread, "are you there?")
        for tab in (first, other):
            await expect(tab.part("badge")).to_have_text("1")

        async def sounds() -> int:
            return sum(await asyncio.gather(played(first.page), played(other.page)))

        await eventually_equal(sounds, 1)
        await other.open()
        await expect(first.part("badge")).to_be_hidden()
        await desk.says(thread, "good")
        await other.shows("hello", "are you there?", "good")
        await first.shows("hello", "are you there?", "good")
        # Where somebody reads in one tab nothing sounds in the others, also when the time for it is over.
        await first.page.wait_for_function(
            "time => performance.now() > time", arg=await first.page.evaluate("performance.now() + 600")
        )
        assert await sounds() == 1


async def test_it_sounds_where_a_gesture_has_to_ask_for_it(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app, early=STERN)
        await chat.begin("hello")
        await chat.part("composer").press("Escape")
        (thread,) = await desk.threads()
        await desk.says(thread, "unheard")
        await expect(chat.part("badge")).to_have_text("1")
        await chat.page.wait_for_function("() => window.tried")
        await chat.page.locator("h1").click()
        sounding = "navigator.locks.query().then(({ held }) => held.length)"
        await eventually_equal(lambda: chat.page.evaluate(sounding), 0)
        assert await played(chat.page) == 0
        await desk.says(thread, "heard")
        await eventually_equal(lambda: played(chat.page), 1)


async def test_a_site_may_want_no_sound(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await call(chat, "update", {"sound": False})
        await chat.begin("hello")
        await chat.part("composer").press("Escape")
        (thread,) = await desk.threads()
        await desk.says(thread, "quiet")
        await expect(chat.part("badge")).to_have_text("1")
        await call(chat, "update", {"sound": True})
        await desk.says(thread, "heard")
        await expect(chat.part("badge")).to_have_text("2")
        await eventually_equal(lambda: played(chat.page), 1)


async def test_a_visitor_may_want_no_sound(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await chat.open()
        sound = chat.page.get_by_role("menuitemcheckbox", name="Sound for new messages")
        await chat.part("more").click()
        await expect(sound).to_be_checked()
        await sound.click()
        assert await chat.page.evaluate("localStorage.length") == 0
        await chat.say("hello")
        await chat.latest_is("sent")
        await chat.page.reload()
        await chat.open()
        await chat.part("more").click()
        await expect(sound).not_to_be_checked()
        await chat.page.keyboard.press("Escape")
        await chat.part("composer").press("Escape")
        (thread,) = await desk.threads()
        await desk.says(thread, "quiet")
        await expect(chat.part("badge")).to_have_text("1")
        await chat.open()
        await chat.part("more").click()
        await sound.click()
        await chat.part("composer").press("Escape")
        await desk.says(thread, "heard")
        await expect(chat.part("badge")).to_have_text("1")
        await eventually_equal(lambda: played(chat.page), 1)


async def test_each_message_is_announced_once_and_the_history_never(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await chat.begin("of old")
        (thread,) = await desk.threads()
        await chat.page.reload()
        await chat.part("launcher").hover()
        log = chat.part("log")
        await log.evaluate(READ_OUT)
        await chat.open()
        await expect(chat.page.get_by_role("log", name="Messages")).to_have_attribute("aria-relevant", "additions")
        await chat.shows("of old")
        await desk.says(thread, "new")
        await chat.shows("of old", "new")
        await chat.say("mine")
        await chat.latest_is("sent")
        await desk.says(thread, "newer")
        await chat.shows("of old", "new", "mine", "newer")
        assert await chat.page.evaluate("announced") == ["new", "mine", "newer"]


async def test_how_far_a_message_has_come_is_announced_once_and_of_the_history_never(
    windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        welcomed: list[object] = []
        chat.page.on("websocket", lambda socket: socket.once("framereceived", lambda frame: welcomed.append(frame)))
        await chat.part("launcher").hover()
        await chat.part("log").evaluate(TOLD)
        await chat.begin("hello")
        assert await chat.page.evaluate("told") == ["Sending…", "Sent", "Delivered"]
        await chat.page.evaluate("dispatchEvent(new Event('online'))")
        await eventually(lambda: len(welcomed) == 2)
        (thread,) = await desk.threads()
        await desk.says(thread, "Good morning")
        await chat.latest_is("seen")
        await desk.says(thread, "What can I do for you?")
        await chat.shows("hello", "Good morning", "What can I do for you?")
        assert await chat.page.evaluate("told") == ["Sending…", "Sent", "Delivered", "Seen"]
        await chat.page.reload()
        await chat.part("launcher").hover()
        await chat.part("log").evaluate(TOLD)
        await chat.open()
        await chat.shows("hello", "Good morning", "What can I do for you?")
        assert await chat.page.evaluate("told") == []


async def test_a_first_message_is_announced_however_soon_it_is_sent(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, early=QUICK)
        await chat.open()
        for watch in (READ_OUT, TOLD):
            await chat.part("log").evaluate(watch)
        await chat.part("composer").fill("hello")
        await chat.latest_is("sent")
        assert await chat.page.evaluate("announced") == ["today", "hello"]
        assert await chat.page.evaluate("told") == ["Sending…", "Sent", "Delivered"]


async def test_who_types_is_announced_once(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await chat.begin("hello")
        status = chat.part("status")
        assert await status.get_attribute("role") == "status"
        await status.evaluate(NOTED)
        (thread,) = await desk.threads()
        assert isinstance(desk, Desk)
        for name in ("Ada", "Ada", "Ben"):
            await desk.types(thread, name)
            await expect(status).to_have_text(f"{name} is typing")
        assert await chat.page.evaluate("noted") == ["Ada is typing", "Ben is typing"]


REPLACED = [
    "document.body = document.createElement('body'); threadbridge('boot')",
    "document.body = document.body.cloneNode(true); threadbridge('boot')",  # with what is left of the widget
    """document.body = document.createElement('body');
       document.body.append(Object.assign(document.createElement('script'), { src: '/widget.js' }))""",
]


@pytest.mark.parametrize("replaced", REPLACED, ids=["empty", "copied", "with the script"])
async def test_it_comes_back_with_a_page_whose_body_was_replaced(
    replaced: str, windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, _):
        own = await windows.open("about:blank", bypass_csp=True)  # the shop's own policy lets no page add scripts
        chat = await arrive(windows, app, own.context)
        await chat.begin("hello")
        await chat.page.evaluate(f"{{ {replaced} }}")
        await chat.open()
        await chat.shows("hello")
        await chat.say("again")
        await chat.latest_is("sent")


@asynccontextmanager
async def away(chat: Chat, address: str) -> AsyncIterator[None]:
    """Go on to another page, and at the end back to this one as it was kept."""
    await chat.page.evaluate("addEventListener('pageshow', (event) => { window.kept = event.persisted; })")
    await chat.page.goto(address)
    yield
    await chat.page.evaluate("void history.back()")
    await chat.page.wait_for_function("() => window.kept")


async def test_going_back_finds_the_conversation_as_it_is(keeping_windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(keeping_windows, app)
        await chat.begin("hello")
        (thread,) = await desk.threads()
        async with away(chat, f"{app.url}/healthz"):
            await desk.says(thread, "while you were away")
        await chat.shows("hello", "while you were away")
        await chat.say("back")
        await chat.latest_is("sent")
        await desk.says(thread, "welcome back")
        await chat.shows("hello", "while you were away", "back", "welcome back")


async def test_going_back_after_logging_out_finds_nobody(keeping_windows: Windows, tmp_path: Path) -> None:
    """Also where browsers tell a page that they keep nothing of what happened to the storage."""
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(keeping_windows, app, early=UNTOLD)
        await chat.begin("a secret")
        await chat.part("composer").fill("half a secre")
        (thread,) = await desk.threads()
        async with away(chat, f"{app.url}/demo/?another"):
            await call(chat, "logout")
        await expect(chat.messages()).to_have_count(0)
        await expect(chat.part("composer")).to_have_value("")
        await chat.say("somebody else")
        await chat.latest_is("sent")
        await desk.says(thread, "for the former")
        (other,) = [one for one in await desk.threads() if one != thread]
        await desk.says(other, "for the next")
        await chat.shows("somebody else", "for the next")


@pytest.mark.parametrize("asks", [False, True], ids=["at-once", "after-consent"])
async def test_going_back_finds_nobody_who_has_only_read(asks: bool, keeping_windows: Windows, tmp_path: Path) -> None:
    """Nothing is stored of such a reader, so that nothing tells whether the person has logged out meanwhile."""
    async with shop(tmp_path) as (app, desk):
        writer = await arrive(keeping_windows, app)
        await call(writer, "identify", proved("mara"))
        await writer.begin("a secret")
        chat = await arrive(keeping_windows, app, early=UNTOLD)
        if asks:
            await call(chat, "update", {"consent": "We keep it for a year."})
        await call(chat, "identify", proved("mara"))
        await chat.part("launcher").click()
        if asks:
            await expect(chat.part("agree")).to_be_visible()
        else:
            await chat.shows("a secret")
        async with away(chat, f"{app.url}/demo/?another"):
            await call(chat, "logout")
        if asks:
            await chat.part("agree").click()
        await expect(chat.messages()).to_have_count(0)
        await call(chat, "setLocale", "fr")
        await expect(chat.part("send")).to_have_accessible_name("Envoyer")
        await chat.say("somebody else")
        await chat.latest_is("sent")
        await chat.shows("somebody else")
        assert len(await desk.threads()) == 2


@pytest.mark.parametrize("waits", ["for the panel", "for nothing"])
async def test_going_back_finds_nobody_where_the_panel_had_not_come(
    waits: str, keeping_windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, desk):
        writer = await arrive(keeping_windows, app)
        await call(writer, "identify", proved("mara"))
        await writer.begin("a secret")
        chat = await arrive(keeping_windows, app, early=UNTOLD + BUSY)
        await expect(chat.part("launcher")).to_be_visible()
        await call(chat, "identify", proved("mara"))
        await call(chat, "track", "Looked at a secret")
        if waits == "for the panel":
            await chat.page.route("**/panel.js", lambda route: route.abort())
            async with chat.page.expect_request("**/panel.js"):
                await chat.part("launcher").hover()
        async with away(chat, f"{app.url}/demo/?another"):
            await call(chat, "logout")
            await chat.page.unroute_all()
        await chat.begin("somebody else")
        await chat.shows("somebody else")
        (_, thread) = sorted(await desk.threads(), key=int)
        assert [shown.text for shown in await desk.shown(thread)] == ["somebody else"]
        assert "mara" not in await desk.card(thread)


async def test_a_new_message_is_announced_by_one_live_region_alone(windows: Windows, tmp_path: Path) -> None:
    """Whatever regions there are, one in the other too, and of what was said before: nothing."""
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await chat.begin("of old")
        (thread,) = await desk.threads()
        await desk.says(thread, "an answer")
        await chat.shows("of old", "an answer")
        await chat.page.reload()
        await chat.part("launcher").hover()
        await chat.part("panel").evaluate(REGIONS)
        await chat.open()
        await chat.shows("of old", "an answer")
        assert await chat.page.evaluate("regions") == []
        await desk.says(thread, "news")
        await chat.shows("of old", "an answer", "news")
        assert [role for role, text in await chat.page.evaluate("regions") if "news" in text] == ["log"]
        assert len(await chat.page.evaluate("regions")) == 1
