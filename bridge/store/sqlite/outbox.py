"""Operations on what is claimed: links, receipts and how claims end, inside the writer's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
import structlog

from bridge.deliveries import Claim, Outcome, Pending, Settled, lost_file
from bridge.errors import Conflict
from bridge.hints import DeliveryHint, Precedence
from bridge.model import (
    AuthorKind,
    DeliveryId,
    DeliveryState,
    Destination,
    Message,
    Opened,
    RemoteId,
    Token,
)
from bridge.storage import Taken
from bridge.store.sqlite import inbound, rows
from bridge.store.sqlite.claims import DROP
from bridge.store.sqlite.rows import milliseconds

log = structlog.get_logger()


def opening(db: sqlite3.Connection, claim: Claim, token: Token, now: datetime) -> None:
    """Note that a thread is being opened. With a token that was tried before it may be there since the first time."""
    _hold(db, claim)
    changed = db.execute(
        """update link set token = ?1, opening_since = case when token = ?1 then opening_since else ?2 end
           where conversation = ?3 and destination = ?4 and thread is null""",
        (token, milliseconds(now), claim.conversation, str(claim.destination)),
    ).rowcount
    if not changed:
        raise Conflict("the conversation has a thread there already")


def not_opened(db: sqlite3.Connection, claim: Claim) -> None:
    """Take back `opening`: the platform certainly made no thread."""
    db.execute(
        "update link set token = null, opening_since = null where conversation = ? and destination = ?",
        (claim.conversation, str(claim.destination)),
    )


def opened(db: sqlite3.Connection, claim: Claim, opened: Opened, now: datetime) -> tuple[Taken, ...]:
    """Commit a Link, and take what came from its thread meanwhile."""
    _hold(db, claim)
    destination = claim.destination
    (link,) = db.execute(
        """update link set thread = ?, token = null, opening_since = null, lacks_past = ?
           where conversation = ? and destination = ? returning id""",
        (opened.thread, claim.plan.past is not None, claim.conversation, str(destination)),
    ).fetchone()
    db.execute(
        "insert into thread (adapter, key, link, opened_at) values (?, ?, ?, ?) on conflict do nothing",
        (destination.adapter, opened.thread, link, milliseconds(now)),
    )
    # What had no answer until now were attempts to open it: none of them left a copy in it.
    db.executemany("update delivery set unanswered = 0 where id = ?", [(item.id,) for item in claim.members])
    return inbound.take_parked(db, destination.adapter, opened.thread, now)


def abandon_thread(db: sqlite3.Connection, claim: Claim, reason: str, *, stands: bool) -> None:
    """Make the current thread a former one, which still leads to the conversation.

    What is not wholly sent is planned anew, also what was given up, as it may be revived: a part in the former thread
    is none in its successor.
    """
    _hold(db, claim)
    destination = str(claim.destination)
    db.execute(
        """update thread set gone = ?, stands = ? where adapter = ? and key =
           (select thread from link where conversation = ? and destination = ?)""",
        (reason, stands, claim.destination.adapter, claim.conversation, destination),
    )
    db.execute(
        """update link set former = thread, thread = null
           where conversation = ? and destination = ? and thread is not null""",
        (claim.conversation, destination),
    )
    # One select for each state: so SQLite uses the indexes of just these.
    unsent = db.execute(
        """select id from delivery where destination = ?1 and conversation = ?2
             and state in ('pending', 'claimed', 'uncertain')
           union all select id from delivery where destination = ?1 and conversation = ?2 and state = 'dead'""",
        (destination, claim.conversation),
    ).fetchall()
    db.executemany("delete from receipt where delivery = ?", unsent)
    unplan(db, [id for (id,) in unsent])


def tell_elsewhere(
    db: sqlite3.Connection, claim: Claim, reason: str, text: str, now: datetime
) -> tuple[Destination, ...]:
    """Queue a notice, beside what waits here, at the conversation's other destinations that show notices.

    What is not told again stands with the lane's state, which is noted along with it: both end together.
    """
    _hold(db, claim)
    lane_down(db, claim.destination, reason)
    links = db.execute("select destination from link where conversation = ? and not reads_log", (claim.conversation,))
    ours = str(claim.destination)
    note = "insert into lane_told (lane, destination) values (?, ?) on conflict do nothing"
    others = [name for (name,) in links.fetchall() if name != ours and db.execute(note, (ours, name)).rowcount]
    stamp = milliseconds(now)
    db.executemany(
        """insert into delivery (destination, conversation, entry, notice, created_at, due_at)
           select ?, conversation, entry, ?, ?, ? from delivery where id = ?""",
        [(other, text, stamp, stamp, claim.id) for other in others],
    )
    return tuple(map(Destination.parse, others))


def receipt(db: sqlite3.Connection, claim: Claim, part: int, remote_id: RemoteId, until: datetime) -> None:
    """Commit that a part is in the thread."""
    _hold(db, claim)
    _insert_receipt(db, claim, part, remote_id)
    stamp = milliseconds(until)
    prolong = "update delivery set claimed_until = ?, cuts = 0, cut_since = null where id = ?"
    db.executemany(prolong, [(stamp, item.id) for item in claim.members])


def _insert_receipt(db: sqlite3.Connection, claim: Claim, part: int, remote_id: RemoteId) -> None:
    insert = "insert into receipt (delivery, part, remote_id) values (?, ?, ?) on conflict do nothing"
    try:
        db.execute(insert, (claim.id, part, remote_id))
    except (UnicodeError, sqlite3.IntegrityError, sqlite3.ProgrammingError) as error:  # no row holds such an id
        log.error("receipt_unstorable", destination=str(claim.destination), delivery=claim.id, exc_info=error)
        db.execute(insert, (claim.id, part, rows.NO_ID))
    if claim.plan.past:  # it stands ahead of the rest
        _shows_past(db, claim)


def _shows_past(db: sqlite3.Connection, claim: Claim) -> None:
    db.execute(
        "update link set lacks_past = 0 where conversation = ? and destination = ?",
        (claim.conversation, str(claim.destination)),
    )


def _receipts(db: sqlite3.Connection, claim: Claim) -> int:
    """Return how many parts of a claim's plan stand."""
    (count,) = db.execute("select count(*) from receipt where delivery = ?", (claim.id,)).fetchone()
    return int(count)


