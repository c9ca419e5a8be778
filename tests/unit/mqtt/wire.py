"""Reading of the vectors, and sessions brought to a state, for the tests of this room."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from thingpass.mqtt import packets
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.packets import PROTOCOL_NAMES, ConnAck, Connect, ProtocolVersion
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.session import Limits, Session

VECTORS = Path(__file__).parents[2] / "vectors" / "mqtt"
VERSIONS = tuple(ProtocolVersion)
BINARY_FIELDS = {"payload", "password", "correlation_data", "authentication_data"}


def parse_bytes(text: str) -> bytes:
    """`10 02 'MQTT'`: hexadecimal bytes, and ASCII in quotes."""
    out = bytearray()
    for quoted, hexadecimal in re.findall(r"'([^']*)'|([0-9A-F]{2})", text):
        out += quoted.encode("ascii") if quoted else bytes.fromhex(hexadecimal)
    return bytes(out)


def load_vectors(name: str) -> list[dict[str, Any]]:
    """The rows of one file, their bytes read."""
    rows: list[dict[str, Any]] = json.loads((VECTORS / name).read_text("utf-8"))
    for row in rows:
        row["data"] = parse_bytes(row["bytes"])
        if row["version"] is not None:
            row["version"] = ProtocolVersion(row["version"])
    return rows


def packet_of(described: dict[str, Any]) -> packets.Packet:
    """The packet that a vector describes."""
    fields = {name: _value(name, value) for name, value in described.items() if name != "type"}
    packet: packets.Packet = msgspec.convert(fields, getattr(packets, described["type"]))
    return packet


def _value(name: str, value: Any) -> Any:
    if name in BINARY_FIELDS:
        return value.encode("latin-1")
    if isinstance(value, dict):
        return {inner: _value(inner, of) for inner, of in value.items()}
    return value


def connect_packet(version: ProtocolVersion, *, keep_alive: int = 60, **fields: Any) -> Connect:
    """A CONNECT of a client that asks for nothing special."""
    defaults = {"client_id": "dev1", "clean_start": True}
    return Connect(
        protocol_name=PROTOCOL_NAMES[version],
        protocol_version=version,
        keep_alive=keep_alive,
        **{**defaults, **fields},
    )


def connected(
    version: ProtocolVersion,
    *,
    limits: Limits | None = None,
    properties: Properties | None = None,
    keep_alive: int = 60,
) -> Session:
    """A session whose CONNECT is decoded and not yet decided on."""
    session = Session(limits or Limits(), 0.0)
    packet = connect_packet(version, properties=properties, keep_alive=keep_alive)
    assert [type(event).__name__ for event in session.receive(encode(packet, version), 0.0)] == [
        "ConnectReceived"
    ]
    return session


def opened(
    version: ProtocolVersion,
    *,
    limits: Limits | None = None,
    properties: Properties | None = None,
    keep_alive: int = 60,
) -> Session:
    """A session that is open and has nothing left to send."""
    session = connected(version, limits=limits, properties=properties, keep_alive=keep_alive)
    assert session.accept(0.0) == []
    assert session.data_to_send().startswith(b"\x20")
    return session


def feed_byte_by_byte(session: Session, data: bytes, now: float) -> list[Any]:
    """The events of `data` when the network cuts it between all bytes."""
    events: list[Any] = []
    for index in range(len(data)):
        events += session.receive(data[index : index + 1], now)
    return events


def accepted(version: ProtocolVersion) -> bytes:
    """The CONNACK that says nothing but yes."""
    return encode(ConnAck(False, 0), version)
