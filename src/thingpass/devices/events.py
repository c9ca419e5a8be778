"""What happened to devices: taken at once, written in batches, kept within bounds.

Nobody waits for an event to be stored, so that it never slows a connection down: `record` puts it into a
queue that is written every second. What the last second brought is lost when the process is killed; when the
store is behind by more than the queue holds, new events are dropped, and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec

from thingpass.bus.bus import Bus
from thingpass.bus.messages import CredentialsChanged, DeviceRemoved
from thingpass.clock import Clock
from thingpass.devices.event_kinds import CREDENTIALS_CHANGED, WILL, EventKind
from thingpass.devices.regular_work import RegularWork
from thingpass.errors import ThingpassError
from thingpass.metrics import Counters
from thingpass.settings import DeviceSettings
from thingpass.store.rows import DeviceEvent, EventDetail
from thingpass.store.store import DeviceEventStore

WRITE_EVERY_S: Final = 0.2  # little at a time: telemetry waits for the writer meanwhile
MOST_WAITING: Final = 20_000  # events; a minute of the fastest connect storm that was measured is 70,000
MOST_WAITING_BYTES: Final = 8_388_608  # of payloads
MOST_WRITTEN_AT_ONCE: Final = 1_000  # in fewer there were more commits, for each of which telemetry waits
MOST_HELD_WILLS: Final = 2_000  # a will beyond it is kept without its delay
LONGEST_PAYLOAD: Final = 4_096  # bytes that are kept of a will
LONGEST_TEXT: Final = 500  # characters of a sentence or a detail
OLD_EVENTS_REMOVED_AT_ONCE: Final = 1_000
LOOK_FOR_OLD_EVERY_S: Final = 60.0
DAY_MS: Final = 86_400_000


class LastWill(msgspec.Struct, frozen=True):
    """What a device left to be said when it vanishes; `delay_s` is how long it may take to come back."""

    topic: str
    payload: bytes  # its first LONGEST_PAYLOAD bytes
    payload_bytes: int  # of the whole
    qos: int
    retain: bool
    delay_s: int

    def __repr__(self) -> str:
        return f"LastWill({self.topic!r}, <{self.payload_bytes} bytes>, delay_s={self.delay_s})"


class _HeldWill(msgspec.Struct, frozen=True):
    due_at: float  # monotonic
    will: LastWill


class DeviceEvents:
    """The event log of all devices."""

    def __init__(
        self,
        store: DeviceEventStore,
        bus: Bus,
        clock: Clock,
        settings: DeviceSettings,
        counters: Counters | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._counters = counters or Counters()
        self._kept = settings.events_kept
        self._kept_ms = settings.events_days * DAY_MS
        self._waiting: deque[DeviceEvent] = deque()
        self._waiting_bytes = 0
        self._flushing = asyncio.Lock()
        self._remove_at = clock.monotonic()
        self._held_wills: dict[str, _HeldWill] = {}
        self._work = RegularWork("device-events", self.work, interval_s=WRITE_EVERY_S)
        self._subscriptions = (
            bus.subscribe(CredentialsChanged, self._credentials_changed),
            bus.subscribe(DeviceRemoved, self._device_removed),
        )

    def start(self) -> None:
        self._work.start()

    async def stop(self) -> None:
        """Writes what waits. Wills that are held are let go: the server's end is not the device's."""
        for subscription in self._subscriptions:
            subscription.close()
        await self._work.stop()
        try:
            await self.flush()
        except ThingpassError:
            self._counters.device_events_dropped += len(self._waiting)

    def record(
        self,
        device_id: str,
        kind: EventKind,
        sentence: str,
        details: Mapping[str, EventDetail] | None = None,
        *,
        payload: bytes | None = None,
        at_ms: int | None = None,
    ) -> None:
        """Never waits and never raises. Long texts are cut, so nothing in them may be needed whole."""
        size = 0 if payload is None else len(payload)
        if len(self._waiting) >= MOST_WAITING or self._waiting_bytes + size > MOST_WAITING_BYTES:
            self._counters.device_events_dropped += 1
            return
        self._waiting_bytes += size
        self._waiting.append(
            DeviceEvent(
                device_id=device_id,
                at_ms=self._clock.now_ms() if at_ms is None else at_ms,
                kind=kind.code,
                sentence=sentence[:LONGEST_TEXT],
                details={key: _cut(detail) for key, detail in details.items()} if details else {},
                payload=payload,
            )
        )

    def keep_will(self, device_id: str, will: LastWill) -> None:
        """The device vanished. MQTT5 3.1.3.2.2: with a delay, only if it does not come back within it."""
        if will.delay_s <= 0 or len(self._held_wills) >= MOST_HELD_WILLS:
            self._record_will(device_id, will)
        else:
            self._held_wills[device_id] = _HeldWill(self._clock.monotonic() + will.delay_s, will)

    def came_back(self, device_id: str, *, resumed: bool) -> None:
        """MQTT5 3.1.3.2.2: a session that goes on cancels its will, one that begins anew ends the old one."""
        held = self._held_wills.pop(device_id, None)
        if held is not None and not resumed:
            self._record_will(device_id, held.will)

    async def list(
        self,
        device_id: str,
        *,
        limit: int,
        before_id: int | None = None,
        kind: str | None = None,
        since_ms: int = 0,
    ) -> list[DeviceEvent]:
        """Newest first; the next page begins before the last one's id. The last moment's may be missing."""
        oldest_ms = self._clock.now_ms() - self._kept_ms
        return await self._store.list_device_events(
            device_id, limit=limit, before_id=before_id, kind=kind, since_ms=max(since_ms, oldest_ms)
        )

    async def work(self) -> None:
        """What is due: wills, writing, removing what is old."""
        now = self._clock.monotonic()
        for device_id, held in list(self._held_wills.items()):
            if held.due_at <= now:
                del self._held_wills[device_id]
                self._record_will(device_id, held.will)
        await self.flush()
        if now >= self._remove_at:
            removed = await self._store.remove_device_events(
                before_ms=self._clock.now_ms() - self._kept_ms, limit=OLD_EVENTS_REMOVED_AT_ONCE
            )
            more = removed == OLD_EVENTS_REMOVED_AT_ONCE
            self._remove_at = now + (0 if more else LOOK_FOR_OLD_EVERY_S)

    async def flush(self) -> None:
        """Writes what waits."""
        async with self._flushing:
            while self._waiting:
                count = min(len(self._waiting), MOST_WRITTEN_AT_ONCE)
                events = [self._waiting[position] for position in range(count)]
                await self._store.append_device_events(events, kept=self._kept)
                for event in events:
                    self._waiting.popleft()
                    self._waiting_bytes -= 0 if event.payload is None else len(event.payload)
                self._counters.device_events += count

    def _record_will(self, device_id: str, will: LastWill) -> None:
        self.record(
            device_id,
            WILL,
            f"The device left a will for {will.topic[:100]!r}, and vanished.",
            {
                "topic": will.topic,
                "qos": will.qos,
                "retain": will.retain,
                "payloadBytes": will.payload_bytes,
            },
            payload=will.payload,
        )

    def _credentials_changed(self, message: CredentialsChanged) -> None:
        if len(message.credentials_ids) > 1:  # one: those that a new device begins with
            self.record(message.device_id, CREDENTIALS_CHANGED, "The device was given other credentials.")

    def _device_removed(self, message: DeviceRemoved) -> None:
        self._held_wills.pop(message.device_id, None)


def _cut(detail: EventDetail) -> EventDetail:
    return detail[:LONGEST_TEXT] if isinstance(detail, str) else detail
