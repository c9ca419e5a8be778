"""MQTT5 3.8 to 3.11: SUBSCRIBE and UNSUBSCRIBE."""

from __future__ import annotations

import pytest

from tests.unit.mqtt.wire import VERSIONS, opened
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.events import SessionFailed, SubscribeRequested, UnsubscribeRequested
from thingpass.mqtt.packets import ProtocolVersion, Publish, SubAck, Subscribe, Subscription, Unsubscribe
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.session import Session

V31, V4, V5 = VERSIONS


def _subscribe(
    session: Session, *topic_filters: str, packet_id: int = 1, identifier: int = 0
) -> list[object]:
    properties = Properties(subscription_identifier=(identifier,)) if identifier else None
    packet = Subscribe(packet_id, properties, tuple(Subscription(each, 1) for each in topic_filters))
    assert session.protocol_version is not None
    return list(session.receive(encode(packet, session.protocol_version), 1.0))


@pytest.mark.parametrize("version", VERSIONS)
def test_request_is_reported_and_granted(version: ProtocolVersion) -> None:
    session = opened(version)
    subscriptions = (Subscription("a/+", 1), Subscription("b", 1))
    assert _subscribe(session, "a/+", "b", packet_id=77) == [SubscribeRequested(77, subscriptions, None)]
    assert session.data_to_send() == b""
    session.grant(77, [1, 0])
    assert decode(session.data_to_send(), version) == SubAck(77, None, (1, 0))


@pytest.mark.parametrize(("version", "sent"), [(V31, 0), (V4, 0x80), (V5, 0x8F)])
def test_failure_is_told_as_the_version_can(version: ProtocolVersion, sent: int) -> None:
    session = opened(version)
    _subscribe(session, "a")
    session.grant(1, [0x8F])
    assert decode(session.data_to_send(), version) == SubAck(1, None, (sent,))


def test_options_of_mqtt_5_are_reported() -> None:
    subscription = Subscription("a", 2, True, True, 2)
    session = opened(V5)
    (event,) = session.receive(encode(Subscribe(1, None, (subscription,)), V5), 1.0)
    assert event == SubscribeRequested(1, (subscription,), None)


def test_shared_subscription_is_refused_in_mqtt_5_and_plain_text_in_3() -> None:
    (failed,) = _subscribe(opened(V5), "$share/g/a")
    assert isinstance(failed, SessionFailed)
    assert failed.error.reason_code == 0x9E
    (event,) = _subscribe(opened(V4), "$share/g/a")
    assert isinstance(event, SubscribeRequested)


@pytest.mark.parametrize(
    ("version", "answer"), [(V31, "b0 02 00 05"), (V4, "b0 02 00 05"), (V5, "b0 05 00 05 00 00 11")]
)
def test_unsubscribe_is_reported_and_confirmed(version: ProtocolVersion, answer: str) -> None:
    session = opened(version)
    data = encode(Unsubscribe(5, None, ("a", "b/#")), version)
    assert session.receive(data, 1.0) == [UnsubscribeRequested(5, ("a", "b/#"), None)]
    session.confirm_unsubscribe(5, [0, 0x11])
    assert session.data_to_send().hex(" ") == answer


def test_answers_after_the_end_do_nothing() -> None:
    session = opened(V4)
    _subscribe(session, "a")
    session.disconnect(0x8B)
    session.grant(1, [0])
    session.confirm_unsubscribe(1, [0])
    assert session.data_to_send() == b""


class TestSubscriptionIdentifiers:
    """MQTT5 3.8.2.1.2, 3.3.4."""

    @staticmethod
    def _identifiers(session: Session, topic: str) -> tuple[int, ...]:
        session.data_to_send()
        session.publish(topic, b"x", 0)
        packet = decode(session.data_to_send(), V5)
        assert isinstance(packet, Publish)
        return packet.properties.subscription_identifier if packet.properties is not None else ()

    def test_message_carries_the_identifiers_of_all_that_match(self) -> None:
        session = opened(V5)
        for packet_id, (topic_filter, identifier) in enumerate((("a/+", 7), ("a/#", 300), ("b", 9)), start=1):
            _subscribe(session, topic_filter, packet_id=packet_id, identifier=identifier)
            session.grant(packet_id, [1])
        assert self._identifiers(session, "a/1") == (7, 300)
        assert self._identifiers(session, "b") == (9,)
        assert self._identifiers(session, "c") == ()

    def test_identifier_counts_once_granted_and_until_replaced_or_ended(self) -> None:
        session = opened(V5)
        _subscribe(session, "a", "b", identifier=7)
        assert self._identifiers(session, "a") == ()
        session.grant(1, [1, 0x8F])
        assert self._identifiers(session, "a") == (7,)
        assert self._identifiers(session, "b") == ()
        _subscribe(session, "a")
        session.grant(1, [0])
        assert self._identifiers(session, "a") == ()
        _subscribe(session, "a", identifier=8)
        session.grant(1, [0])
        session.receive(encode(Unsubscribe(2, None, ("a",)), V5), 1.0)
        assert self._identifiers(session, "a") == ()
