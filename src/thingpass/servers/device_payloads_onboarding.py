"""ThingsBoard's JSON of provisioning and claiming <-> requests and answers (device API reference, 2.8, 2.9).

Deviates: a member whose value is null counts as absent. ThingsBoard closes the connection then, and its own
Python library sends such members.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from thingpass.devices.claiming import LONGEST_SECRET
from thingpass.devices.provisioning import (
    KINDS,
    NOT_FOUND,
    SUCCESS,
    NotProvisioned,
    ProvisionAnswer,
    Provisioned,
    ProvisionRequest,
)
from thingpass.errors import Invalid
from thingpass.servers.payload_faults import PayloadInvalid, kind_words, not_json
from thingpass.store.rows import CREDENTIALS_ACCESS_TOKEN, CREDENTIALS_MQTT_BASIC, Credentials

LONGEST_MEMBER: Final = 65_536
"""Characters; a certificate with its chain has some thousands. MQTT bounds the packet, HTTP the body."""

_ERRORS: Final = {True: "Provision data was not found!", False: "Failed to provision device!"}


class ProvisionRequestInvalid(Invalid):
    """JSON, but no request: a member is missing or is not what it must be."""

    code = "provision-request-invalid"


class ClaimOffer(msgspec.Struct, frozen=True):
    """What a device says of its being claimed."""

    secret: str = ""
    duration_ms: int = 0

    def __repr__(self) -> str:
        return f"ClaimOffer(duration_ms={self.duration_ms})"


def parse_provision_request(payload: bytes) -> ProvisionRequest:
    """Raises PayloadInvalid for what is no JSON object, ProvisionRequestInvalid for what is no request."""
    members = _object(payload, "A request for an identity")
    kind = _text(members, "credentialsType") or CREDENTIALS_ACCESS_TOKEN
    if kind not in KINDS:
        raise ProvisionRequestInvalid(
            f"`credentialsType` is {kind[:40]!a}.", mend=f"Use {', '.join(KINDS[:3])}."
        )
    key, secret = _text(members, "provisionDeviceKey"), _text(members, "provisionDeviceSecret")
    for name, value in (("provisionDeviceKey", key), ("provisionDeviceSecret", secret)):
        if value is None:
            raise ProvisionRequestInvalid(f"The request has no `{name}`.")
    return ProvisionRequest(
        key=key or "",
        secret=secret or "",
        device_name=_text(members, "deviceName"),
        kind=kind,
        token=_text(members, "token"),
        client_id=_text(members, "clientId"),
        user_name=_text(members, "username"),
        password=_text(members, "password"),
        certificate=_text(members, "hash"),  # the certificate's text, whatever its name says
        is_gateway=_flag(members, "gateway"),
    )


def provision_response(answer: ProvisionAnswer) -> bytes:
    """As ThingsBoard writes it; a FAILURE has the `reason` besides, which its clients skip."""
    match answer:
        case Provisioned(credentials=credentials):
            body: dict[str, object] = {
                "credentialsValue": _credentials_value(credentials),
                "credentialsType": credentials.kind,
                "status": SUCCESS,
            }
        case NotProvisioned(status=status, reason=reason):
            body = {"errorMsg": _ERRORS[status == NOT_FOUND], "status": status}
            if reason is not None:
                body["reason"] = reason
    return msgspec.json.encode(body)


def parse_claim(payload: bytes) -> ClaimOffer:
    """`{"secretKey":"s","durationMs":n}`, or nothing at all. Raises PayloadInvalid."""
    if not payload.strip():
        return ClaimOffer()
    members = _object(payload, "A claim")
    try:
        secret = _text(members, "secretKey") or ""
    except ProvisionRequestInvalid as error:
        raise PayloadInvalid(error.sentence) from None
    if len(secret) > LONGEST_SECRET:
        raise PayloadInvalid(f"`secretKey` has {len(secret)} characters; {LONGEST_SECRET} are taken at most.")
    duration = members.get("durationMs")
    if duration is None:
        return ClaimOffer(secret)
    if isinstance(duration, str) and duration.lstrip("-").isdecimal() and len(duration) <= 19:
        duration = int(duration)
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        raise PayloadInvalid(f"`durationMs` is {kind_words(duration)}, not a number of milliseconds.")
    return ClaimOffer(secret, int(max(-1, min(duration, 2**62))))


def _credentials_value(credentials: Credentials) -> object:
    if credentials.kind == CREDENTIALS_ACCESS_TOKEN:
        return credentials.credentials_id
    value = credentials.credentials_value or ""
    if credentials.kind == CREDENTIALS_MQTT_BASIC:
        return msgspec.Raw(value.encode())
    return value


def _object(payload: bytes, what: str) -> dict[str, Any]:
    try:
        members = msgspec.json.decode(payload)
    except Exception as error:  # msgspec, UTF-8, recursion: each is a fault of the payload
        raise not_json(payload, error) from None
    if type(members) is not dict:
        raise PayloadInvalid(f"{what} is one object, not {kind_words(members)}.")
    return members


def _text(members: dict[str, Any], name: str) -> str | None:
    """A text, or what ThingsBoard's parser makes one of: a number or a boolean. None: absent."""
    value = members.get(name)
    if value is None:
        return None
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise ProvisionRequestInvalid(f"`{name}` is {kind_words(value)}, not text.")
    if len(value) > LONGEST_MEMBER:
        raise ProvisionRequestInvalid(f"`{name}` has more than {LONGEST_MEMBER} characters.")
    return value


def _flag(members: dict[str, Any], name: str) -> bool:
    text = _text(members, name)
    return text is not None and text.lower() == "true"
