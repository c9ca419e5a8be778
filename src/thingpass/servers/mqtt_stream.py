"""The session of one MQTT connection on its socket: reads, writes, pauses, keeps an order, ends.

The same class serves TLS, plain TCP and WebSocket. What the session reports, and who is told of the end, is
`mqtt_connection`'s, which derives from it: as two objects they would cost a call per message and memory per
connection.

Reading pauses, and so does the peer by TCP's own flow control, while something it caused is not done: the
decision on its CONNECT, its unstored messages, its unsent answers.
"""

from __future__ import annotations

import abc
from collections.abc import Coroutine
from typing import Any, Final

from thingpass.mqtt.events import Event
from thingpass.mqtt.session import Session
from thingpass.servers.connection_services import ConnectionServices
from thingpass.servers.farewell import Farewell
from thingpass.servers.ordered_work import OrderedWork
from thingpass.servers.paced_delivery import PacedDelivery
from thingpass.tls.binding import ChannelFailed
from thingpass.tls.endpoint import Endpoint

MOST_UNSENT_BYTES: Final = 1_048_576  # a peer that asks and does not read its answers is not read either
MOST_WORK_WAITING: Final = 100
# How long a refused client has for reading why, before we end the connection. Some (fusesource's for Java)
# see a goodbye that comes together with the refusal first, and report a lost connection instead.
REFUSAL_HEARD_S: Final = 0.1

# Why reading pauses; the reasons add up.
DECIDING: Final = 1
STORE_IS_BEHIND: Final = 2
UNACKNOWLEDGED: Final = 4
UNSENT: Final = 8
WORK_WAITS: Final = 16
STREAMING: Final = 32
RATE_LIMITED: Final = 64


