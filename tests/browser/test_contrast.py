"""Any colour that a site gives: what stands on it can be read, and one sees where the focus is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.browser.test_api import call
from tests.browser.test_intro import CONSENT, QUESTIONS, opened
from tests.browser.test_looks import mainly, shop
from tests.browsing import DESKTOP, Chat, Windows, barriers, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCENTS = {"white": "#ffffff", "yellow": "#ffee00", "black": "#000000", "grey": "#767676"}
accents = pytest.mark.parametrize("accent", mainly(ACCENTS, "yellow", "black"))
schemes = pytest.mark.parametrize("scheme", ["light", "dark"])

MEASURED = """
const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const paint = (...colors) => {
  context.clearRect(0, 0, 1, 1);
  for (const color of colors) { context.fillStyle = color; context.fillRect(0, 0, 1, 1); }
  return [...context.getImageData(0, 0, 1, 1).data];
};
const above = (element) => element.parentElement ?? element.getRootNode().host;
window.ground = (element) => {
  const grounds = [];
  for (let each = element; each; each = above(each)) grounds.unshift(getComputedStyle(each).backgroundColor);
  return ["white", ...grounds];
};
const luminance = ([red, green, blue]) => {
  const [r, g, b] = [red, green, blue].map((part) => part / 255).map((part) => (part > 0.04045 ? ((part + 0.055) / 1.055) ** 2.4 : part / 12.92));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
window.contrast = (color, grounds) => {
  const [one, other] = [luminance(paint(...grounds, color)), luminance(paint(...grounds))];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
};
window.read = (element) => contrast(getComputedStyle(element).color, ground(element));
window.ring = (element) => {
  const field = element.closest(".field");
  const ringed = element.matches("textarea") ? field : element;
  const { outlineStyle, outlineColor, outlineOffset, boxShadow } = getComputedStyle(ringed);
  const around = parseFloat(outlineOffset) < 0 ? ground(ringed) : ground(above(ringed));
  const colors = [...boxShadow.matchAll(/(?:rgba?|color)\\([^)]*\\)/g)].map(([color]) => color);
  if (outlineStyle !== "none") colors.push(outlineColor);
  return Math.max(0, ...colors.map((color) => contrast(color, around)));
};
"""  # noqa: E501
FOCUSED = "document.querySelector('threadbridge-widget').shadowRoot.activeElement"


async def legible(*parts: Locator) -> list[float]:
    """Return the contrast of what is written or drawn on these, where it is too low."""
    found = [await part.evaluate("element => read(element)") for part in parts]
    return [contrast for contrast in found if contrast < 4.5]


async def rings(chat: Chat) -> dict[str, float]:
    """Go through the panel with the Tab key; return the contrast of what shows the focus, for each stop."""
    seen: dict[str, float] = {}
    for _ in range(20):
        await chat.page.keyboard.press("Tab")
        stop = await chat.page.evaluate(f"{FOCUSED} && [{FOCUSED}.className || {FOCUSED}.localName, ring({FOCUSED})]")
        if stop:
            seen[stop[0]] = stop[1]
    return seen


async def arrive(windows: Windows, url: str, **options: Any) -> Chat:
    page = await windows.open("about:blank", **options)
    await page.add_init_script(MEASURED)
    await page.goto(url)
    return Chat(page)


@accents
@schemes
async def test_what_stands_on_the_sites_colour_can_be_read(
    accent: str, scheme: str, windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path, accent=ACCENTS[accent], questions=QUESTIONS, **CONSENT) as (app, desk):
        chat = await arrive(windows, f"{app.url}/demo/", color_scheme=scheme)
        await chat.part("launcher").click()
        await expect(chat.part("agree")).to_be_visible()
        panel = chat.part("panel")
        drawn = [chat.part("launcher"), panel.locator(".heading bdi:not(.avatar)"), panel.locator(".heading .avatar")]
        drawn += [panel.locator(".intro .avatar"), chat.part("close"), chat.part("agree")]
        assert await legible(*drawn) == []
        assert await barriers(chat.page) == []
        await chat.page.keyboard.press("Shift+Tab")
        assert min((await rings(chat)).values()) >= 3
        await chat.part("agree").click()
        await chat.part("question").first.hover()
        assert await legible(chat.part("question").first) == []
        await chat.say("See https://shop.example/")
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, "I do, at https://shop.example/ too", name="Ada")
        await chat.shows("See https://shop.example/", "I do, at https://shop.example/ too")
        await chat.part("composer").fill("half a sentence")
        drawn = [chat.texts("visitor"), chat.texts("visitor").locator("a"), chat.texts("staff"), chat.part("send")]
        assert await legible(*drawn, chat.texts("staff").locator("a")) == []
        assert await barriers(chat.page) == []
        found = await rings(chat)
        assert {"send", "composer", "close", "a"} <= found.keys()
        assert {stop: ring for stop, ring in found.items() if ring < 3} == {}
        await picture(chat.page, f"accent-{accent}-{scheme}")
        await chat.part("composer").press("Escape")
        await desk.says(thread, "Anything else?", name="Ada")
        await expect(chat.part("badge")).to_have_text("1")
        assert await legible(chat.part("launcher"), chat.part("badge")) == []
        assert await chat.part("launcher").evaluate("launcher => ring(launcher)") >= 3
        await picture(chat.page, f"accent-{accent}-{scheme}-closed")


@accents
async def test_forced_colours_take_the_place_of_the_sites(accent: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path, accent=ACCENTS[accent]) as (app, desk):
        chat = await opened(windows, app, **DESKTOP, forced_colors="active")
        await chat.say("hello")
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, "Good morning", name="Ada")
        await chat.shows("hello", "Good morning")
        assert await barriers(chat.page) == []
        await chat.part("composer").fill("half a sentence")
        for part in ("send", "close"):
            await chat.part(part).focus()
            await chat.page.keyboard.press("Shift")
            await expect(chat.part(part)).to_have_css("outline-style", "solid")
        await call(chat, "close")
        assert await barriers(chat.page) == []
