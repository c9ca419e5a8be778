"""packets -> bytes, for 3.1, 3.1.1 and 5.0: one function per packet, in the order of `decoding.py`.

`encode` raises ValueError when a field is out of bounds or a property may not stand where it is: the caller's
mistake, never a peer's. MQTT 5's properties and reason codes are left out for MQTT 3, which has no room for
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thingpass.mqtt.data_types import (
    MAXIMUM_VARIABLE_BYTE_INTEGER,
    write_binary_data,
    write_two_byte_integer,
    write_utf8_string,
    write_variable_byte_integer,
)
from thingpass.mqtt.fixed_header import REQUIRED_FLAGS
from thingpass.mqtt.packets import (
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    ProtocolVersion,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from thingpass.mqtt.properties import Properties, Scope
from thingpass.mqtt.property_lists import write_properties
from thingpass.mqtt.reason_codes import PacketType

_MQTT_5 = ProtocolVersion.MQTT_5


def encode(packet: Packet, version: ProtocolVersion) -> bytes:
    """The packet's bytes. A CONNECT is encoded for the version it names."""
    packet_type, write = _ENCODERS[type(packet)]
    body = bytearray()
    flags = write(body, packet, version)
    out = bytearray((packet_type << 4 | flags,))
    write_variable_byte_integer(out, len(body))
    out += body
    return bytes(out)


def encode_publish_head(packet: Publish, payload_size: int, version: ProtocolVersion) -> bytes | None:
    """The bytes of a PUBLISH before a payload of this size; None when no packet has room for it."""
    body = bytearray()
    flags = _encode_publish(body, packet, version)
    remaining = len(body) + payload_size
    if remaining > MAXIMUM_VARIABLE_BYTE_INTEGER:
        return None
    out = bytearray((PacketType.PUBLISH << 4 | flags,))
    write_variable_byte_integer(out, remaining)
    out += body
    return bytes(out)


def _write_properties(
    body: bytearray, properties: Properties | None, scope: Scope, version: ProtocolVersion
) -> None:
    if version is _MQTT_5:
        write_properties(body, properties, scope)


def _write_packet_id(body: bytearray, packet_id: int) -> None:
    if packet_id == 0:
        raise ValueError("packet identifier 0")  # [MQTT-2.2.1-3], [MQTT-2.2.1-4]
    write_two_byte_integer(body, packet_id)


def _encode_connect(body: bytearray, packet: Connect, version: ProtocolVersion) -> int:
    version = packet.protocol_version
    will = packet.will
    flags = packet.clean_start << 1
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
    flags |= (packet.password is not None) << 6 | (packet.user_name is not None) << 7
    write_utf8_string(body, packet.protocol_name)
    body.append(version)
    body.append(flags)
    write_two_byte_integer(body, packet.keep_alive)
    _write_properties(body, packet.properties, Scope.CONNECT, version)
    write_utf8_string(body, packet.client_id)
    if will is not None:
        _write_properties(body, will.properties, Scope.WILL, version)
        write_utf8_string(body, will.topic)
        write_binary_data(body, will.payload)
    if packet.user_name is not None:
        write_utf8_string(body, packet.user_name)
    if packet.password is not None:
        write_binary_data(body, packet.password)
    return 0


def _encode_connack(body: bytearray, packet: ConnAck, version: ProtocolVersion) -> int:
    body.append(packet.session_present)
    body.append(packet.reason_code)
    _write_properties(body, packet.properties, Scope.CONNACK, version)
    return 0


def _encode_publish(body: bytearray, packet: Publish, version: ProtocolVersion) -> int:
    write_utf8_string(body, packet.topic)
    if packet.qos:
        _write_packet_id(body, packet.packet_id)
    _write_properties(body, packet.properties, Scope.PUBLISH, version)
    body += packet.payload
    return packet.duplicate << 3 | packet.qos << 1 | packet.retain


def _acknowledgement_encoder(
    packet_type: PacketType,
) -> Callable[[bytearray, PubAck | PubRec | PubRel | PubComp, ProtocolVersion], int]:
    # MQTT5 3.4 to 3.7 are one shape under four names.
    scope = Scope(packet_type)
    flags = REQUIRED_FLAGS[packet_type]

    def encode_acknowledgement(
        body: bytearray, packet: PubAck | PubRec | PubRel | PubComp, version: ProtocolVersion
    ) -> int:
        _write_packet_id(body, packet.packet_id)
        _write_reason(body, packet.reason_code, packet.properties, scope, version)
        return flags

    return encode_acknowledgement


