"""The device API's topics: a row each, the only topic strings in the house (device API reference, 2.2, 3).

A purpose has up to four families of topics: `v1/...` and `v2/...`, whose payloads have the format that the
device's profile says, and two of `v2/...` that force JSON (`/j`) or protobuf (`/p`). `{id}` is a decimal
number that the requester chose, `{n}` counts the pieces of a file.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class Purpose(enum.Enum):
    """What topics are for; what is done then is written in `device_messages`."""

    TELEMETRY = "Telemetry of the device"
    ATTRIBUTES = "Client attributes up, shared attributes down"
    ATTRIBUTE_REQUEST = "Attributes on request"
    RPC_TO_SERVER = "RPC to the server, and its answer"
    RPC_TO_DEVICE = "RPC to the device, and its reply"
    CLAIM = "A claim to the device"
    PROVISION = "A new device's identity"
    FIRMWARE = "Firmware in pieces"
    SOFTWARE = "Software in pieces"
    FIRMWARE_ERROR = "What was wrong with a request for a piece of firmware, or of software"
    SOFTWARE_ERROR = "What was wrong with a request for a piece of software"
    GATEWAY_CONNECT = "A device behind a gateway connects"
    GATEWAY_DISCONNECT = "A device behind a gateway disconnects"
    GATEWAY_TELEMETRY = "Telemetry of devices behind a gateway"
    GATEWAY_ATTRIBUTES = "Attributes of devices behind a gateway"
    GATEWAY_ATTRIBUTE_REQUEST = "Attributes of a device behind a gateway, on request"
    GATEWAY_RPC = "RPC to devices behind a gateway, and their replies"
    GATEWAY_CLAIM = "A claim to devices behind a gateway"


class Format(enum.Enum):
    """What the payloads of a topic are written in."""

    OF_PROFILE = "the profile's"
    JSON = "JSON"
    PROTOBUF = "protobuf"


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One purpose in one family. A row with `publish` is what a device may publish to, and so on."""

    purpose: Purpose
    family: str = "v1"
    format: Format = Format.OF_PROFILE
    publish: str | None = None  # the topic a device publishes to
    send: str | None = None  # the topic the server sends to
    subscribe: str | None = None  # the filter a device subscribes to, exactly as written here

    @property
    def topic(self) -> str:
        """`publish` of a row that has one."""
        assert self.publish is not None, self.purpose
        return self.publish

    def topic_to_publish(self, request_id: str) -> str:
        """`publish` of a row that has an id in it: where a device answers to a request of the server."""
        return self.topic.replace("{id}", request_id)

    def topic_to_send(self, request_id: str = "", piece: str = "") -> str:
        """`send` of a row that has one, with the numbers of a request in it."""
        assert self.send is not None, self.purpose
        return self.send.replace("{id}", request_id).replace("{n}", piece)


class TopicRequest(msgspec.Struct, frozen=True):
    """A topic with a number in it, taken apart. The numbers are as they were written, and not checked."""

    topic: Topic
    id: str
    piece: str | None = None  # None: the topic has no place for one

    @property
    def numbers(self) -> tuple[str, ...]:
        return (self.id,) if self.piece is None else (self.id, self.piece)

    @property
    def answer_topic(self) -> str:
        return self.topic.topic_to_send(*self.numbers)


_V2_FAMILIES: Final = (
    ("v2", "", Format.OF_PROFILE),
    ("v2/j", "/j", Format.JSON),
    ("v2/p", "/p", Format.PROTOBUF),
)


def _families(
    v1: Topic, *, publish: str, send: str | None = None, subscribe: str | None = None
) -> list[Topic]:
    """The row and those of the v2 families; `{f}` is where these have their format."""
    rows = [v1]
    for family, mark, kind in _V2_FAMILIES:
        in_family = [text and text.replace("{f}", mark) for text in (publish, send, subscribe)]
        rows.append(
            Topic(
                purpose=v1.purpose,
                family=family,
                format=kind,
                publish=in_family[0],
                send=in_family[1],
                subscribe=in_family[2],
            )
        )
    return rows


