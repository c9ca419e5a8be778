"""Who was refused and why: `GET /api/v2/refusals`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from msgspec import Meta
from pydantic import AfterValidator
from starlette.responses import Response

from thingpass.api.answers import answers, json_answer
from thingpass.api.authentication import find_first_tenant
from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import CallerOf, ServicesOf, uuid_or_none
from thingpass.api.thingsboard_shapes import Shape
from thingpass.errors import Invalid
from thingpass.identity.refusals import REFUSALS

router = APIRouter(route_class=GuardedRoute, tags=["Connections"])

CODES = frozenset(row.code for row in REFUSALS)
SEARCHED_BY_CODE = 1_000


class RefusalShape(Shape, frozen=True):
    """One refused connection: what was seen, in plain words, and the mend."""

    id: Annotated[int, Meta(description="counts up while the server runs")]
    at_ms: Annotated[int, Meta(examples=[1609459200000])]
    code: Annotated[str, Meta(examples=["certificate-expired"])]
    sentence: str
    mend: str
    listener: Annotated[str, Meta(examples=["mqtts"])]
    peer_address: Annotated[str, Meta(examples=["192.0.2.7"])]
    peer_port: Annotated[int, Meta(examples=[40312])]
    device_id: Annotated[str, Meta(description="when the device is known")] | None
    device_name: str | None
    subject: Annotated[str, Meta(description="of the client's certificate", examples=["CN=Pump 1"])] | None
    fingerprint_sha256: str | None
    seen: Annotated[dict[str, str], Meta(description="the values in the sentence, one by one")]


class RefusalsShape(Shape, frozen=True):
    data: list[RefusalShape]


@router.get(
    "/api/v2/refusals",
    summary="Who was refused and why, newest first",
    responses=answers("the refusals", RefusalsShape),
)
async def get_refusals(
    caller: CallerOf,
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    device_id: Annotated[
        str | None, Query(alias="deviceId", description="only this device's"), AfterValidator(uuid_or_none)
    ] = None,
    code: Annotated[str | None, Query(description="only of this code, among the latest 1,000")] = None,
) -> Response:
    """The tenant's devices' refusals. Those of strangers (no known device) go to the first tenant."""
    if code is not None and code not in CODES:
        raise Invalid("There is no refusal of this code.", mend=f"One of {', '.join(sorted(CODES))}.")
    if device_id is not None:
        await services.devices.get(caller.tenant_id, device_id)
    entries = services.refusal_log.list(
        limit if code is None else SEARCHED_BY_CODE,
        device_id,
        tenant_id=caller.tenant_id,
        include_strangers=caller.tenant_id == await find_first_tenant(services.store),
    )
    wanted = [entry for entry in entries if code is None or entry.code == code][:limit]
    return json_answer(
        RefusalsShape(data=[RefusalShape(**msgspec.structs.asdict(entry)) for entry in wanted])
    )
