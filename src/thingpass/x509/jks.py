"""Java key stores of the JKS type, read and written without Java.

The format has no standard; this follows `sun.security.provider.JavaKeyStore` and `KeyProtector` of OpenJDK,
which Java 8 to 21 read: magic, version, entries, and a SHA-1 over the password and everything before. Each
private key is protected by a password of its own, by SHA-1 and XOR. That is weak against whoever gets the
file and can guess, so files are written with mode 0600, and PKCS#12 is the better store wherever Java is
not older than 8u301.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from thingpass.x509 import der, private_keys
from thingpass.x509.certificate import Certificate
from thingpass.x509.errors import KeyStoreUnusable, KeyUnusable, Unreadable
from thingpass.x509.keystore_entries import Entry, KeyEntry, TrustedEntry

MAGIC = b"\xfe\xed\xfe\xed"
_KEY_TAG, _TRUSTED_TAG = 1, 2
_CERTIFICATE_TYPE = "X.509"
_WHITENER = b"Mighty Aphrodite"  # JavaKeyStore.getPreKeyedHash
_HASH_BYTES = 20
_SALT_BYTES = 20
# AlgorithmIdentifier 1.3.6.1.4.1.42.2.17.1.1 with NULL parameters: sun.security.provider.KeyProtector
_KEY_PROTECTOR = bytes.fromhex("300e060a2b060104012a021101010500")
# A store holds a handful of entries; these bounds only keep a forged count from costing memory.
LARGEST_STORE = 4 * 1024 * 1024
MOST_ENTRIES = 1000
MOST_CERTIFICATES = 100


@dataclass(frozen=True, slots=True)
class LockedKey:
    """A key entry as it lies in the file; `unlock` needs the key's own password."""

    alias: str
    protected: bytes = field(repr=False)
    chain: tuple[Certificate, ...]

    def unlock(self, password: str) -> KeyEntry:
        """The entry with its key; raises KeyStoreUnusable for another password or an unusable key."""
        key_der = _unprotected(self.protected, password)
        try:
            return KeyEntry(self.alias, private_keys.read_private_key(key_der, None), self.chain)
        except KeyUnusable as unusable:
            raise KeyStoreUnusable(unusable.sentence, unusable.mend) from None


@dataclass(frozen=True, slots=True)
class Store:
    """The entries of a store in their order; `is_intact` is None when no password was given to check with."""

    entries: tuple[LockedKey | TrustedEntry, ...]
    is_intact: bool | None


def read(data: bytes, store_password: str | None) -> Store:
    """The entries of a JKS store, keys still locked; raises KeyStoreUnusable when it is damaged.

    The store's password only proves that nobody changed the file; `is_intact` is False when it does not fit.
    """
    if len(data) > LARGEST_STORE:
        raise KeyStoreUnusable(
            f"The key store is larger than {LARGEST_STORE // 2**20} MiB.", "Name the right file."
        )
    body, digest = data[:-_HASH_BYTES], data[-_HASH_BYTES:]
    cursor = _Cursor(body)
    if cursor.take(4) != MAGIC or cursor.integer() not in (1, 2):
        raise KeyStoreUnusable("This is no Java key store of the JKS type.", "Name a .jks file.")
    version = struct.unpack_from(">I", body, 4)[0]
    count = cursor.count(MOST_ENTRIES)
    entries = tuple(_read_entry(cursor, version) for _ in range(count))
    if not cursor.is_at_end:
        raise _damaged()
    is_intact = None
    if store_password is not None:
        is_intact = hmac.compare_digest(_store_hash(body, store_password), digest)
    return Store(entries, is_intact)


def write(entries: Sequence[Entry], *, store_password: str, key_password: str, created_at: datetime) -> bytes:
    """A JKS store, version 2; every key entry is protected by `key_password`.

    Aliases are written in lower case, because Java's own JKS looks them up so; raises KeyStoreUnusable
    for two that are then equal.
    """
    aliases = [entry.alias.lower() for entry in entries]
    twice = next((alias for alias in aliases if aliases.count(alias) > 1), None)
    if twice is not None:
        raise KeyStoreUnusable(
            f"Two entries of the key store have the alias {twice!r} (Java takes no notice of case).",
            "Choose different aliases.",
        )
    created_ms = int(created_at.timestamp() * 1000)
    parts = [MAGIC, struct.pack(">II", 2, len(entries))]
    for alias, entry in zip(aliases, entries, strict=True):
        match entry:
            case KeyEntry():
                protected = _protected(private_keys.pkcs8_der(entry.private_key), key_password)
                parts += [
                    struct.pack(">I", _KEY_TAG), _utf(alias), struct.pack(">q", created_ms),
                    _sized(protected), struct.pack(">I", len(entry.chain)),
                    *(_certificate(certificate) for certificate in entry.chain),
                ]  # fmt: skip
            case TrustedEntry():
                parts += [
                    struct.pack(">I", _TRUSTED_TAG), _utf(alias), struct.pack(">q", created_ms),
                    _certificate(entry.certificate),
                ]  # fmt: skip
    body = b"".join(parts)
    return body + _store_hash(body, store_password)


def _damaged() -> KeyStoreUnusable:
    return KeyStoreUnusable("The Java key store is damaged.", "Copy or make it again.")


