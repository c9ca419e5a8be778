"""paho-mqtt with certificates, on topics of the profile's own and in protobuf: the part that devices play."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.device import Device
from tests.interop.paho_device import MQTT_3_1_1, MQTT_5, PahoDevice
from thingpass.proto3.types import last_message_type, message_type
from thingpass.servers.protobuf_messages import SCHEMA as FIXED

SCHEMA = 'syntax = "proto3"; message Reading { optional double temperature = 1; int64 count = 2; }'
PROTOBUF = {
    "transportPayloadType": "PROTOBUF",
    "deviceTelemetryProtoSchema": SCHEMA,
    "deviceAttributesProtoSchema": SCHEMA,
}
versions = pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5], ids=["3.1.1", "5.0"])


@pytest.fixture
def device_with_profile(device_with_certificate: Callable[..., Device]) -> Callable[..., Device]:
    def make(**transport: object) -> Device:
        device = device_with_certificate()
        rest = device.server.rest
        profile = rest.post(
            "/api/deviceProfile",
            json={
                "name": f"profile of {device.name}",
                "type": "DEFAULT",
                "transportType": "MQTT",
                "profileData": {"transportConfiguration": {"type": "MQTT", **transport}},
            },
        ).json()
        row = rest.get(f"/api/device/{device.id}").json()
        rest.post("/api/device", json={**row, "deviceProfileId": profile["id"]}).raise_for_status()
        return device

    return make


def save_shared(device: Device, **values: object) -> None:
    path = f"/api/plugins/telemetry/DEVICE/{device.id}/attributes/SHARED_SCOPE"
    device.server.rest.post(path, json=values).raise_for_status()


@versions
def test_custom_topics(device_with_profile: Callable[..., Device], version: MQTTProtocolVersion) -> None:
    device = device_with_profile(
        deviceTelemetryTopic="plant/+/out", deviceAttributesSubscribeTopic="plant/7/set"
    )
    with PahoDevice(device, version=version) as paho:
        assert paho.subscribe("plant/7/set") == [1]
        paho.publish("plant/7/out", '{"temperature": 21.5}')
        assert device.latest() == {"temperature": 21.5}
        save_shared(device, interval=5)
        message = paho.next_message()
        assert (message.topic, json.loads(message.payload)) == ("v1/devices/me/attributes", {"interval": 5})


@versions
def test_protobuf(device_with_profile: Callable[..., Device], version: MQTTProtocolVersion) -> None:
    device = device_with_profile(transportPayloadTypeConfiguration=PROTOBUF)
    reading: Any = last_message_type(SCHEMA)
    with PahoDevice(device, version=version) as paho:
        payload = reading(temperature=21.5, count=2**40).SerializeToString()
        paho.publish("v1/devices/me/telemetry", payload)
        assert device.latest() == {"temperature": 21.5, "count": 2**40}
        assert paho.subscribe("v1/devices/me/attributes") == [1]
        save_shared(device, interval=5)
        update: Any = message_type(FIXED, "AttributeUpdateNotificationMsg").FromString(
            paho.next_message().payload
        )
        assert [(row.kv.key, row.kv.long_v) for row in update.sharedUpdated] == [("interval", 5)]


@versions
def test_call_to_a_device_that_speaks_protobuf(
    device_with_profile: Callable[..., Device], version: MQTTProtocolVersion
) -> None:
    """By the schemas that ThingsBoard uses where a profile gives none."""
    import threading

    from thingpass.devices.transport_configuration import DEFAULT_RPC_REQUEST_SCHEMA

    device = device_with_profile(transportPayloadTypeConfiguration=PROTOBUF)
    request: Any = last_message_type(DEFAULT_RPC_REQUEST_SCHEMA)
    with PahoDevice(device, version=version) as paho:
        assert paho.subscribe("v2/r/req/+") == [1]

        def reply() -> None:
            message = paho.next_message()
            called = request.FromString(message.payload)
            paho.publish(
                message.topic.replace("/req/", "/res/"), b"\x0a\x04done" if called.method == "start" else b""
            )

        thread = threading.Thread(target=reply)
        thread.start()
        answer = device.server.rest.post(
            f"/api/rpc/twoway/{device.id}",
            json={"method": "start", "params": {"speed": 3}, "timeout": 10_000},
        )
        thread.join()
        assert (answer.status_code, answer.json()) == (200, {"payload": "done"})
