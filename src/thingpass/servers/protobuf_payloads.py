"""Protobuf codecs: a profile's schemas, and the device API's fixed messages where there are none (2.12).

A message is read by its schema, becomes what its JSON would be, and is then handled as JSON. The protobuf
library costs 7 MB and is loaded when the first message or profile needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, NoReturn, ParamSpec, TypeVar

import msgspec

from thingpass.devices.transport_configuration import ProtobufPayload
from thingpass.errors import Invalid
from thingpass.proto3.errors import SchemaError
from thingpass.servers import device_payloads
from thingpass.servers.device_payloads import AttributeRequest
from thingpass.servers.payload_codecs import Attributes, Codec
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.store.rows import Sample, Value

if TYPE_CHECKING:
    from google.protobuf.message import Message

P = ParamSpec("P")
T = TypeVar("T")


def _parse_attribute_request(payload: bytes) -> AttributeRequest:
    from thingpass.servers import protobuf_messages

    return protobuf_messages.parse_attribute_request(payload)


def _parse_rpc_method(payload: bytes) -> str:
    from thingpass.servers import protobuf_messages

    return protobuf_messages.parse_rpc_method(payload)


def _attribute_response(request_id: str, client: Attributes, shared: Attributes) -> bytes:
    from thingpass.servers import protobuf_messages

    return protobuf_messages.attribute_response(request_id, client, shared)


def _attributes_update(values: Mapping[str, Value]) -> bytes:
    from thingpass.servers import protobuf_messages

    return protobuf_messages.attributes_update(values)


def _attributes_removal(keys: Iterable[str]) -> bytes:
    from thingpass.servers import protobuf_messages

    return protobuf_messages.attributes_removal(keys)


def _rpc_answer(request_id: str, answer_json: bytes) -> bytes:
    from thingpass.servers import protobuf_messages

    return protobuf_messages.rpc_answer(request_id, answer_json)


def _no_schema(what: str) -> NoReturn:
    raise PayloadInvalid(
        f"The device's profile has no protobuf schema for {what}.",
        mend="Send JSON on the topic without /p, or give the profile the schema.",
    )


def _parse_telemetry_without(payload: bytes, now_ms: int) -> list[Sample]:
    _no_schema("telemetry")


def _parse_attributes_without(payload: bytes) -> dict[str, Value]:
    _no_schema("attributes")


def _parse_rpc_reply_without(payload: bytes) -> str:
    _no_schema("replies to RPC")


def _rpc_request_without(request_id: str, method: str, parameters_json: str) -> bytes:
    _no_schema("RPC to the device")


WITHOUT_SCHEMAS: Final = Codec(
    name="protobuf without schemas",
    parse_telemetry=_parse_telemetry_without,
    parse_attributes=_parse_attributes_without,
    parse_attribute_request=_parse_attribute_request,
    parse_rpc_method=_parse_rpc_method,
    parse_rpc_reply=_parse_rpc_reply_without,
    attribute_response=_attribute_response,
    attributes_update=_attributes_update,
    attributes_removal=_attributes_removal,
    rpc_request=_rpc_request_without,
    rpc_answer=_rpc_answer,
)
"""Of a profile that speaks JSON, on the topics that force protobuf."""


def with_schemas(payload: ProtobufPayload) -> Codec:
    """The codec of a profile's schemas. Raises Invalid; takes milliseconds."""
    from google.protobuf.json_format import ParseDict, ParseError

    from thingpass.proto3.types import last_message_type
    from thingpass.servers.protobuf_values import message_values, read_message

    def compiled(text: str) -> type[Message]:
        try:
            return last_message_type(text)
        except SchemaError as error:
            raise Invalid(f"A proto schema cannot be used: {error}.") from None

    telemetry = None if payload.telemetry is None else compiled(payload.telemetry)
    attributes = None if payload.attributes is None else compiled(payload.attributes)
    request, response = compiled(payload.rpc_request), compiled(payload.rpc_response)

    def json_of(kind: type[Message], message: bytes) -> bytes:
        return msgspec.json.encode(message_values(read_message(kind, message)))

    def parse_telemetry(message: bytes, now_ms: int) -> list[Sample]:
        assert telemetry is not None
        return device_payloads.parse_telemetry(json_of(telemetry, message), now_ms)

    def parse_attributes(message: bytes) -> dict[str, Value]:
        assert attributes is not None
        return device_payloads.parse_attributes(json_of(attributes, message))

    def parse_rpc_reply(message: bytes) -> str:
        return json_of(response, message).decode()

    def rpc_request(request_id: str, method: str, parameters_json: str) -> bytes:
        parameters = msgspec.json.decode(parameters_json)
        field = request.DESCRIPTOR.fields_by_name["params"]
        if field.type == field.TYPE_STRING and not isinstance(parameters, str):
            parameters = parameters_json
        members = {"method": method, "requestId": int(request_id), "params": parameters}
        try:
            return bytes(ParseDict(members, request(), ignore_unknown_fields=True).SerializeToString())
        except (ParseError, TypeError, ValueError):
            raise PayloadInvalid(
                f"The call's parameters do not fit the profile's schema {request.DESCRIPTOR.full_name}."
            ) from None

    return msgspec.structs.replace(
        WITHOUT_SCHEMAS,
        name="protobuf",
        parse_telemetry=_parse_telemetry_without if telemetry is None else parse_telemetry,
        parse_attributes=_parse_attributes_without if attributes is None else parse_attributes,
        parse_rpc_reply=parse_rpc_reply,
        rpc_request=rpc_request,
    )


def either(first: Codec, second: Codec) -> Codec:
    """Reads what the first cannot with the second, and writes as the first."""
    return msgspec.structs.replace(
        first,
        name=f"{first.name} or {second.name}",
        parse_telemetry=_first_that_can(first.parse_telemetry, second.parse_telemetry),
        parse_attributes=_first_that_can(first.parse_attributes, second.parse_attributes),
        parse_attribute_request=_first_that_can(
            first.parse_attribute_request, second.parse_attribute_request
        ),
        parse_rpc_method=_first_that_can(first.parse_rpc_method, second.parse_rpc_method),
        parse_rpc_reply=_first_that_can(first.parse_rpc_reply, second.parse_rpc_reply),
    )


def _first_that_can(first: Callable[P, T], second: Callable[P, T]) -> Callable[P, T]:
    def parse(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return first(*args, **kwargs)
        except PayloadInvalid as error:
            try:
                return second(*args, **kwargs)
            except PayloadInvalid:
                raise error from None

    return parse
