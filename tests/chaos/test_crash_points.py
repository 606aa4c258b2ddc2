"""The process is killed at each point at which something could be lost or shown twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos.killer import sends
from tests.chaos.round import Scene, prepared
from tests.chaos.schedule import Guest, Point, Schedule
from tests.emulators.base import Emulator, Fault, Kind, eventually
from tests.platforms import delete

PLATFORMS = ("slack", "telegram", "discord")
WITHIN = 30.0


def one_visitor_each(kinds: Sequence[str]) -> Schedule:
    """Return a round in which nothing happens but what the test does."""
    names = [kind.partition("-")[0] for kind in kinds]
    guests = [Guest(f"v{index}", name, [name], fallback=False) for index, name in enumerate(names)]
    return Schedule(0, kinds, {name: [name] for name in names}, spread=False, guests=guests, happenings=())


async def settled(scene: Scene) -> None:
    await eventually(lambda: all(each.said.keys() == each.acknowledged.keys() for each in scene.visitors.values()))
    await eventually(lambda: not scene.books.unsettled)


async def killed(scene: Scene, point: Point) -> None:
    """Let each visitor say something, and kill the gateway when all of it has come to a point."""
    for name, visitor in scene.visitors.items():
        visitor.say(f"{name}-{len(visitor.said)}")
    assert await scene.kill(point, list(scene.emulators.values()), WITHIN)


def hold_next(emulator: Emulator) -> Fault:
    """Let the next message that comes into a thread be taken, and not be answered."""
    method, where = sends(emulator)
    emulator.faults.waiting.append(fault := Fault(method, Kind.SLOW, seconds=60, where=where))
    return fault


@pytest.mark.parametrize("point", [Point.ACCEPTED, Point.UNSETTLED], ids=lambda point: point.name.lower())
async def test_after_a_platform_took_a_message(point: Point, tmp_path: Path) -> None:
    async with prepared(one_visitor_each(PLATFORMS), tmp_path) as scene:
        for name, visitor in scene.visitors.items():
            visitor.say(f"{name}-0")
        await settled(scene)
        await killed(scene, point)
        await scene.start()
        verdict = await scene.judge()
        assert not verdict.wrongs, verdict.wrongs
        assert verdict.duplicates == 1, "only Telegram cannot be asked whether it took a message"


@pytest.mark.parametrize("point", [Point.CARRIED, Point.SHARED], ids=lambda point: point.name.lower())
async def test_after_a_platform_took_a_file(point: Point, tmp_path: Path) -> None:
    async with prepared(one_visitor_each(PLATFORMS), tmp_path) as scene:
        for name, visitor in scene.visitors.items():
            visitor.say(f"{name}-0")
        await settled(scene)
        for name, visitor in scene.visitors.items():
            visitor.say("", [f"{name}-1f0"])
        assert await scene.kill(point, list(scene.emulators.values()), WITHIN)
        await scene.start()
        verdict = await scene.judge()
        assert not verdict.wrongs, verdict.wrongs
        assert verdict.duplicates == 1, "only Telegram cannot be asked whether it took a file"


@pytest.mark.parametrize("kinds", [PLATFORMS, ("discord-forum",)], ids="+".join)
async def test_between_the_opening_of_a_thread_and_its_link(kinds: Sequence[str], tmp_path: Path) -> None:
    async with prepared(one_visitor_each(kinds), tmp_path) as scene:
        await killed(scene, Point.OPENED)
        await scene.start()
        verdict = await scene.judge()
        assert not verdict.wrongs, verdict.wrongs
        assert verdict.duplicates == 0
        threads = {name: len(emulator.threads()) for name, emulator in scene.emulators.items()}
        assert threads == {name: 2 if name == "telegram" else 1 for name in threads}, "an empty topic may stay behind"


async def test_while_a_thread_gets_its_successor(tmp_path: Path) -> None:
    async with prepared(one_visitor_each(PLATFORMS), tmp_path) as scene:
        for name, visitor in scene.visitors.items():
            visitor.say(f"{name}-0")
        await settled(scene)
        for emulator in scene.emulators.values():
            delete(emulator, emulator.threads()[0])
        await killed(scene, Point.OPENED)  # the successor is made, not linked
        held = [hold_next(emulator) for emulator in scene.emulators.values()]
        await scene.start()
        await eventually(lambda: all(fault.times == 0 for fault in held))
        await scene.gateway.kill()  # what went before is in the successor, which nobody knows
        await scene.start()
        await settled(scene)
        for name, emulator in scene.emulators.items():
            texts = [shown.text for thread in emulator.threads() for shown in emulator.messages(thread)]
            told = sum("takes no messages any more" in text for text in texts)
            assert told == 1 or (told == 2 and name == "telegram")
            assert [text.rpartition("-")[2] for text in texts].count("1") == 1


async def test_after_the_commit_and_before_the_acknowledgement(tmp_path: Path) -> None:
    async with prepared(one_visitor_each(["desk"]), tmp_path) as scene:
        (visitor,) = scene.visitors.values()
        visitor.say("v0-0")
        await settled(scene)
        await killed(scene, Point.COMMITTED)
        assert (len(visitor.acknowledged), scene.books.messages) == (1, 2)
        await scene.start()
        verdict = await scene.judge()
        assert not verdict.wrongs, verdict.wrongs
        assert scene.books.messages == 2


@pytest.mark.parametrize("kinds", [(*PLATFORMS, "desk"), ("slack-http", "telegram-webhook")], ids="+".join)
async def test_after_an_answer_was_committed_and_before_the_platform_was_told(
    kinds: Sequence[str], tmp_path: Path
) -> None:
    async with prepared(one_visitor_each(kinds), tmp_path) as scene:
        for name, visitor in scene.visitors.items():
            visitor.say(f"{name}-0")
        await settled(scene)
        for index, staff in enumerate(scene.staff.values()):
            await staff.thread(f"v{index}")
        scene.gateway.line.hold()
        answers = [scene.answer(f"v{index}", f"s-{name}-{index}-0a", name) for index, name in enumerate(scene.staff)]
        await eventually(lambda: scene.books.answers == len(kinds))
        await scene.kill(Point.ANYWHERE, (), WITHIN)
        await scene.start()
        for emulator in scene.emulators.values():
            emulator.repeat()
        await asyncio.gather(*answers)
        verdict = await scene.judge()
        assert not verdict.wrongs, verdict.wrongs


async def test_staff_answer_a_thread_whose_link_was_not_committed(tmp_path: Path) -> None:
    async with prepared(one_visitor_each(["slack", "discord"]), tmp_path) as scene:
        await killed(scene, Point.OPENED)
        for index, (name, emulator) in enumerate(scene.emulators.items()):
            (thread,) = emulator.threads()
            text = f"s-{name}-{index}-0a"
            scene.staff[name].said[f"v{index}"].append(text)
            await emulator.staff_says(thread, text)
        await scene.start()
        verdict = await scene.judge()
        assert not verdict.wrongs, verdict.wrongs
