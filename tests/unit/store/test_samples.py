from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.errors import Invalid
from thingpass.store.rows import JsonText, Sample, Value
from thingpass.store.samples import decode_sample, decode_value, encode_sample, encode_value

TIMES = st.integers(-(1 << 63), (1 << 63) - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    TEXTS.map(JsonText),
)


def exactly(value: Value) -> tuple[type, Value, float]:
    """Tells 1 from 1.0 and True, 0.0 from -0.0, and a JSON text from a text."""
    return type(value), value, math.copysign(1.0, value) if isinstance(value, float) else 0.0


@given(TIMES, st.dictionaries(TEXTS, VALUES))
def test_every_sample_comes_back_as_it_was(ts_ms: int, values: dict[str, Value]) -> None:
    decoded = decode_sample(encode_sample(ts_ms, values))
    assert decoded == Sample(ts_ms, values)
    assert {key: exactly(value) for key, value in decoded.values.items()} == {
        key: exactly(value) for key, value in values.items()
    }


@given(VALUES)
def test_every_value_comes_back_as_it_was(value: Value) -> None:
    assert exactly(decode_value(encode_value(value))) == exactly(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1 << 64, -(1 << 63) - 1, "\udc80"])
def test_value_that_json_cannot_hold_is_refused(value: Value) -> None:
    with pytest.raises(Invalid):
        encode_sample(0, {"fine": 1, "key": value})
    with pytest.raises(Invalid):
        encode_value(value)


@pytest.mark.parametrize("ts_ms", [1 << 63, -(1 << 63) - 1, 1 << 70])
def test_time_beyond_64_bits_is_refused(ts_ms: int) -> None:
    with pytest.raises(Invalid):
        encode_sample(ts_ms, {"key": 1})


def test_text_that_looks_like_a_double_without_an_end_is_no_harm() -> None:
    text = "Ë\x7fð\x00"
    assert decode_sample(encode_sample(0, {"a": text, "b": 1.7e308})).values == {"a": text, "b": 1.7e308}


def test_value_of_another_type_is_refused() -> None:
    with pytest.raises(Invalid):
        encode_value(object())  # type: ignore[arg-type]  # that is the point
