"""`thingpass simulate` as a command against a real server, and single devices against a server by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.running_server import RunningServer, clean_environ
from thingpass.mqtt.events import ConnectReceived, MessagePublished, SubscribeRequested
from thingpass.mqtt.session import Limits, Session
from thingpass.simulation.device import DeviceIdentity
from thingpass.simulation.fleet import Fleet, Plan
from thingpass.simulation.target import read_target

RUN_S = 60.0
PATIENCE_S = 20.0


def environ_for(server: RunningServer, tmp_path: Path) -> dict[str, str]:
    places = {"THINGPASS_URL": server.url, "THINGPASS_DATA_DIR": str(server.directory / "data")}
    return clean_environ({**places, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")})


def start_fleet(server: RunningServer, tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "thingpass", "simulate", "--json", *words]
    return subprocess.Popen(
        command,
        env=environ_for(server, tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_of(process: subprocess.Popen[str]) -> tuple[int, Any, str]:
    """Exit code, the summary, and what was written beside it."""
    output, errors = process.communicate(timeout=RUN_S)
    return process.returncode, json.loads(output) if output else None, errors


def simulate(server: RunningServer, tmp_path: Path, *words: str) -> tuple[int, Any, str]:
    return end_of(start_fleet(server, tmp_path, *words))


def wait_until(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:g} s"
        time.sleep(0.05)


def connected(server: RunningServer) -> int:
    return len(server.rest.get("/api/v2/connections").json()["data"])


def latest(server: RunningServer, name: str) -> dict[str, Any]:
    """Telemetry and client attributes; nothing of a device that is not registered yet."""
    answer = server.rest.get("/api/tenant/devices", params={"deviceName": name})
    if answer.status_code == 404:
        return {}
    device = answer.json()
    path = f"/api/plugins/telemetry/DEVICE/{device['id']['id']}/values"
    series = server.rest.get(f"{path}/timeseries", params={"useStrictDataTypes": "true"}).json()
    attributes = server.rest.get(f"{path}/attributes/CLIENT_SCOPE").json()
    found = {key: points[0]["value"] for key, points in series.items()}
    return found | {entry["key"]: entry["value"] for entry in attributes}


@pytest.mark.parametrize(
    "how",
    [("--x509",), (), ("--mqtt-version", "3.1.1"), ("--protocol", "http"), ("--protocol", "http", "--x509")],
)
def test_fifty_devices_connect_and_everything_is_stored(
    server: RunningServer, tmp_path: Path, how: tuple[str, ...]
) -> None:
    prefix = f"fleet{'-'.join(('', *how)).replace('--', '')}"
    words = ["--devices", "50", "--rate", "100", "--duration", "4", "--prefix", prefix, *how]
    code, summary, errors = simulate(server, tmp_path, *words)
    assert code == 0, errors
    assert (summary["wanted"], summary["connects"], summary["problems"]) == (50, 50, [])
    assert summary["acknowledged"] == summary["sent"] > 150  # two messages each when they connect
    values = latest(server, f"{prefix}-000049")
    assert {"temperature", "humidity", "battery", "door_open", "firmware_version", "serial"} <= set(values)
    assert values["simulated"] is True


def test_a_second_run_uses_what_is_there_and_remove_takes_it_away(
    server: RunningServer, tmp_path: Path
) -> None:
    words = ["--devices", "5", "--rate", "50", "--duration", "2", "--prefix", "again"]
    for kind in ((), (), ("--x509",), ("--x509",), ()):  # also from one kind of credentials to the other
        code, summary, errors = simulate(server, tmp_path, *words, *kind)
        assert (code, summary["connects"]) == (0, 5), errors
    server.add_device("again-by-hand")
    assert simulate(server, tmp_path, "--prefix", "again", "--remove")[:2] == (0, {"removed": 5})
    found = server.rest.get("/api/tenant/devices?pageSize=100&page=0&textSearch=again").json()["data"]
    assert [device["name"] for device in found] == ["again-by-hand"]


def test_processes_share_the_fleet(server: RunningServer, tmp_path: Path) -> None:
    words = ["--devices", "20", "--rate", "100", "--duration", "5", "--prefix", "shared", "--processes", "3"]
    code, summary, errors = simulate(server, tmp_path, *words, "--x509")
    assert code == 0, errors
    assert (summary["wanted"], summary["connects"], summary["problems"]) == (20, 20, [])
    assert summary["acknowledged"] > 40


def test_devices_come_back_after_the_server_was_gone(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    first = start()
    process = start_fleet(first, tmp_path, "--devices", "20", "--rate", "40", "--prefix", "back")
    wait_until(lambda: connected(first) == 20, "all are connected")
    first.stop()
    second = first.start_again()
    try:
        wait_until(lambda: connected(second) == 20, "all are connected again")
        process.send_signal(signal.SIGINT)
        code, summary, errors = end_of(process)
    finally:
        second.stop()
    assert code == 0, errors
    assert summary["connects"] >= 40
    assert summary["lost"] == 20
    reasons = {problem["reason"] for problem in summary["problems"]}
    assert "disconnected by the server: The server is shutting down. (0x8B)" in reasons


def test_devices_answer_calls_and_obey_pushes(server: RunningServer, tmp_path: Path) -> None:
    process = start_fleet(server, tmp_path, "--devices", "2", "--rate", "0.001", "--prefix", "called")
    try:
        wait_until(lambda: latest(server, "called-000001").get("simulated") is True, "it is connected")
        device = server.rest.get("/api/tenant/devices", params={"deviceName": "called-000001"}).json()
        call = {"method": "getStatus", "params": None, "timeout": 10_000}
        status = server.rest.post(f"/api/rpc/twoway/{device['id']['id']}", json=call)
        assert status.json()["interval"] == 2_000
        path = f"/api/plugins/telemetry/DEVICE/{device['id']['id']}/SHARED_SCOPE"
        server.rest.post(path, json={"uploadFrequency": 0.05}).raise_for_status()
        wait_until(lambda: "temperature" in latest(server, "called-000001"), "it sends now")
    finally:
        process.send_signal(signal.SIGINT)
    code, summary, errors = end_of(process)
    assert code == 0, errors
    assert (summary["rpc_answered"], summary["settings_applied"], summary["problems"]) == (1, 1, [])


def test_devices_that_the_server_refuses_are_told_in_words(server: RunningServer, tmp_path: Path) -> None:
    words = ["--devices", "2", "--prefix", "refused", "--duration", "2"]
    process = start_fleet(server, tmp_path, *words, "--to", f"mqtt://127.0.0.1:{server.mqtts_port}")
    code, summary, errors = end_of(process)
    assert code == 1
    assert summary["connects"] == 0
    assert "No device could connect" in errors
    assert "refused: " in summary["problems"][0]["reason"]


def test_nobody_listens(server: RunningServer, tmp_path: Path) -> None:
    words = ["--devices", "2", "--prefix", "alone", "--duration", "2", "--to", "mqtts://127.0.0.1:1"]
    code, summary, errors = simulate(server, tmp_path, *words)
    assert code == 1
    assert summary["problems"][0]["reason"] == "nobody listens there (connection refused)"
    assert "connection refused" in errors


def test_a_server_of_another_authority_is_refused(
    server: RunningServer, tmp_path: Path, device_with_certificate: Callable[..., Any]
) -> None:
    stranger = device_with_certificate().certificate_file
    words = ["--devices", "2", "--prefix", "trust", "--duration", "2", "--ca", str(stranger)]
    code, summary, errors = simulate(server, tmp_path, *words)
    assert code == 1
    assert "certificate verify failed" in summary["problems"][0]["reason"], errors


# Devices in this process, against a server by hand


class HandServer(asyncio.Protocol):
    """A server that accepts everybody, and gives the test each connection's session and messages."""

    seen: list[HandServer]

    def __init__(self, seen: list[HandServer]) -> None:
        self.session = Session(Limits(), 0.0)
        self.messages: list[MessagePublished] = []
        self.subscribed: list[str] = []
        seen.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for event in self.session.receive(data, 0.0):
            match event:
                case ConnectReceived():
                    self.session.accept(0.0)
                case SubscribeRequested():
                    self.subscribed += [row.topic_filter for row in event.subscriptions]
                    self.session.grant(event.packet_id, [1] * len(event.subscriptions))
                case MessagePublished():
                    self.messages.append(event)
                    self.session.acknowledge(event.packet_id)
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.session.data_to_send())

    def push(self, topic: str, payload: bytes) -> None:
        self.session.publish(topic, payload, 1)
        self.flush()

    def payloads(self, topic: str) -> list[Any]:
        return [json.loads(message.payload) for message in self.messages if message.topic == topic]


