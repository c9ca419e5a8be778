"""Devices behind a gateway, over a real socket: what is stored, who is connected, what reaches them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests import gateway as g
from tests.gateway import Gateway, acknowledgement, assert_stays, heard, make_gateway, new_name
from tests.raw_mqtt import publish, subscribe
from tests.running_server import RunningServer


@pytest.fixture
def gateway(plain_server: RunningServer) -> Gateway:
    return make_gateway(plain_server)


# Telemetry and attributes


@pytest.mark.parametrize("version", [3, 4, 5])
def test_telemetry_of_several_devices_is_stored(gateway: Gateway, version: int) -> None:
    one, other = new_name(), new_name()
    with gateway.open(version) as client:
        body = {
            one: [{"ts": 1000, "values": {"a": 1}}, {"ts": 2000, "values": {"a": 2}}],
            other: [{"b": "x"}],
        }
        gateway.say(client, g.TELEMETRY, body, version=version)
        assert acknowledgement(client) == (0, "")
        assert g.latest(gateway.server, one) == {"a": 2}
        assert g.latest(gateway.server, other) == {"b": "x"}
        gateway.say(client, g.TELEMETRY, {one: [{"a": 3}]}, version=version)  # both are connected by now
        assert acknowledgement(client) == (0, "")
        assert g.latest(gateway.server, one) == {"a": 3}


def test_what_was_acknowledged_survives_a_kill(start: Callable[..., RunningServer]) -> None:
    server = start("--mqtt-port", "0")
    gateway, names = make_gateway(server), [new_name() for _ in range(50)]
    with gateway.open() as client:
        for value in (1, 2):  # the second time they are all connected: one batch, one acknowledgement
            gateway.say(client, g.TELEMETRY, {name: [{"a": value}] for name in names})
            assert acknowledgement(client) == (0, "")
        server.kill()
    again = server.start_again()
    try:
        assert [g.latest(again, name) for name in names] == [{"a": 2}] * 50
    finally:
        again.stop()


def test_messages_of_a_device_stay_in_their_order(gateway: Gateway) -> None:
    """Also while it is being made, and while attributes are saved in between."""
    one, other = new_name(), new_name()
    with gateway.open() as client:
        packets = []
        for number in range(1, 41):
            names = [one] if number % 3 else [one, other]
            body = {name: [{"ts": 1000, "values": {"a": number}}] for name in names}
            packets.append(publish(json.dumps(body).encode(), topic=g.TELEMETRY, packet_id=number))
            if number % 10 == 0:
                values = json.dumps({one: {"n": number}}).encode()
                packets.append(publish(values, topic=g.ATTRIBUTES, packet_id=100 + number))
        client.send(*packets)
        assert [acknowledgement(client) for _ in packets] == [(0, "")] * 44
        assert g.latest(gateway.server, one) == {"a": 40}
        assert g.latest(gateway.server, other) == {"a": 39}
        assert g.attributes(gateway.server, one) == {"n": 40}


def test_qos_2(gateway: Gateway) -> None:
    one, other = new_name(), new_name()
    with gateway.open() as client:
        gateway.say(client, g.TELEMETRY, {one: [{"a": 1}], other: [5]}, qos=2)
        answer = client.read_packet()
        assert (answer[0], answer[4]) == (0x50, 0x99)
        gateway.say(client, g.TELEMETRY, {one: [{"a": 2}]}, qos=2)
        assert client.read_packet() == b"\x50\x02\x00\x01"
        assert g.latest(gateway.server, one) == {"a": 2}


def test_client_attributes_are_stored_and_asked_for(gateway: Gateway) -> None:
    one, other = new_name(), new_name()
    with gateway.open() as client:
        gateway.say(client, g.ATTRIBUTES, {one: {"a": 1, "b": {"c": 2}}, other: {"a": "x"}})
        assert acknowledgement(client) == (0, "")
        assert g.attributes(gateway.server, one) == {"a": 1, "b": {"c": 2}}
        assert g.attributes(gateway.server, other) == {"a": "x"}
        for wanted, answer in [
            ({"client": True, "key": "a"}, {"value": 1}),
            ({"client": True, "keys": ["b"]}, {"value": {"c": 2}}),
            ({"client": True, "keys": ["a", "b", "c"]}, {"values": {"a": 1, "b": {"c": 2}}}),
            ({"client": True, "keys": ["a", "c"]}, {"values": {"a": 1}}),
            ({"client": True, "key": "c"}, {}),
            ({"client": False, "keys": ["a", "b"]}, {}),
        ]:
            gateway.say(client, g.ATTRIBUTE_REQUEST, {"id": 7, "device": one, **wanted})
            assert acknowledgement(client) == (0, "")
            assert heard(client) == (g.ATTRIBUTE_RESPONSE, {"id": 7, "device": one, **answer})


# Who is connected


def test_an_unknown_device_is_made_with_its_profile(gateway: Gateway) -> None:
    name, kind = new_name(), new_name()
    with gateway.open() as client:
        gateway.say(client, g.CONNECT, {"device": name, "type": kind})
        assert acknowledgement(client) == (0, "")
        made = g.find_device(gateway.server, name)
        assert made is not None
        assert made["type"] == kind
        assert made["additionalInfo"] == {"lastConnectedGateway": gateway.id, "createdByGateway": gateway.id}
        (connection,) = g.connections(gateway.server, name)
        assert connection["viaGateway"] == gateway.name
        gateway.say(client, g.DISCONNECT, {"device": name})
        assert acknowledgement(client) == (0, "")
        assert g.connections(gateway.server, name) == []
        gateway.say(client, g.DISCONNECT, {"device": new_name()})  # unknown, and not made
        assert acknowledgement(client) == (0, "")


def test_a_known_device_keeps_what_it_is(gateway: Gateway) -> None:
    name = new_name()
    body = {"name": name, "type": "default", "label": "Attic", "additionalInfo": {"description": "old"}}
    gateway.server.rest.post("/api/device", json=body).raise_for_status()
    with gateway.open() as client:
        gateway.say(client, g.CONNECT, {"device": name, "type": new_name()})
        assert acknowledgement(client) == (0, "")
    known = g.find_device(gateway.server, name)
    assert known is not None
    assert (known["type"], known["label"]) == ("default", "Attic")
    assert known["additionalInfo"] == {"description": "old", "lastConnectedGateway": gateway.id}


def test_the_end_of_the_gateway_is_that_of_its_devices(gateway: Gateway) -> None:
    name = new_name()
    with gateway.open() as client:
        gateway.say(client, g.TELEMETRY, {name: [{"a": 1}]})
        acknowledgement(client)
        assert len(g.connections(gateway.server, name)) == 1
    g.wait_until_away(gateway.server, name)


@pytest.mark.parametrize("version", [4, 5])
def test_a_device_is_here_or_there(gateway: Gateway, version: int) -> None:
    """Device API reference, 4: a direct connection ends the one through the gateway, and the other way."""
    server, name = gateway.server, new_name()
    with gateway.open(version) as client:
        gateway.say(client, g.CONNECT, {"device": name}, version=version)
        acknowledgement(client)
        token = server.access_token(g.device_id(server, name))
        with g.open_with_token(server, token) as direct:
            if version == 5:
                assert heard(client) == (g.DISCONNECT, {"device": name, "reason": 0x8E})
            else:
                assert_stays(client)
            assert [each["viaGateway"] for each in g.connections(server, name)] == [None]
            gateway.say(client, g.TELEMETRY, {name: [{"a": 1}]}, version=version)
            assert acknowledgement(client) == (0, "")
            goodbye = direct.read_packet()
            assert (goodbye[0], goodbye[2]) == (0xE0, 0x8E)
        assert [each["viaGateway"] for each in g.connections(server, name)] == [gateway.name]


def test_removing_a_device_ends_its_session_alone(gateway: Gateway) -> None:
    server, name, other = gateway.server, new_name(), new_name()
    with gateway.open() as client:
        gateway.say(client, g.TELEMETRY, {name: [{"a": 1}], other: [{"a": 1}]})
        acknowledgement(client)
        server.rest.delete(f"/api/device/{g.device_id(server, name)}").raise_for_status()
        assert heard(client) == (g.DISCONNECT, {"device": name, "reason": 0x98})
        assert len(g.connections(server, other)) == 1
        gateway.say(client, g.TELEMETRY, {name: [{"a": 2}]})  # made anew
        assert acknowledgement(client) == (0, "")
        assert g.latest(server, name) == {"a": 2}


def test_new_credentials_end_the_device_s_session_alone(gateway: Gateway) -> None:
    server, name = gateway.server, new_name()
    with gateway.open() as client:
        gateway.say(client, g.CONNECT, {"device": name})
        acknowledgement(client)
        path = f"/api/device/{g.device_id(server, name)}/credentials"
        changed = server.rest.get(path).json() | {"credentialsId": new_name()[-20:]}
        server.rest.post("/api/device/credentials", json=changed).raise_for_status()
        assert heard(client) == (g.DISCONNECT, {"device": name, "reason": 0x98})
        assert_stays(client)


def test_the_gateway_s_own_data_is_its_own(gateway: Gateway) -> None:
    with gateway.open() as client:
        gateway.say(client, "v1/devices/me/telemetry", {"own": 1})
        assert acknowledgement(client) == (0, "")
        assert g.latest(gateway.server, gateway.name) == {"own": 1}
        gateway.say(client, g.TELEMETRY, {gateway.name: [{"own": 2}]})
        code, words = acknowledgement(client)
        assert code == 0x99
        assert "no device behind itself" in words
        assert g.latest(gateway.server, gateway.name) == {"own": 1}


def test_a_customer_s_gateway_and_another_customer_s_device(gateway: Gateway) -> None:
    server, name, free = gateway.server, new_name(), new_name()

    def assign(title: str, *devices: str) -> None:
        customer = server.rest.post("/api/customer", json={"title": title}).json()["id"]["id"]
        for device in devices:
            server.rest.post(f"/api/customer/{customer}/device/{device}").raise_for_status()

    with gateway.open() as client:
        gateway.say(client, g.TELEMETRY, {name: [{"a": 1}], free: [{"a": 1}]})
        assert acknowledgement(client) == (0, "")
        assign(new_name(), g.device_id(server, name))  # the gateway is the tenant's own and goes on
        gateway.say(client, g.TELEMETRY, {name: [{"a": 2}]})
        assert acknowledgement(client) == (0, "")
        assign(new_name(), gateway.id)
        assert heard(client) == (g.DISCONNECT, {"device": name, "reason": 0x98})
        made = new_name()
        gateway.say(client, g.TELEMETRY, {name: [{"a": 3}], free: [{"a": 3}], made: [{"a": 3}]})
        code, words = acknowledgement(client)
        assert (code, name[:20] in words) == (0x87, True)
        assert [g.latest(server, each) for each in (name, free, made)] == [{"a": 2}, {"a": 3}, {"a": 3}]
        found = g.find_device(server, made)
        assert found is not None
        assert found["customerId"] == server.rest.get(f"/api/device/{gateway.id}").json()["customerId"]


def test_state_and_events_of_devices_behind_it(plain_server: RunningServer) -> None:
    server, name = plain_server, new_name()
    gateway = make_gateway(server, overwriteActivityTime=True)
    with gateway.open() as client:
        gateway.say(client, g.TELEMETRY, {name: [{"a": 1}]})
        acknowledgement(client)
        state = g.attributes(server, name, "SERVER_SCOPE")
        assert state["active"] is True
        assert "lastConnectTime" in state
        assert "lastDisconnectTime" not in state
        heard_at = state["lastActivityTime"]
        assert isinstance(heard_at, int)

        def is_heard_again() -> bool:
            assert_stays(client)  # a ping of the gateway counts for the device
            return bool(g.attributes(server, name, "SERVER_SCOPE")["lastActivityTime"] > heard_at)

        g.wait_for(is_heard_again, "later activity")
    g.wait_until_away(server, name)
    g.wait_for(lambda: "lastDisconnectTime" in g.attributes(server, name, "SERVER_SCOPE"), "its end")
    path = f"/api/v2/devices/{g.device_id(server, name)}/events"
    g.wait_for(lambda: len(server.rest.get(path).json()["data"]) >= 3, "events")
    events = server.rest.get(path).json()["data"]
    ended = next(event for event in events if event["kind"] == "disconnected")
    began = next(event for event in events if event["kind"] == "connected")
    assert ended["details"]["code"] == "gateway-left"
    assert began["details"]["viaGateway"] == gateway.name


# What reaches the devices


def test_shared_attributes_reach_devices_behind_it(gateway: Gateway) -> None:
    server, name = gateway.server, new_name()
    with gateway.open() as client:
        gateway.say(client, g.CONNECT, {"device": name})
        acknowledgement(client)
        path = f"/api/plugins/telemetry/DEVICE/{g.device_id(server, name)}/SHARED_SCOPE"
        server.rest.post(path, json={"on": True, "limit": {"a": [1]}}).raise_for_status()
        assert heard(client) == (g.ATTRIBUTES, {"device": name, "data": {"limit": {"a": [1]}, "on": True}})
        server.rest.delete(path, params={"keys": "on"}).raise_for_status()
        assert heard(client) == (g.ATTRIBUTES, {"device": name, "data": {"deleted": ["on"]}})


def test_calls_and_their_replies(gateway: Gateway) -> None:
    server, name = gateway.server, new_name()
    with gateway.open() as client:
        gateway.say(client, g.CONNECT, {"device": name})
        acknowledgement(client)
        answers: list[Any] = []
        path = f"/api/rpc/twoway/{g.device_id(server, name)}"
        calling = threading.Thread(
            target=lambda: answers.append(server.rest.post(path, json={"method": "m", "params": {"p": [1]}}))
        )
        calling.start()
        topic, body = heard(client)
        assert topic == g.RPC
        number = body["data"].pop("id")
        assert body == {"device": name, "data": {"method": "m", "params": {"p": [1]}}}
        gateway.say(client, g.RPC, {"device": name, "id": number, "data": {"done": [True, None]}})
        assert acknowledgement(client) == (0, "")
        calling.join(10)
        assert (answers[0].status_code, answers[0].json()) == (200, {"done": [True, None]})
        gateway.say(client, g.RPC, {"device": name, "id": number, "data": "late"})  # nobody waits
        assert acknowledgement(client) == (0, "")


def test_a_kept_call_waits_for_the_device(gateway: Gateway) -> None:
    server, name = gateway.server, new_name()
    with gateway.open() as client:
        gateway.say(client, g.CONNECT, {"device": name})
        acknowledgement(client)
        gateway.say(client, g.DISCONNECT, {"device": name})
        acknowledgement(client)
        path = f"/api/rpc/oneway/{g.device_id(server, name)}"
        answer = server.rest.post(path, json={"method": "m", "params": None, "persistent": True})
        answer.raise_for_status()
        gateway.say(client, g.CONNECT, {"device": name})
        packets = [client.read_packet() for _ in range(2)]  # the call may come before the acknowledgement
        assert sorted(packet[0] & 0xF0 for packet in packets) == [0x30, 0x40]
        assert any(g.RPC.encode() in packet and b'"method":"m"' in packet for packet in packets)


def test_pushes_have_the_qos_of_the_subscription(gateway: Gateway) -> None:
    server, name = gateway.server, new_name()
    with gateway.open() as client:
        client.send(subscribe(g.ATTRIBUTES, qos=0))
        client.read_packet()
        gateway.say(client, g.CONNECT, {"device": name})
        acknowledgement(client)
        path = f"/api/plugins/telemetry/DEVICE/{g.device_id(server, name)}/SHARED_SCOPE"
        server.rest.post(path, json={"on": True}).raise_for_status()
        assert client.read_packet()[0] == 0x30


def test_session_limits_of_a_gateway(gateway: Gateway) -> None:
    with gateway.open() as client:
        gateway.say(client, "v1/devices/me/rpc/request/1", {"method": "getSessionLimits", "params": {}})
        acknowledgement(client)
        _, limits = heard(client)
        none = {"messages": None, "telemetryMessages": None, "telemetryDataPoints": None}
        assert (limits["rateLimits"], limits["gatewayRateLimits"]) == (none, none)


def test_metadata_becomes_metrics_of_the_gateway(gateway: Gateway) -> None:
    name = new_name()
    with gateway.open() as client:
        times = {"connector": "modbus", "receivedTs": 1000, "publishedTs": 1030}
        body = {name: [{"ts": 5, "values": {"a": 1}, "metadata": times}, {"b": 2, "metadata": times}]}
        gateway.say(client, g.TELEMETRY, body)
        assert acknowledgement(client) == (0, "")
        assert g.latest(gateway.server, name) == {"a": 1, "b": 2}
    # The gateway's end writes what a minute would have.
    g.wait_for(lambda: "gatewayMetrics" in g.latest(gateway.server, gateway.name), "the metrics")
    found = g.latest(gateway.server, gateway.name)["gatewayMetrics"]
    metrics = json.loads(found) if isinstance(found, str) else found
    assert isinstance(metrics, dict)
    assert metrics["modbus"]["avgGwLatency"] == metrics["modbus"]["maxGwLatency"] == 30
    assert metrics["modbus"]["minTransportLatency"] > 0


# Claims


def test_devices_are_claimed_through_it(gateway: Gateway) -> None:
    server, name, owned = gateway.server, new_name(), new_name()
    customer = server.rest.post("/api/customer", json={"title": new_name()}).json()
    made = server.rest.post("/api/device", json={"name": owned}).json()
    path = f"/api/customer/{customer['id']['id']}/device/{made['id']['id']}"
    server.rest.post(path).raise_for_status()
    with gateway.open() as client:
        offer = {"secretKey": "s", "durationMs": 60_000}
        gateway.say(client, g.CLAIM, {name: offer, owned: offer})
        code, words = acknowledgement(client)
        assert (code, owned[:20] in words) == (0x87, True)
        gateway.say(client, g.CLAIM, {name: offer})
        assert acknowledgement(client) == (0, "")


# Bounds


def test_limits_of_what_it_sends_for_its_devices(start: Callable[..., RunningServer]) -> None:
    limits = {
        "THINGPASS_LIMIT_GATEWAY_TELEMETRY_MESSAGES": "2:600",
        "THINGPASS_LIMIT_GATEWAY_DEVICE_TELEMETRY_MESSAGES": "1:600",
    }
    server = start("--mqtt-port", "0", environ=limits)
    gateway, name = make_gateway(server), new_name()
    with gateway.open() as client:
        codes = []
        for number in range(3):
            gateway.say(client, g.TELEMETRY, {name: [{"a": number}]})
            codes.append(acknowledgement(client)[0])
        assert codes == [0, 0, 0x97]
        assert g.latest(server, name) == {"a": 1}
        for code in (0, 0x97):  # the gateway's own are counted apart
            gateway.say(client, "v1/devices/me/telemetry", {"own": 1})
            assert acknowledgement(client)[0] == code
        gateway.say(client, g.DISCONNECT, {"device": name})  # no telemetry
        assert acknowledgement(client) == (0, "")


def test_more_devices_than_the_setting_allows(start: Callable[..., RunningServer]) -> None:
    server = start("--mqtt-port", "0", environ={"THINGPASS_MQTT_MAX_GATEWAY_DEVICES": "2"})
    gateway, names = make_gateway(server), [new_name() for _ in range(3)]
    with gateway.open() as client:
        gateway.say(client, g.TELEMETRY, {name: [{"a": 1}] for name in names})
        code, words = acknowledgement(client)
        assert code == 0x97
        assert names[2][:20] in words
        assert [g.latest(server, name) for name in names[:2]] == [{"a": 1}] * 2
        assert g.find_device(server, names[2]) is None
        gateway.say(client, g.DISCONNECT, {"device": names[0]})
        acknowledgement(client)
        gateway.say(client, g.CONNECT, {"device": names[2]})  # there is room, but it has made two
        assert acknowledgement(client)[0] == 0x97
    with gateway.open(4) as client:  # MQTT 3 is told nothing, and stays
        for name in names:
            gateway.say(client, g.CONNECT, {"device": name}, version=4)
            assert acknowledgement(client) == (0, "")
        assert_stays(client)
