"""Devices of customers: given, taken back, listed, claimed (rest-api reference 3.2, 3.6, 10.4).

Claims come first: a device may be named `device`, and a name may have slashes in it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator
from starlette.responses import JSONResponse, Response

from thingpass.api.answers import answers, answers_empty, json_answer
from thingpass.api.authentication import Caller
from thingpass.api.authorization import GuardedRoute
from thingpass.api.customer_shapes import ClaimShape, claim_shape
from thingpass.api.device_access import check_own_customer, device_named, only_customer, visible
from thingpass.api.device_lists import DeviceFilter, device_infos, list_devices
from thingpass.api.error_answers import ITEM_MISSING, TooManyRequests
from thingpass.api.parameters import (
    CallerOf,
    CustomerId,
    DeviceId,
    PageLink,
    PageLinkOf,
    ServicesOf,
    parse_uuid,
    uuid_or_none,
)
from thingpass.api.services import Services
from thingpass.api.thingsboard_bodies import ClaimBody
from thingpass.api.thingsboard_shapes import (
    EXAMPLE_ID,
    DeviceInfoShape,
    DeviceShape,
    PageShape,
    device_shape,
    page_shape,
)
from thingpass.devices.claiming import ClaimingTriedTooOften, ClaimResult
from thingpass.errors import NotFound
from thingpass.store.rows import Page

router = APIRouter(route_class=GuardedRoute, tags=["Customers"])

DEVICE = answers("the device", DeviceShape)
DeviceName = Annotated[str, Path(alias="deviceName", examples=["Pump 1"])]
TypeFilter = Annotated[str | None, Query(alias="type", description="only this type", examples=["default"])]
ProfileFilter = Annotated[str | None, Query(alias="deviceProfileId"), AfterValidator(uuid_or_none)]


@router.post(
    "/api/customer/device/{deviceName:path}/claim",
    summary="Claim a device by the secret that it has said",
    responses=answers("the device is the caller's customer's", ClaimShape),
)
async def claim_device(
    device_name: DeviceName, caller: CallerOf, services: ServicesOf, body: ClaimBody | None = None
) -> Response:
    """400 with the bare text `"FAILURE"` (no claim, one that has ended, a wrong secret) or `"CLAIMED"`.

    After ten wrong secrets for a device or thirty of a user within five minutes: 429 with `Retry-After`.
    """
    customer_id = only_customer(caller)
    assert caller.user is not None and customer_id is not None, "the role says so"
    device = await device_named(services, caller.tenant_id, device_name)
    try:
        result, device = await services.claims.claim(
            device,
            customer_id,
            (body.secret_key if body is not None else None) or "",
            user_id=caller.user.id,
        )
    except ClaimingTriedTooOften as error:
        raise TooManyRequests(error.sentence, retry_after_s=error.retry_after_s) from error
    if result is not ClaimResult.SUCCESS:
        return JSONResponse(result.value, 400)
    return json_answer(claim_shape(device, result.value))


@router.delete(
    "/api/customer/device/{deviceName:path}/claim",
    summary="Give a claimed device back, so that it can be claimed again",
    responses=answers_empty("it is nobody's"),
)
async def reclaim_device(device_name: DeviceName, caller: CallerOf, services: ServicesOf) -> Response:
    device = visible(caller, await device_named(services, caller.tenant_id, device_name))
    await services.claims.give_back(device)
    return Response(status_code=200)


@router.post(
    "/api/customer/{customerId}/device/{deviceId}", summary="Give a device to a customer", responses=DEVICE
)
async def assign_device(
    customer_id: CustomerId, device_id: DeviceId, caller: CallerOf, services: ServicesOf
) -> Response:
    device = await services.devices.get(caller.tenant_id, device_id)
    return json_answer(device_shape(await services.customers.assign(device, customer_id)))


@router.delete("/api/customer/device/{deviceId}", summary="Take a device from its customer", responses=DEVICE)
async def unassign_device(device_id: DeviceId, caller: CallerOf, services: ServicesOf) -> Response:
    device = await services.devices.get(caller.tenant_id, device_id)
    return json_answer(device_shape(await services.customers.unassign(device)))


@router.post(
    "/api/owner/{ownerType}/{ownerId}/DEVICE/{deviceId}",
    summary="Give a device to a customer, or back to the tenant (the 4.4 client's way)",
    responses=answers_empty("it is done"),
)
async def change_owner(
    owner_type: Annotated[str, Path(alias="ownerType", examples=["CUSTOMER"])],
    owner_id: Annotated[str, Path(alias="ownerId", examples=[EXAMPLE_ID]), AfterValidator(parse_uuid)],
    device_id: DeviceId,
    caller: CallerOf,
    services: ServicesOf,
) -> Response:
    device = await services.devices.get(caller.tenant_id, device_id)
    if owner_type == "CUSTOMER":
        await services.customers.assign(device, owner_id)
    elif owner_type == "TENANT" and owner_id == caller.tenant_id:
        if device.customer_id is not None:
            await services.customers.unassign(device)
    else:
        raise NotFound(ITEM_MISSING)
    return Response(status_code=200)


@router.get(
    "/api/customer/{customerId}/devices",
    summary="A customer's devices by page",
    responses=answers("a page", PageShape[DeviceShape]),
)
async def get_customer_devices(
    customer_id: CustomerId,
    caller: CallerOf,
    services: ServicesOf,
    link: PageLinkOf,
    type_name: TypeFilter = None,
) -> Response:
    found = await _list(services, caller, customer_id, link, DeviceFilter(type_name=type_name))
    return json_answer(page_shape([device_shape(device) for device in found.rows], link, found.total))


@router.get(
    "/api/customer/{customerId}/deviceInfos",
    summary="A customer's devices by page, and whether each is connected",
    responses=answers("a page", PageShape[DeviceInfoShape]),
)
async def get_customer_device_infos(
    customer_id: CustomerId,
    caller: CallerOf,
    services: ServicesOf,
    link: PageLinkOf,
    type_name: TypeFilter = None,
    profile_id: ProfileFilter = None,
    active: Annotated[bool | None, Query(description="only connected ones, or only others")] = None,
) -> Response:
    wanted = DeviceFilter(type_name=type_name, profile_id=profile_id, active=active)
    found = await _list(services, caller, customer_id, link, wanted)
    return json_answer(page_shape(await device_infos(services, found.rows), link, found.total))


async def _list(
    services: Services, caller: Caller, customer_id: str, link: PageLink, wanted: DeviceFilter
) -> Page:
    customer = await services.customers.get(caller.tenant_id, customer_id)
    check_own_customer(caller, customer.id)
    only_theirs = msgspec.structs.replace(wanted, customer_id=customer.id)
    return await list_devices(services, caller.tenant_id, link, only_theirs)
