"""The telemetry load: QoS 1 messages of three data points, one per TLS record, over open connections."""

from __future__ import annotations

import select
import time
from collections import deque

from benchmarks.load_counting import Tally
from benchmarks.load_messages import Go, PublishJob, Result
from benchmarks.load_opening import Dialer, open_all
from benchmarks.mqtt_packets import MAXIMUM_PACKET_ID, PUBACK_SIZE_BYTES, TelemetryPacket
from benchmarks.tls_client import Connection, ConnectionFailed, packet_buffer


class Publisher:
    """One device that publishes. Acknowledgements are counted, not read: they come in order, 4 bytes each."""

    __slots__ = ("acknowledged", "connection", "sent", "sent_at")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sent = 0
        self.acknowledged = 0  # since the last burst
        self.sent_at: deque[tuple[float, int]] = deque()  # when, how many; the oldest first


class TelemetryWriter:
    """Patches the one packet that all messages of a process are made of, and writes it."""

    def __init__(self) -> None:
        packet = TelemetryPacket()
        self._buffer, self._view = packet_buffer(packet.template)
        self._size = len(packet.template)
        self._packet_id_at, self._ts_at = packet.packet_id_at, packet.ts_at
        self._first_ts_ms = int(time.time() * 1000)

    def publish(self, publisher: Publisher, count: int) -> None:
        """Sends `count` messages, a TLS record each, with one send."""
        connection, view, buffer, size = publisher.connection, self._view, self._buffer, self._size
        packet_id_at, ts_at = self._packet_id_at, self._ts_at
        ts_ms = self._first_ts_ms
        write = connection.write
        first = publisher.sent
        publisher.sent += count
        for number in range(first, publisher.sent):
            view[packet_id_at] = (number % MAXIMUM_PACKET_ID + 1).to_bytes(2, "big")
            view[ts_at] = b"%013d" % (ts_ms + number)
            write(buffer, size)
        publisher.sent_at.append((time.monotonic(), count))
        connection.flush()


class PublishLoad:
    """Closed loop (a window per connection) or open loop (`rate_per_s`, whatever the server does)."""

    def __init__(self, job: PublishJob) -> None:
        self._job = job
        self._epoll = select.epoll()
        self._dialer = Dialer(job.port, job.devices, self._epoll, release_buffers=False)
        self._writer = TelemetryWriter()
        self._publishers: dict[int, Publisher] = {}

    def open(self) -> int:
        for connection in open_all(self._dialer, self._epoll, self._job.devices.count):
            self._publishers[connection.fileno] = Publisher(connection)
        return len(self._publishers)

    def run(self, go: Go) -> Result:
        tally = Tally(go)
        if self._job.rate_per_s:
            self._run_at_rate(go, tally)
        else:
            self._run_in_windows(go, tally)
        return tally.result()

    def _run_in_windows(self, go: Go, tally: Tally) -> None:
        poll, publishers, take = self._epoll.poll, self._publishers, self._take
        burst, send = self._job.burst, self._send
        for publisher in list(publishers.values()):
            send(publisher, self._job.window, tally)
        while time.monotonic() < go.measure_until and publishers:
            for fileno, _ in poll(0.1):
                publisher = publishers[fileno]
                take(publisher, tally)
                if publisher.acknowledged >= burst:
                    send(publisher, publisher.acknowledged, tally)
                    publisher.acknowledged = 0

    def _run_at_rate(self, go: Go, tally: Tally) -> None:
        poll, publishers, rate_per_s = self._epoll.poll, self._publishers, self._job.rate_per_s
        in_turn = list(publishers.values())
        started_at = time.monotonic()
        number = 0
        while (now := time.monotonic()) < go.measure_until and publishers:
            while (due_at := started_at + number / rate_per_s) <= now:
                tally.lagged(now, now - due_at)
                publisher = in_turn[number % len(in_turn)]
                if publisher.connection.fileno in publishers:
                    self._send(publisher, 1, tally)
                number += 1
            for fileno, _ in poll(0.001):
                if fileno in publishers:
                    self._take(publishers[fileno], tally)

    def _send(self, publisher: Publisher, count: int, tally: Tally) -> None:
        try:
            self._writer.publish(publisher, count)
        except ConnectionFailed as failure:
            self._lose(publisher, failure, tally)

    def _take(self, publisher: Publisher, tally: Tally) -> None:
        """Counts the acknowledgements that came."""
        try:
            size = publisher.connection.receive()
        except ConnectionFailed as failure:
            self._lose(publisher, failure, tally)
            return
        now = time.monotonic()
        left = size // PUBACK_SIZE_BYTES
        publisher.acknowledged += left
        sent_at = publisher.sent_at
        while left:
            when, count = sent_at[0]
            if count <= left:
                sent_at.popleft()
                left -= count
            else:
                sent_at[0] = (when, count - left)
                count, left = left, 0
            tally.done(now, now - when, count)

    def _lose(self, publisher: Publisher, failure: ConnectionFailed, tally: Tally) -> None:
        tally.failures[str(failure)] += 1
        self._publishers.pop(publisher.connection.fileno, None)
        publisher.acknowledged = 0
        publisher.connection.close(politely=False)
