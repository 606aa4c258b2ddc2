"""What staff write is text: nothing in it runs, and a link leads to a page or a person, in a window of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import WebSocketRoute, expect

from tests.browser.test_host_pages import NOTES
from tests.browser.test_looks import shop
from tests.browsing import Chat, Windows

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRICKS = [
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert`1`)",
    "[click]( javascript:alert`1`)",
    "[click](java\tscript:alert`1`)",
    "[click](data:text/html,<script>alert`1`</script>)",
    "[click](vbscript:x)",
    "[click](file:///etc/passwd)",
    "[click](//elsewhere.example)",
    "javascript:alert(1) data:text/html,x",
    "<a href=javascript:alert(1)>click</a>",
    "<img src=x onerror=alert(1)><script>alert(1)</script><svg onload=alert(1)>",
    "[<img src=x onerror=alert`1`>](mailto:ada@shop.example)",
    '[click](https://shop.example/"onmouseover="alert`1`)',
]
HARMLESS = {"p", "a", "div", "code", "em", "strong", "ul", "ol", "li", "pre", "blockquote"}
LINKS = "all => all.map((one) => [one.protocol, one.target, one.rel, one.getAttributeNames().sort().join()])"


async def brings(chat: Chat, texts: list[str]) -> None:
    """Let the gateway's answers bring texts as no gateway of ours would write them."""
    waiting = iter(texts)

    def relay(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def replace(data: str | bytes) -> None:
            frame: dict[str, Any] = json.loads(data)
            if frame["type"] == "message" and frame["from"]["kind"] == "staff":
                frame |= {"text": next(waiting), "format": "markdown"}
            socket.send(json.dumps(frame))

        server.on_message(replace)

    await chat.page.route_web_socket("**/v1/socket", relay)


async def test_nothing_of_what_is_brought_runs_or_leads_astray(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        page = await windows.open("about:blank")
        await page.add_init_script(NOTES + "window.alert = () => thrown.push('alert');")
        chat = Chat(page)
        await brings(chat, [*TRICKS, "See https://shop.example/a, [call](tel:+39123) or mail ada@shop.example"])
        await page.goto(f"{app.url}/demo/")
        await chat.begin("<b>javascript:alert(1)</b> https://shop.example/?a=<script>")
        (thread,) = await desk.threads()
        for number in range(len(TRICKS) + 1):
            await desk.says(thread, f"text {number}", name="Ada")
        await expect(chat.messages("staff")).to_have_count(len(TRICKS) + 1)
        links = await chat.texts().locator("a").evaluate_all(LINKS)
        told = ["_blank", "noopener noreferrer nofollow", "href,rel,target"]
        assert links == [
            ["https:", *told],  # of the visitor's own
            ["mailto:", *told],
            ["https:", *told],  # with the quotation mark in its address
            ["https:", *told],
            ["tel:", *told],
            ["mailto:", *told],
        ]
        names = set(await chat.texts().locator("*").evaluate_all("all => all.map((one) => one.localName)"))
        assert names <= HARMLESS
        for link in await chat.texts("staff").locator("a").all():
            await link.hover()
        assert await page.evaluate("thrown") == []
