"""Pages as people use them: the widget in a visitor's hands, the desk in an agent's, and what a page went through."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, CDPSession, Locator, Page, Playwright, expect

from tests.platforms import eventually_equal

ROOT = Path(__file__).parents[1]
SCREENSHOTS = ROOT / "build" / "screenshots"
AXE = ROOT / "widget" / "node_modules" / "axe-core" / "axe.min.js"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 3,
    "has_touch": True,
    "is_mobile": True,
}
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",  # a microphone that beeps, for those who grant it
]

_FORGETFUL = ["--disable-back-forward-cache"]


class Missing(Exception):
    """Something that tests need is not installed; the message says how to get it."""


async def launch(playwright: Playwright, *, keeps_pages: bool = False) -> Browser:
    """Start the system's Chromium. `keeps_pages`: whole, for the way back. Raises Missing."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise Missing("Chromium is missing. Install it (on Debian and Ubuntu: apt-get install chromium) and try again.")
    return await playwright.chromium.launch(
        executable_path=program, args=_QUIET, ignore_default_args=_FORGETFUL if keeps_pages else []
    )


@dataclass
class Windows:
    """Browsers of different people: each window shares nothing with another. What throws in any page is noted."""

    browser: Browser
    errors: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    async def open(self, url: str, *, still: bool = True, **options: Any) -> Page:
        """Open an address as a new person. `still`: without motion, so that what is seen is settled."""
        motion = "reduce" if still else "no-preference"
        context = await self.browser.new_context(
            **{"locale": "en-GB", "timezone_id": "Europe/Rome", "reduced_motion": motion, **DESKTOP, **options}
        )
        self.contexts.append(context)
        context.on("weberror", lambda thrown: self.errors.append(str(thrown.error)))
        page = await context.new_page()
        await page.goto(url)
        return page

    async def close(self) -> None:
        for context in self.contexts:
            await context.close()


@dataclass
class Chat:
    """The widget on a page."""

    page: Page

    def part(self, name: str) -> Locator:
        """Return an element of the widget by the name that the widget documents."""
        return self.page.locator(f"threadbridge-widget [part~={name}]")

    def messages(self, kind: str = "") -> Locator:
        return self.page.locator(f"threadbridge-widget [part=message]{kind and f'[data-kind={kind}]'}")

    def texts(self, kind: str = "") -> Locator:
        return self.messages(kind).locator("[part=text]")

    def message(self, text: str) -> Locator:
        """Return the message with just this text; its name and time, which stand beside it, do not count."""
        return self.messages().filter(has=self.page.locator("[part=text]").get_by_text(text, exact=True))

    async def open(self) -> None:
        await self.part("launcher").click()
        await expect(self.part("panel")).to_be_visible()
        await expect(self.part("composer")).to_be_focused()

    async def say(self, *texts: str) -> None:
        for text in texts:
            await self.part("composer").fill(text)
            await self.part("composer").press("Enter")

    async def begin(self, text: str) -> None:
        """Open the panel and say something, which arrives."""
        await self.open()
        await self.say(text)
        await self.latest_is("sent")

    async def shows(self, *texts: str, kind: str = "") -> None:
        """Wait until exactly these texts are there, in this order."""
        await expect(self.texts(kind)).to_have_text(texts)

    async def latest_is(self, state: str) -> None:
        """Wait until the visitor's latest message has come so far: sending, stored, sent, seen or failed."""
        await expect(self.messages("visitor").last).to_have_attribute("data-state", state)


@dataclass
class DeskPage:
    """The desk in an agent's window."""

    page: Page

    @property
    def texts(self) -> Locator:
        return self.page.locator("#thread .text")

    @property
    def rows(self) -> Locator:
        return self.page.locator("#list [data-conversation]")

    async def enter(self, name: str) -> None:
        await self.page.locator("#name").fill(name)
        await self.page.locator("#name").press("Enter")
        await expect(self.page.locator("#desk")).to_be_visible()

    async def reply(self, *texts: str) -> None:
        for text in texts:
            await self.page.locator("#reply").fill(text)
            await self.page.locator("#reply").press("Enter")
            await expect(self.page.locator("#reply")).to_have_value("")

    async def shows(self, *texts: str) -> None:
        await expect(self.texts).to_have_text(texts)


async def slowed(page: Page) -> CDPSession:
    """Give a page a quarter of the processor, as a phone has it. Returns what asks Chromium about it."""
    session = await page.context.new_cdp_session(page)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    return session


async def picture(page: Page, name: str) -> None:
    """Keep what a window shows, for a person to look at."""
    await asyncio.to_thread(SCREENSHOTS.mkdir, parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")


_COME_TO_REST = """() => {
  const shadows = [...document.querySelectorAll("*")].flatMap(({ shadowRoot }) => shadowRoot ?? []);
  const moving = [document, ...shadows].flatMap((root) => root.getAnimations());
  const ending = moving.filter(({ effect }) => effect.getComputedTiming().endTime < 1e6);
  return Promise.allSettled(ending.map(({ finished }) => finished)).then(() => {});
}"""


async def barriers(page: Page) -> list[str]:
    """Return what axe-core finds on a page, one line for each element, with the rule for sizes of targets on."""
    if not AXE.exists():
        raise Missing("axe-core is missing. Install it (cd widget && npm ci) and try again.")
    await page.evaluate(_COME_TO_REST)  # what fades in has less contrast on its way
    await page.evaluate(await asyncio.to_thread(AXE.read_text))
    options = json.dumps({"rules": {"target-size": {"enabled": True}}})
    found = await page.evaluate(f"axe.run(document, {options}).then(({{ violations }}) => violations)")
    return [f"{rule['id']}: {node['html']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


async def read_alike(windows: list[Chat], *texts: str) -> None:
    """Wait until every window shows the same."""
    for window in windows:
        await window.shows(*texts)


async def loaded(images: Locator) -> None:
    """Wait until a picture is there and is one."""
    await expect(images.first).to_be_visible()

    async def widths() -> bool:
        return bool(await images.evaluate_all("all => all.every((one) => one.complete && one.naturalWidth > 0)"))

    await eventually_equal(widths, True)
