"""Devices behind gateways: for which devices a gateway may speak, and how they are found or made.

Device API reference, 2.11. A gateway names devices of its own tenant; what it names and nobody knows is made.
An existing device keeps its profile and its customer. ThingsBoard notes who made a device as a relation; here
it stands in the device's `additionalInfo`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from thingpass.devices.devices import DeviceService
from thingpass.devices.texts import check_text
from thingpass.errors import AlreadyExists, Forbidden, Invalid, NotFound, ThingpassError
from thingpass.store.rows import Device

LAST_GATEWAY: Final = "lastConnectedGateway"
"""In a device's `additionalInfo`: the id of the gateway through which it came last."""

CREATED_BY: Final = "createdByGateway"
"""And of the gateway that made it."""


class _Flags(msgspec.Struct, frozen=True, rename="camel"):
    overwrite_activity_time: object = None


class _Noted(msgspec.Struct, frozen=True, rename="camel"):
    last_connected_gateway: object = None


def overwrites_activity(device: Device) -> bool:
    """Whether what is heard of the gateway counts for every device behind it, as it asks for."""
    return _flags(device).overwrite_activity_time is True


def may_speak_for(gateway: Device, device: Device) -> bool:
    """A customer's gateway for that customer's devices and nobody's; the tenant's own for all of them."""
    if gateway.tenant_id != device.tenant_id:
        return False
    return gateway.customer_id is None or device.customer_id in (None, gateway.customer_id)


class TooManyMade(Forbidden):
    """A gateway names ever new devices."""

    code = "too-many-devices"


class GatewayDevices:
    """Finds the devices that gateways name, and makes those that there are not."""

    def __init__(self, devices: DeviceService) -> None:
        self._devices = devices

    async def find(self, device: Device) -> Device | None:
        """The device as it is now."""
        try:
            return await self._devices.get(device.tenant_id, device.id)
        except NotFound:
            return None

    async def find_or_add(
        self, gateway: Device, name: str, profile_name: str | None = None, *, may_add: bool = True
    ) -> tuple[Device, bool]:
        """The device, and whether it was made now: with this profile, in the gateway's tenant and customer.

        Raises Invalid for a name that no device can have, Forbidden for a device of another customer, and
        TooManyMade for a new one where it may not be made.
        """
        check_text("Device", "name", name, required=True)
        if name == gateway.name:
            raise Invalid(
                "A gateway is no device behind itself.",
                mend="Send its own values as a device's: v1/devices/me.",
            )
        found = await self._devices.find_by_name(gateway.tenant_id, name)
        if found is None:
            if not may_add:
                raise TooManyMade("The gateway has made as many devices as one session may.")
            found, added = await self._add(gateway, name, profile_name)
            if added:
                return found, True
        if not may_speak_for(gateway, found):
            raise Forbidden("The device is another customer's.")
        return await self._note_gateway(gateway, found), False

    async def _add(self, gateway: Device, name: str, profile_name: str | None) -> tuple[Device, bool]:
        info = {LAST_GATEWAY: gateway.id, CREATED_BY: gateway.id}
        try:
            added = await self._devices.add(
                gateway.tenant_id,
                name,
                profile_name=profile_name,
                additional_info_json=msgspec.json.encode(info).decode(),
                customer_id=gateway.customer_id,
            )
        except AlreadyExists:  # made by somebody else at the same moment
            found = await self._devices.find_by_name(gateway.tenant_id, name)
            if found is None:
                raise
            return found, False
        return added, True

    async def _note_gateway(self, gateway: Device, device: Device) -> Device:
        """Writes once for each change of gateways; a failure is no reason to refuse the device."""
        text = device.additional_info_json or "null"
        try:
            noted = msgspec.json.decode(text, type=_Noted | None)
            if noted is not None and noted.last_connected_gateway == gateway.id:
                return device
            members = msgspec.json.decode(text, type=dict[str, msgspec.Raw] | None) or {}
            members[LAST_GATEWAY] = msgspec.Raw(msgspec.json.encode(gateway.id))
            wanted = msgspec.structs.replace(
                device, additional_info_json=msgspec.json.encode(members).decode()
            )
            return await self._devices.update(device.tenant_id, wanted)
        except (ThingpassError, msgspec.MsgspecError):  # changed by somebody else; or no object is there
            return device


def _flags(device: Device) -> _Flags:
    text = device.additional_info_json
    if text is None:
        return _Flags()
    try:
        return msgspec.json.decode(text, type=_Flags)
    except msgspec.MsgspecError:  # any JSON may stand there
        return _Flags()
