"""Operations that take what staff did: ledger, entries and mirrors together, inside the writer's transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from bridge.commands import is_note
from bridge.model import (
    AdapterName,
    Author,
    AuthorKind,
    ConversationId,
    Destination,
    Entry,
    EntryId,
    Format,
    Message,
    RemoteId,
    Revision,
    RichText,
    Staff,
    StaffDeletion,
    StaffEdit,
    StaffEvent,
    StaffMessage,
    ThreadKey,
    VisitorId,
)
from bridge.richtext import to_markdown
from bridge.storage import Taken
from bridge.store.sqlite import log, rows
from bridge.store.sqlite.rows import milliseconds

_DELETED = " deleted"
_EDITED = " edited "
_PARKED_FOR = timedelta(days=1)
"""So long what may be of a thread that is being opened is kept. One found later is read from its beginning."""

_TYPES: dict[str, type[StaffEvent]] = {
    "message": StaffMessage,
    "edit": StaffEdit,
    "deletion": StaffDeletion,
}


@dataclass(frozen=True, slots=True)
class _Place:
    """The conversation that a thread stands for, and the destination where it is the current thread."""

    conversation: ConversationId
    visitor: VisitorId
    destination: str | None


def take(
    db: sqlite3.Connection, adapter: AdapterName, events: tuple[StaffEvent, ...], cursor: str | None, at: datetime
) -> tuple[Taken, ...]:
    """Take events in their order, and the adapter's cursor with them (`storage.Store.take`)."""
    taken = tuple(_take(db, adapter, event, at) for event in events)
    if cursor is not None:
        db.execute(
            """insert into cursor (adapter, value) values (?, ?)
               on conflict (adapter) do update set value = excluded.value""",
            (adapter, cursor),
        )
    return taken


def take_parked(db: sqlite3.Connection, adapter: AdapterName, thread: ThreadKey, at: datetime) -> tuple[Taken, ...]:
    """Take what came from a thread before its Link was committed; forget the rest where none is opened any more."""
    found = db.execute(
        "delete from inbound where adapter = ? and thread = ? and parked is not null returning parked, at",
        (adapter, thread),
    ).fetchall()
    if not _may_be_opening(db, adapter):  # it was somebody's talk in threads that are not ours
        db.execute("delete from inbound indexed by inbound_parked where adapter = ? and parked is not null", (adapter,))
    parked = sorted(((_unparked(column), stamp) for column, stamp in found), key=lambda each: (each[0].at, each[1]))
    return tuple(_take(db, adapter, event, at) for event, _ in parked)


def _take(db: sqlite3.Connection, adapter: AdapterName, event: StaffEvent, at: datetime) -> Taken:
    nothing = Taken(event, None)
    owed = isinstance(event, StaffMessage) and bool(event.owed)
    if not owed:
        _owe_no_more(db, adapter, event)
    if _noted(db, adapter, event, _key(event)):
        return nothing
    if owed:
        _owe(db, adapter, event, at)
        return nothing
    place = _place(db, adapter, event.thread)
    if place is None:
        if _may_be_opening(db, adapter):
            _park(db, adapter, event, at)
        return nothing
    entry = _entry_for(db, adapter, event, place, at)
    lost = ", ".join(event.lost) if isinstance(event, StaffMessage) and not is_note(event.text.text) else ""
    notice = _tell(db, adapter, event.thread, lost, at) if lost else None
    # What was written in a former thread is shown in the present one too.
    destinations = log.deliver(db, entry, at, origin=place.destination) if entry else ()
    return Taken(event, entry, destinations, notice)


def pass_over(
    db: sqlite3.Connection, adapter: AdapterName, event: StaffEvent, lost: str, at: datetime
) -> tuple[Destination, ConversationId] | None:
    """Note an event that cannot be taken, and tell staff (`storage.Store.pass_over`)."""
    _owe_no_more(db, adapter, event)
    if _noted(db, adapter, event, _key(event)):
        return None
    told = _tell(db, adapter, event.thread, lost, at)
    if told:
        _note_event(db, adapter, event, _key(event), None, at)
    elif _place(db, adapter, event.thread) is None and _may_be_opening(db, adapter):
        nobody, nothing = Staff("", ""), RichText("")
        _park(db, adapter, StaffMessage(event.thread, RemoteId(_key(event)), nobody, nothing, at, lost=(lost,)), at)
    return told


def _park(db: sqlite3.Connection, adapter: AdapterName, event: StaffEvent, at: datetime) -> None:
    """Keep an event until its thread is linked."""
    old = "delete from inbound indexed by inbound_parked where adapter = ? and parked is not null and at < ?"
    db.execute(old, (adapter, milliseconds(at - _PARKED_FOR)))
    _note_event(db, adapter, event, _key(event), None, at, parked=_parked(event))


