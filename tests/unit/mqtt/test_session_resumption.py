"""MQTT5 3.1.2.4, 3.1.2.11.2, 4.1, 4.4: a session that its client comes back to."""

from __future__ import annotations

import pytest

from tests.unit.mqtt.wire import connect_packet
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.events import DeliveryAcknowledged, Disconnected, SessionFailed
from thingpass.mqtt.packets import (
    ConnAck,
    Disconnect,
    Packet,
    ProtocolVersion,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    Subscribe,
    Subscription,
)
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.session import Limits, Session
from thingpass.mqtt.session_state import SessionState

V4, V5 = ProtocolVersion.MQTT_3_1_1, ProtocolVersion.MQTT_5
LIMITS = Limits(session_expiry_maximum=600)


def connect(
    version: ProtocolVersion = V5,
    *,
    resumed: SessionState | None = None,
    clean_start: bool = False,
    limits: Limits = LIMITS,
    now: float = 0.0,
    **properties: int,
) -> tuple[Session, list[Packet]]:
    """An open session, and what it has sent so far."""
    session = Session(limits, now)
    given = Properties(**properties) if properties else None
    session.receive(encode(connect_packet(version, clean_start=clean_start, properties=given), version), now)
    session.accept(now, resumed=resumed)
    return session, sent(session, version)


def sent(session: Session, version: ProtocolVersion = V5) -> list[Packet]:
    data, packets = session.data_to_send(), []
    while data:
        end = 2 + data[1]  # none here is longer than 127 bytes
        packets.append(decode(data[:end], version))
        data = data[end:]
    return packets


def feed(session: Session, packet: Packet, version: ProtocolVersion = V5, now: float = 1.0) -> list[object]:
    return list(session.receive(encode(packet, version), now))


class TestExpiry:
    """How long a session is to be kept."""

    @pytest.mark.parametrize(
        ("asked", "granted"), [(0, 0), (60, 60), (600, 600), (601, 600), (2**32 - 1, 600)]
    )
    def test_what_is_asked_for_is_granted_within_the_bound(self, asked: int, granted: int) -> None:
        session, (connack,) = connect(session_expiry_interval=asked)
        assert session.session_expiry_interval == granted
        assert isinstance(connack, ConnAck)
        assert connack.properties is not None
        assert connack.properties.session_expiry_interval == (None if asked == granted else granted)

    def test_mqtt_5_asks_for_none_by_default(self) -> None:
        session, (connack,) = connect()
        assert session.session_expiry_interval == 0
        assert isinstance(connack, ConnAck)
        assert not connack.session_present

    @pytest.mark.parametrize(("clean", "interval"), [(True, 0), (False, 600)])
    def test_mqtt_3_asks_by_clean_session(self, clean: bool, interval: int) -> None:
        session, _ = connect(V4, clean_start=clean)
        assert session.session_expiry_interval == interval

    def test_disconnect_may_change_it(self) -> None:
        session, _ = connect(session_expiry_interval=60)
        assert feed(session, Disconnect(0, Properties(session_expiry_interval=0))) == [Disconnected(0, None)]
        assert session.session_expiry_interval == 0

    def test_disconnect_may_not_ask_for_what_connect_did_not(self) -> None:
        session, _ = connect()
        (failed,) = feed(session, Disconnect(0, Properties(session_expiry_interval=5)))
        assert isinstance(failed, SessionFailed)
        assert failed.error.reason_code == 0x82


