from __future__ import annotations

from collections.abc import Sequence

import pytest

from thingpass.store.sqlite.fresh import FoldRow
from thingpass.store.sqlite.merge_plan import FANOUT, MOST_BYTES, next_merge, next_settling
from thingpass.store.sqlite.runs import Run

NOW = 10  # the current week


def folds(*weeks: int, size: int = 1000) -> list[FoldRow]:
    return [FoldRow(number, week, 0, 1, size) for number, week in enumerate(weeks, start=1)]


def runs(*levels: int, week: int = NOW, size: int = 1000) -> list[Run]:
    return [
        Run(
            number=number,
            level=level,
            week=week,
            first_arrival=number,
            last_arrival=number,
            arrived_by_ms=0,
            first_ts=0,
            last_ts=1,
            chunks=1,
            samples=1,
            size_bytes=size,
        )
        for number, level in enumerate(levels, start=1)
    ]


def numbers(chosen: Sequence[Run]) -> list[int]:
    return [run.number for run in chosen]


@pytest.mark.parametrize(
    ("weeks", "chosen"),
    [
        ([], []),
        ([NOW] * (FANOUT - 1), []),
        ([NOW] * (FANOUT + 3), list(range(1, FANOUT + 1))),
        ([NOW - 1] * 2 + [NOW], [1, 2]),
        ([NOW - 2, NOW - 1, NOW], [1]),
    ],
)
def test_eight_folds_or_those_of_a_past_week_are_settled(weeks: list[int], chosen: list[int]) -> None:
    assert [fold.arrival for fold in next_settling(folds(*weeks), NOW)] == chosen


def test_fold_that_is_too_big_for_others_is_settled_alone() -> None:
    big = folds(*[NOW] * FANOUT, size=MOST_BYTES + 1)
    assert [fold.arrival for fold in next_settling(big, NOW)] == [1]


@pytest.mark.parametrize(
    ("levels", "chosen"),
    [
        ([], []),
        ([1] * (FANOUT - 1), []),
        ([1] * FANOUT, list(range(1, FANOUT + 1))),
        ([2] * 3 + [1] * FANOUT, list(range(4, FANOUT + 4))),
        ([2] * FANOUT + [1] * 3, list(range(1, FANOUT + 1))),
        ([1] * 4 + [2] + [1] * 4, []),  # not neighbours in arrival
    ],
)
def test_eight_neighbours_of_a_level_are_merged(levels: list[int], chosen: list[int]) -> None:
    assert numbers(next_merge(runs(*levels), NOW)) == chosen


def test_runs_of_different_weeks_stay_apart() -> None:
    mixed = runs(*[1] * 4, week=NOW) + runs(*[1] * 4, week=NOW + 1)
    assert next_merge(mixed, NOW) == []


def test_big_runs_are_left_alone_and_smaller_ones_behind_them_merged() -> None:
    assert next_merge(runs(*[3] * FANOUT, size=MOST_BYTES // 2), NOW) == []
    behind = runs(1, 1, size=MOST_BYTES) + runs(*[1] * (FANOUT + 2))[2:]
    assert numbers(next_merge(behind, NOW)) == list(range(3, FANOUT + 3))


def test_past_week_is_put_together_as_far_as_it_fits() -> None:
    assert numbers(next_merge(runs(3, 2, 1, week=NOW - 1), NOW)) == [1, 2, 3]
    halves = runs(3, 3, week=NOW - 1, size=MOST_BYTES // 2 + 1)
    assert next_merge(halves, NOW) == []
    assert next_merge(runs(4, week=NOW - 1), NOW) == []
