"""One round: everybody acts as scheduled while things go wrong; then all heals, and both sides are judged."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import ClientSession, TCPConnector

from tests.chaos.gateway import Books, Gateway
from tests.chaos.killer import Killer
from tests.chaos.line import line
from tests.chaos.schedule import FILES, ONE_CHAT, Happening, Point, Right, Schedule, What
from tests.chaos.staff import PatientDesk, Staff
from tests.chaos.verdict import Refused, Verdict
from tests.chaos.visitors import FallbackVisitor, Visitor
from tests.emulators.base import Emulator, Fault, Kind
from tests.emulators.discord import DiscordEmulator
from tests.emulators.slack import SlackEmulator
from tests.emulators.slack.server import CHANNEL, OTHER_CHANNEL
from tests.emulators.telegram import TelegramEmulator
from tests.emulators.telegram.server import CHAT
from tests.emulators.uplink import slow_downlink
from tests.house import ORIGIN, config_for
from tests.platforms import Emulated, Platform, emulated

_SECOND_GROUP = -1001000000002
_TWO_CHANNELS = {
    "slack": f"slack:{CHANNEL},{OTHER_CHANNEL}",
    "telegram": f"telegram:{CHAT},{_SECOND_GROUP}",
}
_SLOW, _SOCKETS = 0.2, 100
"""How many seconds one of two sockets to Slack is slower than the other, and of how many pairs."""
_DISCORDS = {Right.CHANNEL: "VIEW_CHANNEL", Right.FILES: "ATTACH_FILES"}
_LIES_IN_WAIT = 3.0
_HEALS_WITHIN = 180.0
_LOOKS_EVERY = 0.2


async def play(schedule: Schedule, folder: Path, driven: Counter[str]) -> Verdict:
    """Play a round to its end, and count in `driven` what happened in it."""
    async with prepared(schedule, folder) as scene:
        scene.driven = driven
        await scene.happen()
        return await scene.judge()
    raise AssertionError


@asynccontextmanager
async def prepared(schedule: Schedule, folder: Path) -> AsyncIterator[Scene]:
    """Start the gateway and its platforms, and let the visitors come."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        scene = Scene(schedule, folder, tasks)
        await scene.prepare(stack)
        coming = [tasks.create_task(visitor.live(), name=name) for name, visitor in scene.visitors.items()]
        try:
            yield scene
        finally:
            for task in coming:
                task.cancel()


