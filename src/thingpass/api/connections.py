"""Who is connected now: `GET /api/v2/connections`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field

from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import CallerOf, ServicesOf, uuid_or_none
from thingpass.api.thingsboard_shapes import EXAMPLE_ID, Shape
from thingpass.messaging.presence import Connection
from thingpass.store.rows import CREDENTIALS_X509

router = APIRouter(route_class=GuardedRoute, tags=["Connections"])


class ConnectionShape(Shape):
    """One accepted connection of a device. What a TLS listener did not see is null."""

    id: int
    device_id: str = Field(examples=[EXAMPLE_ID])
    device_name: str = Field(examples=["Pump 1"])
    credentials_type: str = Field(examples=[CREDENTIALS_X509])
    fingerprint_sha256: str | None = Field(description="of the client's certificate")
    listener: str = Field(examples=["mqtts"])
    peer_address: str = Field(examples=["192.0.2.7"])
    peer_port: int = Field(examples=[40312])
    protocol: str = Field(examples=["MQTT 5.0"])
    tls_version: str | None = Field(examples=["TLSv1.3"])
    cipher: str | None = Field(examples=["TLS_AES_256_GCM_SHA384"])
    key_exchange_group: str | None = Field(examples=["X25519MLKEM768"])
    resumed: bool
    client_id: str
    connected_at_ms: int = Field(examples=[1609459200000])


class ConnectionsShape(Shape):
    data: list[ConnectionShape]


@router.get("/api/v2/connections", summary="Who is connected now, newest first")
async def get_connections(
    caller: CallerOf,
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    device_id: Annotated[
        str | None, Query(alias="deviceId", description="only this device's"), AfterValidator(uuid_or_none)
    ] = None,
) -> ConnectionsShape:
    if device_id is None:
        found = services.presence.list_connections(caller.tenant_id, limit=limit)
    else:
        device = await services.devices.get(caller.tenant_id, device_id)
        connection = services.presence.find_by_device(device.id)
        found = [] if connection is None else [connection]
    return ConnectionsShape(data=[_shape(connection) for connection in found])


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
    )
