"""The Telegram test server answers as the real one does, so that what is tested against it is worth something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.emulators.base import Kind, eventually
from tests.emulators.telegram import TelegramEmulator, arrives


class Client:
    """Calls methods by hand."""

    def __init__(self, emulator: TelegramEmulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session

    async def __call__(self, method: str, *, token: str = "", **params: str) -> dict[str, Any]:
        url = f"{self.emulator.api_url}/bot{token or self.emulator.token}/{method}"
        async with self.session.post(url, data=params) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == answer.get("error_code", 200)
            return answer

    async def updates(self, **params: str) -> list[int]:
        answer = await self("getUpdates", **params)
        return [update["update_id"] for update in answer["result"]]


@pytest.fixture
async def emulator() -> AsyncIterator[TelegramEmulator]:
    async with TelegramEmulator() as emulator:
        yield emulator


@pytest.fixture
async def call(emulator: TelegramEmulator) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(emulator, session)


@pytest.fixture
async def thread(emulator: TelegramEmulator, call: Client) -> str:
    topic = await call("createForumTopic", chat_id=str(emulator.chat), name="T")
    emulator.updates.pending.clear()
    return f"{emulator.chat}/{topic['result']['message_thread_id']}"


async def test_updates_come_again_until_confirmed(emulator: TelegramEmulator, call: Client, thread: str) -> None:
    for text in "abc":
        await emulator.staff_says(thread, text)
    one, two, three = await call.updates()
    assert await call.updates() == [one, two, three]
    assert await call.updates(offset=str(two)) == [two, three]
    assert await call.updates(limit="1") == [two]
    assert await call.updates(offset="-1") == [three]
    assert await call.updates() == [three]
    assert await call.updates(offset=str(three + 1)) == []
    assert emulator.violations == []


async def test_an_offset_far_ahead_is_passed_over(emulator: TelegramEmulator, call: Client, thread: str) -> None:
    await emulator.staff_says(thread, "a")
    (number,) = await call.updates()
    assert await call.updates(offset=str(number + 1000)) == [number]


async def test_the_same_offset_at_once_gives_one_update(emulator: TelegramEmulator, call: Client, thread: str) -> None:
    for text in "ab":
        await emulator.staff_says(thread, text)
    first = (await call.updates())[0]
    assert len(await call.updates(offset=str(first))) == 2
    assert len(await call.updates(offset=str(first))) == 1


async def test_a_long_poll_waits_and_the_older_of_two_is_ended(
    emulator: TelegramEmulator, call: Client, thread: str
) -> None:
    old = asyncio.create_task(call("getUpdates", timeout="50"))
    await eventually(lambda: emulator.updates._poll)
    waiting = emulator.updates._poll
    new = asyncio.create_task(call("getUpdates", timeout="50"))
    ended = await old
    assert (ended["error_code"], ended["description"][:48]) == (409, "Conflict: terminated by other getUpdates request")
    await eventually(lambda: emulator.updates._poll not in {None, waiting})
    await emulator.staff_says(thread, "a")
    assert len((await new)["result"]) == 1


async def test_no_polling_while_a_webhook_is_set(emulator: TelegramEmulator, call: Client) -> None:
    assert (await call("setWebhook", url="ftp://x"))["error_code"] == 400
    poll = asyncio.create_task(call("getUpdates", timeout="50"))
    await eventually(lambda: emulator.updates._poll)
    assert (await call("setWebhook", url="http://127.0.0.1:1/x"))["ok"]
    assert (await poll)["error_code"] == 409
    assert "webhook is active" in (await call("getUpdates"))["description"]
    assert (await call("getWebhookInfo"))["result"]["url"] == "http://127.0.0.1:1/x"
    assert (await call("deleteWebhook"))["ok"]
    assert await call.updates() == []


async def test_reactions_and_members_come_only_when_asked_for(emulator: TelegramEmulator, call: Client) -> None:
    assert emulator.updates.add("message_reaction_count", {}) is None
    await call("getUpdates", allowed_updates='["message_reaction_count"]')
    assert emulator.updates.add("message_reaction_count", {}) is not None
    assert emulator.updates.add("message", {}) is None


@pytest.mark.parametrize(
    ("method", "params", "code", "description"),
    [
        ("nonsense", {}, 404, "Not Found: method not found"),
        ("sendMessage", {"chat_id": "-5", "text": "x"}, 400, "Bad Request: chat not found"),
        ("sendMessage", {"message_thread_id": "99", "text": "x"}, 400, "Bad Request: message thread not found"),
        ("sendMessage", {"text": " \n"}, 400, "Bad Request: message text is empty"),
        ("sendMessage", {"text": "x" * 4097}, 400, "Bad Request: message is too long"),
        (
            "sendMessage",
            {"text": "<b>x", "parse_mode": "HTML"},
            400,
            "Bad Request: can't parse entities: Can't find end",
        ),
        ("deleteMessage", {"message_id": "99"}, 400, "Bad Request: message to delete not found"),
        ("editMessageText", {"message_id": "99", "text": "x"}, 400, "Bad Request: message to edit not found"),
        ("getFile", {"file_id": "x"}, 400, "Bad Request: wrong file_id"),
    ],
)
async def test_refusals(
    emulator: TelegramEmulator, call: Client, method: str, params: dict[str, str], code: int, description: str
) -> None:
    if not method.startswith("get"):
        params = {"chat_id": str(emulator.chat)} | params
    answer = await call(method, **params)
    assert (answer["error_code"], answer["description"][: len(description)]) == (code, description)


async def test_tokens(call: Client) -> None:
    assert (await call("getMe", token="7:" + "x" * 35))["error_code"] == 401
    assert (await call("getMe", token="rubbish"))["error_code"] == 404


async def test_what_breaks_the_specification_is_noted(emulator: TelegramEmulator, call: Client) -> None:
    await call("sendMessage", chat_id=str(emulator.chat), text="x", colour="red")
    await call("sendMessage", chat_id=str(emulator.chat), text="xyz", entities='[{"type": "bold", "offset": "0"}]')
    await call("sendMessage", text="x")
    assert len(emulator.violations) >= 3


async def test_html_is_shown_as_people_see_it(emulator: TelegramEmulator, call: Client) -> None:
    text = '<b>a &lt;</b> <a href="https://x.example">b</a>'
    await call("sendMessage", chat_id=str(emulator.chat), text=text, parse_mode="HTML")
    assert [shown.text for shown in emulator.general()] == ["a < b"]


async def test_telegram_finds_addresses_and_mentions_by_itself(emulator: TelegramEmulator, thread: str) -> None:
    await emulator.staff_says(thread, "👍 @anna https://a.example/b a@b.example")
    (shown,) = emulator.messages(thread)
    found = [(entity["type"], entity["offset"], entity["length"]) for entity in shown.raw["entities"]]
    assert found == [("mention", 3, 5), ("url", 9, 19), ("email", 29, 11)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [(" \n a \n", "a"), ("a\tb\x00c", "a b c"), ("a\r\nb", "a\nb"), ("a\u202eb\u2028", "ab"), ("\xa0a", "\xa0a")],
)
def test_what_telegram_trims(text: str, shown: str) -> None:
    assert arrives(text) == shown


async def test_faults(emulator: TelegramEmulator, call: Client) -> None:
    emulator.faults.add("getMe", Kind.RATE_LIMIT, seconds=7)
    assert (await call("getMe"))["parameters"] == {"retry_after": 7}
    emulator.faults.add("getMe", Kind.ERROR)
    assert (await call("getMe"))["error_code"] == 500
    emulator.faults.add("getMe", Kind.CUT)
    with pytest.raises(aiohttp.ClientError):
        await call("getMe")
    assert (await call("getMe"))["ok"]
    assert [made.status for made in emulator.calls] == [429, 500, 500, 200]


async def test_the_page_shows_topics_and_answers_in_them(emulator: TelegramEmulator, call: Client, thread: str) -> None:
    await emulator.staff_says(thread, "<script>")
    said = {"thread": thread, "text": "from the page", "name": "Ben"}
    async with call.session.post(f"{emulator.api_url}/say", data=said) as response:
        page = await response.text()
    assert "&lt;script&gt;" in page
    assert [(shown.author, shown.text) for shown in emulator.messages(thread)][-1] == ("Ben", "from the page")
