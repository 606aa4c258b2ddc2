"""Tells after the rounds what was driven in them: what never happened was not tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

_DRIVEN = "driven"


@pytest.fixture
def driven(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Return what a round counts what happened in it with; it is told at the end, also of a round that fails."""
    counts: Counter[str] = Counter()
    yield counts
    request.node.user_properties.append((_DRIVEN, {str(what): count for what, count in counts.items()}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what happened in each round, and in all."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    rounds = {
        report.nodeid.partition("::")[2]: Counter(counts)
        for report in reports
        for name, counts in getattr(report, "user_properties", ())
        if name == _DRIVEN
    }
    if not rounds:
        return
    terminalreporter.section("what was driven")
    for name, counts in rounds.items():
        terminalreporter.line(f"{name}: {_told(counts)}")
    if len(rounds) > 1:
        terminalreporter.line(f"{len(rounds)} rounds: {_told(sum(rounds.values(), Counter()))}")


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
