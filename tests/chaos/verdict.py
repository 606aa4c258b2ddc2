"""Holds what visitors and staff see against what was said."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.files import file_of, mark_of
from tests.chaos.staff import MARK, Staff
from tests.chaos.visitors import Frame, Visitor
from tests.emulators.base import Emulator, Kind, Shown

_LOSES = {Kind.ERROR_AFTER, Kind.CUT_AFTER, Kind.CUT_WITHIN, Kind.LATE, Kind.STALL}
"""Faults after which Telegram has what the gateway may not know of."""

_FILE = re.compile(r"f-|v\d+-\d+f")
_REFUSED = "A message could not be delivered here"
_LOST = "The file {} could not be shown here"
_SHOWN = re.compile(f"{MARK.pattern}|{_REFUSED}|{_LOST.format('[^ ]+')}")
"""What is looked at in a thread: the marks, and what is told in the place of something."""
Marked = Sequence[tuple[bool, Sequence[str]]]
"""The messages of a thread: whether the gateway brought them, and their marks."""


@dataclass(frozen=True)
class Refused:
    """What platforms did not take: in its place something is told."""

    texts: Collection[tuple[str, str]]
    """Which platforms never take which."""
    files: Counter[str]
    """How often Discord refused files of these names while the bot had no right to send any."""


class Verdict:
    """What is missing, what is wrong, and how many duplicates Telegram shows."""

    def __init__(
        self,
        visitors: Mapping[str, Visitor],
        staff: Mapping[str, Staff],
        emulators: Mapping[str, Emulator],
        cut_off: int,
        refused: Refused,
    ) -> None:
        self.wrongs: list[str] = []
        self.duplicates = 0
        """Messages that stand more than once in a thread of Telegram's."""
        self._visitors = visitors
        self._staff = staff
        self._emulators = emulators
        self._cut_off = cut_off
        self._refused = refused
        self._lost: Counter[str] = Counter()
        """In the place of how many files something is told, by their names."""
        self._gone: set[str] = set()
        """The marks of these."""

    @property
    def allowed(self) -> int:
        """How many duplicates lost answers explain: by faults, or with a connection or the process (`cut_off`)."""
        telegram = self._emulators.get("telegram")
        happened = telegram.faults.happened if telegram else ()
        return self._cut_off + sum(kind in _LOSES and method.startswith("send") for method, kind in happened)

    def missing(self) -> list[str]:
        """Return what visitors have yet to be told; when nothing is missing and nothing unsettled, all is at rest."""
        found = []
        for name, visitor in self._visitors.items():
            found += [f"{name}: {id} is not acknowledged" for id in visitor.said if id not in visitor.acknowledged]
            shown = {text.replace("\\", "") for text in visitor.shown().values()}
            for staff in self._staff.values():
                found += [f"{name}: is not shown {text}" for text in staff.shown_to(name) if text not in shown]
                found += [f"{name}: is shown {text}, which was deleted" for text in staff.deleted if text in shown]
                found += [f"{name}: has not got {file}" for file in self._files_missing(visitor, staff)]
        return found

    def _files_missing(self, visitor: Visitor, staff: Staff) -> list[str]:
        got = {name for files in visitor.files().values() for _, name, _ in files}
        files = staff.sent_to(visitor.name)
        return [file for file in files if file_of(file, named=True).name not in got]

    async def judge(self) -> None:
        """Note all that is wrong."""
        for name, staff in self._staff.items():
            await self._of_platform(name, staff)
        for visitor in self._visitors.values():
            self.wrongs += visitor.wrongs
            self.wrongs += self._of_visitor(visitor)
        for name, emulator in self._emulators.items():
            self.wrongs += [f"{name}: {violation}" for violation in emulator.violations]
        if wrongly := self._lost - self._refused.files:
            self.wrongs.append(f"discord: told in the place of files that were not refused: {dict(wrongly)}")
        if self.duplicates > self.allowed:
            self.wrongs.append(f"Telegram shows {self.duplicates} messages again, {self.allowed} answers were lost")

    def _of_visitor(self, visitor: Visitor) -> Iterable[str]:
        """Yield what is wrong with a visitor's log: what they said, and what staff said to them, once and in order."""
        own = [(frame["id"], frame["text"], visitor.contents(frame)) for frame in _from(visitor, "visitor")]
        ids = sorted(visitor.said, key=lambda sent: visitor.acknowledged.get(sent, 0))
        if own != (said := [(id, visitor.said[id], list(visitor.sent[id])) for id in ids]):
            yield f"{visitor.name}: said {said}, the log has {own}"
        heard = _marks(visitor, "staff")
        for name, staff in self._staff.items():
            for author in "ab":
                told = [mark for mark in heard if mark.split("-")[1] == name and mark.endswith(author)]
                said = [mark for mark in staff.said[visitor.name] if mark.endswith(author)]
                # What was deleted before it was heard need not be told
                due = [mark for mark in said if mark in told or mark not in staff.deleted]
                if not (_same_but_for_late_files(told, due) if name == "telegram" else told == due):
                    yield f"{visitor.name}: {name} said {due}, heard {told}"
        if strangers := [mark for mark in heard if mark.split("-")[1] not in self._staff]:
            yield f"{visitor.name}: heard {strangers}"
        for frame in _from(visitor, "visitor"):
            taken = any((platform, frame["text"]) not in self._refused.texts for platform in visitor.destinations)
            told = visitor.deliveries.get(frame["seq"])
            due = "sent" if taken and not self._is_lost(visitor, frame) else "failed"
            if told != due:
                yield f"{visitor.name}: {frame['seq']} is told as {told}, not as {due}"

    def _is_lost(self, visitor: Visitor, frame: Frame) -> bool:
        """Tell whether a message was of files alone, and none of them stands anywhere."""
        return not frame["text"] and visitor.destinations == ["discord"] and self._gone >= set(visitor.contents(frame))

    async def _of_platform(self, name: str, staff: Staff) -> None:
        """Note what is wrong in a platform's threads."""
        at = {}
        for thread in await staff.platform.threads():
            shown = [(each.by_bot, await _marks_of(each, staff)) for each in await staff.platform.shown(thread)]
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
            if name not in visitor.destinations:
                continue
            stands = at.get(visitor.name, [])
            due = [_REFUSED if (name, mark) in self._refused.texts else mark for mark in _due(visitor, name)]
            if name == "discord":  # the others keep their right to send files
                due = self._without_lost(stands, due)
            # Slack shows a file when it has looked at it: behind later texts where that is not heard of within seconds
            if _apart(stands) != _apart(due) if name == "slack" else stands != due:
                self.wrongs.append(f"{name}: {visitor.name}'s thread is {stands}, not {due}")

    def _without_lost(self, stands: Sequence[str], due: Sequence[str]) -> list[str]:
        """Return what is due with what is told in the place of files, which is counted."""
        expected = list(due)
        for index, (there, mark) in enumerate(zip(stands, due, strict=False)):
            file = file_of(mark, named=mark.startswith("f-")).name
            if _FILE.match(mark) and there == _LOST.format(file):
                expected[index] = there
                self._lost[file] += 1
                self._gone.add(mark)
        return expected

    def _once(self, shown: Marked) -> list[str]:
        """Return the marks without those that stand there already; the messages that bring such are counted.

        What had no answer and is late by now is planned anew, so that it may come again along with what is new.
        """
        seen: list[str] = []
        for message in shown:
            found = _brought([message], "telegram")
            new = [mark for mark in found if mark not in seen]
            self.duplicates += len(new) < len(found)
            seen += new
        return seen


