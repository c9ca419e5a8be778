"""What happens on an MQTT connection when its device sends more than it may (docs/reference/rate-limits.md).

- MQTT 5, QoS 1 and 2: the message is refused with 0x97 and not stored; the connection stays.
- MQTT 3, and QoS 0, where a refusal cannot be said: the message is taken, and the socket is not read until
  the debt is paid. TCP passes that on to the device; nothing is lost, and whoever floods pays by waiting.
- Who goes on in spite of that is disconnected (MQTT 5: 0x96): after so many refusals in a row, or when the
  debt is so long that waiting would look like a dead connection.

One object per connection, and only where limits are set.
"""

from __future__ import annotations

from typing import Final, Protocol

from thingpass.messaging.rate_limiting import Breach, DeviceMeters
from thingpass.metrics import Counters
from thingpass.mqtt.events import MessagePublished
from thingpass.mqtt.reason_codes import ReasonCode

MOST_REFUSED: Final = 1_000  # in a row; a client that has not understood by then will not
LONGEST_HOLD_S: Final = 30.0  # below the keep-alive of common clients, who wait no longer for their PINGRESP


class LimitedConnection(Protocol):
    """What is asked of the connection."""

    def time(self) -> float: ...
    def acknowledge(self, packet_id: int, reason_code: int = 0) -> None: ...
    def hold_reading(self, seconds: float) -> None:
        """Does not read for so long; at its end `ConnectionLimits.debt_s` is asked."""

    def end_for_rate(self, sentence: str) -> None: ...
    def record_breach(self, breach: Breach) -> None: ...


class ConnectionLimits:
    __slots__ = ("_can_refuse", "_connection", "_counters", "_ended", "_held_for", "_meters", "_refused")

    def __init__(
        self, connection: LimitedConnection, meters: DeviceMeters, counters: Counters, *, can_refuse: bool
    ) -> None:
        """`can_refuse`: the client's protocol has a word for it (MQTT 5). Opening takes one message."""
        self._connection = connection
        self._meters = meters
        self._counters = counters
        self._can_refuse = can_refuse
        self._refused = 0  # in a row
        self._held_for: set[bool] = set()  # for which kinds of messages (do they carry data) it is not read
        self._ended = False
        meters.users += 1
        meters.charge(connection.time(), carries_data=False)

    def ended(self) -> None:
        """The connection is gone."""
        if not self._ended:
            self._ended = True
            self._meters.users -= 1

    def admit(self, message: MessagePublished, *, carries_data: bool) -> bool:
        """Whether the message is to be read at all."""
        if self._ended:
            return False
        now = self._connection.time()
        breach = self._meters.admit(now, carries_data=carries_data)
        if breach is None:
            self._refused = 0
            return True
        self._count(breach, now)
        if self._can_refuse and message.packet_id:
            self._refuse(message, breach)
            return False
        if breach.wait_s > LONGEST_HOLD_S:
            self._end(breach)
            return False
        self._meters.charge(now, carries_data=carries_data)
        self._held_for.add(carries_data)
        self._connection.hold_reading(breach.wait_s)
        return True

    def charge(self) -> None:
        """A subscription: it takes a message, and is never refused."""
        self._meters.charge(self._connection.time(), carries_data=False)

    def charge_points(self, count: int) -> None:
        self._meters.charge_points(count, self._connection.time())

    def debt_s(self) -> float:
        """Asked when a hold ends: how much longer it takes until what was taken is paid; 0.0: read on."""
        now = self._connection.time()
        breaches = (self._meters.breach(now, carries_data=kind) for kind in self._held_for)
        debt_s = max((each.wait_s for each in breaches if each), default=0.0)
        if not debt_s:
            self._held_for.clear()
        return debt_s

    def _refuse(self, message: MessagePublished, breach: Breach) -> None:
        self._refused += 1
        self._connection.acknowledge(message.packet_id, ReasonCode.QUOTA_EXCEEDED)
        if self._refused >= MOST_REFUSED:
            self._end(breach)

    def _end(self, breach: Breach) -> None:
        self._connection.end_for_rate(breach.sentence)
        self.ended()

    def _count(self, breach: Breach, now: float) -> None:
        counts = self._counters.rate_limited
        counts[breach.name] = counts.get(breach.name, 0) + 1
        if self._meters.begins_episode(now):
            self._connection.record_breach(breach)
