"""Custom topics, formats and what a changed profile does to devices that are connected: over real sockets."""

from __future__ import annotations

import functools
import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.device_with_profile import Setup, make_setup, puback, published
from tests.raw_mqtt import RawClient, connect, packet, publish, subscribe, text
from tests.running_server import RunningServer

V1_TELEMETRY = "v1/devices/me/telemetry"
V1_ATTRIBUTES = "v1/devices/me/attributes"
PATIENCE_S = 10.0

SCHEMA = """\
syntax = "proto3";
message Reading {
  optional double temperature = 1;
  int32 level = 2;
  string state_text = 3;
}
"""
PROTOBUF = {
    "transportPayloadType": "PROTOBUF",
    "deviceTelemetryProtoSchema": SCHEMA,
    "deviceAttributesProtoSchema": SCHEMA,
}


@pytest.fixture
def make(plain_server: RunningServer) -> Callable[..., Setup]:
    return functools.partial(make_setup, plain_server)


def reading(temperature: float | None = None, level: int = 0, state: str = "") -> bytes:
    data = b"" if temperature is None else b"\x09" + struct.pack("<d", temperature)
    data += b"\x10" + bytes([level]) if level else b""
    return data + (b"\x1a" + bytes([len(state)]) + state.encode() if state else b"")


def test_custom_topics_take_the_place_of_v1(make: Callable[..., Setup]) -> None:
    setup = make(deviceTelemetryTopic="pumps/+/data", deviceAttributesTopic="pumps/facts")
    with setup.open() as client:
        for topic, code in {
            "pumps/7/data": 0,
            "pumps/facts": 0,
            "pumps/7/8/data": 0x90,
            V1_TELEMETRY: 0x90,
            V1_ATTRIBUTES: 0x90,
            "v2/t": 0,
        }.items():
            client.send(publish(json.dumps({topic: 1}).encode(), topic=topic))
            assert puback(client) == code, topic
    assert setup.latest() == {"pumps/7/data": 1, "v2/t": 1}
    assert setup.client_attributes() == {"pumps/facts": 1}


def test_changed_profile_holds_for_a_connected_device(make: Callable[..., Setup]) -> None:
    setup = make()
    with setup.open() as client:
        client.send(publish(b'{"a":1}'))
        assert puback(client) == 0
        setup.change(deviceTelemetryTopic="my/data")
        wait_for_code(client, "my/data", 0)
        client.send(publish(b'{"a":2}'))
        assert puback(client) == 0x90
        setup.change(transportPayloadTypeConfiguration=PROTOBUF)
        wait_for_code(client, V1_TELEMETRY, 0, reading(21.5))
    assert setup.latest()["temperature"] == 21.5


def test_message_behind_connect_waits_for_the_profile(make: Callable[..., Setup]) -> None:
    """The first device of a profile: CONNECT and what follows it arrive before the profile was read."""
    setup = make(transportPayloadTypeConfiguration=PROTOBUF)
    with RawClient(socket.create_connection(("127.0.0.1", setup.server.mqtt_port), PATIENCE_S)) as client:
        client.send(connect(user_name=setup.token), publish(reading(21.5)), publish(b"{", packet_id=2))
        assert client.read_packet()[0] == 0x20
        assert (puback(client), puback(client)) in ((0, 0x99), (0x99, 0))
    assert setup.latest()["temperature"] == 21.5


def test_device_that_gets_another_profile_follows_it_at_once(make: Callable[..., Setup]) -> None:
    setup, other = make(), make(deviceTelemetryTopic="other/data")
    with setup.open() as client:
        moved = {**setup.device, "deviceProfileId": other.profile["id"]}
        assert setup.server.rest.post("/api/device", json=moved).status_code == 200
        wait_for_code(client, "other/data", 0)


