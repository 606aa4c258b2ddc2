"""Every language says everything, with the same places to fill in, in all the plural forms that it has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

WIDGET = Path(__file__).parents[2] / "widget"
SOURCES = {path.name: path.read_text("utf-8") for path in WIDGET.glob("*.js")}
SAID = re.compile(r"^(?:const TEXTS = |teach\()\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
"""Where English is: in texts.js, and in what is loaded on demand."""
ENGLISH = {
    key: text
    for source in SOURCES.values()
    for block in SAID.findall(source)
    for key, text in re.findall(r"^  (\w+): (.+),$", block, re.MULTILINE)
}
PLURALS = {
    "ar": {"zero", "one", "two", "few", "many", "other"},
    "fr": {"one", "many", "other"},
    "es": {"one", "many", "other"},
    "it": {"one", "many", "other"},
    "pt": {"one", "many", "other"},
    "pl": {"one", "few", "many", "other"},
    "ja": {"other"},
}
"""By the Unicode CLDR; the others have one and other."""
SAID_IN_WORDS = {("ar", "zero"), ("ar", "one"), ("ar", "two")}
LANGUAGES = sorted(path.stem for path in (WIDGET / "lang").iterdir())


def places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_the_widget_knows_the_languages_that_there_are() -> None:
    listed = re.search(r"const LANGUAGES = (\[.*?\]);", SOURCES["texts.js"])
    assert listed
    assert json.loads(listed[1]) == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_whole(language: str) -> None:
    texts: dict[str, Any] = json.loads((WIDGET / "lang" / f"{language}.json").read_text("utf-8"))
    assert texts.keys() == ENGLISH.keys()
    for key, text in texts.items():
        forms = text if isinstance(text, dict) else {"": text}
        assert not isinstance(text, dict) or set(text) == PLURALS.get(language, {"one", "other"})
        for form, said in forms.items():
            assert said.strip() == said != ""
            if (language, form) not in SAID_IN_WORDS:
                assert places(said) == places(ENGLISH[key]), (key, form)
