"""About this server: `GET /api/v2/server`."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from thingpass import __version__
from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import ServicesOf
from thingpass.api.thingsboard_shapes import Shape

router = APIRouter(route_class=GuardedRoute, tags=["Server"])


class ListenerShape(Shape):
    name: str = Field(examples=["mqtts"])
    host: str = Field(examples=["0.0.0.0"])
    port: int = Field(examples=[8883])


class ServerShape(Shape):
    version: str = Field(examples=["0.1.0"])
    listeners: list[ListenerShape]
    names: list[str] = Field(
        description="names and addresses in the server's certificate; clients reach it by these",
        examples=[["gateway.example.org", "localhost", "127.0.0.1"]],
    )


@router.get("/api/v2/server", summary="Version, listeners, and names in the server's certificate")
async def get_server(services: ServicesOf) -> ServerShape:
    return ServerShape(
        version=__version__,
        listeners=[
            ListenerShape(name=address.name, host=address.host, port=address.port)
            for address in services.addresses()
        ],
        names=list(services.server_names()),
    )
