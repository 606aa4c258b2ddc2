"""The gateway over real sockets, with the real conversations and store behind it."""

import asyncio
import gc
import hashlib
import hmac
import json
import socket
import weakref
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from aiohttp import ClientSession, FormData, WSMsgType, web
from yarl import URL

from bridge.conversations import Conversations
from bridge.errors import StartError, StoreError, StoreFull
from bridge.gateway import session as session_module
from bridge.gateway import socket as socket_module
from bridge.gateway.admission import Limits
from bridge.gateway.files import FileStore
from bridge.gateway.server import Gateway, bind, create_app, url_of
from bridge.gateway.session import Session
from bridge.gateway.tokens import Tokens
from bridge.hints import DeliveryHint, LogHint, TypingHint
from bridge.model import (
    AdapterName,
    Author,
    AuthorKind,
    ConversationId,
    DeliveryState,
    Site,
    SiteKey,
    VisitorId,
)
from bridge.ports import HttpResponse
from bridge.store.sqlite.store import open_store
from bridge.wakeups import MemoryWakeups
from tests.emulators.base import eventually
from tests.house import ORIGIN, Visitor

SHOP = Site(
    SiteKey("shop"), "Shop", frozenset({ORIGIN}), (), identity_secrets=("site secret",), look={"accent": "#123456"}
)
DEMO = Site(SiteKey("demo"), "Demo", frozenset(), ())
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


class TurnedClock:
    def __init__(self):
        self.time = datetime(2026, 3, 1, tzinfo=UTC)
        self.passed = 0.0

    def now(self):
        return self.time

    def steady(self):
        return self.passed

    async def sleep(self, seconds):
        raise AssertionError


class Forgetful(MemoryWakeups):
    """Loses, or empties, hints of the log, as the contract of hints allows."""

    def __init__(self):
        super().__init__()
        self.fate = lambda hint: hint

    def publish(self, *hints):
        hints = [self.fate(hint) if isinstance(hint, LogHint) else hint for hint in hints]
        super().publish(*(hint for hint in hints if hint is not None))


class Breakable:
    """The real store, but for the methods that are named as broken."""

    def __init__(self, store):
        self.store, self.broken = store, {}

    def __getattr__(self, name):
        if name in self.broken:

            def fail(*_):
                failed = asyncio.get_running_loop().create_future()
                failed.set_exception(self.broken[name])
                return failed

            return fail
        return getattr(self.store, name)


class Pages:
    """An adapter with a place on the gateway."""

    mount = "/hooks/test"
    closed = False

    async def handle(self, request):
        if request.path == "fail":
            raise ValueError("a secret")
        if request.path == "stream":
            return HttpResponse(200, self.stream(), {"content-type": "text/event-stream"})
        said = {"method": request.method, "path": request.path, "query": dict(request.query), "size": len(request.body)}
        return HttpResponse(201, json.dumps(said | {"agent": request.headers["user-agent"]}).encode(), {"x-seen": "1"})

    async def stream(self):
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            self.closed = True


class Desk(Pages):
    mount = "/desk"


class Door:
    """A gateway under test, and what a test needs of its inside."""

    def __init__(self, http, url, store, conversations, wakeups, clock, files, gateway):
        self.http, self.url, self.store, self.conversations = http, url, store, conversations
        self.wakeups, self.clock, self.files, self.gateway = wakeups, clock, files, gateway

    def visitor(self, **given):
        return Visitor(self.http, self.url, **given)

    async def arrive(self, **given):
        visitor = self.visitor(**given)
        assert (await visitor.connect())["type"] == "welcome"
        return visitor


@asynccontextmanager
async def opened(tmp_path, *, limits=Limits(), adapters=None):  # noqa: B008 - frozen
    clock, wakeups = TurnedClock(), Forgetful()
    async with open_store(tmp_path / "store.db") as real:
        store = Breakable(real)
        conversations = Conversations(store, wakeups, clock)
        files = FileStore(tmp_path / "files", store, b"secret", clock, limit=100_000)

        async def ready():
            return "append" not in store.broken

        with bind("127.0.0.1", 0) as listening:
            url = url_of(listening)
            app = create_app(
                sites={site.key: site for site in (SHOP, DEMO)},
                conversations=conversations,
                wakeups=wakeups,
                files=files,
                adapters=adapters or {},
                secrets=[b"secret"],
                public_url=url,
                limits=limits,
                trusted_proxies=[],
                clock=clock,
                ready=ready,
            )
            async with Gateway(app, listening) as gateway, ClientSession() as http:
                yield Door(http, url, store, conversations, wakeups, clock, files, gateway)


@pytest.fixture
async def door(tmp_path):
    async with opened(tmp_path) as door:
        yield door


