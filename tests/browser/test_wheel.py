"""The widget as a release brings it: minified, compressed, unchanging at its address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiohttp import ClientSession
from playwright.async_api import expect

from tests.browser.test_files import NOTE, choose, ready
from tests.browsing import Chat, Windows
from tests.house import config_for
from tests.process import serving

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_visitor_talks_with_the_widget_of_the_wheel(wheel: Path, windows: Windows, tmp_path: Path) -> None:
    site = {"name": "Shop", "origins": ["https://shop.example"], "destinations": ["desk"]}
    config_for(tmp_path, {"desk": {"type": "desk"}}, sites={"demo": site})
    async with serving(tmp_path / "config.toml", PYTHONPATH=str(wheel), PYTHONSAFEPATH="1") as served:
        page = await windows.open("about:blank")
        loaded: dict[str, str] = {}
        page.on(
            "response", lambda response: loaded.update({response.url: response.headers.get("content-encoding", "")})
        )
        await page.goto(f"{served.url}/demo/")
        await page.evaluate("document.documentElement.lang = 'de'")
        chat = Chat(page)
        await chat.open()
        await expect(chat.part("attach")).to_have_accessible_name("Dateien anhängen")
        await choose(chat, NOTE)
        await ready(chat, 1)
        await chat.say("Hallo?")
        await chat.latest_is("sent")
        await chat.shows("Hallo?")
        async with ClientSession(auto_decompress=False) as http:
            for url in (url for url in loaded if url.endswith((".js", ".json")) and "/demo/" not in url):
                name = re.sub(r"^/(widget/[\w-]{6}/)?", "", url.removeprefix(served.url))
                for coding, ending in (("gzip, deflate, br", ".br"), ("", "")):
                    async with http.get(url, headers={"Accept-Encoding": coding}) as response:
                        assert await response.read() == (wheel / "widget" / (name + ending)).read_bytes()
                        assert response.headers["Vary"] == "Accept-Encoding"
        names = {url.rpartition("/")[2] for url in loaded if "/widget/" in url}
        assert names == {"panel.js", "files.js", "de.json"}
