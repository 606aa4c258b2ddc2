"""The frames over plain HTTP, over real sockets, with the real conversations and store behind them."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import ClientPayloadError, ClientSession, ClientTimeout

from bridge.errors import StoreError, StoreFull
from bridge.gateway import fallback as fallback_module
from bridge.gateway import session as session_module
from bridge.gateway.admission import Limits
from bridge.hints import DeliveryHint, LogHint, TypingHint
from bridge.model import Author, AuthorKind, ConversationId, DeliveryState, VisitorId
from tests.emulators.base import eventually
from tests.house import ORIGIN
from tests.integration.test_gateway import followers, identity, opened


class Poster:
    """A visitor's client where sockets are blocked."""

    def __init__(self, door, token=None, origin=ORIGIN):
        self.door, self.token, self.origin = door, token, origin
        self.log, self.after, self.visitor = None, 0, None

    @property
    def headers(self):
        given = {"Origin": self.origin, "Authorization": self.token and f"Bearer {self.token}"}
        return {key: value for key, value in given.items() if value is not None}

    async def post(self, frame, **headers):
        """Return status, body and headers of the answer."""
        data = frame if isinstance(frame, bytes) else json.dumps(frame)
        async with self.door.http.post(f"{self.door.url}/v1/frames", data=data, headers=self.headers | headers) as got:
            return got.status, await got.json(), got.headers

    async def hello(self, **changed):
        frame = {"type": "hello", "v": 1, "site": "shop", "token": self.token, "log": self.log, "after": self.after}
        status, body, _ = await self.post(frame | changed)
        if status == 200:
            (welcome,) = body
            self.token, self.log, self.after = welcome["token"], welcome["log"], welcome["seq"]
            self.visitor = VisitorId(int(welcome["visitor"]))
            return welcome
        return status, body["code"]

    async def say(self, text, id):
        """Return the ack, or status and code of the refusal."""
        status, body, _ = await self.post({"type": "message", "id": id, "text": text})
        if status != 200:
            assert (body["type"], body["id"]) == ("error", id)
            return status, body["code"]
        (ack,) = body
        return ack

    @asynccontextmanager
    async def stream(self, **changed):
        """Open the stream, up to which the welcome has come."""
        query = {"after": str(self.after)} | ({"log": self.log} if self.log else {})
        headers = self.headers | changed
        # A connection of its own, that the end of the test closes.
        async with (
            ClientSession(timeout=ClientTimeout(total=60)) as http,
            http.get(f"{self.door.url}/v1/stream", params=query, headers=headers) as response,
        ):
            yield Reading(response)


class Reading:
    """An open stream."""

    def __init__(self, response):
        self.response = response
        self.id = None

    async def block(self):
        """Return the lines up to the next empty one; none at the end of the stream."""
        lines = []
        async with asyncio.timeout(20):
            while (line := await self.response.content.readline()) not in {b"\n", b""}:
                lines.append(line.decode().rstrip("\n"))
        return lines

    async def event(self):
        """Return the next event's id and frame."""
        lines = await self.block()
        if not lines:
            raise ConnectionError("the stream has ended")
        id = lines.pop(0).removeprefix("id: ") if lines[0].startswith("id: ") else None
        (data,) = lines
        return id and int(id), json.loads(data.removeprefix("data: "))

    async def frame(self):
        return (await self.event())[1]


@pytest.fixture
async def door(tmp_path):
    async with opened(tmp_path) as door:
        yield door


async def arrive(door, **given):
    poster = Poster(door, **given)
    assert (await poster.hello())["type"] == "welcome"
    return poster


# --- the visitor's way


async def test_a_conversation_both_ways(door):
    poster = await arrive(door)
    async with poster.stream() as stream:
        assert stream.response.headers["Content-Type"] == "text/event-stream"
        id, welcome = await stream.event()
        assert (id, welcome["type"], welcome["visitor"]) == (0, "welcome", str(poster.visitor))
        ack = await poster.say("Hello", "c1")
        assert ack == {"type": "ack", "id": "c1", "seq": 2, "at": "2026-03-01T00:00:00.000Z"}
        events = [await stream.event() for _ in range(2)]
        assert [(id, frame["seq"], frame.get("event"), frame.get("id")) for id, frame in events] == [
            (1, 1, "opened", None),
            (2, 2, None, "c1"),
        ]
        other = await door.arrive(token=poster.token)
        await other.say("from a socket")
        id, frame = await stream.event()
        assert (id, frame["seq"], frame["text"]) == (3, 3, "from a socket")
        conversation = ConversationId(int(frame["conversation"]))
        door.wakeups.publish(TypingHint(poster.visitor, conversation, Author(AuthorKind.STAFF, "Anna"), on=True))
        door.wakeups.publish(DeliveryHint(poster.visitor, 2, DeliveryState.SENT))
        assert (await stream.event())[0] is None
        assert await stream.event() == (None, {"type": "delivery", "of": 2, "state": "sent"})
        # How far has been read is no place in the stream.
        assert (await poster.post({"type": "read", "seq": 99}))[:2] == (200, [])
        assert await stream.event() == (None, {"type": "read", "seq": 3})
        assert await other.until(lambda frame: frame["type"] == "read") == {"type": "read", "seq": 3}
        await door.conversations.seen(conversation, 2)
        assert await stream.event() == (None, {"type": "seen", "seq": 2})
    async with poster.stream() as stream:
        assert (await stream.frame())["seen"] == 2


