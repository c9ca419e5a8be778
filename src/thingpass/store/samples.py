"""A sample as bytes and back: what the journal, the memory of unfolded samples and the latest values hold.

MessagePack, because every kind of value comes back as what it was: 1 and 1.0 stay apart, true is not 1, and
a JSON text is an extension, so that it is not taken for a plain text of the same letters. NaN and the
infinities have no place in JSON and are refused here, at the last border before the disk.
"""

from __future__ import annotations

import math

import msgspec

from thingpass.errors import Invalid
from thingpass.store.rows import JsonText, Sample, Value

_JSON_TEXT = 1  # MessagePack extension code

# A double is 0xCB and eight bytes. All exponent bits set (NaN, infinity) makes the first two of them 7F Fx or
# FF Fx. Looking for these bytes costs 60 ns a sample; looking at each value costs 300. They may also stand in
# a text, so a hit only means that the values are looked at.
_MAYBE_NOT_FINITE = (b"\xcb\x7f", b"\xcb\xff")


def to_extension(value: object) -> msgspec.msgpack.Ext:
    if isinstance(value, JsonText):
        return msgspec.msgpack.Ext(_JSON_TEXT, value.encode())
    raise TypeError(f"{type(value).__name__} is no kind of value")


def from_extension(code: int, data: memoryview) -> JsonText:
    if code != _JSON_TEXT:
        raise ValueError(f"unknown extension {code}")
    return JsonText(str(data, "utf-8"))


_encode = msgspec.msgpack.Encoder(enc_hook=to_extension).encode
_decode = msgspec.msgpack.Decoder(ext_hook=from_extension).decode


def encode_sample(ts_ms: int, values: dict[str, Value]) -> bytes:
    """The bytes of one sample. Raises Invalid for a time or number that is not finite or beyond 64 bits."""
    if not -(1 << 63) <= ts_ms < 1 << 63:
        raise Invalid(f"The time {ts_ms} is beyond 64 bits.")
    try:
        encoded = _encode((ts_ms, values))
    except (OverflowError, TypeError, UnicodeEncodeError) as error:
        raise Invalid(f"A value cannot be stored: {error}.") from error
    if _MAYBE_NOT_FINITE[0] in encoded or _MAYBE_NOT_FINITE[1] in encoded:
        _check_finite(values)
    return encoded


def decode_sample(encoded: bytes) -> Sample:
    return Sample(*decode_timed_values(encoded))


def decode_timed_values(encoded: bytes) -> tuple[int, dict[str, Value]]:
    """Time and values, without the object around them: folding decodes a million a minute."""
    ts_ms, values = _decode(encoded)
    return ts_ms, values


def encode_value(value: Value) -> bytes:
    """The bytes of one value, for latest values and attributes. Raises Invalid as `encode_sample`."""
    try:
        encoded = _encode(value)
    except (OverflowError, TypeError, UnicodeEncodeError) as error:
        raise Invalid(f"A value cannot be stored: {error}.") from error
    _check_finite({"": value})
    return encoded


def encode_checked_value(value: Value) -> bytes:
    """The bytes of one value of a sample that was encoded before."""
    return _encode(value)


def decode_value(encoded: bytes) -> Value:
    value: Value = _decode(encoded)
    return value


def _check_finite(values: dict[str, Value]) -> None:
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise Invalid(f"The value of {key!r} is not a finite number.")
