"""Bytes written by hand against decoder, encoder and session."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.mqtt.wire import feed_byte_by_byte, load_vectors, opened, packet_of
from thingpass.mqtt import errors
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.events import SessionFailed
from thingpass.mqtt.packets import Disconnect, ProtocolVersion
from thingpass.mqtt.session import Limits, Session

PACKETS = load_vectors("packets.json")
FAULTS = load_vectors("faults.json")


def _described(rows: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=[row["description"].replace(" ", "-") for row in rows])


@_described(PACKETS)
def test_bytes_are_decoded_to_the_packet(row: dict[str, Any]) -> None:
    assert decode(row["data"], row["version"]) == packet_of(row["packet"])


@_described([row for row in PACKETS if row.get("encode", True)])
def test_packet_is_encoded_to_the_bytes(row: dict[str, Any]) -> None:
    assert encode(packet_of(row["packet"]), row["version"]).hex(" ") == row["data"].hex(" ")


@_described(PACKETS)
def test_packet_cut_short_never_passes(row: dict[str, Any]) -> None:
    for length in range(len(row["data"])):
        with pytest.raises(errors.MqttError):
            decode(row["data"][:length], row["version"])


@_described(FAULTS)
def test_fault_is_named(row: dict[str, Any]) -> None:
    with pytest.raises(errors.MqttError) as caught:
        decode(row["data"], row["version"])
    _assert_is(caught.value, row)


@_described(FAULTS)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte-by-byte"])
def test_fault_ends_the_session_with_its_reason(row: dict[str, Any], cut: bool) -> None:
    version = row["version"]
    session = Session(Limits(), 0.0) if version is None else opened(version)
    data = row["data"] + b"\xc0\x00"
    events = feed_byte_by_byte(session, data, 1.0) if cut else session.receive(data, 1.0)
    assert len(events) == 1
    assert isinstance(events[0], SessionFailed)
    _assert_is(events[0].error, row)
    assert session.closing
    sent = session.data_to_send()
    if version is ProtocolVersion.MQTT_5:
        goodbye = decode(sent, version)
        assert isinstance(goodbye, Disconnect)
        assert goodbye.reason_code == int(row["reason_code"], 16)
    elif version is not None:
        assert sent == b""
    assert session.receive(b"\xc0\x00", 2.0) == []
    assert session.data_to_send() == b""


def _assert_is(error: errors.MqttError, row: dict[str, Any]) -> None:
    assert (type(error).__name__, f"{error.reason_code:02X}", error.statement) == (
        row["error"],
        row["reason_code"],
        row.get("statement", ""),
    )
    assert error.seen
    assert not error.seen.endswith(".")
