"""Shared attributes that change, told to devices over real connections; removal by REST."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.device import Device
from tests.interop.paho_device import MQTT_3_1, MQTT_3_1_1, MQTT_5, PahoDevice
from tests.raw_mqtt import (
    PINGREQ,
    PINGRESP,
    connect,
    open_session,
    open_tls,
    puback,
    publish,
    subscribe,
    taken_apart,
)

ATTRIBUTES = "v1/devices/me/attributes"
MakeDevice = Callable[..., Device]
versions = pytest.mark.parametrize("version", [MQTT_3_1, MQTT_3_1_1, MQTT_5], ids=["3.1", "3.1.1", "5.0"])


def save(device: Device, scope: str = "SHARED_SCOPE", **values: object) -> None:
    path = f"/api/plugins/telemetry/DEVICE/{device.id}/attributes/{scope}"
    device.server.rest.post(path, json=values).raise_for_status()


def remove(device: Device, keys: str, scope: str = "SHARED_SCOPE") -> None:
    path = f"/api/plugins/telemetry/DEVICE/{device.id}/{scope}"
    device.server.rest.delete(path, params={"keys": keys}).raise_for_status()


@versions
@pytest.mark.parametrize("qos", [0, 1])
def test_changes_and_removals_are_told(
    device_with_certificate: MakeDevice, version: MQTTProtocolVersion, qos: int
) -> None:
    device = device_with_certificate()
    with PahoDevice(device, version=version) as paho:
        paho.subscribe(ATTRIBUTES, qos=qos)
        save(device, interval=30, mode="eco", on=True, cfg={"a": [1, 2.50]})
        message = paho.next_message()
        assert (message.topic, message.qos, message.retain) == (ATTRIBUTES, qos, False)
        assert json.loads(message.payload) == {
            "interval": 30,
            "mode": "eco",
            "on": True,
            "cfg": {"a": [1, 2.5]},
        }
        remove(device, "mode,absent")
        assert json.loads(paho.next_message().payload) == {"deleted": ["mode", "absent"]}


def test_other_scopes_and_other_devices_are_not_told(device_with_certificate: MakeDevice) -> None:
    device, other = device_with_certificate(), device_with_certificate()
    with PahoDevice(device) as paho:
        paho.subscribe(ATTRIBUTES)
        save(device, scope="SERVER_SCOPE", secret=1)
        remove(device, "secret", scope="SERVER_SCOPE")
        save(other, interval=1)
        paho.publish(ATTRIBUTES, '{"model": "T-1000"}')
        remove(device, "model", scope="CLIENT_SCOPE")
        save(device, last=1)
        assert json.loads(paho.next_message().payload) == {"last": 1}


def test_only_while_subscribed(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with open_session(device) as client:
        save(device, before=1)
        client.send(subscribe(ATTRIBUTES))
        assert client.read_packet()[0] == 0x90
        save(device, meanwhile=1)
        _, packet_id = taken_apart(client.read_packet())
        client.send(puback(packet_id))
        client.send(b"\xa2\x1d\x00\x02\x00\x00\x18" + ATTRIBUTES.encode())
        assert client.read_packet()[0] == 0xB0
        save(device, after=1)
        client.send(PINGREQ)
        assert client.read_packet() == PINGRESP


def test_a_device_that_never_acknowledges_is_let_go(device_with_certificate: MakeDevice) -> None:
    """Rather than told a part: it asks for its attributes when it is back."""
    device = device_with_certificate()
    with open_tls(device) as client:
        client.send(connect(properties=b"\x21\x00\x01"))  # Receive Maximum 1
        client.read_packet()
        client.send(subscribe(ATTRIBUTES))
        client.read_packet()
        for number in range(25):  # one on its way, 1 MiB waiting
            save(device, text="x" * 50_000 + str(number))
        packets = []
        while packet := client.read_packet():
            packets.append(packet)
        assert packets[0][0] == 0x32
        assert packets[-1][0] == 0xE0
        assert packets[-1][2] == 0x97
        assert len(packets) == 2


def test_topic_becomes_a_number_where_the_device_takes_them(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with open_tls(device) as client:
        client.send(connect(properties=b"\x22\x00\x05"))  # Topic Alias Maximum 5
        client.read_packet()
        client.send(subscribe(ATTRIBUTES, qos=0))
        client.read_packet()
        pushes = []
        for number in range(4):
            save(device, interval=number)
            pushes.append(client.read_packet())
        name, alias = len(ATTRIBUTES).to_bytes(2, "big") + ATTRIBUTES.encode(), b"\x03\x23\x00\x01"
        assert [push[2:-14] for push in pushes] == [name + b"\x00", name + alias, *(b"\x00\x00" + alias,) * 2]
        assert [push[-14:] for push in pushes] == [b'{"interval":%d}' % number for number in range(4)]


def test_what_is_larger_than_the_device_takes_is_not_sent(device_with_certificate: MakeDevice) -> None:
    """Pushes, answers to requests and to calls; what comes later is, and the connection stays."""
    device = device_with_certificate()
    with open_tls(device) as client:
        client.send(connect(properties=b"\x27\x00\x00\x00\x80"))  # Maximum Packet Size 128
        client.read_packet()
        client.send(subscribe(ATTRIBUTES, qos=0))
        client.read_packet()
        save(device, text="x" * 200)
        save(device, small=1)
        assert client.read_packet().endswith(b'{"small":1}')
        requests = "v1/devices/me/attributes/request/"
        client.send(publish(b'{"sharedKeys":"text"}', topic=f"{requests}1", qos=0))
        client.send(publish(b'{"sharedKeys":"small"}', topic=f"{requests}2", qos=0))
        assert taken_apart(client.read_packet())[0] == "v1/devices/me/attributes/response/2"
        client.send(publish(b'{"method":"getSessionLimits"}', topic="v1/devices/me/rpc/request/1", qos=0))
        client.send(PINGREQ)
        assert client.read_packet() == PINGRESP
