"""Sessions of devices that are away and may come back to them (MQTT5 4.1): one a device, bounded, in memory.

A restart of the server ends them all, which the next CONNACK says (Session Present 0). Nothing is lost by it
that was acknowledged to anybody: calls that are kept, and attributes, are in the store.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from thingpass.mqtt.session_state import SessionState
from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.mqtt_device_session import MqttDeviceSession

MOST_BYTES_HELD: Final = 67_108_864  # of messages on their way to devices that are away


class KeptSessions:
    def __init__(self, wheel: DeadlineWheel, *, maximum: int) -> None:
        """`maximum`: sessions; one more ends the one whose device has been away for longest."""
        self._wheel = wheel
        self._maximum = maximum
        self._by_device: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes_held = 0

    def __len__(self) -> int:
        return len(self._by_device)

    def keep(self, session: MqttDeviceSession, state: SessionState, expires_at: float) -> None:
        """The device is away; until `expires_at` (on the loop's clock) it may come back."""
        self.discard(session.device_id)
        session.go_away(state)
        if session.bytes_held > MOST_BYTES_HELD or self._maximum < 1:
            session.end()
            return
        kept = _Kept(self, session, expires_at)
        self._by_device[session.device_id] = kept
        self._bytes_held += kept.bytes_held
        self._wheel.watch(kept)
        while len(self._by_device) > self._maximum or self._bytes_held > MOST_BYTES_HELD:
            self.discard(next(iter(self._by_device)))

    def take(self, device_id: str, client_id: str, *, clean_start: bool) -> MqttDeviceSession | None:
        """What the device comes back to, with its `state`; any other session of the device is over.

        None, when there is none, or it is not to be continued: another client identifier, a clean start, or
        too much was missed.
        """
        kept = self._by_device.get(device_id)
        if kept is None:
            return None
        session = kept.session
        if clean_start or session.client_id != client_id or session.has_missed_too_much:
            self.discard(device_id)
            return None
        self._forget(device_id)
        return session

    def discard(self, device_id: str) -> None:
        """Ends the device's session, if one is kept."""
        kept = self._forget(device_id)
        if kept is not None:
            kept.session.end()

    def _forget(self, device_id: str) -> _Kept | None:
        kept = self._by_device.pop(device_id, None)
        if kept is not None:
            self._bytes_held -= kept.bytes_held
            kept.expires_at = None
            self._wheel.forget(kept)
        return kept


class _Kept:
    """One of them, on the wheel of deadlines."""

    __slots__ = ("_owner", "bytes_held", "expires_at", "session", "wheel_slot")

    def __init__(self, owner: KeptSessions, session: MqttDeviceSession, expires_at: float) -> None:
        self._owner = owner
        self.session = session
        self.expires_at: float | None = expires_at
        self.bytes_held = session.bytes_held  # nothing is added while the device is away
        self.wheel_slot = 0

    def deadline(self) -> float | None:
        return self.expires_at

    def overdue(self, now: float) -> None:
        self._owner.discard(self.session.device_id)
