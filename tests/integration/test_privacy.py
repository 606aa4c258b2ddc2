"""What people say, who they are and what opens the platforms stays out of every log, whatever the level."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession

from bridge import log
from tests.emulators.base import Emulator, Kind, eventually
from tests.emulators.discord import DiscordEmulator
from tests.emulators.slack import SlackEmulator
from tests.emulators.telegram import TelegramEmulator
from tests.house import ORIGIN, Visitor, config_for
from tests.process import serving

SAID, ANSWERED, NAME, EMAIL, PAGE = (
    "wordsofthevisitor",
    "wordsofstaff",
    "Marianne Kaltenbach",
    "m@k.example",
    "/secret-page",
)

EMULATORS = {
    "slack": lambda: SlackEmulator(
        bot_token="xoxb-bot-token-of-this-test", app_token="xapp-app-token-of-this-test", signing_secret="signs-here"
    ),
    "telegram": lambda: TelegramEmulator(token="7000000002:AAtokenOfThisTestWhichMayNotBeSeen-00"),
    "discord": lambda: DiscordEmulator(token="discord-token-of-this-test"),
}
SENDS = {"slack": "chat.postMessage", "telegram": "sendMessage", "discord": "create_message"}


def marks(settings: Mapping[str, Any]) -> list[str]:
    secrets = [str(value) for key, value in settings.items() if "token" in key or "secret" in key]
    return [SAID, ANSWERED, *NAME.split(), EMAIL, PAGE, *secrets]


@pytest.mark.parametrize("form", ["json", pytest.param("console", marks=pytest.mark.full)])
async def test_nothing_of_a_conversation_is_in_a_log_at_debug(form: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(ClientSession())
        emulators = {name: await stack.enter_async_context(start()) for name, start in EMULATORS.items()}
        adapters = {name: emulator.settings() | {"budget": "1000/1s"} for name, emulator in emulators.items()}
        sites = {name: {"name": "Shop", "origins": [ORIGIN], "destinations": [name]} for name in emulators}
        config_for(tmp_path, adapters, sites=sites)
        # Whoever looks for a fault turns everything on.
        serve = serving(tmp_path / "config.toml", "--log-level", "debug", "--log-format", form)
        running = await stack.enter_async_context(serve)
        page = {"url": f"https://shop.example{PAGE}", "title": PAGE, "referrer": ""}
        about = {"page": page, "identity": {"name": NAME, "email": EMAIL}}
        visitors = {name: Visitor(http, running.url, site=name, hello=about) for name in emulators}
        async with asyncio.TaskGroup() as group:
            for name, visitor in visitors.items():
                group.create_task(talk(visitor, emulators[name], name))
    said = "".join(running.said)
    secrets = [mark for settings in adapters.values() for mark in marks(settings)]
    found = [mark for mark in [*secrets, *(str(visitor.token) for visitor in visitors.values())] if mark in said]
    assert not found, [line for line in running.said if any(mark in line for mark in found)]
    assert "Traceback" not in said
    assert "ready" in said


async def talk(visitor: Visitor, emulator: Emulator, name: str) -> None:
    await visitor.connect()
    await converse(visitor, emulator, SENDS[name])
    await rubbish(visitor, visitor.url, f"/hooks/{name}")


async def converse(visitor: Visitor, emulator: Emulator, sends: str) -> None:
    """Say something, be answered, and meet each kind of fault on the way."""
    assert (await visitor.say(SAID))["type"] == "ack"
    thread = await eventually(lambda: next(iter(emulator.threads()), None))
    for kind in (Kind.ERROR, Kind.CUT, Kind.RATE_LIMIT, Kind.ERROR_AFTER, Kind.CUT_AFTER):
        emulator.faults.add(sends, kind, seconds=0.1)
        await visitor.say(f"{SAID} {kind}")
    await eventually(lambda: any(str(Kind.CUT_AFTER) in shown.text for shown in emulator.messages(thread)), 60)
    await emulator.disconnect()
    message = await emulator.staff_says(thread, ANSWERED, name=NAME)
    assert ANSWERED in (await visitor.hear())["text"]
    await emulator.staff_edits(thread, message, f"{ANSWERED} again")
    await visitor.until(lambda frame: frame["type"] == "revision")


async def rubbish(visitor: Visitor, url: str, hook: str) -> None:
    """Send what cannot be read, with the same words in it."""
    for frame in ({"type": "message", "id": SAID, "text": SAID * 1000}, {"type": SAID}, {"type": "message", "id": 1}):
        await visitor.send(frame)
        await visitor.until(lambda frame: frame["type"] == "error")
    headers = {"X-Telegram-Bot-Api-Secret-Token": SAID, "X-Slack-Signature": SAID, "Cookie": SAID}
    for body in (SAID.encode(), json.dumps({"text": SAID}).encode(), b"\xff" + SAID.encode()):
        async with visitor.http.post(f"{url}{hook}?q={SAID}", data=body, headers=headers) as answer:
            assert 400 <= answer.status < 500


# --- the last line of defence: whatever comes, from wherever ----------------------------------------------------------


@pytest.fixture
def restored() -> Any:
    """Leave logging as it was."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("form", list(log.Form))
def test_an_exception_is_named_without_its_words(form: log.Form, capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(log.Level.DEBUG, form)
    text = SAID
    try:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise ExceptionGroup(text, [KeyError(text)]) from error
    except ExceptionGroup as error:
        structlog.get_logger().exception("frame_failed")
        structlog.get_logger().error("task_failed", exc_info=error)
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", "127.0.0.1")
        logging.getLogger("asyncio").error(
            "Task exception was never retrieved\nfuture: %r", error, exc_info=error, stack_info=True
        )
    said = capsys.readouterr().err
    assert SAID not in said
    assert "Traceback" not in said
    assert "Stack" not in said
    assert said.count("ExceptionGroup < test_privacy.py:") == 4
    assert said.count("[KeyError] from ValueError < test_privacy.py:") == 4
    assert said.count("\n") == 4


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("library", ["httpx", "httpcore", "telegram.Bot", "discord.http", "slack_sdk"])
def test_libraries_are_quiet_below_a_warning(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(log.Level.DEBUG, log.Form.JSON)
    logging.getLogger(library).debug(SAID)
    logging.getLogger(library).info(
        "POST https://api.telegram.org/bot%s", "7000000002:AAtokenOfThisTestWhichMayNotBeSeen"
    )
    logging.getLogger("else").warning(
        "POST https://api.telegram.org/bot%s", "7000000002:AAtokenOfThisTestWhichMayNotBeSeen"
    )
    said = capsys.readouterr().err
    assert SAID not in said
    assert "AAtoken" not in said
    assert said.count("[hidden]") == 1
