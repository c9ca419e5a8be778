"""Device state over the life of a server: silence, timeouts, stops and crashes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.device import Device, make_device
from tests.integration.test_durability import on
from tests.raw_mqtt import PATIENCE_S, PINGREQ, PINGRESP, RawClient, connect, open_session, reason_code
from tests.running_server import RunningServer

MakeDevice = Callable[..., Device]
StartServer = Callable[..., RunningServer]

SHORT = {"THINGPASS_DEVICE_INACTIVITY_TIMEOUT_S": "2", "THINGPASS_DEVICE_ACTIVITY_FLUSH_S": "1"}
CONNECTED_AT_THE_CRASH = 1_000


def test_silent_device_is_disconnected_by_its_keep_alive(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with open_session(device, keep_alive=1) as client:
        assert client.read_packet()[0] == 0xE0  # DISCONNECT
        event = device.wait_for_event("disconnected")
        assert event["details"]["code"] == "silent"
        assert "1.5 s" in event["sentence"]
    state = device.state()
    assert state["lastDisconnectTime"] >= state["lastActivityTime"] + 1_400


def test_connected_device_that_is_silent_becomes_inactive_and_a_ping_makes_it_active(
    start: StartServer, tmp_path: Path
) -> None:
    device = make_device(start(environ=SHORT), tmp_path)
    with open_session(device, keep_alive=0) as client:
        state = device.wait_for_state("active", False)
        assert state["inactivityAlarmTime"] >= state["lastActivityTime"] + 2_000
        assert "lastDisconnectTime" not in state
        client.send(PINGREQ)
        assert client.read_packet() == PINGRESP
        state = device.wait_for_state("active", True)
        assert state["lastActivityTime"] > state["inactivityAlarmTime"]
    device.wait_for_event("inactive", count=1)
    device.wait_for_event("active", count=2)


def test_timeout_that_is_written_by_rest_holds_while_the_device_is_connected(
    start: StartServer, tmp_path: Path
) -> None:
    device = make_device(start(), tmp_path)
    with open_session(device, keep_alive=0):
        assert device.state()["active"] is True
        _write(device, {"inactivityTimeout": 1_000})
        device.wait_for_state("active", False)
        _write(device, {"inactivityTimeout": 600_000})
        state = device.wait_for_state("active", True)
        assert state["inactivityTimeout"] == 600_000
    infos = "/api/tenant/deviceInfos?pageSize=10&page=0&active=true"
    assert [info["name"] for info in device.server.rest.get(infos).json()["data"]] == [device.name]


def test_http_request_is_activity_and_no_connection(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate(registered=False)
    path = f"{device.server.url}/api/v1/{device.server.access_token(device.id)}/telemetry"
    began = int(time.time() * 1000)
    httpx.post(path, content='{"a": 1}', trust_env=False).raise_for_status()
    state = device.state()
    assert state["active"] is True
    assert state["lastActivityTime"] >= began
    assert state.keys() == {"active", "lastActivityTime"}


def test_state_is_no_attribute_that_people_can_write(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    answer = device.server.rest.post(
        f"/api/plugins/telemetry/{device.id}/SERVER_SCOPE", json={"active": True, "lastConnectTime": 1}
    )
    assert answer.status_code == 400
    assert "active, lastConnectTime" in answer.text


def test_crash_is_told_by_the_next_start(start: StartServer, tmp_path: Path) -> None:
    """`kill -9` while many are connected: who does not come back is disconnected, and then inactive."""
    server = start("--mqtt-port", "0", directory=tmp_path / "server", environ=SHORT)
    ids = [_add_device_with_token(server, f"device {n}") for n in range(CONNECTED_AT_THE_CRASH)]
    with contextlib.ExitStack() as sessions:
        for number in range(CONNECTED_AT_THE_CRASH):
            sessions.enter_context(_open_plain_session(server, f"token-of-device-{number}"))
        _wait_until_written(server, CONNECTED_AT_THE_CRASH)
        killed_at = int(time.time() * 1000)
        server.kill()
    server = start(
        *("--http-port", server.url.rpartition(":")[2], "--mqtt-port", "0"),
        directory=tmp_path / "server",
        environ=SHORT,
        administrator=server.administrator,
    )
    with _open_plain_session(server, "token-of-device-0") as client:
        _wait_for_inactive(server, CONNECTED_AT_THE_CRASH - 1, keep_alive=client)
        for device_id in (ids[1], ids[-1]):
            gone = Device("gone", device_id, tmp_path, tmp_path, tmp_path, server)
            state = gone.state()
            assert state["active"] is False
            assert state["lastConnectTime"] <= state["lastActivityTime"] <= state["lastDisconnectTime"]
            assert killed_at - 15_000 <= state["lastDisconnectTime"] <= killed_at
            (ended,) = gone.events("disconnected")
            assert "last known to run" in ended["sentence"]
            assert ended["atMs"] == state["lastDisconnectTime"]
        back = Device("back", ids[0], tmp_path, tmp_path, tmp_path, server).state()
        assert back["active"] is True
        assert back["lastConnectTime"] > back["lastDisconnectTime"]


def test_stop_is_told_as_a_stop(start: StartServer, tmp_path: Path) -> None:
    server = start(directory=tmp_path / "server")
    device = make_device(server, tmp_path)
    with open_session(device):
        assert device.state()["active"] is True
        server.stop()
    stopped_at = int(time.time() * 1000)
    server = start(directory=tmp_path / "server", administrator=server.administrator)
    device = on(server, device)
    state = device.state()
    assert state["active"] is True
    assert state["lastConnectTime"] <= state["lastDisconnectTime"] <= stopped_at
    kinds = [event["kind"] for event in device.events()]
    assert kinds == ["credentials-changed", "connected", "active", "disconnected"]
    assert device.events()[-1]["sentence"] == "The server stopped."


def test_events_are_read_by_command_and_belong_to_their_tenant(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with open_session(device):
        device.wait_for_event("connected")
    device.wait_for_event("disconnected")
    token = device.server.rest.headers["X-Authorization"].removeprefix("Bearer ")
    environ = {**os.environ, "THINGPASS_URL": device.server.url, "THINGPASS_TOKEN": token}
    command = [sys.executable, "-m", "thingpass", "device", "events", device.name]
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    assert "The device connected from 127.0.0.1 by MQTT 5.0." in shown
    as_json = subprocess.run(
        [*command, "--json", "--limit", "1"], env=environ, capture_output=True, text=True, check=True
    )
    answer = json.loads(as_json.stdout)
    assert answer["hasNext"] is True
    rest = device.server.rest
    page = rest.get(f"/api/v2/devices/{device.id}/events", params={"before": answer["data"][0]["id"]}).json()
    assert answer["data"][0]["id"] not in [event["id"] for event in page["data"]]
    assert rest.get(f"/api/v2/devices/{device.id}/events?kind=nonsense").status_code == 400
    unknown = "/api/v2/devices/00000000-0000-4000-8000-000000000000/events"
    assert rest.get(unknown).status_code == 404


def _write(device: Device, attributes: dict[str, object]) -> None:
    path = f"/api/plugins/telemetry/{device.id}/SERVER_SCOPE"
    device.server.rest.post(path, json=attributes).raise_for_status()


def _add_device_with_token(server: RunningServer, name: str) -> str:
    token = f"token-of-{name.replace(' ', '-')}"
    answer = server.rest.post("/api/device", params={"accessToken": token}, json={"name": name})
    answer.raise_for_status()
    return str(answer.json()["id"]["id"])


def _open_plain_session(server: RunningServer, token: str) -> RawClient:
    client = RawClient(socket.create_connection(("127.0.0.1", server.mqtt_port), PATIENCE_S))
    client.send(connect(5, user_name=token, keep_alive=0))
    assert reason_code(client.read_packet()) == 0
    return client


def _wait_until_written(server: RunningServer, count: int) -> None:
    """Until it is stored that so many are connected: a crash loses the last second of it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        lines = server.rest.get("/metrics").text.splitlines()
        metrics = dict(line.split(" ", 1) for line in lines if line.startswith("thingpass_"))
        written = float(metrics["thingpass_state_writes_total"])
        if written >= count:
            return
        assert time.monotonic() < deadline, f"{written} of {count} states are written"
        time.sleep(0.05)


def _wait_for_inactive(server: RunningServer, count: int, *, keep_alive: RawClient) -> None:
    deadline = time.monotonic() + 3 * PATIENCE_S
    while True:
        keep_alive.send(PINGREQ)
        assert keep_alive.read_packet() == PINGRESP
        page = server.rest.get("/api/tenant/deviceInfos?pageSize=1&page=0&active=false").json()
        if page["totalElements"] == count:
            return
        assert time.monotonic() < deadline, f"{page['totalElements']} are inactive and not {count}"
        time.sleep(0.05)
