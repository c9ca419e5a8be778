from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.devices.provisioning import NotProvisioned, Provisioned
from thingpass.proto3.types import message_type
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.servers.protobuf_provisioning import SCHEMA, parse_request, response
from thingpass.store.rows import Credentials

REQUEST: Any = message_type(SCHEMA, "ProvisionDeviceRequestMsg")
RESPONSE: Any = message_type(SCHEMA, "ProvisionDeviceResponseMsg")


def make_request(**fields: object) -> Any:
    request = REQUEST(**fields)
    request.provisionDeviceCredentialsMsg.provisionDeviceKey = "k"
    request.provisionDeviceCredentialsMsg.provisionDeviceSecret = "s"
    return request


def test_every_field_has_its_place() -> None:
    message = make_request(deviceName="d", credentialsType=1, gateway=True)
    data = message.credentialsDataProto
    data.validateDeviceTokenRequestMsg.token = "t"
    data.validateDeviceX509CertRequestMsg.hash = "h"
    basic = data.validateBasicMqttCredRequestMsg
    basic.clientId, basic.userName, basic.password = "c", "u", "p"
    request = parse_request(message.SerializeToString())
    assert request is not None
    assert (request.key, request.secret, request.device_name) == ("k", "s", "d")
    assert (request.kind, request.token, request.certificate) == ("X509_CERTIFICATE", "t", "h")
    assert (request.client_id, request.user_name, request.password) == ("c", "u", "p")
    assert request.is_gateway


def test_what_is_empty_is_absent() -> None:
    request = parse_request(make_request().SerializeToString())
    assert request is not None
    assert (request.device_name, request.token, request.certificate) == (None, None, None)
    assert (request.kind, request.is_gateway) == ("ACCESS_TOKEN", False)


@pytest.mark.parametrize("message", [REQUEST(deviceName="d"), make_request(credentialsType=9)])
def test_a_message_that_is_no_request(message: Any) -> None:
    assert parse_request(message.SerializeToString()) is None


@given(st.binary())
def test_bytes_are_a_request_or_refused(payload: bytes) -> None:
    try:
        parse_request(payload)
    except PayloadInvalid:
        pass


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (NotProvisioned("NOT_FOUND"), (2, 0, "")),
        (NotProvisioned("FAILURE", "Because."), (3, 0, "")),
        (("ACCESS_TOKEN", "id", None), (1, 0, "id")),
        (("X509_CERTIFICATE", "id", "MIIB"), (1, 1, "MIIB")),
        (("MQTT_BASIC", "id", '{"clientId":"c"}'), (1, 2, '{"clientId":"c"}')),
    ],
)
def test_answers(
    answer: NotProvisioned | tuple[str, str, str | None], expected: tuple[int, int, str]
) -> None:
    if isinstance(answer, tuple):
        kind, credentials_id, value = answer
        row = Credentials(
            id="1",
            created_at_ms=1,
            device_id="2",
            kind=kind,
            credentials_id=credentials_id,
            credentials_value=value,
        )
        told = RESPONSE.FromString(response(Provisioned(row)))
    else:
        told = RESPONSE.FromString(response(answer))
    assert (told.status, told.credentialsType, told.credentialsValue) == expected
