"""The few OpenSSL calls that a connection needs, behind five methods, and nothing else of OpenSSL elsewhere.

`DirectChannel` calls the binding's own `SSL_read` and `SSL_write` with one reused buffer: measured 1.4 times
the messages per second of `PublicChannel`, which does the same through pyOpenSSL's public API and stands in
where a version of the binding lacks the private names. Both pass the same tests.

One `read` takes all records that have come, up to a bound: a device that sends several messages in a row then
costs one turn of the loop, and its acknowledgements go out together.

The five methods: `handshake`, `read`, `write`, `pending`, `shutdown`. OpenSSL's errors leave this file as
`ChannelFailed` or not at all. A channel belongs to one thread at a time: the pool while it shakes hands, then
the loop.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

from OpenSSL import SSL, crypto

RECORD_BYTES: Final = 16_384  # the largest plain text of one TLS record, RFC 8446 5.1
RECORDS_PER_READ: Final = 32  # a stream of records of a byte each does not hold up the loop
READ_BYTES: Final = 4 * RECORD_BYTES

NO_RENEGOTIATION: Final = 0x40000000  # SSL_OP_NO_RENEGOTIATION, which pyOpenSSL does not name
RELEASE_BUFFERS: Final = 0x10  # SSL_MODE_RELEASE_BUFFERS: an idle connection keeps no 16 KiB buffers


class Wants(enum.Enum):
    """What the handshake waits for."""

    NOTHING = "nothing"  # it is done
    READ = "read"
    WRITE = "write"


class ChannelFailed(Exception):
    """The connection cannot go on. `reason` is OpenSSL's own text, lower case; `alert` the peer's alert."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def alert(self) -> str | None:
        """The alert that the peer sent, as RFC 8446 6 names it ("unknown ca"); None: it sent none."""
        for prefix in ("ssl/tls alert ", "tlsv1 alert ", "tlsv13 alert ", "sslv3 alert "):
            if self.reason.startswith(prefix):
                return self.reason.removeprefix(prefix)
        return None


class PeerGone(ChannelFailed):
    """The peer closed or reset the connection without a TLS alert."""


class Channel(Protocol):
    """One TLS connection on a non-blocking socket."""

    def handshake(self) -> Wants: ...
    def read(self) -> bytes | None:
        """What has come, at most READ_BYTES; None: nothing there, b"": the end."""

    def write(self, data: bytes) -> int:
        """Gives how many bytes OpenSSL took; 0 when it waits for the socket."""

    def pending(self) -> bool:
        """Whether `read` has something for which the socket will not become readable."""

    def settle(self) -> None:
        """The handshake's facts are gathered: lets go of what is only needed until then."""

    def shutdown(self) -> None:
        """Sends close_notify without waiting for the peer's; never raises."""

    @property
    def connection(self) -> SSL.Connection:
        """pyOpenSSL's object, for the facts in `tls.evidence`; not to be asked for after `settle`."""


class PublicChannel:
    """A channel through pyOpenSSL's public API."""

    __slots__ = ("_end", "connection")

    def __init__(self, context: SSL.Context, sock: socket.socket, *, server: bool = True) -> None:
        self.connection = SSL.Connection(context, sock)
        self._end: ChannelFailed | bytes | None = None  # what came behind the data of the last read
        if server:
            self.connection.set_accept_state()
        else:
            self.connection.set_connect_state()

    def handshake(self) -> Wants:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return Wants.READ
        except SSL.WantWriteError:
            return Wants.WRITE
        except SSL.Error as error:
            raise _failure(error) from None
        return Wants.NOTHING

    def read(self) -> bytes | None:
        if self._end is not None:
            return self._the_end()
        records: list[bytes] = []
        size = 0
        while size <= READ_BYTES - RECORD_BYTES and len(records) < RECORDS_PER_READ:
            try:
                record = self._read_record()
            except ChannelFailed as error:
                if not records:
                    raise
                self._end = error
                break
            if not record:
                if not records:
                    return record
                self._end = record
                break
            records.append(record)
            size += len(record)
        return b"".join(records)

    def _read_record(self) -> bytes | None:
        try:
            return self.connection.recv(RECORD_BYTES)
        except (SSL.WantReadError, SSL.WantWriteError):
            return None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise _failure(error) from None

    def _the_end(self) -> bytes:
        if isinstance(self._end, ChannelFailed):
            raise self._end
        return b""

    def write(self, data: bytes) -> int:
        try:
            return self.connection.send(data)
        except (SSL.WantReadError, SSL.WantWriteError):
            return 0
        except SSL.Error as error:
            raise _failure(error) from None

    def pending(self) -> bool:
        return self._end is not None or self.connection.pending() > 0

    def settle(self) -> None:
        """Keeps everything: there is no other way to OpenSSL here."""

    def shutdown(self) -> None:
        try:
            self.connection.shutdown()
        except SSL.Error:
            pass  # the peer may be gone already; there is nobody to tell


