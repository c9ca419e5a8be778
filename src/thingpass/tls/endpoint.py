"""One connection that owns its socket: what it reads, what it still has to send, and its end.

The same class serves TLS and plain TCP; only the channel differs, so that what stands above it cannot tell
them apart. There is no asyncio transport in between: OpenSSL reads the descriptor itself, and whoever owns
the endpoint registers `fileno()` with the loop.
"""

from __future__ import annotations

import socket
from typing import Protocol

from thingpass.tls.binding import PeerGone


class ByteChannel(Protocol):
    """What an endpoint needs of a channel; more in `tls.binding`."""

    def read(self) -> bytes | None:
        """The bytes that have come, up to some bound; None: nothing now; b"": the peer has ended."""

    def write(self, data: bytes) -> int: ...
    def pending(self) -> bool:
        """Whether `read` has something although the socket does not become readable."""

    def shutdown(self) -> None: ...


class PlainChannel:
    """The channel of a connection without TLS."""

    __slots__ = ("_sock",)

    READ_BYTES = 65_536  # four TLS records' worth: fewer calls where there is no record to wait for

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self) -> bytes | None:
        try:
            return self._sock.recv(self.READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise PeerGone(error.strerror or "connection lost") from None

    def write(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise PeerGone(error.strerror or "connection lost") from None

    def pending(self) -> bool:
        return False

    def shutdown(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer may be gone already


class Endpoint:
    """A connected socket with its channel. Every method may raise `ChannelFailed`, but for `close`."""

    __slots__ = ("_sock", "_unsent", "channel")

    def __init__(self, sock: socket.socket, channel: ByteChannel) -> None:
        """`channel` is there to be read from directly: a call less per message."""
        self._sock = sock
        self.channel = channel
        self._unsent = b""

    def fileno(self) -> int:
        return self._sock.fileno()

    def write(self, data: bytes) -> bool:
        """Sends, keeps what the socket does not take; True when nothing is left, else wait for writable."""
        if self._unsent:
            self._unsent += data
            return False
        taken = self.channel.write(data)
        if taken == len(data):
            return True
        self._unsent = data[taken:]
        return False

    def flush(self) -> bool:
        """Sends what was left; True when nothing is left."""
        while self._unsent:
            taken = self.channel.write(self._unsent)
            if taken == 0:
                return False
            self._unsent = self._unsent[taken:]
        return True

    @property
    def unsent_bytes(self) -> int:
        return len(self._unsent)

    def finish(self) -> None:
        """Says goodbye and closes our half; what the peer still sends is read by `discard`. Never raises."""
        self.channel.shutdown()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer may be gone already

    def discard(self) -> bool:
        """Reads and drops what the peer still sends, undecrypted; False when it has ended. Never raises."""
        try:
            return bool(self._sock.recv(65_536))
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Says goodbye where the channel has one, and closes the socket. Never raises; twice does no harm."""
        if self._sock.fileno() < 0:
            return
        self.channel.shutdown()
        self._sock.close()
