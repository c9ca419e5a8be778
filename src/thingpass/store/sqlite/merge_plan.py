"""What to settle or merge next; pure.

Eight folds become a run of level 1, eight runs of a level one of the next: every sample is rewritten about
once for each eightfold growth, and a read looks into at most seven places of each level. A merge never takes
in more than `MOST_BYTES`: bigger runs stay as they are, which bounds memory and the time that a merge needs.
A week that is over is put together further, because nothing is added to it any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final, Protocol, TypeVar

from thingpass.store.sqlite.fresh import FoldRow
from thingpass.store.sqlite.runs import Run

FANOUT: Final = 8
MOST_BYTES: Final = 128 << 20


class _Sized(Protocol):
    @property
    def size_bytes(self) -> int: ...


S = TypeVar("S", bound=_Sized)


def next_settling(folds: Sequence[FoldRow], current_week: int) -> list[FoldRow]:
    """The folds to settle, oldest first; empty when there is nothing to do. `folds` by arrival."""
    for week, group in groupby(folds, key=lambda fold: fold.week):
        of_week = list(group)
        if len(of_week) >= FANOUT or week < current_week:
            return _within_size(of_week[:FANOUT]) or of_week[:1]
    return []


def next_merge(runs: Sequence[Run], current_week: int) -> list[Run]:
    """The runs to merge, neighbours in arrival order; empty when there is nothing to do. `runs` by arrival.

    Lower levels come first, because they make most of the places that a read must look into.
    """
    for level in sorted({run.level for run in runs}):
        for stretch in _stretches(runs, level):
            for start in range(len(stretch) - FANOUT + 1):
                chosen = _within_size(stretch[start : start + FANOUT])
                if len(chosen) > FANOUT // 2:
                    return chosen
    for week in sorted({run.week for run in runs if run.week < current_week}):
        chosen = _oldest_neighbours([run for run in runs if run.week == week])
        if chosen:
            return chosen
    return []


def _stretches(runs: Sequence[Run], level: int) -> list[list[Run]]:
    """Runs of the level and of one week that no other run lies between."""
    grouped = groupby(runs, key=lambda run: (run.week, run.level))
    return [list(stretch) for (_, its_level), stretch in grouped if its_level == level]


def _within_size(parts: Sequence[S]) -> list[S]:
    chosen: list[S] = []
    size = 0
    for part in parts:
        size += part.size_bytes
        if size > MOST_BYTES:
            break
        chosen.append(part)
    return chosen


def _oldest_neighbours(runs: Sequence[Run]) -> list[Run]:
    """The first two or more, counted from the oldest run, that fit into one."""
    for start in range(len(runs) - 1):
        chosen = _within_size(runs[start : start + FANOUT])
        if len(chosen) > 1:
            return chosen
    return []
