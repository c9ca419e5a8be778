"""Self-signed certificates, and that what verifies servers takes one as its own anchor."""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from tests.unit.x509.material import NOW
from thingpass.x509.certificate import Certificate
from thingpass.x509.errors import KeyUnusable
from thingpass.x509.keygen_properties import Subject
from thingpass.x509.private_keys import KeyKind, pkcs8_pem, public_key_der
from thingpass.x509.self_signed import (
    DEFAULT_DAYS,
    make_client_pair,
    make_server_certificate,
    make_server_pair,
)

SUBJECT = Subject("vm.example", "Unit", "Organization", "San Francisco", "CA", "US")
KINDS = [KeyKind(), KeyKind("EC", curve="secp384r1"), KeyKind("RSA"), KeyKind("Ed25519")]


def extensions_of(certificate: Certificate) -> x509.Extensions:
    return x509.load_der_x509_certificate(certificate.der).extensions


def server_certificate(kind: KeyKind | None = None) -> Certificate:
    return make_server_pair(SUBJECT, ["vm.example"], kind or KeyKind(), now=NOW).certificate


def test_server_answers_to_its_names_and_the_loopback_ones() -> None:
    names = ["vm", "192.0.2.7", "not a host name", "localhost", "fe80::1%eth0", "vm"]
    made = make_server_pair(SUBJECT, names, KeyKind(), now=NOW)
    assert made.certificate.alternative_names == ("vm", "192.0.2.7", "localhost", "127.0.0.1", "::1")


def test_subject_is_written_in_keytools_order() -> None:
    assert server_certificate().subject == ("CN=vm.example,OU=Unit,O=Organization,L=San Francisco,ST=CA,C=US")
    assert make_client_pair(Subject("pump"), KeyKind(), now=NOW).certificate.subject == "CN=pump"


def test_certificate_is_valid_from_the_day_before() -> None:
    certificate = server_certificate()
    assert certificate.not_before == NOW - timedelta(days=1)
    assert certificate.not_after - certificate.not_before == timedelta(days=DEFAULT_DAYS)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_extensions_say_what_the_key_is_for(kind: KeyKind) -> None:
    server = extensions_of(server_certificate(kind))
    client = extensions_of(make_client_pair(SUBJECT, kind, now=NOW).certificate)
    for extensions, usage in (
        (server, ExtendedKeyUsageOID.SERVER_AUTH),
        (client, ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert not constraints.value.ca
        key_usage = extensions.get_extension_for_class(x509.KeyUsage).value
        assert key_usage.digital_signature
        assert key_usage.key_encipherment == (kind.algorithm == "RSA")
        assert not key_usage.key_cert_sign
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
        own = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == own


def test_key_belongs_to_the_certificate() -> None:
    made = make_client_pair(SUBJECT, KeyKind(), now=NOW)
    assert public_key_der(made.private_key) == made.certificate.public_key_der
    assert made.certificate.is_issued_by(made.certificate)


def test_two_with_the_same_name_are_told_apart() -> None:
    server, client = server_certificate(), make_client_pair(SUBJECT, KeyKind(), now=NOW).certificate
    assert server.subject == client.subject
    assert not server.is_issued_by(client)


def test_identity_for_a_first_start_needs_names_only() -> None:
    identity = make_server_certificate(["vm", "10.0.0.1"], now=NOW)
    assert identity.chain[0].common_name == "vm"
    assert identity.chain[0].alternative_names[:2] == ("vm", "10.0.0.1")
    assert identity.warnings(identity.chain[0].not_before) == ()
    assert identity.chain[0].pem in identity.chain_pem


def test_name_that_does_not_fit_is_refused() -> None:
    with pytest.raises(KeyUnusable, match="cannot be written"):
        make_client_pair(Subject("x" * 65), KeyKind(), now=NOW)


FLAGS = {
    "plain": 0,
    "strict": crypto.X509StoreFlags.X509_STRICT,
    "strict, partial chain": crypto.X509StoreFlags.X509_STRICT | crypto.X509StoreFlags.PARTIAL_CHAIN,
}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS.keys())
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_openssl_of_the_binding_takes_it_as_its_own_anchor(kind: KeyKind, flags: int) -> None:
    certificate = crypto.X509.from_cryptography(x509.load_der_x509_certificate(server_certificate(kind).der))
    store = crypto.X509Store()
    store.add_cert(certificate)
    store.set_time(NOW.replace(tzinfo=None))
    if flags:
        store.set_flags(flags)
    crypto.X509StoreContext(store, certificate).verify_certificate()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", ["vm", "localhost", "127.0.0.1", "::1"])
def test_python_takes_it_as_ca_certs_and_checks_the_name(name: str, strict: bool) -> None:
    made = make_server_certificate(["vm"], now=datetime.now(UTC))
    assert handshake(made.chain[0].pem, made.private_key_pem, name, strict=strict)


def test_python_refuses_another_name() -> None:
    made = make_server_certificate(["vm"], now=datetime.now(UTC))
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname mismatch"):
        handshake(made.chain[0].pem, made.private_key_pem, "other.example", strict=True)


def handshake(certificate_pem: str, key_pem: bytes, name: str, *, strict: bool) -> bool:
    """A TLS handshake in memory of Python's own client and server, the certificate being the anchor."""
    client = ssl.create_default_context(cadata=certificate_pem)
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if strict:
        client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server_context(certificate_pem, key_pem).wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
    return not ends


def server_context(certificate_pem: str, key_pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "server.pem"
        path.write_bytes(key_pem + certificate_pem.encode())
        context.load_cert_chain(path)
    return context


def test_repr_shows_no_key() -> None:
    made = make_client_pair(SUBJECT, KeyKind(), now=NOW)
    assert pkcs8_pem(made.private_key).decode().splitlines()[1] not in repr(made)
    assert "private_key" not in repr(made)
