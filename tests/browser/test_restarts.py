"""A gateway that ends connections on purpose, or comes back from a backup: what a visitor sees of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import WebSocketRoute, expect

from tests.browser.test_looks import shop
from tests.browsing import Chat, Windows
from tests.emulators.proxy import proxied
from tests.house import config_for
from tests.integration.test_backup import command
from tests.platforms import eventually_equal
from tests.process import serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENDED = """
window.ended = 0;
const Real = WebSocket;
window.WebSocket = class extends Real {
  constructor(...given) { super(...given); this.addEventListener("close", () => ended++); }
};
"""


@pytest.mark.parametrize(
    ("code", "least", "most"), [pytest.param(1012, 0, 500, id="restart"), pytest.param(1013, 249, 750, id="try-later")]
)
async def test_a_gateway_says_when_to_come_back(
    code: int, least: int, most: int, windows: Windows, tmp_path: Path
) -> None:
    """At once, a little apart from others, where it restarts; after a while, which grows, where it is full."""
    async with shop(tmp_path) as (app, desk):
        page = await windows.open("about:blank")
        sockets: list[WebSocketRoute] = []

        def gate(socket: WebSocketRoute) -> None:
            sockets.append(socket)
            socket.connect_to_server()

        await page.route_web_socket("**/v1/socket", gate)
        await page.add_init_script(ENDED)
        await page.clock.install()
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.begin("hello")
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 10"))  # a connection that has proved itself
        await sockets[0].close(code=code)
        await eventually_equal(lambda: page.evaluate("ended"), 1)
        await chat.say("are you there?")
        (thread,) = await desk.threads()
        await desk.says(thread, "I am")
        await page.clock.run_for(least)
        assert len(sockets) == 1 or not least
        await page.clock.run_for(most - least)
        await chat.shows("hello", "I am", "are you there?")
        await chat.latest_is("sent")
        assert len(sockets) == 2
        await expect(chat.part("status")).to_be_empty()


async def test_a_gateway_that_was_put_back_to_a_backup_shows_what_it_has(windows: Windows, tmp_path: Path) -> None:
    """What was said after the backup is gone everywhere alike; the page that was open goes on without being loaded."""
    old, new, archive = tmp_path / "old", tmp_path / "new", tmp_path / "backup.tar"
    async with proxied() as proxy:
        for folder in (old, new):
            config_for(folder, gateway={"port": 0, "public_url": proxy.url})
        async with serving(old / "config.toml") as running:
            proxy.gateway = running.url
            chat = Chat(await windows.open(f"{proxy.url}/chat/shop"))
            await chat.say("before")
            await chat.latest_is("sent")
            await command("backup", archive, old)
            await chat.say("after")
            await chat.latest_is("sent")
        await command("restore", archive, new)
        async with serving(new / "config.toml") as running:
            proxy.gateway = running.url
            await chat.shows("before")
            await chat.say("goes on")
            await chat.shows("before", "goes on")
            await chat.latest_is("sent")
            await chat.page.reload()
            await chat.shows("before", "goes on")
