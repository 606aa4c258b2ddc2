"""Packs the widget into the wheel: bundled, minified, compressed, and at an address made of its content."""

import base64
import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import brotli
import minify
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LOADER = "widget.js"
PANEL = "panel.js"
IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w.-]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?!let )", re.MULTILINE)
CHANGING = re.compile(r"^export let (\w+)", re.MULTILINE)
STYLE = re.compile(r"`\n[^`]*`")
"""A template that begins with a line of its own: nothing but styles is written so."""


class WidgetHook(BuildHookInterface[Any]):
    """Puts `NAME.js`, `NAME.js.br` and `VERSION` into the wheel's `widget/`. An editable install serves the sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self._packed = tempfile.TemporaryDirectory()
        for name, content in pack(Path(self.root, "widget")).items():
            path = Path(self._packed.name, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            build_data["force_include"][str(path)] = f"widget/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - the builder's
        if version != "editable":
            self._packed.cleanup()


def pack(folder: Path) -> dict[str, bytes]:
    """Return the files that take the place of the scripts and texts in a folder."""
    sources = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.js"))}
    bundled: list[str] = []
    whole = bundle(sources, PANEL, bundled)
    apart = {name: text for name, text in sources.items() if name not in bundled and name != PANEL}
    shared = [match[1] for text in apart.values() for match in IMPORT.finditer(text) if match[2] in bundled]
    files = {PANEL: enclosed(whole, {"create", *re.findall(r"\w+", " ".join(shared))}), **apart}

    def later(found: re.Match[str]) -> str:
        """Let what is loaded later share the panel's modules: each exists once."""
        return found[0].replace(found[2], PANEL) if found[2] in bundled else found[0]

    files = {name: small(IMPORT.sub(later, text)) for name, text in sorted(files.items())}
    for path in sorted(folder.glob("lang/*.json")):
        files[f"lang/{path.name}"] = json.dumps(json.loads(path.read_text("utf-8")), ensure_ascii=False)
    version = base64.urlsafe_b64encode(hashlib.sha256("".join(files.values()).encode()).digest()).decode()[:6]
    files[LOADER] = files[LOADER].replace("__ASSETS__", f"/widget/{version}")
    plain = {name: content.encode() for name, content in files.items()}
    compressed = {f"{name}.br": compress(content) for name, content in plain.items()}
    return {"VERSION": version.encode(), **plain, **compressed}


def bundle(sources: dict[str, str], name: str, written: list[str]) -> str:
    """Return a module with those that it imports written before it: one request, instead of one after the other.

    The modules then share one scope, where two that declare the same name are an error at once.
    """
    before = ""
    for imported in (match[2] for match in IMPORT.finditer(sources[name])):
        if imported not in written:
            written.append(imported)
            before += bundle(sources, imported, written) + "\n"
    return before + IMPORT.sub("", sources[name])


def enclosed(script: str, wanted: set[str]) -> str:
    """Return a module as one function, which gives what others want of it: its own names are then shortened too.

    What changes stays outside, where those who import it see it change.
    """
    changing = CHANGING.findall(script)
    body = EXPORT.sub("", CHANGING.sub(r"\1", script))
    given = "{ " + ", ".join(sorted(wanted.difference(changing))) + " }"
    return f"export let {', '.join(changing)};\nexport const {given} = (() => {{ {body}\nreturn {given} }})();"


def small(script: str) -> str:
    """Return a script without what only readers need: local and private names, comments, space; in its styles too."""
    return str(minify.string("application/javascript", STYLE.sub(_small_style, script)))


def compress(content: bytes) -> bytes:
    """Return the shortest of what Brotli makes of it for each kind of content: what suits best shows only then."""
    modes = (brotli.MODE_GENERIC, brotli.MODE_TEXT, brotli.MODE_FONT)
    return min((brotli.compress(content, mode=mode) for mode in modes), key=len)


def _small_style(match: re.Match[str]) -> str:
    style = re.sub(r"\s+", " ", match[0])
    return re.sub(r" ?([{};>!]) ?|(?<=[:,]) ", lambda found: found[1] or "", style).replace(";}", "}")
