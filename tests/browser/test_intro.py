"""What only some sites show before the first message: team, logo, quick questions, and what is to be agreed to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from bridge.app import App
from tests.browser.test_api import LISTENING, STUB, call, heard, proved
from tests.browser.test_host_pages import NOTES, NOTHING, STORED, Host, hosted
from tests.browser.test_looks import mainly, shop
from tests.browsing import DESKTOP, PHONE, Chat, Windows, barriers, loaded, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

TERMS = "We keep what you write here for a year, to be able to help you again."
POLICY = "https://shop.example/privacy"
CONSENT = {"consent": TERMS, "privacy": POLICY}
QUESTIONS = ["Where is my order?", "Which coffee is for a moka pot?", "Do you deliver to Malta?"]
INTRO = {
    "logo": "/demo/logo.svg",
    "team": [
        {"name": "Ada", "picture": "/demo/ada.svg"},
        {"name": "Ben", "picture": "/demo/ben.svg"},
        {"name": "Noor", "picture": "/demo/noor.svg"},
        {"name": "Yusuf"},
    ],
    "questions": QUESTIONS,
}
SCREENS = {
    "light": {**DESKTOP, "color_scheme": "light"},
    "dark": {**DESKTOP, "color_scheme": "dark"},
    "phone": PHONE,
    "phone-dark-rtl": {**PHONE, "color_scheme": "dark", "locale": "ar"},
    "320": {**PHONE, "viewport": {"width": 320, "height": 568}},
    "forced-colors": {**DESKTOP, "forced_colors": "active"},
}
screens = pytest.mark.parametrize("screen", mainly(SCREENS, "light", "phone-dark-rtl"))


async def arrive(windows: Windows, app: App, *early: str, **options: Any) -> Chat:
    """Open the shop's page, in the browser's language."""
    page = await windows.open("about:blank", **options)
    lang = "document.addEventListener('readystatechange', () => (document.documentElement.lang = navigator.language))"
    await page.add_init_script(NOTES + STUB + LISTENING + lang + ";" + ";".join(early))
    await page.goto(f"{app.url}/demo/")
    return Chat(page)


async def opened(windows: Windows, app: App, **options: Any) -> Chat:
    """Open the panel; with a consent the focus is there, not in the composer."""
    chat = await arrive(windows, app, **options)
    await chat.part("launcher").click()
    await expect(chat.part("panel")).to_be_visible()
    return chat


@screens
async def test_the_intro_has_no_barriers(screen: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path, **INTRO) as (app, _):
        chat = await opened(windows, app, **SCREENS[screen])
        await loaded(chat.part("panel").locator("img"))
        await expect(chat.part("panel").locator(".logo")).to_be_visible()
        team = chat.part("panel").get_by_role("list").first.get_by_role("img")
        await expect(team).to_have_count(len(INTRO["team"]))
        for one, person in zip(await team.all(), INTRO["team"], strict=True):
            await expect(one).to_have_accessible_name(person["name"])
        await expect(chat.part("question")).to_have_text(QUESTIONS)
        assert await barriers(chat.page) == []
        await picture(chat.page, f"intro-{screen}")


@screens
async def test_the_consent_has_no_barriers(screen: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path, **INTRO, **CONSENT) as (app, _):
        chat = await opened(windows, app, **SCREENS[screen])
        await expect(chat.part("consent")).to_be_focused()
        await expect(chat.part("consent")).to_contain_text(TERMS)
        await expect(chat.part("consent").get_by_role("link")).to_have_attribute("href", POLICY)
        await expect(chat.part("agree")).to_be_in_viewport(ratio=1)
        await expect(chat.part("composer")).to_be_hidden()
        assert await barriers(chat.page) == []
        await picture(chat.page, f"consent-{screen}")


async def test_a_greeting_runs_in_its_own_direction(windows: Windows, tmp_path: Path) -> None:
    """Whatever letters stand in the circles above it."""
    async with shop(tmp_path, greeting="مرحبا. اكتب لنا.", team=INTRO["team"]) as (app, _):
        chat = await opened(windows, app, locale="ar")
        intro = chat.part("panel").locator(".intro")
        await expect(intro).to_have_css("direction", "rtl")
        team = intro.get_by_role("img")
        await expect(team).to_have_count(len(INTRO["team"]))
        first, last = await team.first.bounding_box(), await team.last.bounding_box()
        assert first
        assert last
        assert first["x"] > last["x"]


async def test_questions_fit_on_a_line_of_the_smallest_phone(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path, **INTRO) as (app, _):
        chat = await opened(windows, app, **SCREENS["320"])
        await expect(chat.part("question")).to_have_count(len(QUESTIONS))
        boxes = [await one.bounding_box() for one in await chat.part("question").all()]
        assert {box["height"] for box in boxes if box} == {44}


async def test_a_question_is_asked_with_a_click(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path, **INTRO) as (app, desk):
        chat = await opened(windows, app)
        await chat.part("question").nth(1).click()
        await chat.shows(QUESTIONS[1])
        await chat.latest_is("sent")
        await expect(chat.part("composer")).to_be_focused()
        await expect(chat.part("question").first).to_be_hidden()
        (thread,) = await desk.threads()
        assert QUESTIONS[1] in [shown.text for shown in await desk.shown(thread)]
        await chat.page.reload()
        await chat.part("launcher").click()
        await chat.shows(QUESTIONS[1])
        await expect(chat.part("question").first).to_be_hidden()
        await call(chat, "logout")
        await expect(chat.part("question").first).to_be_visible()


async def test_a_page_has_its_own_questions_and_team(windows: Windows, tmp_path: Path) -> None:
    team, questions = '[{"name": "Ada"}]'.replace('"', "&quot;"), '["Is it open?"]'.replace('"', "&quot;")
    attributes = f'demo" data-team="{team}" data-questions="{questions}" data-logo="nowhere.png'
    async with hosted(Host(site=attributes, strict=True)) as host, shop(tmp_path) as (app, _):
        host.gateway = app.url
        page = await windows.open("about:blank")
        await page.add_init_script(NOTES)
        await page.goto(host.origin)
        chat = Chat(page)
        await chat.part("launcher").click()
        await expect(chat.part("question")).to_have_text(["Is it open?"])
        await expect(chat.part("panel").get_by_role("img", name="Ada")).to_be_visible()
        await expect(chat.part("panel").locator(".heading .avatar")).to_have_text("C")  # its logo cannot be had
        assert await page.evaluate("({ violations, thrown })") == {"violations": [], "thrown": []}
        await page.evaluate("threadbridge('update', {questions: ['Now?'], team: []})")
        await expect(chat.part("question")).to_have_text(["Now?"])
        await expect(chat.part("panel").get_by_role("img", name="Ada")).to_have_count(0)


class Line:
    """What a page does on the line with the gateway's conversations."""

    def __init__(self, page: Page) -> None:
        self.used: list[str] = []
        page.on("websocket", lambda socket: self.used.append(socket.url))
        page.on("request", lambda request: self.used.append(request.url) if self._talks(request.url) else None)

    @staticmethod
    def _talks(url: str) -> bool:
        return any(path in url for path in ("/v1/frames", "/v1/stream", "/v1/uploads"))


