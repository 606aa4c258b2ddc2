"""Where settings come from, and how what is wrong with them is told: file, key, found, expected, and no secret."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource

from bridge.errors import ConfigError, ConfigProblem

PREFIX = "THREADBRIDGE__"
ENVIRONMENT = "environment"

_NO_FILE = "a configuration: `threadbridge init` writes one, --config FILE names another"

Location = tuple[int | str, ...]


class Section(BaseModel):
    """A section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """What the file and the environment gave together, still as found."""

    file: str
    values: Mapping[str, Any]
    environment: Mapping[str, Any]
    """The part of it that came from the environment."""
    problems: Sequence[ConfigProblem]
    """What was wrong already with the names in the environment."""

    def problem(self, where: Location, found: str, expected: str) -> ConfigProblem:
        """Return a problem under the name that a person wrote: the file's key, or the variable."""
        value: Any = self.environment
        for depth, key in enumerate(where):
            value = value.get(key) if isinstance(value, Mapping) else None
            if value is None:
                break
            if not isinstance(value, Mapping):
                variable = PREFIX + "__".join(map(str, where[: depth + 1])).upper()
                return ConfigProblem(ENVIRONMENT, variable, found, expected)
        dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in where).removeprefix(".")
        return ConfigProblem(self.file, dotted, found, expected)


class _Environment(EnvSettingsSource):
    """Reads a given environment. What looks like a list or table is JSON, anything else stands for itself."""

    def __init__(self, model: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(model, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter="__")

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ARG002 - overrides
        if isinstance(value, str) and value[:1] in {"[", "{"}:
            try:
                return json.loads(value)
            except ValueError:
                return value  # of the wrong type then, which is told
        return value


def read_sources(path: Path | None, environ: Mapping[str, str], model: type[BaseSettings]) -> Source:
    """Merge the file and the environment, which wins. Raises ConfigError where the file cannot be read at all."""
    given = _toml(path) if path else {}
    environment = _Environment(model, environ)()
    misnamed = list(_misnamed(environ, list(model.model_fields)))
    return Source(str(path) if path else ENVIRONMENT, _merged(given, environment), environment, misnamed)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {key for key in above if isinstance(above[key], Mapping) and isinstance(below.get(key), Mapping)}
    return {**below, **above, **{key: _merged(below[key], above[key]) for key in both}}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))  # Windows puts a mark in front
    except FileNotFoundError:
        problem = ConfigProblem(str(path), "file", "no such file", _NO_FILE)
    except OSError as error:
        problem = ConfigProblem(str(path), "file", error.strerror or "an error", "a file that can be read")
    except UnicodeDecodeError:
        problem = ConfigProblem(str(path), "file", "bytes that are not UTF-8", "TOML in UTF-8")
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).partition(" (at ")
        problem = ConfigProblem(str(path), place.removesuffix(")") or "end", what[:1].lower() + what[1:], "valid TOML")
    raise ConfigError([problem])


def _misnamed(environ: Mapping[str, str], sections: Sequence[str]) -> Iterator[ConfigProblem]:
    for name in environ:
        if not name.upper().startswith(PREFIX):
            continue
        section = name[len(PREFIX) :].lower().partition("__")[0]
        if section not in sections:
            expected = f"{PREFIX}SECTION__KEY, where {_suggestion(section, sections)}"
            yield ConfigProblem(ENVIRONMENT, name, "an unknown section", expected)


# --- telling ----------------------------------------------------------------------------------------------------------

# What may be a secret in the wrong place: tokens of the platforms, and anything long without a space.
_SECRETIVE = re.compile(r"xox|xapp-|\d{6,}:\S{20,}|[\w.+/=-]{40,}|//[^/\s]*@")


# What the library says around what it expects.
_WRAPPING = re.compile(r"^Value error, |^Input should be |^\w+ should have | after validation.*")

_EXPECTED = {
    "missing": "a value",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text",
    "path_type": "a path as a text",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a section",
    "model_type": "a section",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "at least one",
}


