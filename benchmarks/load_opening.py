"""Opening connections: many at a time, each driven by the process's one epoll."""

from __future__ import annotations

import itertools
import select
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.certificates import device_name
from benchmarks.load_messages import Devices
from benchmarks.tls_client import Connection, ConnectionFailed, TlsContext, read_identities

_SERVER = "127.0.0.1"
_STALLED_S = 20.0  # nothing at all opened for so long: the server is not going to


class Dialer:
    """Starts connections of the devices in turn, and takes each through to its CONNACK."""

    def __init__(self, port: int, devices: Devices, epoll: select.epoll, *, release_buffers: bool) -> None:
        names = [device_name(devices.first + number) for number in range(devices.count)]
        identities = read_identities(Path(devices.devices_pem), names, devices.first)
        self._identities = itertools.cycle(identities)
        self._sources = itertools.cycle(devices.sources)
        self._context = TlsContext(release_buffers=release_buffers)
        self._address = (_SERVER, port)
        self._epoll = epoll
        self._opening: dict[int, tuple[Connection, float]] = {}
        self.failures: Counter[str] = Counter()

    @property
    def opening(self) -> int:
        return len(self._opening)

    def dial(self) -> None:
        """Starts one more connection, of the next device."""
        begun_at = time.monotonic()
        connection = Connection(self._context, next(self._identities), self._address, next(self._sources))
        self._opening[connection.fileno] = (connection, begun_at)
        self._epoll.register(connection.fileno, select.EPOLLIN)
        try:
            connection.start()
        except ConnectionFailed as failure:
            self._give_up(connection, failure)

    def advance(self, fileno: int) -> tuple[Connection, float] | None:
        """Takes what came for a connection; when it has become open, gives it and when it was begun."""
        connection, begun_at = self._opening[fileno]
        try:
            if not connection.advance():
                return None
        except ConnectionFailed as failure:
            self._give_up(connection, failure)
            return None
        del self._opening[fileno]
        return connection, begun_at

    def is_opening(self, fileno: int) -> bool:
        return fileno in self._opening

    def _give_up(self, connection: Connection, failure: ConnectionFailed) -> None:
        self.failures[str(failure)] += 1
        del self._opening[connection.fileno]
        connection.close(politely=False)


def open_all(dialer: Dialer, epoll: select.epoll, count: int, in_flight: int = 32) -> Sequence[Connection]:
    """Opens `count` connections and gives them; raises ConnectionFailed when one cannot be opened."""
    connections: list[Connection] = []
    dialled = 0
    stalled_at = time.monotonic() + _STALLED_S
    while len(connections) < count:
        while dialled < count and dialer.opening < in_flight:
            dialer.dial()
            dialled += 1
        for fileno, _ in epoll.poll(1.0):
            opened = dialer.advance(fileno) if dialer.is_opening(fileno) else None
            if opened:
                connections.append(opened[0])
                stalled_at = time.monotonic() + _STALLED_S
        if dialer.failures:
            raise ConnectionFailed(f"{len(connections)} of {count} open, then: {next(iter(dialer.failures))}")
        if time.monotonic() > stalled_at:
            raise ConnectionFailed(f"{len(connections)} of {count} open, then nothing for {_STALLED_S:.0f} s")
    return connections