def _from(visitor: Visitor, *kinds: str) -> list[Frame]:
    """Return the messages of some kinds of authors, as they are told to who comes now."""
    return [frame for _, frame in sorted(visitor.log.items()) if frame.get("from", {}).get("kind") in kinds]


def _marks(visitor: Visitor, *kinds: str) -> list[str]:
    """Return the marks of entries and of their files; in staff's Markdown some characters are escaped."""
    return [
        mark
        for frame in _from(visitor, *kinds)
        for mark in (*MARK.findall(frame["text"].replace("\\", "")), *visitor.contents(frame))
    ]


def _due(visitor: Visitor, platform: str) -> list[str]:
    """Return what is to stand in a visitor's thread: the log, without what was said in that thread."""
    return [mark for mark in _marks(visitor, "visitor", "staff") if f"-{platform}-" not in mark]


def _apart(marks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the marks of texts and those of files, of which each are in order."""
    files = [mark for mark in marks if _FILE.match(mark)]
    return [mark for mark in marks if mark not in files], files


def _same_but_for_late_files(told: Sequence[str], due: Sequence[str]) -> bool:
    """Compare where a file that the platform was too slow with comes behind what was written and sent meanwhile."""
    texts, files = _apart(told)
    texts_due, files_due = _apart(due)
    return texts == texts_due and sorted(files) == sorted(files_due)


async def _marks_of(message: Shown, staff: Staff) -> list[str]:
    texts: list[str] = _SHOWN.findall(message.text.replace("\\", ""))
    return texts + [mark_of(content) for content in await staff.platform.files(message)]


def _brought(shown: Marked, platform: str) -> list[str]:
    """Return the marks of what was brought into a thread. At the desk other platforms' staff are staff too."""
    return [mark for by_bot, marks in shown for mark in marks if by_bot or f"-{platform}-" not in mark]
