"""The Slack test server refuses what Slack refuses and shows what Slack shows: else tests over it prove nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.emulators.base import Emulator
from tests.emulators.slack import SlackEmulator
from tests.emulators.slack.server import CHANNEL, SCOPES


@pytest.fixture
async def slack() -> AsyncIterator[SlackEmulator]:
    async with SlackEmulator() as emulator:
        yield emulator


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def call(
    slack: SlackEmulator, http: aiohttp.ClientSession, method: str, token: str = "xoxb-emulator", **params: Any
) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with http.post(slack.api_url + method, json=params, headers=headers) as answer:
        told: dict[str, Any] = await answer.json()
        return told


async def test_mrkdwn_formats_and_pings(slack: SlackEmulator, http: aiohttp.ClientSession) -> None:
    server: Emulator = slack
    text = "*bold* _it_ `x` <!here> <@U0BRIDGEBOT> <https://a.example|bank> &lt;b&gt; :smile:"
    await call(slack, http, "chat.postMessage", channel=CHANNEL, text=text)
    assert server.title(server.threads()[0]) == "bold it x @here @Threadbridge bank <b> 😄"
    assert slack.pings == ["<!here>", "<@U0BRIDGEBOT>"]


@pytest.mark.parametrize(
    ("method", "params", "error"),
    [
        ("chat.shout", {}, "unknown_method"),
        ("chat.postMessage", {"channel": "C0000NOWHERE", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": CHANNEL, "text": " "}, "no_text"),
        ("chat.postMessage", {"channel": CHANNEL}, "no_text"),
        ("chat.postMessage", {"text": "x"}, "invalid_arguments"),
        ("chat.postMessage", {"channel": CHANNEL, "text": "x", "thread_ts": "1.0"}, "thread_not_found"),
        ("chat.postMessage", {"channel": CHANNEL, "blocks": [{"type": "section"}]}, "invalid_blocks"),
        ("chat.postMessage", {"channel": CHANNEL, "blocks": "{"}, "invalid_blocks_format"),
        ("chat.postMessage", {"channel": CHANNEL, "text": "x", "metadata": {"a": 1}}, "invalid_metadata_schema"),
        ("chat.update", {"channel": CHANNEL, "ts": "1.0", "text": "x"}, "message_not_found"),
        ("conversations.replies", {"channel": CHANNEL, "ts": "1.0"}, "thread_not_found"),
        ("conversations.join", {"channel": "C0000NOWHERE"}, "channel_not_found"),
        ("users.info", {"user": "U0NOBODY"}, "user_not_found"),
        ("files.delete", {"file": "F0NONE"}, "file_not_found"),
    ],
)
async def test_refuses_with_slacks_own_errors(
    slack: SlackEmulator, http: aiohttp.ClientSession, method: str, params: dict[str, Any], error: str
) -> None:
    assert (await call(slack, http, method, **params))["error"] == error
    assert slack.violations == ([f"{method}: unknown method"] if error == "unknown_method" else [])


async def test_long_content(slack: SlackEmulator, http: aiohttp.ClientSession) -> None:
    posted = await call(slack, http, "chat.postMessage", channel=CHANNEL, text="x" * 50_000)
    assert len(posted["message"]["text"]) == 40_000
    ts = posted["ts"]
    assert (await call(slack, http, "chat.update", channel=CHANNEL, ts=ts, text="x" * 40_001))[
        "error"
    ] == "msg_too_long"
    blocks = [{"type": "section", "text": {"type": "plain_text", "text": "x" * 2900}}] * 5
    answer = await call(slack, http, "chat.postMessage", channel=CHANNEL, blocks=blocks)
    assert answer["error"] == "msg_blocks_too_long"


@pytest.mark.parametrize(
    ("token", "error"),
    [("", "not_authed"), ("xoxb-other", "invalid_auth"), ("xapp-emulator", "not_allowed_token_type")],
)
async def test_checks_tokens(slack: SlackEmulator, http: aiohttp.ClientSession, token: str, error: str) -> None:
    assert (await call(slack, http, "auth.test", token))["error"] == error


async def test_checks_scopes_by_the_kind_of_channel(http: aiohttp.ClientSession) -> None:
    async with SlackEmulator(scopes=SCOPES - {"groups:history"}) as slack:
        slack.add_channel("C0000PRIVATE", "private", private=True)
        assert (await call(slack, http, "conversations.history", channel=CHANNEL))["ok"]
        refused = await call(slack, http, "conversations.history", channel="C0000PRIVATE")
        assert (refused["error"], refused["needed"]) == ("missing_scope", "groups:history")


async def test_notes_what_the_reference_does_not_know(slack: SlackEmulator, http: aiohttp.ClientSession) -> None:
    await call(slack, http, "chat.postMessage", channel=CHANNEL, text="x", colour="red")
    assert slack.violations == ["chat.postMessage: unknown argument colour"]


async def test_metadata_is_shown_only_to_who_asks(slack: SlackEmulator, http: aiohttp.ClientSession) -> None:
    metadata = {"event_type": "e", "event_payload": {"token": "t"}}
    await call(slack, http, "chat.postMessage", channel=CHANNEL, text="x", metadata=metadata)
    plain = await call(slack, http, "conversations.history", channel=CHANNEL)
    asked = await call(slack, http, "conversations.history", channel=CHANNEL, include_all_metadata=True)
    assert "metadata" not in plain["messages"][0]
    assert asked["messages"][0]["metadata"] == metadata
    assert slack.violations == []


async def test_a_person_can_look_and_answer(slack: SlackEmulator, http: aiohttp.ClientSession) -> None:
    await call(slack, http, "chat.postMessage", channel=CHANNEL, text="a &lt;b&gt; title")
    (thread,) = slack.threads()
    base = slack.api_url.removesuffix("/api/")
    async with http.get(base) as page:
        assert "a &lt;b&gt; title" in await page.text()
    async with http.post(f"{base}/thread", params={"id": thread}, data={"name": "Anna", "text": "hi & bye"}) as page:
        assert "<form" in await page.text()
    async with http.get(f"{base}/messages", params={"id": thread}) as page:
        assert "hi &amp; bye" in await page.text()
    assert [(shown.author, shown.text) for shown in slack.messages(thread)[1:]] == [("Anna", "hi & bye")]
