"""The HTTPS port over real sockets: TLS of our own under uvicorn, bounds, and what is refused by name."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Callable

import httpx
import pytest

from tests.device import Device, make_device
from tests.raw_mqtt import PATIENCE_S, connect, tls_context
from tests.running_server import RunningServer

MakeDevice = Callable[..., Device]
StartServer = Callable[..., RunningServer]


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def https(device: Device, *, with_certificate: bool = True, timeout: float = PATIENCE_S) -> httpx.Client:
    context = tls_context(device.ca_file, device.combined_file if with_certificate else None)
    url = device.server.https_url.replace("127.0.0.1", "localhost")
    return httpx.Client(base_url=url, verify=context, trust_env=False, timeout=timeout)


def open_tls(device: Device) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", port_of(device.server.https_url)), PATIENCE_S)
    return tls_context(device.ca_file).wrap_socket(sock, server_hostname="localhost")


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while part := sock.recv(65_536):
        data += part
    return data


class TestSameApplication:
    def test_the_rest_api_answers_over_tls(self, device_with_certificate: MakeDevice) -> None:
        device = device_with_certificate()
        with https(device, with_certificate=False) as client:
            answer = client.post("/api/auth/login", json=device.server.administrator)
            assert answer.status_code == 200
            client.headers["X-Authorization"] = f"Bearer {answer.json()['token']}"
            listeners = client.get("/api/v2/server").json()["listeners"]
            assert {"https", "wss", "mqtts", "http"} <= {listener["name"] for listener in listeners}
            # One connection served all of it.
            assert client.get(f"/api/device/{device.id}").json()["name"] == device.name

    def test_a_large_answer_arrives_whole_however_slowly_it_is_read(
        self, device_with_certificate: MakeDevice
    ) -> None:
        """More than fits into the sockets' buffers, so that writing pauses and goes on."""
        device = device_with_certificate()
        token = device.server.rest.headers["X-Authorization"]
        samples = [{"ts": at, "values": {"text": "x" * 1_000}} for at in range(1, 4_001)]
        url = f"/api/plugins/telemetry/DEVICE/{device.id}/timeseries/ANY"
        for start in range(0, len(samples), 1_000):
            device.server.rest.post(url, json=samples[start : start + 1_000]).raise_for_status()
        path = f"/api/plugins/telemetry/DEVICE/{device.id}/values/timeseries"
        query = "?keys=text&startTs=0&endTs=10000&limit=10000"
        with open_tls(device) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            request = f"GET {path}{query} HTTP/1.1\r\nHost: localhost\r\nX-Authorization: {token}\r\n"
            sock.sendall(f"{request}Connection: close\r\n\r\n".encode())
            head, _, body = read_all(sock).partition(b"\r\n\r\n")
        assert b"200 OK" in head
        assert len(json.loads(body)["text"]) == 4_000

    def test_a_large_request_arrives_whole(self, device_with_certificate: MakeDevice) -> None:
        device = device_with_certificate()
        with https(device) as client:
            client.headers["X-Authorization"] = device.server.rest.headers["X-Authorization"]
            body = json.dumps({"note": "x" * 3_000_000})
            url = f"/api/plugins/telemetry/DEVICE/{device.id}/attributes/SERVER_SCOPE"
            assert client.post(url, content=body).status_code == 200
            url = f"/api/plugins/telemetry/DEVICE/{device.id}/values/attributes/SERVER_SCOPE"
            found = client.get(url, params={"keys": "note"})
            assert len(found.json()[0]["value"]) == 3_000_000


class TestWrongProtocol:
    def test_plain_http_is_told_to_use_https(self, server: RunningServer) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port_of(server.https_url), timeout=PATIENCE_S)
        client.request("GET", "/")
        answer = client.getresponse()
        assert answer.status == 400
        assert b"https://" in answer.read()
        client.close()
        assert server.wait_for_refusal("plain-http-on-tls-port")["listener"] == "https"

    def test_plain_mqtt_is_refused_in_mqtt(self, server: RunningServer) -> None:
        address = ("127.0.0.1", port_of(server.https_url))
        with socket.create_connection(address, PATIENCE_S) as sock:
            sock.sendall(connect(4, client_id="lost"))
            assert read_all(sock) == b"\x20\x02\x00\x05"
        assert server.wait_for_refusal("plain-mqtt-on-tls-port")["listener"] == "https"

    @pytest.mark.parametrize("over", ["https", "http"])
    def test_mqtt_on_the_http_port_is_named(self, device_with_certificate: MakeDevice, over: str) -> None:
        device = device_with_certificate()
        if over == "https":
            sock: socket.socket = open_tls(device)
        else:
            sock = socket.create_connection(("127.0.0.1", port_of(device.server.url)), PATIENCE_S)
        with sock:
            sock.sendall(connect(5))
            assert read_all(sock) == b""
        assert device.server.wait_for_refusal("mqtt-on-http-port")["listener"] in ("https", "http")


