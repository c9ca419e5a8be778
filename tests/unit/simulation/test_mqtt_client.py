"""The client against the house's own server session: bytes of one fed to the other, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.mqtt.errors import MqttError
from thingpass.mqtt.events import ConnectReceived, Disconnected, MessagePublished, SubscribeRequested
from thingpass.mqtt.packets import ProtocolVersion
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.mqtt.session import Limits, Session
from thingpass.simulation.mqtt_client import (
    MOST_IN_FLIGHT,
    Accepted,
    Acknowledged,
    Arrived,
    ClientEvent,
    MqttClient,
    Refused,
    SubscriptionRefused,
)

VERSIONS = [ProtocolVersion.MQTT_3_1_1, ProtocolVersion.MQTT_5]
TOPIC = "v1/devices/me/telemetry"
both = pytest.mark.parametrize("version", VERSIONS)


class Pair:
    """A client and a server that can reach each other."""

    def __init__(self, version: ProtocolVersion, limits: Limits | None = None) -> None:
        self.client = MqttClient(version)
        self.server = Session(limits or Limits(), 0.0)
        self.now = 0.0
        self.client.connect(client_id="sim-1", user_name="token", keep_alive_s=60)

    def to_server(self) -> list[object]:
        return list(self.server.receive(self.client.data_to_send(), self.now))

    def to_client(self, cut: int = 1_000_000) -> list[ClientEvent]:
        data = self.server.data_to_send()
        events = []
        for start in range(0, len(data), cut):
            events += self.client.receive(data[start : start + cut], self.now)
        return events

    def open(self) -> Pair:
        assert isinstance(self.to_server()[0], ConnectReceived)
        self.server.accept(0.0)
        assert self.to_client() == [Accepted()]
        return self


@both
def test_client_says_who_it_is(version: ProtocolVersion) -> None:
    (event,) = Pair(version).to_server()
    assert isinstance(event, ConnectReceived)
    assert (event.connect.client_id, event.connect.user_name, event.connect.keep_alive) == (
        "sim-1",
        "token",
        60,
    )
    assert event.connect.protocol_version is version


@both
@given(cut=st.integers(1, 7))
def test_messages_are_acknowledged_with_their_latency(version: ProtocolVersion, cut: int) -> None:
    pair = Pair(version).open()
    for number in range(3):
        assert pair.client.publish(TOPIC, b"{}", float(number))
    for event in pair.to_server():
        assert isinstance(event, MessagePublished)
        pair.server.acknowledge(event.packet_id)
    pair.now = 10.0
    assert pair.to_client(cut) == [Acknowledged(10.0), Acknowledged(9.0), Acknowledged(8.0)]
    assert not pair.client.in_flight


@both
def test_no_more_than_its_share_is_in_flight(version: ProtocolVersion) -> None:
    pair = Pair(version, Limits(receive_maximum=5)).open()
    allowed = 5 if version is ProtocolVersion.MQTT_5 else MOST_IN_FLIGHT
    taken = sum(pair.client.publish(TOPIC, b"{}", 0.0) for _ in range(MOST_IN_FLIGHT + 10))
    assert taken == allowed
    assert len(pair.to_server()) == allowed


@both
def test_packet_ids_wrap_and_leave_out_those_in_use(version: ProtocolVersion) -> None:
    client = Pair(version).open().client
    client.in_flight = {65_535: 0.0, 1: 0.0}
    client._next_id = 65_534
    client.publish(TOPIC, b"", 0.0)
    assert set(client.in_flight) == {65_535, 1, 2}


@both
def test_messages_to_the_device_arrive_and_are_acknowledged(version: ProtocolVersion) -> None:
    pair = Pair(version).open()
    pair.client.subscribe("v1/devices/me/rpc/request/+", "v1/devices/me/attributes")
    (event,) = pair.to_server()
    assert isinstance(event, SubscribeRequested)
    pair.server.grant(event.packet_id, [1, 1])
    pair.server.publish("v1/devices/me/rpc/request/7", b'{"method":"x"}', 1)
    pair.server.publish("v1/devices/me/attributes", b"{}", 0)
    assert pair.to_client(3) == [
        Arrived("v1/devices/me/rpc/request/7", b'{"method":"x"}'),
        Arrived("v1/devices/me/attributes", b"{}"),
    ]
    assert len(pair.to_server()) == 1  # the PUBACK


@both
def test_refused_subscription_is_reported(version: ProtocolVersion) -> None:
    pair = Pair(version).open()
    pair.client.subscribe("a", "b")
    (event,) = pair.to_server()
    assert isinstance(event, SubscribeRequested)
    pair.server.grant(event.packet_id, [1, ReasonCode.UNSPECIFIED_ERROR])
    (refused,) = pair.to_client()
    assert isinstance(refused, SubscriptionRefused)


def test_refusal_is_told_in_plain_words() -> None:
    pair = Pair(ProtocolVersion.MQTT_5)
    pair.to_server()
    pair.server.refuse(mqtt5=0x87, mqtt3=5, reason_string="Nobody knows you.")
    assert pair.to_client() == [
        Refused("refused: The client is not allowed to do this. (0x87)", "Nobody knows you.")
    ]
    pair = Pair(ProtocolVersion.MQTT_3_1_1)
    pair.to_server()
    pair.server.refuse(mqtt5=0x87, mqtt3=5, reason_string="Nobody knows you.")
    assert pair.to_client() == [Refused("refused: The client is not allowed to connect. (code 5)")]


def test_refused_message_and_goodbye_are_told_in_plain_words() -> None:
    pair = Pair(ProtocolVersion.MQTT_5).open()
    pair.client.publish(TOPIC, b"{}", 0.0)
    pair.to_server()
    pair.server.acknowledge(1, ReasonCode.QUOTA_EXCEEDED)
    assert pair.to_client() == [Acknowledged(0.0, "A limit set for this client is used up. (0x97)")]
    pair.server.disconnect(ReasonCode.SERVER_SHUTTING_DOWN, None)
    assert pair.to_client() == [Refused("disconnected by the server: The server is shutting down. (0x8B)")]


@both
def test_ping_and_goodbye_are_what_the_server_knows(version: ProtocolVersion) -> None:
    pair = Pair(version).open()
    pair.client.ping(1.0)
    assert len(pair.to_server()) == 1
    assert pair.to_client() == []
    pair.client.disconnect()
    (event,) = pair.to_server()
    assert isinstance(event, Disconnected)


@both
@given(st.binary(max_size=100))
def test_no_bytes_of_a_server_do_more_than_end_the_connection(version: ProtocolVersion, data: bytes) -> None:
    client = MqttClient(version)
    try:
        client.receive(data, 0.0)
    except MqttError:
        pass
