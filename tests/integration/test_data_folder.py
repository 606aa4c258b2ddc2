"""The data folder goes away under a running process: it says so and takes nothing more."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from aiohttp import ClientSession

from tests.house import Visitor, config_for
from tests.process import serving


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
            refused = await visitor.say("lost if it were taken")
            assert (refused["type"], refused["code"]) == ("error", "unavailable")
            assert await asyncio.wait_for(running.process.wait(), 30) == 1
            await visitor.leave()
        assert "was removed or replaced while it was in use" in running.said[-1]