async def closed_with(visitor):
    """Return the code that a socket is closed with, whatever comes before."""
    while True:
        message = await asyncio.wait_for(visitor.socket.receive(), 20)
        if message.type is WSMsgType.TEXT:
            visitor.frames.append(json.loads(message.data))
        if message.type is WSMsgType.CLOSE:
            return message.data
        if message.type in {WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR}:
            return visitor.socket.close_code


def followers(door, visitor):
    """Return the sessions that follow a visitor."""
    return door.wakeups._followers.get(VisitorId(int(visitor.frames[0]["visitor"])), {})


def is_message(frame):
    return frame["type"] in {"message", "ack"}


# --- the visitor's way


async def test_a_message_is_acknowledged_and_there_on_return(door):
    visitor = await door.arrive()
    ack = await visitor.say("Hello", "c1")
    assert ack == {"type": "ack", "id": "c1", "seq": 2, "at": "2026-03-01T00:00:00.000Z"}
    await visitor.leave()
    welcome = await door.visitor(token=visitor.token).connect()
    assert [(each["seq"], each.get("event"), each.get("id"), each["text"]) for each in welcome["messages"]] == [
        (1, "opened", None, ""),
        (2, None, "c1", "Hello"),
    ]
    assert (welcome["seq"], welcome["reset"]) == (2, False)
    assert welcome["conversation"] == welcome["messages"][1]["conversation"]
    assert welcome["log"] == visitor.log
    assert welcome["site"] == {"key": "shop", "name": "Shop", "look": {"accent": "#123456"}}


async def test_a_repeated_id_gives_the_same_ack_and_creates_nothing(door):
    visitor = await door.arrive()
    first = await visitor.say("Hello", "c1")
    assert await visitor.say("Hello again", "c1") == first
    other = await door.arrive(token=visitor.token)
    assert await other.say("Hello", "c1") == first
    assert (await other.say("Next", "c2"))["seq"] == first["seq"] + 1


async def test_pipelined_messages_keep_their_order(door):
    visitor = await door.arrive()
    for number in range(50):
        await visitor.send({"type": "message", "id": f"c{number}", "text": str(number)})
    acks = [await visitor.until(lambda frame: frame["type"] == "ack") for _ in range(50)]
    assert [ack["id"] for ack in acks] == [f"c{number}" for number in range(50)]
    assert [ack["seq"] for ack in acks] == list(range(2, 52))


@pytest.mark.parametrize("fate", ["kept", "emptied", "every other lost"])
async def test_every_tab_gets_every_number_once_in_order(door, fate):
    """Four tabs of one visitor write at once, also while hints get lost: the log is the truth."""
    count = 0

    def change(hint):
        nonlocal count
        count += 1
        if fate == "emptied":
            return LogHint(hint.visitor)
        return hint if fate == "kept" or count % 2 else None

    door.wakeups.fate = change
    first = await door.arrive()
    tabs = [first] + [await door.arrive(token=first.token) for _ in range(3)]
    for number in range(25):
        for tab, visitor in enumerate(tabs):
            await visitor.send({"type": "message", "id": f"{tab}-{number}", "text": f"{tab}-{number}"})
    for tab, visitor in enumerate(tabs):
        own = 0
        while own < 25:
            own += (await visitor.until(is_message))["type"] == "ack"
        assert own == 25, tab
    door.wakeups.fate = lambda hint: hint
    await first.say("last", "last")
    for tab, visitor in enumerate(tabs):
        if tab:
            await visitor.until(lambda frame: frame.get("id") == "last")
        seqs = [frame["seq"] for frame in visitor.frames if is_message(frame)]
        assert seqs == list(range(1, 103)), tab
        acks = {frame["id"] for frame in visitor.frames if frame["type"] == "ack"}
        assert acks == {f"{tab}-{number}" for number in range(25)} | ({"last"} if tab == 0 else set())


async def test_a_client_that_was_away_gets_what_it_lacks(door):
    visitor = await door.arrive()
    await visitor.say("one")
    other = await door.arrive(token=visitor.token)
    await visitor.leave()
    for text in ("two", "three"):
        await other.say(text, text)
    welcome = await visitor.connect()
    assert [message["text"] for message in welcome["messages"]] == ["two", "three"]
    assert not welcome["reset"]


async def test_a_client_with_another_log_starts_anew(door):
    visitor = await door.arrive()
    await visitor.say("one")
    for changed in ({"log": "another"}, {"log": visitor.log, "after": 99}):
        welcome = await door.visitor(token=visitor.token, **({"after": 1} | changed)).connect()
        assert welcome["reset"]
        assert [message["text"] for message in welcome["messages"]] == ["", "one"]


async def test_history_gives_older_messages(door):
    visitor = await door.arrive()
    for number in range(3):
        await visitor.say(str(number))
    await visitor.send({"type": "history", "before": 4})
    history = await visitor.until(lambda frame: frame["type"] == "history")
    assert [message["text"] for message in history["messages"]] == ["", "0", "1"]
    assert history["more"] is False


