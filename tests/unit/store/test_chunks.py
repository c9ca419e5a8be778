from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.store.test_samples import TEXTS, TIMES, VALUES, exactly
from thingpass.errors import Unavailable
from thingpass.store.rows import Value
from thingpass.store.sqlite.chunks import (
    TimedValues,
    chunk_from_samples,
    join_chunks,
    pack,
    samples_of,
    split_chunk,
    unpack,
)
from thingpass.store.sqlite.value_columns import pack_values, unpack_values

DECIMALS = st.builds(
    lambda whole, places: whole / 10**places, st.integers(-(10**9), 10**9), st.integers(0, 6)
)
COLUMNS = st.one_of(
    st.lists(VALUES, min_size=1),
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    st.lists(DECIMALS, min_size=1),
    st.lists(st.sampled_from([0.0, -0.0, 1.5]), min_size=1),
)
KEYS = st.sampled_from(["a", "b", "c"]) | TEXTS
SAMPLES = st.lists(
    st.tuples(st.integers(0, 20) | TIMES, st.dictionaries(KEYS, VALUES, max_size=4)), min_size=1, max_size=30
)


def exact(samples: list[TimedValues]) -> list[tuple[int, dict[str, tuple[type, Value, float]]]]:
    return [(ts_ms, {key: exactly(value) for key, value in values.items()}) for ts_ms, values in samples]


def by_time(samples: list[TimedValues]) -> list[TimedValues]:
    """The model: in the order of time, a later value of the same key in the place of the earlier."""
    joined: dict[int, dict[str, Value]] = {}
    for ts_ms, values in samples:
        joined.setdefault(ts_ms, {}).update(values)
    return sorted(joined.items())


@given(COLUMNS)
def test_every_column_comes_back_as_it_was(values: list[Value]) -> None:
    kind, packed = pack_values(values)
    assert list(map(exactly, unpack_values(kind, packed))) == list(map(exactly, values))


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1, 2, 3], 1), ([1.0, 2.0], 2), ([21.5, 22.25], 4), ([0.1 + 0.2, 1.0], 0), ([1, 1.0], 0), (["a"], 0)],
)
def test_column_is_packed_by_its_smallest_kind(values: list[Value], kind: int) -> None:
    assert pack_values(values)[0] == kind


def test_column_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError):
        unpack_values(99, [1])


@given(SAMPLES, st.booleans())
def test_chunk_holds_its_samples_by_time(samples: list[TimedValues], tight: bool) -> None:
    chunk = unpack(pack(chunk_from_samples(list(samples)), tight=tight))
    assert exact(samples_of(chunk)) == exact(by_time(samples))


@given(st.lists(SAMPLES, min_size=1, max_size=4))
def test_joined_chunks_hold_what_arrived_last(parts: list[list[TimedValues]]) -> None:
    joined = join_chunks([chunk_from_samples(list(part)) for part in parts])
    assert exact(samples_of(joined)) == exact(by_time([sample for part in parts for sample in part]))


@given(SAMPLES, st.integers(1, 10))
def test_pieces_of_a_chunk_are_the_chunk(samples: list[TimedValues], most: int) -> None:
    chunk = chunk_from_samples(list(samples))
    pieces = split_chunk(chunk, most)
    assert all(len(piece.times) <= most for piece in pieces)
    assert [sample for piece in pieces for sample in samples_of(piece)] == samples_of(chunk)


def test_usual_telemetry_takes_less_than_two_bytes_a_point() -> None:
    source = random.Random(7)
    temperature, samples = 21.0, []
    for number in range(512):
        temperature += source.gauss(0, 0.1)
        values: dict[str, Value] = {
            "temperature": round(temperature, 2),
            "humidity": 50 + source.randint(-1, 1),
            "on": number % 100 > 50,
        }
        samples.append((1_767_225_600_000 + 1000 * number + source.randint(-20, 20), values))
    blob = pack(chunk_from_samples(samples), tight=True)
    assert len(blob) / len(samples) / 3 < 2
    assert math.isclose(unpack(blob).columns["temperature"].values[0], 21.0, abs_tol=1)


@pytest.mark.parametrize(
    "blob", [b"", b"\x00", b"\x00junk", b"\x01junk", b"\x00\x93\x01\x90\x81\xa1a\x93\x63\x90\xc0"]
)
def test_damaged_chunk_is_an_error_of_ours(blob: bytes) -> None:
    with pytest.raises(Unavailable) as caught:
        unpack(blob)
    assert caught.value.code == "store-corrupt"
