"""MQTT5 1.5: integers, strings, binary data."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.mqtt import data_types
from thingpass.mqtt.data_types import Cursor
from thingpass.mqtt.errors import MalformedPacket


@given(st.integers(0, data_types.MAXIMUM_VARIABLE_BYTE_INTEGER))
def test_variable_byte_integer_comes_back(value: int) -> None:
    out = bytearray()
    data_types.write_variable_byte_integer(out, value)
    cursor = Cursor(bytes(out), 0, len(out))
    assert cursor.read_variable_byte_integer() == value
    assert cursor.remaining == 0


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "80 01"),
        (16_383, "ff 7f"),
        (16_384, "80 80 01"),
        (268_435_455, "ff ff ff 7f"),
    ],
)
def test_variable_byte_integer_has_the_bytes_of_the_specification(value: int, encoded: str) -> None:
    out = bytearray()
    data_types.write_variable_byte_integer(out, value)
    assert out.hex(" ") == encoded


@pytest.mark.parametrize("encoded", ["80 00", "ff 80 00", "80 80 80 80", "80 80 80 80 01", "80"])
def test_bad_variable_byte_integer_is_malformed(encoded: str) -> None:
    data = bytes.fromhex(encoded)
    with pytest.raises(MalformedPacket):
        Cursor(data, 0, len(data)).read_variable_byte_integer()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
def test_string_comes_back(text: str) -> None:
    out = bytearray()
    data_types.write_utf8_string(out, text)
    assert Cursor(bytes(out), 0, len(out)).read_utf8_string() == text


def test_byte_order_mark_is_kept() -> None:
    assert data_types.decode_utf8(b"\xef\xbb\xbfa") == "\ufeffa"  # [MQTT-1.5.4-3]


@pytest.mark.parametrize(
    "write",
    [
        lambda out: data_types.write_two_byte_integer(out, 65_536),
        lambda out: data_types.write_two_byte_integer(out, -1),
        lambda out: data_types.write_four_byte_integer(out, 1 << 32),
        lambda out: data_types.write_variable_byte_integer(out, 268_435_456),
        lambda out: data_types.write_byte(out, 256),
        lambda out: data_types.write_binary_data(out, b"x" * 65_536),
        lambda out: data_types.write_utf8_string(out, "a\0b"),
        lambda out: data_types.write_utf8_string(out, "\ud800"),
    ],
)
def test_value_out_of_bounds_is_the_writers_mistake(write: Callable[[bytearray], None]) -> None:
    with pytest.raises(ValueError):
        write(bytearray())


def test_cursor_stops_at_its_end_and_not_at_the_buffers() -> None:
    cursor = Cursor(b"\x00\x05hello world", 0, 4)
    with pytest.raises(MalformedPacket, match="reaches past the end"):
        cursor.read_utf8_string()
