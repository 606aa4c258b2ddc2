"""Who has left leaves nothing behind: no conversation, no microphone, no connection; and nothing is begun unasked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, WebSocketRoute, expect

from tests.browser.test_api import arrive, call, heard, proved
from tests.browser.test_files import NOTE, choose, ready
from tests.browser.test_looks import shop
from tests.browser.test_voice import A_MOMENT
from tests.browsing import Chat, Windows
from tests.platforms import eventually_equal

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOCKETS = """
window.sockets = 0;
const Real = WebSocket;
window.WebSocket = class extends Real { constructor(...given) { super(...given); window.sockets++; } };
"""
FULL = """
const store = Storage.prototype.setItem;
Storage.prototype.setItem = function (...given) {
  if (window.full) throw new DOMException("", "QuotaExceededError");
  store.apply(this, given);
};
"""
TRACKS = """
window.tracks = [];
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (what) => {
  const stream = await ask(what);
  await window.answered;
  tracks.push(...stream.getTracks());
  return stream;
};
"""


@asynccontextmanager
async def held(page: Page, address: str) -> AsyncIterator[None]:
    """Hold an address's requests back, and let them go at the end."""
    go_on = asyncio.Event()

    async def late(route: Route) -> None:
        await go_on.wait()
        await route.continue_()

    await page.route(address, late)
    async with page.expect_request(address):
        yield
    go_on.set()


