"""Merging: several runs become one of the next level, in steps short enough that a fold can come between.

Each step is a transaction that copies a range of devices into the new run. Nobody sees the new run until the
last step puts it in the place of the old ones; a merge that is cut off leaves an incomplete run, which is
dropped at the next start.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import apsw

from thingpass.store.sqlite.chunks import join_chunks, split_chunk, unpack
from thingpass.store.sqlite.connection import Row
from thingpass.store.sqlite.runs import ChunkRow, Run, RunWriter, chunk_rows, drop_run, with_ceilings
from thingpass.store.sqlite.settling import CHUNK_SAMPLES

_STANDS_ALONE: Final = CHUNK_SAMPLES // 2  # samples of one arrival that are not joined with others
_STEP_CHUNKS: Final = 2_000  # to read in one step, about; 20 to 100 ms

_device_of = itemgetter(0)
_arrival_of = itemgetter(2)


class Merge:
    """Merges `runs`, neighbours in arrival order, of one week."""

    def __init__(self, connection: apsw.Connection, runs: Sequence[Run]) -> None:
        self._connection = connection
        self._runs = runs
        self._biggest = max(runs, key=lambda run: run.chunks)
        self._next_device: int | None = 0
        self._run = RunWriter(
            connection,
            level=max(run.level for run in runs) + 1,
            week=runs[0].week,
            arrivals=(runs[0].first_arrival, runs[-1].last_arrival),
            arrived_by_ms=max(run.arrived_by_ms for run in runs),
        )

    def step(self) -> bool:
        """Copies the next devices. False when all are done."""
        with self._connection:
            if self._next_device is None:
                self._run.complete()
                for run in self._runs:
                    drop_run(self._connection, run.number)
                return False
            start, end = self._next_device, self._end_of_step(self._next_device)
            merged: list[ChunkRow] = []
            for device, rows in groupby(self._read(start, end), key=_device_of):
                merged += with_ceilings(list(_merge_device(device, rows)))
            self._run.write(merged)
            self._next_device = end
        return True

    def reads_any(self, arrivals: Collection[int], runs: Collection[int]) -> bool:
        """It reads one of these folds or runs."""
        return any(run.number in runs for run in self._runs)

    def abandon(self) -> None:
        """Drops what was written; the old runs stay."""
        with self._connection:
            self._run.abandon()

    def _end_of_step(self, start: int) -> int | None:
        """The first device that is left for the next step; None when this step is the last."""
        chunks = max(1, _STEP_CHUNKS // len(self._runs))
        row: Row | None = self._connection.execute(
            f"SELECT device FROM {self._biggest.table} WHERE device > ? ORDER BY device LIMIT 1 OFFSET ?",
            (start, chunks),
        ).fetchone()
        return None if row is None else int(row[0])

    def _read(self, start: int, end: int | None) -> list[Row]:
        """Chunks of the devices, by device and then by arrival."""
        bound = "" if end is None else f" AND device < {end}"
        rows: list[Row] = []
        for run in self._runs:
            rows += self._connection.execute(
                f"SELECT * FROM {run.table} WHERE device >= ?{bound}", (start,)
            ).fetchall()
        rows.sort(key=itemgetter(0, 2, 1))
        return rows


def _merge_device(device: int, rows: Iterable[Row]) -> Iterator[ChunkRow]:
    """The chunks of one device, given by arrival, joined where they are small.

    Chunks of one arrival do not overlap. They stay together in what they are joined into, and joined chunks
    are neighbours in arrival: so of any two chunks one still arrived later as a whole.
    """
    waiting: list[Row] = []
    samples = 0
    for _, group in groupby(rows, key=_arrival_of):
        unit = list(group)
        size = sum(row[5] for row in unit)
        if size >= _STANDS_ALONE:
            yield from _joined(device, waiting)
            waiting, samples = [], 0
            yield from unit
            continue
        waiting += unit
        samples += size
        if samples >= CHUNK_SAMPLES:
            yield from _joined(device, waiting)
            waiting, samples = [], 0
    yield from _joined(device, waiting)


def _joined(device: int, rows: Sequence[Row]) -> list[ChunkRow]:
    if not rows:
        return []
    chunk = join_chunks([unpack(row[6]) for row in rows])
    return chunk_rows(device, rows[-1][2], split_chunk(chunk, CHUNK_SAMPLES))
