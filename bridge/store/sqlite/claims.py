"""Operations that claim what waits for a destination, inside the writer's transaction."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile

import msgspec
import structlog

from bridge.deliveries import Claim, Past, Pending, Plan, ThreadState
from bridge.errors import StoreError
from bridge.model import (
    AuthorKind,
    ConversationId,
    DeliveryId,
    Destination,
    Event,
    Message,
    Profile,
    RemoteId,
    Revision,
    ThreadKey,
    Token,
    VisitorId,
)
from bridge.store.sqlite import rows
from bridge.store.sqlite.rows import milliseconds
from bridge.store.sqlite.trouble import PASSING

log = structlog.get_logger()

_HORIZON = 50
"""How many waiting deliveries of a conversation a planner sees at once."""
_RECENT = 6
"""How many messages a thread shows of what went before it."""
_LONG = timedelta(minutes=2)
"""What waited longer for a conversation that was closed meanwhile is not worth a thread."""

_LOOKS_BACK = 200
"""How many entries before a delivery its predecessor's receipt, or what a new thread shows of before, is sought."""

_UNSETTLED = """select id, state, due_at, created_at, attempts, claim, claimed_until, notice, entry, plan,
    unanswered, defects, apart, files, cuts, cut_since, reason, as_of from delivery
    where destination = ? and conversation = ? and state in ('pending', 'claimed', 'uncertain')"""
_QUEUE = f"{_UNSETTLED} order by entry, id limit ?"
_CLAIMED = f"{_UNSETTLED} and claim = ? order by entry, id"  # a notice may stand between members
_CHANGED = f"""select queue.id, files, message.visitor, message.seq, latest.id,
      latest.deleted or (trim(latest.text) = '' and message.attachments is null)
    from ({_QUEUE}) as queue join entry as message on message.id = queue.entry and message.author = 'staff'
    join entry as latest on latest.id = (select id from entry as revision
      where revision.visitor = message.visitor and revision.of = message.seq order by id desc limit 1)
    where queue.state = 'pending' and claim is null and notice is null
      and (latest.deleted or coalesce(files, '[]') = '[]') and unanswered + defects = 0 and as_of is not latest.id"""
"""Staff's messages at the head of a queue, or parts of them, of which certainly nothing was sent, and which were
changed since. A change of the text is none of the files that are delivered by themselves."""

_DELETED = """select 1 from delivery join entry on entry.id = delivery.entry
      join entry as revision on revision.visitor = entry.visitor and revision.of = entry.seq and revision.deleted
    where delivery.id = ? and notice is null and (state = 'pending' or exists (select 1 from delivery as told
      where told.entry = revision.id and told.destination = delivery.destination and told.notice is null
        and told.state = 'sent'))"""
"""Whether staff deleted what is planned alone, of which the rest is certainly not sent, or may be, and was given up
and revived when its deletion was told already."""


def recover(db: sqlite3.Connection, now: datetime) -> int:
    """Make claims that nobody holds any more uncertain: their sends may or may not have reached the platform.

    What waits for another attempt waits no longer: the clock by which that was to be may have been set back meanwhile.
    """
    # The second condition of each lets SQLite use the index of what is unsettled.
    db.execute(
        """update delivery set due_at = ?1 where due_at > ?1
           and state in ('pending', 'claimed', 'uncertain') and state != 'claimed'""",
        (milliseconds(now),),
    )
    return db.execute(
        """update delivery set state = 'uncertain', due_at = min(due_at, ?), claimed_until = null
           where state = 'claimed' and state in ('pending', 'claimed', 'uncertain')""",
        (milliseconds(now),),
    ).rowcount


