"""MQTT5 3.1, 3.2: what CONNECT may say and how it is answered."""

from __future__ import annotations

import pytest

from tests.unit.mqtt.wire import VERSIONS, connect_packet, connected, feed_byte_by_byte, opened
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.errors import ForeignProtocol, UnsupportedVersion, WrongState
from thingpass.mqtt.events import ConnectReceived, SessionFailed
from thingpass.mqtt.packets import ConnAck, Connect, Disconnect, PingReq, ProtocolVersion, Publish, Will
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.mqtt.session import Limits, Session
from thingpass.mqtt.transitions import State

V31, V4, V5 = VERSIONS


def _receive(packet: Connect) -> tuple[Session, object]:
    session = Session(Limits(), 0.0)
    (event,) = session.receive(encode(packet, packet.protocol_version), 0.0)
    return session, event


def _connack(session: Session, version: ProtocolVersion) -> ConnAck:
    packet = decode(session.data_to_send(), version)
    assert isinstance(packet, ConnAck)
    return packet


class TestAccept:
    """MQTT5 3.2."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_connect_is_reported_and_kept(self, version: ProtocolVersion) -> None:
        packet = connect_packet(version, user_name="u", password=b"p", will=Will("t", b"x", 1, True))
        session, event = _receive(packet)
        assert event == ConnectReceived(packet)
        assert session.connect == packet
        assert session.protocol_version is version
        assert session.state is State.DECIDING
        assert not session.closing

    @pytest.mark.parametrize("version", [V31, V4])
    @pytest.mark.parametrize("clean_start", [False, True])
    def test_session_present_is_never_set(self, version: ProtocolVersion, clean_start: bool) -> None:
        session, _ = _receive(connect_packet(version, clean_start=clean_start))
        assert session.accept(0.0) == []
        assert session.data_to_send() == b"\x20\x02\x00\x00"
        assert session.state is State.OPEN

    def test_mqtt_5_is_told_the_limits(self) -> None:
        session = connected(
            V5, limits=Limits(maximum_packet_size=5000, receive_maximum=7, topic_alias_maximum=3)
        )
        session.accept(0.0)
        assert _connack(session, V5) == ConnAck(
            False,
            0,
            Properties(
                receive_maximum=7,
                maximum_packet_size=5000,
                topic_alias_maximum=3,
                shared_subscription_available=0,
            ),
        )

    def test_who_asked_for_a_lasting_session_is_told_there_is_none(self) -> None:
        session = connected(V5, properties=Properties(session_expiry_interval=3600))
        session.accept(0.0)
        properties = _connack(session, V5).properties
        assert properties is not None
        assert properties.session_expiry_interval == 0

    @pytest.mark.parametrize("clean_start", [False, True])
    def test_empty_client_id_of_mqtt_5_is_assigned_one(self, clean_start: bool) -> None:
        # tb-mqtt-client reconnects with an empty identifier and clean start 0
        session, _ = _receive(connect_packet(V5, client_id="", clean_start=clean_start))
        with pytest.raises(WrongState):
            session.accept(0.0)
        session.accept(0.0, assigned_client_id="given-1", server_keep_alive=20)
        properties = _connack(session, V5).properties
        assert properties is not None
        assert (properties.assigned_client_identifier, properties.server_keep_alive) == ("given-1", 20)
        assert session.deadline() == 30.0

    def test_client_id_that_was_sent_is_not_assigned_again(self) -> None:
        session = connected(V5)
        session.accept(0.0, assigned_client_id="other")
        properties = _connack(session, V5).properties
        assert properties is not None
        assert properties.assigned_client_identifier is None

    def test_client_without_room_for_the_connack_is_left(self) -> None:
        session = connected(V5, properties=Properties(maximum_packet_size=10))
        (failed,) = session.accept(0.0)
        assert isinstance(failed, SessionFailed)
        assert failed.error.reason_code == 0x95
        assert session.closing
        assert len(session.data_to_send()) <= 10

    def test_decision_after_the_end_does_nothing(self) -> None:
        session = connected(V4)
        assert len(session.tick(10.0)) == 1
        session.data_to_send()
        assert session.accept(11.0) == []
        session.refuse(mqtt5=0x87, mqtt3=5)
        assert session.data_to_send() == b""

    def test_accepting_twice_is_the_callers_mistake(self) -> None:
        session = opened(V4)
        with pytest.raises(WrongState):
            session.accept(0.0)
        with pytest.raises(WrongState):
            session.refuse(mqtt5=0x87, mqtt3=5)
        with pytest.raises(WrongState):
            Session(Limits(), 0.0).accept(0.0)

    def test_too_much_behind_connect_is_refused(self) -> None:
        session = connected(V5, limits=Limits(maximum_packet_size=1000))
        assert session.receive(b"\xc0\x00" * 33_000, 1.0) == []
        (failed,) = session.receive(b"\xc0\x00" * 500, 1.0)
        assert isinstance(failed, SessionFailed)
        assert failed.error.reason_code == 0x97
        assert _connack(session, V5).reason_code == 0x97


class TestRefuse:
    """MQTT5 3.2.2.2; the codes are the caller's."""

    @pytest.mark.parametrize("version", [V31, V4])
    def test_mqtt_3_gets_its_return_code(self, version: ProtocolVersion) -> None:
        session = connected(version)
        session.refuse(mqtt5=0x87, mqtt3=5, reason_string="unknown certificate")
        assert session.closing
        assert session.data_to_send() == b"\x20\x02\x00\x05"
        assert session.state is State.CLOSED

    def test_mqtt_5_gets_code_and_words(self) -> None:
        session = connected(V5)
        session.refuse(mqtt5=0x86, mqtt3=5, reason_string="unknown token")
        assert _connack(session, V5) == ConnAck(False, 0x86, Properties(reason_string="unknown token"))

    def test_words_are_left_out_for_who_declined_them(self) -> None:
        session = connected(V5, properties=Properties(request_problem_information=0))
        session.refuse(mqtt5=0x86, mqtt3=5, reason_string="unknown token")
        assert _connack(session, V5) == ConnAck(False, 0x86)

    @pytest.mark.parametrize(
        "words", ["x" * 30, "x" * 70_000, "\u00e9" * 40_000], ids=["client", "field", "utf-8"]
    )
    def test_words_are_left_out_where_they_do_not_fit(self, words: str) -> None:
        session = connected(V5, properties=Properties(maximum_packet_size=20))
        session.refuse(mqtt5=0x86, mqtt3=5, reason_string=words)
        assert _connack(session, V5) == ConnAck(False, 0x86)

    def test_code_that_connack_may_not_carry_goes_out_as_unspecified(self) -> None:
        session = connected(V5)
        session.refuse(mqtt5=0x8D, mqtt3=3)
        assert _connack(session, V5).reason_code == 0x80

    def test_disconnect_while_deciding_refuses(self) -> None:
        session = connected(V5)
        session.disconnect(0x89)
        assert _connack(session, V5).reason_code == 0x89
        session = connected(V4)
        session.disconnect(0x8B)
        assert session.data_to_send() == b"\x20\x02\x00\x03"


