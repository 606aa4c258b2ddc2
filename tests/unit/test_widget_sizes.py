"""What a visitor downloads stays small: in bytes on the line, of the files that a release brings."""

from __future__ import annotations

from pathlib import Path

import brotli

BEFORE_A_CLICK = 3_000
WITH_A_CONVERSATION = 16_000


def on_the_line(widget: Path, name: str) -> int:
    packed = (widget / f"{name}.br").read_bytes()
    assert brotli.decompress(packed) == (widget / name).read_bytes()
    return len(packed)


def test_the_launcher_costs_little(wheel: Path) -> None:
    assert on_the_line(wheel / "widget", "widget.js") <= BEFORE_A_CLICK


def test_an_open_conversation_fits_its_budget(wheel: Path) -> None:
    """With its attachments. What sends files, other transports and languages come when they are needed."""
    widget = wheel / "widget"
    assert "import{" not in (widget / "panel.js").read_text()  # it is whole: nothing else is loaded with it
    assert on_the_line(widget, "widget.js") + on_the_line(widget, "panel.js") <= WITH_A_CONVERSATION