class MqttStream(abc.ABC):
    __slots__ = (
        "__weakref__",
        "_closed",
        "_endpoint",
        "_farewell",
        "_fd",
        "_flushing",
        "_paced",
        "_paused",
        "_services",
        "_session",
        "_work",
        "wheel_slot",
    )

    def __init__(self, services: ConnectionServices, endpoint: Endpoint) -> None:
        self._services = services
        self._endpoint = endpoint
        self._fd = endpoint.fileno()
        self._session = Session(services.limits, services.loop.time())
        self._flushing = False
        self._paused = 0
        self._closed = False  # for the device: its goodbye may still be on the way
        self._farewell: Farewell | None = None
        self._work: OrderedWork | None = None
        self._paced: PacedDelivery | None = None  # once something large is sent
        self.wheel_slot = 0

    # What is said by who derives from it

    @abc.abstractmethod
    def _act_on(self, events: list[Event]) -> None:
        """What the peer did."""

    @abc.abstractmethod
    def _failed(self, error: Exception) -> None:
        """An exception that nobody expected; the connection is closed behind it."""

    @abc.abstractmethod
    def _work_failed(self, error: Exception) -> None:
        """Of `run_in_order`; the connection stays, unless it is ended here."""

    @abc.abstractmethod
    def _is_refused(self) -> bool:
        """Whether the goodbye comes together with a refusal."""

    @abc.abstractmethod
    def _leave(self) -> None:
        """The peer is no longer connected here; what is under way is still sent."""

    @abc.abstractmethod
    def _ended(self, why: str) -> None:
        """The socket is closed."""

    def start(self) -> None:
        self._services.readiness.add_reader(self._fd, self._ready)
        self._services.wheel.watch(self)
        if self._endpoint.channel.pending():  # bytes came with the WebSocket handshake
            self._services.loop.call_soon(self._ready_again)

    # Reading

    def _ready(self) -> None:
        try:
            self._read_some()
            if self._session.outgoing or self._session.closing:
                self.send()
        except ChannelFailed as error:
            self.close(error.reason)
        except Exception as error:  # the edge of a connection: the others go on
            self._failed(error)
            self.close("internal error")

    def _read_some(self) -> None:
        channel, services = self._endpoint.channel, self._services
        data = channel.read()
        if data is None:
            return
        if not data:
            self.close("peer closed the connection")
            return
        services.messages.counters.bytes_received += len(data)
        events = self._session.receive(data, services.loop.time())
        if events:
            self._act_on(events)
        if not self._paused and not self._closed and channel.pending():
            services.loop.call_soon(self._ready_again)

    def _ready_again(self) -> None:
        if not self._closed and not self._paused:
            self._ready()

    def _pause(self, reason: int) -> None:
        if self._paused == 0 and not self._closed:
            self._services.readiness.remove_reader(self._fd)
        self._paused |= reason

    def _resume(self, reason: int) -> None:
        if not self._paused & reason:
            return
        self._paused &= ~reason
        if self._paused == 0 and not self._closed:
            self._services.readiness.add_reader(self._fd, self._ready)
            if self._endpoint.channel.pending():
                self._services.loop.call_soon(self._ready_again)

    # Writing

    def send(self) -> None:
        """Sends what the session has queued; closes behind its goodbye."""
        if self._closed:
            return
        if self._paused & STREAMING:  # the session's packets wait for the end of this one
            if self._session.closing:
                self.close("ended within a packet")
            return
        try:
            data = self._session.data_to_send()
            if data and not self._endpoint.write(data):
                self._services.readiness.add_writer(self._fd, self._writable)
                if self._endpoint.unsent_bytes > MOST_UNSENT_BYTES:
                    self._pause(UNSENT)
        except ChannelFailed as error:
            self.close(error.reason)
            return
        if self._session.closing and self._endpoint.unsent_bytes == 0:
            self._say_goodbye()

    def wait_for_writable(self) -> None:
        """The endpoint has sent something by itself, and the socket did not take all of it."""
        if not self._closed:
            self._services.readiness.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        try:
            if not self._endpoint.flush():
                return
        except ChannelFailed as error:
            self.close(error.reason)
            return
        self._services.readiness.remove_writer(self._fd)
        if self._paced is not None:
            self._paced.sent()
        self._resume(UNSENT)
        self.send()

    def _send_soon(self) -> None:
        """One write for all that is sent in this turn of the loop."""
        if not self._flushing:
            self._flushing = True
            self._services.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self.send()

    # What `paced_delivery` needs of a connection

    @property
    def unread(self) -> bool:
        return bool(self._paused & UNSENT)

    def write(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            if not self._endpoint.write(data):
                self._services.readiness.add_writer(self._fd, self._writable)
        except ChannelFailed as error:
            self.close(error.reason)

    def begin_streaming(self) -> None:
        self._pause(STREAMING)

    def end_streaming(self) -> None:
        self._resume(STREAMING)

    # Work that takes long

    def run_in_order(self, work: Coroutine[Any, Any, None]) -> None:
        if self._work is None:
            self._work = OrderedWork(
                self._services.loop, after_each=self._work_done, failed=self._work_failed
            )
        self._work.add(work)
        if len(self._work) >= MOST_WORK_WAITING:
            self._pause(WORK_WAITS)

    def _work_done(self) -> None:
        self._resume(WORK_WAITS)
        self.send()

    # Time

    @property
    def closed(self) -> bool:
        return self._closed

    def time(self) -> float:
        return self._services.loop.time()

    def deadline(self) -> float | None:
        return None if self._closed else self._session.deadline()

    def overdue(self, now: float) -> None:
        if not self._paused:  # a peer that we do not read cannot be told to be silent
            self._act_on(self._session.tick(now))
            self.send()

    def _ask_anew(self) -> None:
        """The deadline has come nearer."""
        self._services.wheel.forget(self)
        self._services.wheel.watch(self)

    # The end

    def _say_goodbye(self) -> None:
        """Everything is sent: what remains is that it arrives."""
        self._closed = True
        self._leave()
        self._services.wheel.forget(self)
        heard_s = REFUSAL_HEARD_S if self._is_refused() else 0.0
        self._farewell = Farewell(self._services, self._endpoint, self._gone, finish_after_s=heard_s)

    def close(self, why: str) -> None:
        """At once, without a goodbye or within it."""
        if self._closed:
            if self._farewell is not None:
                self._farewell.end(why)
            return
        self._closed = True
        self._services.readiness.remove_reader(self._fd)
        self._services.readiness.remove_writer(self._fd)
        self._leave()
        self._services.wheel.forget(self)
        self._endpoint.close()
        self._gone(why)

    def _gone(self, why: str) -> None:
        """The socket is closed."""
        self._farewell = self._paced = None
        if self._work is not None:
            self._work.cancel()
        self._ended(why)
