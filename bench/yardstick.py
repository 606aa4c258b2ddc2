"""The yardstick: the least program that accepts a visitor's message, commits it durably and acknowledges it.

It speaks the first frames of the contract (hello, welcome, message, ack), keeps no rules and serves no platform.
What the product costs beside it, in one run and under one load, is the ratio that the benchmarks print.

python -m bench.yardstick --port 9300 --db FILE
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import sqlite3
import threading
import time

import msgspec
import uvloop
from aiohttp import WSMsgType, web

SCHEMA = """
create table conversation(id integer primary key, last_seq integer not null, updated real not null);
create table message(id integer primary key, conversation integer not null, seq integer not null,
    client_id text not null, body text not null, at real not null,
    unique(conversation, client_id), unique(conversation, seq));
create table delivery(id integer primary key, message integer not null, state text not null, due real not null);
create index due on delivery(due) where state = 'pending';
"""

Row = tuple[int, int, int, str, str, float]


class Hello(msgspec.Struct, tag_field="type", tag="hello"):
    site: str


class Message(msgspec.Struct, tag_field="type", tag="message"):
    id: str
    text: str


class GroupCommit:
    """Commit whatever has queued up while the previous commit ran, in one transaction."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._changed = threading.Condition()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript("pragma journal_mode=wal; pragma synchronous=full;" + SCHEMA)
        threading.Thread(target=self._run, daemon=True).start()

    def open_conversation(self, conversation: int) -> None:
        self._db.execute("insert into conversation values(?, 0, 0)", (conversation,))

    def append(self, row: Row) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._loop.create_future()
        with self._changed:
            self._waiting.append((row, done))
            self._changed.notify()
        return done

    def _run(self) -> None:
        update = "update conversation set last_seq=?, updated=? where id=?"
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                batch, self._waiting = self._waiting[:500], self._waiting[500:]
            rows = [row for row, _ in batch]
            self._db.execute("begin immediate")
            self._db.executemany("insert into message values(?, ?, ?, ?, ?, ?)", rows)
            self._db.executemany("insert into delivery values(?, ?, 'pending', ?)", [(r[0], r[0], r[5]) for r in rows])
            self._db.executemany(update, [(r[2], r[5], r[1]) for r in rows])
            self._db.execute("commit")
            self._loop.call_soon_threadsafe(self._finish, batch)

    @staticmethod
    def _finish(batch: list[tuple[Row, asyncio.Future[None]]]) -> None:
        for _, done in batch:
            if not done.done():
                done.set_result(None)


async def serve(port: int, db: str) -> None:
    decode = msgspec.json.Decoder(Hello | Message).decode
    encode = msgspec.json.Encoder().encode
    commits = GroupCommit(db, asyncio.get_running_loop())
    message_ids, conversations = itertools.count(1), itertools.count(1)
    welcome = encode({"type": "welcome", "v": 1, "token": "t", "seq": 0, "messages": []})

    async def socket(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False, heartbeat=25, decode_text=False)
        await ws.prepare(request)
        conversation, seq = next(conversations), 0
        async for frame in ws:
            match decode(frame.data):
                case Hello():
                    commits.open_conversation(conversation)
                    await ws.send_frame(welcome, WSMsgType.TEXT)
                case Message(id=client_id, text=text):
                    seq += 1
                    at = time.time()
                    await commits.append((next(message_ids), conversation, seq, client_id, text, at))
                    await ws.send_frame(encode({"type": "ack", "id": client_id, "seq": seq, "at": at}), WSMsgType.TEXT)
        return ws

    app = web.Application()
    app.router.add_get("/v1/socket", socket)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    gc.collect()
    gc.freeze()
    await asyncio.Event().wait()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--db", required=True)
    chosen = options.parse_args()
    uvloop.run(serve(chosen.port, chosen.db))


if __name__ == "__main__":
    main()
