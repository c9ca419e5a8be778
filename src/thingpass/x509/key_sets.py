"""The files of ThingsBoard's two key generation scripts, made from a keygen.properties.

Better than the scripts in what the device API reference lists (8.5): a real JKS whose key and store have
passwords of their own, RSA that works, no private key readable by others, and nothing written before
everything is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from thingpass.x509 import jks, pkcs12, private_keys
from thingpass.x509.certificate import Certificate
from thingpass.x509.key_files import PUBLIC, KeyFile
from thingpass.x509.keygen_properties import KeygenProperties, KeySettings, Subject
from thingpass.x509.keystore_entries import Entry, KeyEntry, TrustedEntry
from thingpass.x509.self_signed import (
    DEFAULT_DAYS,
    SelfSigned,
    make_client_pair,
    make_server_pair,
)


@dataclass(frozen=True, slots=True)
class KeySet:
    """A certificate and all files that hold it or its key, not yet written."""

    certificate: Certificate
    files: tuple[KeyFile, ...]


def server_file_names(prefix: str) -> tuple[str, ...]:
    """The names that a server's set takes, so that what exists is seen before a key is made."""
    return tuple(prefix + ending for ending in (".jks", ".p12", ".pem", ".pk8.pem", ".pub.pem", ".cer"))


def client_file_names(prefix: str) -> tuple[str, ...]:
    """The names that a client's set takes."""
    return tuple(
        prefix + ending for ending in (".jks", ".p12", ".pem", ".pk8.pem", ".nopass.pem", ".pub.pem")
    )


def make_server_set(
    properties: KeygenProperties,
    settings: KeySettings,
    *,
    host_name: str,
    now: datetime,
    days: int = DEFAULT_DAYS,
) -> KeySet:
    """A server's key set; its certificate answers to the file's names, `host_name` and the loopback ones."""
    names = (properties.subject.common_name, host_name, *properties.subject_alternative_names)
    made = make_server_pair(properties.subject, names, settings.key_kind, now=now, days=days)
    entry = KeyEntry(settings.alias, made.private_key, (made.certificate,))
    files = (
        _java_store([entry], settings, now, f"Java key store: the key under {settings.alias}"),
        *_shared_files(entry, settings, made),
        KeyFile(
            f"{settings.file_prefix}.pub.pem",
            made.certificate.pem.encode(),
            "certificate; clients trust the server by it (ca_certs)",
            PUBLIC,
        ),
        KeyFile(f"{settings.file_prefix}.cer", made.certificate.der, "the same certificate, binary", PUBLIC),
    )
    return KeySet(made.certificate, files)


def make_client_set(
    subject: Subject,
    settings: KeySettings,
    *,
    server_alias: str,
    server_certificates: Sequence[Certificate],
    now: datetime,
    days: int = DEFAULT_DAYS,
) -> KeySet:
    """A device's key set; its Java store also trusts the server's certificates, from `server_alias` on."""
    made = make_client_pair(subject, settings.key_kind, now=now, days=days)
    entry = KeyEntry(settings.alias, made.private_key, (made.certificate,))
    trusted = [
        TrustedEntry(server_alias if number == 1 else f"{server_alias}-{number}", certificate)
        for number, certificate in enumerate(server_certificates, 1)
    ]
    purpose = f"Java key store: the key under {settings.alias}, the server under {server_alias}"
    files = (
        _java_store([entry, *trusted], settings, now, purpose),
        *_shared_files(entry, settings, made),
        KeyFile(
            f"{settings.file_prefix}.nopass.pem",
            private_keys.traditional_pem(made.private_key) + made.certificate.pem.encode(),
            "key without a password, then certificate; for Python and other clients (certfile)",
        ),
        KeyFile(
            f"{settings.file_prefix}.pub.pem",
            made.certificate.pem.encode(),
            "certificate; this text becomes the device's credentials",
            PUBLIC,
        ),
    )
    return KeySet(made.certificate, files)


def _java_store(entries: Sequence[Entry], settings: KeySettings, now: datetime, purpose: str) -> KeyFile:
    content = jks.write(
        entries,
        store_password=settings.keystore_password,
        key_password=settings.key_password,
        created_at=now,
    )
    return KeyFile(f"{settings.file_prefix}.jks", content, purpose)


def _shared_files(entry: KeyEntry, settings: KeySettings, made: SelfSigned) -> tuple[KeyFile, ...]:
    """The three files that both sides have, all locked by the key's password but the plain one."""
    password = settings.key_password.encode()
    prefix = settings.file_prefix
    return (
        KeyFile(f"{prefix}.p12", pkcs12.write(entry, password), "PKCS#12 store, opened by the key password"),
        KeyFile(
            f"{prefix}.pem",
            private_keys.pkcs8_pem(made.private_key, password) + made.certificate.pem.encode(),
            "encrypted key, then certificate",
        ),
        KeyFile(
            f"{prefix}.pk8.pem",
            private_keys.pkcs8_pem(made.private_key),
            "key without a password (PKCS#8)",
        ),
    )
