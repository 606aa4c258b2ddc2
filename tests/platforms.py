"""The four platforms as a test sees them, all in one way: what staff see in a thread, and staff who act."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from aiohttp import ClientSession

from bridge.app import App
from bridge.errors import RetryLater, Scope
from tests.emulators.base import Emulator, Shown
from tests.emulators.discord import DiscordEmulator
from tests.emulators.discord.rest import Upload
from tests.emulators.slack import SlackEmulator
from tests.emulators.telegram import TelegramEmulator

T = TypeVar("T")
UNLIMITED = "100000/1s"
CARD = "Visitor"
"""What the card says of a visitor of whom nothing is known."""


class Platform(Protocol):
    """One platform, with a test server of its own where it has one."""

    name: str

    def settings(self) -> dict[str, Any]:
        """Return the adapter's section."""

    def attach(self, app: App, http: ClientSession) -> None:
        """Tell which bridge is running."""

    async def threads(self) -> Sequence[str]:
        """Return the threads that stand."""

    async def card(self, thread: str) -> str:
        """Return what stands at the head of a thread."""

    async def shown(self, thread: str) -> Sequence[Shown]:
        """Return what staff see in a thread, in order, without the card."""

    async def says(self, thread: str, text: str, name: str = "Anna") -> str:
        """A person of staff writes in a thread. Returns the message's id."""

    async def shares(
        self, thread: str, name: str, type: str, content: bytes, *, text: str = "", by: str = "Anna"
    ) -> str:
        """A person of staff shares a file in a thread, perhaps with a text. Returns the message's id."""

    async def files(self, shown: Shown) -> Sequence[bytes]:
        """Return what is in the files of a message."""

    async def sees(self, thread: str, text: str) -> None:
        """A person of staff lets the visitor know that they have seen a text, without an answer."""

    def violations(self) -> Sequence[str]:
        """Return what broke the platform's specification."""


class Emulated:
    """A platform behind a test server."""

    def __init__(self, name: str, emulator: Emulator, settings: dict[str, Any] | None = None) -> None:
        self.name = name
        self.emulator = emulator
        self._settings = settings or emulator.settings()

    def settings(self) -> dict[str, Any]:
        return {"budget": UNLIMITED} | self._settings

    def attach(self, app: App, http: ClientSession) -> None:
        if isinstance(self.emulator, SlackEmulator) and "signing_secret" in self._settings:
            self.emulator.hooks_url = f"{app.url}/hooks/{self.name}"

    async def card(self, thread: str) -> str:
        return next((shown.text for shown in self.emulator.messages(thread)), "")

    async def threads(self) -> Sequence[str]:
        return self.emulator.threads()

    async def shown(self, thread: str) -> Sequence[Shown]:
        return without_card(self.emulator.messages(thread))

    async def says(self, thread: str, text: str, name: str = "Anna") -> str:
        return await self.emulator.staff_says(thread, text, name=name)

    async def sees(self, thread: str, text: str) -> None:
        message = next(shown for shown in self.emulator.messages(thread) if text in (shown.text, *shown.files))
        await self.emulator.staff_reacts(thread, message.id)

    async def edits(self, thread: str, message: str, text: str) -> None:
        """That person changes it, which only the platforms with a server of their own know."""
        await self.emulator.staff_edits(thread, message, text)

    async def shares(
        self, thread: str, name: str, type: str, content: bytes, *, text: str = "", by: str = "Anna"
    ) -> str:
        match self.emulator:
            case SlackEmulator() as slack:
                return await slack.staff_uploads(thread, name, content, type, text=text, name=by)
            case TelegramEmulator() as telegram:
                return await telegram.staff_sends(thread, name, content, type=type, caption=text, name=by)
            case DiscordEmulator() as discord:
                return await discord.staff_posts(thread, text, files=[Upload(name, type, content)], name=by)
        raise TypeError(self.emulator)

    async def files(self, shown: Shown) -> Sequence[bytes]:
        return self.emulator.contents(shown)

    def violations(self) -> Sequence[str]:
        return self.emulator.violations


def without_card(messages: Sequence[Shown]) -> Sequence[Shown]:
    """Leave out the first message, which is the card; Telegram's holds the first text too."""
    if not messages:
        return messages
    first, *rest = messages
    _, gap, text = first.text.partition("\n\n")
    return [Shown(first.id, first.by_bot, first.author, text, first.files, first.raw), *rest] if gap else rest


def delete(emulator: Emulator, thread: str) -> None:
    """A person deletes a thread, on Slack its first message."""
    match emulator:
        case SlackEmulator():
            emulator.remove(thread)
        case TelegramEmulator():
            emulator.staff_deletes_topic(thread)
        case DiscordEmulator():
            emulator.delete_thread(thread)


