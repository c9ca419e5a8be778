"""The newest value of each key of a device."""

from __future__ import annotations

from collections.abc import Iterable

from thingpass.store.rows import DataPoint
from thingpass.store.store import SeriesStore


class LatestValues:
    def __init__(self, store: SeriesStore) -> None:
        self._store = store

    async def read(self, device_number: int, keys: Iterable[str] | None = None) -> dict[str, DataPoint]:
        """Of the keys that have one; of all keys when `keys` is None."""
        return await self._store.latest(device_number, keys)

    async def keys(self, device_number: int) -> list[str]:
        """The keys that the device ever sent, sorted."""
        return await self._store.series_keys(device_number)
