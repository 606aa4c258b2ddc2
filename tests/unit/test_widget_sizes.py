"""What a visitor downloads stays small: the sources themselves, compressed as the gateway's clients get them."""

from __future__ import annotations

import re
from pathlib import Path

import brotli

WIDGET = Path(__file__).parents[2] / "widget"
BEFORE_A_CLICK = 3_000
WITH_A_CONVERSATION = 16_000


def compressed(name: str) -> int:
    return len(brotli.compress((WIDGET / name).read_bytes(), quality=11))


def reachable(name: str) -> set[str]:
    """Return a module and all that it imports statically."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += re.findall(r'^import [^;]*?"\./([\w.-]+)";', (WIDGET / module).read_text(), re.MULTILINE)
    return found


def test_the_launcher_costs_little() -> None:
    assert compressed("widget.js") <= BEFORE_A_CLICK


def test_an_open_conversation_fits_its_budget() -> None:
    modules = reachable("panel.js")
    assert {"panel.js", "connection.js"} <= modules
    assert sum(map(compressed, {"widget.js", *modules})) <= WITH_A_CONVERSATION
