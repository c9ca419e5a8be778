"""Every error that leaves the REST API, in ThingsBoard's shape (rest-api reference 1.4).

`ANSWERS` says which of our errors becomes which status and ThingsBoard error code; the first row whose class
fits wins. The answer has two members more than ThingsBoard's, which its clients skip: `code` (kebab-case, for
programs) and `mend` (what to do next). The text of an unknown exception never leaves: its answer has an id,
and the log has the rest under the same id.
"""

from __future__ import annotations

import secrets
from typing import Literal

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from thingpass.errors import (
    AlreadyExists,
    Forbidden,
    Invalid,
    NotFound,
    ThingpassError,
    Unauthenticated,
    Unavailable,
)
from thingpass.x509.errors import X509Error

log = structlog.get_logger(__name__)

GENERAL = 2
AUTHENTICATION = 10
TOKEN_EXPIRED = 11
PERMISSION_DENIED = 20
BAD_REQUEST = 31
ITEM_NOT_FOUND = 32
TOO_MANY_REQUESTS = 33
VERSION_CONFLICT = 35

NO_PERMISSION = "You don't have permission to perform this operation!"
ITEM_MISSING = "Requested item wasn't found!"


class TokenExpired(Unauthenticated):
    """The token's time is over, it was revoked, or its signature is not ours."""

    code = "token-expired"


class VersionConflict(ThingpassError):
    """Somebody else changed the thing between reading and saving. The store says it by the same code."""

    code = "version-conflict"


class TooManyRequests(ThingpassError):
    """A bound on how often is reached. `retry_after_s`: seconds until it may be tried again."""

    code = "too-many-requests"

    def __init__(self, sentence: str, *, retry_after_s: int) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class BodyTooLarge(HTTPException):
    """The request's body passes the bound. The framework's class: FastAPI makes a 400 of all others."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, "The request's body is too large.")
        self.limit = limit


class Answer(msgspec.Struct, frozen=True):
    """One row: errors of this class, or with this code, get this HTTP status and ThingsBoard error code."""

    error: type[ThingpassError]
    status: int
    error_code: int

    def fits(self, error: ThingpassError) -> bool:
        # The base's code is the default of every subclass, so it says nothing.
        same_code = error.code == self.error.code != ThingpassError.code
        return isinstance(error, self.error) or same_code


ANSWERS: tuple[Answer, ...] = (
    Answer(TokenExpired, 401, TOKEN_EXPIRED),
    Answer(Unauthenticated, 401, AUTHENTICATION),
    Answer(Forbidden, 403, PERMISSION_DENIED),
    Answer(NotFound, 404, ITEM_NOT_FOUND),
    Answer(VersionConflict, 409, VERSION_CONFLICT),
    Answer(TooManyRequests, 429, TOO_MANY_REQUESTS),
    Answer(AlreadyExists, 400, BAD_REQUEST),
    Answer(Invalid, 400, BAD_REQUEST),
    Answer(Unavailable, 503, GENERAL),
    Answer(ThingpassError, 500, GENERAL),
)

HTTP_ERROR_CODES = {401: AUTHENTICATION, 403: PERMISSION_DENIED, 404: ITEM_NOT_FOUND, 429: TOO_MANY_REQUESTS}
"""Error codes of what the framework refuses by itself; every other 4xx is BAD_REQUEST, 5xx GENERAL."""


def answer_of(error: ThingpassError) -> Answer:
    return next(row for row in ANSWERS if row.fits(error))


def error_body(
    request: Request,
    status: int,
    message: str,
    error_code: int,
    *,
    code: str | None = None,
    mend: str | None = None,
) -> dict[str, str | int]:
    body: dict[str, str | int] = {
        "status": status,
        "message": message,
        "errorCode": error_code,
        "timestamp": request.app.state.services.clock.now_ms(),
    }
    if code is not None:
        body["code"] = code
    if mend is not None:
        body["mend"] = mend
    return body


async def answer_house_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ThingpassError)
    row = answer_of(error)
    body = error_body(request, row.status, error.sentence, row.error_code, code=error.code, mend=error.mend)
    headers = {}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_s)
    if row.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="Thingpass"'
    return JSONResponse(body, row.status, headers)


async def answer_certificate_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, X509Error)
    body = error_body(request, 400, error.sentence, BAD_REQUEST, code="invalid", mend=error.mend)
    return JSONResponse(body, 400)


async def answer_framework_error(request: Request, error: Exception) -> Response:
    """Unknown paths, wrong methods: starlette's errors in ThingsBoard's shape."""
    assert isinstance(error, HTTPException)
    if isinstance(error, BodyTooLarge):
        return too_large(error.limit)
    status = error.status_code
    error_code = HTTP_ERROR_CODES.get(status, BAD_REQUEST if status < 500 else GENERAL)
    message = str(error.detail)
    if status == 404:
        message = f"There is nothing at {request.url.path}."
    elif status == 405:
        message = f"Request method '{request.method}' is not supported"
    return JSONResponse(error_body(request, status, message, error_code), status, error.headers)


async def answer_validation_error(request: Request, error: Exception) -> Response:
    """FastAPI's 422 becomes 400/31. What was sent is never repeated: it may hold a password."""
    assert isinstance(error, RequestValidationError)
    sentences = sorted({_validation_sentence(finding) for finding in error.errors()})
    return JSONResponse(error_body(request, 400, ", ".join(sentences), BAD_REQUEST, code="invalid"), 400)


def answer_unknown_error(request: Request, error: Exception) -> Response:
    """The end of a request that nobody foresaw: the log gets the error, the peer an id to ask about."""
    error_id = secrets.token_hex(6)
    log.error(
        "request failed", error_id=error_id, method=request.method, path=request.url.path, exc_info=error
    )
    message = f"Internal error {error_id}. The server's log tells more under this id."
    return JSONResponse(error_body(request, 500, message, GENERAL, code="internal"), 500)


def too_large(limit: int) -> Response:
    # A bare JSON string, as in ThingsBoard. The rest of the body is not read, so the connection ends.
    return JSONResponse(f"Payload size exceeds the limit of {limit} bytes", 413, {"Connection": "close"})


MAX_BODY_BYTES = 16_777_216
"""ThingsBoard's own bound for `/api/**` (reference 1.1)."""


def _validation_sentence(finding: dict[str, object]) -> str:
    kind, context = finding["type"], finding.get("ctx")
    location = finding["loc"]
    assert isinstance(location, tuple)
    where: Literal["query", "body", "path"] | str = location[0]
    name = ".".join(str(part) for part in location[1:])
    if kind == "value_error" and isinstance(context, dict):
        return str(context["error"])  # a sentence of ours, raised in a validator
    if kind == "json_invalid" and isinstance(context, dict):
        return f"Malformed JSON request: {context['error']} at position {name}"
    if kind == "missing" and where == "query":
        return f"Required request parameter '{name}' is not present"
    if kind == "missing":
        return f"Validation error: {name or 'the request body'} must not be null"
    if kind == "string_too_long" and isinstance(context, dict):
        return f"Validation error: {location[-1]} length must be equal or less than {context['max_length']}"
    return f"Validation error: {name or 'the request body'}: {finding['msg']}"


def register_error_answers(application: FastAPI) -> None:
    application.add_exception_handler(ThingpassError, answer_house_error)
    application.add_exception_handler(X509Error, answer_certificate_error)
    application.add_exception_handler(HTTPException, answer_framework_error)
    application.add_exception_handler(RequestValidationError, answer_validation_error)
