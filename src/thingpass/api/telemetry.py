"""Reading and writing devices' series: ThingsBoard's `/api/plugins/telemetry/...` (reference 5)."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from thingpass.api.aggregation import (
    Aggregation,
    Buckets,
    IntervalType,
    calendar_buckets,
    equal_buckets,
)
from thingpass.api.answers import JSON, answers_empty, answers_like, json_answer
from thingpass.api.history import HistoryQuery, read_aggregated, read_points
from thingpass.api.parameters import ServicesOf
from thingpass.api.plain_sentences import PlainSentenceRoute
from thingpass.api.raw_bodies import raw_json_body, unwrapped
from thingpass.api.services import Services
from thingpass.api.telemetry_entities import Keys, TelemetryDevice
from thingpass.api.value_texts import PointShape, points
from thingpass.errors import Invalid
from thingpass.servers.device_payloads import parse_telemetry
from thingpass.store.rows import Device

router = APIRouter(route_class=PlainSentenceRoute, tags=["Telemetry"], prefix="/api/plugins/telemetry")

LATEST_EXAMPLE = {"temperature": [{"ts": 1609459200000, "value": "22.5"}]}
TELEMETRY_EXAMPLE = {"ts": 1609459200000, "values": {"temperature": 22.5, "on": True}}


class HistoryParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What beside the keys and the range says how history is answered."""

    aggregation: Aggregation
    interval_ms: int
    interval_type: IntervalType
    time_zone: str
    limit: int
    order: Literal["ASC", "DESC"]
    strict: bool


StrictTypes = Annotated[
    bool, Query(alias="useStrictDataTypes", description="values of their own kind instead of texts")
]


async def _parameters(
    agg: Annotated[Aggregation, Query()] = Aggregation.NONE,
    interval: Annotated[int, Query(description="milliseconds per bucket; 0: no aggregation")] = 0,
    interval_type: Annotated[IntervalType, Query(alias="intervalType")] = IntervalType.MILLISECONDS,
    time_zone: Annotated[str, Query(alias="timeZone", examples=["Europe/Kyiv"])] = "UTC",
    limit: Annotated[int, Query(description="points a key, without aggregation")] = 100,
    order_by: Annotated[Literal["ASC", "DESC"], Query(alias="orderBy")] = "DESC",
    strict: StrictTypes = False,
) -> HistoryParameters:
    return HistoryParameters(
        aggregation=agg,
        interval_ms=interval,
        interval_type=interval_type,
        time_zone=time_zone,
        limit=limit,
        order=order_by,
        strict=strict,
    )


HistoryParametersOf = Annotated[HistoryParameters, Depends(_parameters)]


@router.get(
    "/{entityType}/{entityId}/keys/timeseries",
    summary="Keys of a device's series",
    responses=answers_like("the keys", ["temperature", "humidity"]),
)
async def get_series_keys(device: TelemetryDevice, services: ServicesOf) -> Response:
    keys = await services.latest.keys(device.number)
    return json_answer(keys)


@router.get(
    "/{entityType}/{entityId}/values/timeseries",
    summary="Latest values, or history",
    responses=answers_like("points by key", LATEST_EXAMPLE),
)
async def get_series(
    device: TelemetryDevice,
    services: ServicesOf,
    keys: Keys,
    parameters: HistoryParametersOf,
    start_ms: Annotated[int | None, Query(alias="startTs")] = None,
    end_ms: Annotated[int | None, Query(alias="endTs")] = None,
) -> Response:
    """The newest value of each key; with both `startTs` and `endTs` the values in that time instead.

    Values are texts unless `useStrictDataTypes=true`. A key that was asked for and has no value has `null`.
    """
    if start_ms is not None and end_ms is not None:
        return await _history(services, device, keys, parameters, start_ms, end_ms)
    found = await services.latest.read(device.number, keys or None)
    latest = {key: points((point,), strict=parameters.strict) for key, point in found.items()}
    for key in keys:
        if key not in latest:
            latest[key] = [PointShape(services.clock.now_ms(), None)]
    return json_answer(latest)


