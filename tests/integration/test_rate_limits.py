"""Floods over real sockets against a server with rate limits."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.device import Device, make_device
from tests.raw_mqtt import PINGREQ, PINGRESP, RawClient, open_session, publish, reason_code, subscribe
from tests.running_server import RunningServer, start_server

QUOTA_EXCEEDED, RATE_TOO_HIGH = 0x97, 0x96
LIMITS = {
    "THINGPASS_LIMIT_DEVICE_TELEMETRY_MESSAGES": "20:1",
    "THINGPASS_LIMIT_DEVICE_DATA_POINTS": "1000:1",
    "THINGPASS_LIMIT_DEVICE_MESSAGES": "50:1",
    "THINGPASS_LIMIT_GATEWAY_MESSAGES": "70:1,80:60",
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("limited"), environ=LIMITS)
    yield running
    running.stop()


@pytest.fixture
def device(limited: RunningServer, tmp_path: Path) -> Device:
    return make_device(limited, tmp_path)


def rate_limited(server: RunningServer) -> dict[str, int]:
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    found = re.findall(r'^thingpass_rate_limited_total\{limit="(\w+)"\} (\d+)', text, re.MULTILINE)
    return {name: int(count) for name, count in found}


def sample(number: int) -> bytes:
    return json.dumps({"ts": 1_700_000_000_000 + number, "values": {"n": number}}).encode()


def answers(client: RawClient, count: int) -> dict[int, int]:
    """Packet id to reason code of the next PUBACKs."""
    found = {}
    for _ in range(count):
        packet = client.read_packet()
        assert packet[0] == 0x40, packet
        found[struct.unpack("!H", packet[2:4])[0]] = packet[4] if len(packet) > 4 else 0
    return found


def refusals_of(device: Device, code: str) -> list[dict[str, Any]]:
    return [
        row for row in device.server.refusals() if (row["deviceName"], row["code"]) == (device.name, code)
    ]


def test_mqtt_5_flood_is_refused_in_words_and_the_connection_stays(
    device: Device, limited: RunningServer, tmp_path: Path
) -> None:
    other = make_device(limited, tmp_path)
    with open_session(device, 5) as client, open_session(other, 5) as neighbour:
        client.send(*(publish(sample(number), packet_id=number) for number in range(1, 91)))
        found = answers(client, 90)
        refused = {packet_id for packet_id, code in found.items() if code == QUOTA_EXCEEDED}
        taken = {packet_id for packet_id, code in found.items() if code == 0}
        assert taken | refused == set(range(1, 91))
        assert len(taken) >= 20
        assert len(refused) > 0
        neighbour.send(publish(sample(1)))
        assert answers(neighbour, 1) == {1: 0}
        client.send(PINGREQ)
        assert client.read_packet() == PINGRESP
        assert {value for _, value in device.history("n")} == taken, "acknowledged is stored, refused is not"
    assert rate_limited(limited)["device_telemetry_messages"] >= len(refused)
    (entry,) = refusals_of(device, "rate-limit-exceeded")
    assert "limits.device_telemetry_messages is 20:1" in entry["sentence"]


@pytest.mark.parametrize("version", [3, 4])
def test_mqtt_3_flood_is_slowed_down_and_nothing_is_lost(
    device: Device, limited: RunningServer, version: int
) -> None:
    before = rate_limited(limited).get("device_telemetry_messages", 0)
    with open_session(device, version) as client:
        flood = [publish(sample(number), version=version, packet_id=number) for number in range(1, 61)]
        client.send(*flood, PINGREQ)
        assert answers_and_ping(client, 60) == set(range(1, 61))
    assert {value for _, value in device.history("n")} == set(range(1, 61))
    assert rate_limited(limited)["device_telemetry_messages"] > before
    assert len(refusals_of(device, "rate-limit-exceeded")) == 1


def answers_and_ping(client: RawClient, count: int) -> set[int]:
    """Packet ids of so many PUBACKs; a PINGRESP may come between them."""
    found: set[int] = set()
    pings = 0
    while len(found) < count or not pings:
        packet = client.read_packet()
        if packet == PINGRESP:
            pings += 1
        else:
            assert packet[0] == 0x40, packet
            found.add(struct.unpack("!H", packet[2:4])[0])
    return found


def test_qos_0_flood_is_slowed_down_and_nothing_is_lost(device: Device) -> None:
    with open_session(device, 5) as client:
        client.send(*(publish(sample(number), qos=0) for number in range(1, 41)), PINGREQ)
        assert client.read_packet() == PINGRESP
        device.wait_for("n", 40)
    assert {value for _, value in device.history("n")} == set(range(1, 41))


def test_who_is_not_read_for_longer_than_its_keep_alive_is_not_taken_for_dead(device: Device) -> None:
    with open_session(device, 4, keep_alive=1) as client:
        client.send(*(publish(sample(number), version=4, packet_id=number) for number in range(1, 81)))
        assert set(answers(client, 80)) == set(range(1, 81))  # three seconds in debt
        client.send(PINGREQ)
        assert client.read_packet() == PINGRESP
        client.send(publish(sample(81), version=4, packet_id=81))
        assert answers(client, 1) == {81: 0}


def test_mqtt_5_that_goes_on_is_disconnected_with_the_reason(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start(environ={"THINGPASS_LIMIT_DEVICE_TELEMETRY_MESSAGES": "1:3600"})
    device = make_device(server, tmp_path)
    with open_session(device, 5) as client:
        for number in range(1, 1_202):
            client.send(publish(sample(number), packet_id=number))
            packet = client.read_packet()
            if packet[0] == 0xE0:
                break
        assert packet[0] == 0xE0
        assert reason_code(packet) == RATE_TOO_HIGH
        assert b"device_telemetry_messages, 1:3600, is used up" in packet
        assert client.is_closed_by_server()
    with open_session(device, 5) as client:
        client.send(publish(sample(1), packet_id=1))
        assert answers(client, 1) == {1: QUOTA_EXCEEDED}, "connecting anew is no way around"


def test_mqtt_3_whose_debt_would_take_too_long_is_closed(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start(environ={"THINGPASS_LIMIT_DEVICE_DATA_POINTS": "2:3600"})
    device = make_device(server, tmp_path)
    with open_session(device, 4) as client:
        client.send(publish(b'{"a":1,"b":2,"c":3}', version=4, packet_id=1))
        assert answers(client, 1) == {1: 0}, "a message is taken whole while there are points left"
        client.send(publish(b'{"a":4}', version=4, packet_id=2))
        assert client.is_closed_by_server()
    assert device.latest() == {"a": 1, "b": 2, "c": 3}


def test_http_flood_is_refused_until_it_may_come_back(device: Device, limited: RunningServer) -> None:
    device_id = limited.add_device(f"{device.name}-http")
    with httpx.Client(base_url=limited.url, trust_env=False) as client:
        path = f"/api/v1/{limited.access_token(device_id)}"
        answers = [client.post(f"{path}/telemetry", json={"n": number}) for number in range(60)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        assert "device_telemetry_messages, 20:1, is used up" in refused[0].json()["message"]
        assert client.get(f"{path}/attributes").status_code == 200, "what carries no data has its own limit"


def test_session_limits_are_those_in_force(device: Device, limited: RunningServer) -> None:
    assert session_limits(device) == {
        "maxPayloadSize": 65_536,
        "maxInflightMessages": 100,
        "rateLimits": {"messages": "50:1", "telemetryMessages": "20:1", "telemetryDataPoints": "1000:1"},
    }
    body = limited.rest.get(f"/api/device/{device.id}").json() | {"additionalInfo": {"gateway": True}}
    limited.rest.post("/api/device", json=body).raise_for_status()
    nothing = {"messages": None, "telemetryMessages": None, "telemetryDataPoints": None}
    found = session_limits(device)
    assert found["rateLimits"] == nothing
    assert found["gatewayRateLimits"] == {**nothing, "messages": "70:1,80:60"}


def session_limits(device: Device) -> dict[str, Any]:
    with open_session(device, 5) as client:
        client.send(subscribe("v1/devices/me/rpc/response/+"))
        client.read_packet()
        question = b'{"method":"getSessionLimits","params":{"timeout":5000}}'
        client.send(publish(question, topic="v1/devices/me/rpc/request/1", packet_id=2))
        while (packet := client.read_packet())[0] >> 4 != 3:
            pass
        answer: dict[str, Any] = json.loads(packet[packet.index(b"{") :])
        return answer


def test_a_limit_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(
        AssertionError, match=r"THINGPASS_LIMIT_TENANT_MESSAGES: .*100 per second.* is not allowed"
    ):
        start_server(tmp_path, environ={"THINGPASS_LIMIT_TENANT_MESSAGES": "100 per second"})
