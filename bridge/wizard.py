"""`threadbridge init`: asks what a first configuration needs, and writes it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel, ValidationError

from bridge import discovery
from bridge.errors import StartError
from bridge.sources import is_secret

_TEMPLATE = """\
# Threadbridge. Every setting there is, with its meaning: config.example.toml and docs/operations.md.
# Start with `threadbridge serve --config {path}`; `threadbridge check --config {path}` looks whether all is well.

[gateway]
host = "127.0.0.1"
port = 8080
# public_url = "https://chat.example.com"   # as browsers and platforms reach it, behind a reverse proxy

[store]
url = "sqlite:///data/threadbridge.db"

# Where staff answer.
[adapters.{kind}]
type = {type}
{settings}
# Put this into the pages of the site, with the gateway's address:
# <script async src="https://chat.example.com/widget.js" data-site="{site}"></script>
[sites.{site}]
name = {name}
origins = [{origin}]
destinations = [{type}]
"""


def write(path: Path, *, ask: bool) -> None:
    """Write a configuration. Raises StartError where there is a file already or it cannot be written."""
    if path.exists():
        raise StartError(f"There is a file {path} already; nothing was changed.")
    kind, settings = "desk", dict[str, Any]()
    origin, name = "http://localhost:8000", "My site"
    if ask:
        types = discovery.known()
        kind = typer.prompt(f"Where does the team answer ({', '.join(types)})", default=kind)
        settings = _asked(_model(kind))
        origin = typer.prompt("The website's address", default=origin).rstrip("/")
        name = typer.prompt("The website's name", default=name)
    text = _TEMPLATE.format(
        path=path,
        kind=kind,
        type=json.dumps(kind),
        settings="".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in settings.items()),
        site="site",
        name=json.dumps(name, ensure_ascii=False),
        origin=json.dumps(origin, ensure_ascii=False),
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it holds tokens
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StartError(f"{path} cannot be written: {error.strerror}.") from error


def _model(kind: str) -> type[BaseModel]:
    try:
        return discovery.load(kind).Settings
    except discovery.NotInstalled as error:
        raise StartError(f"The adapter {kind!r} cannot be used; needed is {error}.") from error


def _asked(model: type[BaseModel]) -> dict[str, Any]:
    """Ask for what the type requires, and for more only where it still complains."""
    given = {key: _ask(model, key) for key, field in model.model_fields.items() if field.is_required()}
    while complaint := _complaint(model, given):
        key, message = complaint
        typer.echo(f"  {message}")
        optional = [other for other in model.model_fields if other not in given]
        for each in [key] if key else optional:
            if value := _ask(model, each, default=None if key else ""):
                given[each] = value
                break
    return given


def _ask(model: type[BaseModel], key: str, default: str | None = None) -> str:
    hidden = is_secret(model.model_fields[key].annotation)
    return str(typer.prompt(f"  {key}", default=default, hide_input=hidden, show_default=False)).strip()


def _complaint(model: type[BaseModel], given: Mapping[str, Any]) -> tuple[str | None, str] | None:
    try:
        model.model_validate(given)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        return str(details["loc"][0]) if details["loc"] else None, details["msg"].removeprefix("Value error, ")
    return None