async def until(fact: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:g} s"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(plan: Plan) -> AsyncIterator[Fleet]:
    fleet = Fleet(plan)
    task = asyncio.create_task(fleet.run())
    try:
        yield fleet
    finally:
        fleet.stop()
        await task


async def test_device_answers_rpc_and_obeys_its_attributes() -> None:
    seen: list[HandServer] = []
    listener = await asyncio.get_running_loop().create_server(lambda: HandServer(seen), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    device = DeviceIdentity(number=0, name="sim-000000", token="t")
    plan = Plan(target=read_target(f"mqtt://127.0.0.1:{port}"), devices=(device,), interval_s=3_600, seed=1)
    async with listener, running(plan) as fleet:
        await until(lambda: seen and len(seen[0].messages) == 2, "attributes and their request came")
        server = seen[0]
        assert server.payloads("v1/devices/me/attributes")[0]["simulated"] is True
        assert server.payloads("v1/devices/me/attributes/request/1") == [{"sharedKeys": "uploadFrequency"}]
        assert "v1/devices/me/rpc/request/+" in server.subscribed

        server.push("v1/devices/me/rpc/request/7", b'{"method":"echo","params":{"a":1}}')
        await until(lambda: server.payloads("v1/devices/me/rpc/response/7"), "the answer came")
        assert server.payloads("v1/devices/me/rpc/response/7") == [{"a": 1}]

        server.push("v1/devices/me/attributes/response/1", b'{"shared":{"uploadFrequency":0.05}}')
        await until(lambda: len(server.payloads("v1/devices/me/telemetry")) > 3, "telemetry came quickly")
        server.push("v1/devices/me/rpc/request/8", b'{"method":"setInterval","params":3600}')
        await until(lambda: server.payloads("v1/devices/me/rpc/response/8"), "the second answer came")
        counts = fleet.snapshot()
        assert (counts.rpc_answered, counts.settings_applied, counts.connected) == (2, 2, 1)


async def test_churn_switches_devices_off_and_on() -> None:
    seen: list[HandServer] = []
    listener = await asyncio.get_running_loop().create_server(lambda: HandServer(seen), "127.0.0.1", 0)
    target = read_target(f"mqtt://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    devices = tuple(DeviceIdentity(number=number, name=f"sim-{number}", token="t") for number in range(4))
    plan = Plan(target=target, devices=devices, interval_s=1, seed=1, churn_percent=6_000)
    async with listener, running(plan) as fleet:
        await until(lambda: len(seen) > 4, "one came back")
        await until(lambda: fleet.snapshot().connects > 4, "it was accepted again")
    counts = fleet.snapshot()
    assert (counts.lost, counts.problems) == (0, {}), "who is switched off was not lost"


async def test_device_that_gets_rubbish_comes_back() -> None:
    connections: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(await reader.read(100))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    device = DeviceIdentity(number=0, name="sim-000000", token="t")
    plan = Plan(target=read_target(f"mqtt://127.0.0.1:{port}"), devices=(device,), interval_s=1, seed=1)
    async with listener, running(plan) as fleet:
        await until(lambda: len(connections) == 2, "it came back")
        (reason,) = fleet.snapshot().problems
        assert reason.startswith("the server sent what it may not")


class Receiver:
    """ThingsBoard's HTTP device API as far as a fleet asks for it."""

    def __init__(self) -> None:
        self.posted: dict[str, list[Any]] = {}
        self.refuse_with: int | None = None
        path = "/api/v1/{token}/{what}"
        self.application = Starlette(routes=[Route(path, self.handle, methods=["GET", "POST"])])

    async def handle(self, request: Request) -> Response:
        token, what = request.path_params["token"], request.path_params["what"]
        if token != "known" or self.refuse_with == 401:
            return Response(status_code=401)
        if self.refuse_with is not None:
            return Response(status_code=self.refuse_with, headers={"Retry-After": "1"})
        if request.method == "GET":
            assert request.query_params["sharedKeys"] == "uploadFrequency"
            return JSONResponse({"shared": {"uploadFrequency": 0.05}})
        self.posted.setdefault(what, []).append(await request.json())
        return Response()


@contextlib.asynccontextmanager
async def receiving(receiver: Receiver, *, idle_s: int = 5) -> AsyncIterator[int]:
    config = uvicorn.Config(
        receiver.application,
        host="127.0.0.1",
        port=0,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=idle_s,
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve())
    try:
        await until(lambda: server.started, "the receiver is up")
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


def http_plan(port: int, token: str = "known", interval_s: float = 3_600) -> Plan:
    device = DeviceIdentity(number=0, name="sim-000000", token=token)
    target = read_target(f"http://127.0.0.1:{port}")
    return Plan(target=target, devices=(device,), interval_s=interval_s, seed=1)


async def test_http_device_sends_attributes_and_telemetry() -> None:
    receiver = Receiver()
    async with receiving(receiver) as port, running(http_plan(port)) as fleet:
        await until(lambda: len(receiver.posted.get("telemetry", ())) > 3, "telemetry came quickly")
        assert receiver.posted["attributes"][0]["simulated"] is True
        assert set(receiver.posted["telemetry"][0]["values"]) >= {"temperature", "battery"}
        counts = fleet.snapshot()
        assert (counts.connects, counts.connected, counts.settings_applied) == (1, 1, 1)
    assert fleet.snapshot().problems == {}


async def test_http_device_survives_that_its_idle_connection_is_closed() -> None:
    receiver = Receiver()
    async with receiving(receiver, idle_s=0) as port, running(http_plan(port)) as fleet:
        await until(lambda: len(receiver.posted.get("telemetry", ())) > 3, "telemetry came")
    assert (fleet.snapshot().connects, fleet.snapshot().lost, fleet.snapshot().problems) == (1, 0, {})


async def test_http_device_that_is_unknown_did_not_connect() -> None:
    async with receiving(Receiver()) as port, running(http_plan(port, token="unknown")) as fleet:
        await until(lambda: fleet.snapshot().problems, "it was refused")
        assert list(fleet.snapshot().problems) == ["refused: HTTP 401 Unauthorized"]
        assert fleet.snapshot().connects == 0


async def test_http_device_holds_back_while_it_is_asked_to() -> None:
    receiver = Receiver()
    async with receiving(receiver) as port, running(http_plan(port)) as fleet:
        await until(lambda: receiver.posted.get("telemetry"), "telemetry came")
        receiver.refuse_with = 429
        await until(lambda: fleet.snapshot().held_back, "it waits")
        receiver.refuse_with = None
        stored = len(receiver.posted["telemetry"])
        await until(lambda: len(receiver.posted["telemetry"]) > stored, "it goes on")
        assert list(fleet.snapshot().problems) == ["refused: HTTP 429 Too Many Requests"]