TELEMETRY = Topic(purpose=Purpose.TELEMETRY, publish="v1/devices/me/telemetry")
ATTRIBUTES = Topic(
    purpose=Purpose.ATTRIBUTES,
    publish="v1/devices/me/attributes",
    send="v1/devices/me/attributes",
    subscribe="v1/devices/me/attributes",
)
ATTRIBUTE_REQUEST = Topic(
    purpose=Purpose.ATTRIBUTE_REQUEST,
    publish="v1/devices/me/attributes/request/{id}",
    send="v1/devices/me/attributes/response/{id}",
    subscribe="v1/devices/me/attributes/response/+",
)
RPC_TO_SERVER = Topic(
    purpose=Purpose.RPC_TO_SERVER,
    publish="v1/devices/me/rpc/request/{id}",
    send="v1/devices/me/rpc/response/{id}",
    subscribe="v1/devices/me/rpc/response/+",
)
RPC_TO_DEVICE = Topic(
    purpose=Purpose.RPC_TO_DEVICE,
    publish="v1/devices/me/rpc/response/{id}",
    send="v1/devices/me/rpc/request/{id}",
    subscribe="v1/devices/me/rpc/request/+",
)
FIRMWARE_ERROR = Topic(
    purpose=Purpose.FIRMWARE_ERROR, family="v2", send="v2/fw/error", subscribe="v2/fw/error"
)
SOFTWARE_ERROR = Topic(
    purpose=Purpose.SOFTWARE_ERROR, family="v2", send="v2/sw/error", subscribe="v2/sw/error"
)

GATEWAY_DISCONNECT = Topic(
    purpose=Purpose.GATEWAY_DISCONNECT,
    family="gateway",
    publish="v1/gateway/disconnect",
    send="v1/gateway/disconnect",
)
GATEWAY_TELEMETRY = Topic(purpose=Purpose.GATEWAY_TELEMETRY, family="gateway", publish="v1/gateway/telemetry")
GATEWAY_ATTRIBUTES = Topic(
    purpose=Purpose.GATEWAY_ATTRIBUTES,
    family="gateway",
    publish="v1/gateway/attributes",
    send="v1/gateway/attributes",
    subscribe="v1/gateway/attributes",
)
GATEWAY_ATTRIBUTE_REQUEST = Topic(
    purpose=Purpose.GATEWAY_ATTRIBUTE_REQUEST,
    family="gateway",
    publish="v1/gateway/attributes/request",
    send="v1/gateway/attributes/response",
    subscribe="v1/gateway/attributes/response",
)
GATEWAY_RPC = Topic(
    purpose=Purpose.GATEWAY_RPC,
    family="gateway",
    publish="v1/gateway/rpc",
    send="v1/gateway/rpc",
    subscribe="v1/gateway/rpc",
)

PROVISION = Topic(
    purpose=Purpose.PROVISION,
    family="provision",
    format=Format.JSON,
    publish="/provision/request",
    send="/provision/response",
    subscribe="/provision/response",
)

