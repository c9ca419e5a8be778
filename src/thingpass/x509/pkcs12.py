"""PKCS#12 stores (RFC 7292): in the form that OpenSSL 1.1.1 and Java 8u301 and later read.

Keys and certificates are encrypted by PBES2 with AES-256 and the store is sealed by HMAC-SHA256. Java 8
before update 301 (July 2021) reads only RC2 and triple DES, which OpenSSL 3 refuses by default; the JKS
store serves it.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import pkcs12 as codec

from thingpass.x509.certificate import Certificate
from thingpass.x509.errors import LOCKED_MEND, KeyStoreUnusable
from thingpass.x509.keystore_entries import KeyEntry
from thingpass.x509.private_keys import PrivateKey

_KDF_ROUNDS = 20_000  # twice keytool's 10,000; 8 ms here, and a microcontroller never opens it


def write(entry: KeyEntry, password: bytes) -> bytes:
    """A store with one key entry, its alias as friendly name; store and key have the same password."""
    leaf, *issuers = (x509.load_der_x509_certificate(certificate.der) for certificate in entry.chain)
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_KDF_ROUNDS)
        .key_cert_algorithm(codec.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password)
    )
    return codec.serialize_key_and_certificates(
        entry.alias.encode(), entry.private_key, leaf, issuers or None, encryption
    )


def read(data: bytes, password: bytes | None) -> KeyEntry:
    """The first key entry of a store; raises KeyStoreUnusable."""
    try:
        store = codec.load_pkcs12(data, password)
    except UnsupportedAlgorithm:
        raise KeyStoreUnusable(
            "The PKCS#12 store is encrypted in a way that is not supported.",
            "Convert it: openssl pkcs12 -legacy -in FILE -nodes, then openssl pkcs12 -export.",
        ) from None
    except ValueError:
        raise KeyStoreUnusable(
            "The PKCS#12 store is damaged, or the password does not open it."
            if password
            else "The PKCS#12 store is damaged, or it needs a password.",
            LOCKED_MEND,
        ) from None
    if not isinstance(store.key, PrivateKey) or store.cert is None:
        raise KeyStoreUnusable(
            "The PKCS#12 store holds no private key with its certificate.",
            "Name a store that has both (openssl pkcs12 -export -inkey KEY -in CERT -out FILE makes one).",
        )
    certificates = (store.cert, *store.additional_certs)
    name = store.cert.friendly_name or b""
    return KeyEntry(
        name.decode("utf-8", "replace"),
        store.key,
        tuple(Certificate.from_der(one.certificate.public_bytes(Encoding.DER)) for one in certificates),
    )
