"""The widget in networks that block WebSockets: it goes on over plain HTTP, and goes back when sockets work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession
from playwright.async_api import expect

from bridge.gateway import fallback as fallback_module
from bridge.gateway import socket as socket_module
from tests.browser.test_host_pages import Host, hosted, visit
from tests.browsing import Chat, Windows, picture
from tests.emulators.base import eventually
from tests.emulators.proxy import Proxy, proxied
from tests.house import config_for, house
from tests.platforms import Platform, emulated, eventually_equal

pytestmark = pytest.mark.asyncio(loop_scope="session")

WHOLE = ("Do you ship to Malta?", "By tomorrow?", "We do, free", "in two days", "Fine")
HASTENED = """
const sooner = { 15000: 3000, 10000: 2000, 5000: 1000, 60000: 1000 };
for (const wait of ["setTimeout", "setInterval"]) {
  const real = window[wait];
  window[wait] = (act, time) => real(act, sooner[time] ?? time);
}
"""
"""A page that waits less for an answer, and for the next socket beside the fallback."""
AWAY = """
window.away = false;
Object.defineProperty(document, "hidden", { get: () => window.away });
window.look = (away) => { window.away = away; document.dispatchEvent(new Event("visibilitychange")); };
"""
SOCKET, STREAM, FRAMES = "GET /v1/socket", "GET /v1/stream", "POST /v1/frames"


@asynccontextmanager
async def shop(data: Path, origin: str = "https://shop.example") -> AsyncIterator[tuple[Proxy, Platform]]:
    """Run a shop and its desk, both behind a proxy."""
    site = {"name": "Shop", "origins": [origin], "destinations": ["desk"]}
    async with proxied() as proxy, emulated("desk") as desk, ClientSession() as http:
        gateway = {"port": 0, "public_url": proxy.url}
        sites = {"demo": site, "shop": site}
        async with house(config_for(data, {"desk": desk.settings()}, gateway=gateway, sites=sites)) as app:
            proxy.gateway = app.url
            desk.attach(app, http)
            yield proxy, desk


async def arrive(windows: Windows, proxy: Proxy, early: str = "", *, hastened: bool = False) -> Chat:
    """Open the shop's page, with a clock that can be turned on or with short waits."""
    page = await windows.open("about:blank")
    await page.add_init_script(early)
    if hastened:
        await page.add_init_script(HASTENED)
    else:
        await page.clock.install()
    await page.goto(f"{proxy.url}/demo/")
    return Chat(page)


async def count(desk: Platform) -> int:
    return len(await desk.threads())


async def shown_in_time(chat: Chat, *texts: str) -> None:
    """Let time pass on the page until it shows exactly these texts."""

    async def later() -> list[str]:
        await chat.page.clock.run_for(250)
        return await chat.texts().all_text_contents()

    await eventually_equal(later, [*texts])


async def talk(chat: Chat, desk: Platform) -> None:
    """Ask and be answered, both ways more than once."""
    await chat.open()
    await chat.say(*WHOLE[:2])
    await chat.latest_is("sent")
    (thread,) = await desk.threads()
    await desk.says(thread, "We do, free")
    await desk.says(thread, "in two days")
    await chat.shows(*WHOLE[:-1])
    await chat.say(WHOLE[-1])
    await chat.shows(*WHOLE)
    await chat.latest_is("sent")


