"""The main flows and the strict policy in Firefox and WebKitGTK, as the rest of the suite has them in Chromium.

What WebKitGTK cannot be asked here: it has no touch screen and no forced colours, its language is the desktop's, its
windows are no narrower than 334 pixels, and it gives pages no picture of the clipboard. It hears its microphone, but
Debian's has nothing to encode what it hears: there a visitor is told that voice notes do not work. Its driver gives no
console, so the page itself notes what is thrown, warned and refused, in both.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from bridge.app import App
from tests.browser.test_api import LISTENING, STUB
from tests.browser.test_fallback import FRAMES, SOCKET, STREAM
from tests.browser.test_fallback import shop as shop_behind_a_proxy
from tests.browser.test_host_pages import NOTES, NOTHING, STORED, Host, gateway_for, hosted
from tests.browser.test_intro import CONSENT, INTRO, QUESTIONS
from tests.browser.test_looks import ADVICE, ANSWERED, ASKED, OFFER, shop
from tests.browser.test_voice import TONE
from tests.browsing import AXE, Missing
from tests.engines import CONTROL, ENGINES, ENTER, ESCAPE, RIGHT, SHIFT, TAB, Engine, Widget
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
BARRIERS = """async () => {
  AXE
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


NAMES = ["tone.wav", "cup.png", "order.txt"]
BAG = drawn(200, 320, b"\x33\x60\x4c")
WIDE = "(all) => all.filter((one) => one.getBoundingClientRect().right > innerWidth).length"
MOVING = "(all) => all.filter((one) => getComputedStyle(one).animationName !== 'none').length"
TARGETS = """(all) => Math.min(...all.filter((one) => one.offsetParent)
  .flatMap((one) => [one.offsetWidth, one.offsetHeight]))"""
RECORDS = "() => ['audio/mp4;codecs=mp4a.40.2', 'audio/webm;codecs=opus'].some(MediaRecorder.isTypeSupported)"
SECONDS = "([sound]) => { if (sound) sound.preload = 'metadata'; return Math.round(sound?.duration); }"
HEARD = "([sound]) => { if (sound) sound.preload = 'metadata'; return sound?.readyState > 0; }"
"""How long a sound is, which a browser knows once it could read it."""


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


async def visit(engine: Engine, url: str, *, setting: str = "", **size: int) -> Widget:
    widget = Widget(await engine.person(**size, setting=setting))
    await widget.tab.go(url)
    return widget


async def visit_demo(engine: Engine, app: App, **options: Any) -> Widget:
    """Open the demonstration shop, which from then on notes what its policy refuses."""
    widget = await visit(engine, f"{app.url}/demo/", **options)
    await widget.tab.call(f"() => {{ {NOTES} {WARNED} }}")
    return widget


async def open_to_all(widget: Widget) -> None:
    """See that axe finds no barrier. It is a part of what is called: a strict page would not evaluate it."""
    axe = await asyncio.to_thread(AXE.read_text)
    assert await widget.tab.call(BARRIERS.replace("AXE", axe, 1)) == []


async def unharmed(widget: Widget) -> None:
    assert await widget.tab.call("() => ({ violations, thrown })") == {"violations": [], "thrown": []}


async def shared(platform: Platform, thread: str) -> list[str]:
    """Return the names of the files that staff see."""
    return [name for shown in await platform.shown(thread) for name in shown.files]


async def endings(platform: Platform, thread: str) -> list[str]:
    return [name.rpartition(".")[2] for name in await shared(platform, thread)]


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
    ("size", "locale", "setting"),
    [
        pytest.param((1280, 800), "en", "", id="desktop-light"),
        pytest.param((1280, 800), "ar", "dark", id="desktop-dark-rtl"),
        pytest.param((390, 844), "en", "touch", id="phone"),
        pytest.param((390, 844), "de", "dark", id="phone-dark"),
        pytest.param((320, 640), "fa", "", id="narrow-rtl"),
        pytest.param((640, 400), "en", "", id="zoomed-to-200-percent"),
    ],
)
async def test_it_looks_as_it_should(
    size: tuple[int, int],
    locale: str,
    setting: str,
    engine: Engine,
    files: list[Path],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    setting = setting if setting in engine.settings else ""
    width, height = max(size[0], engine.narrowest), size[1]
    async with shop(tmp_path) as (app, desk):
        chat = await visit_demo(engine, app, width=width, height=height, setting=setting)
        await chat.tab.call("(locale) => threadbridge('setLocale', locale)", locale)
        await conversation(chat, desk, files)
        await chat.tab.picture(f"{engine.name}-{request.node.callspec.id.partition('-')[2]}")
        box = await chat.of(".panel", "([one]) => Object.values(one.getBoundingClientRect().toJSON()).slice(0, 4)")
        if width < 480 or height < 440:
            assert box == [0, 0, width, height]
        assert await chat.of(".panel, .panel *", "(all) => all.filter((one) => one.scrollLeft).length") == 0
        assert await chat.of(".panel *", WIDE) == 0
        assert await chat.of(".panel, .panel *", MOVING) == 0
        sides = "([panel]) => ['.attach', '.send'].map((one) => panel.querySelector(one).getBoundingClientRect().left)"
        attach, send = await chat.of(".panel", sides)
        direction = await chat.of(".composer", "([one]) => getComputedStyle(one).direction")
        assert (direction, attach > send) == (("rtl", True) if locale in {"ar", "fa"} else ("ltr", False))
        scheme = await chat.of(".root", "([one]) => getComputedStyle(one).colorScheme")
        assert scheme == ("dark" if setting == "dark" else "light")
        assert await chat.of(".panel button", TARGETS) >= (44 if setting == "touch" else 36)
        assert await chat.of(".composer", "([one]) => parseFloat(getComputedStyle(one).fontSize)") >= 16
        await open_to_all(chat)
        await unharmed(chat)


async def conversation(chat: Widget, desk: Platform, files: list[Path]) -> None:
    """Let them talk, and choose files for another message."""
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


@pytest.mark.parametrize("running_engine", ["firefox"], indirect=True)
async def test_it_keeps_to_forced_colors(engine: Engine, files: list[Path], tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await visit_demo(engine, app, setting="forced-colors")
        assert await chat.tab.call("() => matchMedia('(forced-colors: active)').matches")
        await conversation(chat, desk, files)
        assert await chat.of(".field", "([one]) => getComputedStyle(one).outlineStyle") == "solid"
        await chat.tab.picture(f"{engine.name}-forced-colors")
        await open_to_all(chat)
        await unharmed(chat)


async def test_a_visitor_agrees_and_asks_what_is_often_asked(engine: Engine, tmp_path: Path) -> None:
    async with shop(tmp_path, **INTRO, **CONSENT, notice="We answer within an hour") as (app, desk):
        chat = await visit_demo(engine, app)
        await chat.click(".launcher")
        await chat.focus_is_on(".consent")
        await chat.pictures(".team img")
        await chat.pictures("img.logo")
        await chat.is_so(".heading small", "([one]) => one.textContent", "We answer within an hour")
        await chat.visible(".composer", False)
        assert await chat.tab.call(f"() => ({STORED})") == NOTHING
        await open_to_all(chat)
        await chat.tab.picture(f"{engine.name}-consent")
        await chat.tab.press(TAB)
        await chat.focus_is_on(".consent a")
        await chat.tab.press(TAB)
        await chat.focus_is_on(".agree")
        await chat.tab.press(ENTER)
        await chat.focus_is_on(".composer")
        await chat.is_so(".question", "(all) => all.map((one) => one.textContent)", QUESTIONS)
        assert await chat.tab.call(f"() => ({STORED})") == NOTHING
        assert await desk.threads() == []
        await open_to_all(chat)
        await chat.tab.picture(f"{engine.name}-intro")
        await chat.click("li:first-child .question")
        await chat.shows(QUESTIONS[0])
        await chat.latest_is("sent")
        await chat.visible(".questions", False)
        (thread,) = await desk.threads()
        await desk.sees(thread, QUESTIONS[0])
        await chat.latest_is("seen")
        await unharmed(chat)


async def test_files_are_dropped_seen_large_heard_and_listed(engine: Engine, files: list[Path], tmp_path: Path) -> None:
    tone = tmp_path / "tone.wav"
    tone.write_bytes(TONE)
    async with host_page(tmp_path, "slack", strict="dynamic") as (host, slack):
        chat = await visit(engine, host.origin)
        await chat.open()
        await chat.attach(tone)
        await chat.drop(*files)
        await chat.uploaded(3)
        await chat.is_so(".upload audio", SECONDS, 1)
        await chat.say("These")
        await chat.latest_is("sent")
        (thread,) = await slack.threads()
        await eventually_equal(lambda: shared(slack, thread), NAMES)
        await slack.shares(thread, "bag.png", "image/png", BAG)
        await chat.is_so(".file img", "(all) => all.length", 2)
        await chat.tab.reload()
        await chat.open()
        await chat.pictures(".file img")
        await chat.is_so(".files audio", SECONDS, 1)

        await chat.click("[data-kind=staff] .file img")
        await chat.is_so(".viewer strong", "([one]) => one?.textContent", "bag.png")
        await chat.pictures(".viewer img")
        await open_to_all(chat)
        await chat.tab.picture(f"{engine.name}-viewer")
        await chat.tab.press(RIGHT)
        await chat.is_so(".viewer strong", "([one]) => one.textContent", "cup.png")
        await chat.tab.press(ESCAPE)
        await chat.is_so(".viewer", "(all) => all.length", 0)
        await chat.visible(".panel")

        await chat.click(".more")
        await chat.focus_is_on("[role=menuitem]")
        await open_to_all(chat)
        await chat.tab.picture(f"{engine.name}-menu")
        await chat.tab.press(ENTER)
        await eventually_equal(lambda: asyncio.to_thread(listed, engine.downloads), [*NAMES, "bag.png"])
        await unharmed(chat)
        assert host.reports == []


def listed(folder: Path) -> list[str]:
    """Return the names of the files in a conversation that was downloaded."""
    texts = [path.read_text("utf-8") for path in folder.glob("Shop *.txt")]
    return [line.split()[1] for text in texts for line in text.splitlines() if line.startswith("File: ")]


async def test_what_was_copied_is_pasted(engine: Engine, files: list[Path], tmp_path: Path) -> None:
    async with host_page(tmp_path, "slack", strict="dynamic") as (host, slack):
        chat = await visit(engine, host.origin)
        await chat.open()
        await chat.tab.press(*"Twice! ", CONTROL + "a", CONTROL + "x")
        await chat.is_so(".composer", "([one]) => one.value", "")
        await chat.tab.press(CONTROL + "v", CONTROL + "v")
        await chat.is_so(".composer", "([one]) => one.value", "Twice! Twice! ")
        cup, _ = files
        await chat.paste(cup)
        await chat.uploaded(1)
        await chat.pictures(".upload img")
        await chat.tab.press(ENTER)
        await chat.shows("Twice! Twice!")
        await chat.latest_is("sent")
        (thread,) = await slack.threads()
        await eventually_equal(lambda: endings(slack, thread), ["png"])
        await unharmed(chat)
        assert host.reports == []


async def test_a_voice_note_is_recorded_or_told_to_be_impossible(engine: Engine, tmp_path: Path) -> None:
    async with host_page(tmp_path, "slack", strict="dynamic") as (host, slack):
        chat = await visit(engine, host.origin)
        await chat.open()
        await chat.click(".voice")
        if await chat.tab.call(RECORDS):
            await chat.is_so(".recorder time", "([one]) => one?.textContent > '00:00'")
            await open_to_all(chat)
            await chat.tab.picture(f"{engine.name}-recording")
            await chat.tab.press(ESCAPE)
            await chat.uploaded(1)
            await chat.is_so(".upload audio", HEARD)
            await chat.tab.picture(f"{engine.name}-recorded")
            await chat.tab.press(ENTER)
            await chat.latest_is("sent")
            (thread,) = await slack.threads()
            await eventually_equal(lambda: endings(slack, thread), ["webm"])
            await chat.tab.reload()
            await chat.open()
            await chat.is_so(".files audio", HEARD)
            await chat.tab.picture(f"{engine.name}-voice")
        else:
            assert engine.name == "webkit"
            await chat.is_so(".status", "([one]) => one.textContent", "This does not work at the moment.")
            await chat.visible(".recorder", False)
            await chat.click(".composer")
            await chat.say("In writing, then")
            await chat.latest_is("sent")
        await unharmed(chat)
        assert host.reports == []


@pytest.mark.parametrize(("width", "height", "setting"), [(1280, 800, ""), (390, 844, "dark")])
async def test_the_options_can_be_tried(width: int, height: int, setting: str, engine: Engine, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _):
        chat = await visit_demo(engine, app, width=width, height=height, setting=setting)
        pick = "(name) => document.querySelector(`.options [name=${name}], .options [data-call=${name}]`).click()"
        await chat.tab.call("() => document.querySelector('.options summary').click()")
        await open_to_all(chat)
        await chat.tab.picture(f"{engine.name}-options{setting and '-' + setting}")
        for name in ("logo", "team", "questions", "open"):
            await chat.tab.call(pick, name)
        await chat.pictures("img.logo")
        await chat.pictures(".team img")
        await chat.visible(".question")
        await chat.tab.picture(f"{engine.name}-options-open{setting and '-' + setting}")
        assert "« open" in await chat.tab.call("() => document.querySelector('.told').textContent")
        pictures = "() => [...document.images].every((one) => one.complete && one.naturalWidth)"
        assert await chat.tab.call(pictures)
        await unharmed(chat)


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
