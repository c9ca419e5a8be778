"""Devices: ThingsBoard's `/api/device...` and `/api/tenant/device...` (rest-api reference 3.1 to 3.5)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator
from starlette.responses import Response

from thingpass.api.answers import answers, answers_empty, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.device_access import device_named, reachable_device
from thingpass.api.device_lists import DeviceFilter, device_infos, list_devices
from thingpass.api.device_saving import save_device, save_device_with_credentials
from thingpass.api.parameters import CallerOf, DeviceId, PageLinkOf, ServicesOf, make_page_link, uuid_or_none
from thingpass.api.thingsboard_bodies import DeviceBody, DeviceWithCredentialsBody
from thingpass.api.thingsboard_shapes import (
    DeviceInfoShape,
    DeviceShape,
    PageShape,
    TypeShape,
    device_shape,
    page_shape,
    type_shape,
)

router = APIRouter(route_class=GuardedRoute, tags=["Devices"])


DEVICE = answers("the device", DeviceShape)
TypeFilter = Annotated[str | None, Query(alias="type", description="only this type", examples=["default"])]
DeviceName = Annotated[str, Query(alias="deviceName", examples=["Pump 1"])]


@router.post("/api/device", summary="Create or update a device", responses=DEVICE)
async def post_device(
    body: DeviceBody,
    caller: CallerOf,
    services: ServicesOf,
    access_token: Annotated[str | None, Query(alias="accessToken", description="of a new device")] = None,
) -> Response:
    """Without `id` a new device with access-token credentials, made up unless `accessToken` gives one.

    With `id` an update: what is left out is taken away, as in ThingsBoard.
    """
    return json_answer(device_shape(await save_device(services, caller, body, access_token=access_token)))


@router.post(
    "/api/device-with-credentials",
    summary="Create or update a device together with its credentials",
    responses=DEVICE,
)
async def post_device_with_credentials(
    body: DeviceWithCredentialsBody, caller: CallerOf, services: ServicesOf
) -> Response:
    """If the credentials are refused, a device that this call made is taken away again."""
    return json_answer(device_shape(await save_device_with_credentials(services, caller, body)))


@router.get(
    "/api/device/types",
    summary="Names of the tenant's device types",
    responses=answers("the types", list[TypeShape]),
)
async def get_device_types(caller: CallerOf, services: ServicesOf) -> Response:
    profiles = await services.store.list_profiles(caller.tenant_id)
    return json_answer([type_shape(profile) for profile in profiles])


@router.get(
    "/api/device/info/{deviceId}",
    summary="A device, and whether it is active",
    responses=answers("the device", DeviceInfoShape),
)
async def get_device_info(device_id: DeviceId, caller: CallerOf, services: ServicesOf) -> Response:
    device = await reachable_device(services, caller, device_id)
    return json_answer((await device_infos(services, [device]))[0])


@router.get("/api/device/{deviceId}", summary="A device", responses=DEVICE)
async def get_device(device_id: DeviceId, caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(device_shape(await reachable_device(services, caller, device_id)))


@router.delete(
    "/api/device/{deviceId}",
    summary="Remove a device, its credentials and its data",
    responses=answers_empty("it is gone"),
)
async def delete_device(device_id: DeviceId, caller: CallerOf, services: ServicesOf) -> Response:
    await services.devices.remove(caller.tenant_id, device_id)
    return Response(status_code=200)


@router.get("/api/tenant/device", summary="The device of a name", responses=DEVICE)
async def get_tenant_device(name: DeviceName, caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(device_shape(await device_named(services, caller.tenant_id, name)))


@router.get(
    "/api/tenant/devices",
    summary="Devices by page, or the device of a name",
    responses=answers("a page, or the device", PageShape[DeviceShape], DeviceShape),
)
async def get_tenant_devices(
    caller: CallerOf,
    services: ServicesOf,
    page_size: Annotated[int | None, Query(alias="pageSize", examples=[20])] = None,
    page: Annotated[int | None, Query(examples=[0])] = None,
    type_name: TypeFilter = None,
    text_search: Annotated[str | None, Query(alias="textSearch", description="part of name or label")] = None,
    sort_property: Annotated[str | None, Query(alias="sortProperty", examples=["name"])] = None,
    sort_order: Annotated[str | None, Query(alias="sortOrder", examples=["ASC"])] = None,
    device_name: Annotated[str | None, Query(alias="deviceName", description="one device, no page")] = None,
) -> Response:
    """Two answers on one path, as in ThingsBoard: with `deviceName` that device, else a page."""
    if device_name is not None and page_size is None:
        return json_answer(device_shape(await device_named(services, caller.tenant_id, device_name)))
    link = make_page_link(page_size, page, text_search, sort_property, sort_order)
    found = await list_devices(services, caller.tenant_id, link, DeviceFilter(type_name=type_name))
    return json_answer(page_shape([device_shape(device) for device in found.rows], link, found.total))


@router.get(
    "/api/tenant/deviceInfos",
    summary="Devices by page, and whether each is active",
    responses=answers("a page", PageShape[DeviceInfoShape]),
)
async def get_tenant_device_infos(
    caller: CallerOf,
    services: ServicesOf,
    link: PageLinkOf,
    type_name: TypeFilter = None,
    profile_id: Annotated[str | None, Query(alias="deviceProfileId"), AfterValidator(uuid_or_none)] = None,
    active: Annotated[bool | None, Query(description="only active ones, or only others")] = None,
) -> Response:
    wanted = DeviceFilter(type_name=type_name, profile_id=profile_id, active=active)
    found = await list_devices(services, caller.tenant_id, link, wanted)
    return json_answer(page_shape(await device_infos(services, found.rows), link, found.total))