def shown(value: object) -> str:
    """Return a value as a person would recognise it, short and without anything that looks like a secret."""
    if isinstance(value, str):
        hidden = len(value) > 60 or _SECRETIVE.search(value)
        return f"a text of {len(value)} characters" if hidden else json.dumps(value, ensure_ascii=False)
    if value is None or isinstance(value, (bool, int, float)):
        return "nothing" if value is None else json.dumps(value)
    if isinstance(value, (list, Mapping)):
        kind = "list" if isinstance(value, list) else "table"
        return f"a {kind}" if value else f"an empty {kind}"
    return f"a {type(value).__name__}"


def problems_of(
    error: ValidationError, source: Source, where: Location, model: type[BaseModel], others: Sequence[str] = ()
) -> list[ConfigProblem]:
    """Return a model's complaints as problems. `others` are keys of its section that the model does not have."""
    problems: dict[str, ConfigProblem] = {}
    complaints = error.errors(include_url=False)
    for details in complaints:
        if details["type"] == "too_short" and any(_is_below(other["loc"], details["loc"]) for other in complaints):
            continue  # its items were wrong, and are told
        location = _within(source.values, where, details)
        field, parent = _field(model, location[len(where) :])
        found, expected = _told(details, field, [*parent, *others], secret=bool(field and is_secret(field.annotation)))
        problem = source.problem(location, found, expected)
        if (before := problems.get(problem.key)) and before.expected != expected:  # the members of a union
            problem = ConfigProblem(problem.file, problem.key, found, f"{before.expected}, or {expected}")
        problems[problem.key] = problem
    return list(problems.values())


def _is_below(location: Location, other: Location) -> bool:
    return len(location) > len(other) and location[: len(other)] == other


def _within(values: Any, where: Location, details: ErrorDetails) -> Location:
    """Return where it is in what was given, without the steps that only the model has."""
    steps: list[int | str] = []
    for step in (*where, *details["loc"]):
        if step in (values if isinstance(values, Mapping) else range(len(values)) if isinstance(values, list) else ()):
            values = values[step]
        elif details["type"] == "missing":
            return (*steps, step)
        else:
            break
        steps.append(step)
    return tuple(steps)


def _field(model: type[BaseModel], location: Location) -> tuple[FieldInfo | None, list[str]]:
    """Return the field at a place, and the names of the keys that may stand beside it."""
    field: FieldInfo | None = None
    siblings: list[str] = []
    kind: Any = model
    for step in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            siblings = list(kind.model_fields)
            field = kind.model_fields.get(str(step))
            kind = field.annotation if field else None
        else:
            kind = next((part for part in reversed(get_args(kind)) if part is not ...), None)
    return field, siblings


def is_secret(annotation: Any) -> bool:
    """Tell whether a field holds a secret."""
    return annotation is SecretStr or any(is_secret(part) for part in get_args(annotation))


def _told(details: ErrorDetails, field: FieldInfo | None, keys: Sequence[str], *, secret: bool) -> tuple[str, str]:
    """Return what was found and what is expected."""
    kind, given = details["type"], details["input"]
    if kind == "extra_forbidden":
        return "an unknown key", _suggestion(str(details["loc"][-1]), keys)
    if isinstance(given, Mapping) and kind in {"value_error", "assertion_error"}:
        found = f"the keys {', '.join(map(str, given)) or '(none)'}"
    elif kind == "missing":
        found = "nothing"
    else:
        found = "a value that is not shown" if secret else shown(given)
    if "[key]" in details["loc"]:
        return found, 'a name of lower-case letters, digits, "-" and single "_", at most 40 characters'
    if kind in {"missing", "too_short", "string_pattern_mismatch"} and field and field.description:
        return found, _sentence(field.description)
    expected = _WRAPPING.sub("", details["msg"])
    return found, _EXPECTED.get(kind, expected)


def _sentence(text: str) -> str:
    text = " ".join(text.split()).partition(". ")[0].removesuffix(".")
    return text[:1].lower() + text[1:]


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f'"{close[0]}" (did you mean that?)' if close else f"one of {', '.join(known)}"
