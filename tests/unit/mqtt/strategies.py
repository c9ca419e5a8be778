"""Hypothesis strategies for every packet in every version."""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

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
from thingpass.mqtt.properties import PROPERTIES, REPEATED_FIELDS, DataType, Properties, Scope
from thingpass.mqtt.reason_codes import REASONS, PacketType

# A machine that runs other things beside the tests is slow, not wrong; long runs are the fuzzer's.
patient = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

V5 = ProtocolVersion.MQTT_5
versions = st.sampled_from(list(ProtocolVersion))
packet_ids = st.integers(1, 65_535)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
binary = st.binary(max_size=40)
topic_names = st.text(
    st.characters(exclude_characters="\0+#", exclude_categories=("Cs",)), min_size=1, max_size=12
)
levels = st.one_of(st.just("+"), st.text(st.sampled_from("ab$ é"), max_size=3))
topic_filters = (
    st.tuples(st.lists(levels, min_size=1, max_size=4), st.booleans())
    .map(lambda parts: "/".join([*parts[0], "#"] if parts[1] else parts[0]))
    .filter(lambda topic_filter: topic_filter and not topic_filter.startswith("$share/"))
)

_VALUES: dict[DataType, st.SearchStrategy[Any]] = {
    DataType.UTF8_STRING: texts,
    DataType.BINARY_DATA: binary,
    DataType.UTF8_STRING_PAIR: st.tuples(texts, texts),
}
_MAXIMA = {
    DataType.BYTE: 0xFF,
    DataType.TWO_BYTE_INTEGER: 0xFFFF,
    DataType.FOUR_BYTE_INTEGER: 0xFFFF_FFFF,
    DataType.VARIABLE_BYTE_INTEGER: 0x0FFF_FFFF,
}


@functools.cache
def properties_in(scope: Scope, version: ProtocolVersion) -> st.SearchStrategy[Properties | None]:
    """Property lists that may stand in the scope; None for MQTT 3, and for the empty list."""
    if version is not V5:
        return st.none()
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for row in PROPERTIES:
        if scope not in row.scopes or (scope is Scope.CONNECT and row.name == "authentication_data"):
            continue
        value = _VALUES.get(row.data_type)
        if value is None:
            value = st.integers(row.minimum or 0, row.maximum or _MAXIMA[row.data_type])
        if row.name == "response_topic":
            value = topic_names
        if row.name in REPEATED_FIELDS:
            most = 3 if scope in row.repeatable_in else 1
            value = st.lists(value, min_size=1, max_size=most).map(tuple)
        fields[row.name] = value
    lists = st.fixed_dictionaries({}, optional=fields).map(
        lambda given: Properties(**given) if given else None
    )
    return st.one_of(st.none(), lists)


def reason_codes(packet_type: PacketType, version: ProtocolVersion) -> st.SearchStrategy[int]:
    """Codes that may stand in the packet; 0 alone where MQTT 3 has no room for one."""
    if version is not V5:
        return st.just(0)
    return st.sampled_from([int(row.code) for row in REASONS if packet_type in row.packets])


@functools.cache
def connects(version: ProtocolVersion) -> st.SearchStrategy[Connect]:
    """CONNECT with and without Will, credentials and properties."""

    wills = st.builds(
        Will, topic_names, binary, st.integers(0, 2), st.booleans(), properties_in(Scope.WILL, version)
    )
    credentials = st.one_of(
        st.tuples(st.none(), st.none()),
        st.tuples(texts, st.none()),
        st.tuples(texts, binary),
        st.tuples(st.none(), binary) if version is V5 else st.nothing(),
    )
    return st.builds(
        lambda clean, keep_alive, client_id, properties, will, names: Connect(
            PROTOCOL_NAMES[version], version, clean, keep_alive, client_id, properties, will, *names
        ),
        st.booleans(),
        st.integers(0, 65_535),
        texts,
        properties_in(Scope.CONNECT, version),
        st.one_of(st.none(), wills),
        credentials,
    )


@functools.cache
def publishes(version: ProtocolVersion) -> st.SearchStrategy[Publish]:
    """Messages at every QoS."""
    return st.builds(
        lambda qos, duplicate, retain, topic, packet_id, properties, payload: Publish(
            bool(qos and duplicate), qos, retain, topic, packet_id if qos else 0, properties, payload
        ),
        st.integers(0, 2),
        st.booleans(),
        st.booleans(),
        topic_names,
        packet_ids,
        properties_in(Scope.PUBLISH, version),
        binary,
    )


def _acknowledgements(packet: type, scope: Scope, version: ProtocolVersion) -> st.SearchStrategy[Packet]:
    return st.builds(
        packet, packet_ids, reason_codes(PacketType(scope.value), version), properties_in(scope, version)
    )


@functools.cache
def packets(version: ProtocolVersion) -> st.SearchStrategy[Packet]:
    """Every packet that the version has."""
    v5 = version is V5
    subscriptions = st.builds(
        Subscription,
        topic_filters,
        st.integers(0, 2),
        st.booleans() if v5 else st.just(False),
        st.booleans() if v5 else st.just(False),
        st.integers(0, 2) if v5 else st.just(0),
    )
    suback_codes = reason_codes(PacketType.SUBACK, version) if v5 else st.sampled_from([0, 1, 2, 0x80])
    unsuback_codes = reason_codes(PacketType.UNSUBACK, version)
    all_packets: list[st.SearchStrategy[Packet]] = [
        connects(version),
        st.builds(
            ConnAck,
            st.booleans(),
            reason_codes(PacketType.CONNACK, version) if v5 else st.integers(0, 5),
            properties_in(Scope.CONNACK, version),
        ),
        publishes(version),
        _acknowledgements(PubAck, Scope.PUBACK, version),
        _acknowledgements(PubRec, Scope.PUBREC, version),
        _acknowledgements(PubRel, Scope.PUBREL, version),
        _acknowledgements(PubComp, Scope.PUBCOMP, version),
        st.builds(
            Subscribe,
            packet_ids,
            properties_in(Scope.SUBSCRIBE, version),
            st.lists(subscriptions, min_size=1, max_size=3).map(tuple),
        ),
        st.builds(
            SubAck,
            packet_ids,
            properties_in(Scope.SUBACK, version),
            st.lists(suback_codes, max_size=4).map(tuple),
        ),
        st.builds(
            Unsubscribe,
            packet_ids,
            properties_in(Scope.UNSUBSCRIBE, version),
            st.lists(topic_filters, min_size=1, max_size=3).map(tuple),
        ),
        st.builds(
            UnsubAck,
            packet_ids,
            properties_in(Scope.UNSUBACK, version),
            st.lists(unsuback_codes, max_size=4 if v5 else 0).map(tuple),
        ),
        st.just(PingReq()),
        st.just(PingResp()),
        st.builds(
            Disconnect, reason_codes(PacketType.DISCONNECT, version), properties_in(Scope.DISCONNECT, version)
        ),
    ]
    if v5:
        all_packets.append(
            st.builds(Auth, reason_codes(PacketType.AUTH, version), properties_in(Scope.AUTH, version))
        )
    return st.one_of(all_packets)


versioned_packets = versions.flatmap(lambda version: st.tuples(st.just(version), packets(version)))
