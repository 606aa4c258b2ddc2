"""What a person's hands and eyes need: targets that can be hit, a composer above the keyboard, less motion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import Locator, WebSocketRoute, expect

from tests.browser.test_files import NOTE, choose, drawn, ready
from tests.browser.test_intro import CONSENT, QUESTIONS, opened
from tests.browser.test_looks import shop
from tests.browser.test_voice import TONE
from tests.browsing import DESKTOP, PHONE, Chat, Windows, loaded
from tests.platforms import eventually_equal

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEYBOARD = """
window.keyboard = 0;
const { get } = Object.getOwnPropertyDescriptor(VisualViewport.prototype, "height");
Object.defineProperty(VisualViewport.prototype, "height", { get() { return get.call(this) - keyboard; } });
window.cover = (pixels) => { keyboard = pixels; visualViewport.dispatchEvent(new Event("resize")); };
"""
SMALL = """least => {
  const root = document.querySelector("threadbridge-widget").shadowRoot;
  const targets = root.querySelectorAll("button, a, textarea, [tabindex='0'][role=button]");
  return [...targets]
    .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest(".text, .consent p"))
    .map((one) => [one.className || one.ariaLabel || one.textContent, one.getBoundingClientRect()])
    .filter(([, { width, height }]) => Math.min(width, height) < least - 0.01)
    .map(([name, { width, height }]) => `${name} ${width}x${height}`);
}"""
"""Links within a text are as high as its lines."""
GLIDING = """() => {
  const { shadowRoot } = document.querySelector("threadbridge-widget");
  const found = [];
  const look = (rules) => {
    for (const rule of rules) {
      if (rule instanceof CSSMediaRule && matchMedia(rule.conditionText).matches) look(rule.cssRules);
      else if (rule.selectorText?.includes("::")) {
        const { transitionDuration, animationName } = rule.style;
        const moves = /[1-9]/.test(transitionDuration) || (animationName && animationName !== "none");
        if (moves) found.push(rule.selectorText);
      }
    }
  };
  for (const sheet of shadowRoot.adoptedStyleSheets) look(sheet.cssRules);
  for (const one of shadowRoot.querySelectorAll(".root *")) {
    const { transitionDuration, animationName } = getComputedStyle(one);
    if (/[1-9]/.test(transitionDuration) || animationName !== "none") found.push(one.className);
  }
  return found;
}"""


@pytest.mark.parametrize("hand", ["mouse", "finger"])
async def test_everything_can_be_hit(hand: str, windows: Windows, tmp_path: Path) -> None:
    options, least = (PHONE, 44) if hand == "finger" else (DESKTOP, 36)
    async with shop(tmp_path, questions=QUESTIONS, **CONSENT) as (app, desk):
        chat = await opened(windows, app, **options, permissions=["microphone"])
        page = chat.page
        await expect(chat.part("agree")).to_be_visible()
        assert await page.evaluate(SMALL, least) == []
        await chat.part("agree").click()
        await expect(chat.part("question").first).to_be_visible()
        assert await page.evaluate(SMALL, least) == []
        await choose(chat, NOTE, {"name": "a.wav", "mimeType": "audio/wav", "buffer": TONE}, await drawn(chat))
        await ready(chat, 3)
        assert await page.evaluate(SMALL, least) == []
        await chat.part("send").click()
        await chat.latest_is("sent")
        await page.route("**/v1/uploads", lambda route: route.abort())
        await choose(chat, NOTE)
        await expect(chat.part("retry")).to_be_visible()
        assert await page.evaluate(SMALL, least) == []
        await chat.part("remove").click()
        await chat.part("voice").click()
        await expect(chat.part("recorder")).to_be_visible()
        assert await page.evaluate(SMALL, least) == []
        await page.get_by_role("button", name="Discard the voice note").click()
        await chat.part("more").click()
        await expect(page.get_by_role("menu")).to_be_visible()
        assert await page.evaluate(SMALL, least) == []
        await page.keyboard.press("Escape")
        (thread,) = await desk.threads()
        await desk.says(thread, "A line.\n" * 60, name="Ada")
        await expect(chat.messages("staff")).to_have_count(1)
        await chat.part("log").hover(position={"x": 60, "y": 60})
        await chat.messages("visitor").locator(".meta time").scroll_into_view_if_needed()
        await chat.messages("visitor").locator("a:has(img)").focus()
        await expect(chat.part("copy")).to_have_count(1)
        await desk.says(thread, "And another", name="Ada")
        await expect(chat.part("jump")).to_be_visible()
        assert await page.evaluate(SMALL, least) == []
        await loaded(chat.messages("visitor").locator("a img"))
        await chat.messages("visitor").locator("a:has(img)").click()
        await expect(chat.part("viewer")).to_be_visible()
        assert await page.evaluate(SMALL, least) == []


async def test_the_keyboard_covers_neither_the_composer_nor_what_was_said_last(
    windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, desk):
        page = await windows.open("about:blank", **PHONE)
        await page.add_init_script(KEYBOARD)
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.begin("hello")
        (thread,) = await desk.threads()
        for number in range(12):
            await desk.says(thread, f"A rather long line, so that the screen is full of such: {number}", name="Ada")
        await expect(chat.messages("staff")).to_have_count(12)
        bottom = "one => one.getBoundingClientRect().bottom"
        whole = await chat.part("panel").evaluate(bottom)
        await page.evaluate("cover(336)")
        for part in (chat.part("panel"), chat.part("composer"), chat.messages().last):

            async def above_it(part: Locator = part) -> bool:
                return bool(await part.evaluate(bottom) <= whole - 336)

            await eventually_equal(above_it, True)
        assert await chat.part("close").evaluate("one => one.getBoundingClientRect().top") >= 0
        above = "(last, composer) => last.getBoundingClientRect().bottom <= composer.getBoundingClientRect().top"
        assert await chat.texts().last.evaluate(above, await chat.part("composer").element_handle())
        await expect(chat.texts().last).to_be_in_viewport(ratio=1)
        sizes = "all => Math.min(...all.map((one) => parseFloat(getComputedStyle(one).fontSize)))"
        assert await page.locator("threadbridge-widget textarea").evaluate_all(sizes) >= 16
        await page.evaluate("cover(0)")
        assert await chat.part("panel").evaluate(bottom) == whole


async def test_nothing_glides_for_who_wants_less_motion(windows: Windows, tmp_path: Path) -> None:
    """What browsers draw of their own, such as the bar of a progress, is none of the elements that others select."""
    async with shop(tmp_path, questions=QUESTIONS) as (app, desk):
        chat = await opened(windows, app, permissions=["microphone"])
        await choose(chat, NOTE, await drawn(chat))
        await ready(chat, 2)
        await chat.part("send").click()
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, "Good morning", name="Ada")
        await chat.texts("staff").hover()
        await expect(chat.part("copy")).to_be_visible()
        await chat.part("voice").click()
        await expect(chat.part("recorder")).to_be_visible()
        await chat.part("more").click()
        await expect(chat.page.get_by_role("menu")).to_be_visible()
        assert await chat.page.evaluate(GLIDING) == []
        await chat.page.keyboard.press("Escape")
        await chat.messages("visitor").locator("a:has(img)").click()
        await expect(chat.part("viewer")).to_be_visible()
        assert await chat.page.evaluate(GLIDING) == []
        await chat.page.emulate_media(reduced_motion="no-preference")
        assert ".upload progress::-webkit-progress-value" in await chat.page.evaluate(GLIDING)


@pytest.mark.parametrize("hand", ["mouse", "finger"])
async def test_what_failed_can_be_hit_to_try_it_again(hand: str, windows: Windows, tmp_path: Path) -> None:
    options, least = (PHONE, 44) if hand == "finger" else (DESKTOP, 36)
    async with shop(tmp_path) as (app, _):
        page = await windows.open("about:blank", **options)

        def refuses(socket: WebSocketRoute) -> None:
            refusal = {"type": "error", "code": "blocked", "detail": "You cannot write here."}
            socket.on_message(lambda _: socket.send(json.dumps(refusal)))

        await page.route_web_socket("**/v1/socket", refuses)
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await chat.say("hello")
        await chat.latest_is("failed")
        await expect(chat.part("retry")).to_be_visible()
        assert await page.evaluate(SMALL, least) == []
