"""A protobuf message -> the values that its JSON would have: protobuf's own mapping, defaults included.

Google's `json_format` is not used: a repeated message of no bytes costs two bytes on the wire and each of its
fields in JSON, so what comes out is counted here while it is made. 64-bit numbers are texts in protobuf's
JSON, which the device API reads as numbers again.
"""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from thingpass.servers.device_payloads import MOST_VALUES
from thingpass.servers.payload_faults import DEEPEST_NESTING, PayloadInvalid

if TYPE_CHECKING:
    from google._upb._message import FieldDescriptor as _UpbField

Field: TypeAlias = "FieldDescriptor | _UpbField"

_TEXT_NUMBERS: Final = frozenset((FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64))
_FLOATS: Final = frozenset((FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE))


def read_message(kind: type[Message], payload: bytes) -> Message:
    """Raises PayloadInvalid."""
    try:
        return kind.FromString(payload)
    except (DecodeError, RecursionError, ValueError):
        raise PayloadInvalid(
            f"The payload is no protobuf message {kind.DESCRIPTOR.full_name}.",
            mend="Send what the schema in the device's profile says.",
        ) from None


def message_values(message: Message) -> dict[str, object]:
    """Raises PayloadInvalid for more values than one message may have."""
    return _Values().of_message(message, 1)


class _Values:
    """Counts what it makes."""

    def __init__(self) -> None:
        self._count = 0

    def of_message(self, message: Message, depth: int) -> dict[str, object]:
        if depth > DEEPEST_NESTING:
            raise PayloadInvalid(f"The message is nested deeper than {DEEPEST_NESTING} levels.")
        members: dict[str, object] = {}
        for field in message.DESCRIPTOR.fields:
            if field.is_repeated:
                members[field.json_name] = self._of_repeated(field, getattr(message, field.name), depth)
            elif not field.has_presence or message.HasField(field.name):
                members[field.json_name] = self._of_one(field, getattr(message, field.name), depth)
        return members

    def _of_repeated(self, field: Field, values: Any, depth: int) -> Any:
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            value_field = kind.fields_by_name["value"]
            return {
                _key_text(key): self._of_one(value_field, values[key], depth + 1) for key in sorted(values)
            }
        return [self._of_one(field, value, depth + 1) for value in values]

    def _of_one(self, field: Field, value: Any, depth: int) -> Any:
        self._count += 1
        if self._count > MOST_VALUES:
            raise PayloadInvalid(f"The message has more than {MOST_VALUES} values.")
        kind = field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_MESSAGE:
            return self.of_message(value, depth + 1)
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            assert field.enum_type is not None
            named = field.enum_type.values_by_number.get(value)
            return value if named is None else named.name
        if field.type == FieldDescriptor.TYPE_BYTES:
            return base64.b64encode(value).decode()
        if kind in _TEXT_NUMBERS:
            return str(value)
        if kind in _FLOATS:
            return _float(value, single=kind == FieldDescriptor.CPPTYPE_FLOAT)
        return value


def _float(value: float, *, single: bool) -> float | str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if not single:
        return value
    # The shortest decimal that is this number in 32 bits: 21.5 and 0.1, not 0.10000000149011612. Nine digits
    # always are (IEEE 754-2019 5.12.2).
    return next(
        (short for digits in (6, 7, 8, 9) if _in_32_bits(short := float(f"{value:.{digits}g}")) == value),
        value,
    )


def _in_32_bits(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf")


def _key_text(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
