"""The main flows and the strict policy in Firefox and WebKitGTK, as the rest of the suite has them in Chromium.

What these two cannot be asked here: neither has a touch screen; WebKitGTK takes its colour scheme and its language from
the desktop, and its windows are no narrower than 334 pixels. Its driver gives no console, so the page itself notes what
is thrown, warned and refused, in both.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.browser.test_api import LISTENING, STUB
from tests.browser.test_fallback import FRAMES, SOCKET, STREAM
from tests.browser.test_fallback import shop as shop_behind_a_proxy
from tests.browser.test_host_pages import NOTHING, STORED, Host, gateway_for, hosted
from tests.browser.test_looks import ADVICE, ANSWERED, ASKED, OFFER, shop
from tests.browsing import AXE, Missing
from tests.engines import ENGINES, ENTER, ESCAPE, SHIFT, TAB, Engine, Widget
from tests.platforms import Platform, emulated, eventually_equal

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.full]

WARNED = """
for (const level of ["warn", "error"]) console[level] = (...said) => window.thrown.push(said.join(" "));
"""


MARKUP = """() => {
  try {
    document.createElement("p").innerHTML = "parsed";
  } catch (error) {
    return error.name;
  }
}"""
BARRIERS = """async (axe) => {
  (0, eval)(axe);
  const { violations } = await self.axe.run(document, { rules: { "target-size": { enabled: true } } });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}"""


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=list(ENGINES))
async def running_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Engine]:
    try:
        async with ENGINES[request.param](tmp_path_factory.mktemp(request.param)) as engine:
            yield engine
    except Missing as missing:
        raise pytest.fail.Exception(str(missing), pytrace=False) from None


@pytest_asyncio.fixture(loop_scope="session")
async def engine(running_engine: Engine) -> AsyncIterator[Engine]:
    yield running_engine
    await running_engine.leave()


def drawn(width: int, height: int, color: bytes) -> bytes:
    """Return a PNG of one colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = zlib.compress((b"\0" + color * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


CUP = drawn(320, 200, b"\xae\x4a\x20")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A picture and a text."""
    cup, note = tmp_path / "cup.png", tmp_path / "order.txt"
    cup.write_bytes(CUP)
    note.write_text("two bags")
    return [cup, note]


@asynccontextmanager
async def host_page(
    data: Path, kind: str = "desk", *, early: str = "", strict: str = ""
) -> AsyncIterator[tuple[Host, Platform]]:
    """Serve a page of another origin, with the widget, and a platform behind it."""
    async with (
        hosted(Host(strict=strict, early=WARNED + early)) as host,
        emulated(kind) as platform,
        ClientSession() as http,
        gateway_for(host, platform, data, [host.origin]) as app,
    ):
        platform.attach(app, http)
        yield host, platform


async def visit(engine: Engine, url: str, **size: int) -> Widget:
    widget = Widget(await engine.person(**size))
    await widget.tab.go(url)
    return widget


async def unharmed(widget: Widget) -> None:
    assert await widget.tab.call("() => ({ violations, thrown })") == {"violations": [], "thrown": []}


async def shared(platform: Platform, thread: str) -> list[str]:
    """Return the names of the files that staff see."""
    return [name for shown in await platform.shown(thread) for name in shown.files]


async def test_a_strict_page_of_another_origin_has_nothing_to_object_to(
    engine: Engine, files: list[Path], tmp_path: Path
) -> None:
    async with host_page(tmp_path, "slack", strict="dynamic") as (host, slack):
        chat = await visit(engine, host.origin)
        await chat.open()
        assert await chat.tab.call(f"() => ({STORED})") == NOTHING
        await chat.say("Hello from a strict page")
        await chat.latest_is("sent")
        (thread,) = await slack.threads()
        await slack.says(thread, "Welcome", name="Ada")
        await chat.shows("Hello from a strict page", "Welcome")
        await chat.pictures("[data-kind=staff] .avatar img")
        await chat.attach(*files)
        await chat.pictures(".upload img")
        await chat.tab.picture(f"{engine.name}-strict-files")
        await chat.say("Like this")
        whole = ["Hello from a strict page", "Welcome", "Like this"]
        await chat.shows(*whole)
        await chat.latest_is("sent")
        await eventually_equal(lambda: shared(slack, thread), ["cup.png", "order.txt"])
        await chat.pictures(".file img")

        await chat.tab.press(ESCAPE)
        await chat.visible(".panel", False)
        await chat.focus_is_on(".launcher")
        await chat.tab.press(ENTER)
        await chat.focus_is_on(".composer")
        await chat.tab.reload()
        await chat.open()
        await chat.shows(*whole)
        await chat.pictures(".file img")
        await chat.of(".file img", "(all) => all.forEach((one) => one.dispatchEvent(new Event('error')))")
        await chat.is_so(".file", "(all) => all.map((one) => getComputedStyle(one).paddingTop)", ["8px", "8px"])
        await unharmed(chat)
        assert host.reports == []
        assert await chat.tab.call(MARKUP) == "TypeError"  # the policy is one that this engine keeps


async def test_the_keyboard_reaches_everything(engine: Engine, tmp_path: Path) -> None:
    async with host_page(tmp_path) as (host, _):
        chat = await visit(engine, host.origin)
        await chat.open()
        await chat.tab.press(*"One", SHIFT + ENTER, *"two", ENTER)
        await chat.shows("One\ntwo")
        await chat.tab.press(*"three")
        await chat.tab.press(TAB)
        for part in (".send", ".composer", ".attach", ".message", ".scroller", ".close"):
            await chat.focus_is_on(part)
            await chat.tab.press(SHIFT + TAB)
        await chat.tab.press(TAB)
        await chat.tab.press(ENTER)
        await chat.visible(".panel", False)
        await unharmed(chat)


async def test_a_refused_upgrade_stops_nobody_from_talking(engine: Engine, tmp_path: Path) -> None:
    async with (
        hosted(Host(strict="dynamic", early=WARNED)) as host,
        shop_behind_a_proxy(tmp_path, host.origin) as (proxy, desk),
    ):
        proxy.sockets, host.gateway = "refuse", proxy.url
        chat = await visit(engine, host.origin)
        await chat.open()
        await chat.say("Do you ship to Malta?")
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, "We do")
        await chat.shows("Do you ship to Malta?", "We do")
        assert SOCKET in proxy.asked
        assert STREAM in proxy.asked
        assert FRAMES in proxy.asked
        proxy.cut()
        await desk.says(thread, "Free")
        await chat.shows("Do you ship to Malta?", "We do", "Free")
        assert await chat.tab.call("() => violations") == []
        assert host.reports == []


async def test_two_tabs_show_the_same(engine: Engine, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        first = await visit(engine, f"{app.url}/demo/")
        await first.open()
        await first.say("From the first")
        await first.latest_is("sent")
        other = Widget(await first.tab.another())
        await other.tab.go(f"{app.url}/demo/")
        await other.open()
        await other.shows("From the first")
        await other.say("From the other")
        (thread,) = await desk.threads()
        await desk.says(thread, "To both")
        for chat in (first, other):
            await chat.shows("From the first", "From the other", "To both")
        await other.tab.press(ESCAPE)
        await first.tab.call("() => threadbridge('logout')")
        for chat in (first, other):
            await chat.shows()


@pytest.mark.parametrize(
    ("screen", "locale", "theme"),
    [
        pytest.param({"width": 1280, "height": 800}, "en", "light", id="desktop-light"),
        pytest.param({"width": 1280, "height": 800}, "ar", "dark", id="desktop-dark-rtl"),
        pytest.param({"width": 390, "height": 844}, "en", "dark", id="phone-dark"),
        pytest.param({"width": 360, "height": 640}, "fa", "light", id="narrow-light-rtl"),
    ],
)
async def test_it_looks_as_it_should(
    screen: dict[str, int],
    locale: str,
    theme: str,
    engine: Engine,
    files: list[Path],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await visit(engine, f"{app.url}/demo/", **screen)
        await chat.tab.call("(locale) => threadbridge('setLocale', locale)", locale)
        await chat.tab.call("(theme) => threadbridge('setTheme', theme)", theme)
        await chat.open()
        await chat.say(ASKED)
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, ADVICE, name="Ada")
        await desk.says(thread, OFFER, name="Ada")
        await chat.say(ANSWERED)
        await chat.latest_is("sent")
        await desk.shares(thread, "cup.png", "image/png", CUP)
        await chat.pictures(".file img")
        await chat.attach(*files)
        await chat.is_so(".scroller", "([one]) => one.scrollHeight - one.scrollTop - one.clientHeight < 1")
        await chat.tab.picture(f"{engine.name}-{request.node.callspec.id.partition('-')[2]}")
        box = await chat.of(".panel", "([one]) => Object.values(one.getBoundingClientRect().toJSON()).slice(0, 4)")
        if screen["width"] < 480:
            assert box == [0, 0, screen["width"], screen["height"]]
        assert await chat.of(".panel, .panel *", "(all) => all.filter((one) => one.scrollLeft).length") == 0
        wide = "(all) => all.filter((one) => one.getBoundingClientRect().right > innerWidth).length"
        assert await chat.of(".panel *", wide) == 0
        sides = "([panel]) => ['.attach', '.send'].map((one) => panel.querySelector(one).getBoundingClientRect().left)"
        attach, send = await chat.of(".panel", sides)
        assert (attach > send) == (locale != "en")
        assert await chat.tab.call(BARRIERS, await asyncio.to_thread(AXE.read_text)) == []
        direction = await chat.of(".composer", "([one]) => getComputedStyle(one).direction")
        assert direction == ("ltr" if locale == "en" else "rtl")
        assert await chat.of(".composer", "([one]) => parseFloat(getComputedStyle(one).fontSize)") >= 16


async def test_a_page_calls_it(engine: Engine, tmp_path: Path) -> None:
    early = STUB + LISTENING + "threadbridge('open'); threadbridge('prefill', 'Is it open?')"
    early += "; threadbridge('update', {questions: ['Where is my order?']})"
    async with host_page(tmp_path, early=early, strict="dynamic") as (host, desk):
        chat = await visit(engine, host.origin)
        await chat.focus_is_on(".composer")
        await chat.visible(".questions")
        await chat.tab.press(ENTER)
        await chat.latest_is("sent")
        await chat.visible(".questions", False)
        await chat.tab.call("() => threadbridge('close')")
        await chat.visible(".panel", False)
        (thread,) = await desk.threads()
        await desk.says(thread, "It is", name="Ada")
        await chat.is_so(".badge", "([one]) => one.textContent", "1")
        told = [name for name, _ in await chat.tab.call("() => heard")]
        assert told == ["ready", "open", "message:sent", "close", "message:received", "unread"]
        await chat.tab.call("() => threadbridge('destroy')")
        await chat.is_so(".launcher", "(all) => all.length", 0)
        await chat.tab.call("() => threadbridge('boot', {title: 'Again'})")
        await chat.open()
        await chat.shows("Is it open?", "It is")
        await unharmed(chat)
        assert host.reports == []


async def test_the_conversation_stands_in_an_element(engine: Engine, tmp_path: Path) -> None:
    place = """
const place = document.body.appendChild(document.createElement("div"));
Object.assign(place.style, { blockSize: "480px", inlineSize: "360px" });
"""
    early = STUB + place + "threadbridge('boot', {target: place})"
    async with host_page(tmp_path, early=early) as (host, _):
        chat = await visit(engine, host.origin)
        await chat.visible(".panel")
        assert await chat.of(".panel", "([one]) => [one.offsetWidth, one.offsetHeight]") == [360, 480]
        await chat.click(".composer")
        await chat.say("From within")
        await chat.latest_is("sent")
        await chat.tab.picture(f"{engine.name}-inline")
        await unharmed(chat)


async def test_a_link_leads_to_the_chat_alone(engine: Engine, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await visit(engine, f"{app.url}/chat/demo", width=390, height=844)
        await chat.visible(".panel")
        await chat.click(".composer")
        await chat.say(ASKED)
        await chat.latest_is("sent")
        (thread,) = await desk.threads()
        await desk.says(thread, ADVICE, name="Ada")
        await chat.shows(ASKED, ADVICE)
        assert await chat.tab.call("() => document.documentElement.scrollHeight <= innerHeight")
        await chat.tab.picture(f"{engine.name}-chat")
