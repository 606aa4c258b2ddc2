"""What happens in a round and when: all of it from the seed, nothing from the clock or from how the round goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tests.emulators.base import Kind

ONE_CHAT = "one chat"
FILES = "files"
MIRROR = "mirror"
"""The site of which staff at two platforms see the same. What a platform that cannot edit makes of an edit is its
own, so that nobody edits there."""
EDITED = " edited"
FILLER = "a long story that a visitor tells. " * 8


class What(StrEnum):
    """Kinds of happenings."""

    SAY = "say"
    """A visitor writes, and sends files. The platform `how`, if any, never takes it."""
    DROP = "drop"
    """A visitor's connection is lost."""
    READ = "read"
    """A visitor has read everything so far, and types."""
    ANSWER = "answer"
    """Staff write in a visitor's thread, or send a file."""
    EDIT = "edit"
    """Staff change what they wrote."""
    DELETE = "delete"
    """Staff delete what they wrote."""
    TYPE = "type"
    """Staff type in a visitor's thread."""
    FAULT = "fault"
    """The platform's next calls meet a fault; with a text those to `one chat`, or each of those that carry `files`."""
    DOWN = "down"
    """The platform refuses every connection for `seconds`."""
    BAR = "bar"
    """The platform takes the right `how` away from the bot, and gives it back after `seconds`."""
    DISCONNECT = "disconnect"
    """The platform drops the bot's connections."""
    HOLD = "hold"
    """The platform's events wait for `seconds`, and come in another order where the platform promises none."""
    REPEAT = "repeat"
    """The platform tells its last event again."""
    CLOCK = "clock"
    """The clock of the gateway's host is off by `seconds` from now on: set forward, or back."""
    CUT = "cut"
    """Every visitor's connection is lost."""
    LOCK = "lock"
    """Another process locks the store for `seconds`."""
    FULL = "full"
    """The gateway finds no room on the disk for `seconds`."""
    KILL = "kill"
    """The process is killed at the point `how`, and stays dead for `seconds`."""
    STOP = "stop"
    """The process is stopped in order, and comes back after `seconds`."""
    HEAL = "heal"
    """Nothing goes wrong any more, and everything is connected."""


class Right(StrEnum):
    """What a bot may do."""

    CHANNEL = "into the channel"
    """To be in its channel at all; on Telegram, to make topics there."""
    FILES = "files"
    """To send files."""


class Point(StrEnum):
    """Where the process is killed."""

    ANYWHERE = "anywhere"
    COMMITTED = "committed, not acknowledged"
    ACCEPTED = "accepted by the platform, which has not answered"
    OPENED = "thread made by the platform, which has not answered"
    UNSETTLED = "accepted and answered, not settled"
    CARRIED = "file's bytes taken by the platform, which has not answered"
    SHARED = "file taken into the thread by the platform, which has not answered"


@dataclass(frozen=True)
class Happening:
    """One thing that happens, `at` seconds after the start; the clock stands while the process starts."""

    at: float
    what: What
    whom: str
    """A visitor or a platform; empty for the gateway."""
    text: str = ""
    how: str = ""
    times: int = 1
    seconds: float = 0.0
    files: Sequence[str] = ()
    """The marks of files."""

    def __str__(self) -> str:
        text = f"{self.text[:20]!r} ({len(self.text)})" if self.text else ""
        count = f"x{self.times}" if self.times > 1 else ""
        seconds = f"{self.seconds:.2f} s" if self.seconds else ""
        words = (f"{self.at:6.2f}", self.what, self.whom, self.how, text, *self.files, count, seconds)
        return " ".join(word for word in words if word)


@dataclass(frozen=True)
class Guest:
    """A visitor: where they come, and whether over plain HTTP."""

    name: str
    site: str
    destinations: Sequence[str]
    fallback: bool


@dataclass(frozen=True)
class Shape:
    """How much happens in a round."""

    seconds: float
    guests: int
    """Visitors for each site."""
    texts: int
    """What a visitor writes, and what staff answer, at most."""
    troubles: int
    """Faults for each platform."""
    deaths: int
    """How often the process is killed, or stopped."""


