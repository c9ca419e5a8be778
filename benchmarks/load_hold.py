"""The idle load: connections that are open, have each sent a message or none, and do nothing."""

from __future__ import annotations

import select
import time

from benchmarks.load_counting import Tally
from benchmarks.load_messages import Go, HoldJob, Result
from benchmarks.load_opening import Dialer, open_all
from benchmarks.load_publish import Publisher, TelemetryWriter
from benchmarks.mqtt_packets import PUBACK_SIZE_BYTES
from benchmarks.tls_client import ConnectionFailed

_ACKNOWLEDGED_WITHIN_S = 30.0


class HoldLoad:
    def __init__(self, job: HoldJob) -> None:
        self._job = job
        self._epoll = select.epoll()
        self._dialer = Dialer(job.port, job.devices, self._epoll, release_buffers=True)
        self._publishers: dict[int, Publisher] = {}

    def open(self) -> int:
        for connection in open_all(self._dialer, self._epoll, self._job.devices.count):
            self._publishers[connection.fileno] = Publisher(connection)
        writer = TelemetryWriter()
        for _ in range(self._job.messages):
            self._publish_once(writer)
        return len(self._publishers)

    def run(self, go: Go) -> Result:
        tally = Tally(go)
        while (left_s := go.measure_until - time.monotonic()) > 0:
            for fileno, _ in self._epoll.poll(left_s):
                try:
                    self._publishers[fileno].connection.receive()
                except ConnectionFailed as failure:
                    tally.failures[str(failure)] += 1
                    self._publishers.pop(fileno).connection.close(politely=False)
        return tally.result()

    def _publish_once(self, writer: TelemetryWriter) -> None:
        """One message from each connection, and its acknowledgement."""
        for publisher in self._publishers.values():
            writer.publish(publisher, 1)
        expected_bytes = len(self._publishers) * PUBACK_SIZE_BYTES
        until = time.monotonic() + _ACKNOWLEDGED_WITHIN_S
        while expected_bytes > 0:
            for fileno, _ in self._epoll.poll(1.0):
                expected_bytes -= self._publishers[fileno].connection.receive()
            if time.monotonic() > until:
                raise ConnectionFailed(f"messages not acknowledged within {_ACKNOWLEDGED_WITHIN_S:.0f} s")