async def test_reading_is_told_to_the_other_tabs_alone(door):
    visitor = await door.arrive()
    await visitor.say("one")
    other = await door.arrive(token=visitor.token)
    await visitor.send({"type": "read", "seq": 99})
    assert await other.receive() == {"type": "read", "seq": 2}
    await visitor.say("two")
    assert not [frame for frame in visitor.frames if frame["type"] == "read"]
    assert (await door.visitor(token=visitor.token).connect())["read"] == 2


async def test_what_staff_have_seen_is_told_to_every_tab_once_and_on_return(door):
    visitor = await door.arrive()
    assert visitor.frames[0]["seen"] == 0
    await visitor.say("one")
    other = await door.arrive(token=visitor.token)
    await visitor.say("two")
    conversation = ConversationId(int((await other.until(is_message))["conversation"]))
    for seq in (2, 2, 1, 3):
        await door.conversations.seen(conversation, seq)
    for tab in (visitor, other):
        assert [await tab.receive() for _ in range(2)] == [{"type": "seen", "seq": 2}, {"type": "seen", "seq": 3}]
    assert (await door.visitor(token=visitor.token).connect())["seen"] == 3


async def test_typing_and_deliveries_reach_the_visitor(door):
    visitor = await door.arrive()
    await visitor.say("one")
    id, conversation = VisitorId(int(visitor.frames[0]["visitor"])), ConversationId(1)
    door.wakeups.publish(TypingHint(id, conversation, Author(AuthorKind.VISITOR), on=True))
    door.wakeups.publish(TypingHint(id, conversation, Author(AuthorKind.STAFF, "Anna"), on=True))
    door.wakeups.publish(DeliveryHint(id, 2, DeliveryState.SENT))
    assert await visitor.receive() == {"type": "typing", "from": {"kind": "staff", "name": "Anna"}, "on": True}
    assert await visitor.receive() == {"type": "delivery", "of": 2, "state": "sent"}


async def test_a_delivery_never_goes_ahead_of_its_message(door):
    visitor = await door.arrive()
    await visitor.say("one")
    other = await door.arrive(token=visitor.token)
    door.wakeups.fate = lambda hint: None
    await visitor.say("two")
    door.wakeups.publish(DeliveryHint(VisitorId(int(visitor.frames[0]["visitor"])), 3, DeliveryState.SENT))
    assert [(await other.receive())["type"] for _ in range(2)] == ["message", "delivery"]


async def test_what_the_visitor_types_is_told_to_staff(door):
    heard = []
    visitor = await door.arrive()
    await visitor.send({"type": "typing", "on": True})  # no conversation yet: nobody to tell
    await visitor.say("one")
    end = door.wakeups.listen(heard.append)
    await visitor.send({"type": "typing", "on": True})
    hint = await eventually(lambda: next((hint for hint in heard if isinstance(hint, TypingHint)), None))
    assert (hint.on, hint.author.kind) == (True, AuthorKind.VISITOR)
    end()


# --- who is let in


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"site": "nothing"}, "unknown_site"),
        ({"origin": "https://evil.example"}, "origin_not_allowed"),
        ({"origin": None}, "origin_not_allowed"),
        ({"origin": "null"}, "origin_not_allowed"),
    ],
)
async def test_strangers_are_told_why_and_closed(door, changed, code):
    visitor = door.visitor(**changed)
    assert (await visitor.connect())["code"] == code
    assert await closed_with(visitor) == 1008


async def test_the_operator_is_told_once_where_an_origin_that_was_refused_would_be_added(door):
    with structlog.testing.capture_logs() as logged:
        for _ in range(2):
            await door.visitor(origin="https://new.shop.example").connect()
    (told,) = [line for line in logged if line["event"] == "origin_not_allowed"]
    assert told["origin"] == "https://new.shop.example"
    assert "sites.shop.origins" in told["remedy"]


async def test_our_own_pages_may_use_a_site(door):
    await door.arrive(origin=door.url, site="demo")


async def test_after_a_bad_token_the_socket_takes_another_hello(door):
    visitor = door.visitor(token="forged.token")
    assert (await visitor.connect())["code"] == "bad_token"
    await visitor.send({"type": "hello", "v": 1, "site": "shop", "token": None})
    assert (await visitor.receive())["type"] == "welcome"


async def test_an_expired_token_is_renewed_and_one_of_another_site_refused(door):
    visitor = await door.arrive()
    await visitor.say("one")
    door.clock.time += timedelta(days=60)
    again = await door.arrive(token=visitor.token)
    assert again.frames[0]["visitor"] == visitor.frames[0]["visitor"]
    assert again.token != visitor.token
    assert (await door.visitor(site="demo", origin=door.url, token=again.token).connect())["code"] == "bad_token"


