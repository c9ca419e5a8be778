"""The hashes by which a certificate is known; the only place that hashes certificates.

ThingsBoard's identity of a certificate (device API reference, 1.3): SHA3-256 over the one-line base64 text
of the DER, in lowercase hexadecimal. It is not the SHA3-256 of the DER, and not the usual SHA-256
fingerprint.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64


def credentials_value(der: bytes) -> str:
    """ThingsBoard's `credentialsValue` of a certificate: its DER as base64 on one line, without armour."""
    return b2a_base64(der, newline=False).decode("ascii")


def credentials_id(der: bytes) -> str:
    """ThingsBoard's `credentialsId` of a certificate: 64 lowercase hexadecimal digits."""
    return hashlib.sha3_256(b2a_base64(der, newline=False)).hexdigest()


def fingerprint_sha256(der: bytes) -> str:
    """The usual fingerprint: SHA-256 of the DER, 64 lowercase hexadecimal digits without colons."""
    return hashlib.sha256(der).hexdigest()
