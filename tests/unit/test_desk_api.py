"""The desk's HTTP interface and its stream of events, against a view that a test fills and a sink that it breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.desk import Desk, Settings, create, feed
from bridge.clock import SystemClock
from bridge.errors import BadFile, StoreError, StoreFull
from bridge.hints import Hint, LogHint, ReadHint, TypingHint
from bridge.model import (
    AdapterName,
    Attachment,
    Author,
    AuthorKind,
    Card,
    ConversationId,
    EntryId,
    Event,
    FileId,
    Format,
    Message,
    Page,
    Part,
    Profile,
    RemoteId,
    Revision,
    SiteKey,
    Staff,
    StaffEvent,
    StaffMessage,
    ThreadKey,
    Token,
    VisitorId,
)
from bridge.ports import Adapter, AdapterState, House, HttpRequest, HttpResponse, Link, Revises, ServesHttp, Summary

TOKEN = "a-token-of-enough-length"
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
HERE = ConversationId(7)
WHO = VisitorId(3)


def message(seq: int, text: str = "Hello", **more: Any) -> Message:
    return replace(Message(EntryId(seq), WHO, HERE, seq, Author(AuthorKind.VISITOR), text, AT), **more)


def summary(**more: Any) -> Summary:
    profile = Profile(name="Mara", locale="sv", page=Page("https://shop.example/", "Shop"))
    whole = Summary(HERE, WHO, SiteKey("shop"), open=True, opened_at=AT, active_at=AT, profile=profile, last=message(2))
    return replace(whole, **more)


@dataclass
class View:
    """`ports.ConversationView` of what a test puts into it."""

    summaries: list[Summary] = field(default_factory=lambda: [summary()])
    log: list[Message | Revision] = field(default_factory=list)
    listeners: list[Callable[[Hint], None]] = field(default_factory=list)
    broken: StoreError | None = None

    async def conversations(self, before: datetime | None, limit: int) -> Sequence[Summary]:
        return [each for each in self.summaries if before is None or each.active_at < before][:limit]

    async def conversation(self, conversation: ConversationId) -> Summary | None:
        if self.broken:
            raise self.broken
        return next((each for each in self.summaries if each.conversation == conversation), None)

    async def entries(self, conversation: ConversationId, after: int, limit: int) -> Sequence[Message | Revision]:
        return [entry for entry in self.log if entry.seq > after][:limit]

    async def seen(self, conversation: ConversationId, seq: int) -> None:
        raise AssertionError(f"no test looks at this: {conversation}, {seq}")

    async def close(self, conversation: ConversationId, staff: Staff) -> None:
        self.summaries = [replace(each, open=False) for each in self.summaries]

    def changes(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def tell(self, *hints: Hint) -> None:
        for hint in hints:
            for listener in self.listeners:
                listener(hint)


@dataclass
class Sink:
    """`ports.InboundSink` that fails as told."""

    failure: StoreError | None = None
    linked: bool = True
    poison: str | None = None
    taken: list[StaffEvent] = field(default_factory=list)
    states: list[AdapterState] = field(default_factory=list)

    async def follows(self, thread: ThreadKey) -> bool:
        return self.linked

    async def take(self, events: Sequence[StaffEvent], cursor: str | None = None) -> Sequence[StaffEvent]:
        if self.failure:
            raise self.failure
        passed_over = [event for event in events if isinstance(event, StaffMessage) and event.text.text == self.poison]
        self.taken += [event for event in events if event not in passed_over]
        return passed_over

    async def cursor(self) -> str | None:
        return None

    async def reacted(self, message: RemoteId, within: Callable[[ThreadKey], bool]) -> bool:
        raise AssertionError(f"there are no reactions at the desk: {message}, {within}")

    def typing(self, thread: ThreadKey, staff: Staff, on: bool) -> None: ...

    def state(self, state: AdapterState) -> None:
        self.states.append(state)


class Files:
    """`ports.Files` in memory."""

    async def keep(self, name: str, type: str, content: bytes, owner: VisitorId | None = None) -> Attachment:
        if not content:
            raise BadFile("The file is empty.")
        return Attachment(FileId("f1"), name, type, len(content))

    async def keep_picture(self, name: str, type: str, content: bytes) -> FileId:
        return (await self.keep(name, type, content)).id

    async def read(self, file: FileId) -> bytes:
        raise FileNotFoundError

    def address(self, file: FileId) -> str:
        return f"/files/{file}?s=x"


@dataclass
class Place:
    desk: Desk
    view: View
    sink: Sink

    async def ask(self, method: str, path: str, token: str = TOKEN, **body: Any) -> tuple[int, dict[str, Any]]:
        path, _, query = path.partition("?")
        values = dict(pair.split("=", 1) for pair in query.split("&") if pair)
        answer = await self.raw(method, path, json.dumps(body).encode() if body else b"", token, values)
        assert isinstance(answer.body, bytes)
        return answer.status, json.loads(answer.body)

    async def raw(
        self, method: str, path: str, body: bytes = b"", token: str = TOKEN, query: dict[str, str] | None = None
    ) -> HttpResponse:
        headers = {"authorization": f"Bearer {token}", "content-type": "text/plain"}
        return await self.desk.handle(HttpRequest(method, f"api/{path}", query or {}, headers, body))

    async def say(self, **body: Any) -> tuple[int, dict[str, Any]]:
        return await self.ask("POST", "conversations/7/messages", **({"id": "k1", "name": "Anna", "text": "Hi"} | body))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    view, sink = View(), Sink()
    house = House(AdapterName("desk"), Files(), SystemClock(), view, "http://127.0.0.1:8080", tmp_path)
    desk = create(Settings(token=TOKEN), house)
    running = asyncio.create_task(desk.run(sink))
    await asyncio.sleep(0)
    yield Place(desk, view, sink)
    running.cancel()
    await asyncio.wait([running])


# --- the adapter ------------------------------------------------------------------------------------------------------


async def test_it_is_an_adapter_whose_threads_are_the_conversations(place: Place) -> None:
    desk = place.desk
    for ability in (Adapter, Revises, ServesHttp):
        assert isinstance(desk, ability)
    assert place.sink.states == [AdapterState(Link.UP)]
    opened = await desk.open_thread("sales", Card(HERE, "Visitor 1", "Mara", ()), Token("t1"))
    assert (opened.thread, opened.card) == ("7", "card")
    assert await desk.send(opened.thread, Part(()), Token("t2")) == RemoteId("t2")
    assert desk.url == f"http://127.0.0.1:8080/desk/#token={TOKEN}"


# --- who calls --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", "ünicode", "\udcff"])
@pytest.mark.parametrize("path", ["conversations", "conversations/7", "events", "nothing"])
async def test_a_wrong_token_opens_nothing(place: Place, token: str, path: str) -> None:
    status, answer = await place.ask("GET", path, token)
    assert (status, answer["code"]) == (401, "bad_token")
    assert answer["detail"].endswith(".")


async def test_a_request_without_a_token_opens_nothing(place: Place) -> None:
    answer = await place.desk.handle(HttpRequest("GET", "api/conversations", {"token": TOKEN}, {}, b""))
    assert answer.status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 404),
        ("GET", "conversations/", 404),
        ("GET", "conversations/seven", 404),
        ("GET", "conversations/8", 404),
        ("GET", f"conversations/{2**63}", 404),
        ("GET", "conversations/7/elsewhere", 404),
        ("DELETE", "conversations/7", 405),
        ("GET", "conversations/7/close", 405),
        ("POST", "conversations", 405),
        ("GET", "conversations?before=yesterday", 400),
        ("GET", "conversations?before=2026-05-01T12:00:00", 400),
        ("GET", "conversations/7?after=-1", 400),
        ("GET", "conversations/7?after=x", 400),
    ],
)
async def test_what_is_asked_wrongly_gets_a_sentence(place: Place, method: str, path: str, status: int) -> None:
    answered, frame = await place.ask(method, path)
    assert (answered, frame["type"]) == (status, "error")
    assert frame["detail"]


# --- reading ----------------------------------------------------------------------------------------------------------


async def test_the_list_goes_on_where_it_ended(place: Place) -> None:
    place.view.summaries = [
        summary(conversation=ConversationId(n), active_at=AT.replace(microsecond=1000 * n)) for n in range(70, 0, -1)
    ]
    found: list[str] = []
    query = ""
    while True:
        _, answer = await place.ask("GET", f"conversations{query}")
        found += [each["id"] for each in answer["conversations"]]
        if answer["next"] is None:
            break
        query = f"?before={answer['next']}"
    assert found == [str(n) for n in range(70, 0, -1)]


async def test_entries_have_the_shapes_of_the_wire_protocol(place: Place) -> None:
    staff = Author(AuthorKind.STAFF, "Anna", FileId("a1"))
    place.view.log = [
        message(1, "", event=Event.OPENED),
        message(2, "<b>*hi*</b>", client_id="m1", attachments=(Attachment(FileId("f1"), "a.png", "image/png", 5),)),
        message(3, "**yes**, [so](https://a.example)", author=staff, format=Format.MARKDOWN),
        Revision(EntryId(4), WHO, HERE, 4, 3, staff, "", AT, deleted=True),
    ]
    status, answer = await place.ask("GET", "conversations/7?after=1")
    assert status == 200
    assert answer["more"] is False
    assert answer["conversation"]["profile"]["name"] == "Mara"
    at = "2026-05-01T12:00:00.000Z"
    file = {"id": "f1", "name": "a.png", "type": "image/png", "size": 5, "url": "/files/f1?s=x"}
    anna = {"kind": "staff", "name": "Anna", "avatar": "/files/a1?s=x"}
    rich = {"text": "yes, so", "marks": [["bold", 0, 3, ""], ["link", 5, 7, "https://a.example"]]}
    text = "**yes**, [so](https://a.example)"
    base = {"conversation": "7", "at": at}
    assert answer["entries"] == [
        base | {"type": "message", "seq": 2, "from": {"kind": "visitor"}, "text": "<b>*hi*</b>", "id": "m1"}
        | {"attachments": [file]},
        base | {"type": "message", "seq": 3, "from": anna, "text": text, "format": "markdown", "rich": rich}
        | {"attachments": []},
        base | {"type": "revision", "seq": 4, "of": 3, "from": anna, "text": "", "deleted": True},
    ]  # fmt: skip


async def test_more_entries_than_fit_are_read_on(place: Place) -> None:
    place.view.log = [message(n) for n in range(1, 251)]
    _, first = await place.ask("GET", "conversations/7")
    assert first["more"] is True
    _, rest = await place.ask("GET", f"conversations/7?after={first['entries'][-1]['seq']}")
    assert [entry["seq"] for entry in first["entries"] + rest["entries"]] == list(range(1, 251))
    assert rest["more"] is False


# --- writing ----------------------------------------------------------------------------------------------------------


async def test_a_reply_is_read_as_markdown_and_names_its_agent(place: Place) -> None:
    status, answer = await place.say(name="  Anna \t Weber ", text="  **Hi**\n")
    assert (status, answer["type"], answer["id"], answer["note"]) == (200, "ack", "k1", False)
    (taken,) = place.sink.taken
    assert (taken.thread, taken.remote_id) == ("7", "k1")
    assert taken.staff == Staff("anna weber", "Anna Weber")
    assert taken.text.text == "Hi"


@pytest.mark.parametrize("text", ["// for us", "  //for us", "**// for us**"])
async def test_the_page_is_told_that_a_text_stays_inside(place: Place, text: str) -> None:
    assert (await place.say(text=text))[1]["note"] is True


@pytest.mark.parametrize(
    "body",
    [
        {"text": ""},
        {"text": " \n\t"},
        {"text": "> "},
        {"text": "nul\0"},
        {"text": "x" * 50_001},
        {"text": 5},
        {"name": ""},
        {"name": " "},
        {"name": "x" * 81},
        {"name": "tab\x07"},
        {"id": ""},
        {"id": "x" * 65},
        {"id": "with space"},
        {"attachments": ["f"] * 11},
    ],
    ids=str,
)
async def test_a_wrong_reply_is_refused_with_a_sentence(place: Place, body: dict[str, Any]) -> None:
    status, answer = await place.say(**body)
    assert (status, answer["code"]) == (400, "bad_frame")
    assert place.sink.taken == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"id":"k","name":"A","text":"\\ud800"}'])
async def test_rubbish_is_refused(place: Place, body: bytes) -> None:
    assert (await place.raw("POST", "conversations/7/messages", body)).status == 400


@pytest.mark.parametrize(
    ("failure", "status", "code"), [(StoreFull("x"), 507, "store_full"), (StoreError("x"), 503, "unavailable")]
)
async def test_a_reply_that_is_not_stored_is_not_acknowledged(
    place: Place, failure: StoreError, status: int, code: str
) -> None:
    place.sink.failure = failure
    answered, answer = await place.say()
    assert (answered, answer["code"]) == (status, code)
    place.sink.failure = None
    assert (await place.say())[0] == 200


async def test_a_reply_that_can_never_be_stored_is_refused(place: Place) -> None:
    place.sink.poison = "Hi"
    status, answer = await place.say()
    assert (status, answer["code"]) == (400, "bad_frame")
    assert "write it otherwise" in answer["detail"]


async def test_a_reply_that_would_be_dropped_is_refused(place: Place) -> None:
    place.sink.linked = False
    status, answer = await place.say()
    assert (status, answer["code"]) == (409, "unavailable")
    assert place.sink.taken == []


async def test_before_and_after_it_runs_nothing_is_taken(tmp_path: Path) -> None:
    view, sink = View(), Sink()
    house = House(AdapterName("desk"), Files(), SystemClock(), view, "", tmp_path)
    place = Place(create(Settings(token=TOKEN), house), view, sink)
    assert (await place.say())[0] == 503
    running = asyncio.create_task(place.desk.run(sink))
    await asyncio.sleep(0)
    assert (await place.say())[0] == 200
    running.cancel()
    await asyncio.wait([running])
    assert (await place.say(id="k2"))[0] == 503


async def test_a_file_is_kept_and_then_attached(place: Place) -> None:
    answer = await place.raw("POST", "files", b"bytes", query={"name": "a.txt"})
    assert answer.status == 201
    assert isinstance(answer.body, bytes)
    file = json.loads(answer.body)
    assert file == {"id": "f1", "name": "a.txt", "type": "text/plain", "size": 5, "url": "/files/f1?s=x"}
    assert (await place.say(text="", attachments=["f1"]))[0] == 200
    assert place.sink.taken[0].attachments == (Attachment(FileId("f1"), "a.txt", "text/plain", 5),)


async def test_a_file_that_is_not_kept_or_not_known_is_said(place: Place) -> None:
    status, answer = await place.ask("POST", "files?name=a.txt")
    assert (status, answer["code"], answer["detail"]) == (400, "bad_file", "The file is empty.")
    status, answer = await place.say(attachments=["f9"])
    assert (status, answer["code"]) == (409, "bad_file")


# --- the stream -------------------------------------------------------------------------------------------------------


class Stream:
    """Reads server-sent events."""

    def __init__(self, answer: HttpResponse) -> None:
        assert not isinstance(answer.body, bytes)
        self._body = answer.body

    async def raw(self) -> bytes:
        async with asyncio.timeout(5):
            return await anext(self._body)

    async def next(self) -> tuple[str, dict[str, Any]]:
        name, data, _, _ = (await self.raw()).decode().split("\n")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def close(self) -> None:
        await self._body.aclose()  # type: ignore[attr-defined]  # the gateway closes generators so, too


async def opened(place: Place) -> Stream:
    stream = Stream(await place.raw("GET", "events"))
    assert await stream.next() == ("ready", {})
    return stream


async def test_the_stream_tells_what_changed_and_who_types(place: Place) -> None:
    stream = await opened(place)
    place.view.tell(
        ReadHint(WHO, 2),
        LogHint(WHO, (message(3, "new"),)),
        TypingHint(WHO, HERE, Author(AuthorKind.VISITOR), on=True),
        LogHint(WHO),
    )
    name, frame = await stream.next()
    assert name == "changed"
    assert frame["conversation"]["id"] == "7"
    assert [entry["text"] for entry in frame["entries"]] == ["new"]
    assert await stream.next() == ("typing", {"conversation": "7", "from": {"kind": "visitor"}, "on": True})
    assert await stream.next() == ("changed", {"conversation": None, "entries": []})
    await stream.close()
    assert place.view.listeners == []


async def test_conversations_of_other_adapters_are_not_told(place: Place) -> None:
    stream = await opened(place)
    elsewhere = ConversationId(8)
    place.view.tell(
        LogHint(WHO, (replace(message(3), conversation=elsewhere),)),
        TypingHint(WHO, elsewhere, Author(AuthorKind.VISITOR), on=True),
        LogHint(WHO, (message(4),)),
    )
    assert (await stream.next())[1]["entries"][0]["seq"] == 4
    await stream.close()


async def test_what_comes_together_is_told_in_one_frame(place: Place) -> None:
    stream = await opened(place)
    typing = TypingHint(WHO, HERE, Author(AuthorKind.VISITOR), on=True)
    place.view.tell(*(LogHint(WHO, (message(seq),)) for seq in (3, 4, 5)), typing, LogHint(WHO, (message(6),)))
    frames = [await stream.next() for _ in range(3)]
    assert [[entry["seq"] for entry in frame.get("entries", ())] for _, frame in frames] == [[3, 4, 5], [], [6]]
    await stream.close()


async def test_a_page_that_does_not_keep_up_is_let_go(place: Place) -> None:
    slow, quick = await opened(place), await opened(place)
    for seq in range(feed.WAITING):
        place.view.tell(LogHint(WHO, (message(seq + 3),)))
        assert (await quick.next())[1]["entries"][0]["seq"] == seq + 3
    place.view.tell(TypingHint(WHO, HERE, Author(AuthorKind.VISITOR), on=True))  # volatile: passed over
    assert (await quick.next())[0] == "typing"
    place.view.tell(LogHint(WHO, (message(999),)))
    with pytest.raises(StopAsyncIteration):
        await slow.raw()
    assert (await quick.next())[1]["entries"][0]["seq"] == 999
    await quick.close()
    assert place.view.listeners == []


async def test_a_quiet_stream_shows_that_it_lives(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "COMMENT_SECONDS", 0.01)
    stream = await opened(place)
    assert await stream.raw() == b":\n\n"
    await stream.close()


async def test_a_store_that_fails_ends_the_stream_and_the_page_comes_back(place: Place) -> None:
    stream = await opened(place)
    place.view.broken = StoreError("down")
    place.view.tell(LogHint(WHO, (message(3),)))
    with pytest.raises(StopAsyncIteration):
        await stream.raw()
    assert place.view.listeners == []


async def test_closing_goes_to_the_view(place: Place) -> None:
    assert (await place.ask("POST", "conversations/7/close", name="Anna"))[0] == 200
    assert place.view.summaries[0].open is False
