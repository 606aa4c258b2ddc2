"""One visitor's exchange on one connection: frames in, frames out, in the order of the log. Knows no transport.

Every frame that brings a new `seq` passes `_bring`: hints, the reader's own appends and what a gap lacked alike. So
they leave in ascending order, whatever came first, and a hint that got lost costs only a look into the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from bridge.conversations import Caller, Conversations
from bridge.errors import StoreError, StoreFull, WireCode, WireError
from bridge.gateway import wire
from bridge.gateway.admission import Admission
from bridge.hints import DeliveryHint, Hint, LogHint, MergedHint, ReadHint, SeenHint, TypingHint, Wakeups
from bridge.model import AuthorKind, ConversationId, DeliveryState, Entry, Event, FileId, Message, Page
from bridge.storage import Appended

log = structlog.get_logger()

MAX_WAITING = 1000
MAX_WAITING_BYTES = 4 * 1024 * 1024
"""What may wait for a slow reader, in frames and bytes; past either it is dropped, and resumes by its `seq`."""
_MAX_BAD_FRAMES = 20
_MAX_HELD = 200

RESTART = 1012
"""Come back at once."""
TRY_LATER = 1013
POLICY = 1008

_ENDS = {WireCode.UNKNOWN_SITE, WireCode.ORIGIN_NOT_ALLOWED, WireCode.BLOCKED}


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions share."""

    conversations: Conversations
    wakeups: Wakeups
    admission: Admission
    encoder: wire.Encoder


