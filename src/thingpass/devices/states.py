"""Whether devices are active and since when: ThingsBoard's device state (device API reference, 4).

A device is active from the first that is heard of it until it was silent for its inactivity timeout,
connected or not. Nothing is done per message: a connection knows when it heard something last, and a wheel
looks at each device when its timeout could be over, and every `activity_flush_s` to store that time. So
100,000 devices are written a few at a time and not all at one moment. Only active and connected devices are
in memory; the rest is in the store.

What changed waits at most a second to be written, all of it in one statement. A crash loses that second, and
what was heard since the last flush. It cannot say goodbye for those who were connected: the next start does,
and dates it to the moment at which the server was last known to run.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final, Protocol

import msgspec

from thingpass.bus.bus import Bus
from thingpass.bus.messages import (
    DeviceBecameActive,
    DeviceBecameInactive,
    DeviceConnected,
    DeviceDisconnected,
    DeviceRemoved,
    ServerAttributesChanged,
)
from thingpass.clock import Clock
from thingpass.devices import event_kinds
from thingpass.devices.events import DeviceEvents
from thingpass.devices.regular_work import RegularWork
from thingpass.devices.state_attributes import STATE_KEYS, state_attributes, timeout_ms
from thingpass.devices.state_changes import StateChanges
from thingpass.devices.state_wheel import StateWheel
from thingpass.errors import ThingpassError
from thingpass.metrics import Counters
from thingpass.settings import DeviceSettings
from thingpass.store.rows import INACTIVITY_TIMEOUT, Attribute, DeviceState
from thingpass.store.store import DeviceStateStore

LOOK_EVERY_S: Final = 1.0
MOST_PER_TURN: Final = 2_000  # looked at in one go (about 3 ms), then the loop gets its turn
MOST_WRITTEN_AT_ONCE: Final = 1_000  # in 3 ms of the loop; smaller ones delay telemetry by a commit each
MOST_READ_AT_ONCE: Final = 500
LISTED_AT_ONCE: Final = 5_000
CONNECTED_BUT_SILENT_S: Final = 3.0  # how soon such a device is seen to be active again
COME_BACK_S: Final = 60.0  # what devices get after a start, because nobody could hear them before it
ALIVE_EVERY_S: Final = 10.0  # how exactly the moment of a crash is known
HEARD_NOW_MS: Final = 1_000  # what is older came late, and is judged by what is stored

SERVER_STOPPED: Final = "The server stopped."
SERVER_CRASHED: Final = "The server ended without a goodbye; the time is when it was last known to run."


class Link(Protocol):
    """A session of a device, as far as its activity goes."""

    @property
    def heard_at(self) -> float:
        """When something was last heard (monotonic, s); still known after the session's end."""


class _Entry:
    """A device that is active or connected."""

    __slots__ = ("active", "device_id", "link", "noted_ms", "slot", "timeout_ms", "written_ms")

    def __init__(self, device_id: str, timeout_ms: int) -> None:
        self.device_id = device_id
        self.timeout_ms = timeout_ms
        self.active = False
        self.link: Link | None = None
        self.noted_ms = 0  # the latest activity that somebody named; the link's own is not in it
        self.written_ms = 0
        self.slot = 0


