"""Files that visitors and staff send: each is known by a mark in its bytes, as names and sizes may well be the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

_MARK = re.compile(rb"\[([a-z0-9-]+)\]")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Sent:
    """A file as it is sent: its name and size tell little, its bytes all."""

    name: str
    type: str
    content: bytes


def file_of(mark: str, *, named: bool = False) -> Sent:
    """Return the file of a mark, always the same; a visitor's photos have one name unless it is to be `named`."""
    dice = Random(mark)
    photo = dice.random() < 0.5
    start = (_PNG if photo else b"") + b"[" + mark.encode() + b"]"
    content = start.ljust(dice.choice((100, 100, 5_000, 300_000)), b".")
    name = mark.replace("-", ".") if named or not photo else "image"
    return Sent(f"{name}.png", "image/png", content) if photo else Sent(f"{name}.txt", "text/plain", content)


def mark_of(content: bytes) -> str:
    """Return the mark of a file that arrived; one that differs in a byte has none."""
    found = _MARK.search(content[:100])
    mark = found[1].decode() if found else ""
    return mark if content == file_of(mark).content else f"a broken file of {len(content)} bytes {mark}"