async def test_acknowledged_is_durable_and_only_what_is_durable_is_acknowledged(door):
    poster = await arrive(door)
    for failure, refused in [
        (StoreFull("full"), (507, "store_full")),
        (StoreError("broken"), (503, "unavailable")),
        (ValueError("a defect"), (503, "unavailable")),
    ]:
        door.store.broken = {"append": failure}
        assert await poster.say("Hello", "c1") == refused
    door.store.broken = {}
    assert (await poster.say("Hello", "c1"))["seq"] == 2
    welcome = await door.visitor(token=poster.token).connect()
    assert [each["text"] for each in welcome["messages"]] == ["", "Hello"]


async def test_a_repeated_id_gives_the_same_ack_and_creates_nothing(door):
    poster = await arrive(door)
    first = await poster.say("Hello", "c1")
    assert await poster.say("Hello again", "c1") == first
    other = await door.arrive(token=poster.token)
    assert await other.say("Hello", "c1") == first
    assert (await poster.say("Next", "c2"))["seq"] == first["seq"] + 1


async def test_the_ack_stands_alone_whatever_others_wrote_in_between(door):
    poster = await arrive(door)
    await poster.say("one", "c1")
    other = await door.arrive(token=poster.token)
    await other.say("two")
    assert (await poster.say("three", "c3"))["seq"] == 4


@pytest.mark.parametrize("fate", ["kept", "emptied", "every other lost"])
async def test_the_stream_gives_every_number_once_in_order(door, fate):
    count = 0

    def change(hint):
        nonlocal count
        count += 1
        if fate == "emptied":
            return LogHint(hint.visitor)
        return hint if fate == "kept" or count % 2 else None

    poster = await arrive(door)
    tabs = [poster, await arrive(door, token=poster.token)]

    async def write(number, tab):
        for index in range(20):
            assert (await tab.say(f"{number}-{index}", f"{number}-{index}"))["type"] == "ack"

    async with poster.stream() as stream:
        await stream.event()
        door.wakeups.fate = change
        await asyncio.gather(*(write(number, tab) for number, tab in enumerate(tabs)))
        door.wakeups.fate = lambda hint: hint
        await poster.say("last", "last")
        frames = [await stream.frame() for _ in range(42)]
    assert [frame["seq"] for frame in frames] == list(range(1, 43))
    for number in range(2):
        own = [frame["id"] for frame in frames if frame.get("id", "").startswith(f"{number}-")]
        assert own == [f"{number}-{index}" for index in range(20)]


@pytest.mark.parametrize("reads", [True, False], ids=["stream", "no stream"])
async def test_messages_posted_at_once_are_taken_once_each_and_stand_where_their_acks_say(door, reads):
    poster = await arrive(door)
    ids = [f"c{number}" for number in range(10)]
    async with AsyncExitStack() as stack:
        stream = await stack.enter_async_context(poster.stream()) if reads else None
        acks = await asyncio.gather(*(poster.say(id, id) for id in ids for _ in range(2)))
        places = {ack["id"]: ack["seq"] for ack in acks}
        assert all(ack["seq"] == places[ack["id"]] for ack in acks)
        assert sorted(places.values()) == list(range(2, 12))
        if stream is not None:
            shown = []
            while len(shown) < 11:
                frame = await stream.frame()
                shown += [frame] if frame["type"] == "message" else []
            assert [frame["seq"] for frame in shown] == list(range(1, 12))
            assert {frame["id"]: frame["seq"] for frame in shown[1:]} == places
    welcome = await door.visitor(token=poster.token).connect()
    assert [each["text"] for each in welcome["messages"]] == ["", *sorted(ids, key=places.__getitem__)]