def settle(
    db: sqlite3.Connection,
    claim: Claim,
    outcome: Outcome,
    reason: str,
    due_at: datetime,
    receipt: RemoteId | None = None,
) -> Settled:
    """End a claim (`storage.Store.settle`)."""
    _hold(db, claim)
    if outcome is Outcome.APART and claim.plan.past and _receipts(db, claim) >= claim.plan.ahead:
        outcome = Outcome.DEAD
    state = {
        Outcome.SENT: "sent",
        Outcome.RETRY: "pending",
        Outcome.UNCERTAIN: "uncertain",
        Outcome.UNANSWERED: "uncertain",
        Outcome.DEFECT: "uncertain",
        Outcome.CUT: "uncertain" if claim.uncertain else "pending",
        Outcome.APART: "uncertain" if claim.uncertain and claim.plan.revises is None else "pending",
        Outcome.ANEW: "uncertain",
        Outcome.DEAD: "dead",
        Outcome.TOLD: "dead",
    }[outcome]
    if receipt is not None:
        _insert_receipt(db, claim, max(len(claim.plan.parts) - 1, 0), receipt)
    db.executemany(
        """update delivery set state = ?, reason = ?, due_at = ?, claimed_until = null,
           unanswered = unanswered + ?, defects = defects + ? where id = ?""",
        [
            (state, reason, milliseconds(due_at), outcome is Outcome.UNANSWERED, outcome is Outcome.DEFECT, item.id)
            for item in claim.members
        ],
    )
    if outcome is Outcome.APART:
        each_anew = "update delivery set apart = 1, unanswered = 0, defects = 0 where id = ?"
        db.executemany(each_anew, [(item.id,) for item in claim.members])
        unplan(db, claim.plan.members)
        if claim.plan.past:  # it is not to be in the way again, and what of it stands is no part of the rest
            db.execute("delete from receipt where delivery = ?", (claim.id,))
            _shows_past(db, claim)
    elif outcome in (Outcome.RETRY, Outcome.CUT, Outcome.ANEW):
        _count_cuts(db, claim, outcome, due_at)
        _plan_anew(db, claim, late=outcome is Outcome.ANEW)
    if state == "sent":
        return Settled(_changes(db, claim), _next(db, claim))
    if state == "dead":
        dead = _give_up(db, claim, reason, due_at, told=outcome is Outcome.TOLD)
        return Settled(_changes(db, claim), _next(db, claim), dead)
    return Settled((), _next(db, claim))


