"""A store that holds much already: conversations of the last months, through the real schema, made in bulk."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from bridge.deliveries import Plan, Slice
from bridge.ids import mint
from bridge.model import AdapterName, DeliveryId, Destination, EntryId, Profile, VisitorId
from bridge.store.sqlite import rows, schema

DESK = Destination(AdapterName("desk"))
TEXT = "Hello, my order has not arrived yet and the tracking page shows nothing since Monday. Can you look it up?"
_SPREAD = timedelta(days=90)
_TOGETHER = 5000
_MINUTE = 60_000
_CONTEXT = rows.context_to(Profile(locale="en"))

_INSERTS = {
    "visitor": "insert into visitor (id, site, created_at) values (?, 'shop', ?)",
    "conversation": """insert into conversation (id, visitor, opened_at, active_at, closed_at, context, answered_at)
        values (?, ?, ?, ?, ?, ?, ?)""",
    "link": "insert into link (id, conversation, adapter, destination, thread) values (?, ?, ?, ?, ?)",
    "thread": "insert into thread (adapter, key, link, opened_at) values (?, ?, ?, ?)",
    "entry": """insert into entry (id, visitor, seq, conversation, author, staff, text, at, client_id, event)
        values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
    "delivery": """insert into delivery (id, destination, conversation, entry, state, created_at, due_at, claim, plan)
        values (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
    "receipt": "insert into receipt (delivery, part, remote_id) values (?, 0, ?)",
    "inbound": "insert into inbound (adapter, thread, event, entry, at) values (?, ?, ?, ?, ?)",
}


def fill(
    path: Path,
    until: datetime,
    conversations: int,
    *,
    visitors: int | None = None,
    messages: int = 10,
    to: Destination = DESK,
    waiting: bool = False,
) -> Sequence[VisitorId]:
    """Add closed conversations of the 90 days before `until`; return whose they are.

    Each has `messages`, in turn from its visitor and from staff, between its opening and its closing. `visitors`: how
    many share the conversations; each has one of their own without it. `waiting`: they are open, all messages are
    visitors', and nothing of it was delivered.
    """
    visitors = visitors or conversations
    ids = [VisitorId(mint(until - _SPREAD + _SPREAD * (number / visitors))) for number in range(visitors)]
    with closing(schema.connect(path, create=True)) as db:
        schema.migrate(db, path)
        db.execute("pragma synchronous = off")
        db.execute("insert or ignore into staff (id, adapter, remote_id, name) values (1, 'desk', 'anna', 'Anna')")
        made = _Made(db, to, waiting=waiting)
        for start in range(0, conversations, _TOGETHER):
            db.execute("begin")
            for number in range(start, min(start + _TOGETHER, conversations)):
                at = until - _SPREAD + _SPREAD * (number / conversations)
                made.conversation(ids[number % len(ids)], at, messages)
            made.write()
            db.execute("commit")
    return ids


class _Made:
    """Rows that wait to be written together."""

    def __init__(self, db: sqlite3.Connection, to: Destination, *, waiting: bool) -> None:
        self._db = db
        self._to = to
        self._waiting = waiting
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _INSERTS}
        last = "select coalesce(max(id), 0) from "
        self._entry, self._delivery, self._link = (
            db.execute(last + table).fetchone()[0] for table in ("entry", "delivery", "link")
        )
        self.seqs: dict[VisitorId, int] = {}

    def write(self) -> None:
        for table, insert in _INSERTS.items():
            self._db.executemany(insert, self._rows[table])
            self._rows[table].clear()

    def conversation(self, visitor: VisitorId, at: datetime, messages: int) -> None:
        # With a number in the place of the random bits: of so many some would be equal.
        stamp, conversation, end = rows.milliseconds(at), mint(at) >> 22 << 22 | self._link % (1 << 22), messages + 1
        if visitor not in self.seqs:
            self._rows["visitor"].append((visitor, stamp))
        closed_at = None if self._waiting else stamp + _MINUTE * end
        answered_at = None if self._waiting else stamp + _MINUTE * 2
        about = (conversation, visitor, stamp, stamp + _MINUTE * end, closed_at, _CONTEXT, answered_at)
        self._rows["conversation"].append(about)
        self._link += 1
        thread = None if self._waiting else f"T{self._link}"
        self._rows["link"].append((self._link, conversation, self._to.adapter, str(self._to), thread))
        if thread:
            self._rows["thread"].append((self._to.adapter, thread, self._link, stamp))
        for number in range(end if self._waiting else end + 1):
            event = {0: "opened", end: "closed"}.get(number)
            author = "system" if event else "visitor" if number % 2 or self._waiting else "staff"
            entry = self._add_entry(visitor, conversation, author, event, stamp + _MINUTE * number)
            if author == "staff":
                self._rows["inbound"].append((self._to.adapter, thread, f"r{entry}", entry, stamp))
            else:
                self._add_delivery(conversation, entry, stamp)

    def _add_entry(self, visitor: VisitorId, conversation: int, author: str, event: str | None, stamp: int) -> EntryId:
        self._entry += 1
        self.seqs[visitor] = seq = self.seqs.get(visitor, 0) + 1
        text, staff = "" if event else TEXT, 1 if author == "staff" else None
        client_id = f"old-{self._entry}" if author == "visitor" else None
        row = (self._entry, visitor, seq, conversation, author, staff, text, stamp, client_id, event)
        self._rows["entry"].append(row)
        return EntryId(self._entry)

    def _add_delivery(self, conversation: int, entry: EntryId, stamp: int) -> None:
        self._delivery += 1
        id, state, claim, plan = DeliveryId(self._delivery), "pending", None, None
        if not self._waiting:
            state, claim = "sent", id
            plan = msgspec.json.encode(Plan((id,), ((Slice(id, 0, len(TEXT)),),))).decode()
            self._rows["receipt"].append((id, f"r{entry}"))
        self._rows["delivery"].append((id, str(self._to), conversation, entry, state, stamp, stamp, claim, plan))
