"""`threadbridge init`: asks what a first configuration needs, and writes it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from bridge import discovery
from bridge.config import GatewaySettings, SiteSettings
from bridge.errors import StartError
from bridge.sources import is_secret

_SITE = "shop"
_GATEWAY = GatewaySettings()
_TEMPLATE = """\
# Threadbridge. Every setting there is, with its meaning: config.example.toml and docs/operations.md.
# Start with `threadbridge serve --config {path}`; `threadbridge check --config {path}` looks whether all is well.

[gateway]
host = {host}
port = {port}
{public_url}   # as browsers and platforms reach it, behind a reverse proxy

[store]
url = "sqlite:///data/threadbridge.db"

# Where staff answer.
[adapters.{kind}]
type = {type}
{settings}
# Put this into the pages of the site:
# {tag}
[sites.{site}]
name = {name}
origins = [{origin}]
destinations = [{type}]
"""


def write(path: Path, *, ask: bool) -> str:
    """Write a configuration and return the site's script tag.

    Raises StartError where there is a file already or it cannot be written.
    """
    if path.exists():
        raise StartError(f"There is a file {path} already; nothing was changed.")
    kind, settings = "desk", dict[str, Any]()
    origin, name, public_url = "http://localhost:8000", "My site", ""
    if ask:
        kind = _kind(kind)
        settings = _settings(_model(kind))
        origin = _until_right(
            lambda: _address("The website's address", origin),
            lambda text: _complaint(SiteSettings, {"origins": [text], "destinations": [kind]}),
        )
        name = typer.prompt("The website's name", default=name)
        public_url = _until_right(
            lambda: _address("The chat's own address, such as https://chat.example.com; empty to try it here", ""),
            lambda text: _complaint(GatewaySettings, {"public_url": text}),
        )
    address = public_url or f"http://{_GATEWAY.host}:{_GATEWAY.port}"
    tag = f'<script async src="{address}/widget.js" data-site="{_SITE}"></script>'
    text = _TEMPLATE.format(
        path=path,
        host=_toml(_GATEWAY.host),
        port=_GATEWAY.port,
        public_url=f"public_url = {_toml(public_url)}" if public_url else '# public_url = "https://chat.example.com"',
        kind=kind,
        type=_toml(kind),
        settings="".join(f"{key} = {_toml(value)}\n" for key, value in settings.items()),
        tag=tag,
        site=_SITE,
        name=_toml(name),
        origin=_toml(origin),
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it holds tokens
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StartError(f"{path} cannot be written: {error.strerror}.") from error
    return tag


def _toml(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _kind(default: str) -> str:
    types = discovery.known()
    return _until_right(
        lambda: str(typer.prompt(f"Where does the team answer ({', '.join(types)})", default=default)).strip().lower(),
        lambda text: None if text in types else (None, f"one of {', '.join(types)}"),
    )


def _address(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default))).strip().rstrip("/")


_Complaint = tuple[str | None, str]
"""A key, unless it is about the whole, and what is needed."""


def _until_right(ask: Callable[[], str], complain: Callable[[str], _Complaint | None]) -> str:
    while complaint := complain(answer := ask()):
        _say(complaint[1])
    return answer


def _say(needed: str) -> None:
    typer.echo(f"  Needed is {needed}.")


def _model(kind: str) -> type[BaseModel]:
    try:
        return discovery.load(kind).Settings
    except discovery.NotInstalled as error:
        raise StartError(f"The adapter {kind!r} cannot be used; needed is {error}.") from error


def _settings(model: type[BaseModel]) -> dict[str, Any]:
    """Ask for what the type requires or marks, and for more only where it still complains."""
    fields = model.model_fields
    given: dict[str, Any] = {}
    for key, field in fields.items():
        if field.is_required() or _is_marked(field):
            _take(model, key, given)
    while complaint := _complaint(model, given):
        wrong, needed = complaint
        _say(needed)
        # Where no key is named it lacks a secret, one of several.
        lacking = [key for key, field in fields.items() if is_secret(field.annotation) and key not in given]
        for key in [wrong] if wrong else lacking:
            _take(model, key, given)
    return given


def _is_marked(field: FieldInfo) -> bool:
    """Tell whether an adapter wants an optional key to be asked for: `Field(json_schema_extra={"ask": True})`."""
    return isinstance(field.json_schema_extra, Mapping) and bool(field.json_schema_extra.get("ask"))


def _take(model: type[BaseModel], key: str, given: dict[str, Any]) -> None:
    """Ask for one key until it is right in itself; an optional one may stay empty."""
    field = model.model_fields[key]
    secret = is_secret(field.annotation)
    if field.description:
        typer.echo(f"  {key}: {' '.join(field.description.split())}")
    prompt = f"  {key} (typing stays hidden)" if secret else f"  {key}"
    hidden = secret and sys.stdin.isatty()  # answers from a pipe are shown nowhere

    def answer() -> str:
        default = None if field.is_required() else ""
        return str(typer.prompt(prompt, default=default, hide_input=hidden, show_default=False)).strip()

    def complain(text: str) -> _Complaint | None:
        return _complaint(model, given | {key: text}, key) if text or field.is_required() else None

    given.pop(key, None)
    if text := _until_right(answer, complain):
        given[key] = text


def _complaint(model: type[BaseModel], given: Mapping[str, Any], key: str | None = None) -> _Complaint | None:
    """Return the first thing that is wrong, or the first with one key."""
    try:
        model.model_validate(given)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            name = str(details["loc"][0]) if details["loc"] else None
            if key in {None, name}:
                return name, details["msg"].removeprefix("Value error, ")
    return None
