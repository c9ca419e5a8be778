"""Tells devices of their packages in the background: by page, at a bounded pace, going on after a crash.

The store notes what is to do in the transaction that changes an assignment. For each device what it was told
is compared with what it should be told, so that doing it twice changes nothing. Telemetry comes first,
attributes and progress follow in one transaction: what a crash leaves between the two is done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from thingpass.bus.bus import Bus, Subscription
from thingpass.bus.messages import CredentialsChanged, DeviceUpdated, ProfileChanged, SharedAttributesChanged
from thingpass.clock import Clock
from thingpass.devices.ota_keys import ALL_ATTRIBUTE_KEYS, ATTRIBUTE_KEYS, announcement, target_samples
from thingpass.errors import ThingpassError
from thingpass.metrics import Counters
from thingpass.store.rows import OtaRollout, OtaTarget
from thingpass.store.store import OtaRolloutStore
from thingpass.telemetry.ingest import Ingest

_log = structlog.get_logger(__name__)

PAGE: Final = 50  # devices in one transaction: a few milliseconds of the loop and of the writer
LOOK_S: Final = 10.0  # how often it looks without being woken
RETRY_S: Final = 5.0
_DRAIN_S: Final = 60.0


class OtaRolloutService:
    """`devices_per_s` bounds how fast a profile's devices are told, and so how they begin to download."""

    def __init__(
        self,
        store: OtaRolloutStore,
        ingest: Ingest,
        bus: Bus,
        clock: Clock,
        *,
        devices_per_s: int,
        counters: Counters | None = None,
    ) -> None:
        self._store = store
        self._ingest = ingest
        self._bus = bus
        self._clock = clock
        self._devices_per_s = devices_per_s
        self._counters = counters or Counters()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._subscriptions: list[Subscription] = []
        self._failures = 0  # in a row
        self.waiting = 0  # devices of the rollout under way that were not looked at yet

    async def start(self) -> None:
        # A new device may follow a profile with packages; its credentials are what is told of it.
        self._subscriptions = [
            self._bus.subscribe(DeviceUpdated, lambda _: self.wake()),
            self._bus.subscribe(ProfileChanged, lambda _: self.wake()),
            self._bus.subscribe(CredentialsChanged, lambda _: self.wake()),
        ]
        self._task = asyncio.create_task(self._run(), name="ota-rollouts")

    async def stop(self) -> None:
        """At once: the store knows how far it came."""
        for subscription in self._subscriptions:
            subscription.close()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def wake(self) -> None:
        """Something may be to do; without it that is seen within seconds."""
        self._wake.set()

    async def list(self, tenant_id: str, *, limit: int) -> tuple[OtaRollout, ...]:
        """Newest first, those that have ended included."""
        return await self._store.list_ota_rollouts(tenant_id, limit=limit)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause_s = await self.step()
            except Exception as error:  # the edge of the task: it tries again
                self._note_failure(error)
                await asyncio.sleep(RETRY_S)
                continue
            self._failures = 0
            if pause_s is None:
                await self._wait_for_work()
            elif pause_s:
                await asyncio.sleep(pause_s)

    async def step(self) -> float | None:
        """Tells one page of devices: how long to pause after it, None when there was nothing to do.

        Devices that changed by themselves come before rollouts, and need no pause: somebody waits for each.
        """
        changes = await self._store.list_ota_changes(ALL_ATTRIBUTE_KEYS, limit=PAGE)
        if changes:
            await self._tell(changes, None)
            return 0.0
        rollout = await self._store.find_ota_rollout()
        if rollout is None:
            self.waiting = 0
            return None
        keys = ATTRIBUTE_KEYS[rollout.kind]
        size = max(1, min(PAGE, self._devices_per_s // 4))
        targets = await self._store.list_ota_targets(rollout, keys, limit=size)
        told = await self._tell(targets, rollout)
        self.waiting = max(0, (rollout.devices or 0) - rollout.done - len(targets))
        return told / self._devices_per_s

    async def _tell(self, targets: Sequence[OtaTarget], rollout: OtaRollout | None) -> int:
        now_ms = self._clock.now_ms()
        announcements = [found for target in targets if (found := announcement(target)) is not None]
        await self._give_way()
        samples = [(told.target.device_number, target_samples(told.target, now_ms)) for told in announcements]
        await asyncio.gather(*(self._ingest.store_samples(number, some) for number, some in samples if some))
        await self._store.save_ota_announcements(
            announcements, at_ms=now_ms, looked_at=targets, rollout=rollout
        )
        for told in announcements:
            device_id = told.target.device_id
            if told.removed:
                self._bus.publish(SharedAttributesChanged(device_id, told.removed))
            if told.values:
                self._bus.publish(SharedAttributesChanged(device_id, tuple(told.values)))
        self._counters.ota_devices_told += len(announcements)
        return len(announcements)

    async def _give_way(self) -> None:
        """Devices' own telemetry goes first when the store is behind."""
        if self._ingest.full:
            drained = asyncio.Event()
            self._ingest.when_drained(drained.set)
            async with asyncio.timeout(_DRAIN_S):
                await drained.wait()

    async def _wait_for_work(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._wake.wait()
        except TimeoutError:
            pass  # something may have changed in another way, such as by another node

    def _note_failure(self, error: Exception) -> None:
        """Logs the first of several: a full disk would fill the log as well."""
        self._failures += 1
        if self._failures == 1:
            problem = error.sentence if isinstance(error, ThingpassError) else None
            _log.warning("ota.rollout_failed", problem=problem, exc_info=None if problem else error)
