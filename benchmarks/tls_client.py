"""TLS 1.3 for the load source: OpenSSL called directly, one connection costing as little as Python allows.

OpenSSL works on memory BIOs here (the servers' way, on the socket itself, needs two reads a record): one
recv and one send then carry any number of records. Measured against Mosquitto with 500 connections: 17 us
of the load source a message, against 21 us on the descriptor; the rest comes from bursts (load_publish).
The server's certificate is not checked: that is the client's work, and no server's figure depends on it.
"""

from __future__ import annotations

import select
import socket
from pathlib import Path
from typing import Any

from cryptography.hazmat.bindings.openssl.binding import Binding

from benchmarks.mqtt_packets import CONNACK_ACCEPTED, DISCONNECT, connect_packet

_lib = Binding.lib
_ffi = Binding.ffi

_SCRATCH_BYTES = 65_536
_TLS13 = 0x0304
_RECORD_OVERHEAD_BYTES = 22  # header 5, content type 1, tag 16 (RFC 8446 5.2); nobody here pads
_SEND_STALLED_S = 10.0


class ConnectionFailed(Exception):
    """The server closed or refused the connection; the text says at which step."""


class Identity:
    """A device: its name, and its certificate and key as OpenSSL holds them (never freed: a run is short)."""

    __slots__ = ("certificate", "connect_packet", "key")

    def __init__(self, name: str, bio: Any) -> None:
        null = _ffi.NULL
        self.key = _lib.PEM_read_bio_PrivateKey(bio, null, null, null)
        self.certificate = _lib.PEM_read_bio_X509(bio, null, null, null)
        if self.key == null or self.certificate == null:
            raise ConnectionFailed(f"no key and certificate of {name} in the file")
        self.connect_packet = connect_packet(name)


def read_identities(devices_pem: Path, names: list[str], first: int) -> list[Identity]:
    """The key and certificate of the devices from number `first` on, one for each name."""
    marker = b"-----BEGIN PRIVATE KEY-----"
    parts = devices_pem.read_bytes().split(marker)[1 + first : 1 + first + len(names)]
    data = b"".join(marker + part for part in parts)
    bio = _lib.BIO_new_mem_buf(data, len(data))
    try:
        return [Identity(name, bio) for name in names]
    finally:
        _lib.BIO_free(bio)


class TlsContext:
    """What all connections of a load process share: the settings and one scratch buffer."""

    def __init__(self, *, release_buffers: bool = False) -> None:
        self.handle = _lib.SSL_CTX_new(_lib.TLS_method())
        _lib.SSL_CTX_set_min_proto_version(self.handle, _TLS13)
        # One group for both servers, the one that most clients and both servers agree on by themselves
        # (OpenSSL 4 would rather have X25519MLKEM768, which Mosquitto's OpenSSL 3.0 does not know).
        if _lib.SSL_CTX_set1_curves_list(self.handle, b"X25519") != 1:
            raise ConnectionFailed("this OpenSSL has no X25519")
        _lib.SSL_CTX_set_session_cache_mode(self.handle, _lib.SSL_SESS_CACHE_OFF)
        if release_buffers:
            _lib.SSL_CTX_set_mode(self.handle, _lib.SSL_MODE_RELEASE_BUFFERS)
        self.scratch = _ffi.new("char[]", _SCRATCH_BYTES)
        self.scratch_view = memoryview(_ffi.buffer(self.scratch)).cast("B")


