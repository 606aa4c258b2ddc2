"""Browsers with engines other than Chromium's, over the W3C's protocols, and the widget in them as a person uses it.

Firefox speaks WebDriver BiDi itself. WebKitGTK, the nearest to Safari that Debian has, comes with a driver that speaks
WebDriver and a small browser, MiniBrowser. Both have a display of their own, which Xvfb is: without one Firefox has a
clipboard for texts alone, and MiniBrowser does not run. Both have a microphone that beeps.
"""

from __future__ import annotations

import asyncio
import base64
import json
import mimetypes
import os
import re
import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientConnectionError, ClientSession, ClientWebSocketResponse

from tests.browsing import SCREENSHOTS, Missing
from tests.platforms import eventually_equal

ENTER, ESCAPE, TAB, SHIFT, CONTROL, RIGHT = "\ue007", "\ue00c", "\ue004", "\ue008", "\ue009", "\ue014"
"""Keys, as both protocols name them."""
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""Marks an element in WebDriver's JSON."""
_PREFERENCES = {
    "app.update.enabled": False,
    "browser.download.alwaysOpenPanel": False,
    "browser.download.folderList": 2,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "intl.accept_languages": "en-GB",
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "ui.prefersReducedMotion": 1,
    "ui.useOverlayScrollbars": 1,
}
_SETTINGS = {
    "dark": {"layout.css.prefers-color-scheme.content-override": 0},
    "forced-colors": {"browser.display.document_color_use": 2},
    "touch": {"ui.primaryPointerCapabilities": 1, "ui.allPointerCapabilities": 1},
}
_SET = """(settings) => {
  for (const [name, value] of Object.entries(JSON.parse(settings))) {
    if (value === null) Services.prefs.clearUserPref(name);
    else Services.prefs.setIntPref(name, value);
  }
}"""
_ARGUMENTS = ["--automation", "--enable-media-stream=true", "--enable-mock-capture-devices=true"]
_PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
_OPENER = "data:text/html,<body onclick=\"open('about:blank', '_blank', 'popup,noopener')\"><h1>Click</h1>"
_SCREEN = (1600, 1200)
_STILL = "[Settings]\ngtk-enable-animations=0\n"


