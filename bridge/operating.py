"""`threadbridge deliveries`: what is not sent, as the operator sees it, beside a running process. `migrate`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from bridge import disk
from bridge.clock import SystemClock
from bridge.config import Config
from bridge.deliveries import DeliveryRow
from bridge.errors import StartError
from bridge.log import Form
from bridge.model import DeliveryId
from bridge.storage import Store
from bridge.store.sqlite.store import open_store

LISTED = 1000
"""The most deliveries that are listed, the latest."""


async def listed(config: Config, state: str | None, form: Form) -> list[str]:
    """Return what is not sent, a line each; never a message's text."""
    async with _store(config) as store:
        found = await store.outbox(state, LISTED)
    lines = [_columns(config, row) for row in found]
    return [json.dumps(line) for line in lines] if form is Form.JSON else _table(lines)


async def retry(config: Config, ids: Sequence[DeliveryId] | None) -> int:
    """Make dead deliveries pending again; return how many. Raises Conflict."""
    async with _store(config) as store:
        return await store.revive(ids, SystemClock().now())


async def drop(config: Config, id: DeliveryId) -> None:
    """Remove a delivery for good. Raises Conflict."""
    async with _store(config) as store:
        await store.drop(id, SystemClock().now())


async def migrate(config: Config) -> None:
    """Bring the store to this version's schema. Raises StartError where a process runs on it, SchemaTooNew."""
    with disk.locked(config.data, config.store.path):
        async with _store(config, migrate=True):
            pass


@asynccontextmanager
async def _store(config: Config, *, migrate: bool = False) -> AsyncIterator[Store]:
    if not config.store.path.is_file():
        raise StartError(f"There is no store at {config.store.path}: nothing was served with this configuration yet.")
    async with open_store(config.store.path, migrate=migrate) as store:
        yield store


def _columns(config: Config, row: DeliveryRow) -> dict[str, str | int]:
    parked = row.state != "dead" and row.destination.adapter not in config.adapters
    return {
        "id": row.id,
        "destination": str(row.destination),
        "conversation": row.conversation,
        "what": row.what,
        "state": "parked" if parked else row.state,
        "attempts": row.attempts,
        "due": _time(row.due_at),
        "created": _time(row.created_at),
        "reason": row.reason,
    }


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _table(lines: Sequence[dict[str, str | int]]) -> list[str]:
    if not lines:
        return ["Nothing."]
    cells = [list(lines[0]), *([" ".join(str(cell).split()) for cell in line.values()] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [_row(row, widths) for row in cells]


def _row(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
