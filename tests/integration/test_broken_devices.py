"""Many devices that do as they should beside some that are broken or hostile, by every way in at once.

Whatever the others do: a healthy device stays connected, gets every answer, and finds every value stored.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.device import make_certificate
from tests.gateway import make_gateway
from tests.integration.test_https import port_of
from tests.integration.test_websocket import BINARY, TEXT, RawWebSocket, frame
from tests.raw_mqtt import PATIENCE_S, RawClient, connect, publish, reason_code, tls_context
from tests.running_server import RunningServer, start_server
from thingpass.log_floods import LINES_OF_ONE

HEALTHY_OF_EACH_KIND = 8
MESSAGES = 25
ROUNDS_OF_EACH_FAULT = 3
"""At least so often each of the broken devices has done its worst while the healthy ones sent."""


class Site:
    """One server, and connections to it."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.trust = tls_context(server.certificate_file())
        stranger_pem, key_pem = make_certificate("a stranger")
        self.stranger_file = server.directory / "stranger.pem"
        self.stranger_file.write_bytes(key_pem + stranger_pem)
        self.stranger = tls_context(server.certificate_file(), self.stranger_file)
        self.gateway = make_gateway(server)

    def add(self, name: str) -> tuple[str, str]:
        """Id and token."""
        device_id = self.server.add_device(name)
        return device_id, self.server.access_token(device_id)

    def tcp(self, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), PATIENCE_S)

    def tls(self, port: int, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        return (context or self.trust).wrap_socket(self.tcp(port), server_hostname="localhost")

    def mqtt(
        self, token: str, version: int = 5, context: ssl.SSLContext | None = None, *, code: int = 0
    ) -> RawClient:
        client = RawClient(self.tls(self.server.mqtts_port, context))
        client.send(connect(version, user_name=token))
        assert reason_code(client.read_packet()) == code
        return client

    def websocket(self, token: str) -> RawWebSocket:
        client = RawWebSocket(self.tls(self.server.wss_port))
        assert client.ask().startswith("HTTP/1.1 101 ")
        client.send(frame(BINARY, connect(5, user_name=token)))
        assert reason_code(client.read()[1]) == 0
        return client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = start_server(tmp_path_factory.mktemp("broken-devices"))
    yield Site(server)
    server.stop()


# --- devices that do as they should ---


def telemetry(number: int) -> bytes:
    """With a time of its own: two values of one millisecond would be one point."""
    return json.dumps({"ts": 1_700_000_000_000 + number, "values": {"n": number}}).encode()


def send_by_mqtt(site: Site, token: str) -> None:
    with site.mqtt(token) as client:
        for number in range(MESSAGES):
            client.send(publish(telemetry(number), packet_id=number + 1))
            assert client.read_packet() == b"\x40\x02" + struct.pack("!H", number + 1)


def send_by_mqtt_3(site: Site, token: str) -> None:
    with site.mqtt(token, version=4) as client:
        for number in range(MESSAGES):
            client.send(publish(telemetry(number), packet_id=number + 1, version=4))
            assert client.read_packet() == b"\x40\x02" + struct.pack("!H", number + 1)


def send_by_websocket(site: Site, token: str) -> None:
    with site.websocket(token) as client:
        for number in range(MESSAGES):
            message = publish(telemetry(number), packet_id=number + 1)
            client.send(frame(BINARY, message))
            assert client.read() == (BINARY, b"\x40\x02" + struct.pack("!H", number + 1))


def send_by_http(site: Site, token: str) -> None:
    with httpx.Client(base_url=site.server.url, trust_env=False, timeout=30) as client:
        for number in range(MESSAGES):
            answer = client.post(f"/api/v1/{token}/telemetry", content=telemetry(number))
            assert answer.status_code == 200, answer.text


HEALTHY = (send_by_mqtt, send_by_mqtt_3, send_by_websocket, send_by_http)


# --- devices that do not; each is called again and again, and what its socket says does not matter ---


def garbage_instead_of_tls(site: Site, token: str) -> None:
    with site.tcp(site.server.mqtts_port) as sock:
        sock.sendall(os.urandom(4_000))
        sock.recv(100)


def handshake_that_stops(site: Site, token: str) -> None:
    with site.tcp(site.server.mqtts_port) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # a ClientHello, begun
        time.sleep(0.2)


def handshake_that_is_cut(site: Site, token: str) -> None:
    site.tls(site.server.mqtts_port, site.stranger).close()


def wrong_token(site: Site, token: str) -> None:
    site.mqtt("nobody has this one", code=0x86).close()


def unknown_certificate(site: Site, token: str) -> None:
    site.mqtt(token, context=site.stranger, code=0x87).close()


def garbage_instead_of_mqtt(site: Site, token: str) -> None:
    with RawClient(site.tls(site.server.mqtts_port)) as client:
        client.send(os.urandom(2_000))
        client.read_packet()


def garbage_behind_connect(site: Site, token: str) -> None:
    with site.mqtt(token) as client:
        client.send(publish(b'{"a":1}'), b"\xf7" + os.urandom(500))
        while client.read_packet():
            pass


def packet_of_256_megabytes(site: Site, token: str) -> None:
    with site.mqtt(token) as client:
        client.send(b"\x32\xff\xff\xff\x7f" + b"x" * 1_000)
        client.read_packet()


def payloads_that_cannot_be_used(site: Site, token: str) -> None:
    with site.mqtt(token) as client:
        for number, payload in enumerate((b"{", b"[[]]", b'{"a":1e400000}', b"\xff\xfe", b"[" * 5_000), 1):
            client.send(publish(payload, packet_id=number))
            client.read_packet()


def topics_that_nobody_knows(site: Site, token: str) -> None:
    with site.mqtt(token) as client:
        client.send(*(publish(b"x", topic=f"a/{number}", packet_id=number + 1) for number in range(90)))
        for _ in range(90):
            client.read_packet()


def more_than_its_share_unacknowledged(site: Site, token: str) -> None:
    with site.mqtt(token) as client:
        client.send(*(publish(b'{"a":1}', qos=2, packet_id=number + 1) for number in range(500)))
        while client.read_packet():
            pass


def answers_that_it_never_reads(site: Site, token: str) -> None:
    with site.mqtt(token, version=4) as client:
        message = publish(b'{"sharedKeys":"a"}', topic="v1/devices/me/attributes/request/1", version=4)
        client.sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            for _ in range(100):
                client.send(message * 50)


def devices_behind_it_that_cannot_be(site: Site, token: str) -> None:
    with site.mqtt(site.gateway.token) as client:
        for number, body in enumerate((b"{", b"[]", b'{"":[{"a":1}]}', b'{"B":[5]}', b'{"B":{"a":1}}'), 1):
            client.send(publish(body, topic="v1/gateway/telemetry", packet_id=number))
            client.read_packet()


def frames_that_break_websocket(site: Site, token: str) -> None:
    for broken in (
        frame(BINARY, b"\xc0\x00", masked=False),
        frame(TEXT, b"hello"),
        b"\x82\xff" + struct.pack("!Q", 1 << 62) + b"mask",
        b"\xf2\x80mask",
    ):
        with site.websocket(token) as client:
            client.send(broken)
            while client.read()[0] != -1:
                pass


def upgrade_that_is_none(site: Site, token: str) -> None:
    with site.tls(site.server.wss_port) as sock:
        sock.sendall(b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nX: " + b"y" * 20_000)
        sock.recv(1_000)


def requests_that_are_none(site: Site, token: str) -> None:
    with site.tcp(port_of(site.server.url)) as sock:
        sock.sendall(os.urandom(3_000) + b"\r\n\r\n")
        sock.recv(1_000)


def bodies_that_cannot_be_used(site: Site, token: str) -> None:
    with httpx.Client(base_url=site.server.url, trust_env=False, timeout=30) as client:
        for body in (b"{", b"\xff" * 100, b"[" * 100_000):
            client.post(f"/api/v1/{token}/telemetry", content=body)
        client.post("/api/v1/nobody/telemetry", content=b"{}")


def bodies_that_do_not_end(site: Site, token: str) -> None:
    head = f"POST /api/v1/{token}/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n".encode()
    with site.tcp(port_of(site.server.url)) as sock:
        sock.sendall(head + b"x" * 10_000)


def bodies_larger_than_any(site: Site, token: str) -> None:
    head = f"POST /api/v1/{token}/telemetry HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with site.tcp(port_of(site.server.url)) as sock:
        sock.sendall(head.encode())
        for _ in range(100):
            sock.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")


BROKEN: tuple[Callable[[Site, str], None], ...] = (
    garbage_instead_of_tls,
    handshake_that_stops,
    handshake_that_is_cut,
    wrong_token,
    unknown_certificate,
    garbage_instead_of_mqtt,
    garbage_behind_connect,
    packet_of_256_megabytes,
    payloads_that_cannot_be_used,
    topics_that_nobody_knows,
    more_than_its_share_unacknowledged,
    answers_that_it_never_reads,
    devices_behind_it_that_cannot_be,
    frames_that_break_websocket,
    upgrade_that_is_none,
    requests_that_are_none,
    bodies_that_cannot_be_used,
    bodies_that_do_not_end,
    bodies_larger_than_any,
)


@pytest.mark.timeout(240)
def test_healthy_devices_lose_nothing(site: Site) -> None:
    healthy = [
        (send, *site.add(f"healthy {send.__name__} {number}"))
        for send in HEALTHY
        for number in range(HEALTHY_OF_EACH_KIND)
    ]
    broken = [(fault, site.add(f"broken {fault.__name__}")[1]) for fault in BROKEN]
    failed: list[BaseException] = []
    rounds: Counter[str] = Counter()
    over = threading.Event()

    def be_healthy(send: Callable[[Site, str], None], token: str) -> None:
        try:
            send(site, token)
        except BaseException as error:
            failed.append(error)

    def be_broken(fault: Callable[[Site, str], None], token: str) -> None:
        try:
            while not over.is_set() or rounds[fault.__name__] < ROUNDS_OF_EACH_FAULT:
                with contextlib.suppress(OSError, httpx.HTTPError):
                    fault(site, token)
                rounds[fault.__name__] += 1
        except BaseException as error:
            failed.append(error)

    troubles = [threading.Thread(target=be_broken, args=each) for each in broken]
    others = [threading.Thread(target=be_healthy, args=(send, token)) for send, _, token in healthy]
    for thread in (*troubles, *others):
        thread.start()
    for thread in others:
        thread.join()
    over.set()
    for thread in troubles:
        thread.join()

    assert failed == []
    for send, device_id, _ in healthy:
        assert stored_numbers(site.server, device_id) == list(range(MESSAGES)), send.__name__
    assert site.server.process.poll() is None
    unexpected = [line for line in site.server.log().splitlines() if "Traceback" in line]
    assert unexpected == []


def stored_numbers(server: RunningServer, device_id: str) -> list[object]:
    url = f"/api/plugins/telemetry/DEVICE/{device_id}/values/timeseries"
    parameters: dict[str, str | int] = {
        "keys": "n",
        "startTs": 0,
        "endTs": 4_000_000_000_000,
        "limit": 10_000,
    }
    answer = server.rest.get(url, params=parameters | {"orderBy": "ASC", "useStrictDataTypes": "true"})
    answer.raise_for_status()
    return [point["value"] for point in answer.json()["n"]]


def test_bad_messages_do_not_fill_the_log(site: Site) -> None:
    _, token = site.add("a device that never learns")
    with site.mqtt(token) as client:
        for _ in range(10):
            client.send(*(publish(b"{", packet_id=number) for number in range(1, 51)))
            assert {client.read_packet()[4] for _ in range(50)} == {0x99}
    lines = [line for line in site.server.log().splitlines() if "a device that never learns" in line]
    assert 0 < sum("message.rejected" in line for line in lines) <= LINES_OF_ONE
    assert len(lines) <= 2 * LINES_OF_ONE