class Tab(ABC):
    """A page in a browser of some engine."""

    pointer: str = "mouse"
    """What clicks: `mouse` or `touch`."""
    pastes_pictures: bool
    """Whether a page is given the clipboard's pictures."""

    @abstractmethod
    async def go(self, url: str) -> None:
        """Load an address."""

    @abstractmethod
    async def reload(self) -> None:
        """Load the page again."""

    @abstractmethod
    async def call(self, function: str, *given: Any) -> Any:
        """Return what a JavaScript function makes of what is given, or the promise of it. Both are JSON."""

    @abstractmethod
    async def act(self, source: Mapping[str, Any]) -> None:
        """Let a keyboard or a pointer do something: an input source as the W3C's actions have it."""

    @abstractmethod
    async def choose(self, input: str, *files: Path) -> None:
        """Choose files in the input that a JavaScript function returns."""

    @abstractmethod
    async def resize(self, width: int, height: int) -> None:
        """Give the page a size in CSS pixels."""

    @abstractmethod
    async def another(self) -> Tab:
        """Open another tab of the same person."""

    @abstractmethod
    async def screenshot(self) -> str:
        """Return what is seen, a PNG in base64."""

    async def picture(self, name: str) -> None:
        """Keep what is seen, for a person to look at."""
        await self.call(_PAINTED)
        await asyncio.to_thread(SCREENSHOTS.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread((SCREENSHOTS / f"{name}.png").write_bytes, base64.b64decode(await self.screenshot()))

    async def press(self, *keys: str) -> None:
        """Press keys one after the other; one of several characters is a chord."""
        actions = [
            {"type": kind, "value": key}
            for chord in keys
            for kind, order in (("keyDown", chord), ("keyUp", chord[::-1]))
            for key in order
        ]
        await self.act({"type": "key", "id": "keyboard", "actions": actions})

    async def click(self, x: float, y: float) -> None:
        actions = [
            {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0, "origin": "viewport"},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        kind = {"pointerType": self.pointer}
        await self.act({"type": "pointer", "id": self.pointer, "parameters": kind, "actions": actions})


class Engine(ABC):
    """A browser that people open windows of."""

    name: str
    settings: frozenset[str]
    """What a person's system can be set to: `dark`, `forced-colors`, `touch`."""
    narrowest: int
    """The width in pixels that a window has at least."""
    downloads: Path

    @abstractmethod
    async def person(self, width: int = 1280, height: int = 800, *, setting: str = "") -> Tab:
        """Open a window that shares nothing with another. Until all leave, one setting is everybody's."""

    @abstractmethod
    async def leave(self) -> None:
        """Close the windows of all."""


# --- Firefox ----------------------------------------------------------------------------------------------------------


class _Firefox(Engine):
    name = "firefox"
    settings = frozenset(_SETTINGS)
    narrowest = 320

    def __init__(self, socket: ClientWebSocketResponse, downloads: Path) -> None:
        self._socket = socket
        self.downloads = downloads
        self._asked = 0
        self._people: list[str] = []

    async def ask(self, method: str, **params: Any) -> Any:
        """Give a command, and return its result."""
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": params})
        while (answer := await self._socket.receive_json()).get("id") != self._asked:
            pass
        assert answer["type"] == "success", answer
        return answer["result"]

    async def person(self, width: int = 1280, height: int = 800, *, setting: str = "") -> Tab:
        if setting:
            await self._set(_SETTINGS[setting])
        person = (await self.ask("browser.createUserContext"))["userContext"]
        self._people.append(person)
        tab = await self.tab(person)
        tab.pointer = "touch" if setting == "touch" else "mouse"
        await tab.resize(width, height)
        return tab

    async def _set(self, preferences: Mapping[str, int | None]) -> None:
        """Set preferences of the browser, which only its own windows may; None takes one back."""
        (window, *_) = (await self.ask("browsingContext.getTree", **{"moz:scope": "chrome"}))["contexts"]
        given = [{"type": "string", "value": json.dumps(preferences)}]
        await self.ask(
            "script.callFunction", functionDeclaration=_SET, arguments=given, awaitPromise=True,
            target={"context": window["context"]},
        )  # fmt: skip

    async def tab(self, person: str) -> Tab:
        opened = await self.ask("browsingContext.create", type="tab", userContext=person)
        return _FirefoxTab(self, person, opened["context"])

    async def leave(self) -> None:
        while self._people:
            await self.ask("browser.removeUserContext", userContext=self._people.pop())
        await self._set({name: None for preferences in _SETTINGS.values() for name in preferences})


@dataclass
class _FirefoxTab(Tab):
    firefox: _Firefox
    person: str
    context: str
    pastes_pictures = True

    async def _ask(self, method: str, **params: Any) -> Any:
        return await self.firefox.ask(method, context=self.context, **params)

    async def _evaluate(self, function: str, *given: str) -> Any:
        arguments = [{"type": "string", "value": one} for one in given]
        found = await self.firefox.ask(
            "script.callFunction", functionDeclaration=function, arguments=arguments, awaitPromise=True,
            target={"context": self.context},
        )  # fmt: skip
        assert found["type"] == "success", found
        return found["result"]

    async def go(self, url: str) -> None:
        await self._ask("browsingContext.navigate", url=url, wait="complete")

    async def reload(self) -> None:
        await self._ask("browsingContext.reload", wait="complete")

    async def call(self, function: str, *given: Any) -> Any:
        whole = f"async (given) => JSON.stringify((await ({function})(...JSON.parse(given))) ?? null)"
        return json.loads((await self._evaluate(whole, json.dumps(given)))["value"])

    async def act(self, source: Mapping[str, Any]) -> None:
        await self._ask("input.performActions", actions=[source])

    async def choose(self, input: str, *files: Path) -> None:
        element = {"sharedId": (await self._evaluate(input))["sharedId"]}
        await self._ask("input.setFiles", element=element, files=[*map(str, files)])

    async def resize(self, width: int, height: int) -> None:
        await self._ask("browsingContext.setViewport", viewport={"width": width, "height": height})

    async def another(self) -> Tab:
        return await self.firefox.tab(self.person)

    async def screenshot(self) -> str:
        return str((await self._ask("browsingContext.captureScreenshot"))["data"])


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Engine]:
    """Run Firefox with a profile of its own. Raises Missing."""
    program = _program("firefox-esr", "firefox")
    downloads = _downloads(folder)
    chosen = _PREFERENCES | {"browser.download.dir": str(downloads)}
    preferences = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in chosen.items()]
    (folder / "user.js").write_text("".join(preferences))
    options = ["--no-remote", "--profile", str(folder), "--remote-debugging-port=0", "--remote-allow-system-access"]
    async with (
        _display() as environ,
        _running(program, *options, env=environ, stderr=asyncio.subprocess.PIPE) as process,
        ClientSession() as http,
    ):
        assert process.stderr
        said = await process.stderr.readuntil(b"/127.0.0.1:") + await process.stderr.readline()
        found = re.search(r"ws://\S+", said.decode())
        assert found, said
        async with http.ws_connect(f"{found[0]}/session", max_msg_size=0) as socket:
            firefox = _Firefox(socket, downloads)
            await firefox.ask("session.new", capabilities={})
            yield firefox


