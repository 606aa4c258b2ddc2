"""What a visitor downloads stays small: in bytes on the line, of the files that a release brings."""

from __future__ import annotations

import re
from pathlib import Path

import brotli

BEFORE_A_CLICK = 3_000
WITH_A_CONVERSATION = 16_000


def reachable(widget: Path, name: str) -> set[str]:
    """Return a module and all that it imports statically."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += re.findall(r'\bfrom"\./([\w.-]+)"', (widget / module).read_text())
    return found


def on_the_line(widget: Path, name: str) -> int:
    packed = (widget / f"{name}.br").read_bytes()
    assert brotli.decompress(packed) == (widget / name).read_bytes()
    return len(packed)


def test_the_launcher_costs_little(wheel: Path) -> None:
    assert on_the_line(wheel / "widget", "widget.js") <= BEFORE_A_CLICK


def test_an_open_conversation_fits_its_budget(wheel: Path) -> None:
    modules = reachable(wheel / "widget", "panel.js")
    assert {"panel.js", "connection.js", "style.js", "nodes.js"} <= modules
    assert sum(on_the_line(wheel / "widget", name) for name in {"widget.js", *modules}) <= WITH_A_CONVERSATION