class TestRefusedByTheProtocol:
    """What needs no decision."""

    @pytest.mark.parametrize(
        ("version", "clean_start"),
        [(V31, True), (V31, False), (V4, False)],
        ids=["3.1", "3.1-kept", "3.1.1-kept"],
    )
    def test_empty_client_id_is_an_identifier_rejected(
        self, version: ProtocolVersion, clean_start: bool
    ) -> None:
        session, event = _receive(connect_packet(version, client_id="", clean_start=clean_start))
        assert isinstance(event, SessionFailed)
        assert event.error.reason_code == 0x85
        assert session.data_to_send() == b"\x20\x02\x00\x02"

    def test_empty_client_id_with_a_clean_session_passes_in_3_1_1(self) -> None:
        _, event = _receive(connect_packet(V4, client_id=""))
        assert isinstance(event, ConnectReceived)

    def test_client_id_of_more_than_23_characters_passes_in_3_1(self) -> None:
        _, event = _receive(connect_packet(V31, client_id="x" * 60))
        assert isinstance(event, ConnectReceived)

    def test_enhanced_authentication_is_refused(self) -> None:
        session, event = _receive(connect_packet(V5, properties=Properties(authentication_method="SCRAM")))
        assert isinstance(event, SessionFailed)
        assert (event.error.reason_code, event.error.statement) == (0x8C, "MQTT-4.12.0-1")
        assert _connack(session, V5).reason_code == 0x8C

    @pytest.mark.parametrize(
        ("data", "answer"),
        [
            (b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x00", b"\x20\x03\x00\x84\x00"),
            (b"\x10\x0c\x00\x04MQTT\x02\x02\x00\x3c\x00\x00", b"\x20\x02\x00\x01"),
            (b"\x10\x0c\x00\x04MQTT\x84\x02\x00\x3c\x00\x00", b"\x20\x02\x00\x01"),
            (b"\x10\x0c\x00\x04AMQP\x04\x02\x00\x3c\x00\x00", b"\x20\x02\x00\x01"),
        ],
        ids=["level-6", "level-2", "bridge", "other-name"],
    )
    def test_unknown_version_is_answered_in_the_form_of_its_level(self, data: bytes, answer: bytes) -> None:
        session = Session(Limits(), 0.0)
        (failed,) = session.receive(data, 0.0)
        assert isinstance(failed, SessionFailed)
        assert isinstance(failed.error, UnsupportedVersion)
        assert session.data_to_send() == answer
        assert session.closing

    def test_malformed_connect_of_mqtt_5_is_told_so(self) -> None:
        session = Session(Limits(), 0.0)
        session.receive(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00\x00", 0.0)
        assert _connack(session, V5).reason_code == 0x81

    def test_malformed_connect_of_mqtt_3_is_closed_without_a_word(self) -> None:
        session = Session(Limits(), 0.0)
        session.receive(b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00", 0.0)
        assert session.closing
        assert session.data_to_send() == b""

    def test_second_connect_ends_the_session(self) -> None:
        session = opened(V5)
        (failed,) = session.receive(encode(connect_packet(V5), V5), 1.0)
        assert isinstance(failed, SessionFailed)
        assert failed.error.statement == "MQTT-3.1.0-2"
        packet = decode(session.data_to_send(), V5)
        assert isinstance(packet, Disconnect)
        assert packet.reason_code == 0x82

    def test_packet_over_the_limit_is_refused_by_its_header(self) -> None:
        session = opened(V5, limits=Limits(maximum_packet_size=100))
        exact = encode(Publish(False, 0, False, "t", 0, None, b"x" * 94), V5)
        assert len(exact) == 100
        assert len(session.receive(exact, 1.0)) == 1
        (failed,) = session.receive(b"\x30\x63", 1.0)
        assert isinstance(failed, SessionFailed)
        assert failed.error.reason_code == 0x95
        packet = decode(session.data_to_send(), V5)
        assert isinstance(packet, Disconnect)
        assert packet.reason_code == 0x95


class TestForeignProtocols:
    """Other protocols on this port."""

    @pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte-by-byte"])
    @pytest.mark.parametrize(
        ("data", "looks_like"),
        [
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "tls"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http"),
            (b"POST /api/v1/token/telemetry HTTP/1.1\r\n", "http"),
            (b"OPTIONS * HTTP/1.1\r\n", "http"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http"),
        ],
    )
    def test_protocol_is_named(self, data: bytes, looks_like: str, cut: bool) -> None:
        session = Session(Limits(), 0.0)
        events = feed_byte_by_byte(session, data, 0.0) if cut else session.receive(data, 0.0)
        (failed,) = events
        assert isinstance(failed, SessionFailed)
        assert isinstance(failed.error, ForeignProtocol)
        assert failed.error.looks_like == looks_like
        assert session.closing
        assert session.data_to_send() == b""

    @pytest.mark.parametrize("data", [b"\x16\x04", b"GOT", b"SSH-2.0-OpenSSH", b"\x00\x00", b"\xff\xff"])
    def test_anything_else_is_just_wrong(self, data: bytes) -> None:
        session = Session(Limits(), 0.0)
        (failed,) = session.receive(data, 0.0)
        assert isinstance(failed, SessionFailed)
        assert failed.error.looks_like is None


class TestWill:
    """MQTT5 3.1.2.5 and 3.14.4; who keeps it is the caller."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_will_stands_until_a_goodbye_takes_it_back(self, version: ProtocolVersion) -> None:
        will = Will("t", b"gone")
        session = Session(Limits(), now=0.0)
        session.receive(encode(connect_packet(version, will=will), version), 0.0)
        session.accept(0.0)
        assert session.will == will
        session.receive(encode(Disconnect(), version), 1.0)
        assert session.will is None

    @pytest.mark.parametrize("reason_code", [ReasonCode.DISCONNECT_WITH_WILL, ReasonCode.UNSPECIFIED_ERROR])
    def test_goodbye_with_another_code_leaves_it(self, reason_code: int) -> None:
        will, version = Will("t", b"gone"), ProtocolVersion.MQTT_5
        session = Session(Limits(), now=0.0)
        session.receive(encode(connect_packet(version, will=will), version), 0.0)
        session.accept(0.0)
        session.receive(encode(Disconnect(reason_code), version), 1.0)
        assert session.will == will

    def test_session_knows_when_it_was_heard(self) -> None:
        session = Session(Limits(), now=0.0)
        session.receive(encode(connect_packet(ProtocolVersion.MQTT_5), ProtocolVersion.MQTT_5), 1.0)
        session.accept(2.0)
        assert session.heard_at == 2.0
        session.receive(encode(PingReq(), ProtocolVersion.MQTT_5), 3.0)
        assert session.heard_at == 3.0
