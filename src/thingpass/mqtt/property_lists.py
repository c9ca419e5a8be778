"""Property lists on the wire, MQTT 5 section 2.2.2: the one interpreter of the table in `properties.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thingpass.mqtt import data_types
from thingpass.mqtt.data_types import Cursor
from thingpass.mqtt.errors import MalformedPacket, ProtocolViolation
from thingpass.mqtt.properties import (
    PROPERTIES,
    PROPERTY_BY_IDENTIFIER,
    REPEATED_FIELDS,
    DataType,
    Properties,
    PropertyRow,
    Scope,
)

_READERS: dict[DataType, Callable[[Cursor], object]] = {
    DataType.BYTE: Cursor.read_byte,
    DataType.TWO_BYTE_INTEGER: Cursor.read_two_byte_integer,
    DataType.FOUR_BYTE_INTEGER: Cursor.read_four_byte_integer,
    DataType.VARIABLE_BYTE_INTEGER: Cursor.read_variable_byte_integer,
    DataType.UTF8_STRING: Cursor.read_utf8_string,
    DataType.BINARY_DATA: Cursor.read_binary_data,
    DataType.UTF8_STRING_PAIR: Cursor.read_utf8_string_pair,
}


def read_properties(cursor: Cursor, scope: Scope) -> Properties | None:
    """The property list at the cursor, or None when it is empty."""
    length = cursor.read_variable_byte_integer()
    if not length:
        return None
    part = Cursor(cursor.data, cursor.position, cursor.position + length)
    if part.end > cursor.end:
        raise MalformedPacket("the properties reach past the end of their packet")
    single: dict[str, object] = {}
    repeated: dict[str, list[object]] = {}
    while part.remaining:
        row = _read_identifier(part, scope)
        value = _READERS[row.data_type](part)
        if not _is_in_bounds(row, value):
            raise ProtocolViolation(f"property {row.name} may not be {value}")
        if row.name in REPEATED_FIELDS:
            values = repeated.setdefault(row.name, [])
            if values and scope not in row.repeatable_in:
                raise _twice(row)
            values.append(value)
        elif row.name in single:
            raise _twice(row)
        else:
            single[row.name] = value
    cursor.position = part.end
    return Properties(**single, **{name: tuple(values) for name, values in repeated.items()})  # type: ignore[arg-type]  # the rows and the fields agree, a test holds it


def _read_identifier(part: Cursor, scope: Scope) -> PropertyRow:
    identifier = part.read_variable_byte_integer()
    row = PROPERTY_BY_IDENTIFIER.get(identifier)
    if row is None:
        raise MalformedPacket(f"property 0x{identifier:02X} does not exist")
    if scope not in row.scopes:  # MQTT5 2.2.2.2: not valid for its packet type, a Malformed Packet
        raise MalformedPacket(f"property {row.name} is not allowed in {scope.name}")
    return row


def _is_in_bounds(row: PropertyRow, value: object) -> bool:
    if not isinstance(value, int):
        return True
    return (row.minimum is None or value >= row.minimum) and (row.maximum is None or value <= row.maximum)


def _twice(row: PropertyRow) -> ProtocolViolation:
    return ProtocolViolation(f"property {row.name} is there twice")


_WRITERS: dict[DataType, Callable[[bytearray, Any], None]] = {
    DataType.BYTE: data_types.write_byte,
    DataType.TWO_BYTE_INTEGER: data_types.write_two_byte_integer,
    DataType.FOUR_BYTE_INTEGER: data_types.write_four_byte_integer,
    DataType.VARIABLE_BYTE_INTEGER: data_types.write_variable_byte_integer,
    DataType.UTF8_STRING: data_types.write_utf8_string,
    DataType.BINARY_DATA: data_types.write_binary_data,
    DataType.UTF8_STRING_PAIR: data_types.write_utf8_string_pair,
}


def write_properties(out: bytearray, properties: Properties | None, scope: Scope) -> None:
    """Append the property list, in the table's order.

    Raises ValueError for what may not stand in the scope.
    """
    if properties is None:
        out.append(0)
        return
    part = bytearray()
    for row in PROPERTIES:
        value = getattr(properties, row.name)
        if value is None or value == ():
            continue
        values = value if row.name in REPEATED_FIELDS else (value,)
        if scope not in row.scopes or (len(values) > 1 and scope not in row.repeatable_in):
            raise ValueError(f"property {row.name} may not stand in {scope.name} like this")
        for single in values:
            if not _is_in_bounds(row, single):
                raise ValueError(f"property {row.name} may not be {single}")
            part.append(row.identifier)  # identifiers are below 0x80: one byte
            _WRITERS[row.data_type](part, single)
    data_types.write_variable_byte_integer(out, len(part))
    out += part
