"""Real input: conversations that people had, and strings that break programs, over every platform."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from bridge.richtext import from_markdown
from tests.emulators.telegram import BadText, arrives
from tests.house import ORIGIN, Visitor, config_for, house
from tests.platforms import Emulated, Platform, emulated, eventually_equal

TEXTS = Path(__file__).parents[1] / "data" / "texts"
DIALOGUES: list[list[tuple[str, str]]] = json.loads((TEXTS / "dialogues.json").read_text())
NAUGHTY: list[str] = json.loads((TEXTS / "naughty.json").read_text())

_NAMED = re.compile(r"^(?:Anna|Visitor)(?::? *\n|: )", re.MULTILINE)
"""How platforms without a name for each message tell who is speaking, where that is not plain."""

PLATFORMS = ["slack", "telegram", "discord", "desk"]
ROUTES = [("slack",), ("telegram",), ("discord",), ("desk",), ("slack", "discord"), ("telegram", "desk")]
"""Where the conversations of each site go; the last two are mirrored."""


def shown_to_visitor(frame: dict[str, str]) -> str:
    """Return what the visitor reads of a staff message."""
    return from_markdown(frame["text"]).text if frame.get("format") == "markdown" else frame["text"]


class Threads:
    """Finds each dialogue's thread by the page's address on its card, looking at every card once."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._known: dict[str, asyncio.Future[str]] = defaultdict(asyncio.get_running_loop().create_future)
        self._looked: set[str] = set()

    async def of(self, marker: str) -> str:
        """Return a dialogue's thread, once it is there."""
        return await asyncio.wait_for(asyncio.shield(self._known[marker]), 120)

    async def watch(self) -> None:
        """Look for new threads until cancelled."""
        while True:
            for thread in await self._platform.threads():
                if thread not in self._looked:
                    card = await self._platform.card(thread)
                    if "/dialogue/" in card:
                        self._looked.add(thread)
                        self._known[card.split("/dialogue/")[1].split("/end")[0]].set_result(thread)
            await asyncio.sleep(0.2)


class Dialogue:
    """One conversation: the visitor at a socket, staff in the first destination's thread."""

    def __init__(self, number: int, lines: Sequence[tuple[str, str]], route: Sequence[str]) -> None:
        self.number, self.lines, self.route = number, lines, route
        self.site = "-".join(route)

    async def play(
        self, http: ClientSession, url: str, platforms: dict[str, Platform], threads: dict[str, Threads]
    ) -> None:
        page = {"url": f"{ORIGIN}/dialogue/{self.number}/end", "title": "", "referrer": ""}
        visitor = Visitor(http, url, site=self.site, hello={"page": page, "locale": None, "timezone": None})
        assert (await visitor.connect())["type"] == "welcome"
        answering, thread = platforms[self.route[self.number % len(self.route)]], ""
        for side, text in self.lines:
            if side == "visitor":
                assert (await visitor.say(text))["type"] == "ack"
            elif not thread and not visitor.after:
                assert (await visitor.say("(opens the chat)"))["type"] == "ack"
            if side == "staff":
                thread = thread or await threads[answering.name].of(str(self.number))
                await answering.says(thread, text, name="Anna")
                assert shown_to_visitor(await visitor.hear()) == text.strip()
        self.log = visitor
        await visitor.leave()

    @property
    def expected(self) -> list[tuple[str, str]]:
        opens = [] if self.lines[0][0] == "visitor" else [("visitor", "(opens the chat)")]
        return [*opens, *((side, text.strip()) for side, text in self.lines)]

    async def check(
        self, http: ClientSession, url: str, platforms: dict[str, Platform], threads: dict[str, Threads]
    ) -> None:
        again = Visitor(http, url, site=self.site, token=self.log.token)
        welcome = await again.connect()
        log = [(each["from"]["kind"], shown_to_visitor(each).strip()) for each in welcome["messages"]]
        assert [line for line in log if line[0] != "system"] == self.expected
        assert [each["seq"] for each in welcome["messages"]] == list(range(1, len(log) + 1))
        await again.leave()
        for name in self.route:
            thread = await threads[name].of(str(self.number))

            async def seen() -> tuple[str, str]:
                return by_author((each.by_bot, each.text) for each in await platforms[name].shown(thread))  # noqa: B023

            answered_here = name == self.route[self.number % len(self.route)]
            lines = ((side == "visitor" or not answered_here, text) for side, text in self.expected)
            await eventually_equal(seen, by_author(lines), 60)


