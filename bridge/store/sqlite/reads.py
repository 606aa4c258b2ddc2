"""Reads of the store, through aiosqlite: its thread waits for the disk, the event loop does not."""

from __future__ import annotations

import sqlite3
from collections.abc import (
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec

from bridge.deliveries import Backlog, DeliveryRow, Plan, Waiting
from bridge.errors import StoreError
from bridge.hints import DeliveryHint, Precedence
from bridge.model import (
    AdapterName,
    Attachment,
    AuthorKind,
    ConversationId,
    DeliveryId,
    DeliveryState,
    Destination,
    Entry,
    EntryId,
    FileId,
    Message,
    RemoteId,
    SiteKey,
    StaffMessage,
    ThreadKey,
    VisitorId,
)
from bridge.ports import Summary
from bridge.storage import Standing, StoredFile, VisitorState
from bridge.store.sqlite import rows
from bridge.store.sqlite.trouble import Trouble, reason

_PROFILE = ", ".join(f"visitor.{name}" for name in rows.PROFILE.split(", "))

_SUMMARY = """select conversation.id, conversation.visitor, visitor.site, conversation.closed_at,
    conversation.opened_at, conversation.active_at, conversation.context, visitor.name, visitor.email from conversation
    join visitor on visitor.id = conversation.visitor"""


async def connect(path: Path) -> aiosqlite.Connection:
    """Open the file for reading alone."""
    connection = await aiosqlite.connect(path, isolation_level=None, cached_statements=256)
    await connection.executescript("pragma busy_timeout = 5000; pragma query_only = on;")
    return connection


_LATEST = 50
"""For how many of a visitor's latest entries the state is told although it may have been told before."""


class Reads:
    """One reading connection. It sees everything that was committed before a read began."""

    def __init__(self, connection: aiosqlite.Connection, trouble: Trouble) -> None:
        self._connection = connection
        self._trouble = trouble
        self._errors = 0

    @property
    def errors(self) -> int:
        """How many operations have failed."""
        return self._errors

    async def _all(self, sql: str, values: Sequence[Any] = ()) -> list[rows.Row]:
        try:
            return list(await self._connection.execute_fetchall(sql, values))
        except (
            sqlite3.Error,
            ValueError,
            MemoryError,
        ) as error:  # aiosqlite: ValueError where the connection is closed
            self._errors += 1
            self._trouble.reading(error)
            raise StoreError(f"the store cannot be read: {reason(error)}") from error

    async def _one(self, sql: str, values: Sequence[Any] = ()) -> rows.Row | None:
        found = await self._all(sql, values)
        return found[0] if found else None

    async def visitor(self, visitor: VisitorId) -> VisitorState | None:
        """Return a visitor's row."""
        row = await self._one(
            f"""select visitor.id, site, coalesce((select max(seq) from entry where visitor = ?1), 0), read, seen,
                  conversation.id, merged_into, {_PROFILE} from visitor
                left join conversation on conversation.visitor = visitor.id and closed_at is null
                where visitor.id = ?1""",
            (visitor,),
        )
        if row is None:
            return None
        conversation = row[5] and ConversationId(row[5])
        profile, merged = rows.profile(row[7:]), row[6] is not None
        seq, read, seen = row[2:5]
        return VisitorState(VisitorId(row[0]), SiteKey(row[1]), seq, read, seen, conversation, profile, merged)

    async def entries(self, visitor: VisitorId, after: int, limit: int) -> Sequence[Entry]:
        """Return entries of a log, ascending."""
        found = await self._all(
            f"select {rows.ENTRY} {rows.FROM_ENTRY} where visitor = ? and seq > ? order by seq limit ?",
            (visitor, after, limit),
        )
        return await self._with_delivery([rows.entry(row) for row in found])

    async def folded(self, visitor: VisitorId, before: int | None, limit: int) -> Sequence[Message]:
        """Return the last messages before a `seq`, ascending, each as it reads now."""
        found = await self._all(
            f"""select {rows.ENTRY} {rows.FROM_ENTRY} where visitor = ? and seq < ? and of is null
                order by seq desc limit ?""",
            (visitor, 2**62 if before is None else before, limit),
        )
        messages = [message for message in map(rows.entry, reversed(found)) if isinstance(message, Message)]
        revised = await self._latest_revisions(visitor, [message.seq for message in messages])
        folded = [rows.fold(message, revised.get(message.seq)) for message in messages]
        return [entry for entry in await self._with_delivery(folded) if isinstance(entry, Message)]

    async def _latest_revisions(self, visitor: VisitorId, seqs: Sequence[int]) -> dict[int, rows.Row]:
        if not seqs:
            return {}
        found = await self._all(
            """select text, format, deleted, of, max(seq) from entry
               where visitor = ? and of between ? and ? group by of""",
            (visitor, seqs[0], seqs[-1]),
        )
        return {row[3]: row for row in found}

    async def _with_delivery(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Set `delivery` on the visitor's own messages."""
        own = [entry.id for entry in entries if isinstance(entry, Message) and entry.author.kind is AuthorKind.VISITOR]
        states = await self._delivery_states(own)
        return [
            replace(entry, delivery=states[entry.id]) if isinstance(entry, Message) and entry.id in states else entry
            for entry in entries
        ]

    async def _delivery_states(self, entries: Sequence[EntryId]) -> dict[EntryId, DeliveryState]:
        if not entries:
            return {}
        found = await self._all(
            f"{rows.DELIVERY_STATE} where entry.id in ({_marks(entries)}) group by entry.id", entries
        )
        return {EntryId(id): DeliveryState(state) for id, state in found}

    async def deliveries(self, visitor: VisitorId, below: int) -> Sequence[DeliveryHint]:
        """Return the states of a visitor's messages up to a `seq`: the latest, and those that wait."""
        found = await self._all(
            """select id, seq from entry where visitor = ?1 and seq <= ?2 and seq > ?2 - ?3 and author = 'visitor'
               union
               select entry.id, seq
                 from (select id from conversation where visitor = ?1 order by id desc limit ?4) recent
                 join link on link.conversation = recent.id
                 join delivery on delivery.destination = link.destination and delivery.conversation = recent.id
                   and state in ('pending', 'claimed', 'uncertain') and notice is null
                 join entry on entry.id = delivery.entry and seq <= ?2 and author = 'visitor'
               order by seq desc limit 10 * ?3""",
            (visitor, below, _LATEST, rows.RECENT),
        )
        states = await self._delivery_states([EntryId(row[0]) for row in found])
        return [
            DeliveryHint(visitor, row[1], states[EntryId(row[0])])
            for row in reversed(found)
            if EntryId(row[0]) in states
        ]

    async def file(self, file: FileId) -> StoredFile | None:
        """Return a file's row."""
        row = await self._one("select id, name, type, size, owner, created_at from file where id = ?", (file,))
        if row is None:
            return None
        return StoredFile(
            Attachment(FileId(row[0]), row[1], row[2], row[3]), row[4] and VisitorId(row[4]), rows.time(row[5])
        )

    async def follows(self, adapter: AdapterName, thread: ThreadKey) -> bool:
        """Tell whether a thread is linked, or may be about to be."""
        found = await self._all(
            """select 1 from thread where adapter = ?1 and key = ?2
               union all select 1 from link where token is not null and adapter = ?1 limit 1""",
            (adapter, thread),
        )
        return bool(found)

    async def cursor(self, adapter: AdapterName) -> str | None:
        """Return an adapter's cursor."""
        row = await self._one("select value from cursor where adapter = ?", (adapter,))
        return str(row[0]) if row else None

    async def owed(self, adapter: AdapterName) -> Sequence[StaffMessage]:
        """Return the messages that wait for something to be fetched."""
        found = await self._all("select event from owed where adapter = ?", (adapter,))
        return [msgspec.json.decode(event, type=StaffMessage) for (event,) in found]

    async def live(self, adapter: AdapterName, now: datetime, within: timedelta, limit: int) -> Sequence[ThreadKey]:
        """Return the threads of conversations that were active lately, the last active first."""
        found = await self._all(
            """select thread.key from
                 (select id, active_at from conversation
                  where active_at >= min((select max(active_at) from conversation), ?4) - ?2
                  and exists (select 1 from link where conversation = conversation.id and adapter = ?1)
                  order by active_at desc limit ?3) as recent
               join link on link.conversation = recent.id and link.adapter = ?1
               join thread on thread.link = link.id order by recent.active_at desc""",
            (adapter, within // timedelta(milliseconds=1), limit, rows.milliseconds(now)),
        )
        return [ThreadKey(row[0]) for row in found]

    async def known(self, adapter: AdapterName, thread: ThreadKey, limit: int) -> Sequence[RemoteId]:
        """Return staff's last messages in a thread, last first."""
        found = await self._all(
            """select event from inbound as message where adapter = ?1 and thread = ?2
               and event not like '% edited %' and event not like '% deleted' and parked is null
               and not exists (select 1 from inbound
                 where adapter = ?1 and thread = ?2 and event = message.event || ' deleted')
               order by event desc limit ?3""",
            (adapter, thread, limit),
        )
        return [RemoteId(row[0]) for row in found]

    async def conversation_of(self, adapter: AdapterName, thread: ThreadKey) -> tuple[ConversationId, VisitorId] | None:
        """Return whose thread it is."""
        row = await self._one(
            """select conversation.id, conversation.visitor from thread join link on link.id = thread.link
               join conversation on conversation.id = link.conversation where thread.adapter = ? and thread.key = ?""",
            (adapter, thread),
        )
        return (ConversationId(row[0]), VisitorId(row[1])) if row else None

    async def standing(self, adapter: AdapterName, message: RemoteId, limit: int) -> Sequence[Standing]:
        """Return where a message stands. It goes through the last: an index would cost something with each receipt."""
        found = await self._all(
            """select thread.key, delivery.conversation, delivery.plan, receipt.part from receipt
               join delivery on delivery.id = receipt.delivery and delivery.plan is not null
               join link on link.conversation = delivery.conversation and link.destination = delivery.destination
                 and link.adapter = ?3
               join thread on thread.link = link.id
               where receipt.delivery > (select max(delivery) from receipt) - ?1 and receipt.remote_id = ?2""",
            (limit, message, adapter),
        )
        shown = [(*row[:2], await self._shown_by(msgspec.json.decode(row[2], type=Plan), row[3])) for row in found]
        return [Standing(ThreadKey(thread), ConversationId(id), seq) for thread, id, seq in shown if seq]

    async def _shown_by(self, plan: Plan, part: int) -> int | None:
        """Return the last `seq` of what a visitor wrote that a part shows."""
        slices = [each.delivery for shown in plan.parts[part : part + 1] for each in shown]
        row = await self._one(
            f"""select max(entry.seq) from delivery join entry on entry.id = delivery.entry
                where delivery.id in ({_marks(slices)}) and delivery.notice is null and entry.author = 'visitor'""",
            slices,
        )
        return row[0] if row else None

    async def answers(self, since: datetime, limit: int) -> Sequence[tuple[SiteKey, float]]:
        """Return how many seconds the first answers took, the last first."""
        found = await self._all(
            """select site, answered_at - opened_at from conversation join visitor on visitor.id = conversation.visitor
               where answered_at >= ? order by answered_at desc limit ?""",
            (rows.milliseconds(since), limit),
        )
        return [(SiteKey(row[0]), row[1] / 1000) for row in found]

    async def threads(self, conversation: ConversationId) -> Sequence[tuple[Destination, ThreadKey]]:
        """Return the current threads of a conversation."""
        found = await self._all(
            "select destination, thread from link where conversation = ? and thread is not null", (conversation,)
        )
        return [(Destination.parse(row[0]), ThreadKey(row[1])) for row in found]

    async def summaries(self, adapter: AdapterName, before: datetime | None, limit: int) -> Sequence[Summary]:
        """Return an adapter's conversations, the latest activity first."""
        page = """active_at < ?2 and exists (select 1 from link
            where link.conversation = conversation.id and link.adapter = ?1)"""
        # All that were active in the last one's moment come along: the next page starts before it.
        found = await self._all(
            f"""{_SUMMARY} where {page} and active_at >= coalesce((select active_at from conversation where {page}
                order by active_at desc limit 1 offset ?3 - 1), 0) order by active_at desc""",
            (adapter, rows.milliseconds(before) if before else 2**62, limit),
        )
        return [await self._summary(row) for row in found]

    async def summary(self, adapter: AdapterName, conversation: ConversationId) -> Summary | None:
        """Return one conversation of an adapter's."""
        row = await self._one(
            f"""{_SUMMARY} where conversation.id = ?2 and exists (select 1 from link
                where link.conversation = conversation.id and link.adapter = ?1)""",
            (adapter, conversation),
        )
        return await self._summary(row) if row else None

    async def _summary(self, row: rows.Row) -> Summary:
        last = await self._one(
            f"""select {rows.ENTRY} {rows.FROM_ENTRY} where visitor = ? and conversation = ? and of is null
                and event is null order by seq desc limit 1""",
            (row[1], row[0]),
        )
        message = rows.entry(last) if last else None
        profile = replace(rows.context_from(row[6]), name=row[7], email=row[8])
        return Summary(
            ConversationId(row[0]),
            VisitorId(row[1]),
            SiteKey(row[2]),
            open=row[3] is None,
            opened_at=rows.time(row[4]),
            active_at=rows.time(row[5]),
            profile=profile,
            last=message if isinstance(message, Message) else None,
        )

    async def conversation_entries(self, conversation: ConversationId, after: int, limit: int) -> Sequence[Entry]:
        """Return entries of one conversation, ascending."""
        found = await self._all(
            f"""select {rows.ENTRY} {rows.FROM_ENTRY} where conversation = ?1 and seq > ?2 and visitor =
                (select visitor from conversation where id = ?1) order by seq limit ?3""",
            (conversation, after, limit),
        )
        return await self._with_delivery([rows.entry(row) for row in found])

    async def waiting(self, destination: Destination, limit: int) -> Sequence[Waiting]:
        """Return the conversations with work at a destination, the oldest head first."""
        best = rows.BEST_PRECEDENCE.format(destination="?1", conversation="head.conversation")
        found = await self._all(
            f"""select head.conversation, head.due_at, ({best}) from delivery as head
                where head.destination = ?1 and head.state in ('pending', 'claimed', 'uncertain') and not exists
                  (select 1 from delivery as ahead where ahead.destination = ?1
                     and ahead.conversation = head.conversation
                     and ahead.state in ('pending', 'claimed', 'uncertain')
                     and (ahead.entry, ahead.id) < (head.entry, head.id))
                order by head.entry limit ?2""",
            (str(destination), limit),
        )
        return [Waiting(ConversationId(row[0]), rows.time(row[1]), Precedence(row[2])) for row in found]

    async def destinations(self) -> Sequence[Destination]:
        """Return every destination with unsettled deliveries."""
        found = await self._all(
            "select distinct destination from delivery where state in ('pending', 'claimed', 'uncertain')"
        )
        return [Destination.parse(row[0]) for row in found]

    async def lanes_down(self) -> Mapping[Destination, str]:
        """Return the ways that cannot be used, and why."""
        found = await self._all("select destination, reason from lane_down")
        return {Destination.parse(row[0]): row[1] for row in found}

    async def outbox(self, state: str | None, limit: int) -> Sequence[DeliveryRow]:
        """Return deliveries for the operator, the latest first; without a state those that are not sent."""
        found = await self._all(
            """select id, destination, conversation, entry, state, attempts, due_at, created_at, reason, notice, files
               from delivery
               where state = ?1 or (?1 is null and state != 'sent') order by id desc limit ?2""",
            (state, limit),
        )
        return [
            DeliveryRow(
                DeliveryId(row[0]),
                Destination.parse(row[1]),
                ConversationId(row[2]),
                EntryId(row[3]),
                _what(row[9], row[10]),
                row[4],
                row[5],
                rows.time(row[6]),
                rows.time(row[7]),
                row[8],
            )
            for row in found
        ]

    async def backlog(self, limit: int) -> Sequence[Backlog]:
        """Count what is not sent, through the indexes of just these."""
        found = await self._all(
            """select destination, state, count(*), min(created_at) from (
                 select * from (select destination, state, created_at from delivery
                   where state in ('pending', 'claimed', 'uncertain') limit ?1)
                 union all
                 select * from (select destination, state, created_at from delivery where state = 'dead' limit ?1))
               group by destination, state""",
            (limit,),
        )
        return [Backlog(Destination.parse(row[0]), row[1], row[2], rows.time(row[3])) for row in found]


def _marks(values: Iterable[object]) -> str:
    return ",".join("?" for _ in values)


def _what(notice: str | None, column: str | None) -> str:
    """Return what of its entry a delivery is (`deliveries.DeliveryRow`)."""
    if notice is not None:
        return "notice"
    try:
        files = rows.files_from(column)
    except msgspec.DecodeError:
        return "unreadable"
    return "message" if files is None else ("text", "file", "files")[min(len(files), 2)]
