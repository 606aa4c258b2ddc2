"""Files: durable, named safely, true to their type, served by signed addresses."""

import asyncio
import errno
import gc
import re
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.errors import BadFile, StoreError, StoreFull
from bridge.gateway.files import FileStore, clean_name, clean_type
from bridge.model import FileId, VisitorId

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


class TurnedClock:
    time = datetime(2026, 3, 1, 5, 0, tzinfo=UTC)

    def now(self):
        return self.time

    async def sleep(self, seconds):
        raise AssertionError


class Rows:
    def __init__(self):
        self.rows, self.error = {}, None

    async def add_file(self, file):
        if self.error:
            raise self.error
        self.rows[file.attachment.id] = file

    async def file(self, file):
        return self.rows.get(file)


@pytest.fixture
def rows():
    return Rows()


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
def files(tmp_path, rows, clock):
    return FileStore(tmp_path / "files", rows, b"secret", clock, limit=1000)


def parts(address):
    found = urlsplit(address)
    query = parse_qs(found.query)
    return found.path.rpartition("/")[2], query["e"][0], query["s"][0]


async def test_what_is_kept_can_be_read(files, rows):
    kept = await files.keep("a.png", "image/png", PNG, VisitorId(3))
    assert (kept.name, kept.type, kept.size) == ("a.png", "image/png", len(PNG))
    assert await files.read(kept.id) == PNG
    assert rows.rows[kept.id].owner == 3
    assert files.path(kept.id).parent.name == kept.id[:2]


async def test_a_picture_is_kept_once(files, rows):
    first = await files.keep_picture("U1.png", "image/png", PNG)
    assert await files.keep_picture("U2.png", "image/png", PNG) == first
    assert await files.keep_picture("U1.png", "image/png", PNG + b"1") != first
    assert await files.read(first) == PNG
    assert len(rows.rows) == 2
    with pytest.raises(BadFile):
        await files.keep_picture("U1.png", "image/png", b"<script>alert(1)</script>")


async def test_a_picture_that_comes_several_times_at_once_is_written_once(files, rows, monkeypatch):
    written, begun, goes_on = [], asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(path, content):
        written.append(path)
        loop.call_soon_threadsafe(begun.set)
        goes_on.wait(10)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

    monkeypatch.setattr("bridge.gateway.files._write", slow)
    cut_off = asyncio.create_task(files.keep_picture("U1.png", "image/png", PNG))
    await begun.wait()
    cut_off.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut_off
    others = [asyncio.create_task(files.keep_picture("U1.png", "image/png", PNG)) for _ in range(3)]
    await asyncio.sleep(0)
    goes_on.set()
    (kept,) = set(await asyncio.gather(*others))
    assert len(written) == len(rows.rows) == 1
    assert await files.read(kept) == PNG


async def test_who_is_cut_off_while_a_picture_is_refused_fills_no_log(files, rows, monkeypatch, caplog):
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def refuse(file):
        begun.set()
        await goes_on.wait()
        raise StoreFull("there is no room left for the store")

    monkeypatch.setattr(rows, "add_file", refuse)
    cut_off = asyncio.create_task(files.keep_picture("U1.png", "image/png", PNG))
    await begun.wait()
    cut_off.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut_off
    goes_on.set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    gc.collect()  # by which asyncio tells of what nobody asked for
    assert not caplog.records


@pytest.mark.parametrize(
    ("type", "content"),
    [
        ("image/png", b"<script>alert(1)</script>"),
        ("image/jpeg", PNG),
        ("image/webp", b"RIFF0000WAVE"),
        ("application/pdf", b"MZ"),
        ("text/plain", b""),
        ("text/plain", b"x" * 1001),
    ],
)
async def test_what_is_empty_too_large_or_not_what_it_says_is_not_kept(files, rows, type, content):
    with pytest.raises(BadFile):
        await files.keep("a", type, content)
    assert not rows.rows


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_a_disk_that_takes_no_more_is_an_error_of_the_store(files, rows, monkeypatch, number):
    def fail(*args):
        raise OSError(number, "no")

    monkeypatch.setattr("bridge.gateway.files._write", fail)
    with pytest.raises(StoreError) as caught:
        await files.keep("a", "text/plain", b"x")
    assert isinstance(caught.value, StoreFull) is (number != errno.EIO)
    assert not rows.rows


@pytest.mark.parametrize("error", [StoreFull("full"), StoreError("locked")], ids=["full", "locked"])
async def test_nothing_is_left_where_the_row_was_refused(files, rows, tmp_path, error):
    rows.error = error
    with pytest.raises(type(error)):
        await files.keep("a", "text/plain", b"x")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_the_bytes_stay_where_the_row_was_committed_although_nobody_said_so(files, rows, tmp_path):
    committed, add = [], rows.add_file

    async def add_file(file):
        await add(file)
        committed.append(file.attachment.id)
        raise StoreError("the answer was lost")

    rows.add_file = add_file
    with pytest.raises(StoreError):
        await files.keep("a", "text/plain", b"x")
    assert await files.read(committed[0]) == b"x"


@pytest.mark.parametrize("id", ["", "..", "../../etc/passwd", "A" * 32, "a" * 31, "a" * 31 + "/"])
async def test_an_id_never_leads_out_of_the_folder(files, id):
    with pytest.raises(FileNotFoundError):
        await files.read(FileId(id))


def test_an_address_lasts_a_day_and_stays_the_same_for_a_while(files, clock):
    address = files.address(FileId("f" * 32))
    assert re.fullmatch(r"/files/f{32}\?e=\d+&s=[0-9a-f]{32}", address)
    clock.time += timedelta(minutes=30)
    assert files.address(FileId("f" * 32)) == address
    clock.time += timedelta(hours=23, minutes=20)
    assert files.lasts(*parts(address)) > 0
    clock.time += timedelta(hours=7)
    assert files.lasts(*parts(address)) == 0


def test_a_changed_address_is_no_good(files, tmp_path, rows, clock):
    id, expires, signature = parts(files.address(FileId("f" * 32)))
    assert files.lasts(id, expires, signature)
    for bad in [
        ("e" * 32, expires, signature),
        (id, str(int(expires) + 1), signature),
        (id, expires, signature[:-1] + "g"),
        (id, expires, "é"),
        (id, "", ""),
        (id, "9" * 30, signature),
        (id, "٣", signature),
    ]:
        assert files.lasts(*bad) == 0
    assert FileStore(tmp_path, rows, b"other", clock).lasts(id, expires, signature) == 0


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a.png", "a.png"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\me\\cv.pdf", "cv.pdf"),
        ("..", "file"),
        ("", "file"),
        (".htaccess", "htaccess"),
        ("a\r\nb\0.txt", "ab.txt"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("\ud800.txt", "txt"),
        ("Größe 👩‍👩‍👧.jpg", "Größe 👩‍👩‍👧.jpg"),
        ("x" * 300 + ".jpeg", "x" * 115 + ".jpeg"),
    ],
)
def test_names_are_made_safe(given, shown):
    assert clean_name(given) == shown


@pytest.mark.parametrize(
    ("given", "type"),
    [
        ("Image/PNG; charset=x", "image/png"),
        ("image/jpg", "image/jpeg"),
        ("", "application/octet-stream"),
        ("text/html\r\nX: y", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
    ],
)
def test_types_are_made_plain(given, type):
    assert clean_type(given) == type
