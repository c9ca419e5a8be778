"""A server's certificate and key from whatever files hold them: PEM, DER, PKCS#12, JKS, by content.

ThingsBoard falls back silently to another file, skips encrypted PKCS#8, and checks neither that the key
belongs to the certificate nor the order of the chain (device API reference, 9.2). Here nothing is tried in
secret: what was named is read, and what is wrong with it is said in one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from thingpass.x509 import content_kinds, jks, pem, pkcs12, private_keys
from thingpass.x509.certificate import Certificate
from thingpass.x509.chains import chain_from
from thingpass.x509.content_kinds import CERTIFICATE, CERTIFICATE_LABELS, JCEKS, JKS, PKCS12, Kind
from thingpass.x509.errors import (
    LOCKED_MEND,
    IdentityUnusable,
    KeyStoreUnusable,
    KeyUnusable,
    NotACertificate,
    Unreadable,
    X509Error,
)
from thingpass.x509.keystore_entries import KeyEntry
from thingpass.x509.pasted import read_certificates
from thingpass.x509.private_keys import PrivateKey

_LARGEST_FILE = jks.LARGEST_STORE


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """A private key that fits the first certificate of its chain. `private_key_pem` is plain PKCS#8."""

    private_key_pem: bytes = field(repr=False)
    chain: tuple[Certificate, ...]

    @property
    def chain_pem(self) -> str:
        """The chain as PEM text, leaf first."""
        return "".join(certificate.pem for certificate in self.chain)

    def warnings(self, at: datetime) -> tuple[str, ...]:
        """What clients may stumble over at that moment, one sentence each; none of it stops the server."""
        leaf = self.chain[0]
        found = []
        if at > leaf.not_after:
            found.append(f"The server's certificate ended on {leaf.not_after:%Y-%m-%d}: clients refuse it.")
        elif at < leaf.not_before:
            found.append(f"The server's certificate begins on {leaf.not_before:%Y-%m-%d}: clients refuse it.")
        elif (leaf.not_after - at).days < 30:
            found.append(f"The server's certificate ends on {leaf.not_after:%Y-%m-%d}.")
        if not leaf.alternative_names:
            found.append(
                "The server's certificate has no subjectAltName: clients that check the host name refuse it."
            )
        return tuple(found)


def load_identity(
    certificate_path: Path,
    key_path: Path | None = None,
    password: bytes | None = None,
    alias: str | None = None,
) -> ServerIdentity:
    """The identity in one file or two, for a server; raises an X509Error whose sentence names the file.

    `password` opens an encrypted key or a store; for a JKS it is the key's password, which suffices where the
    store's differs. `alias` picks the entry of a store (the only one, where None). The chain is put in order.
    """
    try:
        return _identity(certificate_path, key_path, password, alias)
    except X509Error as error:
        if isinstance(error, IdentityUnusable):
            raise
        raise IdentityUnusable(f"{certificate_path}: {error.sentence}", error.mend) from None


def read_certificate_file(path: Path) -> tuple[Certificate, ...]:
    """The certificates of a PEM or DER file (`.cer`), leaf first; raises IdentityUnusable."""
    data = _content(path)
    try:
        return _certificates(data)
    except NotACertificate as error:
        raise IdentityUnusable(f"{path}: {error.sentence}", error.mend) from None


def _identity(
    certificate_path: Path, key_path: Path | None, password: bytes | None, alias: str | None
) -> ServerIdentity:
    data = _content(certificate_path)
    kind = content_kinds.content_kind(data)
    if kind in (JKS, JCEKS, PKCS12) and key_path is None:
        entry = _entry_of_store(data, kind, password, alias)
        return _matched(entry.private_key, entry.chain, str(certificate_path), str(certificate_path))
    certificates = _certificates_beside_keys(data)
    if key_path is not None:
        key = _key_of_file(key_path, password, alias)
        return _matched(key, certificates, str(certificate_path), str(key_path))
    if not _holds_key(data):
        raise IdentityUnusable(
            f"{certificate_path} holds a certificate but no private key, and no key file is named.",
            "Name the file with its private key as well.",
        )
    key = private_keys.read_private_key(data, password)
    return _matched(key, certificates, str(certificate_path), str(certificate_path))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise IdentityUnusable(f"{path}: there is no such file.", "Check the path.") from None
    except PermissionError:
        raise IdentityUnusable(
            f"{path}: the file may not be read by this user.",
            f"Make the user that runs the server its owner (chown), mode 0600: {path}.",
        ) from None
    except IsADirectoryError:
        raise IdentityUnusable(f"{path} is a directory.", "Name the file in it.") from None
    except OSError as error:
        raise IdentityUnusable(f"{path} cannot be read: {error.strerror}.", "Check the path.") from None
    if not data:
        raise IdentityUnusable(f"{path} is empty.", "Copy or make it again.")
    if len(data) > _LARGEST_FILE:
        raise IdentityUnusable(
            f"{path} is larger than {_LARGEST_FILE // 2**20} MiB.", "Name the file of the certificate."
        )
    return data