def identity(id, key="site secret"):
    proof = hmac.new(key.encode(), id.encode(), hashlib.sha256).hexdigest()
    return {"identity": {"id": id, "name": "Ann", "email": None, "hash": proof}}


async def test_an_identity_finds_its_log_on_another_device(door):
    first = await door.arrive(hello=identity("u1"))
    await first.say("from the phone")
    second = await door.arrive(hello=identity("u1"))
    assert second.frames[0]["visitor"] == first.frames[0]["visitor"]
    assert [message["text"] for message in second.frames[0]["messages"]] == ["", "from the phone"]
    assert Tokens([b"secret"]).read(second.token, door.clock.now()).visitor == int(second.frames[0]["visitor"])


@pytest.mark.parametrize("wrote", [False, True], ids=["silent", "wrote"])
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
async def test_who_signs_in_at_the_same_browser_is_not_told_to_have_done_what_another_did(door, known, wrote):
    if known:
        await (await door.arrive(hello=identity("u2"))).say("from before")
    first = await door.arrive(hello=identity("u1"))
    if wrote:
        await first.say("hello")
    await first.send({"type": "track", "name": "Paid"})
    await first.send({"type": "history", "before": 1})
    await first.until(lambda frame: frame["type"] == "history")
    second = await door.arrive(token=first.token, hello=identity("u2"))
    await second.send({"type": "track", "name": "Looked"})
    await second.say("hi", "c2")
    again = await door.arrive(token=second.token)
    tracked = [each["text"] for each in again.frames[0]["messages"] if each.get("event") == "tracked"]
    assert tracked == ["Looked"]


async def test_what_a_guest_did_is_told_of_whom_the_guest_turns_out_to_be(door):
    known = await door.arrive(hello=identity("u1"))
    await known.say("from before")
    guest = await door.arrive()
    await guest.send({"type": "track", "name": "Looked"})
    await guest.send({"type": "history", "before": 1})
    await guest.until(lambda frame: frame["type"] == "history")
    signed_in = await door.arrive(token=guest.token, hello=identity("u1"))
    await signed_in.say("hi", "c2")
    again = await door.arrive(token=signed_in.token)
    tracked = [each["text"] for each in again.frames[0]["messages"] if each.get("event") == "tracked"]
    assert tracked == ["Looked"]


async def test_a_guests_other_tab_is_told_to_come_back_and_writes_no_log_of_its_own(door):
    known = await door.arrive(hello=identity("u1"))
    await known.say("from before", "c1")
    tab = await door.arrive()
    await tab.say("as a guest", "c2")
    other_tab = await door.arrive(token=tab.token)
    signed_in = await door.arrive(token=tab.token, hello=identity("u1"))
    assert [each["text"] for each in signed_in.frames[0]["messages"] if each["text"]] == ["from before", "as a guest"]
    assert await closed_with(tab) == await closed_with(other_tab) == 1012
    late = door.visitor(token=tab.token)
    assert (await late.connect())["code"] == "bad_token"
    # The tab that the person had signed in on before sees what came along.
    assert (await known.until(lambda frame: frame.get("text") == "as a guest"))["type"] == "message"


async def test_a_token_of_another_visitor_drops_what_the_client_holds(door):
    first, second = await door.arrive(), await door.arrive()
    for number in range(3):
        await first.say("first's", f"a{number}")
        await second.say("second's", f"b{number}")
    mixed = await door.arrive(token=second.token, log=first.log, after=first.after)
    welcome = mixed.frames[0]
    assert welcome["reset"]
    assert [each["text"] for each in welcome["messages"] if each["text"]] == ["second's"] * 3


async def test_a_message_whose_sender_was_cut_off_is_delivered_when_it_is_repeated(door):
    visitor = await door.arrive()
    told = []
    door.wakeups.listen(told.append)
    await visitor.say("hi", "c1")
    told.clear()
    await visitor.say("hi", "c1")
    assert any(type(hint).__name__ == "LogHint" for hint in told)


async def test_after_a_bad_identity_the_socket_takes_another_hello(door):
    visitor = door.visitor(hello=identity("u1", "guessed"))
    assert (await visitor.connect())["code"] == "bad_identity"
    await visitor.send({"type": "hello", "v": 1, "site": "shop"})
    assert (await visitor.receive())["type"] == "welcome"


# --- bad input


