"""Clients that repeat, reorder, duplicate or stall, on both transports: every text is kept once, and nobody waits."""

from __future__ import annotations

import asyncio
import json
import struct
from contextlib import asynccontextmanager

import pytest

from bridge.gateway import fallback as fallback_module
from bridge.gateway import socket as socket_module
from tests.emulators.base import eventually
from tests.house import ORIGIN
from tests.integration.test_fallback import Poster
from tests.integration.test_gateway import opened

TRANSPORTS = ["socket", "posts"]


@pytest.fixture
async def door(tmp_path):
    async with opened(tmp_path) as door:
        yield door


async def arrive(door, transport, token=None):
    """Return somebody who has said hello, and says texts in the transport's way."""
    if transport == "socket":
        return await door.arrive(token=token)
    poster = Poster(door, token)
    assert (await poster.hello())["type"] == "welcome"
    return poster


async def kept(door, token):
    """Return what the log holds of the visitor: number, client's id, text."""
    welcome = await door.visitor(token=token).connect()
    return [(each["seq"], each["id"], each["text"]) for each in welcome["messages"] if "id" in each]


async def at_once(client, *frames):
    """Send messages without waiting for any answer, and return the acks as they come."""
    if isinstance(client, Poster):
        answers = await asyncio.gather(*map(client.post, frames))
        return [body[0] for _, body, _ in answers]
    for frame in frames:
        await client.send(frame)
    return [await client.until(lambda frame: frame["type"] == "ack") for _ in frames]


def message(id, text):
    return {"type": "message", "id": id, "text": text}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_one_message_many_times_at_once_is_one(door, transport):
    client = await arrive(door, transport)
    acks = await at_once(client, *[message("c1", "Hello")] * 8)
    assert acks == [acks[0]] * 8
    assert await kept(door, client.token) == [(2, "c1", "Hello")]


async def test_one_message_by_both_transports_at_once_is_one(door):
    socket = await arrive(door, "socket")
    poster = await arrive(door, "posts", socket.token)
    for number in range(10):
        acks = await asyncio.gather(socket.say("Hello", f"c{number}"), poster.say("Hello", f"c{number}"))
        assert acks[0] == acks[1]
    assert [id for _, id, _ in await kept(door, socket.token)] == [f"c{number}" for number in range(10)]


