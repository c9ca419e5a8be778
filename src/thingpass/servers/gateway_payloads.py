"""ThingsBoard's JSON of gateways <-> what it says of each device behind one (device API reference, 2.11).

A message about several devices is taken apart first, without looking into the parts; each part is then read
as the device's own message would be. So what is wrong with one of them does not touch the others: it comes
out as a `Problem` beside what can be used.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from thingpass.devices.texts import LONGEST_NAME
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers import device_payloads
from thingpass.servers.device_payloads import json_value
from thingpass.servers.device_payloads_onboarding import ClaimOffer, parse_claim
from thingpass.servers.payload_faults import PayloadInvalid, kind_words, not_json, shown
from thingpass.store.rows import Attribute, Sample, Value

MOST_DEVICES_NAMED: Final = 1_000
"""Devices in one message."""

LARGEST_ID: Final = 2**31 - 1
LONGEST_CONNECTOR: Final = 100
"""Characters of a connector's name in the metadata of a sample."""

_METADATA: Final = b'"metadata"'


class Fault(enum.Enum):
    """What can be wrong with one device's part: MQTT 5's reason code, and whether MQTT 3 is closed over it.

    The latter is ThingsBoard's (device API reference, 2.11): MQTT 3 cannot be told, and what it hears else
    is an acknowledgement.
    """

    BAD_VALUES = ("its values cannot be stored", ReasonCode.PAYLOAD_FORMAT_INVALID, True)
    WRONG_TYPE = ("no array of samples, no object of attributes", ReasonCode.PAYLOAD_FORMAT_INVALID, False)
    BAD_NAME = ("no device can have its name", ReasonCode.PAYLOAD_FORMAT_INVALID, False)
    NOT_ITS_DEVICE = ("not a device of this gateway", ReasonCode.NOT_AUTHORIZED, False)
    NOT_TO_BE_CLAIMED = ("it has an owner, or may not be claimed", ReasonCode.NOT_AUTHORIZED, False)
    TOO_MANY_DEVICES = ("the gateway has too many devices", ReasonCode.QUOTA_EXCEEDED, False)
    DEVICE_GONE = ("the device was removed", ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, False)

    def __init__(self, meaning: str, code: ReasonCode, closes_mqtt3: bool) -> None:
        self.meaning = meaning
        self.code = code
        self.closes_mqtt3 = closes_mqtt3


class Problem(msgspec.Struct, frozen=True):
    """Why one device's part of a message is not used."""

    device: str
    fault: Fault
    sentence: str

    def __str__(self) -> str:
        return f"Device {shown(self.device)}: {self.sentence}"


PartT = TypeVar("PartT")


class Parts(msgspec.Struct, Generic[PartT]):
    """A message about devices, by their names; `problems` grows when a device cannot be connected."""

    by_device: dict[str, PartT]
    problems: list[Problem]


class ConnectorTime(msgspec.Struct, frozen=True):
    """How a sample came: through which of the gateway's connectors, and when (ms since 1970)."""

    connector: str
    received_ms: int
    published_ms: int


class ConnectRequest(msgspec.Struct, frozen=True):
    device: str
    profile_name: str | None


class AttributesWanted(msgspec.Struct, frozen=True):
    """One device's attributes of one scope."""

    id: int
    device: str
    client: bool
    keys: tuple[str, ...]


class RpcReply(msgspec.Struct, frozen=True):
    device: str
    id: int
    data: bytes  # JSON


# From the gateway


def parse_telemetry(payload: bytes, now_ms: int) -> tuple[Parts[list[Sample]], list[ConnectorTime]]:
    """`{"A":[sample,...],"B":[...]}`, and what metadata the samples had. Raises PayloadInvalid."""
    times: list[ConnectorTime] = []

    def read(part: bytes) -> list[Sample]:
        return device_payloads.parse_telemetry(part, now_ms)

    def read_with_metadata(part: bytes) -> list[Sample]:
        part, found = _without_metadata(part)
        samples = read(part)
        times.extend(found)
        return samples

    reading = read_with_metadata if _METADATA in payload else read  # looked for once, not in every part
    return _parts(payload, b"[", "an array of samples", reading), times


def parse_attributes(payload: bytes) -> Parts[dict[str, Value]]:
    """`{"A":{"k":v},"B":{...}}`. Raises PayloadInvalid."""
    return _parts(payload, b"{", "an object of attributes", device_payloads.parse_attributes)