async def test_wrong_frames_get_their_error_and_the_socket_stays(door):
    visitor = door.visitor()
    visitor.socket = await door.http.ws_connect(f"{door.url}/v1/socket", headers={"Origin": ORIGIN})
    await visitor.send({"type": "message", "id": "c0", "text": "too early"})
    assert await visitor.receive() == {
        "type": "error", "code": "bad_frame", "detail": "The first frame is a hello.", "id": "c0",
    }  # fmt: skip
    hello = {"type": "hello", "v": 1, "site": "shop"}
    await visitor.send(hello)
    assert (await visitor.receive())["type"] == "welcome"
    await visitor.send(hello)
    assert (await visitor.receive())["code"] == "bad_frame"
    for frame, code in [
        (b'{"type":"message","id":"c1","text":"\\ud800"}', "bad_frame"),
        (b'{"type":"message","id":"c1","text":"\\u0000"}', "bad_frame"),
        (b'{"type":"message","id":"c1","text":"' + b"x" * 4001 + b'"}', "too_long"),
        (b'{"type":"message","id":"c1","text":"","attachments":["none"]}', "bad_file"),
        (b'{"type":"message","id":"c1","text":"\xff"}', "bad_frame"),
    ]:
        await visitor.socket.send_frame(frame, WSMsgType.TEXT)
        error = await visitor.receive()
        assert (error["code"], error["id"]) == (code, "c1")
    assert (await visitor.say("still there"))["type"] == "ack"


async def test_who_keeps_sending_rubbish_is_closed(door):
    visitor = await door.arrive()
    for _ in range(20):
        await visitor.socket.send_str("rubbish")
    assert await closed_with(visitor) == 1008
    assert len([frame for frame in visitor.frames if frame["type"] == "error"]) == 20


async def test_who_never_says_hello_but_talks_on_is_closed(door):
    visitor = door.visitor()
    visitor.socket = await door.http.ws_connect(f"{door.url}/v1/socket", headers={"Origin": ORIGIN})
    for number in range(20):
        await visitor.send({"type": "message", "id": str(number), "text": "hi"})
    assert await closed_with(visitor) == 1008


async def test_a_frame_that_is_too_large_closes_with_1009(door):
    visitor = await door.arrive()
    await visitor.socket.send_str("x" * 70_000)
    assert await closed_with(visitor) == 1009


