"""MQTT5 3.3 to 3.7, 4.3, 4.9: messages in both directions at every QoS."""

from __future__ import annotations

import pytest

from tests.unit.mqtt.wire import VERSIONS, opened
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.events import DeliveryAcknowledged, Event, MessagePublished, SessionFailed
from thingpass.mqtt.packets import (
    Disconnect,
    Packet,
    ProtocolVersion,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
)
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.session import Limits, Session

V31, V4, V5 = VERSIONS


def _publish(session: Session, qos: int, packet_id: int, *, duplicate: bool = False) -> list[Event]:
    return _feed(session, Publish(duplicate, qos, False, "t", packet_id if qos else 0, None, b"x"))


def _feed(session: Session, packet: Packet) -> list[Event]:
    assert session.protocol_version is not None
    return session.receive(encode(packet, session.protocol_version), 1.0)


def _message(qos: int, packet_id: int, *, duplicate: bool = False) -> MessagePublished:
    return MessagePublished("t", b"x", qos, False, duplicate, packet_id, None)


def _failure(events: list[Event]) -> SessionFailed:
    (failed,) = events
    assert isinstance(failed, SessionFailed)
    return failed


class TestWordsInAnAcknowledgement:
    """MQTT5 3.4.2.2.2, 3.5.2.2.2, 3.1.2.11.4, 3.1.2.11.7."""

    @pytest.mark.parametrize(("qos", "kind"), [(1, PubAck), (2, PubRec)])
    def test_mqtt_5_reads_them(self, qos: int, kind: type[PubAck | PubRec]) -> None:
        session = opened(V5)
        _publish(session, qos, 7)
        session.acknowledge(7, 0x99, "It is odd.")
        assert decode(session.data_to_send(), V5) == kind(7, 0x99, Properties(reason_string="It is odd."))

    @pytest.mark.parametrize("version", [V31, V4])
    def test_mqtt_3_does_not(self, version: ProtocolVersion) -> None:
        session = opened(version)
        _publish(session, 1, 7)
        session.acknowledge(7, 0x99, "It is odd.")
        assert decode(session.data_to_send(), version) == PubAck(7)

    @pytest.mark.parametrize(
        "wanted", [Properties(request_problem_information=0), Properties(maximum_packet_size=20)]
    )
    def test_not_where_they_are_unwanted_or_do_not_fit(self, wanted: Properties) -> None:
        session = opened(V5, properties=wanted)
        _publish(session, 1, 7)
        session.acknowledge(7, 0x99, "It is odd, and the words are many.")
        assert decode(session.data_to_send(), V5) == PubAck(7, 0x99)


