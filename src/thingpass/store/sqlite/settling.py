"""Settling: folds become a run of the first level, and the latest values are brought up to date.

Here every sample is decoded, once, and laid into columns. It goes in steps by ranges of devices, each a
transaction, so that a fold can come between; the last step puts the run in the place of the folds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

import apsw

from thingpass.store.samples import decode_timed_values, encode_checked_value
from thingpass.store.sqlite.chunks import Chunk, chunk_from_samples, split_chunk
from thingpass.store.sqlite.connection import Row
from thingpass.store.sqlite.fresh import FoldRow, drop_folds, read_devices
from thingpass.store.sqlite.runs import ChunkRow, RunWriter, chunk_rows, with_ceilings

CHUNK_SAMPLES: Final = 512  # at most in a chunk; packed 1 to 6 kB

_DECODED_AT_ONCE: Final = 5_000  # samples of one device, unless one fold alone holds more
_STEP_BLOCKS: Final = 200  # to read in one step, about 12,000 samples: 20 to 50 ms
_END: Final = (1 << 63) - 1

_UPDATE_LATEST: Final = (
    "INSERT INTO latest (device, key, ts_ms, value) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET ts_ms = excluded.ts_ms, value = excluded.value WHERE excluded.ts_ms >= latest.ts_ms"
)


class Settling:
    """Settles `folds`, neighbours in arrival order, of one week. `removed` devices are left out."""

    def __init__(
        self, connection: apsw.Connection, folds: Sequence[FoldRow], removed: Collection[int]
    ) -> None:
        self._connection = connection
        self._folds = folds
        self._removed = removed
        self._biggest = max(folds, key=lambda fold: fold.size_bytes)
        self._next_device: int | None = 0
        self._run = RunWriter(
            connection,
            level=1,
            week=folds[0].week,
            arrivals=(folds[0].arrival, folds[-1].arrival),
            arrived_by_ms=max(fold.arrived_ms for fold in folds),
        )

    def step(self) -> bool:
        """Settles the next devices. False when all are done."""
        with self._connection:
            if self._next_device is None:
                self._run.complete()
                drop_folds(self._connection, [fold.arrival for fold in self._folds])
                return False
            start, end = self._next_device, self._end_of_step(self._next_device)
            rows: list[ChunkRow] = []
            newest: list[tuple[int, str, int, bytes]] = []
            for device, parts in self._read(start, _END if end is None else end):
                if device in self._removed:
                    continue
                its_rows: list[ChunkRow] = []
                for arrival, encoded in parts:
                    chunk = chunk_from_samples([decode_timed_values(sample) for sample in encoded])
                    its_rows += chunk_rows(device, arrival, split_chunk(chunk, CHUNK_SAMPLES))
                    newest += _newest(device, chunk)
                rows += with_ceilings(its_rows)
            self._run.write(rows)
            self._connection.executemany(_UPDATE_LATEST, newest)
            self._next_device = end
        return True

    def reads_any(self, arrivals: Collection[int], runs: Collection[int]) -> bool:
        """It reads one of these folds or runs."""
        return any(fold.arrival in arrivals for fold in self._folds)

    def abandon(self) -> None:
        """Drops what was written; the folds stay."""
        with self._connection:
            self._run.abandon()

    def _end_of_step(self, start: int) -> int | None:
        """The first device that is left for the next step; None when this step is the last."""
        blocks = max(1, _STEP_BLOCKS // len(self._folds))
        row: Row | None = self._connection.execute(
            "SELECT first_device FROM fresh WHERE arrival = ? AND first_device > ?"
            " ORDER BY first_device LIMIT 1 OFFSET ?",
            (self._biggest.arrival, start, blocks),
        ).fetchone()
        return None if row is None else int(row[0])

    def _read(self, start: int, end: int) -> list[tuple[int, list[tuple[int, list[bytes]]]]]:
        """By device: its samples in parts of bounded size, in arrival order, each with its last arrival."""
        by_device: defaultdict[int, list[tuple[int, list[bytes]]]] = defaultdict(list)
        for fold in self._folds:
            for device, samples in read_devices(self._connection, fold.arrival, start, end):
                parts = by_device[device]
                # A fold's samples of a device stay together: chunks of one arrival must not overlap.
                if parts and (parts[-1][0] == fold.arrival or len(parts[-1][1]) < _DECODED_AT_ONCE):
                    samples = parts.pop()[1] + samples
                parts.append((fold.arrival, samples))
        return sorted(by_device.items())


def _newest(device: int, chunk: Chunk) -> list[tuple[int, str, int, bytes]]:
    times = chunk.times
    return [
        (
            device,
            key,
            times[-1 if column.positions is None else column.positions[-1]],
            encode_checked_value(column.values[-1]),
        )
        for key, column in chunk.columns.items()
    ]
