"""The guild that the test server holds: people, channels, threads, messages, in the form of Discord's own objects."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

TEXT, PUBLIC_THREAD, FORUM = 0, 11, 15
EPOCH_MS = 1_420_070_400_000
SUPPRESS_EMBEDS, MESSAGE_CONTENT_FLAG = 1 << 2, 1 << 19
REQUIRE_TAG = 1 << 4

PERMISSIONS = {
    "ADD_REACTIONS": 1 << 6,
    "VIEW_CHANNEL": 1 << 10,
    "SEND_MESSAGES": 1 << 11,
    "MANAGE_MESSAGES": 1 << 13,
    "EMBED_LINKS": 1 << 14,
    "ATTACH_FILES": 1 << 15,
    "READ_MESSAGE_HISTORY": 1 << 16,
    "MANAGE_THREADS": 1 << 34,
    "CREATE_PUBLIC_THREADS": 1 << 35,
    "SEND_MESSAGES_IN_THREADS": 1 << 38,
}


def timestamp(at: datetime | None = None) -> str:
    return (at or datetime.now(UTC)).isoformat()


@dataclass
class World:
    """All that stands on the server."""

    forum: bool = False
    granted: set[str] = field(default_factory=lambda: set(PERMISSIONS) - {"MANAGE_MESSAGES"})
    """What the bot's role may do. Tests take from it."""
    hidden: set[str] = field(default_factory=set)
    """Channels that the bot may not see, with their threads."""
    message_content: bool = True
    """The privileged intent's switch in the developer portal."""
    harmful_links: set[str] = field(default_factory=set)
    """Addresses that Discord's filter stops."""
    active_limit: int = 1000
    """How many threads can be active at once."""
    channels: dict[str, Json] = field(default_factory=dict)
    """Channels and threads by id."""
    messages: dict[str, dict[str, Json]] = field(default_factory=dict)
    """By channel or thread, then by id, in order."""
    people: dict[str, Json] = field(default_factory=dict)
    """The staff's users by name."""
    members: dict[str, Json] = field(default_factory=dict)
    """Members by user id."""
    _last: int = 0

    def sees(self, channel: Json) -> bool:
        """Tell whether the bot may see a channel or thread."""
        return "VIEW_CHANNEL" in self.granted and self.hidden.isdisjoint({channel.get("id"), channel.get("parent_id")})

    def __post_init__(self) -> None:
        self.guild_id, self.role_id = self.snowflake(), self.snowflake()
        self.bot = self._user("Threadbridge", bot=True)
        self.application_id = self.bot["id"]
        self.members[self.bot["id"]] = self._member(self.bot, roles=[self.role_id])
        self.text_channel = self._channel("support", TEXT)
        self.forum_channel = self._channel("support-posts", FORUM)

    def snowflake(self) -> str:
        """Return a new id: it holds the time and grows."""
        self._last = max((int(time.time() * 1000) - EPOCH_MS) << 22, self._last + 1)
        return str(self._last)

    @property
    def default_channel(self) -> str:
        return self.forum_channel if self.forum else self.text_channel

    # people

    def _user(self, name: str, *, bot: bool = False, avatar: str | None = None) -> Json:
        user = {
            "id": self.snowflake(),
            "username": name.lower().replace(" ", "_")[:32] or "x",
            "global_name": None if bot else name,
            "discriminator": "0",
            "avatar": avatar,
            "public_flags": 0,
            "flags": 0,
            "primary_guild": None,
        }
        return {**user, "bot": True} if bot else user

    def _member(self, user: Json, *, nick: str | None = None, roles: Sequence[str] = ()) -> Json:
        return {
            "user": user,
            "nick": nick,
            "avatar": None,
            "banner": None,
            "communication_disabled_until": None,
            "flags": 0,
            "joined_at": timestamp(),
            "pending": False,
            "premium_since": None,
            "roles": list(roles),
            "mute": False,
            "deaf": False,
        }

    def person(self, name: str, *, nick: str | None = None, avatar: str | None = None, bot: bool = False) -> Json:
        """Return the user of this name, who joins the guild where they have not been on it."""
        if name not in self.people:
            user = self.people[name] = self._user(name, avatar=avatar, bot=bot)
            self.members[user["id"]] = self._member(user, nick=nick)
        return self.people[name]

    def names(self) -> dict[str, str]:
        """Return what mentions show, by id."""
        shown = {id_: self.display_name(id_) for id_ in self.members}
        return shown | {id_: channel["name"] for id_, channel in self.channels.items()}

    def display_name(self, user_id: str) -> str:
        member = self.members[user_id]
        return member["nick"] or member["user"]["global_name"] or member["user"]["username"]

    def named_in(self, content: str) -> Json:
        """Return whom a text names, as a message's object has it."""
        users = (self.members.get(id_) for id_ in dict.fromkeys(re.findall(r"<@!?(\d+)>", content)))
        roles = dict.fromkeys(re.findall(r"<@&(\d+)>", content))
        known = {role["id"] for role in self.roles()}
        return {
            "mentions": [member["user"] for member in users if member],
            "mention_roles": [id_ for id_ in roles if id_ in known],
        }

    # places

    def _channel(self, name: str, kind: int) -> str:
        id_ = self.snowflake()
        self.channels[id_] = {
            "id": id_,
            "type": kind,
            "guild_id": self.guild_id,
            "name": name,
            "position": len(self.channels),
            "flags": 0,
            "parent_id": None,
            "permission_overwrites": [],
            "nsfw": False,
            "topic": None,
            "rate_limit_per_user": 0,
            **({"available_tags": []} if kind == FORUM else {"last_message_id": None}),
        }
        self.messages[id_] = {}
        return id_

    def add_thread(self, parent: str, name: str, id_: str, archive_minutes: int = 4320) -> Json:
        thread = {
            "id": id_,
            "type": PUBLIC_THREAD,
            "guild_id": self.guild_id,
            "name": name,
            "flags": 0,
            "parent_id": parent,
            "owner_id": self.bot["id"],
            "rate_limit_per_user": 0,
            "last_message_id": None,
            "message_count": 0,
            "member_count": 1,
            "total_message_sent": 0,
            "thread_metadata": {
                "archived": False,
                "archive_timestamp": timestamp(),
                "auto_archive_duration": archive_minutes,
                "locked": False,
                "create_timestamp": timestamp(),
            },
        }
        self.channels[id_] = thread
        self.messages[id_] = {}
        return thread

    def threads(self, *, active: bool = False) -> Iterator[Json]:
        for channel in self.channels.values():
            archived = is_thread(channel) and channel["thread_metadata"]["archived"]
            if is_thread(channel) and not (active and archived):
                yield channel

    # messages

    def add_message(self, channel: Json, author: Json, content: str, **more: Any) -> Json:
        id_ = more.pop("id", None) or self.snowflake()
        message = {
            "id": id_,
            "channel_id": channel["id"],
            "type": 0,
            "author": author,
            "content": content,
            "timestamp": timestamp(),
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "components": [],
            "pinned": False,
            "flags": 0,
            **more,
        }
        self.messages[channel["id"]][id_] = message
        channel["last_message_id"] = id_
        if is_thread(channel) and id_ != channel["id"]:
            channel["message_count"] += 1
            channel["total_message_sent"] += 1
        return message

    def thread_messages(self, thread: str) -> list[Json]:
        """Return a thread's messages with the one that it was made from ahead."""
        parent = self.channels[thread]["parent_id"]
        starter = self.messages.get(parent, {}).get(thread)
        return ([starter] if starter else []) + [m for m in self.messages[thread].values() if m["type"] in {0, 19}]

    # whole objects

    def roles(self) -> list[Json]:
        mask = sum(PERMISSIONS[name] for name in self.granted)
        return [self._role(self.guild_id, "@everyone", 0, 0), self._role(self.role_id, "Threadbridge", mask, 1)]

    def _role(self, id_: str, name: str, mask: int, position: int) -> Json:
        return {
            "id": id_,
            "name": name,
            "permissions": str(mask),
            "position": position,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": position > 0,
            "mentionable": False,
            "icon": None,
            "unicode_emoji": None,
            "flags": 0,
        }

    def guild(self) -> Json:
        nothing = (
            "icon description home_header splash discovery_splash banner application_id afk_channel_id "
            "system_channel_id widget_channel_id max_presences vanity_url_code rules_channel_id "
            "safety_alerts_channel_id public_updates_channel_id incidents_data"
        )
        zero = (
            "system_channel_flags verification_level default_message_notifications mfa_level explicit_content_filter "
            "premium_tier premium_subscription_count nsfw_level"
        )
        return {
            **dict.fromkeys(nothing.split()),
            **dict.fromkeys(zero.split(), 0),
            "id": self.guild_id,
            "name": "Shop",
            "owner_id": self.person("Owner")["id"],
            "features": ["COMMUNITY"],
            "region": "deprecated",
            "afk_timeout": 300,
            "widget_enabled": False,
            "roles": self.roles(),
            "max_members": 500000,
            "max_stage_video_channel_users": 50,
            "max_video_channel_users": 25,
            "preferred_locale": "en-US",
            "premium_progress_bar_enabled": False,
            "nsfw": False,
            "emojis": [],
            "stickers": [],
        }

    def guild_create(self) -> Json:
        """Return the gateway's form of the guild."""
        channels = [channel for channel in self.channels.values() if not is_thread(channel)]
        return {
            **self.guild(),
            "joined_at": timestamp(),
            "large": False,
            "member_count": len(self.members),
            "members": [self.members[self.bot["id"]]],
            "channels": channels,
            "threads": list(self.threads(active=True)),
            "voice_states": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
        }

    def application(self) -> Json:
        return {
            "id": self.application_id,
            "name": "Threadbridge",
            "icon": None,
            "description": "",
            "type": None,
            "verify_key": "0" * 64,
            "flags": MESSAGE_CONTENT_FLAG if self.message_content else 0,
            "flags_new": str(MESSAGE_CONTENT_FLAG if self.message_content else 0),
            "redirect_uris": [],
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "owner": self.person("Owner"),
            "approximate_guild_count": 1,
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
            "explicit_content_filter": 0,
            "team": None,
            "eligible_oauth2_scopes": [],
            "bot_public": False,
            "bot_require_code_grant": False,
        }


def poll(question: str, *answers: str) -> Json:
    """Return a poll that nobody has voted in, as a message's object has it."""
    return {
        "question": {"text": question},
        "answers": [{"answer_id": i, "poll_media": {"text": text}} for i, text in enumerate(answers, 1)],
        "expiry": "2026-12-01T00:00:00+00:00",
        "allow_multiselect": False,
        "layout_type": 1,
        "results": {"answer_counts": [], "is_finalized": False},
    }


def is_thread(channel: Mapping[str, Any]) -> bool:
    return channel["type"] == PUBLIC_THREAD
