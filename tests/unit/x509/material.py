"""Certificates and keys that the tests of this room share, made here once per run, and DER by hand."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, settings

from thingpass.x509 import der
from thingpass.x509.certificate import Certificate
from thingpass.x509.private_keys import KeyKind, PrivateKey, generate, pkcs8_pem, signature_hash

# A time per example says more about the other processes of the machine than about the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

# Device API reference, 1.3, worked example.
WORKED_PEM = """\
-----BEGIN CERTIFICATE-----
MIIBKDCBzqADAgECAgIQAjAKBggqhkjOPQQDAjAcMRowGAYDVQQDDBFFeGFtcGxl
IERldmljZSBDQTAeFw0yNjExMjMwMDAwMDBaFw0yNzExMjMwMDAwMDBaMB4xHDAa
BgNVBAMME3NlbnNvci0wMDAxQHBsYW50LWEwWTATBgcqhkjOPQIBBggqhkjOPQMB
BwNCAASI2hklOkTx2jq7XBsZ90rnxZ0/2kjqxew/TWRDeGZIGVeCxXIlJsi6GDnJ
hF4rmL6wrrN4HJ1UKiErniYYDkEaMAoGCCqGSM49BAMCA0kAMEYCIQDUeU527dIS
s3m+9D6NMhYiC/F9FpwyKKjYXUL72MwYygIhAPu2amI6J/j0KESxM9hAxSnc0oyL
1WVZEA3oo01+o3Ba
-----END CERTIFICATE-----
"""
WORKED_ID = "40be79b703ed95ab5af0008bcc640015f69407e8c2b802d01d76d9bb941aec0c"
WORKED_SHA256 = "329f0f5c1c1c68fe7b20400a3e43c8058eb9a960ecd94aa81e5f43971102a771"


EC = KeyKind()


def key(number: int = 0, kind: KeyKind = EC) -> PrivateKey:
    """Key `number` of its kind; RSA ones cost a tenth of a second, hence once per run."""
    return _made_key(number, kind)


@functools.cache
def _made_key(number: int, kind: KeyKind) -> PrivateKey:
    del number
    return generate(kind)


def issue(
    common_name: str,
    private_key: PrivateKey,
    issuer: tuple[Certificate, PrivateKey] | None = None,
    *,
    is_ca: bool = False,
    not_before: datetime = NOW - timedelta(days=1),
    not_after: datetime = NOW + timedelta(days=365),
    serial_number: int = 4711,
) -> Certificate:
    """A certificate for a key, self-signed without an issuer."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    issuer_name, signer = subject, private_key
    if issuer is not None:
        issuer_name = x509.load_der_x509_certificate(issuer[0].der).subject
        signer = issuer[1]
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(private_key.public_key())
        .serial_number(serial_number)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .sign(signer, signature_hash(signer))
    )
    return Certificate.from_der(signed.public_bytes(serialization.Encoding.DER))


@functools.cache
def chain() -> tuple[Certificate, Certificate, Certificate]:
    """Leaf (key 0), its authority (key 1), the root (key 2)."""
    root = issue("root", key(2), is_ca=True)
    authority = issue("authority", key(1), (root, key(2)), is_ca=True)
    return issue("leaf", key(0), (authority, key(1))), authority, root


@functools.cache
def key_pem(number: int = 0) -> str:
    return pkcs8_pem(key(number)).decode()


def signing_request_pem() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key(), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def revocation_list_pem() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    builder = x509.CertificateRevocationListBuilder().issuer_name(name)
    signed = builder.last_update(NOW).next_update(NOW + timedelta(days=1)).sign(key(), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def public_key_pem() -> str:
    public_key = key().public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    return public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def element(tag: int, content: bytes) -> bytes:
    """One DER element."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def name_der(*attributes: tuple[bytes, int, bytes]) -> bytes:
    """A name of (object identifier's content, string tag, content), each a relative name of its own."""
    return element(
        0x30,
        b"".join(
            element(0x31, element(0x30, element(0x06, oid) + element(tag, value)))
            for oid, tag, value in attributes
        ),
    )


COMMON_NAME_OID = bytes.fromhex("550403")


def with_subject(certificate: Certificate, subject_der: bytes) -> bytes:
    """The DER of a certificate with another subject; its signature no longer fits, its shape does."""
    data = certificate.der
    whole = der.read_element(data, 0, len(data))
    to_be_signed, *rest = der.children(data, whole)
    fields = [data[one.start : one.end] for one in der.children(data, to_be_signed)]
    fields[5] = subject_der  # version, serial number, signature, issuer, validity, subject
    tail = b"".join(data[one.start : one.end] for one in rest)
    return element(0x30, element(0x30, b"".join(fields)) + tail)
