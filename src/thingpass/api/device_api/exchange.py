"""One request of a device and its answer, close to ASGI: the hot POST goes through no framework."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from thingpass.api.device_api.services import DeviceApiServices
from thingpass.errors import Invalid, ThingpassError
from thingpass.store.rows import Device

JSON: Final = b"application/json"
MOST_PARAMETERS: Final = 100


class PayloadTooLarge(ThingpassError):
    """The body passes its bound. ThingsBoard's sentence; the answer is a bare JSON string, as there."""

    code = "payload-too-large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"Payload size exceeds the limit of {limit} bytes")


class ClientGone(Exception):
    """The connection ended while the request was read: there is nobody to answer."""


class Exchange:
    """`device` is who asks, `argument` what stands in the place of a route's `{}`."""

    __slots__ = ("_receive", "_send", "argument", "device", "scope", "services", "started")

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        services: DeviceApiServices,
        device: Device,
        argument: str,
    ) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.services = services
        self.device = device
        self.argument = argument
        self.started = False

    async def body(self, limit: int | None = None) -> bytes:
        """The whole body. Raises PayloadTooLarge before more than `limit` bytes are kept, ClientGone."""
        if limit is None:
            limit = self.services.settings.maximum_body_bytes
        for name, value in self.scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > limit:
                raise PayloadTooLarge(limit)
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > limit:
                raise PayloadTooLarge(limit)
            return body
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise PayloadTooLarge(limit)
            parts.append(part)
        return b"".join(parts)

    @contextlib.contextmanager
    def watch_client(self) -> Iterator[asyncio.Task[None]]:
        """For requests that wait: the task is done when the client has gone."""
        gone = asyncio.get_running_loop().create_task(self._until_gone(), name="device-request")
        try:
            yield gone
        finally:
            gone.cancel()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass  # a body that nobody asked for; the edge bounds it

    def parameters(self) -> dict[str, str]:
        """The query's parameters; one that is repeated is joined with commas, as Spring does it."""
        query: bytes = self.scope["query_string"]
        if not query:
            return {}
        try:
            found = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
        except ValueError:
            raise Invalid(f"The query has more than {MOST_PARAMETERS} parameters.") from None
        return {name: ",".join(values) for name, values in found.items()}

    async def answer_in_pieces(
        self,
        size: int,
        pieces: AsyncIterator[bytes],
        content_type: bytes,
        headers: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        """200 with `size` bytes of which only a piece at a time is in memory."""
        first = await anext(pieces, b"") if size else b""  # what fails at once can still be told by a status
        fields = [(b"content-length", b"%d" % size), (b"content-type", content_type), *headers]
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": fields})
        await self._send({"type": "http.response.body", "body": first, "more_body": True})
        if size:
            async for piece in pieces:
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def answer(
        self,
        status: int = 200,
        body: bytes = b"",
        content_type: bytes = JSON,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        fields = [(b"content-length", b"%d" % len(body)), *headers]
        if body:
            fields.append((b"content-type", content_type))
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        await self._send({"type": "http.response.body", "body": body})