class Desk:
    """The built-in desk, through its own HTTP interface."""

    name = "desk"

    def __init__(self) -> None:
        self._count = 0

    def settings(self) -> dict[str, Any]:
        return {"type": "desk", "token": "an-agent-who-tests-the-desk"}

    def attach(self, app: App, http: ClientSession) -> None:
        self._url = app.url
        self._api = f"{app.url}/desk/api"
        self._http = http

    async def _get(self, path: str) -> Any:
        async with self._http.get(f"{self._api}/{path}", headers=self._headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.settings()['token']}"}

    async def threads(self) -> Sequence[str]:
        found, following = [], ""
        while following is not None:
            page = await self._get(f"conversations{following}")
            found += [conversation["id"] for conversation in page["conversations"]]
            following = page["next"] and "?before=" + page["next"].replace("+", "%2B")
        return found[::-1]

    async def card(self, thread: str) -> str:
        page = await self._get(f"conversations/{thread}")
        return str(page["conversation"]["profile"])

    async def shown(self, thread: str) -> Sequence[Shown]:
        after, shown, more = 0, [], True
        while more:
            page = await self._get(f"conversations/{thread}?after={after}")
            more = page["more"]
            for entry in page["entries"]:
                after = entry["seq"]
                if entry["type"] == "message" and "event" not in entry:
                    by_bot = entry["from"]["kind"] != "staff"
                    author = entry["from"].get("name") or ""
                    shown.append(Shown(entry.get("id", ""), by_bot, author, entry["text"], raw=entry))
        return shown

    async def says(self, thread: str, text: str, name: str = "Anna") -> str:
        self._count += 1
        return await self._post(thread, {"id": f"desk-{self._count}", "text": literal(text), "name": name})

    async def _post(self, thread: str, body: dict[str, Any]) -> str:
        address, status = f"{self._api}/conversations/{thread}/messages", 409
        while status == 409:  # "just being opened": the page asks its person to try again
            async with self._http.post(address, json=body, headers=self._headers) as answer:
                status = answer.status
                assert status in {200, 409}, await answer.text()
        return str(body["id"])

    async def types(self, thread: str, name: str) -> None:
        address = f"{self._api}/conversations/{thread}/typing"
        async with self._http.post(address, json={"name": name, "on": True}, headers=self._headers) as answer:
            assert answer.status == 200, await answer.text()

    async def shares(
        self, thread: str, name: str, type: str, content: bytes, *, text: str = "", by: str = "Anna"
    ) -> str:
        headers = self._headers | {"Content-Type": type}
        async with self._http.post(
            f"{self._api}/files", params={"name": name}, data=content, headers=headers
        ) as answer:
            assert answer.status == 201, await answer.text()
            file = (await answer.json())["id"]
        body = {"id": f"share-{name}", "text": literal(text), "name": by, "attachments": [file]}
        return await self._post(thread, body)

    async def files(self, shown: Shown) -> Sequence[bytes]:
        contents = []
        for file in shown.raw["attachments"]:
            async with self._http.get(self._url + file["url"]) as answer:
                assert answer.status == 200, await answer.text()
                contents.append(await answer.read())
        return contents

    async def sees(self, thread: str, text: str) -> None:
        """Open the conversation when the text was the last in it."""
        seq = next(shown.raw["seq"] for shown in await self.shown(thread) if shown.text == text)
        body = {"name": "Anna", "seq": seq}
        address = f"{self._api}/conversations/{thread}/seen"
        async with self._http.post(address, json=body, headers=self._headers) as answer:
            assert answer.status == 200, await answer.text()

    def violations(self) -> Sequence[str]:
        return ()


def literal(text: str) -> str:
    """Write a text so that the contract's Markdown shows it as it is."""
    return "".join(f"\\{char}" if char in r"\`*_[]()#+-.!<>~|{}" else char for char in text)


@asynccontextmanager
async def emulated(kind: str, **options: Any) -> AsyncIterator[Platform]:
    """Start a platform: slack, slack-http, telegram, telegram-webhook, discord, discord-forum or desk."""
    name = kind.partition("-")[0]
    match kind:
        case "desk":
            yield Desk()
        case "slack" | "slack-http":
            async with SlackEmulator(**options) as slack:
                yield Emulated(name, slack, slack.http_settings() if kind == "slack-http" else None)
        case "telegram" | "telegram-webhook":
            async with TelegramEmulator(**options) as telegram:
                mode = {"mode": "webhook"} if kind == "telegram-webhook" else {}
                yield Emulated(name, telegram, telegram.settings() | mode)
        case "discord" | "discord-forum":
            async with DiscordEmulator(forum=kind == "discord-forum", **options) as discord:
                yield Emulated(name, discord)
        case _:
            raise ValueError(kind)


async def eventually_equal(look: Callable[[], Awaitable[Any]], expected: Any, seconds: float = 20) -> None:
    """Wait until an asynchronous look gives what is expected; fail with the difference past `seconds`."""

    last = None
    try:
        async with asyncio.timeout(seconds):
            while (last := await look()) != expected:  # noqa: ASYNC110 - it looks at servers that know no event of ours
                await asyncio.sleep(0.02)
    except TimeoutError:
        assert last == expected, f"{last!r} is not {expected!r}"
        raise


async def found_bit_by_bit(look: Callable[[], Awaitable[T]]) -> T:
    """Look until there is an answer; what is still to be read holds up nothing else."""
    for _ in range(20):
        try:
            return await look()
        except RetryLater as error:
            if error.outage or error.scope is not Scope.THREAD:
                raise
    raise AssertionError("the search comes to no end")
