"""A device's connection: TCP, TLS where it is asked for, then bytes both ways. MQTT and HTTP both use it.

The socket is OpenSSL's, as on the server's side (`tls.endpoint`), and
handshakes run in the same kind of pool.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Final, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL

from thingpass.simulation.target import ServerTrust, SocketAddress
from thingpass.tls.binding import Channel, ChannelFailed, PeerGone, Wants, client_channel
from thingpass.tls.endpoint import Endpoint, PlainChannel
from thingpass.tls.handshake_pool import HandshakePool

READS_PER_TURN: Final = 16


class LinkOwner(Protocol):
    """Whose connection it is. One of `lost` and the owner's own `close` ends it."""

    def link_opened(self) -> None: ...
    def link_received(self, data: bytes) -> None: ...
    def link_lost(self, reason: str) -> None:
        """Whether it was open or not; nothing comes after it."""


class LinkServices(msgspec.Struct, frozen=True):
    """What all links of a fleet share. `trust` is None without TLS."""

    loop: asyncio.AbstractEventLoop
    pool: HandshakePool
    family: int
    address: SocketAddress
    trust: ServerTrust | None


class Link:
    """One connection. Call `dial` once, `close` at any time; the owner hears nothing after `close`."""

    __slots__ = (
        "_channel",
        "_endpoint",
        "_failure",
        "_fd",
        "_in_pool",
        "_key_pem",
        "_owner",
        "_services",
        "_sock",
        "_wants",
        "is_closed",
    )

    def __init__(self, services: LinkServices, owner: LinkOwner, key_pem: bytes | None) -> None:
        """`key_pem`: the private key and behind it the certificate that the device proves itself with."""
        self._services = services
        self._owner = owner
        self._key_pem = key_pem
        self._sock: socket.socket | None = None
        self._fd = -1
        self._channel: Channel | None = None
        self._endpoint: Endpoint | None = None
        self._wants = Wants.NOTHING
        self._failure: str | None = None
        self._in_pool = False
        self.is_closed = False

    def dial(self) -> None:
        try:
            sock = socket.socket(self._services.family, socket.SOCK_STREAM)
        except OSError as error:
            self._lose(f"no socket: {error.strerror}")
            return
        self._sock, self._fd = sock, sock.fileno()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(self._services.address)
        if code in (0, errno.EINPROGRESS):
            self._services.loop.add_writer(self._fd, self._connected)
        else:
            self._lose(_tcp_words(code))

    def write(self, data: bytes) -> None:
        if self._endpoint is None:
            return
        try:
            if not self._endpoint.write(data):
                self._services.loop.add_writer(self._fd, self._writable)
        except ChannelFailed as error:
            self._lose(f"connection lost: {error.reason}")

    def close(self) -> None:
        """The owner's end: what was written is on its way, nothing more is said."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._in_pool:
            return  # the socket is the thread's until its step is done
        self._release()

    # --- opening ---

    def _connected(self) -> None:
        assert self._sock is not None
        self._services.loop.remove_writer(self._fd)
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._lose(_tcp_words(code))
        elif self._services.trust is None:
            self._open(Endpoint(self._sock, PlainChannel(self._sock)))
        else:
            self._submit()

    def _submit(self) -> None:
        self._in_pool = True
        self._services.pool.submit(self)

    def run(self) -> None:
        """One flight, in a thread of the pool."""
        try:
            channel = self._channel
            if channel is None:
                channel = self._channel = self._make_channel()
            self._wants = channel.handshake()
            if self._wants is Wants.NOTHING:
                assert self._services.trust is not None
                fault = self._services.trust.name_fault(channel.connection)
                self._failure = None if fault is None else f"TLS: {fault}"
        except PeerGone as error:
            self._failure = f"TLS: the server ended the handshake ({error.reason})"
        except ChannelFailed as error:
            self._failure = f"TLS: {error.reason}"
        except (SSL.Error, ValueError, TypeError) as error:
            self._failure = f"TLS: the device's key cannot be used ({type(error).__name__})"

    def finished(self) -> None:
        self._in_pool = False
        if self.is_closed:
            self._release()
        elif self._failure is not None:
            self._lose(self._failure)
        elif self._wants is Wants.READ:
            self._services.loop.add_reader(self._fd, self._flight_arrived)
        elif self._wants is Wants.WRITE:
            self._services.loop.add_writer(self._fd, self._flight_may_go)
        else:
            assert self._sock is not None and self._channel is not None
            self._open(Endpoint(self._sock, self._channel))

    def _flight_arrived(self) -> None:
        self._services.loop.remove_reader(self._fd)
        self._submit()

    def _flight_may_go(self) -> None:
        self._services.loop.remove_writer(self._fd)
        self._submit()

    def _make_channel(self) -> Channel:
        trust = self._services.trust
        assert trust is not None and self._sock is not None

        channel = client_channel(trust.context, self._sock)
        connection = channel.connection
        if not trust.host.replace(".", "").isdigit() and ":" not in trust.host:
            connection.set_tlsext_host_name(trust.host.encode("idna"))  # RFC 6066 3: names, not addresses
        if self._key_pem is not None:
            key = load_pem_private_key(self._key_pem, password=None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            connection.use_certificate(load_pem_x509_certificate(self._key_pem))
            connection.use_privatekey(key)
        return channel

    def _open(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._key_pem = None
        self._services.loop.add_reader(self._fd, self._readable)
        self._owner.link_opened()
        if not self.is_closed and endpoint.channel.pending():
            self._readable()

    # --- open ---

    def _readable(self) -> None:
        endpoint = self._endpoint
        if endpoint is None or self.is_closed:
            return
        try:
            for _ in range(READS_PER_TURN):
                data = endpoint.channel.read()
                if data is None:
                    return
                if not data:
                    self._lose("the server closed the connection")
                    return
                self._owner.link_received(data)
                if self.is_closed or not endpoint.channel.pending():
                    return
            self._services.loop.call_soon(self._readable)
        except PeerGone as error:
            self._lose(f"connection lost: {error.reason}")
        except ChannelFailed as error:
            self._lose(f"TLS: {error.reason}")

    def _writable(self) -> None:
        endpoint = self._endpoint
        if endpoint is None or self.is_closed:
            return
        try:
            if endpoint.flush():
                self._services.loop.remove_writer(self._fd)
        except ChannelFailed as error:
            self._lose(f"connection lost: {error.reason}")

    def _lose(self, reason: str) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._release()
            self._owner.link_lost(reason)

    def _release(self) -> None:
        if self._sock is None:
            return
        self._services.loop.remove_reader(self._fd)
        self._services.loop.remove_writer(self._fd)
        if self._endpoint is not None:
            self._endpoint.close()
        self._sock.close()


def _tcp_words(code: int) -> str:
    if code == errno.ECONNREFUSED:
        return "nobody listens there (connection refused)"
    return f"cannot connect: {os.strerror(code).lower()}"
