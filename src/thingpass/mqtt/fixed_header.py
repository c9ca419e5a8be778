"""The fixed header of a packet, MQTT 5 section 2.1: type, flags, remaining length.

It is judged as soon as its bytes are there, before the body has come, so that a bad packet costs no memory.
"""

from __future__ import annotations

from thingpass.mqtt.errors import MalformedPacket
from thingpass.mqtt.packets import ProtocolVersion
from thingpass.mqtt.reason_codes import PacketType

_MQTT_3_1 = ProtocolVersion.MQTT_3_1
_MQTT_5 = ProtocolVersion.MQTT_5


# MQTT5 2.1.3: the reserved flags; PUBLISH alone has flags of its own.
REQUIRED_FLAGS = {
    **dict.fromkeys(PacketType, 0x00),
    PacketType.PUBREL: 0x02,
    PacketType.SUBSCRIBE: 0x02,
    PacketType.UNSUBSCRIBE: 0x02,
}
_DUPLICATE_FLAG = 0x08


def read_fixed_header(data: bytes, position: int, version: ProtocolVersion | None) -> tuple[int, int] | None:
    """Where the packet that begins at `position` has its body: (start, end); None when bytes are missing.

    The end may lie beyond the data. `version` is None before CONNECT. Raises MalformedPacket.
    """
    _check_first_byte(data[position], version)
    length = 0
    for index, shift in enumerate((0, 7, 14, 21), start=position + 1):
        if index >= len(data):
            return None
        byte = data[index]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            # MQTT 3 says nothing about padded lengths, so clients that always send four bytes are let be.
            if byte == 0 and shift and version is _MQTT_5:
                raise MalformedPacket(
                    "the remaining length is longer than it need be", statement="MQTT-1.5.5-1"
                )
            return index + 1, index + 1 + length
    raise MalformedPacket("the remaining length has more than four bytes", statement="MQTT-1.5.5-1")


def _check_first_byte(first: int, version: ProtocolVersion | None) -> None:
    number = first >> 4
    flags = first & 0x0F
    if number == 0 or (number == PacketType.AUTH and version not in (None, _MQTT_5)):
        raise MalformedPacket(f"packet type {number} is reserved")
    if number == PacketType.PUBLISH:
        if flags & 0x06 == 0x06:
            raise MalformedPacket("a PUBLISH with both QoS bits set", statement="MQTT-3.3.1-4")
        if flags & 0x0E == _DUPLICATE_FLAG and version is not _MQTT_3_1:
            raise MalformedPacket("a PUBLISH of QoS 0 with DUP set", statement="MQTT-3.3.1-2")
        return
    required = REQUIRED_FLAGS[PacketType(number)]
    if flags == required:
        return
    if version is _MQTT_3_1 and flags & ~_DUPLICATE_FLAG == required:
        return  # MQTT 3.1 section 2.1: DUP may be set on what is sent again
    raise MalformedPacket(
        f"a {PacketType(number).name} with reserved flags 0x{flags:X}", statement="MQTT-2.1.3-1"
    )
