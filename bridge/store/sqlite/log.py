"""Operations on a visitor's log: messages, conversations, reading, identity. They run in the writer's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bridge.errors import Conflict, Merged
from bridge.hints import SeenHint
from bridge.ids import mint
from bridge.model import (
    SYSTEM,
    Attachment,
    Author,
    AuthorKind,
    ConversationId,
    DeliveryState,
    Destination,
    Entry,
    EntryId,
    Event,
    FileId,
    Format,
    Message,
    Page,
    Profile,
    SiteKey,
    VisitorId,
)
from bridge.storage import Appended, Identified, NewMessage, StoredFile, Taken
from bridge.store.sqlite import rows
from bridge.store.sqlite.rows import milliseconds


def append(db: sqlite3.Connection, new: NewMessage) -> Appended:
    """Take a visitor's message (`storage.Store.append`)."""
    conversation, links = _open_conversation(db, new.visitor)
    opening: tuple[Entry, ...] = ()
    # A repeat that would do something before it is inserted is looked for first; else the insert finds it, for nothing.
    if (conversation is None or new.attachments or new.tracked) and (repeat := _sent_before(db, new)):
        return repeat
    if conversation is None:
        conversation, opening = _open(db, new)
        links = _links(db, conversation)
    if new.tracked:
        told = insert_message(
            db, new.visitor, conversation, SYSTEM, "\n".join(new.tracked), new.at, event=Event.TRACKED
        )
        _deliver(db, told, new.at, links)
        opening = (*opening, told)
    attachments = tuple(_attachment(db, new.visitor, id) for id in new.attachments)
    shown = any(reads_log for _, reads_log in links)
    try:
        message = insert_message(
            db,
            new.visitor,
            conversation,
            Author(AuthorKind.VISITOR, new.profile.name),
            new.text,
            new.at,
            client_id=new.client_id,
            attachments=attachments,
            delivery=DeliveryState.SENT if shown else DeliveryState.WAITING,
        )
    except sqlite3.IntegrityError:
        if repeat := _sent_before(db, new):
            return repeat
        raise
    if attachments:
        db.executemany("update file set entry = ? where id = ?", [(message.id, file.id) for file in attachments])
    destinations = _deliver(db, message, new.at, links)
    return Appended(message, (*opening, message), repeat=False, destinations=destinations)


def _sent_before(db: sqlite3.Connection, new: NewMessage) -> Appended | None:
    found = db.execute(
        "select seq from entry where visitor = ? and client_id = ?", (new.visitor, new.client_id)
    ).fetchone()
    if found is None:
        return None
    message = entry_at(db, new.visitor, found[0])
    assert isinstance(message, Message)
    links = _links(db, message.conversation)
    destinations = tuple(Destination.parse(name) for name, reads_log in links if not reads_log)
    return Appended(message, (message,), repeat=True, destinations=destinations)


def _open_conversation(
    db: sqlite3.Connection, visitor: VisitorId
) -> tuple[ConversationId | None, Sequence[tuple[str, bool]]]:
    """Return a visitor's open conversation, if any, and its `_links`."""
    found = db.execute(
        """select conversation.id, destination, reads_log from conversation
           left join link on link.conversation = conversation.id where visitor = ? and closed_at is null""",
        (visitor,),
    ).fetchall()
    if not found:
        return None, ()
    return ConversationId(found[0][0]), [(name, reads_log) for _, name, reads_log in found if name]


def _open(db: sqlite3.Connection, new: NewMessage) -> tuple[ConversationId, tuple[Entry, ...]]:
    """Reopen the latest conversation, or open another; return it with the entry that says so."""
    if db.execute("select 1 from visitor where id = ? and merged_into is not null", (new.visitor,)).fetchone():
        raise Merged("this visitor is known under another id now")
    add_visitor(db, new.visitor, new.site, new.profile, new.at)
    if closed := _closed_since(db, new.visitor, milliseconds(new.reopens_since)):
        conversation, event = closed, Event.REOPENED
        db.execute("update conversation set closed_at = null where id = ?", (conversation,))
    else:
        conversation, event = ConversationId(mint(new.at)), Event.OPENED
        at = milliseconds(new.at)
        db.execute(
            "insert into conversation (id, visitor, opened_at, active_at, context) values (?, ?, ?, ?, ?)",
            (conversation, new.visitor, at, at, rows.context_to(new.profile)),
        )
    linked = {Destination.parse(name) for name, _ in _links(db, conversation)}
    for destination in new.destinations(conversation, linked):
        _link(db, conversation, destination, new)
    entry = insert_message(db, new.visitor, conversation, SYSTEM, "", new.at, event=event)
    deliver(db, entry, new.at)
    return conversation, (entry,)


