"""What the folding process does with series.db: folds the journal in, clears away, and tidies in between.

Tidying is settling folds and merging runs. It waits while there is something to fold; but the more folds lie
unsettled, the more of it is done before the next one, so that a server under full load for days does not run
into a wall.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import Final, Protocol

import apsw

from thingpass.errors import ThingpassError
from thingpass.store.sqlite.connection import Row, get_row, translated
from thingpass.store.sqlite.folding_messages import Answer, Done, DropBefore, Failed, Fold, Folded, Request
from thingpass.store.sqlite.fresh import WEEK_MS, drop_folds, group_by_device, list_folds, write_fold
from thingpass.store.sqlite.journal import decode_batch, read_batches
from thingpass.store.sqlite.merge_plan import next_merge, next_settling
from thingpass.store.sqlite.merging import Merge
from thingpass.store.sqlite.runs import drop_incomplete_runs, drop_run, list_runs, remove_devices
from thingpass.store.sqlite.settling import Settling

_SLICE_BYTES: Final = 32 << 20  # of journal that is folded in one transaction
_REMOVED_AT_ONCE: Final = 5_000  # devices; the rest go with the next fold
_EASY_FOLDS: Final = 12  # unsettled folds up to which tidying waits for folding
_TIDYING_S: Final = 0.05  # before each fold, for every unsettled fold beyond those


class _Tidying(Protocol):
    def step(self) -> bool: ...
    def abandon(self) -> None: ...
    def reads_any(self, arrivals: Collection[int], runs: Collection[int]) -> bool: ...


class Folder:
    """Carries out requests on `series`, reading the journal from `journal`."""

    def __init__(self, series: apsw.Connection, journal: apsw.Connection) -> None:
        self._series = series
        self._journal = journal
        self._tidying: _Tidying | None = None
        self._tidy = False  # nothing to do until the next fold
        self._week = 0
        with series:
            drop_incomplete_runs(series)

    def carry_out(self, request: Request) -> Iterator[Answer]:
        """The answers, each given when it is true."""
        try:
            with translated():
                match request:
                    case Fold():
                        yield from self._fold(request)
                    case DropBefore():
                        self._drop_before(request.before_ms)
        except ThingpassError as error:
            yield Failed(request.request, error.code, error.sentence)
        else:
            yield Done(request.request)

    def tidy_some(self) -> bool:
        """One step. False when there is nothing to do. Raises Unavailable; the next fold tries again."""
        with translated():
            if self._tidying is None and not self._tidy:
                self._tidying = self._next_tidying()
            if self._tidying is None:
                self._tidy = True
                return False
            try:
                if not self._tidying.step():
                    self._tidying = None
            except BaseException:
                self._abandon_tidying()
                self._tidy = True
                raise
            return True

    def _next_tidying(self) -> _Tidying | None:
        folds = next_settling(list_folds(self._series), self._week)
        if folds:
            return Settling(self._series, folds, self._removed_devices())
        runs = next_merge(list_runs(self._series), self._week)
        return Merge(self._series, runs) if runs else None

    def _fold(self, request: Fold) -> Iterator[Folded]:
        self._week = request.now_ms // WEEK_MS
        self._tidy_if_behind()
        cleared = self._clear_removed_devices()
        done = get_row(self._series, "SELECT folded_through FROM progress")[0]
        if done >= request.through:
            yield Folded(request.request, done, cleared)
            return
        removed = self._removed_devices()
        for through, batches in self._slices(done, request.through):
            by_device = group_by_device(batches, removed)
            write_fold(self._series, by_device, through=through, now_ms=request.now_ms)
            self._tidy = False
            yield Folded(request.request, through, cleared)

    def _slices(self, done: int, through: int) -> Iterator[tuple[int, list[list[tuple[int, bytes]]]]]:
        """The journal in pieces of bounded size, each with its last id."""
        batches: list[list[tuple[int, bytes]]] = []
        size = 0
        last = done
        for journal_id, blob in read_batches(self._journal, done, through):
            if size + len(blob) > _SLICE_BYTES and batches:
                yield last, batches
                batches, size = [], 0
            batches.append(decode_batch(blob))
            size += len(blob)
            last = journal_id
        if batches:
            yield last, batches

    def _tidy_if_behind(self) -> None:
        behind = get_row(self._series, "SELECT count(*) FROM folds")[0] - _EASY_FOLDS
        deadline = time.monotonic() + behind * _TIDYING_S
        try:
            while time.monotonic() < deadline and self.tidy_some():
                pass
        except ThingpassError:
            return  # what hinders tidying does not have to hinder folding; if it does, folding says so

    def _removed_devices(self) -> set[int]:
        rows: list[Row] = self._series.execute("SELECT number FROM removed_devices").fetchall()
        return {row[0] for row in rows}

    def _clear_removed_devices(self) -> tuple[int, ...]:
        """Clears the series of devices that the registry removed since; gives their numbers.

        What lies in unsettled folds goes when they are settled.
        """
        rows: list[Row] = self._journal.execute(
            "SELECT number FROM removed_devices ORDER BY number LIMIT ?", (_REMOVED_AT_ONCE,)
        ).fetchall()
        removed = tuple(int(row[0]) for row in rows)
        if removed:
            self._abandon_tidying()  # it may hold devices that are gone now
            with self._series:
                remove_devices(self._series, removed)
                self._series.executemany(
                    "INSERT OR IGNORE INTO removed_devices VALUES (?)", [(number,) for number in removed]
                )
        return removed

    def _drop_before(self, before_ms: int) -> None:
        folds = [fold.arrival for fold in list_folds(self._series) if fold.arrived_ms < before_ms]
        runs = [
            run.number
            for run in list_runs(self._series)
            if run.last_ts < before_ms or run.arrived_by_ms < before_ms
        ]
        if self._tidying is not None and self._tidying.reads_any(folds, runs):
            self._abandon_tidying()
        with self._series:
            drop_folds(self._series, folds)
            for number in runs:
                drop_run(self._series, number)
            self._series.execute(
                "UPDATE progress SET kept_from_ms = max(ifnull(kept_from_ms, ?1), ?1)", (before_ms,)
            )

    def _abandon_tidying(self) -> None:
        tidying, self._tidying = self._tidying, None
        self._tidy = False
        if tidying is not None:
            tidying.abandon()
