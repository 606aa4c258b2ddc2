"""Packs the widget into the wheel: bundled, minified, compressed, and at an address made of its content."""

import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any

import brotli
import rjsmin
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LOADER = "widget.js"
IMPORT = re.compile(r'\bimport\{[^}]*\}from"\./([\w.-]+)";')


class WidgetHook(BuildHookInterface[Any]):
    """Puts `NAME.js`, `NAME.js.br` and `VERSION` into the wheel's `widget/`. An editable install serves the sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self._packed = tempfile.TemporaryDirectory()
        for name, content in pack(Path(self.root, "widget")).items():
            path = Path(self._packed.name, name)
            path.write_bytes(content)
            build_data["force_include"][str(path)] = f"widget/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - the builder's
        if version != "editable":
            self._packed.cleanup()


def pack(folder: Path) -> dict[str, bytes]:
    """Return the files that take the place of the scripts in a folder."""
    sources = {path.name: rjsmin.jsmin(path.read_text("utf-8")) for path in sorted(folder.glob("*.js"))}
    bundled = {name for source in sources.values() for name in IMPORT.findall(source)}
    scripts = {name: bundle(sources, name, set()).encode() for name in sources if name not in bundled}
    version = hashlib.sha256(b"".join(scripts.values())).hexdigest()[:16].encode()
    scripts[LOADER] = scripts[LOADER].replace(b"__ASSETS__", b"/widget/" + version)
    compressed = {f"{name}.br": brotli.compress(content) for name, content in scripts.items()}
    return {"VERSION": version, **scripts, **compressed}


def bundle(sources: dict[str, str], name: str, written: set[str]) -> str:
    """Return a module with those that it imports written before it: one request, instead of one after the other.

    The modules then share one scope, where two that declare the same name are an error at once.
    """
    source, before = sources[name], ""
    for imported in IMPORT.findall(source):
        if imported not in written:
            written.add(imported)
            before += re.sub(r"\bexport (?=const|class|function)", "", bundle(sources, imported, written)) + "\n"
    return before + IMPORT.sub("", source)