def _certificates(data: bytes) -> tuple[Certificate, ...]:
    if content_kinds.content_kind(data) is CERTIFICATE:
        try:
            return (Certificate.from_der(data),)
        except Unreadable as error:
            raise NotACertificate(error.sentence, "Copy or make it again.", found="damaged") from None
    return read_certificates(data)


def _certificates_beside_keys(data: bytes) -> tuple[Certificate, ...]:
    """All certificates of a file in which a private key may stand too, in the order of the file."""
    if content_kinds.content_kind(data) is not content_kinds.UNKNOWN:
        return _certificates(data)
    blocks = pem.scan(data.decode("latin-1")).blocks
    found = [block for block in blocks if block.label in CERTIFICATE_LABELS]
    if not found:
        return _certificates(data)
    return tuple(one for block in found for one in read_certificates(block.armoured))


def _holds_key(data: bytes) -> bool:
    blocks = pem.scan(data.decode("latin-1")).blocks
    return any(content_kinds.label_kind(block.label).is_secret for block in blocks)


def _key_of_file(path: Path, password: bytes | None, alias: str | None) -> PrivateKey:
    data = _content(path)
    kind = content_kinds.content_kind(data)
    try:
        if kind in (JKS, JCEKS, PKCS12):
            return _entry_of_store(data, kind, password, alias).private_key
        return private_keys.read_private_key(data, password)
    except (KeyUnusable, KeyStoreUnusable) as error:
        raise IdentityUnusable(f"{path}: {error.sentence}", error.mend) from None


def _entry_of_store(data: bytes, kind: Kind, password: bytes | None, alias: str | None) -> KeyEntry:
    if kind is JCEKS:
        raise KeyStoreUnusable(f"This is {JCEKS.phrase}.", f"{JCEKS.mend}.")
    if kind is JKS:
        return _entry_of_jks(data, password, alias)
    entry = pkcs12.read(data, password)
    if alias is not None and entry.alias.lower() != alias.lower():
        raise _alias_unknown(alias, [entry.alias])
    return entry


def _entry_of_jks(data: bytes, password: bytes | None, alias: str | None) -> KeyEntry:
    if not password:
        raise KeyStoreUnusable("The Java key store needs a password.", LOCKED_MEND)
    text = password.decode("utf-8", "surrogateescape")
    store = jks.read(data, text)
    locked = [entry for entry in store.entries if isinstance(entry, jks.LockedKey)]
    if alias is not None:
        named = [entry for entry in locked if entry.alias.lower() == alias.lower()]
        if not named:
            raise _alias_unknown(alias, [entry.alias for entry in locked])
        locked = named
    # ThingsBoard takes the first key that opens with the password, where no alias is named (9.1).
    failure = KeyStoreUnusable(
        "The Java key store holds no private key, only trusted certificates.", "Name the right store."
    )
    for entry in locked:
        try:
            return entry.unlock(text)
        except KeyStoreUnusable as error:
            failure = error
    if locked and store.is_intact:
        raise KeyStoreUnusable(
            "The password opens the Java key store, but not the private key in it, which has its own.",
            "Give the key's password (SERVER_KEY_PASSWORD in keygen.properties).",
        )
    raise failure


def _alias_unknown(alias: str, present: Sequence[str]) -> KeyStoreUnusable:
    there = ", ".join(name or "(without a name)" for name in present[:5]) or "none"
    return KeyStoreUnusable(
        f"The key store has no private key under the alias {alias!r}; its aliases are: {there}.",
        "Name one of these.",
    )


def _matched(
    key: PrivateKey, certificates: Sequence[Certificate], certificate_file: str, key_file: str
) -> ServerIdentity:
    public_key = private_keys.public_key_der(key)
    leaf = next((one for one in certificates if one.public_key_der == public_key), None)
    if leaf is None:
        raise IdentityUnusable(
            f"The private key in {key_file} does not belong to the certificate in {certificate_file} "
            f"({certificates[0].subject}).",
            "Name the key that was made with this certificate.",
        )
    return ServerIdentity(private_keys.pkcs8_pem(key), chain_from(leaf, certificates))
