"""Requests of devices that wait: calls and changed attributes over HTTP, and what ends the waiting."""

from __future__ import annotations

import concurrent.futures
import json
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.device import Device
from tests.integration.test_device_api import HttpDevice
from tests.integration.test_https import https, port_of, read_all
from tests.raw_mqtt import PATIENCE_S
from tests.running_server import RunningServer

StartServer = Callable[..., RunningServer]
Answer = concurrent.futures.Future[httpx.Response]
LONG_MS = 30_000


@pytest.fixture
def device(server: RunningServer) -> Iterator[HttpDevice]:
    made = HttpDevice(server)
    yield made
    made.client.close()


@pytest.fixture
def threads() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        yield pool


def waiting(server: RunningServer) -> int:
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    found = re.search(r"^thingpass_device_requests_waiting (\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def until_waiting(server: RunningServer, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (seen := waiting(server)) != count:
        assert time.monotonic() < deadline, f"{seen} requests wait, not {count}"
        time.sleep(0.02)


def poll(pool: concurrent.futures.Executor, device: HttpDevice, path: str, ms: int = LONG_MS) -> Answer:
    before = waiting(device.server)
    url = f"{device.server.url}/api/v1/{device.token}/{path}"
    answer = pool.submit(httpx.get, url, params={"timeout": ms}, trust_env=False, timeout=60)
    until_waiting(device.server, before + 1)
    return answer


def call(device: HttpDevice, *, way: str = "twoway", **members: object) -> httpx.Response:
    body = {"method": "reboot", "params": {"after": 1.50}, "timeout": 20_000, **members}
    return device.server.rest.post(f"/api/rpc/{way}/{device.id}", json=body)


class TestAttributes:
    def test_a_change_is_answered_at_once(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        answer = poll(threads, device, "attributes/updates")
        device.share(limit=3, note="x", deep={"a": [1]})
        assert answer.result().json() == {"limit": 3, "note": "x", "deep": {"a": [1]}}
        assert waiting(device.server) == 0

    def test_a_removal_is_told(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        device.share(limit=3)
        answer = poll(threads, device, "attributes/updates")
        url = f"/api/plugins/telemetry/DEVICE/{device.id}/SHARED_SCOPE"
        device.server.rest.delete(url, params={"keys": "limit"}).raise_for_status()
        assert answer.result().json() == {"deleted": ["limit"]}

    def test_every_request_that_waits_hears_of_it(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        answers = [poll(threads, device, "attributes/updates") for _ in range(3)]
        device.share(limit=4)
        assert [answer.result().json() for answer in answers] == [{"limit": 4}] * 3

    def test_other_scopes_and_other_devices_are_not_told(self, device: HttpDevice) -> None:
        other = HttpDevice(device.server)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = poll(pool, device, "attributes/updates", 700)
            other.share(limit=1)
            device.post("attributes", b'{"own": 1}')
            assert (answer.result().status_code, answer.result().content) == (408, b"")
        other.client.close()

    def test_with_a_certificate(
        self, device_with_certificate: Callable[..., Device], threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        device = device_with_certificate()
        with https(device, timeout=60) as client:
            answer = threads.submit(client.get, "/api/v1/me/attributes/updates")
            until_waiting(device.server, 1)
            url = f"/api/plugins/telemetry/DEVICE/{device.id}/attributes/SHARED_SCOPE"
            device.server.rest.post(url, json={"limit": 5}).raise_for_status()
            assert answer.result().json() == {"limit": 5}


class TestCalls:
    def test_a_call_goes_to_the_request_and_the_answer_back(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        request = poll(threads, device, "rpc")
        answer = threads.submit(call, device)
        got = request.result()
        assert '"params":{"after":1.5' in got.text
        assert got.json()["method"] == "reboot"
        assert device.post(f"rpc/{got.json()['id']}", b'{"done": true}').status_code == 200
        assert (answer.result().status_code, answer.result().json()) == (200, {"done": True})

    def test_a_call_waits_for_the_next_request(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        answer = threads.submit(call, device)
        deadline = time.monotonic() + PATIENCE_S
        while (got := device.get("rpc", timeout=200)).status_code == 408:
            assert time.monotonic() < deadline
        device.post(f"rpc/{got.json()['id']}", b"17")
        assert answer.result().json() == 17

    def test_a_one_way_call_has_succeeded_when_it_was_given_out(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        request = poll(threads, device, "rpc")
        assert call(device, way="oneway").status_code == 200
        assert request.result().status_code == 200

    def test_a_call_is_given_out_once(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        """A device that asks anew while it works on the call does not get it again."""
        request = poll(threads, device, "rpc")
        answer = threads.submit(call, device)
        call_id = request.result().json()["id"]
        assert device.get("rpc", timeout=300).status_code == 408
        device.post(f"rpc/{call_id}", b"1")
        assert answer.result().json() == 1

    def test_only_one_request_gets_the_call(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        requests = [poll(threads, device, "rpc", 2_000) for _ in range(3)]
        assert call(device, way="oneway").status_code == 200
        assert sorted(each.result().status_code for each in requests) == [200, 408, 408]

    def test_a_call_that_a_dead_connection_did_not_get_goes_to_the_next(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        with socket.create_connection(("127.0.0.1", port_of(device.server.url)), PATIENCE_S) as sock:
            sock.sendall(f"GET /api/v1/{device.token}/rpc HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            until_waiting(device.server, 1)
        until_waiting(device.server, 0)
        request = poll(threads, device, "rpc")
        assert call(device, way="oneway").status_code == 200
        assert request.result().status_code == 200

    def test_a_persistent_call_is_kept_and_answered(self, device: HttpDevice) -> None:
        rpc_id = call(device, persistent=True).json()["rpcId"]
        got = device.get("rpc", timeout=LONG_MS).json()
        assert device.post(f"rpc/{got['id']}", b'{"ok": 1}').status_code == 200
        kept = device.server.rest.get(f"/api/rpc/persistent/{rpc_id}").json()
        assert (kept["status"], kept["response"]) == ("SUCCESSFUL", {"ok": 1})

    def test_a_call_to_the_server_is_answered(self, device: HttpDevice) -> None:
        answer = device.post("rpc", b'{"method": "getCurrentTime", "params": {}}')
        assert abs(answer.json() - time.time() * 1000) < 60_000
        assert "error" in device.post("rpc", b'{"method": "nonsense", "params": {}}').json()
        assert device.post("rpc", b'{"params": {}}').status_code == 400
        assert device.post("rpc", b'{"method": "x", "params": "' + b"y" * 65_536 + b'"}').status_code == 413

    @pytest.mark.parametrize("request_id", ["x", "-1", "4294967296", "9" * 30])
    def test_an_id_that_is_none(self, device: HttpDevice, request_id: str) -> None:
        assert device.post(f"rpc/{request_id}", b"{}").status_code == 400

    def test_an_answer_that_nobody_waits_for_is_dropped(self, device: HttpDevice) -> None:
        assert device.post("rpc/5", b"{}").status_code == 200


class TestEnding:
    @pytest.mark.parametrize("path", ["rpc", "attributes/updates"])
    def test_its_time(self, device: HttpDevice, path: str) -> None:
        answer = device.get(path, timeout=1)
        assert (answer.status_code, answer.content) == (408, b"")
        assert device.get(path, timeout="soon").status_code == 400

    def test_the_longest_time_is_bounded(self, start: StartServer) -> None:
        server = start(environ={"THINGPASS_HTTP_LONGEST_POLL_S": "1"})
        made = HttpDevice(server)
        with made.client:
            assert made.get("rpc", timeout=10**11).status_code == 408
            assert made.get("rpc", timeout=0).status_code == 408

    def test_new_credentials(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        answer = poll(threads, device, "rpc")
        credentials = device.server.rest.get(f"/api/device/{device.id}/credentials").json()
        credentials["credentialsId"] = secrets.token_hex(10)
        device.server.rest.post("/api/device/credentials", json=credentials).raise_for_status()
        assert answer.result().status_code == 401

    def test_the_devices_end(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        answer = poll(threads, device, "attributes/updates")
        device.server.rest.delete(f"/api/device/{device.id}").raise_for_status()
        assert answer.result().status_code in (401, 403)

    def test_too_many_of_one_device_end_the_oldest(
        self, device: HttpDevice, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        answers = [poll(threads, device, "rpc") for _ in range(8)]
        url = f"{device.server.url}/api/v1/{device.token}/rpc"
        last = threads.submit(httpx.get, url, params={"timeout": 500}, trust_env=False, timeout=60)
        assert answers[0].result().status_code == 408
        assert last.result().status_code == 408
        assert not any(answer.done() for answer in answers[1:])
        device.server.rest.delete(f"/api/device/{device.id}").raise_for_status()

    def test_the_servers_end(
        self, start: StartServer, threads: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        server = start()
        made = HttpDevice(server)
        answers = [poll(threads, made, path) for path in ("rpc", "attributes/updates")]
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 4  # nobody waits for requests that wait
        assert [answer.result().status_code for answer in answers] == [408, 408]
        made.client.close()

    def test_a_client_that_goes(self, device: HttpDevice) -> None:
        with socket.create_connection(("127.0.0.1", port_of(device.server.url)), PATIENCE_S) as sock:
            sock.sendall(f"GET /api/v1/{device.token}/rpc HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            until_waiting(device.server, 1)
        until_waiting(device.server, 0)


def test_a_body_that_nobody_asked_for_is_bounded(device: HttpDevice) -> None:
    with socket.create_connection(("127.0.0.1", port_of(device.server.url)), PATIENCE_S) as sock:
        head = f"GET /api/v1/{device.token}/rpc?timeout=20000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        sock.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"%x\r\n%s\r\n" % (1_048_576, b"x" * 1_048_576)
        try:
            for _ in range(17):
                sock.sendall(chunk)
            answer = read_all(sock)
        except (ConnectionResetError, BrokenPipeError):
            answer = b"HTTP/1.1 413 "  # it was answered and closed while we still sent
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_the_updates_path_needs_the_right_method(device: HttpDevice) -> None:
    answer = device.client.put(f"/api/v1/{device.token}/rpc")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")
    assert json.loads(answer.text)["status"] == 405
