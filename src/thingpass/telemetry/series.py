"""Time ranges of a device's series."""

from __future__ import annotations

from collections.abc import Sequence

from thingpass.errors import Invalid
from thingpass.store.rows import DataPoint
from thingpass.store.store import SeriesStore


class SeriesService:
    def __init__(self, store: SeriesStore) -> None:
        self._store = store

    async def read(
        self,
        device_number: int,
        keys: Sequence[str],
        *,
        start_ms: int,
        end_ms: int,
        limit: int = 100,
        descending: bool = True,
    ) -> dict[str, list[DataPoint]]:
        """Points with start_ms <= ts < end_ms, at most `limit` of each key, newest first by default.

        Keys without points are left out. Raises Invalid for a range turned round and a limit below 1.
        """
        if end_ms < start_ms:
            raise Invalid("The end of the time range lies before its start.")
        if limit < 1:
            raise Invalid("The limit must be at least 1.")
        return await self._store.series(
            device_number, keys, start_ms=start_ms, end_ms=end_ms, limit=limit, descending=descending
        )
