"""Reading and writing devices' attributes: ThingsBoard's `/api/plugins/telemetry/...` (reference 5)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from thingpass.api.answers import answers_empty, answers_like, json_answer
from thingpass.api.parameters import ServicesOf
from thingpass.api.plain_sentences import PlainSentenceRoute
from thingpass.api.raw_bodies import raw_json_body, unwrapped
from thingpass.api.services import Services
from thingpass.api.telemetry_entities import DeviceByIdOnly, Keys, TelemetryDevice
from thingpass.api.value_texts import attributes
from thingpass.errors import Invalid
from thingpass.servers.device_payloads import parse_attributes
from thingpass.store.rows import Attribute, Device

router = APIRouter(route_class=PlainSentenceRoute, tags=["Attributes"], prefix="/api/plugins/telemetry")

ATTRIBUTES_EXAMPLE = {"serial": "S1", "limit": 5}
VALUES = answers_like("attributes", [{"lastUpdateTs": 1609459200000, "key": "serial", "value": "S1"}])
KEYS = answers_like("the keys", ["serial", "limit"])


class Scope(StrEnum):
    CLIENT_SCOPE = "CLIENT_SCOPE"
    SERVER_SCOPE = "SERVER_SCOPE"
    SHARED_SCOPE = "SHARED_SCOPE"


ScopeInPath = Annotated[Scope, Path(examples=["SERVER_SCOPE"])]


@router.get(
    "/{entityType}/{entityId}/keys/attributes", summary="Attribute keys of all scopes", responses=KEYS
)
async def get_attribute_keys(device: TelemetryDevice, services: ServicesOf) -> Response:
    return _keys(await _find(services, device, tuple(Scope), ()))


@router.get(
    "/{entityType}/{entityId}/keys/attributes/{scope}", summary="Attribute keys of a scope", responses=KEYS
)
async def get_attribute_keys_of_scope(
    device: TelemetryDevice, services: ServicesOf, scope: ScopeInPath
) -> Response:
    return _keys(await _find(services, device, (scope,), ()))


@router.get(
    "/{entityType}/{entityId}/values/attributes", summary="Attributes of all scopes", responses=VALUES
)
async def get_attributes(device: TelemetryDevice, services: ServicesOf, keys: Keys) -> Response:
    return _values(await _find(services, device, tuple(Scope), keys))


@router.get(
    "/{entityType}/{entityId}/values/attributes/{scope}", summary="Attributes of a scope", responses=VALUES
)
async def get_attributes_of_scope(
    device: TelemetryDevice, services: ServicesOf, scope: ScopeInPath, keys: Keys
) -> Response:
    return _values(await _find(services, device, (scope,), keys))


@router.post(
    "/{entityType}/{entityId}/attributes/{scope}",
    summary="Save attributes",
    openapi_extra=raw_json_body(ATTRIBUTES_EXAMPLE),
    responses=answers_empty("the attributes are stored"),
)
async def post_attributes_v2(
    device: TelemetryDevice, services: ServicesOf, request: Request, scope: ScopeInPath
) -> Response:
    """SERVER_SCOPE or SHARED_SCOPE; a device reads shared ones by asking for them."""
    return await _save(services, device, scope, await request.body())


@router.post(
    "/{entityType}/{entityId}/{scope}",
    summary="Save attributes (older path)",
    openapi_extra=raw_json_body(ATTRIBUTES_EXAMPLE),
    responses=answers_empty("the attributes are stored"),
)
async def post_attributes_v1(
    device: TelemetryDevice, services: ServicesOf, request: Request, scope: ScopeInPath
) -> Response:
    return await _save(services, device, scope, await request.body())


@router.post(
    "/{deviceId}/{scope}",
    summary="Save attributes of a device (oldest path)",
    openapi_extra=raw_json_body(ATTRIBUTES_EXAMPLE),
    responses=answers_empty("the attributes are stored"),
)
async def post_device_attributes(
    device: DeviceByIdOnly, services: ServicesOf, request: Request, scope: ScopeInPath
) -> Response:
    return await _save(services, device, scope, await request.body())


@router.delete(
    "/{entityType}/{entityId}/{scope}",
    summary="Remove attributes",
    responses=answers_empty("the attributes are gone"),
)
async def delete_attributes(
    device: TelemetryDevice, services: ServicesOf, scope: ScopeInPath, keys: Keys
) -> Response:
    """Of any scope. Keys that are not there are no error."""
    return await _remove(services, device, scope, keys)


@router.delete(
    "/{deviceId}/{scope}",
    summary="Remove attributes of a device (older path)",
    responses=answers_empty("the attributes are gone"),
)
async def delete_device_attributes(
    device: DeviceByIdOnly, services: ServicesOf, scope: ScopeInPath, keys: Keys
) -> Response:
    return await _remove(services, device, scope, keys)


async def _find(
    services: Services, device: Device, scopes: tuple[Scope, ...], keys: tuple[str, ...]
) -> list[Attribute]:
    found: list[Attribute] = []
    for scope in scopes:
        found += await services.attributes.find(device.id, scope.value, keys or None)
    return found


def _keys(found: list[Attribute]) -> Response:
    return json_answer([attribute.key for attribute in found])


def _values(found: list[Attribute]) -> Response:
    return json_answer(attributes(found))


async def _save(services: Services, device: Device, scope: Scope, body: bytes) -> Response:
    if scope is Scope.CLIENT_SCOPE:
        raise Invalid("Invalid scope: CLIENT_SCOPE", mend="Only the device writes there.")
    if not body.strip():
        raise Invalid("No attributes data found in request body!")
    try:
        values = parse_attributes(unwrapped(body))
    except Invalid as error:
        raise Invalid(f"Invalid JSON: {error.sentence}") from error
    if not values:
        raise Invalid("No attributes data found in request body!")
    await services.attributes.save(device.id, scope.value, values)
    return Response(status_code=200)


async def _remove(services: Services, device: Device, scope: Scope, keys: tuple[str, ...]) -> Response:
    if not keys:
        raise Invalid("Empty keys: []", mend="Name them in ?keys=, separated by commas.")
    await services.attributes.remove(device.id, scope.value, keys)
    return Response(status_code=200)
