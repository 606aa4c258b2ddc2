"""What is wrong at a platform: `check` says what to do, and `serve` serves, says it too, and keeps messages."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientSession

from tests.emulators.base import Emulator, eventually
from tests.emulators.discord import DiscordEmulator
from tests.emulators.slack import SlackEmulator
from tests.emulators.slack.server import SCOPES
from tests.emulators.telegram import TelegramEmulator
from tests.house import ORIGIN, Visitor, config_for
from tests.process import ended, serving

Section = dict[str, Any]

REMEDIES = {
    "slack-token": "make a new bot token",
    "slack-app-token": "App-Level Token",
    "slack-scope": "install the app again",
    "slack-channel": "check the channel's id",
    "slack-outside": "/invite",
    "telegram-token": "@BotFather",
    "telegram-chat": "check `chat_id`",
    "telegram-topics": "turn on Topics",
    "telegram-rights": "administrator of the group",
    "discord-token": "make a new token in the developer portal",
    "discord-intent": "Message Content Intent",
    "discord-channel": "channel_id",
    "discord-name": "channel_id",
    "discord-rights": "Send Messages",
}
"""For each state what the operator reads, in `check` as in the log."""


@dataclass
class Wrong:
    """Test servers in all these states, and an adapter's section for each."""

    sections: Mapping[str, Section]
    slack: SlackEmulator
    topicless: TelegramEmulator
    discord: DiscordEmulator

    def config(self, folder: Path) -> Path:
        channels = {"discord-name": "discord-name:support"}
        sites = {name: {"origins": [ORIGIN], "destinations": [channels.get(name, name)]} for name in self.sections}
        config_for(folder, self.sections, sites=sites)
        return folder / "config.toml"


@asynccontextmanager
async def wrong() -> AsyncIterator[Wrong]:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(SlackEmulator())
        slack.add_channel("C0000ELSEWHERE", "elsewhere", member=False)
        scopeless = await stack.enter_async_context(SlackEmulator(scopes=SCOPES - {"chat:write"}))
        topicless = await stack.enter_async_context(TelegramEmulator())
        topicless.world.groups[topicless.chat].forum = False
        powerless = await stack.enter_async_context(TelegramEmulator())
        powerless.world.groups[powerless.chat].bot_status = "member"
        telegram = await stack.enter_async_context(TelegramEmulator())
        discord = await stack.enter_async_context(DiscordEmulator())
        discord.world.message_content = False
        discord.world.granted.discard("SEND_MESSAGES")
        sections = {
            "slack-token": slack.settings() | {"bot_token": "xoxb-wrong"},
            "slack-app-token": slack.settings() | {"app_token": "xapp-wrong"},
            "slack-scope": scopeless.settings(),
            "slack-channel": slack.settings() | {"channel": "C0000NOWHERE"},
            "slack-outside": slack.settings() | {"channel": "C0000ELSEWHERE"},
            "telegram-token": telegram.settings() | {"token": "7:" + "x" * 35},
            "telegram-chat": telegram.settings() | {"chat_id": -1009},
            "telegram-topics": topicless.settings(),
            "telegram-rights": powerless.settings(),
            "discord-token": discord.settings() | {"token": "wrong"},
            "discord-intent": discord.settings(),
            "discord-channel": discord.settings() | {"channel_id": "12345"},
            "discord-name": discord.settings(),
            "discord-rights": discord.settings(),
        }
        yield Wrong(sections, slack, topicless, discord)


def stands(emulator: Emulator, text: str) -> bool:
    return any(text in shown.text for thread in emulator.threads() for shown in emulator.messages(thread))


async def test_check_is_content_with_platforms_that_are_well(tmp_path: Path) -> None:
    async with SlackEmulator() as slack, TelegramEmulator() as telegram, DiscordEmulator() as discord:
        emulators: dict[str, Emulator] = {"slack": slack, "telegram": telegram, "discord": discord}
        config_for(tmp_path, {name: emulator.settings() for name, emulator in emulators.items()})
        status, said = await ended("check", "--config", tmp_path / "config.toml")
    assert (status, "FAILED" in said) == (0, False), said
    for name in emulators:
        assert f"adapters.{name}: ok: " in said