def _owe(db: sqlite3.Connection, adapter: AdapterName, event: StaffEvent, at: datetime) -> None:
    if _place(db, adapter, event.thread) is not None or _may_be_opening(db, adapter):
        db.execute(
            """insert into owed (adapter, thread, message, event, at) values (?, ?, ?, ?, ?)
               on conflict do update set event = excluded.event""",
            (adapter, event.thread, event.remote_id, msgspec.json.encode(event).decode(), milliseconds(at)),
        )


def _owe_no_more(db: sqlite3.Connection, adapter: AdapterName, event: StaffEvent) -> None:
    if not isinstance(event, StaffEdit):
        find = "delete from owed where adapter = ? and thread = ? and message = ?"
        db.execute(find, (adapter, event.thread, event.remote_id))


def _tell(
    db: sqlite3.Connection, adapter: AdapterName, thread: ThreadKey, lost: str, at: datetime
) -> tuple[Destination, ConversationId] | None:
    """Tell staff in a thread what is lost; return where. None where it is not linked, or the log itself is shown."""
    link = db.execute(
        """select link.destination, link.conversation, conversation.visitor
           from thread join link on link.id = thread.link join conversation on conversation.id = link.conversation
           where thread.adapter = ? and thread.key = ? and not link.reads_log""",
        (adapter, thread),
    ).fetchone()
    if link is None:
        return None
    destination, conversation, visitor = Destination.parse(link[0]), ConversationId(link[1]), VisitorId(link[2])
    last = "select seq from entry where visitor = ? and conversation = ? order by seq desc limit 1"
    (seq,) = db.execute(last, (visitor, conversation)).fetchone()
    log.add_notice(db, destination, log.entry_at(db, visitor, seq), f"This did not reach the visitor: {lost}", at)
    return destination, conversation


def _key(event: StaffEvent) -> str:
    match event:
        case StaffMessage():
            return event.remote_id
        case StaffEdit():
            return f"{event.remote_id}{_EDITED}{event.version}"
        case StaffDeletion():
            return f"{event.remote_id}{_DELETED}"


def _noted(db: sqlite3.Connection, adapter: AdapterName, event: StaffEvent, key: str) -> bool:
    """Tell whether the ledger has something of an event's thread."""
    find = "select 1 from inbound where adapter = ? and thread = ? and event = ?"
    return db.execute(find, (adapter, event.thread, key)).fetchone() is not None


def _place(db: sqlite3.Connection, adapter: AdapterName, thread: ThreadKey) -> _Place | None:
    row = db.execute(
        """select conversation.id, conversation.visitor, case when link.thread = thread.key then link.destination end
           from thread join link on link.id = thread.link join conversation on conversation.id = link.conversation
           where thread.adapter = ? and thread.key = ?""",
        (adapter, thread),
    ).fetchone()
    return _Place(ConversationId(row[0]), VisitorId(row[1]), row[2]) if row else None


def _may_be_opening(db: sqlite3.Connection, adapter: AdapterName) -> bool:
    find = "select 1 from link where token is not null and adapter = ? limit 1"
    return db.execute(find, (adapter,)).fetchone() is not None


def _note_event(
    db: sqlite3.Connection,
    adapter: AdapterName,
    event: StaffEvent,
    key: str,
    entry: EntryId | None,
    at: datetime,
    parked: str | None = None,
) -> None:
    db.execute(
        """insert into inbound (adapter, thread, event, entry, parked, at) values (?, ?, ?, ?, ?, ?)
           on conflict do update set entry = excluded.entry""",
        # By its own time an edit is found to be overtaken.
        (adapter, event.thread, key, entry, parked, milliseconds(event.at if isinstance(event, StaffEdit) else at)),
    )


def _entry_for(
    db: sqlite3.Connection, adapter: AdapterName, event: StaffEvent, place: _Place, at: datetime
) -> Entry | None:
    """Append what an event means to the visitor's log and note it in the ledger. None where it means nothing there."""
    if isinstance(event, StaffMessage):
        entry: Entry | None = _message(db, adapter, event, place, at) if _is_shown(event) else None
    else:
        entry = _revision(db, adapter, event, place, at)
    _note_event(db, adapter, event, _key(event), entry.id if entry else None, at)
    return entry


def _is_shown(event: StaffMessage) -> bool:
    """Tell whether visitors see it: no note, and not a message of which nothing can be told."""
    return not is_note(event.text.text) and bool(event.text.text.strip() or event.attachments)


def _message(db: sqlite3.Connection, adapter: AdapterName, event: StaffMessage, place: _Place, at: datetime) -> Message:
    staff, author = _author(db, adapter, event.staff)
    text, format = _stored(event.text)
    message = log.insert_message(
        db,
        place.visitor,
        place.conversation,
        author,
        text,
        at,
        staff=staff,
        format=format,
        attachments=event.attachments,
    )
    db.executemany("update file set entry = ? where id = ?", [(message.id, file.id) for file in event.attachments])
    return message


