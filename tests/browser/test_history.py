"""A long conversation: older messages come as one scrolls up, few are in the page, a new one leaves them alone."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest
from aiohttp import ClientSession
from playwright.async_api import Route, WebSocketRoute, expect

from tests.browser.test_elsewhere import READ_OUT
from tests.browser.test_files import DRAWN
from tests.browser.test_looks import shop, signed_in
from tests.browsing import Chat, Windows, picture
from tests.house import Visitor
from tests.platforms import eventually_equal

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOWN = 100
"""How many messages the widget keeps in the page."""
READ = """async (scroller, { step, last }) => {
  const log = scroller.querySelector("[part=log]");
  const read = [];
  let most = 0;
  let moved = 0;
  let held;
  for (let frames = 0; frames < 4000 && !read.includes(last); frames++) {
    const { top, bottom } = scroller.getBoundingClientRect();
    const messages = [...log.querySelectorAll("[data-seq]")];
    most = Math.max(most, messages.length);
    if (held?.isConnected) moved = Math.max(moved, Math.abs(held.getBoundingClientRect().bottom - held.was));
    const inSight = messages.filter((one) => {
      const box = one.getBoundingClientRect();
      return box.bottom > top && box.top < bottom;
    });
    const seen = inSight.map((one) => one.querySelector("[part=text]").textContent);
    for (const text of step < 0 ? seen.reverse() : seen) if (!read.includes(text)) read.push(text);
    // Who reads stops where there is nothing yet
    if (step > 0 || log.getBoundingClientRect().top < top) scroller.scrollBy(0, step);
    held = inSight[0];
    if (held) held.was = held.getBoundingClientRect().bottom;
    await new Promise(requestAnimationFrame);
  }
  return { read, most, moved };
}"""
TO_THE_TOP = """one => {
  one.closest(".scroller").scrollTop = 0;
  return one.getBoundingClientRect().top;
}"""
WATCH = """log => {
  window.touched = new Set();
  new MutationObserver((records) => {
    for (const { target } of records) {
      const message = (target.nodeType === 1 ? target : target.parentElement).closest("[data-seq]");
      if (message) touched.add(Number(message.dataset.seq));
    }
  }).observe(log, { subtree: true, childList: true, attributes: true, characterData: true });
}"""

MARKED = """() => {
  window.marked = new Set();
  for (const name of ["toggleAttribute", "remove"]) {
    const real = Element.prototype[name];
    Element.prototype[name] = function (...given) {
      if (this.matches("[part=message]")) marked.add(this);
      return real.apply(this, given);
    };
  }
}"""
"""Notes which messages are changed, in the page or out of it."""


def kept(visitor: Visitor) -> str:
    """Return a script that leaves a visitor's token where the demonstration shop's widget finds it."""
    return f"""localStorage.setItem("threadbridge:demo", JSON.stringify({{ token: "{visitor.token}", queue: [] }}))"""


WORK = """
window.work = [];
let piece;
const noted = (what) => {
  if (!piece) {
    piece = { come: 0, asked: 0 };
    queueMicrotask(() => {
      work.push(piece);
      piece = undefined;
    });
  }
  piece[what]++;
};
const { insertBefore } = Node.prototype;
Node.prototype.insertBefore = function (...given) {
  if (given[0].matches("[part=message]")) noted("come");
  return insertBefore.apply(this, given);
};
const { getBoundingClientRect } = Element.prototype;
Element.prototype.getBoundingClientRect = function () {
  noted("asked");
  return getBoundingClientRect.call(this);
};
"""
"""Notes piece by piece how many messages come into the page, and how often the widget asks where something is."""
STEP = 12
"""How many messages come into the page in one piece."""
THROUGH = """(scroller, { step, last }) => new Promise((done) => {
  const frame = () => {
    if (scroller.querySelector(`[data-seq="${last}"]`)) return done();
    scroller.scrollBy(0, step);
    requestAnimationFrame(frame);
  };
  frame();
})"""


@pytest.mark.parametrize("many", [450, pytest.param(5000, marks=pytest.mark.full)])
async def test_a_long_conversation_is_read_up_and_down(many: int, windows: Windows, tmp_path: Path) -> None:
    """Every message comes into sight, in order, while the page holds a few of them: the work does not grow."""
    async with shop(tmp_path) as (app, desk), ClientSession() as http:
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        said = [f"message {number}" for number in range(many)]
        for text in said:
            await visitor.say(text)
        page = await windows.open("about:blank")
        await page.add_init_script(kept(visitor))
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await expect(chat.texts().last).to_have_text(said[-1])
        scroller = page.locator("threadbridge-widget .scroller")
        up = await scroller.evaluate(READ, {"step": -300, "last": said[0]})
        assert (up["read"], up["most"]) == (said[::-1], SHOWN)
        assert up["moved"] <= 1

        (thread,) = await desk.threads()
        await desk.says(thread, "an answer", name="Ada")
        await expect(chat.part("jump")).to_be_visible()
        await picture(chat.page, "widget-news")
        await expect(chat.part("status")).to_have_text("New messages")  # which is read out: the log does not show it
        await expect(chat.texts().first).to_have_text(said[0])
        down = await scroller.evaluate(READ, {"step": 300, "last": "an answer"})
        assert (down["read"], down["most"]) == ([*said, "an answer"], SHOWN)
        assert down["moved"] <= 1
        await expect(chat.part("jump")).to_be_hidden()
        await expect(chat.part("status")).to_be_empty()

        await chat.part("log").evaluate(WATCH)
        await page.evaluate(MARKED)
        await chat.say("one more")
        await chat.latest_is("sent")
        assert await page.evaluate("marked.size") <= SHOWN + 2
        assert min(await page.evaluate("[...touched]")) >= many + 1


@pytest.mark.parametrize("many", [450, pytest.param(5000, marks=pytest.mark.full)])
async def test_a_long_conversation_is_drawn_in_small_pieces(many: int, windows: Windows, tmp_path: Path) -> None:
    """However much was said. What the pieces take, `bench history` says."""
    async with shop(tmp_path) as (app, _), ClientSession() as http:
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        said = [await visitor.say(f"message {number}") for number in range(many)]
        page = await windows.open("about:blank")
        await page.add_init_script(kept(visitor) + WORK)
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await expect(chat.messages()).to_have_count(SHOWN)
        scroller = page.locator("threadbridge-widget .scroller")
        for step, last in ((-1000, said[0]), (1000, said[-1])):
            await scroller.evaluate(THROUGH, {"step": step, "last": last["seq"]})
        work = await page.evaluate("work")
        assert sum(piece["come"] for piece in work) >= 2 * many - SHOWN
        assert max(piece["come"] for piece in work) <= STEP
        assert max(piece["asked"] for piece in work) <= 2


async def test_what_came_meanwhile_comes_in_small_pieces_in_its_order(windows: Windows, tmp_path: Path) -> None:
    """It is read out, whoever follows is at its end, and whoever reads earlier messages is left there."""
    async with shop(tmp_path) as (app, _), ClientSession() as http:
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        for number in range(40):
            await visitor.say(f"message {number}")
        page = await windows.open("about:blank")
        await page.add_init_script(kept(visitor) + WORK)
        lines: list[WebSocketRoute] = []
        asleep = False

        async def gate(socket: WebSocketRoute) -> None:
            if asleep:
                await socket.close()
            else:
                socket.connect_to_server()
                lines.append(socket)

        async def misses(*texts: str) -> None:
            """Sleep while the visitor goes on in another place."""
            nonlocal asleep
            asleep = True
            await lines[-1].close()
            for text in texts:
                await visitor.say(text)
            asleep = False
            await page.evaluate("work.length = 0; dispatchEvent(new Event('online'))")

        await page.route_web_socket("**/v1/socket", gate)
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await expect(chat.messages()).to_have_count(40)
        await chat.part("log").evaluate(READ_OUT)
        new = [f"message {number}" for number in range(40, 190)]
        await misses(*new)
        await expect(chat.texts().last).to_have_text(new[-1])
        await expect(chat.texts().last).to_be_in_viewport()
        assert await page.evaluate("announced") == new
        assert max(piece["come"] for piece in await page.evaluate("work")) <= STEP

        held = chat.message("message 150")
        before = await held.evaluate("one => (one.scrollIntoView(), one.getBoundingClientRect().top)")
        newer = [f"message {number}" for number in range(190, 230)]
        await misses(*newer)
        await expect(chat.texts().last).to_have_text(newer[-1])
        assert await page.evaluate("announced") == new + newer
        assert await held.evaluate("one => one.getBoundingClientRect().top") == pytest.approx(before, abs=1)


async def test_who_reads_earlier_messages_is_left_there_by_many_that_come_singly(
    windows: Windows, tmp_path: Path
) -> None:
    """Browsers scroll by whole pixels, messages are not as high: what is rounded away must not add up."""
    async with shop(tmp_path) as (app, _), ClientSession() as http:
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        for number in range(SHOWN + 50):
            await visitor.say(f"message {number}")
        page = await windows.open("about:blank")
        await page.add_init_script(kept(visitor))
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await expect(chat.messages()).to_have_count(SHOWN)
        held = chat.message("message 110")
        before = await held.evaluate("one => (one.scrollIntoView(), one.getBoundingClientRect().top)")
        for number in range(30):
            await visitor.say(f"new {number}")
            await expect(chat.texts().last).to_have_text(f"new {number}")
        assert await held.evaluate("one => one.getBoundingClientRect().top") == pytest.approx(before, abs=1)


async def test_a_history_does_not_move_when_it_is_there(windows: Windows, tmp_path: Path) -> None:
    """Only what is new comes in with a movement."""
    async with shop(tmp_path) as (app, _), ClientSession() as http:
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        await visitor.say("of old")
        page = await windows.open("about:blank")
        await page.emulate_media(reduced_motion="no-preference")
        await page.add_init_script(kept(visitor))
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await chat.shows("of old")
        assert await chat.messages().evaluate("one => one.getAnimations().length") == 0
        await visitor.say("new")
        await chat.shows("of old", "new")
        assert await chat.messages().evaluate_all("all => all.map((one) => getComputedStyle(one).animationName)") == [
            "none",
            "rise",
        ]


async def test_older_messages_come_unheard_and_move_nothing(windows: Windows, tmp_path: Path) -> None:
    """Also where much of the latest of the log is nothing that visitors are shown."""
    async with shop(tmp_path) as (app, _), ClientSession() as http:
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        said = [f"message {number}" for number in range(230)]
        for number, text in enumerate(said):
            if number >= 100:
                await visitor.send({"type": "track", "name": "Looked", "data": None})
            await visitor.say(text)
        page = await windows.open("about:blank")
        await page.add_init_script(kept(visitor))
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await expect(chat.texts().first).to_have_text("message 130")
        await chat.part("log").evaluate(READ_OUT)
        first = chat.message("message 130")
        before = await first.evaluate(TO_THE_TOP)
        await expect(chat.message("message 120")).to_have_count(1)
        assert await first.evaluate("one => one.getBoundingClientRect().top") == pytest.approx(before, abs=1)
        assert await page.evaluate("announced") == []


async def test_older_messages_that_come_late_move_nothing(windows: Windows, tmp_path: Path) -> None:
    """Whoever waits for them at the very top reads on there, where so far the day stood."""
    async with shop(tmp_path) as (app, _), ClientSession() as http:
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        for number in range(230):  # more than the gateway gives at once
            await visitor.say(f"message {number}")
        page = await windows.open("about:blank")
        await page.add_init_script(kept(visitor))
        asked, come = asyncio.Event(), asyncio.Event()

        async def gate(socket: WebSocketRoute) -> None:
            server = socket.connect_to_server()

            async def passed(frame: str | bytes) -> None:
                if '"history"' in str(frame):
                    asked.set()
                    await come.wait()
                server.send(frame)

            socket.on_message(passed)

        await page.route_web_socket("**/v1/socket", gate)
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await expect(chat.messages()).to_have_count(SHOWN)

        async def waits() -> bool:
            await chat.messages().first.evaluate(TO_THE_TOP)
            return asked.is_set()

        await eventually_equal(waits, True)
        first = chat.message("message 30")
        before = await first.evaluate(TO_THE_TOP)
        come.set()
        await expect(chat.message("message 20")).to_have_count(1)
        assert await first.evaluate("one => one.getBoundingClientRect().top") == pytest.approx(before, abs=1)


async def test_a_picture_that_comes_late_moves_nothing(windows: Windows, tmp_path: Path) -> None:
    """Whoever reads below it reads on, in a browser too that would not hold the place by itself."""
    async with shop(tmp_path) as (app, desk), ClientSession() as http:
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        await visitor.say("Which one is it?")
        (thread,) = await desk.threads()
        page = await windows.open("about:blank")
        drawn = await page.evaluate(DRAWN, [320, 200, "#ae4a20"])
        await desk.shares(thread, "cup.png", "image/png", base64.b64decode(drawn.partition(",")[2]))
        for number in range(20):
            await visitor.say(f"message {number}")
        come = asyncio.Event()

        async def late(route: Route) -> None:
            await come.wait()
            await route.continue_()

        await page.route("**/files/*", late)
        await page.add_init_script(kept(visitor))
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await expect(chat.messages()).to_have_count(22)
        held = chat.message("message 0")
        before = await held.evaluate("one => (one.scrollIntoView(), one.getBoundingClientRect().top)")
        shown = chat.part("log").locator("img")
        assert await shown.evaluate("one => one.naturalWidth") == 0
        come.set()
        await eventually_equal(lambda: shown.evaluate("one => one.complete && one.naturalWidth"), 320)
        assert await held.evaluate("one => one.getBoundingClientRect().top") == pytest.approx(before, abs=1)


async def test_one_comes_back_from_old_messages_at_once(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        said = [f"message {number}" for number in range(SHOWN + 100)]
        for text in said:
            await chat.page.evaluate("text => threadbridge('send', text)", text)
        await chat.latest_is("sent")
        scroller = chat.page.locator("threadbridge-widget .scroller")
        await scroller.evaluate(READ, {"step": -300, "last": said[0]})
        (thread,) = await desk.threads()
        await desk.says(thread, "an answer", name="Ada")
        await expect(chat.part("jump")).to_be_visible()  # before that a key would go elsewhere
        await chat.part("jump").press("Enter")
        await expect(scroller).to_be_focused()
        await expect(chat.texts().last).to_have_text("an answer")
        await expect(chat.texts().last).to_be_in_viewport()
        await scroller.evaluate(READ, {"step": -300, "last": said[0]})
        await chat.say("one more")
        await expect(chat.texts().last).to_have_text("one more")
        await expect(chat.texts().last).to_be_in_viewport()


async def test_who_has_not_scrolled_up_stays_at_the_end(windows: Windows, tmp_path: Path) -> None:
    """Also where the conversation grew between a scroll and the event that tells of it."""
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        await chat.say(*(f"message {number}" for number in range(20)))
        scroller = chat.page.locator("threadbridge-widget .scroller")
        await scroller.evaluate("""(scroller) => {
          const picture = scroller.querySelector("[part=text]").cloneNode();
          picture.style.blockSize = "300px";
          scroller.querySelector("[part=log]").append(picture);
          scroller.dispatchEvent(new Event("scroll"));
        }""")
        at_the_end = "one => one.scrollHeight - one.scrollTop - one.clientHeight < 1"
        await eventually_equal(lambda: scroller.evaluate(at_the_end), True)


async def test_who_scrolls_up_while_the_conversation_grows_is_left_there(windows: Windows, tmp_path: Path) -> None:
    """Also before the event that tells of the scroll."""
    async with shop(tmp_path) as (app, _):
        chat = Chat(await windows.open(f"{app.url}/demo/"))
        await chat.open()
        await chat.say(*(f"message {number}" for number in range(20)))
        scroller = chat.page.locator("threadbridge-widget .scroller")
        left = await scroller.evaluate("""async (scroller) => {
          const log = scroller.querySelector("[part=log]");
          const frame = () => new Promise(requestAnimationFrame);
          await frame();
          const was = scroller.scrollTop;
          log.append(log.lastElementChild.cloneNode(true));
          scroller.scrollBy(0, -150);
          await frame();
          await frame();
          return was - scroller.scrollTop;
        }""")
        assert left == pytest.approx(150, abs=1)


@pytest.mark.parametrize("fate", ["lost", "refused"])
async def test_older_messages_come_after_a_request_for_them_was(fate: str, windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, _), ClientSession() as http:
        visitor = signed_in(http, app, "Mara Lindqvist")
        await visitor.connect()
        for number in range(230):  # more than the gateway gives at once
            await visitor.say(f"message {number}")
        page = await windows.open("about:blank")
        await page.add_init_script(kept(visitor))
        asked = 0

        async def gate(socket: WebSocketRoute) -> None:
            server = socket.connect_to_server()

            async def passed(frame: str | bytes) -> None:
                nonlocal asked
                if '"history"' in str(frame):
                    asked += 1
                    if asked == 1 and fate == "refused":
                        refusal = {"type": "error", "code": "unavailable", "detail": "Try again later."}
                        socket.send(json.dumps(refusal))
                        return
                    if asked == 1:  # the line breaks
                        await server.close()
                        await socket.close()
                        return
                server.send(frame)

            socket.on_message(passed)

        await page.route_web_socket("**/v1/socket", gate)
        await page.goto(f"{app.url}/demo/")
        chat = Chat(page)
        await chat.open()
        await expect(chat.messages()).to_have_count(SHOWN)
        scroller = page.locator("threadbridge-widget .scroller")
        up = "one => { one.scrollTop = 0; one.dispatchEvent(new Event('scroll')); }"

        async def first() -> str | None:
            await scroller.evaluate(up)
            return await chat.texts().first.text_content()

        await eventually_equal(first, "message 0")
        assert asked > 1