class Scene:
    """A gateway, its platforms, and who comes."""

    def __init__(self, schedule: Schedule, folder: Path, tasks: asyncio.TaskGroup) -> None:
        self.schedule = schedule
        self.visitors: dict[str, Visitor] = {}
        self.staff: dict[str, Staff] = {}
        self.emulators: dict[str, Emulator] = {}
        self.cut_off = 0
        """Messages to Telegram that were under way when a connection or the process ended."""
        self.driven: Counter[str] = Counter()
        """What has happened, and how often."""
        self._folder = folder
        self._tasks = tasks
        self._dice = Random(schedule.seed)
        self._troubles: list[asyncio.Task[None]] = []
        self._answers: list[asyncio.Task[None]] = []
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Whatever is down goes not down again before it is back."""
        self._running = asyncio.Event()
        self._without_files: list[tuple[float, float]] = []
        """From when to when Discord's bot had no right to send files."""

    async def prepare(self, stack: AsyncExitStack) -> None:
        """Start the platforms and the gateway."""
        laid = await stack.enter_async_context(line())
        http = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        platforms = [await self._platform(kind, stack) for kind in self.schedule.kinds]
        adapters = {platform.name: platform.settings() for platform in platforms}
        spread = _TWO_CHANNELS if self.schedule.spread else {}
        sites = {
            key: {"origins": [ORIGIN], "destinations": [spread.get(name, name) for name in named]}
            for key, named in self.schedule.sites.items()
        }
        config_for(self._folder, adapters, sites=sites, gateway={"port": 0, "public_url": laid.url})
        self.gateway = Gateway(self._folder / "config.toml", laid, http)
        self.books = Books(self._folder / "threadbridge.db")
        self.killer = Killer(self.gateway, self.books)
        for platform in platforms:
            platform.attach(self.gateway, http)  # type: ignore[arg-type]
        stack.push_async_callback(self.gateway.kill)
        await self.start()
        for guest in self.schedule.guests:
            made = FallbackVisitor if guest.fallback else Visitor
            self.visitors[guest.name] = made(guest, http, laid.url)

    async def _platform(self, kind: str, stack: AsyncExitStack) -> Platform:
        platform = PatientDesk() if kind == "desk" else await stack.enter_async_context(emulated(kind))
        self.staff[platform.name] = Staff(platform.name, platform)
        if isinstance(platform, Emulated):
            self.emulators[platform.name] = platform.emulator
        emulator = self.emulators.get(platform.name)
        if isinstance(emulator, TelegramEmulator):
            emulator.add_group(_SECOND_GROUP, "More support")
        if isinstance(emulator, SlackEmulator):
            emulator.http.retry_delays = (0, 0.5, 2)  # the real one's are a minute and five
            emulator.share_delay = Random(self.schedule.seed).choice((0.05, 2.0))
            if kind == "slack-http":
                emulator.in_order = True
            else:
                slow = await stack.enter_async_context(slow_downlink("127.0.0.1", emulator.port, _SLOW))
                emulator.socket_hosts = [f"127.0.0.1:{emulator.port}", slow.address] * _SOCKETS
        return platform

    # --- what happens

    async def happen(self) -> None:
        """Let everything happen at its time, and end."""
        passed = 0.0
        for happening in self.schedule.happenings:
            await self._running.wait()
            await asyncio.sleep(happening.at - passed)
            passed = happening.at
            if happening.what is What.HEAL:
                await self._heal()
            else:
                self._begin(happening)
        await asyncio.gather(*self._answers)

    async def _heal(self) -> None:
        """Let all that went wrong come to its end, and wait until every platform is connected."""
        await asyncio.gather(*self._troubles)
        for emulator in self.emulators.values():
            emulator.faults.waiting.clear()
        async with asyncio.timeout(_HEALS_WITHIN):
            while await self.gateway.measured("adapter_link", link="up") < len(self.staff):  # noqa: ASYNC110 - a process
                await asyncio.sleep(_LOOKS_EVERY)

    def _begin(self, it: Happening) -> None:
        self.driven[_named(it)] += 1
        match it.what:
            case What.SAY:
                if it.how:
                    self.emulators[it.how].refuse(it.text)
                self.visitors[it.whom].say(it.text, it.files)
            case What.READ:
                self.visitors[it.whom].look_up()
            case What.DROP:
                self.visitors[it.whom].drop()
            case What.CUT:
                for visitor in self.visitors.values():
                    visitor.drop()
            case What.ANSWER:
                self._answers.append(self.answer(it.whom, it.text, it.how, it.files))
            case What.TYPE:
                self._answers.append(self._tasks.create_task(self.staff[it.how].type(it.whom)))
            case What.EDIT | What.DELETE:
                change = self.staff[it.how].change(it.whom, it.text, deletes=it.what is What.DELETE)
                self._answers.append(self._tasks.create_task(change))
            case What.CLOCK:
                self.gateway.set_clock(it.seconds)
            case What.LOCK:
                self._do(self._lock(it))
            case What.FULL:
                self._do(self._fill(it))
            case What.KILL | What.STOP:
                self._do(self._death(it))
            case _:
                self._do(self._trouble(it, self.emulators[it.whom]))

    def answer(self, visitor: str, text: str, platform: str, files: Sequence[str] = ()) -> asyncio.Task[None]:
        """Let staff answer, as soon as there is a thread."""
        return self._tasks.create_task(self.staff[platform].answer(visitor, text, files))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self._troubles.append(self._tasks.create_task(work))

    async def _trouble(self, it: Happening, emulator: Emulator) -> None:
        """Let something go wrong at a platform."""
        match it.what:
            case What.FAULT:
                where = _in_one_chat(emulator) if it.text == ONE_CHAT else None
                methods = _carrying_files(emulator) if it.text == FILES else ("*",)
                # Ahead of the others, which otherwise happen to whatever call comes next
                emulator.faults.waiting[:0] = [
                    Fault(method, Kind(it.how), it.times, it.seconds, where) for method in methods
                ]
            case What.REPEAT:
                emulator.repeat(self._dice)
            case What.DISCONNECT:
                self._note_risk()
                await emulator.disconnect()
            case What.HOLD:
                emulator.events.hold()
                await asyncio.sleep(it.seconds)
                emulator.events.let_go(self._dice)
            case What.BAR:
                async with self._turns[it.whom]:
                    began, right = asyncio.get_running_loop().time(), Right(it.how)
                    _permit(emulator, right, given=False)
                    await asyncio.sleep(it.seconds)
                    _permit(emulator, right, given=True)
                    if right is Right.FILES:
                        self._without_files.append((began, asyncio.get_running_loop().time()))
            case What.DOWN:
                async with self._turns[it.whom]:
                    self._note_risk()
                    await emulator.go_down()
                    await asyncio.sleep(it.seconds)
                    await emulator.come_back()

    async def _lock(self, it: Happening) -> None:
        async with self.books.locked():
            await asyncio.sleep(it.seconds)

    async def _fill(self, it: Happening) -> None:
        with self.gateway.no_room():
            await asyncio.sleep(it.seconds)

    async def _death(self, it: Happening) -> None:
        """End the gateway, and start it again."""
        async with self._turns["gateway"]:
            if it.what is What.KILL:
                emulators = [self.emulators[it.whom]] if it.whom in self.emulators else []
                there = await self.kill(Point(it.how), emulators, _LIES_IN_WAIT)
                self.driven[f"{it.whom} killed {it.how if there else 'on the way to a point'}"] += 1
            else:
                await self.gateway.stop()
                self._note_risk()
            await asyncio.sleep(it.seconds)
            await self.start()

    async def kill(self, point: Point, emulators: Sequence[Emulator], within: float) -> bool:
        """Kill the gateway at a point, or anyway; tell whether it came there."""
        there = await self.killer.kill(point, emulators, within)
        self._note_risk()
        return there

    async def start(self) -> None:
        """Start the gateway. The schedule's clock stands meanwhile."""
        self._running.clear()
        await self.gateway.start()
        self._running.set()

    @property
    def _unshared(self) -> int:
        slack = self.emulators.get("slack")
        return slack.unshared if isinstance(slack, SlackEmulator) else 0

    def _note_risk(self) -> None:
        self.cut_off += self.books.claimed("telegram")

    def _refused_files(self) -> Counter[str]:
        """Return how often Discord refused files, by their names, while the bot had no right to send any."""
        discord = self.emulators.get("discord")
        calls = [call for call in discord.calls if call.status == 403] if discord else []
        refused = [call for call in calls if any(began <= call.at <= ended for began, ended in self._without_files)]
        return Counter(file["filename"] for call in refused for file in call.params.get("attachments", ()))

    # --- what came of it

    async def judge(self) -> Verdict:
        """Wait until nothing is under way any more, hold both sides against the truth, and stop."""
        texts = {(it.how, it.text) for it in self.schedule.happenings if it.what is What.SAY and it.how}
        refused = Refused(texts, self._refused_files())
        verdict = Verdict(self.visitors, self.staff, self.emulators, self.cut_off, refused)
        try:
            async with asyncio.timeout(_HEALS_WITHIN):
                while self.books.unsettled or self._unshared or verdict.missing():  # noqa: ASYNC110 - others' doing
                    await asyncio.sleep(_LOOKS_EVERY)
        except TimeoutError:
            verdict.wrongs += [f"{self.books.unsettled} deliveries are not settled", *verdict.missing()]
        for visitor in self.visitors.values():
            await visitor.look_afresh()
        await verdict.judge()
        await self.gateway.stop()
        for name, emulator in self.emulators.items():
            self.driven.update(f"{name} {what}" for what in _met(emulator))
            self.driven[f"{name} events overtaken"] = emulator.events.overtaken
        self.driven["seen typing"] = sum(visitor.typed for visitor in self.visitors.values())
        verdict.wrongs += [f"log: {defect}" for defect in self.gateway.defects]
        return verdict


