"""What people see and what assistive technology finds: light and dark, desktop and phone. Keeps pictures of it all."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from playwright.async_api import Page, expect

from bridge.app import App, running
from bridge.config import demo_config
from tests.browsing import DESKTOP, PHONE, Chat, DeskPage, Windows, barriers, loaded, picture
from tests.house import Visitor, config_for, house
from tests.platforms import Platform, emulated

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "a-secret-of-the-shop"
EARLIER = [
    ("Noor Haddad", "Do you deliver to Malta?", "We do, in four days. Shipping is free from € 40."),
    ("Tomás Oliveira", "The bag arrived torn, can you send another?", "I am sorry! A new one leaves today."),
    ("Lena Fischer", "Thank you, it is delicious.", ""),
]
ASKED = "Hello! Which of your coffees is good in a moka pot?"
ADVICE = "The Midnight: dark chocolate, hazelnut, hardly any acidity."
OFFER = "Shall I grind it for you?"
ANSWERED = "Oh yes, please. Two bags!"
CLOSING = "Gladly. They leave on Tuesday and are with you by Thursday."
NARROW: dict[str, Any] = {**PHONE, "viewport": {"width": 320, "height": 568}, "device_scale_factor": 2}
SCREENS = {"desktop": DESKTOP, "phone": PHONE, "narrow": NARROW}
LOOKS = {
    f"{screen}-{scheme}": {**options, "color_scheme": scheme}
    for screen, options in SCREENS.items()
    for scheme in ("light", "dark")
}


def mainly(names: Iterable[str], *main: str) -> list[Any]:
    """Return all for parametrisation: a commit passes the main ones, the long suites go through the others."""
    return [pytest.param(name, marks=() if name in main else pytest.mark.full) for name in names]


looks = pytest.mark.parametrize("look", mainly(LOOKS, "desktop-light", "phone-dark"))

APART = """(name, picture) => {
  const text = document.createRange();
  text.selectNodeContents(name);
  return text.getBoundingClientRect().left - document.querySelector(picture).getBoundingClientRect().right;
}"""
"""How far from a picture a name begins."""
SPOKEN = re.compile(r"^\d\d:(0[1-9]|[1-9]\d)$")
FILES = """(log, type) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(["two bags"], "order.txt"));
  log.dispatchEvent(new DragEvent(type, { bubbles: true, composed: true, dataTransfer }));
}"""
"""Files are held over the conversation, or no more."""
PICTURES = """() => ["#ae4a20", "#33604c"].map((color) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
  const context = canvas.getContext("2d");
  context.fillStyle = color;
  context.fillRect(0, 0, 640, 480);
  return canvas.toDataURL().split(",")[1];
})"""


async def drawings(page: Page) -> list[Any]:
    """Return two pictures to choose."""
    return [
        {"name": f"{name}.png", "mimeType": "image/png", "buffer": base64.b64decode(drawn)}
        for name, drawn in zip(("cup", "bag"), await page.evaluate(PICTURES), strict=True)
    ]


async def looked_at(page: Page, name: str) -> None:
    """Keep a picture of what has no barriers and fits the window."""
    await picture(page, name)
    assert await barriers(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@asynccontextmanager
async def shop(data: Path, at: str = "desk", **look: Any) -> AsyncIterator[tuple[App, Platform]]:
    """Run the demonstration shop for customers who are signed in, and where they are answered."""
    site = {
        "name": "Corner Coffee",
        "origins": ["https://shop.example"],
        "destinations": [at],
        "identity_secret": SECRET,
        "accent": "#ae4a20",
        "greeting": "Hello! Not sure which coffee? Ask us.",
        **look,
    }
    async with (
        emulated(at) as platform,
        ClientSession() as http,
        house(config_for(data, {at: platform.settings()}, sites={"demo": site})) as app,
    ):
        platform.attach(app, http)
        yield app, platform


def signed_in(http: ClientSession, app: App, name: str) -> Visitor:
    """Return a customer whom the shop knows."""
    id = name.partition(" ")[0].lower()
    proof = hmac.new(SECRET.encode(), id.encode(), hashlib.sha256).hexdigest()
    identity = {"id": id, "name": name, "email": f"{id}@mail.example", "hash": proof}
    page = {"url": f"{app.url}/demo/", "title": "Corner Coffee", "referrer": "https://search.example/"}
    hello = {"identity": identity, "page": page, "locale": "de-DE", "timezone": "Europe/Berlin"}
    return Visitor(http, app.url, site="demo", origin=app.url, hello=hello)


async def talked_before(app: App, desk: Platform, http: ClientSession) -> None:
    """Let some customers have talked with Ada."""
    for name, question, answer in EARLIER:
        visitor = signed_in(http, app, name)
        await visitor.connect()
        await visitor.say(question)
        await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
        if answer:
            await desk.says((await desk.threads())[-1], answer, name="Ada")
            await visitor.hear()
        await visitor.leave()


@looks
async def test_the_widget_has_no_barriers(look: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = Chat(await windows.open(f"{app.url}/demo/", **LOOKS[look]))
        assert await barriers(chat.page) == []
        await chat.open()
        await picture(chat.page, f"widget-{look}-empty")
        await chat.say(ASKED)
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, ADVICE, name="Ada")
        await desk.says(thread, OFFER, name="Ada")
        await expect(chat.messages("staff")).to_have_count(2)
        await chat.say(ANSWERED)
        await chat.latest_is("sent")
        assert await barriers(chat.page) == []
        await picture(chat.page, f"widget-{look}")


@looks
async def test_the_desk_has_no_barriers(look: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, platform), ClientSession() as http:
        await talked_before(app, platform, http)
        assert app.desk_url
        desk = DeskPage(await windows.open(app.desk_url, **LOOKS[look]))
        assert await barriers(desk.page) == []
        margins = "one => [one.getBoundingClientRect().left, screen.width - one.getBoundingClientRect().right]"
        left, right = await desk.page.locator("#enter").evaluate(margins)
        assert abs(left - right) < 1
        await picture(desk.page, f"desk-{look}-gate")
        await desk.enter("Ada")
        await expect(desk.rows).to_have_count(len(EARLIER))
        assert await barriers(desk.page) == []
        if not look.startswith("desktop"):
            await picture(desk.page, f"desk-{look}-list")
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        await visitor.say(ASKED)
        await desk.page.locator("#list .row", has_text="Mara").click()
        await desk.shows(ASKED)
        await desk.reply(ADVICE.replace("Midnight", "**Midnight**"), OFFER)
        await visitor.hear()
        await visitor.hear()
        await visitor.say(ANSWERED)
        await desk.reply("// regular, put a sample of Sunrise in", CLOSING)
        await expect(desk.texts).to_have_count(6)
        assert await barriers(desk.page) == []
        await picture(desk.page, f"desk-{look}")


async def test_a_barrier_in_the_widget_would_be_found(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        await chat.part("send").evaluate("button => button.removeAttribute('aria-label')")
        assert [line.partition(":")[0] for line in await barriers(chat.page)] == ["button-name"]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2}, id="zoomed-to-200-percent"),
        pytest.param({**DESKTOP, "forced_colors": "active"}, id="forced-colors"),
        pytest.param(NARROW, id="narrow"),
    ],
)
async def test_the_widget_keeps_to_what_a_person_has_set(
    options: dict[str, Any], request: pytest.FixtureRequest, windows: Windows, tmp_path: Path
) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = Chat(await windows.open(f"{app.url}/demo/", **options))
        await chat.begin(ASKED)
        (thread,) = await desk.threads()
        await desk.says(thread, ADVICE, name="Ada")
        await chat.shows(ASKED, ADVICE)
        for part in ("close", "attach", "composer", "send"):
            await expect(chat.part(part)).to_be_in_viewport(ratio=1)
        assert await chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await barriers(chat.page) == []
        await picture(chat.page, f"widget-{request.node.callspec.id}")


async def test_in_forced_colours_one_sees_where_one_is_and_what_to_press(windows: Windows, tmp_path: Path) -> None:
    """There are no shadows there, and grounds are all alike."""
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/", **DESKTOP, forced_colors="active"))
        await chat.open()
        field = chat.part("panel").locator(".field")
        await expect(field).to_have_css("outline-style", "solid")
        await chat.part("composer").blur()
        await expect(field).to_have_css("outline-style", "none")
        await chat.part("more").click()
        chosen = chat.page.get_by_role("menuitem")
        await expect(chosen).to_be_focused()
        await expect(chosen).to_have_css("outline-style", "solid")
        await picture(chat.page, "widget-menu-forced-colors")
        assert app.desk_url
        desk = DeskPage(await windows.open(app.desk_url, **DESKTOP, forced_colors="active"))
        await expect(desk.page.get_by_role("button", name="Enter")).to_have_css("border-style", "solid")
        await picture(desk.page, "desk-forced-colors-gate")


async def test_what_was_tapped_does_not_stay_lit(windows: Windows, tmp_path: Path) -> None:
    """Where there is no mouse, what was touched last counts as hovered over."""
    async with running(demo_config(tmp_path, 0)) as app:
        chat = Chat(await windows.open(f"{app.url}/demo/", **PHONE))
        await chat.open()
        more = chat.part("more")
        await more.hover()
        assert await more.evaluate("(button) => button.matches(':hover')")
        await more.evaluate("(button) => Promise.all(button.getAnimations().map(({ finished }) => finished))")
        await expect(more).to_have_css("background-color", "rgba(0, 0, 0, 0)")


@pytest.mark.full
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"locale": "ar", **DESKTOP}, id="rtl"),
        pytest.param({**DESKTOP, "forced_colors": "active"}, id="forced-colors"),
        pytest.param(NARROW, id="narrow"),
    ],
)
async def test_what_lies_over_the_conversation_suits_everybody(
    options: dict[str, Any], request: pytest.FixtureRequest, windows: Windows, tmp_path: Path
) -> None:
    """The menu, a voice note, the place for files and a picture seen large."""
    look = request.node.callspec.id
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/", **options, permissions=["microphone"]))
        page = chat.page
        if look == "rtl":
            await page.evaluate("threadbridge('setLocale', 'ar')")
        await chat.open()
        if look == "rtl":
            await expect(page.locator("threadbridge-widget .root")).to_have_attribute("dir", "rtl")
        await chat.part("more").click()
        await expect(page.get_by_role("menuitem").first).to_be_focused()
        await looked_at(page, f"widget-menu-{look}")
        await page.keyboard.press("Escape")
        await chat.part("voice").click()
        await expect(chat.part("recorder").get_by_role("timer")).to_have_text(SPOKEN)
        await looked_at(page, f"widget-recording-{look}")
        await chat.part("recorder").get_by_role("button").nth(1).click()
        await expect(chat.part("upload")).to_have_attribute("data-state", "ready")
        await looked_at(page, f"widget-recorded-{look}")
        await chat.part("send").click()
        await chat.latest_is("sent")
        await looked_at(page, f"widget-voice-{look}")
        await chat.part("log").evaluate(FILES, "dragenter")
        await expect(chat.part("panel")).to_have_attribute("data-drop", re.compile("."))
        await looked_at(page, f"widget-drop-{look}")
        await chat.part("log").evaluate(FILES, "dragleave")
        await page.locator("threadbridge-widget input[type=file]").set_input_files(await drawings(page))
        await expect(chat.part("upload").and_(page.locator("[data-state=ready]"))).to_have_count(2)
        await chat.part("send").click()
        await chat.latest_is("sent")
        await chat.messages("visitor").locator("a img").first.click()
        await loaded(chat.part("viewer").locator("img"))
        await looked_at(page, f"widget-viewer-{look}")


@pytest.mark.full
async def test_the_place_for_files_within_a_page(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.page.get_by_text("Try the options", exact=True).click()
        await chat.page.get_by_label("Inside the page").check()
        await expect(chat.part("composer")).to_be_visible()
        await chat.page.get_by_text("Try the options", exact=True).click()
        await chat.part("log").evaluate(FILES, "dragenter")
        await expect(chat.part("panel")).to_have_attribute("data-drop", "Drop your files here")
        await looked_at(chat.page, "widget-drop-inline")


@pytest.mark.full
async def test_the_desk_suits_everybody(windows: Windows, tmp_path: Path) -> None:
    """Its gate for a token that was not in the address, one that is wrong; a visitor right to left; several files."""
    async with shop(tmp_path) as (app, platform), ClientSession() as http:
        await talked_before(app, platform, http)
        visitor = signed_in(http, app, "ليلى حداد")
        await visitor.connect()
        await visitor.say("مرحبا! هل تشحنون إلى Malta خلال 4 أيام؟")
        assert app.desk_url
        desk = DeskPage(await windows.open(app.desk_url.partition("#")[0]))
        await expect(desk.page.locator("#token")).to_be_visible()
        await looked_at(desk.page, "desk-gate-token")
        await desk.page.locator("#name").fill("Ada")
        await desk.page.locator("#token").fill("a token that is wrong")
        await desk.page.locator("#token").press("Enter")
        await expect(desk.page.get_by_role("alert")).not_to_be_empty()
        await looked_at(desk.page, "desk-gate-error")
        names = ("order", "a-rather-" + "long-" * 9 + "name")
        notes = [{"name": f"{name}.txt", "mimeType": "text/plain", "buffer": b"two bags"} for name in names]
        for look, options in {"desktop": DESKTOP, "narrow": NARROW}.items():
            desk = DeskPage(await windows.open(app.desk_url, **options))
            await desk.enter("Ada")
            await desk.page.locator("#list .row", has_text="ليلى").click()
            await expect(desk.page.locator("#reply")).to_be_visible()
            assert await desk.page.locator("#who").evaluate(APART, "#who-avatar") < 24
            await desk.page.locator("input[type=file]").set_input_files([*await drawings(desk.page), *notes])
            await expect(desk.page.locator("#files li")).to_have_count(4)
            await looked_at(desk.page, f"desk-{look}-rtl-files-chosen")
            await desk.reply("نعم، خلال 4 أيام. All **four** of these:")
            await loaded(desk.page.locator("#thread img"))
            await looked_at(desk.page, f"desk-{look}-rtl-files")