async def test_who_leaves_during_the_upgrade_fills_no_log(door, caplog):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", int(door.url.rpartition(":")[2]))) as client:
            client.sendall(
                b"GET /v1/socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
    await door.arrive()  # whoever came before was seen to
    assert not caplog.records


@pytest.mark.parametrize(
    "request_",
    [
        b"rubbish\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /v1/uploads HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_fills_no_log(door, request_, caplog):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.rpartition(":")[2]))
    writer.write(request_)
    assert b" 400 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert not caplog.records


async def test_who_says_no_hello_is_closed(door, monkeypatch):
    monkeypatch.setattr(socket_module, "_HELLO_WITHIN", 0.05)
    visitor = door.visitor()
    visitor.socket = await door.http.ws_connect(f"{door.url}/v1/socket", headers={"Origin": ORIGIN})
    assert await closed_with(visitor) == 1008


# --- too much


async def test_too_many_messages_and_conversations(tmp_path):
    async with opened(tmp_path, limits=Limits(messages_per_minute=3, conversations_per_hour=2)) as door:
        visitor = await door.arrive()
        assert [(await visitor.say("hi"))["type"] for _ in range(3)] == ["ack"] * 3
        error = await visitor.say("hi", "c9")
        assert (error["code"], error["id"]) == ("rate_limited", "c9")
        door.clock.passed += error["retry_after"]
        assert (await visitor.say("hi", "c9"))["type"] == "ack"
        assert (await (await door.arrive()).say("hi"))["type"] == "ack"
        error = await (await door.arrive()).say("hi")
        assert error["code"] == "rate_limited"
        assert error["retry_after"] > 600


async def test_a_refused_opening_does_not_count(tmp_path):
    async with opened(tmp_path, limits=Limits(conversations_per_hour=1)) as door:
        visitor = await door.arrive()
        for number in range(3):
            door.store.broken = {"append": StoreFull("full")}
            assert (await visitor.say("hi", f"c{number}"))["code"] == "store_full"
        door.store.broken = {}
        assert (await visitor.say("hi", "c1"))["type"] == "ack"


async def test_too_many_connections_of_one_address(tmp_path):
    async with opened(tmp_path, limits=Limits(connections_per_address=2)) as door:
        first, _ = await door.arrive(), await door.arrive()
        third = door.visitor()
        assert (await third.connect())["code"] == "rate_limited"
        assert await closed_with(third) == 1013
        await first.leave()
        await eventually(lambda: len(followers(door, first)) == 0)
        assert (await third.connect())["type"] == "welcome"


async def test_a_flood_of_small_frames_is_slowed_down(door):
    visitor = await door.arrive()
    for _ in range(80):
        await visitor.send({"type": "history", "before": 1})
    error = await visitor.until(lambda frame: frame["type"] == "error")
    assert error["code"] == "rate_limited"
    assert len(visitor.frames) == 1 + 60 + 1


async def test_a_reader_that_is_too_slow_is_dropped_and_slows_nobody(door, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_WAITING", 50)
    quick = await door.arrive()
    await quick.say("one")
    url = door.url.removeprefix("http://")
    host, port = url.split(":")
    slow = socket.create_connection((host, int(port)))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with slow:
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(
            slow,
            f"GET /v1/socket HTTP/1.1\r\nHost: {url}\r\nOrigin: {ORIGIN}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode(),
        )
        hello = json.dumps({"type": "hello", "v": 1, "site": "shop", "token": quick.token}).encode()
        await loop.sock_sendall(slow, bytes([0x81, 0xFE]) + len(hello).to_bytes(2, "big") + b"\0" * 4 + hello)
        await eventually(lambda: len(followers(door, quick)) == 2)
        text, count = "x" * 4000, 0
        async with asyncio.timeout(60):
            while len(followers(door, quick)) == 2:
                assert (await quick.say(text))["type"] == "ack"
                count += 1
    again = await door.arrive(token=quick.token, log=quick.log, after=quick.after - 3)
    assert [message["text"] for message in again.frames[0]["messages"]] == [text] * 3
    assert count >= 50


async def test_frames_of_every_length_arrive_whole_and_in_order(door):
    visitor = await door.arrive()
    (session,) = sessions(door)
    texts = ["x" * size for size in (0, 125, 126, 65_535, 65_536, 200_000, 1)]
    for text in texts:
        session._push(text.encode())
    session._wake()
    assert [(await visitor.socket.receive_str(timeout=20)) for _ in texts] == texts
    assert (await visitor.say("hello"))["type"] == "ack"


async def leave(visitor):
    await visitor.leave()


async def cut(visitor):
    visitor.socket._writer.transport.abort()


async def talk_rubbish(visitor):
    for _ in range(20):
        await visitor.send({"type": "nonsense"})
    assert await closed_with(visitor) == 1008


@pytest.mark.parametrize("end", [leave, cut, talk_rubbish])
async def test_a_socket_that_has_ended_is_freed_at_once(door, end):
    """Else it waits for the collector, which runs the more seldom the more is connected."""
    port = URL(door.url).port
    gc.disable()
    try:
        visitors = [await door.arrive() for _ in range(5)]
        for visitor in visitors:
            await visitor.say("hello")
        sockets = [weakref.ref(each) for each in alive(web.WebSocketResponse) if each._req.url.port == port]
        assert len(sockets) == len(sessions(door)) == 5
        for visitor in visitors:
            await end(visitor)
        await eventually(lambda: not any(socket() for socket in sockets) and not sessions(door))
    finally:
        gc.enable()


def alive(kind):
    return [each for each in gc.get_objects() if type(each) is kind]


def sessions(door):
    return [each for each in alive(Session) if each._services.conversations is door.conversations]


async def test_heartbeats_do_not_fall_due_in_the_same_moment(door):
    visitors = [await door.arrive() for _ in range(5)]
    port = URL(door.url).port
    due = {each._heartbeat_when for each in alive(web.WebSocketResponse) if each._req and each._req.url.port == port}
    assert len(due) == len(visitors)


async def test_who_only_waits_hears_that_the_socket_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(socket_module, "_ALIVE_EVERY", 0.2)
    async with opened(tmp_path) as door:
        visitor = await door.arrive()
        for _ in range(2):
            assert json.loads((await visitor.socket.receive(20)).data) == {"type": "alive"}


# --- when the store fails


@pytest.mark.parametrize(
    ("failure", "code"),
    [(StoreFull("full"), "store_full"), (StoreError("broken"), "unavailable"), (ValueError("a defect"), "unavailable")],
)
async def test_what_is_not_stored_is_not_acknowledged(door, failure, code):
    visitor = await door.arrive()
    door.store.broken = {"append": failure}
    error = await visitor.say("Hello", "c1")
    assert (error["type"], error["code"], error["id"]) == ("error", code, "c1")
    assert str(failure) not in error["detail"]
    door.store.broken = {}
    assert (await visitor.say("Hello", "c1"))["seq"] == 2


async def test_without_the_store_a_hello_is_put_off(door):
    door.store.broken = {"visitor": StoreError("broken")}
    visitor = door.visitor()
    assert (await visitor.connect())["code"] == "unavailable"
    assert await closed_with(visitor) == 1013
    assert not door.wakeups._followers


async def test_a_gap_that_cannot_be_read_ends_the_connection(door):
    visitor = await door.arrive()
    await visitor.say("one")
    other = await door.arrive(token=visitor.token)
    door.store.broken = {"entries": StoreError("broken")}
    door.wakeups.fate = lambda hint: LogHint(hint.visitor)
    await visitor.send({"type": "message", "id": "c2", "text": "two"})
    assert await closed_with(other) == 1013


# --- the end


async def test_on_stop_everybody_is_told_to_come_back(door):
    visitors = [await door.arrive() for _ in range(5)]
    closing = [asyncio.create_task(closed_with(visitor)) for visitor in visitors]
    await door.gateway.stop()
    assert await asyncio.gather(*closing) == [1012] * 5
    assert not door.wakeups._followers
    await door.gateway.stop()


async def test_a_port_in_use_is_one_sentence(door):
    port = int(door.url.rpartition(":")[2])
    with pytest.raises(StartError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use\."):
        bind("127.0.0.1", port)


# --- files


def form(content, type="image/png", name="a.png", field="file"):
    data = FormData(quote_fields=False)  # as browsers do
    data.add_field(field, content, filename=name, content_type=type)
    return data


async def upload(door, visitor, data, **headers):
    given = {"Origin": ORIGIN, "Authorization": f"Bearer {visitor.token}"} | headers
    async with door.http.post(f"{door.url}/v1/uploads", data=data, headers=given) as response:
        return response.status, await response.json(), response.headers


async def test_a_file_is_uploaded_sent_and_served(door):
    visitor = await door.arrive()
    status, file, headers = await upload(door, visitor, form(PNG))
    assert (status, file) == (201, {"id": file["id"], "name": "a.png", "type": "image/png", "size": len(PNG)})
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert (await visitor.say("", attachments=[file["id"]]))["type"] == "ack"
    welcome = await door.visitor(token=visitor.token).connect()
    attachment = welcome["messages"][-1]["attachments"][0]
    assert attachment["name"] == "a.png"
    async with door.http.get(door.url + attachment["url"]) as response:
        assert await response.read() == PNG
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["Content-Disposition"] == "inline; filename*=UTF-8''a.png"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]
    door.clock.time += timedelta(days=2)
    async with door.http.get(door.url + attachment["url"]) as response:
        assert response.status == 404


@pytest.mark.parametrize("type", ["text/html", "image/svg+xml", "application/xhtml+xml", "nonsense"])
async def test_what_could_hold_a_script_is_only_downloaded(door, type):
    visitor = await door.arrive()
    _, file, _ = await upload(door, visitor, form(b"<script>alert(1)</script>", type, "ü.html"))
    async with door.http.get(door.url + door.files.address(file["id"])) as response:
        assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%BC.html"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def broken(headers: bytes) -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="file"\r\n' + headers + b"\r\n\r\nx\r\n--b--\r\n"


BOUNDARY = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        (broken(b"no header"), BOUNDARY, 400, "bad_frame"),
        (broken(b"Long: " + b"x" * 70_000), BOUNDARY, 400, "bad_frame"),
        (b"no gzip", BOUNDARY | {"Content-Encoding": "gzip"}, 400, "bad_frame"),
        (form(b"x" * 100_001, "text/plain"), {}, 413, "too_large"),
        (form(b"x" * 1_000_000, "text/plain"), {}, 413, "too_large"),
        (form(b"MZ"), {}, 415, "bad_file"),
        (form(PNG, field="other"), {}, 400, "bad_frame"),
        (b"no form", {"Content-Type": "multipart/form-data"}, 400, "bad_frame"),
        (b"no form", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "bad_frame"),
        (b"no form", {}, 400, "bad_frame"),
        (form(PNG), {"Authorization": "Bearer nonsense"}, 401, "bad_token"),
        (form(PNG), {"Authorization": "Basic eA=="}, 401, "bad_token"),
        (form(PNG), {"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
    ],
)
async def test_uploads_that_are_refused(door, data, headers, status, code, caplog):
    visitor = await door.arrive()
    found, error, answered = await upload(door, visitor, data, **headers)
    assert not caplog.records
    assert (found, error["type"], error["code"]) == (status, "error", code)
    assert ("Access-Control-Allow-Origin" in answered) is ("Origin" not in headers)


PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + b"x" * 1000
LENGTH, CHUNKED = b"Content-Length: %d", b"Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("length", "body"),
    [
        (LENGTH % len(PART), PART),
        (LENGTH % (len(PART) + 2), PART + b"\r\n"),
        (LENGTH % (len(PART) + 5), PART + b"\r\n--b"),
        (LENGTH % (len(PART) + 7), PART + b"\r\n--b\r\n"),
        (CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (len(PART), PART)),
        (LENGTH % 5000, PART),  # and here the connection breaks off
        (CHUNKED, b"%x\r\n%b\r\n" % (len(PART), PART)),
        (CHUNKED, b"%x\r\n%b" % (len(PART) + 10, PART)),
    ],
)
async def test_of_an_upload_that_is_cut_short_nothing_is_kept(door, tmp_path, length, body):
    visitor = await door.arrive()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.rpartition(":")[2]))
    head = f"POST /v1/uploads HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\nAuthorization: Bearer {visitor.token}\r\n"
    writer.write(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n" + length)
    writer.write(b"\r\n\r\n" + body)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await door.gateway.stop()
    assert not answer or b"bad_frame" in answer
    assert list(tmp_path.glob("files/*/*")) == []


async def test_a_full_disk_refuses_uploads(door):
    visitor = await door.arrive()
    door.store.broken = {"add_file": StoreFull("full")}
    status, error, _ = await upload(door, visitor, form(PNG))
    assert (status, error["code"]) == (507, "store_full")


async def test_another_visitors_file_cannot_be_sent(door):
    visitor, other = await door.arrive(), await door.arrive()
    _, file, _ = await upload(door, visitor, form(PNG))
    assert (await other.say("", attachments=[file["id"]]))["code"] == "bad_file"


@pytest.mark.parametrize(("origin", "status"), [(ORIGIN, 204), ("https://evil.example", 403)])
async def test_a_browser_may_ask_before_it_uploads(door, origin, status):
    async with door.http.options(f"{door.url}/v1/uploads", headers={"Origin": origin}) as response:
        assert response.status == status
        assert ("Access-Control-Allow-Origin" in response.headers) is (status == 204)


# --- pages


async def test_the_loader_names_the_assets_and_is_known_again(door):
    async with door.http.get(f"{door.url}/widget.js") as response:
        script = await response.text()
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        etag = response.headers["ETag"]
    assert "__ASSETS__" not in script
    async with door.http.get(f"{door.url}/widget.js", headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    folder = script[script.index("/widget/") :].partition("/panel.js")[0]
    async with door.http.get(f"{door.url}{folder}/panel.js") as response:
        assert response.status == 200
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    async with door.http.get(f"{door.url}/widget/0000/panel.js") as response:  # of a page from before an upgrade
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-cache")
    for path in (f"{folder}/__init__.py", f"{folder}/package.json", f"{folder}/../app.py"):
        async with door.http.get(door.url + path) as response:
            assert response.status == 404


async def test_a_sites_look_can_be_cached_and_read_by_all(door):
    async with door.http.get(f"{door.url}/v1/sites/shop") as response:
        assert await response.json() == {"key": "shop", "name": "Shop", "look": {"accent": "#123456"}}
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Cache-Control"] == "public, max-age=60"
        assert len(await response.read()) < 100, "each page loads it"
    async with door.http.get(f"{door.url}/v1/sites/nothing") as response:
        assert (response.status, (await response.json())["code"]) == (404, "unknown_site")


async def test_the_demonstration_shop_is_there_where_its_site_is(door):
    async with door.http.get(f"{door.url}/demo") as response:
        assert response.url.path == "/demo/"
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "widget.js" in await response.text()
        assert "'unsafe" not in response.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in response.headers["Content-Security-Policy"]
    async with door.http.get(f"{door.url}/demo/nothing.html") as response:
        assert response.status == 404


async def test_health_and_readiness(door):
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/nothing", 404)):
        async with door.http.get(door.url + path) as response:
            assert response.status == status
    door.store.broken = {"append": StoreFull("full")}
    async with door.http.get(f"{door.url}/readyz") as response:
        assert response.status == 503


# --- adapters


async def test_an_adapter_is_called_at_its_mount(tmp_path):
    adapters = {AdapterName("test"): Pages(), AdapterName("desk"): Desk(), AdapterName("none"): object()}
    async with opened(tmp_path, adapters=adapters) as door:
        async with door.http.put(
            f"{door.url}/hooks/test/a/b?x=1", data=b"12345", headers={"User-Agent": "me"}
        ) as response:
            assert (response.status, response.headers["X-Seen"]) == (201, "1")
            assert json.loads(await response.read()) == {
                "method": "PUT", "path": "a/b", "query": {"x": "1"}, "size": 5, "agent": "me",
            }  # fmt: skip
        async with door.http.post(f"{door.url}/hooks/test", data=b"1") as response:
            assert json.loads(await response.read())["path"] == ""
        async with door.http.get(f"{door.url}/hooks/test/fail") as response:
            assert response.status == 500
            assert "secret" not in await response.text()
        async with door.http.post(f"{door.url}/hooks/test", data=b"x" * 5_000_001) as response:
            assert response.status == 413
        compressed = {"Content-Encoding": "gzip"}
        async with door.http.post(f"{door.url}/hooks/test", data=b"no gzip", headers=compressed) as response:
            assert response.status == 400
        async with door.http.get(f"{door.url}/desk", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (308, "/desk/")


async def test_a_stream_is_closed_when_its_client_goes(tmp_path):
    pages = Pages()
    async with opened(tmp_path, adapters={AdapterName("test"): pages}) as door:
        async with door.http.get(f"{door.url}/hooks/test/stream") as response:
            assert await response.content.readline() == b"data: 1\n"
            response.close()
        assert await eventually(lambda: pages.closed)
