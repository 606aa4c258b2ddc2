"""An operator stops the process: it ends by itself and in time, whatever is under way, and loses nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, FormData

from tests.emulators.base import Fault, Kind, eventually
from tests.emulators.discord import DiscordEmulator
from tests.house import ORIGIN, Visitor, config_for
from tests.process import Serving, serving

_IN_TIME = 40.0
"""Seconds by which it has ended at the latest: the sum of what its stages may take."""
_RESTART = 1012


async def stop(running: Serving) -> None:
    """Stop it as an operator does; it has to end by itself."""
    running.process.terminate()
    assert await asyncio.wait_for(running.process.wait(), _IN_TIME) == 0, "".join(running.said)


def defects(running: Serving) -> Sequence[str]:
    return [line for line in running.said if any(sign in line for sign in ("Traceback", "_defect", "never retrieved"))]


def shown(discord: DiscordEmulator) -> list[str]:
    return [message.text for thread in discord.threads() for message in discord.messages(thread) if message.by_bot]


def texts(discord: DiscordEmulator) -> list[str]:
    return re.findall(r"text \d+", "\n".join(shown(discord)))


@asynccontextmanager
async def connected(http: ClientSession, running: Serving) -> AsyncIterator[Visitor]:
    visitor = Visitor(http, running.url)
    await visitor.connect()
    yield visitor
    await visitor.leave()


@pytest.fixture
async def discord() -> AsyncIterator[DiscordEmulator]:
    async with DiscordEmulator() as emulator:
        yield emulator


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
def config(tmp_path: Path, discord: DiscordEmulator) -> Path:
    config_for(tmp_path, {"discord": discord.settings() | {"budget": "1000/1s"}})
    return tmp_path / "config.toml"


async def test_who_is_writing_is_told_to_come_back_and_nothing_acknowledged_is_lost(
    config: Path, discord: DiscordEmulator, http: ClientSession
) -> None:
    acknowledged: list[str] = []
    async with serving(config) as running, connected(http, running) as visitor:

        async def write() -> None:
            with suppress(ClientError, ConnectionError):
                while True:
                    text = f"text {len(acknowledged)}"
                    assert (await visitor.say(text))["type"] == "ack"
                    acknowledged.append(text)

        writing = asyncio.create_task(write())
        await eventually(lambda: len(acknowledged) > 20)
        await stop(running)
        await writing
        assert visitor.socket
        assert visitor.socket.close_code == _RESTART
    async with serving(config) as again:
        await eventually(lambda: set(acknowledged) <= set(texts(discord)))
    own = texts(discord)
    # What was under way at the end may be there without an acknowledgement
    assert own[: len(acknowledged)] == acknowledged
    assert len(own) <= len(acknowledged) + 1
    assert (defects(running), defects(again)) == ([], [])


async def test_a_platform_that_does_not_answer_holds_the_end_up_no_longer_than_that_may_take(
    config: Path, discord: DiscordEmulator, http: ClientSession
) -> None:
    never = asyncio.Event()
    async with serving(config) as running, connected(http, running) as visitor:
        await visitor.say("first")
        await visitor.until(lambda frame: frame.get("state") == "sent")
        hangs = Fault("create_message", Kind.SLOW, answered=never)
        discord.faults.waiting.append(hangs)
        await visitor.say("second")
        await eventually(lambda: hangs not in discord.faults.waiting)
        await visitor.say("third")
        await stop(running)
    never.set()
    assert any("stopped_late" in line for line in running.said)
    async with serving(config) as again:
        await eventually(lambda: "third" in shown(discord))
    assert shown(discord)[1:] == ["first", "second", "third"]
    assert (defects(running), defects(again)) == ([], [])


async def test_an_upload_under_way_ends_with_the_process_and_leaves_nothing(
    config: Path, tmp_path: Path, http: ClientSession
) -> None:
    begun = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        begun.set()
        await asyncio.Event().wait()

    async with serving(config) as running, connected(http, running) as visitor:
        form = FormData()
        form.add_field("file", half(), filename="a.bin", content_type="application/octet-stream")
        headers = {"Origin": ORIGIN, "Authorization": f"Bearer {visitor.token}"}
        upload = http.post(f"{running.url}/v1/uploads", data=form, headers=headers, expect100=True)
        uploading = asyncio.create_task(upload.__aenter__())
        await begun.wait()  # it wants the body, so it reads it
        await stop(running)
        with suppress(ClientError, ConnectionError):
            assert (await uploading).status == 503
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
    assert defects(running) == []


async def test_a_client_that_reads_nothing_is_cut_off(config: Path, http: ClientSession) -> None:
    async with serving(config) as running, connected(http, running) as visitor:
        assert visitor.socket
        transport = visitor.socket._response.connection.transport  # type: ignore[union-attr]
        transport.pause_reading()  # type: ignore[union-attr]
        await stop(running)
        transport.resume_reading()  # type: ignore[union-attr]
    assert defects(running) == []
