"""An `asyncio.Transport` over an endpoint, so that a protocol class of asyncio runs on our own TLS unchanged.

It keeps what asyncio's transports promise (buffered writes, flow control both ways, `close` sends what waits)
and adds what they lack: a peer that takes nothing for `STALL_S` is cut, and behind the last byte our half is
closed and the rest of the peer's is read away, so that no reset overtakes the answer.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable
from typing import Final

import structlog

from thingpass.servers.deadlines import DeadlineWheel
from thingpass.tls.binding import ChannelFailed
from thingpass.tls.endpoint import Endpoint

log = structlog.get_logger(__name__)

READS_PER_TURN: Final = 16  # records read from one connection before the others get their turn
PIECE_BYTES: Final = 65_536  # what the endpoint holds at a time; the rest waits uncopied
HIGH_WATER_BYTES: Final = 65_536  # above it, `pause_writing`
LOW_WATER_BYTES: Final = 16_384  # below it again, `resume_writing`
STALL_S: Final = 60.0
LINGER_S: Final = 1.0


class EndpointTransport(asyncio.Transport):
    """`on_end` is called once, when the socket is closed."""

    wheel_slot = 0

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wheel: DeadlineWheel,
        endpoint: Endpoint,
        *,
        extra: dict[str, object],
        on_end: Callable[[EndpointTransport], None],
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._wheel = wheel
        self._endpoint = endpoint
        self._fd = endpoint.fileno()
        self._on_end = on_end
        self._protocol: asyncio.Protocol | None = None
        self._waiting: collections.deque[bytes] = collections.deque()
        self._waiting_bytes = 0
        self._taken_at = 0.0  # when the socket last took something of what waited
        self._reading = False
        self._writing_paused = False
        self._closing = False
        self._linger_until: float | None = None
        self._ended = False

    def start(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)
        self._wheel.watch(self)
        self.resume_reading()

    # Reading

    def _ready(self) -> None:
        if self._linger_until is not None:
            if not self._endpoint.discard():
                self._end()
            return
        try:
            self._read_some()
        except ChannelFailed as error:
            self._lose(ConnectionError(error.reason))
        except Exception:
            log.exception("connection.failed")
            self._lose(ConnectionError("internal error"))

    def _read_some(self) -> None:
        channel = self._endpoint.channel
        for _ in range(READS_PER_TURN):
            data = channel.read()
            if data is None:
                return
            assert self._protocol is not None
            if not data:
                if not self._protocol.eof_received():
                    self.close()
                return
            self._protocol.data_received(data)
            if not self._reading or self._closing or not channel.pending():
                return
        self._loop.call_soon(self._ready_again)

    def _ready_again(self) -> None:
        if self._reading and not self._closing:
            self._ready()

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        if self._reading and not self._closing:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if self._reading or self._closing:
            return
        self._reading = True
        self._loop.add_reader(self._fd, self._ready)
        if self._endpoint.channel.pending():  # for these bytes the socket will not become readable
            self._loop.call_soon(self._ready_again)

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        view = memoryview(data)
        self._waiting.extend(bytes(view[at : at + PIECE_BYTES]) for at in range(0, len(view), PIECE_BYTES))
        self._waiting_bytes += len(view)
        if self._endpoint.unsent_bytes == 0:
            self._taken_at = self._loop.time()
            self._send()
        else:
            self._tell_protocol()

    def _send(self) -> None:
        """Hands on what waits, until the socket takes no more."""
        try:
            while self._waiting:
                piece = self._waiting.popleft()
                self._waiting_bytes -= len(piece)
                if not self._endpoint.write(piece):
                    self._loop.add_writer(self._fd, self._writable)
                    break
        except ChannelFailed as error:
            self._lose(ConnectionError(error.reason))
            return
        self._tell_protocol()

    def _writable(self) -> None:
        self._taken_at = self._loop.time()
        try:
            if not self._endpoint.flush():
                return
        except ChannelFailed as error:
            self._lose(ConnectionError(error.reason))
            return
        self._loop.remove_writer(self._fd)
        self._send()
        if self._closing and not self._ended and self.get_write_buffer_size() == 0:
            self._finish()

    def _tell_protocol(self) -> None:
        size = self.get_write_buffer_size()
        assert self._protocol is not None
        if size > HIGH_WATER_BYTES and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()
        elif size <= LOW_WATER_BYTES and self._writing_paused:
            self._writing_paused = False
            self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self._waiting_bytes + self._endpoint.unsent_bytes

    def can_write_eof(self) -> bool:
        return False

    # Ending

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Sends what waits, then ends; nothing more is read."""
        if self._closing:
            return
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)
        self._closing = True
        if self.get_write_buffer_size() == 0:
            self._finish()

    def abort(self) -> None:
        self._lose(None)

    def _finish(self) -> None:
        self._loop.remove_writer(self._fd)
        self._linger_until = self._loop.time() + LINGER_S
        self._wheel.forget(self)
        self._wheel.watch(self)
        self._endpoint.finish()
        self._loop.add_reader(self._fd, self._ready)
        self._tell_lost(None)

    def _lose(self, error: Exception | None) -> None:
        self._closing = True
        self._reading = False
        self._waiting.clear()
        self._waiting_bytes = 0
        self._end()
        self._tell_lost(error)

    def _tell_lost(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            self._loop.call_soon(protocol.connection_lost, error)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._wheel.forget(self)
        self._endpoint.close()
        self._on_end(self)

    # The wheel asks

    def deadline(self) -> float | None:
        if self._ended:
            return None
        if self._linger_until is not None:
            return self._linger_until
        # Asked again after STALL_S at the latest, so nothing has to be moved when something begins to wait.
        return (self._taken_at if self.get_write_buffer_size() else self._loop.time()) + STALL_S

    def overdue(self, now: float) -> None:
        if self._linger_until is not None:
            self._end()
        else:
            self._lose(ConnectionError("peer takes nothing"))
