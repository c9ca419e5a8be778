"""What a connection proved about its peer before it said a word of MQTT or HTTP."""

from __future__ import annotations

import sys

import msgspec
from OpenSSL import SSL

from thingpass.tls.binding import presented_chain, was_resumed


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about one connection, gathered by the listener; nothing here is a judgement.

    `chain_der` is the peer's certificate chain as presented, leaf first; empty when it sent none. TLS proved
    that the peer holds the leaf's key, and nothing else. A resumed session carries the leaf alone.
    """

    listener: str  # "mqtts", "mqtt", "wss", "https", "http"
    peer_address: str
    peer_port: int
    chain_der: tuple[bytes, ...] = ()
    tls_version: str | None = None  # "TLSv1.3"; None: no TLS on this listener
    cipher: str | None = None
    key_exchange_group: str | None = None
    server_name: str | None = None
    resumed: bool = False


def without_chain(evidence: Evidence) -> Evidence:
    """The same without the certificates, for whoever keeps it while a connection lives."""
    return msgspec.structs.replace(evidence, chain_der=())


def gather_evidence(
    connection: SSL.Connection, *, listener: str, peer_address: str, peer_port: int
) -> Evidence:
    """The facts of a finished handshake."""
    server_name = connection.get_servername()
    return Evidence(
        listener=listener,
        peer_address=peer_address,
        peer_port=peer_port,
        chain_der=presented_chain(connection),
        tls_version=_interned(connection.get_protocol_version_name()),
        cipher=_interned(connection.get_cipher_name()),
        key_exchange_group=_interned(connection.get_group_name()),
        server_name=server_name.decode("ascii", "replace") if server_name else None,
        resumed=was_resumed(connection),
    )


def _interned(name: str | None) -> str | None:
    """A handful of names over all connections: kept once, not once for each."""
    return None if name is None else sys.intern(name)