def parse_claims(payload: bytes) -> Parts[ClaimOffer]:
    """`{"A":{"secretKey":"s","durationMs":n}}`. Raises PayloadInvalid."""
    return _parts(payload, b"{", "an object", parse_claim)


def parse_connect(payload: bytes) -> ConnectRequest:
    """`{"device":"A","type":"profile"}`; no `type` means the default profile. Raises PayloadInvalid."""
    members = _object(payload, "A connect message")
    kind = members.get("type")
    if kind is not None and type(kind) is not str:
        raise PayloadInvalid(f"`type` is {kind_words(kind)}, not the name of a device profile.")
    if kind is not None and len(kind) > LONGEST_NAME:
        raise PayloadInvalid(
            f"`type` has {len(kind)} characters; a profile's name has at most {LONGEST_NAME}."
        )
    return ConnectRequest(_device(members, "The connect message"), kind or None)


def parse_disconnect(payload: bytes) -> str:
    """`{"device":"A"}`: the device's name. Raises PayloadInvalid."""
    return _device(_object(payload, "A disconnect message"), "The disconnect message")


def parse_attribute_request(payload: bytes) -> AttributesWanted:
    """`{"id":n,"device":"A","client":true,"key":"k"}`, or `"keys":["k1","k2"]`. Raises PayloadInvalid."""
    members = _object(payload, "An attribute request")
    client = members.get("client")
    if type(client) is not bool:
        raise PayloadInvalid(
            f"`client` is {kind_words(client)}, not a boolean.",
            mend="true asks for client attributes, false for shared ones.",
        )
    device = _device(members, "The attribute request")
    return AttributesWanted(_id(members, "The attribute request"), device, client, _keys(members))


def parse_rpc_reply(payload: bytes) -> RpcReply:
    """`{"device":"A","id":n,"data":<JSON>}`. Raises PayloadInvalid."""
    members = _object(payload, "A reply")
    if "data" not in members:
        raise PayloadInvalid("The reply has no `data`.")
    data = bytes(_members_of(payload, "A reply")["data"])
    return RpcReply(_device(members, "The reply"), _id(members, "The reply"), data)


# To the gateway


def attribute_response(wanted: AttributesWanted, found: Iterable[Attribute]) -> bytes:
    """One key asked for and found: `value`; several: `values` with those that exist; nothing: neither."""
    values = {each.key: json_value(each.value) for each in found}
    answer: dict[str, object] = {"id": wanted.id, "device": wanted.device}
    if values and len(wanted.keys) == 1:
        answer["value"] = values[wanted.keys[0]]
    elif values:
        answer["values"] = values
    return msgspec.json.encode(answer)


def attributes_update(device: str, values: Mapping[str, Value]) -> bytes:
    return _about(device, device_payloads.attributes_update(values))


def attributes_removal(device: str, keys: Iterable[str]) -> bytes:
    return _about(device, device_payloads.attributes_removal(keys))


def rpc_request(device: str, request_id: int, method: str, params_json: str) -> bytes:
    data = {"id": request_id, "method": method, "params": msgspec.Raw(params_json.encode())}
    return msgspec.json.encode({"device": device, "data": data})


def disconnected(device: str, reason_code: int) -> bytes:
    """The server ended the device's session; the reason is one of MQTT 5's codes, in decimal."""
    return msgspec.json.encode({"device": device, "reason": int(reason_code)})


def reason_string(problems: Sequence[Problem]) -> str:
    """For a person: the first of them, and how many there are."""
    if len(problems) == 1:
        return str(problems[0])
    return f"{problems[0]} So it is with {len(problems)} devices of this message; the others are stored."


# Reading


def _parts(payload: bytes, begins: bytes, what: str, read: Callable[[bytes], PartT]) -> Parts[PartT]:
    members = _members_of(payload, "A message about devices")
    if len(members) > MOST_DEVICES_NAMED:
        raise PayloadInvalid(
            f"The message names {len(members)} devices; {MOST_DEVICES_NAMED} are taken at a time."
        )
    parts: dict[str, PartT] = {}
    problems: list[Problem] = []
    for device, raw in members.items():
        part = bytes(raw)
        if not 0 < len(device) <= LONGEST_NAME:
            problems.append(Problem(device, Fault.BAD_NAME, _bad_name(device)))
        elif part[:1] != begins:
            sentence = f"Its part is {kind_words(_value(part))}, not {what}."
            problems.append(Problem(device, Fault.WRONG_TYPE, sentence))
        else:
            try:
                parts[device] = read(part)
            except PayloadInvalid as error:
                problems.append(Problem(device, Fault.BAD_VALUES, error.sentence))
    return Parts(parts, problems)


