"""Between rows and the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from bridge.model import (
    Attachment,
    Author,
    AuthorKind,
    ConversationId,
    Entry,
    EntryId,
    Event,
    FileId,
    Format,
    Message,
    Page,
    Profile,
    Revision,
    VisitorId,
)

Row = Sequence[Any]

ENTRY = """entry.id, entry.visitor, entry.seq, entry.conversation, entry.author, staff.name, staff.avatar, entry.text,
    entry.format, entry.at, entry.client_id, entry.event, entry.attachments, entry.of, entry.deleted"""
"""What `entry` reads, from `FROM_ENTRY`."""

FROM_ENTRY = "from entry left join staff on staff.id = entry.staff"


NO_ID = ""
"""A receipt's, where the platform's answer held an id that no row holds: it stands there, and cannot be changed."""

RECENT = 10
"""How many of a visitor's last conversations are looked through: no work grows with how many there have been."""


def milliseconds(at: datetime) -> int:
    """Return a time as it stands in a row."""
    return int(at.timestamp() * 1000)


def time(at: int) -> datetime:
    """Return a row's time."""
    return datetime.fromtimestamp(at / 1000, UTC)


def entry(row: Row) -> Entry:
    """Read the columns of ENTRY."""
    identity = {
        "id": EntryId(row[0]),
        "visitor": VisitorId(row[1]),
        "seq": row[2],
        "conversation": ConversationId(row[3]),
        "author": Author(AuthorKind(row[4]), row[5], row[6] and FileId(row[6])),
        "text": row[7],
        "format": Format(row[8]),
        "at": time(row[9]),
    }
    if row[13] is not None:
        return Revision(**identity, of=row[13], deleted=bool(row[14]))
    return Message(
        **identity, client_id=row[10], event=row[11] and Event(row[11]), attachments=attachments_from(row[12])
    )


def fold(message: Message, revision: Row | None) -> Message:
    """Return a message as its latest revision, of which the row begins with text, format and deleted, makes it."""
    if revision is None:
        return message
    if revision[2]:
        return replace(message, text="", attachments=(), deleted=True)
    return replace(message, text=revision[0], format=Format(revision[1]), edited=True)


def attachments_to(attachments: Iterable[Attachment]) -> str | None:
    """Write attachments into their column."""
    rows = [[file.id, file.name, file.type, file.size] for file in attachments]
    return msgspec.json.encode(rows).decode() if rows else None


def attachments_from(column: str | None) -> tuple[Attachment, ...]:
    """Read attachments from their column."""
    if column is None:
        return ()
    return tuple(Attachment(FileId(id), name, type, size) for id, name, type, size in msgspec.json.decode(column))


def files_to(indexes: Iterable[int]) -> str:
    """Write which files a delivery has of its entry's."""
    return msgspec.json.encode(list(indexes)).decode()


def files_from(column: str | None) -> tuple[int, ...] | None:
    """Read which files a delivery has of its entry's, where it is these alone; with none it is the text."""
    return None if column is None else msgspec.json.decode(column, type=tuple[int, ...])


PRECEDENCE = """case when delivery.notice is not null or entry.event = 'closed' then 2
    when entry.author = 'staff' then 0 else 1 end"""
"""What `ports.Precedence` reads, from `delivery` and its `entry`."""

BEST_PRECEDENCE = f"""select min(precedence) from (
    select {PRECEDENCE} as precedence from delivery join entry on entry.id = delivery.entry
    where delivery.destination = {{destination}} and delivery.conversation = {{conversation}}
      and delivery.state in ('pending', 'claimed', 'uncertain') order by delivery.entry, delivery.id limit 50)"""
"""The best of what a conversation has to deliver at a destination: the rest of it is only behind that by the log."""

PROFILE = "identity, name, email, locale, timezone, page_url, page_title, referrer"
"""What `profile` reads, from `visitor`."""


def profile(row: Row) -> Profile:
    """Read the columns of PROFILE."""
    return Profile(row[0], row[1], row[2], row[3], row[4], Page(row[5], row[6], row[7]))


def profile_values(profile: Profile) -> tuple[str | None, ...]:
    """Return the columns of PROFILE."""
    page = profile.page
    return (
        profile.identity,
        profile.name,
        profile.email,
        profile.locale,
        profile.timezone,
        page.url,
        page.title,
        page.referrer,
    )


def context_to(profile: Profile) -> str:
    """Write the profile that a conversation opens with."""
    return msgspec.json.encode(profile_values(profile)).decode()


def context_from(column: str) -> Profile:
    """Read the profile that a conversation opened with."""
    return profile(msgspec.json.decode(column))


DELIVERY_STATE = """select entry.id, case
        when exists (select 1 from link where conversation = entry.conversation and reads_log) then 'sent'
        when max(state = 'sent' and not exists
          (select 1 from delivery as rest where rest.entry = delivery.entry and rest.destination = delivery.destination
             and rest.notice is null and (rest.state in ('pending', 'claimed', 'uncertain')
               or rest.state = 'dead' and rest.files = '[]'))) then 'sent'
        when total(state in ('pending', 'claimed', 'uncertain')) = 0 then 'failed' else 'waiting' end
    from entry left join delivery on delivery.entry = entry.id and notice is null"""
"""How messages stand over all their destinations, grouped by `entry.id`: those that show the log have it for certain.

What has no delivery left was dropped by the operator. A file that was given up was told of in its place, and counts
where nothing else of the message stands; those behind it are part of the message: there it is not whole while they
wait, nor without its text.
"""
