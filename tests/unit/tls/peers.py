"""Both ends of a TLS connection in one process: our channel, the standard library's client in a thread."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from OpenSSL import SSL

from thingpass.tls.binding import Channel, Wants
from thingpass.tls.server_context import make_server_context
from thingpass.x509.keystores import ServerIdentity
from thingpass.x509.self_signed import make_server_certificate

PATIENCE_S = 10


def server_identity() -> ServerIdentity:
    return make_server_certificate(("localhost",), now=datetime.now(UTC))


def server_context(identity: ServerIdentity, minimum_version: str = "1.2") -> SSL.Context:
    return make_server_context(identity.private_key_pem, identity.chain, minimum_version=minimum_version)


def write_client_pair(folder: Path) -> Path:
    """A key and a self-signed certificate that nobody knows, in one file."""
    made = make_server_certificate(("client",), now=datetime.now(UTC))
    path = folder / "client.pem"
    path.write_bytes(made.private_key_pem + made.chain_pem.encode())
    return path


def client_context(
    identity: ServerIdentity | None, *, pair: Path | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """Trusts `identity`; None: trusts nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if identity is not None:
        context.load_verify_locations(cadata=identity.chain_pem)
    if pair is not None:
        context.load_cert_chain(pair)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


@dataclass
class Client:
    """The standard library's end. `error` is what its handshake raised."""

    sock: socket.socket
    tls: ssl.SSLSocket | None = None
    error: BaseException | None = None


@contextlib.contextmanager
def connected(
    factory: type,
    context: SSL.Context,
    client: ssl.SSLContext,
    session: ssl.SSLSession | None = None,
) -> Iterator[tuple[Channel, Client]]:
    """Our channel before its handshake, and the client whose handshake runs in a thread."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(PATIENCE_S)
    peer = Client(theirs)

    def shake() -> None:
        try:
            peer.tls = client.wrap_socket(theirs, server_hostname="localhost", session=session)
        except (OSError, ValueError) as error:
            peer.error = error

    thread = threading.Thread(target=shake)
    thread.start()
    try:
        yield factory(context, ours), peer
    finally:
        ours.close()
        thread.join(PATIENCE_S)
        theirs.close()
        if peer.tls is not None:
            peer.tls.close()


def finish_handshake(channel: Channel) -> None:
    """Runs our side to its end; raises what it raises."""
    sock = channel.connection.fileno()
    while (wants := channel.handshake()) is not Wants.NOTHING:
        ready = select.select(
            [sock] if wants is Wants.READ else [], [sock] if wants is Wants.WRITE else [], [], PATIENCE_S
        )
        assert any(ready), f"the peer kept us waiting for {wants}"


def wait_for_tls(peer: Client) -> ssl.SSLSocket:
    for _ in range(PATIENCE_S * 100):
        if peer.tls is not None:
            return peer.tls
        assert peer.error is None, peer.error
        threading.Event().wait(0.01)
    raise AssertionError("the client's handshake did not end")


def read_some(channel: Channel) -> bytes:
    """What comes next, waiting for it."""
    for _ in range(PATIENCE_S * 100):
        data = channel.read()
        if data is not None:
            return data
        select.select([channel.connection.fileno()], [], [], 0.01)
    raise AssertionError("nothing came")