class TestInboundQos0And1:
    """MQTT5 4.3.1, 4.3.2."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_qos_0_is_reported_and_owes_nothing(self, version: ProtocolVersion) -> None:
        session = opened(version)
        assert _publish(session, 0, 0) == [_message(0, 0)]
        assert session.unacknowledged == 0
        assert session.data_to_send() == b""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_qos_1_is_acknowledged_when_the_caller_says_so(self, version: ProtocolVersion) -> None:
        session = opened(version)
        assert _publish(session, 1, 258) == [_message(1, 258)]
        assert session.unacknowledged == 1
        assert session.data_to_send() == b""
        session.acknowledge(258)
        assert session.unacknowledged == 0
        assert session.data_to_send() == b"\x40\x02\x01\x02"

    @pytest.mark.parametrize("version", VERSIONS)
    def test_many_are_acknowledged_in_the_order_of_their_coming(self, version: ProtocolVersion) -> None:
        session = opened(version)
        for packet_id in (1, 2, 65_535):
            _publish(session, 1, packet_id)
        session.acknowledge_many([2, 1, 65_535])
        assert session.data_to_send().hex(" ") == "40 02 00 01 40 02 00 02 40 02 ff ff"
        assert session.unacknowledged == 0

    def test_failure_is_told_in_mqtt_5_only(self) -> None:
        for version, answer in ((V5, b"\x40\x03\x00\x01\x99"), (V4, b"\x40\x02\x00\x01")):
            session = opened(version)
            _publish(session, 1, 1)
            session.acknowledge(1, 0x99)
            assert session.data_to_send() == answer

    def test_code_that_puback_may_not_carry_goes_out_as_unspecified(self) -> None:
        session = opened(V5)
        _publish(session, 1, 1)
        session.acknowledge(1, 0x95)
        assert session.data_to_send() == b"\x40\x03\x00\x01\x80"

    def test_message_sent_again_while_its_acknowledgement_is_pending_is_reported_once(self) -> None:
        session = opened(V4)
        _publish(session, 1, 1)
        assert _publish(session, 1, 1, duplicate=True) == []
        session.acknowledge(1)
        assert session.data_to_send() == b"\x40\x02\x00\x01"
        assert _publish(session, 1, 1, duplicate=True) == [_message(1, 1, duplicate=True)]

    def test_identifier_used_for_every_message_is_acknowledged_for_every_message(self) -> None:
        session = opened(V4)
        assert _publish(session, 1, 1) + _publish(session, 1, 1) == [_message(1, 1), _message(1, 1)]
        assert session.unacknowledged == 2
        session.acknowledge_many([1, 1])
        assert session.data_to_send() == b"\x40\x02\x00\x01" * 2
        assert session.unacknowledged == 0

    def test_retain_is_reported_and_nothing_else(self) -> None:
        session = opened(V4)
        (event,) = _feed(session, Publish(False, 0, True, "t", 0, None, b"x"))
        assert event == MessagePublished("t", b"x", 0, True, False, 0, None)

    def test_properties_are_reported(self) -> None:
        properties = Properties(content_type="json", user_property=(("a", "b"),))
        (event,) = _feed(opened(V5), Publish(False, 0, False, "t", 0, properties, b"x"))
        assert event == MessagePublished("t", b"x", 0, False, False, 0, properties)

    def test_subscription_identifier_of_a_client_is_refused(self) -> None:
        packet = Publish(False, 0, False, "t", 0, Properties(subscription_identifier=(1,)), b"x")
        assert _failure(_feed(opened(V5), packet)).error.statement == "MQTT-3.3.4-6"

    def test_acknowledgement_after_the_end_does_nothing(self) -> None:
        session = opened(V5)
        _publish(session, 1, 1)
        session.disconnect(0x8B)
        session.data_to_send()
        session.acknowledge(1)
        session.acknowledge_many([1])
        assert session.data_to_send() == b""


class TestInboundQos2:
    """MQTT5 4.3.3."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_exchange_is_complete(self, version: ProtocolVersion) -> None:
        session = opened(version)
        assert _publish(session, 2, 9) == [_message(2, 9)]
        assert session.data_to_send() == b""
        session.acknowledge_many([9])
        assert session.data_to_send() == b"\x50\x02\x00\x09"
        assert session.unacknowledged == 0
        assert _feed(session, PubRel(9)) == []
        assert session.data_to_send() == b"\x70\x02\x00\x09"
        assert _publish(session, 2, 9) == [_message(2, 9)]

    def test_message_sent_again_before_pubrec_waits_for_it(self) -> None:
        session = opened(V4)
        _publish(session, 2, 9)
        assert _publish(session, 2, 9, duplicate=True) == []
        assert session.data_to_send() == b""
        session.acknowledge(9)
        assert session.data_to_send() == b"\x50\x02\x00\x09"

    @pytest.mark.parametrize("duplicate", [False, True])
    def test_message_sent_again_after_pubrec_gets_pubrec_again_and_no_event(self, duplicate: bool) -> None:
        session = opened(V4)
        _publish(session, 2, 9)
        session.acknowledge(9)
        session.data_to_send()
        assert _publish(session, 2, 9, duplicate=duplicate) == []
        assert session.data_to_send() == b"\x50\x02\x00\x09"

    def test_unknown_identifier_is_completed(self) -> None:
        for version, answer in ((V5, b"\x70\x03\x00\x05\x92"), (V4, b"\x70\x02\x00\x05")):
            session = opened(version)
            assert _feed(session, PubRel(5)) == []
            assert session.data_to_send() == answer

    def test_refused_message_ends_its_exchange(self) -> None:
        session = opened(V5)
        _publish(session, 2, 9)
        session.acknowledge(9, 0x97)
        assert session.data_to_send() == b"\x50\x03\x00\x09\x97"
        assert session.unacknowledged == 0
        assert _publish(session, 2, 9) == [_message(2, 9)]

    def test_pubrel_before_pubrec_is_a_violation(self) -> None:
        session = opened(V5)
        _publish(session, 2, 9)
        assert _failure(_feed(session, PubRel(9))).error.statement == "MQTT-4.3.3-4"

    @pytest.mark.parametrize("first", [1, 2])
    def test_identifier_in_use_at_the_other_qos_is_a_violation(self, first: int) -> None:
        session = opened(V5)
        _publish(session, first, 9)
        assert _failure(_publish(session, 3 - first, 9)).error.statement == "MQTT-2.2.1-3"

    def test_mixed_batch_is_answered_as_each_needs(self) -> None:
        session = opened(V4)
        _publish(session, 1, 1)
        _publish(session, 2, 2)
        session.acknowledge_many([1, 2])
        assert session.data_to_send() == b"\x40\x02\x00\x01\x50\x02\x00\x02"
        assert session.unacknowledged == 0


