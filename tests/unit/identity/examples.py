"""Certificates, rows and a store in memory for the tests of this room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from thingpass.errors import Unavailable
from thingpass.identity.decisions import ConnectAttempt
from thingpass.store.rows import (
    CREDENTIALS_ACCESS_TOKEN,
    CREDENTIALS_MQTT_BASIC,
    CREDENTIALS_X509,
    Credentials,
    Device,
    DeviceCredentials,
    Tenant,
)
from thingpass.tls.evidence import Evidence
from thingpass.x509.fingerprints import credentials_id, credentials_value

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
TENANT_ID = "tenant-1"
TOKEN = "A1b2C3d4E5f6G7h8I9j0"

_KEY = ec.generate_private_key(ec.SECP256R1())


def make_leaf(
    common_name: str | None = "Pump 1",
    *,
    begins: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=365),
) -> bytes:
    """A self-signed certificate in DER; its dates are relative to NOW."""
    name = x509.Name([] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begins)
        .not_valid_after(NOW + ends)
        .sign(_KEY, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.DER)


def make_device(name: str = "Pump 1", tenant_id: str = TENANT_ID) -> Device:
    return Device(
        id=f"id of {name}",
        number=1,
        created_at_ms=NOW_MS,
        tenant_id=tenant_id,
        profile_id="profile-1",
        profile_name="default",
        name=name,
    )


def make_row(kind: str, id_: str, value: str | None = None, *, device: str = "Pump 1") -> DeviceCredentials:
    owner = make_device(device)
    credentials = Credentials(
        id=f"credentials of {device}",
        created_at_ms=NOW_MS,
        device_id=owner.id,
        kind=kind,
        credentials_id=id_,
        credentials_value=value,
    )
    return DeviceCredentials(credentials, owner)


def certificate_row(der: bytes, *, device: str = "Pump 1") -> DeviceCredentials:
    return make_row(CREDENTIALS_X509, credentials_id(der), credentials_value(der), device=device)


def token_row(token: str = TOKEN, *, device: str = "Pump 1") -> DeviceCredentials:
    return make_row(CREDENTIALS_ACCESS_TOKEN, token, device=device)


def basic_row(id_: str, value: str) -> DeviceCredentials:
    return make_row(CREDENTIALS_MQTT_BASIC, id_, value)


def evidence(der: bytes | None = None) -> Evidence:
    return Evidence(
        listener="mqtts",
        peer_address="192.0.2.7",
        peer_port=40_000,
        chain_der=() if der is None else (der,),
        tls_version="TLSv1.3",
    )


def attempt(
    client_id: str = "", user_name: str | None = None, password: bytes | None = None
) -> ConnectAttempt:
    return ConnectAttempt(client_id, user_name, password, 5)


class MemoryStore:
    """The reads that identity needs. Counts them; `fault` makes every read fail."""

    def __init__(self, *rows: DeviceCredentials) -> None:
        self.rows = {row.credentials.credentials_id: row for row in rows}
        self.reads: list[str] = []
        self.fault: Exception | None = None

    def break_down(self) -> None:
        self.fault = Unavailable("The disk is full.")

    async def find_credentials(self, credentials_id: str) -> DeviceCredentials | None:
        self.reads.append(credentials_id)
        if self.fault is not None:
            raise self.fault
        return self.rows.get(credentials_id)

    async def find_credentials_of_device(self, device_id: str) -> Credentials | None:
        return next(
            (row.credentials for row in self.rows.values() if row.device.id == device_id),
            None,
        )

    async def find_device_by_name(self, tenant_id: str, name: str) -> Device | None:
        self.reads.append(name)
        return next((row.device for row in self.rows.values() if row.device.name == name), None)

    async def list_tenants(self) -> tuple[Tenant, ...]:
        return (Tenant(id=TENANT_ID, created_at_ms=0, title="Tenant"),)