# --- WebKitGTK --------------------------------------------------------------------------------------------------------


class _WebKit(Engine):
    name = "webkit"
    settings = frozenset({"dark"})
    narrowest = 334

    def __init__(self, http: ClientSession, environ: Mapping[str, str], downloads: Path) -> None:
        self._http = http
        self._environ = environ
        self._people = AsyncExitStack()
        self.downloads = downloads

    async def person(self, width: int = 1280, height: int = 800, *, setting: str = "") -> Tab:
        dark = {"": [], "dark": ["--dark-mode"]}[setting]
        tab = await self._people.enter_async_context(self._session([*_ARGUMENTS, *dark]))
        await tab.resize(width, height)
        return tab

    @asynccontextmanager
    async def _session(self, arguments: list[str]) -> AsyncIterator[_WebKitTab]:
        """Run a driver, which serves one person."""
        port = _free_port()
        async with _running("WebKitWebDriver", f"--port={port}", env=self._environ):
            driver = _Driver(self._http, f"http://127.0.0.1:{port}")
            await eventually_equal(driver.ready, True)
            wanted = {"webkitgtk:browserOptions": {"args": arguments}}
            opened = await driver.ask("POST", "/session", capabilities={"alwaysMatch": wanted})
            driver.url += f"/session/{opened['sessionId']}"
            driver.opener = _WebKitTab(driver, await driver.ask("GET", "/window"))
            await driver.opener.go(_OPENER)
            yield await driver.opener.another()
            await driver.ask("DELETE", "")

    async def leave(self) -> None:
        await self._people.aclose()


@dataclass
class _Driver:
    http: ClientSession
    url: str
    opener: _WebKitTab | None = None
    """What opens windows without the browser's own bars, which would not let them become as narrow as a phone."""
    current: str = ""
    """The window that commands are for."""

    async def ask(self, method: str, path: str, **given: Any) -> Any:
        """Give a command, and return its result."""
        async with self.http.request(method, self.url + path, json=given if method == "POST" else None) as answer:
            found = (await answer.json(content_type=None))["value"]
            assert answer.status == 200, found
            return found

    async def windows(self) -> set[str]:
        return {*await self.ask("GET", "/window/handles")}

    async def ready(self) -> bool:
        try:
            return bool((await self.ask("GET", "/status"))["ready"])
        except ClientConnectionError:
            return False


