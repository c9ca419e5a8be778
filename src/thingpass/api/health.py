"""For those who watch over the server: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from thingpass.api.authorization import GuardedRoute
from thingpass.api.parameters import ServicesOf
from thingpass.errors import Unavailable
from thingpass.metrics import CONTENT_TYPE, render

router = APIRouter(route_class=GuardedRoute, tags=["Health"], default_response_class=PlainTextResponse)

READY_TIMEOUT_S = 5.0


@router.get("/healthz", summary="The process answers")
async def get_health() -> PlainTextResponse:
    return PlainTextResponse("ok\n")


@router.get("/readyz", summary="The server can store data", responses={503: {"description": "it cannot now"}})
async def get_readiness(services: ServicesOf) -> PlainTextResponse:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await services.store.check()
    except TimeoutError:
        return PlainTextResponse(f"not ready: the store took more than {READY_TIMEOUT_S:g} s\n", 503)
    except Unavailable as error:
        return PlainTextResponse(f"not ready: {error.sentence}\n", 503)
    return PlainTextResponse("ready\n")


@router.get(
    "/metrics",
    summary="Counters as Prometheus text",
    responses={200: {"content": {CONTENT_TYPE: {"example": "thingpass_messages_received_total 0.0\n"}}}},
)
async def get_metrics(request: Request) -> Response:
    return Response(render(request.app.state.metrics), media_type=CONTENT_TYPE)