async def test_a_refused_upgrade_stops_nobody_from_talking(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (proxy, desk):
        proxy.sockets = "refuse"
        chat = await arrive(windows, proxy)
        await talk(chat, desk)
        assert proxy.asked.count(SOCKET) == 2
        assert proxy.asked.count(STREAM) == 1
        await picture(chat.page, "widget-fallback")
        # The next page begins with what works.
        await chat.page.reload()
        await chat.open()
        await chat.shows(*WHOLE)
        await chat.say("Thanks")
        await chat.latest_is("sent")
        assert proxy.asked.count(SOCKET) == 2


async def test_sockets_that_pass_nothing_are_given_up(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (proxy, desk):
        proxy.sockets = "mute"
        chat = await arrive(windows, proxy, hastened=True)
        await talk(chat, desk)
        assert STREAM in proxy.asked


async def test_a_socket_that_goes_mute_loses_nothing(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (proxy, desk):
        chat = await arrive(windows, proxy, hastened=True)
        await talk(chat, desk)
        assert STREAM not in proxy.asked
        proxy.sockets = "mute"
        (thread,) = await desk.threads()
        await desk.says(thread, "Anything else?")
        await chat.say("Yes", "please")
        await chat.shows(*WHOLE, "Anything else?", "Yes", "please")
        await chat.latest_is("sent")
        assert STREAM in proxy.asked


async def test_a_socket_that_dies_while_one_only_waits_is_replaced(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (proxy, desk):
        chat = await arrive(windows, proxy)
        await talk(chat, desk)
        await chat.page.evaluate(
            "window.heard = []; threadbridge('on', 'message:received', ({ text }) => heard.push(text))"
        )
        proxy.lose()
        (thread,) = await desk.threads()
        await desk.says(thread, "Anything else?")
        await chat.page.clock.fast_forward(41_000)
        await chat.page.clock.fast_forward(1_000)
        await chat.shows(*WHOLE, "Anything else?")
        assert await chat.page.evaluate("heard") == ["Anything else?"]
        assert proxy.asked.count(SOCKET) == 2
        assert STREAM not in proxy.asked


async def test_who_wakes_after_a_sleep_reads_at_once_what_came_meanwhile(windows: Windows, tmp_path: Path) -> None:
    """The line has died unnoticed, and no timer ran: only the clock has gone on."""
    async with shop(tmp_path) as (proxy, desk):
        chat = await arrive(windows, proxy, AWAY)
        page = chat.page
        await talk(chat, desk)
        await page.evaluate("look(true)")
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))
        proxy.lose()
        (thread,) = await desk.threads()
        await desk.says(thread, "Anything else?")
        await page.clock.set_system_time(await page.evaluate("Date.now() / 1000 + 3600"))
        await page.evaluate("look(false)")
        await chat.shows(*WHOLE, "Anything else?")
        assert proxy.asked.count(SOCKET) == 2


@pytest.mark.parametrize("sockets", ["pass", "refuse"])
async def test_a_quiet_line_is_no_dead_one(
    sockets: str, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_module, "_ALIVE_EVERY", 0.2)
    monkeypatch.setattr(fallback_module, "_COMMENT_EVERY", 0.2)
    async with shop(tmp_path) as (proxy, desk):
        proxy.sockets = sockets
        chat = await arrive(windows, proxy)
        await talk(chat, desk)
        asked = len(proxy.asked)
        for _ in range(3):
            passed = proxy.passed
            await eventually(lambda passed=passed: proxy.passed > passed + 2)
            await chat.page.clock.fast_forward(24_000)
        probes = [SOCKET] if sockets == "refuse" else []  # beside the fallback, each minute
        assert [each for each in proxy.asked[asked:] if each not in probes] == []


async def test_it_goes_back_to_the_socket_when_that_works(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (proxy, desk):
        proxy.sockets = "refuse"
        chat = await arrive(windows, proxy, hastened=True)
        await talk(chat, desk)
        for wrong in ("refuse", "mute"):
            proxy.sockets, asked = wrong, proxy.asked.count(SOCKET)
            await eventually(lambda asked=asked: proxy.asked.count(SOCKET) > asked + 1)
            await chat.say(f"Still by the fallback: {wrong}")
            await chat.latest_is("sent")
        proxy.sockets = "pass"

        async def posted() -> int:
            before = proxy.asked.count(FRAMES)
            await chat.say("By the socket?")
            await chat.latest_is("sent")
            return proxy.asked.count(FRAMES) - before

        await eventually_equal(posted, 0)
        (thread,) = await desk.threads()
        await desk.says(thread, "Heard")
        await expect(chat.texts("staff").last).to_have_text("Heard")
        before = len(proxy.asked)
        await chat.page.reload()
        await chat.open()
        await expect(chat.texts("staff").last).to_have_text("Heard")
        await chat.say("Thanks")
        await chat.latest_is("sent")
        assert SOCKET in proxy.asked[before:]
        assert FRAMES not in proxy.asked[before:]


async def test_a_lost_answer_is_a_message_sent_once(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (proxy, desk):
        proxy.sockets = "refuse"
        chat = await arrive(windows, proxy)
        await talk(chat, desk)
        proxy.lost_answers = 1
        await chat.say("Once", "and in order")
        await chat.shows(*WHOLE, "Once", "and in order")
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        shown = [shown.text for shown in await desk.shown(thread)]
        assert shown[-2:] == ["Once", "and in order"]


async def test_a_stream_that_is_cut_goes_on_where_it_was(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (proxy, desk):
        proxy.sockets = "refuse"
        chat = await arrive(windows, proxy)
        await talk(chat, desk)
        (thread,) = await desk.threads()
        whole = list(WHOLE)
        for number in range(3):
            proxy.cut()
            whole += [f"answer {number}"]
            await desk.says(thread, whole[-1])
            await shown_in_time(chat, *whole)


async def test_a_proxy_that_holds_streams_back_only_delays(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (proxy, desk):
        proxy.sockets, proxy.streams = "refuse", "hold"
        chat = await arrive(windows, proxy)
        await chat.open()
        await chat.say("Hello?")
        await eventually(lambda: STREAM in proxy.asked)
        await eventually_equal(lambda: count(desk), 1)
        (thread,) = await desk.threads()
        await desk.says(thread, "Hello!")
        await chat.say("Nobody?")  # whose ack comes first: what lies before it is missing all the same
        await chat.latest_is("stored")
        await chat.page.clock.fast_forward(9_000)
        await chat.page.clock.fast_forward(1_000)
        await chat.shows("Hello?", "Hello!", "Nobody?")


async def test_a_page_of_another_origin_with_a_strict_policy_talks_by_the_fallback(
    windows: Windows, tmp_path: Path
) -> None:
    async with hosted(Host(strict="hosts")) as host, shop(tmp_path, host.origin) as (proxy, desk):
        proxy.sockets, host.gateway = "refuse", proxy.url
        visitor = await visit(windows, host)
        await talk(Chat(visitor.page), desk)
        assert proxy.asked.count(STREAM) == 1
        await visitor.unharmed()
        assert host.reports == []