def claim(
    db: sqlite3.Connection,
    destination: Destination,
    conversation: ConversationId,
    now: datetime,
    until: datetime,
    planner: Callable[[Iterator[Pending], Profile], Plan],
) -> Claim | None:
    """Claim the head of a conversation's queue (`storage.Store.claim`)."""
    stamp = milliseconds(now)
    queue = _queue(db, destination, conversation, stamp)
    if not queue:
        return None
    head = queue[0]
    visitor, context, thread = _place(db, destination, conversation)
    late = milliseconds(now - _LONG) > head[3]
    if late and thread.thread is None and thread.token is None and _closed_meanwhile(db, destination, conversation):
        return None
    pending: dict[DeliveryId, Pending] = {}
    reading = _read(db, queue, destination, conversation, thread, pending)
    profile, plan = Profile(), Plan((), ())
    try:
        profile = rows.context_from(context)
        if begun := _begun(head, late=late):
            plan = begun
            deque(reading, maxlen=0)
        else:
            plan = planner(reading, profile)
            if plan.late and all(_seen_elsewhere(db, destination, pending[id]) for id in plan.members):
                plan = replace(plan, silent=True)
        members = tuple(pending[id] for id in plan.members)
    except Exception as error:
        cause = error.__cause__ or error  # of what the planner let through
        if isinstance(cause, (sqlite3.Error, *PASSING)):  # the writer is to know what it was
            raise cause from None
        members = _unread(queue)
        plan = replace(plan, members=tuple(item.id for item in members), defect=f"unexpected {type(cause).__name__}")
        log.error("delivery_unreadable", destination=str(destination), delivery=head[0], exc_info=cause)
    first = members[0].id
    stored = head[9] if plan.defect and head[9] else msgspec.json.encode(plan).decode()
    db.executemany(
        """update delivery set state = 'claimed', claim = ?, claimed_until = ?, attempts = attempts + 1,
           plan = case when id = ? then ? end where id = ?""",
        [(first, milliseconds(until), first, stored, item.id) for item in members],
    )
    own = "select remote_id from receipt where delivery = ? order by part desc"
    receipts = db.execute(own, (first,)).fetchall() if head[5] is not None else []
    after = next((RemoteId(id) for (id,) in receipts if id != rows.NO_ID), None)
    uncertain = head[1] != "pending"
    if uncertain and not receipts:
        after = _receipt_before(db, destination, conversation, head[8], first)
    return Claim(
        id=first,
        destination=destination,
        conversation=conversation,
        visitor=visitor,
        profile=profile,
        members=members,
        plan=plan,
        done=len(receipts),
        after=after,
        uncertain=uncertain,
        attempts=head[4] + 1,
        unanswered=head[10],
        defects=head[11],
        cuts=head[14],
        cut_since=head[15] and rows.time(head[15]),
        reason=head[16],
        since=min(item.created_at for item in members),
        until=until,
        thread=thread,
    )


def _queue(
    db: sqlite3.Connection, destination: Destination, conversation: ConversationId, now: int
) -> Sequence[rows.Row]:
    """Return what is claimed along with the head of a queue or, where it is not, may be; nothing before that is due."""
    queue = db.execute(_QUEUE, (str(destination), conversation, _HORIZON)).fetchall()
    if not queue or not _is_due(queue[0], now):
        return ()
    claimed = queue[0][5]
    if claimed is not None:
        planned = db.execute(_CLAIMED, (str(destination), conversation, claimed)).fetchall()
        if len(planned) > 1 or not db.execute(_DELETED, (claimed,)).fetchone():
            return planned
        db.execute(f"{DROP} where id = ?", (claimed,))  # what stands of it is told to be deleted
        return _queue(db, destination, conversation, now)
    queue = list(takewhile(lambda row: row[5] is None and row[2] <= now, queue))
    # What was changed has its change behind it, or was given up and revived when that was told already.
    if (len(queue) > 1 or queue[0][4]) and _fold(db, destination, conversation):
        return _queue(db, destination, conversation, now)
    return queue


def _read(
    db: sqlite3.Connection,
    queue: Sequence[rows.Row],
    destination: Destination,
    conversation: ConversationId,
    thread: ThreadState,
    pending: dict[DeliveryId, Pending],
) -> Iterator[Pending]:
    """Read what is in a queue, and keep it; what is ahead of something that nobody can read goes first.

    Raises StoreError from what it was, which a planner does not take for a fault of its own.
    """
    for row in queue:
        try:
            found = _pending(db, row, destination, thread)
            if row is queue[0] and (thread.thread is None or thread.lacks_past):
                found = replace(found, past=_past(db, destination, conversation, row[8]))
        except Exception as error:
            if row is queue[0] or row[5] is not None or isinstance(error, sqlite3.Error):
                raise StoreError("what waits cannot be read") from error
            return
        pending[found.id] = found
        yield found


def _unread(queue: Sequence[rows.Row]) -> tuple[Pending, ...]:
    """Return what nobody can read by a defect, to be given up: the head, or all that was claimed with it."""
    unread = queue if queue[0][5] is not None else queue[:1]
    return tuple(Pending(DeliveryId(row[0]), None, row[7], rows.time(row[3])) for row in unread)


