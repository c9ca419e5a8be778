"""About this server: `GET /api/v2/server`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from msgspec import Meta
from starlette.responses import Response

from thingpass import __version__
from thingpass.api.answers import answers, json_answer
from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import ServicesOf
from thingpass.api.thingsboard_shapes import Shape

router = APIRouter(route_class=GuardedRoute, tags=["Server"])


class ListenerShape(Shape, frozen=True):
    name: Annotated[str, Meta(examples=["mqtts"])]
    host: Annotated[str, Meta(examples=["0.0.0.0"])]
    port: Annotated[int, Meta(examples=[8883])]


class ServerShape(Shape, frozen=True):
    version: Annotated[str, Meta(examples=["0.1.0"])]
    listeners: list[ListenerShape]
    names: Annotated[
        list[str],
        Meta(
            description="names and addresses in the server's certificate; clients reach it by these",
            examples=[["gateway.example.org", "localhost", "127.0.0.1"]],
        ),
    ]


@router.get(
    "/api/v2/server",
    summary="Version, listeners, and names in the server's certificate",
    responses=answers("the server", ServerShape),
)
async def get_server(services: ServicesOf) -> Response:
    return json_answer(
        ServerShape(
            version=__version__,
            listeners=[
                ListenerShape(name=address.name, host=address.host, port=address.port)
                for address in services.addresses()
            ],
            names=list(services.server_names()),
        )
    )
