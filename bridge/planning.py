"""Plans what goes into a thread: which deliveries together, in which parts. Pure, and the same at every attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bridge.deliveries import PAST, Claim, Past, Pending, Plan, Slice, lost_file
from bridge.model import (
    SYSTEM,
    Attachment,
    Author,
    AuthorKind,
    Card,
    ConversationId,
    DeliveryId,
    Event,
    Format,
    Mark,
    MarkKind,
    Message,
    Part,
    Piece,
    Profile,
    Revision,
    RichText,
    ThreadKey,
)
from bridge.ports import Capabilities
from bridge.richtext import cut, from_markdown, join, split

_LATE = timedelta(minutes=2)
_EXCERPTS = 10
"""Of what went before, each message is shown up to this part of what one remote message holds."""
Measure = Callable[[Sequence[Piece]], int]
Address = Callable[[ThreadKey], str | None]


@dataclass(frozen=True, slots=True)
class _Item:
    """One delivery, ready to be laid out."""

    id: DeliveryId
    author: Author
    text: RichText
    at: datetime
    attachments: tuple[Attachment, ...]

    def piece(self, text: RichText, *, late: bool) -> Piece:
        return Piece(self.author, text, self.at if late else None)


def plan(
    pending: Iterable[Pending],
    profile: Profile,
    capabilities: Capabilities,
    measure: Measure,
    now: datetime,
    *,
    revises: bool = False,
    address: Address = lambda _: None,
) -> Plan:
    """Choose what to send next of a conversation's waiting deliveries, the oldest first.

    Where the platform coalesces it is as many as one part holds, else one; what takes several parts, or has files, is
    planned alone, and so is what was refused as it was planned before. A card that its thread shows
    by itself rides along. An adapter that `revises` changes the remote message itself. What went before a thread goes
    ahead of the first text in parts of its own; `address` tells where a thread is to be found.
    """
    members: list[DeliveryId] = []
    items: list[_Item] = []
    late = False
    past: RichText | None = None

    def fits(candidates: Sequence[_Item]) -> bool:
        return measure([item.piece(item.text, late=late) for item in candidates]) <= capabilities.text_limit

    for delivery in pending:
        if delivery.original and revises and not delivery.apart:
            if members:
                break
            return _revision(delivery, profile, capabilities, measure, late=now - delivery.created_at > _LATE)
        if delivery.past and not delivery.apart:
            past = _past(delivery.past, profile, delivery.created_at, capabilities, address)
        late = now - delivery.created_at > _LATE if not members else late
        if capabilities.card_in_thread and _is_card(delivery):
            members.append(delivery.id)
            continue
        item = _item(delivery, profile)
        if items and (delivery.apart or item.attachments or not fits([*items, item])):
            break
        members.append(delivery.id)
        items.append(item)
        # Nothing is joined with files, nor with what went before: so a joined part is all of its plan, and where it is
        # refused nothing of it stands there.
        if not capabilities.coalesces or delivery.apart or item.attachments or past:
            break
    ahead = _cut_up(_before(past, now), capabilities, measure, late=False) if past else ()
    return Plan(tuple(members), (*ahead, *_parts(items, capabilities, measure, late=late)), late, past=past)


def is_overdue(claim: Claim, now: datetime) -> bool:
    """Tell whether a plan that shows no times would by now, were it made anew."""
    shows_none = bool(claim.plan.parts) and not claim.plan.late
    return shows_none and now - claim.members[0].created_at > _LATE


def _revision(delivery: Pending, profile: Profile, capabilities: Capabilities, measure: Measure, *, late: bool) -> Plan:
    """Change the remote message itself; one that would grow beyond a part is told as any other text."""
    item = _item(delivery, profile, in_place=True)
    whole = (Slice(item.id, 0, len(item.text.text)),)
    if not item.text.text:
        return Plan((item.id,), (), revises=delivery.original)
    if measure([item.piece(item.text, late=False)]) <= capabilities.text_limit:
        return Plan((item.id,), (whole,), revises=delivery.original)
    told = _item(delivery, profile)
    return Plan((item.id,), tuple(_parts([told], capabilities, measure, late=late)), late)


def _parts(
    items: Sequence[_Item], capabilities: Capabilities, measure: Measure, *, late: bool
) -> Sequence[tuple[Slice, ...]]:
    texts = [item for item in items if item.text.text]
    parts: list[tuple[Slice, ...]] = []
    if len(texts) > 1:
        parts.append(tuple(Slice(item.id, 0, len(item.text.text)) for item in texts))
    else:
        for item in texts:
            parts += _cut_up(item, capabilities, measure, late=late)
    return parts + [(Slice(item.id, 0, 0, index),) for item in items for index in range(len(item.attachments))]


def _cut_up(item: _Item, capabilities: Capabilities, measure: Measure, *, late: bool) -> Sequence[tuple[Slice, ...]]:
    def fits(text: RichText, *, late: bool = True) -> bool:
        return measure([item.piece(text, late=late)]) <= capabilities.text_limit

    parts, start, length = [], 0, len(item.text.text)
    if length and fits(item.text, late=late):
        return [(Slice(item.id, 0, length),)]
    # Each has room for its time: where sending breaks off, the rest may be late.
    while start < length:
        end = split(item.text, start, fits)
        parts.append((Slice(item.id, start, end),))
        start = end
    return parts


def parts(claim: Claim, capabilities: Capabilities) -> Sequence[Part]:
    """Return the parts of a claimed plan as the adapter is to send them."""
    in_place = claim.plan.revises is not None
    items = {delivery.id: _item(delivery, claim.profile, in_place=in_place) for delivery in claim.members}
    if claim.plan.past:
        items[PAST] = _before(claim.plan.past, claim.since)
    return [_part(slices, items, capabilities, claim.plan) for slices in claim.plan.parts]


def _part(slices: Sequence[Slice], items: dict[DeliveryId, _Item], capabilities: Capabilities, plan: Plan) -> Part:
    first, late, silent = slices[0], plan.late, plan.silent
    if first.delivery == PAST:
        late, silent = False, True
    if first.attachment is None:
        texts = ((items[each.delivery], each) for each in slices)
        pieces = tuple(item.piece(cut(item.text, each.start, each.end), late=late) for item, each in texts)
        return Part(pieces, silent=silent)
    item = items[first.delivery]
    file = item.attachments[first.attachment]
    if file.size <= capabilities.file_limit:
        return Part((item.piece(RichText(""), late=late),), file, silent)
    told = f"The file {file.name} ({_size(file.size)}) is too large to be shown here."
    return Part((Piece(SYSTEM, RichText(told)),), silent=silent)


def in_place_of(file: Attachment, reason: str, *, silent: bool) -> Part:
    """Return what is told in the place of a file that does not get through."""
    return Part((Piece(SYSTEM, RichText(lost_file(file.name, reason))),), silent=silent)


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 100_000 else f"{count / 1000:.1f} kB"


def _is_card(delivery: Pending) -> bool:
    return isinstance(delivery.entry, Message) and delivery.entry.event is Event.OPENED


def _item(delivery: Pending, profile: Profile, *, in_place: bool = False) -> _Item:
    entry = delivery.entry
    if entry is None:
        return _Item(delivery.id, SYSTEM, RichText(delivery.notice or ""), delivery.created_at, ())
    if isinstance(entry, Revision):
        text = rich(entry.text, entry.format) if in_place else _revised(entry)
        return _Item(delivery.id, entry.author, text, entry.at, ())
    if entry.event is Event.OPENED:
        text = card_text(card(entry.conversation, profile, entry.at))
        return _Item(delivery.id, SYSTEM, text, entry.at, ())
    if entry.event is not None:
        return _Item(delivery.id, SYSTEM, RichText(_event_text(entry)), entry.at, ())
    return _Item(delivery.id, entry.author, rich(entry.text, entry.format), entry.at, entry.attachments)


# --- what went before -------------------------------------------------------------------------------------------------


def _before(past: RichText, at: datetime) -> _Item:
    """Return a plan's own text as an item like the others."""
    return _Item(PAST, SYSTEM, past, at, ())


