"""The bot's updates: the queue, long polls, and the webhook's sender."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import time
from collections import defaultdict
from typing import Any

import aiohttp

Object = dict[str, Any]

NOT_BY_DEFAULT = {"chat_member", "message_reaction", "message_reaction_count"}
REPLACED = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
BY_WEBHOOK = "Conflict: terminated by setWebhook request"
WEBHOOK_SET = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)


class Conflict(Exception):
    """The long poll ends with a 409."""


class Updates:
    """Updates that the bot has not confirmed, in order, and the two ways to it."""

    def __init__(self) -> None:
        self.pending: list[Object] = []
        self.allowed: list[str] = []
        self.webhook: Webhook | None = None
        self.webhook_backoff = 0.05
        """The first wait after an answer other than 2xx; it doubles. The real one's is a second."""
        self._numbers = itertools.count(700_000_001)
        self._last = 700_000_000
        self._came = asyncio.Event()
        self._poll: asyncio.Future[str] | None = None
        self._asked: tuple[int, float] = (0, 0.0)

    def restart_at(self, number: int) -> None:
        """Go on with other numbers, as Telegram may after a week without updates."""
        self._numbers = itertools.count(number)

    def add(self, kind: str, value: Object) -> Object | None:
        if kind not in self.allowed if self.allowed else kind in NOT_BY_DEFAULT:
            return None
        self._last = next(self._numbers)
        # As it was then: the message may change before the update is fetched
        update = {"update_id": self._last, kind: copy.deepcopy(value)}
        self.pending.append(update)
        self._came.set()
        if self.webhook is not None:
            self.webhook.push(update)
        return update

    # --- getUpdates

    async def get(self, offset: int, limit: int, seconds: float) -> list[Object]:
        """Return updates from `offset` on and forget those before it. Raises Conflict."""
        if self.webhook is not None:
            raise Conflict(WEBHOOK_SET)
        self.end_poll(REPLACED)
        now = time.monotonic()
        if offset and self._asked[0] == offset and now - self._asked[1] < 0.5:
            limit = 1
        self._asked = (offset, now)
        self._confirm(offset)
        mine = self._poll = asyncio.get_running_loop().create_future()
        try:
            await self._something(mine, min(seconds, 50))
        finally:
            if self._poll is mine:
                self._poll = None
        if mine.done():
            raise Conflict(mine.result())
        return self.pending[: max(1, min(limit, 100))]

    def end_poll(self, why: str) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(why)

    def _confirm(self, offset: int) -> None:
        if offset < 0:
            self.pending = self.pending[offset:]
        elif offset <= self._last + 10:
            self.pending = [update for update in self.pending if update["update_id"] >= offset]
        # An offset further ahead than that is passed over: all is given from the start

    async def _something(self, ended: asyncio.Future[str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.pending and not ended.done() and (left := deadline - time.monotonic()) > 0:
            self._came.clear()
            came = asyncio.ensure_future(self._came.wait())
            either: set[asyncio.Future[Any]] = {came, ended}
            try:
                await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                came.cancel()

    # --- the webhook

    async def set_webhook(self, url: str, secret: str | None) -> None:
        await self.delete_webhook()
        self.end_poll(BY_WEBHOOK)
        self.webhook = Webhook(self, url, secret)
        for update in self.pending:
            self.webhook.push(update)

    async def delete_webhook(self) -> None:
        if self.webhook is not None:
            webhook, self.webhook = self.webhook, None
            await webhook.close()


class Webhook:
    """Sends updates to an address: one ordered queue for each chat, whose head holds up what is behind it."""

    def __init__(self, updates: Updates, url: str, secret: str | None) -> None:
        self.url = url
        self.secret = secret
        self.last_error: tuple[int, str] | None = None
        self.answers: list[int] = []
        self._updates = updates
        self._queues: dict[int, asyncio.Queue[Object]] = defaultdict(asyncio.Queue)
        self._senders: dict[int, asyncio.Task[None]] = {}
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))

    def push(self, update: Object) -> None:
        chat = next((value["chat"]["id"] for value in update.values() if isinstance(value, dict)), 0)
        self._queues[chat].put_nowait(update)
        if chat not in self._senders:
            self._senders[chat] = asyncio.create_task(self._send(self._queues[chat]), name=f"webhook {chat}")

    async def _send(self, queue: asyncio.Queue[Object]) -> None:
        while True:
            update = await queue.get()
            wait = self._updates.webhook_backoff
            while not await self._accepted(update):
                await asyncio.sleep(wait)
                wait = min(wait * 2, 60)
            if update in self._updates.pending:
                self._updates.pending.remove(update)

    async def _accepted(self, update: Object) -> bool:
        headers = {"Content-Type": "application/json"}
        if self.secret:
            headers["X-Telegram-Bot-Api-Secret-Token"] = self.secret
        try:
            async with self._session.post(self.url, data=json.dumps(update), headers=headers) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            self.last_error = (int(time.time()), f"Connection failed: {type(error).__name__}")
            return False
        self.answers.append(status)
        if 200 <= status < 300:
            return True
        self.last_error = (int(time.time()), f"Wrong response from the webhook: {status}")
        return False

    async def close(self) -> None:
        for task in self._senders.values():
            task.cancel()
        await asyncio.gather(*self._senders.values(), return_exceptions=True)
        await self._session.close()
