"""Sessions that outlive a connection, with paho: MQTT 5 and MQTT 3.1.1."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.device import Device, make_device
from tests.integration.test_calls import CALLS, call, call_later, far, wait_for_status
from tests.integration.test_pushes import ATTRIBUTES, remove, save
from tests.interop.paho_device import MQTT_3_1_1, MQTT_5, PahoDevice
from tests.raw_mqtt import connect, open_tls, puback, publish, reason_code, subscribe, taken_apart
from tests.running_server import RunningServer

MakeDevice = Callable[..., Device]
KINDS: dict[str, dict[str, Any]] = {
    "3.1.1": {"version": MQTT_3_1_1, "client_id": "pump", "clean_start": False},
    "5.0": {"version": MQTT_5, "client_id": "pump", "clean_start": False, "session_expiry_s": 600},
}
LASTING: dict[str, Any] = {
    "client_id": "pump",
    "clean_start": False,
    "properties": b"\x11\x00\x00\x01\x00",  # Session Expiry Interval 256 s
}
lasting = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def kept_sessions(server: RunningServer) -> float:
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    return next(
        float(line.split()[1]) for line in text.splitlines() if line.startswith("thingpass_sessions_kept ")
    )


def wait_until_kept(server: RunningServer, count: int) -> None:
    deadline = time.monotonic() + 10
    while kept_sessions(server) != count:
        assert time.monotonic() < deadline, f"{kept_sessions(server)} sessions are kept, not {count}"
        time.sleep(0.02)


@lasting
def test_subscriptions_are_found_again(device_with_certificate: MakeDevice, kind: dict[str, Any]) -> None:
    device = device_with_certificate()
    with PahoDevice(device, **kind) as paho:
        assert paho.session_present is False
        paho.subscribe(CALLS)
        paho.subscribe(ATTRIBUTES)
    save(device, interval=1, mode="eco")
    save(device, interval=2)
    remove(device, "mode")
    waiting = call_later(device, timeout=20_000)
    with PahoDevice(device, **kind) as paho:
        assert paho.session_present is True
        payloads = [json.loads(paho.next_message().payload) for _ in range(3)]
        assert {"interval": 2} in payloads, "the newest value, once"
        assert {"deleted": ["mode"]} in payloads
        assert {"method": "setGpio", "params": {"pin": 7}} in payloads
    assert waiting.done() is False
    with PahoDevice(device, **kind) as paho:
        paho.publish("v1/devices/me/telemetry", "{}")
        assert paho.messages.empty(), "what was delivered does not come again without a SUBSCRIBE"
        paho.subscribe(CALLS)
        message = paho.next_message()
        paho.publish(message.topic.replace("request", "response"), "1")
    assert waiting.result(30).json() == 1


@pytest.mark.parametrize("change", [{"clean_start": True}, {"client_id": "another"}])
@lasting
def test_clean_start_and_another_client_begin_anew(
    device_with_certificate: MakeDevice, kind: dict[str, Any], change: dict[str, Any]
) -> None:
    device = device_with_certificate()
    with PahoDevice(device, **kind) as paho:
        paho.subscribe(ATTRIBUTES)
    with PahoDevice(device, **(kind | change)) as paho:
        assert paho.session_present is False
    save(device, interval=1)
    with PahoDevice(device, **kind) as paho:
        paho.publish("v1/devices/me/telemetry", "{}")
        assert paho.messages.empty(), "the subscription is gone"


def test_without_an_expiry_nothing_is_kept(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    for _ in range(2):
        with PahoDevice(device, version=MQTT_5, client_id="pump", clean_start=False) as paho:
            assert paho.session_present is False
            paho.subscribe(ATTRIBUTES)


def test_unacknowledged_call_comes_again_with_dup(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with open_tls(device) as client:
        client.send(connect(**LASTING))
        assert reason_code(client.read_packet()) == 0
        client.send(subscribe(CALLS))
        client.read_packet()
        waiting = call_later(device, path="rpc/oneway", timeout=20_000)
        first = client.read_packet()
    with open_tls(device) as client:
        client.send(connect(**LASTING))
        connack = client.read_packet()
        assert connack[2] == 1, "Session Present"
        again = client.read_packet()
        assert again[0] == first[0] | 0x08
        assert taken_apart(again) == taken_apart(first)
        client.send(subscribe(CALLS))
        assert client.read_packet()[0] == 0x90
        client.send(puback(taken_apart(again)[1]))
        assert waiting.result(30).status_code == 200
        client.send(publish(b"{}", packet_id=2))
        assert client.read_packet()[0] == 0x40, "and nothing in between: it came once on this connection"


def test_taken_over_by_the_same_client_goes_on(device_with_certificate: MakeDevice) -> None:
    """The device's network changed; the server has not noticed that the old connection is dead."""
    device = device_with_certificate()
    with open_tls(device) as old, open_tls(device) as new:
        old.send(connect(**LASTING), subscribe(ATTRIBUTES))
        assert old.read_packet()[0] == 0x20
        assert old.read_packet()[0] == 0x90
        save(device, interval=1)
        assert old.read_packet()[0] == 0x32
        new.send(connect(**LASTING))
        assert new.read_packet()[2] == 1
        assert new.read_packet()[0] == 0x3A
        assert reason_code(old.read_packet()) == 0x8E