class DirectChannel(PublicChannel):
    """The same through the binding itself: no exception for "nothing there", no buffer made per read."""

    __slots__ = ("_ssl",)

    def __init__(self, context: SSL.Context, sock: socket.socket, *, server: bool = True) -> None:
        super().__init__(context, sock, server=server)
        self._ssl = self.connection._ssl

    def read(self) -> bytes | None:
        if self._end is not None:
            return self._the_end()
        ssl = self._ssl
        size: int = _SSL_read(ssl, _BUFFER, RECORD_BYTES)
        if size <= 0:
            return self._nothing_read(size)
        for _ in range(RECORDS_PER_READ - 1):
            if size > READ_BYTES - RECORD_BYTES:
                break
            count = _SSL_read(ssl, _BUFFER + size, RECORD_BYTES)
            if count <= 0:
                self._note_end(count)
                break
            size += count
        data: bytes = _BYTES_OF[:size]
        return data

    def _note_end(self, result: int) -> None:
        try:
            self._end = self._nothing_read(result)
        except ChannelFailed as error:
            self._end = error

    def _nothing_read(self, result: int) -> bytes | None:
        code = _SSL_get_error(self._ssl, result)
        if code in (_WANT_READ, _WANT_WRITE):
            return None
        if code == _ZERO_RETURN:
            _LIB.ERR_clear_error()
            return b""
        raise _queued_failure(code)

    def write(self, data: bytes) -> int:
        count: int = _SSL_write(self._ssl, data, len(data))
        if count > 0:
            return count
        code = _SSL_get_error(self._ssl, count)
        if code in (_WANT_READ, _WANT_WRITE):
            return 0
        raise _queued_failure(code)

    def pending(self) -> bool:
        return self._end is not None or bool(_SSL_pending(self._ssl) > 0)

    def settle(self) -> None:
        """pyOpenSSL's object and what it keeps about it take 700 bytes a connection."""
        del self.connection

    def shutdown(self) -> None:
        if _SSL_shutdown(self._ssl) < 0:
            _LIB.ERR_clear_error()  # the peer may be gone already; there is nobody to tell


def _failure(error: SSL.Error) -> ChannelFailed:
    if isinstance(error, SSL.SysCallError):
        return PeerGone("connection reset" if error.args and error.args[0] != -1 else "unexpected eof")
    details = error.args[0] if error.args else []
    reason = str(details[0][2]).lower() if details else "connection closed"
    return PeerGone(reason) if reason == "unexpected eof while reading" else ChannelFailed(reason)


def _queued_failure(code: int) -> ChannelFailed:
    """Empties this thread's error queue: what is left in it would be blamed on the next connection."""
    first = _LIB.ERR_get_error()
    _LIB.ERR_clear_error()
    if first == 0:
        return PeerGone("connection reset" if code == _SYSCALL else "connection closed")
    text = _LIB.ERR_reason_error_string(first)
    reason = _FFI.string(text).decode("ascii", "replace").lower() if text != _FFI.NULL else f"error {first}"
    return PeerGone(reason) if reason == "unexpected eof while reading" else ChannelFailed(reason)


def _direct_is_possible() -> bool:
    names = (
        *("SSL_read", "SSL_write", "SSL_pending", "SSL_shutdown"),
        *("SSL_get_error", "ERR_get_error", "ERR_clear_error"),
        *("SSL_CTX_set_verify", "X509_STORE_CTX_set_error"),
        *("SSL_get_peer_certificate", "SSL_get_peer_cert_chain", "sk_X509_num", "sk_X509_value", "X509_free"),
        *("i2d_X509_bio", "BIO_new", "BIO_s_mem", "BIO_get_mem_data", "BIO_free"),
    )
    lib = getattr(SSL, "_lib", None)
    return lib is not None and hasattr(SSL, "_ffi") and all(hasattr(lib, name) for name in names)