def _write_reason(
    body: bytearray, reason_code: int, properties: Properties | None, scope: Scope, version: ProtocolVersion
) -> None:
    # MQTT5 3.4.2.1 and 3.14.2.1: Success without properties may be left out, and properties when there are
    # none
    if version is not _MQTT_5 or (reason_code == 0 and properties is None):
        return
    body.append(reason_code)
    if properties is not None:
        write_properties(body, properties, scope)


def _encode_subscribe(body: bytearray, packet: Subscribe, version: ProtocolVersion) -> int:
    _write_packet_id(body, packet.packet_id)
    _write_properties(body, packet.properties, Scope.SUBSCRIBE, version)
    for subscription in packet.subscriptions:
        write_utf8_string(body, subscription.topic_filter)
        options = subscription.qos
        if version is _MQTT_5:
            options |= subscription.no_local << 2 | subscription.retain_as_published << 3
            options |= subscription.retain_handling << 4
        body.append(options)
    return REQUIRED_FLAGS[PacketType.SUBSCRIBE]


def _encode_suback(body: bytearray, packet: SubAck, version: ProtocolVersion) -> int:
    _write_packet_id(body, packet.packet_id)
    _write_properties(body, packet.properties, Scope.SUBACK, version)
    body += bytes(packet.reason_codes)
    return 0


def _encode_unsubscribe(body: bytearray, packet: Unsubscribe, version: ProtocolVersion) -> int:
    _write_packet_id(body, packet.packet_id)
    _write_properties(body, packet.properties, Scope.UNSUBSCRIBE, version)
    for topic_filter in packet.topic_filters:
        write_utf8_string(body, topic_filter)
    return REQUIRED_FLAGS[PacketType.UNSUBSCRIBE]


def _encode_unsuback(body: bytearray, packet: UnsubAck, version: ProtocolVersion) -> int:
    _write_packet_id(body, packet.packet_id)
    if version is _MQTT_5:
        write_properties(body, packet.properties, Scope.UNSUBACK)
        body += bytes(packet.reason_codes)
    return 0


def _encode_nothing(body: bytearray, packet: PingReq | PingResp, version: ProtocolVersion) -> int:
    return 0


def _encode_disconnect(body: bytearray, packet: Disconnect, version: ProtocolVersion) -> int:
    _write_reason(body, packet.reason_code, packet.properties, Scope.DISCONNECT, version)
    return 0


def _encode_auth(body: bytearray, packet: Auth, version: ProtocolVersion) -> int:
    if version is not _MQTT_5:
        raise ValueError("AUTH is of MQTT 5 only")
    _write_reason(body, packet.reason_code, packet.properties, Scope.AUTH, version)
    return 0


# Any: each function takes the packet that its row names, which a dictionary's type cannot say.
_ENCODERS: dict[type, tuple[PacketType, Callable[[bytearray, Any, ProtocolVersion], int]]] = {
    Connect: (PacketType.CONNECT, _encode_connect),
    ConnAck: (PacketType.CONNACK, _encode_connack),
    Publish: (PacketType.PUBLISH, _encode_publish),
    PubAck: (PacketType.PUBACK, _acknowledgement_encoder(PacketType.PUBACK)),
    PubRec: (PacketType.PUBREC, _acknowledgement_encoder(PacketType.PUBREC)),
    PubRel: (PacketType.PUBREL, _acknowledgement_encoder(PacketType.PUBREL)),
    PubComp: (PacketType.PUBCOMP, _acknowledgement_encoder(PacketType.PUBCOMP)),
    Subscribe: (PacketType.SUBSCRIBE, _encode_subscribe),
    SubAck: (PacketType.SUBACK, _encode_suback),
    Unsubscribe: (PacketType.UNSUBSCRIBE, _encode_unsubscribe),
    UnsubAck: (PacketType.UNSUBACK, _encode_unsuback),
    PingReq: (PacketType.PINGREQ, _encode_nothing),
    PingResp: (PacketType.PINGRESP, _encode_nothing),
    Disconnect: (PacketType.DISCONNECT, _encode_disconnect),
    Auth: (PacketType.AUTH, _encode_auth),
}
