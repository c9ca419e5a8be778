"""Provision requests and answers in protobuf, with ThingsBoard's names and field numbers [queue.proto].

Loads the protobuf library: import it late.
"""

from __future__ import annotations

from typing import Any, Final

from thingpass.devices.provisioning import (
    NotProvisioned,
    ProvisionAnswer,
    Provisioned,
    ProvisionRequest,
)
from thingpass.proto3.types import message_type
from thingpass.servers.protobuf_values import read_message
from thingpass.store.rows import CREDENTIALS_ACCESS_TOKEN, CREDENTIALS_MQTT_BASIC, CREDENTIALS_X509

SCHEMA: Final = """\
syntax = "proto3";
package transport;

enum CredentialsType {
  ACCESS_TOKEN = 0;
  X509_CERTIFICATE = 1;
  MQTT_BASIC = 2;
  LWM2M_CREDENTIALS = 3;
}
enum ResponseStatus {
  UNKNOWN = 0;
  SUCCESS = 1;
  NOT_FOUND = 2;
  FAILURE = 3;
}
message ValidateDeviceTokenRequestMsg {
  string token = 1;
}
message ValidateDeviceX509CertRequestMsg {
  string hash = 1;
}
message ValidateBasicMqttCredRequestMsg {
  string clientId = 1;
  string userName = 2;
  string password = 3;
}
message CredentialsDataProto {
  ValidateDeviceTokenRequestMsg validateDeviceTokenRequestMsg = 1;
  ValidateDeviceX509CertRequestMsg validateDeviceX509CertRequestMsg = 2;
  ValidateBasicMqttCredRequestMsg validateBasicMqttCredRequestMsg = 3;
}
message ProvisionDeviceCredentialsMsg {
  string provisionDeviceKey = 1;
  string provisionDeviceSecret = 2;
}
message ProvisionDeviceRequestMsg {
  string deviceName = 1;
  CredentialsType credentialsType = 2;
  ProvisionDeviceCredentialsMsg provisionDeviceCredentialsMsg = 3;
  CredentialsDataProto credentialsDataProto = 4;
  bool gateway = 5;
}
message ProvisionDeviceResponseMsg {
  ResponseStatus status = 1;
  CredentialsType credentialsType = 2;
  string credentialsValue = 3;
}
"""

_REQUEST: Final = message_type(SCHEMA, "ProvisionDeviceRequestMsg")
_RESPONSE: Final = message_type(SCHEMA, "ProvisionDeviceResponseMsg")

_KINDS: Final = (
    CREDENTIALS_ACCESS_TOKEN,
    CREDENTIALS_X509,
    CREDENTIALS_MQTT_BASIC,
    "LWM2M_CREDENTIALS",
)
"""By number; a number that is not here asks for what is not known."""

_STATUSES: Final = {"SUCCESS": 1, "NOT_FOUND": 2, "FAILURE": 3}


def parse_request(payload: bytes) -> ProvisionRequest | None:
    """None: no request, though the bytes may be some message. Raises PayloadInvalid for what is none."""
    message: Any = read_message(_REQUEST, payload)
    number: int = message.credentialsType
    if not message.HasField("provisionDeviceCredentialsMsg") or not 0 <= number < len(_KINDS):
        return None
    proof, data = message.provisionDeviceCredentialsMsg, message.credentialsDataProto
    basic = data.validateBasicMqttCredRequestMsg
    return ProvisionRequest(
        key=proof.provisionDeviceKey,
        secret=proof.provisionDeviceSecret,
        device_name=message.deviceName or None,  # proto3 cannot tell an empty name from none
        kind=_KINDS[number],
        token=data.validateDeviceTokenRequestMsg.token or None,
        client_id=basic.clientId or None,
        user_name=basic.userName or None,
        password=basic.password or None,
        certificate=data.validateDeviceX509CertRequestMsg.hash or None,
        is_gateway=message.gateway,
    )


def response(answer: ProvisionAnswer) -> bytes:
    match answer:
        case Provisioned(credentials=credentials):
            by_token = credentials.kind == CREDENTIALS_ACCESS_TOKEN
            message = _RESPONSE(
                status=_STATUSES["SUCCESS"],
                credentialsType=_KINDS.index(credentials.kind),
                credentialsValue=(
                    credentials.credentials_id if by_token else credentials.credentials_value or ""
                ),
            )
        case NotProvisioned(status=status):
            message = _RESPONSE(status=_STATUSES[status])
    return bytes(message.SerializeToString())
