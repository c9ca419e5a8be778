"""The series of devices: appended to the journal, read from memory and from series.db together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw

from thingpass.store.rows import DataPoint
from thingpass.store.samples import decode_sample
from thingpass.store.sqlite.database import Database
from thingpass.store.sqlite.journal import (
    decode_batch,
    encode_batch,
    insert_batch,
    last_id,
    read_batches,
)
from thingpass.store.sqlite.part import Part
from thingpass.store.sqlite.points import UNFOLDED, PointRange, newest_points
from thingpass.store.sqlite.unfolded import Unfolded


class Series(Part):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._unfolded = Unfolded()
        self._last_id = 0

    async def open_series(self) -> None:
        """Rebuilds the memory from the journal."""

        def read(connection: apsw.Connection) -> int:
            for journal_id, blob in read_batches(connection, 0, last_id(connection)):
                self._unfolded.add(journal_id, decode_batch(blob))
            return last_id(connection)

        self._last_id = await self._database.scan(read)

    async def append_samples(self, encoded: Sequence[tuple[int, bytes]]) -> None:
        if not encoded:
            return
        self._last_id += 1
        journal_id, blob, messages = self._last_id, encode_batch(encoded), len(encoded)
        await self._database.writer.submit(
            lambda connection: insert_batch(connection, journal_id, messages, blob), single_statement=True
        )
        self._unfolded.add(journal_id, encoded)

    async def latest(self, device_number: int, keys: Iterable[str] | None) -> dict[str, DataPoint]:
        wanted = None if keys is None else frozenset(keys)
        arrived = map(decode_sample, self._unfolded.samples(device_number))
        return newest_points({}, arrived, wanted)

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
        points = PointRange(keys, start_ms=start_ms, end_ms=end_ms, limit=limit, descending=descending)
        points.add_samples(UNFOLDED, map(decode_sample, self._unfolded.samples(device_number)))
        return points.result()

    async def series_keys(self, device_number: int) -> list[str]:
        return sorted(await self.latest(device_number, None))
