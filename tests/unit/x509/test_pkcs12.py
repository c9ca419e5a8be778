"""PKCS#12 stores written and read back; OpenSSL and Java read them in tests/interop."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization import pkcs12 as codec
from cryptography.x509 import load_der_x509_certificate

from tests.unit.x509.material import chain, issue, key
from thingpass.x509 import pkcs12
from thingpass.x509.content_kinds import PKCS12, content_kind
from thingpass.x509.errors import KeyStoreUnusable
from thingpass.x509.keystore_entries import KeyEntry
from thingpass.x509.private_keys import KeyKind, public_key_der

PASSWORD = b"key password"
KINDS = [KeyKind(), KeyKind("RSA"), KeyKind("Ed25519")]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_entry_comes_back(kind: KeyKind) -> None:
    private_key = key(0, kind)
    entry = KeyEntry("Client Alias", private_key, (issue("device", private_key),))
    data = pkcs12.write(entry, PASSWORD)
    assert content_kind(data) is PKCS12
    read = pkcs12.read(data, PASSWORD)
    assert (read.alias, read.chain) == (entry.alias, entry.chain)
    assert public_key_der(read.private_key) == public_key_der(private_key)


def test_chain_comes_back_whole() -> None:
    read = pkcs12.read(pkcs12.write(KeyEntry("a", key(), chain()), PASSWORD), PASSWORD)
    assert read.chain[0] == chain()[0]
    assert set(read.chain) == set(chain())


@pytest.mark.parametrize("password", [None, b"", b"wrong"])
def test_other_password_is_refused(password: bytes | None) -> None:
    data = pkcs12.write(KeyEntry("a", key(), chain()), PASSWORD)
    with pytest.raises(KeyStoreUnusable):
        pkcs12.read(data, password)


def test_store_without_a_key_is_refused() -> None:
    certificates = [load_der_x509_certificate(chain()[0].der)]
    data = codec.serialize_key_and_certificates(
        b"a", None, None, certificates, BestAvailableEncryption(PASSWORD)
    )
    with pytest.raises(KeyStoreUnusable, match="no private key"):
        pkcs12.read(data, PASSWORD)


def test_damaged_store_is_refused() -> None:
    data = pkcs12.write(KeyEntry("a", key(), chain()), PASSWORD)
    for damaged in (data[:-1], data[:40], b"\x30\x00", b""):
        with pytest.raises(KeyStoreUnusable):
            pkcs12.read(damaged, PASSWORD)
