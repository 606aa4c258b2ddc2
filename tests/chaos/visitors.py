"""Visitors who say all that they have to say, however often their connection goes, and check whatever they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from copy import copy
from typing import Any

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    FormData,
    WSMsgType,
)

from tests.chaos.files import file_of, mark_of
from tests.chaos.schedule import Guest
from tests.house import ORIGIN

Frame = dict[str, Any]
_LOST = (ClientError, ConnectionError, TimeoutError)
_AGAIN = 0.1
"""Seconds until a lost connection is tried again."""
_IN_FLIGHT = 2
_BUSY = {"unavailable", "store_full", "rate_limited"}


class Visitor:
    """A visitor's client, as the contract wants it, over a socket."""

    def __init__(self, guest: Guest, http: ClientSession, url: str) -> None:
        self.name = guest.name
        self.site = guest.site
        self.destinations = guest.destinations
        self.said: dict[str, str] = {}
        """What was written, by the message's id, in order."""
        self.sent: dict[str, Sequence[str]] = {}
        """The marks of the files that went with it."""
        self.read = 0
        """Up to which `seq` the gateway says that all is read."""
        self.typed = 0
        """How often staff were seen typing."""
        self.acknowledged: dict[str, int] = {}
        self.log: dict[int, Frame] = {}
        """What is held of the log: each entry's frame by its `seq`, gapless where it was not told as a whole."""
        self.after = 0
        """Up to which `seq` everything is held."""
        self.deliveries: dict[int, str] = {}
        self.wrongs: list[str] = []
        self._http = http
        self._url = url
        self._token: str | None = None
        self._log_name: str | None = None
        self._uploaded: dict[str, str] = {}
        """The ids that files were given, by their marks."""
        self._contents: dict[str, str] = {}
        """What is in the files of the log: their marks by their ids."""
        self._looks_up = False
        self._has_read = 0
        self._more = asyncio.Event()
        self._again: Callable[[str], None] = set[str]().discard
        self.drop: Callable[[], None] = lambda: None
        """Loses the connection."""

    # --- what a test does

    def say(self, text: str, files: Sequence[str] = ()) -> None:
        """Write a message, with files of these marks; it is sent until it is acknowledged."""
        id = f"m{len(self.said)}"
        self.said[id], self.sent[id] = text, files
        self._more.set()

    def look_up(self) -> None:
        """Read what is there, and begin to type."""
        self._looks_up = True
        self._more.set()

    async def live(self) -> None:
        """Come, and come back, until cancelled."""
        while True:
            with suppress(*_LOST):
                await self._connected()
            await asyncio.sleep(_AGAIN)

    async def look_afresh(self) -> None:
        """Read the log as one who holds nothing, and note where it differs from what is held."""
        if not self.acknowledged:
            return
        held, held_files = self.shown(), self.files()
        other = copy(self)  # beside this one, which may just be coming back with what it holds
        other.after, other.log = 0, {}
        async with other._socket() as (_, welcome):
            other._welcomed(welcome)
        self.log = other.log
        told = self.shown()
        for seq in held.keys() | told.keys():
            if held.get(seq) != told.get(seq):
                self._wrong(f"{seq} was {held.get(seq)}, and afresh it is {told.get(seq)}")
        if (files := self.files()) != held_files:
            self._wrong(f"the files were {held_files}, and afresh they are {files}")
        for frame in self.log.values():
            for file in frame.get("attachments", ()):
                async with self._http.get(self._url + file["url"]) as answer:
                    content = await answer.read()
                self._contents[file["id"]] = mark_of(content) if answer.status == 200 else f"{answer.status}"

    def shown(self) -> dict[int, str]:
        """Return what stands on the screen: the text of each message, changed and deleted as it was."""
        texts: dict[int, str] = {}
        for seq, frame in sorted(self.log.items()):
            texts[frame.get("of", seq)] = "" if frame.get("deleted") else frame["text"]
        return texts

    def files(self) -> dict[int, list[tuple[str, str, int]]]:
        """Return the files of each message that has some: id, name and size."""
        gone = {frame.get("of") for frame in self.log.values() if frame.get("deleted")}
        return {
            seq: [(file["id"], file["name"], file["size"]) for file in frame["attachments"]]
            for seq, frame in self.log.items()
            if frame.get("attachments") and seq not in gone
        }

    def contents(self, frame: Frame) -> list[str]:
        """Return the marks of an entry's files, once they have been looked at afresh."""
        return [self._contents.get(file["id"], "not looked at") for file in frame.get("attachments", ())]

    # --- the connection

    async def _connected(self) -> None:
        async with self._socket() as (socket, welcome):
            self._welcomed(welcome)
            sending = asyncio.create_task(self._send_all(socket), name="send")
            self.drop = lambda: _abort(socket)
            try:
                while True:
                    self._take(await _receive(socket))
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    @asynccontextmanager
    async def _socket(self) -> AsyncIterator[tuple[ClientWebSocketResponse, Frame]]:
        async with self._http.ws_connect(f"{self._url}/v1/socket", headers={"Origin": ORIGIN}) as socket:
            await socket.send_str(json.dumps(self._hello()))
            yield socket, await _receive(socket)

    def _hello(self) -> Frame:
        known = {"token": self._token, "log": self._log_name, "after": self.after}
        page = {"url": "", "title": "", "referrer": ""}
        about = {"page": page, "locale": None, "timezone": None, "identity": None}
        return {"type": "hello", "v": 1, "site": self.site} | known | about

    async def _send_all(self, socket: ClientWebSocketResponse) -> None:
        """Send what is not acknowledged, in order, a few at a time."""
        sent: set[str] = set()
        self._again = sent.discard
        while True:
            self._more.clear()
            unanswered = [id for id in self.said if id not in self.acknowledged]
            for id in unanswered[:_IN_FLIGHT]:
                if id not in sent:
                    sent.add(id)
                    await socket.send_str(json.dumps(await self._message(id)))
            for frame in self._asides():
                await socket.send_str(json.dumps(frame))
            await self._more.wait()

    async def _message(self, id: str) -> Frame:
        """Return a message's frame, once its files are taken."""
        attachments = [await self._upload(mark) for mark in self.sent[id]]
        return {"type": "message", "id": id, "text": self.said[id], "attachments": attachments}

    async def _upload(self, mark: str) -> str:
        """Return the id under which a file was taken; until then it is sent again and again."""
        file = file_of(mark)
        headers = {"Origin": ORIGIN, "Authorization": f"Bearer {self._token}"}
        while mark not in self._uploaded:
            form = FormData()
            form.add_field("file", file.content, filename=file.name, content_type=file.type)
            with suppress(*_LOST):
                async with self._http.post(f"{self._url}/v1/uploads", data=form, headers=headers) as answer:
                    told = await answer.json()
                    if answer.status == 201:
                        self._uploaded[mark] = told["id"]
                    elif told["code"] not in _BUSY:
                        self._wrong(f"{mark} refused: {told}")
            if mark not in self._uploaded:
                await asyncio.sleep(_AGAIN)
        return self._uploaded[mark]

    def _asides(self) -> list[Frame]:
        """Return what is said by doing: it is not acknowledged, and lost with the connection."""
        if not self._looks_up or not self.after:
            return []
        self._looks_up = False
        self._has_read = self.after
        return [{"type": "read", "seq": self.after}, {"type": "typing", "on": True}]

    # --- what is told

    def _welcomed(self, frame: Frame) -> None:
        if frame["type"] != "welcome":
            if frame.get("code") not in _BUSY:
                self._wrong(f"not welcome: {frame}")
            raise ConnectionError("not welcome now")
        if frame["reset"]:
            self._wrong(f"reset at {self.after}")
        self._token, self._log_name = frame["token"], frame["log"]
        folded = self.after == 0  # who holds nothing is told messages as they are now, without what changed them
        for entry in frame["messages"]:
            if folded:
                self.after = entry["seq"] - 1
            self._entry(entry)
        if folded:
            self.after = frame["seq"]
        if self.after != frame["seq"]:
            self._wrong(f"welcomed to {frame['seq']}, told up to {self.after}")
        if not self.read <= frame["read"] <= self._has_read:
            self._wrong(f"read up to {frame['read']}, was {self.read}, of {self._has_read}")
        self.read = frame["read"]
        for delivery in frame["deliveries"]:
            self.deliveries[delivery["of"]] = delivery["state"]

    def _take(self, frame: Frame) -> None:
        match frame["type"]:
            case "ack":
                self._acknowledged(frame["id"], frame["seq"])
                if frame["seq"] > self.after:
                    self._entry(frame | self._own(frame["id"]))
            case "message" | "revision":
                self._entry(frame)
            case "delivery":
                self.deliveries[frame["of"]] = frame["state"]
            case "typing":
                self.typed += 1
            case "error":
                self._refused(frame)

    def _own(self, id: str) -> Frame:
        """Return a message of one's own as the log has it."""
        sent = {mark: file_of(mark) for mark in self.sent[id]}
        attachments = [
            {"id": self._uploaded[mark], "name": file.name, "size": len(file.content)} for mark, file in sent.items()
        ]
        said = {"id": id, "text": self.said[id], "from": {"kind": "visitor"}}
        return {"type": "message", **said, "attachments": attachments}

    def _entry(self, frame: Frame) -> None:
        """Hold the next entry of the log."""
        if frame["seq"] != self.after + 1:
            self._wrong(f"told {frame['seq']} at {self.after}")
            return
        self.after = frame["seq"]
        self.log[frame["seq"]] = frame
        if id := frame.get("id"):
            self._acknowledged(id, frame["seq"])
        if "delivery" in frame:
            self.deliveries[frame["seq"]] = frame["delivery"]

    def _acknowledged(self, id: str, seq: int) -> None:
        if self.acknowledged.setdefault(id, seq) != seq:
            self._wrong(f"{id} is {self.acknowledged[id]} and {seq}")
        self._more.set()

    def _refused(self, frame: Frame) -> None:
        if frame["code"] not in _BUSY:
            self._wrong(f"refused: {frame}")
        elif "id" in frame:
            asyncio.get_running_loop().call_later(_AGAIN, self._try_again, frame["id"])

    def _try_again(self, id: str) -> None:
        self._again(id)
        self._more.set()

    def _wrong(self, what: str) -> None:
        self.wrongs.append(f"{self.name}: {what}")