def _past(past: Past, profile: Profile, at: datetime, capabilities: Capabilities, address: Address) -> RichText:
    """Return what a thread shows that begins in the middle of a conversation: card, former thread, last messages."""
    blocks: list[RichText] = []
    if not capabilities.card_in_thread:
        blocks.append(card_text(card(past.conversation, profile, at)))
    if past.reason:
        blocks.append(
            RichText(f"The conversation goes on here: its thread takes no messages any more ({past.reason}).")
        )
    if past.former:
        link = address(past.former)
        blocks.append(RichText(f"The former thread is still there{f': {link}' if link else '.'}"))
    shown = [message for message in past.messages if not message.deleted]
    if shown:
        blocks.append(RichText("Before that:" if past.reason else "So far:"))
    blocks += [_excerpt(message, profile, capabilities.text_limit // _EXCERPTS) for message in shown]
    return join(blocks, "\n\n")


def _excerpt(message: Message, profile: Profile, limit: int) -> RichText:
    """Return a message with its author and time, its text not longer than a limit."""
    visitor = message.author.kind is AuthorKind.VISITOR
    name = (profile.name or "Visitor") if visitor else (message.author.name or "Staff")
    text = rich(message.text, message.format)
    if len(text.text) > limit:
        text = join([cut(text, 0, limit), RichText(" …")])
    files = [RichText(f"[{file.name}]") for file in message.attachments]
    head = RichText(f"{name}, {message.at:%Y-%m-%d %H:%M} UTC", (Mark(MarkKind.BOLD, 0, len(name)),))
    return join([head, *([text] if text.text else []), *files], "\n")


# --- words ------------------------------------------------------------------------------------------------------------


def rich(text: str, format: Format) -> RichText:
    """Read a stored text."""
    return from_markdown(text) if format is Format.MARKDOWN else RichText(text)


def _revised(entry: Revision) -> RichText:
    if entry.deleted:
        return RichText("(deleted an earlier message)")
    return join([RichText("(edited) "), rich(entry.text, entry.format)])


def _event_text(entry: Message) -> str:
    if entry.event is Event.TRACKED:
        return "\n".join(f"On the page: {line}" for line in entry.text.split("\n"))
    if entry.event is Event.REOPENED:
        return "The visitor came back: the conversation is open again."
    return (
        f"The conversation was closed by {entry.author.name}." if entry.author.name else "The conversation was closed."
    )


def card(conversation: ConversationId, profile: Profile, opened_at: datetime) -> Card:
    """Return the head of a conversation's thread, from what was known when it opened."""
    page = profile.page
    local = _local_time(profile.timezone, opened_at)
    fields = [
        ("E-mail", profile.email),
        ("Page", " – ".join(text for text in (page.title, page.url) if text)),
        ("Came from", page.referrer),
        ("Language", profile.locale),
        ("Local time", local),
    ]
    visitor = profile.name or "Visitor"
    # A thread's name is seen by everybody in the channel and in notifications: it holds no personal data.
    title = f"Visitor {conversation & 0xFFFF:04X}"
    return Card(conversation, title, visitor, tuple((label, value) for label, value in fields if value))


def _local_time(timezone: str | None, at: datetime) -> str | None:
    if not timezone:
        return None
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # it came from a browser: whatever it says
        return None
    return f"{at.astimezone(zone):%H:%M} ({timezone})"


def card_text(card: Card) -> RichText:
    """Return a card as text, for platforms whose threads do not begin with a message."""
    lines = [RichText(card.visitor, (Mark(MarkKind.BOLD, 0, len(card.visitor)),))]
    lines += [RichText(f"{label}: {value}") for label, value in card.fields]
    return join(lines, "\n")
