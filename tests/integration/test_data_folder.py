"""The data folder: what a crash leaves in it, and that it goes away under a running process."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

from aiohttp import ClientSession

from tests.house import Visitor, config_for
from tests.process import ended, serving


async def test_a_removed_data_folder_is_not_served_from(tmp_path: Path) -> None:
    data = tmp_path / "kept" / "data"
    config_for(data)
    config = shutil.move(data / "config.toml", tmp_path / "config.toml")
    async with ClientSession() as http:
        async with serving(config) as running:
            visitor = Visitor(http, running.url)
            await visitor.connect()
            assert (await visitor.say("kept"))["type"] == "ack"
            await asyncio.to_thread(shutil.rmtree, data)
            with suppress(ConnectionError):  # where the process has noticed before it was asked, it is on its way out
                refused = await visitor.say("lost if it were taken")
                assert (refused["type"], refused["code"]) == ("error", "unavailable")
            assert await asyncio.wait_for(running.process.wait(), 30) == 1
            await visitor.leave()
        assert "was removed or replaced while it was in use" in running.said[-1]


async def test_what_a_write_left_that_was_cut_off_goes_at_the_next_start_and_nothing_that_is_being_written(
    tmp_path: Path,
) -> None:
    config_for(tmp_path)
    half = tmp_path / "files" / "ab" / f"ab{0:030}.part"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half of it")
    config = ("--config", tmp_path / "config.toml")
    async with serving(tmp_path / "config.toml"):
        assert not half.exists()
        half.write_bytes(b"as this process writes it now")
        assert (await ended("serve", *config))[0] == 1
        assert (await ended("backup", tmp_path / "backup.tar", *config))[0] == 0
        assert half.exists()
