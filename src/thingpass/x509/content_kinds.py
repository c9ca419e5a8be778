"""Which kind of thing some bytes or a PEM label are: by content, never by a file's name.

One row per kind says what it is called, and what somebody who wanted a certificate should do with it. DER
is told apart by its outermost tags; nothing here decodes a key.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from thingpass.x509 import der


class Kind(NamedTuple):
    """A kind of content: its name for programs and for a person, and the way from it to a certificate."""

    code: str
    phrase: str
    mend: str
    is_secret: bool = False


_KEY_MEND = (
    "Give only the certificate, from BEGIN CERTIFICATE to END CERTIFICATE (the file whose name ends in "
    ".pub.pem); if the key was shown to anybody, make new keys for the device"
)
_TEXT_MEND = (
    "Give the text that begins with -----BEGIN CERTIFICATE-----; the PEM form of a file comes from "
    "openssl x509 -in FILE -outform PEM"
)

CERTIFICATE = Kind("certificate", "a certificate", "Nothing is wrong with it")
PRIVATE_KEY = Kind("private-key", "a private key", _KEY_MEND, is_secret=True)
ENCRYPTED_PRIVATE_KEY = Kind("encrypted-private-key", "an encrypted private key", _KEY_MEND, is_secret=True)
SSH_PRIVATE_KEY = Kind("ssh-private-key", "an SSH private key", _KEY_MEND, is_secret=True)
SSH_PUBLIC_KEY = Kind(
    "ssh-public-key",
    "an SSH public key",
    "Give an X.509 certificate; SSH keys cannot be used for TLS (thingpass keygen client makes one)",
)
PUBLIC_KEY = Kind(
    "public-key",
    "a bare public key",
    "Give the certificate that holds this key; a key alone names nobody and never ends",
)
SIGNING_REQUEST = Kind(
    "signing-request",
    "a certificate signing request (CSR)",
    "Have an authority sign it, and give the certificate that comes back",
)
REVOCATION_LIST = Kind(
    "revocation-list",
    "a certificate revocation list (CRL)",
    "Give the device's certificate; the list only names withdrawn ones",
)
PKCS7 = Kind(
    "pkcs7",
    "a PKCS#7 bundle (.p7b)",
    "Take the certificates out of it: openssl pkcs7 -print_certs -in FILE (with -inform DER if it is binary)",
)
PKCS12 = Kind(
    "pkcs12",
    "a PKCS#12 key store (.p12, .pfx)",
    "Take the certificate out of it: openssl pkcs12 -in FILE -nokeys -clcerts -out cert.pem",
    is_secret=True,
)
JKS = Kind(
    "jks",
    "a Java key store (.jks)",
    "Take the certificate out of it: keytool -exportcert -rfc -keystore FILE -alias ALIAS -file cert.pem",
    is_secret=True,
)
JCEKS = Kind(
    "jceks",
    "a Java key store of the JCEKS type",
    "Convert it first: keytool -importkeystore -srcstoretype JCEKS -srckeystore FILE -destkeystore new.p12 "
    "-deststoretype PKCS12",
    is_secret=True,
)
DER_CERTIFICATE = Kind(
    "der-file",
    "a certificate in binary form (DER), not in text form (PEM)",
    "Convert it: openssl x509 -inform DER -in FILE -out cert.pem",
)
ATTRIBUTE_CERTIFICATE = Kind("attribute-certificate", "an attribute certificate", _TEXT_MEND)
PARAMETERS = Kind(
    "parameters", "a set of key parameters", "Give the certificate; parameters alone hold no key"
)
PGP = Kind("pgp", "a PGP block", "Give an X.509 certificate; PGP keys cannot be used for TLS")
TRUNCATED = Kind("truncated", "cut off at its end", "Copy the whole text again")
UNKNOWN = Kind("unknown", "nothing known", _TEXT_MEND)

KINDS = (
    CERTIFICATE, PRIVATE_KEY, ENCRYPTED_PRIVATE_KEY, SSH_PRIVATE_KEY, SSH_PUBLIC_KEY, PUBLIC_KEY,
    SIGNING_REQUEST, REVOCATION_LIST, PKCS7, PKCS12, JKS, JCEKS, DER_CERTIFICATE, ATTRIBUTE_CERTIFICATE,
    PARAMETERS, PGP, TRUNCATED, UNKNOWN,
)  # fmt: skip

CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})

_LABELS = {
    "PRIVATE KEY": PRIVATE_KEY,
    "RSA PRIVATE KEY": PRIVATE_KEY,
    "EC PRIVATE KEY": PRIVATE_KEY,
    "DSA PRIVATE KEY": PRIVATE_KEY,
    "ENCRYPTED PRIVATE KEY": ENCRYPTED_PRIVATE_KEY,
    "OPENSSH PRIVATE KEY": SSH_PRIVATE_KEY,
    "PUBLIC KEY": PUBLIC_KEY,
    "RSA PUBLIC KEY": PUBLIC_KEY,
    "CERTIFICATE REQUEST": SIGNING_REQUEST,
    "NEW CERTIFICATE REQUEST": SIGNING_REQUEST,
    "X509 CRL": REVOCATION_LIST,
    "CRL": REVOCATION_LIST,
    "PKCS7": PKCS7,
    "PKCS #7 SIGNED DATA": PKCS7,
    "CMS": PKCS7,
    "PKCS12": PKCS12,
    "ATTRIBUTE CERTIFICATE": ATTRIBUTE_CERTIFICATE,
    "EC PARAMETERS": PARAMETERS,
    "DH PARAMETERS": PARAMETERS,
    "X9.42 DH PARAMETERS": PARAMETERS,
    "DSA PARAMETERS": PARAMETERS,
    "SSH2 PUBLIC KEY": SSH_PUBLIC_KEY,
}

# First bytes of binary stores: sun.security.provider.JavaKeyStore, com.sun.crypto.provider.JceKeyStore.
_MAGICS = {b"\xfe\xed\xfe\xed": JKS, b"\xce\xce\xce\xce": JCEKS}

# DER by (tags in the outer sequence, tags in its first element); the first row that fits wins.
_SHAPES = (
    # RFC 5280 4.1: to-be-signed, algorithm, signature. Version [0] stands first in v3, is left out in v1.
    (rb"\x30\x30\x03", rb"\xa0\x02\x30.*|\x02\x30\x30\x30\x30\x30", CERTIFICATE),
    (rb"\x30\x30\x03", rb"\x02\x30\x30\xa0?", SIGNING_REQUEST),  # RFC 2986 4.1
    (rb"\x30\x30\x03", rb"\x02?\x30\x30[\x17\x18].*", REVOCATION_LIST),  # RFC 5280 5.1
    (rb"\x30\x30\x03", rb"\x02\x30[\xa0\x30]\x30.*", ATTRIBUTE_CERTIFICATE),  # RFC 5755 4.1
    (rb"\x30\x03", rb"\x06.?", PUBLIC_KEY),  # SubjectPublicKeyInfo
    (rb"\x30\x04", rb"\x06.?", ENCRYPTED_PRIVATE_KEY),  # RFC 5958 3
    (rb"\x02\x30\x04.*", rb"", PRIVATE_KEY),  # PKCS#8, RFC 5958 2
    (rb"\x02\x04.*", rb"", PRIVATE_KEY),  # RFC 5915 3
    (rb"\x02{6,}\x30?", rb"", PRIVATE_KEY),  # PKCS#1 (RSA), and the old DSA form
    (rb"\x02\x02", rb"", PUBLIC_KEY),  # PKCS#1 RSAPublicKey
    (rb"\x02\x30\x30?", rb"", PKCS12),  # RFC 7292 4
    (rb"\x06\xa0", rb"", PKCS7),
)
_COMPILED_SHAPES = tuple(
    (re.compile(outer, re.DOTALL), re.compile(inner, re.DOTALL), kind) for outer, inner, kind in _SHAPES
)


def shown_label(label: str) -> str:
    """A PEM label as a sentence may show it: one that nobody defined may hold a piece of a key."""
    return label if label in CERTIFICATE_LABELS or label in _LABELS else "..."


def label_kind(label: str) -> Kind:
    """The kind that a PEM label announces."""
    if label in CERTIFICATE_LABELS:
        return CERTIFICATE
    if label.startswith("PGP "):
        return PGP
    if label in _LABELS:
        return _LABELS[label]
    return PRIVATE_KEY if label.endswith("PRIVATE KEY") else UNKNOWN


def content_kind(data: bytes) -> Kind:
    """The kind of binary content; UNKNOWN for text and for anything else."""
    magic = _MAGICS.get(data[:4])
    if magic is not None:
        return magic
    try:
        whole = der.read_element(data, 0, len(data))
    except der.Malformed as malformed:
        cut_off = malformed.missing > 0 and len(data) > 16 and data[:2] in (b"\x30\x82", b"\x30\x81")
        return TRUNCATED if cut_off else UNKNOWN
    if whole.tag != der.SEQUENCE:
        return UNKNOWN
    outer = der.child_tags(data, whole)
    inner = _first_child_tags(data, whole) if outer[:1] == b"\x30" else b""
    for outer_shape, inner_shape, kind in _COMPILED_SHAPES:
        if outer_shape.fullmatch(outer) and inner_shape.fullmatch(inner):
            return kind
    return UNKNOWN


def _first_child_tags(data: bytes, whole: der.Element) -> bytes:
    return der.child_tags(data, der.read_element(data, whole.content_start, whole.end))
