"""What holds for every request before and after its route: size, headers, count, and the unknown error.

Plain ASGI, because a wrapper of starlette's `BaseHTTPMiddleware` costs a task per request.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thingpass.api.error_answers import MAX_BODY_BYTES, BodyTooLarge, answer_unknown_error, too_large
from thingpass.metrics import Counters

SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate"),
)
"""Set unless the route has set its own. The answers hold credentials and data, so nobody may keep them."""

UPLOADS: Final = re.compile(r"/api/otaPackage/[^/]+")
"""Paths whose POST is a file: its own bound holds there, and some room for the form around it."""

ROOM_FOR_FORM: Final = 65_536

_FORMS_OF_JSON = (b"application/x-www-form-urlencoded", b"text/plain")
"""What `curl -d` and the 4.4 client say about a JSON body. No route takes a form, so it means JSON."""


class Edge:
    """The outermost layer of the application, within starlette's own."""

    def __init__(self, application: ASGIApp, counters: Counters, *, upload_bytes: int) -> None:
        """`upload_bytes`: the largest file that is taken."""
        self._application = application
        self._largest_upload = upload_bytes + ROOM_FOR_FORM
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        _normalise(scope)
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._finish_headers(message)
            await send(message)

        upload = scope["method"] == "POST" and UPLOADS.fullmatch(scope["path"]) is not None
        limit = self._largest_upload if upload else MAX_BODY_BYTES
        if _declared_length(scope) > limit:
            await too_large(limit)(scope, receive, send_with_headers)
            return
        try:
            await self._application(scope, _bounded(receive, limit), send_with_headers)
        except Exception as error:  # the end of a request: nobody above could say more
            response = answer_unknown_error(Request(scope), error)  # logs it
            if not started:
                await response(scope, receive, send_with_headers)

    def _finish_headers(self, message: Message) -> None:
        status = str(message["status"])
        self._counters.http_requests[status] = self._counters.http_requests.get(status, 0) + 1
        headers = MutableHeaders(scope=message)
        for name, value in SECURITY_HEADERS:
            headers.setdefault(name, value)


def _normalise(scope: Scope) -> None:
    """`//api/...` is what the published client sends for a base URL that ends in a slash (reference 1.1)."""
    if scope["path"].startswith("//"):
        scope["path"] = "/" + scope["path"].lstrip("/")
    if scope["method"] == "POST":
        scope["headers"] = [
            (name, b"application/json")
            if name == b"content-type" and value.split(b";")[0].strip().lower() in _FORMS_OF_JSON
            else (name, value)
            for name, value in scope["headers"]
        ]


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


def _bounded(receive: Receive, limit: int) -> Receive:
    """Counts what really arrives, for bodies whose length nobody declared."""
    received = 0

    async def receive_within_bound() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge(limit)
        return message

    return receive_within_bound
