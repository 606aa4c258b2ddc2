"""Ids of visitors and conversations."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as some

from bridge.ids import mint

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@given(some.lists(some.integers(0, 5), max_size=50))
def test_ids_grow_with_time_and_no_two_are_alike(steps: list[int]) -> None:
    at, minted = NOW, []
    for step in steps:
        at += timedelta(milliseconds=step)
        minted.append((at, mint(at)))
    assert len({id for _, id in minted}) == len(minted)
    assert all(0 < id < 2**63 for _, id in minted)
    assert all(earlier[1] < later[1] for earlier in minted for later in minted if earlier[0] < later[0])


def test_no_two_of_a_millisecond_are_alike_in_any_thread() -> None:
    with ThreadPoolExecutor(4) as pool:
        minted = list(pool.map(mint, [NOW] * 20_000))
    assert len(set(minted)) == len(minted)