class FallbackVisitor(Visitor):
    """A visitor in a network that blocks sockets: posts frames, and reads the stream."""

    async def _connected(self) -> None:
        if self._token is None:
            (welcome,) = await self._post(self._hello())
            self._welcomed(welcome)
        query = {"after": str(self.after), "log": self._log_name or ""}
        limits = ClientTimeout(total=None, sock_read=40)
        async with self._http.get(
            f"{self._url}/v1/stream", params=query, headers=self._headers, timeout=limits
        ) as response:
            if response.status != 200:
                self._welcomed(await response.json())
            self._welcomed(await _event(response))
            posting = asyncio.create_task(self._post_all(response.close), name="post")
            self.drop = response.close
            try:
                while True:
                    self._take(await _event(response))
            finally:
                posting.cancel()
                await asyncio.gather(posting, return_exceptions=True)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Origin": ORIGIN} | ({"Authorization": f"Bearer {self._token}"} if self._token else {})

    async def _post(self, frame: Frame) -> list[Frame]:
        async with self._http.post(
            f"{self._url}/v1/frames", data=json.dumps(frame), headers=self._headers, timeout=ClientTimeout(total=20)
        ) as response:
            answer = await response.json()
            return answer if response.status == 200 else [answer]

    async def _post_all(self, end: Callable[[], None]) -> None:
        """Post what is not acknowledged, one at a time. The log comes by the stream, these too."""
        try:
            while True:
                self._more.clear()
                for id in [id for id in self.said if id not in self.acknowledged]:
                    (answer,) = await self._post(await self._message(id))
                    if answer["type"] == "ack":
                        self._acknowledged(id, answer["seq"])
                    elif answer["code"] in _BUSY:
                        await asyncio.sleep(_AGAIN)
                        self._more.set()
                        break
                    else:
                        self._wrong(f"refused: {answer}")
                for frame in self._asides():
                    await self._post(frame)
                await self._more.wait()
        except _LOST:
            end()


def _abort(socket: ClientWebSocketResponse) -> None:
    connection = socket._response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


async def _receive(socket: ClientWebSocketResponse) -> Frame:
    message = await socket.receive(40)
    if message.type is not WSMsgType.TEXT:
        raise ConnectionError(f"closed with {socket.close_code}")
    frame: Frame = json.loads(message.data)
    return frame


async def _event(response: ClientResponse) -> Frame:
    """Return the next event's frame."""
    data = ""
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif not line and data:
            frame: Frame = json.loads(data)
            return frame
    raise ConnectionError("the stream has ended")