async def test_a_message_whose_post_hangs_holds_up_no_other_and_stands_where_it_is_taken(door):
    poster = await arrive(door)
    go_on = asyncio.Event()
    frame = json.dumps({"type": "message", "id": "first", "text": "first"}).encode()

    async def halting():
        yield frame[:20]
        await go_on.wait()
        yield frame[20:]

    async def hang():
        url = f"{door.url}/v1/frames"
        async with door.http.post(url, data=halting(), headers=poster.headers) as got:
            return await got.json()

    hanging = asyncio.create_task(hang())
    assert (await poster.say("second", "second"))["seq"] == 2
    assert (await poster.say("first", "first"))["seq"] == 3  # given up, and sent again
    go_on.set()
    (ack,) = await hanging
    assert (ack["id"], ack["seq"]) == ("first", 3)
    welcome = await door.visitor(token=poster.token).connect()
    assert [each["text"] for each in welcome["messages"]] == ["", "second", "first"]


async def test_who_was_away_gets_what_it_lacks(door):
    poster = await arrive(door)
    for text in ("one", "two", "three"):
        await poster.say(text, text)
    poster.after = 2
    for changed in ({}, {"Last-Event-ID": "3"}):
        async with poster.stream(**changed) as stream:
            id, welcome = await stream.event()
        lacking = ["three"] if changed else ["two", "three"]
        assert (id, welcome["seq"], welcome["reset"]) == (4, 4, False)
        assert [message["text"] for message in welcome["messages"]] == lacking


async def test_who_is_far_behind_or_holds_another_log_starts_anew(door):
    poster = await arrive(door)
    for number in range(202):
        await poster.say(str(number), str(number))
    poster.after = 1
    async with poster.stream() as stream:
        welcome = await stream.frame()
    assert (welcome["reset"], welcome["seq"], len(welcome["messages"])) == (True, 203, 200)
    assert welcome["messages"][-1]["text"] == "201"
    for log, after in [("another", 3), (poster.log, 999)]:
        poster.log, poster.after = log, after
        async with poster.stream() as stream:
            assert (await stream.frame())["reset"]


async def test_history_is_answered_where_it_was_asked(door):
    poster = await arrive(door)
    for number in range(3):
        await poster.say(str(number), str(number))
    status, (history,), _ = await poster.post({"type": "history", "before": 4})
    assert (status, history["type"], history["more"]) == (200, "history", False)
    assert [message["text"] for message in history["messages"]] == ["", "0", "1"]


async def test_what_a_hello_and_a_page_told_is_known_of_the_message(door):
    poster = Poster(door)
    page = {"url": "https://shop.example/cart", "title": "Cart", "referrer": "https://search.example/"}
    await poster.hello(page=page, **identity("u1"))
    await poster.post({"type": "page", "url": "https://shop.example/pay", "title": "Pay"})
    await poster.say("Hello", "c1")
    profile = (await door.store.visitor(poster.visitor)).profile
    assert (profile.identity, profile.name) == ("u1", "Ann")
    assert (profile.page.url, profile.page.referrer) == ("https://shop.example/pay", "https://search.example/")


async def test_the_token_alone_suffices(door, monkeypatch):
    monkeypatch.setattr(fallback_module, "_MAX_KNOWN", 1)
    first = await arrive(door)
    await first.say("one", "c1")
    await (await arrive(door)).say("somebody else's", "c1")
    assert (await first.say("two", "c2"))["seq"] == 3


async def test_what_the_visitor_types_is_told_to_staff(door):
    heard = []
    poster = await arrive(door)
    await poster.say("one", "c1")
    end = door.wakeups.listen(heard.append)
    assert (await poster.post({"type": "typing", "on": True}))[:2] == (200, [])
    assert [hint.on for hint in heard if isinstance(hint, TypingHint)] == [True]
    end()


async def test_a_stream_of_a_guest_who_signed_in_ends(door):
    known = Poster(door)
    await known.hello(**identity("u1"))
    await known.say("from before", "c1")
    guest = await arrive(door)
    await guest.say("as a guest", "c2")
    async with guest.stream() as stream:
        await stream.event()
        signed_in = Poster(door, token=guest.token)
        await signed_in.hello(**identity("u1"))
        with pytest.raises(ConnectionError):
            await stream.event()
    assert await guest.say("late", "c3") == (401, "bad_token")
    async with guest.stream() as stream:
        assert stream.response.status == 401


# --- errors