class DeviceStateService:
    """Told by whoever hears devices; asked by whoever wants to know. All on one event loop."""

    def __init__(
        self,
        store: DeviceStateStore,
        bus: Bus,
        clock: Clock,
        events: DeviceEvents,
        settings: DeviceSettings,
        counters: Counters | None = None,
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._events = events
        self._counters = counters or Counters()
        self._default_timeout_ms = int(settings.inactivity_timeout_s * 1000)
        self._flush_ms = int(settings.activity_flush_s * 1000)
        self._entries: dict[str, _Entry] = {}
        self._active = 0
        self._connected = 0
        self._changes = StateChanges()
        self._unread: dict[str, None] = {}  # devices whose row is to be read: a set that keeps its order
        self._wheel: StateWheel[_Entry] = StateWheel(clock.monotonic())
        self._alive_written_at = clock.monotonic()
        self._work = RegularWork("device-states", self.work, interval_s=LOOK_EVERY_S)
        self._subscriptions = (
            bus.subscribe(ServerAttributesChanged, self._server_attributes_changed),
            bus.subscribe(DeviceRemoved, self._device_removed),
        )

    # Starting and stopping

    async def start(self) -> None:
        await self.recover()
        self._work.start()

    async def recover(self) -> None:
        """Says goodbye for connections that a crash left open, and reads who is active."""
        await self._store.end_open_connections(kind=event_kinds.DISCONNECTED.code, sentence=SERVER_CRASHED)
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        after = 0
        while page := await self._store.list_active_states(limit=LISTED_AT_ONCE, after_number=after):
            for state in page:
                self._take_over(state, now, now_ms)
            after = page[-1].device_number
        await self._store.save_device_states((), alive_at_ms=now_ms)

    async def stop(self) -> None:
        """Writes what is not written. Call it after the sessions have ended; who still has one ends now."""
        for subscription in self._subscriptions:
            subscription.close()
        await self._work.stop()
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        for entry in self._entries.values():
            self._note_written(entry, self._newest_activity(entry, now, now_ms))
        try:
            while self._changes:
                await self._write(now_ms)
            await self._events.flush()  # what the next line adds stands behind them
            kind = event_kinds.DISCONNECTED.code
            await self._store.end_open_connections(kind=kind, sentence=SERVER_STOPPED, at_ms=now_ms)
        except ThingpassError:
            return  # the next start finds what it would find after a crash

    # What happens to devices

    def connected(self, device_id: str, link: Link) -> None:
        """A session began. It replaces an earlier one, which then only `disconnected` of itself ends."""
        entry, now_ms = self._entry(device_id), self._clock.now_ms()
        if entry.link is None:
            self._connected += 1
        entry.link = link
        self._changes.of(device_id).connected_at_ms = now_ms
        self._heard(entry, now_ms, now_ms)
        self._note_written(entry, now_ms)  # with the connection, so that no crash comes between the two
        self._bus.publish(DeviceConnected(device_id, now_ms))

    def disconnected(self, device_id: str, link: Link, *, taken_over: bool = False) -> None:
        """A session ended. It counts when it is the device's last one, and no other took its place."""
        entry = self._entries.get(device_id)
        if entry is None or entry.link is not link or taken_over:
            return
        now_ms = self._clock.now_ms()
        entry.noted_ms = self._newest_activity(entry, self._clock.monotonic(), now_ms)
        entry.link = None
        self._connected -= 1
        self._note_written(entry, entry.noted_ms)
        self._changes.of(device_id).disconnected_at_ms = now_ms
        self._bus.publish(DeviceDisconnected(device_id, now_ms))

    def note_activity(self, device_id: str, at_ms: int) -> None:
        """Something was heard of a device that has no session here: over HTTP, through a gateway."""
        entry, now_ms = self._entry(device_id), self._clock.now_ms()
        self._heard(entry, min(at_ms, now_ms), now_ms)

    # What is known

    def __len__(self) -> int:
        """How many devices are active."""
        return self._active

    def is_active(self, device_id: str) -> bool:
        entry = self._entries.get(device_id)
        return entry is not None and entry.active

    def is_connected(self, device_id: str) -> bool:
        entry = self._entries.get(device_id)
        return entry is not None and entry.link is not None

    def has_another_link(self, device_id: str, link: Link) -> bool:
        """Whether the device has a session, and it is not this one."""
        entry = self._entries.get(device_id)
        return entry is not None and entry.link not in (None, link)

    @property
    def keys(self) -> frozenset[str]:
        return STATE_KEYS

    async def find(self, device_id: str) -> list[Attribute]:
        """The state as server attributes, exact to this moment; nothing for an unknown device."""
        state = await self._store.find_device_state(device_id)
        if state is None:
            return []
        state = self._changes.applied_to(state)
        entry = self._entries.get(device_id)
        if entry is not None:
            newest = self._newest_activity(entry, self._clock.monotonic(), self._clock.now_ms())
            state = msgspec.structs.replace(state, activity_at_ms=newest or state.activity_at_ms)
        return state_attributes(msgspec.structs.replace(state, active=entry is not None and entry.active))

    # Once a second

    async def work(self) -> None:
        due = self._wheel.due(self._clock.monotonic())
        for start in range(0, len(due), MOST_PER_TURN):
            now, now_ms = self._clock.monotonic(), self._clock.now_ms()
            for entry in due[start : start + MOST_PER_TURN]:
                self._look_at(entry, now, now_ms)
            await asyncio.sleep(0)
        while self._unread:
            await self._read(list(islice(self._unread, MOST_READ_AT_ONCE)))
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        if not self._changes and self._connected and now - self._alive_written_at >= ALIVE_EVERY_S:
            await self._store.save_device_states((), alive_at_ms=now_ms)
            self._alive_written_at = now
        while self._changes:
            await self._write(now_ms)

    def _look_at(self, entry: _Entry, now: float, now_ms: int, *, alarm_at_ms: int = 0) -> None:
        if self._entries.get(entry.device_id) is not entry:
            return  # the device was removed
        newest = self._newest_activity(entry, now, now_ms)
        heard_meanwhile = entry.link is not None and newest > entry.written_ms
        left_ms = newest + entry.timeout_ms - now_ms
        self._note_written(entry, newest)
        if left_ms > 0 or (heard_meanwhile and not entry.active):
            if not entry.active:
                self._became_active(entry, now_ms)
                if newest <= alarm_at_ms:  # the alarm was wrong: what came late is older than it
                    self._changes.of(entry.device_id).alarm_at_ms = 0
            if entry.link is not None:
                left_ms = min(left_ms, self._flush_ms)
            self._wheel.put(entry, now + left_ms / 1000)
            return
        if entry.active:
            self._became_inactive(entry, now_ms)
        if entry.link is None:
            del self._entries[entry.device_id]
        else:
            self._wheel.put(entry, now + CONNECTED_BUT_SILENT_S)

    async def _read(self, device_ids: list[str]) -> None:
        """Reads timeouts, and how it stands with devices that are not in memory."""
        found = await self._store.find_device_states(device_ids)
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        for device_id in device_ids:
            self._unread.pop(device_id, None)
        for state in found:
            self._take_in(state, now, now_ms)
        for device_id in set(device_ids).difference(state.device_id for state in found):
            self._forget(device_id)

    async def _write(self, now_ms: int) -> None:
        changes = self._changes.take(MOST_WRITTEN_AT_ONCE)
        rows = [
            change.row(device_id, active=self.is_active(device_id), connected=self.is_connected(device_id))
            for device_id, change in changes.items()
        ]
        try:
            await self._store.save_device_states(rows, alive_at_ms=now_ms)
        except BaseException:
            self._changes.give_back()
            raise
        self._changes.written()
        self._alive_written_at = self._clock.monotonic()
        self._counters.state_writes += len(rows)

    # Entries

    def _entry(self, device_id: str) -> _Entry:
        entry = self._entries.get(device_id)
        if entry is None:
            entry = self._entries[device_id] = _Entry(device_id, self._default_timeout_ms)
            self._unread[device_id] = None
        return entry

    def _heard(self, entry: _Entry, at_ms: int, now_ms: int) -> None:
        is_stored = entry.noted_ms <= entry.written_ms
        entry.noted_ms = max(entry.noted_ms, at_ms)
        if is_stored:  # else it is looked at soon anyway
            soon_ms = min(self._flush_ms, entry.timeout_ms)
            self._wheel.put(entry, self._clock.monotonic() + soon_ms / 1000)
        if entry.active:
            return
        if now_ms - at_ms < HEARD_NOW_MS:
            self._became_active(entry, now_ms)
        else:
            self._unread[entry.device_id] = None

    def _note_written(self, entry: _Entry, newest_ms: int) -> None:
        if newest_ms > entry.written_ms:
            entry.written_ms = newest_ms
            self._changes.of(entry.device_id).activity_at_ms = newest_ms

    def _newest_activity(self, entry: _Entry, now: float, now_ms: int) -> int:
        link = entry.link
        if link is None:
            return min(entry.noted_ms, now_ms)
        return min(max(entry.noted_ms, now_ms - int((now - link.heard_at) * 1000)), now_ms)

    def _became_active(self, entry: _Entry, now_ms: int) -> None:
        entry.active = True
        self._active += 1
        self._changes.of(entry.device_id).changed_at_ms = now_ms
        self._events.record(entry.device_id, event_kinds.ACTIVE, "The device became active.", at_ms=now_ms)
        self._bus.publish(DeviceBecameActive(entry.device_id, now_ms))

    def _became_inactive(self, entry: _Entry, now_ms: int) -> None:
        entry.active = False
        self._active -= 1
        change = self._changes.of(entry.device_id)
        change.changed_at_ms = change.alarm_at_ms = now_ms
        sentence = f"Nothing was heard of the device for {entry.timeout_ms / 1000:g} s."
        self._events.record(entry.device_id, event_kinds.INACTIVE, sentence, at_ms=now_ms)
        self._bus.publish(DeviceBecameInactive(entry.device_id, now_ms))

    def _take_over(self, state: DeviceState, now: float, now_ms: int) -> None:
        """An active device of before the start."""
        entry = self._entries[state.device_id] = _Entry(state.device_id, self._timeout_ms(state))
        entry.active = True
        self._active += 1
        entry.noted_ms = entry.written_ms = min(state.activity_at_ms or 0, now_ms)
        left_s = (entry.noted_ms + entry.timeout_ms - now_ms) / 1000
        self._wheel.put(entry, now + max(left_s, min(entry.timeout_ms / 1000, COME_BACK_S)))

    def _take_in(self, state: DeviceState, now: float, now_ms: int) -> None:
        stored_ms = min(state.activity_at_ms or 0, now_ms)
        entry = self._entries.get(state.device_id)
        if entry is None:  # its timeout was changed while it was inactive
            entry = self._entries[state.device_id] = _Entry(state.device_id, 0)
        entry.timeout_ms = self._timeout_ms(state)
        entry.noted_ms = max(entry.noted_ms, stored_ms)
        entry.written_ms = max(entry.written_ms, stored_ms)
        self._look_at(entry, now, now_ms, alarm_at_ms=state.alarm_at_ms or 0)

    def _timeout_ms(self, state: DeviceState) -> int:
        return timeout_ms(state.inactivity_timeout) or self._default_timeout_ms

    def _forget(self, device_id: str) -> None:
        """The device does not exist any more."""
        entry = self._entries.pop(device_id, None)
        if entry is not None:
            self._active -= entry.active
            self._connected -= entry.link is not None
        self._changes.forget(device_id)
        self._unread.pop(device_id, None)

    def _device_removed(self, message: DeviceRemoved) -> None:
        self._forget(message.device_id)

    def _server_attributes_changed(self, message: ServerAttributesChanged) -> None:
        if INACTIVITY_TIMEOUT[1] in message.keys:
            self._unread[message.device_id] = None
