"""What `make demo` shows: a visitor in the shop and an agent at the desk, in two windows."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from bridge.app import App, running
from bridge.config import demo_config
from tests.browser.test_host_pages import NOTES
from tests.browser.test_looks import LOOKS, looks
from tests.browsing import PHONE, ROOT, Chat, DeskPage, Windows, barriers, picture, read_alike

pytestmark = pytest.mark.asyncio(loop_scope="session")

STATES = """panel => {
  window.states = [];
  const note = ({ dataset: { state } = {} }) => state && state !== window.states.at(-1) && window.states.push(state);
  const noted = ({ target, type, addedNodes }) => (type === "attributes" ? note(target) : addedNodes.forEach(note));
  new MutationObserver((records) => records.forEach(noted))
    .observe(panel, { subtree: true, childList: true, attributeFilter: ["data-state"] });
}"""


async def shop(windows: Windows, app: App, *, still: bool = True) -> Chat:
    """Open the shop and its chat as a new visitor."""
    chat = Chat(await windows.open(f"{app.url}/demo/", still=still))
    await chat.open()
    return chat


async def desk(windows: Windows, app: App, name: str, *, still: bool = True) -> DeskPage:
    """Open the desk as an agent."""
    assert app.desk_url
    desk = DeskPage(await windows.open(app.desk_url, still=still))
    await desk.enter(name)
    return desk


async def test_a_visitor_asks_and_an_agent_answers(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada = await desk(windows, app, "Ada", still=False)
        chat = await shop(windows, app, still=False)
        await chat.part("panel").evaluate(STATES)
        await chat.say("Which of the four is for a moka pot?")
        await chat.latest_is("sent")
        assert await chat.page.evaluate("states") == ["sending", "stored", "sent"]

        await expect(ada.rows).to_have_count(1)
        await expect(ada.page).to_have_title("(1) Desk")
        await ada.rows.click()
        await ada.shows("Which of the four is for a moka pot?")
        await expect(ada.page).to_have_title("Desk")
        await chat.latest_is("seen")
        await expect(chat.messages("visitor").locator(".state")).to_have_text("Seen")
        await ada.reply("The **Midnight**: dark, no acidity.", "Shall I grind it for you?")
        await chat.shows("The Midnight: dark, no acidity.", "Shall I grind it for you?", kind="staff")
        await expect(chat.messages("staff").first.locator("strong")).to_have_text("Midnight")
        await expect(chat.messages("staff").first.locator(".name")).to_have_text("Ada")

        await chat.say("Yes please.", "Fine, not too fine.")
        whole = [
            "Which of the four is for a moka pot?",
            "The Midnight: dark, no acidity.",
            "Shall I grind it for you?",
            "Yes please.",
            "Fine, not too fine.",
        ]
        await ada.shows(*whole)
        await chat.shows(*whole)
        await chat.latest_is("seen")


async def tried(windows: Windows, app: App, **options: Any) -> Chat:
    """Open the shop, whose policy nothing may break, and its options."""
    page = await windows.open("about:blank", **options)
    await page.add_init_script(NOTES)
    await page.goto(f"{app.url}/demo/")
    await page.get_by_text("Try the options").click()
    await expect(page.get_by_role("log", name="Calls and events")).to_contain_text("ready")
    return Chat(page)


async def test_the_options_open_where_their_tab_stands(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        page = await windows.open(f"{app.url}/demo/")
        tab = page.get_by_text("Try the options", exact=True)
        left = await tab.evaluate("tab => tab.getBoundingClientRect().left")
        await tab.click()
        await expect(page.get_by_label("Colour")).to_be_visible()
        assert await tab.evaluate("tab => tab.getBoundingClientRect().left") == left
        await picture(page, "demo-options")


async def unharmed(chat: Chat) -> None:
    assert await chat.page.evaluate("({ violations, thrown })") == {"violations": [], "thrown": []}


async def test_each_option_that_is_documented_has_a_switch(windows: Windows, tmp_path: Path) -> None:
    table = (ROOT / "docs/widget.md").read_text("utf-8").partition("\n## Options\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(documented) > 15
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await tried(windows, app)
        fields = chat.page.locator(".options").locator("input, select")
        assert {*await fields.evaluate_all("all => all.map(({ name }) => name)")} == documented


async def test_the_switches_change_the_look(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await tried(windows, app)
        page, panel, told = chat.page, chat.part("panel"), chat.page.locator(".told")
        for name in ("Quick questions", "Team", "Logo"):
            await page.get_by_label(name).check()
        await page.get_by_label("From the side").fill("100")
        await page.get_by_label("From the bottom").fill("60")
        await page.get_by_label("Title").fill("The roasters")
        await page.get_by_label("Greeting").fill("What may it be?")
        await page.get_by_label("Colour").fill("#33604c")
        await page.get_by_label("How soon").select_option("our words")
        await page.get_by_role("button", name="open", exact=True).click()
        await expect(panel).to_have_accessible_name("The roasters")
        await expect(panel).to_contain_text("What may it be?")
        await expect(panel).to_contain_text("We answer within an hour")
        await expect(panel.locator(".head")).to_have_css("background-color", "rgb(51, 96, 76)")
        await expect(chat.part("question")).to_have_count(3)
        await expect(panel.get_by_role("img", name="Noor")).to_be_visible()
        await expect(panel.locator(".logo")).to_be_visible()
        box, launcher = await panel.bounding_box(), await chat.part("launcher").bounding_box()
        assert box
        assert launcher
        assert 1280 - box["x"] - box["width"] == 100
        assert 800 - launcher["y"] - launcher["height"] == 60
        await expect(told).to_contain_text("« open")
        await page.get_by_label("How soon").select_option("not told")
        await expect(panel).not_to_contain_text("We answer within an hour")
        await page.get_by_label("Theme").select_option("dark")
        await expect(panel).to_have_css("background-color", "rgb(25, 27, 31)")
        await page.get_by_label("Corner").select_option("left")
        covered = "() => !!document.elementFromPoint(200, 500).closest('.options')"
        assert not await page.evaluate(covered)
        await page.get_by_label("Layer").select_option("below these options")
        assert await page.evaluate(covered)
        await unharmed(chat)


async def test_the_switches_turn_on_and_off_what_there_is(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await tried(windows, app)
        page, panel = chat.page, chat.part("panel")
        await page.get_by_role("button", name="open", exact=True).click()
        await page.get_by_label("Consent first").check()
        await page.get_by_label("Link to a policy").check()
        await expect(chat.part("consent").get_by_role("link", name="Privacy policy")).to_be_visible()
        await page.get_by_label("Consent first").uncheck()
        await expect(chat.part("composer")).to_be_visible()
        await page.get_by_label("Language").select_option("fr")
        await expect(chat.part("send")).to_have_accessible_name("Envoyer")
        await page.get_by_label("Words of our own").check()
        await expect(chat.part("composer")).to_have_attribute("placeholder", "Ask the roasters…")
        await page.get_by_label("Voice messages").uncheck()
        await expect(chat.part("voice")).to_be_hidden()
        more = panel.locator(".more")
        await more.click()
        await expect(panel.get_by_role("menuitemcheckbox")).to_have_count(1)
        await page.get_by_label("Sound").uncheck()
        await more.click()
        await expect(panel.get_by_role("menuitem")).to_have_count(1)
        await expect(panel.get_by_role("menuitemcheckbox")).to_have_count(0)
        await page.get_by_label("Launcher").uncheck()
        await expect(chat.part("launcher")).to_be_hidden()
        await page.get_by_label("Inside the page").check()
        await expect(page.locator("#inline").locator("threadbridge-widget")).to_have_count(1)
        await expect(panel).to_be_in_viewport()
        await page.get_by_label("Inside the page").uncheck()
        await expect(page.locator("#inline")).to_be_hidden()
        await unharmed(chat)


async def test_each_call_is_told_with_its_events(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada = await desk(windows, app, "Ada")
        chat = await tried(windows, app)
        page, told = chat.page, chat.page.locator(".told")
        for verb in ("track", "identify", "send"):
            await page.get_by_role("button", name=verb, exact=True).click()
        await expect(told).to_contain_text("« message:sent")
        await ada.rows.click()
        await ada.shows("Do you have gift cards?")
        await expect(ada.page.locator("#thread .event", has_text="Added to cart")).to_be_visible()
        await expect(ada.rows).to_contain_text("Mara Lindqvist")
        await ada.reply("We do.")
        await expect(told).to_contain_text("« message:received")
        await page.get_by_role("button", name="unread", exact=True).click()
        await expect(told).to_contain_text("unread → 1")
        await unharmed(chat)


CUT_OFF = """all => all.filter((select) => {
  const { offsetWidth } = select;
  const whole = select.cloneNode(true);
  whole.style.width = "max-content";
  select.after(whole);
  const cut = whole.offsetWidth > offsetWidth;
  whole.remove();
  return cut;
}).map(({ name }) => name)"""


@looks
async def test_the_options_have_no_barriers(look: str, windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await tried(windows, app, **LOOKS[look])
        assert await barriers(chat.page) == []
        assert await chat.page.locator("select").evaluate_all(CUT_OFF) == []
        await picture(chat.page, f"options-{look}")


async def test_what_is_written_in_markup_stays_text(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada = await desk(windows, app, "Ada")
        chat = await shop(windows, app)
        text = '<img src=x onerror="throw 1"> **not bold** &amp;'
        await chat.say(text)
        await ada.rows.click()
        await ada.shows(text)
        await ada.reply("<b>hello</b> &lt;")
        await chat.shows(text, "<b>hello</b> &lt;")


async def test_what_staff_format_is_formatted(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada = await desk(windows, app, "Ada")
        chat = await shop(windows, app)
        await expect(chat.page.get_by_role("dialog", name="Corner Coffee")).to_be_visible()
        await expect(chat.part("panel")).not_to_have_attribute("aria-modal", "true")
        await chat.say("hello")
        await ada.rows.click()
        await ada.shows("hello")
        await ada.reply("> one\n> *two*\n```\ngrind = **7**\n  fine\n```\n- a\n- *b* **c**")
        text = chat.texts("staff").first
        await expect(text.locator("blockquote > p")).to_have_text(["one", "two"])
        await expect(text.locator("blockquote em")).to_have_text("two")
        assert await text.locator("pre").text_content() == "grind = **7**\n  fine"
        await expect(text.locator("ul > li")).to_have_text(["a", "b c"])
        await expect(text.locator("li em")).to_have_text("b")
        await expect(text.locator("li strong")).to_have_text("c")
        await picture(chat.page, "widget-formatted")
        await picture(ada.page, "desk-formatted")


async def test_one_sees_that_the_other_types(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada = await desk(windows, app, "Ada")
        chat = await shop(windows, app)
        await chat.say("hello")
        await ada.rows.click()
        await ada.shows("hello")
        await chat.part("composer").press_sequentially("I wanted")
        await expect(ada.page.locator("#typing")).to_contain_text("is typing")
        await ada.page.locator("#reply").press_sequentially("Good")
        await expect(chat.part("status")).to_have_text("Ada is typing")
        await picture(chat.page, "widget-typing")
        await picture(ada.page, "desk-typing")
        await ada.page.locator("#reply").press("Enter")
        await chat.shows("hello", "Good")
        await expect(chat.part("status")).to_have_text("")


async def test_a_reload_keeps_the_conversation(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada = await desk(windows, app, "Ada")
        chat = await shop(windows, app)
        await chat.say("one", "two")
        await ada.rows.click()
        await ada.shows("one", "two")
        await ada.reply("three")
        await chat.shows("one", "two", "three")
        await chat.page.reload()
        await chat.open()
        await chat.shows("one", "two", "three")
        await chat.latest_is("seen")
        await ada.page.reload()
        await ada.shows("one", "two", "three")
        await chat.say("four")
        await ada.shows("one", "two", "three", "four")


async def test_the_badge_counts_what_was_not_seen(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada = await desk(windows, app, "Ada")
        chat = await shop(windows, app)
        badge, launcher = chat.part("badge"), chat.part("launcher")
        await chat.say("hello")
        await chat.latest_is("sent")
        await chat.part("composer").press("Escape")
        await expect(chat.part("panel")).to_be_hidden()
        await expect(launcher).to_be_focused()
        await expect(badge).to_be_hidden()

        await ada.rows.click()
        await ada.reply("one", "two")
        await expect(badge).to_have_text("2")
        await expect(launcher).to_have_accessible_name("Open chat, 2 unread messages")
        await chat.page.reload()
        await expect(badge).to_have_text("2")
        await chat.open()
        await expect(badge).to_be_hidden()
        await chat.shows("hello", "one", "two")
        await expect(launcher).to_have_accessible_name("Close chat")
        await chat.page.reload()
        await chat.shows("hello", "one", "two")
        await expect(badge).to_be_hidden()


async def test_two_tabs_show_the_same(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada = await desk(windows, app, "Ada")
        first = await shop(windows, app)
        other = Chat(await first.page.context.new_page())
        await other.page.goto(f"{app.url}/demo/")
        await other.open()
        await first.say("from the first")
        await read_alike([first, other], "from the first")
        await other.say("from the other")
        await read_alike([first, other], "from the first", "from the other")
        await ada.rows.click()
        await ada.shows("from the first", "from the other")
        await ada.reply("to both")
        await read_alike([first, other], "from the first", "from the other", "to both")
        await first.shows("from the first", "from the other", kind="visitor")
        await expect(ada.rows).to_have_count(1)


async def test_a_restart_under_the_open_pages_loses_nothing(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        port = int(app.url.rpartition(":")[2])
    async with running(demo_config(tmp_path, port)) as app:
        ada = await desk(windows, app, "Ada")
        chat = await shop(windows, app)
        await chat.say("before")
        await ada.rows.click()
        await ada.shows("before")
        await chat.latest_is("seen")
    await chat.say("meanwhile 1", "meanwhile 2")
    await chat.latest_is("sending")
    await expect(ada.page.locator("#connection")).to_have_text("No connection to the server. Trying again…")
    await picture(ada.page, "desk-offline")
    async with running(demo_config(tmp_path, port)):
        await chat.say("meanwhile 3")
        whole = ["before", "meanwhile 1", "meanwhile 2", "meanwhile 3"]
        await ada.shows(*whole)
        await expect(ada.page.locator("#connection")).to_have_text("")
        await ada.reply("answered")
        await chat.shows(*whole, "answered")
        await expect(chat.messages("visitor").and_(chat.page.locator("[data-state=seen]"))).to_have_count(4)
        await chat.page.reload()
        await chat.shows(*whole, "answered")


async def test_two_agents_see_each_other(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada, ben = await asyncio.gather(desk(windows, app, "Ada"), desk(windows, app, "Ben"))
        chat = await shop(windows, app)
        await chat.say("hello")
        await ada.rows.click()
        await ben.rows.click()
        await ada.reply("I am Ada", "// she likes tea")
        await ben.shows("hello", "I am Ada")
        await ben.reply("I am Ben")
        await ada.shows("hello", "I am Ada", "she likes tea", "I am Ben")
        await chat.shows("hello", "I am Ada", "I am Ben")
        assert await chat.messages("staff").locator(".name").all_inner_texts() == ["Ada", "Ben"]


async def test_an_agent_is_told_of_a_file_that_is_too_large(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada = await desk(windows, app, "Ada")
        chat = await shop(windows, app)
        await chat.say("hello")
        await ada.rows.click()
        pick, trouble = ada.page.locator("#pick"), ada.page.locator("#trouble")
        await pick.set_input_files({"name": "film.mp4", "mimeType": "video/mp4", "buffer": bytes(6_000_000)})
        await expect(trouble).to_have_text("This is too large: the desk takes files and messages of up to 5 MB.")
        await picture(ada.page, "desk-refused")
        await pick.set_input_files({"name": "list.txt", "mimeType": "text/plain", "buffer": b"a 1"})
        await expect(trouble).to_be_empty()
        await expect(ada.page.locator("#files li")).to_have_count(1)


async def test_a_phone_is_filled_and_nothing_flows_over(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        ada = await desk(windows, app, "Ada")
        chat = Chat(await windows.open(f"{app.url}/demo/", **PHONE))
        await chat.part("launcher").tap()
        panel, composer = chat.part("panel"), chat.part("composer")
        await expect(panel).to_be_visible()
        assert await panel.bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 844}
        assert await composer.evaluate("box => parseFloat(getComputedStyle(box).fontSize)") >= 16
        long = "https://shop.example/" + "a-long-address-without-a-break" * 5
        await composer.fill(long)
        await chat.part("send").tap()
        await chat.latest_is("sent")
        await ada.rows.click()
        await ada.reply("`" + "code" * 40 + "`", "Donaudampfschifffahrtsgesellschaftskapitän" * 3)
        await expect(chat.messages("staff")).to_have_count(2)
        wide = "panel => [...panel.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > 390).length"
        assert await panel.evaluate(wide) == 0
        assert await chat.page.evaluate("document.documentElement.scrollWidth") == 390
        sizes = "all => all.map((one) => one.getBoundingClientRect()).map((box) => Math.min(box.width, box.height))"
        assert min(await panel.locator("button:visible").evaluate_all(sizes)) >= 44
        await chat.part("close").tap()
        await expect(panel).to_be_hidden()
        await picture(chat.page, "phone-closed")


async def test_a_phone_stays_filled_when_one_zooms_in(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = Chat(await windows.open(f"{app.url}/demo/", **PHONE))
        await chat.part("launcher").tap()
        panel = chat.part("panel")
        await expect(panel).to_be_visible()
        chromium = await chat.page.context.new_cdp_session(chat.page)
        await chromium.send("Emulation.setPageScaleFactor", {"pageScaleFactor": 2})
        await chat.page.wait_for_function("() => visualViewport.scale === 2 && visualViewport.height === 422")
        await chat.page.evaluate("new Promise(requestAnimationFrame)")
        height = "panel => panel.getBoundingClientRect().height"
        assert await panel.evaluate(height) == 844
        await chat.page.evaluate("threadbridge('close'); threadbridge('open')")
        assert await panel.evaluate(height) == 844
