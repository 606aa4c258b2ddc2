"""Holds what visitors and staff see against what was said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tests.chaos.staff import MARK, Staff
from tests.chaos.visitors import Frame, Visitor
from tests.emulators.base import Emulator, Kind, Shown

_LOSES = {Kind.ERROR_AFTER, Kind.CUT_AFTER, Kind.SLOW}
"""Faults after which Telegram has what the gateway may not know of."""


class Verdict:
    """What is missing, what is wrong, and how many duplicates Telegram shows."""

    def __init__(
        self,
        visitors: Mapping[str, Visitor],
        staff: Mapping[str, Staff],
        emulators: Mapping[str, Emulator],
        cut_off: int,
    ) -> None:
        self.wrongs: list[str] = []
        self.duplicates = 0
        """Messages that stand more than once in a thread of Telegram's."""
        self._visitors = visitors
        self._staff = staff
        self._emulators = emulators
        self._cut_off = cut_off

    @property
    def allowed(self) -> int:
        """How many duplicates lost answers explain: by faults, or with a connection or the process (`cut_off`)."""
        telegram = self._emulators.get("telegram")
        happened = telegram.faults.happened if telegram else ()
        return self._cut_off + sum(kind in _LOSES for _, kind in happened)

    def missing(self) -> list[str]:
        """Return what visitors have yet to be told; when nothing is missing and nothing unsettled, all is at rest."""
        found = []
        for name, visitor in self._visitors.items():
            found += [f"{name}: {id} is not acknowledged" for id in visitor.said if id not in visitor.acknowledged]
            shown = {text.replace("\\", "") for text in visitor.shown().values()}
            for staff in self._staff.values():
                found += [f"{name}: is not shown {text}" for text in staff.shown_to(name) if text not in shown]
                found += [f"{name}: is shown {text}, which was deleted" for text in staff.deleted if text in shown]
        return found

    async def judge(self) -> None:
        """Note all that is wrong."""
        for visitor in self._visitors.values():
            self.wrongs += visitor.wrongs
            self.wrongs += self._of_visitor(visitor)
        for name, staff in self._staff.items():
            await self._of_platform(name, staff)
        for name, emulator in self._emulators.items():
            self.wrongs += [f"{name}: {violation}" for violation in emulator.violations]
        if self.duplicates > self.allowed:
            self.wrongs.append(f"Telegram shows {self.duplicates} messages again, {self.allowed} answers were lost")

    def _of_visitor(self, visitor: Visitor) -> Iterable[str]:
        """Yield what is wrong with a visitor's log: what they said, and what staff said to them, once and in order."""
        own = [(frame["id"], frame["text"]) for frame in _from(visitor, "visitor")]
        said = sorted(visitor.said.items(), key=lambda item: visitor.acknowledged.get(item[0], 0))
        if own != said:
            yield f"{visitor.name}: said {said}, the log has {own}"
        heard = _marks(_from(visitor, "staff"))
        for name, staff in self._staff.items():
            told = [mark for mark in heard if mark.split("-")[1] == name]
            for author in "ab":
                theirs = [mark for mark in told if mark.endswith(author)]
                said = [text for text in staff.said[visitor.name] if text.endswith(author)]
                # What was deleted before it was heard need not be told
                if theirs != [text for text in said if text in theirs or text not in staff.deleted]:
                    yield f"{visitor.name}: {name} said {said}, heard {theirs}"
        if strangers := [mark for mark in heard if mark.split("-")[1] not in self._staff]:
            yield f"{visitor.name}: heard {strangers}"
        seqs = [frame["seq"] for frame in _from(visitor, "visitor")]
        if unsent := [seq for seq in seqs if visitor.deliveries.get(seq) != "sent"]:
            yield f"{visitor.name}: not told as sent: {[(seq, visitor.deliveries.get(seq)) for seq in unsent]}"

    async def _of_platform(self, name: str, staff: Staff) -> None:
        """Note what is wrong in a platform's threads."""
        at = {}
        for thread in await staff.platform.threads():
            shown = await staff.platform.shown(thread)
            whose = {mark.split("-")[0] for mark in _brought(shown, name) if mark.startswith("v")}
            if len(whose) > 1:
                self.wrongs.append(f"{name}: {sorted(whose)} in one thread")
            for visitor in whose:
                if visitor in at:
                    self.wrongs.append(f"{name}: {visitor} has two threads")
                at[visitor] = self._once(shown) if name == "telegram" else _brought(shown, name)
            if not whose and name != "telegram":
                self.wrongs.append(f"{name}: a thread of nobody's")
        for visitor in self._visitors.values():
            if name in visitor.destinations and at.get(visitor.name, []) != (due := _due(visitor, name)):
                self.wrongs.append(f"{name}: {visitor.name}'s thread is {at.get(visitor.name)}, not {due}")

    def _once(self, shown: Sequence[Shown]) -> list[str]:
        """Return the marks without those of messages that stand there already, which are counted."""
        seen: list[str] = []
        for message in shown:
            found = _brought([message], "telegram")
            if found and set(found) <= set(seen):
                self.duplicates += 1
            else:
                seen += found
        return seen


def _from(visitor: Visitor, kind: str) -> list[Frame]:
    """Return the messages of a kind of author, as they were first told."""
    return [frame for _, frame in sorted(visitor.log.items()) if frame.get("from", {}).get("kind") == kind]


def _marks(frames: Iterable[Frame]) -> list[str]:
    """Return the marks of entries; in staff's Markdown some characters are escaped."""
    return [mark for frame in frames for mark in MARK.findall(frame.get("text", "").replace("\\", ""))]


def _due(visitor: Visitor, platform: str) -> list[str]:
    """Return what is to stand in a visitor's thread: the log, without what was said in that thread."""
    entries = [frame for _, frame in sorted(visitor.log.items())]
    return [mark for mark in _marks(entries) if not mark.startswith(f"s-{platform}-")]


def _brought(shown: Sequence[Shown], platform: str) -> list[str]:
    """Return the marks of what was brought into a thread. At the desk other platforms' staff are staff too."""
    own = f"-{platform}-"
    return [
        mark
        for message in shown
        for mark in MARK.findall(message.text.replace("\\", ""))
        if message.by_bot or own not in mark
    ]
