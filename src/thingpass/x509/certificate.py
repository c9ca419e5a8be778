"""A certificate as a value: parsed once when it is made, described when asked.

`Certificate.from_der` runs at every CONNECT, so it only parses; everything else is computed on demand and
nothing of it can fail, however odd the certificate: what cannot be read is said in its text.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning

from thingpass.x509 import der as der_walk
from thingpass.x509 import fingerprints
from thingpass.x509.distinguished_names import Name, common_name, name_text, read_name
from thingpass.x509.errors import Unreadable

# RFC 5280 4.1.2.2 wants a positive serial number, but many small devices were made with 0 and prove
# themselves no worse for it. The parser takes them and warns each time; nobody who reads the log could mend
# it.
warnings.filterwarnings("ignore", message="Parsed a serial number", category=CryptographyDeprecationWarning)

_LINE = 64  # characters of base64 on a line: RFC 7468 section 2


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """An X.509 certificate; equal to another when their DER is equal."""

    der: bytes
    _parsed: x509.Certificate = field(compare=False)

    @classmethod
    def from_der(cls, der: bytes) -> Certificate:
        """Parses one certificate (RFC 5280); raises Unreadable. About 3 microseconds."""
        try:
            return cls(der, x509.load_der_x509_certificate(der))
        except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
            raise Unreadable("These bytes are not the DER of an X.509 certificate.") from None

    def __repr__(self) -> str:
        return f"Certificate({self.subject!r}, sha256={self.fingerprint_sha256[:16]}...)"

    @property
    def pem(self) -> str:
        """RFC 7468 text: 64 characters on a line, newline at the end, nothing before the armour."""
        body = fingerprints.credentials_value(self.der)
        lines = (body[at : at + _LINE] for at in range(0, len(body), _LINE))
        return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))

    @property
    def subject(self) -> str:
        """The subject's name, RFC 4514, with everything escaped that does not print."""
        return _name_text(self._name(1))

    @property
    def issuer(self) -> str:
        """The issuer's name, RFC 4514, with everything escaped that does not print."""
        return _name_text(self._name(0))

    @property
    def common_name(self) -> str | None:
        """The subject's first common name as it stands there: not escaped, so not for a terminal or a log."""
        subject = self._name(1)
        return None if subject is None else common_name(subject)

    @property
    def serial_number(self) -> int:
        """The issuer's number for this certificate."""
        return self._parsed.serial_number

    @property
    def not_before(self) -> datetime:
        """First moment of validity (aware, UTC)."""
        return self._parsed.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """Last moment of validity (aware, UTC)."""
        return self._parsed.not_valid_after_utc

    @property
    def fingerprint_sha256(self) -> str:
        """SHA-256 of the DER, lowercase hexadecimal."""
        return fingerprints.fingerprint_sha256(self.der)

    @property
    def credentials_id(self) -> str:
        """ThingsBoard's `credentialsId` (device API reference, 1.3)."""
        return fingerprints.credentials_id(self.der)

    @property
    def is_ca(self) -> bool:
        """Whether basicConstraints says that it may issue others (RFC 5280 4.2.1.9)."""
        try:
            return self._parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
            return False

    @property
    def alternative_names(self) -> tuple[str, ...]:
        """DNS names and IP addresses of subjectAltName, in its order."""
        try:
            names = self._parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
            return ()
        return tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))

    @property
    def key_description(self) -> str:
        """The public key in two words, such as `EC secp256r1` or `RSA 2048`."""
        try:
            key = self._parsed.public_key()
        except (ValueError, UnsupportedAlgorithm):
            return f"unknown ({self._parsed.public_key_algorithm_oid.dotted_string})"
        match key:
            case ec.EllipticCurvePublicKey():
                return f"EC {key.curve.name}"
            case rsa.RSAPublicKey():
                return f"RSA {key.key_size}"
            case ed25519.Ed25519PublicKey():
                return "Ed25519"
            case ed448.Ed448PublicKey():
                return "Ed448"
            case _:
                return type(key).__name__.lstrip("_").removesuffix("PublicKey")

    @property
    def public_key_der(self) -> bytes | None:
        """SubjectPublicKeyInfo in its normal form, to compare keys; None for a key of an unknown kind."""
        try:
            return self._parsed.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        except (ValueError, UnsupportedAlgorithm):
            return None

    def is_issued_by(self, issuer: Certificate) -> bool:
        """Whether the names link and `issuer`'s key made this one's signature; nothing more."""
        try:
            self._parsed.verify_directly_issued_by(issuer._parsed)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True

    def _name(self, which: int) -> Name | None:
        """The issuer's name (0) or the subject's (1)."""
        try:
            return read_name(der_walk.issuer_and_subject(self.der)[which])
        except der_walk.Malformed:
            return None


def _name_text(name: Name | None) -> str:
    return "(unreadable name)" if name is None else name_text(name)
