"""The desk over the real gateway and store: two agents and a visitor, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, ClientSession

from bridge.app import App
from tests.house import Visitor, config_for, house


@dataclass
class Agent:
    """An agent's page: calls with the token in the header, and reads the stream."""

    http: ClientSession
    app: App
    name: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.app.desk_url or '').partition('#token=')[2]}"}

    def address(self, path: str) -> str:
        return f"{self.app.url}/desk/api/{path}"

    async def get(self, path: str) -> dict[str, Any]:
        async with self.http.get(self.address(path), headers=self.headers) as response:
            assert response.status == 200
            found: dict[str, Any] = await response.json()
            return found

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        body = {"name": self.name} | body
        async with self.http.post(self.address(path), headers=self.headers, json=body) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer

    async def texts(self, conversation: str) -> list[str]:
        entries = (await self.get(f"conversations/{conversation}"))["entries"]
        return [entry["text"] for entry in entries if "event" not in entry]

    async def only_conversation(self) -> str:
        (found,) = (await self.get("conversations"))["conversations"]
        return str(found["id"])

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[ClientResponse]:
        async with self.http.get(self.address("events"), headers=self.headers) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            assert await heard(response) == ("ready", {})
            yield response


async def heard(stream: ClientResponse) -> tuple[str, dict[str, Any]]:
    """Return the next event."""
    async with asyncio.timeout(10):
        name = (await stream.content.readline()).decode().strip().removeprefix("event: ")
        data = (await stream.content.readline()).decode().removeprefix("data: ")
        await stream.content.readline()
    return name, json.loads(data)


async def test_a_visitor_and_two_agents_hear_each_other(tmp_path: Path) -> None:
    async with ClientSession() as http, house(config_for(tmp_path)) as app:
        visitor, anna, bob = Visitor(http, app.url), Agent(http, app, "Anna"), Agent(http, app, "Bob")
        await visitor.connect()
        async with anna.listening() as at_anna, bob.listening() as at_bob:
            await visitor.say("Do you ship to Norway?")
            name, changed = await heard(at_anna)
            assert name == "changed"
            assert [entry["text"] for entry in changed["entries"]] == ["", "Do you ship to Norway?"]
            assert changed["conversation"]["profile"]["page"]["title"] == "Cart"
            assert await heard(at_bob) == (name, changed)
            conversation = changed["conversation"]["id"]
            await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")

            await anna.post(f"conversations/{conversation}/typing", on=True)
            assert (await heard(at_bob))[1]["from"] == {"kind": "staff", "name": "Anna"}
            typing = await visitor.until(lambda frame: frame["type"] == "typing")
            assert typing["on"] is True

            await anna.post(f"conversations/{conversation}/messages", id="k1", text="**Yes**, we do.")
            said = await visitor.hear()
            assert said["from"]["name"] == "Anna"
            assert said["text"] == "**Yes**, we do."
            _, seen = await heard(at_bob)
            assert seen["entries"][0]["rich"] == {"text": "Yes, we do.", "marks": [["bold", 0, 3, ""]]}

            await visitor.send({"type": "typing", "on": True})
            name, typing = await heard(at_bob)
            assert (name, typing["from"]["kind"], typing["on"]) == ("typing", "visitor", True)


async def test_a_repeated_reply_is_shown_once_and_a_note_never(tmp_path: Path) -> None:
    async with ClientSession() as http, house(config_for(tmp_path)) as app:
        visitor, anna = Visitor(http, app.url), Agent(http, app, "Anna")
        await visitor.connect()
        await visitor.say("Hello")
        await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
        messages = f"conversations/{await anna.only_conversation()}/messages"
        note = await anna.post(messages, id="k0", text="// he is nice")
        assert note["note"] is True
        for _ in range(3):
            await anna.post(messages, id="k1", text="Hi")
        await anna.post(messages, id="k2", text="How can I help?")
        assert [(await visitor.hear())["text"] for _ in range(2)] == ["Hi", "How can I help?"]
        assert await anna.texts(await anna.only_conversation()) == ["Hello", "Hi", "How can I help?"]


async def test_closing_is_told_and_a_restart_changes_nothing(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    async with ClientSession() as http:
        async with house(config) as app:
            visitor, anna = Visitor(http, app.url), Agent(http, app, "Anna")
            await visitor.connect()
            await visitor.say("Bye")
            await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
            conversation = await anna.only_conversation()
            await anna.post(f"conversations/{conversation}/close")
            closed = await visitor.until(lambda frame: frame.get("event") == "closed")
            assert closed["from"]["kind"] == "system"
            address = app.desk_url
        async with house(config) as app:
            assert (app.desk_url or "").partition("#")[2] == (address or "").partition("#")[2]
            answer = await Agent(http, app, "Bob").get(f"conversations/{conversation}")
            assert answer["conversation"]["open"] is False
            assert answer["conversation"]["last"]["text"] == "Bye"


async def test_an_agents_file_reaches_the_visitor(tmp_path: Path) -> None:
    async with ClientSession() as http, house(config_for(tmp_path)) as app:
        visitor, anna = Visitor(http, app.url), Agent(http, app, "Anna")
        await visitor.connect()
        await visitor.say("May I have the list?")
        await visitor.until(lambda frame: frame["type"] == "delivery" and frame["state"] == "sent")
        headers = anna.headers | {"Content-Type": "text/plain"}
        async with http.post(anna.address("files?name=prices.txt"), headers=headers, data=b"a 1\n") as response:
            assert response.status == 201
            file = await response.json()
        messages = f"conversations/{await anna.only_conversation()}/messages"
        await anna.post(messages, id="k1", text="Here it is", attachments=[file["id"]])
        # The answer may be lost: the page then sends the same again.
        await anna.post(messages, id="k1", text="Here it is", attachments=[file["id"]])
        assert await anna.texts(await anna.only_conversation()) == ["May I have the list?", "Here it is"]
        (attachment,) = (await visitor.hear())["attachments"]
        assert attachment["name"] == "prices.txt"
        async with http.get(f"{app.url}{attachment['url']}") as response:
            assert await response.read() == b"a 1\n"


async def test_the_desk_lets_nobody_in_without_its_token(tmp_path: Path) -> None:
    async with ClientSession() as http, house(config_for(tmp_path)) as app:
        async with http.get(f"{app.url}/desk") as response:
            assert response.status == 200
            assert str(response.url) == f"{app.url}/desk/"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        async with http.get(f"{app.url}/desk/api/conversations") as response:
            assert response.status == 401
            assert (await response.json())["code"] == "bad_token"
