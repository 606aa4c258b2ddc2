"""Packs the widget into the wheel: minified, compressed, and at an address made of its content."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import brotli
import rjsmin
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LOADER = "widget.js"


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
    scripts = {path.name: rjsmin.jsmin(path.read_text("utf-8")).encode() for path in sorted(folder.glob("*.js"))}
    version = hashlib.sha256(b"".join(scripts.values())).hexdigest()[:16].encode()
    scripts[LOADER] = scripts[LOADER].replace(b"__ASSETS__", b"/widget/" + version)
    compressed = {f"{name}.br": brotli.compress(content) for name, content in scripts.items()}
    return {"VERSION": version, **scripts, **compressed}
