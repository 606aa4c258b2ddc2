"""One browser for all tests of a process, and windows of people for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.browsing import Missing, Windows, launch

expect.set_options(timeout=15_000)


@asynccontextmanager
async def launched(*, keeps_pages: bool = False) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        try:
            browser = await launch(playwright, keeps_pages=keeps_pages)
        except Missing as missing:
            raise pytest.fail.Exception(str(missing), pytrace=False) from None
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(browser: Browser) -> AsyncIterator[Windows]:
    """Nothing may throw in any of them."""
    windows = Windows(browser)
    yield windows
    await windows.close()
    assert windows.errors == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def keeping_browser() -> AsyncIterator[Browser]:
    async with launched(keeps_pages=True) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def windows(browser: Browser) -> AsyncIterator[Windows]:
    """People's windows."""
    async with opened(browser) as windows:
        yield windows


@pytest_asyncio.fixture(loop_scope="session")
async def keeping_windows(keeping_browser: Browser) -> AsyncIterator[Windows]:
    """Windows that remember whole pages for the way back, which drivers of browsers switch off."""
    async with opened(keeping_browser) as windows:
        yield windows
