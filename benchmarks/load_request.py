"""The attribute load: devices that ask for two of their attributes, one request at a time, over and over."""

from __future__ import annotations

import select
import time

from benchmarks.load_counting import Tally
from benchmarks.load_messages import Go, RequestJob, Result
from benchmarks.load_opening import Dialer, open_all
from benchmarks.mqtt_packets import (
    ATTRIBUTE_REQUEST_TOPIC,
    ATTRIBUTE_RESPONSE_TOPIC,
    ATTRIBUTES_TOPIC,
    PUBACK_SIZE_BYTES,
    SUBACK_SIZE_BYTES,
    publish_packet,
    subscribe_packet,
)
from benchmarks.tls_client import Connection, ConnectionFailed

_PREPARED_WITHIN_S = 30.0
_SUBSCRIBE = subscribe_packet(ATTRIBUTE_RESPONSE_TOPIC[:-1] + b"+", 0, packet_id=1)
_ATTRIBUTES = publish_packet(ATTRIBUTES_TOPIC, b'{"firmware":"1.2.3","interval":60}', packet_id=2)
_REQUEST = publish_packet(ATTRIBUTE_REQUEST_TOPIC, b'{"clientKeys":"firmware,interval"}')
RESPONSE = publish_packet(ATTRIBUTE_RESPONSE_TOPIC, b'{"client":{"firmware":"1.2.3","interval":60}}')


class Asker:
    """One device. Its answers are counted by their length: they are all alike."""

    __slots__ = ("asked_at", "connection", "missing_bytes")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.asked_at = 0.0
        self.missing_bytes = 0

    def ask(self) -> None:
        self.missing_bytes += len(RESPONSE)
        self.asked_at = time.monotonic()
        self.connection.send(_REQUEST)


class RequestLoad:
    def __init__(self, job: RequestJob) -> None:
        self._job = job
        self._epoll = select.epoll()
        self._dialer = Dialer(job.port, job.devices, self._epoll, release_buffers=False)
        self._askers: dict[int, Asker] = {}

    def open(self) -> int:
        for connection in open_all(self._dialer, self._epoll, self._job.devices.count):
            self._askers[connection.fileno] = Asker(connection)
        self._prepare()
        return len(self._askers)

    def run(self, go: Go) -> Result:
        tally = Tally(go)
        for asker in list(self._askers.values()):
            self._ask(asker, tally)
        while time.monotonic() < go.measure_until and self._askers:
            for fileno, _ in self._epoll.poll(0.1):
                self._take(self._askers[fileno], tally)
        return tally.result()

    def _prepare(self) -> None:
        """Subscribes and publishes the attributes that are asked for; returns when all is acknowledged."""
        for asker in self._askers.values():
            asker.connection.send(_SUBSCRIBE)
            asker.connection.send(_ATTRIBUTES)
        expected_bytes = len(self._askers) * (SUBACK_SIZE_BYTES + PUBACK_SIZE_BYTES)
        until = time.monotonic() + _PREPARED_WITHIN_S
        while expected_bytes > 0:
            for fileno, _ in self._epoll.poll(1.0):
                expected_bytes -= self._askers[fileno].connection.receive()
            if time.monotonic() > until:
                raise ConnectionFailed(f"attributes not acknowledged within {_PREPARED_WITHIN_S:.0f} s")

    def _take(self, asker: Asker, tally: Tally) -> None:
        try:
            asker.missing_bytes -= asker.connection.receive()
        except ConnectionFailed as failure:
            self._lose(asker, failure, tally)
            return
        if asker.missing_bytes > 0:
            return
        now = time.monotonic()
        tally.done(now, now - asker.asked_at)
        self._ask(asker, tally)

    def _ask(self, asker: Asker, tally: Tally) -> None:
        try:
            asker.ask()
        except ConnectionFailed as failure:
            self._lose(asker, failure, tally)

    def _lose(self, asker: Asker, failure: ConnectionFailed, tally: Tally) -> None:
        tally.failures[str(failure)] += 1
        del self._askers[asker.connection.fileno]
        asker.connection.close(politely=False)
