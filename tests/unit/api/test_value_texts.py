"""Values as texts, as Java writes them (rest-api reference 5.2)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.api.value_texts import attributes, java_double, points, text
from thingpass.store.rows import Attribute, DataPoint, JsonText


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (22.0, "22.0"),
        (22.5, "22.5"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1e10, "1.0E10"),
        (1e-5, "1.0E-5"),
        (0.001, "0.001"),
        (0.0009, "9.0E-4"),
        (9_999_999.0, "9999999.0"),
        (10_000_000.0, "1.0E7"),
        (-12_345_678.9, "-1.23456789E7"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (5e-324, "5.0E-324"),  # Java 19 says 4.9E-324, which is the same number
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (float("nan"), "NaN"),
    ],
)
def test_double(number, expected):
    assert java_double(number) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_double_keeps_its_value(number):
    assert float(java_double(number)) == number


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, "true"), (False, "false"), (5, "5"), (2**63 - 1, "9223372036854775807"), ("x", "x")],
)
def test_text(value, expected):
    assert text(value) == expected


def test_json_is_kept_as_it_was_sent():
    point = DataPoint(1, JsonText('{"a": 1.50}'))
    assert msgspec.json.encode(points([point], strict=True)) == b'[{"ts":1,"value":{"a": 1.50}}]'
    assert msgspec.json.encode(points([point], strict=False)) == b'[{"ts":1,"value":"{\\"a\\": 1.50}"}]'


def test_attributes_have_their_own_kinds():
    rows = [Attribute("on", True, 5), Attribute("cfg", JsonText('{"a":1}'), 6)]
    assert msgspec.json.encode(attributes(rows)) == (
        b'[{"lastUpdateTs":5,"key":"on","value":true},{"lastUpdateTs":6,"key":"cfg","value":{"a":1}}]'
    )