async def test_check_says_what_to_do_about_each_state(tmp_path: Path) -> None:
    async with wrong() as states:
        status, said = await ended("check", "--config", states.config(tmp_path))
    assert status == 1, said
    assert "Traceback" not in said
    lines = said.splitlines()
    for name, remedy in REMEDIES.items():
        advice = [
            after
            for line, after in pairwise(lines)
            if line.startswith(f"adapters.{name}: FAILED: ") and after.startswith("    ")
        ]
        assert any(remedy in line for line in advice), (name, advice)
    assert len([line for line in lines if "FAILED" in line]) == len([line for line in lines if line[:4] == "    "])


async def test_an_address_that_cannot_be_reached_is_named_with_what_to_look_at(tmp_path: Path) -> None:
    """Whatever tells it: `check`, and the log of `serve`."""
    async with SlackEmulator() as slack, TelegramEmulator() as telegram, DiscordEmulator() as discord:
        emulators: dict[str, Emulator] = {"slack": slack, "telegram": telegram, "discord": discord}
        sections = {name: emulator.settings() for name, emulator in emulators.items()}
    hosts = {name: urlsplit(section["api_url"]).netloc for name, section in sections.items()}
    config_for(tmp_path, sections)
    status, said = await ended("check", "--config", tmp_path / "config.toml")
    assert status == 1, said
    findings = {line.split(":")[0]: (line, after) for line, after in pairwise(said.splitlines()) if "FAILED" in line}
    for name, host in hosts.items():
        failed, remedy = findings[f"adapters.{name}"]
        assert host in failed
        assert remedy.startswith("    look at the network, at `api_url` and at ")

    async with serving(tmp_path / "config.toml", "--log-format", "json") as running:

        def down() -> dict[str, dict[str, str]]:
            lines = [json.loads(line) for line in running.said if line.startswith("{")]
            return {line["adapter"]: line for line in lines if line["event"] == "adapter_down"}

        await eventually(lambda: down().keys() == hosts.keys())
        for name, host in hosts.items():
            assert host in down()[name]["reason"]
            assert down()[name]["remedy"].startswith("look at the network, at `api_url` and at ")


async def test_check_of_a_wrong_file_asks_no_platform(tmp_path: Path) -> None:
    async with SlackEmulator() as slack:
        config_for(tmp_path, {"slack": slack.settings()})
        file = tmp_path / "config.toml"
        file.write_text(file.read_text() + '\n["adapters"."telegram"]\ntype = "telegram"\n')
        status, said = await ended("check", "--config", file)
        assert slack.calls == []
    assert status == 2
    assert [line.split(": ")[1] for line in said.splitlines()] == [
        "adapters.telegram.token", "adapters.telegram.chat_id",
    ]  # fmt: skip


async def test_two_servers_for_discord_are_told_by_check_as_by_serve(tmp_path: Path) -> None:
    async with DiscordEmulator() as one, DiscordEmulator() as other:
        config_for(tmp_path, {"one": one.settings(), "other": other.settings()})
        for command in ("check", "serve"):
            status, said = await ended(command, "--config", tmp_path / "config.toml")
            assert (status, "run a second gateway" in said) == (2, True), said


async def test_serve_says_what_to_do_before_a_message_waits_for_it(tmp_path: Path) -> None:
    async with wrong() as states:
        states.discord.world.message_content = True  # without it the bot is not connected, and says so
        async with serving(states.config(tmp_path), "--log-format", "json") as running:

            def told() -> set[str]:
                warnings = [json.loads(line) for line in running.said if '"warning"' in line and '"remedy"' in line]
                return {line["adapter"] for line in warnings if REMEDIES[line["adapter"]] in line["remedy"]}

            await eventually(lambda: told() == REMEDIES.keys() - {"discord-intent"}, 30)