@pytest.mark.parametrize(
    ("frame", "status", "code"),
    [
        (b"rubbish", 400, "bad_frame"),
        (b"", 400, "bad_frame"),
        (b'{"type":"message","id":"c1","text":"\\u0000"}', 400, "bad_frame"),
        (b'{"type":"message","id":"c1","text":"' + b"x" * 4001 + b'"}', 400, "too_long"),
        (b'{"type":"message","id":"c1","text":"","attachments":["none"]}', 415, "bad_file"),
        (b"x" * 70_000, 413, "too_large"),
    ],
)
async def test_wrong_frames_get_one_error(door, frame, status, code):
    poster = await arrive(door)
    found, error, headers = await poster.post(frame)
    assert (found, error["type"], error["code"]) == (status, "error", code)
    assert error.get("id") == ("c1" if b"c1" in frame else None)
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert (await poster.say("still there", "c2"))["type"] == "ack"


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"Authorization": "Bearer nonsense"}, 401, "bad_token"),
        ({"Authorization": "Basic eA=="}, 401, "bad_token"),
        ({"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
        ({"Origin": "null"}, 403, "origin_not_allowed"),
    ],
)
async def test_strangers_are_refused(door, changed, status, code):
    poster = await arrive(door)
    found, error, headers = await poster.post({"type": "message", "id": "c1", "text": "hi"}, **changed)
    assert (found, error["code"], error["id"]) == (status, code, "c1")
    assert ("Access-Control-Allow-Origin" in headers) is ("Origin" not in changed)
    async with poster.stream(**changed) as stream:
        assert stream.response.status == status
        assert (await stream.response.json())["code"] == code
        assert ("Access-Control-Allow-Origin" in stream.response.headers) is ("Origin" not in changed)
    assert not door.wakeups._followers


async def test_a_request_without_an_origin_is_refused(door):
    poster = await arrive(door)
    poster.origin = None
    assert await poster.say("hi", "c1") == (403, "origin_not_allowed")
    async with poster.stream() as stream:
        assert stream.response.status == 403


@pytest.mark.parametrize(
    ("origin", "fetched", "status"),
    [
        (None, "same-origin", 200),
        (None, "same-site", 403),
        (None, "cross-site", 403),
        (None, "none", 403),
        ("https://evil.example", "same-origin", 403),
        ("null", "same-origin", 403),
    ],
)
async def test_our_own_pages_read_the_stream_without_an_origin(door, origin, fetched, status):
    poster = await arrive(door)
    poster.origin = origin
    async with poster.stream(**{"Sec-Fetch-Site": fetched}) as stream:
        assert stream.response.status == status


async def test_hellos_that_are_refused(door):
    assert await Poster(door).hello(site="nothing") == (404, "unknown_site")
    assert await Poster(door, origin="https://evil.example").hello() == (403, "origin_not_allowed")
    assert await Poster(door, token="forged.token").hello() == (401, "bad_token")
    assert await Poster(door).hello(**identity("u1", "guessed")) == (403, "bad_identity")
    poster = await arrive(door)
    assert await poster.hello(site="demo") == (403, "origin_not_allowed")
    door.store.broken = {"visitor": StoreError("broken")}
    assert await poster.hello() == (503, "unavailable")
    async with poster.stream() as stream:
        assert stream.response.status == 503
    assert not door.wakeups._followers


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30, "²"])
async def test_a_stream_goes_on_after_a_number(door, after):
    poster = await arrive(door)
    poster.after = after
    async with poster.stream() as stream:
        assert (stream.response.status, (await stream.response.json())["code"]) == (400, "bad_frame")


@pytest.mark.parametrize(("path", "method"), [("frames", "POST"), ("stream", "GET")])
async def test_a_browser_may_ask_before(door, path, method):
    for origin, status in [(ORIGIN, 204), ("https://evil.example", 403)]:
        async with door.http.options(f"{door.url}/v1/{path}", headers={"Origin": origin}) as response:
            assert response.status == status
            if status == 204:
                assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
                assert response.headers["Access-Control-Allow-Methods"] == method
                assert "authorization" in response.headers["Access-Control-Allow-Headers"]
            else:
                assert "Access-Control-Allow-Origin" not in response.headers


# --- too much