def _count_cuts(db: sqlite3.Connection, claim: Claim, outcome: Outcome, at: datetime) -> None:
    """Count an upload that was cut off, or begin anew: where something else was in the way, it is not the file.

    They began no later than now: else, where the clock was set back, they would last that much longer.
    """
    db.execute(
        """update delivery set cuts = case when ?1 then cuts + 1 else 0 end,
           cut_since = case when ?1 then min(coalesce(cut_since, ?2), ?2) end where id = ?3""",
        (outcome is Outcome.CUT, milliseconds(at), claim.id),
    )


def _next(db: sqlite3.Connection, claim: Claim) -> Precedence | None:
    """Return how urgent it is what the conversation has still to deliver."""
    best = rows.BEST_PRECEDENCE.format(destination="?", conversation="?")
    (found,) = db.execute(best, (str(claim.destination), claim.conversation)).fetchone()
    return None if found is None else Precedence(found)


def _plan_anew(db: sqlite3.Connection, claim: Claim, *, late: bool) -> None:
    """Forget a plan without a receipt: what came meanwhile may join it, and it may be late by then."""
    if db.execute("select 1 from receipt where delivery = ?", (claim.id,)).fetchone() is None:
        unplan(db, claim.plan.members)
    elif late:
        plan = msgspec.json.encode(replace(claim.plan, late=True)).decode()
        db.execute("update delivery set plan = ? where id = ?", (plan, claim.id))


def unplan(db: sqlite3.Connection, members: Sequence[DeliveryId]) -> None:
    """Set the members of a plan free."""
    free = "update delivery set claim = null, plan = null, may_be_there = 0 where id = ?"
    db.executemany(free, [(member,) for member in members])


def _give_up(db: sqlite3.Connection, claim: Claim, reason: str, now: datetime, *, told: bool) -> DeliveryId:
    """Say in the place of what is dead that something is missing there, and return it. A lost notice gets no notice."""
    doubt = "update delivery set may_be_there = ? or unanswered + defects > 0 where id = ?"
    db.executemany(doubt, [(claim.uncertain, item.id) for item in claim.members])
    missing = [item.id for item in claim.members if item.notice is None]
    dead, text = claim.id, f"A message could not be delivered here: {reason}"
    done = _receipts(db, claim)
    message, name, behind = _files_left(claim, done)
    if name is not None:
        text = lost_file(name, reason)
        lost, *behind = behind
        if message.files != (lost,):
            dead = _settle_without(db, claim, message, lost, stands=done > claim.plan.ahead)
    elif behind:
        _leave_text(db, claim, message)
    if missing and not told:
        stamp = milliseconds(now)
        db.execute(
            """insert into delivery (destination, conversation, entry, notice, created_at, due_at)
               select destination, conversation, entry, ?, ?, ? from delivery where id = ?""",
            (text, stamp, stamp, missing[0]),
        )
    if behind:
        db.execute(
            """insert into delivery (destination, conversation, entry, files, created_at, due_at)
               select destination, conversation, entry, ?, created_at, due_at from delivery where id = ?""",
            (rows.files_to(behind), message.id),
        )
    return dead


