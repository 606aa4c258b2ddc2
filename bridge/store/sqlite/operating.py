"""What an operator does to the outbox, or a visitor who tries again, inside the writer's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bridge.errors import Conflict
from bridge.model import DeliveryId, DeliveryState
from bridge.storage import Appended
from bridge.store.sqlite import log, rows
from bridge.store.sqlite.claims import DROP
from bridge.store.sqlite.outbox import unplan
from bridge.store.sqlite.rows import milliseconds

_PLANNED_TOGETHER = """select id from delivery where destination = :destination and conversation = :conversation
      and state in ('pending', 'claimed', 'uncertain') and claim = :claim
    union all select id from delivery where destination = :destination and conversation = :conversation
      and state = 'dead' and claim = :claim"""
"""Through an index each: of what is unsettled, and of what is dead."""


def revive(db: sqlite3.Connection, ids: Sequence[DeliveryId] | None, now: datetime) -> int:
    """Make dead deliveries pending again (`storage.Store.revive`)."""
    if ids is None:
        ids = [DeliveryId(id) for (id,) in db.execute("select id from delivery where state = 'dead'")]
    revived: set[DeliveryId] = set()
    for id in ids:
        if id in revived:
            continue
        state, claim, _ = _row(db, id)
        if state != "dead":
            raise Conflict(f"delivery {id} is {state}, not dead")
        members = _members(db, id, claim)
        uncertain = _may_be_there(db, id)
        db.executemany(
            """update delivery set state = ?, due_at = ?, unanswered = 0, defects = 0, cuts = 0, cut_since = null
               where id = ?""",
            [("uncertain" if uncertain else "pending", milliseconds(now), member) for member in members],
        )
        # A plan of which something is in the thread, or may be, goes on as it is. Any other may be late by now.
        if not uncertain and not _has_receipt(db, claim):
            unplan(db, members)
        revived.update(members)
    return len(revived)


def repeated(db: sqlite3.Connection, repeat: Appended, now: datetime) -> Appended:
    """Revive what a visitor repeats, where it was given up everywhere; the message then says how it stands.

    Whoever tries again wants an answer: a conversation that was closed meanwhile is open again.
    """
    message = repeat.message
    (_, state) = db.execute(f"{rows.DELIVERY_STATE} where entry.id = ?", (message.id,)).fetchone()
    if state != DeliveryState.FAILED:
        return repeat
    find = "select id from delivery where entry = ? and state = 'dead' and notice is null"
    dead = [DeliveryId(id) for (id,) in db.execute(find, (message.id,))]
    revive(db, dead, now)
    if dead:
        log.reopen(db, message, now)
    # Of what the operator has dropped nothing is left to send
    return replace(repeat, message=replace(message, delivery=DeliveryState.WAITING if dead else DeliveryState.FAILED))


def drop(db: sqlite3.Connection, id: DeliveryId, now: datetime) -> None:
    """Remove a delivery for good (`storage.Store.drop`)."""
    state, claim, claimed_until = _row(db, id)
    if state == "sent":
        raise Conflict(f"delivery {id} is sent")
    if state == "claimed" and claimed_until > milliseconds(now):
        raise Conflict(f"delivery {id} is being sent; try again in a minute")
    members = _members(db, id, claim)
    if len(members) > 1:
        if state in {"claimed", "uncertain"} or _has_receipt(db, claim):
            raise Conflict(f"delivery {id} shares a message with others, which may be in the thread already")
        unplan(db, members)
    db.execute("delete from receipt where delivery = ?", (id,))
    db.execute(f"{DROP} where id = ?", (id,))


def _row(db: sqlite3.Connection, id: DeliveryId) -> rows.Row:
    find = "select state, claim, claimed_until from delivery where id = ? and notice is not ''"
    row: rows.Row | None = db.execute(find, (id,)).fetchone()
    if row is None:
        raise Conflict(f"there is no delivery {id}")
    return row


def _members(db: sqlite3.Connection, id: DeliveryId, claim: DeliveryId | None) -> Sequence[DeliveryId]:
    """Return which deliveries are planned together with one, though nobody can read their plan any more.

    They have the same state.
    """
    if claim is None:
        return (id,)
    (destination, conversation) = db.execute(
        "select destination, conversation from delivery where id = ?", (id,)
    ).fetchone()
    place = {"destination": destination, "conversation": conversation, "claim": claim}
    return [DeliveryId(row[0]) for row in db.execute(_PLANNED_TOGETHER, place)]


def _may_be_there(db: sqlite3.Connection, id: DeliveryId) -> bool:
    """Tell whether what was given up may stand in its thread nevertheless: it is to be looked for."""
    find = "select may_be_there from delivery where id = ?"
    return bool(db.execute(find, (id,)).fetchone()[0])


def _has_receipt(db: sqlite3.Connection, claim: DeliveryId | None) -> bool:
    return db.execute("select 1 from receipt where delivery = ?", (claim,)).fetchone() is not None
