"""The gateway cannot take a message for a while: the visitor reads what that means, and nothing is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browsing import Chat, Windows, barriers, picture
from tests.house import config_for
from tests.integration.test_store_trouble import SizeLimit
from tests.process import Serving, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

DELAYED = "Your message cannot be taken yet. Keep this page open: it is sent as soon as possible."


@contextmanager
def full(folder: Path, running: Serving) -> Iterator[None]:
    """Leave the gateway no room for another byte."""
    room = SizeLimit(folder)
    room.take(running)
    yield
    room.give(running)


@contextmanager
def locked(folder: Path, _: Serving) -> Iterator[None]:
    """Let another program hold the store."""
    with closing(sqlite3.connect(folder / "threadbridge.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        yield


@pytest.mark.parametrize("trouble", [pytest.param(full, id="full"), pytest.param(locked, id="locked")])
async def test_what_cannot_be_taken_is_kept_and_sent_when_it_can(
    trouble: Callable[[Path, Serving], AbstractContextManager[None]],
    request: pytest.FixtureRequest,
    windows: Windows,
    tmp_path: Path,
) -> None:
    config_for(tmp_path)
    async with serving(tmp_path / "config.toml") as running:
        chat = Chat(await windows.open(f"{running.url}/chat/shop"))
        await chat.say("first")
        await chat.latest_is("sent")
        with trouble(tmp_path, running):
            await chat.say("second")
            await expect(chat.part("status")).to_have_text(DELAYED)
            await chat.latest_is("sending")
            assert await barriers(chat.page) == []
            await picture(chat.page, f"widget-{request.node.callspec.id}")
            await chat.page.reload()
            await expect(chat.part("status")).to_have_text(DELAYED)
            await chat.say("third")
            await chat.shows("first", "second", "third")
            await chat.latest_is("sending")
        await chat.latest_is("sent")
        await chat.shows("first", "second", "third")
        await expect(chat.part("status")).to_be_empty()
        await chat.page.reload()
        await chat.shows("first", "second", "third")