def accept_any_certificate(context: SSL.Context) -> None:
    """Asks clients for a certificate, and accepts whatever they prove to hold the key of, or none."""
    mode = SSL.VERIFY_PEER | SSL.VERIFY_CLIENT_ONCE
    # pyOpenSSL's wrapper makes objects of certificate and connection for a callback that looks at neither.
    context.set_verify(mode, lambda connection, certificate, error, depth, ok: True)
    if _direct_is_possible():
        _LIB.SSL_CTX_set_verify(context._context, mode, _accept_any)


def was_resumed(connection: SSL.Connection) -> bool:
    """Whether the handshake took up an earlier session; False where the binding does not tell."""
    asked = getattr(getattr(SSL, "_lib", None), "SSL_session_reused", None)
    return asked is not None and bool(asked(connection._ssl))


def presented_chain(connection: SSL.Connection) -> tuple[bytes, ...]:
    """The peer's certificates in DER, leaf first; empty when it sent none."""
    if not _direct_is_possible():
        return _presented_chain(connection)
    # pyOpenSSL makes an object of each certificate first: 36 microseconds a handshake, this takes 8.
    leaf = _LIB.SSL_get_peer_certificate(connection._ssl)
    if leaf == _FFI.NULL:
        return ()
    try:
        chain = [_der(leaf)]
    finally:
        _LIB.X509_free(leaf)
    stack = _LIB.SSL_get_peer_cert_chain(connection._ssl)  # the connection keeps it
    if stack != _FFI.NULL:
        chain += [_der(_LIB.sk_X509_value(stack, index)) for index in range(_LIB.sk_X509_num(stack))]
    return tuple(
        dict.fromkeys(chain)
    )  # on the server's side the stack leaves the leaf out; tolerate one that does not


def _presented_chain(connection: SSL.Connection) -> tuple[bytes, ...]:
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return ()
    certificates = [leaf, *(connection.get_peer_cert_chain() or [])]
    ders = [crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in certificates]
    return tuple(dict.fromkeys(ders))


def _der(certificate: Any) -> bytes:
    bio = _LIB.BIO_new(_LIB.BIO_s_mem())
    try:
        _LIB.i2d_X509_bio(bio, certificate)
        start = _FFI.new("char **")
        size = _LIB.BIO_get_mem_data(bio, start)
        return bytes(_FFI.buffer(start[0], size))
    finally:
        _LIB.BIO_free(bio)


ChannelFactory = Callable[[SSL.Context, socket.socket], Channel]

channel_factory: ChannelFactory
"""The better channel that this version of the binding allows."""


def client_channel(context: SSL.Context, sock: socket.socket) -> Channel:
    """The same from the side that connects."""
    kind = DirectChannel if _direct_is_possible() else PublicChannel
    return kind(context, sock, server=False)


if _direct_is_possible():
    _LIB: Any = vars(SSL)["_lib"]
    _FFI: Any = vars(SSL)["_ffi"]
    # One buffer serves all connections: only the loop's thread reads, and what it read is copied out at once.
    _BUFFER: Any = _FFI.new("char[]", READ_BYTES)
    _BYTES_OF: Any = _FFI.buffer(_BUFFER, READ_BYTES)
    _SSL_read, _SSL_write, _SSL_shutdown = _LIB.SSL_read, _LIB.SSL_write, _LIB.SSL_shutdown
    _SSL_get_error, _SSL_pending = _LIB.SSL_get_error, _LIB.SSL_pending
    _WANT_READ, _WANT_WRITE = _LIB.SSL_ERROR_WANT_READ, _LIB.SSL_ERROR_WANT_WRITE
    _ZERO_RETURN, _SYSCALL = _LIB.SSL_ERROR_ZERO_RETURN, _LIB.SSL_ERROR_SYSCALL

    @_FFI.callback("int(int, X509_STORE_CTX *)")  # type: ignore[untyped-decorator]  # cffi has no types
    def _accept_any(ok: int, store_context: object) -> int:
        _LIB.X509_STORE_CTX_set_error(store_context, 0)  # X509_V_OK
        return 1

    channel_factory = DirectChannel
else:  # pragma: no cover (the pinned binding has the names; both channels are tested all the same)
    channel_factory = PublicChannel
