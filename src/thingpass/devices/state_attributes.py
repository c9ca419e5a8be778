"""A device's state as ThingsBoard's server attributes (device API reference, 4)."""

from __future__ import annotations

from typing import Final

from thingpass.store.rows import Attribute, DeviceState, Value

ACTIVE: Final = "active"
STATE_KEYS: Final = frozenset(
    {ACTIVE, "lastConnectTime", "lastDisconnectTime", "lastActivityTime", "inactivityAlarmTime"}
)
"""What the server keeps itself. `inactivityTimeout` is people's own."""

SHORTEST_TIMEOUT_MS: Final = 1_000  # no device is looked at more often
LONGEST_TIMEOUT_MS: Final = 3_155_760_000_000  # a hundred years: never


def state_attributes(state: DeviceState) -> list[Attribute]:
    """Those that have a value; a device that was never heard of has `active` alone."""
    changed_ms = state.device_created_at_ms if state.changed_at_ms is None else state.changed_at_ms
    alarm_changed_ms = changed_ms if not state.alarm_at_ms else state.alarm_at_ms
    found = [Attribute(ACTIVE, state.active, changed_ms)]
    for key, value, updated_at_ms in (
        ("lastConnectTime", state.connected_at_ms, state.connected_at_ms),
        ("lastDisconnectTime", state.disconnected_at_ms, state.disconnected_at_ms),
        ("lastActivityTime", state.activity_at_ms, state.activity_at_ms),
        ("inactivityAlarmTime", state.alarm_at_ms, alarm_changed_ms),
    ):
        if value is not None and updated_at_ms is not None:
            found.append(Attribute(key, value, updated_at_ms))
    return found


def timeout_ms(value: Value | None) -> int | None:
    """The attribute inactivityTimeout as people wrote it; None: the setting holds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    return int(min(max(value, SHORTEST_TIMEOUT_MS), LONGEST_TIMEOUT_MS))
