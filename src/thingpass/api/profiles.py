"""Device profiles: ThingsBoard's `/api/deviceProfile...` (rest-api reference 4.1 to 4.4)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator
from starlette.responses import Response

from thingpass.api.answers import answers, answers_empty, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import CallerOf, PageLink, ProfilePageLinkOf, ServicesOf, parse_uuid
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
from thingpass.store.rows import ProfilePage

router = APIRouter(route_class=GuardedRoute, tags=["Device profiles"])

PROFILE = answers("the profile", ProfileShape)
PROFILE_INFO = answers("the profile", ProfileInfoShape)
ProfileId = Annotated[str, Path(alias="deviceProfileId", examples=[EXAMPLE_ID]), AfterValidator(parse_uuid)]
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
    "/api/deviceProfileInfos",
    summary="Device profiles in short, by page",
    responses=answers("a page", PageShape[ProfileInfoShape]),
)
async def get_profile_infos(
    caller: CallerOf, services: ServicesOf, link: ProfilePageLinkOf, transport_type: TransportType = None
) -> Response:
    found = await _page(services, caller.tenant_id, link, transport_type)
    infos = [profile_info_shape(profile) for profile in found.rows]
    return json_answer(page_shape(infos, link, found.total))


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
