"""Bodies that routes parse by themselves, whatever their `Content-Type` (rest-api reference 1.1, 5.3)."""

from __future__ import annotations

import msgspec


def raw_json_body(example: object) -> dict[str, object]:
    """The OpenAPI text of such a body."""
    content = {"application/json": {"schema": {}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def unwrapped(body: bytes) -> bytes:
    """The JSON inside a JSON string, once.

    Deviates from ThingsBoard, which refuses it: the published client encodes a text a second time.
    """
    if not body.lstrip().startswith(b'"'):
        return body
    try:
        return msgspec.json.decode(body, type=str).encode()
    except msgspec.DecodeError:
        return body
