"""Voice notes: recorded, listened to, sent, and played by whoever gets them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from bridge.app import App, running
from bridge.config import demo_config
from tests.browser.test_files import choose, ready
from tests.browser.test_host_pages import Host, gateway_for, hosted, visit
from tests.browser.test_looks import LOOKS, SCREENS, looks, mainly, shop
from tests.browsing import Chat, DeskPage, Windows, barriers, picture
from tests.platforms import emulated, eventually_equal

pytestmark = pytest.mark.asyncio(loop_scope="session")

SPEAKING: dict[str, Any] = {"permissions": ["microphone"]}
A_MOMENT, A_WHILE = re.compile(r"^00:(0[1-9]|[1-9]\d)$"), re.compile(r"^00:(0[2-9]|[1-9]\d)$")
"""At least: whoever looks may come late."""
TONE = b"RIFF\x64\x1f\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0@\x1f\0\0\1\0\x08\0data@\x1f\0\0" + bytes([128, 160] * 4000)
"""A second of a sound."""


async def arrive(windows: Windows, app: App, **options: Any) -> Chat:
    chat = Chat(await windows.open(f"{app.url}/demo/", **options))
    await chat.open()
    return chat


async def plays(sound: Locator) -> None:
    """Play it from its beginning."""
    assert await sound.evaluate("async (sound) => { await sound.play(); return sound.error === null }")

    async def time() -> bool:
        return bool(await sound.evaluate("sound => sound.currentTime > 0 && sound.seekable.length > 0"))

    await eventually_equal(time, True)


async def test_a_voice_note_is_listened_to_and_sent(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await arrive(windows, app, still=False, **SPEAKING)
        await chat.part("voice").click()
        bar = chat.part("recorder")
        await expect(bar.get_by_role("button", name="Send the voice note")).to_be_focused()
        await expect(chat.part("composer")).to_be_hidden()
        await expect(chat.part("status")).to_have_text("Recording…")
        await expect(bar.get_by_role("timer")).to_have_text(A_WHILE)
        heard = "all => all.some((one) => one.style.getPropertyValue('--level') > 0.1)"
        await eventually_equal(lambda: bar.locator(".levels i").evaluate_all(heard), True)
        await bar.get_by_role("button", name="Stop and listen").click()
        await ready(chat, 1)
        await expect(bar).to_have_count(0)
        await expect(chat.part("status")).to_be_empty()
        await expect(chat.part("send")).to_be_focused()
        await plays(chat.part("upload").locator("audio"))
        await chat.page.keyboard.press("Enter")
        await chat.latest_is("sent")
        sent = chat.messages("visitor").last
        await expect(sent.locator(".file bdi")).to_have_text(re.compile(r"^voice-\d{4}(-\d\d){4}\.webm$"))
        await plays(sent.locator("audio"))
        await chat.page.reload()
        await chat.open()
        await plays(sent.locator("audio"))


async def test_a_voice_note_is_sent_at_once(windows: Windows, tmp_path: Path) -> None:
    async with shop(tmp_path) as (app, desk):
        chat = await arrive(windows, app, **SPEAKING)
        await chat.part("voice").click()
        await expect(chat.part("recorder").get_by_role("timer")).to_have_text(A_MOMENT)
        await chat.page.keyboard.press("Enter")
        await chat.latest_is("sent")
        await expect(chat.messages("visitor").locator("audio")).to_have_count(1)
        (thread,) = await desk.threads()
        (shown,) = await desk.shown(thread)
        (file,) = shown.raw["attachments"]
        assert (file["type"], file["name"][:6], file["name"][-5:]) == ("audio/webm", "voice-", ".webm")
        await desk.shares(thread, "answer.wav", "audio/wav", TONE)
        answer = chat.messages("staff")
        await expect(answer.locator(".file bdi")).to_have_text("answer.wav")
        await plays(answer.locator("audio"))


@pytest.mark.parametrize("screen", mainly(["desktop", "phone"], "desktop"))
async def test_a_voice_note_is_played_at_the_desk(screen: str, windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        assert app.desk_url
        ada = DeskPage(await windows.open(app.desk_url, **SCREENS[screen]))
        await ada.enter("Ada")
        await expect(ada.page.get_by_text("All quiet.")).to_be_visible()
        await expect(ada.page.get_by_text("Choose a conversation")).to_be_hidden()
        chat = await arrive(windows, app, **SPEAKING)
        await chat.part("voice").click()
        await expect(chat.part("recorder").get_by_role("timer")).to_have_text(A_MOMENT)
        await chat.page.keyboard.press("Enter")
        await chat.latest_is("sent")
        await ada.rows.click()
        player = ada.page.get_by_label(re.compile("^voice-.*webm$"))
        await plays(player)
        await player.evaluate("player => player.pause()")
        await ada.page.locator("#close").click()
        await expect(ada.page.get_by_text("Closed by Ada")).to_be_visible()
        assert await barriers(ada.page) == []
        await picture(ada.page, f"desk-{screen}-voice")


async def test_what_is_discarded_is_not_kept(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await arrive(windows, app, **SPEAKING)
        await chat.part("voice").click()
        await chat.page.get_by_role("button", name="Discard the voice note").click()
        await expect(chat.part("composer")).to_be_focused()
        await expect(chat.part("upload")).to_have_count(0)
        await chat.part("voice").click()
        await expect(chat.part("recorder")).to_be_visible()
        await chat.page.evaluate("threadbridge('logout')")
        await expect(chat.part("recorder")).to_have_count(0)
        await expect(chat.part("upload")).to_have_count(0)


async def test_a_closed_panel_does_not_listen(windows: Windows, tmp_path: Path) -> None:
    """What was said until then waits in the composer."""
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await arrive(windows, app, **SPEAKING)
        for leave in ("threadbridge('close')", "threadbridge('hide')"):
            await chat.part("voice").click()
            await expect(chat.part("recorder").get_by_role("timer")).to_have_text(A_MOMENT)
            await chat.page.evaluate(leave)
            await expect(chat.part("recorder")).to_have_count(0)
            await chat.page.evaluate("() => { threadbridge('show'); threadbridge('open') }")
            await ready(chat, 1)
            await chat.page.get_by_role("button", name="Remove voice-").click()
        await chat.part("voice").click()
        await expect(chat.part("recorder").get_by_role("timer")).to_have_text(A_MOMENT)
        await chat.page.keyboard.press("Escape")
        await ready(chat, 1)
        await expect(chat.part("panel")).to_be_visible()


async def test_who_allows_no_microphone_is_told_what_helps(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await arrive(windows, app)
        await chat.part("voice").click()
        blocked = "The microphone is blocked. Allow it in the browser’s settings of this page."
        await expect(chat.part("status")).to_have_text(blocked)
        await expect(chat.part("composer")).to_be_visible()


async def test_a_site_can_do_without_voice_notes(windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await arrive(windows, app)
        await expect(chat.part("voice")).to_be_visible()
        await chat.page.evaluate("threadbridge('update', { voice: 'false' })")
        await expect(chat.part("voice")).to_be_hidden()


async def test_a_strict_page_has_nothing_to_object_to(windows: Windows, tmp_path: Path) -> None:
    async with (
        hosted(Host(strict="dynamic")) as host,
        emulated("desk") as desk,
        gateway_for(host, desk, tmp_path, [host.origin]),
    ):
        visitor = await visit(windows, host)
        await visitor.page.context.grant_permissions(["microphone"])
        chat = Chat(visitor.page)
        await chat.open()
        await chat.part("voice").click()
        await expect(chat.part("recorder").get_by_role("timer")).to_have_text(A_MOMENT)
        await chat.page.get_by_role("button", name="Stop and listen").click()
        await ready(chat, 1)
        await plays(chat.part("upload").locator("audio"))
        await chat.part("send").click()
        await chat.latest_is("sent")
        await plays(chat.messages("visitor").locator("audio"))
        await visitor.page.reload()
        await chat.open()
        await plays(chat.messages("visitor").locator("audio"))
        await visitor.unharmed()


async def test_where_the_page_forbids_sounds_there_is_a_file(windows: Windows, tmp_path: Path) -> None:
    async with (
        hosted(Host(strict="dynamic", silent=True)) as host,
        emulated("desk") as desk,
        gateway_for(host, desk, tmp_path, [host.origin]),
    ):
        chat = Chat((await visit(windows, host)).page)
        await chat.open()
        await choose(chat, {"name": "tone.wav", "mimeType": "audio/wav", "buffer": TONE})
        await ready(chat, 1)
        await expect(chat.part("upload").locator("audio")).to_have_count(0)
        await chat.part("send").click()
        await chat.latest_is("sent")
        await expect(chat.messages("visitor").locator(".file")).to_have_text("tone.wav9 kB")
        await expect(chat.messages("visitor").locator("audio")).to_have_count(0)


@looks
async def test_voice_notes_have_no_barriers(look: str, windows: Windows, tmp_path: Path) -> None:
    async with running(demo_config(tmp_path, 0)) as app:
        chat = await arrive(windows, app, still=False, **LOOKS[look], **SPEAKING)
        assert await barriers(chat.page) == []
        await chat.part("voice").click()
        await expect(chat.part("recorder").get_by_role("timer")).to_have_text(A_WHILE)
        assert await barriers(chat.page) == []
        await picture(chat.page, f"widget-recording-{look}")
        await chat.page.get_by_role("button", name="Stop and listen").click()
        await ready(chat, 1)
        assert await barriers(chat.page) == []
        await picture(chat.page, f"widget-recorded-{look}")
        await chat.part("send").click()
        await chat.latest_is("sent")
        assert await barriers(chat.page) == []
        await picture(chat.page, f"widget-voice-{look}")