async def test_too_many_messages_and_conversations(tmp_path):
    async with opened(tmp_path, limits=Limits(messages_per_minute=3, conversations_per_hour=2)) as door:
        poster = await arrive(door)
        assert [(await poster.say("hi", f"c{number}"))["type"] for number in range(3)] == ["ack"] * 3
        status, error, headers = await poster.post({"type": "message", "id": "c9", "text": "hi"})
        assert (status, error["code"], error["id"]) == (429, "rate_limited", "c9")
        assert int(headers["Retry-After"]) >= error["retry_after"]
        door.clock.passed += error["retry_after"]
        assert (await poster.say("hi", "c9"))["type"] == "ack"
        other = await arrive(door)
        door.store.broken = {"append": StoreFull("full")}
        assert await other.say("hi", "c1") == (507, "store_full")  # does not count
        door.store.broken = {}
        assert (await other.say("hi", "c1"))["type"] == "ack"
        assert await (await arrive(door)).say("hi", "c1") == (429, "rate_limited")
        door.clock.passed += 60
        assert (await poster.say("goes on", "c10"))["type"] == "ack"


async def test_a_flood_of_small_frames_is_slowed_down(door):
    poster = await arrive(door)
    answers = [(await poster.post({"type": "typing", "on": True}))[0] for _ in range(62)]
    assert answers == [200] * 60 + [429] * 2


async def test_too_many_streams_of_one_address(tmp_path):
    async with opened(tmp_path, limits=Limits(connections_per_address=1)) as door:
        poster = await arrive(door)
        async with poster.stream() as stream:
            await stream.event()
            async with poster.stream() as second:
                assert second.response.status == 429
                assert int(second.response.headers["Retry-After"]) > 0
                assert second.response.headers["Access-Control-Allow-Origin"] == ORIGIN
        await eventually(lambda: not door.wakeups._followers)
        async with poster.stream() as stream:
            assert (await stream.frame())["type"] == "welcome"


async def test_a_reader_that_is_too_slow_is_dropped_and_slows_nobody(door, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_WAITING", 50)
    quick = await arrive(door)
    await quick.say("one", "c1")
    visitor = door.visitor(token=quick.token)
    await visitor.connect()
    url = door.url.removeprefix("http://")
    host, port = url.split(":")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((host, int(port)))
        slow.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(
            slow,
            f"GET /v1/stream HTTP/1.1\r\nHost: {url}\r\nOrigin: {ORIGIN}\r\n"
            f"Authorization: Bearer {quick.token}\r\n\r\n".encode(),
        )
        await eventually(lambda: len(followers(door, visitor)) == 2)
        text, count = "x" * 4000, 0
        async with asyncio.timeout(60):
            while len(followers(door, visitor)) == 2:
                assert (await visitor.say(text))["type"] == "ack"
                count += 1
    assert count >= 50
    quick.after = visitor.after - 3
    async with quick.stream() as stream:
        assert [message["text"] for message in (await stream.frame())["messages"]] == [text] * 3


async def test_a_reader_that_reads_nothing_any_more_is_dropped(door, monkeypatch):
    monkeypatch.setattr(fallback_module, "_WRITTEN_WITHIN", 0.05)
    quick = await door.arrive()
    url = door.url.removeprefix("http://")
    host, port = url.split(":")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((host, int(port)))
        slow.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(
            slow,
            f"GET /v1/stream HTTP/1.1\r\nHost: {url}\r\nOrigin: {ORIGIN}\r\n"
            f"Authorization: Bearer {quick.token}\r\n\r\n".encode(),
        )
        await eventually(lambda: len(followers(door, quick)) == 2)
        async with asyncio.timeout(60):
            while len(followers(door, quick)) == 2:
                await quick.say("x" * 4000)


# --- quiet, and the end


async def test_a_comment_shows_that_a_quiet_stream_lives(door, monkeypatch):
    monkeypatch.setattr(fallback_module, "_COMMENT_EVERY", 0.05)
    poster = await arrive(door)
    async with poster.stream() as stream:
        await stream.event()
        assert [await stream.block() for _ in range(2)] == [[":"]] * 2
        await poster.say("Hello", "c1")
        while (block := await stream.block()) == [":"]:
            pass
        assert block[0] == "id: 1"


async def test_a_gap_that_cannot_be_read_ends_the_stream(door):
    poster = await arrive(door)
    await poster.say("one", "c1")
    async with poster.stream() as stream:
        await stream.event()
        door.store.broken = {"entries": StoreError("broken")}
        door.wakeups.publish(LogHint(poster.visitor))
        with pytest.raises(ConnectionError):
            await stream.event()


async def test_on_stop_streams_end_at_once(door):
    poster = await arrive(door)
    async with poster.stream() as stream:
        await stream.event()
        async with asyncio.timeout(4):
            await door.gateway.stop()
        with pytest.raises(ClientPayloadError):
            await stream.event()
    assert not door.wakeups._followers
