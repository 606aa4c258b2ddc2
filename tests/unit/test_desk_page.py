"""The desk's page: what is served, under which policy, and what its sources may not hold."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from adapters.desk.pages import FILES, FOLDER, page
from bridge.ports import HttpRequest

SOURCES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".html", ".css", ".js"})


def asked(path: str, method: str = "GET") -> HttpRequest:
    return HttpRequest(method, path, {}, {}, b"")


@pytest.mark.parametrize("path", FILES)
async def test_every_file_is_served_under_the_policy(path: str) -> None:
    answer = await page(asked(path))
    assert answer.status == 200
    assert answer.body == (FOLDER / FILES[path][0]).read_bytes()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_every_source_is_served() -> None:
    assert {name for name, _ in FILES.values()} == {path.name for path in SOURCES}


def test_every_import_is_of_a_file_that_is_served() -> None:
    imported = {name for path in SOURCES for name in re.findall(r'from "\./([^"]+)"', path.read_text())}
    assert imported
    assert imported <= set(FILES)


@pytest.mark.parametrize("path", ["index.html/", "../adapter.py", "tsconfig.json", "desk.jsx", "page/desk.js", "%2e"])
async def test_nothing_else_is_served(path: str) -> None:
    assert (await page(asked(path))).status == 404


async def test_a_page_takes_nothing() -> None:
    assert (await page(asked("", "POST"))).status == 405


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".js"], ids=lambda path: path.name)
def test_no_text_can_become_markup(path: Path) -> None:
    dangerous = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|srcdoc|new Function"
    assert not re.search(dangerous, path.read_text())


class Inline(HTMLParser):
    """Collects what a strict policy would stop."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.found += [name for name in names if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(tag)


def test_the_page_holds_no_inline_style_or_script() -> None:
    inline = Inline()
    inline.feed((FOLDER / "index.html").read_text())
    assert inline.found == []
