"""bytes -> packets, for 3.1, 3.1.1 and 5.0: one function per packet, in the order of the specification.

The functions raise `MqttError` and nothing else. What they check is form: reserved bits, bounds, fields that
contradict each other, properties where they may stand. Whether the packet may come *now* is in
`transitions.py`, whether its packet identifier fits in `inflight.py`, limits in `session.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from thingpass.mqtt.data_types import Cursor
from thingpass.mqtt.errors import MalformedPacket, ProtocolViolation, UnsupportedVersion
from thingpass.mqtt.fixed_header import read_fixed_header
from thingpass.mqtt.packets import (
    PROTOCOL_NAMES,
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
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
)
from thingpass.mqtt.properties import Properties, Scope
from thingpass.mqtt.property_lists import read_properties
from thingpass.mqtt.reason_codes import PacketType, ReasonCode, is_allowed_in
from thingpass.mqtt.topics import (
    is_shared,
    read_topic_name,
    split_shared,
    validate_topic_filter,
    validate_topic_name,
)

_MQTT_3_1 = ProtocolVersion.MQTT_3_1
_MQTT_5 = ProtocolVersion.MQTT_5


def decode(data: bytes, version: ProtocolVersion | None) -> Packet:
    """The one packet that `data` is, no more and no less.

    `version` is None for CONNECT, which carries its own.
    """
    if not data:
        raise MalformedPacket("no bytes at all")
    body = read_fixed_header(data, 0, version)
    if body is None or body[1] != len(data):
        raise MalformedPacket("the data is not exactly one packet")
    return decode_body(data[0], Cursor(data, *body), version)


def decode_body(first: int, cursor: Cursor, version: ProtocolVersion | None) -> Packet:
    """The packet whose first byte and body these are; the body is used up to its last byte."""
    number = first >> 4
    if number == PacketType.CONNECT:
        packet: Packet = decode_connect(cursor, decode_protocol(cursor))
    elif version is None:
        raise ProtocolViolation("the first packet is not CONNECT", statement="MQTT-3.1.0-1")
    else:
        packet = _DECODERS[number](first, cursor, version)
    _check_used_up(cursor, PacketType(number))
    return packet


def _check_used_up(cursor: Cursor, packet_type: PacketType) -> None:
    if cursor.remaining:
        raise MalformedPacket(f"{packet_type.name} is {cursor.remaining} bytes longer than its content")


def _properties(cursor: Cursor, scope: Scope, version: ProtocolVersion) -> Properties | None:
    return read_properties(cursor, scope) if version is _MQTT_5 else None


# --- CONNECT, MQTT5 3.1 ---

_VERSIONS = {(name.encode(), int(version)): version for version, name in PROTOCOL_NAMES.items()}


def decode_protocol(cursor: Cursor) -> ProtocolVersion:
    """The first two fields of CONNECT, which say how to read the rest. Raises UnsupportedVersion."""
    name = cursor.read_binary_data()
    level = cursor.read_byte()
    version = _VERSIONS.get((name, level))
    if version is None:
        known = name if name in (b"MQTT", b"MQIsdp") else b"unknown"
        raise UnsupportedVersion(
            f"CONNECT for protocol {known.decode()}, level {level}", statement="MQTT-3.1.2-2", level=level
        )
    return version


def decode_connect(cursor: Cursor, version: ProtocolVersion) -> Connect:
    """What follows the protocol's name and level. MQTT5 3.1.2.3 to 3.1.3."""
    flags = cursor.read_byte()
    _check_connect_flags(flags, version)
    keep_alive = cursor.read_two_byte_integer()
    properties = _properties(cursor, Scope.CONNECT, version)
    if properties is not None:
        _check_authentication(properties)
    # MQTT5 3.1.3 [MQTT-3.1.3-1]: the order of the payload's fields
    client_id = cursor.read_utf8_string()
    will = _read_will(cursor, flags, version) if flags & 0x04 else None
    # MQTT 3.1 section 3.1: the remaining length takes precedence over these two flags
    lenient = version is _MQTT_3_1
    user_name = password = None
    if flags & 0x80 and (cursor.remaining or not lenient):
        user_name = cursor.read_utf8_string()
    if flags & 0x40 and (cursor.remaining or not lenient):
        password = cursor.read_binary_data()
    _check_used_up(cursor, PacketType.CONNECT)
    return Connect(
        PROTOCOL_NAMES[version],
        version,
        bool(flags & 0x02),
        keep_alive,
        client_id,
        properties,
        will,
        user_name,
        password,
    )


