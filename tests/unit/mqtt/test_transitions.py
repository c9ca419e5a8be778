"""Every cell of the table state x packet type, walked by a session."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.mqtt.wire import connect_packet, connected, opened
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.events import SessionFailed
from thingpass.mqtt.packets import (
    Auth,
    ConnAck,
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
)
from thingpass.mqtt.reason_codes import PacketType
from thingpass.mqtt.session import Limits, Session
from thingpass.mqtt.transitions import TRANSITIONS, Fault, State

V5 = ProtocolVersion.MQTT_5

EXAMPLES: dict[PacketType, Packet] = {
    PacketType.CONNECT: connect_packet(V5),
    PacketType.CONNACK: ConnAck(False, 0),
    PacketType.PUBLISH: Publish(False, 1, False, "t", 1, None, b"x"),
    PacketType.PUBACK: PubAck(1),
    PacketType.PUBREC: PubRec(1),
    PacketType.PUBREL: PubRel(1),
    PacketType.PUBCOMP: PubComp(1),
    PacketType.SUBSCRIBE: Subscribe(1, None, (Subscription("t", 0),)),
    PacketType.SUBACK: SubAck(1, None, (0,)),
    PacketType.UNSUBSCRIBE: Unsubscribe(1, None, ("t",)),
    PacketType.UNSUBACK: UnsubAck(1, None, (0,)),
    PacketType.PINGREQ: PingReq(),
    PacketType.PINGRESP: PingResp(),
    PacketType.DISCONNECT: Disconnect(),
    PacketType.AUTH: Auth(0x18),
}


def _session_in(state: State) -> Session:
    match state:
        case State.AWAITING_CONNECT:
            return Session(Limits(), 0.0)
        case State.DECIDING:
            return connected(V5)
        case State.OPEN:
            return opened(V5)
        case State.CLOSING:
            session = connected(V5)
            session.refuse(mqtt5=0x87, mqtt3=5)
            return session
        case State.CLOSED:
            session = _session_in(State.CLOSING)
            session.data_to_send()
            return session


@pytest.mark.parametrize(
    ("state", "packet_type"), list(itertools.product(State, PacketType)), ids=lambda value: value.name
)
def test_session_obeys_the_cell(state: State, packet_type: PacketType) -> None:
    session = _session_in(state)
    assert session.state is state
    events = session.receive(encode(EXAMPLES[packet_type], V5), 1.0)
    cell = TRANSITIONS[state][packet_type]
    if isinstance(cell, Fault):
        (failed,) = events
        assert isinstance(failed, SessionFailed)
        assert failed.error.statement == cell.statement
        assert failed.error.reason_code == cell.reason_code
        assert failed.error.seen == cell.sentence.format(packet=packet_type.name)
        assert session.state is State.CLOSING
        return
    assert session.state is cell
    assert not any(isinstance(event, SessionFailed) for event in events)
    if state in (State.DECIDING, State.CLOSING, State.CLOSED):
        assert events == []


@pytest.mark.parametrize("packet_type", PacketType, ids=lambda value: value.name)
def test_packet_held_back_while_deciding_gets_its_cell_of_open(packet_type: PacketType) -> None:
    data = encode(EXAMPLES[packet_type], V5)
    held_back, direct = connected(V5), opened(V5)
    assert held_back.receive(data, 1.0) == []
    assert held_back.accept(1.0) == direct.receive(data, 1.0)
    assert held_back.state is direct.state