def _named(it: Happening) -> str:
    """Return what a happening is counted as."""
    match it.what:
        case What.ANSWER | What.EDIT | What.DELETE | What.TYPE:
            return f"{it.how} {it.what}{' with a file' if it.files else ''}"
        case What.DOWN | What.DISCONNECT | What.HOLD | What.REPEAT:
            return f"{it.whom} {it.what}"
        case What.BAR:
            return f"{it.whom} {it.what} {it.how}"
        case What.SAY if it.how:
            return f"{it.what} what {it.how} never takes"
        case _:
            return f"{it.what} with a file" if it.files else it.what


def _met(emulator: Emulator) -> Iterator[str]:
    """Yield which faults calls have met."""
    carrying = [method for method in _carrying_files(emulator) if method != "create_message"]
    for method, kind in emulator.faults.happened:
        yield f"{kind} of {method}" if method in carrying else kind


def _permit(emulator: Emulator, right: Right, *, given: bool) -> None:
    """Give the bot a right, or take it away."""
    match emulator:
        case DiscordEmulator():
            (emulator.allow if given else emulator.forbid)(_DISCORDS[right])
        case SlackEmulator():
            for channel in (CHANNEL, OTHER_CHANNEL):
                (emulator.invite if given else emulator.dismiss)(channel)
        case TelegramEmulator():
            for group in emulator.world.groups.values():
                (group.rights.add if given else group.rights.discard)("can_manage_topics")


def _carrying_files(emulator: Emulator) -> Sequence[str]:
    """Return the calls that bring a file to a platform or from there, step by step."""
    match emulator:
        case DiscordEmulator():
            return "create_message", "download"
        case TelegramEmulator():
            return "sendDocument", "sendPhoto", "getFile", "download"
        case _:
            return "files.getUploadURLExternal", "upload", "files.completeUploadExternal", "download"


def _in_one_chat(emulator: Emulator) -> Callable[[Mapping[str, Any]], bool]:
    """Return which calls are about one of several chats, as a platform counts them."""
    match emulator:
        case DiscordEmulator():
            thread = next(iter(emulator.threads()), "")
            return lambda params: params.get("channel_id") == thread
        case TelegramEmulator():
            return lambda params: str(params.get("chat_id")) == str(CHAT)
        case _:
            return lambda params: params.get("channel") == CHANNEL