def _check_authentication(properties: Properties) -> None:
    if properties.authentication_data is not None and properties.authentication_method is None:
        raise ProtocolViolation("authentication data without an authentication method")  # MQTT5 3.1.2.11.10


def _check_connect_flags(flags: int, version: ProtocolVersion) -> None:
    if version is _MQTT_3_1:
        return  # MQTT 3.1 section 3.1 has unused bits and no rule for contradictions
    if flags & 0x01:
        raise MalformedPacket("the reserved bit of the CONNECT flags is set", statement="MQTT-3.1.2-3")
    if not flags & 0x04:
        if flags & 0x18:
            raise MalformedPacket("a Will QoS without a Will", statement="MQTT-3.1.2-11")
        if flags & 0x20:
            raise MalformedPacket("a Will Retain without a Will", statement="MQTT-3.1.2-13")
    if flags & 0x40 and not flags & 0x80 and version is not _MQTT_5:
        raise MalformedPacket("a password without a user name", statement="MQTT-3.1.2-22 of 3.1.1")


def _read_will(cursor: Cursor, flags: int, version: ProtocolVersion) -> Will:
    qos = flags >> 3 & 0x03
    if qos == 3:
        raise MalformedPacket("a Will QoS of 3", statement="MQTT-3.1.2-12")
    properties = _properties(cursor, Scope.WILL, version)
    _check_response_topic(properties)
    topic = cursor.read_utf8_string()
    validate_topic_name(topic)
    return Will(topic, cursor.read_binary_data(), qos, bool(flags & 0x20), properties)


def _decode_connack(first: int, cursor: Cursor, version: ProtocolVersion) -> ConnAck:
    acknowledge_flags = cursor.read_byte()
    if acknowledge_flags > 1 and version is not _MQTT_3_1:
        raise MalformedPacket("reserved bits of the CONNACK flags are set", statement="MQTT-3.2.2-1")
    reason_code = cursor.read_byte()
    if version is _MQTT_5:
        _check_reason_code(reason_code, PacketType.CONNACK)
    return ConnAck(bool(acknowledge_flags & 1), reason_code, _properties(cursor, Scope.CONNACK, version))


# --- PUBLISH and its acknowledgements, MQTT5 3.3 to 3.7 ---


def _decode_publish(first: int, cursor: Cursor, version: ProtocolVersion) -> Publish:
    raw_topic = cursor.read_binary_data()
    qos = first >> 1 & 0x03
    packet_id = _read_packet_id(cursor) if qos else 0
    properties = _properties(cursor, Scope.PUBLISH, version)
    if raw_topic:
        topic = read_topic_name(raw_topic)
    elif properties is not None and properties.topic_alias is not None:
        topic = ""  # MQTT5 3.3.2.3.4: the alias stands for it
    else:
        raise ProtocolViolation(
            "a PUBLISH with neither a topic name nor a topic alias", statement="MQTT-4.7.3-1"
        )
    _check_response_topic(properties)
    payload = cursor.take(cursor.remaining)
    return Publish(bool(first & 0x08), qos, bool(first & 0x01), topic, packet_id, properties, payload)


def _check_response_topic(properties: Properties | None) -> None:
    response_topic = properties.response_topic if properties is not None else None
    if response_topic is not None and ("#" in response_topic or "+" in response_topic):
        raise ProtocolViolation("a response topic contains a wildcard", statement="MQTT-3.3.2-14")


