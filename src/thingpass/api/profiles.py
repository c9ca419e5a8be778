"""Device profiles, as far as clients must read them to save a device (reference 4.1, 4.2)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import AfterValidator
from starlette.responses import Response

from thingpass.api.answers import answers, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import CallerOf, PageLinkOf, ServicesOf, parse_uuid
from thingpass.api.thingsboard_shapes import (
    EXAMPLE_ID,
    PageShape,
    ProfileInfoShape,
    page_shape,
    profile_info_shape,
)
from thingpass.errors import NotFound
from thingpass.store.rows import DeviceProfile

router = APIRouter(route_class=GuardedRoute, tags=["Device profiles"])

PROFILE = answers("the profile", ProfileInfoShape)
ProfileId = Annotated[str, Path(alias="deviceProfileId", examples=[EXAMPLE_ID]), AfterValidator(parse_uuid)]


@router.get(
    "/api/deviceProfileInfo/default", summary="The profile of devices that name none", responses=PROFILE
)
async def get_default_profile_info(caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(profile_info_shape(await services.store.get_default_profile(caller.tenant_id)))


@router.get("/api/deviceProfileInfo/{deviceProfileId}", summary="A device profile", responses=PROFILE)
async def get_profile_info(profile_id: ProfileId, caller: CallerOf, services: ServicesOf) -> Response:
    profile = await services.store.find_profile(profile_id)
    if profile is None or profile.tenant_id != caller.tenant_id:
        raise NotFound(f"Device profile with id [{profile_id}] is not found")
    return json_answer(profile_info_shape(profile))


@router.get(
    "/api/deviceProfileInfos",
    summary="Device profiles by page",
    responses=answers("a page", PageShape[ProfileInfoShape]),
)
async def get_profile_infos(caller: CallerOf, services: ServicesOf, link: PageLinkOf) -> Response:
    """`sortProperty` is `createdTime` (the default) or `name`; everything else sorts as `createdTime`."""
    profiles = [
        profile
        for profile in await services.store.list_profiles(caller.tenant_id)
        if link.text_search is None or link.text_search.casefold() in profile.name.casefold()
    ]

    def place(profile: DeviceProfile) -> tuple[str, int, str]:
        name = profile.name.casefold() if link.sort_by == "name" else ""
        return name, profile.created_at_ms, profile.id

    profiles.sort(key=place, reverse=link.descending)
    shown = profiles[link.offset : link.offset + link.size]
    return json_answer(page_shape([profile_info_shape(profile) for profile in shown], link, len(profiles)))
