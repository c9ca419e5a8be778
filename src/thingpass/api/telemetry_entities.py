"""Whose data a telemetry route is about, and which keys (rest-api reference 5.1, 5.8)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query

from thingpass.api.authentication import Caller
from thingpass.api.device_access import reachable_device
from thingpass.api.parameters import CallerOf, ServicesOf, parse_uuid
from thingpass.api.services import Services
from thingpass.errors import Invalid, NotFound
from thingpass.store.rows import Device

MAX_KEYS = 1_000

OTHER_ENTITY_TYPES = {
    "TENANT": "Tenant",
    "CUSTOMER": "Customer",
    "USER": "User",
    "DEVICE_PROFILE": "Device profile",
    "ASSET": "Asset",
    "ENTITY_VIEW": "Entity view",
    "EDGE": "Edge",
    "DASHBOARD": "Dashboard",
    "RULE_CHAIN": "Rule chain",
    "ALARM": "Alarm",
}
"""ThingsBoard's entities that have telemetry too; here only devices do."""


class BadEntity(Invalid):
    """The path names no entity. Answered by the error object, as ThingsBoard does for a wrong type."""


async def _device(
    entity_type: Annotated[str, Path(alias="entityType", examples=["DEVICE"])],
    entity_id: Annotated[str, Path(alias="entityId", examples=["784f394c-42b6-435a-983c-b7beff2784f9"])],
    caller: CallerOf,
    services: ServicesOf,
) -> Device:
    if entity_type in OTHER_ENTITY_TYPES:
        raise NotFound(f"{OTHER_ENTITY_TYPES[entity_type]} with requested id wasn't found!")
    if entity_type != "DEVICE":
        raise BadEntity(
            f"No enum constant org.thingsboard.server.common.data.EntityType.{entity_type[:64]}",
            mend="The path wants DEVICE and an id; with the Python client pass device.id, not its UUID.",
        )
    return await _get(services, caller, entity_id)


async def _device_by_id_only(
    device_id: Annotated[str, Path(alias="deviceId", examples=["784f394c-42b6-435a-983c-b7beff2784f9"])],
    caller: CallerOf,
    services: ServicesOf,
) -> Device:
    return await _get(services, caller, device_id)


async def _get(services: Services, caller: Caller, text: str) -> Device:
    try:
        device_id = parse_uuid(text)
    except ValueError as error:
        raise BadEntity(str(error)) from error
    try:
        return await reachable_device(services, caller, device_id)
    except NotFound as error:
        raise NotFound("Device with requested id wasn't found!") from error


async def _keys(
    keys: Annotated[
        str | None, Query(description="separated by commas", examples=["temperature,humidity"])
    ] = None,
    key: Annotated[list[str] | None, Query(description="one key each; for keys with a comma in them")] = None,
) -> tuple[str, ...]:
    """No duplicates; empty if none was named."""
    named = key or (keys or "").split(",")
    found = tuple(dict.fromkeys(name for name in named if name))
    if len(found) > MAX_KEYS:
        raise Invalid(f"{len(found)} keys are too many; ask for at most {MAX_KEYS}.")
    return found


TelemetryDevice = Annotated[Device, Depends(_device)]
DeviceByIdOnly = Annotated[Device, Depends(_device_by_id_only)]
Keys = Annotated[tuple[str, ...], Depends(_keys)]
