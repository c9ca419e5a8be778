"""Telemetry and attributes over HTTP: a 200 means that it is stored."""

from __future__ import annotations

from thingpass.api.device_api.exchange import Exchange
from thingpass.errors import Unavailable
from thingpass.servers.device_payloads import (
    AttributeRequest,
    attribute_response,
    parse_attributes,
    parse_telemetry,
)
from thingpass.telemetry.attributes import CLIENT_SCOPE, SHARED_SCOPE


async def post_telemetry(exchange: Exchange) -> None:
    services = exchange.services
    if services.ingest.full:  # looked at before the body is read, so that none waits in memory
        raise Unavailable("More is waiting to be stored than the server takes.", mend="Send it again later.")
    samples = parse_telemetry(await exchange.body(), services.clock.now_ms())
    if samples:
        services.limits.charge_points(exchange.device, sum(len(sample.values) for sample in samples))
        await services.ingest.store_samples(exchange.device.number, samples)
    await exchange.answer()


async def post_attributes(exchange: Exchange) -> None:
    values = parse_attributes(await exchange.body())
    exchange.services.limits.charge_points(exchange.device, len(values))
    await exchange.services.attributes.save(exchange.device.id, CLIENT_SCOPE, values)
    await exchange.answer()


async def get_attributes(exchange: Exchange) -> None:
    request = _request(exchange.parameters())
    attributes, device_id = exchange.services.attributes, exchange.device.id
    client = shared = None
    if request.wants_client:
        client = await attributes.find(device_id, CLIENT_SCOPE, request.client_keys)
    if request.wants_shared:
        shared = await attributes.find(device_id, SHARED_SCOPE, request.shared_keys)
    await exchange.answer(body=attribute_response(client, shared))


def _request(parameters: dict[str, str]) -> AttributeRequest:
    """Only one of the two asks for that scope alone; none, or empty ones, for everything."""
    client, shared = _keys(parameters.get("clientKeys")), _keys(parameters.get("sharedKeys"))
    if client is None and shared is None:
        return AttributeRequest(True, True)
    return AttributeRequest(client is not None, shared is not None, client, shared)


def _keys(text: str | None) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(text.split(","))) if text else None
