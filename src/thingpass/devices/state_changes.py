"""What became of devices and is not yet in the store: gathered by device, written many at a time."""

from __future__ import annotations

from itertools import islice

import msgspec

from thingpass.store.rows import DeviceState, DeviceStateChange


class Change:
    """A time that is None has not changed."""

    __slots__ = ("activity_at_ms", "alarm_at_ms", "changed_at_ms", "connected_at_ms", "disconnected_at_ms")

    def __init__(self) -> None:
        self.changed_at_ms: int | None = None
        self.connected_at_ms: int | None = None
        self.disconnected_at_ms: int | None = None
        self.activity_at_ms: int | None = None
        self.alarm_at_ms: int | None = None

    def row(self, device_id: str, *, active: bool, connected: bool) -> DeviceStateChange:
        return DeviceStateChange(device_id=device_id, active=active, connected=connected, **self.times())

    def times(self) -> dict[str, int]:
        """Those that have changed."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    def fill_from(self, earlier: Change) -> None:
        """Takes what did not change since from an earlier change that was not written."""
        for name in self.__slots__:
            if getattr(self, name) is None:
                setattr(self, name, getattr(earlier, name))


class StateChanges:
    """Bounded by the number of devices. False when nothing waits to be written."""

    def __init__(self) -> None:
        self._waiting: dict[str, Change] = {}
        self._writing: dict[str, Change] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def of(self, device_id: str) -> Change:
        """The device's change, to be added to."""
        change = self._waiting.get(device_id)
        if change is None:
            change = self._waiting[device_id] = Change()
        return change

    def take(self, limit: int) -> dict[str, Change]:
        """The oldest ones, to be written; `written` or `give_back` ends that."""
        self._writing = dict(islice(self._waiting.items(), limit))
        for device_id in self._writing:
            del self._waiting[device_id]
        return self._writing

    def written(self) -> None:
        self._writing = {}

    def give_back(self) -> None:
        """They were not written."""
        for device_id, earlier in self._writing.items():
            self.of(device_id).fill_from(earlier)
        self._writing = {}

    def forget(self, device_id: str) -> None:
        self._waiting.pop(device_id, None)

    def applied_to(self, state: DeviceState) -> DeviceState:
        """The stored state as it will be."""
        for changes in (self._writing, self._waiting):
            change = changes.get(state.device_id)
            if change is not None:
                state = msgspec.structs.replace(state, **change.times())
        return state
