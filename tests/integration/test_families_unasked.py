"""What is sent unasked, and MQTT 5's request and response, in every family of topics."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.device_with_profile import Setup, make_setup
from tests.raw_mqtt import RawClient, packet, puback, publish, subscribe, taken_apart, text
from tests.running_server import RunningServer

FAMILIES = {
    "v1": ("v1/devices/me/rpc/request/", "v1/devices/me/rpc/response/", "v1/devices/me/attributes"),
    "v2": ("v2/r/req/", "v2/r/res/", "v2/a"),
    "v2/j": ("v2/r/req/j/", "v2/r/res/j/", "v2/a/j"),
}
families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
SCHEMA = 'syntax = "proto3"; message Reading { optional double temperature = 1; }'


@pytest.fixture
def make(plain_server: RunningServer) -> Callable[..., Setup]:
    return functools.partial(make_setup, plain_server)


def call_later(setup: Setup, **body: Any) -> Future[httpx.Response]:
    server = setup.server
    url, headers = f"{server.url}/api/rpc/twoway/{setup.device_id}", server.rest.headers
    pool = ThreadPoolExecutor(1)
    future = pool.submit(
        httpx.post, url, json={"method": "m", **body}, headers=headers, timeout=30, trust_env=False
    )
    pool.shutdown(wait=False)
    return future


def save(setup: Setup, **values: object) -> None:
    path = f"/api/plugins/telemetry/DEVICE/{setup.device_id}/attributes/SHARED_SCOPE"
    setup.server.rest.post(path, json=values).raise_for_status()


def granted(client: RawClient, topic_filter: str) -> None:
    client.send(subscribe(topic_filter))
    assert client.read_packet()[-1] == 1


def unsubscribe(client: RawClient, topic_filter: str) -> None:
    client.send(packet(0xA2, b"\x00\x07\x00" + text(topic_filter)))
    assert client.read_packet()[0] == 0xB0


@families
def test_calls_and_attributes(make: Callable[..., Setup], family: tuple[str, str, str]) -> None:
    setup, (calls, replies, attributes) = make(), family
    with setup.open() as client:
        granted(client, f"{calls}+")
        granted(client, attributes)
        waiting = call_later(setup, params=[1])
        received = client.read_packet()
        topic, packet_id = taken_apart(received)
        assert topic.startswith(calls)
        assert received.endswith(b'{"method":"m","params":[1]}')
        client.send(puback(packet_id), publish(b"2", topic=topic.replace(calls, replies)))
        assert waiting.result(30).json() == 2
        assert client.read_packet()[0] == 0x40
        save(setup, a=1)
        received = client.read_packet()
        assert taken_apart(received)[0] == attributes
        assert received.endswith(b'{"a":1}')


def test_the_family_subscribed_last_is_used_and_then_the_one_before(make: Callable[..., Setup]) -> None:
    setup = make()
    with setup.open() as client:
        for topic_filter in ("v1/devices/me/attributes", "v2/a", "v2/a/j"):
            granted(client, topic_filter)
        for number, expected in enumerate(("v2/a/j", "v2/a", "v1/devices/me/attributes")):
            save(setup, a=number)
            topic, packet_id = taken_apart(client.read_packet())
            assert topic == expected
            client.send(puback(packet_id))
            unsubscribe(client, expected)
        save(setup, a="unheard")
        client.send(b"\xc0\x00")
        assert client.read_packet() == b"\xd0\x00"


def test_protobuf_devices_are_called_in_protobuf(make: Callable[..., Setup]) -> None:
    transport = {
        "transportPayloadType": "PROTOBUF",
        "deviceTelemetryProtoSchema": SCHEMA,
        "deviceAttributesProtoSchema": SCHEMA,
    }
    setup = make(transportPayloadTypeConfiguration=transport)
    with setup.open() as client:
        granted(client, "v1/devices/me/rpc/request/+")
        waiting = call_later(setup, params={"pin": 7})
        received = client.read_packet()
        topic, packet_id = taken_apart(received)
        assert b"m" in received
        assert b'{"method"' not in received
        reply = b"\x0a\x01" + b"5"  # payload = "5", the first field of the default response schema
        client.send(puback(packet_id), publish(reply, topic=topic.replace("request", "response")))
        assert waiting.result(30).status_code == 200


@pytest.mark.parametrize(
    ("response_topic", "expected"),
    [
        (None, "v1/devices/me/attributes/response/7"),
        ("v1/devices/me/attributes/response/9", "v1/devices/me/attributes/response/9"),
        ("v2/a/res/j/9", "v2/a/res/j/9"),
        ("v1/devices/me/rpc/response/9", "v1/devices/me/attributes/response/7"),
        ("v1/devices/me/telemetry", "v1/devices/me/attributes/response/7"),
        ("v1/devices/me/attributes/response/x", "v1/devices/me/attributes/response/7"),
        ("elsewhere", "v1/devices/me/attributes/response/7"),
    ],
)
def test_answers_stay_within_the_device_api(
    make: Callable[..., Setup], response_topic: str | None, expected: str
) -> None:
    with make().open() as client:
        properties = b"\x09\x00\x03abc" + (b"" if response_topic is None else b"\x08" + text(response_topic))
        topic = "v1/devices/me/attributes/request/7"
        client.send(publish(b"{}", topic=topic, properties=properties))
        assert client.read_packet()[0] == 0x40
        answer = client.read_packet()
        assert taken_apart(answer)[0] == expected
        assert b"\x09\x00\x03abc" in answer, "Correlation Data comes back"
        assert b"\x08" + text("elsewhere") not in answer


@pytest.mark.parametrize("method", ["getCurrentTime", "getServerTime", "getDeviceInfo", "getSessionLimits"])
@families
def test_the_server_answers_its_methods(
    make: Callable[..., Setup], family: tuple[str, str, str], method: str
) -> None:
    calls, replies, _ = family
    with make().open() as client:
        granted(client, f"{replies}+")
        client.send(publish(json.dumps({"method": method}).encode(), topic=f"{calls}3", packet_id=2))
        assert client.read_packet()[0] == 0x40
        answer = client.read_packet()
        assert taken_apart(answer)[0] == f"{replies}3"
        assert b"error" not in answer


def test_a_method_that_is_not_there_is_said_at_once(make: Callable[..., Setup]) -> None:
    with make().open() as client:
        client.send(publish(b'{"method": "fly"}', topic="v1/devices/me/rpc/request/1"))
        assert client.read_packet()[0] == 0x40
        assert b"There is no method 'fly'; there are getSessionLimits" in client.read_packet()