class TestReceiveMaximum:
    """MQTT5 3.3.4, 4.9: how much a client may leave unacknowledged."""

    @pytest.mark.parametrize("qos", [1, 2])
    def test_one_too_many_ends_the_session(self, qos: int) -> None:
        session = opened(V5, limits=Limits(receive_maximum=2))
        _publish(session, qos, 1)
        _publish(session, qos, 2)
        assert _publish(session, 0, 0) == [_message(0, 0)]
        error = _failure(_publish(session, qos, 3)).error
        assert (error.reason_code, error.statement) == (0x93, "MQTT-3.3.4-7")
        packet = decode(session.data_to_send(), V5)
        assert isinstance(packet, Disconnect)
        assert packet.reason_code == 0x93

    def test_puback_and_pubcomp_make_room_and_pubrec_does_not(self) -> None:
        session = opened(V5, limits=Limits(receive_maximum=1))
        for packet_id in (1, 2, 3):
            assert _publish(session, 1, packet_id) == [_message(1, packet_id)]
            session.acknowledge_many([packet_id])
        _publish(session, 2, 4)
        session.acknowledge(4)
        _feed(session, PubRel(4))
        _publish(session, 2, 5)
        session.acknowledge(5)
        assert session.unacknowledged == 0
        assert _failure(_publish(session, 1, 6)).error.reason_code == 0x93

    def test_message_sent_again_counts_once(self) -> None:
        session = opened(V5, limits=Limits(receive_maximum=1))
        _publish(session, 1, 1)
        assert _publish(session, 1, 1, duplicate=True) == []

    def test_mqtt_3_has_no_such_limit(self) -> None:
        session = opened(V4, limits=Limits(receive_maximum=1))
        for packet_id in range(1, 500):
            assert len(_publish(session, 1, packet_id)) == 1
        assert session.unacknowledged == 499


