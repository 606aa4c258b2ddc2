"""Holds requests and answers against the published specification."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[2] / "data" / "specs" / "telegram" / "api-10.1.bridge.json"

# The file leaves this method out; written after the public documentation.
_MORE_METHODS = {
    "getUserProfilePhotos": {
        "returns": ["UserProfilePhotos"],
        "fields": [
            {"name": "user_id", "types": ["Integer"], "required": True},
            {"name": "offset", "types": ["Integer"], "required": False},
            {"name": "limit", "types": ["Integer"], "required": False},
        ],
    }
}
_MORE_TYPES = {
    "UserProfilePhotos": {
        "fields": [
            {"name": "total_count", "types": ["Integer"], "required": True},
            {"name": "photos", "types": ["Array of Array of PhotoSize"], "required": True},
        ]
    }
}


@functools.cache
def _spec() -> tuple[dict[str, Any], dict[str, Any]]:
    loaded = json.loads(_FILE.read_text())
    return loaded["methods"] | _MORE_METHODS, loaded["types"] | _MORE_TYPES


def canonical(method: str) -> str | None:
    """Return a method's name as documented: any case is accepted."""
    return next((name for name in _spec()[0] if name.lower() == method.lower()), None)


def decoded(method: str, params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a request's parameters as values, and how they break the specification."""
    fields = {field["name"]: field for field in _spec()[0][method].get("fields", [])}
    values: dict[str, Any] = {}
    broken = [f"{name} is missing" for name, field in fields.items() if field["required"] and name not in params]
    for name, raw in params.items():
        field = fields.get(name)
        if field is None:
            # `attach://` parts are named by the parameter that refers to them
            broken += [] if isinstance(raw, Upload) else [f"{name} is not a parameter of {method}"]
            continue
        values[name] = _value(raw, field["types"])
        if all(_breaks(values[name], type, name) for type in field["types"]):
            broken.append(_breaks(values[name], field["types"][0], name)[0])
    return values, broken


def answer(method: str, result: Any) -> list[str]:
    """Return how an answer breaks the specification."""
    attempts = [_breaks(result, type, method) for type in _spec()[0][method]["returns"]]
    return [] if any(not broken for broken in attempts) else attempts[0]


def update(value: Any) -> list[str]:
    """Return how an update breaks the specification."""
    return _breaks(value, "Update", "update")


class Upload:
    """A file of a multipart request."""

    def __init__(self, name: str, type: str, content: bytes) -> None:
        self.name = name
        self.type = type
        self.content = content

    def __repr__(self) -> str:
        return f"Upload({self.name!r}, {self.type!r}, {len(self.content)} bytes)"


def _value(raw: Any, types: list[str]) -> Any:
    if isinstance(raw, str) and types != ["String"]:
        try:
            return json.loads(raw)
        except ValueError:
            return raw
    return raw


def _breaks(value: Any, type: str, where: str) -> list[str]:
    if type.startswith("Array of "):
        if not isinstance(value, list):
            return [f"{where} is no array"]
        return [wrong for index, item in enumerate(value) for wrong in _breaks(item, type[9:], f"{where}[{index}]")]
    if type in _SCALARS:
        return [] if _SCALARS[type](value) else [f"{where} is no {type}"]
    if type == "InputFile":
        return [] if isinstance(value, Upload) else [f"{where} is no file"]
    described = _spec()[1][type]
    if described.get("subtypes"):
        attempts = [_breaks(value, subtype, where) for subtype in described["subtypes"]]
        return [] if any(not broken for broken in attempts) else attempts[0]
    return _object_breaks(value, described, where)


def _object_breaks(value: Any, described: Mapping[str, Any], where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    fields = {field["name"]: field for field in described.get("fields", [])}
    broken = [f"{where}.{name} is missing" for name, field in fields.items() if field["required"] and name not in value]
    broken += [f"{where}.{name} is unknown" for name in value if name not in fields]
    for name in value.keys() & fields.keys():
        attempts = [_breaks(value[name], type, f"{where}.{name}") for type in fields[name]["types"]]
        broken += [] if any(not attempt for attempt in attempts) else attempts[0]
    return broken


_SCALARS = {
    "Integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "Float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "Boolean": lambda value: isinstance(value, bool),
    "String": lambda value: isinstance(value, str),
}
