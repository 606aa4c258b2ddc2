"""One browser for all tests of a process, and windows of people for each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.browsing import Missing, Windows, launch

expect.set_options(timeout=15_000)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        try:
            browser = await launch(playwright)
        except Missing as missing:
            raise pytest.fail.Exception(str(missing), pytrace=False) from None
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def windows(browser: Browser) -> AsyncIterator[Windows]:
    """People's windows. Nothing may throw in any of them."""
    windows = Windows(browser)
    yield windows
    await windows.close()
    assert windows.errors == []
