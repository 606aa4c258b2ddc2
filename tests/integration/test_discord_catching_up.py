"""What staff do on Discord while the bridge is not listening arrives when it is: the whole bridge over sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

from adapters.discord import catching_up
from bridge import inbound
from bridge.app import App
from bridge.model import AdapterName
from bridge.ports import Clock, Link
from tests.clock import FastClock
from tests.emulators.base import Fault, Kind, eventually
from tests.emulators.discord import DiscordEmulator
from tests.emulators.discord.rest import Upload
from tests.emulators.discord.world import poll
from tests.house import Visitor, config_for, house
from tests.platforms import UNLIMITED
from tests.process import serving

anywhere = pytest.mark.parametrize("forum", [False, True], ids=["text", "forum"])


class Team:
    """A Discord server and a bridge to it that comes and goes, with one visitor and their thread."""

    def __init__(self, server: DiscordEmulator, http: ClientSession, data: Path) -> None:
        self.server, self.http = server, http
        self.config = config_for(data, {"discord": server.settings() | {"budget": UNLIMITED}})
        self.path = data / "config.toml"
        self.visitor = Visitor(http, "")
        self.thread = ""

    @asynccontextmanager
    async def listening(self, clock: Clock | None = None) -> AsyncIterator[App]:
        """Run the bridge, and let the visitor come back."""
        async with house(self.config, clock) as app:
            assert app.sinks[AdapterName("discord")].link.link is Link.UP
            await self.comes_back(app.url)
            yield app
            await self.visitor.leave()

    async def comes_back(self, url: str) -> None:
        self.visitor.url = url
        await self.visitor.connect()

    async def begins(self) -> None:
        """Let the visitor say the first words."""
        before = self.server.threads()
        await self.visitor.say("hello")
        self.thread = (await eventually(lambda: [each for each in self.server.threads() if each not in before]))[0]
        await eventually(lambda: len(self.server.messages(self.thread)) == 2)

    async def staff(self, *texts: str) -> list[str]:
        return [await self.server.staff_says(self.thread, text) for text in texts]

    async def hears(self, *texts: str) -> None:
        """Wait until the last of these texts is there; then there is nothing of staff's but these, in this order."""
        while self.said()[-1:] != [texts[-1]]:
            await self.visitor.receive()
        assert self.said() == list(texts)

    async def comes_to_have(self, *texts: str) -> None:
        """Wait until these are staff's texts, whatever they were on the way."""
        while self.said() != list(texts):
            await self.visitor.receive()

    def said(self) -> list[str]:
        """Return what of staff's the visitor has now."""
        return [text for text in self._log().values() if text is not None]

    def _log(self) -> dict[int, str | None]:
        shown: dict[int, str | None] = {}
        for frame in self.visitor.frames:
            for entry in [*frame.get("messages", ()), frame]:
                if entry["type"] == "revision" and entry["of"] in shown:
                    shown[entry["of"]] = None if entry.get("deleted") else entry["text"]
                elif entry["type"] == "message" and entry["from"]["kind"] == "staff":
                    assert shown.setdefault(entry["seq"], entry["text"]) == entry["text"]
        return shown

    def reads(self) -> int:
        return sum(call.method == "list_messages" for call in self.server.calls)


@asynccontextmanager
async def team(tmp_path: Path, *, forum: bool = False) -> AsyncIterator[Team]:
    async with DiscordEmulator(forum=forum) as server, ClientSession() as http:
        yield Team(server, http, tmp_path)
        assert server.violations == []


@anywhere
async def test_what_was_written_while_it_was_stopped_arrives_once_and_in_order(tmp_path: Path, forum: bool) -> None:
    async with team(tmp_path, forum=forum) as it:
        async with it.listening():
            await it.begins()
            await it.staff("before")
            await it.hears("before")
        await it.staff("one", "// a note", "two")
        async with it.listening():
            await it.hears("before", "one", "two")
            await it.staff("live")
            await it.hears("before", "one", "two", "live")
        async with it.listening():  # nothing comes again
            await it.staff("last")
            await it.hears("before", "one", "two", "live", "last")


@anywhere
async def test_edits_and_deletions_of_the_gap_arrive(tmp_path: Path, forum: bool) -> None:
    async with team(tmp_path, forum=forum) as it:
        async with it.listening():
            await it.begins()
            kept, edited, deleted, note = await it.staff("kept", "edited", "deleted", "// a note")
            await it.staff("end")
            await it.hears("kept", "edited", "deleted", "end")
        await it.server.staff_edits(it.thread, edited, "edited twice")
        await it.server.staff_edits(it.thread, kept, "// taken back")
        await it.server.staff_deletes(it.thread, deleted)
        await it.server.staff_edits(it.thread, note, "no note any more")
        (missed,) = await it.staff("missed")
        await it.server.staff_edits(it.thread, missed, "missed and edited")
        (gone,) = await it.staff("never seen")
        await it.server.staff_deletes(it.thread, gone)
        async with it.listening():
            await it.comes_to_have("edited twice", "end", "missed and edited", "no note any more")
            await it.server.staff_edits(it.thread, edited, "edited live")
            await it.staff("live")
            await it.comes_to_have("edited live", "end", "missed and edited", "no note any more", "live")


