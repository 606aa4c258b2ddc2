"""One bot: sends into forum topics, hears staff by long polling or by a webhook."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import structlog
from telegram import Bot, InputFile, LinkPreviewOptions, Message
from telegram.error import BadRequest, ChatMigrated, Conflict, RetryAfter, TelegramError

from adapters.telegram import checks, errors, inbound, outbound
from adapters.telegram.late import LateFiles
from adapters.telegram.receiving import Receiver
from adapters.telegram.request import AiohttpRequest
from adapters.telegram.settings import Settings
from bridge.errors import AuthFailed, OutcomeUnknown, Rejected, RetryLater, Scope, StoreError, ThreadGone
from bridge.model import Attachment, Card, Opened, Part, Piece, RemoteId, StaffMessage, ThreadKey, Token
from bridge.ports import (
    AdapterState,
    Capabilities,
    Finding,
    House,
    HttpRequest,
    HttpResponse,
    InboundSink,
    Link,
    send_within,
)

_log = structlog.get_logger()
T = TypeVar("T")

_FILE_LIMIT: Final = 50 * 1024 * 1024
_PHOTO_LIMIT: Final = 10 * 1024 * 1024
_PHOTOS: Final = frozenset({"image/jpeg", "image/png", "image/webp"})
_DEADLINE: Final = 18.0
"""For everything that one call of the outbox asks, but for a send, whose file may take longer."""
_SPARE: Final = 2.0
"""How much earlier than it must a send ends."""
_SECOND: Final = 3.0
"""What the first request of a send leaves to a second one."""
_POLL: Final = 30
_POLL_DEADLINE: Final = 40.0
_WEBHOOK_LOOK: Final = 60.0
_LONGEST_WAIT: Final = 60.0
_NO_PREVIEW: Final = LinkPreviewOptions(is_disabled=True)
_SECRET_HEADER: Final = "x-telegram-bot-api-secret-token"


class TelegramAdapter:
    """One instance: a bot and its groups. Revises, Checks, ServesHttp."""

    def __init__(self, settings: Settings, house: House) -> None:
        self._settings = settings
        self._house = house
        self._request = AiohttpRequest()
        token = settings.token.get_secret_value()
        self._bot = Bot(
            token,
            base_url=f"{settings.api_url}/bot",
            base_file_url=f"{settings.api_url}/file/bot",
            request=self._request,
            get_updates_request=self._request,
        )
        self._receiver = Receiver(self._bot, house)
        self._late = LateFiles(self._bot, house, self._receiver)
        self._sink: InboundSink | None = None
        self._chats = {settings.chat_id, *(int(each) for each in house.channels if _is_chat(each))}
        self._moved: dict[int, int] = {}
        """Groups that have become supergroups: their ids as configured, and from then on. Telegram tells each time."""
        self._looked = False
        self._lacking: Finding | None = None
        """What keeps the bot from hearing and answering in a group, when we last looked."""
        self._failures = 0
        made = hmac.new(token.encode(), f"webhook of {house.name}".encode(), hashlib.sha256).hexdigest()
        given = settings.webhook_secret
        self._secret = given.get_secret_value() if given is not None else made

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            text_limit=outbound.TEXT_LIMIT,
            budget=self._settings.budget,
            coalesces=True,
            card_in_thread=False,
            file_limit=_FILE_LIMIT,
        )

    def measure(self, pieces: Sequence[Piece]) -> int:
        return outbound.measure(pieces)

    # --- receiving

    async def run(self, sink: InboundSink) -> None:
        self._sink = sink
        self._late = LateFiles(self._bot, self._house, self._receiver)
        await self._request.initialize()
        sink.state(AdapterState(Link.CONNECTING))
        receive = self._poll if self._settings.mode == "polling" else self._serve_webhook
        error: TelegramError | StoreError | None = None
        try:
            while True:
                try:
                    await self._late.follow(await sink.owed(), sink)
                    await receive(sink, error)
                except (TelegramError, StoreError) as raised:
                    error = raised
                await self._wait_after(sink, error)
        finally:
            self._sink = None
            await self._late.close()
            await self._request.shutdown()

    async def _wait_after(self, sink: InboundSink, error: TelegramError | StoreError | None) -> None:
        if isinstance(error, TelegramError):
            sink.state(errors.down(error))
        if self._failures == 0:
            _log.warning("receiving_failed", adapter=self._house.name, error=type(error).__name__)
        wait = min(_LONGEST_WAIT, 0.5 * 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._failures += 1
        if isinstance(error, RetryAfter):
            wait = max(wait, errors.wait_of(error))
        await self._house.clock.sleep(wait)

    async def _up(self, sink: InboundSink) -> None:
        if not self._looked or self._lacking is not None:
            await self._look_at_rights()
        if self._lacking is not None:
            sink.state(AdapterState(Link.DOWN, self._lacking.what, self._lacking.remedy))
            return
        told = [errors.migrated_remedy(*moved) for moved in self._moved.items()]
        sink.state(AdapterState(Link.UP, errors.MIGRATED if told else "", "; ".join(told)))

    async def _look_at_rights(self) -> None:
        """See that Telegram tells the bot what people write: where it does not, nothing else fails."""
        chats = sorted({self._moved.get(chat, chat) for chat in self._chats})
        findings = [finding for chat in chats async for finding in checks.group(self._bot, chat, self._bot.id)]
        self._lacking = next((finding for finding in findings if not finding.ok), None)
        self._looked = True

    async def _poll(self, sink: InboundSink, failed: Exception | None) -> None:
        await self._bot.get_me()
        await self._bot.delete_webhook()
        offset = await sink.cursor()
        # The first answer tells soon that all is well; after a conflict only a whole long poll would show that
        seconds = _POLL if isinstance(failed, Conflict) else 0
        while True:
            # The library's `get_updates` gives nothing of a batch with one bad update, and logs their texts. Method
            # names are taken in any case; in the library's own spelling it warns.
            updates: Any = await self._bot.do_api_request(
                "GetUpdates",
                api_kwargs={
                    "timeout": seconds,
                    "allowed_updates": inbound.ALLOWED_UPDATES,
                    **({"offset": int(offset)} if offset else {}),
                },
                read_timeout=_POLL_DEADLINE,
            )
            if seconds:
                self._failures = 0
            seconds = _POLL
            if updates:
                # Not the highest: after a week without updates Telegram may start again at a lower number
                offset = str(updates[-1]["update_id"] + 1)
                await self._take(updates, sink, offset)
            await self._up(sink)

    async def _serve_webhook(self, sink: InboundSink, _failed: Exception | None) -> None:
        await self._bot.get_me()
        await self._set_webhook()
        await self._up(sink)
        while True:
            await self._house.clock.sleep(_WEBHOOK_LOOK)
            info = await self._bot.get_webhook_info()
            self._failures = 0
            if info.url != self._webhook_url:
                _log.warning("webhook_was_replaced", adapter=self._house.name)
                await self._set_webhook()
            elif info.pending_update_count and info.last_error_message:
                remedy = "see that `gateway.public_url` is reachable from the internet over https"
                sink.state(AdapterState(Link.DOWN, f"Telegram says: {info.last_error_message}", remedy))
            else:
                await self._up(sink)

    async def _set_webhook(self) -> None:
        await self._bot.set_webhook(
            self._webhook_url, allowed_updates=inbound.ALLOWED_UPDATES, secret_token=self._secret
        )

    async def _take(self, updates: Sequence[Any], sink: InboundSink, cursor: str | None) -> None:
        """Commit what updates say, then do what may follow. Raises StoreError."""
        batch = await self._receiver.read(updates, sink)
        if self._sink is None:  # ended meanwhile: what could not be fetched any more is whole when it comes again
            raise StoreError("the adapter has ended")
        events = [event for event in batch.events if not self._late.has(event)]
        if events or cursor is not None:
            await sink.take(events, cursor)
        for before, now in batch.moved:
            self._move(before, now)
        self._looked = self._looked and not (batch.rights or batch.moved)
        if any(isinstance(event, StaffMessage) and event.owed for event in events):
            await self._late.follow(await sink.owed(), sink)  # those that were not known

    # --- ServesHttp

    @property
    def mount(self) -> str:
        return f"/hooks/{self._house.name}"

    @property
    def _webhook_url(self) -> str:
        return f"{self._house.public_url}{self.mount}"

    async def handle(self, request: HttpRequest) -> HttpResponse:
        refusal = self._refusal(request)
        if refusal is not None or (sink := self._sink) is None:
            return HttpResponse(refusal or 503)
        try:
            update = json.loads(request.body)
        except ValueError:
            # Sent again it would be no better, and all of the group would wait for it
            _log.warning("update_dropped", adapter=self._house.name, error="not JSON")
            return HttpResponse(200)
        try:
            await self._take([update], sink, None)
        except StoreError as error:
            _log.warning("receiving_failed", adapter=self._house.name, error=type(error).__name__)
            return HttpResponse(503)
        return HttpResponse(200)

    def _refusal(self, request: HttpRequest) -> int | None:
        if self._settings.mode != "webhook" or request.path:
            return 404
        if request.method != "POST":
            return 405
        given = request.headers.get(_SECRET_HEADER, "")
        return None if hmac.compare_digest(given.encode(), self._secret.encode()) else 403

    # --- sending

    async def open_thread(self, channel: str, card: Card, token: Token) -> Opened:  # noqa: ARG002 - no place for one
        chat = self._chat(channel)
        name = outbound.topic_name(card.title, f"Conversation {card.conversation}")
        try:
            topic = await self._asked(chat, lambda: self._bot.create_forum_topic(chat, name))
        except ThreadGone as error:  # of all threads: the group has another id from now on
            raise RetryLater(str(error), 0.0, Scope.THREAD) from error
        return Opened(ThreadKey(f"{chat}/{topic.message_thread_id}"))

    async def send(self, thread: ThreadKey, part: Part, token: Token) -> RemoteId:  # noqa: ARG002 - no place for one
        chat, topic = inbound.address(thread)
        content = await self._content(part.attachment)
        deadline = send_within(part) - _SPARE
        return await self._asked(chat, lambda: self._sent(chat, topic, part, content), deadline)

    def permalink(self, thread: ThreadKey) -> str | None:
        return outbound.permalink(*inbound.address(thread))

    async def edit(self, thread: ThreadKey, remote_id: RemoteId, part: Part) -> None:
        chat, _ = inbound.address(thread)
        await self._asked(chat, lambda: self._edited(chat, int(remote_id), part))

    async def delete(self, thread: ThreadKey, remote_id: RemoteId) -> None:
        chat, _ = inbound.address(thread)
        await self._asked(chat, lambda: self._deleted(chat, int(remote_id)))

    async def _asked(self, chat: int, call: Callable[[], Awaitable[T]], deadline: float = _DEADLINE) -> T:
        """Do what the outbox wants of a group, within its time, and raise only what it understands."""
        try:
            async with asyncio.timeout(deadline):
                return await call()
        except TelegramError as error:
            if isinstance(error, ChatMigrated):
                self._move(chat, error.new_chat_id)
            former = chat not in {self._moved.get(each, each) for each in self._chats}
            raise errors.translate(error, former=former) from error
        except TimeoutError as error:
            raise OutcomeUnknown("Telegram did not answer in time") from error

    async def _sent(self, chat: int, topic: int, part: Part, content: bytes) -> RemoteId:
        try:
            message = await self._posted(chat, topic, part, content)
        except BadRequest as error:
            if errors.says(error, errors.NO_THREAD):
                await self._need_topics(chat)
            if not errors.says(error, errors.CLOSED):
                raise
            # Somebody closed the topic: the refused send took no effect, so it may follow the reopening
            await self._reopen(chat, topic)
            message = await self._posted(chat, topic, part, content)
        return RemoteId(str(message.message_id))

    async def _need_topics(self, chat: int) -> None:
        """Leave it to the operator where no topic can be found because the group has none any more."""
        if not (await self._bot.get_chat(chat)).is_forum:
            raise AuthFailed("the group's topics are switched off", errors.FORUM_REMEDY)

    async def _reopen(self, chat: int, topic: int) -> None:
        try:
            await self._bot.reopen_forum_topic(chat, topic)
        except BadRequest as error:
            # Somebody was faster
            if not errors.says(error, errors.OPEN_ALREADY):
                raise

    async def _posted(self, chat: int, topic: int, part: Part, content: bytes) -> Message:
        rendered = outbound.render(part.pieces)
        deadline = send_within(part) - _SPARE - _SECOND
        silent = True if part.silent else None
        if part.attachment is None:
            return await _seen(
                rendered,
                lambda seen: self._bot.send_message(
                    chat,
                    seen.text,
                    message_thread_id=topic,
                    disable_notification=silent,
                    entities=seen.entities,
                    link_preview_options=_NO_PREVIEW,
                    read_timeout=deadline,
                ),
            )
        file = InputFile(content, filename=part.attachment.name)
        caption, entities = rendered.text, rendered.entities
        if part.attachment.type in _PHOTOS and part.attachment.size <= _PHOTO_LIMIT:
            try:
                return await self._bot.send_photo(
                    chat,
                    file,
                    message_thread_id=topic,
                    disable_notification=silent,
                    caption=caption,
                    caption_entities=entities,
                    read_timeout=deadline,
                )
            except BadRequest as error:
                if not errors.says(error, *errors.NO_PHOTO):
                    raise
        return await self._bot.send_document(
            chat,
            file,
            message_thread_id=topic,
            disable_notification=silent,
            caption=caption,
            caption_entities=entities,
            read_timeout=deadline,
        )

    async def _edited(self, chat: int, message: int, part: Part) -> None:
        rendered = outbound.render(part.pieces)
        try:
            if part.attachment is None:
                await _seen(
                    rendered,
                    lambda seen: self._bot.edit_message_text(
                        seen.text, chat, message, entities=seen.entities, link_preview_options=_NO_PREVIEW
                    ),
                )
            else:
                await self._bot.edit_message_caption(
                    chat, message, caption=rendered.text, caption_entities=rendered.entities
                )
        except BadRequest as error:
            if not errors.says(error, errors.NOT_MODIFIED):
                raise

    async def _deleted(self, chat: int, message: int) -> None:
        try:
            await self._bot.delete_message(chat, message)
        except BadRequest as error:
            if not errors.says(error, errors.ALREADY_GONE):
                raise

    async def _content(self, attachment: Attachment | None) -> bytes:
        if attachment is None:
            return b""
        try:
            return await self._house.files.read(attachment.id)
        except FileNotFoundError:
            raise Rejected("the file is no longer kept") from None

    def _move(self, before: int, now: int) -> None:
        """Use a group's new id from now on, and tell the operator."""
        if before in self._chats and self._moved.get(before) != now:
            self._moved[before] = now
            _log.warning("group_migrated", adapter=self._house.name, remedy=errors.migrated_remedy(before, now))

    def _chat(self, channel: str) -> int:
        if channel and not _is_chat(channel):
            raise AuthFailed(f"{channel!r} is no group's id", errors.CHAT_REMEDY)
        chat = int(channel) if channel else self._settings.chat_id
        return self._moved.get(chat, chat)

    # --- Checks

    async def check(self, channels: Sequence[str]) -> Sequence[Finding]:
        findings, chats = [], []
        for channel in channels or [""]:
            try:
                chats.append(self._chat(channel))
            except AuthFailed as error:
                findings.append(Finding(False, str(error), error.remedy))
        webhook = self._webhook_url if self._settings.mode == "webhook" else None
        try:
            findings += [finding async for finding in checks.examine(self._bot, list(dict.fromkeys(chats)), webhook)]
        finally:
            if self._sink is None:
                await self._request.shutdown()
        return findings


async def _seen(rendered: outbound.Rendered, send: Callable[[outbound.Rendered], Awaitable[T]]) -> T:
    """Send a text or, where Telegram refuses it as empty, words that say so."""
    try:
        return await send(rendered)
    except BadRequest as error:
        if not errors.says(error, *errors.EMPTY):
            raise
    return await send(outbound.BLANK)


def _is_chat(channel: str) -> bool:
    return re.fullmatch(r"-\d+", channel, re.ASCII) is not None
