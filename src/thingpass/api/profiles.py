"""Device profiles: ThingsBoard's `/api/deviceProfile...` (rest-api reference 4.1 to 4.4)."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator
from starlette.responses import Response

from thingpass.api.answers import answers, answers_empty, answers_like, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import (
    PROFILE_COLUMNS,
    CallerOf,
    PageLink,
    ProfilePageLinkOf,
    ServicesOf,
    make_page_link,
    parse_uuid,
    uuid_or_none,
)
from thingpass.api.profile_shapes import (
    ProfileBody,
    ProfileInfoShape,
    ProfileNameShape,
    ProfileShape,
    profile_info_shape,
    profile_name_shape,
    profile_of,
    profile_shape,
)
from thingpass.api.services import Services
from thingpass.api.thingsboard_shapes import EXAMPLE_ID, PageShape, page_shape
from thingpass.errors import Invalid, NotFound
from thingpass.store.rows import Device, ProfilePage
from thingpass.telemetry.attributes import SCOPES

router = APIRouter(route_class=GuardedRoute, tags=["Device profiles"])

PROFILE = answers("the profile", ProfileShape)
PROFILE_INFO = answers("the profile", ProfileInfoShape)
ProfileId = Annotated[str, Path(alias="deviceProfileId", examples=[EXAMPLE_ID]), AfterValidator(parse_uuid)]
ProfileFilter = Annotated[
    str | None, Query(alias="deviceProfileId", description="only of this one"), AfterValidator(uuid_or_none)
]
Ids = Annotated[str, Query(alias="deviceProfileIds", description="ids, separated by commas")]
DEVICES_LOOKED_AT = 100
MOST_IDS = 1_000
TransportType = Annotated[
    str | None, Query(alias="transportType", description="only this one", examples=["MQTT"])
]


@router.post("/api/deviceProfile", summary="Create or update a device profile", responses=PROFILE)
async def post_profile(body: ProfileBody, caller: CallerOf, services: ServicesOf) -> Response:
    """Without `id` a new profile. With `id` an update, which devices that are connected follow at once.

    Schemas of protobuf payloads are read when they are saved; what is wrong with one is told with its line.
    """
    wanted = profile_of(body, caller.tenant_id)
    saved = await (services.profiles.update(wanted) if wanted.id else services.profiles.add(wanted))
    return json_answer(profile_shape(saved))


@router.get(
    "/api/deviceProfile/names",
    summary="Names of the tenant's device profiles",
    responses=answers("ids and names", list[ProfileNameShape]),
)
async def get_profile_names(
    caller: CallerOf,
    services: ServicesOf,
    active_only: Annotated[
        bool, Query(alias="activeOnly", description="only those that devices have")
    ] = False,
) -> Response:
    profiles = await services.profiles.names(caller.tenant_id, used_only=active_only)
    return json_answer([profile_name_shape(profile) for profile in profiles])


@router.get(
    "/api/deviceProfile/devices/keys/timeseries",
    summary="Keys of the series of a profile's devices",
    responses=answers_like("the keys", ["temperature", "humidity"]),
)
async def get_series_keys_of_devices(
    caller: CallerOf, services: ServicesOf, profile_id: ProfileFilter = None
) -> Response:
    """Looks at so many devices as ThingsBoard does, the latest 100."""
    keys: set[str] = set()
    for device in await _some_devices(services, caller.tenant_id, profile_id):
        keys.update(await services.latest.keys(device.number))
        await asyncio.sleep(0)  # the embedded store answers without suspending; devices come in between
    return json_answer(sorted(keys))


@router.get(
    "/api/deviceProfile/devices/keys/attributes",
    summary="Keys of the attributes of a profile's devices",
    responses=answers_like("the keys", ["model", "interval"]),
)
async def get_attribute_keys_of_devices(
    caller: CallerOf, services: ServicesOf, profile_id: ProfileFilter = None
) -> Response:
    """Looks at so many devices as ThingsBoard does, the latest 100."""
    keys: set[str] = set()
    for device in await _some_devices(services, caller.tenant_id, profile_id):
        for scope in SCOPES:
            keys.update(row.key for row in await services.attributes.find(device.id, scope, None))
        await asyncio.sleep(0)
    return json_answer(sorted(keys))


@router.get("/api/deviceProfile/{deviceProfileId}", summary="A device profile", responses=PROFILE)
async def get_profile(profile_id: ProfileId, caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(profile_shape(await services.profiles.get(caller.tenant_id, profile_id)))


@router.delete(
    "/api/deviceProfile/{deviceProfileId}",
    summary="Remove a device profile that no device has",
    responses=answers_empty("it is gone"),
)
async def delete_profile(profile_id: ProfileId, caller: CallerOf, services: ServicesOf) -> Response:
    await services.profiles.remove(caller.tenant_id, profile_id)
    return Response(status_code=200)


@router.post(
    "/api/deviceProfile/{deviceProfileId}/default",
    summary="Make it the profile of devices that name none",
    responses=PROFILE,
)
async def post_default_profile(profile_id: ProfileId, caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(profile_shape(await services.profiles.set_default(caller.tenant_id, profile_id)))


@router.get(
    "/api/deviceProfiles",
    summary="Device profiles by page",
    responses=answers("a page", PageShape[ProfileShape]),
)
async def get_profiles(caller: CallerOf, services: ServicesOf, link: ProfilePageLinkOf) -> Response:
    found = await _page(services, caller.tenant_id, link)
    return json_answer(page_shape([profile_shape(profile) for profile in found.rows], link, found.total))


@router.get(
    "/api/deviceProfileInfo/default",
    summary="The profile of devices that name none, in short",
    responses=PROFILE_INFO,
)
async def get_default_profile_info(caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(profile_info_shape(await services.profiles.get_default(caller.tenant_id)))


@router.get(
    "/api/deviceProfileInfo/{deviceProfileId}", summary="A device profile in short", responses=PROFILE_INFO
)
async def get_profile_info(profile_id: ProfileId, caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(profile_info_shape(await services.profiles.get(caller.tenant_id, profile_id)))


@router.get(
    "/api/deviceProfileInfos/list",
    summary="Device profiles in short, by their ids",
    responses=answers("the profiles", list[ProfileInfoShape]),
)
async def get_profile_infos_by_ids(caller: CallerOf, services: ServicesOf, ids: Ids) -> Response:
    return await _infos_by_ids(services, caller.tenant_id, ids)


@router.get(
    "/api/deviceProfileInfos",
    summary="Device profiles in short, by page or by their ids",
    responses=answers("a page, or the profiles", PageShape[ProfileInfoShape], list[ProfileInfoShape]),
)
async def get_profile_infos(
    caller: CallerOf,
    services: ServicesOf,
    page_size: Annotated[int | None, Query(alias="pageSize", examples=[20])] = None,
    page: Annotated[int | None, Query(examples=[0])] = None,
    text_search: Annotated[str | None, Query(alias="textSearch", description="part of the name")] = None,
    sort_property: Annotated[str | None, Query(alias="sortProperty", examples=["name"])] = None,
    sort_order: Annotated[str | None, Query(alias="sortOrder", examples=["ASC"])] = None,
    transport_type: TransportType = None,
    ids: Annotated[str | None, Query(alias="deviceProfileIds", description="these, no page")] = None,
) -> Response:
    """Two answers on one path, as in ThingsBoard: with `deviceProfileIds` an array, else a page."""
    if ids is not None and page_size is None:
        return await _infos_by_ids(services, caller.tenant_id, ids)
    link = make_page_link(page_size, page, text_search, sort_property, sort_order, PROFILE_COLUMNS)
    found = await _page(services, caller.tenant_id, link, transport_type)
    infos = [profile_info_shape(profile) for profile in found.rows]
    return json_answer(page_shape(infos, link, found.total))


async def _infos_by_ids(services: Services, tenant_id: str, ids: str) -> Response:
    """Those that there are, in the order in which they were asked for."""
    wanted = list(dict.fromkeys(ids.split(",")))
    if len(wanted) > MOST_IDS:
        raise Invalid(f"{len(wanted)} ids are too many; {MOST_IDS} are taken at most.")
    infos: list[ProfileInfoShape] = []
    for profile_id in wanted:
        try:
            profile = await services.profiles.get(tenant_id, parse_uuid(profile_id.strip()))
        except NotFound:
            continue
        except ValueError as error:
            raise Invalid(str(error)) from None
        infos.append(profile_info_shape(profile))
    return json_answer(infos)


async def _some_devices(services: Services, tenant_id: str, profile_id: str | None) -> tuple[Device, ...]:
    if profile_id is not None:
        await services.profiles.get(tenant_id, profile_id)
    page = await services.devices.list(
        tenant_id, limit=DEVICES_LOOKED_AT, descending=True, profile_id=profile_id
    )
    return page.rows


async def _page(
    services: Services, tenant_id: str, link: PageLink, transport_type: str | None = None
) -> ProfilePage:
    return await services.profiles.list(
        tenant_id,
        limit=link.size,
        offset=link.offset,
        text_search=link.text_search,
        sort_by=link.sort_by,
        descending=link.descending,
        transport_type=transport_type or None,
    )