async def test_the_next_person_is_nobody_known_in_another_language_too(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await call(chat, "identify", proved("mara"))
        await chat.begin("a secret")
        await call(chat, "logout")
        await call(chat, "setLocale", "fr")
        await expect(chat.part("send")).to_have_accessible_name("Envoyer")
        await chat.say("somebody else")
        await chat.latest_is("sent")
        await chat.shows("somebody else")
        assert len(await desk.threads()) == 2


async def test_a_reader_keeps_the_conversation_in_another_language_and_loses_it_in_all_tabs(
    windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, _):
        writer = await arrive(windows, app)
        await call(writer, "identify", proved("mara"))
        await writer.begin("a secret")
        reader = await arrive(windows, app)
        tab = await arrive(windows, app, context=reader.page.context)
        for one in (reader, tab):
            await call(one, "identify", proved("mara"))
            await one.open()
            await one.shows("a secret")
        await call(reader, "setLocale", "de")
        await expect(reader.part("send")).to_have_accessible_name("Senden")
        await reader.shows("a secret")
        await call(reader, "logout")
        for one in (reader, tab):
            await expect(one.messages()).to_have_count(0)
        await writer.shows("a secret")


async def test_who_comes_while_the_panel_does_is_not_taken_for_who_left(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await heard(chat.page, "ready")
        async with held(chat.page, "**/panel.js"):
            await call(chat, "open")
            await call(chat, "identify", proved("mara", name="Mara Lindqvist"))
            await call(chat, "logout")
            await call(chat, "identify", proved("noor", name="Noor Haddad"))
        await chat.say("hello")
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        assert "Noor Haddad" in await desk.card(thread)


async def test_one_person_after_another_finds_nothing_of_the_former(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await call(chat, "identify", proved("mara", name="Mara Lindqvist"))
        await chat.begin("a secret")
        await chat.part("composer").fill("half a secre")
        await choose(chat, NOTE)
        await ready(chat, 1)
        await call(chat, "identify", proved("mara", name="Mara L."))  # the same again
        await chat.shows("a secret")
        await call(chat, "identify", proved("noor", name="Noor Haddad"))
        await expect(chat.messages()).to_have_count(0)
        await expect(chat.part("composer")).to_have_value("")
        await expect(chat.part("upload")).to_have_count(0)
        await chat.say("hello")
        await chat.latest_is("sent")
        await chat.shows("hello")
        cards = [await desk.card(thread) for thread in await desk.threads()]
        assert sorted("Noor" in card for card in cards) == [False, True]


async def test_a_page_whose_panel_did_not_come_lets_go_of_who_left_in_another_tab(
    windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await call(chat, "identify", proved("mara", name="Mara Lindqvist"))
        await chat.begin("hello")
        await chat.page.context.route("**/panel.js", lambda route: route.abort())
        tab = await arrive(windows, app, context=chat.page.context)
        await heard(tab.page, "ready")
        async with tab.page.expect_console_message(lambda line: line.text.startswith("Threadbridge:")):
            await call(tab, "identify", proved("mara", name="Mara Lindqvist"))
        await tab.page.evaluate("window.left = new Promise((done) => addEventListener('storage', done)), null")
        await call(chat, "logout")
        await tab.page.evaluate("left.then(() => null)")
        await tab.page.context.unroute("**/panel.js")
        await tab.begin("somebody else")
        assert len(await desk.threads()) == 2


async def test_logging_out_elsewhere_holds_where_nothing_could_be_stored(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app, FULL)
        await chat.page.evaluate("window.full = true")
        await chat.begin("a secret")
        tab = await arrive(windows, app, context=chat.page.context)
        await heard(tab.page, "ready")
        await call(tab, "logout")
        await expect(chat.messages()).to_have_count(0)
        await chat.say("somebody else")
        await chat.latest_is("sent")
        await chat.shows("somebody else")
        assert len(await desk.threads()) == 2


async def test_who_is_blocked_takes_the_next_person_not_along(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        arrived = 0

        def gate(socket: WebSocketRoute) -> None:
            nonlocal arrived
            arrived += 1
            if arrived > 1:
                socket.connect_to_server()
                return
            error = {"type": "error", "code": "blocked", "detail": "You cannot write here."}
            socket.on_message(lambda _: socket.send(json.dumps(error)))

        await chat.page.route_web_socket("**/v1/socket", gate)
        await chat.open()
        await chat.say("a threat")
        await chat.latest_is("failed")
        await call(chat, "logout")
        await expect(chat.messages()).to_have_count(0)
        await chat.say("somebody else")
        await chat.latest_is("sent")


@pytest.mark.parametrize("gone", ["panel", "widget"])
async def test_logging_out_forgets_at_once(gone: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.begin("a secret")
        await chat.part("composer").fill("half a secre")
        if gone == "panel":
            await chat.page.route("**/panel.js", lambda route: route.abort())
            await chat.page.reload()
            await heard(chat.page, "ready")
        else:
            await call(chat, "destroy")
        await call(chat, "logout")
        assert await chat.page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]


async def test_a_file_on_its_way_is_not_the_next_persons(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.begin("a secret")
        async with held(chat.page, "**/files.js"):
            await choose(chat, NOTE)
            await call(chat, "logout")
            await expect(chat.messages()).to_have_count(0)
        await choose(chat, {**NOTE, "name": "other.txt"})
        await ready(chat, 1)
        await expect(chat.part("upload").locator("bdi")).to_have_text(["other.txt"])


async def test_what_waits_for_its_files_is_not_sent_as_the_next_persons(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await chat.begin("hello")
        async with held(chat.page, "**/v1/uploads"):
            await choose(chat, NOTE)
            await chat.say("a secret")
            await expect(chat.part("status")).to_have_text("Your message is sent as soon as the files are uploaded.")
            await call(chat, "logout")
            await expect(chat.part("upload")).to_have_count(0)
        await chat.say("somebody else")
        await chat.latest_is("sent")
        await chat.shows("somebody else")
        assert len(await desk.threads()) == 2


async def test_who_sends_before_a_file_is_even_shown_is_told_why_it_waits(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.begin("hello")
        async with held(chat.page, "**/v1/uploads"):
            async with held(chat.page, "**/files.js"):
                await choose(chat, NOTE)
                await chat.say("an order")
                await expect(chat.part("status")).to_be_empty()
            await expect(chat.part("status")).to_have_text("Your message is sent as soon as the files are uploaded.")
        await chat.shows("hello", "an order")
        await chat.latest_is("sent")


async def test_a_file_on_its_way_comes_along_into_another_language(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.begin("hello")
        async with held(chat.page, "**/files.js"):
            await choose(chat, NOTE)
            await call(chat, "setLocale", "de")
            await expect(chat.part("send")).to_have_accessible_name("Senden")
        await ready(chat, 1)


@pytest.mark.parametrize("moment", ["asked", "stopped"])
async def test_a_voice_note_is_not_the_next_persons(moment: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        asking = "window.answered = new Promise((answer) => (window.answer = answer));" if moment == "asked" else ""
        chat = await arrive(windows, app, asking + TRACKS)
        await chat.page.context.grant_permissions(["microphone"])
        await chat.begin("a secret")
        await chat.part("voice").click()
        if moment == "asked":
            await call(chat, "logout")
            await expect(chat.messages()).to_have_count(0)
            await chat.page.evaluate("answer()")
        else:
            await expect(chat.part("recorder").get_by_role("timer")).to_have_text(A_MOMENT)
            stop = chat.page.get_by_role("button", name="Stop and listen")
            await stop.evaluate("button => { button.click(); threadbridge('logout'); }")
        await chat.page.wait_for_function("() => tracks.length && tracks.every((one) => one.readyState === 'ended')")
        await expect(chat.part("recorder")).to_have_count(0)
        await choose(chat, NOTE)
        await ready(chat, 1)
        await expect(chat.part("upload")).to_have_count(1)


async def test_a_page_that_never_loaded_the_panel_logs_out_a_reader_in_all_tabs(
    windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, _):
        writer = await arrive(windows, app)
        await call(writer, "identify", proved("mara"))
        await writer.begin("a secret")
        reader = await arrive(windows, app)
        await call(reader, "identify", proved("mara"))
        await reader.open()
        await reader.shows("a secret")
        tab = await arrive(windows, app, context=reader.page.context)
        await heard(tab.page, "ready")
        await call(tab, "logout")
        await expect(reader.messages()).to_have_count(0)


async def test_what_was_told_of_who_left_is_not_told_of_the_next_person(windows: Windows, tmp_path: Path) -> None:
    """Where the panel, which would have told it, had not come."""
    async with shop(tmp_path, "slack") as (app, slack):
        chat = await arrive(windows, app)
        await heard(chat.page, "ready")
        await call(chat, "track", "Looked at a secret")
        await call(chat, "logout")
        await call(chat, "track", "Added to cart")
        await chat.begin("hello")
        (thread,) = await slack.threads()
        told = "\n".join(shown.text for shown in await slack.shown(thread))
        assert "Added to cart" in told
        assert "secret" not in told


async def test_a_draft_goes_from_tabs_without_a_panel_too(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.begin("a secret")
        tab = await arrive(windows, app, context=chat.page.context)
        await tab.open()
        await tab.part("composer").fill("half a secre")
        await tab.page.route("**/panel.js", lambda route: route.abort())
        await tab.page.reload()
        await heard(tab.page, "ready")
        assert await tab.page.evaluate("sessionStorage.length") == 1
        await call(chat, "logout")
        await eventually_equal(lambda: tab.page.evaluate("sessionStorage.length"), 0)


async def test_a_draft_that_could_not_be_kept_hinders_no_logout(windows: Windows, tmp_path: Path) -> None:
    """A browser may refuse the one storage and not the other."""
    refused = "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('refused'); } });"
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, refused)
        tab = await arrive(windows, app, refused, context=chat.page.context)
        await chat.begin("a secret")
        await tab.open()
        await tab.shows("a secret")
        await call(chat, "logout")
        for one in (chat, tab):
            await expect(one.messages()).to_have_count(0)
        assert await chat.page.evaluate("localStorage.length") == 0
        assert await tab.page.evaluate("thrown") == []


async def test_what_the_page_fills_in_is_nothing_that_the_visitor_did(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, SOCKETS)
        await call(chat, "prefill", "Is it open")
        await chat.open()
        await expect(chat.part("composer")).to_have_value("Is it open")
        assert await chat.page.evaluate("[localStorage.length, sessionStorage.length, sockets]") == [0, 0, 0]
        await chat.part("composer").press("End")
        await chat.part("composer").press_sequentially("?")
        assert await chat.page.evaluate("[sessionStorage.length, sockets]") == [1, 1]
        await chat.part("composer").press("Enter")
        await chat.latest_is("sent")
        await chat.shows("Is it open?")


async def test_another_language_for_a_panel_that_does_not_come_is_no_error_of_the_page(
    windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await heard(chat.page, "ready")
        asked, fail = asyncio.Event(), asyncio.Event()

        async def late(route: Route) -> None:
            asked.set()
            await fail.wait()
            await route.abort()

        await chat.page.route("**/panel.js", late)
        await call(chat, "open")
        await asked.wait()
        await call(chat, "setLocale", "de")
        async with chat.page.expect_console_message(lambda line: line.text.startswith("Threadbridge:")):
            fail.set()
        await chat.page.unroute("**/panel.js")
        await chat.open()
        await expect(chat.part("send")).to_have_accessible_name("Senden")
        assert await chat.page.evaluate("thrown") == []


async def test_the_microphone_goes_with_the_panel(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, TRACKS)
        await chat.page.context.grant_permissions(["microphone"])
        await chat.open()
        await chat.part("voice").click()
        await expect(chat.part("recorder")).to_be_visible()
        await call(chat, "setLocale", "de")
        await chat.page.wait_for_function("() => tracks.length && tracks.every((one) => one.readyState === 'ended')")


async def test_a_recorder_that_fails_lets_go_of_the_microphone(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, TRACKS, "MediaRecorder.isTypeSupported = () => { throw new Error('none') }")
        await chat.page.context.grant_permissions(["microphone"])
        await chat.open()
        await chat.part("voice").click()
        await expect(chat.part("status")).to_have_text("This does not work at the moment.")
        await chat.page.wait_for_function("() => tracks.length && tracks.every((one) => one.readyState === 'ended')")


async def test_another_language_asks_for_consent_again_and_keeps_what_waits_for_it(
    windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app, SOCKETS, "threadbridge('update', {consent: 'We keep it for a year.'})")
        await chat.part("launcher").click()
        await chat.part("agree").click()
        await chat.part("composer").fill("half a sentence")
        await chat.page.reload()
        await chat.part("launcher").click()
        await expect(chat.part("agree")).to_be_visible()
        await call(chat, "send", "from the page")
        await call(chat, "update", {"team": None, "logo": "https://", "consent": "We keep it."})
        await call(chat, "setLocale", "de")
        await expect(chat.part("agree")).to_have_text("Zustimmen und loslegen")
        assert await chat.page.evaluate("sockets") == 0
        await chat.part("agree").click()
        await chat.shows("from the page")
        await chat.latest_is("sent")
        await expect(chat.part("composer")).to_have_value("half a sentence")


@pytest.mark.parametrize(("wanted", "send"), [("en-USA", "Send"), ("de_AT", "Senden"), ("de-XYZ1x", "Senden")])
async def test_a_language_that_cannot_be_read_is_no_end(
    wanted: str, send: str, windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.open()
        await call(chat, "setLocale", wanted)
        await expect(chat.part("send")).to_have_accessible_name(send)
        await call(chat, "setLocale", "fr")
        await expect(chat.part("send")).to_have_accessible_name("Envoyer")


async def test_what_is_hidden_is_not_read(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await chat.begin("hello")
        await call(chat, "hide")
        (thread,) = await desk.threads()
        await desk.says(thread, "anybody?")
        await eventually_equal(lambda: chat.page.evaluate("threadbridge('unread')"), 1)
        await call(chat, "show")
        await eventually_equal(lambda: chat.page.evaluate("threadbridge('unread')"), 0)


async def test_a_site_that_could_not_be_asked_for_is_asked_for_again(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        page = await windows.open("about:blank")
        await page.route("**/v1/sites/demo", lambda route: route.abort())
        async with page.expect_console_message(lambda line: line.text.startswith("Threadbridge:")):
            await page.goto(f"{app.url}/demo/")
        await page.unroute("**/v1/sites/demo")
        await page.evaluate("threadbridge('boot')")
        await Chat(page).open()


async def test_nothing_is_counted_once_the_widget_is_gone(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app)
        await chat.begin("hello")
        await call(chat, "close")
        (thread,) = await desk.threads()
        await desk.says(thread, "anybody?")
        await eventually_equal(lambda: chat.page.evaluate("threadbridge('unread')"), 1)
        await call(chat, "destroy")
        await chat.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        assert await chat.page.evaluate("threadbridge('unread')") == 0


async def test_what_is_being_written_is_not_filled_over(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await arrive(windows, app)
        await chat.open()
        await chat.part("composer").fill("half a sentence")
        await call(chat, "prefill", "About the Midnight: ")
        await call(chat, "send", "from the page")
        await chat.shows("from the page")
        await expect(chat.part("composer")).to_have_value("half a sentence")