SHORT = Shape(seconds=2.5, guests=2, texts=5, troubles=2, deaths=1)
LONG = Shape(seconds=6.0, guests=3, texts=8, troubles=4, deaths=2)


@dataclass(frozen=True)
class Schedule:
    """A round."""

    seed: int
    kinds: Sequence[str]
    """How each platform is connected."""
    sites: dict[str, Sequence[str]]
    """The platforms of each site's destinations."""
    spread: bool
    """Whether a destination has two channels, where the platform has channels."""
    guests: Sequence[Guest]
    happenings: Sequence[Happening]

    def __str__(self) -> str:
        sites = [f"  site {site}: {', '.join(named)}" for site, named in self.sites.items()]
        guests = [f"  {each.name} at {each.site}{' over HTTP' if each.fallback else ''}" for each in self.guests]
        lines = [f"  {happening}" for happening in self.happenings]
        spread = ", over two channels" if self.spread else ""
        return "\n".join([f"seed {self.seed}: {', '.join(self.kinds)}{spread}", *sites, *guests, *lines])


_STALLS = 0.03
"""How rare those faults are that take all of the gateway's patience."""
_SHORT = [kind for kind in Kind if kind is not Kind.STALL]

MODES = {
    "slack": ("slack", "slack-http"),
    "telegram": ("telegram", "telegram-webhook"),
    "discord": ("discord", "discord-forum"),
    "desk": ("desk",),
}


def schedule(seed: int, platforms: Sequence[str], shape: Shape) -> Schedule:
    """Make the round of a seed."""
    dice = Random(seed)
    kinds = [dice.choice(MODES[platform]) for platform in platforms]
    sites: dict[str, Sequence[str]] = {platform: [platform] for platform in platforms}
    if len(platforms) > 1:
        sites[MIRROR] = dice.sample(list(platforms), 2)
    guests = [
        Guest(f"v{index}", site, sites[site], dice.random() < 0.25)
        for index, site in enumerate(site for site in sites for _ in range(shape.guests))
    ]
    happenings = [each for guest in guests for each in _talk(dice, guest, shape)]
    happenings += [each for platform in platforms for each in _troubles(dice, platform, shape)]
    happenings += list(_deaths(dice, platforms, shape))
    happenings += [Happening(shape.seconds, What.HEAL, "")]
    happenings.sort(key=lambda happening: happening.at)
    return Schedule(seed, kinds, sites, dice.random() < 0.5, guests, happenings)


def _talk(dice: Random, guest: Guest, shape: Shape) -> Iterator[Happening]:
    """Yield what a visitor does and who answers. Every text begins with a mark that no other text has."""
    number = guest.name[1:]
    refuses = dice.choice([*(platform for platform in guest.destinations if platform != "desk"), ""])
    arrives = dice.uniform(0, shape.seconds * 0.7)
    for index, at in enumerate(_times(dice, arrives, shape.seconds, dice.randint(2, shape.texts))):
        mark = f"v{number}-{index}"
        long = "".join(f" {mark}-{part} {FILLER}" for part in range(12)) if dice.random() < 0.1 else ""
        files = [f"{mark}f{file}" for file in range(dice.choice(_FILES))]
        alone = files and index and dice.random() < 0.5  # a thread is recognised by the first text
        how = ""
        if index and not files and not long and dice.random() < _REFUSED:
            how, refuses = refuses, ""
        yield Happening(at, What.SAY, guest.name, "" if alone else mark + long, how, files=files)
    yield Happening(dice.uniform(arrives, shape.seconds), What.READ, guest.name)
    if dice.random() < 0.6:
        yield Happening(dice.uniform(arrives, shape.seconds), What.DROP, guest.name)
    for platform in guest.destinations:
        for index, at in enumerate(_times(dice, arrives, shape.seconds, dice.randint(1, shape.texts))):
            note = "// n" if dice.random() < 0.15 else "s"
            about = f"-{platform}-{number}-{index}{dice.choice('ab')}"
            text = note + about
            when = at if index else shape.seconds + at / 4
            files = [f"f{about}"] if note == "s" and dice.random() < 0.25 else []
            text = dice.choice((text, "")) if files else text
            yield Happening(when, What.ANSWER, guest.name, text, platform, files=files)
            if platform in {"discord", "desk"} and dice.random() < 0.2:  # the others tell nobody
                yield Happening(dice.uniform(arrives, shape.seconds), What.TYPE, guest.name, how=platform)
            for what in _second_thoughts(dice, platform):
                if guest.site != MIRROR and text.startswith("s"):
                    yield Happening(dice.uniform(when, shape.seconds * 1.3), what, guest.name, text, platform)