def test_kept_persistent_call_is_sent_when_the_session_is_found(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    kind = KINDS["5.0"]
    with PahoDevice(device, **kind) as paho:
        paho.subscribe(CALLS)
    rpc_id = call(device, path="rpc/oneway", persistent=True, expirationTime=far()).json()["rpcId"]
    with PahoDevice(device, **kind) as paho:
        paho.next_message()
        wait_for_status(device, rpc_id, "DELIVERED")


def test_a_session_ends_with_its_time_its_credentials_and_its_device(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start(environ={"THINGPASS_MQTT_MAX_KEPT_SESSIONS": "2"})
    devices = [make_device(server, tmp_path, f"device {number}") for number in range(4)]

    def visit(device: Device, **options: Any) -> bool | None:
        with PahoDevice(device, **(KINDS["5.0"] | options)) as paho:
            return paho.session_present

    visit(devices[0], session_expiry_s=1)
    wait_until_kept(server, 1)
    wait_until_kept(server, 0)
    for device in devices[:3]:
        visit(device)
    wait_until_kept(server, 2)
    assert visit(devices[0]) is False, "the longest away had to go"
    wait_until_kept(server, 2)
    assert visit(devices[2]) is True
    wait_until_kept(server, 2)
    server.rest.delete(f"/api/device/{devices[2].id}").raise_for_status()
    wait_until_kept(server, 1)
    credentials = server.rest.get(f"/api/device/{devices[0].id}/credentials").json()
    token = credentials | {
        "credentialsType": "ACCESS_TOKEN",
        "credentialsId": "a-token",
        "credentialsValue": None,
    }
    server.rest.post("/api/device/credentials", json=token).raise_for_status()
    wait_until_kept(server, 0)


def test_the_bound_is_said_and_a_restart_begins_anew(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start(environ={"THINGPASS_MQTT_MAXIMUM_SESSION_EXPIRY_S": "60"}, directory=tmp_path / "server")
    device = make_device(server, tmp_path, "pump")
    with open_tls(device) as client:
        client.send(connect(client_id="pump", properties=b"\x11\xff\xff\xff\xff"))
        assert b"\x11\x00\x00\x00\x3c" in client.read_packet()
    server.kill()
    again = server.start_again()
    try:
        back = Device(
            device.name, device.id, device.certificate_file, device.combined_file, device.ca_file, again
        )
        with PahoDevice(back, **KINDS["5.0"]) as paho:
            assert paho.session_present is False
    finally:
        again.stop()
