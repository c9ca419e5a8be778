"""Whatever happens to connections, a kept session's messages arrive, in order, within the Receive Maximum."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.mqtt.wire import connect_packet
from thingpass.mqtt.decoding import decode
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.packets import ProtocolVersion, PubAck, Publish
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.session import Limits, Session
from thingpass.mqtt.session_state import SessionState

V5 = ProtocolVersion.MQTT_5
LIMITS = Limits(session_expiry_maximum=600, waiting_maximum=20)


class Client:
    """A client that acknowledges when it is told to, and loses its connection."""

    def __init__(self, receive_maximum: int) -> None:
        self.unacknowledged: list[int] = []
        self.first_seen: list[bytes] = []
        self.session = self.connect(receive_maximum, None)

    def connect(self, receive_maximum: int, resumed: SessionState | None) -> Session:
        self.receive_maximum = receive_maximum
        self.unacknowledged = []
        session = Session(LIMITS, 0.0)
        properties = Properties(session_expiry_interval=60, receive_maximum=receive_maximum)
        packet = connect_packet(V5, clean_start=False, properties=properties)
        session.receive(encode(packet, V5), 0.0)
        session.accept(0.0, resumed=resumed)
        return session

    def read(self) -> None:
        data = self.session.data_to_send()
        while data:
            end = 2 + data[1]  # none here is longer than 127 bytes
            packet = decode(data[:end], V5)
            data = data[end:]
            if isinstance(packet, Publish):
                self.receive(packet)

    def receive(self, packet: Publish) -> None:
        assert packet.packet_id not in self.unacknowledged
        self.unacknowledged.append(packet.packet_id)
        assert len(self.unacknowledged) <= self.receive_maximum
        if packet.payload not in self.first_seen:
            self.first_seen.append(packet.payload)
        else:
            assert packet.duplicate, "what came before comes again with DUP"

    def acknowledge(self, which: int) -> None:
        if self.unacknowledged:
            packet_id = self.unacknowledged.pop(which % len(self.unacknowledged))
            self.session.receive(encode(PubAck(packet_id), V5), 0.0)


steps = st.one_of(
    st.just(("publish", 0)),
    st.tuples(st.just("acknowledge"), st.integers(0, 5)),
    st.just(("read", 0)),
    st.tuples(st.just("reconnect"), st.integers(1, 5)),
)


@given(st.integers(1, 5), st.lists(steps, max_size=60))
def test_every_message_arrives_in_order(receive_maximum: int, doings: list[tuple[str, int]]) -> None:
    client, published = Client(receive_maximum), []
    for number, (doing, value) in enumerate(doings):
        match doing:
            case "publish":
                payload = str(number).encode()
                if client.session.publish("t", payload, 1) is not None:
                    published.append(payload)
                else:
                    assert client.session.backed_up
            case "acknowledge":
                client.acknowledge(value)
            case "read":
                client.read()
            case "reconnect":
                client.session = client.connect(value, client.session.state_to_keep())
    client.read()
    while client.unacknowledged:
        client.acknowledge(0)
        client.read()
    assert client.first_seen == published
    outbound = client.session.state_to_keep().outbound
    assert (outbound.waiting, outbound.unacknowledged, outbound.bytes_held) == (0, 0, 0)
