"""A profile's transport configuration: ThingsBoard's JSON text -> what it says (REST reference, 4.2).

The text is stored as it was given, so that it is given back so; this reads it, to check it when it is saved,
and when a device connects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from thingpass.errors import Invalid
from thingpass.mqtt.errors import ProtocolViolation
from thingpass.mqtt.topics import validate_topic_filter
from thingpass.proto3.errors import SchemaError
from thingpass.store.rows import TRANSPORT_MQTT, DeviceProfile

if TYPE_CHECKING:
    from google.protobuf.message import Message

LONGEST_TOPIC: Final = 255
SENTENCE_START: Final = "[Transport Configuration]"
"""How ThingsBoard's own messages about this begin."""

# What ThingsBoard uses where a profile says nothing.
DEFAULT_RPC_REQUEST_SCHEMA: Final = """\
syntax = "proto3";
package rpc;

message RpcRequestMsg {
  optional string method = 1;
  optional int32 requestId = 2;
  optional string params = 3;
}
"""
DEFAULT_RPC_RESPONSE_SCHEMA: Final = """\
syntax = "proto3";
package rpc;

message RpcResponseMsg {
  optional string payload = 1;
}
"""


class ProtobufPayload(msgspec.Struct, frozen=True, kw_only=True):
    """Schemas as text; None: messages of that kind cannot be read."""

    telemetry: str | None = None
    attributes: str | None = None
    rpc_request: str = DEFAULT_RPC_REQUEST_SCHEMA
    rpc_response: str = DEFAULT_RPC_RESPONSE_SCHEMA
    also_json: bool = False  # what is no protobuf may be JSON
    json_on_v1_down: bool = False  # what is sent to the device on v1 topics is JSON


class MqttTransport(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile says; a topic that is None is the device API's own."""

    telemetry_topic: str | None = None
    attributes_topic: str | None = None
    attributes_subscribe_topic: str | None = None
    payload: ProtobufPayload | None = None  # None: JSON
    acknowledge_bad_payloads: bool = False


class _Payload(msgspec.Struct, rename="camel"):
    transport_payload_type: str = "JSON"
    device_telemetry_proto_schema: str | None = None
    device_attributes_proto_schema: str | None = None
    device_rpc_request_proto_schema: str | None = None
    device_rpc_response_proto_schema: str | None = None
    enable_compatibility_with_json_payload_format: bool | None = False
    use_json_payload_format_for_default_downlink_topics: bool | None = False


class _Configuration(msgspec.Struct, rename="camel"):
    device_telemetry_topic: str | None = None
    device_attributes_topic: str | None = None
    device_attributes_subscribe_topic: str | None = None
    transport_payload_type_configuration: _Payload | None = None
    send_ack_on_validation_exception: bool | None = False
    sparkplug: bool | None = False


def read_transport(profile: DeviceProfile) -> MqttTransport | None:
    """None where nothing differs from the device API as it is. Raises Invalid."""
    if profile.transport_type != TRANSPORT_MQTT or profile.transport_json is None:
        return None
    try:
        given = msgspec.json.decode(profile.transport_json, type=_Configuration)
    except msgspec.MsgspecError as error:
        raise Invalid(f"{SENTENCE_START} {error}") from None
    if given.sparkplug:
        raise Invalid(f"{SENTENCE_START} Sparkplug is not supported.", mend="Set `sparkplug` to false.")
    found = MqttTransport(
        telemetry_topic=given.device_telemetry_topic or None,
        attributes_topic=given.device_attributes_topic or None,
        attributes_subscribe_topic=given.device_attributes_subscribe_topic or None,
        payload=_payload(given.transport_payload_type_configuration),
        acknowledge_bad_payloads=bool(given.send_ack_on_validation_exception),
    )
    return None if found == MqttTransport() else found


def check_transport(profile: DeviceProfile) -> None:
    """Reads it, and each topic and schema in it. Raises Invalid, naming what cannot be used and why."""
    transport = read_transport(profile)
    if transport is None:
        return
    topics = {
        "deviceTelemetryTopic": transport.telemetry_topic,
        "deviceAttributesTopic": transport.attributes_topic,
        "deviceAttributesSubscribeTopic": transport.attributes_subscribe_topic,
    }
    for member, topic in topics.items():
        if topic is not None:
            _check_topic(member, topic)
    if transport.telemetry_topic is not None and transport.telemetry_topic == transport.attributes_topic:
        raise Invalid(
            f"{SENTENCE_START} deviceTelemetryTopic and deviceAttributesTopic are both"
            f" {transport.telemetry_topic!r}; no telemetry would arrive.",
            mend="Give them topics of their own.",
        )
    if transport.payload is not None:
        _check_schemas(transport.payload)


def _payload(given: _Payload | None) -> ProtobufPayload | None:
    if given is None or given.transport_payload_type == "JSON":
        return None
    if given.transport_payload_type != "PROTOBUF":
        raise Invalid(
            f"{SENTENCE_START} transportPayloadType is {given.transport_payload_type[:40]!r}.",
            mend="It is JSON or PROTOBUF.",
        )
    also_json = bool(given.enable_compatibility_with_json_payload_format)
    return ProtobufPayload(
        telemetry=given.device_telemetry_proto_schema or None,
        attributes=given.device_attributes_proto_schema or None,
        rpc_request=given.device_rpc_request_proto_schema or DEFAULT_RPC_REQUEST_SCHEMA,
        rpc_response=given.device_rpc_response_proto_schema or DEFAULT_RPC_RESPONSE_SCHEMA,
        also_json=also_json,
        # As in ThingsBoard, the second flag counts only with the first.
        json_on_v1_down=also_json and bool(given.use_json_payload_format_for_default_downlink_topics),
    )


def _check_topic(member: str, topic: str) -> None:
    if len(topic) > LONGEST_TOPIC:
        raise Invalid(
            f"{SENTENCE_START} {member} has {len(topic)} characters; {LONGEST_TOPIC} are taken at most."
        )
    if topic.startswith("$") or "\x00" in topic:
        raise Invalid(f"{SENTENCE_START} {member} {topic[:40]!r} is no topic that devices publish to.")
    try:
        validate_topic_filter(topic)
    except ProtocolViolation as error:
        raise Invalid(
            f"{SENTENCE_START} {member} {topic!r} is no topic filter: {error.seen}.",
            mend="`+` stands for one level, `#` for all that follow, each as a level of its own.",
        ) from None


def _check_schemas(payload: ProtobufPayload) -> None:
    from thingpass.proto3.types import last_message_type  # it takes 40 ms and 7 MB, and few profiles need it

    def read(schema_name: str, text: str | None) -> type[Message] | None:
        try:
            return None if text is None else last_message_type(text)
        except SchemaError as error:
            raise Invalid(f"{SENTENCE_START} invalid {schema_name} proto schema: {error}.") from None

    telemetry = read("telemetry", payload.telemetry)
    read("attributes", payload.attributes)
    request = read("rpc request", payload.rpc_request)
    read("rpc response", payload.rpc_response)
    assert request is not None
    for name in ("method", "params"):
        if name not in request.DESCRIPTOR.fields_by_name:
            raise Invalid(f"{SENTENCE_START} invalid rpc request proto schema: it has no field {name!r}.")
    ts = None if telemetry is None else telemetry.DESCRIPTOR.fields_by_name.get("ts")
    if ts is not None and not ts.has_presence:
        raise Invalid(
            f"{SENTENCE_START} invalid telemetry proto schema: Field 'ts' should have optional keyword!",
            mend="Without it a device that sends no time would send 1970.",
        )
