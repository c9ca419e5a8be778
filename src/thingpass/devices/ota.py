"""The parts that updates over the air are made of, built together."""

from __future__ import annotations

from typing import Protocol

import msgspec

from thingpass.bus.bus import Bus
from thingpass.clock import Clock
from thingpass.devices.devices import DeviceService
from thingpass.devices.ota_assignments import OtaAssignments
from thingpass.devices.ota_blocks import OtaBlocks
from thingpass.devices.ota_downloads import OtaDownloads
from thingpass.devices.ota_packages import OtaPackageService
from thingpass.devices.ota_rollouts import OtaRolloutService
from thingpass.devices.ota_states import OtaStates, StateStore
from thingpass.devices.profiles import ProfileService
from thingpass.metrics import Counters
from thingpass.settings import OtaSettings
from thingpass.store.store import OtaRolloutStore
from thingpass.telemetry.ingest import Ingest


class OtaStore(StateStore, OtaRolloutStore, Protocol):
    """What all parts together need of the store."""


class Ota(msgspec.Struct, frozen=True, kw_only=True):
    """`start` begins to tell devices of their packages; `stop` ends that, and reads that are under way."""

    packages: OtaPackageService
    assignments: OtaAssignments
    downloads: OtaDownloads
    rollouts: OtaRolloutService
    states: OtaStates
    blocks: OtaBlocks

    async def start(self) -> None:
        await self.rollouts.start()

    async def stop(self) -> None:
        await self.rollouts.stop()
        await self.blocks.close()


def make_ota(
    settings: OtaSettings,
    *,
    store: OtaStore,
    devices: DeviceService,
    profiles: ProfileService,
    ingest: Ingest,
    bus: Bus,
    clock: Clock,
    counters: Counters,
) -> Ota:
    blocks = OtaBlocks(store, cache_bytes=settings.cache_bytes)
    rollouts = OtaRolloutService(
        store, ingest, bus, clock, devices_per_s=settings.devices_per_s, counters=counters
    )
    counters.set_gauge("ota_devices_waiting", lambda: rollouts.waiting)
    return Ota(
        packages=OtaPackageService(store, clock, maximum_bytes=settings.maximum_package_bytes),
        assignments=OtaAssignments(devices, profiles),
        downloads=OtaDownloads(store, blocks, counters),
        rollouts=rollouts,
        states=OtaStates(store),
        blocks=blocks,
    )