async def test_a_sites_own_channel_is_looked_at_as_serve_starts(tmp_path: Path) -> None:
    """A platform that does not answer holds up neither the start nor what is told of the others."""
    missing = {"slack": "C0000NOWHERE", "telegram": "-1009", "discord": "12345"}
    async with SlackEmulator() as slack, TelegramEmulator() as telegram, DiscordEmulator() as discord:
        emulators: dict[str, Emulator] = {"slack": slack, "telegram": telegram, "discord": discord}
        sections = {name: emulator.settings() for name, emulator in emulators.items()}
        with socket.create_server(("127.0.0.1", 0)) as mute:
            sections["mute"] = slack.settings() | {"api_url": f"http://127.0.0.1:{mute.getsockname()[1]}/api/"}
            destinations = ["mute", *missing, *(f"{name}:{channel}" for name, channel in missing.items())]
            config_for(tmp_path, sections, sites={"shop": {"origins": [ORIGIN], "destinations": destinations}})
            async with serving(tmp_path / "config.toml") as running:
                for words in missing.items():
                    wanted = {"[warning", "the sites' `destinations`", *words}
                    await eventually(lambda: any(all(each in line for each in wanted) for line in running.said))  # noqa: B023 - waited for at once


async def test_what_serve_looks_at_takes_nothing_from_what_serves(tmp_path: Path) -> None:
    last = {"slack": "conversations.history", "telegram": "getWebhookInfo", "discord": "get_guild_member"}
    async with (
        SlackEmulator() as slack,
        TelegramEmulator() as telegram,
        DiscordEmulator() as discord,
        ClientSession() as http,
    ):
        emulators: dict[str, Emulator] = {"slack": slack, "telegram": telegram, "discord": discord}
        sites = {name: {"origins": [ORIGIN], "destinations": [name]} for name in emulators}
        config_for(tmp_path, {name: each.settings() for name, each in emulators.items()}, sites=sites)
        async with serving(tmp_path / "config.toml") as running:
            for name, emulator in emulators.items():
                await eventually(lambda: last[name] in {call.method for call in emulator.calls})  # noqa: B023 - waited for at once
                visitor = Visitor(http, running.url, site=name)
                await visitor.connect()
                assert (await visitor.say("Hello"))["type"] == "ack"
                await eventually(lambda: stands(emulator, "Hello"))  # noqa: B023 - likewise
                await emulator.staff_says(emulator.threads()[0], "We are here")
                assert (await visitor.hear())["text"] == "We are here"
                await visitor.leave()
        assert [call.method for call in slack.calls].count("apps.connections.open") == 2, "of which Slack gives few"
        assert not [line for line in running.said if "[warning" in line]


async def test_serve_says_what_to_do_once_and_keeps_messages(tmp_path: Path) -> None:
    async with wrong() as states, ClientSession() as http:
        async with serving(states.config(tmp_path), "--log-format", "json") as running:
            for name in states.sections:
                visitor = Visitor(http, running.url, site=name)
                assert (await visitor.connect())["type"] == "welcome"
                assert (await visitor.say(f"a message for {name}"))["type"] == "ack"
                await visitor.leave()

            def told(name: str) -> list[str]:
                """Return what the log says of an adapter or its lane that is down, with words that help."""
                return [
                    line
                    for line in running.said
                    if '_down"' in line and (f'"{name}"' in line or f'"{name}:' in line) and REMEDIES[name] in line
                ]

            for name in REMEDIES:
                await eventually(lambda: told(name))  # noqa: B023 - waited for at once

            # What was wrong is mended while it serves, and what was kept arrives.
            states.slack.workspace.channels["C0000ELSEWHERE"].member = True
            states.topicless.world.groups[states.topicless.chat].forum = True
            await eventually(lambda: stands(states.slack, "a message for slack-outside"), 60)
            await eventually(lambda: stands(states.topicless, "a message for telegram-topics"), 60)
            for name in REMEDIES:
                assert len(told(name)) <= 2, told(name)  # the adapter and its lane, each once
            up = [json.loads(line) for line in running.said if '"adapter_up"' in line]
            assert up
            assert not any({"reason", "remedy"} & line.keys() for line in up)
        said = "".join(running.said)
        assert "Traceback" not in said
        assert "a message for" not in said
