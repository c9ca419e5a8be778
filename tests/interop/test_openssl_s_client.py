"""`openssl s_client` against the MQTT-over-TLS port: handshakes that no MQTT library would try."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.device import Device

MakeDevice = Callable[..., Device]
CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"  # 3.1.1, clean session, keep-alive 60 s, no id
ACCEPTED = b"\x20\x02\x00\x00"
NOT_AUTHORIZED = b"\x20\x02\x00\x05"
PATIENCE_S = 10.0

pytestmark = pytest.mark.needs("openssl")


@contextmanager
def s_client(device: Device, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{device.port}", "-CAfile", str(device.ca_file)),
            *("-verify_return_error", "-ign_eof", *arguments),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answer_to(process: subprocess.Popen[bytes], packet: bytes, *, until: tuple[bytes, ...]) -> bytes:
    """Sends the packet; returns what s_client wrote until one of `until` is in it, or it ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(packet)
    seen = b""
    deadline = time.monotonic() + PATIENCE_S
    while not any(wanted in seen for wanted in until):
        ready, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
        part = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not part:
            break
        seen += part
    return seen


def with_key(device: Device) -> tuple[str, ...]:
    return ("-cert", str(device.combined_file), "-key", str(device.combined_file))


@pytest.mark.parametrize("tls", ["-tls1_2", "-tls1_3"])
def test_two_way_handshake_and_connect(device_with_certificate: MakeDevice, tls: str) -> None:
    device = device_with_certificate()
    with s_client(device, tls, "-quiet", *with_key(device)) as process:
        assert ACCEPTED in answer_to(process, CONNECT, until=(ACCEPTED, NOT_AUTHORIZED))


@pytest.mark.parametrize("tls", ["-tls1_2", "-tls1_3"])
def test_one_way_handshake_passes_and_connect_is_refused(
    device_with_certificate: MakeDevice, tls: str
) -> None:
    device = device_with_certificate()
    with s_client(device, tls, "-quiet") as process:
        assert NOT_AUTHORIZED in answer_to(process, CONNECT, until=(ACCEPTED, NOT_AUTHORIZED))


@pytest.mark.parametrize("tls", ["-tls1_2", "-tls1_3"])
def test_resumed_session_is_identified_again(
    device_with_certificate: MakeDevice, tls: str, tmp_path: Path
) -> None:
    device, ticket = device_with_certificate(), tmp_path / "session"
    with s_client(device, tls, "-sess_out", str(ticket), *with_key(device)) as process:
        assert ACCEPTED in answer_to(process, CONNECT, until=(ACCEPTED,))
        deadline = time.monotonic() + PATIENCE_S
        while not ticket.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    with s_client(device, tls, "-sess_in", str(ticket), *with_key(device)) as process:
        seen = answer_to(process, CONNECT, until=(ACCEPTED,))
        assert b"Reused, " in seen
        assert ACCEPTED in seen

    # The certificate is taken away: the ticket is worth nothing any more.
    server = device.server
    credentials = server.rest.get(f"/api/device/{device.id}/credentials").json()
    credentials |= {"credentialsType": "ACCESS_TOKEN", "credentialsId": f"t{device.id[:8]}"}
    credentials["credentialsValue"] = None
    server.rest.post("/api/device/credentials", json=credentials).raise_for_status()
    with s_client(device, tls, "-sess_in", str(ticket), *with_key(device)) as process:
        assert NOT_AUTHORIZED in answer_to(process, CONNECT, until=(ACCEPTED, NOT_AUTHORIZED))


def test_tls_1_1_is_refused_and_the_refusal_says_so(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with s_client(device, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", *with_key(device)) as process:
        assert process.wait(PATIENCE_S) != 0
    device.server.wait_for_refusal("tls-version-too-old")


def test_client_that_does_not_trust_the_server_is_named(
    device_with_certificate: MakeDevice, tmp_path: Path
) -> None:
    device = device_with_certificate()
    stranger = device_with_certificate(registered=False)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{device.port}", "-verify_return_error"]
    done = subprocess.run(
        [*command, "-CAfile", str(stranger.certificate_file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode != 0
    device.server.wait_for_refusal("server-not-trusted")


def exchange_plain(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain:
        plain.sendall(data)
        seen = b""
        while part := plain.recv(65536):
            seen += part
        return seen


def test_plain_mqtt_on_the_tls_port_is_refused_by_name(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    exchange_plain(device.port, CONNECT)
    device.server.wait_for_refusal("plain-mqtt-on-tls-port")


def test_http_on_the_mqtt_port_is_refused_by_name(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    exchange_plain(device.port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    device.server.wait_for_refusal("http-on-mqtt-port")


def test_garbage_on_the_port_disturbs_nobody(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with s_client(device, "-quiet", *with_key(device)) as process:
        assert ACCEPTED in answer_to(process, CONNECT, until=(ACCEPTED,))
        exchange_plain(device.port, b"\x00\xff" * 500)
        assert b"\xd0\x00" in answer_to(process, b"\xc0\x00", until=(b"\xd0\x00",))  # PINGREQ, PINGRESP
