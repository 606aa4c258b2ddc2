"""The operator's view: what is not sent is listed, sent again or dropped, beside the running process."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from bridge.app import App
from tests.emulators.base import Kind, eventually
from tests.emulators.discord import DiscordEmulator
from tests.emulators.telegram import TelegramEmulator
from tests.house import Visitor, config_for, house
from tests.process import ended

LINK = "https://harmful.example/"
SECRET = f"do not show this text: {LINK}"


@dataclass
class Running:
    """A bridge with Discord, where one visitor is and nothing was written yet."""

    discord: DiscordEmulator
    app: App
    visitor: Visitor
    file: Path

    async def command(self, *arguments: object) -> tuple[int | None, str]:
        return await ended("deliveries", *arguments, "--config", self.file)

    async def rows(self, *arguments: object) -> list[dict[str, Any]]:
        status, said = await self.command("--format", "json", *arguments)
        assert status == 0, said
        return [json.loads(line) for line in said.splitlines()]

    async def refused(self) -> dict[str, Any]:
        """Write what Discord will not take; return its row."""
        self.discord.world.harmful_links.add(LINK)
        await self.visitor.say("first")
        ack = await self.visitor.say(SECRET)
        await self.delivered(ack["seq"], "failed")
        (row,) = await self.rows("--state", "dead")
        return row

    async def delivered(self, seq: int, state: str) -> None:
        wanted = ("delivery", seq, state)
        await self.visitor.until(lambda frame: (frame["type"], frame.get("of"), frame.get("state")) == wanted)

    def shown(self) -> list[str]:
        return [shown.text for thread in self.discord.threads() for shown in self.discord.messages(thread)]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    async with DiscordEmulator() as discord, ClientSession() as http:
        config = config_for(folder, {"discord": discord.settings()})
        async with house(config) as app:
            visitor = Visitor(http, app.url)
            await visitor.connect()
            yield Running(discord, app, visitor, folder / "config.toml")


async def test_what_is_dead_is_listed_and_delivered_once_its_cause_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        row = await it.refused()
        assert (row["destination"], row["what"], row["state"], row["attempts"]) == ("discord", "message", "dead", 1)
        assert "harmful links" in row["reason"]
        it.discord.world.harmful_links.clear()
        status, said = await it.command("retry", row["id"])
        assert (status, said.startswith("Pending again: 1.")) == (0, True)
        await eventually(lambda: any(SECRET in text for text in it.shown()), 30)
        await it.delivered(3, "sent")
        assert await it.rows() == []


async def test_a_dropped_delivery_is_gone_and_its_message_has_failed(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        row = await it.refused()
        status, said = await it.command("drop", row["id"])
        assert (status, said) == (0, f"Dropped: {row['id']}.\n")
        assert await it.rows() == []
        assert (await it.command("retry", "--all"))[1].startswith("Pending again: 0.")
        await it.visitor.leave()
        it.visitor.after = 0
        welcome = await it.visitor.connect()
        assert [message.get("delivery") for message in welcome["messages"]] == [None, "sent", "failed"]


def damage(folder: Path, **columns: str) -> None:
    """Have the row of what is dead hold what nobody can read."""
    for column, value in columns.items():
        with closing(sqlite3.connect(folder / "threadbridge.db")) as db, db:
            changed = db.execute(f"update delivery set {column} = ? where state = 'dead'", (value,)).rowcount
            assert changed == 1


async def test_what_is_dead_is_delivered_though_its_plan_can_be_read_no_more(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        row = await it.refused()
        damage(tmp_path, plan="{")
        it.discord.world.harmful_links.clear()
        assert (await it.command("retry", row["id"]))[1].startswith("Pending again: 1.")
        await it.delivered(3, "sent")
        assert any(SECRET in text for text in it.shown())


async def test_a_row_that_can_be_read_no_more_is_listed_and_can_be_dropped(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        row = await it.refused()
        damage(tmp_path, plan="{", files="[")
        assert [(each["id"], each["what"]) for each in await it.rows()] == [(row["id"], "unreadable")]
        assert await it.command("drop", row["id"]) == (0, f"Dropped: {row['id']}.\n")
        assert await it.rows() == []


async def scraped(http: ClientSession, url: str) -> dict[str, float]:
    async with http.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = text_string_to_metric_families(await answer.text())
        return {
            ",".join([sample.name.removeprefix("threadbridge_"), *sample.labels.values()]): sample.value
            for family in families
            for sample in family.samples
        }


async def test_metrics_tell_what_happened(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        quiet = await scraped(it.visitor.http, it.app.url)
        assert (quiet["messages_total,visitor"], quiet["connections"]) == (0, 1)
        assert quiet["oldest_delivery_seconds,discord"] == 0
        await it.refused()
        (thread,) = it.discord.threads()
        await it.discord.staff_says(thread, "Hello from staff")
        await it.visitor.hear()
        await it.visitor.say("first", id="m1")  # a repeat
        found = await scraped(it.visitor.http, it.app.url)
        assert (found["messages_total,visitor"], found["messages_total,staff"]) == (2, 1)
        assert found["send_failures_total,discord,Rejected"] == 1
        assert found["deliveries,discord,dead"] == 1
        assert found["sends_total,discord"] >= 1
        assert (found["lane_state,discord,up"], found["lane_state,discord,down"]) == (1, 0)
        assert (found["adapter_link,discord,up"], found["adapter_link,discord,down"]) == (1, 0)
        assert (found["possible_duplicates_total,discord"], found["store_errors_total"]) == (0, 0)


async def test_what_telegram_may_show_twice_is_counted(tmp_path: Path) -> None:
    async with TelegramEmulator() as telegram, ClientSession() as http:
        config = config_for(tmp_path, {"telegram": telegram.settings()})
        async with house(config) as app:
            visitor = Visitor(http, app.url)
            await visitor.connect()
            await visitor.say("first")
            await visitor.until(lambda frame: frame.get("state") == "sent")
            telegram.faults.add("sendMessage", Kind.CUT_AFTER)
            await visitor.say("second")
            await visitor.until(lambda frame: frame["type"] == "delivery" and frame["of"] == 3)
            found = await scraped(http, app.url)
    assert found["send_failures_total,telegram,OutcomeUnknown"] == 1
    assert found["possible_duplicates_total,telegram"] == 1


async def test_two_bridges_in_one_process_count_apart(tmp_path: Path) -> None:
    one, two = config_for(tmp_path / "one"), config_for(tmp_path / "two")
    async with house(one) as first, house(two) as second, ClientSession() as http:
        visitor = Visitor(http, first.url)
        await visitor.connect()
        await visitor.say("first")
        assert (await scraped(http, first.url))["messages_total,visitor"] == 1
        assert (await scraped(http, second.url))["messages_total,visitor"] == 0


async def test_the_table_is_for_people_and_holds_no_text(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        row = await it.refused()
        status, said = await it.command()
        head, line = said.splitlines()
        assert status == 0
        assert head.split() == list(row)
        assert line.split()[:2] == [str(row["id"]), "discord"]
        assert "do not show" not in said


async def test_without_its_adapter_a_delivery_is_parked(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.refused()
        await it.command("retry", "--all")
        config_for(tmp_path)  # the desk alone
        assert {row["state"] for row in await it.rows()} == {"parked"}


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("retry", "999"), 1, "there is no delivery 999"),
        (("drop", "999"), 1, "there is no delivery 999"),
        (("retry",), 2, "retry ID"),
        (("drop", "--all"), 2, "retry ID"),
        (("retry", "1", "--state", "dead"), 2, "--state"),
    ],
)
async def test_what_cannot_be_done_is_told(
    tmp_path: Path, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    async with house(config_for(tmp_path)):
        ended_with, said = await ended("deliveries", *arguments, "--config", tmp_path / "config.toml")
    assert ended_with == status
    assert sentence in said
    assert "Traceback" not in said


async def test_a_store_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    status, said = await ended("deliveries", "--config", tmp_path / "config.toml")
    assert status == 1
    assert str(config.store.path) in said
    assert not config.store.path.exists()
    status, said = await ended("deliveries", "--config", tmp_path / "other.toml")
    assert status == 2
    assert "other.toml" in said
