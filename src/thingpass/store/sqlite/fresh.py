"""Folds: stretches of the journal in series.db, sorted by device but otherwise as they came.

A fold costs little, because it looks into no sample: 0.5 us a message. What makes series small and quick to
read, columns and compression, is done once for eight folds, when they are settled into a run (`settling`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import apsw
import msgspec

from thingpass.errors import Unavailable
from thingpass.store.sqlite.connection import Row, get_row

WEEK_MS: Final = 7 * 24 * 3600 * 1000

BlockRow: TypeAlias = tuple[int, int, int, int, bytes]
"""arrival, first_device, part, last_device, block."""

_BLOCK_BYTES: Final = 3_500  # with its row, four of them fill a page of 16 kB
_FRAMING: Final = 2  # bytes around a sample in a block

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, list[bytes]]]).decode


class FoldRow(msgspec.Struct, frozen=True):
    """One row of the catalogue; the fields are those of `folds` in the migration."""

    arrival: int
    week: int
    arrived_ms: int
    samples: int
    size_bytes: int


_FIELDS: Final = ", ".join(FoldRow.__struct_fields__)


def group_by_device(
    batches: Iterable[Sequence[tuple[int, bytes]]], without: Collection[int]
) -> dict[int, list[bytes]]:
    """Each device's samples in arrival order."""
    by_device: defaultdict[int, list[bytes]] = defaultdict(list)
    for batch in batches:
        for number, encoded in batch:
            by_device[number].append(encoded)
    for number in by_device.keys() & without:
        del by_device[number]
    return by_device


def write_fold(
    connection: apsw.Connection, by_device: dict[int, list[bytes]], *, through: int, now_ms: int
) -> None:
    """Writes the samples of the journal up to id `through`, in one transaction."""
    with connection:
        arrival = get_row(connection, "SELECT folds FROM progress")[0] + 1
        rows = list(_blocks(arrival, by_device))
        samples, size = sum(map(len, by_device.values())), sum(len(row[4]) for row in rows)
        connection.executemany("INSERT INTO fresh VALUES (?, ?, ?, ?, ?)", rows)
        if rows:
            connection.execute(
                "INSERT INTO folds VALUES (?, ?, ?, ?, ?)",
                (arrival, now_ms // WEEK_MS, now_ms, samples, size),
            )
        connection.execute("UPDATE progress SET folded_through = ?, folds = ?", (through, arrival))


def list_folds(connection: apsw.Connection) -> list[FoldRow]:
    """In the order of arrival."""
    rows: list[Row] = connection.execute(f"SELECT {_FIELDS} FROM folds ORDER BY arrival").fetchall()
    return [FoldRow(*row) for row in rows]


def read_device(connection: apsw.Connection, arrival: int, device: int) -> list[bytes]:
    """The device's samples in one fold, in arrival order."""
    found: list[bytes] = []
    for _, samples in read_devices(connection, arrival, device, device + 1):
        found += samples
    return found


def read_devices(
    connection: apsw.Connection, arrival: int, start: int, end: int
) -> Iterator[tuple[int, list[bytes]]]:
    """Devices with start <= number < end, rising, with their samples in arrival order.

    A device with many samples is given several times. Raises Unavailable (code `store-corrupt`).
    """
    # The block before may reach into the range.
    rows: Iterable[Row] = connection.execute(
        "SELECT block FROM fresh WHERE arrival = ?1 AND first_device < ?3 AND last_device >= ?2"
        " AND first_device >= ifnull((SELECT max(first_device) FROM fresh"
        " WHERE arrival = ?1 AND first_device <= ?2), ?2) ORDER BY first_device, part",
        (arrival, start, end),
    )
    for (block,) in rows:
        for device, samples in decode_block(block):
            if start <= device < end:
                yield device, samples


def drop_folds(connection: apsw.Connection, arrivals: Iterable[int]) -> None:
    bindings = [(arrival,) for arrival in arrivals]
    connection.executemany("DELETE FROM fresh WHERE arrival = ?", bindings)
    connection.executemany("DELETE FROM folds WHERE arrival = ?", bindings)


def encode_block(devices: Sequence[tuple[int, list[bytes]]]) -> bytes:
    return _encode(devices)


def decode_block(block: bytes) -> list[tuple[int, list[bytes]]]:
    """Raises Unavailable (code `store-corrupt`)."""
    try:
        return _decode(block)
    except msgspec.MsgspecError as error:
        raise Unavailable(
            f"A block of series is damaged: {error}.", mend="Restore a backup.", code="store-corrupt"
        ) from error


def _blocks(arrival: int, by_device: dict[int, list[bytes]]) -> Iterator[BlockRow]:
    waiting: list[tuple[int, list[bytes]]] = []
    size = 0
    for device in sorted(by_device):
        samples = by_device[device]
        its_size = len(samples[0]) if len(samples) == 1 else sum(map(len, samples))
        its_size += _FRAMING * len(samples)
        if size + its_size > _BLOCK_BYTES and waiting:
            yield arrival, waiting[0][0], 0, waiting[-1][0], _encode(waiting)
            waiting, size = [], 0
        if its_size > _BLOCK_BYTES:
            yield from _own_blocks(arrival, device, samples)
            continue
        waiting.append((device, samples))
        size += its_size
    if waiting:
        yield arrival, waiting[0][0], 0, waiting[-1][0], _encode(waiting)


def _own_blocks(arrival: int, device: int, samples: Sequence[bytes]) -> Iterator[BlockRow]:
    count = max(1, len(samples) * _BLOCK_BYTES // sum(map(len, samples)))
    for part, at in enumerate(range(0, len(samples), count)):
        yield arrival, device, part, device, _encode([(device, samples[at : at + count])])
