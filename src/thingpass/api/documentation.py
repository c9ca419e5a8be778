"""The API's own description: `/openapi.json`, and `/docs`, a page that needs nothing from the network."""

from __future__ import annotations

import base64
import hashlib
import html
from collections import defaultdict
from functools import cached_property
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from thingpass import __version__
from thingpass.api.answers import JSON, SCHEMA_PLACE
from thingpass.api.authorization import GuardedRoute, Role, role_of
from thingpass.api.connections import ConnectionsShape
from thingpass.api.customer_shapes import ClaimShape, CustomerInfoShape, CustomerShape, LinkShape
from thingpass.api.device_events import DeviceEventsShape
from thingpass.api.kept_calls import RpcShape
from thingpass.api.ota_shapes import OtaPackageShape, OtaRolloutsShape, OtaStateShape
from thingpass.api.profile_shapes import ProfileInfoShape, ProfileNameShape, ProfileShape
from thingpass.api.refusals import RefusalsShape
from thingpass.api.server import ServerShape
from thingpass.api.thingsboard_shapes import (
    CredentialsShape,
    DeviceInfoShape,
    DeviceShape,
    ErrorShape,
    JwtPair,
    PageShape,
    TypeShape,
    UserShape,
)

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

TITLE = "Thingpass"
DESCRIPTION = (
    "Devices prove themselves with X.509 certificates and send their data over MQTT; here people and "
    "programs register devices and read the data. Paths and JSON are ThingsBoard's, except under `/api/v2`. "
    "Send the token of `POST /api/auth/login` as `X-Authorization: Bearer <token>`."
)
SHAPES = (
    ErrorShape,
    JwtPair,
    UserShape,
    PageShape[UserShape],
    CustomerShape,
    CustomerInfoShape,
    PageShape[CustomerShape],
    ClaimShape,
    LinkShape,
    DeviceShape,
    DeviceInfoShape,
    PageShape[DeviceShape],
    PageShape[DeviceInfoShape],
    TypeShape,
    ProfileInfoShape,
    PageShape[ProfileInfoShape],
    ProfileShape,
    PageShape[ProfileShape],
    ProfileNameShape,
    CredentialsShape,
    OtaPackageShape,
    PageShape[OtaPackageShape],
    OtaRolloutsShape,
    PageShape[OtaStateShape],
    RpcShape,
    PageShape[RpcShape],
    ConnectionsShape,
    RefusalsShape,
    DeviceEventsShape,
    ServerShape,
)
"""What answers are made of. A shape that a route names and that is missing here fails a test."""

SECURITY_SCHEMES = {
    "XAuthorization": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Authorization",
        "description": "`Bearer <token>`, or `Local <secret>` from the same machine",
    },
    "Authorization": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
}
ERROR_STATUSES = {
    "400": "what was sent cannot be used",
    "401": "nobody proved who is asking, or the token has expired",
    "403": "who is asking may not do this",
    "404": "what was asked for does not exist",
}

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
h1{font-size:1.6rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}
code{font:13px ui-monospace,monospace}
details{border-top:1px solid #dde2e8}summary{padding:.35rem 0;cursor:pointer}
.m{display:inline-block;width:4.2rem;font-weight:600}.r{color:#5c6b7d}
p{margin:.3rem 0 .6rem 1.2rem}table{margin:.3rem 0 1rem 1.2rem;border-collapse:collapse}
td{padding:.1rem .9rem .1rem 0;vertical-align:top}pre{margin-left:1.2rem;white-space:pre-wrap}
@media(prefers-color-scheme:dark){body{background:#12161c;color:#d8dee6}details{border-color:#2a323d}.r{color:#8b99aa}}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


class Description:
    """The OpenAPI document as JSON and as a page, made when somebody asks first."""

    def __init__(self, application: FastAPI) -> None:
        self._application = application

    @cached_property
    def openapi_json(self) -> bytes:
        return msgspec.json.encode(self._document)

    @cached_property
    def page(self) -> str:
        return _page(self._document)

    @cached_property
    def _document(self) -> dict[str, Any]:
        return _make_document(self._application)


def _make_document(application: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1, with who may use each operation and the shape of errors."""
    document = get_openapi(
        title=TITLE, version=__version__, description=DESCRIPTION, routes=application.routes
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = SECURITY_SCHEMES
    schemas = components.setdefault("schemas", {})
    schemas.update(msgspec.json.schema_components(SHAPES, ref_template=SCHEMA_PLACE)[1])
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's 422, which is never sent
        schemas.pop(name, None)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, role_of(method.upper(), path))
    return document


def _complete(operation: dict[str, Any], role: Role) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    content = {JSON: {"schema": {"$ref": "#/components/schemas/ErrorShape"}}}
    for status, description in ERROR_STATUSES.items():
        if role is not Role.ANYBODY or status == "400":
            responses.setdefault(status, {"description": description, "content": content})
    if role is not Role.ANYBODY:
        operation["security"] = [{scheme: []} for scheme in SECURITY_SCHEMES]
        operation["x-role"] = role.value


def _page(document: dict[str, Any]) -> str:
    by_tag: defaultdict[str, list[str]] = defaultdict(list)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag[operation.get("tags", ["Other"])[0]].append(_operation(method.upper(), path, operation))
    sections = "".join(f"<h2>{html.escape(tag)}</h2>{''.join(rows)}" for tag, rows in by_tag.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{TITLE} API</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style>'
        f"<h1>{TITLE} {__version__}: REST API</h1><p>{html.escape(DESCRIPTION)}</p>"
        f'<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>{sections}</html>'
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(parameter['name'])}</code></td><td>{parameter['in']}"
        f"{', required' if parameter.get('required') else ''}</td>"
        f"<td>{html.escape(parameter.get('description', ''))}</td></tr>"
        for parameter in operation.get("parameters", ())
    )
    description = operation.get("description", "")
    return (
        f'<details><summary><span class="m">{method}</span> <code>{html.escape(path)}</code> '
        f'<span class="r">{html.escape(operation.get("summary", ""))}</span></summary>'
        f"<p>{html.escape(description)}</p>"
        f'<p class="r">For {html.escape(operation.get("x-role", Role.ANYBODY.value))}.</p>'
        f"<table>{rows}</table></details>"
    )


@router.get("/openapi.json")
async def get_openapi_document(request: Request) -> Response:
    return Response(request.app.state.description.openapi_json, media_type=JSON)


@router.get("/docs")
async def get_docs_page(request: Request) -> HTMLResponse:
    """FastAPI's own page loads its script from a CDN; this one is plain HTML and works without a network."""
    return HTMLResponse(
        request.app.state.description.page,
        headers={
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        },
    )
