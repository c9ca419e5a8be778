"""Keys: made, written in each form, read back; every fault with its own sentence."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.unit.x509.material import WORKED_PEM, key, key_pem
from thingpass.x509.errors import KeyUnusable
from thingpass.x509.private_keys import (
    CURVES,
    KeyKind,
    PrivateKey,
    generate,
    pkcs8_der,
    pkcs8_pem,
    public_key_der,
    read_private_key,
    traditional_pem,
)

KINDS = [
    KeyKind("RSA"),
    KeyKind("Ed25519"),
    KeyKind("Ed448"),
    *(KeyKind("EC", curve=name) for name in CURVES),
]
PASSWORD = b"key password"


def traditional_encrypted(private_key: PrivateKey) -> bytes:
    return private_key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(PASSWORD)
    )


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_form_is_read_back(kind: KeyKind) -> None:
    private_key = key(0, kind)
    for form in (pkcs8_pem(private_key), pkcs8_der(private_key), traditional_pem(private_key)):
        for password in (None, b"not needed"):
            assert public_key_der(read_private_key(form, password)) == public_key_der(private_key)
    assert public_key_der(read_private_key(pkcs8_pem(private_key, PASSWORD), PASSWORD)) == public_key_der(
        private_key
    )


def test_traditional_form_encrypted_is_read() -> None:
    assert read_private_key(traditional_encrypted(key()), PASSWORD)


def test_key_is_found_among_other_blocks() -> None:
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    text = f"Bag Attributes\n{WORKED_PEM}{parameters}{key_pem()}"
    assert public_key_der(read_private_key(text.encode(), None)) == public_key_der(key())


DSA_PEM = dsa.generate_private_key(1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
SSH_PEM = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
FAULTS: dict[str, tuple[bytes, bytes | None, str]] = {
    "password missing": (pkcs8_pem(key(), PASSWORD), None, "encrypted and no password"),
    "password empty": (pkcs8_pem(key(), PASSWORD), b"", "encrypted and no password"),
    "password wrong": (pkcs8_pem(key(), PASSWORD), b"wrong one", "does not open"),
    "password wrong, old form": (traditional_encrypted(key()), b"wrong one", "does not open"),
    "a certificate": (WORKED_PEM.encode(), None, "no private key"),
    "nothing": (b"", None, "no private key"),
    "cut off": (pkcs8_der(key())[:-4], None, "no private key"),
    "damaged": (key_pem().replace("M", "N", 1).encode(), None, "damaged"),
    "OpenSSH's form": (SSH_PEM, None, "OpenSSH's own form"),
    "DSA": (DSA_PEM, None, "of the kind DSA"),
}


@pytest.mark.parametrize(("data", "password", "sentence"), FAULTS.values(), ids=FAULTS.keys())
def test_unusable_key_is_refused_with_its_reason(data: bytes, password: bytes | None, sentence: str) -> None:
    with pytest.raises(KeyUnusable, match=sentence) as refusal:
        read_private_key(data, password)
    assert refusal.value.mend
    assert "wrong one" not in str(refusal.value)


@pytest.mark.parametrize(
    "kind", [KeyKind("RSA", 1024), KeyKind("RSA", 16384), KeyKind("EC", curve="secp192r1"), KeyKind("DSA")]
)
def test_weak_or_unknown_kind_is_not_made(kind: KeyKind) -> None:
    with pytest.raises(KeyUnusable):
        generate(kind)


def test_repr_shows_nothing_of_the_key() -> None:
    assert key_pem().splitlines()[1] not in repr(key())