class Connection:
    """One device's connection, from connect() to CONNACK and beyond, on a non-blocking socket."""

    __slots__ = (
        "_connect_packet",
        "_handshaken",
        "_incoming",
        "_outgoing",
        "_scratch",
        "_ssl",
        "_view",
        "fileno",
        "is_open",
        "socket",
    )

    def __init__(
        self, context: TlsContext, identity: Identity, address: tuple[str, int], source: str
    ) -> None:
        self._scratch = context.scratch
        self._view = context.scratch_view
        self._connect_packet = identity.connect_packet
        self._handshaken = self.is_open = False
        self._ssl = _lib.SSL_new(context.handle)
        _lib.SSL_use_certificate(self._ssl, identity.certificate)
        _lib.SSL_use_PrivateKey(self._ssl, identity.key)
        self._incoming = _lib.BIO_new(_lib.BIO_s_mem())
        self._outgoing = _lib.BIO_new(_lib.BIO_s_mem())
        _lib.SSL_set_bio(self._ssl, self._incoming, self._outgoing)  # the SSL owns both from here
        _lib.SSL_set_connect_state(self._ssl)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.fileno = self.socket.fileno()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The port is chosen at connect(), so that every source address has all of them.
        self.socket.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        self.socket.bind((source, 0))
        self.socket.connect_ex(address)

    def start(self) -> None:
        """Sends the first flight."""
        self._shake_hands()

    def advance(self) -> bool:
        """Takes what came while opening; True once CONNACK is there. Raises ConnectionFailed."""
        self._take("closed by the server while opening" if self._handshaken else "closed in the handshake")
        if not self._handshaken and not self._shake_hands():
            return False
        size = _lib.SSL_read(self._ssl, self._scratch, _SCRATCH_BYTES)
        if size <= 0:
            self._check_alive(size)
            return False
        answer = bytes(self._view[:size])
        if answer != CONNACK_ACCEPTED:
            raise ConnectionFailed(f"CONNECT refused, the answer was {answer[:8].hex()}")
        self.is_open = True
        return True

    def write(self, packet: Any, size: int) -> None:
        """Encrypts one packet as one record; `flush` sends what has gathered."""
        if _lib.SSL_write(self._ssl, packet, size) != size:
            raise ConnectionFailed(f"SSL_write failed: {_openssl_error()}")

    def flush(self) -> None:
        size = _lib.BIO_read(self._outgoing, self._scratch, _SCRATCH_BYTES)
        if size <= 0:
            return
        try:
            sent = self.socket.send(self._view[:size])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ConnectionFailed(f"send failed: {error.strerror}") from error
        if sent != size:
            self._send_rest(bytes(self._view[sent:size]))

    def receive(self) -> int:
        """Takes what came on the open connection; gives the number of application bytes (0 for a ticket)."""
        left = self._take("closed by the server")
        total = 0
        read, ssl, scratch = _lib.SSL_read, self._ssl, self._scratch
        while left > 0:
            size = read(ssl, scratch, _SCRATCH_BYTES)
            if size <= 0:
                self._check_alive(size)
                break
            total += size
            # Knowing that nothing is left spares the read that would only say so, 0.7 us.
            left -= size + _RECORD_OVERHEAD_BYTES
        return total

    def send(self, data: bytes) -> None:
        """One record, at once."""
        self.write(data, len(data))
        self.flush()

    def receive_data(self) -> bytes:
        """As `receive`, for who has to read what came."""
        left = self._take("closed by the server")
        received = bytearray()
        while left > 0:
            size = _lib.SSL_read(self._ssl, self._scratch, _SCRATCH_BYTES)
            if size <= 0:
                self._check_alive(size)
                break
            received += self._view[:size]
            left -= size + _RECORD_OVERHEAD_BYTES
        return bytes(received)

    def close(self, *, politely: bool = True) -> None:
        if politely and self.is_open:
            self.write(DISCONNECT, len(DISCONNECT))
            self.flush()
        self.socket.close()
        _lib.SSL_free(self._ssl)

    def _shake_hands(self) -> bool:
        result = _lib.SSL_do_handshake(self._ssl)
        if result == 1:
            self._handshaken = True
            self.write(self._connect_packet, len(self._connect_packet))
        else:
            self._check_alive(result)
        self.flush()
        return self._handshaken

    def _take(self, closed: str) -> int:
        try:
            size = self.socket.recv_into(self._view)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionFailed(f"{closed}: {error.strerror}") from error
        if size == 0:
            raise ConnectionFailed(closed)
        _lib.BIO_write(self._incoming, self._scratch, size)
        return size

    def _check_alive(self, result: int) -> None:
        if _lib.SSL_get_error(self._ssl, result) != _lib.SSL_ERROR_WANT_READ:
            raise ConnectionFailed(f"TLS failed: {_openssl_error()}")

    def _send_rest(self, rest: bytes) -> None:
        poll = select.poll()
        poll.register(self.fileno, select.POLLOUT)
        while rest:
            if not poll.poll(_SEND_STALLED_S * 1000):
                raise ConnectionFailed(f"the server read nothing for {_SEND_STALLED_S:.0f} s")
            try:
                rest = rest[self.socket.send(rest) :]
            except OSError as error:
                raise ConnectionFailed(f"send failed: {error.strerror}") from error


def packet_buffer(template: bytes) -> tuple[Any, memoryview]:
    """A packet in memory that OpenSSL reads from, and a view to patch it through."""
    buffer = _ffi.new("unsigned char[]", template)
    return buffer, memoryview(_ffi.buffer(buffer, len(template))).cast("B")


def openssl_version() -> str:
    return str(_ffi.string(_lib.OpenSSL_version(0)).decode())


def _openssl_error() -> str:
    code = _lib.ERR_get_error()
    _lib.ERR_clear_error()
    reason = _lib.ERR_reason_error_string(code)
    return "closed" if reason == _ffi.NULL else _ffi.string(reason).decode()
