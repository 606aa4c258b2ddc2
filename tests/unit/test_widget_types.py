"""The types for pages in TypeScript say what the script takes: no option and no verb more or less."""

from __future__ import annotations

import re
from pathlib import Path

WIDGET = Path(__file__).parents[2] / "widget"
TYPES = (WIDGET / "widget.d.ts").read_text("utf-8")
SCRIPT = (WIDGET / "widget.js").read_text("utf-8")


def block(text: str, start: str) -> str:
    """Return the lines that a brace holds, without their indent."""
    found = re.search(rf"^( *){start} \{{\n(.*?)^\1\}}", text, re.MULTILINE | re.DOTALL)
    assert found
    return re.sub(rf"^{found[1]}  ", "", found[2], flags=re.MULTILINE)


def test_the_types_have_the_options_of_the_script() -> None:
    typed = re.findall(r"^(\w+)\?:", block(TYPES, "interface Options"), re.MULTILINE)
    taken = re.findall(r"\b(\w+): [/A-Z]", block(SCRIPT, "const OPTIONS ="))
    assert len(taken) > 10
    assert sorted(typed) == sorted(taken)


def test_the_types_have_the_verbs_of_the_script() -> None:
    typed = re.findall(r'"(\w+)"', " ".join(re.findall(r"\(verb: ([^,)]+)", TYPES)))
    both = block(SCRIPT, "return") + block(SCRIPT, "const always =")
    taken = re.findall(r"^(\w+)(?:\(.*\) \{$|: )", both, re.MULTILINE)
    assert len(taken) > 10
    assert set(typed) == set(taken)
