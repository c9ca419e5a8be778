"""MQTT5 3.1.2.11.5, 3.3.2.3.4: numbers in the place of topic names, in messages to the client."""

from __future__ import annotations

from tests.unit.mqtt.wire import VERSIONS, connected, opened
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.packets import Publish
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.session import Limits, Session

V5 = VERSIONS[-1]
PUSHES = "v1/devices/me/attributes"


def _sent(session: Session, topic: str, payload: bytes = b"x") -> tuple[str, int | None]:
    """The topic name and the alias of the message as it went out."""
    assert session.publish(topic, payload, 0) == 0
    packet = decode(session.data_to_send(), V5)
    assert isinstance(packet, Publish)
    assert packet.payload == payload
    return packet.topic, packet.properties.topic_alias if packet.properties else None


def _allowing(aliases: int) -> Session:
    return opened(V5, properties=Properties(topic_alias_maximum=aliases))


def test_name_that_repeats_gets_a_number() -> None:
    session = _allowing(5)
    assert [_sent(session, PUSHES) for _ in range(4)] == [(PUSHES, None), (PUSHES, 1), ("", 1), ("", 1)]


def test_number_stays_while_other_messages_go_between() -> None:
    session = _allowing(5)
    for _ in range(2):
        _sent(session, PUSHES)
    for number in range(20):
        assert _sent(session, f"v1/devices/me/rpc/request/{number}")[1] is None, "it does not repeat"
        assert _sent(session, PUSHES) == ("", 1)


def test_no_more_numbers_than_the_client_allows() -> None:
    session = _allowing(2)
    given = {}
    for name in ("first", "second", "third"):
        for _ in range(3):
            given[name] = _sent(session, name)
    assert given == {"first": ("", 1), "second": ("", 2), "third": ("third", None)}


def test_no_more_than_ten_are_kept() -> None:
    session = _allowing(65_535)
    given = [[_sent(session, f"topic/{number}") for _ in range(3)][-1][1] for number in range(12)]
    assert given == [*range(1, 11), None, None]


def test_no_number_where_the_client_allows_none() -> None:
    for session in (opened(V5), _allowing(0)):
        assert {_sent(session, PUSHES) for _ in range(3)} == {(PUSHES, None)}


def test_no_number_for_a_name_that_is_as_short() -> None:
    session = _allowing(5)
    assert {_sent(session, "a/b") for _ in range(3)} == {("a/b", None)}


def test_message_that_fits_only_without_the_number_goes_out_without() -> None:
    size = len(encode(Publish(False, 0, False, PUSHES, 0, None, b"x" * 40), V5))
    session = opened(V5, properties=Properties(topic_alias_maximum=5, maximum_packet_size=size))
    full, small = b"x" * 40, b"x"
    assert [_sent(session, PUSHES, payload) for payload in (full, full, small, full)] == [
        (PUSHES, None),
        (PUSHES, None),
        (PUSHES, 1),
        ("", 1),
    ]


def test_what_is_sent_again_on_another_connection_has_its_name() -> None:
    properties = Properties(topic_alias_maximum=5, session_expiry_interval=60)
    before = _lasting(properties)
    for _ in range(3):
        before.publish(PUSHES, b"x", 1)
    after = _lasting(properties, before)
    sent = after.data_to_send()
    assert sent.count(PUSHES.encode()) == 2, "the second one gets the number, the third needs no name"


def _lasting(properties: Properties, earlier: Session | None = None) -> Session:
    session = connected(V5, limits=Limits(session_expiry_maximum=60), properties=properties)
    session.accept(0.0, resumed=earlier.state_to_keep() if earlier else None)
    return session
