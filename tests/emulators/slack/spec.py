"""Holds requests, answers and events against Slack's published reference and recorded samples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[2] / "data" / "specs" / "slack"

METHODS: dict[str, Any] = json.loads((_FOLDER / "ref_methods.bridge.json").read_text())
_ANSWERS: dict[str, Any] = json.loads((_FOLDER / "sample_responses.pruned.json").read_text())
_EVENTS: dict[str, Any] = json.loads((_FOLDER / "sample_events.pruned.json").read_text())

_COMMON_ERRORS = {
    "access_denied",
    "account_inactive",
    "fatal_error",
    "internal_error",
    "invalid_arguments",
    "invalid_auth",
    "invalid_json",
    "is_archived",
    "missing_scope",
    "not_allowed_token_type",
    "not_authed",
    "ratelimited",
    "service_unavailable",
    "thread_not_found",  # of chat.postMessage in older references
    "token_expired",
    "token_revoked",
    "unknown_method",
}
_ENCODED = {"attachments", "blocks", "metadata"}  # told as strings, taken as JSON too where the body is JSON
_ID = re.compile(r"[A-Z][A-Z0-9]{8,}_?")
_EVENT_NAMES = {
    "message_changed": "MessageChangedPayload",
    "message_deleted": "MessageDeletedPayload",
    "file_share": "MessageFileSharePayload",
    "bot_message": "MessageBotPayload",
    "thread_broadcast": "MessageThreadBroadcastPayload",
    "reaction_added": "ReactionAddedPayload",
}


def _merged(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            key: _merged(one[key], other[key]) if key in one and key in other else one.get(key, other.get(key))
            for key in {**one, **other}
        }
    return one or other


def _message_shape() -> dict[str, Any]:
    shape: dict[str, Any] = {}
    for sample in (
        _ANSWERS["chat.postMessage"]["message"],
        _ANSWERS["conversations.history"]["messages"][0],
        _ANSWERS["conversations.replies"]["messages"][0],
        _EVENTS["MessagePayload"]["event"],
        _EVENTS["MessageFileSharePayload"]["event"],
        _EVENTS["MessageChangedPayload"]["event"]["message"],
    ):
        shape = _merged(shape, sample)
    shape["metadata"] = {"event_type": "", "event_payload": {}}
    return shape


_MESSAGE = _message_shape()


def problems_of_request(method: str, params: Mapping[str, Any]) -> Iterator[str]:
    """Tell what in a request's arguments the reference does not know."""
    known = METHODS[method]["args"]["properties"]
    for name, value in params.items():
        if name not in known:
            yield f"{method}: unknown argument {name}"
        elif not _fits(known[name], value, name):
            yield f"{method}: argument {name} is {value!r}"


def missing(method: str, params: Mapping[str, Any]) -> list[str]:
    """Return the required arguments that are not there."""
    required = METHODS[method]["args"].get("required", ())
    return [name for name in required if name != "token" and params.get(name) in (None, "")]


def _fits(schema: Mapping[str, Any], value: Any, name: str = "") -> bool:
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return any(_fits(one, value, name) for one in schema[choice])
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return not kinds or any(_is(kind, value, name) for kind in kinds)


def _is(kind: str, value: Any, name: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str) or (name in _ENCODED and isinstance(value, list | dict))
        case "boolean":
            return isinstance(value, bool) or value in {"true", "false", "1", "0"}
        case "integer" | "number":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number or (isinstance(value, str) and value.isdigit())
        case "array":
            return isinstance(value, list) or (isinstance(value, str) and value.startswith("["))
        case "object":
            return isinstance(value, dict)
        case "null":
            return value is None
        case _:
            return True


def problems_of_answer(method: str, answer: Mapping[str, Any]) -> Iterator[str]:
    """Tell what in an answer the real one would not give."""
    if not answer["ok"]:
        if answer["error"] not in _COMMON_ERRORS | set(METHODS[method].get("errors") or ()):
            yield f"{method}: error {answer['error']} is not in the reference"
        return
    output = METHODS[method].get("output") or {}
    for name in output.get("required", ()):
        if name not in answer:
            yield f"{method}: answer lacks {name}"
    for name, schema in output.get("properties", {}).items():
        if name in answer and not _fits(schema, answer[name]):
            yield f"{method}: {name} of the answer is {answer[name]!r}"
    yield from _strange(_ANSWERS.get(method, {}), answer, method)


def problems_of_event(payload: Mapping[str, Any]) -> Iterator[str]:
    """Tell what in an event's payload was never recorded of the real one."""
    event = payload["event"]
    name = _EVENT_NAMES.get(event.get("subtype", event["type"]), "MessagePayload")
    sample = dict(_EVENTS[name])
    if name not in {"MessageChangedPayload", "MessageDeletedPayload", "ReactionAddedPayload"}:
        sample["event"] = _merged(sample["event"], _MESSAGE)
    yield from _strange(sample, payload, name)


def _strange(sample: Any, value: Any, path: str) -> Iterator[str]:
    """Walk a value beside a recorded one: unknown keys and other types are strange. An empty sample tells nothing."""
    key = path.rpartition(".")[2]
    if key in {"message", "previous_message", "messages[]", "root"}:
        sample = _MESSAGE
    if value is None or sample in ({}, []):
        return
    if isinstance(sample, dict) and isinstance(value, dict):
        by_id = next((sample[name] for name in sample if _ID.fullmatch(name)), None)
        for name, item in value.items():
            if by_id is not None or name in sample:
                yield from _strange(sample.get(name, by_id), item, f"{path}.{name}")
            else:
                yield f"{path}: unknown field {name}"
    elif isinstance(sample, list) and isinstance(value, list):
        for item in value:
            yield from _strange(sample[0], item, f"{path}[]")
    elif not _alike(sample, value):
        yield f"{path}: is {value!r}"


def _alike(sample: Any, value: Any) -> bool:
    if isinstance(sample, bool) or isinstance(value, bool):
        return isinstance(sample, bool) and isinstance(value, bool)
    if isinstance(sample, int | float):
        return isinstance(value, int | float)
    return type(sample) is type(value)
