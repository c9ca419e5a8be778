"""Creating and updating devices as ThingsBoard's clients ask for it (rest-api reference 3.3, 3.5, 3.8)."""

from __future__ import annotations

import msgspec

from thingpass.api.authentication import Caller
from thingpass.api.credentials_saving import save_credentials
from thingpass.api.device_access import reachable_device
from thingpass.api.error_answers import NO_PERMISSION, VersionConflict
from thingpass.api.services import Services
from thingpass.api.thingsboard_bodies import DeviceBody, DeviceWithCredentialsBody
from thingpass.api.tokens import NULL_UUID
from thingpass.devices.roles import CUSTOMER_USER
from thingpass.errors import Forbidden, Invalid, ThingpassError
from thingpass.messaging.gateway_mark import is_gateway
from thingpass.store.rows import Device


async def save_device(
    services: Services, caller: Caller, body: DeviceBody, *, access_token: str | None = None
) -> Device:
    """Creates (without `id`) or updates. Raises Invalid, AlreadyExists, NotFound, VersionConflict."""
    if body.id is not None:
        return await _update(services, caller, body.id.id, body)
    if caller.authority == CUSTOMER_USER:
        raise Forbidden(NO_PERMISSION)
    return await services.devices.add(
        caller.tenant_id,
        body.name or "",
        profile_name=await _profile_name(services, caller.tenant_id, body),
        label=body.label,
        additional_info_json=_json_text(body),
        access_token=access_token or None,
        firmware_id=None if body.firmware_id is None else body.firmware_id.id,
        software_id=None if body.software_id is None else body.software_id.id,
        customer_id=await _customer_id(services, caller, body, stored=None),
    )


async def save_device_with_credentials(
    services: Services, caller: Caller, body: DeviceWithCredentialsBody
) -> Device:
    """Raises as `save_device` and `save_credentials` do; no device is made whose credentials are refused."""
    device = await save_device(services, caller, body.device)
    current = await services.devices.credentials(caller.tenant_id, device.id)
    try:
        await save_credentials(services, caller.tenant_id, current, body.credentials)
    except ThingpassError:
        if body.device.id is None:
            await services.devices.remove(caller.tenant_id, device.id)
        raise
    return device


async def _customer_id(
    services: Services, caller: Caller, body: DeviceBody, *, stored: str | None
) -> str | None:
    """Whose the device is to be: what the body says, nobody's if it says nothing (reference 3.1)."""
    if caller.authority == CUSTOMER_USER:
        return stored
    wanted = None if body.customer_id is None or body.customer_id.id == NULL_UUID else body.customer_id.id
    if wanted is not None and wanted != stored:
        await services.customers.check_may_have(caller.tenant_id, wanted)
    return wanted


async def _update(services: Services, caller: Caller, device_id: str, body: DeviceBody) -> Device:
    stored = await reachable_device(services, caller, device_id)
    if body.version is not None and body.version != stored.version:
        raise VersionConflict(
            "Device was already changed by someone else", mend="Read it again, then change it."
        )
    if caller.authority == CUSTOMER_USER:
        _refuse_new_gateway(stored, _json_text(body))
    profile_id = stored.profile_id if body.device_profile_id is None else body.device_profile_id.id
    return await services.devices.update(
        caller.tenant_id,
        msgspec.structs.replace(
            stored,
            name=body.name or "",
            label=body.label,
            additional_info_json=_json_text(body),
            customer_id=await _customer_id(services, caller, body, stored=stored.customer_id),
            profile_id=profile_id,
            firmware_id=None if body.firmware_id is None else body.firmware_id.id,
            software_id=None if body.software_id is None else body.software_id.id,
            # Clients send the type that they read along with a new profile: the profile goes first.
            profile_name=body.type or stored.profile_name,
        ),
    )


def _refuse_new_gateway(stored: Device, additional_info_json: str | None) -> None:
    """A gateway speaks for other devices, also for the tenant's own: only the tenant may make one.

    Deviates: in ThingsBoard whoever may change a device may make it a gateway.
    """
    wanted = msgspec.structs.replace(stored, additional_info_json=additional_info_json)
    if is_gateway(wanted) and not is_gateway(stored):
        raise Forbidden(
            "Only a tenant administrator may make a device a gateway.",
            mend="Leave `gateway` out of additionalInfo, or ask an administrator.",
        )


async def _profile_name(services: Services, tenant_id: str, body: DeviceBody) -> str | None:
    """The name of the profile that a new device gets; None: the tenant's default."""
    if body.device_profile_id is None:
        return body.type or None
    profile = await services.store.find_profile(body.device_profile_id.id)
    if profile is None or profile.tenant_id != tenant_id:
        raise Invalid("Device is referencing non existing device profile!")
    return profile.name


def _json_text(body: DeviceBody) -> str | None:
    return None if body.additional_info is None else msgspec.json.encode(body.additional_info).decode()