class Session:
    """Feed it frames in turn; send what `pop` gives; end the connection where `closing` is set or it has `overflown`.

    `wake` is called when a hint left something to do (`settle`, then `pop`) that no `feed` under way is about to find.
    """

    __slots__ = (
        "_address",
        "_bad_frames",
        "_bytes",
        "_caller",
        "_conversation",
        "_greeted",
        "_held",
        "_in_flight",
        "_known",
        "_origin",
        "_out",
        "_read",
        "_seen",
        "_sent",
        "_services",
        "_unfollow",
        "_wake",
        "closing",
        "overflown",
    )

    def __init__(self, services: Services, origin: str | None, address: str, wake: Callable[[], None]) -> None:
        self._services = services
        self._origin = origin
        self._address = address
        self._wake = wake
        self._out: list[bytes] = []  # a deque would hold 600 bytes for each idle connection
        self._bytes = 0
        self._caller: Caller | None = None
        self._conversation: ConversationId | None = None
        self._sent = 0
        """The highest `seq` that was given out."""
        self._known = 0
        """The highest `seq` that is known to exist. Beyond `_sent` there is a gap to read."""
        self._read = 0
        self._seen = 0
        self._in_flight: str | None = None
        """The client id whose append is under way here: its entry leaves as an ack."""
        self._held: list[Hint] = []
        """Hints that came before the welcome; after it, states of messages that lie in a gap."""
        self._bad_frames = 0
        self._greeted = False
        self._unfollow: Callable[[], None] | None = None
        self.closing: int | None = None
        self.overflown = False

    # --- what the transport calls -------------------------------------------------------------------------------------

    async def feed(self, data: bytes) -> None:
        """Take one frame. Whatever is wrong with it becomes an error frame."""
        if self.closing is not None:
            return
        try:
            frame = wire.decode(data)
            await self._take(frame)
            self._bad_frames = 0
        except Exception as error:  # noqa: BLE001 - `told` logs what is not the client's
            self._refuse(told(error), data)

    async def greet(self, hello: wire.HelloFrame) -> None:
        """Answer a hello with the welcome, and follow the log from there. Raises WireError, StoreError."""
        services = self._services
        self._greeted = True
        site = services.admission.site(hello.site, self._origin)
        if hello.token is None:
            visitor = services.conversations.new_visitor()
            token = services.admission.issue(visitor, site)
        else:
            shown = services.admission.show(hello.token, site)
            visitor, token = shown.visitor, shown.token
        profile = services.admission.profile(site, hello)
        if profile.identity is not None:
            known = await services.conversations.identify(site, visitor, profile)
            if known != visitor:  # what the client holds is another visitor's log
                visitor, token = known, services.admission.issue(known, site)
        await self._welcome(Caller(visitor, site, profile), token, hello.log, hello.after)

    async def settle(self) -> None:
        """Read what the log has beyond what was given out, where it is known to have more."""
        while self._known > self._sent and self._caller is not None and not self.overflown:
            known = self._known
            try:
                entries = await self._services.conversations.since(self._caller.visitor, self._sent)
            except StoreError:
                self.closing = TRY_LATER
                return
            self._bring(entries)
            if not entries and self._known == known:  # else a hint has come meanwhile
                self._known = self._sent
        held, self._held = self._held, []
        for hint in held:
            if not isinstance(hint, DeliveryHint) or hint.of <= self._sent:
                self._apply(hint)

    @property
    def waiting(self) -> bool:
        """Whether there is something to send or to settle."""
        return bool(self._out) or self._behind or self.closing is not None or self.overflown

    def pop(self) -> bytes | None:
        """Return the next frame to send."""
        if not self._out:
            return None
        frame = self._out.pop(0)
        self._bytes -= len(frame)
        return frame

    def beat(self) -> None:
        """Let the client hear that the connection lives."""
        if self._caller is not None:
            self._push(wire.ALIVE)
            self._wake()

    def expire(self) -> None:
        """End it where no hello has come in time. One whose token or identity was refused may say another."""
        if not self._greeted and self.closing is None:
            self.closing = POLICY
            self._wake()

    def end(self) -> None:
        """Let go of everything, also of whoever holds this. Called once, whatever happened before."""
        if self._unfollow:
            self._unfollow()
            self._unfollow = None
        self._wake = _nobody

    # --- frames -------------------------------------------------------------------------------------------------------

    async def _take(self, frame: wire.ClientFrame) -> None:
        if type(frame) is wire.HelloFrame:
            if self._caller is not None:
                raise WireError(WireCode.BAD_FRAME, "There is one hello on a connection.")
            await self.greet(frame)
            return
        caller = self._caller
        if caller is None:
            raise WireError(WireCode.BAD_FRAME, "The first frame is a hello.")
        if type(frame) is wire.MessageFrame:
            await self._message(caller, frame)
            return
        self._services.admission.small_frame(caller.visitor)
        await self._small(caller, frame)

    async def _small(self, caller: Caller, frame: wire.ClientFrame) -> None:
        conversations = self._services.conversations
        match frame:
            case wire.TypingFrame(on=on):
                conversations.typing(caller.visitor, self._conversation, on)
            case wire.ReadFrame(seq=seq):
                before = self._read
                if (seq := min(seq, self._sent)) > before:
                    self._read = seq  # before the hint comes, which is for the other connections
                    try:
                        await conversations.read(caller.visitor, seq)
                    except StoreError:
                        self._read = before
                        raise
            case wire.PageFrame():
                page = frame.to_page()
                if page != caller.profile.page:
                    self._moved(caller, page)
                    await conversations.moved(caller.visitor, page)
            case wire.TrackFrame():
                conversations.track(caller, frame.to_text())
            case wire.HistoryFrame(before=before):
                history = await conversations.history(caller.visitor, before)
                self._push(self._services.encoder.history(history))

    def _moved(self, caller: Caller, page: Page) -> None:
        page = replace(page, referrer=caller.profile.page.referrer)
        self._caller = replace(caller, profile=replace(caller.profile, page=page))

    async def _welcome(self, caller: Caller, token: str, log_name: str | None, after: int) -> None:
        services, visitor = self._services, caller.visitor
        # Listening before reading: what is committed in between comes as a hint, and is held until the welcome is out.
        unfollow = services.wakeups.follow(visitor, self._hear)
        try:
            resumption = await services.conversations.resume(visitor, log_name, after)
        except BaseException:
            unfollow()
            self._held = []
            raise
        self._unfollow = unfollow
        self._caller = caller
        self._conversation = resumption.conversation
        self._sent = resumption.seq
        self._known = resumption.seq
        self._read = resumption.read
        self._seen = resumption.seen
        log_name = services.conversations.log_of(visitor)
        self._push(services.encoder.welcome(token, visitor, log_name, resumption, caller.site))
        held, self._held = self._held, []
        for hint in held:
            self._apply(hint)

    async def _message(self, caller: Caller, frame: wire.MessageFrame) -> None:
        admission = self._services.admission
        admission.message(caller.visitor)
        opens = self._conversation is None
        if opens:
            admission.opening(self._address)
        taken = False
        self._in_flight = frame.id
        try:
            appended = await self._services.conversations.send(
                caller, frame.id, frame.text, [FileId(file) for file in frame.attachments], self._conversation
            )
            taken = not appended.repeat
            await self._acknowledge(appended)
        finally:
            self._in_flight = None
            if opens and not taken:
                admission.not_opened(self._address)

    async def _acknowledge(self, appended: Appended) -> None:
        """Give the ack, unless the hint of this very append has done so already."""
        if self._in_flight is None:
            return
        self._bring(() if appended.repeat else appended.entries)
        if self._in_flight is not None:  # a repeat, or others' entries lie in between
            self._known = max(self._known, appended.message.seq)
            await self.settle()
        if self._in_flight is not None and self.closing is None:
            self._push(wire.ack(appended.message))

    # --- the log ------------------------------------------------------------------------------------------------------

    @property
    def _behind(self) -> bool:
        return self._caller is not None and self._known > self._sent

    def _bring(self, entries: Sequence[Entry]) -> None:
        """Give out entries, as far as they follow what was given out: a repeat is passed over, a gap is noted."""
        for entry in entries:
            if entry.seq > self._sent + 1:
                self._known = max(self._known, entry.seq)
            elif entry.seq == self._sent + 1:
                self._sent = entry.seq
                self._known = max(self._known, entry.seq)
                self._give(entry)

    def _give(self, entry: Entry) -> None:
        if isinstance(entry, Message):
            self._note_conversation(entry)
            if self._in_flight is not None and entry.client_id == self._in_flight:
                self._in_flight = None
                self._push(wire.ack(entry))
                if entry.delivery is DeliveryState.SENT:
                    self._push(wire.delivery(DeliveryHint(entry.visitor, entry.seq, entry.delivery)))
                return
        self._push(self._services.encoder.entry(entry))
        if isinstance(entry, Message) and entry.author.kind is AuthorKind.STAFF:
            self._see(entry.seq)

    def _see(self, seq: int) -> None:
        """Tell up to where staff have seen what the visitor wrote: who answers has seen what went before."""
        if seq > self._seen:
            self._seen = seq
            self._push(wire.seen(seq))

    def _note_conversation(self, message: Message) -> None:
        if message.event is Event.CLOSED:
            if message.conversation == self._conversation:
                self._conversation = None
        elif message.event is not None or message.author.kind is AuthorKind.VISITOR:
            self._conversation = message.conversation

    # --- hints --------------------------------------------------------------------------------------------------------

    def _hear(self, hint: Hint) -> None:
        """Take a hint. Called by whoever published it: queues, never waits."""
        if self._caller is None:
            self._hold(hint)
            return
        in_flight = self._in_flight
        self._apply(hint)
        # Where the hint brought the entry of our own append, that is about to return, and its reader sends the ack.
        if self.waiting and self._in_flight is in_flight:
            self._wake()

    def _hold(self, hint: Hint) -> None:
        if len(self._held) < _MAX_HELD:
            self._held.append(hint)
        elif isinstance(hint, LogHint):
            self._held[-1] = LogHint(hint.visitor)  # makes it look into the store

    def _apply(self, hint: Hint) -> None:
        if type(hint) is LogHint:  # the most frequent by far
            if not hint.entries:
                self._known = max(self._known, self._sent + 1)
            self._bring(hint.entries)
            return
        match hint:
            case DeliveryHint():
                self._deliver(hint)
            case ReadHint(seq=seq):
                if seq > self._read:
                    self._read = seq
                    self._push(wire.read(seq))
            case SeenHint(seq=seq):
                self._see(seq)
            case MergedHint():
                self.closing = RESTART
            case TypingHint(author=author, on=on):
                if author.kind is AuthorKind.STAFF:
                    self._push(self._services.encoder.typing(author, on))

    def _deliver(self, hint: DeliveryHint) -> None:
        if hint.of > self._sent:  # its message has not come yet
            self._known = max(self._known, hint.of)
            self._hold(hint)
        else:
            self._push(wire.delivery(hint))

    # --- out ----------------------------------------------------------------------------------------------------------

    def _push(self, frame: bytes) -> None:
        if self.overflown:
            return
        if len(self._out) >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES:
            self.overflown = True
            self._out.clear()
            return
        self._out.append(frame)
        self._bytes += len(frame)

    def _refuse(self, error: WireError, data: bytes) -> None:
        self._push(wire.error(error, wire.frame_id(data)))
        if error.code is WireCode.BAD_FRAME:
            self._bad_frames += 1
            if self._bad_frames >= _MAX_BAD_FRAMES:
                self.closing = POLICY
        elif error.code in _ENDS:
            self.closing = POLICY
        elif error.code is WireCode.UNAVAILABLE and self._caller is None:
            self.closing = TRY_LATER


def _nobody() -> None:
    """Wake nobody."""


def told(error: Exception) -> WireError:
    """Return what a client is told of whatever went wrong; log what is ours."""
    match error:
        case WireError():
            return error
        case StoreFull():
            return WireError(WireCode.STORE_FULL, "There is no room at the moment. Keep it and try again.")
        case StoreError():
            pass  # the store has told the operator, once
        case _:
            log.error("frame_failed", exc_info=error)
    return WireError(WireCode.UNAVAILABLE, "This does not work at the moment. Keep it and try again.")
