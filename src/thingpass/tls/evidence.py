"""What a connection proved about its peer before it said a word of MQTT or HTTP."""

from __future__ import annotations

import msgspec


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
