"""What the widget is written with is as old as the browsers that docs/widget.md promises: all of early 2023."""

from __future__ import annotations

import re

from tests.browsing import ROOT

YOUNGER = re.compile(
    r"URL\.(canParse|parse)\(|withResolvers|fromAsync|groupBy\(|AbortSignal\.any|Promise\.try|checkVisibility|RegExp\.escape"
    r"|\.(isSubsetOf|isSupersetOf|symmetricDifference)\(|showPopover|light-dark\(|@starting-style|@scope|field-sizing"
)
"""What came to Chrome after 111, Firefox after 119 or Safari after 16.4, and fails or looks broken without."""


def test_nothing_is_younger_than_the_browsers_that_are_promised() -> None:
    widget = ROOT / "widget"
    sources = [*widget.glob("*.js"), *widget.glob("chat/*")]
    found = {path.name: YOUNGER.findall(path.read_text("utf-8")) for path in sources}
    assert len(sources) > 20
    assert {name: uses for name, uses in found.items() if uses} == {}
