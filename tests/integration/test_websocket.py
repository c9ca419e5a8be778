"""MQTT over WebSocket by hand, frame by frame: the handshake, fragments, control frames and their bounds."""

from __future__ import annotations

import base64
import os
import socket
import struct
from collections.abc import Callable

import pytest

from tests.device import Device, make_device
from tests.raw_mqtt import PATIENCE_S, PINGREQ, PINGRESP, connect, publish, reason_code, tls_context
from tests.running_server import RunningServer

MakeDevice = Callable[..., Device]
StartServer = Callable[..., RunningServer]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    """RFC 6455 5.2."""
    head = bytes([opcode | (0x80 if fin else 0)])
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask_bit | len(payload)])
    elif len(payload) < 65_536:
        head += bytes([mask_bit | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", len(payload))
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


class RawWebSocket:
    """A connection that sends bytes and reads whole frames."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE_S)

    def ask(
        self, path: str = "/mqtt", *, subprotocol: str | None = "mqtt", extra: str = "", method: str = "GET"
    ) -> str:
        """Sends the request and returns the head of the answer, and a refusal's text behind it."""
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extra}"
        if subprotocol is not None:
            head += f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
        self.sock.sendall(f"{head}\r\n".encode())
        return self.read_answer()

    def read_answer(self) -> str:
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            part = self.sock.recv(1)
            if not part:
                return answer.decode()
            answer += part
        if not answer.startswith(b"HTTP/1.1 101"):
            while part := self.sock.recv(65_536):
                answer += part
        return answer.decode()

    def send(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))

    def read(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload, or (-1, b"") at the end."""
        head = self._read(2)
        if len(head) < 2:
            return -1, b""
        assert not head[1] & 0x80, "a server masks nothing"
        length = head[1]
        if length == 126:
            (length,) = struct.unpack("!H", self._read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._read(8))
        return head[0] & 0x0F, self._read(length)

    def close_code(self) -> int:
        opcode, payload = self.read()
        assert opcode == CLOSE, (opcode, payload)
        assert self.read() == (-1, b""), "behind a close comes nothing"
        return int(struct.unpack("!H", payload[:2])[0])

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.sock.recv(count - len(data))
            if not part:
                return data
            data += part
        return data

    def __enter__(self) -> RawWebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def open_tls(device: Device, *, with_certificate: bool = True) -> RawWebSocket:
    context = tls_context(device.ca_file, device.combined_file if with_certificate else None)
    sock = socket.create_connection(("127.0.0.1", device.server.wss_port), PATIENCE_S)
    return RawWebSocket(context.wrap_socket(sock, server_hostname="localhost"))


def open_session(device: Device) -> RawWebSocket:
    client = open_tls(device)
    assert client.ask().startswith("HTTP/1.1 101 ")
    client.send(frame(BINARY, connect(5)))
    opcode, answer = client.read()
    assert (opcode, answer[0], reason_code(answer)) == (BINARY, 0x20, 0)
    return client


class TestHandshake:
    @pytest.mark.parametrize("subprotocol", ["mqtt", "mqttv3.1", "other, mqtt"])
    def test_the_subprotocol_is_named_in_the_answer(
        self, device_with_certificate: MakeDevice, subprotocol: str
    ) -> None:
        with open_tls(device_with_certificate()) as client:
            answer = client.ask(subprotocol=subprotocol, extra="Origin: https://elsewhere.example\r\n")
            chosen = subprotocol.rpartition(", ")[2]
            assert answer.startswith("HTTP/1.1 101 ")
            assert f"Sec-WebSocket-Protocol: {chosen}\r\n" in answer

    @pytest.mark.parametrize(
        ("asked", "status", "told"),
        [
            ({"path": "/elsewhere"}, 404, "/mqtt"),
            ({"subprotocol": None}, 400, "subprotocol"),
            ({"subprotocol": "wamp"}, 400, "mqtt"),
            ({"method": "POST"}, 405, "GET"),
            ({"extra": "X-Filler: " + "y" * 9_000 + "\r\n"}, 431, ""),
        ],
        ids=["path", "no subprotocol", "another subprotocol", "method", "large header"],
    )
    def test_what_is_wrong_is_answered_readably(
        self, device_with_certificate: MakeDevice, asked: dict[str, str], status: int, told: str
    ) -> None:
        device = device_with_certificate()
        with open_tls(device) as client:
            answer = client.ask(**asked)
            assert answer.startswith(f"HTTP/1.1 {status} ")
            assert told in answer
        assert device.server.wait_for_refusal("websocket-handshake-invalid")["listener"] == "wss"

    def test_a_browser_is_told_what_this_port_is(self, device_with_certificate: MakeDevice) -> None:
        with open_tls(device_with_certificate()) as client:
            client.sock.sendall(b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = client.read_answer()
            assert answer.startswith("HTTP/1.1 426 ")
            assert "WebSocket" in answer

    def test_a_head_in_many_lines_is_bounded(self, device_with_certificate: MakeDevice) -> None:
        with open_tls(device_with_certificate()) as client:
            client.sock.sendall(b"GET /mqtt HTTP/1.1\r\n")
            for _ in range(20):
                client.sock.sendall(b"X-Filler: " + b"y" * 1_000 + b"\r\n")
            assert client.read_answer().startswith("HTTP/1.1 431 ")

    def test_mqtt_without_websocket_is_named(self, device_with_certificate: MakeDevice) -> None:
        device = device_with_certificate()
        with open_tls(device) as client:
            client.sock.sendall(connect(5))
            assert client.read() == (-1, b"")
        assert device.server.wait_for_refusal("mqtt-on-websocket-port")["listener"] == "wss"

    def test_plain_http_is_told_to_use_wss(self, server: RunningServer) -> None:
        sock = socket.create_connection(("127.0.0.1", server.wss_port), PATIENCE_S)
        with RawWebSocket(sock) as client:
            answer = client.ask()
            assert answer.startswith("HTTP/1.1 400 ")
            assert "wss://" in answer

    def test_a_request_that_does_not_come_is_cut(
        self, start: StartServer, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        server = start(environ={"THINGPASS_MQTT_CONNECT_TIMEOUT_S": "0.5"})
        device = make_device(server, tmp_path_factory.mktemp("device"))
        with open_tls(device) as client:
            client.sock.sendall(b"GET /mqtt HTTP/1.1\r\n")
            assert client.read() == (-1, b"")
        assert server.wait_for_refusal("connect-took-too-long")["listener"] == "wss"


class TestSession:
    def test_a_certificate_says_who_it_is(self, device_with_certificate: MakeDevice) -> None:
        device = device_with_certificate()
        with open_session(device) as client:
            client.send(frame(BINARY, publish(b'{"a": 1}', packet_id=7)))
            opcode, answer = client.read()
            assert (opcode, answer[:1], answer[2:4]) == (BINARY, b"\x40", b"\x00\x07")
            assert device.latest() == {"a": 1}  # stored before it was acknowledged
            found = device.server.rest.get("/api/v2/connections").json()
            rows = found["data"] if isinstance(found, dict) else found
            assert [row["listener"] for row in rows if row["deviceName"] == device.name] == ["wss"]

    def test_an_unknown_certificate_is_refused_by_connack(self, device_with_certificate: MakeDevice) -> None:
        with open_tls(device_with_certificate(registered=False)) as client:
            client.ask()
            client.send(frame(BINARY, connect(5)))
            _, answer = client.read()
            assert (answer[0], reason_code(answer)) == (0x20, 0x87)
            assert client.close_code() == 1000

    def test_frames_may_come_with_the_request(self, device_with_certificate: MakeDevice) -> None:
        with open_tls(device_with_certificate()) as client:
            early = frame(BINARY, connect(5)).decode("latin-1")
            key = base64.b64encode(os.urandom(16)).decode()
            client.sock.sendall(
                (
                    "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                    f"Sec-WebSocket-Protocol: mqtt\r\n\r\n{early}"
                ).encode("latin-1")
            )
            assert client.read_answer().startswith("HTTP/1.1 101 ")
            _, answer = client.read()
            assert answer[0] == 0x20

    def test_packets_are_not_aligned_to_frames(self, device_with_certificate: MakeDevice) -> None:
        """[MQTT-6.0.0-4]"""
        device = device_with_certificate()
        with open_session(device) as client:
            data = b"".join(publish(b'{"a": %d}' % number, packet_id=number) for number in (1, 2, 3))
            client.send(*(frame(BINARY, data[at : at + 1]) for at in range(len(data))))
            acknowledged = b""
            while len(acknowledged) < 12:
                acknowledged += client.read()[1]
            assert [acknowledged[at + 3] for at in (0, 4, 8)] == [1, 2, 3]

    def test_a_message_may_come_in_fragments_with_a_ping_between(
        self, device_with_certificate: MakeDevice
    ) -> None:
        with open_session(device_with_certificate()) as client:
            client.send(
                frame(BINARY, PINGREQ[:1], fin=False),
                frame(PING, b"are you there"),
                frame(CONTINUATION, PINGREQ[1:]),
            )
            assert client.read() == (PONG, b"are you there")
            assert client.read() == (BINARY, PINGRESP)

    def test_a_close_is_answered(self, device_with_certificate: MakeDevice) -> None:
        with open_session(device_with_certificate()) as client:
            client.send(frame(CLOSE, struct.pack("!H", 1001)))
            assert client.close_code() == 1001

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            (frame(TEXT, b"hello"), 1003),  # [MQTT-6.0.0-1]
            (frame(BINARY, PINGREQ, masked=False), 1002),
            (frame(CONTINUATION, PINGREQ), 1002),
            (frame(0x3, PINGREQ), 1002),
            (frame(PING, b"x" * 126), 1002),
            (frame(BINARY, b"")[:1] + b"\xff" + struct.pack("!Q", 1 << 40) + b"mask", 1009),
        ],
        ids=["text", "not masked", "no beginning", "unknown opcode", "long ping", "a terabyte"],
    )
    def test_what_breaks_the_protocol_ends_with_its_code(
        self, device_with_certificate: MakeDevice, sent: bytes, code: int
    ) -> None:
        with open_session(device_with_certificate()) as client:
            client.send(sent)
            assert client.close_code() == code

    def test_a_newer_session_takes_over_whatever_it_came_by(
        self, device_with_certificate: MakeDevice
    ) -> None:
        device = device_with_certificate()
        with open_session(device) as first, open_session(device):
            opcode, packet = first.read()
            assert (opcode, packet[0], reason_code(packet)) == (BINARY, 0xE0, 0x8E)
            assert first.close_code() == 1000

    def test_without_tls_only_when_asked_for(self, start: StartServer) -> None:
        server = start(environ={"THINGPASS_WS_PORT": "0"})
        token = server.access_token(server.add_device("d"))
        sock = socket.create_connection(("127.0.0.1", server.ready["ws"]["port"]), PATIENCE_S)
        with RawWebSocket(sock) as client:
            assert client.ask().startswith("HTTP/1.1 101 ")
            client.send(frame(BINARY, connect(5, user_name=token)))
            assert reason_code(client.read()[1]) == 0

    def test_the_server_says_goodbye(
        self, start: StartServer, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        server = start()
        with open_session(make_device(server, tmp_path_factory.mktemp("device"))) as client:
            server.stop()
            opcode, packet = client.read()
            assert (opcode, packet[0], reason_code(packet)) == (BINARY, 0xE0, 0x8B)
            assert client.close_code() == 1000
