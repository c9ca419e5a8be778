"""How far each device is with its package, from what it was given and what it says in its telemetry."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import msgspec

from thingpass.devices.ota_keys import current_keys, error_key, state_key
from thingpass.store.rows import Device, OtaPackage
from thingpass.store.store import DeviceStore, OtaPackageStore, SeriesStore

_AT_ONCE: Final = 25  # devices before others get their turn: the embedded store answers without suspending


class StateStore(DeviceStore, OtaPackageStore, SeriesStore, Protocol):
    """What this service needs of the store."""


class DeviceOtaState(msgspec.Struct, frozen=True, kw_only=True):
    """One device. Texts are None where the device has said nothing."""

    device: Device
    package: OtaPackage | None  # its own, else its profile's
    current_title: str | None
    current_version: str | None
    state: str | None
    state_at_ms: int | None
    error: str | None


class OtaStatePage(msgspec.Struct, frozen=True):
    """One page of a list. `total` counts all devices that match."""

    rows: tuple[DeviceOtaState, ...]
    total: int


class OtaStates:
    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def list(
        self,
        tenant_id: str,
        kind: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        sort_by: str = "name",
        descending: bool = False,
        profile_id: str | None = None,
    ) -> OtaStatePage:
        """One page of the tenant's devices, or of one of its profiles'."""
        page = await self._store.list_devices(
            tenant_id,
            limit=limit,
            offset=offset,
            text_search=text_search,
            sort_by=sort_by,
            descending=descending,
            profile_id=profile_id,
        )
        rows: list[DeviceOtaState] = []
        for device in page.rows:
            rows.append(await self._state(device, kind))
            if len(rows) % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return OtaStatePage(tuple(rows), page.total)

    async def _state(self, device: Device, kind: str) -> DeviceOtaState:
        title_key, version_key = current_keys(kind)
        keys = (title_key, version_key, state_key(kind), error_key(kind))
        latest = await self._store.latest(device.number, keys)
        said = {key: str(point.value) for key, point in latest.items()}
        state = latest.get(state_key(kind))
        return DeviceOtaState(
            device=device,
            package=await self._store.find_ota_package_of_device(device.id, kind),
            current_title=said.get(title_key),
            current_version=said.get(version_key),
            state=said.get(state_key(kind)),
            state_at_ms=None if state is None else state.ts_ms,
            error=said.get(error_key(kind)) or None,
        )
