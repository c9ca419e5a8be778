"""The devices of tests: key and certificate as files, and what the server stored of each."""

from __future__ import annotations

import datetime
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.running_server import RunningServer


@dataclass(frozen=True)
class Device:
    name: str
    id: str
    certificate_file: Path  # the certificate alone, as `keygen client` names it: NAME.pub.pem
    combined_file: Path  # key, then certificate: NAME.nopass.pem
    ca_file: Path  # what a client needs to trust the server
    server: RunningServer

    @property
    def port(self) -> int:
        return self.server.mqtts_port

    def latest(self) -> dict[str, object]:
        """Key to latest value, with native types."""
        url = f"/api/plugins/telemetry/DEVICE/{self.id}/values/timeseries"
        answer = self.server.rest.get(url, params={"useStrictDataTypes": "true"})
        answer.raise_for_status()
        return {key: points[0]["value"] for key, points in answer.json().items() if points}

    def history(self, key: str) -> list[tuple[int, object]]:
        """Every stored point of one key, oldest first."""
        url = f"/api/plugins/telemetry/DEVICE/{self.id}/values/timeseries"
        answer = self.server.rest.get(
            url,
            params={
                "keys": key,
                "startTs": 0,
                "endTs": 4_000_000_000_000,
                "limit": 1_000_000,
                "orderBy": "ASC",
                "useStrictDataTypes": "true",
            },
        )
        answer.raise_for_status()
        return [(point["ts"], point["value"]) for point in answer.json().get(key, [])]

    def state(self) -> dict[str, Any]:
        """The server attributes: those that the server keeps itself, and those that people wrote."""
        url = f"/api/plugins/telemetry/DEVICE/{self.id}/values/attributes/SERVER_SCOPE"
        answer = self.server.rest.get(url)
        answer.raise_for_status()
        return {attribute["key"]: attribute["value"] for attribute in answer.json()}

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Oldest first."""
        parameters = {} if kind is None else {"kind": kind}
        answer = self.server.rest.get(f"/api/v2/devices/{self.id}/events", params=parameters)
        answer.raise_for_status()
        return list(reversed(answer.json()["data"]))

    def wait_for_event(self, kind: str, *, count: int = 1, within_s: float = 10) -> dict[str, Any]:
        """The newest one of this kind, once there are `count` of them."""
        deadline = time.monotonic() + within_s
        while len(found := self.events(kind)) < count:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{len(found)} and not {count} events {kind!r} of {self.name} after {within_s} s;"
                    f" there are {self.events()}"
                )
            time.sleep(0.05)
        return found[-1]

    def wait_for_state(self, key: str, value: object, *, within_s: float = 10) -> dict[str, Any]:
        """The whole state, once `key` is `value`."""
        deadline = time.monotonic() + within_s
        while (state := self.state()).get(key) != value:
            if time.monotonic() > deadline:
                raise AssertionError(f"{key} of {self.name} is not {value!r} after {within_s} s: {state}")
            time.sleep(0.05)
        return state

    def wait_for(self, key: str, value: object, *, within_s: float = 5) -> None:
        """Until the latest value of `key` is `value`; for clients that send with QoS 0."""
        deadline = time.monotonic() + within_s
        while (seen := self.latest().get(key)) != value:
            if time.monotonic() > deadline:
                raise AssertionError(f"{key} of {self.name} is {seen!r} after {within_s} s, not {value!r}")
            time.sleep(0.05)


def make_device(
    server: RunningServer,
    directory: Path,
    name: str | None = None,
    *,
    common_name: str | None = None,
    registered: bool = True,
    valid_for: datetime.timedelta = datetime.timedelta(days=30),
) -> Device:
    """A device with files as `thingpass keygen client` writes them, made without it."""
    name = name or f"device-{uuid.uuid4().hex[:8]}"
    certificate_pem, key_pem = make_certificate(common_name or name, valid_for)
    certificate_file, combined_file = directory / f"{name}.pub.pem", directory / f"{name}.nopass.pem"
    certificate_file.write_bytes(certificate_pem)
    combined_file.touch(0o600)
    combined_file.write_bytes(key_pem + certificate_pem)
    device_id = server.add_device(name, certificate_pem.decode() if registered else None)
    return Device(
        name=name,
        id=device_id,
        certificate_file=certificate_file,
        combined_file=combined_file,
        ca_file=server.certificate_file(),
        server=server,
    )


def make_certificate(
    name: str, valid_for: datetime.timedelta = datetime.timedelta(days=30)
) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, both PEM; it began 60 days ago and ends `valid_for` from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + valid_for)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
    )