def wait_for_code(client: RawClient, topic: str, code: int, payload: bytes = b'{"a":1}') -> None:
    """Publishes until it is answered so; the connection must stay."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        client.send(publish(payload, topic=topic))
        found = puback(client)
        if found == code:
            return
        assert time.monotonic() < deadline, found


def test_custom_topic_can_be_subscribed(make: Callable[..., Setup]) -> None:
    setup = make(deviceAttributesSubscribeTopic="pumps/+/set")
    with setup.open() as client:
        for topic_filter, code in {
            "pumps/7/set": 1,
            "pumps/+/set": 1,
            V1_ATTRIBUTES: 1,
            "pumps/#": 0x8F,
        }.items():
            client.send(subscribe(topic_filter))
            assert client.read_packet()[-1] == code, topic_filter


class TestFamilies:
    """Of a profile that says nothing about formats."""

    @pytest.mark.parametrize(
        ("request_topic", "answer_topic"),
        [
            ("v1/devices/me/attributes/request/7", "v1/devices/me/attributes/response/7"),
            ("v2/a/req/7", "v2/a/res/7"),
            ("v2/a/req/j/7", "v2/a/res/j/7"),
        ],
    )
    def test_an_answer_has_the_family_of_its_request(
        self, make: Callable[..., Setup], request_topic: str, answer_topic: str
    ) -> None:
        setup = make()
        with setup.open() as client:
            client.send(publish(b'{"a":1}', topic="v2/a"))
            assert puback(client) == 0
            client.send(publish(b'{"clientKeys":"a"}', topic=request_topic))
            assert puback(client) == 0
            assert published(client) == (answer_topic, b'{"client":{"a":1}}')

    def test_fixed_messages_on_topics_that_force_protobuf(self, make: Callable[..., Setup]) -> None:
        from thingpass.proto3.types import message_type
        from thingpass.servers.protobuf_messages import SCHEMA as FIXED

        setup = make()
        with setup.open() as client:
            client.send(publish(b'{"a":1,"b":"x","c":{"d":[1]},"e":1.5,"f":true}', topic="v2/a/j"))
            assert puback(client) == 0
            client.send(
                publish(message_type(FIXED, "AttributesRequest")().SerializeToString(), topic="v2/a/req/p/7")
            )
            assert puback(client) == 0
            topic, payload = published(client)
            assert topic == "v2/a/res/p/7"
            answer: Any = message_type(FIXED, "GetAttributeResponseMsg").FromString(payload)
            assert answer.requestId == 7
            kinds = {row.kv.key: row.kv.type for row in answer.clientAttributeList}
            assert kinds == {"a": 1, "b": 3, "c": 4, "e": 2, "f": 0}
            values = {row.kv.key: row.kv for row in answer.clientAttributeList}
            assert (values["a"].long_v, values["b"].string_v, values["c"].json_v) == (1, "x", '{"d":[1]}')
            call: Any = message_type(FIXED, "RpcRequest")(method="nothing")
            client.send(publish(call.SerializeToString(), topic="v2/r/req/p/8"))
            assert puback(client) == 0
            topic, payload = published(client)
            assert topic == "v2/r/res/p/8"
            reply: Any = message_type(FIXED, "ToServerRpcResponseMsg").FromString(payload)
            assert (reply.requestId, "There is no method 'nothing'" in reply.payload) == (8, True)

    @pytest.mark.parametrize("topic", ["v2/t/p", "v2/a/p"])
    def test_without_a_schema_protobuf_is_refused(self, make: Callable[..., Setup], topic: str) -> None:
        with make().open() as client:
            client.send(publish(reading(21.5), topic=topic))
            assert puback(client) == 0x99


class TestProtobuf:
    @pytest.mark.parametrize("topic", [V1_TELEMETRY, "v2/t", "v2/t/p"])
    def test_telemetry(self, make: Callable[..., Setup], topic: str) -> None:
        setup = make(transportPayloadTypeConfiguration=PROTOBUF)
        with setup.open() as client:
            client.send(publish(reading(21.5, state="on"), topic=topic))
            assert puback(client) == 0
            client.send(publish(b'{"a":1}', topic=topic))
            assert puback(client) == 0x99
            client.send(publish(b'{"b":1}', topic="v2/t/j"))
            assert puback(client) == 0
        assert setup.latest() == {"temperature": 21.5, "level": 0, "stateText": "on", "b": 1}

    def test_attributes(self, make: Callable[..., Setup]) -> None:
        setup = make(transportPayloadTypeConfiguration=PROTOBUF)
        with setup.open() as client:
            client.send(publish(reading(level=5), topic=V1_ATTRIBUTES))
            assert puback(client) == 0
            client.send(publish(b"", topic="v1/devices/me/attributes/request/1"))
            assert puback(client) == 0
            topic, payload = published(client)
            assert topic == "v1/devices/me/attributes/response/1"
            assert b"stateText" in payload
            assert not payload.startswith(b"{")
        assert setup.client_attributes() == {"level": 5, "stateText": ""}

    def test_json_is_understood_where_the_profile_says_so(self, make: Callable[..., Setup]) -> None:
        both = {
            **PROTOBUF,
            "enableCompatibilityWithJsonPayloadFormat": True,
            "useJsonPayloadFormatForDefaultDownlinkTopics": True,
        }
        setup = make(transportPayloadTypeConfiguration=both)
        with setup.open() as client:
            for payload in (b'{"a":1}', reading(1.5)):
                client.send(publish(payload))
                assert puback(client) == 0
            client.send(publish(b'{"x":1}', topic=V1_ATTRIBUTES))
            assert puback(client) == 0
            for topic, starts in (("v1/devices/me/attributes/request/1", b"{"), ("v2/a/req/1", b"\x08\x01")):
                client.send(publish(b"{}", topic=topic))
                assert puback(client) == 0
                assert published(client)[1].startswith(starts)
        assert setup.latest() == {"a": 1, "temperature": 1.5, "level": 0, "stateText": ""}


def test_unsubscribe_says_what_there_was(make: Callable[..., Setup]) -> None:
    setup = make(deviceAttributesSubscribeTopic="my/set")
    with setup.open() as client:
        client.send(subscribe("my/set"))
        assert client.read_packet()[-1] == 1
        client.send(packet(0xA2, b"\x00\x02\x00" + text("my/set") + text("v2/a")))
        assert client.read_packet()[-2:] == b"\x00\x11"
    with setup.open(4) as client:
        client.send(packet(0xA2, b"\x00\x02" + text("my/set")))
        assert client.read_packet() == b"\xb0\x02\x00\x02"
