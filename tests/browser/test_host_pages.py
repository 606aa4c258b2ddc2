"""Pages that embed the widget: under strict policies, under no site that is known, of an origin that is not listed."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from playwright.async_api import Page, expect

from bridge.app import App
from tests.browsing import Chat, Windows, loaded, picture
from tests.house import config_for, house
from tests.platforms import Platform, emulated

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOTES = """
window.violations = [];
window.thrown = [];
document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
  window.violations.push(`${violatedDirective} ${blockedURI}`));
for (const type of ["error", "unhandledrejection"]) window.addEventListener(type, (event) => window.thrown.push(type));
"""
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel."""
REFUSING = """
for (const name of ["localStorage", "sessionStorage"]) {
  Object.defineProperty(window, name, { get() { throw new DOMException("refused", "SecurityError"); } });
}
"""
STORED = "({ local: localStorage.length, session: sessionStorage.length, cookie: document.cookie })"
NOTHING = {"local": 0, "session": 0, "cookie": ""}


@dataclass
class Host:
    """A website of its own origin. Its page embeds the widget of a gateway, for a site."""

    origin: str = ""
    gateway: str = ""
    """Without one the page is empty."""
    site: str = "shop"
    strict: str = ""
    """Whose scripts a strict policy trusts: `dynamic`, those of a script that it knows; `hosts`, the gateway's."""
    early: str = ""
    """What the page calls before the widget is there."""
    reports: list[str] = field(default_factory=list)
    """What browsers have told of violations."""
    silent: bool = False
    """Whether the policy forbids sounds."""

    async def page(self, _: web.Request) -> web.Response:
        early = f'<script nonce="n0nce">{NOTES}{self.early}</script>'
        script = f'<script nonce="n0nce" async src="{self.gateway}/widget.js" data-site="{self.site}"></script>'
        script = script if self.gateway else ""
        html = (
            f"<!doctype html><html lang=en><title>Host</title><body><main><h1>A page</h1></main>{early}{script}</html>"
        )
        return web.Response(text=html, content_type="text/html", headers=self._policy())

    async def report(self, request: web.Request) -> web.Response:
        self.reports.append(await request.text())
        return web.Response(status=204)

    def _policy(self) -> dict[str, str]:
        trusted = {"dynamic": "'strict-dynamic'", "hosts": self.gateway}
        socket = self.gateway.replace("http", "ws", 1)
        media = "" if self.silent else f"media-src {self.gateway} blob:; "
        policy = (
            f"default-src 'none'; script-src 'nonce-n0nce' {trusted.get(self.strict)}; style-src 'none'; "
            f"connect-src {self.gateway} {socket}; img-src 'self' {self.gateway} blob:; {media}base-uri 'none'; "
            "trusted-types 'none'; require-trusted-types-for 'script'; report-uri /reports"
        )
        return {"Content-Security-Policy": policy} if self.strict else {}


@asynccontextmanager
async def hosted(host: Host) -> AsyncIterator[Host]:
    """Serve a host's page on a port of its own."""
    app = web.Application()
    app.router.add_get("/", host.page)
    app.router.add_post("/reports", host.report)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield host
    await runner.cleanup()


@asynccontextmanager
async def gateway_for(host: Host, platform: Platform, data: Path, origins: list[str]) -> AsyncIterator[App]:
    site = {"name": "Shop", "origins": origins, "destinations": [platform.name]}
    async with house(config_for(data, {platform.name: platform.settings()}, sites={"shop": site})) as app:
        host.gateway = app.url
        yield app


@dataclass
class Visit:
    """A window on a host's page, and what its console says."""

    page: Page
    warnings: list[str] = field(default_factory=list)

    async def unharmed(self) -> None:
        assert await self.page.evaluate("({ violations, thrown })") == {"violations": [], "thrown": []}


async def visit(windows: Windows, host: Host) -> Visit:
    page = await windows.open("about:blank")
    found = Visit(page)
    page.on("console", lambda line: found.warnings.append(line.text) if line.type == "warning" else None)
    await page.goto(host.origin)
    return found


