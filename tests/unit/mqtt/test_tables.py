"""All rows of the tables: unique, complete and in step with the structs they speak of."""

from __future__ import annotations

import pytest

from thingpass.mqtt.data_types import Cursor
from thingpass.mqtt.errors import MqttError
from thingpass.mqtt.foreign import FOREIGN_PROTOCOLS, ForeignRow, foreign_fault, might_be_foreign
from thingpass.mqtt.properties import PROPERTIES, REPEATED_FIELDS, DataType, Properties, PropertyRow, Scope
from thingpass.mqtt.property_lists import read_properties, write_properties
from thingpass.mqtt.reason_codes import (
    REASONS,
    PacketType,
    ReasonCode,
    ReasonRow,
    describe,
    is_allowed_in,
    permitted,
)
from thingpass.mqtt.transitions import TRANSITIONS, Fault, State

VALUES: dict[DataType, object] = {
    DataType.BYTE: 1,
    DataType.TWO_BYTE_INTEGER: 513,
    DataType.FOUR_BYTE_INTEGER: 70_000,
    DataType.VARIABLE_BYTE_INTEGER: 300,
    DataType.UTF8_STRING: "text",
    DataType.BINARY_DATA: b"\x00\xff",
    DataType.UTF8_STRING_PAIR: ("key", "value"),
}


class TestReasons:
    """MQTT5 2.4."""

    def test_rows_cover_every_code_once(self) -> None:
        assert [row.code for row in REASONS] == sorted(set(ReasonCode))

    def test_sentences_are_unique_sentences(self) -> None:
        sentences = [row.sentence for row in REASONS]
        assert len(set(sentences)) == len(sentences)
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)

    @pytest.mark.parametrize("row", REASONS, ids=lambda row: row.code.name)
    def test_mqtt_3_is_told_only_what_connack_may_carry(self, row: ReasonRow) -> None:
        assert row.packets
        if row.mqtt3 is not None:
            assert PacketType.CONNACK in row.packets
            assert 0 <= row.mqtt3 <= 5

    def test_unknown_code_is_described_as_such(self) -> None:
        assert describe(0x87) == "The client is not allowed to do this."
        assert describe(0x7E) == "Reason code 0x7E is not known."
        assert not is_allowed_in(0x7E, PacketType.CONNACK)

    def test_code_that_may_not_stand_there_goes_out_as_unspecified(self) -> None:
        assert permitted(0x8D, PacketType.DISCONNECT) == 0x8D
        assert permitted(0x8D, PacketType.CONNACK) == 0x80


