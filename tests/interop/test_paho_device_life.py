"""What the server notes of a device that comes and goes with paho-mqtt: state, events, wills."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tests.device import Device, make_certificate
from tests.interop.paho_device import MQTT_3_1, MQTT_3_1_1, MQTT_5, PahoDevice

MakeDevice = Callable[..., Device]
versions = pytest.mark.parametrize("version", [MQTT_3_1, MQTT_3_1_1, MQTT_5], ids=["3.1", "3.1.1", "5.0"])

VANISHING = """
import ssl, sys, time
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

port, ca_file, combined_file, version, delay_s = sys.argv[1:]
version = MQTTProtocolVersion(int(version))
client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="pump", protocol=version)
context = ssl.create_default_context(cafile=ca_file)
context.load_cert_chain(combined_file)
client.tls_set_context(context)
options = {}
will_properties = None
if version is MQTTProtocolVersion.MQTTv5:
    will_properties = Properties(PacketTypes.WILLMESSAGE)
    will_properties.WillDelayInterval = int(delay_s)
    options["properties"] = Properties(PacketTypes.CONNECT)
    options["properties"].SessionExpiryInterval = int(delay_s)
client.will_set("pumps/1/state", b"gone", qos=1, retain=True, properties=will_properties)
client.on_connect = lambda *_: print("connected", flush=True)
client.connect("127.0.0.1", int(port), **options)
client.loop_forever()
"""
"""A device with a will, made to be killed."""


def vanish(device: Device, version: MQTTProtocolVersion, *, delay_s: int = 0) -> None:
    """A client with a will connects, and is killed as by a power cut: no DISCONNECT, no close_notify."""
    files = [str(device.port), str(device.ca_file), str(device.combined_file)]
    command = [sys.executable, "-c", VANISHING, *files, str(version.value), str(delay_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"connected\n"
        process.kill()


@versions
def test_device_that_says_goodbye_is_active_for_a_while_and_leaves_no_will(
    device_with_certificate: MakeDevice, version: MQTTProtocolVersion
) -> None:
    device = device_with_certificate()
    assert device.state() == {"active": False}
    began = int(time.time() * 1000)
    paho = PahoDevice(device, version=version)
    paho.client.will_set("pumps/1/state", "gone")
    with paho:
        state = device.state()
        assert state["active"] is True
        assert began <= state["lastConnectTime"] <= state["lastActivityTime"]
        assert "lastDisconnectTime" not in state
        info = device.server.rest.get(f"/api/device/info/{device.id}").json()
        assert info["active"] is True
        assert device.wait_for_event("connected")["details"]["protocol"].startswith("MQTT ")
    event = device.wait_for_event("disconnected")
    assert (event["details"]["code"], event["sentence"]) == ("goodbye", "The device said goodbye.")
    state = device.state()
    assert state["active"] is True
    assert state["lastDisconnectTime"] >= state["lastConnectTime"]
    kinds = [event["kind"] for event in device.events()]
    assert kinds == ["credentials-changed", "connected", "active", "disconnected"]


@versions
def test_will_of_a_device_that_vanishes_is_kept(
    device_with_certificate: MakeDevice, version: MQTTProtocolVersion
) -> None:
    device = device_with_certificate()
    vanish(device, version)
    assert device.wait_for_event("will")["payload"] == "gone"
    will = device.events("will")[0]
    assert will["details"] == {"topic": "pumps/1/state", "qos": 1, "retain": True, "payloadBytes": 4}
    assert device.events("disconnected")[0]["details"]["code"] == "network-lost"


def test_goodbye_that_asks_for_the_will_keeps_it(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    paho = PahoDevice(device, version=MQTT_5)
    paho.client.will_set("pumps/1/state", b"\x00\xff")
    with paho:
        paho.client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=4))
        paho.wait_until_disconnected()
    assert device.wait_for_event("will")["payloadBase64"] == "AP8="
    assert device.events("disconnected")[0]["details"]["code"] == "goodbye-with-reason"


def test_will_waits_for_its_delay_and_is_then_kept(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    vanish(device, MQTT_5, delay_s=2)
    ended = device.wait_for_event("disconnected")
    will = device.wait_for_event("will")
    assert will["atMs"] - ended["atMs"] >= 1_900


def test_device_that_comes_back_in_time_takes_its_will_back(device_with_certificate: MakeDevice) -> None:
    device, other = device_with_certificate(), device_with_certificate()
    vanish(device, MQTT_5, delay_s=2)
    device.wait_for_event("disconnected")
    with PahoDevice(device, version=MQTT_5, client_id="pump", clean_start=False) as paho:
        assert paho.session_present
    vanish(other, MQTT_5, delay_s=2)
    other.wait_for_event("will")  # later than the first one would have been
    assert device.events("will") == []


def test_new_session_ends_the_old_one_and_its_will_is_due(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    vanish(device, MQTT_5, delay_s=600)
    device.wait_for_event("disconnected")
    with PahoDevice(device, version=MQTT_5, client_id="pump", clean_start=True) as paho:
        assert not paho.session_present
        device.wait_for_event("will")


def test_takeover_is_an_event_and_no_disconnect(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with PahoDevice(device, version=MQTT_5) as first:
        assert first.result == 0
        before = device.state()
        with PahoDevice(device, version=MQTT_5) as second:
            assert second.result == 0
            # paho comes back by itself: end it where the server has ended it
            assert first.wait_until_disconnected() == 0x8E
            first.client.disconnect()
            assert device.wait_for_event("disconnected")["details"]["code"] == "taken-over"
            after = device.state()
            assert after["lastConnectTime"] >= before["lastConnectTime"]


def test_new_credentials_are_an_event(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    before = len(device.events("credentials-changed"))
    with PahoDevice(device, version=MQTT_5) as paho:
        credentials = device.server.rest.get(f"/api/device/{device.id}/credentials").json()
        credentials |= {"credentialsId": None, "credentialsValue": make_certificate("replaced")[0].decode()}
        device.server.rest.post("/api/device/credentials", json=credentials).raise_for_status()
        assert paho.wait_until_disconnected() == 0x98
        device.wait_for_event("credentials-changed", count=before + 1)
        assert device.wait_for_event("disconnected")["details"]["code"] == "credentials-changed"
