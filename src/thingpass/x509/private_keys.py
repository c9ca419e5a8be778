"""Private keys: made, read with or without a password, and written in the forms that programs ask for.

A key is cryptography's own object here, whose repr shows nothing of it. Errors name the kind of fault only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from thingpass.x509 import content_kinds, pem
from thingpass.x509.errors import LOCKED_MEND, KeyUnusable

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

SignatureHash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

# Names that keytool -groupname and openssl ecparam take. Others either lack in TLS 1.3 (RFC 8446 4.2.7) or
# in Java 17 (secp256k1, the brainpool and the binary curves are gone there).
CURVES: dict[str, Callable[[], ec.EllipticCurve]] = {
    "secp256r1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
}
CURVE_ALIASES = {
    "prime256v1": "secp256r1",
    "p-256": "secp256r1",
    "nist p-256": "secp256r1",
    "p-384": "secp384r1",
    "nist p-384": "secp384r1",
    "p-521": "secp521r1",
    "nist p-521": "secp521r1",
}
EC_SIZES = {256: "secp256r1", 384: "secp384r1", 521: "secp521r1"}
ALGORITHMS = ("EC", "RSA", "Ed25519", "Ed448")

# 2048 bits is what TLS libraries accept at their default security level; above 8192 a handshake costs a
# small device seconds.
SMALLEST_RSA, LARGEST_RSA = 2048, 8192
_SIGNATURE_HASHES: dict[int, Callable[[], SignatureHash]] = {
    256: hashes.SHA256,
    384: hashes.SHA384,
    521: hashes.SHA512,
}


@dataclass(frozen=True, slots=True)
class KeyKind:
    """What key to make: an algorithm of ALGORITHMS, with `size_bits` for RSA and `curve` for EC."""

    algorithm: str = "EC"
    size_bits: int = 2048
    curve: str = "secp256r1"


def generate(kind: KeyKind) -> PrivateKey:
    """A new key; raises KeyUnusable for a kind that is not made here."""
    match kind.algorithm:
        case "EC" if kind.curve in CURVES:
            return ec.generate_private_key(CURVES[kind.curve]())
        case "RSA" if SMALLEST_RSA <= kind.size_bits <= LARGEST_RSA:
            return rsa.generate_private_key(public_exponent=65537, key_size=kind.size_bits)
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "Ed448":
            return ed448.Ed448PrivateKey.generate()
    raise KeyUnusable(
        f"A key of the kind {kind.algorithm} cannot be made like this.",
        f"Choose EC ({', '.join(CURVES)}), RSA ({SMALLEST_RSA} to {LARGEST_RSA} bits), Ed25519 or Ed448.",
    )


def signature_hash(key: PrivateKey) -> SignatureHash | None:
    """The hash to sign a certificate with, as strong as the key; None where the key's kind fixes it."""
    match key:
        case ec.EllipticCurvePrivateKey():
            return _SIGNATURE_HASHES.get(key.curve.key_size, hashes.SHA256)()
        case rsa.RSAPrivateKey():
            return hashes.SHA256()
        case _:
            return None


def pkcs8_pem(key: PrivateKey, password: bytes | None = None) -> bytes:
    """PKCS#8 in PEM: plain, or encrypted (PBES2, AES-256, as OpenSSL 3 does) when a password is given."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def pkcs8_der(key: PrivateKey) -> bytes:
    """PKCS#8 in DER, plain: what a Java key store encrypts."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def traditional_pem(key: PrivateKey) -> bytes:
    """`EC PRIVATE KEY` or `RSA PRIVATE KEY`, plain; kinds without such a form are written as PKCS#8."""
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    return pkcs8_pem(key)


def public_key_der(key: PrivateKey) -> bytes:
    """SubjectPublicKeyInfo of the key, to compare with a certificate's."""
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def read_private_key(data: bytes, password: bytes | None) -> PrivateKey:
    """A key from PEM (the first private key in the text) or DER; raises KeyUnusable.

    `password` is used only when the key is encrypted, as ThingsBoard does.
    """
    text_blocks = pem.scan(data.decode("latin-1")).blocks
    for block in text_blocks:
        kind = content_kinds.label_kind(block.label)
        if kind is content_kinds.SSH_PRIVATE_KEY:
            raise KeyUnusable(
                "The key is in OpenSSH's own form, which TLS does not use.",
                "Convert it: ssh-keygen -p -m PKCS8 -f FILE.",
            )
        if kind in (content_kinds.PRIVATE_KEY, content_kinds.ENCRYPTED_PRIVATE_KEY):
            return _opened(block.armoured, password, serialization.load_pem_private_key)
    if content_kinds.content_kind(data) in (content_kinds.PRIVATE_KEY, content_kinds.ENCRYPTED_PRIVATE_KEY):
        return _opened(data, password, serialization.load_der_private_key)
    raise KeyUnusable("There is no private key in it.", "Name the file that holds the private key.")


def _opened(data: bytes, password: bytes | None, load: Callable[[bytes, bytes | None], object]) -> PrivateKey:
    try:
        key = _loaded(data, password, load)
    except UnsupportedAlgorithm:
        raise KeyUnusable(
            "The private key is of an unknown kind, or encrypted in a way that is not supported.",
            "Convert it: openssl pkcs8 -topk8 -in FILE -out key.pem.",
        ) from None
    except ValueError:
        if _is_encrypted(data):
            raise KeyUnusable("The password does not open the private key.", LOCKED_MEND) from None
        raise KeyUnusable("The private key is damaged.", "Copy it again, or make new keys.") from None
    if not isinstance(key, PrivateKey):
        raise KeyUnusable(
            f"A key of the kind {type(key).__name__.lstrip('_').removesuffix('PrivateKey')} "
            "cannot be used for TLS here.",
            "Use an EC, RSA, Ed25519 or Ed448 key.",
        )
    return key


def _loaded(data: bytes, password: bytes | None, load: Callable[[bytes, bytes | None], object]) -> object:
    if not _is_encrypted(data):
        return load(data, None)
    if not password:
        raise KeyUnusable("The private key is encrypted and no password was given.", LOCKED_MEND)
    return load(data, password)


def _is_encrypted(data: bytes) -> bool:
    if data.startswith(b"-----BEGIN"):
        return b"BEGIN ENCRYPTED PRIVATE KEY" in data or b"Proc-Type: 4,ENCRYPTED" in data
    return content_kinds.content_kind(data) is content_kinds.ENCRYPTED_PRIVATE_KEY
