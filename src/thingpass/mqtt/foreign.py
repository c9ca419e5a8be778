"""Other protocols on an MQTT port, known by their first bytes, so that a refusal can name them.

A row per beginning. None of them is a valid CONNECT: its first byte is 0x10.
"""

from __future__ import annotations

import msgspec

from thingpass.mqtt.errors import ForeignProtocol


class ForeignRow(msgspec.Struct, frozen=True):
    """How a protocol begins."""

    beginning: bytes
    looks_like: str
    sentence: str


_TLS = "the first bytes are a TLS handshake, and this is not a TLS port"
_HTTP = "the first bytes are an HTTP request, and this is an MQTT port"

FOREIGN_PROTOCOLS: tuple[ForeignRow, ...] = (
    ForeignRow(b"\x16\x03", "tls", _TLS),  # RFC 8446 5.1: handshake record, legacy version 3.x
    *(
        ForeignRow(method + b" ", "http", _HTTP)  # RFC 9110 9.1, and PRI of RFC 9113 3.4
        for method in (
            b"GET",
            b"POST",
            b"PUT",
            b"HEAD",
            b"OPTIONS",
            b"DELETE",
            b"PATCH",
            b"TRACE",
            b"CONNECT",
            b"PRI",
        )
    ),
)
_LONGEST = max(len(row.beginning) for row in FOREIGN_PROTOCOLS)


def might_be_foreign(first_bytes: bytes) -> bool:
    """Whether more bytes are needed to tell.

    What is here begins one of the rows, but does not complete it.
    """
    return len(first_bytes) < _LONGEST and any(
        row.beginning.startswith(first_bytes) and row.beginning != first_bytes for row in FOREIGN_PROTOCOLS
    )


def foreign_fault(first_bytes: bytes) -> ForeignProtocol | None:
    """The protocol that the bytes plainly begin, or None."""
    for row in FOREIGN_PROTOCOLS:
        if first_bytes.startswith(row.beginning):
            return ForeignProtocol(row.sentence, looks_like=row.looks_like)
    return None
