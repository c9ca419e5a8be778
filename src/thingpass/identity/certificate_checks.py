"""The faults that a client's certificate can have by itself, whoever's it is: the first in `CHECKS` wins.

Each check is a small pure function: certificate and time in, a finding or None out. ThingsBoard checks the
dates before it asks whose certificate it is (device API reference, 1.3), and so do we: an ended certificate
that nobody knows needs to be made anew before it is worth registering.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import msgspec

from thingpass.identity import refusals
from thingpass.identity.plain_words import duration_text, time_text
from thingpass.identity.refusals import Refusal
from thingpass.x509.certificate import Certificate
from thingpass.x509.errors import Unreadable

LARGEST_REMEMBERED = 4_096
"""Bytes of DER. Common leaves have 500 to 2,000; larger ones are read each time, to bound the memory."""


class Fault(msgspec.Struct, frozen=True):
    """What is wrong, as a row and the values for its texts."""

    refusal: Refusal
    seen: dict[str, str]


class Leaf(msgspec.Struct, frozen=True):
    """A client certificate with what every CONNECT needs of it; the rest is asked of `certificate`."""

    certificate: Certificate
    credentials_id: str
    fingerprint_sha256: str
    not_before_ms: int
    not_after_ms: int


def read_leaf(der: bytes) -> Leaf | Fault:
    """Reads a presented certificate; a fault when it cannot be read. Remembers the latest ones."""
    return _read_and_remember(der) if len(der) <= LARGEST_REMEMBERED else _read(der)


def validity_fault(leaf: Leaf, at_ms: int) -> Fault | None:
    """RFC 5280 4.1.2.5: both ends belong to the validity; the end is a whole second."""
    if leaf.not_before_ms <= at_ms < leaf.not_after_ms + 1_000:
        return None
    now = time_text(at_ms)
    if at_ms < leaf.not_before_ms:
        ahead = duration_text(leaf.not_before_ms - at_ms)
        begins = time_text(leaf.certificate.not_before)
        return Fault(refusals.CERTIFICATE_NOT_YET_VALID, {"not_before": begins, "ahead": ahead, "now": now})
    ago = duration_text(at_ms - leaf.not_after_ms)
    ended = time_text(leaf.certificate.not_after)
    return Fault(refusals.CERTIFICATE_EXPIRED, {"not_after": ended, "ago": ago, "now": now})


Check = Callable[[Leaf, int], Fault | None]

VALIDITY_CHECKS: tuple[Check, ...] = (validity_fault,)
"""What the setting identity.skip_certificate_validity leaves out."""


def first_fault(leaf: Leaf, at_ms: int, *, skip_certificate_validity: bool) -> Fault | None:
    """The first finding of the checks that apply."""
    for check in () if skip_certificate_validity else VALIDITY_CHECKS:
        fault = check(leaf, at_ms)
        if fault is not None:
            return fault
    return None


def _read(der: bytes) -> Leaf | Fault:
    try:
        certificate = Certificate.from_der(der)
        return Leaf(
            certificate,
            certificate.credentials_id,
            certificate.fingerprint_sha256,
            round(certificate.not_before.timestamp() * 1000),
            round(certificate.not_after.timestamp() * 1000),
        )
    except Unreadable as error:
        return Fault(refusals.CERTIFICATE_UNREADABLE, {"problem": error.sentence})


_read_and_remember = functools.lru_cache(maxsize=512)(_read)
"""Who shakes hands reads it, and the decision asks twice; in between others do. A certificate takes 2 kB."""