class TestProperties:
    """MQTT5 2.2.2.2, table 2-4."""

    def test_identifiers_and_names_are_unique(self) -> None:
        assert len({row.identifier for row in PROPERTIES}) == len(PROPERTIES) == 27
        assert len({row.name for row in PROPERTIES}) == len(PROPERTIES)
        assert all(row.identifier < 0x80 for row in PROPERTIES), "the encoder writes one byte"

    def test_fields_are_the_rows_in_their_order(self) -> None:
        assert Properties.__struct_fields__ == tuple(row.name for row in PROPERTIES)

    def test_repeated_fields_are_tuples_and_the_others_none(self) -> None:
        for row in PROPERTIES:
            default = getattr(Properties(), row.name)
            assert default == (() if row.name in REPEATED_FIELDS else None), row.name

    @pytest.mark.parametrize("scope", Scope, ids=lambda scope: scope.name)
    @pytest.mark.parametrize("row", PROPERTIES, ids=lambda row: row.name)
    def test_property_stands_exactly_where_its_row_says(self, row: PropertyRow, scope: Scope) -> None:
        properties = _only(row, 1)
        if scope in row.scopes:
            assert _through_the_wire(properties, scope) == properties
            return
        with pytest.raises(ValueError, match=row.name):
            _write(properties, scope)
        elsewhere = _write(properties, next(iter(row.scopes)))
        with pytest.raises(MqttError, match=f"{row.name} is not allowed in {scope.name}"):
            read_properties(Cursor(elsewhere, 0, len(elsewhere)), scope)

    @pytest.mark.parametrize("row", PROPERTIES, ids=lambda row: row.name)
    def test_property_repeats_exactly_where_its_row_says(self, row: PropertyRow) -> None:
        for scope in row.scopes:
            once = _write(_only(row, 1), scope)[1:]
            twice = bytes([2 * len(once)]) + 2 * once
            cursor = Cursor(twice, 0, len(twice))
            if scope in row.repeatable_in:
                assert read_properties(cursor, scope) == _only(row, 2)
                assert _write(_only(row, 2), scope) == twice
            else:
                with pytest.raises(MqttError, match=f"{row.name} is there twice"):
                    read_properties(cursor, scope)

    @pytest.mark.parametrize("row", [row for row in PROPERTIES if row.maximum is not None or row.minimum])
    def test_property_keeps_its_bounds(self, row: PropertyRow) -> None:
        wrong = 0 if row.minimum else 2
        scope = next(iter(row.scopes))
        value = (wrong,) if row.name in REPEATED_FIELDS else wrong
        with pytest.raises(ValueError, match=row.name):
            _write(Properties(**{row.name: value}), scope)
        width = {DataType.BYTE: 1, DataType.TWO_BYTE_INTEGER: 2, DataType.FOUR_BYTE_INTEGER: 4}
        raw = bytes([row.identifier]) + wrong.to_bytes(width.get(row.data_type, 1), "big")
        raw = bytes([len(raw)]) + raw
        with pytest.raises(MqttError, match=f"{row.name} may not be {wrong}"):
            read_properties(Cursor(raw, 0, len(raw)), scope)

    def test_repr_names_properties_and_no_value(self) -> None:
        assert repr(Properties(authentication_data=b"secret", user_property=(("a", "b"),))) == (
            "Properties(authentication_data, user_property)"
        )


def _only(row: PropertyRow, times: int) -> Properties:
    value = VALUES[row.data_type]
    held = (value,) * times if row.name in REPEATED_FIELDS else value
    return Properties(**{row.name: held})


def _write(properties: Properties, scope: Scope) -> bytes:
    out = bytearray()
    write_properties(out, properties, scope)
    return bytes(out)


def _through_the_wire(properties: Properties, scope: Scope) -> Properties | None:
    data = _write(properties, scope)
    return read_properties(Cursor(data, 0, len(data)), scope)


class TestTransitions:
    """Every state has every packet type; how sessions obey is in test_transitions.py."""

    def test_table_is_complete(self) -> None:
        assert set(TRANSITIONS) == set(State)
        assert all(set(row) == set(PacketType) for row in TRANSITIONS.values())

    def test_faults_can_be_told_apart(self) -> None:
        faults = {cell for row in TRANSITIONS.values() for cell in row.values() if isinstance(cell, Fault)}
        assert len({fault.sentence for fault in faults}) == len(faults)


class TestForeignProtocols:
    """First bytes that are no MQTT."""

    def test_no_row_begins_like_connect_or_like_another_row(self) -> None:
        beginnings = [row.beginning for row in FOREIGN_PROTOCOLS]
        assert all(beginning[0] != 0x10 for beginning in beginnings)
        assert not any(a != b and a.startswith(b) for a in beginnings for b in beginnings)

    @pytest.mark.parametrize(
        "row", FOREIGN_PROTOCOLS, ids=lambda row: row.beginning.decode("latin-1").strip()
    )
    def test_beginning_is_known_once_it_is_complete(self, row: ForeignRow) -> None:
        beginning = row.beginning
        for length in range(1, len(beginning)):
            assert might_be_foreign(beginning[:length])
            assert foreign_fault(beginning[:length]) is None
        fault = foreign_fault(beginning + b"more")
        assert fault is not None
        assert fault.looks_like == row.looks_like
        assert not might_be_foreign(beginning[:-1] + b"\x00")