class TestTopicAliases:
    """MQTT5 3.3.2.3.4."""

    @staticmethod
    def _send(session: Session, topic: str, alias: int) -> list[Event]:
        return _feed(session, Publish(False, 0, False, topic, 0, Properties(topic_alias=alias), b"x"))

    def test_alias_stands_for_the_last_name_it_was_given(self) -> None:
        session = opened(V5)
        for topic, expected in (("a", "a"), ("", "a"), ("b", "b"), ("", "b")):
            (event,) = self._send(session, topic, 10)
            assert isinstance(event, MessagePublished)
            assert event.topic == expected

    @pytest.mark.parametrize("alias", [0, 11, 65_535])
    def test_alias_out_of_bounds_ends_the_session(self, alias: int) -> None:
        session = opened(V5)
        assert _failure(self._send(session, "a", alias)).error.reason_code == 0x94

    def test_alias_without_a_name_is_a_protocol_error(self) -> None:
        assert _failure(self._send(opened(V5), "", 1)).error.reason_code == 0x82

    def test_no_alias_is_allowed_where_none_was_announced(self) -> None:
        session = opened(V5, limits=Limits(topic_alias_maximum=0))
        assert _failure(self._send(session, "a", 1)).error.reason_code == 0x94


class TestOutbound:
    """Messages to the client."""

    def test_qos_0_goes_out(self) -> None:
        session = opened(V4)
        assert session.publish("a/b", b"hi", 0, retain=True) == 0
        assert session.data_to_send() == b"\x31\x07\x00\x03a/bhi"

    @pytest.mark.parametrize("version", VERSIONS)
    def test_qos_1_is_acknowledged_by_the_client(self, version: ProtocolVersion) -> None:
        session = opened(version)
        assert session.publish("t", b"x", 1) == 1
        assert decode(session.data_to_send(), version) == Publish(False, 1, False, "t", 1, None, b"x")
        assert _feed(session, PubAck(1)) == [DeliveryAcknowledged(1, 0)]
        assert _feed(session, PubAck(1)) == [], "a second answer is no event"

    def test_refusal_of_the_client_is_reported(self) -> None:
        session = opened(V5)
        session.publish("t", b"x", 1)
        assert _feed(session, PubAck(1, 0x87)) == [DeliveryAcknowledged(1, 0x87)]

    @pytest.mark.parametrize("version", VERSIONS)
    def test_qos_2_is_complete_after_pubcomp(self, version: ProtocolVersion) -> None:
        session = opened(version)
        assert session.publish("t", b"x", 2) == 1
        session.data_to_send()
        for _ in range(2):  # a PUBREC that comes again is answered again
            assert _feed(session, PubRec(1)) == []
            assert session.data_to_send() == b"\x62\x02\x00\x01"
        assert _feed(session, PubComp(1)) == [DeliveryAcknowledged(1, 0)]
        assert session.send_quota == Limits().send_maximum

    def test_qos_2_ends_with_a_refusing_pubrec(self) -> None:
        session = opened(V5)
        session.publish("t", b"x", 2)
        assert _feed(session, PubRec(1, 0x97)) == [DeliveryAcknowledged(1, 0x97)]
        assert session.send_quota == Limits().send_maximum

    def test_unknown_pubrec_is_answered_so_that_the_client_can_end_it(self) -> None:
        for version, answer in ((V5, b"\x62\x03\x00\x07\x92"), (V4, b"\x62\x02\x00\x07")):
            session = opened(version)
            assert _feed(session, PubRec(7)) == []
            assert session.data_to_send() == answer

    @pytest.mark.parametrize(
        ("qos", "answer"),
        [(1, PubRec(1)), (1, PubComp(1)), (2, PubAck(1)), (2, PubComp(1)), (1, PubRec(1, 0x97))],
    )
    def test_wrong_answer_is_a_violation(self, qos: int, answer: Packet) -> None:
        session = opened(V5)
        session.publish("t", b"x", qos)
        assert _failure(_feed(session, answer)).error.reason_code == 0x82

    def test_receive_maximum_of_the_client_is_kept(self) -> None:
        session = opened(V5, properties=Properties(receive_maximum=2))
        assert session.send_quota == 2
        assert [session.publish("t", b"x", qos) for qos in (1, 2, 1)] == [1, 2, 3]
        assert session.send_quota == 0
        assert len(session.data_to_send()) == 2 * 9, "the third one waits"
        assert session.publish("t", b"x", 0) == 0, "QoS 0 needs no quota"
        session.data_to_send()
        assert _feed(session, PubAck(3)) == [], "it was not sent, so nothing is to be acknowledged"
        assert _feed(session, PubAck(1)) == [DeliveryAcknowledged(1, 0)]
        assert decode(session.data_to_send(), V5) == Publish(False, 1, False, "t", 3, None, b"x")
        assert _feed(session, PubAck(3)) == [DeliveryAcknowledged(3, 0)]

    def test_what_waits_goes_in_order_and_lets_none_overtake(self) -> None:
        session = opened(V5, properties=Properties(receive_maximum=1))
        for payload in (b"a", b"b"):
            session.publish("t", payload, 1)
        session.data_to_send()
        _feed(session, PubAck(1))
        session.publish("t", b"c", 1)
        assert decode(session.data_to_send(), V5).payload == b"b"
        _feed(session, PubAck(2))
        assert decode(session.data_to_send(), V5).payload == b"c"

    def test_messages_on_their_way_are_bounded_in_mqtt_3_too(self) -> None:
        session = opened(V4, limits=Limits(send_maximum=3))
        assert [session.publish("t", b"x", 1) for _ in range(4)] == [1, 2, 3, 4]
        assert len(session.data_to_send()) == 3 * 8

    @pytest.mark.parametrize(
        "limits", [Limits(send_maximum=1, waiting_maximum=2), Limits(send_maximum=1, held_bytes_maximum=1)]
    )
    def test_what_waits_is_bounded(self, limits: Limits) -> None:
        session = opened(V4, limits=limits)
        while session.publish("t", b"x", 1) is not None:
            assert session.send_quota == 0
        assert session.backed_up
        assert session.publish("t", b"x", 0) == 0
        _feed(session, PubAck(1))
        assert session.publish("t", b"x", 1) is not None

    def test_what_waits_past_its_time_is_dropped(self) -> None:
        session = opened(V5, properties=Properties(receive_maximum=1))
        session.publish("t", b"first", 1)
        session.publish("t", b"late", 1, expires_at=5.0, now=1.0)
        session.publish("t", b"last", 1, expires_at=9.5, now=1.0)
        session.data_to_send()
        session.receive(encode(PubAck(1), V5), 5.0)
        packet = decode(session.data_to_send(), V5)
        assert (packet.payload, packet.packet_id) == (b"last", 3)
        assert packet.properties == Properties(message_expiry_interval=5)

    def test_time_left_is_told_in_mqtt_5_only(self) -> None:
        for version, expected in ((V5, Properties(message_expiry_interval=1)), (V4, None)):
            session = opened(version)
            session.publish("t", b"x", 1, expires_at=10.2, now=10.0)
            assert decode(session.data_to_send(), version).properties == expected

    def test_message_larger_than_the_client_takes_is_not_sent(self) -> None:
        session = opened(V5, properties=Properties(maximum_packet_size=50))
        assert session.publish("t", b"x" * 60, 1) is None
        assert session.data_to_send() == b""
        assert session.send_quota == Limits().send_maximum
        session.publish("t", b"x" * 41, 1)
        assert len(session.data_to_send()) == 49

    def test_identifiers_wrap_and_skip_those_in_flight(self) -> None:
        session = opened(V4)
        assert session.publish("t", b"", 1) == 1
        for expected in range(2, 65_536):
            assert session.publish("t", b"", 1) == expected
            session.receive(b"\x40\x02" + expected.to_bytes(2, "big"), 1.0)
            session.data_to_send()
        assert session.publish("t", b"", 1) == 2, "1 is still in flight"

    def test_nothing_goes_out_after_the_end(self) -> None:
        session = opened(V4)
        session.disconnect(0x8B)
        assert session.publish("t", b"x", 0) is None
        assert session.data_to_send() == b""