async def test_what_was_cut_off_and_is_repeated_comes_with_its_delivery(door):
    client = await arrive(door, "socket")
    await client.say("Before", "c0")
    tab = await door.arrive(token=client.token)
    door.wakeups.fate = lambda hint: None  # cut off between the commit and its hint
    await (await arrive(door, "posts", client.token)).say("Hello", "c1")
    door.wakeups.fate = lambda hint: hint
    assert (await client.say("Hello", "c1"))["seq"] == 3
    shown = await tab.until(lambda frame: frame.get("id") == "c1")
    assert shown["delivery"] == "failed"  # as the store has it: this site has no destination


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_is_repeated_in_another_order_changes_nothing(door, transport):
    client = await arrive(door, transport)
    acks = [await client.say(f"text {number}", f"c{number}") for number in range(5)]
    before = await kept(door, client.token)
    again = await arrive(door, transport, client.token)
    backwards = [message(f"c{number}", f"another text {number}") for number in reversed(range(5))]
    assert sorted(await at_once(again, *backwards), key=lambda ack: ack["seq"]) == acks
    assert (await again.say("new", "c5"))["seq"] == acks[-1]["seq"] + 1
    assert (await kept(door, client.token))[:-1] == before


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_goes_back_gets_the_same_again(door, transport):
    client = await arrive(door, transport)
    for number in range(4):
        await client.say(f"text {number}", f"c{number}")
    for after in (3, 1, 5, 0, 2):
        again = door.visitor(token=client.token, log=client.log, after=after)
        welcome = await again.connect()
        assert [each["seq"] for each in welcome["messages"]] == list(range(after + 1, 6))
        poster = Poster(door, client.token)
        poster.log, poster.after = client.log, after
        async with poster.stream() as stream:
            assert (await stream.frame())["messages"] == welcome["messages"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_reading_backwards_and_beyond_the_end_is_harmless(door, transport):
    client = await arrive(door, transport)
    await client.say("one", "c1")
    await client.say("two", "c2")
    for seq in (3, 2, 999, 0):
        frame = {"type": "read", "seq": seq}
        await (client.post(frame) if transport == "posts" else client.send(frame))
    await client.say("three", "c3")
    assert (await door.visitor(token=client.token).connect())["read"] == 3


@asynccontextmanager
async def wire(door):
    """Open a bare connection to the gateway."""
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    yield reader, writer
    writer.close()


def head(method, path, poster):
    """Return the first lines of a request of a visitor's."""
    lines = f"{method} {path} HTTP/1.1", "Host: x", f"Origin: {ORIGIN}", f"Authorization: Bearer {poster.token}", ""
    return "\r\n".join(lines).encode()


HANDSHAKE = (
    "GET /v1/socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {ORIGIN}\r\n\r\n"
)


async def test_half_a_hello_ends_in_time_and_holds_nobody_up(door, monkeypatch):
    monkeypatch.setattr(socket_module, "_HELLO_WITHIN", 0.2)
    async with wire(door) as (reader, writer):
        writer.write(HANDSHAKE.encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\xa0\x00\x00\x00\x00" + b'{"type":"hel')  # 12 of 32 bytes
        other = await door.arrive()
        assert (await other.say("meanwhile"))["type"] == "ack"
        assert await asyncio.wait_for(reader.read(), 20)  # a close frame, then the end


async def test_who_is_told_to_go_while_it_sends_hears_why(door, monkeypatch):
    monkeypatch.setattr(socket_module, "_HELLO_WITHIN", 0.2)
    async with wire(door) as (reader, writer):
        writer.write(HANDSHAKE.encode())
        await reader.readuntil(b"\r\n\r\n")
        told = struct.pack(">BBH", 0x88, 2, 1008)
        assert (await reader.readuntil(told)).endswith(told)
        writer.write(b"\x81\x82\x00\x00\x00\x00{}")  # it was under way; a cut connection would answer with a reset
        writer.write(b"\x88\x82\x00\x00\x00\x00" + told[2:])
        assert await asyncio.wait_for(reader.read(), 20) == b""


async def test_half_a_post_ends_in_time_and_stores_nothing(door, monkeypatch):
    monkeypatch.setattr(fallback_module, "_BODY_WITHIN", 0.2)
    poster = await arrive(door, "posts")
    frame = json.dumps(message("c1", "Hello"))
    async with wire(door) as (reader, writer):
        writer.write(head("POST", "/v1/frames", poster) + f"Content-Length: {len(frame)}\r\n\r\n{frame[:-8]}".encode())
        other = await door.arrive()
        assert (await other.say("meanwhile"))["type"] == "ack"
        answer = await asyncio.wait_for(reader.readuntil(b"}"), 20)
    assert b" 503 " in answer
    assert b'"unavailable"' in answer
    assert await kept(door, poster.token) == []
    assert (await poster.say("Hello", "c1"))["type"] == "ack"


async def test_who_goes_in_the_middle_of_a_post_has_sent_nothing(door):
    poster = await arrive(door, "posts")
    frame = json.dumps(message("c1", "Hello"))
    async with wire(door) as (_, writer):
        writer.write(head("POST", "/v1/frames", poster) + f"Content-Length: {len(frame)}\r\n\r\n{frame[:-8]}".encode())
        await writer.drain()
    assert (await poster.say("Hello", "c1"))["seq"] == 2
    assert await kept(door, poster.token) == [(2, "c1", "Hello")]


async def test_who_stops_reading_a_stream_and_posts_on_is_dropped_alone(door, monkeypatch):
    monkeypatch.setattr(fallback_module, "_WRITTEN_WITHIN", 0.2)
    poster = await arrive(door, "posts")
    async with wire(door) as (_, writer), poster.stream() as quick:
        writer.transport.pause_reading()
        writer.write(head("GET", "/v1/stream", poster) + b"\r\n")
        following = door.wakeups._followers
        await eventually(lambda: len(following.get(poster.visitor, ())) == 2)
        count = 0
        while len(following.get(poster.visitor, ())) == 2:
            assert (await poster.say("🛰" * 4000, f"c{count}"))["type"] == "ack"
            count += 1
        texts = 0
        while texts < count:
            texts += "id" in await quick.frame()
