"""Logging: one event a line on stderr, for people or as JSON, and without secrets."""

from __future__ import annotations

import logging
import re
import sys
from enum import StrEnum

import structlog
from structlog.typing import EventDict, Processor


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


def set_up(level: Level, form: Form) -> None:
    """Send our events, and the warnings of libraries, through the same lines."""
    weight = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form is Form.JSON
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(weight),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # Libraries tell too much below a warning: whole addresses, with Telegram's token in them.
    logging.basicConfig(handlers=[handler], level=max(weight, logging.WARNING), force=True)


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Hide what is or looks like a secret."""
    for key, value in event.items():
        if _NAMES.search(key):
            event[key] = _HIDDEN
        elif isinstance(value, str):
            event[key] = _VALUES.sub(_HIDDEN, value)
    return event
