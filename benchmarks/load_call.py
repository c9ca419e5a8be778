"""The callers of the RPC load: two-way calls by REST, one at a time on each of several connections."""

from __future__ import annotations

import itertools
import select
import socket
import time

from benchmarks.load_counting import Tally
from benchmarks.load_messages import CallJob, Go, Result
from benchmarks.tls_client import ConnectionFailed

_SERVER = "127.0.0.1"
_BODY = b'{"method":"getStatus","params":{"detail":1},"timeout":10000}'
_RECEIVED_BYTES = 65_536


class Caller:
    """One connection to the REST API."""

    __slots__ = ("called_at", "received", "sock")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection((_SERVER, port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.called_at = 0.0

    def call(self, request: bytes) -> None:
        self.called_at = time.monotonic()
        self.sock.sendall(request)

    def take(self) -> int | None:
        """Reads what came; the status of the answer once it is whole. Raises ConnectionFailed."""
        data = self.sock.recv(_RECEIVED_BYTES)
        if not data:
            raise ConnectionFailed("closed by the REST API")
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return None
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length" and len(body) < int(value):
                return None
        self.received = b""
        return int(head.split(b" ", 2)[1])


class CallLoad:
    def __init__(self, job: CallJob) -> None:
        self._job = job
        self._epoll = select.epoll()
        self._callers: dict[int, Caller] = {}
        self._requests = itertools.cycle(
            b"POST /api/rpc/twoway/%s HTTP/1.1\r\nHost: bench\r\nX-Authorization: Bearer %s\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (device_id.encode(), job.token.encode(), len(_BODY), _BODY)
            for device_id in job.device_ids
        )

    def open(self) -> int:
        for _ in range(self._job.in_flight):
            caller = Caller(self._job.http_port)
            self._callers[caller.sock.fileno()] = caller
            self._epoll.register(caller.sock.fileno(), select.EPOLLIN)
        return len(self._callers)

    def run(self, go: Go) -> Result:
        tally = Tally(go)
        for caller in self._callers.values():
            caller.call(next(self._requests))
        while time.monotonic() < go.measure_until and self._callers:
            for fileno, _ in self._epoll.poll(0.1):
                self._take(self._callers[fileno], tally)
        return tally.result()

    def _take(self, caller: Caller, tally: Tally) -> None:
        try:
            status = caller.take()
            if status is None:
                return
            now = time.monotonic()
            if status == 200:
                tally.done(now, now - caller.called_at)
            else:
                tally.failures[f"a call was answered with {status}"] += 1
            caller.call(next(self._requests))
        except (ConnectionFailed, OSError) as failure:
            tally.failures[str(failure)] += 1
            del self._callers[caller.sock.fileno()]
            caller.sock.close()