def _without_metadata(part: bytes) -> tuple[bytes, list[ConnectorTime]]:
    """The samples without their metadata, and what that said."""
    try:
        samples = _decode_elements(part)
    except Exception as error:  # msgspec, UTF-8, recursion: each is a fault of the payload
        raise not_json(part, error) from None
    times: list[ConnectorTime] = []
    for index, sample in enumerate(samples):
        if not bytes(sample).startswith(b"{"):
            continue  # whoever reads the samples says what is wrong
        try:
            members = _decode_members(sample)
            if "metadata" not in members:
                continue
            metadata = _decode(members.pop("metadata"))
            if metadata is not None:
                times.append(_connector_time(metadata, index))
        except PayloadInvalid:
            raise
        except Exception as error:
            raise not_json(bytes(sample), error) from None
        samples[index] = msgspec.Raw(msgspec.json.encode(members))
    return msgspec.json.encode(samples), times


def _connector_time(metadata: Any, index: int) -> ConnectorTime:
    if type(metadata) is dict:
        connector, received, published = (
            metadata.get(name) for name in ("connector", "receivedTs", "publishedTs")
        )
        if type(connector) is str and type(received) is int and type(published) is int:
            limit = device_payloads.LATEST_TS_MS
            if abs(received) <= limit and abs(published) <= limit:
                return ConnectorTime(connector[:LONGEST_CONNECTOR], received, published)
    raise PayloadInvalid(
        f"`metadata` of element {index + 1} needs a text `connector` and the times `receivedTs` and"
        " `publishedTs` in milliseconds."
    )


def _object(payload: bytes, what: str) -> dict[str, Any]:
    try:
        members = _decode(payload)
    except Exception as error:  # msgspec, UTF-8, recursion: each is a fault of the payload
        raise not_json(payload, error) from None
    if type(members) is not dict:
        raise PayloadInvalid(f"{what} is one object, not {kind_words(members)}.")
    return members


def _members_of(payload: bytes, what: str) -> dict[str, msgspec.Raw]:
    try:
        return _decode_members(payload)
    except msgspec.ValidationError:
        raise PayloadInvalid(f"{what} is one object, not {kind_words(_value(payload))}.") from None
    except Exception as error:  # msgspec, UTF-8, recursion: each is a fault of the payload
        raise not_json(payload, error) from None


def _value(text: bytes) -> Any:
    try:
        return _decode(text)
    except Exception as error:  # msgspec, UTF-8, recursion: each is a fault of the payload
        raise not_json(text, error) from None


def _device(members: dict[str, Any], what: str) -> str:
    device = members.get("device")
    if device is None:
        raise PayloadInvalid(f"{what} has no `device`.", mend="Name the device that it is about.")
    if type(device) is not str:
        raise PayloadInvalid(f"`device` is {kind_words(device)}, not a device's name.")
    if not 0 < len(device) <= LONGEST_NAME:
        raise PayloadInvalid(f"`device` cannot be used. {_bad_name(device)}")
    return device


def _id(members: dict[str, Any], what: str) -> int:
    number = members.get("id")
    if type(number) is str and number.isascii() and number.isdigit() and len(number) <= 10:
        number = int(number)
    if type(number) is not int or not 0 <= number <= LARGEST_ID:
        seen = "none" if number is None else kind_words(number)
        raise PayloadInvalid(f"{what} needs a number from 0 to {LARGEST_ID} as its `id`; it has {seen}.")
    return number


def _keys(members: dict[str, Any]) -> tuple[str, ...]:
    keys = members.get("keys")
    if keys is None:
        keys = [members.get("key")]
    if type(keys) is not list or not keys or not all(type(key) is str for key in keys):
        raise PayloadInvalid(
            "The attribute request names no attribute.", mend='Add "key":"k", or "keys":["k1","k2"].'
        )
    return tuple(dict.fromkeys(keys))


def _bad_name(device: str) -> str:
    if not device:
        return "The name is empty."
    return f"The name has {len(device)} characters; {LONGEST_NAME} are taken."


def _about(device: str, data: bytes) -> bytes:
    return msgspec.json.encode({"device": device, "data": msgspec.Raw(data)})


_decode: Final[Callable[[bytes | msgspec.Raw], Any]] = msgspec.json.Decoder().decode
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_elements: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
