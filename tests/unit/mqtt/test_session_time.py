"""Keep alive, connect time-out, PING and the two ways to part. MQTT5 3.1.2.10, 3.12 to 3.14."""

from __future__ import annotations

import pytest

from tests.unit.mqtt.wire import VERSIONS, connect_packet, connected, opened
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.errors import TimedOut
from thingpass.mqtt.events import Disconnected, PingReceived, SessionFailed
from thingpass.mqtt.packets import ConnAck, Disconnect, ProtocolVersion
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.session import Limits, Session
from thingpass.mqtt.transitions import State

V31, V4, V5 = VERSIONS


class TestKeepAlive:
    """One and a half times what the client named."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_silence_ends_the_session(self, version: ProtocolVersion) -> None:
        session = opened(version, keep_alive=60)
        assert session.deadline() == 90.0
        assert session.tick(89.9) == []
        (failed,) = session.tick(90.0)
        assert isinstance(failed, SessionFailed)
        assert isinstance(failed.error, TimedOut)
        assert (failed.error.reason_code, failed.error.statement) == (0x8D, "MQTT-3.1.2-22")
        sent = session.data_to_send()
        if version is V5:
            assert decode(sent, V5) == Disconnect(
                0x8D, Properties(reason_string="nothing was heard for 90 s")
            )
        else:
            assert sent == b""
        assert session.tick(1000.0) == []
        assert session.deadline() is None

    @pytest.mark.parametrize("data", [b"\xc0\x00", b"\xc0", b"\x30\x04\x00\x01tx"])
    def test_anything_heard_moves_the_deadline(self, data: bytes) -> None:
        session = opened(V4, keep_alive=60)
        session.receive(data, 50.0)
        assert session.deadline() == 140.0

    def test_what_is_sent_does_not_move_it(self) -> None:
        session = opened(V4, keep_alive=60)
        session.publish("t", b"x", 0)
        session.data_to_send()
        assert session.deadline() == 90.0

    def test_keep_alive_0_has_no_deadline(self) -> None:
        session = opened(V4, keep_alive=0)
        assert session.deadline() is None
        assert session.tick(1e9) == []

    def test_keep_alive_of_the_server_counts_in_mqtt_5_only(self) -> None:
        for version, deadline in ((V5, 15.0), (V4, 90.0)):
            session = connected(version)
            session.accept(0.0, server_keep_alive=10)
            assert session.deadline() == deadline


class TestConnectTimeOut:
    """Before the session is open."""

    def test_no_connect_in_time_is_closed_without_a_word(self) -> None:
        session = Session(Limits(connect_timeout_s=10.0), 100.0)
        assert session.deadline() == 110.0
        session.receive(b"\x10", 109.0)
        assert session.deadline() == 110.0, "a byte now and then buys no time"
        (failed,) = session.tick(110.0)
        assert isinstance(failed, SessionFailed)
        assert isinstance(failed.error, TimedOut)
        assert failed.error.seen == "no CONNECT within 10 s"
        assert session.closing
        assert session.data_to_send() == b""

    @pytest.mark.parametrize(
        ("version", "answer"),
        [
            (V4, ConnAck(False, 3)),
            (V5, ConnAck(False, 0x88, Properties(reason_string="no decision within 10 s"))),
        ],
        ids=["3.1.1", "5"],
    )
    def test_decision_has_as_long_again(self, version: ProtocolVersion, answer: ConnAck) -> None:
        session = Session(Limits(connect_timeout_s=10.0), 0.0)
        session.receive(encode(connect_packet(version), version), 9.0)
        assert session.deadline() == 19.0
        session.receive(b"\xc0\x00", 15.0)
        assert session.deadline() == 19.0
        (failed,) = session.tick(19.0)
        assert isinstance(failed, SessionFailed)
        assert failed.error.reason_code == 0x88
        assert decode(session.data_to_send(), version) == answer


class TestPing:
    """MQTT5 3.12."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_ping_is_answered_at_once(self, version: ProtocolVersion) -> None:
        session = opened(version)
        assert session.receive(b"\xc0\x00\xc0\x00", 1.0) == [PingReceived(), PingReceived()]
        assert session.data_to_send() == b"\xd0\x00\xd0\x00"


class TestParting:
    """MQTT5 3.14."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_disconnect_of_the_client_ends_the_session(self, version: ProtocolVersion) -> None:
        session = opened(version)
        assert session.receive(b"\xe0\x00\xc0\x00", 1.0) == [Disconnected(0, None)]
        assert session.closing
        assert session.data_to_send() == b""
        assert session.state is State.CLOSED

    def test_reasons_of_the_client_are_reported(self) -> None:
        packet = Disconnect(0x04, Properties(reason_string="low battery"))
        assert opened(V5).receive(encode(packet, V5), 1.0) == [Disconnected(0x04, "low battery")]

    def test_disconnect_of_the_server_tells_mqtt_5_why(self) -> None:
        session = opened(V5)
        session.disconnect(0x98, "credentials were revoked")
        assert session.closing
        assert decode(session.data_to_send(), V5) == Disconnect(
            0x98, Properties(reason_string="credentials were revoked")
        )
        session.disconnect(0x8B)
        assert session.data_to_send() == b""

    def test_mqtt_3_is_just_closed(self) -> None:
        session = opened(V4)
        session.receive(b"\xc0\x00", 1.0)
        session.disconnect(0x98, "credentials were revoked")
        assert session.data_to_send() == b"\xd0\x00", "what was queued still goes"
        assert session.state is State.CLOSED

    def test_code_that_disconnect_may_not_carry_goes_out_as_unspecified(self) -> None:
        session = opened(V5)
        session.disconnect(0x86)
        assert decode(session.data_to_send(), V5) == Disconnect(0x80)

    def test_disconnect_before_connect_says_nothing(self) -> None:
        session = Session(Limits(), 0.0)
        session.disconnect(0x8B)
        assert session.closing
        assert session.data_to_send() == b""
