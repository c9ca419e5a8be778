"""The device API's topics: a row each, the only topic strings in the house (device API reference, 2.2, 3).

`{id}` is a decimal number that the requester chose. A row with a handler is what a device may publish to; a
row with a filter is what it may subscribe to. Handlers are named here and written in `device_messages`.
"""

from __future__ import annotations

import enum

import msgspec


class Handler(enum.Enum):
    TELEMETRY = "telemetry"
    CLIENT_ATTRIBUTES = "client attributes"
    ATTRIBUTE_REQUEST = "attribute request"
    RPC_TO_SERVER = "RPC to the server"


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    purpose: str
    publish: str | None = None  # the topic a device publishes to
    handler: Handler | None = None
    answer: str | None = None  # the topic of the server's answer
    subscribe: str | None = None  # the filter a device subscribes to, exactly as written here


TELEMETRY = Topic(
    purpose="Telemetry of the device", publish="v1/devices/me/telemetry", handler=Handler.TELEMETRY
)
ATTRIBUTES = Topic(
    purpose="Client attributes up, shared attributes down",
    publish="v1/devices/me/attributes",
    handler=Handler.CLIENT_ATTRIBUTES,
    subscribe="v1/devices/me/attributes",
)
ATTRIBUTE_REQUEST = Topic(
    purpose="Attributes on request",
    publish="v1/devices/me/attributes/request/{id}",
    handler=Handler.ATTRIBUTE_REQUEST,
    answer="v1/devices/me/attributes/response/{id}",
    subscribe="v1/devices/me/attributes/response/+",
)
RPC_TO_SERVER = Topic(
    purpose="RPC to the server, and its answer",
    publish="v1/devices/me/rpc/request/{id}",
    handler=Handler.RPC_TO_SERVER,
    answer="v1/devices/me/rpc/response/{id}",
    subscribe="v1/devices/me/rpc/response/+",
)
RPC_TO_DEVICE = Topic(purpose="RPC to the device", subscribe="v1/devices/me/rpc/request/+")

TOPICS = (TELEMETRY, ATTRIBUTES, ATTRIBUTE_REQUEST, RPC_TO_SERVER, RPC_TO_DEVICE)

LONGEST_REQUEST_ID = 10  # digits of a 32-bit number

_EXACT = {row.publish: row for row in TOPICS if row.publish and "{id}" not in row.publish}
_BY_PREFIX = {
    row.publish.removesuffix("{id}"): row
    for row in TOPICS
    if row.publish is not None and row.publish.endswith("{id}")
}
_FILTERS = {row.subscribe for row in TOPICS if row.subscribe}


def find_topic(name: str) -> tuple[Topic, str] | None:
    """The row that a published topic belongs to and its request id ("" where the row has none)."""
    row = _EXACT.get(name)
    if row is not None:
        return row, ""
    prefix, _, request_id = name.rpartition("/")
    row = _BY_PREFIX.get(prefix + "/")
    return None if row is None else (row, request_id)


def is_subscribable(topic_filter: str) -> bool:
    """The filters of the table, and each with a request id in the place of its `+`.

    Deviates from ThingsBoard, which refuses the latter: request/response clients (mosquitto_rr) subscribe to
    the one answer that they wait for.
    """
    if topic_filter in _FILTERS:
        return True
    prefix, _, request_id = topic_filter.rpartition("/")
    return f"{prefix}/+" in _FILTERS and is_request_id(request_id)


def is_request_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_REQUEST_ID


def answer_topic(row: Topic, request_id: str) -> str:
    assert row.answer is not None, row.purpose
    return row.answer.replace("{id}", request_id)
