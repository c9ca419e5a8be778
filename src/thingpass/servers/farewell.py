"""The last second of a connection: its goodbye is sent, and has to reach the peer.

Closing a socket with unread bytes resets the connection, and the reset may overtake what was sent last. So
our half is closed, and what the peer still sends is read away until it closes its own, or time is up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.readiness import Readiness
from thingpass.tls.endpoint import Endpoint

LASTS_S: Final = 1.0
"""How long a goodbye may take to reach the peer."""


class FarewellServices(Protocol):
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def readiness(self) -> Readiness: ...
    @property
    def wheel(self) -> DeadlineWheel: ...


class Farewell:
    """Owns the endpoint from here on, and its place among the readers and on the wheel of deadlines."""

    __slots__ = ("_endpoint", "_ends_at", "_fd", "_on_end", "_services", "wheel_slot")

    def __init__(
        self,
        services: FarewellServices,
        endpoint: Endpoint,
        on_end: Callable[[str], None],
        *,
        finish_after_s: float = 0.0,
    ) -> None:
        """`on_end` is called once, with the reason; `finish_after_s`: how long our half stays open."""
        self._services = services
        self._endpoint = endpoint
        self._on_end = on_end
        self._fd = endpoint.fileno()
        self._ends_at: float | None = services.loop.time() + LASTS_S
        self.wheel_slot = 0
        services.readiness.remove_writer(self._fd)
        services.readiness.add_reader(self._fd, self._discard)
        services.wheel.watch(self)
        if finish_after_s:
            services.loop.call_later(finish_after_s, self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        if self._ends_at is not None:
            self._endpoint.finish()

    def _discard(self) -> None:
        if not self._endpoint.discard():
            self.end("goodbye")

    def deadline(self) -> float | None:
        return self._ends_at

    def overdue(self, now: float) -> None:
        self.end("goodbye took too long")

    def end(self, why: str) -> None:
        """Closes the socket; twice does no harm."""
        if self._ends_at is None:
            return
        self._ends_at = None
        self._services.readiness.remove_reader(self._fd)
        self._services.wheel.forget(self)
        self._endpoint.close()
        self._on_end(why)
