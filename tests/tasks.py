"""What keeps a page's main thread busy, from Chromium's own record: what other programs take meanwhile is not in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page

LONG = 50.0
"""Milliseconds from which on a browser calls a task long."""
SLOWER = 4
"""How many times as long a phone takes.

Chromium's own throttling would not do: what it adds is measured by the clock, and so grows with what else runs.
"""
_CATEGORIES = ["toplevel", "blink.user_timing", "devtools.timeline"]
_TASK = "ThreadControllerImpl::RunTask"
_WORK = {"EvaluateScript", "FunctionCall", "RunMicrotasks", "UpdateLayoutTree", "Layout", "PrePaint", "Paint"}
"""What pages cause. The rest is Chromium's: processes that begin, frames that are replaced."""
_MARK = "settled"
_SETTLED = f"""new Promise((done) => requestIdleCallback(() => setTimeout(() => {{
  performance.mark("{_MARK}"); // tells the page's thread from those of the browser's own pages
  done();
}}, 200)))"""


@asynccontextmanager
async def worked(page: Page) -> AsyncIterator[list[float]]:
    """Yield a list that afterwards has what each task of a page took until it settled, in a phone's milliseconds."""
    tasks: list[float] = []
    browser = page.context.browser
    assert browser
    await browser.start_tracing(page=page, categories=_CATEGORIES)
    try:
        yield tasks
        await page.evaluate(_SETTLED)
    finally:
        events = json.loads(await browser.stop_tracing())["traceEvents"]
    tasks += [SLOWER * took for took in _own(events)]


def _own(events: Sequence[dict[str, Any]]) -> Iterator[float]:
    """Give the processor time of each task in which the page had work, in milliseconds."""
    threads = {(one["pid"], one["tid"]) for one in events if one["name"] == _MARK}
    noted = _WORK | {_TASK}
    ours = [one for one in events if one["name"] in noted and (one["pid"], one["tid"]) in threads and "tdur" in one]
    task = None
    for one in sorted(ours, key=lambda one: (one["ts"], -one["dur"])):  # a task, what it does, the next
        if one["name"] == _TASK:
            if not task or one["ts"] >= task["ts"] + task["dur"]:  # else it is within another
                task = one
        elif task and one["ts"] < task["ts"] + task["dur"]:
            yield task["tdur"] / 1000
            task = None