def _fold(db: sqlite3.Connection, destination: Destination, conversation: ConversationId) -> bool:
    """Have what staff changed before it was sent told as it reads by now, or not at all; return whether any was."""
    changed = db.execute(_CHANGED, (str(destination), conversation, _HORIZON)).fetchall()
    for message, files, visitor, seq, latest, gone in changed:
        if gone:
            db.execute(f"{DROP} where id = ?", (message,))
            if files is not None:  # what else there is of it may stand, and is deleted
                continue
        else:
            db.execute("update delivery set as_of = ? where id = ?", (latest, message))
        db.execute(
            f"""{DROP} where entry in (select id from entry where visitor = ? and of = ?) and destination = ?
                 and notice is null and state = 'pending' and claim is null""",
            (visitor, seq, str(destination)),
        )
    return bool(changed)


def _receipt_before(
    db: sqlite3.Connection, destination: Destination, conversation: ConversationId, entry: int, first: DeliveryId
) -> RemoteId | None:
    """Return the last receipt of what came before a delivery: backwards through the log, as a rule it is the next.

    Not far: where a destination has none, the whole log of a visitor would be looked through.
    """
    row = db.execute(
        """select receipt.remote_id from entry as head
           join entry on entry.visitor = head.visitor and entry.seq between head.seq - ? and head.seq
           join delivery on delivery.entry = entry.id and delivery.destination = ? and delivery.notice is null
             and (entry.id != head.id or delivery.id < ?)
           join receipt on receipt.delivery = delivery.claim and remote_id != ?
           where head.id = ? and entry.conversation = ?
           order by entry.seq desc, receipt.delivery desc, receipt.part desc limit 1""",
        (_LOOKS_BACK, str(destination), first, rows.NO_ID, entry, conversation),
    ).fetchone()
    return row and RemoteId(row[0])


def _begun(head: rows.Row, *, late: bool) -> Plan | None:
    """Return the plan of a head that is partly sent. What may be in the thread is looked for as it was sent.

    None where there is none, or it says only that none could be made: what was in the way may be mended.
    """
    plan = msgspec.json.decode(head[9], type=Plan) if head[9] else None
    if plan is None or plan.defect:
        return None
    return replace(plan, late=True) if late and head[1] == "pending" else plan


def _is_due(head: rows.Row, now: int) -> bool:
    if head[1] == "claimed":
        return bool(head[6] <= now)
    return bool(head[2] <= now)


def _pending(db: sqlite3.Connection, row: rows.Row, destination: Destination, thread: ThreadState) -> Pending:
    notice = row[7]
    found = original = None
    if notice is None:
        entry = db.execute(f"select {rows.ENTRY} {rows.FROM_ENTRY} where entry.id = ?", (row[8],)).fetchone()
        found = rows.entry(entry)
        if isinstance(found, Revision) and thread.thread is not None:
            original = _original(db, found, destination, thread.thread)
        elif isinstance(found, Message) and row[17] is not None:
            as_of = db.execute("select text, format, deleted from entry where id = ?", (row[17],)).fetchone()
            found = rows.fold(found, as_of)
    files = rows.files_from(row[13])
    if isinstance(found, Message) and files is not None:
        attachments = tuple(found.attachments[index] for index in files)
        found = replace(found, text="" if files else found.text, attachments=attachments)
    return Pending(DeliveryId(row[0]), found, notice, rows.time(row[3]), original, apart=bool(row[12]), files=files)


def _original(
    db: sqlite3.Connection, revision: Revision, destination: Destination, thread: ThreadKey
) -> RemoteId | None:
    """Return the remote message that a revision changes, unless it holds other texts too or is one of several.

    It must stand in the current thread: so it was settled, of which `due_at` is the time, since that was opened.
    """
    row = db.execute(
        """select delivery.plan, receipt.remote_id from entry
           join delivery on delivery.entry = entry.id and delivery.destination = ? and delivery.notice is null
             and coalesce(delivery.files, '[]') = '[]'
           join receipt on receipt.delivery = delivery.id and remote_id != ?
           where entry.visitor = ? and entry.seq = ? and delivery.state = 'sent' and delivery.due_at >=
             (select opened_at from thread where adapter = ? and key = ?)""",
        (str(destination), rows.NO_ID, revision.visitor, revision.of, destination.adapter, thread),
    ).fetchone()
    if row is None:
        return None
    plan = msgspec.json.decode(row[0], type=Plan)
    return RemoteId(row[1]) if len(plan.members) == len(plan.parts) == 1 else None


