"""The certificates of one run: an authority, one server certificate for both servers, one per device.

All keys are P-256. Mosquitto trusts the authority; Thingpass has every device's certificate registered,
as ThingsBoard does. Everything lies in the run's temporary directory and is worthless after it.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID_FOR = datetime.timedelta(days=7)
_BACKDATED = datetime.timedelta(hours=1)  # a clock that steps back during the run must not end it


class KeyPair(msgspec.Struct, frozen=True):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


class Certificates(msgspec.Struct, frozen=True):
    """Where a run's certificates lie. `devices_pem` holds key and certificate of each device in turn."""

    authority_pem: Path
    server_certificate_pem: Path
    server_key_pem: Path
    devices_pem: Path
    device_count: int


def device_name(number: int) -> str:
    """The device's name, its certificate's common name and its MQTT client id."""
    return f"bench-{number:06d}"


def make_certificates(directory: Path, device_count: int) -> Certificates:
    """Makes the certificates of a run; about 0.2 ms each."""
    authority = _issue("Benchmark authority", None)
    server = _issue("localhost", authority, _server_extensions())
    made = Certificates(
        authority_pem=directory / "authority.pem",
        server_certificate_pem=directory / "server.pem",
        server_key_pem=directory / "server.key.pem",
        devices_pem=directory / "devices.pem",
        device_count=device_count,
    )
    _write(made.authority_pem, authority.certificate_pem)
    _write(made.server_certificate_pem, server.certificate_pem)
    _write(made.server_key_pem, server.key_pem)
    devices = (_issue(device_name(number), authority) for number in range(device_count))
    _write(made.devices_pem, b"".join(device.key_pem + device.certificate_pem for device in devices))
    return made


def read_certificates_pem(certificates: Certificates) -> list[str]:
    """Every device's certificate as PEM text, in the order of the device numbers."""
    text = certificates.devices_pem.read_text("ascii")
    marker = "-----BEGIN CERTIFICATE-----"
    return [marker + part.partition("-----BEGIN PRIVATE KEY-----")[0] for part in text.split(marker)[1:]]


def _issue(
    common_name: str,
    issuer: KeyPair | None,
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return KeyPair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _server_extensions() -> tuple[x509.ExtensionType, ...]:
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (x509.SubjectAlternativeName([x509.DNSName("localhost"), loopback]),)


def _write(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)
