"""Who is connected now: `GET /api/v2/connections`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from msgspec import Meta
from pydantic import AfterValidator
from starlette.responses import Response

from thingpass.api.answers import answers, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import CallerOf, ServicesOf, uuid_or_none
from thingpass.api.thingsboard_shapes import EXAMPLE_ID, Shape
from thingpass.messaging.presence import Connection
from thingpass.store.rows import CREDENTIALS_X509

router = APIRouter(route_class=GuardedRoute, tags=["Connections"])


class ConnectionShape(Shape, frozen=True):
    """One accepted connection of a device. What a TLS listener did not see is null."""

    id: int
    device_id: Annotated[str, Meta(examples=[EXAMPLE_ID])]
    device_name: Annotated[str, Meta(examples=["Pump 1"])]
    credentials_type: Annotated[str, Meta(examples=[CREDENTIALS_X509])]
    fingerprint_sha256: Annotated[str, Meta(description="of the client's certificate")] | None
    listener: Annotated[str, Meta(examples=["mqtts"])]
    peer_address: Annotated[str, Meta(examples=["192.0.2.7"])]
    peer_port: Annotated[int, Meta(examples=[40312])]
    protocol: Annotated[str, Meta(examples=["MQTT 5.0"])]
    tls_version: Annotated[str, Meta(examples=["TLSv1.3"])] | None
    cipher: Annotated[str, Meta(examples=["TLS_AES_256_GCM_SHA384"])] | None
    key_exchange_group: Annotated[str, Meta(examples=["X25519MLKEM768"])] | None
    resumed: bool
    client_id: str
    connected_at_ms: Annotated[int, Meta(examples=[1609459200000])]
    via_gateway: Annotated[str, Meta(description="name of the gateway that it is behind")] | None = None


class ConnectionsShape(Shape, frozen=True):
    data: list[ConnectionShape]


@router.get(
    "/api/v2/connections",
    summary="Who is connected now, newest first",
    responses=answers("the connections", ConnectionsShape),
)
async def get_connections(
    caller: CallerOf,
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    device_id: Annotated[
        str | None, Query(alias="deviceId", description="only this device's"), AfterValidator(uuid_or_none)
    ] = None,
) -> Response:
    if device_id is None:
        found = services.presence.list_connections(caller.tenant_id, limit=limit)
    else:
        device = await services.devices.get(caller.tenant_id, device_id)
        connection = services.presence.find_by_device(device.id)
        found = [] if connection is None else [connection]
    return json_answer(ConnectionsShape(data=[_shape(connection) for connection in found]))


def _shape(connection: Connection) -> ConnectionShape:
    # Without the credentials' id: it may be an access token.
    return ConnectionShape(
        id=connection.id,
        device_id=connection.device_id,
        device_name=connection.device_name,
        credentials_type=connection.credentials_kind,
        fingerprint_sha256=connection.fingerprint_sha256,
        listener=connection.listener,
        peer_address=connection.peer_address,
        peer_port=connection.peer_port,
        protocol=connection.protocol,
        tls_version=connection.tls_version,
        cipher=connection.cipher,
        key_exchange_group=connection.key_exchange_group,
        resumed=connection.resumed,
        client_id=connection.client_id,
        connected_at_ms=connection.connected_at_ms,
        via_gateway=connection.via_gateway,
    )