def _read_packet_id(cursor: Cursor) -> int:
    packet_id = cursor.read_two_byte_integer()
    if packet_id == 0:
        raise ProtocolViolation("packet identifier 0", statement="MQTT-2.2.1-3")
    return packet_id


def _check_reason_code(reason_code: int, packet_type: PacketType) -> None:
    if not is_allowed_in(reason_code, packet_type):
        raise ProtocolViolation(f"reason code 0x{reason_code:02X} is not allowed in {packet_type.name}")


def _read_acknowledgement(
    cursor: Cursor, version: ProtocolVersion, scope: Scope
) -> tuple[int, int, Properties | None]:
    packet_id = _read_packet_id(cursor)
    if version is not _MQTT_5 or not cursor.remaining:
        return packet_id, ReasonCode.SUCCESS, None  # MQTT5 3.4.2.1: a missing code is Success
    reason_code = cursor.read_byte()
    _check_reason_code(reason_code, PacketType(scope.value))
    return packet_id, reason_code, read_properties(cursor, scope) if cursor.remaining else None


def _decode_puback(first: int, cursor: Cursor, version: ProtocolVersion) -> PubAck:
    return PubAck(*_read_acknowledgement(cursor, version, Scope.PUBACK))


def _decode_pubrec(first: int, cursor: Cursor, version: ProtocolVersion) -> PubRec:
    return PubRec(*_read_acknowledgement(cursor, version, Scope.PUBREC))


def _decode_pubrel(first: int, cursor: Cursor, version: ProtocolVersion) -> PubRel:
    return PubRel(*_read_acknowledgement(cursor, version, Scope.PUBREL))


def _decode_pubcomp(first: int, cursor: Cursor, version: ProtocolVersion) -> PubComp:
    return PubComp(*_read_acknowledgement(cursor, version, Scope.PUBCOMP))


# --- SUBSCRIBE and UNSUBSCRIBE, MQTT5 3.8 to 3.11 ---


def _decode_subscribe(first: int, cursor: Cursor, version: ProtocolVersion) -> Subscribe:
    packet_id = _read_packet_id(cursor)
    properties = _properties(cursor, Scope.SUBSCRIBE, version)
    subscriptions = []
    while cursor.remaining:
        subscriptions.append(_read_subscription(cursor, version))
    if not subscriptions:
        raise ProtocolViolation("a SUBSCRIBE without a topic filter", statement="MQTT-3.8.3-2")
    return Subscribe(packet_id, properties, tuple(subscriptions))


def _read_subscription(cursor: Cursor, version: ProtocolVersion) -> Subscription:
    topic_filter = _read_topic_filter(cursor, version)
    options = cursor.read_byte()
    qos = options & 0x03
    if qos == 3:
        raise ProtocolViolation("a subscription with a QoS of 3")  # MQTT5 3.8.3.1
    if version is not _MQTT_5:
        if options & 0xFC and version is not _MQTT_3_1:
            raise MalformedPacket(
                "reserved bits of a requested QoS are set", statement="MQTT-3-8.3-4 of 3.1.1"
            )
        return Subscription(topic_filter, qos)
    if options & 0xC0:
        raise MalformedPacket("reserved bits of the subscription options are set", statement="MQTT-3.8.3-5")
    retain_handling = options >> 4 & 0x03
    if retain_handling == 3:
        raise ProtocolViolation("a subscription with a retain handling of 3")  # MQTT5 3.8.3.1
    no_local = bool(options & 0x04)
    if no_local and is_shared(topic_filter):
        raise ProtocolViolation("No Local on a shared subscription", statement="MQTT-3.8.3-4")
    return Subscription(topic_filter, qos, no_local, bool(options & 0x08), retain_handling)


