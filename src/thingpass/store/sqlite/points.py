"""Puts the points of a device together from several places; pure.

Where two samples give the same key at the same time, the one that arrived later wins. `arrival` orders the
places: chunks of series.db carry theirs, what is still in memory is `UNFOLDED`, later than all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from thingpass.store.rows import DataPoint, Sample, Value

UNFOLDED: Final = 1 << 62


def newest_points(
    folded: dict[str, DataPoint], unfolded: Iterable[Sample], keys: frozenset[str] | None
) -> dict[str, DataPoint]:
    """`folded` brought up to date with samples in arrival order; only `keys`, or all when None."""
    newest = dict(folded)
    for sample in unfolded:
        ts_ms = sample.ts_ms
        for key, value in sample.values.items():
            if keys is None or key in keys:
                known = newest.get(key)
                if known is None or known.ts_ms <= ts_ms:
                    newest[key] = DataPoint(ts_ms, value)
    return newest


class PointRange:
    """Collects start_ms <= ts < end_ms of some keys and keeps the first `limit` of each in its direction."""

    def __init__(
        self, keys: Iterable[str], *, start_ms: int, end_ms: int, limit: int, descending: bool
    ) -> None:
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.descending = descending
        self._limit = limit
        self._found: dict[str, dict[int, tuple[int, Value]]] = {key: {} for key in keys}
        self.searched = tuple(self._found)

    def search_only(self, keys: Collection[str]) -> None:
        """From now on only these keys are added: nothing more is to be found of the others."""
        self.searched = tuple(key for key in self.searched if key in keys)

    def add_samples(self, arrival: int, samples: Iterable[Sample]) -> None:
        """Samples of one place, in arrival order."""
        for sample in samples:
            ts_ms = sample.ts_ms
            if self.start_ms <= ts_ms < self.end_ms:
                for key in self._found.keys() & sample.values.keys():
                    self._add(self._found[key], arrival, ts_ms, sample.values[key])
        self.narrow()

    def add_column(self, arrival: int, key: str, times: Sequence[int], values: Sequence[Value]) -> None:
        """Points of one key, each time once. Call `narrow` after the columns of a place."""
        found = self._found[key]
        start_ms, end_ms = self.start_ms, self.end_ms
        for ts_ms, value in zip(times, values, strict=True):
            if start_ms <= ts_ms < end_ms:
                self._add(found, arrival, ts_ms, value)

    @staticmethod
    def _add(found: dict[int, tuple[int, Value]], arrival: int, ts_ms: int, value: Value) -> None:
        known = found.get(ts_ms)
        if known is None or known[0] <= arrival:
            found[ts_ms] = (arrival, value)

    def narrow(self) -> None:
        """Moves start_ms (or end_ms) to what can still be in the answer, and forgets what cannot."""
        edges: list[int] = []
        for key in self.searched:
            found = self._found[key]
            if len(found) < self._limit:
                return
            kept = sorted(found, reverse=self.descending)[: self._limit]
            if len(found) > self._limit:
                self._found[key] = {ts_ms: found[ts_ms] for ts_ms in kept}
            if kept:
                edges.append(kept[-1])
        if not edges:
            return
        if self.descending:
            self.start_ms = max(self.start_ms, min(edges))
        else:
            self.end_ms = min(self.end_ms, max(edges) + 1)

    def result(self) -> dict[str, list[DataPoint]]:
        """In the asked direction; keys without points are left out."""
        answer: dict[str, list[DataPoint]] = {}
        for key, found in self._found.items():
            times = sorted(found, reverse=self.descending)[: self._limit]
            if times:
                answer[key] = [DataPoint(ts_ms, found[ts_ms][1]) for ts_ms in times]
        return answer