class TestBounds:
    def test_what_is_no_http_is_refused_and_does_not_fill_the_log(
        self, device_with_certificate: MakeDevice
    ) -> None:
        device = device_with_certificate()
        before = device.server.log()
        upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
        for sent, status in ((b"nonsense\r\n\r\n", b"400"), (b"\x00" * 100, b"400"), (upgrade, b"404")):
            with open_tls(device) as sock:
                sock.sendall(sent)
                assert read_all(sock).startswith(b"HTTP/1.1 " + status)
        assert "HTTP" not in device.server.log().removeprefix(before)

    def test_a_head_without_end_is_refused(self, device_with_certificate: MakeDevice) -> None:
        with open_tls(device_with_certificate()) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            for _ in range(12):
                sock.sendall(b"X-Filler: " + b"y" * 8_000 + b"\r\n")
            assert read_all(sock).startswith(b"HTTP/1.1 431 ")

    @pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: "], ids=["nothing", "half a head"])
    def test_a_head_that_does_not_come_is_cut(
        self, start: StartServer, tmp_path_factory: pytest.TempPathFactory, sent: bytes
    ) -> None:
        server = start(environ={"THINGPASS_HTTP_HEAD_TIMEOUT_S": "0.5"})
        device = make_device(server, tmp_path_factory.mktemp("device"))
        for tls in (True, False):
            address = ("127.0.0.1", port_of(server.url))
            with open_tls(device) if tls else socket.create_connection(address, PATIENCE_S) as sock:
                sock.sendall(sent)
                assert read_all(sock).startswith(b"HTTP/1.1 408 " if sent else b"")

    def test_an_idle_connection_ends(
        self, start: StartServer, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        server = start(environ={"THINGPASS_HTTP_KEEP_ALIVE_S": "1"})
        with open_tls(make_device(server, tmp_path_factory.mktemp("device"))) as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_all(sock).startswith(b"HTTP/1.1 200 OK")

    def test_more_connections_than_the_limit_are_refused(
        self, start: StartServer, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        server = start(environ={"THINGPASS_HTTP_MAX_CONNECTIONS": "2"})
        device = make_device(server, tmp_path_factory.mktemp("device"))
        with contextlib.ExitStack() as held:
            for _ in range(2):
                sock = held.enter_context(open_tls(device))
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert sock.recv(15) == b"HTTP/1.1 200 OK"
            for url in (server.https_url, server.https_url):
                with socket.create_connection(("127.0.0.1", port_of(url)), PATIENCE_S) as sock:
                    assert read_all(sock) == b""
            # The other port has places of its own: devices cannot keep their administrators out.
            assert server.wait_for_refusal("connection-limit-reached")["listener"] == "https"
            plain = [socket.create_connection(("127.0.0.1", port_of(server.url)), 10) for _ in range(2)]
            for each in plain:
                held.enter_context(each)
            assert read_all(plain[-1]) == b""  # the first one holds the place beside `server.rest`

    def test_the_server_stops_in_time_with_connections_open(
        self, start: StartServer, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        server = start()
        with open_tls(make_device(server, tmp_path_factory.mktemp("device"))) as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(15) == b"HTTP/1.1 200 OK"
            server.stop()  # fails by itself when it takes too long


def test_connections_are_counted_by_listener(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with https(device) as client:
        text = client.get("/metrics").text
    assert 'thingpass_connections_by_listener{listener="https"} ' in text
    assert 'thingpass_connections_by_listener{listener="wss"} 0.0' in text


def test_the_port_can_be_turned_off(start: StartServer) -> None:
    server = start("--https-port", "off", "--wss-port", "off")
    assert server.ready["https"] is None
    assert server.ready["wss"] is None