async def test_a_session_that_cannot_be_resumed_leaves_no_gap(tmp_path: Path) -> None:
    """RESUME is answered by op 9, the library begins anew at the stale address, READY comes a second time."""
    async with team(tmp_path) as it, it.listening():
        await it.begins()
        await it.staff("before")
        await it.hears("before")
        it.server.gateway.sessions.clear()
        await it.staff("in the gap")
        await it.server.disconnect()
        await eventually(lambda: it.server.gateway.identified == 2)
        await it.staff("after")
        await it.hears("before", "in the gap", "after")


async def test_a_session_that_is_resumed_reads_nothing_again(tmp_path: Path) -> None:
    async with team(tmp_path) as it, it.listening():
        await it.begins()
        await it.staff("before")
        await it.hears("before")
        reads = it.reads()
        await it.server.disconnect()
        await it.staff("in the gap")
        await eventually(lambda: it.server.gateway.resumed == 1)
        await it.staff("after")
        await it.hears("before", "in the gap", "after")
        assert it.reads() == reads


async def test_a_thread_that_was_archived_meanwhile_is_read(tmp_path: Path) -> None:
    async with team(tmp_path) as it:
        async with it.listening():
            await it.begins()
        await it.staff("one")
        it.server.archive(it.thread, locked=True)
        async with it.listening():
            await it.hears("one")


