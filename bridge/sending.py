"""Carrying out a plan: opening its thread, looking for what may have been sent, sending the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from zlib import crc32

import structlog

from bridge import planning
from bridge.conversations import Conversations
from bridge.deliveries import PAST, Claim, Outcome
from bridge.errors import DeliveryError, OutcomeUnknown, Rejected, ThreadGone, Unstorable
from bridge.model import (
    AdapterName,
    Attachment,
    ConversationId,
    DeliveryId,
    Destination,
    Opened,
    Part,
    RemoteId,
    ThreadKey,
    Token,
)
from bridge.ports import Adapter, Clock, FindsSent, FindsThread, Revises, send_within
from bridge.storage import Store

CLAIM = timedelta(minutes=6)
"""How long a claim lasts: a wait for the budget and a send (`_SEND`) lie well within it."""
_GRACE = 5.0
"""By how many seconds an adapter may miss its own deadline before it is cut off."""
_SEND = 20.0 + _GRACE
_AHEAD = timedelta(days=1)
"""By so much the host's clock may have been ahead of the platform's when something was sent."""
_REMEMBERED = 10_000
"""For how many claims it is known that no thread could be opened: others may have been dropped."""
_CUTS, _CUT_FOR = 3, timedelta(minutes=5)
"""So often, and for so long, a file is tried whose upload is cut off."""
log = structlog.get_logger()
T = TypeVar("T")


class RejectedAsPlanned(Rejected):
    """Joined in one part, behind what went before, or as a change of what stands: give up that alone, not the text."""


class Patiently(Protocol):
    """Writes something down, though the store refuses at first. Raises StoreError where that cannot be waited for."""

    async def __call__(self, write: Callable[[], Awaitable[T]]) -> T: ...


class Overdue(Exception):
    """A plan without a receipt comes so late that it is to show its time: it has to be made anew."""


class Sender:
    """Carries out claimed plans at one destination, each from the first part without a receipt."""

    def __init__(
        self, destination: Destination, adapter: Adapter, store: Store, conversations: Conversations, clock: Clock,
        found: Callable[[AdapterName, ThreadKey], None],
        take_budget: Callable[[ConversationId, datetime], Awaitable[None]], patiently: Patiently,
    ) -> None:  # fmt: skip
        self.possible_duplicates = 0
        """How often something was sent again although it may stand there, as the adapter cannot look."""
        self.revises = adapter if isinstance(adapter, Revises) else None
        self._finds_sent = adapter if isinstance(adapter, FindsSent) else None
        self._finds_thread = adapter if isinstance(adapter, FindsThread) else None
        self._destination = destination
        self._adapter = adapter
        self._store = store
        self._conversations = conversations
        self._clock = clock
        self._found = found
        self._take_budget = take_budget
        self._patiently = patiently
        self._tried: set[DeliveryId] = set()
        """Claims for which this process has tried to open a thread, in vain so far."""

    @property
    def can_look(self) -> bool:
        """Whether the platform can be searched for what may have been sent."""
        return self._finds_sent is not None

    async def send(self, claim: Claim, *, last_look: bool = False) -> tuple[Outcome, RemoteId | None]:
        """Send what has no Receipt yet. Returns SENT with the last part's, which is committed along with it, or TOLD.

        Raises Overdue where what was looked for is not there, or nobody can look, and it is late by now. With
        `last_look` what is next is refused unless it is found.
        """
        if claim.plan.defect:
            refused = RejectedAsPlanned if claim.plan.compound else Rejected
            raise refused(claim.plan.defect)
        thread, receipt, spent = await self._thread(claim)
        parts = list(planning.parts(claim, self._adapter.capabilities))
        if self.revises and claim.plan.revises is not None:
            await self._revise(self.revises, thread, claim.plan.revises, parts, last_look=last_look)
            return Outcome.SENT, claim.plan.revises
        file = self._cut_out(claim, parts)
        if file is not None:
            parts[claim.done] = planning.in_place_of(file, claim.reason, silent=claim.plan.silent)
        tokens = self._tokens(claim, thread)
        found = await self._find(claim, thread, parts, tokens) if claim.uncertain else {}
        if not found:
            self._go_on(claim, last_look=last_look)
        until = claim.until
        for index in range(claim.done, len(parts)):
            token = tokens[index]
            receipt = found.get(token)
            if receipt is None:
                if spent:
                    await self._take_budget(claim.conversation, until)
                spent = True
                receipt = await self._send_slices(claim, index, thread, parts[index], token)
            if file is not None:
                return Outcome.TOLD, None
            if index < len(parts) - 1:
                until = await self._keep(claim, index, receipt)
        return Outcome.SENT, receipt

    def _go_on(self, claim: Claim, *, last_look: bool) -> None:
        """Raise where what is next, and was not found, is not to be sent as it is planned."""
        if last_look and claim.thread.thread is not None:
            doubt = "; it may stand above nevertheless" if claim.uncertain and not self.can_look else ""
            raise (RejectedAsPlanned if claim.plan.compound else Rejected)(f"{claim.reason}, time and again{doubt}")
        if claim.uncertain and planning.is_overdue(claim, self._clock.now()):
            raise Overdue

    async def _revise(
        self, adapter: Revises, thread: ThreadKey, remote: RemoteId, parts: Sequence[Part], *, last_look: bool
    ) -> None:
        """Change a remote message, or delete it where nothing is to stand there. Either may be done twice."""
        if last_look:  # it can be told as a text
            raise RejectedAsPlanned("it was tried time and again")
        change = adapter.edit(thread, remote, parts[0]) if parts else adapter.delete(thread, remote)
        try:
            await _within(_SEND, change)
        except Rejected as error:
            raise RejectedAsPlanned(error.reason) from error
        except ThreadGone as error:
            if error.stands:
                raise
            # The message is gone with it, and a successor would show it as it is by now.
            log.info("revised_message_gone", destination=str(self._destination), reason=str(error))

    async def _keep(self, claim: Claim, index: int, receipt: RemoteId) -> datetime:
        """Commit that a part is sent, and return how long the claim lasts from then on."""

        async def write() -> datetime:
            until = self._clock.now() + CLAIM
            await self._store.receipt(claim, index, receipt, until)
            return until

        return await self._patiently(write)

    def _cut_out(self, claim: Claim, parts: Sequence[Part]) -> Attachment | None:
        """Return the file that is next, where its upload was cut off so long that staff are to be told instead.

        Only once that has got through the file is given up: else nothing gets through, and it is tried again.
        """
        if claim.cut_since is None or claim.cuts < _CUTS or self._clock.now() - claim.cut_since < _CUT_FOR:
            return None
        return parts[claim.done].attachment

    async def _send_slices(self, claim: Claim, index: int, thread: ThreadKey, part: Part, token: Token) -> RemoteId:
        """Send a part of a plan. Where it is refused, what need not be given up with it is tried again without it."""
        repeats = claim.uncertain and index == claim.done and self._finds_sent is None
        try:
            return await self._send_part(thread, part, token, repeats=repeats)
        except Rejected as error:
            if len(claim.plan.parts[index]) > 1 or claim.plan.parts[index][0].delivery == PAST:
                raise RejectedAsPlanned(error.reason) from error
            raise

    async def _send_part(self, thread: ThreadKey, part: Part, token: Token, *, repeats: bool) -> RemoteId:
        """Send one part; count it where it may be the second of its kind, and was not certainly refused."""
        refused = False
        try:
            return await _within(send_within(part) + _GRACE, self._adapter.send(thread, part, token))
        except DeliveryError as error:
            refused = not isinstance(error, OutcomeUnknown)
            raise
        finally:  # after an error that nobody foresaw, too
            self.possible_duplicates += repeats and not refused

    async def _find(
        self, claim: Claim, thread: ThreadKey, parts: Sequence[Part], tokens: Sequence[Token]
    ) -> Mapping[Token, RemoteId]:
        """Look which parts arrived although nobody told us."""
        if self._finds_sent is None:
            return {}
        sought = dict(zip(tokens[claim.done :], parts[claim.done :], strict=True))
        if not sought:  # the card, which its thread shows by itself, was all
            return {}
        return await _within(_SEND, self._finds_sent.find_sent(thread, sought, claim.since - _AHEAD, claim.after))

    async def _thread(self, claim: Claim) -> tuple[ThreadKey, RemoteId | None, bool]:
        """Return the conversation's thread, opened where there is none, its card, and whether that cost a call."""
        state = claim.thread
        if state.thread is not None:
            return state.thread, None, False
        opened, spent = None, False
        # Another than a former thread's, which may stand; the same after a restore, whatever was tried in between.
        token = state.token or self._token(claim, crc32((state.former or "").encode()) & 0xFFFF, "t")
        # Of what was certainly refused something may stand, such as a card: who made it knows, until the process ends.
        forgotten = claim.attempts > 1 and claim.id not in self._tried
        if self._finds_thread and (state.token or claim.uncertain or forgotten):  # uncertain alone after a restore
            since = (state.opening_since or claim.since) - _AHEAD
            look = self._finds_thread.find_thread(self._destination.channel, token, since)
            opened = await _within(_SEND, look)
        elif state.token:
            self.possible_duplicates += 1
        was_found = opened is not None
        if opened is None:
            if len(self._tried) >= _REMEMBERED:
                self._tried.clear()
            self._tried.add(claim.id)
            opened, spent = await self._open(claim, token), True
        self._tried.discard(claim.id)
        # What staff wrote before this commit was parked, and is taken by it.
        try:
            parked = await self._patiently(lambda: self._store.opened(claim, opened, self._clock.now()))
        except Unstorable as error:  # nor would another's be: what goes into this one now stands there
            log.error(
                "thread_unstorable", destination=str(self._destination), conversation=claim.conversation,
                reason=str(error), lost="what staff write in it does not reach the visitor",
            )  # fmt: skip
            await self._patiently(lambda: self._store.not_opened(claim))
            return opened.thread, opened.card, spent
        self._conversations.announce(parked)
        if was_found:  # what they wrote while we did not even know of it
            self._found(self._destination.adapter, opened.thread)
        return opened.thread, opened.card, spent

    async def _open(self, claim: Claim, token: Token) -> Opened:
        now = self._clock.now()
        # Not on the event loop: the time zone of the first visitor from there is a file.
        card = await asyncio.to_thread(planning.card, claim.conversation, claim.profile, now)
        await self._store.opening(claim, token, now)
        try:
            return await _within(_SEND, self._adapter.open_thread(self._destination.channel, card, token))
        except OutcomeUnknown:
            raise
        except DeliveryError:  # there is certainly none, and no event of an unknown thread is waited for
            await self._store.not_opened(claim)
            raise

    def _token(self, claim: Claim, number: int, kind: str = ".") -> Token:
        return Token(f"{self._store.generation_of(claim.id)}{claim.id:x}{kind}{number}")

    def _tokens(self, claim: Claim, thread: ThreadKey) -> Sequence[Token]:
        """Name the parts of a plan: in each thread by other names, as some may stand in a former one."""
        kind, ahead = f".{crc32(thread.encode('utf-8', 'replace')) & 0xFFFF:x}", claim.plan.ahead
        return [  # a delivery's own parts have the same names where it is planned without what went before
            self._token(claim, index, f"{kind}p") if index < ahead else self._token(claim, index - ahead, f"{kind}.")
            for index in range(len(claim.plan.parts))
        ]


async def _within(seconds: float, call: Awaitable[T]) -> T:
    """Await an adapter's call; one that takes too long has an unknown outcome."""
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError as error:
        raise OutcomeUnknown(f"no answer within {seconds:.0f} s") from error
