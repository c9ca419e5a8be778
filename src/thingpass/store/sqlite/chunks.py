"""Chunks: many samples of one device as one blob, by columns.

A chunk holds the times once and, for each key, its values in a row: neighbours in a column are alike, which
is what makes them small. Packing `tight` writes the columns as `value_columns` says and compresses the whole;
the fold writes loose chunks, which is faster, and merging packs them tight.

Wire: one byte (0 loose, 1 compressed), then MessagePack `[first time, [differences], {key: column}]`, a
column being `[kind, values, positions or nil]`; positions are the indexes of the samples that have the key
(nil: all of them have it).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import itemgetter, sub
from typing import Any, Final, TypeAlias

import msgspec

from thingpass.errors import Unavailable
from thingpass.store.rows import Value
from thingpass.store.samples import from_extension, to_extension
from thingpass.store.sqlite.value_columns import PLAIN, pack_values, unpack_values

TimedValues: TypeAlias = tuple[int, dict[str, Value]]
"""What one sample is here: its time in ms and its values; a tuple, because a fold makes a million of them."""

_LOOSE: Final = b"\x00"
_COMPRESSED: Final = b"\x01"
_COMPRESS_FROM: Final = 200  # bytes; below, zlib's own 11 bytes and its work are not worth it
_LEVEL: Final = 6

_encode = msgspec.msgpack.Encoder(enc_hook=to_extension).encode


class _Wire(msgspec.Struct, array_like=True, frozen=True):
    first_ts: int
    differences: list[int]
    columns: dict[str, tuple[int, list[Any], list[int] | None]]


_decode = msgspec.msgpack.Decoder(_Wire, ext_hook=from_extension).decode


class Column(msgspec.Struct, frozen=True):
    """The values of one key. `positions` are the samples that have it; None means all of them."""

    values: list[Value]
    positions: list[int] | None = None


class Chunk(msgspec.Struct, frozen=True):
    """Samples of one device, times rising, each time once."""

    times: list[int]
    columns: dict[str, Column]

    def times_of(self, column: Column) -> list[int]:
        if column.positions is None:
            return self.times
        times = self.times
        return [times[position] for position in column.positions]


def chunk_from_samples(samples: list[TimedValues]) -> Chunk:
    """From samples in arrival order. At the same time and key, the later one stays. Sorts the list."""
    samples.sort(key=itemgetter(0))  # stable: arrival order within one time
    times = [ts_ms for ts_ms, _ in samples]
    if len(set(times)) != len(times):
        samples = _join_same_times(samples)
        times = [ts_ms for ts_ms, _ in samples]
    rows = [values for _, values in samples]
    keys = rows[0].keys()
    for row in rows:
        if row.keys() != keys:
            return Chunk(times, _sparse_columns(rows))
    return Chunk(times, {key: Column([row[key] for row in rows]) for key in keys})


def _join_same_times(samples: Iterable[TimedValues]) -> list[TimedValues]:
    joined: dict[int, dict[str, Value]] = {}
    for ts_ms, values in samples:
        known = joined.get(ts_ms)
        joined[ts_ms] = values if known is None else known | values
    return list(joined.items())


def _sparse_columns(rows: Sequence[Mapping[str, Value]]) -> dict[str, Column]:
    found: dict[str, tuple[list[Value], list[int]]] = {}
    for position, row in enumerate(rows):
        for key, value in row.items():
            column = found.get(key)
            if column is None:
                column = found[key] = ([], [])
            column[0].append(value)
            column[1].append(position)
    return {
        key: Column(values, None if len(values) == len(rows) else positions)
        for key, (values, positions) in found.items()
    }


def samples_of(chunk: Chunk) -> list[TimedValues]:
    rows: list[dict[str, Value]] = [{} for _ in chunk.times]
    for key, column in chunk.columns.items():
        positions = range(len(rows)) if column.positions is None else column.positions
        for position, value in zip(positions, column.values, strict=True):
            rows[position][key] = value
    return list(zip(chunk.times, rows, strict=True))


def join_chunks(chunks: Sequence[Chunk]) -> Chunk:
    """One chunk from several, given in arrival order."""
    first = chunks[0]
    in_order = all(before.times[-1] < after.times[0] for before, after in pairwise(chunks))
    if in_order and all(_is_dense(chunk, first.columns.keys()) for chunk in chunks):
        return Chunk(
            [ts_ms for chunk in chunks for ts_ms in chunk.times],
            {
                key: Column([value for chunk in chunks for value in chunk.columns[key].values])
                for key in first.columns
            },
        )
    return chunk_from_samples([sample for chunk in chunks for sample in samples_of(chunk)])


def _is_dense(chunk: Chunk, keys: Iterable[str]) -> bool:
    return chunk.columns.keys() == keys and all(column.positions is None for column in chunk.columns.values())


def split_chunk(chunk: Chunk, samples: int) -> list[Chunk]:
    """Pieces of at most so many samples, in the order of time, all of about the same size."""
    count = -(-len(chunk.times) // samples)
    if count <= 1:
        return [chunk]
    size = -(-len(chunk.times) // count)
    if _is_dense(chunk, chunk.columns.keys()):
        return [
            Chunk(
                chunk.times[at : at + size],
                {key: Column(column.values[at : at + size]) for key, column in chunk.columns.items()},
            )
            for at in range(0, len(chunk.times), size)
        ]
    rows = samples_of(chunk)
    return [chunk_from_samples(rows[at : at + size]) for at in range(0, len(rows), size)]


def pack(chunk: Chunk, *, tight: bool) -> bytes:
    """The blob of a chunk."""
    times = chunk.times
    differences = list(map(sub, times[1:], times))
    if not tight:
        columns = {key: (PLAIN, column.values, column.positions) for key, column in chunk.columns.items()}
        return _LOOSE + _encode((times[0], differences, columns))
    tight_columns = {
        key: (*pack_values(column.values), column.positions) for key, column in chunk.columns.items()
    }
    packed = _encode((times[0], differences, tight_columns))
    if len(packed) < _COMPRESS_FROM:
        return _LOOSE + packed
    return _COMPRESSED + zlib.compress(packed, _LEVEL)


def unpack(blob: bytes) -> Chunk:
    """Raises Unavailable (code `store-corrupt`)."""
    try:
        wire = _decode(zlib.decompress(blob[1:]) if blob[:1] == _COMPRESSED else blob[1:])
        return Chunk(
            list(accumulate(wire.differences, initial=wire.first_ts)),
            {
                key: Column(unpack_values(kind, values), positions)
                for key, (kind, values, positions) in wire.columns.items()
            },
        )
    except (msgspec.MsgspecError, zlib.error, ValueError) as error:
        raise Unavailable(
            f"A chunk of series is damaged: {error}.", mend="Restore a backup.", code="store-corrupt"
        ) from error
