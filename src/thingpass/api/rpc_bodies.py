"""A call to a device as a request brings it (rest-api reference 6.1)."""

from __future__ import annotations

import uuid

import msgspec

from thingpass.api.parameters import parse_uuid
from thingpass.api.raw_bodies import unwrapped
from thingpass.api.telemetry_entities import BadEntity
from thingpass.errors import Invalid

DEFAULT_TIMEOUT_MS = 10_000
SHORTEST_TIMEOUT_MS = 5_000
LONGEST_TIMEOUT_MS = 3_600_000  # of a caller who waits and holds a connection open for it
DEFAULT_RETRIES = 5
MOST_RETRIES = 1_000
LONGEST_METHOD = 255
LARGEST_PARAMS = 65_536  # bytes; more fits into no packet that ThingsBoard's devices are made for
LATEST_MS = 8_640_000_000_000_000  # the last moment of an ECMAScript date

CALL_EXAMPLE = {"method": "setGpio", "params": {"pin": 7, "value": 1}, "timeout": 5000}


class InvalidCall(BadEntity):
    """The body is no call. Answered by the error object, as ThingsBoard does."""


class CallBody(msgspec.Struct, frozen=True, rename="camel"):
    """ThingsBoard's members; others are skipped."""

    method: str
    params: msgspec.Raw = msgspec.Raw(b"null")
    timeout: int | float | None = None
    expiration_time: int | float | None = None
    persistent: bool | None = None
    retries: int | float | None = None
    request_uuid: str | None = msgspec.field(default=None, name="requestUUID")
    additional_info: msgspec.Raw = msgspec.Raw(b"null")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call that can be made."""

    id: str
    method: str
    params_json: str
    expires_at_ms: int
    persistent: bool
    retries: int
    additional_info_json: str | None


def parse_call(content: bytes, now_ms: int) -> Call:
    """Raises InvalidCall for what is no call, Invalid for one that cannot be made."""
    try:
        body = msgspec.json.decode(unwrapped(content), type=CallBody, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidCall(
            f"Invalid request body: {error}", mend='Send JSON such as {"method":"setGpio","params":{}}.'
        ) from None
    if not body.method.strip():
        raise InvalidCall("Invalid request body: the method is empty.")
    if len(body.method) > LONGEST_METHOD:
        raise InvalidCall(f"Invalid request body: the method is longer than {LONGEST_METHOD} characters.")
    params = bytes(body.params)
    if len(params) > LARGEST_PARAMS:
        raise Invalid(f"The call's params have {len(params)} bytes; {LARGEST_PARAMS} are sent at most.")
    info = bytes(body.additional_info)
    if len(info) > LARGEST_PARAMS:
        raise Invalid(f"additionalInfo has {len(info)} bytes; {LARGEST_PARAMS} are kept at most.")
    return Call(
        id=_id(body.request_uuid),
        method=body.method,
        params_json=params.decode(),
        expires_at_ms=_expires_at_ms(body, now_ms),
        persistent=bool(body.persistent),
        retries=_retries(body.retries),
        additional_info_json=None if info == b"null" else info.decode(),
    )


def _id(text: str | None) -> str:
    if text is None:
        return str(uuid.uuid4())
    try:
        return parse_uuid(text)
    except ValueError as error:
        raise InvalidCall(f"Invalid request body: requestUUID: {error}") from error


def _expires_at_ms(body: CallBody, now_ms: int) -> int:
    """`expirationTime` goes before `timeout`, and is not raised to the shortest one."""
    if body.expiration_time is not None:
        at_ms = _whole(body.expiration_time, "expirationTime")
        if not 0 <= at_ms <= LATEST_MS:
            raise Invalid("expirationTime is no time.", mend="Write milliseconds since 1970, in UTC.")
    else:
        given = DEFAULT_TIMEOUT_MS if body.timeout is None else _whole(body.timeout, "timeout")
        at_ms = now_ms + max(given, SHORTEST_TIMEOUT_MS)
    if not body.persistent and at_ms - now_ms > LONGEST_TIMEOUT_MS:
        raise Invalid(
            f"Nobody waits longer than {LONGEST_TIMEOUT_MS} ms for an answer.",
            mend='Add "persistent": true, and read later what came of it.',
        )
    return at_ms


def _retries(given: int | float | None) -> int:
    retries = DEFAULT_RETRIES if given is None else _whole(given, "retries")
    if not 0 <= retries <= MOST_RETRIES:
        raise Invalid(f"retries is {retries}; it must be 0 to {MOST_RETRIES}.")
    return retries


def _whole(number: int | float, name: str) -> int:
    if number != number or abs(number) > LATEST_MS:
        raise Invalid(f"{name} is out of range.")
    return int(number)
