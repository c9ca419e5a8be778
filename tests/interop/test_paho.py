"""paho-mqtt, the client that most Python devices use: every MQTT version, QoS and TLS version."""

from __future__ import annotations

import datetime
import json
import random
import ssl
from collections.abc import Callable

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.device import Device, make_certificate
from tests.interop.paho_device import MQTT_3_1, MQTT_3_1_1, MQTT_5, PahoDevice
from tests.ota import add_package, assign

TELEMETRY = "v1/devices/me/telemetry"
MakeDevice = Callable[..., Device]
versions = pytest.mark.parametrize("version", [MQTT_3_1, MQTT_3_1_1, MQTT_5], ids=["3.1", "3.1.1", "5.0"])


@versions
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS1.2", "TLS1.3"])
def test_telemetry_is_stored_whatever_the_version_and_qos(
    device_with_certificate: MakeDevice, version: MQTTProtocolVersion, qos: int, tls: ssl.TLSVersion
) -> None:
    device = device_with_certificate()
    with PahoDevice(device, version=version, tls_version=tls) as paho:
        assert paho.result == 0
        assert paho.session_present is False
        paho.publish(TELEMETRY, '{"temperature": 21.5, "on": true, "note": "x"}', qos=qos)
        if qos == 0:
            device.wait_for("note", "x")
        # For QoS 1 and 2 the acknowledgement says that it is stored: no waiting here.
        assert device.latest() == {"temperature": 21.5, "on": True, "note": "x"}


@versions
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_same_over_websocket(
    device_with_certificate: MakeDevice, version: MQTTProtocolVersion, qos: int
) -> None:
    device = device_with_certificate()
    with PahoDevice(device, version=version, transport="websockets") as paho:
        assert paho.result == 0
        assert paho.subscribe("v1/devices/me/attributes/response/+") == [1]
        paho.publish(TELEMETRY, json.dumps({"note": "x" * 20_000}), qos=qos)
        if qos == 0:
            device.wait_for("note", "x" * 20_000)
        assert device.latest() == {"note": "x" * 20_000}
        paho.publish("v1/devices/me/attributes", json.dumps({"text": "y" * 30_000}))
        paho.publish("v1/devices/me/attributes/request/7", '{"clientKeys": "text"}')
        assert json.loads(paho.next_message().payload) == {"client": {"text": "y" * 30_000}}


@versions
def test_client_attributes_are_answered_when_asked_for(
    device_with_certificate: MakeDevice, version: MQTTProtocolVersion
) -> None:
    device = device_with_certificate()
    with PahoDevice(device, version=version) as paho:
        assert paho.subscribe("v1/devices/me/attributes/response/+") == [1]
        paho.publish("v1/devices/me/attributes", '{"model": "T-1000", "ports": 4}')
        paho.publish("v1/devices/me/attributes/request/7", '{"clientKeys": "model,ports"}')
        answer = paho.next_message()
        assert answer.topic == "v1/devices/me/attributes/response/7"
        assert json.loads(answer.payload) == {"client": {"model": "T-1000", "ports": 4}}


@versions
def test_unknown_certificate_is_refused_at_connect_and_not_in_the_handshake(
    device_with_certificate: MakeDevice, version: MQTTProtocolVersion
) -> None:
    device = device_with_certificate(registered=False, common_name=f"stranger {version}")
    with PahoDevice(device, version=version) as paho:
        assert paho.result == 0x87  # paho shows MQTT 3's code 5 as MQTT 5's number
        if version is MQTT_5:
            assert paho.reason_string
    assert f"stranger {version}" in device.server.wait_for_refusal("certificate-unknown")["sentence"]


def test_certificate_named_like_a_device_with_a_token_is_refused_with_the_mend(
    device_with_certificate: MakeDevice,
) -> None:
    device = device_with_certificate(registered=False)
    with PahoDevice(device) as paho:
        assert paho.result == 0x87
    refusal = device.server.wait_for_refusal("certificate-not-the-credentials")
    assert f"thingpass device credentials {device.name} --x509" in refusal["mend"]


def test_expired_certificate_is_refused_by_name(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate(valid_for=datetime.timedelta(days=-1))
    with PahoDevice(device, version=MQTT_5) as paho:
        assert paho.result == 0x87
        assert "ended" in (paho.reason_string or "") or "expired" in (paho.reason_string or "")
    assert device.server.wait_for_refusal("certificate-expired")["code"] == "certificate-expired"


def test_token_works_on_the_same_port_without_a_certificate(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate(registered=False)
    token = device.server.access_token(device.id)
    with PahoDevice(device, with_certificate=False, user_name=token) as paho:
        assert paho.result == 0
        paho.publish(TELEMETRY, '{"by": "token"}')
        assert device.latest() == {"by": "token"}


def test_neither_certificate_nor_token_is_refused(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with PahoDevice(device, version=MQTT_5, with_certificate=False) as paho:
        assert paho.result in (0x85, 0x87)
        assert paho.reason_string


def test_certificate_registered_while_the_server_runs_is_let_in(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate(registered=False)
    with PahoDevice(device) as paho:
        assert paho.result != 0
    credentials = device.server.rest.get(f"/api/device/{device.id}/credentials").json()
    credentials |= {
        "credentialsType": "X509_CERTIFICATE",
        "credentialsId": None,
        "credentialsValue": device.certificate_file.read_text(),
    }
    device.server.rest.post("/api/device/credentials", json=credentials).raise_for_status()
    with PahoDevice(device) as paho:
        assert paho.result == 0


def test_replaced_certificate_closes_the_session_that_used_the_old_one(
    device_with_certificate: MakeDevice,
) -> None:
    device = device_with_certificate()
    with PahoDevice(device, version=MQTT_5) as paho:
        assert paho.result == 0
        credentials = device.server.rest.get(f"/api/device/{device.id}/credentials").json()
        credentials |= {"credentialsId": None, "credentialsValue": make_certificate("replaced")[0].decode()}
        device.server.rest.post("/api/device/credentials", json=credentials).raise_for_status()
        assert paho.wait_until_disconnected() == 0x98  # Administrative action


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])
def test_firmware_is_downloaded(device_with_certificate: MakeDevice, version: MQTTProtocolVersion) -> None:
    device, image = device_with_certificate(), random.Random(5).randbytes(100_000)
    assign(device, add_package(device.server, image))
    with PahoDevice(device, version=version) as paho:
        assert paho.subscribe("v2/fw/response/+/chunk/+") == [1]
        received = b""
        for n in range(4):
            paho.publish(f"v2/fw/request/1/chunk/{n}", "" if n else "30000")
            message = paho.next_message()
            assert (message.topic, message.qos) == (f"v2/fw/response/1/chunk/{n}", 1)
            received += message.payload
        assert received == image
        paho.publish("v2/fw/request/2/chunk/0", "")
        assert paho.next_message().payload == image
