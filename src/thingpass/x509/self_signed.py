"""Self-signed certificates: a server's, which its clients take as their anchor of trust, and a device's.

The extensions were chosen by what accepts such a server certificate as `ca_certs` (tests verify with
OpenSSL 3 and 4, with and without X509_STRICT, Java 17 and Mosquitto's clients; 1.1.1 was tried by hand):

- basicConstraints CA:FALSE, critical: it signs nobody. rustls refuses CA:TRUE for a server; without the
  extension OpenSSL is lenient, but mbedTLS and RFC 5280 are clearer with it.
- keyUsage without keyCertSign: with it, X509_STRICT demands a CA.
- both key identifiers: X509_STRICT demands them of what it takes for an issuer, and they tell apart two
  self-signed certificates with one name, which ThingsBoard's scripts make.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from thingpass.x509 import private_keys
from thingpass.x509.certificate import Certificate
from thingpass.x509.errors import KeyUnusable
from thingpass.x509.keygen_properties import Subject, is_address, is_host_name
from thingpass.x509.keystores import ServerIdentity
from thingpass.x509.private_keys import KeyKind, PrivateKey

# Ten years. Whoever pins a certificate must be visited before it ends, so a year would be an outage on a
# date; the scripts' 27 years outlive every key size. `--days` chooses otherwise.
DEFAULT_DAYS = 3650
# Clocks of devices without a battery, and of fresh virtual machines, run behind.
_BACKDATED = timedelta(days=1)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

_NAME_PARTS: tuple[tuple[ObjectIdentifier, str], ...] = (  # the order in which keytool writes them
    (NameOID.COUNTRY_NAME, "country_code"),
    (NameOID.STATE_OR_PROVINCE_NAME, "state"),
    (NameOID.LOCALITY_NAME, "city"),
    (NameOID.ORGANIZATION_NAME, "organization"),
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "organizational_unit"),
    (NameOID.COMMON_NAME, "common_name"),
)


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """A new key and its certificate."""

    private_key: PrivateKey = field(repr=False)
    certificate: Certificate


def make_server_certificate(
    names: Sequence[str], *, now: datetime, days: int = DEFAULT_DAYS
) -> ServerIdentity:
    """What a server starts with that has no certificate: a new EC key and a certificate for `names`.

    The first name becomes its common name; see `make_server_pair` for the rest.
    """
    subject = Subject(common_name=names[0] if names else LOOPBACK_NAMES[0])
    made = make_server_pair(subject, names, KeyKind(), now=now, days=days)
    return ServerIdentity(private_keys.pkcs8_pem(made.private_key), (made.certificate,))


def make_server_pair(
    subject: Subject, names: Sequence[str], key_kind: KeyKind, *, now: datetime, days: int = DEFAULT_DAYS
) -> SelfSigned:
    """A key and a certificate for a TLS server that answers to `names` (host names or IP addresses).

    `localhost`, 127.0.0.1 and ::1 are always added. Valid from a day before `now` (aware) for `days` days.
    """
    alternative = _alternative_names([*names, *LOOPBACK_NAMES])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return _make(subject, key_kind, now, days, (alternative, usage))


def make_client_pair(
    subject: Subject, key_kind: KeyKind, *, now: datetime, days: int = DEFAULT_DAYS
) -> SelfSigned:
    """A key and a certificate for a device; the parameters are those of `make_server_pair`."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return _make(subject, key_kind, now, days, (usage,))


def _make(
    subject: Subject,
    key_kind: KeyKind,
    now: datetime,
    days: int,
    extensions: Iterable[x509.ExtensionType],
) -> SelfSigned:
    key = private_keys.generate(key_kind)
    name = _name(subject)
    not_before = now.replace(microsecond=0) - _BACKDATED
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(key), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    signed = builder.sign(key, private_keys.signature_hash(key))
    return SelfSigned(key, Certificate.from_der(signed.public_bytes(Encoding.DER)))


def _name(subject: Subject) -> x509.Name:
    parts = ((kind, str(getattr(subject, attribute))) for kind, attribute in _NAME_PARTS)
    try:
        return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts if value])
    except ValueError as error:
        raise KeyUnusable(
            f"The subject's name cannot be written into a certificate: {error}.", "Shorten its parts."
        ) from None


def _alternative_names(names: Iterable[str]) -> x509.SubjectAlternativeName:
    """Each name once, in its order; what is neither a host name nor an address is left out."""
    general: dict[x509.GeneralName, None] = {}
    for name in names:
        if is_address(name):
            general[x509.IPAddress(ipaddress.ip_address(name))] = None
        elif is_host_name(name):
            general[x509.DNSName(name)] = None
    return x509.SubjectAlternativeName(general)


def _key_usage(key: PrivateKey) -> x509.KeyUsage:
    """digitalSignature; for RSA also keyEncipherment, which TLS 1.2 without forward secrecy needs."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=isinstance(key, rsa.RSAPrivateKey),
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
