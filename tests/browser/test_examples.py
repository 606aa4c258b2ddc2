"""The examples of docs/widget.md, run as they stand there: only the address of the gateway is another."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import run

import pytest
from aiohttp import ClientSession, web
from playwright.async_api import expect

from tests.browser.test_api import proved
from tests.browser.test_host_pages import NOTES
from tests.browser.test_looks import SECRET
from tests.browsing import ROOT, Chat, Windows
from tests.house import config_for, house
from tests.platforms import Desk, emulated

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCUMENT = (ROOT / "docs/widget.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"^### ([^\n]+)\n(?:(?!^#).)*?```\w+\n(.*?)```", DOCUMENT, re.MULTILINE | re.DOTALL))
POLICY = re.search(r"```\n(script-src .*?)```", DOCUMENT, re.DOTALL)
MODULES = ROOT / "widget" / "node_modules"

REACT = """
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Chat } from "./example.jsx";
const root = createRoot(document.querySelector("main"));
window.show = (user) => root.render(<StrictMode><Chat site="shop" user={user} /></StrictMode>);
window.leave = () => root.unmount();
show(null);
"""
VUE = """
import { createApp, shallowRef } from "vue";
import { useChat } from "./example.jsx";
const user = shallowRef(null);
const app = createApp({ setup: () => useChat("shop", user), render: () => null });
window.show = (now) => { user.value = now; };
window.leave = () => app.unmount();
app.mount("main");
"""
WORDPRESS = r"""<?php
namespace Shop; // where functions of PHP's own can be others
const THREADBRIDGE_SECRET = '%s';
const HOOKS = [%s];
const SIGNED_IN = %s;
function add_action($hook, $act) { if (in_array($hook, HOOKS)) $act(); }
function is_user_logged_in() { return SIGNED_IN; }
function wp_get_current_user() {
    return (object) ['ID' => 7, 'display_name' => 'Mara </script>', 'user_email' => 'mara@mail.example'];
}
function setcookie($name, $value, $expires, $path) {
    assert($expires === 0);
    echo "<script>document.cookie = '$name=$value; path=$path'</script>\n";
}
function wp_json_encode($value, $flags = 0) { return json_encode($value, $flags); }
function wp_print_inline_script_tag($code) { echo "<script>$code</script>\n"; }
function wp_print_script_tag($attributes) {
    echo '<script';
    foreach ($attributes as $name => $value) echo $value === true ? " $name" : " $name=\"$value\"";
    echo "></script>\n";
}
"""


@dataclass
class Website:
    """A website of its own origin, with one page."""

    origin: str = ""
    gateway: str = ""
    body: str = ""
    script: str = ""
    policy: str = ""

    def here(self, text: str) -> str:
        """Return a text of the document with the addresses of this gateway."""
        text = text.replace("wss://chat.example.com", self.gateway.replace("http", "ws", 1))
        return text.replace("https://chat.example.com", self.gateway).replace("nonce-...", "nonce-n0nce")

    async def page(self, _: web.Request) -> web.Response:
        html = f"<!doctype html><html lang=en><title>Shop</title><main></main>{self.body}</html>"
        headers = {"Content-Security-Policy": self.policy} if self.policy else {}
        return web.Response(text=html, content_type="text/html", headers=headers)

    async def scripts(self, _: web.Request) -> web.Response:
        return web.Response(text=self.script, content_type="text/javascript")


@asynccontextmanager
async def website(data: Path) -> AsyncIterator[tuple[Website, Desk]]:
    """Run a gateway for a website that embeds its widget."""
    site = Website()
    app = web.Application()
    app.router.add_get("/", site.page)
    app.router.add_get("/app.js", site.scripts)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    shop = {"name": "Shop", "origins": [site.origin], "destinations": ["desk"], "identity_secret": SECRET}
    async with (
        emulated("desk") as desk,
        ClientSession() as http,
        house(config_for(data, {"desk": desk.settings()}, sites={"shop": shop})) as gateway,
    ):
        desk.attach(gateway, http)
        site.gateway = gateway.url
        yield site, desk
    await runner.cleanup()


async def visit(windows: Windows, site: Website) -> Chat:
    page = await windows.open("about:blank")
    await page.add_init_script(NOTES)
    await page.goto(site.origin)
    return Chat(page)


async def test_a_page_with_a_button_of_its_own(windows: Windows, tmp_path: Path) -> None:
    async with website(tmp_path) as (site, desk):
        site.body = site.here(EXAMPLES["A page with a button of its own"])
        chat = await visit(windows, site)
        await chat.page.locator("#help").click()
        await expect(chat.part("composer")).to_be_focused()
        await expect(chat.part("launcher")).to_be_hidden()
        await chat.say("hello")
        await chat.latest_is("sent")
        await chat.part("close").click()
        (thread,) = await desk.threads()
        await desk.says(thread, "Good morning")
        await expect(chat.page.locator("#help")).to_have_text("Questions? 1")


async def test_a_page_under_a_strict_policy(windows: Windows, tmp_path: Path) -> None:
    async with website(tmp_path) as (site, _):
        assert POLICY
        site.policy = " ".join(site.here(POLICY[1]).split())
        site.body = site.here(EXAMPLES["A page under a strict policy"]).replace('nonce="..."', 'nonce="n0nce"')
        chat = await visit(windows, site)
        await chat.begin("hello")
        assert await chat.page.evaluate("({ violations, thrown })") == {"violations": [], "thrown": []}


def bundled(folder: Path, example: str, entry: str) -> str:
    """Return an example, and the application around it, as one script."""
    (folder / "example.jsx").write_text(example)
    (folder / "entry.jsx").write_text(entry)
    (folder / "node_modules").symlink_to(MODULES)
    options = ("OPTIONS_API__", "PROD_DEVTOOLS__", "PROD_HYDRATION_MISMATCH_DETAILS__")
    defined = [f"--define:__VUE_{option}=false" for option in options]
    call = [MODULES / ".bin" / "esbuild", "entry.jsx", "--bundle", "--jsx=automatic", *defined]
    made = run(call, cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout


@pytest.mark.parametrize(("name", "entry"), [("React", REACT), ("Vue", VUE)])
async def test_an_application(name: str, entry: str, windows: Windows, tmp_path: Path) -> None:
    async with website(tmp_path / "gateway") as (site, desk):
        site.script = await asyncio.to_thread(bundled, tmp_path, site.here(EXAMPLES[name]), entry)
        site.body = "<script src=/app.js></script>"
        chat = await visit(windows, site)
        await chat.page.evaluate("user => show(user)", proved("u1", name="Mara Lindqvist"))
        await chat.begin("hello")
        (thread,) = await desk.threads()
        assert "Mara Lindqvist" in await desk.card(thread)
        await expect(chat.page.locator("threadbridge-widget")).to_have_count(1)
        await chat.page.evaluate("leave()")
        await expect(chat.page.locator("threadbridge-widget")).to_have_count(0)
        assert await chat.page.evaluate("thrown") == []


async def wordpress(site: Website, hooks: str, *, signed_in: bool) -> str:
    """Return what a site adds to its pages, where these hooks are run."""
    code = WORDPRESS % (SECRET, hooks, str(signed_in).lower()) + site.here(EXAMPLES["WordPress"])
    made = await asyncio.to_thread(run, ["php"], input=code, capture_output=True, text=True, check=True)
    return made.stdout


@pytest.mark.full
async def test_wordpress(windows: Windows, tmp_path: Path) -> None:
    async with website(tmp_path) as (site, desk):
        site.body = await wordpress(site, "'wp_footer'", signed_in=True)
        chat = await visit(windows, site)
        await chat.begin("hello")
        (thread,) = await desk.threads()
        assert "Mara </script>" in await desk.card(thread)

        site.body = await wordpress(site, "'wp_logout', 'wp_footer'", signed_in=False)
        await chat.page.reload()
        await chat.begin("somebody else")
        await chat.shows("somebody else")
        site.body = await wordpress(site, "'wp_footer'", signed_in=False)
        await chat.page.reload()
        await chat.open()
        await chat.shows("somebody else")
        assert await chat.page.evaluate("thrown") == []
