"""A device whose profile is the test's own, and what comes back to it."""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass
from typing import Any

from tests.raw_mqtt import PATIENCE_S, RawClient, connect, packet
from tests.running_server import RunningServer


@dataclass
class Setup:
    """A profile of the test's own, and a device that has it."""

    server: RunningServer
    profile: dict[str, Any]
    device: dict[str, Any]
    token: str

    @property
    def device_id(self) -> str:
        return str(self.device["id"]["id"])

    def change(self, **transport: object) -> None:
        data = self.profile["profileData"]
        body = {
            **self.profile,
            "version": None,
            "profileData": {**data, "transportConfiguration": {"type": "MQTT", **transport}},
        }
        answer = self.server.rest.post("/api/deviceProfile", json=body)
        assert answer.status_code == 200, answer.text
        self.profile = answer.json()

    def open(self, version: int = 5) -> RawClient:
        client = RawClient(socket.create_connection(("127.0.0.1", self.server.mqtt_port), PATIENCE_S))
        client.send(connect(version, client_id="x" if version == 3 else "", user_name=self.token))
        answer = client.read_packet()
        assert answer[0] == 0x20
        assert answer[-1 if version != 5 else 3] == 0
        return client

    def latest(self) -> dict[str, object]:
        path = f"/api/plugins/telemetry/DEVICE/{self.device_id}/values/timeseries?useStrictDataTypes=true"
        return {key: points[0]["value"] for key, points in self.server.rest.get(path).json().items()}

    def client_attributes(self) -> dict[str, object]:
        path = f"/api/plugins/telemetry/DEVICE/{self.device_id}/values/attributes/CLIENT_SCOPE"
        return {row["key"]: row["value"] for row in self.server.rest.get(path).json()}


def make_setup(server: RunningServer, **transport: object) -> Setup:
    """A new profile with this transport configuration, and a new device."""
    body = {
        "name": f"profile {uuid.uuid4()}",
        "type": "DEFAULT",
        "transportType": "MQTT",
        "profileData": {"transportConfiguration": {"type": "MQTT", **transport}},
    }
    answer = server.rest.post("/api/deviceProfile", json=body)
    assert answer.status_code == 200, answer.text
    profile = answer.json()
    named = {"name": f"device {uuid.uuid4()}", "deviceProfileId": profile["id"]}
    device = server.rest.post("/api/device", json=named).json()
    return Setup(server, profile, device, server.access_token(device["id"]["id"]))


def puback(client: RawClient) -> int:
    """The reason code of the next packet, which must be a PUBACK."""
    answer = client.read_packet()
    assert answer[:1] == b"\x40", answer
    return answer[4] if len(answer) > 4 else 0


def published(client: RawClient) -> tuple[str, bytes]:
    """Topic and payload of the next packet, which must be a PUBLISH; acknowledges it."""
    answer = client.read_packet()
    assert answer[0] & 0xF0 == 0x30, answer
    start = 2
    while answer[start - 1] & 0x80:
        start += 1
    length = int.from_bytes(answer[start : start + 2], "big")
    topic = answer[start + 2 : start + 2 + length].decode()
    at = start + 2 + length
    if answer[0] & 0x06:
        client.send(packet(0x40, answer[at : at + 2]))
        at += 2
    return topic, answer[at + 1 + answer[at] :]  # MQTT 5: the properties' length