class _Cursor:
    """Reads java.io.DataInput's forms from bytes; every read is checked against what is left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if size < 0 or end > len(self._data):
            raise _damaged()
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def integer(self) -> int:
        return int.from_bytes(self.take(4), signed=True)

    def count(self, most: int) -> int:
        count = self.integer()
        if not 0 <= count <= most:
            raise _damaged()
        return count

    def sized(self) -> bytes:
        return self.take(self.integer())

    def utf(self) -> str:
        return _text(self.take(int.from_bytes(self.take(2))))


def _read_entry(cursor: _Cursor, version: int) -> LockedKey | TrustedEntry:
    tag = cursor.integer()
    alias = cursor.utf()
    cursor.take(8)  # when it was made: nothing here asks
    if tag == _TRUSTED_TAG:
        return TrustedEntry(alias, _read_certificate(cursor, version))
    if tag != _KEY_TAG:
        raise _damaged()
    protected = cursor.sized()
    count = cursor.count(MOST_CERTIFICATES)
    return LockedKey(alias, protected, tuple(_read_certificate(cursor, version) for _ in range(count)))


def _read_certificate(cursor: _Cursor, version: int) -> Certificate:
    if version == 2 and cursor.utf() != _CERTIFICATE_TYPE:  # version 1 knew X.509 only and did not say so
        raise _damaged()
    try:
        return Certificate.from_der(cursor.sized())
    except Unreadable:
        raise _damaged() from None


def _certificate(certificate: Certificate) -> bytes:
    return _utf(_CERTIFICATE_TYPE) + _sized(certificate.der)


def _sized(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _password_bytes(password: str) -> bytes:
    """Java's chars, two bytes each."""
    return password.encode("utf-16-be", "surrogatepass")


def _store_hash(body: bytes, password: str) -> bytes:
    return hashlib.sha1(_password_bytes(password) + _WHITENER + body, usedforsecurity=False).digest()


def _key_stream(salt: bytes, password: bytes, size: int) -> bytes:
    stream, digest = bytearray(), salt
    while len(stream) < size:
        digest = hashlib.sha1(password + digest, usedforsecurity=False).digest()
        stream += digest
    return bytes(stream[:size])


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))


def _protected(key_der: bytes, key_password: str) -> bytes:
    """EncryptedPrivateKeyInfo (RFC 5958 3) by Sun's key protector: salt, key XOR stream, SHA-1 of the key."""
    password, salt = _password_bytes(key_password), os.urandom(_SALT_BYTES)
    check = hashlib.sha1(password + key_der, usedforsecurity=False).digest()
    sealed = salt + _xor(key_der, _key_stream(salt, password, len(key_der))) + check
    return _der(der.SEQUENCE, _KEY_PROTECTOR + _der(der.OCTET_STRING, sealed))


def _unprotected(protected: bytes, key_password: str) -> bytes:
    sealed = _sealed(protected)
    salt, check = sealed[:_SALT_BYTES], sealed[-_HASH_BYTES:]
    password = _password_bytes(key_password)
    hidden = sealed[_SALT_BYTES:-_HASH_BYTES]
    key_der = _xor(hidden, _key_stream(salt, password, len(hidden)))
    seen = hashlib.sha1(password + key_der, usedforsecurity=False).digest()
    if not hmac.compare_digest(seen, check):
        raise KeyStoreUnusable(
            "The password does not open the private key in the Java key store.",
            "Give the key's password (SERVER_KEY_PASSWORD in keygen.properties), which may differ from "
            "the store's.",
        )
    return key_der


def _sealed(protected: bytes) -> bytes:
    """What stands in the octet string of an EncryptedPrivateKeyInfo of this protector."""
    try:
        outer = der.read_element(protected, 0, len(protected))
        algorithm, sealed = der.children(protected, outer)
    except (der.Malformed, ValueError):
        raise _damaged() from None
    if protected[algorithm.start : algorithm.end] != _KEY_PROTECTOR:
        raise KeyStoreUnusable(
            "The private key in the Java key store is protected in a way that is not known here.",
            "Convert the store: keytool -importkeystore -srckeystore FILE -destkeystore new.p12 "
            "-deststoretype PKCS12.",
        )
    content = protected[sealed.content_start : sealed.end]
    if len(content) <= _SALT_BYTES + _HASH_BYTES:
        raise _damaged()
    return content


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def _utf(text: str) -> bytes:
    """java.io.DataOutput.writeUTF: two bytes of length, modified UTF-8 (NUL in two bytes, pairs apart)."""
    units = text.encode("utf-16-be", "surrogatepass")
    encoded = b"".join(_modified(units[at] << 8 | units[at + 1]) for at in range(0, len(units), 2))
    if len(encoded) > 0xFFFF:
        raise KeyStoreUnusable("An alias is longer than 65535 bytes.", "Choose a short alias.")
    return struct.pack(">H", len(encoded)) + encoded


def _modified(unit: int) -> bytes:
    return b"\xc0\x80" if unit == 0 else chr(unit).encode("utf-8", "surrogatepass")


def _text(encoded: bytes) -> str:
    """Modified UTF-8 as text; surrogate pairs, which it writes apart, are joined."""
    try:
        apart = encoded.replace(b"\xc0\x80", b"\x00").decode("utf-8", "surrogatepass")
        return apart.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")
    except UnicodeDecodeError:
        raise _damaged() from None