async def test_a_strict_page_of_another_origin_has_nothing_to_object_to(windows: Windows, tmp_path: Path) -> None:
    async with (
        hosted(Host(strict="dynamic")) as host,
        emulated("slack") as slack,
        ClientSession() as http,
        gateway_for(host, slack, tmp_path, [host.origin]) as app,
    ):
        slack.attach(app, http)
        visitor = await visit(windows, host)
        chat = Chat(visitor.page)
        await chat.open()
        await expect(chat.part("panel")).to_contain_text("Hello! How can we help?")
        assert await visitor.page.evaluate(STORED) == NOTHING
        assert await visitor.page.context.cookies() == []
        await chat.say("hello from a strict page")
        await chat.latest_is("sent")
        async with visitor.page.expect_file_chooser() as chooser:
            await chat.part("attach").click()
        cup = {"name": "cup.png", "mimeType": "image/png", "buffer": PICTURE}
        await (await chooser.value).set_files([cup])
        await loaded(chat.part("upload").locator("img"))
        await chat.say("like this")
        await chat.latest_is("sent")
        await loaded(chat.messages("visitor").last.locator("img"))
        (thread,) = await slack.threads()
        await slack.says(thread, "welcome")
        await chat.shows("hello from a strict page", "like this", "welcome")
        await loaded(chat.messages("staff").locator(".avatar img"))
        await visitor.page.reload()
        await chat.open()
        await chat.shows("hello from a strict page", "like this", "welcome")
        await loaded(chat.messages("visitor").last.locator("img"))
        assert await chat.part("panel").evaluate("panel => getComputedStyle(panel).position") == "fixed"
        await visitor.unharmed()
        assert visitor.warnings == []
        assert host.reports == []
        assert await visitor.page.context.cookies() == []


async def test_an_unknown_site_leaves_the_page_as_it_was(windows: Windows, tmp_path: Path) -> None:
    async with (
        hosted(Host(site="nobody")) as host,
        emulated("desk") as desk,
        gateway_for(host, desk, tmp_path, [host.origin]),
    ):
        page = await windows.open("about:blank")
        async with page.expect_console_message(lambda line: line.type == "warning") as line:
            await page.goto(host.origin)
        assert (await line.value).text == "Threadbridge: site nobody: There is no such site here."
        await expect(page.locator("threadbridge-widget")).to_have_count(0)
        await Visit(page).unharmed()


async def test_a_browser_that_is_too_old_leaves_the_page_as_it_was(windows: Windows, tmp_path: Path) -> None:
    async with hosted(Host()) as host, emulated("desk") as desk, gateway_for(host, desk, tmp_path, [host.origin]):
        page = await windows.open("about:blank")
        await page.add_init_script("delete String.prototype.toWellFormed")
        async with page.expect_console_message(lambda line: line.type == "warning") as line:
            await page.goto(host.origin)
        assert (await line.value).text == "Threadbridge: this browser is too old"
        await expect(page.locator("threadbridge-widget")).to_have_count(0)
        await Visit(page).unharmed()


async def test_an_origin_that_is_not_listed_is_told_and_no_text_hangs(windows: Windows, tmp_path: Path) -> None:
    async with (
        hosted(Host()) as host,
        emulated("desk") as desk,
        gateway_for(host, desk, tmp_path, ["https://shop.example"]),
    ):
        visitor = await visit(windows, host)
        chat = Chat(visitor.page)
        await chat.open()
        await chat.say("hello?")
        await expect(chat.part("status")).to_have_text("This chat is not available at the moment.")
        await chat.latest_is("failed")
        await chat.part("retry").click()
        await chat.say("anybody?")
        await chat.shows("hello?", "anybody?")
        await chat.latest_is("failed")
        await expect(chat.messages("visitor").and_(visitor.page.locator("[data-state=failed]"))).to_have_count(2)
        await picture(visitor.page, "widget-refused")
        assert visitor.warnings == ["Threadbridge: The site shop does not list this page's origin."]
        await visitor.unharmed()


async def test_a_gateway_that_is_away_leaves_the_page_as_it_was(windows: Windows, tmp_path: Path) -> None:
    async with hosted(Host()) as host, emulated("desk") as desk:
        async with gateway_for(host, desk, tmp_path, [host.origin]):
            pass
        visitor = await visit(windows, host)
        await expect(visitor.page.locator("h1")).to_be_visible()
        await expect(visitor.page.locator("threadbridge-widget")).to_have_count(0)
        await visitor.unharmed()


async def test_a_browser_that_refuses_storage_keeps_a_conversation_as_long_as_the_page(
    windows: Windows, tmp_path: Path
) -> None:
    async with (
        hosted(Host(early=REFUSING)) as host,
        emulated("desk") as desk,
        ClientSession() as http,
        gateway_for(host, desk, tmp_path, [host.origin]) as app,
    ):
        desk.attach(app, http)
        visitor = await visit(windows, host)
        chat = Chat(visitor.page)
        await chat.open()
        await chat.say("one", "two")
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, "an answer")
        await chat.shows("one", "two", "an answer")
        await visitor.page.evaluate("threadbridge('logout')")
        await chat.shows()
        await visitor.unharmed()
