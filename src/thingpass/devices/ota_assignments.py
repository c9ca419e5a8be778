"""Which package a device or a profile is given, checked (REST reference, 3.9).

Nobody is told here: the store notes the change with it, and `ota_rollouts` carries it out.
"""

from __future__ import annotations

import msgspec

from thingpass.devices.devices import DeviceService
from thingpass.devices.ota_checks import check_assignable
from thingpass.devices.ota_packages import PackageStore
from thingpass.errors import NotFound
from thingpass.store.rows import OTA_FIRMWARE, Device, DeviceProfile


class OtaAssignments:
    def __init__(self, store: PackageStore, devices: DeviceService) -> None:
        self._store = store
        self._devices = devices

    async def assign_to_device(
        self, tenant_id: str, device_id: str, kind: str, package_id: str | None
    ) -> Device:
        """None: the device follows its profile again. Raises NotFound, Invalid, `version-conflict`."""
        device = await self._devices.get(tenant_id, device_id)
        if kind == OTA_FIRMWARE:
            wanted = msgspec.structs.replace(device, firmware_id=package_id)
        else:
            wanted = msgspec.structs.replace(device, software_id=package_id)
        return await self._devices.update(tenant_id, wanted)

    async def assign_to_profile(
        self, tenant_id: str, profile_id: str, kind: str, package_id: str | None
    ) -> DeviceProfile:
        """For all its devices that have none of their own. Raises NotFound, Invalid, `version-conflict`."""
        profile = await self._store.find_profile(profile_id)
        if profile is None or profile.tenant_id != tenant_id:
            raise NotFound(f"Device profile with id [{profile_id}] is not found")
        await check_assignable(self._store, tenant_id, profile.id, kind, package_id)
        if kind == OTA_FIRMWARE:
            wanted = msgspec.structs.replace(profile, default_firmware_id=package_id)
        else:
            wanted = msgspec.structs.replace(profile, default_software_id=package_id)
        return await self._store.update_profile(wanted)