def _read_topic_filter(cursor: Cursor, version: ProtocolVersion) -> str:
    topic_filter = cursor.read_utf8_string()
    if version is _MQTT_5 and is_shared(topic_filter):
        split_shared(topic_filter)
    else:
        validate_topic_filter(topic_filter)
    return topic_filter


def _decode_suback(first: int, cursor: Cursor, version: ProtocolVersion) -> SubAck:
    packet_id = _read_packet_id(cursor)
    properties = _properties(cursor, Scope.SUBACK, version)
    reason_codes = tuple(cursor.take(cursor.remaining))
    for reason_code in reason_codes:
        _check_reason_code(reason_code, PacketType.SUBACK)
    return SubAck(packet_id, properties, reason_codes)


def _decode_unsubscribe(first: int, cursor: Cursor, version: ProtocolVersion) -> Unsubscribe:
    packet_id = _read_packet_id(cursor)
    properties = _properties(cursor, Scope.UNSUBSCRIBE, version)
    topic_filters = []
    while cursor.remaining:
        topic_filters.append(_read_topic_filter(cursor, version))
    if not topic_filters:
        raise ProtocolViolation("an UNSUBSCRIBE without a topic filter", statement="MQTT-3.10.3-2")
    return Unsubscribe(packet_id, properties, tuple(topic_filters))


def _decode_unsuback(first: int, cursor: Cursor, version: ProtocolVersion) -> UnsubAck:
    packet_id = _read_packet_id(cursor)
    if version is not _MQTT_5:
        return UnsubAck(packet_id)
    properties = read_properties(cursor, Scope.UNSUBACK)
    reason_codes = tuple(cursor.take(cursor.remaining))
    for reason_code in reason_codes:
        _check_reason_code(reason_code, PacketType.UNSUBACK)
    return UnsubAck(packet_id, properties, reason_codes)


# --- PINGREQ, PINGRESP, DISCONNECT, AUTH, MQTT5 3.12 to 3.15 ---


def _decode_pingreq(first: int, cursor: Cursor, version: ProtocolVersion) -> PingReq:
    return PingReq()


def _decode_pingresp(first: int, cursor: Cursor, version: ProtocolVersion) -> PingResp:
    return PingResp()


def _read_reason(cursor: Cursor, scope: Scope) -> tuple[int, Properties | None]:
    if not cursor.remaining:
        return ReasonCode.SUCCESS, None  # MQTT5 3.14.2.1 and 3.15.2.1: a missing code is 0x00
    reason_code = cursor.read_byte()
    _check_reason_code(reason_code, PacketType(scope.value))
    return reason_code, read_properties(cursor, scope) if cursor.remaining else None


def _decode_disconnect(first: int, cursor: Cursor, version: ProtocolVersion) -> Disconnect:
    return Disconnect(*_read_reason(cursor, Scope.DISCONNECT)) if version is _MQTT_5 else Disconnect()


def _decode_auth(first: int, cursor: Cursor, version: ProtocolVersion) -> Auth:
    return Auth(*_read_reason(cursor, Scope.AUTH))


_DECODERS: dict[int, Callable[[int, Cursor, ProtocolVersion], Packet]] = {
    PacketType.CONNACK: _decode_connack,
    PacketType.PUBLISH: _decode_publish,
    PacketType.PUBACK: _decode_puback,
    PacketType.PUBREC: _decode_pubrec,
    PacketType.PUBREL: _decode_pubrel,
    PacketType.PUBCOMP: _decode_pubcomp,
    PacketType.SUBSCRIBE: _decode_subscribe,
    PacketType.SUBACK: _decode_suback,
    PacketType.UNSUBSCRIBE: _decode_unsubscribe,
    PacketType.UNSUBACK: _decode_unsuback,
    PacketType.PINGREQ: _decode_pingreq,
    PacketType.PINGRESP: _decode_pingresp,
    PacketType.DISCONNECT: _decode_disconnect,
    PacketType.AUTH: _decode_auth,
}
