"""Where a fleet goes: the address, and what a TLS server must prove there."""

from __future__ import annotations

import socket
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from OpenSSL import SSL, crypto

from thingpass.errors import Invalid, Unavailable
from thingpass.tls.binding import RELEASE_BUFFERS
from thingpass.x509.certificate import Certificate
from thingpass.x509.pasted import read_certificates

DEFAULT_PORTS: Final = {"mqtts": 8883, "mqtt": 1883, "https": 443, "http": 80}

SocketAddress: TypeAlias = tuple[str, int]


class Target(msgspec.Struct, frozen=True):
    """One listener. `trust_pem` is what signs, or is, its certificate; None: what the machine trusts."""

    scheme: str
    host: str
    port: int
    trust_pem: str | None = None

    @property
    def is_tls(self) -> bool:
        return self.scheme in ("mqtts", "https")

    @property
    def is_http(self) -> bool:
        return self.scheme in ("http", "https")

    @property
    def text(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def read_target(text: str, trust_pem: str | None = None) -> Target:
    """`mqtts://host[:port]` and the like. Raises Invalid."""
    parts = urlsplit(text.strip())
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or port == 0 or parts.path.strip("/"):
        raise Invalid(
            f"{text!r} is not an address of devices.",
            mend="Write it as mqtts://host:8883, or with mqtt, https or http.",
        )
    return Target(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme], trust_pem)


def resolve(target: Target) -> tuple[int, SocketAddress]:
    """Family and address for `connect`; asks the resolver once for a whole fleet. Raises Unavailable."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"The name {target.host} is not known.", mend="Check the address.") from error
    # A host of both families is asked over IPv4: a server that listens on 0.0.0.0 hears nothing else.
    family, _, _, _, address = min(found, key=lambda row: row[0] != socket.AF_INET)
    return family, (str(address[0]), target.port)


class ServerTrust:
    """The TLS context of all devices, and the check that the server is the one that was asked for."""

    def __init__(self, target: Target) -> None:
        self.host = target.host
        self.context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self.context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self.context.set_mode(RELEASE_BUFFERS)  # ten thousand idle connections keep no 16 KiB buffers
        self.context.set_verify(SSL.VERIFY_PEER)
        self._accepted_der: bytes | None = None  # a fleet meets one certificate ten thousand times
        if target.trust_pem is None:
            self.context.set_default_verify_paths()
            return
        store = self.context.get_cert_store()
        assert store is not None
        # What was downloaded or given is the anchor, whether it signs itself or not.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for certificate in read_certificates(target.trust_pem.encode()):
            store.add_cert(crypto.X509.from_cryptography(load_der_x509_certificate(certificate.der)))

    def name_fault(self, connection: SSL.Connection) -> str | None:
        """What is wrong with the names of the certificate that the server has proven; None: nothing."""
        leaf = connection.get_peer_certificate(as_cryptography=True)
        if leaf is None:
            return "the server showed no certificate"
        der = leaf.public_bytes(Encoding.DER)
        if der == self._accepted_der:
            return None
        names = Certificate.from_der(der).alternative_names
        if not any(matches_host(name, self.host) for name in names):
            return f"the server's certificate is for {', '.join(names) or 'no name'}, not for {self.host}"
        self._accepted_der = der
        return None


def matches_host(name: str, host: str) -> bool:
    """RFC 6125 6.4.3: a star stands for one label, the leftmost."""
    name, host = name.lower(), host.lower()
    if name == host:
        return True
    first, dot, rest = name.partition(".")
    return first == "*" and bool(dot) and host.partition(".")[2] == rest
