"""What a page can ask of the widget: before it is there, while it lives, for whom, and to go."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect

from bridge.app import App
from tests.browser.test_host_pages import NOTES, Host, hosted
from tests.browser.test_looks import SECRET, shop
from tests.browsing import Chat, Windows, picture
from tests.emulators.base import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

STUB = "window.threadbridge = (...call) => (threadbridge.q ??= []).push(call);"
LISTENING = """
window.heard = [];
for (const name of ["ready", "open", "close", "message:sent", "message:received", "unread", "error"]) {
  threadbridge("on", name, (detail) => heard.push([name, detail]));
}
"""


def proved(id: str, **more: str) -> dict[str, str]:
    """Return what the shop's server says of somebody who is signed in."""
    return {"id": id, "hash": hmac.new(SECRET.encode(), id.encode(), hashlib.sha256).hexdigest(), **more}


async def arrive(windows: Windows, app: App, *early: str, context: BrowserContext | None = None) -> Chat:
    """Open the shop's page, which calls the widget before it is there."""
    page = await context.new_page() if context else await windows.open("about:blank")
    await page.add_init_script(NOTES + STUB + LISTENING + ";".join(early))
    await page.goto(f"{app.url}/demo/")
    return Chat(page)


async def call(chat: Chat, *call: Any) -> None:
    await chat.page.evaluate("(call) => threadbridge(...call)", list(call))


async def heard(page: Page, *names: str) -> list[Any]:
    await page.wait_for_function("names => names.every((name) => heard.some(([other]) => other === name))", arg=names)
    return list(await page.evaluate("heard"))


async def test_calls_that_come_early_are_kept(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app, "threadbridge('open')", "threadbridge('prefill', 'Is it open?')")
        await expect(chat.part("composer")).to_be_focused()
        await expect(chat.part("composer")).to_have_value("Is it open?")
        await chat.part("composer").press("Enter")
        await chat.latest_is("sent")
        await call(chat, "close")
        await expect(chat.part("panel")).to_be_hidden()
        (thread,) = await desk.threads()
        await desk.says(thread, "It is", name="Ada")
        await expect(chat.part("badge")).to_have_text("1")
        told = await heard(chat.page, "ready", "close", "message:received", "unread")
        assert [each for each in told if each[0] != "message:sent"] == [
            ["ready", None],
            ["open", None],
            ["close", None],
            ["message:received", {"seq": 3, "text": "It is", "name": "Ada"}],
            ["unread", 1],
        ]
        ((_, sent),) = [each for each in told if each[0] == "message:sent"]
        assert sent["seq"] == 2
        await call(chat, "send", "Thanks")
        await call(chat, "toggle")
        await chat.shows("Is it open?", "It is", "Thanks")
        assert await chat.page.evaluate("thrown") == []


