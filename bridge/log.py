"""Logging: one event a line on stderr, for people or as JSON, and without secrets."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import traceback
import warnings
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from bridge.errors import BridgeError


class Level(StrEnum):
    """From which weight on events are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Form(StrEnum):
    """How a line looks."""

    CONSOLE = "console"
    JSON = "json"


_NAMES = re.compile(r"token|secret|password|authorization|cookie", re.IGNORECASE)
_VALUES = re.compile(r"\d{6,}:[\w-]{20,}|(?:xox[a-z]|xapp)-[\w-]+|(?<=Bearer )\S+|(?<=Bot )[\w.-]{20,}")
_HIDDEN = "[hidden]"
_PLACES = 8
"""How many frames, and members of a group, are told of an exception."""


class Printer(structlog.PrintLogger):
    """Prints lines, as far as they can be: whoever tells of a full disk must not end by it where the log lies there."""

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = error = critical = msg


def set_up(level: Level, form: Form) -> None:
    """Send our events, and the warnings of libraries, through the same lines."""
    weight = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_exception,
        redact,
    ]
    stderr = sys.stderr
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form is Form.JSON
        else structlog.dev.ConsoleRenderer(colors=stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(weight),
        logger_factory=lambda *_: Printer(stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[shorten, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.raiseExceptions = False  # it would print a line that cannot be written once more, with all that is in it
    # Libraries tell too much below a warning: whole addresses, with Telegram's token in them.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # aiohttp's quote names of files
    logging.basicConfig(handlers=[handler], level=max(weight, logging.WARNING), force=True)


def shorten(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Keep the first line of what a library says: behind it asyncio shows exceptions, with what they were about."""
    event["event"] = str(event["event"]).partition("\n")[0]
    event.pop("stack_info", None)
    return event


def name_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Say in a word which exception it was and where, innermost first. Its message may hold what somebody wrote."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["raised"] = _named(error)  # as "exception" it would be shown on a line of its own
    return event


def _named(error: BaseException) -> str:
    places = [f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in traceback.walk_tb(error.__traceback__)]
    named = " < ".join([type(error).__name__, *places[: -_PLACES - 1 : -1]])
    if isinstance(error, BaseExceptionGroup):
        named += f" [{', '.join(map(_named, error.exceptions[:_PLACES]))}]"
    return f"{named} from {_named(error.__cause__)}" if error.__cause__ else named


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Hide what is or looks like a secret."""
    for key, value in event.items():
        if _NAMES.search(key):
            event[key] = _HIDDEN
        elif isinstance(value, str):
            event[key] = _VALUES.sub(_HIDDEN, value)
    return event


def note_defect(task: asyncio.Task[Any]) -> None:
    """Tell of a defect in work that goes on where its caller is cut off. Of trouble, who met it has told."""
    if not task.cancelled() and (error := task.exception()) and not isinstance(error, BridgeError):
        structlog.get_logger().error("task_defect", exc_info=error)
