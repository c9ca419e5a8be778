"""Reading series.db: the latest values on the loop, ranges in a thread of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw

from thingpass.store.migrate import check_applied, load_migrations
from thingpass.store.rows import DataPoint, Sample
from thingpass.store.samples import decode_sample, decode_value
from thingpass.store.sqlite.chunks import unpack
from thingpass.store.sqlite.connection import Row, SqliteMigrations, get_row, open_connection, translate
from thingpass.store.sqlite.fresh import list_folds, read_device
from thingpass.store.sqlite.points import PointRange, newest_points
from thingpass.store.sqlite.runs import Run, list_runs_between
from thingpass.store.sqlite.scanner import Scanner


class FoldedSeries:
    """series.db for reading. Until the first fold there is no such file, and then there is nothing in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: apsw.Connection | None = None
        self._scanner = Scanner(path)

    def is_current(self) -> bool:
        """The file is not there yet, or is as this program wants it. Raises Unavailable if it is newer."""
        if not self._path.exists():
            return True
        migrations = load_migrations("sqlite", "series")
        connection = open_connection(self._path, read_only=True)
        try:
            applied = SqliteMigrations(connection).applied()
        finally:
            connection.close()
        check_applied(applied, migrations, self._path.name)
        return len(applied) == len(migrations)

    def open(self) -> None:
        """Opens the file if it is there and not open yet."""
        if self._connection is None and self._path.exists():
            self._connection = open_connection(self._path, read_only=True)

    async def close(self) -> None:
        await self._scanner.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def folded_through(self) -> int:
        """The highest journal id that is in here."""
        return self._progress("folded_through") or 0

    def kept_from_ms(self) -> int | None:
        """Samples before this time were dropped."""
        return self._progress("kept_from_ms")

    def _progress(self, column: str) -> int | None:
        if self._connection is None:
            return None
        try:
            found: int | None = get_row(self._connection, f"SELECT {column} FROM progress")[0]
        except apsw.Error as error:
            raise translate(error) from error
        return found

    async def latest(self, device_number: int, keys: frozenset[str] | None) -> dict[str, DataPoint]:
        if self._connection is None:
            return {}
        return await self._scanner.run(lambda connection: read_latest(connection, device_number, keys))

    async def add_points(self, device_number: int, points: PointRange) -> None:
        """Adds what is in the range."""
        if self._connection is not None:
            await self._scanner.run(lambda connection: read_range(connection, device_number, points))


def read_latest(
    connection: apsw.Connection, device: int, keys: frozenset[str] | None
) -> dict[str, DataPoint]:
    """The device's newest points among what is folded."""
    settled: dict[str, DataPoint] = {}
    with connection:  # the settled values and the folds of one state
        rows: list[Row] = connection.execute(
            "SELECT key, ts_ms, value FROM latest WHERE device = ?", (device,)
        ).fetchall()
        for key, ts_ms, value in rows:
            if keys is None or key in keys:
                settled[key] = DataPoint(ts_ms, decode_value(value))
        samples = [sample for _, of_fold in _fresh_samples(connection, device) for sample in of_fold]
    return newest_points(settled, samples, keys)


def _fresh_samples(connection: apsw.Connection, device: int) -> Iterator[tuple[int, list[Sample]]]:
    """By arrival. Of a removed device, what is settled is gone at once; what lies in folds is hidden here."""
    if connection.execute("SELECT 1 FROM removed_devices WHERE number = ?", (device,)).fetchone():
        return
    for fold in list_folds(connection):
        yield (
            fold.arrival,
            [decode_sample(encoded) for encoded in read_device(connection, fold.arrival, device)],
        )


def read_range(connection: apsw.Connection, device: int, points: PointRange) -> None:
    """Adds the device's points, beginning where the wanted ones are; the range narrows as they are found."""
    with connection:  # the catalogues and what they list of one state
        for arrival, samples in _fresh_samples(connection, device):
            points.add_samples(arrival, samples)
        points.search_only(_settled_keys(connection, device))
        if not points.searched:
            return
        runs = list_runs_between(connection, points.start_ms, points.end_ms)
        if points.descending:
            runs.sort(key=lambda run: run.last_ts, reverse=True)
        else:
            runs.sort(key=lambda run: run.first_ts)
        for run in runs:
            if run.last_ts < points.start_ms or run.first_ts >= points.end_ms:
                continue
            read = _descending if points.descending else _ascending
            for arrival, blob in read(connection, run, device, points):
                _add_chunk(points, arrival, blob)


def _settled_keys(connection: apsw.Connection, device: int) -> set[str]:
    rows: list[Row] = connection.execute("SELECT key FROM latest WHERE device = ?", (device,)).fetchall()
    return {row[0] for row in rows}


def _descending(
    connection: apsw.Connection, run: Run, device: int, points: PointRange
) -> Iterator[tuple[int, bytes]]:
    rows: Iterator[Row] = connection.execute(
        f"SELECT arrival, last_ts, ceiling_ts, chunk FROM {run.table} WHERE device = ? AND first_ts < ?"
        " ORDER BY first_ts DESC, arrival DESC",
        (device, points.end_ms),
    )
    for arrival, last_ts, ceiling_ts, blob in rows:
        if ceiling_ts < points.start_ms:
            return
        if last_ts >= points.start_ms:
            yield arrival, blob


def _ascending(
    connection: apsw.Connection, run: Run, device: int, points: PointRange
) -> Iterator[tuple[int, bytes]]:
    before: Iterator[Row] = connection.execute(
        f"SELECT first_ts, ceiling_ts FROM {run.table} WHERE device = ? AND first_ts < ?"
        " ORDER BY first_ts DESC, arrival DESC",
        (device, points.start_ms),
    )
    begin = points.start_ms
    for first_ts, ceiling_ts in before:
        if ceiling_ts < points.start_ms:
            break
        begin = first_ts
    rows: Iterator[Row] = connection.execute(
        f"SELECT arrival, first_ts, last_ts, chunk FROM {run.table} WHERE device = ? AND first_ts >= ?"
        " AND first_ts < ? ORDER BY first_ts, arrival",
        (device, begin, points.end_ms),
    )
    for arrival, first_ts, last_ts, blob in rows:
        if first_ts >= points.end_ms:
            return
        if last_ts >= points.start_ms:
            yield arrival, blob


def _add_chunk(points: PointRange, arrival: int, blob: bytes) -> None:
    chunk = unpack(blob)
    for key in points.searched:
        column = chunk.columns.get(key)
        if column is not None:
            points.add_column(arrival, key, chunk.times_of(column), column.values)
    points.narrow()