async def test_a_page_may_prepare_for_calls_and_make_none(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        page = await windows.open("about:blank")
        await page.add_init_script(STUB)
        await page.goto(f"{app.url}/demo/")
        await Chat(page).open()


async def test_nothing_but_the_launcher_comes_before_one_is_about_to_want_more(
    windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, _):
        page = await windows.open("about:blank")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await expect(chat.part("launcher")).to_be_visible()
        await page.evaluate("new Promise((done) => requestIdleCallback(() => setTimeout(done, 100)))")
        assert [url for url in asked if "/widget/" in url or url.endswith("/v1/socket")] == []
        async with page.expect_request("**/panel.js"):
            await chat.part("launcher").hover()


async def test_a_second_click_while_the_panel_comes_opens_it_too(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        come = asyncio.Event()

        async def late(route: Route) -> None:
            await come.wait()
            await route.continue_()

        await chat.page.route("**/panel.js", late)
        await chat.part("launcher").click()
        await chat.part("launcher").click()
        await call(chat, "toggle")
        come.set()
        await expect(chat.part("composer")).to_be_focused()
        assert [name for name, _ in await chat.page.evaluate("heard")] == ["ready", "open"]
        await chat.part("launcher").click()
        await expect(chat.part("panel")).to_be_hidden()


async def test_who_is_signed_in_costs_the_page_nothing_before_it_is_idle(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        page = await windows.open("about:blank")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        busy = "window.idle = []; window.requestIdleCallback = (act) => idle.push(act);"
        await page.add_init_script(NOTES + STUB + busy + f"threadbridge('identify', {json.dumps(proved('mara'))})")
        await page.goto(f"{app.url}/demo/")
        await expect(Chat(page).part("launcher")).to_be_visible()
        await page.wait_for_function("() => idle.length")
        assert [url for url in asked if "/panel" in url] == []
        async with page.expect_request("**/panel.js"), page.expect_websocket():
            await page.evaluate("for (const act of idle) act()")


async def test_what_a_listener_throws_is_the_pages_own(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, "threadbridge('on', 'open', () => { throw new Error('of the page') })")
        await chat.begin("still works")
    assert windows.errors.pop().splitlines()[0].endswith("of the page")


async def test_an_unknown_verb_is_told(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await heard(chat.page, "ready")
        async with chat.page.expect_console_message(lambda line: line.type == "warning") as line:
            await call(chat, "opne")
        assert (await line.value).text == "Threadbridge: there is no opne"


async def test_a_person_goes_on_at_another_device(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        first = await arrive(windows, app)
        await first.begin("as a guest")
        await call(first, "identify", proved("u1", name="Mara Lindqvist"))
        await first.say("as Mara")
        await first.latest_is("sent")
        other = await arrive(windows, app)
        await call(other, "identify", proved("u1"))
        await other.open()
        await other.shows("as a guest", "as Mara")
        (thread,) = await desk.threads()
        await desk.says(thread, "Hello Mara")
        for chat in (first, other):
            await chat.shows("as a guest", "as Mara", "Hello Mara")


async def test_logging_out_leaves_no_trace(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await call(chat, "identify", proved("u1"))
        await chat.begin("a secret")
        tab = await arrive(windows, app, context=chat.page.context)
        await tab.open()
        await tab.shows("a secret")
        (thread,) = await desk.threads()
        await desk.says(thread, "kept safe")
        await chat.shows("a secret", "kept safe")
        await chat.part("composer").fill("half a secre")
        await call(chat, "logout")
        for window in (chat, tab):
            await expect(window.messages()).to_have_count(0)
            await expect(window.part("badge")).to_be_hidden()
        await expect(chat.part("composer")).to_have_value("")
        assert await chat.page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
        await chat.say("somebody else")
        await chat.latest_is("sent")
        await chat.shows("somebody else")
        await tab.shows("somebody else")
        assert len(await desk.threads()) == 2
        await call(chat, "identify", proved("u1"))
        await chat.shows("a secret", "kept safe", "somebody else", "Conversation closed")
        await picture(chat.page, "widget-closed")


async def test_who_is_not_proved_goes_on_as_a_guest(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await call(chat, "identify", {"id": "u1", "hash": "guessed"})
        told = await heard(chat.page, "error")
        assert told[-1] == ["error", {"code": "bad_identity", "detail": "The hash does not prove this identity."}]
        await chat.begin("as a guest")


async def test_a_page_has_its_own_button_and_its_own_look(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        texts = {"title": "Ask us", "greeting": "Yes?"}
        look = {"launcher": False, "accent": "#33604c", "theme": "dark", "position": "left", "zIndex": 5, **texts}
        chat = await arrive(windows, app, f"threadbridge('update', {json.dumps(look)})")
        await heard(chat.page, "ready")
        await expect(chat.part("launcher")).to_be_hidden()
        button = chat.page.locator("a.button")
        await button.evaluate("button => button.onclick = () => { threadbridge('toggle'); return false; }")
        await button.focus()
        await button.press("Enter")
        panel = chat.part("panel")
        await expect(panel).to_have_accessible_name("Ask us")
        await expect(panel).to_contain_text("Yes?")
        assert await panel.evaluate("panel => getComputedStyle(panel).zIndex") == "5"
        box = await panel.bounding_box()
        assert box
        assert box["x"] == 20
        await chat.page.keyboard.press("Escape")
        await expect(panel).to_be_hidden()
        await expect(button).to_be_focused()
        await call(chat, "update", {"launcher": True, "title": "Ask again"})
        await expect(chat.part("launcher")).to_be_visible()
        await chat.open()
        await expect(chat.part("launcher")).to_have_css("z-index", "6")  # not in the panel's shadow
        await expect(panel).to_have_accessible_name("Ask again")
        await call(chat, "hide")
        await expect(panel).to_be_hidden()
        await call(chat, "show")
        await expect(panel).to_be_visible()


async def test_what_a_page_closes_leaves_its_own_fields_the_focus(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.open()
        await chat.page.evaluate("document.body.prepend(document.createElement('input'))")
        field = chat.page.locator("body > input")
        await field.press_sequentially("moka")
        await call(chat, "close")
        await expect(chat.part("panel")).to_be_hidden()
        await expect(field).to_be_focused()
        await chat.open()
        await call(chat, "close")  # while the visitor was in it
        await expect(chat.part("launcher")).to_be_focused()


async def test_what_is_typed_in_the_chat_is_no_shortcut_of_the_pages(windows: Windows, tmp_path: Path) -> None:
    note = """window.keys = [];
      for (const type of ["keydown", "keypress", "keyup", "input"]) addEventListener(type, () => keys.push(type));"""
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, note)
        await chat.open()
        await chat.page.evaluate("keys.length = 0")
        await chat.part("composer").press_sequentially("s/?")
        await expect(chat.part("composer")).to_have_value("s/?")
        assert {*await chat.page.evaluate("keys")} <= {"input"}


async def said_in_the_console(chat: Chat, *calls: tuple[Any, ...]) -> list[str]:
    lines: list[str] = []
    chat.page.on("console", lambda line: lines.append(line.text))
    for each in calls:
        await call(chat, *each)
    return lines


async def test_options_that_there_are_not_or_that_cannot_be_so_are_told(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await heard(chat.page, "ready")
        wrong = {"colour": "red", "accent": "red", "side": "20px", "theme": "blue", "launcher": "no", "title": "Right"}
        late = {"target": "main", "greeting": "Right"}
        told = await said_in_the_console(chat, ("update", wrong), ("boot", {"lang": "de"}), ("update", late))
        assert told == [
            "Threadbridge: there is no option colour",
            "Threadbridge: accent cannot be red",
            "Threadbridge: side cannot be 20px",
            "Threadbridge: theme cannot be blue",
            "Threadbridge: launcher cannot be no",
            "Threadbridge: there is no option lang",
            "Threadbridge: target is for boot",
        ]
        await chat.open()
        await expect(chat.part("panel")).to_have_accessible_name("Right")
        color = "launcher => getComputedStyle(launcher).backgroundColor"
        assert await chat.part("launcher").evaluate(color) == "rgb(174, 74, 32)"  # still the site's


async def test_an_attribute_that_there_is_not_is_told(windows: Windows, tmp_path: Path) -> None:
    async with hosted(Host(site='shop" data-side="40" data-colour="red')) as host, shop(tmp_path) as (app, _):
        host.gateway = app.url
        page = await windows.open("about:blank")
        lines: list[str] = []
        page.on("console", lambda line: lines.append(line.text))
        await page.goto(host.origin)
        await eventually(lambda: "Threadbridge: there is no option colour" in lines)


async def test_the_launcher_and_the_panel_keep_off_the_edges(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await call(chat, "update", {"side": 64, "bottom": 100})
        launcher = await chat.part("launcher").bounding_box()
        assert launcher
        assert (1280 - launcher["x"] - launcher["width"], 800 - launcher["y"] - launcher["height"]) == (64, 100)
        await chat.open()
        panel = await chat.part("panel").bounding_box()
        assert panel
        assert (1280 - panel["x"] - panel["width"], 800 - panel["y"] - panel["height"]) == (64, 174)
        await call(chat, "update", {"position": "left", "side": 0})
        panel = await chat.part("panel").bounding_box()
        assert panel
        assert panel["x"] == 0


@pytest.mark.parametrize("screen", [{"width": 1280, "height": 800}, {"width": 500, "height": 460}])
async def test_offsets_push_nothing_out_of_the_window(screen: dict[str, int], windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.page.set_viewport_size({"width": screen["width"], "height": screen["height"]})
        await call(chat, "update", {"side": 500, "bottom": 500})
        await expect(chat.part("launcher")).to_be_in_viewport(ratio=1)
        await call(chat, "open")
        for part in ("panel", "close", "composer"):
            await expect(chat.part(part)).to_be_in_viewport(ratio=1)
        panel = await chat.part("panel").bounding_box()
        assert panel
        assert panel["width"] == 396
        assert panel["height"] >= 300


async def test_a_page_asks_how_many_are_unread(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await heard(chat.page, "ready")
        assert await chat.page.evaluate("threadbridge('unread')") == 0
        await chat.begin("hello")
        await call(chat, "close")
        (thread,) = await desk.threads()
        await desk.says(thread, "one")
        await desk.says(thread, "two")
        await expect(chat.part("badge")).to_have_text("2")
        assert await chat.page.evaluate("threadbridge('unread')") == 2
        await call(chat, "open")
        await expect(chat.part("badge")).to_be_hidden()
        assert await chat.page.evaluate("threadbridge('unread')") == 0


async def test_staff_see_what_the_visitor_did_on_the_page(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path, "slack") as (app, slack):
        chat = await arrive(windows, app, "threadbridge('track', 'Added to cart', {item: 'Sunrise', grams: 250})")
        await heard(chat.page, "ready")
        assert await chat.page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
        await chat.begin("Is that enough for ten cups?")
        (thread,) = await slack.threads()
        seen = "\n".join(shown.text for shown in await slack.shown(thread))
        assert "On the page: Added to cart (item: Sunrise, grams: 250)" in seen
        await chat.shows("Is that enough for ten cups?")  # the visitor sees nothing of it
        await chat.page.evaluate("const knot = {}; knot.knot = knot; threadbridge('track', 'Knot', knot)")
        await call(chat, "track", "Paid")
        await chat.page.reload()
        await chat.begin("Thanks")
        seen = "\n".join(shown.text for shown in await slack.shown(thread))
        assert "On the page: Paid" in seen
        assert "Knot" not in seen


async def test_what_cannot_be_told_of_a_visitor_is_told_in_the_console(windows: Windows, tmp_path: Path) -> None:
    """The gateway would refuse it, and close a socket that brings such again and again."""
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.begin("hello")
        wrong: list[list[Any]] = [
            [""], [" \u200b\n"], ["Nul\0"], ["Nested", {"a": {"b": 1}}], ["List", [1]], ["In it", {"a": [1]}],
            ["Text", "flat"], ["Number", 7], ["Nul", {"a": "b\0"}], ["Nul", {"\0": 1}], ["Long", {"a": "x" * 70_000}],
        ]  # fmt: skip
        told = await said_in_the_console(chat, *(("track", *each) for each in wrong))
        await chat.page.evaluate("threadbridge('track', 'Half \\ud83d')")
        await chat.page.evaluate("threadbridge('track', 'Half', { a: '\\udc4d' })")
        advice = "Threadbridge: track takes a name, and flat data"
        assert told == [advice] * (len(wrong) + 2)
        right: list[list[Any]] = [
            ["Braces {[", {"a [": "]} {", "b": '"\\u0000 \\udead [', "c": None}], ["Empty", {}], ["None", None],
            ["Values", {"a": True, "b": -1.5, "c": 1e300, "d": 10**20, "": "\u2028\n"}], ["x" * 400, {"l": "é" * 9000}],
        ]  # fmt: skip
        for each in right:
            await call(chat, "track", *each)
        await chat.say("Thanks")
        await chat.latest_is("sent")
        assert len(told) == len(wrong) + 2
        assert [name for name, _ in await chat.page.evaluate("heard") if name == "error"] == []


async def test_it_goes_and_comes_back(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.begin("hello")
        await call(chat, "destroy")
        await expect(chat.page.locator("threadbridge-widget")).to_have_count(0)
        await call(chat, "boot", {"title": "Again"})
        await chat.open()
        await chat.shows("hello")
        await expect(chat.part("panel")).to_have_accessible_name("Again")


async def test_what_is_taken_back_before_it_is_there_does_not_come(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        page = await windows.open("about:blank")
        await page.add_init_script(NOTES + STUB + LISTENING)
        answered = asyncio.Event()

        async def late(route: Route) -> None:
            await answered.wait()
            await route.continue_()

        await page.route("**/v1/sites/*", late)
        async with page.expect_request("**/v1/sites/*"):
            await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        async with page.expect_request("**/v1/sites/*"):
            await call(chat, "destroy")
            await call(chat, "boot", {"locale": "de"})
        answered.set()
        await heard(page, "ready")
        await expect(page.locator("threadbridge-widget")).to_have_count(1)
        await chat.open()
        await expect(chat.part("send")).to_have_accessible_name("Senden")
        assert [name for name, _ in await page.evaluate("heard")] == ["ready", "open"]


async def test_a_script_without_a_site_waits_to_be_told(windows: Windows, tmp_path: Path) -> None:
    async with hosted(Host(site="")) as host, shop(tmp_path) as (app, _):
        host.gateway = app.url
        page = await windows.open("about:blank")
        await page.goto(host.origin)
        await page.wait_for_function("typeof threadbridge === 'function'")
        await expect(page.locator("threadbridge-widget")).to_have_count(0)
        await page.evaluate("threadbridge('boot', {site: 'demo'})")
        await expect(Chat(page).part("launcher")).to_be_visible()


async def test_staff_see_the_page_from_which_the_visitor_writes(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await chat.open()
        welcomed: list[object] = []
        chat.page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: welcomed.append(frame)))
        await chat.part("composer").press_sequentially("here")
        await eventually(lambda: welcomed)
        await chat.page.evaluate("history.pushState({}, '', '/demo/?visit'); document.title = 'Visit us'")
        await chat.part("composer").press("Enter")
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        assert "Visit us" in await desk.card(thread)