TOPICS: Final[tuple[Topic, ...]] = (
    *_families(TELEMETRY, publish="v2/t{f}"),
    *_families(ATTRIBUTES, publish="v2/a{f}", send="v2/a{f}", subscribe="v2/a{f}"),
    *_families(
        ATTRIBUTE_REQUEST, publish="v2/a/req{f}/{id}", send="v2/a/res{f}/{id}", subscribe="v2/a/res{f}/+"
    ),
    *_families(RPC_TO_SERVER, publish="v2/r/req{f}/{id}", send="v2/r/res{f}/{id}", subscribe="v2/r/res{f}/+"),
    *_families(RPC_TO_DEVICE, publish="v2/r/res{f}/{id}", send="v2/r/req{f}/{id}", subscribe="v2/r/req{f}/+"),
    Topic(purpose=Purpose.CLAIM, publish="v1/devices/me/claim"),
    PROVISION,
    Topic(
        purpose=Purpose.FIRMWARE,
        family="v2",
        publish="v2/fw/request/{id}/chunk/{n}",
        send="v2/fw/response/{id}/chunk/{n}",
        subscribe="v2/fw/response/+/chunk/+",
    ),
    Topic(
        purpose=Purpose.SOFTWARE,
        family="v2",
        publish="v2/sw/request/{id}/chunk/{n}",
        send="v2/sw/response/{id}/chunk/{n}",
        subscribe="v2/sw/response/+/chunk/+",
    ),
    FIRMWARE_ERROR,
    SOFTWARE_ERROR,
    Topic(purpose=Purpose.GATEWAY_CONNECT, family="gateway", publish="v1/gateway/connect"),
    GATEWAY_DISCONNECT,
    GATEWAY_TELEMETRY,
    GATEWAY_ATTRIBUTES,
    GATEWAY_ATTRIBUTE_REQUEST,
    GATEWAY_RPC,
    Topic(purpose=Purpose.GATEWAY_CLAIM, family="gateway", publish="v1/gateway/claim"),
)

LONGEST_REQUEST_ID = 10  # digits of a 32-bit number
LONGEST_REQUEST_TOPIC = 100  # characters; a longer name is no request, whatever is in it

_BY_NAME: Final = {row.publish: row for row in TOPICS if row.publish and "{" not in row.publish}
_BY_TEMPLATE: Final = {row.publish: row for row in TOPICS if row.publish and "{" in row.publish}
_ANSWERED: Final = (Purpose.ATTRIBUTE_REQUEST, Purpose.RPC_TO_SERVER)
_BY_ANSWER: Final = {row.send: row for row in TOPICS if row.purpose in _ANSWERED}
_BY_FILTER: Final = {
    row.subscribe: row for row in TOPICS if row.subscribe and row.purpose is not Purpose.PROVISION
}
"""What a device may subscribe to. `/provision/response` is for connections that have no device."""


def fixed_topics() -> dict[str, Topic]:
    """The rows whose topic has no number in it, by the topic that a device publishes to."""
    return dict(_BY_NAME)


def find_request(name: str) -> TopicRequest | None:
    """The row of a topic with a number in it, and the number."""
    if len(name) > LONGEST_REQUEST_TOPIC:
        return None
    prefix, _, last = name.rpartition("/")
    row = _BY_TEMPLATE.get(f"{prefix}/{{id}}")
    if row is not None:
        return TopicRequest(row, last)
    before, _, word = prefix.rpartition("/")
    before, _, middle = before.rpartition("/")
    row = _BY_TEMPLATE.get(f"{before}/{{id}}/{word}/{{n}}")
    return None if row is None else TopicRequest(row, middle, last)


def find_subscribable(topic_filter: str) -> Topic | None:
    """The row of a filter of the table, or of one with a request id in the place of its `+`.

    Deviates from ThingsBoard, which refuses the latter: request/response clients (mosquitto_rr) subscribe to
    the one answer that they wait for.
    """
    row = _BY_FILTER.get(topic_filter)
    if row is not None:
        return row
    prefix, _, request_id = topic_filter.rpartition("/")
    if not is_request_id(request_id):
        return None
    row = _BY_FILTER.get(f"{prefix}/+")
    return row if row is not None and row.purpose in _ANSWERED else None


def find_answer(name: str) -> TopicRequest | None:
    """The row whose requests are answered on this topic, and the id in it; for MQTT 5's Response Topic."""
    prefix, _, request_id = name.rpartition("/")
    row = _BY_ANSWER.get(f"{prefix}/{{id}}")
    return None if row is None or not is_request_id(request_id) else TopicRequest(row, request_id)


def is_request_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_REQUEST_ID
