"""The connect load: full TLS 1.3 handshake, CONNECT, CONNACK, goodbye; each time another device."""

from __future__ import annotations

import select
import time

from benchmarks.load_counting import Tally
from benchmarks.load_messages import ConnectJob, Go, Result
from benchmarks.load_opening import Dialer
from benchmarks.tls_client import Connection, ConnectionFailed


class ConnectLoad:
    """Closed loop (`in_flight` at any time) or open loop (`rate_per_s`, whatever the server does)."""

    def __init__(self, job: ConnectJob) -> None:
        self._job = job
        self._epoll = select.epoll()
        self._dialer = Dialer(job.port, job.devices, self._epoll, release_buffers=False)
        self._held: dict[int, tuple[float, Connection]] = {}  # in the order in which they end

    def open(self) -> int:
        """Nothing is open at the start."""
        return 0

    def run(self, go: Go) -> Result:
        tally = Tally(go)
        started_at = time.monotonic()
        dialled = 0
        while (now := time.monotonic()) < go.measure_until:
            if self._job.rate_per_s:
                while (due_at := started_at + dialled / self._job.rate_per_s) <= now:
                    tally.lagged(now, now - due_at)
                    self._dialer.dial()
                    dialled += 1
            else:
                while self._dialer.opening < self._job.in_flight:
                    self._dialer.dial()
            for fileno, _ in self._epoll.poll(0.001 if self._job.rate_per_s else 0.1):
                self._take(fileno, tally)
            self._let_go(time.monotonic())
        tally.failures = self._dialer.failures
        return tally.result()

    def _take(self, fileno: int, tally: Tally) -> None:
        if fileno in self._held:
            self._read_held(fileno)
            return
        opened = self._dialer.advance(fileno)
        if opened is None:
            return
        connection, begun_at = opened
        now = time.monotonic()
        tally.done(now, now - begun_at)
        if self._job.hold_s:
            self._held[fileno] = (now + self._job.hold_s, connection)
        else:
            self._close(connection)

    def _read_held(self, fileno: int) -> None:
        _, connection = self._held[fileno]
        try:
            connection.receive()
        except ConnectionFailed as failure:
            self._dialer.failures[f"after CONNACK: {failure}"] += 1
            del self._held[fileno]
            connection.close(politely=False)

    def _let_go(self, now: float) -> None:
        for fileno, (ends_at, connection) in tuple(self._held.items()):
            if ends_at > now:
                return
            del self._held[fileno]
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        try:
            connection.close()
        except ConnectionFailed as failure:
            self._dialer.failures[f"after CONNACK: {failure}"] += 1
            connection.close(politely=False)