class TestResumption:
    """What the next connection finds."""

    def test_session_present_is_said(self) -> None:
        first, _ = connect(session_expiry_interval=60)
        _, (connack,) = connect(resumed=first.state_to_keep())
        assert isinstance(connack, ConnAck)
        assert connack.session_present

    @pytest.mark.parametrize("version", [V4, V5])
    def test_unacknowledged_messages_come_again_with_dup(self, version: ProtocolVersion) -> None:
        asked = {"session_expiry_interval": 60} if version is V5 else {}
        first, _ = connect(version, **asked)
        for payload in (b"a", b"b", b"c"):
            first.publish("t", payload, 1)
        first.data_to_send()
        feed(first, PubAck(2), version)
        second, (_, *again) = connect(version, resumed=first.state_to_keep(), **asked)
        assert again == [
            Publish(True, 1, False, "t", 1, None, b"a"),
            Publish(True, 1, False, "t", 3, None, b"c"),
        ]
        assert feed(second, PubAck(3), version) == [DeliveryAcknowledged(3, 0)]
        assert second.publish("t", b"d", 1) == 4

    def test_they_come_again_and_again(self) -> None:
        session, _ = connect(session_expiry_interval=60)
        session.publish("t", b"a", 1)
        for _ in range(3):
            session, (_, again) = connect(resumed=session.state_to_keep(), session_expiry_interval=60)
            assert again == Publish(True, 1, False, "t", 1, None, b"a")

    def test_what_waited_goes_behind_them_within_the_new_receive_maximum(self) -> None:
        first, _ = connect(session_expiry_interval=60, receive_maximum=2)
        for payload in (b"a", b"b", b"c"):
            first.publish("t", payload, 1)
        second, (_, *packets) = connect(resumed=first.state_to_keep(), receive_maximum=1)
        assert packets == [Publish(True, 1, False, "t", 1, None, b"a")]
        feed(second, PubAck(1))
        assert sent(second) == [Publish(True, 1, False, "t", 2, None, b"b")]
        feed(second, PubAck(2))
        assert sent(second) == [Publish(False, 1, False, "t", 3, None, b"c")]

    def test_messages_past_their_time_do_not_come_again(self) -> None:
        first, _ = connect(session_expiry_interval=60)
        first.publish("t", b"late", 1, expires_at=10.0, now=0.0)
        first.publish("t", b"good", 1, expires_at=30.0, now=0.0)
        _, (_, again) = connect(resumed=first.state_to_keep(), now=20.0)
        assert again == Publish(True, 1, False, "t", 2, Properties(message_expiry_interval=10), b"good"), (
            "the time left is counted anew"
        )

    def test_a_message_too_large_for_the_new_connection_counts_as_sent(self) -> None:
        first, _ = connect(session_expiry_interval=60)
        first.publish("t", b"x" * 100, 1)
        first.publish("t", b"y", 1)
        _, (_, again) = connect(resumed=first.state_to_keep(), maximum_packet_size=60)
        assert again == Publish(True, 1, False, "t", 2, None, b"y")

    def test_qos_2_goes_on_where_it_stood(self) -> None:
        first, _ = connect(session_expiry_interval=60)
        first.publish("t", b"a", 2)
        first.publish("t", b"b", 2)
        feed(first, PubRec(1))
        second, (_, *again) = connect(resumed=first.state_to_keep(), session_expiry_interval=60)
        assert again == [PubRel(1), Publish(True, 2, False, "t", 2, None, b"b")]
        assert feed(second, PubComp(1)) == [DeliveryAcknowledged(1, 0)]

    def test_qos_2_of_the_client_is_not_taken_twice(self) -> None:
        first, _ = connect(session_expiry_interval=60)
        feed(first, Publish(False, 2, False, "t", 7, None, b"stored"))
        first.acknowledge(7)
        feed(first, Publish(False, 2, False, "t", 8, None, b"not stored yet"))
        second, _ = connect(resumed=first.state_to_keep())
        assert feed(second, Publish(True, 2, False, "t", 7, None, b"stored")) == []
        assert sent(second) == [PubRec(7)]
        (_,) = feed(second, Publish(True, 2, False, "t", 8, None, b"not stored yet"))
        second.acknowledge(8)
        feed(second, PubRel(7))
        assert second.unacknowledged == 0

    def test_subscription_identifiers_are_kept(self) -> None:
        first, _ = connect(session_expiry_interval=60)
        asked = Subscribe(1, Properties(subscription_identifier=(5,)), (Subscription("t", 1),))
        feed(first, asked)
        first.grant(1, [1])
        second, _ = connect(resumed=first.state_to_keep())
        second.publish("t", b"x", 0)
        assert sent(second) == [
            Publish(False, 0, False, "t", 0, Properties(subscription_identifier=(5,)), b"x")
        ]

    def test_nothing_is_kept_of_a_session_that_ends_with_its_connection(self) -> None:
        session, _ = connect()
        session.publish("t", b"x", 1)
        _, packets = connect(resumed=session.state_to_keep())
        assert len(packets) == 1