def _revision(
    db: sqlite3.Connection, adapter: AdapterName, event: StaffEdit | StaffDeletion, place: _Place, at: datetime
) -> Entry | None:
    original = db.execute(
        "select entry from inbound where adapter = ? and thread = ? and event = ?",
        (adapter, event.thread, event.remote_id),
    ).fetchone()
    if isinstance(event, StaffDeletion):
        if original is None:  # a tombstone: should the message itself come later, it is not shown
            _note_event(db, adapter, event, event.remote_id, None, at)
        return _withdrawn(db, place, original, at)
    if _noted(db, adapter, event, f"{event.remote_id}{_DELETED}") or _is_overtaken(db, adapter, event):
        return None  # an edit from before, told late
    if is_note(event.text.text):
        return _withdrawn(db, place, original, at)
    if original is None or original[0] is None:
        return _first_version(db, adapter, event, place, at)
    (seq,) = db.execute("select seq from entry where id = ?", original).fetchone()
    if _present(db, place.visitor, seq) == _stored(event.text):
        return None  # the platform changed something else, such as a preview
    return _append_revision(db, place, seq, event.text, _author(db, adapter, event.staff), at)


def _is_overtaken(db: sqlite3.Connection, adapter: AdapterName, edit: StaffEdit) -> bool:
    """Tell whether a later edit of the same message is taken already."""
    find = "select 1 from inbound where adapter = ? and thread = ? and event > ? and event < ? and at > ? limit 1"
    edits = f"{edit.remote_id}{_EDITED}"
    bounds = (edits, f"{edits}\U0010ffff", milliseconds(edit.at))
    return db.execute(find, (adapter, edit.thread, *bounds)).fetchone() is not None


def _withdrawn(db: sqlite3.Connection, place: _Place, original: rows.Row | None, at: datetime) -> Entry | None:
    """Take back a message that the visitor has; nothing where there is none, or it is gone already."""
    if original is None or original[0] is None:
        return None
    (seq,) = db.execute("select seq from entry where id = ?", (original[0],)).fetchone()
    return _append_revision(db, place, seq, None, None, at) if _present(db, place.visitor, seq) else None


def _first_version(
    db: sqlite3.Connection, adapter: AdapterName, event: StaffEdit, place: _Place, at: datetime
) -> Entry:
    """Take an edit whose original never came, or was a note, as the message itself."""
    message = StaffMessage(event.thread, event.remote_id, event.staff, event.text, event.at)
    entry = _message(db, adapter, message, place, at)
    _note_event(db, adapter, event, event.remote_id, entry.id, at)
    return entry


def _present(db: sqlite3.Connection, visitor: VisitorId, seq: int) -> tuple[str, Format] | None:
    """Return how a message reads now; None where it is deleted."""
    # By id, which ascends with `seq`: ordered by that, all of the log that was written since would be looked through.
    last = "select text, format, deleted from entry where visitor = ? and of = ? order by id desc limit 1"
    row = db.execute(last, (visitor, seq)).fetchone()
    if row is None:
        find = "select text, format, deleted from entry where visitor = ? and seq = ?"
        row = db.execute(find, (visitor, seq)).fetchone()
    return None if row[2] else (row[0], Format(row[1]))


def _append_revision(
    db: sqlite3.Connection,
    place: _Place,
    of: int,
    text: RichText | None,
    by: tuple[int, Author] | None,
    at: datetime,
) -> Revision:
    seq = log.next_seq(db, place.visitor)
    stored, format = _stored(text) if text else ("", Format.PLAIN)
    staff, author = by or (None, Author(AuthorKind.STAFF))
    id = db.execute(
        """insert into entry (visitor, seq, conversation, author, staff, text, format, at, of, deleted)
           values (?, ?, ?, 'staff', ?, ?, ?, ?, ?, ?)""",
        (place.visitor, seq, place.conversation, staff, stored, format, milliseconds(at), of, text is None),
    ).lastrowid
    assert id is not None
    return Revision(
        EntryId(id), place.visitor, place.conversation, seq, of, author, stored, at, format, deleted=text is None
    )


def _author(db: sqlite3.Connection, adapter: AdapterName, staff: Staff) -> tuple[int, Author]:
    id = log.staff_id(db, adapter, staff.remote_id, staff.name, staff.avatar)
    return id, Author(AuthorKind.STAFF, staff.name, staff.avatar)


def _stored(text: RichText) -> tuple[str, Format]:
    """Return a text as its row holds it: literal where it has no marks."""
    return (to_markdown(text), Format.MARKDOWN) if text.marks else (text.text, Format.PLAIN)


def _parked(event: StaffEvent) -> str:
    kind = next(kind for kind, type in _TYPES.items() if isinstance(event, type))
    return msgspec.json.encode([kind, event]).decode()


def _unparked(column: str) -> StaffEvent:
    kind, fields = msgspec.json.decode(column)
    return msgspec.convert(fields, _TYPES[kind])
