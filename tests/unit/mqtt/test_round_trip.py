"""What is encoded is decoded to the same, for all packets in all versions."""

from __future__ import annotations

from hypothesis import given

from tests.unit.mqtt.strategies import patient, versioned_packets
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.packets import Packet, ProtocolVersion


@patient
@given(versioned_packets)
def test_packet_comes_back(versioned: tuple[ProtocolVersion, Packet]) -> None:
    version, packet = versioned
    data = encode(packet, version)
    assert decode(data, version) == packet
    assert encode(decode(data, version), version) == data
