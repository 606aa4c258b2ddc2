"""What every store must keep, whatever its engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bridge.deliveries import Backlog, Claim, Outcome, Pending, Plan, Slice, Waiting
from bridge.errors import Conflict, Merged, StoreError
from bridge.hints import Precedence, SeenHint
from bridge.ids import mint
from bridge.model import (
    AdapterName,
    Attachment,
    AuthorKind,
    ConversationId,
    DeliveryId,
    DeliveryState,
    Destination,
    Event,
    FileId,
    Message,
    Opened,
    Profile,
    RemoteId,
    Revision,
    RichText,
    SiteKey,
    Staff,
    StaffDeletion,
    StaffEdit,
    StaffMessage,
    ThreadKey,
    Token,
    VisitorId,
)
from bridge.storage import Appended, NewMessage, Standing, Store, StoredFile

SITE = SiteKey("shop")
SLACK = Destination(AdapterName("slack"))
DESK = Destination(AdapterName("desk"))
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ANNA = Staff("U1", "Anna")
_ids = itertools.count(1)


def visitor() -> VisitorId:
    return VisitorId(mint(NOW))


def message(
    author: VisitorId, text: str = "Hello", client_id: str | None = None, at: datetime = NOW, **more: object
) -> NewMessage:
    new = NewMessage(
        visitor=author,
        site=SITE,
        profile=Profile(locale="en"),
        client_id=client_id or f"c{next(_ids)}",
        text=text,
        attachments=(),
        at=at,
        reopens_since=at - timedelta(hours=1),
        destinations=lambda *_: (SLACK,),
    )
    return replace(new, **more)  # type: ignore[arg-type]


def whole(pending: Iterator[Pending], _: Profile) -> Plan:
    """Plan the first delivery alone, in one part."""
    first = next(pending).id
    return Plan((first,), ((Slice(first, 0, 5),),))


def halves(pending: Iterator[Pending], _: Profile) -> Plan:
    """Plan the first delivery alone, in two parts."""
    first = next(pending).id
    return Plan((first,), ((Slice(first, 0, 2),), (Slice(first, 2, 5),)))


async def broken_off(store: Store, conversation: ConversationId) -> Claim:
    """Claim a delivery of which the first half is in the thread."""
    claimed = await store.claim(SLACK, conversation, NOW, NOW + timedelta(minutes=1), halves)
    assert claimed
    await store.receipt(claimed, 0, RemoteId(f"half {claimed.id}"), NOW + timedelta(minutes=1))
    return claimed


async def claim(store: Store, conversation: ConversationId, at: datetime = NOW) -> Claim:
    claimed = await store.claim(SLACK, conversation, at, at + timedelta(minutes=1), whole)
    assert claimed
    return claimed


async def linked(store: Store, appended: Appended, key: str = "T1") -> ThreadKey:
    """Open the thread of a conversation, as the outbox does."""
    first = await claim(store, appended.message.conversation)
    await store.opening(first, Token("t"), NOW)
    await store.opened(first, Opened(ThreadKey(key)), NOW)
    await store.settle(first, Outcome.SENT, "", NOW, RemoteId("card"))
    return ThreadKey(key)


async def entries(store: Store, owner: VisitorId) -> list[Message | Revision]:
    return list(await store.entries(owner, 0, 1000))


class TestVisitorsMessages:
    async def test_the_first_message_opens_a_conversation(self, store: Store) -> None:
        appended = await store.append(message(visitor()))
        opening, own = appended.entries
        assert isinstance(opening, Message)
        assert (opening.seq, opening.event, opening.author.kind) == (1, Event.OPENED, AuthorKind.SYSTEM)
        assert isinstance(own, Message)
        assert (own.seq, own.text, own.conversation) == (2, "Hello", opening.conversation)
        assert appended.destinations == (SLACK,)

    async def test_a_repeat_gives_the_old_message_and_creates_nothing(self, store: Store) -> None:
        author = visitor()
        first = await store.append(message(author, client_id="same"))
        again = await store.append(message(author, "other text", client_id="same"))
        assert again.repeat
        assert (again.message.seq, again.message.text) == (first.message.seq, "Hello")
        assert len(await entries(store, author)) == 2

    async def test_the_same_client_id_of_two_visitors_is_two_messages(self, store: Store) -> None:
        for _ in range(2):
            assert not (await store.append(message(visitor(), client_id="same"))).repeat

    async def test_fifty_writers_share_one_conversation_and_a_gapless_log(self, store: Store) -> None:
        author = visitor()
        appended = await asyncio.gather(*(store.append(message(author, str(number))) for number in range(50)))
        assert {each.message.conversation for each in appended} == {appended[0].message.conversation}
        log = await entries(store, author)
        assert [entry.seq for entry in log] == list(range(1, 52))
        assert sorted(entry.text for entry in log[1:]) == sorted(str(number) for number in range(50))
        assert len(await store.waiting(SLACK, 10)) == 1

    async def test_fifty_repeats_at_once_are_one_message(self, store: Store) -> None:
        author = visitor()
        appended = await asyncio.gather(*(store.append(message(author, client_id="same")) for _ in range(50)))
        assert sum(not each.repeat for each in appended) == 1
        assert len(await entries(store, author)) == 2

    async def test_what_is_stored_is_delivered_where_the_log_itself_is_shown(self, store: Store) -> None:
        author, desk = visitor(), Destination(AdapterName("desk"))
        new = message(author, destinations=lambda *_: (SLACK, desk), log_readers={"desk"})
        appended = await store.append(new)
        here = appended.message.conversation
        assert appended.destinations == (SLACK,)
        assert appended.message.delivery is DeliveryState.SENT
        assert [row.destination for state in (None, "sent") for row in await store.outbox(state, 10)] == [SLACK, SLACK]
        assert await store.conversation_of(desk.adapter, ThreadKey(str(here))) == (here, author)
        assert [each.delivery for each in await entries(store, author) if isinstance(each, Message)] == [
            None,
            DeliveryState.SENT,
        ]

    async def test_a_refused_attachment_leaves_nothing_behind(self, store: Store) -> None:
        author = visitor()
        with pytest.raises(Conflict):
            await store.append(message(author, attachments=(FileId("unknown"),)))
        assert await store.visitor(author) is None
        assert await entries(store, author) == []

    async def test_an_attachment_is_taken_once_and_by_its_owner_alone(self, store: Store) -> None:
        author = visitor()
        file = Attachment(FileId("f1"), "cat.png", "image/png", 10)
        await store.add_file(StoredFile(file, author, NOW))
        with pytest.raises(Conflict):
            await store.append(message(visitor(), attachments=(file.id,)))
        appended = await store.append(message(author, attachments=(file.id,)))
        assert appended.message.attachments == (file,)
        with pytest.raises(Conflict):
            await store.append(message(author, attachments=(file.id,)))
        assert (await entries(store, author))[1].attachments == (file,)  # type: ignore[union-attr]

    async def test_a_picture_that_two_adapters_note_at_once_is_one(self, store: Store) -> None:
        picture = StoredFile(Attachment(FileId("p1"), "anna.png", "image/png", 10), None, NOW)
        await asyncio.gather(store.add_file(picture), store.add_file(picture))
        assert await store.file(FileId("p1")) == picture

    async def test_old_files_that_no_message_holds_are_forgotten(self, store: Store) -> None:
        author = visitor()
        for name, at in (("old", NOW - timedelta(days=8)), ("new", NOW), ("sent", NOW - timedelta(days=8))):
            await store.add_file(StoredFile(Attachment(FileId(name), name, "image/png", 1), author, at))
        await store.add_file(
            StoredFile(Attachment(FileId("face"), "face", "image/png", 1), None, NOW - timedelta(days=8))
        )
        await store.append(message(author, attachments=(FileId("sent"),)))
        assert await store.drop_unattached(NOW - timedelta(days=7)) == ("old",)
        assert [bool(await store.file(FileId(name))) for name in ("old", "new", "sent", "face")] == [
            False,
            True,
            True,
            True,
        ]

    async def test_a_reopened_conversation_is_routed_by_where_it_is(self, store: Store) -> None:
        author = visitor()
        first = await store.append(message(author))
        await store.close_conversation(first.message.conversation, SLACK.adapter, ANNA, NOW)
        asked: list[object] = []

        def route(conversation: ConversationId, linked: Collection[Destination]) -> Sequence[Destination]:
            asked.append((conversation, set(linked)))
            return tuple(linked)

        again = await store.append(message(author, destinations=route))
        assert asked == [(first.message.conversation, {SLACK})]
        assert again.destinations == (SLACK,)

    async def test_a_message_soon_after_a_close_reopens_and_later_opens_another(self, store: Store) -> None:
        author = visitor()
        first = (await store.append(message(author))).message.conversation
        assert await store.close_conversation(first, SLACK.adapter, ANNA, NOW)
        assert await store.close_conversation(first, SLACK.adapter, ANNA, NOW) is None
        soon = await store.append(message(author, at=NOW + timedelta(minutes=1)))
        assert soon.message.conversation == first
        await store.close_conversation(first, SLACK.adapter, ANNA, NOW + timedelta(minutes=2))
        late = await store.append(message(author, at=NOW + timedelta(days=2)))
        assert late.message.conversation != first
        events = [entry.event for entry in await entries(store, author) if isinstance(entry, Message) and entry.event]
        assert events == [Event.OPENED, Event.CLOSED, Event.REOPENED, Event.CLOSED, Event.OPENED]

    async def test_reading_only_goes_forward_and_not_past_the_end(self, store: Store) -> None:
        author = visitor()
        await store.append(message(author))
        assert await store.read(author, 2) == 2
        assert await store.read(author, 1) == 2
        assert await store.read(author, 99) == 2


class TestCancellation:
    async def test_a_cancelled_callers_work_is_wholly_there_or_wholly_absent(self, store: Store) -> None:
        authors = [visitor() for _ in range(40)]
        tasks = [asyncio.ensure_future(store.append(message(author))) for author in authors]
        await asyncio.sleep(0)  # they are queued, or under way
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for author in authors:
            log = await entries(store, author)
            assert len(log) in {0, 2}
            assert len([entry for entry in log if isinstance(entry, Message) and entry.event is None]) == len(log) / 2
        # No transaction stays open: the next write is not held up and is seen at once.
        last = visitor()
        await store.append(message(last))
        assert len(await entries(store, last)) == 2

    async def test_what_became_of_a_message_is_told_also_where_its_caller_was_cancelled(self, store: Store) -> None:
        author, told = visitor(), list[Appended | None]()
        store.append(message(author), told.append).cancel()
        with pytest.raises(Conflict):
            await store.append(message(author, attachments=(FileId("unknown"),)), told.append)
        (appended, failed) = told
        assert appended
        assert appended.message in await entries(store, author)
        assert failed is None


class TestStaff:
    def reply(self, thread: ThreadKey, text: str = "Hi", remote: str = "r1") -> StaffMessage:
        return StaffMessage(thread, RemoteId(remote), ANNA, RichText(text), NOW)

    async def test_a_reply_gets_the_next_seq_and_is_taken_once(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author)))
        for expected in (True, False):
            (taken,) = await store.take(SLACK.adapter, [self.reply(thread)], None, NOW)
            assert (taken.entry is not None) is expected
        log = await entries(store, author)
        assert (log[-1].seq, log[-1].text, log[-1].author.name) == (3, "Hi", "Anna")

    async def test_a_reply_is_mirrored_to_the_other_destinations_alone(self, store: Store) -> None:
        thread = await linked(store, await store.append(message(visitor(), destinations=lambda *_: (SLACK, DESK))))
        (taken,) = await store.take(SLACK.adapter, [self.reply(thread)], None, NOW)
        assert taken.destinations == (DESK,)

    async def test_an_unknown_thread_is_passed_over(self, store: Store) -> None:
        (taken,) = await store.take(SLACK.adapter, [self.reply(ThreadKey("elsewhere"))], None, NOW)
        assert taken.entry is None
        assert not await store.follows(SLACK.adapter, ThreadKey("elsewhere"))

    async def test_of_what_cannot_be_taken_staff_are_told_once_in_its_thread(self, store: Store) -> None:
        appended = await store.append(message(visitor(), destinations=lambda *_: (SLACK, DESK)))
        thread = await linked(store, appended)
        poison = self.reply(thread, "\ud800")
        assert await store.pass_over(SLACK.adapter, replace(poison, thread=ThreadKey("elsewhere")), "lost", NOW) is None
        before = {row.id for row in await store.outbox("pending", 10)}
        where = (SLACK, appended.message.conversation)
        assert await store.pass_over(SLACK.adapter, poison, "lost", NOW) == where
        assert await store.pass_over(SLACK.adapter, poison, "lost", NOW) is None
        (notice,) = [row for row in await store.outbox("pending", 10) if row.id not in before]
        assert (notice.destination, notice.conversation) == where
        (taken,) = await store.take(SLACK.adapter, [self.reply(thread)], None, NOW)
        assert taken.entry is None

    async def test_what_of_a_reply_stays_behind_is_told_once_in_its_thread(self, store: Store) -> None:
        appended = await store.append(message(visitor(), destinations=lambda *_: (SLACK, DESK)))
        thread = await linked(store, appended)
        before = {row.id for row in await store.outbox("pending", 10)}
        where = (SLACK, appended.message.conversation)
        with_text = replace(self.reply(thread), lost=("a.exe (no programs)", "a poll"))
        for event, shown in (
            (with_text, True),
            (replace(with_text, remote_id=RemoteId("r2"), text=RichText("")), False),
        ):
            (taken,) = await store.take(SLACK.adapter, [event], None, NOW)
            assert (taken.entry is not None, taken.notice) == (shown, where)
            (taken,) = await store.take(SLACK.adapter, [event], None, NOW)
            assert (taken.entry, taken.notice) == (None, None)
        told = [row for row in await store.outbox("pending", 10) if row.id not in before and row.destination == SLACK]
        assert len(told) == 2
        note = replace(with_text, text=RichText("// us"), remote_id=RemoteId("r3"))
        (taken,) = await store.take(SLACK.adapter, [note], None, NOW)
        assert (taken.entry, taken.notice) == (None, None)

    async def test_what_a_reply_waits_for_is_kept_until_it_comes_or_is_withdrawn(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author)))
        first, second = (replace(self.reply(thread, "", id), owed=f"file of {id}") for id in ("r1", "r2"))
        changed = replace(first, owed="another address")
        for event in (first, second, replace(first, thread=ThreadKey("elsewhere")), changed):
            (taken,) = await store.take(SLACK.adapter, [event], None, NOW)
            assert taken.entry is None
        assert sorted(await store.owed(SLACK.adapter), key=lambda each: each.remote_id) == [changed, second]
        (taken,) = await store.take(SLACK.adapter, [replace(changed, text=RichText("Hi"), owed="")], None, NOW)
        assert taken.entry is not None
        await store.take(SLACK.adapter, [StaffDeletion(thread, second.remote_id, NOW)], None, NOW)
        assert await store.owed(SLACK.adapter) == []
        await store.take(SLACK.adapter, [first, second], None, NOW)
        assert await store.owed(SLACK.adapter) == []
        third = replace(first, remote_id=RemoteId("r3"))
        await store.take(SLACK.adapter, [third], None, NOW)
        await store.pass_over(SLACK.adapter, replace(third, owed=""), "lost", NOW)
        assert await store.owed(SLACK.adapter) == []

    async def test_the_same_thread_key_of_another_adapter_is_another_thread(self, store: Store) -> None:
        thread = await linked(store, await store.append(message(visitor())))
        (taken,) = await store.take(AdapterName("slack2"), [self.reply(thread)], None, NOW)
        assert taken.entry is None

    async def test_a_reply_before_the_link_is_committed_waits_for_it(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        first = await claim(store, appended.message.conversation)
        await store.opening(first, Token("t"), NOW)
        early = ThreadKey("T9")
        assert await store.follows(SLACK.adapter, early)
        (taken,) = await store.take(SLACK.adapter, [self.reply(early, "early")], None, NOW)
        assert taken.entry is None
        (parked,) = await store.opened(first, Opened(early), NOW)
        assert parked.entry
        assert [entry.text for entry in await entries(store, author)][-1] == "early"

    async def test_of_what_cannot_be_taken_staff_are_told_once_its_thread_is_linked(self, store: Store) -> None:
        first = await claim(store, (await store.append(message(visitor()))).message.conversation)
        await store.opening(first, Token("t"), NOW)
        early = ThreadKey("T9")
        poison = [self.reply(early, "\ud800"), StaffDeletion(early, RemoteId("other"), NOW)]
        for _ in range(2):  # platforms repeat
            for number, event in enumerate(poison):
                at = NOW + timedelta(seconds=number)
                assert await store.pass_over(SLACK.adapter, event, f"lost {number}", at) is None
        told = await store.opened(first, Opened(early), NOW)
        assert [(taken.entry, taken.notice) for taken in told] == [(None, (SLACK, first.conversation))] * 2
        await store.settle(first, Outcome.SENT, "", NOW, RemoteId("card"))
        await store.settle(await claim(store, first.conversation), Outcome.SENT, "", NOW, RemoteId("text"))
        for number in range(2):
            notice = await claim(store, first.conversation)
            assert notice.members[0].notice == f"This did not reach the visitor: lost {number}"
            await store.settle(notice, Outcome.SENT, "", NOW, RemoteId(f"notice {number}"))

    async def test_an_early_reply_waits_as_long_as_its_thread_may_be_opening(self, store: Store) -> None:
        author = visitor()
        first = await claim(store, (await store.append(message(author))).message.conversation)
        other = await claim(store, (await store.append(message(visitor()))).message.conversation)
        for opening in (first, other):
            await store.opening(opening, Token("t"), NOW)
        await store.take(SLACK.adapter, [self.reply(ThreadKey("T9"), "early")], None, NOW)
        later = NOW + timedelta(hours=5)
        await store.take(SLACK.adapter, [self.reply(ThreadKey("elsewhere"), "talk")], None, later)
        await store.opened(other, Opened(ThreadKey("T8")), later)
        (taken,) = await store.opened(first, Opened(ThreadKey("T9")), later)
        assert taken.entry
        assert taken.entry.text == "early"

    async def test_what_was_early_is_forgotten_after_a_day(self, store: Store) -> None:
        author, early = visitor(), ThreadKey("T9")
        first = await claim(store, (await store.append(message(author))).message.conversation)
        await store.opening(first, Token("t"), NOW)
        for number, hours in enumerate((0, 12, 25)):
            said = self.reply(early, f"after {hours} hours", f"r{number}")
            await store.take(SLACK.adapter, [said], None, NOW + timedelta(hours=hours))
        taken = await store.opened(first, Opened(early), NOW + timedelta(hours=26))
        assert [item.entry.text for item in taken if item.entry] == ["after 12 hours", "after 25 hours"]

    async def test_a_note_stays_inside(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author, destinations=lambda *_: (SLACK, DESK))))
        (taken,) = await store.take(SLACK.adapter, [self.reply(thread, "// he is angry")], None, NOW)
        assert taken.entry is None
        assert len(await entries(store, author)) == 2

    async def test_edits_and_deletions_are_revisions(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author)))
        edit = StaffEdit(thread, RemoteId("r1"), ANNA, RichText("Hi there"), NOW, "v2")
        gone = StaffDeletion(thread, RemoteId("r1"), NOW)
        await store.take(SLACK.adapter, [self.reply(thread), edit, edit, gone, gone], None, NOW)
        _, _, reply, edited, deleted = await entries(store, author)
        assert isinstance(edited, Revision)
        assert (edited.of, edited.text, edited.deleted) == (reply.seq, "Hi there", False)
        assert isinstance(deleted, Revision)
        assert deleted.deleted
        folded = await store.folded(author, None, 10)
        assert (folded[-1].deleted, folded[-1].text) == (True, "")

    async def test_an_edit_before_its_original_creates_it(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author)))
        edit = StaffEdit(thread, RemoteId("r1"), ANNA, RichText("edited"), NOW, "v2")
        await store.take(SLACK.adapter, [edit, self.reply(thread)], None, NOW)
        assert [entry.text for entry in await entries(store, author)][2:] == ["edited"]

    async def test_a_deletion_before_its_original_keeps_it_out(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author)))
        await store.take(SLACK.adapter, [StaffDeletion(thread, RemoteId("r1"), NOW), self.reply(thread)], None, NOW)
        assert len(await entries(store, author)) == 2

    async def test_a_late_edit_does_not_bring_back_what_was_deleted(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author)))
        gone = StaffDeletion(thread, RemoteId("r1"), NOW)
        late = StaffEdit(thread, RemoteId("r1"), ANNA, RichText("secret again"), NOW, "v2")
        await store.take(SLACK.adapter, [self.reply(thread, "secret"), gone, late], None, NOW)
        assert [entry.text for entry in await entries(store, author)][2:] == ["secret", ""]

    async def test_an_edit_that_a_later_one_has_overtaken_changes_nothing(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author)))
        texts = ("one", "// two", "three", "four")
        edits = [
            StaffEdit(thread, RemoteId("r1"), ANNA, RichText(text), NOW + timedelta(seconds=number // 2), f"v{text}")
            for number, text in enumerate(texts)
        ]
        await store.take(SLACK.adapter, [self.reply(thread), edits[2], edits[0], edits[1], edits[3]], None, NOW)
        # Of one time, as where a platform tells whole seconds, the one that comes later is the later one
        assert [entry.text for entry in await entries(store, author)][2:] == ["Hi", "three", "four"]

    async def test_early_replies_keep_their_order(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        first = await claim(store, appended.message.conversation)
        await store.opening(first, Token("t"), NOW)
        early = [
            replace(self.reply(ThreadKey("T9"), text, text), at=NOW + timedelta(seconds=number))
            for number, text in enumerate(("9", "10", "11"))
        ]
        await store.take(SLACK.adapter, early, None, NOW)
        await store.opened(first, Opened(ThreadKey("T9")), NOW)
        assert [entry.text for entry in await entries(store, author)][2:] == ["9", "10", "11"]

    async def test_nothing_is_waited_for_after_a_refused_opening(self, store: Store) -> None:
        first = await claim(store, (await store.append(message(visitor()))).message.conversation)
        await store.opening(first, Token("t"), NOW)
        await store.not_opened(first)
        assert not await store.follows(SLACK.adapter, ThreadKey("a talk among colleagues"))

    async def test_a_note_that_is_edited_into_a_message_goes_out_and_back(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author)))
        out = StaffEdit(thread, RemoteId("r1"), ANNA, RichText("public"), NOW, "v2")
        back = StaffEdit(thread, RemoteId("r1"), ANNA, RichText("// secret"), NOW, "v3")
        await store.take(SLACK.adapter, [self.reply(thread, "// secret"), out, back], None, NOW)
        _, _, public, withdrawn = await entries(store, author)
        assert public.text == "public"
        assert isinstance(withdrawn, Revision)
        assert (withdrawn.deleted, withdrawn.text) == (True, "")

    async def test_the_cursor_is_committed_with_the_events(self, store: Store) -> None:
        assert await store.cursor(SLACK.adapter) is None
        await store.take(SLACK.adapter, [], "17", NOW)
        assert await store.cursor(SLACK.adapter) == "17"


class TestSeen:
    async def seen(self, store: Store, owner: VisitorId) -> int:
        state = await store.visitor(owner)
        assert state
        return state.seen

    async def test_who_answers_has_seen_what_went_before(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author)))
        assert await self.seen(store, author) == 0
        await store.take(
            SLACK.adapter, [StaffMessage(thread, RemoteId("1"), ANNA, RichText("// mine"), NOW)], None, NOW
        )
        assert await self.seen(store, author) == 0
        await store.take(SLACK.adapter, [StaffMessage(thread, RemoteId("2"), ANNA, RichText("Hi"), NOW)], None, NOW)
        assert await self.seen(store, author) == 3
        await store.append(message(author))
        assert await self.seen(store, author) == 3

    async def test_it_only_goes_forward_and_not_past_the_end(self, store: Store) -> None:
        author = visitor()
        conversation = (await store.append(message(author))).message.conversation
        assert await store.seen(conversation, 99) == SeenHint(author, 2)
        assert await store.seen(conversation, 99) is None
        assert await store.seen(conversation, 1) is None
        assert await self.seen(store, author) == 2

    async def test_a_sent_message_stands_for_what_the_visitor_wrote(self, store: Store) -> None:
        def together(pending: Iterator[Pending], _: Profile) -> Plan:
            ids = tuple(each.id for each in pending)
            return Plan(ids, (tuple(Slice(id, 0, 2) for id in ids), (Slice(ids[0], 2, 5),)))

        author = visitor()
        appended = await store.append(message(author))
        thread, conversation = await linked(store, appended), appended.message.conversation
        await store.append(message(author, "second"))
        both = await store.claim(SLACK, conversation, NOW, NOW + timedelta(minutes=1), together)
        assert both
        await store.receipt(both, 0, RemoteId("both"), NOW + timedelta(minutes=1))
        await store.settle(both, Outcome.SENT, "", NOW, RemoteId("rest"))
        for id, seq in (("both", 3), ("rest", 2)):
            assert await store.standing(SLACK.adapter, RemoteId(id), 10) == [Standing(thread, conversation, seq)]
        for adapter, id in ((SLACK.adapter, "card"), (SLACK.adapter, "unknown"), (DESK.adapter, "both")):
            assert await store.standing(adapter, RemoteId(id), 10) == []

    async def test_only_the_last_that_was_sent_is_looked_through(self, store: Store) -> None:
        for number in (1, 2):
            appended = await store.append(message(visitor()))
            await linked(store, appended, f"T{number}")
            first = await claim(store, appended.message.conversation)
            await store.settle(first, Outcome.SENT, "", NOW, RemoteId(f"r{number}"))
        assert [len(await store.standing(SLACK.adapter, RemoteId(id), 2)) for id in ("r1", "r2")] == [0, 1]

    @pytest.mark.parametrize(("answered", "seen"), [(True, 5), (False, 0)])
    async def test_what_was_seen_of_a_guest_counts_unless_something_before_it_is_unseen(
        self, store: Store, answered: bool, seen: int
    ) -> None:
        known, guest = visitor(), visitor()
        thread = await linked(store, await store.append(message(known)))
        if answered:
            await store.take(SLACK.adapter, [StaffMessage(thread, RemoteId("1"), ANNA, RichText("Hi"), NOW)], None, NOW)
        await store.seen((await store.append(message(guest))).message.conversation, 2)
        for one in (known, guest):
            await store.identify(SITE, one, Profile(identity="42"), NOW)
        assert await self.seen(store, known) == seen


class TestOutbox:
    async def test_a_claim_keeps_others_off_until_it_ends(self, store: Store) -> None:
        conversation = (await store.append(message(visitor()))).message.conversation
        first = await claim(store, conversation)
        again = await store.claim(SLACK, conversation, NOW, NOW + timedelta(minutes=1), whole)
        assert again is None
        later = NOW + timedelta(minutes=2)
        second = await claim(store, conversation, later)
        assert second.uncertain
        assert second.members == first.members
        with pytest.raises(Conflict):
            await store.settle(first, Outcome.SENT, "", later)

    async def test_a_retry_has_the_same_plan_and_goes_on_after_the_last_receipt(self, store: Store) -> None:
        conversation = (await store.append(message(visitor()))).message.conversation

        def three_parts(pending: Iterator[Pending], _: Profile) -> Plan:
            ids = tuple(each.id for each in pending)
            return Plan(ids, tuple((Slice(id, 0, 1),) for id in (*ids, ids[0])))

        first = await store.claim(SLACK, conversation, NOW, NOW + timedelta(minutes=1), three_parts)
        assert first
        await store.receipt(first, 0, RemoteId("r0"), NOW + timedelta(minutes=1))
        await store.settle(first, Outcome.RETRY, "later", NOW)
        second = await claim(store, conversation)
        assert (second.id, second.plan, second.done, second.attempts) == (first.id, first.plan, 1, 2)
        assert not second.uncertain

    async def test_what_was_claimed_at_a_crash_is_uncertain(self, store: Store) -> None:
        conversation = (await store.append(message(visitor()))).message.conversation
        await claim(store, conversation)
        assert await store.recover(NOW) == 1
        assert (await claim(store, conversation)).uncertain

    async def test_what_was_claimed_at_a_crash_does_not_wait_for_a_clock_that_was_set_forward(
        self, store: Store
    ) -> None:
        conversation = (await store.append(message(visitor()))).message.conversation
        await claim(store, conversation)
        await store.recover(NOW + timedelta(hours=1))
        assert (await claim(store, conversation)).uncertain

    async def test_what_waits_for_another_attempt_at_a_restart_waits_no_longer(self, store: Store) -> None:
        """The clock by which it was to wait may have been set back while nothing ran."""
        appended = await store.append(message(visitor()))
        first = await claim(store, appended.message.conversation)
        await store.settle(first, Outcome.RETRY, "out of reach", NOW + timedelta(minutes=5))
        await store.recover(NOW)
        again = await claim(store, appended.message.conversation)
        assert (again.id, again.uncertain) == (first.id, False)

    async def test_a_notice_among_what_is_claimed_holds_no_claim_up_however_large(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author, destinations=lambda *_: (SLACK, DESK)))
        conversation = appended.message.conversation
        for number in range(60):
            await store.append(message(author, str(number)))

        def all_of_them(pending: Iterator[Pending], _: Profile) -> Plan:
            return Plan(tuple(each.id for each in pending), ())

        first = await store.claim(SLACK, conversation, NOW, NOW + timedelta(minutes=1), all_of_them)
        assert first
        await store.settle(first, Outcome.UNCERTAIN, "no answer", NOW)
        at_desk = await store.claim(DESK, conversation, NOW, NOW + timedelta(minutes=1), whole)
        assert at_desk
        await store.tell_elsewhere(at_desk, "no rights", "The desk is down", NOW)
        again = await claim(store, conversation)
        assert [member.id for member in again.members] == [member.id for member in first.members]
        await store.settle(again, Outcome.SENT, "", NOW, RemoteId("all"))
        assert (await claim(store, conversation)).members[0].notice == "The desk is down"

    async def test_a_delivery_is_not_due_before_its_time(self, store: Store) -> None:
        conversation = (await store.append(message(visitor()))).message.conversation
        later = NOW + timedelta(seconds=30)
        await store.settle(await claim(store, conversation), Outcome.RETRY, "429", later)
        assert await store.claim(SLACK, conversation, NOW, later, whole) is None
        assert await store.waiting(SLACK, 10) == [Waiting(conversation, later, Precedence.TEXT)]
        await claim(store, conversation, later)

    async def test_what_waits_is_told_by_its_head_also_where_a_notice_shares_the_entry(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        await linked(store, appended)
        conversation = appended.message.conversation
        await store.settle(await claim(store, conversation), Outcome.DEAD, "too odd", NOW)
        assert await store.waiting(SLACK, 10) == [Waiting(conversation, NOW, Precedence.COSMETIC)]
        later = NOW + timedelta(hours=1)
        await store.revive(None, later)
        assert await store.waiting(SLACK, 10) == [Waiting(conversation, later, Precedence.TEXT)]
        assert await store.claim(SLACK, conversation, NOW, later, whole) is None
        await store.append(message(author, "second", at=later))
        assert (await store.waiting(SLACK, 10))[0].due == later

    async def test_what_waits_is_as_urgent_as_the_best_of_it(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        await linked(store, appended)
        conversation = appended.message.conversation
        await store.settle(await claim(store, conversation), Outcome.DEAD, "too odd", NOW)
        await store.append(message(author, "second"))
        assert await store.waiting(SLACK, 10) == [Waiting(conversation, NOW, Precedence.TEXT)]
        notice = await store.settle(await claim(store, conversation), Outcome.RETRY, "429", NOW)
        assert notice.next is Precedence.TEXT

    async def test_an_uncertain_claim_knows_the_last_receipt_before_it(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        conversation = appended.message.conversation
        assert (await claim(store, conversation)).after is None
        await store.recover(NOW)
        await linked(store, appended)
        await claim(store, conversation)
        await store.recover(NOW)
        first = await claim(store, conversation)
        assert first.after == "card"
        await store.settle(first, Outcome.SENT, "", NOW, RemoteId("r1"))
        await store.append(message(author))
        await claim(store, conversation)
        await store.recover(NOW)
        assert (await claim(store, conversation)).after == "r1"

    async def test_states_are_told_over_all_destinations(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author, destinations=lambda *_: (SLACK, DESK)))
        conversation = appended.message.conversation
        await linked(store, appended)  # settles the opening at Slack
        dead = await store.settle(await claim(store, conversation), Outcome.DEAD, "too odd", NOW)
        assert [change.state for change in dead.changes] == [DeliveryState.WAITING]
        assert dead.next is Precedence.COSMETIC  # the notice in its place
        for _ in range(2):
            at_desk = await store.claim(DESK, conversation, NOW, NOW + timedelta(minutes=1), whole)
            assert at_desk
            settled = await store.settle(at_desk, Outcome.SENT, "", NOW)
        assert [(change.of, change.state) for change in settled.changes] == [(2, DeliveryState.SENT)]
        assert (await entries(store, author))[1].delivery is DeliveryState.SENT  # type: ignore[union-attr]

    async def test_a_file_that_is_given_up_is_dead_by_itself_and_those_behind_it_wait(self, store: Store) -> None:
        author = visitor()
        files = [StoredFile(Attachment(FileId(f"{n:032}"), f"{n}.png", "image/png", 9), author, NOW) for n in range(3)]
        for file in files:
            await store.add_file(file)
        appended = await store.append(message(author, attachments=tuple(file.attachment.id for file in files)))
        conversation = appended.message.conversation
        await linked(store, appended)

        def shown(pending: Pending) -> list[str]:
            assert isinstance(pending.entry, Message)
            return [pending.entry.text, *(file.name for file in pending.entry.attachments)]

        def with_files(pending: Iterator[Pending], _: Profile) -> Plan:
            first = next(pending)
            texts = (Slice(first.id, 0, 5),)
            return Plan((first.id,), (texts, *((Slice(first.id, 0, 0, index),) for index in range(3))))

        whole_message = await store.claim(SLACK, conversation, NOW, NOW + timedelta(minutes=1), with_files)
        assert whole_message
        assert shown(whole_message.members[0]) == ["Hello", "0.png", "1.png", "2.png"]
        for part in range(2):
            await store.receipt(whole_message, part, RemoteId(f"r{part}"), NOW + timedelta(minutes=1))
        settled = await store.settle(whole_message, Outcome.DEAD, "too odd", NOW)
        (dead,) = await store.outbox("dead", 9)
        assert settled.dead == dead.id != whole_message.id
        assert [change.state for change in settled.changes] == [DeliveryState.WAITING]
        notice = await claim(store, conversation)
        assert notice.members[0].notice == "The file 1.png could not be shown here: too odd"
        await store.settle(notice, Outcome.DEAD, "too odd", NOW)  # which gets no notice of its own
        behind = await claim(store, conversation)
        assert shown(behind.members[0]) == ["", "2.png"]
        sent = await store.settle(behind, Outcome.SENT, "", NOW, RemoteId("r2"))
        assert [change.state for change in sent.changes] == [DeliveryState.SENT]
        await store.revive([dead.id], NOW)
        again = await claim(store, conversation)
        assert shown(again.members[0]) == ["", "1.png"]
        await store.settle(again, Outcome.DEAD, "too odd", NOW)
        assert {row.id for row in await store.outbox("dead", 9)} == {dead.id, notice.id}

    async def test_a_text_that_is_given_up_is_dead_without_its_files_which_wait(self, store: Store) -> None:
        author = visitor()
        file = StoredFile(Attachment(FileId("0" * 32), "0.png", "image/png", 9), author, NOW)
        await store.add_file(file)
        appended = await store.append(message(author, attachments=(file.attachment.id,)))
        conversation = appended.message.conversation
        await linked(store, appended)

        def halves(pending: Iterator[Pending], _: Profile) -> Plan:
            first = next(pending)
            return Plan((first.id,), ((Slice(first.id, 0, 2),), (Slice(first.id, 2, 5),), (Slice(first.id, 0, 0, 0),)))

        whole_message = await store.claim(SLACK, conversation, NOW, NOW + timedelta(minutes=1), halves)
        assert whole_message
        await store.receipt(whole_message, 0, RemoteId("r0"), NOW + timedelta(minutes=1))
        settled = await store.settle(whole_message, Outcome.DEAD, "too odd", NOW)
        assert (settled.dead, [change.state for change in settled.changes]) == (
            whole_message.id,
            [DeliveryState.WAITING],
        )
        await store.settle(await claim(store, conversation), Outcome.SENT, "", NOW, RemoteId("notice"))
        behind = await claim(store, conversation)
        assert isinstance(entry := behind.members[0].entry, Message)
        assert (entry.text, entry.attachments) == ("", (file.attachment,))
        sent = await store.settle(behind, Outcome.SENT, "", NOW, RemoteId("r1"))
        assert [change.state for change in sent.changes] == [DeliveryState.FAILED]
        (dead,) = await store.outbox(None, 9)
        assert (dead.id, dead.what, dead.state) == (whole_message.id, "text", "dead")
        await store.revive([dead.id], NOW)
        again = await claim(store, conversation)
        assert (again.done, len(again.plan.parts)) == (1, 2)
        assert isinstance(entry := again.members[0].entry, Message)
        assert (entry.text, entry.attachments) == ("Hello", ())
        sent = await store.settle(again, Outcome.SENT, "", NOW, RemoteId("r2"))
        assert [change.state for change in sent.changes] == [DeliveryState.SENT]

    async def test_what_is_looked_for_of_a_file_by_itself_stands_behind_the_rest_of_its_message(
        self, store: Store
    ) -> None:
        author = visitor()
        files = [StoredFile(Attachment(FileId(f"{n:032}"), "same.png", "image/png", 9), author, NOW) for n in range(2)]
        for file in files:
            await store.add_file(file)
        new = message(author, attachments=tuple(file.attachment.id for file in files))
        appended = await store.append(new)
        conversation = appended.message.conversation
        await linked(store, appended)

        def with_files(pending: Iterator[Pending], _: Profile) -> Plan:
            first = next(pending)
            return Plan((first.id,), tuple((Slice(first.id, 0, 0, index),) for index in range(2)))

        both = await store.claim(SLACK, conversation, NOW, NOW + timedelta(minutes=1), with_files)
        assert both
        await store.receipt(both, 0, RemoteId("first"), NOW + timedelta(minutes=1))
        await store.settle(both, Outcome.DEFECT, "odd", NOW)
        again = await claim(store, conversation)
        settled = await store.settle(again, Outcome.DEAD, "odd", NOW)
        await store.settle(await claim(store, conversation), Outcome.SENT, "", NOW, RemoteId("notice"))
        assert settled.dead
        await store.revive([settled.dead], NOW)
        revived = await claim(store, conversation)
        assert (revived.uncertain, revived.after) == (True, "first")

    async def test_a_notice_stands_in_the_place_of_what_is_dead(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        await linked(store, appended)
        await store.append(message(author, "second"))
        conversation = appended.message.conversation
        await store.settle(await claim(store, conversation), Outcome.DEAD, "too odd", NOW)
        notice = await claim(store, conversation)
        assert "too odd" in (notice.members[0].notice or "")
        await store.settle(notice, Outcome.SENT, "", NOW)
        entry = (await claim(store, conversation)).members[0].entry
        assert entry
        assert entry.text == "second"

    async def test_a_former_thread_still_resolves_beside_its_successor(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        conversation = appended.message.conversation
        former = await linked(store, appended)
        sending = await claim(store, conversation)
        await store.abandon_thread(sending, "deleted", stands=True)
        await store.settle(sending, Outcome.RETRY, "deleted", NOW)
        again = await claim(store, conversation)
        assert again.thread.thread is None
        assert again.plan == sending.plan
        await store.opening(again, Token("t2"), NOW)
        await store.opened(again, Opened(ThreadKey("T2")), NOW)
        for thread in (former, ThreadKey("T2")):
            assert await store.conversation_of(SLACK.adapter, thread) == (conversation, author)
        assert await store.threads(conversation) == [(SLACK, ThreadKey("T2"))]

    async def test_a_crash_after_a_thread_was_given_up_keeps_no_plan_for_it(self, store: Store) -> None:
        appended = await store.append(message(visitor()))
        await linked(store, appended)
        broken = await broken_off(store, appended.message.conversation)
        await store.abandon_thread(broken, "deleted", stands=False)
        await store.recover(NOW)
        again = await claim(store, appended.message.conversation)
        assert (again.plan.parts, again.done, again.after) == (((Slice(broken.id, 0, 5),),), 0, "card")
        (member,) = again.members
        assert member.past
        assert member.past.reason == "deleted"

    async def test_what_stood_partly_in_a_former_thread_is_whole_in_its_successor(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        await linked(store, appended)
        conversation = appended.message.conversation
        await store.append(message(author, "second"))
        given_up = [await broken_off(store, conversation)]
        await store.settle(given_up[0], Outcome.DEAD, "too odd", NOW)
        await store.settle(await claim(store, conversation), Outcome.SENT, "", NOW, RemoteId("notice"))
        given_up.append(await broken_off(store, conversation))
        await store.settle(given_up[1], Outcome.DEAD, "too odd", NOW)
        await store.revive([given_up[0].id], NOW)
        await store.append(message(author, "third"))
        sending = await claim(store, conversation)
        await store.abandon_thread(sending, "deleted", stands=False)
        await store.settle(sending, Outcome.RETRY, "deleted", NOW)
        await linked(store, appended, "T2")
        await store.revive([given_up[1].id], NOW)
        again = await claim(store, conversation)
        assert (again.id, again.done, again.plan.parts) == (given_up[1].id, 0, ((Slice(given_up[1].id, 0, 5),),))

    async def test_an_open_thread_is_not_opened_again(self, store: Store) -> None:
        appended = await store.append(message(visitor()))
        await linked(store, appended)
        with pytest.raises(Conflict):
            await store.opening(await claim(store, appended.message.conversation), Token("t2"), NOW)


async def test_pages_of_conversations_leave_none_out(store: Store) -> None:
    for at in (NOW, NOW, NOW, NOW - timedelta(seconds=1)):
        await linked(store, await store.append(replace(message(visitor()), at=at)))
    first = await store.summaries(SLACK.adapter, None, 2)
    assert [each.active_at for each in first] == [NOW] * 3
    assert len(await store.summaries(SLACK.adapter, first[-1].active_at, 2)) == 1


class TestCatchingUp:
    async def test_live_threads_are_those_of_the_last_active_conversations(self, store: Store) -> None:
        quiet, busy = NOW + timedelta(minutes=1), NOW + timedelta(minutes=2)
        for key, active in (("busy", busy), ("old", NOW), ("quiet", quiet)):
            owner = visitor()
            await linked(store, await store.append(message(owner)), key)
            await store.append(message(owner, "again", at=active))
        minute = timedelta(minutes=1)
        assert await store.live(SLACK.adapter, busy, minute, 10) == ["busy", "quiet"]
        assert await store.live(SLACK.adapter, busy, 2 * minute, 1) == ["busy"]
        assert await store.live(DESK.adapter, busy, 2 * minute, 10) == []

    async def test_other_adapters_conversations_leave_live_threads_their_place(self, store: Store) -> None:
        await linked(store, await store.append(message(visitor())), "mine")
        for _ in range(3):
            await store.append(replace(message(visitor(), destinations=lambda *_: (DESK,)), at=NOW + timedelta(1)))
        assert await store.live(SLACK.adapter, NOW + timedelta(days=300), timedelta(days=2), 1) == ["mine"]

    async def test_an_hour_of_a_wrong_clock_takes_no_thread_from_the_live_ones(self, store: Store) -> None:
        await linked(store, await store.append(message(visitor())), "mine")
        await store.append(replace(message(visitor()), at=NOW + timedelta(days=365)))
        assert await store.live(SLACK.adapter, NOW, timedelta(days=2), 10) == ["mine"]

    async def test_a_former_thread_is_live_as_its_successor_is(self, store: Store) -> None:
        appended = await store.append(message(visitor()))
        await linked(store, appended)
        sending = await claim(store, appended.message.conversation)
        await store.abandon_thread(sending, "deleted", stands=True)
        await store.settle(sending, Outcome.RETRY, "deleted", NOW)
        await linked(store, appended, "T2")
        assert sorted(await store.live(SLACK.adapter, NOW, timedelta(), 1)) == ["T1", "T2"]

    async def test_known_are_staffs_last_messages_with_notes_but_without_what_is_deleted(self, store: Store) -> None:
        thread = await linked(store, await store.append(message(visitor())))
        texts = {"r1": "one", "r2": "// a note", "r3": "three", "r4": "", "r5": "five"}
        written = [StaffMessage(thread, RemoteId(id), ANNA, RichText(text), NOW) for id, text in texts.items()]
        edit = StaffEdit(thread, RemoteId("r1"), ANNA, RichText("uno"), NOW, "v1")
        gone = StaffDeletion(thread, RemoteId("r3"), NOW)
        await store.take(SLACK.adapter, [*written, edit, gone], None, NOW)
        assert await store.known(SLACK.adapter, thread, 9) == ["r5", "r4", "r2", "r1"]
        assert await store.known(SLACK.adapter, thread, 3) == ["r5", "r4", "r2"]
        assert await store.known(SLACK.adapter, ThreadKey("T0"), 9) == []

    async def test_a_message_with_nothing_to_show_is_noted_and_not_shown(self, store: Store) -> None:
        author = visitor()
        thread = await linked(store, await store.append(message(author)))
        before = await entries(store, author)
        (taken,) = await store.take(
            SLACK.adapter, [StaffMessage(thread, RemoteId("r1"), ANNA, RichText(" "), NOW)], None, NOW
        )
        assert taken.entry is None
        assert await entries(store, author) == before


class TestIdentity:
    async def known(self, store: Store, identity: str = "42") -> VisitorId:
        author = visitor()
        await store.append(message(author, "from before", profile=Profile(identity=identity, name="Eve")))
        return author

    async def identify(self, store: Store, guest: VisitorId, identity: str = "42") -> VisitorId:
        return (await store.identify(SITE, guest, Profile(identity=identity, name="Eve"), NOW)).visitor

    async def test_nothing_is_stored_of_one_who_wrote_nothing(self, store: Store) -> None:
        guest = visitor()
        assert await self.identify(store, guest) == guest
        assert await store.visitor(guest) is None

    async def test_an_unknown_identity_is_bound_to_the_visitor(self, store: Store) -> None:
        guest = visitor()
        await store.append(message(guest))
        assert await self.identify(store, guest) == guest
        assert await self.identify(store, visitor()) == guest

    async def test_a_known_identity_takes_over_the_guests_log(self, store: Store) -> None:
        known, guest = await self.known(store), visitor()
        appended = await store.append(message(guest, "as a guest"))
        thread = await linked(store, appended)
        assert await self.identify(store, guest) == known
        log = await entries(store, known)
        assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
        assert [entry.text for entry in log if entry.text] == ["from before", "as a guest"]
        assert await entries(store, guest) == []
        state = await store.visitor(known)
        assert state
        assert state.open_conversation == log[0].conversation
        # The guest's thread still leads to the same person.
        found = await store.conversation_of(SLACK.adapter, thread)
        assert found
        assert found[1] == known

    async def test_the_guests_log_takes_nothing_more(self, store: Store) -> None:
        known, guest = await self.known(store), visitor()
        await store.append(message(guest))
        identified = await store.identify(SITE, guest, Profile(identity="42"), NOW)
        assert (identified.visitor, identified.merged) == (known, True)
        assert identified.closed
        assert identified.closed.destinations == (SLACK,)
        with pytest.raises(Merged):
            await store.append(message(guest))
        state = await store.visitor(guest)
        assert state
        assert state.merged
        assert await store.read(guest, 2) == 0  # a tab that does not know of it yet

    async def test_another_person_at_the_same_browser_starts_afresh(self, store: Store) -> None:
        known = await self.known(store)
        other = await self.identify(store, known, "43")
        assert other != known
        assert await entries(store, other) == []

    async def test_two_devices_of_one_new_person_lose_nothing(self, store: Store) -> None:
        first, second = await self.known(store), await self.known(store)
        assert len(await entries(store, second)) == 2
        assert await self.identify(store, second) == first
        assert len([entry for entry in await entries(store, first) if entry.text == "from before"]) == 2


class TestOperating:
    async def dead(self, store: Store, author: VisitorId) -> DeliveryId:
        """Give up a visitor's second message; return its delivery."""
        await linked(store, await store.append(message(author)))
        second = (await store.append(message(author, "second"))).message
        first = await claim(store, second.conversation)
        await store.settle(first, Outcome.SENT, "", NOW, RemoteId("r1"))
        claimed = await claim(store, second.conversation)
        await store.settle(claimed, Outcome.DEAD, "too odd", NOW)
        await store.settle(await claim(store, second.conversation), Outcome.SENT, "", NOW, RemoteId("notice"))
        return claimed.id

    async def conversation(self, store: Store, author: VisitorId) -> ConversationId:
        state = await store.visitor(author)
        assert state
        assert state.open_conversation
        return state.open_conversation

    async def test_a_revived_delivery_is_planned_anew_with_its_first_time(self, store: Store) -> None:
        author, later = visitor(), NOW + timedelta(hours=5)
        id = await self.dead(store, author)
        assert (await entries(store, author))[2].delivery is DeliveryState.FAILED  # type: ignore[union-attr]
        assert await store.revive([id], later) == 1
        assert (await entries(store, author))[2].delivery is DeliveryState.WAITING  # type: ignore[union-attr]
        again = await claim(store, await self.conversation(store, author), later)
        assert (again.id, again.done, again.uncertain, again.since) == (id, 0, False, NOW)
        settled = await store.settle(again, Outcome.SENT, "", later, RemoteId("r2"))
        assert [(change.of, change.state) for change in settled.changes] == [(3, DeliveryState.SENT)]

    async def test_what_may_be_in_the_thread_may_be_there_however_often_it_is_refused_and_revived(
        self, store: Store
    ) -> None:
        appended = await store.append(message(visitor()))
        await linked(store, appended)
        conversation = appended.message.conversation
        first = await claim(store, conversation)
        await store.recover(NOW)  # it ended while it was being sent
        for _ in range(3):
            again = await claim(store, conversation)
            assert (again.plan, again.uncertain) == (first.plan, True)
            await store.settle(again, Outcome.DEAD, "too odd", NOW)
            await store.settle(await claim(store, conversation), Outcome.SENT, "", NOW, RemoteId("notice"))
            assert await store.revive(None, NOW) == 1

    async def test_what_is_planned_anew_without_a_look_may_still_be_in_the_thread(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        await linked(store, appended)
        conversation = appended.message.conversation
        await claim(store, conversation)
        await store.recover(NOW)
        await store.settle(await claim(store, conversation), Outcome.ANEW, "late", NOW)
        await store.append(message(author, "second"))

        def both(pending: Iterator[Pending], _: Profile) -> Plan:
            return Plan(tuple(each.id for each in pending), ())

        again = await store.claim(SLACK, conversation, NOW, NOW + timedelta(minutes=1), both)
        assert again
        assert (len(again.members), again.uncertain) == (2, True)

    async def test_what_is_partly_in_the_thread_goes_on_where_it_broke_off(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        await linked(store, appended)
        conversation = appended.message.conversation
        broken = await broken_off(store, conversation)
        await store.settle(broken, Outcome.DEAD, "too odd", NOW)
        assert await store.revive(None, NOW) == 1
        again = await claim(store, conversation)
        assert (again.plan, again.done, again.after) == (broken.plan, 1, RemoteId(f"half {broken.id}"))

    async def test_members_of_one_plan_are_revived_together(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        await linked(store, appended)
        await store.append(message(author, "second"))

        def both(pending: Iterator[Pending], _: Profile) -> Plan:
            ids = tuple(each.id for each in pending)
            return Plan(ids, (tuple(Slice(id, 0, 5) for id in ids),))

        conversation = appended.message.conversation
        joined = await store.claim(SLACK, conversation, NOW, NOW + timedelta(minutes=1), both)
        assert joined
        await store.settle(joined, Outcome.DEAD, "too odd", NOW)
        await store.settle(await claim(store, conversation), Outcome.SENT, "", NOW, RemoteId("notice"))
        assert await store.revive([joined.plan.members[1]], NOW) == 2
        await store.drop(joined.plan.members[0], NOW)
        assert (await claim(store, conversation)).plan.members == joined.plan.members[1:]

    async def test_a_dropped_message_has_failed_and_is_gone_from_the_queue(self, store: Store) -> None:
        author = visitor()
        id = await self.dead(store, author)
        await store.drop(id, NOW)
        assert await store.outbox(None, 10) == []
        assert (await entries(store, author))[2].delivery is DeliveryState.FAILED  # type: ignore[union-attr]
        hints = await store.deliveries(author, 3)
        assert [(hint.of, hint.state) for hint in hints] == [(2, DeliveryState.SENT), (3, DeliveryState.FAILED)]

    async def test_what_a_visitor_repeats_is_revived_where_it_was_given_up(self, store: Store) -> None:
        author, later = visitor(), NOW + timedelta(hours=5)
        await self.dead(store, author)
        second = (await entries(store, author))[2]
        assert isinstance(second, Message)
        assert second.client_id
        repeat = message(author, "second", second.client_id, later)
        again = await store.append(repeat)
        assert (again.repeat, again.message.seq, again.message.delivery) == (True, 3, DeliveryState.WAITING)
        assert (await store.append(repeat)).message.delivery is None
        sending = await claim(store, second.conversation, later)
        await store.settle(sending, Outcome.SENT, "", later, RemoteId("r2"))
        assert (await store.append(repeat)).message.delivery is None
        assert [
            each.delivery for each in await entries(store, author) if isinstance(each, Message) and each.client_id
        ] == [
            DeliveryState.SENT,
            DeliveryState.SENT,
        ]

    async def test_what_the_operator_dropped_has_failed_also_when_it_is_repeated(self, store: Store) -> None:
        author = visitor()
        await store.drop(await self.dead(store, author), NOW)
        second = (await entries(store, author))[2]
        assert isinstance(second, Message)
        assert second.client_id
        again = await store.append(message(author, "second", second.client_id))
        assert again.message.delivery is DeliveryState.FAILED

    async def test_what_has_a_part_that_was_given_up_is_not_repeated(self, store: Store) -> None:
        """Where it arrived somewhere, the rest is the operator's."""
        author = visitor()
        both = message(author, destinations=lambda *_: (SLACK, DESK))
        appended = await store.append(both)
        conversation = appended.message.conversation
        await linked(store, appended)
        await store.settle(await claim(store, conversation), Outcome.SENT, "", NOW, RemoteId("r1"))
        for _ in appended.entries:
            claimed = await store.claim(DESK, conversation, NOW, NOW + timedelta(minutes=1), whole)
            assert claimed
            await store.settle(claimed, Outcome.DEAD, "too odd", NOW)
        assert (await store.append(both)).message.delivery is None

    async def test_the_id_of_what_was_dropped_is_not_used_again(self, store: Store) -> None:
        author = visitor()
        appended = await store.append(message(author))
        await linked(store, appended)
        (dropped,) = await store.outbox(None, 10)
        await store.drop(dropped.id, NOW)
        with pytest.raises(Conflict, match=f"no delivery {dropped.id}"):
            await store.drop(dropped.id, NOW)
        await store.append(message(author, "second"))
        assert (await claim(store, appended.message.conversation)).id > dropped.id

    async def test_what_is_not_dead_is_not_revived(self, store: Store) -> None:
        appended = await store.append(message(visitor()))
        (row, *_) = await store.outbox("pending", 10)
        for id in (row.id, DeliveryId(999)):
            with pytest.raises(Conflict, match=str(id)):
                await store.revive([id], NOW)
        assert await store.revive(None, NOW) == 0
        await linked(store, appended)

    async def test_what_is_sent_or_being_sent_is_not_dropped(self, store: Store) -> None:
        appended = await store.append(message(visitor()))
        sending = await claim(store, appended.message.conversation)
        with pytest.raises(Conflict, match="being sent"):
            await store.drop(sending.id, NOW)
        await store.settle(sending, Outcome.SENT, "", NOW, RemoteId("r"))
        with pytest.raises(Conflict, match="is sent"):
            await store.drop(sending.id, NOW)
        with pytest.raises(Conflict, match="999"):
            await store.drop(DeliveryId(999), NOW)


class TestMeasuring:
    async def test_the_backlog_is_what_is_not_sent_by_destination_and_state(self, store: Store) -> None:
        assert await store.backlog(100) == []
        both = message(visitor(), destinations=lambda *_: (SLACK, DESK), at=NOW + timedelta(minutes=1))
        appended = await store.append(both)
        earlier = await store.append(message(visitor()))  # each has an opening, which is delivered too
        assert by_place(await store.backlog(100)) == {
            (SLACK, "pending"): (4, NOW),
            (DESK, "pending"): (2, both.at),
        }
        await claim(store, appended.message.conversation, both.at)
        dead = await claim(store, earlier.message.conversation)
        await store.settle(dead, Outcome.DEAD, "too odd", NOW)
        assert by_place(await store.backlog(100)) == {
            (SLACK, "pending"): (3, NOW),  # two messages, and a notice in the place of what is dead
            (SLACK, "claimed"): (1, both.at),
            (SLACK, "dead"): (1, NOW),
            (DESK, "pending"): (2, both.at),
        }

    async def test_which_ways_are_down_is_kept_until_they_are_up(self, store: Store) -> None:
        await store.lane_down(SLACK, "no network")
        await store.lane_down(SLACK, "wrong token")
        await store.lane_down(DESK, "no network")
        assert await store.lanes_down() == {SLACK: "wrong token", DESK: "no network"}
        await store.lane_down(SLACK, None)
        assert await store.lanes_down() == {DESK: "no network"}

    async def test_what_is_sent_is_no_backlog(self, store: Store) -> None:
        appended = await store.append(message(visitor()))
        while (
            await store.settle(await claim(store, appended.message.conversation), Outcome.SENT, "", NOW)
        ).next is not None:
            pass
        assert await store.backlog(100) == []

    async def test_a_long_backlog_is_not_counted_to_its_end(self, store: Store) -> None:
        author = visitor()
        for _ in range(5):
            appended = await store.append(message(author))
        assert by_place(await store.backlog(3)) == {(SLACK, "pending"): (3, NOW)}
        for _ in range(5):
            await store.settle(await claim(store, appended.message.conversation), Outcome.DEAD, "too odd", NOW)
        found = by_place(await store.backlog(2))
        assert found[SLACK, "dead"] == (2, NOW)

    async def test_failed_operations_are_counted_and_answers_are_not(self, store: Store) -> None:
        conversation = (await store.append(message(visitor()))).message.conversation
        with pytest.raises(Conflict):
            await store.drop(DeliveryId(999), NOW)
        assert store.errors == 0
        with pytest.raises(StoreError):
            await store.lane_down(SLACK, "half of a character: \ud83d")
        assert store.errors == 1
        await claim(store, conversation)
        assert store.errors == 1


def by_place(backlog: Sequence[Backlog]) -> dict[tuple[Destination, str], tuple[int, datetime]]:
    found = {(each.destination, each.state): (each.count, each.oldest) for each in backlog}
    assert len(found) == len(backlog)
    return found
