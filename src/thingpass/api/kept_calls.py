"""Calls that are kept (persistent RPC): ThingsBoard's `/api/rpc/persistent/...` (rest-api reference 6.3)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from msgspec import Meta
from pydantic import AfterValidator
from starlette.responses import Response

from thingpass.api.answers import answers, answers_empty, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import CallerOf, DeviceId, ServicesOf, make_page_link, parse_uuid
from thingpass.api.rpc import is_json
from thingpass.api.thingsboard_shapes import (
    EXAMPLE_ID,
    EntityId,
    Id,
    Milliseconds,
    PageShape,
    Shape,
    page_shape,
)
from thingpass.errors import Invalid
from thingpass.messaging.rpc_statuses import RpcStatus
from thingpass.store.rows import RpcCall

router = APIRouter(route_class=GuardedRoute, tags=["Calls to devices"])


class CallBodyShape(Shape, frozen=True):
    """`params` is JSON as text, as in ThingsBoard."""

    method: Annotated[str, Meta(examples=["setGpio"])]
    params: Annotated[str, Meta(examples=['{"pin":7}'])]


class CallRequestShape(Shape, frozen=True):
    """What was asked."""

    id: Id
    tenant_id: EntityId
    device_id: EntityId
    oneway: bool
    expiration_time: Milliseconds
    body: CallBodyShape
    persisted: bool
    retries: int | None
    additional_info: str | None


class RpcShape(Shape, frozen=True):
    """A kept call. `response` is the device's answer as JSON, or as text when it is none."""

    id: EntityId
    created_time: Milliseconds
    tenant_id: EntityId
    device_id: EntityId
    expiration_time: Milliseconds
    request: CallRequestShape
    response: Annotated[msgspec.Raw, Meta(description="any JSON")] | str | None
    status: Annotated[str, Meta(examples=[RpcStatus.QUEUED.value])]
    additional_info: Annotated[msgspec.Raw, Meta(description="any JSON")] | None


RpcId = Annotated[str, Path(alias="rpcId", examples=[EXAMPLE_ID]), AfterValidator(parse_uuid)]


@router.get(
    "/api/rpc/persistent/device/{deviceId}",
    summary="A device's kept calls, newest first",
    responses=answers("a page", PageShape[RpcShape]),
)
async def get_device_calls(
    device_id: DeviceId,
    caller: CallerOf,
    services: ServicesOf,
    page_size: Annotated[int | None, Query(alias="pageSize", examples=[20])] = None,
    page: Annotated[int | None, Query(examples=[0])] = None,
    rpc_status: Annotated[
        RpcStatus | None, Query(alias="rpcStatus", description="only these; DELETED ones are gone")
    ] = None,
    sort_property: Annotated[
        str | None, Query(alias="sortProperty", description="createdTime", examples=["createdTime"])
    ] = None,
    sort_order: Annotated[str | None, Query(alias="sortOrder", examples=["DESC"])] = None,
) -> Response:
    if rpc_status is RpcStatus.DELETED:
        raise Invalid("RpcStatus: DELETED", mend="Calls that were deleted are not kept.")
    device = await services.devices.get(caller.tenant_id, device_id)
    link = make_page_link(page_size, page, None, sort_property, sort_order)
    found = await services.rpc.kept.list_calls(
        device.id,
        limit=link.size,
        offset=link.offset,
        status=None if rpc_status is None else rpc_status.value,
        descending=link.descending or not sort_property,
    )
    return json_answer(page_shape([_shape(row) for row in found.rows], link, found.total))


@router.get("/api/rpc/persistent/{rpcId}", summary="A kept call", responses=answers("the call", RpcShape))
async def get_call(rpc_id: RpcId, caller: CallerOf, services: ServicesOf) -> Response:
    return json_answer(_shape(await services.rpc.kept.get(caller.tenant_id, rpc_id)))


@router.delete(
    "/api/rpc/persistent/{rpcId}",
    summary="Withdraw or forget a kept call",
    responses=answers_empty("it is gone"),
)
async def delete_call(rpc_id: RpcId, caller: CallerOf, services: ServicesOf) -> Response:
    await services.rpc.kept.remove(caller.tenant_id, rpc_id)
    return Response(status_code=200)


def _shape(row: RpcCall) -> RpcShape:
    tenant_id = EntityId(entity_type="TENANT", id=row.tenant_id)
    device_id = EntityId(entity_type="DEVICE", id=row.device_id)
    info = row.additional_info_json
    return RpcShape(
        id=EntityId(entity_type="RPC", id=row.id),
        created_time=row.created_at_ms,
        tenant_id=tenant_id,
        device_id=device_id,
        expiration_time=row.expires_at_ms,
        request=CallRequestShape(
            id=row.id,
            tenant_id=tenant_id,
            device_id=device_id,
            oneway=row.oneway,
            expiration_time=row.expires_at_ms,
            body=CallBodyShape(method=row.method, params=row.params_json),
            persisted=True,
            retries=row.retries,
            additional_info=info,
        ),
        response=_response(row.response),
        status=row.status,
        additional_info=None if info is None else msgspec.Raw(info.encode()),
    )


def _response(payload: bytes | None) -> msgspec.Raw | str | None:
    if not payload:
        return None
    return msgspec.Raw(payload) if is_json(payload) else payload.decode("utf-8", "replace")
