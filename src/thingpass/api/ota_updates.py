"""Giving packages to devices and profiles, and watching how far they are: this server's own routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator
from starlette.responses import Response

from thingpass.api.answers import answers, answers_empty, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.ota_packages import parse_kind
from thingpass.api.ota_shapes import OtaRolloutsShape, OtaStateShape, ota_rollout_shape, ota_state_shape
from thingpass.api.parameters import CallerOf, PageLinkOf, ServicesOf, uuid_or_none
from thingpass.api.thingsboard_bodies import OtaAssignmentBody
from thingpass.api.thingsboard_shapes import PageShape, page_shape
from thingpass.errors import Invalid

router = APIRouter(route_class=GuardedRoute, tags=["Firmware and software"], prefix="/api/v2/ota")

LARGEST_PAGE = 1_000
Limit = Annotated[int, Query(ge=1, le=1_000)]
Kind = Annotated[str, Query(alias="type", examples=["FIRMWARE"]), AfterValidator(parse_kind)]


@router.post(
    "/assignment",
    summary="Give a package to a device, or to all devices of a profile",
    responses=answers_empty("it is noted; devices are told in the background"),
)
async def post_assignment(body: OtaAssignmentBody, caller: CallerOf, services: ServicesOf) -> Response:
    """`packageId` null takes it away: a device then follows its profile.

    A package of a profile goes to those of its devices that have none of their own.
    """
    if (body.device_id is None) == (body.device_profile_id is None):
        raise Invalid("Give either deviceId or deviceProfileId.")
    assignments, package_id = services.ota.assignments, body.package_id
    if body.device_id is not None:
        await assignments.assign_to_device(caller.tenant_id, body.device_id, body.type, package_id)
    elif body.device_profile_id is not None:
        await assignments.assign_to_profile(caller.tenant_id, body.device_profile_id, body.type, package_id)
    return Response(status_code=200)


@router.get(
    "/rollouts", summary="Rollouts, newest first", responses=answers("the rollouts", OtaRolloutsShape)
)
async def get_rollouts(caller: CallerOf, services: ServicesOf, limit: Limit = 100) -> Response:
    """How far each profile's package is on its way; `endedAtMs` is null while it is under way."""
    found = await services.ota.rollouts.list(caller.tenant_id, limit=limit)
    return json_answer(OtaRolloutsShape(data=[ota_rollout_shape(rollout) for rollout in found]))


@router.get(
    "/states",
    summary="Devices by page: what each is to run, what it runs, and how far it is",
    responses=answers("a page", PageShape[OtaStateShape]),
)
async def get_states(
    caller: CallerOf,
    services: ServicesOf,
    link: PageLinkOf,
    kind: Kind,
    profile_id: Annotated[str | None, Query(alias="deviceProfileId"), AfterValidator(uuid_or_none)] = None,
) -> Response:
    if link.size > LARGEST_PAGE:
        raise Invalid(
            f"Incorrect page link page size '{link.size}'. Page size must be at most {LARGEST_PAGE}."
        )
    found = await services.ota.states.list(
        caller.tenant_id,
        kind,
        limit=link.size,
        offset=link.offset,
        text_search=link.text_search,
        sort_by=link.sort_by,
        descending=link.descending,
        profile_id=profile_id,
    )
    return json_answer(page_shape([ota_state_shape(state) for state in found.rows], link, found.total))