def reopen(db: sqlite3.Connection, message: Message, at: datetime) -> None:
    """Open a message's conversation again, unless the visitor has one that is open; with an entry that says so."""
    if _open_conversation(db, message.visitor)[0] is not None:
        return
    db.execute("update conversation set closed_at = null where id = ?", (message.conversation,))
    deliver(db, insert_message(db, message.visitor, message.conversation, SYSTEM, "", at, event=Event.REOPENED), at)


def _closed_since(db: sqlite3.Connection, visitor: VisitorId, since: int) -> ConversationId | None:
    """Return the latest conversation that was closed after a time: among the last, however many there have been."""
    find = "select id, closed_at from conversation where visitor = ? order by id desc limit ?"
    found = db.execute(find, (visitor, rows.RECENT)).fetchall()
    return next((ConversationId(id) for id, closed_at in found if closed_at > since), None)


def _link(db: sqlite3.Connection, conversation: ConversationId, destination: Destination, new: NewMessage) -> None:
    """Link a conversation to a destination. One that shows the log has the thread already: the conversation itself."""
    reads_log = destination.adapter in new.log_readers
    key = str(conversation) if reads_log else None
    inserted = db.execute(
        """insert into link (conversation, adapter, destination, thread, reads_log) values (?, ?, ?, ?, ?)
           on conflict do nothing returning id""",
        (conversation, destination.adapter, str(destination), key, reads_log),
    ).fetchone()
    if inserted and reads_log:
        db.execute(
            "insert into thread (adapter, key, link, opened_at) values (?, ?, ?, ?)",
            (destination.adapter, key, inserted[0], milliseconds(new.at)),
        )


def _attachment(db: sqlite3.Connection, visitor: VisitorId, id: FileId) -> Attachment:
    row = db.execute("select name, type, size, owner, entry from file where id = ?", (id,)).fetchone()
    if row is None or row[3] != visitor or row[4] is not None:
        raise Conflict("this file is unknown, or was sent already")
    return Attachment(id, row[0], row[1], row[2])


def add_visitor(db: sqlite3.Connection, visitor: VisitorId, site: SiteKey, profile: Profile, at: datetime) -> None:
    """Insert a visitor's row, or bring what is known of them up to date."""
    if profile.identity is not None and _known(db, site, profile.identity) not in (None, visitor):
        # Two devices of one new person came at the same time: the next hello of this one merges it into the other.
        profile = replace(profile, identity=None)
    db.execute(
        f"""insert into visitor (id, site, created_at, {rows.PROFILE}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            on conflict (id) do update set identity = coalesce(excluded.identity, identity),
                name = coalesce(excluded.name, name), email = coalesce(excluded.email, email),
                locale = excluded.locale, timezone = excluded.timezone, page_url = excluded.page_url,
                page_title = excluded.page_title, referrer = excluded.referrer""",
        (visitor, site, milliseconds(at), *rows.profile_values(profile)),
    )


def next_seq(db: sqlite3.Connection, visitor: VisitorId) -> int:
    """Return the next place in a visitor's log. Nobody else writes in this transaction: so it is gapless."""
    (seq,) = db.execute("select coalesce(max(seq), 0) + 1 from entry where visitor = ?", (visitor,)).fetchone()
    return int(seq)