def _files_left(claim: Claim, done: int) -> tuple[Pending, str | None, Sequence[int]]:
    """Return whose files are not sent, their indexes and, where one of them is next in the plan, that one's name."""
    parts = claim.plan.parts[done:]
    left = [part[0] for part in parts if part[0].attachment is not None]
    for item in claim.members:
        if left and item.id == left[0].delivery and isinstance(item.entry, Message):
            files = item.entry.attachments
            indexes = (item.files or range(len(files)))[-len(left) :]
            return item, files[-len(left)].name if parts[0][0] is left[0] else None, indexes
    return claim.members[0], None, ()


def _settle_without(db: sqlite3.Connection, claim: Claim, message: Pending, file: int, *, stands: bool) -> DeliveryId:
    """Count a plan as sent, but for a file that was given up: it becomes a delivery of its own, which is returned.

    Of a message of which nothing `stands` only these are left.
    """
    (dead,) = db.execute(
        """insert into delivery (destination, conversation, entry, files, state, created_at, due_at, attempts, reason,
             may_be_there)
           select destination, conversation, entry, ?, state, created_at, due_at, attempts, reason, may_be_there
           from delivery where id = ? returning id""",
        (rows.files_to([file]), message.id),
    ).fetchone()
    db.executemany("update delivery set state = 'sent' where id = ?", [(item.id,) for item in claim.members])
    if not stands:
        db.execute(f"{DROP} where id = ?", (message.id,))
    return DeliveryId(dead)


def _leave_text(db: sqlite3.Connection, claim: Claim, message: Pending) -> None:
    """Give up a message's text alone: its files are to be a delivery of their own."""
    texts = tuple(part for part in claim.plan.parts if part[0].attachment is None)
    plan = msgspec.json.encode(replace(claim.plan, parts=texts)).decode()
    db.execute("update delivery set plan = ? where id = ?", (plan, claim.id))
    db.execute("update delivery set files = ? where id = ?", (rows.files_to(()), message.id))


def _changes(db: sqlite3.Connection, claim: Claim) -> tuple[DeliveryHint, ...]:
    """Return the visitor's messages among a claim's members with their states over all destinations."""
    messages = [item.entry for item in claim.members if isinstance(item.entry, Message)]
    find = f"{rows.DELIVERY_STATE} where entry.id = ?"
    return tuple(
        DeliveryHint(entry.visitor, entry.seq, DeliveryState(db.execute(find, (entry.id,)).fetchone()[1]))
        for entry in messages
        if entry.author.kind is AuthorKind.VISITOR
    )


def _hold(db: sqlite3.Connection, claim: Claim) -> None:
    """Make sure that a claim is still ours: another process may have taken over what we let expire."""
    row = db.execute("select state, attempts from delivery where id = ?", (claim.id,)).fetchone()
    if row != ("claimed", claim.attempts):
        raise Conflict("the claim is no longer ours")


def make_due(db: sqlite3.Connection, destination: Destination, now: datetime) -> None:
    """Have what waits for another attempt wait no longer (`storage.Store.make_due`)."""
    # The second condition lets SQLite use the index of what is unsettled.
    db.execute(
        """update delivery set due_at = ?1 where destination = ?2 and due_at > ?1
           and state in ('pending', 'claimed', 'uncertain') and state != 'claimed'""",
        (milliseconds(now), str(destination)),
    )


def lane_down(db: sqlite3.Connection, destination: Destination, reason: str | None) -> None:
    """Note why the way to a destination cannot be used; None where it can again."""
    if reason is None:
        db.execute("delete from lane_down where destination = ?", (str(destination),))
        db.execute("delete from lane_told where lane = ?", (str(destination),))
    else:
        db.execute(
            """insert into lane_down (destination, reason) values (?, ?)
               on conflict do update set reason = excluded.reason""",
            (str(destination), reason),
        )