async def test_before_agreeing_nothing_is_stored_sent_or_connected(windows: Windows, tmp_path: Path) -> None:
    early = [
        "threadbridge('prefill', 'And what does it cost?')",
        "threadbridge('send', 'Is it open?')",
        f"threadbridge('identify', {json.dumps(proved('u1', name='Mara'))})",
    ]
    async with shop(tmp_path, **INTRO, **CONSENT) as (app, desk):
        page = await windows.open("about:blank")
        line = Line(page)
        await page.add_init_script(NOTES + STUB + LISTENING + ";".join(early))
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.part("launcher").click()
        await expect(chat.part("agree")).to_be_visible()
        await expect(chat.part("question")).to_have_count(0)
        await chat.part("panel").evaluate(DROP)
        assert await page.evaluate(STORED) == NOTHING
        assert line.used == []
        assert await desk.threads() == []

        await chat.part("agree").press("Enter")
        await chat.shows("Is it open?")
        await chat.latest_is("sent")
        await expect(chat.part("composer")).to_be_focused()
        await expect(chat.part("composer")).to_have_value("And what does it cost?")
        await expect(chat.part("upload")).to_have_count(0)  # what was dropped before was not taken
        (thread,) = await desk.threads()
        assert "Mara" in await desk.card(thread)


DROP = """panel => {
  const data = new DataTransfer();
  data.items.add(new File(["%PDF-1.7"], "order.pdf", { type: "application/pdf" }));
  for (const type of ["dragenter", "dragover", "drop"]) {
    panel.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true, composed: true }));
  }
}"""


async def test_agreeing_is_remembered_with_the_conversation(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path, **CONSENT) as (app, _):
        chat = await opened(windows, app)
        await chat.part("agree").click()
        await expect(chat.part("composer")).to_be_focused()
        assert await chat.page.evaluate(STORED) == NOTHING
        await chat.page.reload()  # nothing was said: there is nothing to remember it with
        await chat.part("launcher").click()
        await chat.part("agree").click()
        await chat.say("hello")
        await chat.latest_is("sent")
        await chat.page.reload()
        await chat.open()
        await chat.shows("hello")
        await expect(chat.part("consent")).to_have_count(0)
        await call(chat, "logout")
        await expect(chat.part("agree")).to_be_visible()
        await expect(chat.part("composer")).to_be_hidden()
        assert await chat.page.evaluate(STORED) == NOTHING


