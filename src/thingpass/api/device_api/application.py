"""The device API as a layer before the REST API: finds the route, asks who it is, turns errors into answers.

The token stands in the path, so that nothing here puts a path into a log, an error or a metric.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from thingpass.api.device_api.attribute_updates import get_attribute_updates
from thingpass.api.device_api.exchange import ClientGone, Exchange, PayloadTooLarge
from thingpass.api.device_api.long_polls import NothingCame
from thingpass.api.device_api.onboarding import post_claim, post_provision
from thingpass.api.device_api.packages import get_firmware, get_software
from thingpass.api.device_api.rpc import get_rpc, post_rpc, post_rpc_answer
from thingpass.api.device_api.services import DeviceApiServices
from thingpass.api.device_api.telemetry import get_attributes, post_attributes, post_telemetry
from thingpass.api.error_answers import (
    BAD_REQUEST,
    GENERAL,
    ITEM_NOT_FOUND,
    answer_framework_error,
    answer_house_error,
    error_body,
)
from thingpass.errors import ThingpassError, Unauthenticated, Unavailable
from thingpass.identity.decisions import Allowed, ConnectAttempt, Refused
from thingpass.store.rows import Device
from thingpass.tls.evidence import Evidence

log = structlog.get_logger(__name__)

PREFIX: Final = "/api/v1/"
ME: Final = "me"
"""In the place of a token: the device whose certificate the connection showed."""

Handler: TypeAlias = Callable[[Exchange], Awaitable[None]]


class Route(msgspec.Struct, frozen=True):
    """One row. `path` follows the token; a `{}` at its end is an argument. `name` stands in the metrics.

    `carries_data`: telemetry and attributes have rate limits of their own.
    """

    method: str
    path: str
    name: str
    handler: Handler
    is_for_devices: bool = True  # False: for whoever asks, and `path` stands in the place of the token
    carries_data: bool = False


ROUTES: Final = (
    Route("POST", "telemetry", "telemetry", post_telemetry, carries_data=True),
    Route("POST", "attributes", "attributes", post_attributes, carries_data=True),
    Route("GET", "attributes", "attributes", get_attributes),
    Route("GET", "attributes/updates", "attributes/updates", get_attribute_updates),
    Route("GET", "rpc", "rpc", get_rpc),
    Route("POST", "rpc", "rpc", post_rpc),
    Route("POST", "rpc/{}", "rpc/answer", post_rpc_answer),
    Route("POST", "claim", "claim", post_claim),
    Route("GET", "firmware", "firmware", get_firmware),
    Route("GET", "software", "software", get_software),
    Route("POST", "provision", "provision", post_provision, is_for_devices=False),
)

NOTHING_HERE: Final = "The device API has nothing at this path."


class DeviceApi:
    """Passes everything on that does not begin with `/api/v1/`."""

    def __init__(self, application: ASGIApp, services: DeviceApiServices) -> None:
        self._application = application
        self._services = services
        self._routes: dict[str, dict[str, Route]] = {}
        self._open_routes: dict[str, dict[str, Route]] = {}
        for row in ROUTES:
            routes = self._routes if row.is_for_devices else self._open_routes
            routes.setdefault(row.path, {})[row.method] = row

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._application(scope, receive, send)
            return
        try:
            response = await self._respond(scope, receive, send)
        except ClientGone:
            return
        if response is not None:
            await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """None when the handler has answered by itself."""
        exchange: Exchange | None = None
        try:
            token, path = _parts(scope)
            methods, argument = self._find(token, path)
            if not methods:
                return JSONResponse(
                    error_body(Request(scope), 404, NOTHING_HERE, ITEM_NOT_FOUND, code="not-found"), 404
                )
            route = methods.get(scope["method"])
            if route is None:
                return _not_allowed(scope, methods)
            evidence = _evidence(scope)
            exchange = Exchange(scope, receive, send, self._services, evidence, argument)
            if route.is_for_devices:
                exchange.device = await self._identify(evidence, token)
                self._services.note_activity(exchange.device.id, self._services.clock.now_ms())
                self._services.limits.admit(exchange.device, evidence, carries_data=route.carries_data)
            counts = self._services.counters.device_requests
            counts[route.name] = counts.get(route.name, 0) + 1
            await route.handler(exchange)
        except NothingCame:
            return Response(status_code=408)
        except PayloadTooLarge as error:
            # The rest of the body is not read, so the connection ends.
            return JSONResponse(error.sentence, 413, {"Connection": "close"})
        except ThingpassError as error:
            if exchange is not None and exchange.started:
                # Less came than was announced; the connection ends, and the client knows.
                log.info("device answer cut", code=error.code)
                return None
            return await answer_house_error(Request(scope), error)
        except HTTPException as error:
            return await answer_framework_error(Request(scope), error)
        except ClientGone:
            raise
        except Exception as error:
            return self._answer_unknown_error(scope, error, started=exchange is not None and exchange.started)
        return None

    def _find(self, token: str, path: str) -> tuple[dict[str, Route], str]:
        found = self._routes.get(path) if path else self._open_routes.get(token)
        if found is not None:
            return found, ""
        before, _, argument = path.rpartition("/")
        return self._routes.get(f"{before}/{{}}", {}), argument

    async def _identify(self, evidence: Evidence, token: str) -> Device:
        """Raises Unauthenticated, and Unavailable when nobody could be looked up. The refusal is recorded."""
        authentication = self._services.authentication
        user_name = None if token == ME else token
        attempt = ConnectAttempt(client_id="", user_name=user_name, password=None, protocol_version=0)
        decision = authentication.decide_at_once(evidence, attempt)
        if decision is None:
            decision = await authentication.decide(evidence, attempt)
        match decision:
            case Allowed():
                return decision.device
            case Refused():
                raise _refused(decision, evidence, token)

    def _answer_unknown_error(self, scope: Scope, error: Exception, *, started: bool) -> Response | None:
        """As `error_answers.answer_unknown_error`, without the path."""
        error_id = secrets.token_hex(6)
        log.error("device request failed", error_id=error_id, method=scope["method"], exc_info=error)
        if started:
            return None
        message = f"Internal error {error_id}. The server's log tells more under this id."
        return JSONResponse(error_body(Request(scope), 500, message, GENERAL, code="internal"), 500)


def _parts(scope: Scope) -> tuple[str, str]:
    """The token, and what follows it. Split before unquoting: a token may hold any character."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    _, _, token, *rest = raw.lstrip(b"/").split(b"/")
    return (
        unquote_to_bytes(token).decode("utf-8", "replace"),
        unquote_to_bytes(b"/".join(rest)).decode("utf-8", "replace"),
    )


def _evidence(scope: Scope) -> Evidence:
    evidence = scope.get("state", {}).get("evidence")
    if isinstance(evidence, Evidence):
        return evidence
    address, port = scope.get("client") or ("", 0)
    return Evidence(listener="http", peer_address=address, peer_port=port)


def _refused(refused: Refused, evidence: Evidence, token: str) -> ThingpassError:
    """All that a stranger may be told, in the words of HTTP. The code says no more than that, either."""
    if refused.refusal.http == 503:
        return Unavailable(refused.for_peer)
    if evidence.chain_der:
        return Unauthenticated(refused.for_peer)
    if token == ME:
        return Unauthenticated(
            "The connection showed no client certificate.",
            mend="Use the HTTPS port with the device's certificate and key, or an access token in the path.",
        )
    return Unauthenticated("This access token belongs to no device here.")


def _not_allowed(scope: Scope, methods: dict[str, Route]) -> Response:
    message = f"Request method '{scope['method']}' is not supported"
    body = error_body(Request(scope), 405, message, BAD_REQUEST)
    return JSONResponse(body, 405, {"Allow": ", ".join(sorted(methods))})