def by_author(lines: Iterable[tuple[bool, str]]) -> tuple[str, str]:
    """Join what the bridge brought into a thread, and what staff wrote there.

    Each in its order; how they interleave is not promised, since staff may write before they have read. Joined, it does
    not matter which texts the bridge brought together.
    """
    brought, written = [], []
    for by_bot, text in lines:
        if by_bot:
            brought.append(_NAMED.sub("", text).strip())
        else:
            written.append(text.strip())
    return "\n\n".join(brought), "\n\n".join(written)


@pytest.mark.timeout(300)
async def test_five_hundred_conversations_at_once_arrive_unchanged(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        platforms: dict[str, Platform] = {name: await stack.enter_async_context(emulated(name)) for name in PLATFORMS}
        http = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        adapters = {name: platform.settings() for name, platform in platforms.items()}
        sites = {"-".join(route): {"origins": [ORIGIN], "destinations": list(route)} for route in ROUTES}
        app = await stack.enter_async_context(house(config_for(tmp_path, adapters, sites=sites)))
        for platform in platforms.values():
            platform.attach(app, http)
        threads = {name: Threads(platform) for name, platform in platforms.items()}
        watching = [asyncio.create_task(each.watch()) for each in threads.values()]
        dialogues = [Dialogue(number, lines, ROUTES[number % 6]) for number, lines in enumerate(DIALOGUES)]
        await asyncio.gather(*(each.play(http, app.url, platforms, threads) for each in dialogues))
        for dialogue in dialogues:
            await dialogue.check(http, app.url, platforms, threads)
        for each in watching:
            each.cancel()
        for name in PLATFORMS:
            routed = sum(name in dialogue.route for dialogue in dialogues)
            assert len(await platforms[name].threads()) == routed
            assert list(platforms[name].violations()) == []


def shown_on(platform: str, text: str) -> str:
    """Return what staff see of a visitor's text: the same but for what the platform trims (docs/operations.md)."""
    match platform:
        case "telegram":
            try:
                return arrives(text)
            except BadText:
                return "[no visible text]"
        case "discord":
            return text.strip() or "(blank message)"
        case _:
            return text


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", PLATFORMS)
async def test_strings_that_break_programs_arrive_as_they_are(kind: str, tmp_path: Path) -> None:
    async with emulated(kind) as platform, ClientSession() as http:
        async with house(config_for(tmp_path, {kind: platform.settings()})) as app:
            platform.attach(app, http)
            visitor = Visitor(
                http,
                app.url,
                hello={"page": {"url": "", "title": "", "referrer": ""}, "timezone": None, "locale": None},
            )
            await visitor.connect()
            taken = []
            for text in NAUGHTY:
                answer = await visitor.say(text)
                if answer["type"] == "ack":
                    taken.append(text)
                    # One at a time, so that none is joined with its neighbour.
                    await visitor.until(lambda frame: frame["type"] == "delivery")
                else:
                    assert answer["code"] == "bad_frame"
                    assert not text.strip()
            assert len(taken) > 500
            (thread,) = await platform.threads()
            seen = [shown.text for shown in await platform.shown(thread) if shown.by_bot]
            assert seen == [shown_on(kind, text) for text in taken]
            if isinstance(platform, Emulated):
                assert list(getattr(platform.emulator, "pings", ())) == []
        assert list(platform.violations()) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", PLATFORMS)
async def test_strings_of_staff_reach_the_visitor_as_they_are(kind: str, tmp_path: Path) -> None:
    async with emulated(kind) as platform, ClientSession() as http:
        async with house(config_for(tmp_path, {kind: platform.settings()})) as app:
            platform.attach(app, http)
            visitor = Visitor(http, app.url)
            await visitor.connect()
            await visitor.say("hello")
            await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
            (thread,) = await platform.threads()
            for text in NAUGHTY:
                if not text.strip() or text.lstrip().startswith("//"):
                    continue  # nothing to say, or a note
                try:
                    await platform.says(thread, text)
                except ValueError:
                    continue  # the platform's own client does not send it
                heard = shown_to_visitor(await visitor.hear())
                assert heard.strip() == (arrives(text) if kind == "telegram" else text).strip()
        assert list(platform.violations()) == []
