"""Who writes in Slack: names and pictures, asked for once in a while and kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from adapters.slack.api import Api
from bridge.errors import BadFile, DeliveryError
from bridge.model import FileId, Staff
from bridge.ports import Clock, Files

_KEPT = 1000
_AGE = 3600.0
_AGE_OF_FAILURE = 60.0
_WITHIN = 3.0
"""Slack waits three seconds for an event to be taken; names are worth no more than that."""
_PICTURE_LIMIT = 2**20
_PICTURES = ("image_192", "image_72", "image_48")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Known:
    staff: Staff
    is_bot: bool
    picture: str
    until: float


class People:
    """A bounded memory of people and of channels' names."""

    def __init__(self, api: Api, files: Files, clock: Clock) -> None:
        self._api, self._files, self._clock = api, files, clock
        self._people: OrderedDict[str, _Known] = OrderedDict()
        self._channels: OrderedDict[str, str] = OrderedDict()
        self._lock = asyncio.Lock()  # of a hundred messages by one new person, one asks

    async def staff(self, user: str) -> Staff | None:
        """Return who a user is; None for a bot. Where Slack does not tell, a person without a name."""
        known = await self._known(user)
        return None if known.is_bot else known.staff

    async def names(self, ids: Iterable[str]) -> dict[str, str]:
        """Return what to show for people and channels that a text mentions."""
        found = {}
        for id in ids:
            name = await self._channel(id) if id[:1] in "CG" else (await self._known(id)).staff.name
            if name:
                found[id] = name
        return found

    async def _known(self, user: str) -> _Known:
        if (known := self._people.get(user)) and known.until > self._clock.steady():
            return known
        async with self._lock:
            known = self._people.get(user)
            if known is None or known.until <= self._clock.steady():
                known = await self._ask(user, known)
                _keep(self._people, user, known)
            return known

    async def _ask(self, user: str, known: _Known | None) -> _Known:
        now = self._clock.steady()
        try:
            told = (await self._api.read("users.info", _WITHIN, user=user))["user"]
        except DeliveryError as error:
            log.warning("slack_user_unknown", user=user, error=str(error))
            staff = known.staff if known else Staff(user, "Staff")
            return _Known(staff, False, known.picture if known else "", now + _AGE_OF_FAILURE)
        profile = told.get("profile") or {}
        picture = next((str(profile[size]) for size in _PICTURES if profile.get(size)), "")
        avatar = known.staff.avatar if known and known.picture == picture else await self._picture(user, picture)
        return _Known(
            Staff(user, _name(told, profile), avatar),
            bool(told.get("is_bot")),
            picture if avatar else "",
            now + _AGE,
        )

    async def _picture(self, user: str, url: str) -> FileId | None:
        if not url:
            return None
        try:
            content, type = await self._api.download(url, _PICTURE_LIMIT, _WITHIN)
            if not type.startswith("image/"):
                return None
            return await self._files.keep_picture(f"{user}.{type.partition('/')[2]}", type, content)
        except BadFile as error:
            log.info("slack_picture_not_kept", user=user, error=str(error))
            return None

    async def _channel(self, id: str) -> str:
        if id not in self._channels:
            try:
                told = await self._api.read("conversations.info", _WITHIN, channel=id)
            except DeliveryError:
                return ""
            _keep(self._channels, id, str(told["channel"].get("name") or ""))
        return self._channels[id]


def _keep(memory: OrderedDict[str, Any], key: str, value: Any) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _KEPT:
        memory.popitem(last=False)


def _name(told: dict[str, Any], profile: dict[str, Any]) -> str:
    names = (profile.get("display_name"), profile.get("real_name"), told.get("real_name"), told.get("name"))
    return next((name.strip() for name in names if isinstance(name, str) and name.strip()), "Staff")
