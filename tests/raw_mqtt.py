"""MQTT by hand over a real socket: for what no library would send, and to see every byte of the answer."""

from __future__ import annotations

import socket
import ssl
import struct
from pathlib import Path

from tests.device import Device

PATIENCE_S = 10.0

PINGREQ = b"\xc0\x00"
PINGRESP = b"\xd0\x00"
TELEMETRY = "v1/devices/me/telemetry"


def text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("!H", len(encoded)) + encoded


def packet(first_byte: int, body: bytes) -> bytes:
    length, rest = b"", len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length += bytes([digit | (0x80 if rest else 0)])
        if not rest:
            return bytes([first_byte]) + length + body


def connect(
    version: int = 5,
    *,
    keep_alive: int = 60,
    client_id: str = "",
    user_name: str | None = None,
    clean_start: bool = True,
    properties: bytes = b"",
) -> bytes:
    """CONNECT without a Will; `properties` are MQTT 5's as they lie on the wire, without their length."""
    name = "MQIsdp" if version == 3 else "MQTT"
    flags = (0x02 if clean_start else 0) | (0x80 if user_name is not None else 0)
    body = text(name) + bytes([version, flags]) + struct.pack("!H", keep_alive)
    body += bytes([len(properties)]) + properties if version == 5 else b""
    body += text(client_id) + (text(user_name) if user_name is not None else b"")
    return packet(0x10, body)


def publish(
    payload: bytes,
    *,
    version: int = 5,
    topic: str = TELEMETRY,
    qos: int = 1,
    packet_id: int = 1,
    dup: bool = False,
) -> bytes:
    body = text(topic) + (struct.pack("!H", packet_id) if qos else b"")
    body += b"\x00" if version == 5 else b""
    return packet(0x30 | (0x08 if dup else 0) | qos << 1, body + payload)


def subscribe(topic_filter: str, *, version: int = 5, qos: int = 1, packet_id: int = 1) -> bytes:
    body = struct.pack("!H", packet_id) + (b"\x00" if version == 5 else b"")
    return packet(0x82, body + text(topic_filter) + bytes([qos]))


def taken_apart(packet: bytes) -> tuple[str, int]:
    """Topic and packet identifier (0 at QoS 0) of a PUBLISH of at most 16 kB."""
    start = 3 if packet[1] & 0x80 else 2
    end = start + 2 + int.from_bytes(packet[start : start + 2], "big")
    packet_id = int.from_bytes(packet[end : end + 2], "big") if packet[0] & 0x06 else 0
    return packet[start + 2 : end].decode(), packet_id


def puback(packet_id: int, code: int | None = None) -> bytes:
    return packet(0x40, struct.pack("!H", packet_id) + (b"" if code is None else bytes([code])))


def reason_code(packet: bytes) -> int:
    """Of a CONNACK (behind its flags) or a DISCONNECT, however long its length is written."""
    start = 1
    while packet[start] & 0x80:
        start += 1
    return packet[start + 2] if packet[0] == 0x20 else packet[start + 1]


class RawClient:
    """A connection that sends bytes and reads whole packets."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE_S)

    def send(self, *packets: bytes) -> None:
        self.sock.sendall(b"".join(packets))

    def read_packet(self) -> bytes:
        """The next packet as it came, or b"" when the server has closed."""
        head = self._read(1)
        if not head:
            return b""
        length, shift = 0, 0
        while True:
            byte = self._read(1)
            head += byte
            length |= (byte[0] & 0x7F) << shift
            shift += 7
            if not byte[0] & 0x80:
                return head + self._read(length)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                part = self.sock.recv(count - len(data))
            except (ConnectionResetError, ssl.SSLEOFError):
                part = b""
            if not part:
                return b""
            data += part
        return data

    def is_closed_by_server(self) -> bool:
        """Whether the next thing that comes is the end."""
        return self.read_packet() == b""

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def tls_context(
    ca_file: Path, combined_file: Path | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca_file)
    if combined_file is not None:
        context.load_cert_chain(combined_file)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def open_tls(device: Device, *, with_certificate: bool = True) -> RawClient:
    """A finished handshake; nothing of MQTT yet."""
    context = tls_context(device.ca_file, device.combined_file if with_certificate else None)
    sock = socket.create_connection(("127.0.0.1", device.port), PATIENCE_S)
    return RawClient(context.wrap_socket(sock, server_hostname="localhost"))


def open_session(device: Device, version: int = 5, *, keep_alive: int = 60) -> RawClient:
    """An accepted connection."""
    client = open_tls(device)
    client.send(connect(version, keep_alive=keep_alive, client_id="x" if version == 3 else ""))
    answer = client.read_packet()
    assert answer[0] == 0x20, answer
    assert reason_code(answer) == 0, answer
    return client
