"""The same packets through codecs that others wrote: mqtt5 (Rust, MQTT 5) and zmqtt (Python, 3.1.1 and 5)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.mqtt.strategies import V5, connects, packets, patient, publishes
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.packets import Auth, Connect, Packet, ProtocolVersion, Publish
from thingpass.mqtt.properties import Properties

V4 = ProtocolVersion.MQTT_3_1_1


class TestMqtt5:
    """mqtt5 gives every property its default where it was not sent, and writes it so."""

    mqtt5 = pytest.importorskip("mqtt5", reason="pip install mqtt5")

    def _ours(self, other: object) -> Packet:
        return decode(other.write(), V5)  # type: ignore[attr-defined]  # mqtt5's packets share no base class

    def _theirs(self, packet: Packet) -> object:
        data = encode(packet, V5)
        theirs, size = self.mqtt5.read(data)
        assert size == len(data)
        return theirs

    @patient
    @given(publishes(V5))
    def test_publish_is_read_alike(self, packet: Publish) -> None:
        properties = packet.properties or Properties()
        if properties.topic_alias == 0:
            return  # allowed by its data type alone; the session refuses it
        theirs = self._theirs(packet)
        assert (theirs.topic, theirs.payload, theirs.qos, theirs.retain, theirs.duplicate) == (
            packet.topic,
            packet.payload,
            packet.qos,
            packet.retain,
            packet.duplicate,
        )
        assert theirs.packet_id == (packet.packet_id or None)
        assert theirs.payload_format_indicator == (properties.payload_format_indicator or 0)
        for name in ("message_expiry_interval", "content_type", "response_topic", "correlation_data"):
            assert getattr(theirs, name) == getattr(properties, name), name
        assert theirs.topic_alias == properties.topic_alias
        assert tuple(theirs.subscription_ids) == properties.subscription_identifier
        assert tuple(theirs.user_properties) == properties.user_property

    @patient
    @given(publishes(V5))
    def test_publish_they_write_is_what_was_meant(self, packet: Publish) -> None:
        properties = packet.properties or Properties()
        theirs = self.mqtt5.PublishPacket(
            packet.topic,
            packet.payload,
            qos=self.mqtt5.QoS(packet.qos),
            retain=packet.retain,
            packet_id=packet.packet_id or None,
            duplicate=packet.duplicate,
            payload_format_indicator=properties.payload_format_indicator or 0,
            message_expiry_interval=properties.message_expiry_interval,
            content_type=properties.content_type,
            response_topic=properties.response_topic,
            correlation_data=properties.correlation_data,
            subscription_ids=list(properties.subscription_identifier),
            user_properties=list(properties.user_property),
        )
        expected = msgspec.structs.replace(
            properties,
            topic_alias=None,
            payload_format_indicator=properties.payload_format_indicator or None,  # 0 is left out
        )
        assert self._ours(theirs) == msgspec.structs.replace(
            packet, properties=expected if expected != Properties() else None
        )

    @patient
    @given(connects(V5))
    def test_connect_is_read_alike(self, packet: Connect) -> None:
        theirs = self._theirs(packet)
        assert (theirs.client_id, theirs.clean_start, theirs.keep_alive) == (
            packet.client_id,
            packet.clean_start,
            packet.keep_alive,
        )
        assert (theirs.username, theirs.password) == (packet.user_name, packet.password)
        properties = packet.properties or Properties()
        assert theirs.session_expiry_interval == (properties.session_expiry_interval or 0)
        assert theirs.receive_max == (properties.receive_maximum or 65_535)
        assert theirs.topic_alias_max == (properties.topic_alias_maximum or 0)
        assert theirs.max_packet_size == properties.maximum_packet_size
        assert theirs.request_problem_info is (properties.request_problem_information != 0)
        assert tuple(theirs.user_properties) == properties.user_property
        if packet.will is None:
            assert theirs.will is None
        else:
            assert (theirs.will.topic, theirs.will.payload or b"", theirs.will.qos, theirs.will.retain) == (
                packet.will.topic,
                packet.will.payload,
                packet.will.qos,
                packet.will.retain,
            )


class TestZmqtt:
    """zmqtt keeps its codec under a private name, so a version without it skips."""

    codec = pytest.importorskip("zmqtt._internal.packets.codec", reason="pip install zmqtt")

    @patient
    @given(st.sampled_from([V4, V5]).flatmap(lambda version: st.tuples(st.just(version), publishes(version))))
    def test_publish_is_read_alike(self, versioned: tuple[ProtocolVersion, Publish]) -> None:
        version, packet = versioned
        data = encode(packet, version)
        theirs, size = self.codec.decode(data, version="3.1.1" if version is V4 else "5.0")
        assert size == len(data)
        assert (theirs.topic, bytes(theirs.payload), theirs.qos, theirs.retain, theirs.dup) == (
            packet.topic,
            packet.payload,
            packet.qos,
            packet.retain,
            packet.duplicate,
        )
        assert (theirs.packet_id or 0) == packet.packet_id
        if packet.properties is None:
            return
        for name in (
            "payload_format_indicator",
            "message_expiry_interval",
            "topic_alias",
            "response_topic",
            "correlation_data",
            "content_type",
        ):
            assert getattr(theirs.properties, name) == getattr(packet.properties, name), name
        assert theirs.properties.user_properties == packet.properties.user_property

    @patient
    @given(st.sampled_from([V4, V5]).flatmap(lambda version: st.tuples(st.just(version), packets(version))))
    def test_packet_they_read_and_write_again_is_the_same_packet(
        self, versioned: tuple[ProtocolVersion, Packet]
    ) -> None:
        version, packet = versioned
        properties = getattr(packet, "properties", None)
        if properties is not None and len(properties.subscription_identifier) > 1:
            return  # zmqtt keeps one
        if packet == Auth():
            return  # zmqtt refuses an AUTH that says nothing
        name = "3.1.1" if version is V4 else "5.0"
        theirs, _ = self.codec.decode(encode(packet, version), version=name)
        assert decode(self.codec.encode(theirs, version=name), version) == packet
