"""What was acknowledged is there after `kill -9`: ten times, under load, over mutual TLS."""

from __future__ import annotations

import json
import random
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.device import Device, make_device
from tests.running_server import RunningServer, start_server

ROUNDS = 10
CONNECTIONS = 4
LOAD_S = 0.4
WINDOW = 50
"""Unacknowledged messages per connection: enough for commits to gather many, fewer than the server allows."""


@dataclass
class Sender:
    """One connection that sends numbered messages as fast as it is let, and notes which were acknowledged."""

    device: Device
    qos: int
    first: int
    acknowledged: set[int] = field(default_factory=set)
    sent: int = 0
    failure: str | None = None

    def run(self) -> None:
        try:
            with self._connect() as connection:
                self._send_until_cut(connection)
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass  # the server was killed: what this test is about
        except Exception as error:  # would vanish in the thread
            self.failure = repr(error)

    def _connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.device.ca_file))
        context.load_cert_chain(self.device.combined_file)
        plain = socket.create_connection(("127.0.0.1", self.device.port), timeout=10)
        connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
        connection.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
        assert connection.recv(4) == b"\x20\x02\x00\x00", "CONNECT was refused"
        return connection

    def _send_until_cut(self, connection: ssl.SSLSocket) -> None:
        rest = b""
        while True:
            while self.sent - len(self.acknowledged) < WINDOW:
                connection.sendall(self._publish(self.sent))
                self.sent += 1
            received = connection.recv(65536)
            if not received:
                return
            rest += received
            while len(rest) >= 4:  # PUBACK, PUBREC and PUBCOMP of MQTT 3.1.1 are four bytes each
                kind, packet_id, rest = rest[0] & 0xF0, int.from_bytes(rest[2:4], "big"), rest[4:]
                if kind in (0x40, 0x50):  # PUBACK; PUBREC says the same for QoS 2
                    self.acknowledged.add(packet_id - 1)
                if kind == 0x50:
                    connection.sendall(b"\x62\x02" + packet_id.to_bytes(2, "big"))

    def _publish(self, number: int) -> bytes:
        """Message `number` of this round: its own packet id and its own time stamp."""
        topic = b"v1/devices/me/telemetry"
        payload = json.dumps({"ts": self.first + number, "values": {"n": self.first + number}}).encode()
        variable = len(topic).to_bytes(2, "big") + topic + (number + 1).to_bytes(2, "big") + payload
        assert len(variable) < 128
        return bytes([0x30 | self.qos << 1, len(variable)]) + variable


@pytest.mark.timeout(180)
def test_every_acknowledged_message_survives_kill_9(tmp_path: Path) -> None:
    server = start_server(tmp_path / "server")
    devices = [make_device(server, tmp_path, f"device {n}") for n in range(CONNECTIONS)]
    expected: dict[str, set[int]] = {device.id: set() for device in devices}
    try:
        for round_number in range(ROUNDS):
            for sender in load_and_kill(server, devices, first=1 + round_number * 100_000):
                assert sender.failure is None, sender.failure
                assert sender.acknowledged, (
                    f"round {round_number}: nothing was acknowledged, so nothing is tested"
                )
                expected[sender.device.id] |= {sender.first + number for number in sender.acknowledged}
            server = server.start_again()
            devices = [on(server, device) for device in devices]
            for device in devices:
                stored = {ts for ts, value in device.history("n") if ts == value}
                lost = expected[device.id] - stored
                assert not lost, (
                    f"round {round_number}: {len(lost)} acknowledged messages are gone: {min(lost)}..."
                )
    finally:
        server.stop()


def load_and_kill(server: RunningServer, devices: list[Device], *, first: int) -> list[Sender]:
    """Loads the server from every device (half of them with QoS 2) and kills it in the middle of it."""
    senders = [Sender(device, qos=1 + n % 2, first=first) for n, device in enumerate(devices)]
    threads = [threading.Thread(target=sender.run) for sender in senders]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while any(not sender.acknowledged and not sender.failure for sender in senders):
        assert time.monotonic() < deadline, "a connection got no acknowledgement within 20 s"
        time.sleep(0.01)
    time.sleep(LOAD_S * random.uniform(0.5, 1.5))
    server.kill()
    for thread in threads:
        thread.join(20)
    return senders


def on(server: RunningServer, device: Device) -> Device:
    return Device(
        device.name,
        device.id,
        device.certificate_file,
        device.combined_file,
        server.certificate_file(),
        server,
    )