@pytest.mark.parametrize("archived", [False, True])
async def test_a_thread_that_was_quiet_for_long_is_read_where_discord_tells_that_it_is_active(
    tmp_path: Path, archived: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes in an archived thread makes it active."""
    monkeypatch.setattr(inbound, "_LIVE", 1)
    async with team(tmp_path) as it:
        async with it.listening() as app:
            await it.begins()
            other = Visitor(it.http, app.url)
            await other.connect()
            await other.say("hello")  # it takes the only place among the live ones
            await eventually(lambda: len(it.server.threads()) == 2)
            await other.leave()
        if archived:
            it.server.archive(it.thread)
        await it.staff("one")
        async with it.listening():
            await it.staff("live")
            await it.hears("one", "live")


async def of_another(it: Team, app: App) -> str:
    """Let another visitor write, and return their thread."""
    before = it.server.threads()
    other = Visitor(it.http, app.url)
    await other.connect()
    await other.say("hello")
    thread = (await eventually(lambda: [each for each in it.server.threads() if each not in before]))[0]
    await eventually(lambda: len(it.server.messages(thread)) == 2)
    await other.leave()
    return str(thread)


async def test_the_threads_that_were_written_in_last_are_read_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "_AT_ONCE", 1)  # what goes out side by side may arrive in any order
    async with team(tmp_path) as it:
        async with it.listening() as app:
            first = await of_another(it, app)
            await it.begins()
            last = await of_another(it, app)
        await it.staff("missed")
        async with it.listening():
            await it.hears("missed")
            await eventually(lambda: it.reads() == 3)
        read = [call.params["channel_id"] for call in it.server.calls if call.method == "list_messages"]
        assert read == [it.thread, last, first]


async def test_a_thread_that_is_slow_to_read_holds_up_no_other(tmp_path: Path) -> None:
    async with team(tmp_path) as it:
        async with it.listening() as app:
            await it.begins()
            other = await of_another(it, app)
        await it.staff("missed")
        await it.server.staff_says(other, "missed there")
        answered = asyncio.Event()
        fault = Fault("list_messages", Kind.SLOW, 100, where=lambda ask: ask["channel_id"] == other, answered=answered)
        it.server.faults.waiting.append(fault)
        async with it.listening():
            await it.hears("missed")
            answered.set()


async def test_what_comes_live_waits_for_what_was_missed(tmp_path: Path) -> None:
    async with team(tmp_path) as it:
        async with it.listening():
            await it.begins()
        await it.staff("missed")
        it.server.faults.add("list_messages", Kind.SLOW, seconds=0.5)
        async with it.listening():
            await eventually(lambda: it.server.faults.happened)
            (edited,) = await it.staff("live")
            await it.server.staff_edits(it.thread, edited, "live and edited")
            await it.hears("missed", "live and edited")


async def test_what_comes_with_the_connection_waits_too(tmp_path: Path) -> None:
    async with team(tmp_path) as it:
        async with it.listening():
            await it.begins()
        await it.staff("missed")
        it.server.gateway.at_ready = lambda: it.server.write(it.thread, "live")
        async with it.listening():
            await it.hears("missed", "live")


async def test_a_process_that_dies_while_it_catches_up_goes_on(tmp_path: Path) -> None:
    async with team(tmp_path) as it:
        async with it.listening():
            await it.begins()
        texts = [f"text {number}" for number in range(130)]
        await it.staff(*texts)
        second_page = Fault("list_messages", Kind.SLOW, seconds=60, where=lambda ask: ask["after"] != "0")
        it.server.faults.waiting.append(second_page)
        async with serving(it.path) as running:
            await it.comes_back(running.url)
            await eventually(lambda: it.server.faults.happened)
            await it.staff("live")
            running.process.kill()
            await running.process.wait()
        async with it.listening():
            await it.hears(*texts, "live")


@pytest.mark.parametrize("kind", [Kind.RATE_LIMIT, Kind.ERROR, Kind.CUT])
async def test_reading_is_patient(tmp_path: Path, kind: Kind) -> None:
    async with team(tmp_path) as it:
        async with it.listening():
            await it.begins()
        await it.staff("missed")
        it.server.faults.add("list_messages", kind, seconds=0.3)
        async with it.listening():
            await it.hears("missed")
        assert it.server.faults.happened


async def test_a_channel_that_the_bot_did_not_see_for_a_while_is_read(tmp_path: Path) -> None:
    """The connection stands all the time, and tells nothing."""
    async with team(tmp_path) as it, it.listening():
        await it.begins()
        await it.staff("before")
        await it.hears("before")
        it.server.forbid("VIEW_CHANNEL")
        await it.staff("unseen")
        it.server.allow("VIEW_CHANNEL")
        await it.staff("after")
        await it.hears("before", "unseen", "after")


async def test_an_outage_that_ends_leaves_no_gap(tmp_path: Path) -> None:
    async with team(tmp_path) as it, it.listening():
        await it.begins()
        await it.staff("before")
        await it.hears("before")
        it.server.server_goes()
        await it.staff("untold")
        it.server.server_returns()
        await it.staff("after")
        await it.hears("before", "untold", "after")


async def test_what_may_not_be_read_is_not_taken_for_deleted(tmp_path: Path) -> None:
    """Discord shows an empty history to who lacks the right."""
    async with team(tmp_path) as it:
        async with it.listening():
            await it.begins()
            await it.staff("before")
            await it.hears("before")
        it.server.forbid("READ_MESSAGE_HISTORY")
        reads = it.reads()
        async with it.listening():
            await eventually(lambda: it.reads() > reads)
            await it.staff("live")
            await it.hears("before", "live")


@pytest.mark.parametrize("known", [True, False])
async def test_what_might_not_be_read_is_read_when_it_may(tmp_path: Path, known: bool) -> None:
    async with team(tmp_path) as it:
        before = ["before"] if known else []
        async with it.listening():
            await it.begins()
            await it.staff(*before)
            if known:
                await it.hears(*before)
        await it.staff("missed")
        it.server.forbid("READ_MESSAGE_HISTORY")
        with capture_logs() as logs:
            async with it.listening():
                await eventually(lambda: any(line["event"] == "discord_thread_not_read" for line in logs))
                it.server.allow("READ_MESSAGE_HISTORY")
                await it.hears(*before, "missed")
        (told,) = [line for line in logs if line["event"] == "discord_thread_not_read"]
        assert "Read Message History" in told["reason"]


async def test_a_thread_that_was_deleted_takes_nothing_back(tmp_path: Path) -> None:
    async with team(tmp_path) as it:
        async with it.listening():
            await it.begins()
            await it.staff("before")
            await it.hears("before")
        it.server.delete_thread(it.thread)
        async with it.listening():
            await it.visitor.say("still there?")
            (successor,) = await eventually(it.server.threads)
            await it.server.staff_says(successor, "yes")
            await it.hears("before", "yes")


async def test_what_was_missed_has_its_files_and_the_names_of_the_server(tmp_path: Path) -> None:
    async with team(tmp_path) as it:
        async with it.listening():
            await it.begins()
        it.server.world.person("Anna", nick="Anna from support")
        content = f"ask <#{it.server.world.text_channel}> <@&{it.server.world.role_id}>"
        await it.server.staff_posts(it.thread, content, files=[Upload("a.txt", "text/plain", b"hello")])
        await it.server.staff_posts(it.thread, "", poll=poll("Which day?", "Monday"))
        async with it.listening():
            message = await it.visitor.hear() if not it.said() else staffs(it.visitor.frames[-1]["messages"])[0]
            assert message["from"]["name"] == "Anna from support"
            assert message["text"] == "ask #support @Threadbridge"
            (file,) = message["attachments"]
            async with it.http.get(it.visitor.url + file["url"]) as answer:
                assert await answer.read() == b"hello"
            await eventually(lambda: "Which day?" in it.server.messages(it.thread)[-1].text)
        notices = len(it.server.messages(it.thread))
        async with it.listening():  # nor is that told a second time
            await it.staff("last")
            await it.hears("ask #support @Threadbridge", "last")
        assert len(it.server.messages(it.thread)) == notices + 1


async def test_a_file_arrives_once_and_in_its_place_though_the_connection_ends_while_it_is_fetched(
    tmp_path: Path,
) -> None:
    async with team(tmp_path) as it, it.listening(FastClock()):
        await it.begins()
        answered = asyncio.Event()
        it.server.faults.waiting.append(Fault("download", Kind.SLOW, answered=answered))
        await it.server.staff_posts(it.thread, "see this", files=[Upload("a.txt", "text/plain", b"hello")])
        await it.staff("and this")
        await eventually(lambda: it.server.faults.happened)
        it.server.gateway.close(4004)  # after which the library connects no more, and all is built anew
        await eventually(lambda: it.server.gateway.identified == 2)
        answered.set()
        await it.hears("see this", "and this")
        await it.staff("last")
        await it.hears("see this", "and this", "last")
        (message, *_) = [frame for frame in it.visitor.frames if frame.get("text") == "see this"]
        (file,) = message["attachments"]
        async with it.http.get(it.visitor.url + file["url"]) as answer:
            assert await answer.read() == b"hello"


def staffs(entries: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    return [entry for entry in entries if entry["type"] == "message" and entry["from"]["kind"] == "staff"]  # type: ignore[index]


async def test_more_than_can_wait_in_memory_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.discord.inbox.PER_THREAD", 2)
    async with team(tmp_path) as it, it.listening():
        await it.begins()
        texts = [f"text {number}" for number in range(20)]
        await it.staff(*texts)
        await it.hears(*texts)


async def test_more_than_can_wait_while_threads_are_read_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.discord.inbox.PER_THREAD", 2)
    async with team(tmp_path) as it:
        async with it.listening():
            await it.begins()
        await it.staff("missed")
        answered = asyncio.Event()
        it.server.faults.waiting.append(Fault("list_messages", Kind.SLOW, answered=answered))
        async with it.listening():
            await eventually(lambda: it.server.faults.happened)
            texts = [f"text {number}" for number in range(20)]
            with capture_logs() as logs:
                await it.staff(*texts)
                await eventually(lambda: sum(line["event"] == "discord_inbox_full" for line in logs) == 18)
            answered.set()
            await it.hears("missed", *texts)


async def test_a_thread_that_discord_cannot_show_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "_PAUSE", 5.0)
    async with team(tmp_path) as it:
        async with it.listening() as app:
            await it.begins()
            other = Visitor(it.http, app.url)
            await other.connect()
            await other.say("hello")
            _, broken = await eventually(lambda: len(it.server.threads()) == 2 and it.server.threads())
            await eventually(lambda: len(it.server.messages(broken)) == 2)
        await it.staff("missed")
        await it.server.staff_says(broken, "missed there")
        fault = Fault("list_messages", Kind.ERROR, times=10_000, where=lambda ask: ask["channel_id"] == broken)
        it.server.faults.waiting.append(fault)
        async with it.listening(FastClock()) as app:
            await it.staff("live")
            await it.hears("missed", "live")
            calls = len(it.server.calls)
            await eventually(lambda: len(it.server.faults.happened) > 10)  # the third time
            again = [call for call in it.server.calls[calls:] if call.method == "list_messages"]
            assert {call.params["channel_id"] for call in again} == {broken}
            it.server.faults.waiting.clear()
            other.url = app.url
            welcome = await other.connect()
            if not any(entry.get("text") == "missed there" for entry in welcome["messages"]):
                assert (await other.hear())["text"] == "missed there"


async def test_a_bridge_that_stops_leaves_off_reading(tmp_path: Path) -> None:
    async with team(tmp_path) as it:
        async with it.listening():
            await it.begins()
        await it.staff("missed")
        answered = asyncio.Event()
        it.server.faults.waiting.append(Fault("list_messages", Kind.SLOW, answered=answered))
        with capture_logs() as logs:
            async with it.listening():
                await eventually(lambda: it.server.faults.happened)
        assert not [line for line in logs if line["event"] == "stopped_late"]
        assert "discord catching up" not in {task.get_name() for task in asyncio.all_tasks()}
        answered.set()
        async with it.listening():
            await it.hears("missed")
