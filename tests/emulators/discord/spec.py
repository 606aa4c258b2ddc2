"""Discord's published OpenAPI document: finds the operation of a request and says what breaks its schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_FILE = Path(__file__).parents[2] / "data" / "specs" / "discord" / "openapi.bridge.json"
_DOCUMENT: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Operation:
    """One method of one path. `id` is Discord's own name of it."""

    id: str
    method: str
    pattern: re.Pattern[str]
    definition: Mapping[str, Any]


@cache
def operations() -> tuple[Operation, ...]:
    """Return all operations, those with fewer placeholders first: `/users/@me` goes before `/users/{user_id}`."""
    found = [
        (path.count("{"), Operation(definition["operationId"], method.upper(), _pattern(path), definition))
        for path, item in _DOCUMENT["paths"].items()
        for method, definition in item.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]
    return tuple(operation for _, operation in sorted(found, key=lambda pair: pair[0]))


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))


def operation(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """Return the operation that a request names, and what its path says."""
    for candidate in operations():
        if candidate.method == method and (match := candidate.pattern.fullmatch(path)):
            return candidate, match.groupdict()
    return None


_checked: dict[tuple[str, Any], list[str]] = {}


def request_problems(op: Operation, body: Any) -> list[str]:
    """Say what is wrong with a request's body (of multipart: its `payload_json`)."""
    content = op.definition.get("requestBody", {}).get("content", {})
    if not content:
        return [f"{op.id}: takes no body"] if body is not None else []
    return _problems(f"{op.id} request", content["application/json"]["schema"], _with_text_ids(body))


def _with_text_ids(body: Any) -> Any:
    """Write the ids of new attachments as text: Discord's own examples and the library number them, and it is taken."""
    if not isinstance(body, dict) or not body.get("attachments"):
        return body
    return {**body, "attachments": [{**item, "id": str(item.get("id"))} for item in body["attachments"]]}


def answer_problems(op: Operation, status: int, body: Any) -> list[str]:
    """Say what is wrong with an answer."""
    if status >= 500:
        return []  # what breaks gives no schema
    answers = op.definition["responses"]
    answer = answers.get(str(status)) or (answers.get("4XX") if 400 <= status < 500 else None)
    if answer is None:
        return [f"{op.id}: no answer {status} is specified"]
    while "$ref" in answer:
        answer = _DOCUMENT["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return [f"{op.id}: {status} has no body"] if body is not None else []
    if status == 400:  # the codes within `errors` are words in all of Discord's answers, numbers in its document
        body = {key: value for key, value in body.items() if key != "errors"}
    return _problems(f"{op.id} answer {status}", schema, body)


def _problems(what: str, schema: Mapping[str, Any], body: Any) -> list[str]:
    # Whole documents are slow to validate; one of a shape that was seen already is not looked at again.
    key = (what, _shape(body))
    if key not in _checked:
        validator = Draft202012Validator({**schema, "components": _DOCUMENT["components"]})
        _checked[key] = [f"{what}: {error.json_path}: {error.message[:300]}" for error in validator.iter_errors(body)]
    return _checked[key]


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(sorted((key, _shape(item)) for key, item in value.items()))
    if isinstance(value, list):
        return tuple(sorted({repr(_shape(item)) for item in value}))
    if isinstance(value, str):
        return f"text{len(value).bit_length()}{'d' if value.isdigit() else ''}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"number{value if value < 1000 else value.bit_length()}"
    return repr(value)
