"""What happened to a device: `GET /api/v2/devices/{deviceId}/events`."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import APIRouter, Query
from msgspec import Meta
from starlette.responses import Response

from thingpass.api.answers import answers, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import CallerOf, DeviceId, ServicesOf
from thingpass.api.thingsboard_shapes import Milliseconds, Shape
from thingpass.devices.event_kinds import EVENT_CODES
from thingpass.errors import Invalid
from thingpass.store.rows import DeviceEvent

router = APIRouter(route_class=GuardedRoute, tags=["Connections"])


class DeviceEventShape(Shape, frozen=True):
    """One event. A payload is in one of two members: text when it is UTF-8, else base64."""

    id: Annotated[int, Meta(description="counts up; `before` takes it for the next page")]
    at_ms: Milliseconds
    kind: Annotated[str, Meta(examples=["disconnected"])]
    sentence: Annotated[str, Meta(examples=["The network connection ended without a goodbye."])]
    details: Annotated[
        dict[str, str | int | bool], Meta(examples=[{"code": "network-lost", "peerAddress": "192.0.2.7"}])
    ]
    payload: Annotated[str, Meta(description="of a will")] | None
    payload_base64: str | None


class DeviceEventsShape(Shape, frozen=True):
    data: list[DeviceEventShape]
    has_next: bool


@router.get(
    "/api/v2/devices/{deviceId}/events",
    summary="What happened to a device, newest first",
    responses=answers("the events", DeviceEventsShape),
)
async def get_device_events(
    device_id: DeviceId,
    caller: CallerOf,
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="only events before this id")] = None,
    kind: Annotated[str | None, Query(description="only of this kind", examples=["will"])] = None,
    start_ms: Annotated[
        int, Query(alias="startTs", ge=0, le=2**63 - 1, description="only from this time on")
    ] = 0,
) -> Response:
    """An event shows up within a second. How many are kept, and how long, is in the settings."""
    if kind is not None and kind not in EVENT_CODES:
        raise Invalid("There is no event of this kind.", mend=f"One of {', '.join(sorted(EVENT_CODES))}.")
    device = await services.devices.get(caller.tenant_id, device_id)
    found = await services.device_events.list(
        device.id, limit=limit + 1, before_id=before, kind=kind, since_ms=start_ms
    )
    shapes = [_shape(event) for event in found[:limit]]
    return json_answer(DeviceEventsShape(data=shapes, has_next=len(found) > limit))


def _shape(event: DeviceEvent) -> DeviceEventShape:
    text = encoded = None
    if event.payload is not None:
        try:
            text = event.payload.decode()
        except UnicodeDecodeError:
            encoded = base64.b64encode(event.payload).decode()
    return DeviceEventShape(
        id=event.id,
        at_ms=event.at_ms,
        kind=event.kind,
        sentence=event.sentence,
        details=event.details,
        payload=text,
        payload_base64=encoded,
    )
