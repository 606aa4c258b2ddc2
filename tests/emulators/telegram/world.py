"""Groups, topics, people, messages and files: what the server knows."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

GENERAL = 1
GROUP_ANONYMOUS_BOT: Object = {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
RIGHTS = ("can_manage_topics", "can_delete_messages")


@dataclass
class Topic:
    id: int
    name: str
    icon_color: int = 7322096
    closed: bool = False
    creator: int = 0


@dataclass
class Group:
    id: int
    title: str
    forum: bool = True
    type: str = "supergroup"
    bot_status: str = "administrator"
    rights: set[str] = field(default_factory=lambda: set(RIGHTS))
    takes_files: bool = True
    migrated_to: int | None = None
    topics: dict[int, Topic] = field(default_factory=dict)
    messages: dict[int, Object] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(2))

    def chat(self) -> Object:
        chat: Object = {"id": self.id, "type": self.type, "title": self.title}
        return chat | ({"is_forum": True} if self.forum else {})


@dataclass
class StoredFile:
    id: str
    name: str
    type: str
    content: bytes

    @property
    def path(self) -> str:
        return f"documents/{self.id}"


class World:
    """Everything that persists on Telegram's side. `on_update` hears what would become an update."""

    def __init__(self, bot: Object, now: Callable[[], float] = time.time) -> None:
        self.bot = bot
        self.now = now
        self.groups: dict[int, Group] = {}
        self.made: list[tuple[int, int]] = []
        """Group and number of every topic, in the order they were made."""
        self.files: dict[str, StoredFile] = {}
        self.people: dict[str, Object] = {}
        self.pictures: dict[int, list[Object]] = {}
        self.on_update: Callable[[str, Object], None] = lambda kind, value: None
        self._people_numbers = itertools.count(500001)

    def person(self, name: str) -> Object:
        """Return the person of that name; they are made when first named."""
        if name not in self.people:
            first, _, last = name.partition(" ")
            person: Object = {"id": next(self._people_numbers), "is_bot": False, "first_name": first}
            self.people[name] = person | ({"last_name": last} if last else {})
        return self.people[name]

    def keep(self, name: str, type: str, content: bytes) -> StoredFile:
        # Ids of real files are about this long and of these characters
        id = f"BQACAgIAAxkB{len(self.files):06d}{hashlib.sha256(content).hexdigest()[:40]}"
        self.files[id] = StoredFile(id, name, type, content)
        return self.files[id]

    def described(self, file: StoredFile, **more: Any) -> Object:
        """Return the fields that every kind of file has."""
        unique = hashlib.sha256(file.id.encode()).hexdigest()[:16]
        return {"file_id": file.id, "file_unique_id": unique, "file_size": len(file.content), **more}

    def set_picture(self, name: str, content: bytes) -> None:
        file = self.keep("picture.jpg", "image/jpeg", content)
        self.pictures[self.person(name)["id"]] = [self.described(file, width=160, height=160)]

    def bot_member(self, group: Group) -> Object:
        """Return the bot as a member of a group."""
        member: Object = {"status": group.bot_status, "user": self.bot}
        if group.bot_status != "administrator":
            return member | ({"until_date": 0} if group.bot_status == "kicked" else {})
        names = (
            "can_be_edited", "is_anonymous", "can_manage_chat", "can_delete_messages", "can_manage_video_chats",
            "can_restrict_members", "can_promote_members", "can_change_info", "can_invite_users", "can_post_stories",
            "can_edit_stories", "can_delete_stories", "can_manage_topics",
        )  # fmt: skip
        return member | {name: name in group.rights for name in names}

    def change_bot(self, group: Group, status: str, by: Object) -> None:
        """Somebody makes the bot an administrator or a member, or removes it."""
        before = self.bot_member(group)
        group.bot_status = status
        change = {"old_chat_member": before, "new_chat_member": self.bot_member(group)}
        self.on_update("my_chat_member", {"chat": group.chat(), "from": by, "date": int(self.now())} | change)

    def post(self, group: Group, thread: int | None, sender: Object, *, silent: bool = False, **content: Any) -> Object:
        """Put a message into a group. `silent`: the bot gets no update of it, as of its own ones."""
        number = next(group.numbers)
        message: Object = {"message_id": number, "from": sender, "date": int(self.now()), "chat": group.chat()}
        if thread is not None and thread != GENERAL:
            message |= {"message_thread_id": thread, "is_topic_message": True}
            # What answers nothing in a topic answers the message that the topic began with
            root = group.messages.get(thread)
            if root is not None:
                message["reply_to_message"] = {k: v for k, v in root.items() if k != "reply_to_message"}
        message |= content
        group.messages[number] = message
        # Who is no administrator is not told what people say to each other, unless the bot's privacy mode is off
        if not silent and group.bot_status == "administrator":
            self.on_update("message", message)
        return message

    def react(self, group: Group, number: int, by: Object, emoji: str = "👀") -> None:
        """Somebody reacts to a message, for the first time. Bots that are no administrators are not told."""
        assert number in group.messages
        if group.bot_status == "administrator":
            about = {"chat": group.chat(), "message_id": number, "user": by, "date": int(self.now())}
            now = [{"type": "emoji", "emoji": emoji}]
            self.on_update("message_reaction", about | {"old_reaction": [], "new_reaction": now})

    def open_topic(self, group: Group, name: str, icon_color: int, by: Object) -> Topic:
        number = next(group.numbers)
        topic = group.topics[number] = Topic(number, name, icon_color, creator=by["id"])
        message: Object = {
            "message_id": number,
            "message_thread_id": number,
            "is_topic_message": True,
            "from": by,
            "date": int(self.now()),
            "chat": group.chat(),
            "forum_topic_created": {"name": name, "icon_color": icon_color},
        }
        group.messages[number] = message
        self.made.append((group.id, number))
        self.on_update("message", message)
        return topic

    def delete_topic(self, group: Group, thread: int) -> None:
        del group.topics[thread]
        for number in [n for n, m in group.messages.items() if m.get("message_thread_id") == thread]:
            del group.messages[number]

    def edited(self, message: Object, **content: Any) -> None:
        message |= content
        message["edit_date"] = int(self.now())
        self.on_update("edited_message", message)