async def test_two_tabs_agree_once(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path, **CONSENT) as (app, _):
        chat = await opened(windows, app)
        tab = Chat(await chat.page.context.new_page())
        await tab.page.goto(f"{app.url}/demo/")
        await tab.part("launcher").click()
        await expect(tab.part("agree")).to_be_visible()
        await chat.part("agree").click()
        await chat.say("hello")
        await tab.shows("hello")
        await expect(tab.part("consent")).to_have_count(0)
        await expect(tab.part("composer")).to_be_visible()


async def test_by_keyboard_a_visitor_reads_the_policy_and_agrees(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path, **CONSENT) as (app, _):
        chat = await opened(windows, app, **PHONE)
        await expect(chat.part("consent")).to_be_focused()
        keyboard = chat.page.keyboard
        await keyboard.press("Tab")
        await expect(chat.part("consent").get_by_role("link")).to_be_focused()
        await keyboard.press("Tab")
        await expect(chat.part("agree")).to_be_focused()
        await keyboard.press("Tab")  # the panel covers all: the focus stays in it
        await expect(chat.part("more")).to_be_focused()
        await keyboard.press("Shift+Tab")
        await expect(chat.part("agree")).to_be_focused()
        await keyboard.press("Enter")
        await expect(chat.part("composer")).to_be_focused()


SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) window.shifts.push(value);
}).observe({ type: "layout-shift", buffered: true });
"""


async def test_the_page_does_not_move(windows: Windows, tmp_path: Path) -> None:
    """As browsers count it: what comes right after a click or a key may move; what comes by itself may not."""
    async with shop(tmp_path, **INTRO) as (app, desk):
        page = await windows.open("about:blank", still=False)
        await page.add_init_script(SHIFTS + STUB + LISTENING)
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.begin("hello")
        (thread,) = await desk.threads()
        assert await settled(page) == []

        await page.reload()
        await heard(page, "ready")
        await call(chat, "open")
        await chat.shows("hello")
        answers = ["Good morning", "How are you?", "Tell me what you need.\n" * 20, "Well?"]
        for answer in answers:
            await desk.says(thread, answer, name="Ada")
        await expect(chat.messages("staff")).to_have_count(len(answers))
        await call(chat, "close")
        await expect(chat.part("panel")).to_be_hidden()
        await desk.says(thread, "Are you there?", name="Ada")
        await expect(chat.part("badge")).to_have_text("1")
        await call(chat, "destroy")
        assert await settled(page) == []
        await page.evaluate(
            "document.body.prepend(Object.assign(document.createElement('p'), { textContent: 'moved' }))"
        )
        assert len(await settled(page)) == 1  # a page that moves would be noticed


async def test_a_break_is_told_where_there_is_room_for_it(windows: Windows, tmp_path: Path) -> None:
    """What stands in the middle of an empty conversation stays there."""
    async with shop(tmp_path, **INTRO) as (app, _):
        chat = await opened(windows, app)
        await chat.page.clock.install()
        asked = chat.part("question").first
        before = await asked.bounding_box()
        await chat.page.route_web_socket("**/v1/socket", lambda socket: None)
        await chat.part("composer").press_sequentially("h")
        await chat.page.clock.run_for(3_000)
        await expect(chat.part("status")).to_have_text("Connecting…")
        assert await asked.bounding_box() == before


async def test_how_far_a_message_has_come_moves_nothing(windows: Windows, tmp_path: Path) -> None:
    """Its word grows away from the time."""
    async with shop(tmp_path) as (app, desk):
        chat = await opened(windows, app)
        await chat.say("hello")
        await chat.latest_is("sent")
        time = chat.messages("visitor").locator("time")
        before = await time.bounding_box()
        (thread,) = await desk.threads()
        await desk.says(thread, "Good morning", name="Ada")
        await chat.latest_is("seen")
        after = await time.bounding_box()
        assert before and after  # noqa: PT018
        assert after["x"] == before["x"]


async def settled(page: Page) -> list[float]:
    """Return how far the page has moved, once all that was drawn has been told of."""
    frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    await page.evaluate(frames)
    # Under a message stands how far it has come, behind the time: a word, which moves alone, and counts for far less
    return [value for value in await page.evaluate("shifts") if value > 0.001]


async def test_the_intro_stands_in_browsers_of_2023(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path, **INTRO) as (app, _):
        chat = await arrive(windows, app, "delete URL.canParse")
        await chat.part("launcher").click()
        await loaded(chat.part("panel").locator("img"))
        await expect(chat.part("question")).to_have_text(QUESTIONS)
        assert await chat.page.evaluate("thrown") == []
