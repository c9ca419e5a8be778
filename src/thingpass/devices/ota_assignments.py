"""Giving a package to a device or to a profile, without saying all else that they are.

Nobody is told here: the store notes the change with it, and `ota_rollouts` carries it out. Whether a package
may be given is checked by those who save devices and profiles, by `ota_checks`.
"""

from __future__ import annotations

import msgspec

from thingpass.devices.devices import DeviceService
from thingpass.devices.profiles import ProfileService
from thingpass.store.rows import OTA_FIRMWARE, Device, DeviceProfile


class OtaAssignments:
    def __init__(self, devices: DeviceService, profiles: ProfileService) -> None:
        self._devices = devices
        self._profiles = profiles

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
        profile = await self._profiles.get(tenant_id, profile_id)
        if kind == OTA_FIRMWARE:
            wanted = msgspec.structs.replace(profile, default_firmware_id=package_id)
        else:
            wanted = msgspec.structs.replace(profile, default_software_id=package_id)
        return await self._profiles.update(wanted)
