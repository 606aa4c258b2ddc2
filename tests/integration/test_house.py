"""The two ways through the house, with the built-in desk."""

from __future__ import annotations

from pathlib import Path

from aiohttp import ClientSession

from tests.house import Visitor, config_for, house


async def test_a_conversation_goes_both_ways_and_survives_a_restart(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    async with ClientSession() as http:
        async with house(config) as app:
            visitor = Visitor(http, app.url)
            welcome = await visitor.connect()
            assert welcome["seq"] == 0
            assert welcome["conversation"] is None
            ack = await visitor.say("Hello")
            assert ack["seq"] == 2  # the opening is the first
            delivered = await visitor.until(lambda frame: frame["type"] == "delivery")
            assert delivered == {"type": "delivery", "of": 2, "state": "sent"}
        async with house(config) as app:
            again = Visitor(http, app.url, token=visitor.token)
            welcome = await again.connect()
            assert [message["text"] for message in welcome["messages"]] == ["", "Hello"]
            assert welcome["messages"][1]["delivery"] == "sent"
            assert welcome["visitor"] == visitor.frames[0]["visitor"]
