"""The series of devices: appended to the journal, read from memory and from series.db together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import apsw

from thingpass.clock import Clock
from thingpass.errors import ThingpassError
from thingpass.store.rows import DataPoint
from thingpass.store.samples import decode_sample
from thingpass.store.sqlite.database import Database
from thingpass.store.sqlite.directory import SERIES_DATABASE
from thingpass.store.sqlite.fold_schedule import FoldSchedule
from thingpass.store.sqlite.folded import FoldedSeries
from thingpass.store.sqlite.folding_process import FoldingProcess
from thingpass.store.sqlite.journal import decode_batch, encode_batch, insert_batch, last_id, read_batches
from thingpass.store.sqlite.part import Part
from thingpass.store.sqlite.points import UNFOLDED, PointRange, newest_points
from thingpass.store.sqlite.unfolded import Unfolded

_DECODED_ON_LOOP: Final = 1_000  # samples; more are decoded in the scan thread


class Series(Part):
    def __init__(
        self,
        database: Database,
        directory: Path,
        clock: Clock,
        *,
        unfolded_messages: int,
        fold_after_s: float,
    ) -> None:
        super().__init__(database)
        self._unfolded = Unfolded()
        self._unfolded_messages = unfolded_messages
        self._folded = FoldedSeries(directory / SERIES_DATABASE)
        self._process = FoldingProcess(directory)
        self._schedule = FoldSchedule(
            self._process,
            database,
            self._unfolded,
            self._folded,
            clock,
            unfolded_messages=unfolded_messages,
            fold_after_s=fold_after_s,
        )
        self._last_id = 0

    async def open_series(self) -> None:
        """Opens series.db and rebuilds the memory from the rest of the journal."""
        if not self._folded.is_current():
            await self._process.start()
        self._folded.open()
        folded_through = self._folded.folded_through()

        def read(connection: apsw.Connection) -> int:
            for journal_id, blob in read_batches(connection, folded_through, last_id(connection)):
                self._unfolded.add(journal_id, decode_batch(blob))
                if self._unfolded.open_weight >= self._unfolded_messages // 2:
                    self._unfolded.seal()
            return last_id(connection)

        # A backup may have brought back an older thingpass.db than series.db: ids go on above both.
        self._last_id = max(folded_through, await self._database.scan(read))
        self._schedule.start()

    async def close_series(self) -> None:
        await self._folded.close()
        await self._schedule.stop()

    @property
    def unfolded_messages_now(self) -> int:
        """How many samples wait in memory and journal to be folded."""
        return self._unfolded.messages

    @property
    def folding_pid(self) -> int | None:
        """The folding process, if it runs."""
        return self._process.pid

    @property
    def folding_fault(self) -> ThingpassError | None:
        """Why the last attempt to fold failed; None when it did not."""
        return self._schedule.fault

    async def fold_all(self) -> None:
        """Folds what is there now; returns when it is in series.db."""
        await self._schedule.fold_all()

    async def append_samples(self, encoded: Sequence[tuple[int, bytes]]) -> None:
        """Waits first while the memory is full of samples that are not folded."""
        if not encoded:
            return
        await self._schedule.wait_for_room()
        self._last_id += 1
        journal_id, blob, messages = self._last_id, encode_batch(encoded), len(encoded)
        await self._database.writer.submit(
            lambda connection: insert_batch(connection, journal_id, messages, blob), single_statement=True
        )
        self._unfolded.add(journal_id, encoded)
        self._schedule.added()

    async def latest(self, device_number: int, keys: Iterable[str] | None) -> dict[str, DataPoint]:
        wanted = None if keys is None else frozenset(keys)
        # Memory first: what is folded in between is then seen twice rather than not at all.
        unfolded = self._unfolded.samples(device_number)

        folded = await self._folded.latest(device_number, wanted)

        def newest() -> dict[str, DataPoint]:
            return newest_points(folded, map(decode_sample, unfolded), wanted)

        if len(unfolded) <= _DECODED_ON_LOOP:
            return newest()
        return await self._database.scan(lambda _: newest())

    async def series(
        self,
        device_number: int,
        keys: Sequence[str],
        *,
        start_ms: int,
        end_ms: int,
        limit: int,
        descending: bool = True,
    ) -> dict[str, list[DataPoint]]:
        kept_from_ms = self._folded.kept_from_ms()
        if kept_from_ms is not None:
            start_ms = max(start_ms, kept_from_ms)
        points = PointRange(keys, start_ms=start_ms, end_ms=end_ms, limit=limit, descending=descending)
        unfolded = self._unfolded.samples(device_number)
        await self._database.scan(lambda _: points.add_samples(UNFOLDED, map(decode_sample, unfolded)))
        await self._folded.add_points(device_number, points)
        return points.result()

    async def series_keys(self, device_number: int) -> list[str]:
        return sorted(await self.latest(device_number, None))

    async def drop_series_before(self, before_ms: int) -> None:
        """Retention: forgets samples with an earlier time.

        Reads no longer give them from now on. Their space is given back in whole runs: those whose samples
        are all older, and those that had arrived before that time (a sample that claims to be later than
        it arrived comes from a device whose clock is ahead; it goes with its run).
        """
        await self._schedule.drop_before(before_ms)
