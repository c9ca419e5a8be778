"""The messages of the device API that no profile's schema is for, with ThingsBoard's names and field numbers.

[transport.proto, queue.proto]. Loads the protobuf library: import it late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from thingpass.proto3.types import message_type
from thingpass.servers.device_payloads import AttributeRequest
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.servers.protobuf_values import read_message
from thingpass.store.rows import Attribute, JsonText, Value

SCHEMA: Final = """\
syntax = "proto3";
package transport;

message AttributesRequest {
  string clientKeys = 1;
  string sharedKeys = 2;
}
message RpcRequest {
  string method = 1;
  string params = 2;
}
enum KeyValueType {
  BOOLEAN_V = 0;
  LONG_V = 1;
  DOUBLE_V = 2;
  STRING_V = 3;
  JSON_V = 4;
}
message KeyValueProto {
  string key = 1;
  KeyValueType type = 2;
  bool bool_v = 3;
  int64 long_v = 4;
  double double_v = 5;
  string string_v = 6;
  string json_v = 7;
}
message TsKvProto {
  int64 ts = 1;
  KeyValueProto kv = 2;
}
message GetAttributeResponseMsg {
  int32 requestId = 1;
  repeated TsKvProto clientAttributeList = 2;
  repeated TsKvProto sharedAttributeList = 3;
  string error = 5;
}
message AttributeUpdateNotificationMsg {
  repeated TsKvProto sharedUpdated = 1;
  repeated string sharedDeleted = 2;
}
message ToServerRpcResponseMsg {
  int32 requestId = 1;
  string payload = 2;
  string error = 3;
}
"""

_ATTRIBUTES_REQUEST: Final = message_type(SCHEMA, "AttributesRequest")
_RPC_REQUEST: Final = message_type(SCHEMA, "RpcRequest")
_ATTRIBUTE_RESPONSE: Final = message_type(SCHEMA, "GetAttributeResponseMsg")
_ATTRIBUTE_UPDATE: Final = message_type(SCHEMA, "AttributeUpdateNotificationMsg")
_RPC_RESPONSE: Final = message_type(SCHEMA, "ToServerRpcResponseMsg")

_LARGEST_INT32: Final = 2**31 - 1

# The kind of a value -> KeyValueType, and the field that holds it.
_KINDS: Final[Mapping[type, tuple[int, str]]] = {
    bool: (0, "bool_v"),
    int: (1, "long_v"),
    float: (2, "double_v"),
    str: (3, "string_v"),
    JsonText: (4, "json_v"),
}


def parse_attribute_request(payload: bytes) -> AttributeRequest:
    """Empty keys are no keys, because proto3 cannot tell them apart; none at all asks for everything."""
    request: Any = read_message(_ATTRIBUTES_REQUEST, payload)
    client, shared = request.clientKeys, request.sharedKeys
    if not (client or shared):
        return AttributeRequest(True, True)
    return AttributeRequest(bool(client), bool(shared), _keys(client), _keys(shared))


def parse_rpc_method(payload: bytes) -> str:
    request: Any = read_message(_RPC_REQUEST, payload)
    if not request.method:
        raise PayloadInvalid("The call has no `method`.")
    return str(request.method)


def attribute_response(
    request_id: str, client: Iterable[Attribute] | None, shared: Iterable[Attribute] | None
) -> bytes:
    answer: Any = _ATTRIBUTE_RESPONSE(requestId=_int32(request_id))
    for found, listed in ((client, answer.clientAttributeList), (shared, answer.sharedAttributeList)):
        for attribute in found or ():
            _add(listed, attribute.key, attribute.value, attribute.updated_at_ms)
    return bytes(answer.SerializeToString())


def attributes_update(values: Mapping[str, Value]) -> bytes:
    update: Any = _ATTRIBUTE_UPDATE()
    for key, value in values.items():
        _add(update.sharedUpdated, key, value, 0)
    return bytes(update.SerializeToString())


def attributes_removal(keys: Iterable[str]) -> bytes:
    return bytes(_ATTRIBUTE_UPDATE(sharedDeleted=list(keys)).SerializeToString())


def rpc_answer(request_id: str, answer_json: bytes) -> bytes:
    answer = _RPC_RESPONSE(requestId=_int32(request_id), payload=answer_json.decode())
    return bytes(answer.SerializeToString())


def _keys(text: str) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(text.split(","))) if text else None


def _add(listed: Any, key: str, value: Value, ts_ms: int) -> None:
    kind, field = _KINDS[type(value)]
    entry = listed.add(ts=ts_ms)
    entry.kv.key = key
    entry.kv.type = kind
    setattr(entry.kv, field, str(value) if isinstance(value, str) else value)


def _int32(request_id: str) -> int:
    """The id is in the topic too; one of 32 bits without a sign is written as its bits are."""
    number = int(request_id)
    return number if number <= _LARGEST_INT32 else number - 2**32 if number < 2**32 else 0