def _second_thoughts(dice: Random, platform: str) -> Iterator[What]:
    """Yield what staff do to what they wrote. The desk knows neither; Telegram tells no bot of deletions."""
    if platform != "desk" and dice.random() < 0.2:
        yield from [What.EDIT] * dice.randint(1, 3)
    if platform in {"slack", "discord"} and dice.random() < 0.1:
        yield What.DELETE


_REFUSED = 0.2
"""How often a message is one that a platform never takes, until a visitor has written one."""
_FILES = (0, 0, 0, 0, 0, 1, 1, 2)
"""How many files a visitor's message has."""


def _times(dice: Random, start: float, end: float, count: int) -> list[float]:
    return sorted(dice.uniform(start, end) for _ in range(count))


_OTHERS = (What.DOWN, What.BAR, What.BAR, What.DISCONNECT, What.HOLD, What.REPEAT, What.REPEAT)


def _troubles(dice: Random, platform: str, shape: Shape) -> Iterator[Happening]:
    """Yield what goes wrong at a platform."""
    if platform == "desk":  # it is part of the gateway
        return
    for at in _times(dice, 0, shape.seconds, shape.troubles):
        match dice.choice((What.FAULT,) * 6 + _OTHERS):
            case What.FAULT:
                kind = Kind.STALL if dice.random() < _STALLS else dice.choice(_SHORT)
                where = dice.choice(("", "", "", "", ONE_CHAT, ONE_CHAT, FILES, FILES, FILES))
                times = dice.randint(1, 3)
                yield Happening(at, What.FAULT, platform, where, kind, times, dice.uniform(0.1, 1.0))
            case What.DOWN:
                yield Happening(at, What.DOWN, platform, seconds=dice.uniform(0.2, 1.5))
            case What.BAR:
                right = dice.choice(tuple(Right)) if platform == "discord" else Right.CHANNEL
                yield Happening(at, What.BAR, platform, how=right, seconds=dice.uniform(0.2, 2.0))
            case What.HOLD:
                yield Happening(at, What.HOLD, platform, seconds=dice.uniform(0.2, 1.5))
            case what:
                yield Happening(at, what, platform)


_OFF = 240.0
"""By how many seconds a clock may be off: Slack signs what it posts with the time, of which more is not accepted."""


def _deaths(dice: Random, platforms: Sequence[str], shape: Shape) -> Iterator[Happening]:
    """Yield what goes wrong at the gateway."""
    for at in _times(dice, shape.seconds * 0.15, shape.seconds * 0.9, shape.deaths):
        platform = dice.choice(platforms)
        points = (Point.ANYWHERE, Point.COMMITTED) if platform == "desk" else tuple(Point)
        if dice.random() < 0.85:
            yield Happening(at, What.KILL, platform, how=dice.choice(points), seconds=dice.uniform(0, 0.5))
        else:
            yield Happening(at, What.STOP, "", seconds=dice.uniform(0, 0.5))
    if dice.random() < 0.5:
        yield Happening(dice.uniform(0, shape.seconds), What.CUT, "")
    if dice.random() < 0.5:
        for at in _times(dice, 0, shape.seconds, dice.randint(1, 2)):
            yield Happening(at, What.CLOCK, "", seconds=dice.uniform(-_OFF, _OFF))
    for what in (What.LOCK, What.FULL):
        if dice.random() < 0.3:
            yield Happening(dice.uniform(0, shape.seconds), what, "", seconds=dice.uniform(0.1, 1.0))
