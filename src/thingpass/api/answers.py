"""A route's answer and its description: the shape as JSON, and the same shape in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec
from starlette.responses import Response

JSON: Final = "application/json"
SCHEMA_PLACE: Final = "#/components/schemas/{name}"

Described: TypeAlias = dict[int | str, dict[str, Any]]
"""What FastAPI takes as `responses` of a route."""


def json_answer(shape: object) -> Response:
    """200 with a struct, or a list or dict of them, as JSON."""
    return Response(msgspec.json.encode(shape), media_type=JSON)


def answers(description: str, *shapes: type) -> Described:
    """The OpenAPI text of a 200 with one of these shapes, which must stand in `documentation.SHAPES`."""
    schemas, _ = msgspec.json.schema_components(shapes, ref_template=SCHEMA_PLACE)
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}
    return {200: {"description": description, "content": {JSON: {"schema": schema}}}}


def answers_like(description: str, example: object) -> Described:
    """The OpenAPI text of a 200 whose members have names of the devices' own, shown by an example."""
    return {200: {"description": description, "content": {JSON: {"schema": {}, "example": example}}}}


def answers_empty(description: str) -> Described:
    """The OpenAPI text of a 200 without a body."""
    return {200: {"description": description, "content": {}}}