def _place(
    db: sqlite3.Connection, destination: Destination, conversation: ConversationId
) -> tuple[VisitorId, str, ThreadState]:
    """Return whose conversation it is, the profile that it opened with as it is stored, and its thread."""
    visitor, context, thread, token, since, lacks_past, former = db.execute(
        """select visitor, context, thread, token, opening_since, lacks_past, former from link
           join conversation on conversation.id = link.conversation where conversation.id = ? and destination = ?""",
        (conversation, str(destination)),
    ).fetchone()
    opening = token and Token(token), since and rows.time(since)
    state = ThreadState(thread and ThreadKey(thread), *opening, bool(lacks_past), former and ThreadKey(former))
    return VisitorId(visitor), context, state


def _past(db: sqlite3.Connection, destination: Destination, conversation: ConversationId, head: int) -> Past | None:
    """Return what went before an entry, as it reads by now; None where that is the conversation's first.

    A change that waits behind the entry is told as a text, and what is deleted is not shown in between. What cannot be
    read by a defect is left out: the thread would never be opened.
    """
    visitor, seq, event = db.execute("select visitor, seq, event from entry where id = ?", (head,)).fetchone()
    if event == Event.OPENED:
        return None
    before = db.execute(
        f"""select {rows.ENTRY} {rows.FROM_ENTRY} where visitor = ? and seq between ? and ? and conversation = ?
            and of is null and event is null order by seq desc limit ?""",
        (visitor, seq - _LOOKS_BACK, seq - 1, conversation, _RECENT),
    ).fetchall()
    revision = """select text, format, deleted from entry where visitor = ? and of = ?
                  order by id desc limit 1"""
    found = []
    for row in reversed(before):
        try:
            message = rows.entry(row)
        except Exception as error:
            log.error("entry_unreadable", entry=row[0], exc_info=error)
            continue
        if isinstance(message, Message):
            found.append(rows.fold(message, db.execute(revision, (visitor, message.seq)).fetchone()))
    former, reason, stands = db.execute(
        """select former, thread.gone, thread.stands from link
           left join thread on thread.adapter = link.adapter and thread.key = link.former
           where conversation = ? and destination = ?""",
        (conversation, str(destination)),
    ).fetchone()
    return Past(conversation, tuple(found), ThreadKey(former) if stands else None, reason or "")


def _seen_elsewhere(db: sqlite3.Connection, destination: Destination, item: Pending) -> bool:
    """Tell whether it stands in a thread of staff's elsewhere: what is not the visitor's came from there.

    Where the log itself is shown, stored is not seen.
    """
    if item.entry is None or item.entry.author.kind is not AuthorKind.VISITOR:
        return True
    find = f"select 1 {_STANDS} where entry = ? and delivery.destination != ?"
    return db.execute(find, (item.entry.id, str(destination))).fetchone() is not None


DROP = "update delivery set state = 'sent', notice = '', claim = null, plan = null"
"""Leaves a notice that says nothing, as sent: the id, of which tokens are made, is never another delivery's."""

_STANDS = """from delivery join link on link.conversation = delivery.conversation
    and link.destination = delivery.destination and not link.reads_log and notice is null and state = 'sent'"""
"""Deliveries that staff have in a thread."""


def _closed_meanwhile(db: sqlite3.Connection, destination: Destination, conversation: ConversationId) -> bool:
    """Drop what waits for a conversation that somebody of staff closed, if staff elsewhere have it in a thread."""
    return bool(
        db.execute(
            f"""{DROP} where destination = ?1 and conversation = ?2
                 and state in ('pending', 'claimed', 'uncertain')
                 and (select staff from conversation join entry on entry.visitor = conversation.visitor
                   where conversation.id = ?2 and closed_at is not null and conversation = ?2 and event = 'closed'
                   order by seq desc limit 1) is not null
                 and not exists (select 1 from delivery ours join entry on entry.id = ours.entry
                   where ours.destination = ?1 and ours.conversation = ?2 and entry.author = 'visitor'
                     and ours.state in ('pending', 'claimed', 'uncertain')
                     and not exists (select 1 {_STANDS} where delivery.entry = ours.entry
                       and delivery.destination != ?1))""",
            (str(destination), conversation),
        ).rowcount
    )