@router.get(
    "/{entityType}/{entityId}/values/timeseries/history",
    summary="History",
    responses=answers_like("points by key, newest first unless asked otherwise", LATEST_EXAMPLE),
)
async def get_history(
    device: TelemetryDevice,
    services: ServicesOf,
    keys: Keys,
    parameters: HistoryParametersOf,
    start_ms: Annotated[int, Query(alias="startTs", examples=[1609459200000])],
    end_ms: Annotated[int, Query(alias="endTs", examples=[1609545600000])],
) -> Response:
    return await _history(services, device, keys, parameters, start_ms, end_ms)


@router.post(
    "/{entityType}/{entityId}/timeseries/{scope}",
    summary="Save values",
    openapi_extra=raw_json_body(TELEMETRY_EXAMPLE),
    responses=answers_empty("the values are stored"),
)
async def post_series(
    device: TelemetryDevice,
    services: ServicesOf,
    request: Request,
    scope: Annotated[str, Path(description="any word; ANY by custom", examples=["ANY"])],
) -> Response:
    """Answers when the values are stored and can be read back. The forms of the device API are understood."""
    await _save(services, device, await request.body())
    return Response(status_code=200)


@router.post(
    "/{entityType}/{entityId}/timeseries/{scope}/{ttl}",
    summary="Save values (the time to live is not kept yet)",
    openapi_extra=raw_json_body(TELEMETRY_EXAMPLE),
    responses=answers_empty("the values are stored"),
)
async def post_series_with_ttl(
    device: TelemetryDevice,
    services: ServicesOf,
    request: Request,
    scope: Annotated[str, Path(examples=["ANY"])],
    ttl: Annotated[int, Path(description="seconds", ge=0, examples=[86400])],
) -> Response:
    """As without `ttl`: values stay until the device is removed."""
    await _save(services, device, await request.body())
    return Response(status_code=200)


async def _history(
    services: Services,
    device: Device,
    keys: tuple[str, ...],
    parameters: HistoryParameters,
    start_ms: int,
    end_ms: int,
) -> Response:
    query = HistoryQuery(
        device_number=device.number,
        keys=keys,
        start_ms=start_ms,
        end_ms=max(start_ms, end_ms),
        descending=parameters.order == "DESC",
        strict=parameters.strict,
    )
    buckets = _buckets(parameters, start_ms, end_ms)
    if buckets is not None:
        content = await read_aggregated(services.series, query, buckets, parameters.aggregation)
    elif parameters.limit < 1:
        raise Invalid(f"Incorrect TsKvQuery. The limit must be at least 1, not {parameters.limit}.")
    else:
        content = await read_points(services.series, query, limit=parameters.limit)
    return Response(content, media_type=JSON)


def _buckets(parameters: HistoryParameters, start_ms: int, end_ms: int) -> Buckets | None:
    """None: no aggregation. Raises Invalid."""
    if parameters.aggregation is Aggregation.NONE:
        return None
    if parameters.interval_type is IntervalType.MILLISECONDS:
        if parameters.interval_ms == 0:
            return None
        return equal_buckets(start_ms, end_ms, parameters.interval_ms)
    try:
        zone = ZoneInfo(parameters.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid("The time zone is not known.", mend="Write it like Europe/Kyiv or UTC.") from error
    return calendar_buckets(start_ms, end_ms, parameters.interval_type, zone)


async def _save(services: Services, device: Device, body: bytes) -> None:
    if not body.strip():
        raise Invalid("No time series data found in request body!")
    try:
        samples = parse_telemetry(unwrapped(body), services.clock.now_ms())
    except Invalid as error:
        raise Invalid(f"Unable to parse time series payload. Invalid JSON body: {error.sentence}") from error
    if not any(sample.values for sample in samples):
        raise Invalid("No time series data found in request body!")
    await services.ingest.store_samples(device.number, samples)
