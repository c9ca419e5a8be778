"""How a device's payloads are read and written: one codec a format, JSON's being `device_payloads` itself.

A codec is a bundle of plain functions, so that choosing one costs a message nothing. What a protobuf codec
reads comes out as what JSON would have brought; nothing behind a codec knows formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from thingpass.servers import device_payloads
from thingpass.servers.device_payloads import AttributeRequest
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.store.rows import Attribute, Sample, Value

Attributes = Iterable[Attribute] | None


class Codec(msgspec.Struct, frozen=True, kw_only=True):
    """All that parses raises PayloadInvalid and nothing else, whatever the bytes are.

    What writes for the device raises PayloadInvalid when this format cannot say it.
    """

    name: str
    parse_telemetry: Callable[[bytes, int], list[Sample]]
    parse_attributes: Callable[[bytes], dict[str, Value]]
    parse_attribute_request: Callable[[bytes], AttributeRequest]
    parse_rpc_method: Callable[[bytes], str]
    parse_rpc_reply: Callable[[bytes], str]  # the reply as text, which is JSON unless JSON was not asked for
    attribute_response: Callable[[str, Attributes, Attributes], bytes]  # request id, client, shared
    attributes_update: Callable[[Mapping[str, Value]], bytes]
    attributes_removal: Callable[[Iterable[str]], bytes]
    rpc_request: Callable[[str, str, str], bytes]  # request id, method, parameters as JSON text
    rpc_answer: Callable[[str, bytes], bytes]  # request id, the answer as JSON


def _attribute_response(request_id: str, client: Attributes, shared: Attributes) -> bytes:
    return device_payloads.attribute_response(client, shared)


def _parse_rpc_reply(payload: bytes) -> str:
    """Device API reference, 2.7: a reply is passed on as text, and need not be JSON."""
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise PayloadInvalid(
            f"The reply is not UTF-8 at byte {error.start}.", mend="Send text in UTF-8."
        ) from None


def _rpc_request(request_id: str, method: str, parameters_json: str) -> bytes:
    return msgspec.json.encode({"method": method, "params": msgspec.Raw(parameters_json.encode())})


def _rpc_answer(request_id: str, answer_json: bytes) -> bytes:
    return answer_json


JSON: Final = Codec(
    name="JSON",
    parse_telemetry=device_payloads.parse_telemetry,
    parse_attributes=device_payloads.parse_attributes,
    parse_attribute_request=device_payloads.parse_attribute_request,
    parse_rpc_method=device_payloads.parse_rpc_method,
    parse_rpc_reply=_parse_rpc_reply,
    attribute_response=_attribute_response,
    attributes_update=device_payloads.attributes_update,
    attributes_removal=device_payloads.attributes_removal,
    rpc_request=_rpc_request,
    rpc_answer=_rpc_answer,
)