@dataclass
class _WebKitTab(Tab):
    driver: _Driver
    handle: str
    pastes_pictures = False

    async def _ask(self, method: str, path: str, **given: Any) -> Any:
        if self.driver.current != self.handle:
            self.driver.current = self.handle
            await self.driver.ask("POST", "/window", handle=self.handle)
        return await self.driver.ask(method, path, **given)

    async def go(self, url: str) -> None:
        await self._ask("POST", "/url", url=url)

    async def reload(self) -> None:
        await self._ask("POST", "/refresh")

    async def call(self, function: str, *given: Any) -> Any:
        return await self._ask("POST", "/execute/sync", script=f"return ({function})(...arguments)", args=given)

    async def act(self, source: Mapping[str, Any]) -> None:
        await self._ask("POST", "/actions", actions=[source])

    async def choose(self, input: str, *files: Path) -> None:
        element = (await self.call(input))[_ELEMENT]
        await self._ask("POST", f"/element/{element}/value", text="\n".join(map(str, files)))

    async def resize(self, width: int, height: int) -> None:
        # Around the display's pointer: without a window manager that is where the focus is.
        place = {"x": (_SCREEN[0] - width) // 2, "y": (_SCREEN[1] - height) // 2}
        await self._ask("POST", "/window/rect", width=width, height=height, **place)
        await eventually_equal(lambda: self.call("() => [innerWidth, innerHeight]"), [width, height])

    async def another(self) -> Tab:
        assert self.driver.opener
        before = await self.driver.windows()
        await self.driver.opener.click(20, 20)
        await eventually_equal(lambda: self._news(before), 1)
        (opened,) = await self.driver.windows() - before
        return _WebKitTab(self.driver, opened)

    async def _news(self, before: set[str]) -> int:
        return len(await self.driver.windows() - before)

    async def screenshot(self) -> str:
        return str(await self._ask("GET", "/screenshot"))


@asynccontextmanager
async def webkit(folder: Path) -> AsyncIterator[Engine]:
    """Run WebKitGTK's browser with settings of its own. Raises Missing."""
    _program("WebKitWebDriver")
    settings = folder / "gtk-3.0" / "settings.ini"
    settings.parent.mkdir()
    settings.write_text(_STILL)
    downloads = _downloads(folder)
    (folder / "user-dirs.dirs").write_text(f'XDG_DOWNLOAD_DIR="{downloads}"\n')
    async with _display() as environ, ClientSession() as http:
        engine = _WebKit(http, {**environ, "XDG_CONFIG_HOME": str(folder)}, downloads)
        try:
            yield engine
        finally:
            await engine.leave()


ENGINES = {"firefox": firefox, "webkit": webkit}


@asynccontextmanager
async def _display() -> AsyncIterator[dict[str, str]]:
    """Run a display, which has a clipboard of its own, and return the environment of programs on it."""
    screen = ["-displayfd", "1", "-screen", "0", "{}x{}x24".format(*_SCREEN), "-nolisten", "tcp"]
    async with _running(_program("Xvfb"), *screen, stdout=asyncio.subprocess.PIPE) as display:
        assert display.stdout
        number = (await display.stdout.readline()).decode().strip()
        yield {**os.environ, "DISPLAY": f":{number}", "GDK_BACKEND": "x11"}


def _downloads(folder: Path) -> Path:
    (folder / "downloads").mkdir()
    return folder / "downloads"


def _program(*names: str) -> str:
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        raise Missing(f"{names[0]} is missing. Install it (.ci/need says how) and try again.")
    return program


@asynccontextmanager
async def _running(*command: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    process = await asyncio.create_subprocess_exec(*command, **quiet | options)
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- the widget -------------------------------------------------------------------------------------------------------


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


_WIDGET = "document.querySelector('threadbridge-widget')?.shadowRoot"
_POINT = """(all) => {
  const element = all.at(-1);
  element?.scrollIntoView({ block: "nearest" });
  const { left, top, width, height } = element?.getBoundingClientRect() ?? {};
  const [x, y] = [left + width / 2, top + height / 2];
  return element?.contains(element.getRootNode().elementFromPoint(x, y)) ? [x, y] : null;
}"""
"""The middle of the last, where a click hits it."""
_GIVE = """([target], files, types, kind, property) => {
  const data = new DataTransfer();
  for (const [name, type, base64] of files) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  for (const type of types) {
    target.dispatchEvent(new self[kind](type, { [property]: data, bubbles: true, cancelable: true, composed: true }));
  }
}"""
_COPY = """(base64) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const item = new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) });
  const copy = () => navigator.clipboard.write([item]).then(() => (self.copied = true));
  document.addEventListener("click", copy, { once: true });
}"""
_VISIBLE = "(all) => all.some((one) => one.checkVisibility({ visibilityProperty: true }))"


@dataclass
class Widget:
    """The widget on a page. Elements are told by CSS selectors within it; those that are waited for, for a while."""

    tab: Tab

    async def of(self, selector: str, function: str, *given: Any) -> Any:
        """Return what a function makes of the elements that a selector finds."""
        found = f"(selector, ...given) => ({function})([...({_WIDGET}?.querySelectorAll(selector) ?? [])], ...given)"
        return await self.tab.call(found, selector, *given)

    async def is_so(self, selector: str, function: str, expected: Any = True) -> None:
        """Wait until a function makes this of the elements."""
        await eventually_equal(lambda: self.of(selector, function), expected)

    async def click(self, selector: str) -> None:
        async def found() -> bool:
            nonlocal point
            point = await self.of(selector, _POINT)
            return point is not None

        point: list[float] | None = None
        await eventually_equal(found, True)
        assert point
        await self.tab.click(*point)

    async def focus_is_on(self, selector: str) -> None:
        await self.is_so(selector, "([one]) => !!one && one.getRootNode().activeElement === one")

    async def open(self) -> None:
        await self.click(".launcher")
        await self.focus_is_on(".composer")

    async def visible(self, selector: str, whether: bool = True) -> None:
        await self.is_so(selector, _VISIBLE, whether)

    async def say(self, *texts: str) -> None:
        for text in texts:
            await self.tab.press(*text, ENTER)

    async def attach(self, *files: Path) -> None:
        """Choose files, and wait until they are uploaded."""
        await self.tab.choose(f"() => {_WIDGET}.querySelector('input[type=file]')", *files)
        await self.uploaded(len(files))

    async def uploaded(self, count: int) -> None:
        await self.is_so(".upload[data-state=ready]", "(all) => all.length", count)

    async def drop(self, *files: Path) -> None:
        """Drop files on the conversation. No driver has a desktop to drag them from: the page makes the events."""
        await self._give(".log", files, ["dragenter", "dragover", "drop"], "DragEvent", "dataTransfer")

    async def paste(self, picture: Path) -> None:
        """Paste a PNG into the composer. Where a browser would give the page nothing, the page makes the event."""
        if self.tab.pastes_pictures:
            await self.tab.call(_COPY, _base64(picture))
            await self.tab.click(20, 20)
            await eventually_equal(lambda: self.tab.call("() => self.copied ?? false"), True)
            await self.click(".composer")
            await self.tab.press(CONTROL + "v")
        else:
            await self._give(".composer", [picture], ["paste"], "ClipboardEvent", "clipboardData")

    async def _give(self, target: str, files: Sequence[Path], *events: Any) -> None:
        given = [[one.name, mimetypes.guess_type(one)[0], _base64(one)] for one in files]
        await self.of(target, _GIVE, given, *events)

    async def shows(self, *texts: str, kind: str = "") -> None:
        """Wait until exactly these texts are there, in this order."""
        where = f".message{kind and f'[data-kind={kind}]'} .text:not([hidden])"
        await self.is_so(where, "(all) => all.map((one) => one.innerText.trim())", [*texts])

    async def latest_is(self, state: str) -> None:
        """Wait until the visitor's latest message has come so far: sending, stored, sent or failed."""
        await self.is_so(".message[data-kind=visitor]", "(all) => all.at(-1)?.dataset.state", state)

    async def pictures(self, selector: str) -> None:
        """Wait until there are pictures, and each is one."""
        await self.is_so(selector, "(all) => all.length && all.every((one) => one.complete && one.naturalWidth)")
