"""What stands in a key store, whichever format it has."""

from __future__ import annotations

from dataclasses import dataclass, field

from thingpass.x509.certificate import Certificate
from thingpass.x509.private_keys import PrivateKey


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A private key with its certificate chain, leaf first, under an alias."""

    alias: str
    private_key: PrivateKey = field(repr=False)
    chain: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class TrustedEntry:
    """A certificate that the owner of the store trusts, under an alias."""

    alias: str
    certificate: Certificate


Entry = KeyEntry | TrustedEntry
