"""A gateway by hand over a real socket, and what the server knows of the devices behind it."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.device_with_profile import published
from tests.raw_mqtt import PATIENCE_S, PINGREQ, PINGRESP, RawClient, connect, publish
from tests.running_server import RunningServer

TELEMETRY = "v1/gateway/telemetry"
ATTRIBUTES = "v1/gateway/attributes"
ATTRIBUTE_REQUEST = "v1/gateway/attributes/request"
ATTRIBUTE_RESPONSE = "v1/gateway/attributes/response"
CONNECT = "v1/gateway/connect"
DISCONNECT = "v1/gateway/disconnect"
RPC = "v1/gateway/rpc"
CLAIM = "v1/gateway/claim"


@dataclass
class Gateway:
    """A device with `"gateway": true`."""

    server: RunningServer
    name: str
    id: str
    token: str

    def open(self, version: int = 5) -> RawClient:
        return open_with_token(self.server, self.token, version)

    def say(self, client: RawClient, topic: str, body: object, *, version: int = 5, qos: int = 1) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        client.send(publish(payload, version=version, topic=topic, qos=qos))


def make_gateway(server: RunningServer, **info: object) -> Gateway:
    name = f"gateway {uuid.uuid4()}"
    body = {"name": name, "type": "default", "additionalInfo": {"gateway": True, **info}}
    answer = server.rest.post("/api/device", json=body)
    assert answer.status_code == 200, answer.text
    device_id = str(answer.json()["id"]["id"])
    return Gateway(server, name, device_id, server.access_token(device_id))


def open_with_token(server: RunningServer, token: str, version: int = 5) -> RawClient:
    client = RawClient(socket.create_connection(("127.0.0.1", server.mqtt_port), PATIENCE_S))
    client.send(connect(version, client_id="x" if version == 3 else "", user_name=token))
    answer = client.read_packet()
    assert answer[0] == 0x20, answer
    assert answer[3] == 0, answer
    return client


def new_name() -> str:
    return f"device {uuid.uuid4()}"


def find_device(server: RunningServer, name: str) -> dict[str, Any] | None:
    answer = server.rest.get("/api/tenant/devices", params={"deviceName": name})
    return answer.json() if answer.status_code == 200 else None


def device_id(server: RunningServer, name: str) -> str:
    wait_for(lambda: find_device(server, name) is not None, f"device {name}")
    found = find_device(server, name)
    assert found is not None
    return str(found["id"]["id"])


def latest(server: RunningServer, name: str) -> dict[str, object]:
    path = (
        f"/api/plugins/telemetry/DEVICE/{device_id(server, name)}/values/timeseries?useStrictDataTypes=true"
    )
    return {key: points[0]["value"] for key, points in server.rest.get(path).json().items()}


def attributes(server: RunningServer, name: str, scope: str = "CLIENT_SCOPE") -> dict[str, object]:
    path = f"/api/plugins/telemetry/DEVICE/{device_id(server, name)}/values/attributes/{scope}"
    return {row["key"]: row["value"] for row in server.rest.get(path).json()}


def connections(server: RunningServer, name: str) -> list[dict[str, Any]]:
    answer = server.rest.get("/api/v2/connections", params={"deviceId": device_id(server, name)})
    return list(answer.json()["data"])


def wait_until_away(server: RunningServer, name: str) -> None:
    wait_for(lambda: not connections(server, name), f"the end of {name}")


def wait_for(is_so: Callable[[], bool], what: str, *, within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"waited {within_s} s for {what}"
        time.sleep(0.02)


def acknowledgement(client: RawClient) -> tuple[int, str]:
    """Reason code and Reason String of the next packet, which must be a PUBACK; MQTT 3: 0 and nothing."""
    answer = client.read_packet()
    assert answer[:1] == b"\x40", answer
    start = 2
    while answer[start - 1] & 0x80:
        start += 1
    body = answer[start:]
    code = body[2] if len(body) > 2 else 0
    if len(body) <= 4:
        return code, ""
    start = 4 if not body[3] & 0x80 else 5
    assert body[start] == 0x1F, "a Reason String"
    length = int.from_bytes(body[start + 1 : start + 3], "big")
    return code, body[start + 3 : start + 3 + length].decode()


def assert_stays(client: RawClient) -> None:
    client.send(PINGREQ)
    assert client.read_packet() == PINGRESP


def heard(client: RawClient) -> tuple[str, Any]:
    """Topic and JSON of the next packet, which must be a PUBLISH."""
    topic, payload = published(client)
    return topic, json.loads(payload)
