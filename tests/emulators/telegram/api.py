"""The Bot API's methods."""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from . import text as texts
from .spec import Upload
from .updates import Conflict, Updates
from .world import GENERAL, Group, Object, Topic, World

TEXT_LIMIT, CAPTION_LIMIT = 4096, 1024
PHOTO_LIMIT, UPLOAD_LIMIT, DOWNLOAD_LIMIT = 10 << 20, 50 << 20, 20 << 20
ICON_COLORS = {7322096, 16766590, 13338331, 9367192, 16749490, 16478047}
ACTIONS = {"typing", "upload_photo", "upload_document", "record_voice", "upload_voice", "find_location"}


class Refused(Exception):
    """A call that is answered with an error."""

    def __init__(self, status: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.parameters = parameters


def bad(description: str) -> Refused:
    return Refused(400, f"Bad Request: {description}")


class Api:
    """Answers calls. Each public method is one of the Bot API's, in snake case."""

    def __init__(
        self, world: World, updates: Updates, group_rate: tuple[int, float] | None, clock: Callable[[], float]
    ) -> None:
        self.world = world
        self.updates = updates
        self.group_rate = group_rate
        self.clock = clock
        self.violations: list[str] = []
        self.refused: set[str] = set()
        """What no message may hold."""
        self._sent: dict[int, deque[float]] = defaultdict(deque)

    # --- about the bot

    async def get_me(self) -> Object:
        return self.world.bot | {
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    async def get_updates(
        self,
        offset: int = 0,
        limit: int = 100,
        timeout: float = 0,  # noqa: ASYNC109 - the method's own parameter
        allowed_updates: list[str] | None = None,
    ) -> list[Object]:
        if allowed_updates is not None:
            self.updates.allowed = allowed_updates
        try:
            return await self.updates.get(offset, limit, timeout)
        except Conflict as conflict:
            raise Refused(409, str(conflict)) from None

    async def set_webhook(
        self,
        url: str,
        secret_token: str | None = None,
        allowed_updates: list[str] | None = None,
        drop_pending_updates: bool = False,
        **_: Any,
    ) -> bool:
        if allowed_updates is not None:
            self.updates.allowed = allowed_updates
        if drop_pending_updates:
            self.updates.pending.clear()
        if not url:
            await self.updates.delete_webhook()
        # The real one takes https alone; tests listen on plain http on this host
        elif not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise bad("bad webhook: An HTTPS URL must be provided for webhook")
        else:
            await self.updates.set_webhook(url, secret_token)
        return True

    async def delete_webhook(self, drop_pending_updates: bool = False) -> bool:
        if drop_pending_updates:
            self.updates.pending.clear()
        await self.updates.delete_webhook()
        return True

    async def get_webhook_info(self) -> Object:
        webhook = self.updates.webhook
        info: Object = {
            "url": webhook.url if webhook else "",
            "has_custom_certificate": False,
            "pending_update_count": len(self.updates.pending),
        }
        if webhook and webhook.last_error:
            info |= {"last_error_date": webhook.last_error[0], "last_error_message": webhook.last_error[1]}
        return info

    # --- about the chat

    async def get_chat(self, chat_id: int | str) -> Object:
        group = self._group(chat_id)
        no_gifts = dict.fromkeys(
            ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels"), False
        )
        more = {"accent_color_id": 1, "max_reaction_count": 11, "accepted_gift_types": no_gifts}
        return group.chat() | more

    async def get_chat_member(self, chat_id: int | str, user_id: int) -> Object:
        group = self._group(chat_id, even_left=True)
        if user_id != self.world.bot["id"]:
            person = next((p for p in self.world.people.values() if p["id"] == user_id), None)
            if person is None:
                raise bad("user not found")
            return {"status": "member", "user": person}
        return self.world.bot_member(group)

    # --- topics

    async def create_forum_topic(
        self, chat_id: int | str, name: str, icon_color: int = 7322096, icon_custom_emoji_id: str | None = None
    ) -> Object:
        group = self._forum(chat_id)
        self._need(group, "can_manage_topics", "not enough rights to create a topic")
        name = self._name(name)
        if icon_color not in ICON_COLORS:
            raise bad("invalid icon color specified")
        self._count(group)
        topic = self.world.open_topic(group, name, icon_color, self.world.bot)
        return {"message_thread_id": topic.id, "name": name, "icon_color": icon_color}

    async def edit_forum_topic(
        self, chat_id: int | str, message_thread_id: int, name: str = "", icon_custom_emoji_id: str | None = None
    ) -> bool:
        group, topic = self._topic(chat_id, message_thread_id)
        self._count(group)
        topic.name = self._name(name) if name else topic.name
        self._serve(group, topic, "forum_topic_edited", {"name": topic.name})
        return True

    async def close_forum_topic(self, chat_id: int | str, message_thread_id: int) -> bool:
        return self._closed(chat_id, message_thread_id, "forum_topic_closed", closed=True)

    async def reopen_forum_topic(self, chat_id: int | str, message_thread_id: int) -> bool:
        return self._closed(chat_id, message_thread_id, "forum_topic_reopened", closed=False)

    async def delete_forum_topic(self, chat_id: int | str, message_thread_id: int) -> bool:
        group, topic = self._topic(chat_id, message_thread_id)
        self._need(group, "can_delete_messages", "not enough rights to delete the topic")
        self.world.delete_topic(group, topic.id)
        return True

    # --- sending

    async def send_message(self, chat_id: int | str, text: str, **options: Any) -> Object:
        if any(each in text for each in self.refused):
            raise bad("strings must be encoded in UTF-8")
        return self._send(chat_id, options, self._text(text, options))

    async def send_photo(self, chat_id: int | str, photo: Upload | str, **options: Any) -> Object:
        file = self._uploaded(photo, options, PHOTO_LIMIT)
        if not file.type.startswith("image/") or not file.content:
            raise bad("IMAGE_PROCESS_FAILED")
        sizes = [self.world.described(file, width=side, height=side) for side in (90, 800)]
        return self._send(chat_id, options, {"photo": sizes} | self._caption(options))

    async def send_document(self, chat_id: int | str, document: Upload | str, **options: Any) -> Object:
        file = self._uploaded(document, options, UPLOAD_LIMIT)
        described = self.world.described(file, file_name=file.name, mime_type=file.type)
        return self._send(chat_id, options, {"document": described} | self._caption(options))

    async def send_chat_action(
        self, chat_id: int | str, action: str, message_thread_id: int | None = None, **_: Any
    ) -> bool:
        group = self._group(chat_id)
        self._writable(group, message_thread_id, closed_too=True)
        if action not in ACTIONS:
            raise bad("wrong parameter action in request")
        return True

    async def set_message_reaction(self, chat_id: int | str, message_id: int, **_: Any) -> bool:
        if message_id not in self._group(chat_id).messages:
            raise bad("message to react not found")
        return True

    # --- changing

    async def edit_message_text(
        self, text: str = "", chat_id: int | str = 0, message_id: int = 0, **options: Any
    ) -> Object:
        return self._edit(chat_id, message_id, lambda: self._text(text, options))

    async def edit_message_caption(self, chat_id: int | str = 0, message_id: int = 0, **options: Any) -> Object:
        return self._edit(chat_id, message_id, lambda: self._caption(options))

    async def delete_message(self, chat_id: int | str, message_id: int) -> bool:
        group = self._group(chat_id)
        message = group.messages.get(message_id)
        if message is None:
            raise bad("message to delete not found")
        old = self.world.now() - message["date"] > 48 * 3600
        if (old or message["from"]["id"] != self.world.bot["id"]) and "can_delete_messages" not in group.rights:
            raise bad("message can't be deleted")
        del group.messages[message_id]
        return True

    async def delete_messages(self, chat_id: int | str, message_ids: list[int]) -> bool:
        if not 1 <= len(message_ids) <= 100:
            raise bad("too many message identifiers specified")
        group = self._group(chat_id)
        for number in message_ids:
            group.messages.pop(number, None)
        return True

    # --- files and people

    async def get_file(self, file_id: str) -> Object:
        file = self.world.files.get(file_id)
        if file is None:
            raise bad("wrong file_id or the file is temporarily unavailable")
        if len(file.content) > DOWNLOAD_LIMIT:
            raise bad("file is too big")
        return self.world.described(file, file_path=file.path)

    async def get_user_profile_photos(self, user_id: int, offset: int = 0, limit: int = 100) -> Object:
        sizes = self.world.pictures.get(user_id)
        return {"total_count": 1 if sizes else 0, "photos": [sizes] if sizes else []}

    # --- shared

    def _group(self, chat_id: int | str, *, even_left: bool = False) -> Group:
        group = self.world.groups.get(int(chat_id)) if str(chat_id).lstrip("-").isdigit() else None
        if group is None:
            raise bad("chat not found")
        if group.migrated_to is not None:
            description = "Bad Request: group chat was upgraded to a supergroup chat"
            raise Refused(400, description, migrate_to_chat_id=group.migrated_to)
        if group.bot_status == "kicked" and not even_left:
            raise Refused(403, "Forbidden: bot was kicked from the supergroup chat")
        if group.bot_status == "left" and not even_left:
            raise Refused(403, "Forbidden: bot is not a member of the supergroup chat")
        return group

    def _forum(self, chat_id: int | str) -> Group:
        group = self._group(chat_id)
        if not group.forum:
            raise bad("the chat is not a forum")
        return group

    def _topic(self, chat_id: int | str, thread: int) -> tuple[Group, Topic]:
        group = self._forum(chat_id)
        if thread not in group.topics:
            raise bad("message thread not found")
        return group, group.topics[thread]

    def _need(self, group: Group, right: str, description: str) -> None:
        if group.bot_status != "administrator" or right not in group.rights:
            raise bad(description)

    def _name(self, name: str) -> str:
        name = " ".join(name.split())
        if not name:
            raise bad("topic name must be non-empty")
        # The real server cuts a longer one; nothing of ours should rely on that
        if len(name) > 128:
            self.violations.append("createForumTopic: a name of more than 128 characters")
        return name[:128]

    def _closed(self, chat_id: int | str, thread: int, event: str, *, closed: bool) -> bool:
        group, topic = self._topic(chat_id, thread)
        # An administrator who made the topic needs no right to manage topics
        if topic.creator != self.world.bot["id"] or group.bot_status != "administrator":
            self._need(group, "can_manage_topics", "not enough rights to close or open the topic")
        if topic.closed == closed:
            raise bad("TOPIC_NOT_MODIFIED")
        topic.closed = closed
        self._serve(group, topic, event, {})
        return True

    def _serve(self, group: Group, topic: Topic, event: str, value: Object) -> None:
        content: Object = {event: value}
        self.world.post(group, topic.id, self.world.bot, **content)

    def _writable(self, group: Group, thread: int | None, *, closed_too: bool = False) -> None:
        if thread is None or thread == GENERAL:
            return
        # Topics outlive the switch, but while it is off there are none
        if not group.forum or thread not in group.topics:
            raise bad("message thread not found")
        if group.topics[thread].closed and not closed_too:
            raise bad("TOPIC_CLOSED")

    def _send(self, chat_id: int | str, options: Object, content: Object) -> Object:
        group = self._group(chat_id)
        thread = options.get("message_thread_id")
        self._writable(group, thread)
        if not group.takes_files and "text" not in content:
            raise bad(f"not enough rights to send {next(iter(content))}s to the chat")
        self._count(group)
        return self.world.post(group, thread, self.world.bot, silent=True, **content)

    def _edit(self, chat_id: int | str, message_id: int, content: Callable[[], Object]) -> Object:
        group = self._group(chat_id)
        message = group.messages.get(message_id)
        if message is None:
            raise bad("message to edit not found")
        if message["from"]["id"] != self.world.bot["id"]:
            raise bad("message can't be edited")
        new = content()
        if all(message.get(key, []) == value for key, value in new.items()):
            raise bad(
                "message is not modified: specified new message content and reply markup are exactly the same as a "
                "current content and reply markup of the message"
            )
        self._count(group)
        message |= new | {"edit_date": int(self.world.now())}
        return message

    def _text(self, text: str, options: Object) -> Object:
        body, entities = self._formatted(text, options, "entities", TEXT_LIMIT, "message is too long", empty=False)
        return {"text": body, "entities": entities}

    def _caption(self, options: Object) -> Object:
        caption = options.get("caption") or ""
        body, entities = self._formatted(
            caption, options, "caption_entities", CAPTION_LIMIT, "message caption is too long", empty=True
        )
        return {"caption": body, "caption_entities": entities} if body else {}

    def _formatted(
        self, text: str, options: Object, key: str, limit: int, too_long: str, *, empty: bool
    ) -> tuple[str, list[Object]]:
        mode = options.get("parse_mode")
        entities = options.get(key) or []
        try:
            if mode is not None:
                if mode.lower() != "html":
                    raise bad("unsupported parse_mode")
                text, entities = texts.parse_html(text)
            self.violations += [f"{key}: {broken}" for broken in texts.overlaps(entities)]
            return texts.settled(text, entities, limit=limit, too_long=too_long, may_be_empty=empty)
        except texts.BadText as error:
            raise bad(str(error)) from None

    def _uploaded(self, value: Upload | str, options: Object, limit: int) -> Any:
        if isinstance(value, str):
            if value not in self.world.files:
                raise bad("wrong file identifier/HTTP URL specified")
            return self.world.files[value]
        if len(value.content) > limit:
            raise Refused(413, "Request Entity Too Large")
        return self.world.keep(value.name, value.type, value.content)

    def _count(self, group: Group) -> None:
        """Take one from the group's budget of sends, edits and new topics."""
        if self.group_rate is None:
            return
        count, seconds = self.group_rate
        times, now = self._sent[group.id], self.clock()
        while times and now - times[0] >= seconds:
            times.popleft()
        if len(times) >= count:
            wait = max(1, math.ceil(times[0] + seconds - now))
            raise Refused(429, f"Too Many Requests: retry after {wait}", retry_after=wait)
        times.append(now)


def loop_time() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
