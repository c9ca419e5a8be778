"""Calls to devices: `/api/rpc/...`, and `/api/plugins/rpc/...` with other statuses (rest-api reference 6)."""

from __future__ import annotations

from typing import Final

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from thingpass.api.answers import JSON, Described, answers_like, json_answer
from thingpass.api.parameters import ServicesOf
from thingpass.api.plain_sentences import PlainSentenceRoute
from thingpass.api.raw_bodies import raw_json_body
from thingpass.api.rpc_bodies import CALL_EXAMPLE, Call, parse_call
from thingpass.api.services import Services
from thingpass.api.telemetry_entities import DeviceByIdOnly
from thingpass.errors import ThingpassError
from thingpass.messaging.kept_calls import NewKeptCall
from thingpass.messaging.pending_calls import DeviceAway, DeviceRefused, DeviceSilent
from thingpass.store.rows import Device

router = APIRouter(route_class=PlainSentenceRoute, tags=["Calls to devices"])

NOT_JSON: Final = 406
OLDER: Final[dict[type[ThingpassError], int]] = {DeviceAway: 409, DeviceSilent: 408, DeviceRefused: 408}
NEWER: Final[dict[type[ThingpassError], int]] = {DeviceAway: 504, DeviceSilent: 504, DeviceRefused: 504}

ONE_WAY: Final = answers_like("delivered: empty; persistent: the call's id", {"rpcId": "784f394c-..."})
TWO_WAY: Final = answers_like("the device's answer; persistent: the call's id", {"pin": 7, "value": 1})
BODY: Final = raw_json_body(CALL_EXAMPLE)


def _statuses(statuses: dict[type[ThingpassError], int], answers: Described) -> Described:
    described: Described = dict(answers)
    for status in sorted(set(statuses.values())):
        described[status] = {"description": "the device was not there, or did not answer in time"}
    described[NOT_JSON] = {"description": "the device's answer is no JSON"}
    return described


@router.post(
    "/api/rpc/oneway/{deviceId}",
    summary="Call a device, without an answer",
    openapi_extra=BODY,
    responses=_statuses(NEWER, ONE_WAY),
)
async def post_oneway(device: DeviceByIdOnly, services: ServicesOf, request: Request) -> Response:
    """Answers when the device has acknowledged the call, within `timeout` ms (default 10000)."""
    return await _call(services, device, await request.body(), oneway=True, statuses=NEWER)


@router.post(
    "/api/rpc/twoway/{deviceId}",
    summary="Call a device and wait for its answer",
    openapi_extra=BODY,
    responses=_statuses(NEWER, TWO_WAY),
)
async def post_twoway(device: DeviceByIdOnly, services: ServicesOf, request: Request) -> Response:
    """Within `timeout` ms (default 10000). With `persistent` the call is kept, and its id is the answer."""
    return await _call(services, device, await request.body(), oneway=False, statuses=NEWER)


@router.post(
    "/api/plugins/rpc/oneway/{deviceId}",
    summary="Call a device, without an answer (older path)",
    openapi_extra=BODY,
    responses=_statuses(OLDER, ONE_WAY),
)
async def post_oneway_older(device: DeviceByIdOnly, services: ServicesOf, request: Request) -> Response:
    return await _call(services, device, await request.body(), oneway=True, statuses=OLDER)


@router.post(
    "/api/plugins/rpc/twoway/{deviceId}",
    summary="Call a device and wait for its answer (older path)",
    openapi_extra=BODY,
    responses=_statuses(OLDER, TWO_WAY),
)
async def post_twoway_older(device: DeviceByIdOnly, services: ServicesOf, request: Request) -> Response:
    return await _call(services, device, await request.body(), oneway=False, statuses=OLDER)


async def _call(
    services: Services,
    device: Device,
    content: bytes,
    *,
    oneway: bool,
    statuses: dict[type[ThingpassError], int],
) -> Response:
    now_ms = services.clock.now_ms()
    call = parse_call(content, now_ms)
    if call.persistent:
        return json_answer({"rpcId": await _keep(services, device, call, oneway=oneway)})
    try:
        answer = await services.rpc.call(
            device.id,
            call.method,
            call.params_json,
            oneway=oneway,
            timeout_s=max(0, call.expires_at_ms - now_ms) / 1000,
        )
    except (DeviceAway, DeviceSilent, DeviceRefused) as error:
        # ThingsBoard says nothing beside the status; its clients read nothing else.
        sentence = error.sentence if error.mend is None else f"{error.sentence} {error.mend}"
        return PlainTextResponse(sentence, statuses[type(error)])
    if not answer:
        return Response(status_code=200)
    if not is_json(answer):
        return PlainTextResponse("The device's answer is not JSON.", NOT_JSON)
    return Response(answer, media_type=JSON)


async def _keep(services: Services, device: Device, call: Call, *, oneway: bool) -> str:
    row = await services.rpc.call_and_keep(
        NewKeptCall(
            id=call.id,
            tenant_id=device.tenant_id,
            device_id=device.id,
            method=call.method,
            params_json=call.params_json,
            oneway=oneway,
            expires_at_ms=call.expires_at_ms,
            retries=call.retries,
            additional_info_json=call.additional_info_json,
        )
    )
    return row.id


def is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
