"""MQTT 5 section 1.5: the data types on the wire; their bounds are checked here and nowhere else.

Reading goes through a `Cursor` over one `bytes` object (MQTT 3.1 and 3.1.1 use the same types under other
section numbers); writing appends to a `bytearray`. Reading raises `MalformedPacket`; writing raises
`ValueError`, because a value out of bounds is then the caller's mistake.
"""

from __future__ import annotations

from thingpass.mqtt.errors import MalformedPacket

MAXIMUM_VARIABLE_BYTE_INTEGER = 268_435_455  # MQTT5 1.5.5, four bytes of seven bits
MAXIMUM_TWO_BYTE_INTEGER = 65_535
MAXIMUM_FOUR_BYTE_INTEGER = 4_294_967_295


class Cursor:
    """A position in `data` that never moves past `end`; `end` is where the packet ends, not the buffer."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self.data = data
        self.position = position
        self.end = end

    @property
    def remaining(self) -> int:
        """Bytes left before the end."""
        return self.end - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self.position
        stop = start + count
        if stop > self.end:
            raise MalformedPacket("a field reaches past the end of its packet")
        self.position = stop
        return self.data[start:stop]

    def read_byte(self) -> int:
        """MQTT5 1.5.1."""
        return self.take(1)[0]

    def read_two_byte_integer(self) -> int:
        """MQTT5 1.5.2."""
        return int.from_bytes(self.take(2), "big")

    def read_four_byte_integer(self) -> int:
        """MQTT5 1.5.3."""
        return int.from_bytes(self.take(4), "big")

    def read_variable_byte_integer(self) -> int:
        """MQTT5 1.5.5."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.read_byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise MalformedPacket(
                        "a variable byte integer is longer than it need be", statement="MQTT-1.5.5-1"
                    )
                return value
        raise MalformedPacket("a variable byte integer has more than four bytes", statement="MQTT-1.5.5-1")

    def read_binary_data(self) -> bytes:
        """MQTT5 1.5.6."""
        return self.take(self.read_two_byte_integer())

    def read_utf8_string(self) -> str:
        """MQTT5 1.5.4."""
        return decode_utf8(self.read_binary_data())

    def read_utf8_string_pair(self) -> tuple[str, str]:
        """MQTT5 1.5.7."""
        return self.read_utf8_string(), self.read_utf8_string()


def decode_utf8(raw: bytes) -> str:
    """MQTT5 1.5.4. Control characters and non-characters pass.

    The specification only advises against them.
    """
    try:
        text = raw.decode("utf-8")  # strict: refuses surrogates and overlong forms
    except UnicodeDecodeError:
        raise MalformedPacket("a string is not well-formed UTF-8", statement="MQTT-1.5.4-1") from None
    if "\0" in text:
        raise MalformedPacket("a string contains U+0000", statement="MQTT-1.5.4-2")
    return text


def write_byte(out: bytearray, value: int) -> None:
    """MQTT5 1.5.1."""
    out.append(value)


def write_two_byte_integer(out: bytearray, value: int) -> None:
    """MQTT5 1.5.2."""
    if not 0 <= value <= MAXIMUM_TWO_BYTE_INTEGER:
        raise ValueError(f"{value} does not fit into two bytes")
    out += value.to_bytes(2, "big")


def write_four_byte_integer(out: bytearray, value: int) -> None:
    """MQTT5 1.5.3."""
    if not 0 <= value <= MAXIMUM_FOUR_BYTE_INTEGER:
        raise ValueError(f"{value} does not fit into four bytes")
    out += value.to_bytes(4, "big")


def write_variable_byte_integer(out: bytearray, value: int) -> None:
    """MQTT5 1.5.5."""
    if not 0 <= value <= MAXIMUM_VARIABLE_BYTE_INTEGER:
        raise ValueError(f"{value} does not fit into a variable byte integer")
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def write_binary_data(out: bytearray, value: bytes) -> None:
    """MQTT5 1.5.6."""
    if len(value) > MAXIMUM_TWO_BYTE_INTEGER:
        raise ValueError(f"{len(value)} bytes are too many for one field")
    out += len(value).to_bytes(2, "big")
    out += value


def write_utf8_string(out: bytearray, value: str) -> None:
    """MQTT5 1.5.4."""
    if "\0" in value:
        raise ValueError("a string contains U+0000")  # [MQTT-1.5.4-2]
    write_binary_data(out, value.encode("utf-8"))  # refuses surrogates [MQTT-1.5.4-1]


def write_utf8_string_pair(out: bytearray, value: tuple[str, str]) -> None:
    """MQTT5 1.5.7."""
    write_utf8_string(out, value[0])
    write_utf8_string(out, value[1])
