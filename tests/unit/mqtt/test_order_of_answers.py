"""[MQTT-4.6.0-2], [MQTT-4.6.0-3]: answers go out in the order of the messages, whenever each is ready."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.mqtt.wire import VERSIONS, opened
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.packets import Packet, PubAck, Publish, PubRec, PubRel
from thingpass.mqtt.session import Session

V5 = VERSIONS[-1]


def _receive(session: Session, qos: int, *packet_ids: int) -> None:
    for packet_id in packet_ids:
        session.receive(encode(Publish(False, qos, False, "t", packet_id, None, b"x"), V5), 1.0)


def _answers(session: Session) -> list[Packet]:
    data = session.data_to_send()
    found = []
    while data:
        length = 2 + data[1]
        found.append(decode(data[:length], V5))
        data = data[length:]
    return found


def _sent(session: Session) -> list[int]:
    return [answer.packet_id for answer in _answers(session) if isinstance(answer, PubAck | PubRec)]


def test_refusal_waits_for_what_is_being_stored() -> None:
    session = opened(V5)
    _receive(session, 1, 1, 2, 3)
    session.acknowledge(2, 0x90, "Nobody knows it.")
    assert _answers(session) == []
    assert session.unacknowledged == 3
    session.acknowledge_many([1, 3])
    first, second, third = _answers(session)
    assert (first, third) == (PubAck(1), PubAck(3))
    assert isinstance(second, PubAck)
    assert (second.packet_id, second.reason_code) == (2, 0x90)
    assert second.properties is not None
    assert second.properties.reason_string == "Nobody knows it."
    assert session.unacknowledged == 0


def test_batch_waits_for_an_earlier_message_that_takes_longer() -> None:
    session = opened(V5)
    _receive(session, 1, 1, 2, 3, 4)
    session.acknowledge_many([1, 3, 4])
    assert _sent(session) == [1]
    session.acknowledge(2)
    assert _sent(session) == [2, 3, 4]


def test_the_two_qualities_do_not_wait_for_each_other() -> None:
    session = opened(V5)
    _receive(session, 1, 1)
    _receive(session, 2, 2, 3)
    session.acknowledge(3)
    assert _sent(session) == []
    session.acknowledge(2)
    assert _sent(session) == [2, 3]
    session.acknowledge(1)
    assert _sent(session) == [1]


def test_released_message_holds_nobody_up() -> None:
    session = opened(V5)
    _receive(session, 2, 1)
    session.acknowledge(1)
    _receive(session, 2, 2)
    session.acknowledge(2, 0x99)
    assert _sent(session) == [1, 2]
    session.receive(encode(PubRel(1), V5), 1.0)
    assert session.unacknowledged == 0


def test_one_identifier_for_every_message_is_answered_for_every_message() -> None:
    session = opened(V5)
    _receive(session, 1, 9, 5, 5, 5)
    session.acknowledge(5, 0x90)
    session.acknowledge_many([9, 5, 5])
    assert _sent(session) == [9, 5, 5, 5]
    assert session.unacknowledged == 0


@given(st.permutations(range(1, 12)), st.sampled_from([1, 2]), st.lists(st.integers(1, 3), min_size=11))
def test_whatever_is_ready_first(order: list[int], qos: int, counts: list[int]) -> None:
    session = opened(V5)
    _receive(session, qos, *range(1, 12))
    sent: list[int] = []
    for count in counts:
        batch, order = sorted(order[:count]), order[count:]
        if len(batch) == 1:
            session.acknowledge(batch[0])
        else:
            session.acknowledge_many(batch)
        sent += _sent(session)
        assert sent == list(range(1, len(sent) + 1))
    assert sent == list(range(1, 12))
    assert session.unacknowledged == 0