def insert_message(
    db: sqlite3.Connection,
    visitor: VisitorId,
    conversation: ConversationId,
    author: Author,
    text: str,
    at: datetime,
    *,
    staff: int | None = None,
    format: Format = Format.PLAIN,
    client_id: str | None = None,
    event: Event | None = None,
    attachments: tuple[Attachment, ...] = (),
    delivery: DeliveryState | None = None,
) -> Message:
    """Append a message to a log. Raises sqlite3.IntegrityError, with nothing changed, where its client id is there."""
    stamp = milliseconds(at)
    find = """select coalesce((select max(seq) from entry where visitor = ?), 0) + 1, active_at
              from conversation where id = ?"""
    seq, active_at = db.execute(find, (visitor, conversation)).fetchone()
    id = db.execute(
        """insert into entry
           (visitor, seq, conversation, author, staff, text, format, at, client_id, event, attachments)
           values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            visitor,
            seq,
            conversation,
            author.kind.value,  # sqlite3 takes long to find that an enumeration's member is a string
            staff,
            text,
            format.value,
            stamp,
            client_id,
            event and event.value,
            rows.attachments_to(attachments),
        ),
    ).lastrowid
    assert id is not None
    if active_at <= stamp - 1000:  # lists are ordered by it; to the second is enough
        db.execute("update conversation set active_at = ? where id = ?", (stamp, conversation))
    if author.kind is AuthorKind.STAFF:  # who answers has seen what went before
        db.execute("update visitor set seen = ? where id = ?", (seq, visitor))
        first = "update conversation set answered_at = ? where id = ? and answered_at is null"
        db.execute(first, (stamp, conversation))
    return Message(
        EntryId(id), visitor, conversation, seq, author, text, rows.time(stamp), format, attachments, client_id, event,
        delivery,
    )  # fmt: skip


def deliver(
    db: sqlite3.Connection, entry: Entry, at: datetime, *, origin: str | None = None
) -> tuple[Destination, ...]:
    """Make a Delivery of an entry for each destination of its conversation, but for the one that it came from.

    Whoever reads the log has it. Returns the destinations that it has to be sent to.
    """
    return _deliver(db, entry, at, _links(db, entry.conversation, origin))


def _deliver(
    db: sqlite3.Connection, entry: Entry, at: datetime, links: Sequence[tuple[str, bool]]
) -> tuple[Destination, ...]:
    names = [name for name, reads_log in links if not reads_log]
    if not names:
        return ()
    stamp = milliseconds(at)
    db.executemany(
        "insert into delivery (destination, conversation, entry, created_at, due_at) values (?, ?, ?, ?, ?)",
        [(name, entry.conversation, entry.id, stamp, stamp) for name in names],
    )
    return tuple(Destination.parse(name) for name in names)


def _links(db: sqlite3.Connection, conversation: ConversationId, origin: str | None = None) -> list[tuple[str, bool]]:
    """Return a conversation's destinations, but for one, and whether each reads the log."""
    return db.execute(
        "select destination, reads_log from link where conversation = ? and destination is not ?",
        (conversation, origin),
    ).fetchall()


def close_conversation(
    db: sqlite3.Connection, conversation: ConversationId, staff: int | None, name: str | None, at: datetime
) -> Taken | None:
    """Close a conversation, with an entry that says so and who did it."""
    row = db.execute(
        "update conversation set closed_at = ? where id = ? and closed_at is null returning visitor",
        (milliseconds(at), conversation),
    ).fetchone()
    if row is None:
        return None
    author = Author(AuthorKind.SYSTEM, name)
    entry = insert_message(db, VisitorId(row[0]), conversation, author, "", at, staff=staff, event=Event.CLOSED)
    return Taken(None, entry, deliver(db, entry, at))


def read(db: sqlite3.Connection, visitor: VisitorId, seq: int) -> int:
    """Raise how far a visitor has read."""
    row = db.execute(
        """update visitor set read = max(read, min(?1, coalesce((select max(seq) from entry where visitor = ?2), 0)))
           where id = ?2 returning read""",
        (seq, visitor),
    ).fetchone()
    return int(row[0]) if row else 0


def seen(db: sqlite3.Connection, conversation: ConversationId, seq: int) -> SeenHint | None:
    """Raise up to where staff have seen what a visitor wrote; None where they had already."""
    (visitor,) = db.execute("select visitor from conversation where id = ?", (conversation,)).fetchone()
    (end,) = db.execute("select max(seq) from entry where visitor = ?", (visitor,)).fetchone()
    seq = min(seq, end)
    raised = db.execute("update visitor set seen = ?1 where id = ?2 and seen < ?1", (seq, visitor)).rowcount
    return SeenHint(VisitorId(visitor), seq) if raised else None


def moved(db: sqlite3.Connection, visitor: VisitorId, page: Page) -> None:
    """Note the page that a visitor is on."""
    db.execute("update visitor set page_url = ?, page_title = ? where id = ?", (page.url, page.title, visitor))


def add_file(db: sqlite3.Connection, file: StoredFile) -> None:
    """Note a file. A picture may have been noted meanwhile by another adapter."""
    described = file.attachment
    db.execute(
        """insert into file (id, name, type, size, owner, created_at) values (?, ?, ?, ?, ?, ?)
           on conflict do nothing""",
        (described.id, described.name, described.type, described.size, file.owner, milliseconds(file.created_at)),
    )


def _known(db: sqlite3.Connection, site: SiteKey, identity: str) -> VisitorId | None:
    row = db.execute("select id from visitor where site = ? and identity = ?", (site, identity)).fetchone()
    return VisitorId(row[0]) if row else None


def identify(db: sqlite3.Connection, site: SiteKey, visitor: VisitorId, profile: Profile, at: datetime) -> Identified:
    """Bind an identity to a visitor, or merge the visitor into the one who has it.

    One who has written nothing has no row, and gets none here: the first message brings the identity along.
    """
    assert profile.identity is not None
    known = _known(db, site, profile.identity)
    row = db.execute("select identity, merged_into from visitor where id = ?", (visitor,)).fetchone()
    if known is None:
        if row and row[0] is not None:
            return Identified(VisitorId(mint(at)), left=True)  # another person at the same browser
        known = visitor
    merges = known != visitor and row is not None and row[0] is None and row[1] is None
    closed = _merge(db, visitor, known, at) if merges else None
    if row or known != visitor:
        add_visitor(db, known, site, profile, at)
    return Identified(known, merges, closed, left=row is not None and known != visitor and not merges)


def _merge(db: sqlite3.Connection, guest: VisitorId, known: VisitorId, at: datetime) -> Taken | None:
    """Append a guest's entries to the log of the visitor that the guest turned out to be."""
    closed = _close_one_of_two(db, guest, known, at)
    places: dict[int, int] = {}
    entries = db.execute("select id, seq, of from entry where visitor = ? order by seq", (guest,)).fetchall()
    for id, old, of in entries:
        places[old] = next_seq(db, known)
        db.execute(
            """update entry set visitor = ?1, seq = ?2, of = ?3, client_id = case when exists
                   (select 1 from entry other where other.visitor = ?1 and other.client_id = entry.client_id)
                   then null else client_id end where id = ?4""",
            (known, places[old], of and places[of], id),
        )
    _merge_seen(db, guest, known, places)
    db.execute("update conversation set visitor = ? where visitor = ?", (known, guest))
    db.execute("update file set owner = ? where owner = ?", (known, guest))
    db.execute("update visitor set merged_into = ? where id = ?", (known, guest))
    return closed


def _merge_seen(db: sqlite3.Connection, guest: VisitorId, known: VisitorId, places: Mapping[int, int]) -> None:
    """Go by what staff have seen of the guest's, unless something ahead of that is unseen."""
    (seen,) = db.execute("select seen from visitor where id = ?", (guest,)).fetchone()
    if seen:
        db.execute(
            """update visitor set seen = ?1 where id = ?2 and not exists (select 1 from entry
                 where entry.visitor = visitor.id and entry.seq > visitor.seen and entry.seq < ?3
                   and author = 'visitor')""",
            (places[seen], known, places[1]),
        )


def _close_one_of_two(db: sqlite3.Connection, guest: VisitorId, known: VisitorId, at: datetime) -> Taken | None:
    """Where both have an open conversation the guest's is closed, and its thread says where it goes on."""
    find = "select id from conversation where visitor = ? and closed_at is null"
    theirs, ours = db.execute(find, (guest,)).fetchone(), db.execute(find, (known,)).fetchone()
    if not (theirs and ours):
        return None
    closed = close_conversation(db, ConversationId(theirs[0]), None, None, at)
    assert closed
    assert closed.entry
    pointer = "The visitor is known from an earlier conversation, which goes on in its own thread."
    for destination in closed.destinations:
        add_notice(db, destination, closed.entry, pointer, at)
    return closed


def drop_unattached(db: sqlite3.Connection, before: datetime) -> tuple[FileId, ...]:
    """Forget visitors' old files that no message holds."""
    found = db.execute(
        "delete from file where owner is not null and entry is null and created_at < ? returning id",
        (milliseconds(before),),
    )
    return tuple(FileId(id) for (id,) in found.fetchall())


def add_notice(db: sqlite3.Connection, destination: Destination, entry: Entry, text: str, at: datetime) -> None:
    """Queue a text of the bridge's own for a thread, right after an entry."""
    stamp = milliseconds(at)
    db.execute(
        "insert into delivery (destination, conversation, entry, notice, created_at, due_at) values (?, ?, ?, ?, ?, ?)",
        (str(destination), entry.conversation, entry.id, text, stamp, stamp),
    )


def staff_id(db: sqlite3.Connection, adapter: str, remote_id: str, name: str, avatar: str | None) -> int:
    """Return the row of a person on a platform, brought up to date."""
    (id,) = db.execute(
        """insert into staff (adapter, remote_id, name, avatar) values (?, ?, ?, ?)
           on conflict (adapter, remote_id) do update set name = excluded.name,
               avatar = coalesce(excluded.avatar, avatar) returning id""",
        (adapter, remote_id, name, avatar),
    ).fetchone()
    return int(id)


def entry_at(db: sqlite3.Connection, visitor: VisitorId, seq: int) -> Entry:
    """Return one entry of a log."""
    row = db.execute(f"select {rows.ENTRY} {rows.FROM_ENTRY} where visitor = ? and seq = ?", (visitor, seq)).fetchone()
    return rows.entry(row)
