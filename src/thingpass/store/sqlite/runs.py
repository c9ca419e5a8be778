"""Runs: sorted tables of chunks in series.db, and the catalogue that lists them.

A run is written from its first device to its last, instead of touching a page for each device in one big
table: with 100,000 devices that is what keeps the disk from being rewritten all the time. Merging keeps the
number of runs, and so the places that a read must look into, small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, TypeAlias

import apsw
import msgspec

from thingpass.store.sqlite.chunks import Chunk, pack
from thingpass.store.sqlite.connection import Row

ChunkRow: TypeAlias = tuple[int, int, int, int, int, int, bytes]
"""device, first_ts, arrival, last_ts, ceiling_ts, samples, chunk.

`arrival` orders chunks of one device: of two chunks with the same time, the higher one arrived later.
`ceiling_ts` is the greatest last_ts of this and all earlier chunks of the device in the run, so that a read
that goes backwards knows when nothing older can reach its range."""

_COLUMNS: Final = (
    "device INTEGER NOT NULL, first_ts INTEGER NOT NULL, arrival INTEGER NOT NULL, last_ts INTEGER NOT NULL,"
    " ceiling_ts INTEGER NOT NULL, samples INTEGER NOT NULL, chunk BLOB NOT NULL,"
    " PRIMARY KEY (device, first_ts, arrival)"
)
_TIGHT_FROM: Final = 12  # samples; smaller chunks are packed tight when they have been joined to bigger ones


class Run(msgspec.Struct, frozen=True):
    """One row of the catalogue; the fields are those of `runs` in the migration."""

    number: int
    level: int
    week: int
    first_arrival: int
    last_arrival: int
    arrived_by_ms: int
    first_ts: int
    last_ts: int
    chunks: int
    samples: int
    size_bytes: int

    @property
    def table(self) -> str:
        return _table(self.number)


_FIELDS: Final = ", ".join(Run.__struct_fields__)


class RunWriter:
    """Writes one run, device by device upwards. Readers see it when it is complete."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        level: int,
        week: int,
        arrivals: tuple[int, int],
        arrived_by_ms: int,
    ) -> None:
        self._connection = connection
        self._chunks = self._samples = self._size_bytes = 0
        self._first_ts, self._last_ts = (1 << 63) - 1, -(1 << 63)
        with connection:
            connection.execute(
                "INSERT INTO runs (level, week, first_arrival, last_arrival, arrived_by_ms, first_ts,"
                " last_ts, chunks, samples, size_bytes, complete) VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0)",
                (level, week, *arrivals, arrived_by_ms),
            )
            self._number = connection.last_insert_rowid()
            connection.execute(f"CREATE TABLE {_table(self._number)} ({_COLUMNS}) STRICT, WITHOUT ROWID")

    def write(self, rows: Sequence[ChunkRow]) -> None:
        """Rows in the order of device, first_ts, arrival, after all before: so pages are filled in order."""
        self._connection.executemany(f"INSERT INTO {_table(self._number)} VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._chunks += len(rows)
        for _, first_ts, _, last_ts, _, samples, chunk in rows:
            self._samples += samples
            self._size_bytes += len(chunk)
            self._first_ts = min(self._first_ts, first_ts)
            self._last_ts = max(self._last_ts, last_ts)

    def complete(self) -> None:
        """Shows the run to readers, or drops it when it stayed empty."""
        if self._chunks == 0:
            self.abandon()
            return
        self._connection.execute(
            "UPDATE runs SET first_ts = ?, last_ts = ?, chunks = ?, samples = ?, size_bytes = ?, complete = 1"
            " WHERE number = ?",
            (self._first_ts, self._last_ts, self._chunks, self._samples, self._size_bytes, self._number),
        )

    def abandon(self) -> None:
        drop_run(self._connection, self._number)


def chunk_rows(device: int, arrival: int, chunks: Iterable[Chunk]) -> list[ChunkRow]:
    """The rows of one device's chunks; `with_ceilings` completes them."""
    return [
        (
            device,
            chunk.times[0],
            arrival,
            chunk.times[-1],
            chunk.times[-1],
            len(chunk.times),
            pack(chunk, tight=len(chunk.times) >= _TIGHT_FROM),
        )
        for chunk in chunks
    ]


def with_ceilings(rows: list[ChunkRow]) -> list[ChunkRow]:
    """All rows of one device in a run, sorted, with their ceilings."""
    if len(rows) == 1:
        return rows
    rows.sort(key=_position)
    ceilings = accumulate((row[3] for row in rows), max)
    return [(*row[:4], ceiling, *row[5:]) for row, ceiling in zip(rows, ceilings, strict=True)]


def list_runs(connection: apsw.Connection) -> list[Run]:
    """All complete runs, in the order of arrival."""
    rows: list[Row] = connection.execute(
        f"SELECT {_FIELDS} FROM runs WHERE complete = 1 ORDER BY first_arrival"
    ).fetchall()
    return [Run(*row) for row in rows]


def list_runs_between(connection: apsw.Connection, start_ms: int, end_ms: int) -> list[Run]:
    """Complete runs that may have samples with start_ms <= ts < end_ms."""
    rows: list[Row] = connection.execute(
        f"SELECT {_FIELDS} FROM runs WHERE complete = 1 AND first_ts < ? AND last_ts >= ?", (end_ms, start_ms)
    ).fetchall()
    return [Run(*row) for row in rows]


def drop_run(connection: apsw.Connection, number: int) -> None:
    connection.execute(f"DROP TABLE {_table(number)}")
    connection.execute("DELETE FROM runs WHERE number = ?", (number,))


def drop_incomplete_runs(connection: apsw.Connection) -> None:
    """What a merge left that was cut off."""
    incomplete: list[Row] = connection.execute("SELECT number FROM runs WHERE complete = 0").fetchall()
    for (number,) in incomplete:
        drop_run(connection, number)


def remove_devices(connection: apsw.Connection, numbers: Iterable[int]) -> None:
    """Takes all chunks and latest values of devices out of every run, incomplete ones too."""
    bindings = [(number,) for number in numbers]
    runs: list[Row] = connection.execute("SELECT number FROM runs").fetchall()
    for (run,) in runs:
        connection.executemany(f"DELETE FROM {_table(run)} WHERE device = ?", bindings)
    connection.executemany("DELETE FROM latest WHERE device = ?", bindings)


def _table(number: int) -> str:
    return f"run_{number}"


def _position(row: ChunkRow) -> tuple[int, int]:
    return row[1], row[2]
