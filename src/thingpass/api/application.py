"""Puts the REST API and the device API together: routes, errors, edge."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware import Middleware

from thingpass.api import (
    attributes,
    connections,
    connectivity,
    credentials,
    customer_devices,
    customers,
    device_events,
    devices,
    documentation,
    health,
    kept_calls,
    login,
    ota_packages,
    ota_updates,
    profiles,
    refusals,
    rpc,
    server,
    telemetry,
    users,
)
from thingpass.api.authentication import Authentication
from thingpass.api.device_api.application import DeviceApi
from thingpass.api.device_api.services import DeviceApiServices
from thingpass.api.edge import Edge
from thingpass.api.error_answers import register_error_answers
from thingpass.api.login_attempts import LoginAttempts
from thingpass.api.services import Services
from thingpass.metrics import make_registry

ROUTERS = (
    login.router,
    devices.router,
    customer_devices.router,
    customers.router,
    users.router,
    credentials.router,
    profiles.router,
    ota_packages.router,
    ota_updates.router,
    telemetry.router,
    attributes.router,
    rpc.router,
    kept_calls.router,
    connectivity.router,
    connections.router,
    refusals.router,
    device_events.router,
    server.router,
    health.router,
    documentation.router,
)
"""The order in which paths are tried: `/api/device/types` before `/api/device/{deviceId}` within a router."""


def create_application(services: Services, device_api: DeviceApiServices | None = None) -> FastAPI:
    """Both APIs as one ASGI application; makes the signing key in the data directory if need be.

    Needs no lifespan events. Raises Invalid when the signing key or the list of ended sessions is unreadable.
    """
    application = FastAPI(
        title=documentation.TITLE,
        openapi_url=None,  # FastAPI's own pages load scripts from a CDN; documentation.py has ours
        redirect_slashes=False,
        middleware=[
            Middleware(Edge, counters=services.counters, upload_bytes=services.ota.packages.maximum_bytes),
            *(() if device_api is None else (Middleware(DeviceApi, services=device_api),)),
        ],
    )
    application.state.services = services
    application.state.authentication = Authentication(services)
    application.state.login_attempts = LoginAttempts(services.clock)
    application.state.metrics = make_registry(services.counters)
    application.state.description = documentation.Description(application)
    register_error_answers(application)
    for router in ROUTERS:
        application.router.routes.extend(router.routes)
    return application
