"""The device API's topics: a row each, the only topic strings in the house (device API reference, 2.2, 3).

`{id}` is a decimal number that the requester chose. A row with `publish` is what a device may publish to, a
row with `subscribe` what it may subscribe to.
"""

from __future__ import annotations

import msgspec


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One purpose. What a topic does is written in `device_messages`."""

    purpose: str
    publish: str | None = None  # the topic a device publishes to
    answer: str | None = None  # the topic of the server's answer
    send: str | None = None  # the topic that the server publishes to by itself
    subscribe: str | None = None  # the filter a device subscribes to, exactly as written here

    @property
    def topic(self) -> str:
        """`publish` of a row that has one."""
        assert self.publish is not None, self.purpose
        return self.publish


TELEMETRY = Topic(purpose="Telemetry of the device", publish="v1/devices/me/telemetry")
ATTRIBUTES = Topic(
    purpose="Client attributes up, shared attributes down",
    publish="v1/devices/me/attributes",
    send="v1/devices/me/attributes",
    subscribe="v1/devices/me/attributes",
)
ATTRIBUTE_REQUEST = Topic(
    purpose="Attributes on request",
    publish="v1/devices/me/attributes/request/{id}",
    answer="v1/devices/me/attributes/response/{id}",
    subscribe="v1/devices/me/attributes/response/+",
)
RPC_TO_SERVER = Topic(
    purpose="RPC to the server, and its answer",
    publish="v1/devices/me/rpc/request/{id}",
    answer="v1/devices/me/rpc/response/{id}",
    subscribe="v1/devices/me/rpc/response/+",
)
RPC_TO_DEVICE = Topic(
    purpose="RPC to the device, and its reply",
    publish="v1/devices/me/rpc/response/{id}",
    send="v1/devices/me/rpc/request/{id}",
    subscribe="v1/devices/me/rpc/request/+",
)

TOPICS = (TELEMETRY, ATTRIBUTES, ATTRIBUTE_REQUEST, RPC_TO_SERVER, RPC_TO_DEVICE)

LONGEST_REQUEST_ID = 10  # digits of a 32-bit number

_REQUESTS = {row.topic.removesuffix("{id}"): row for row in TOPICS if row.publish and "{id}" in row.publish}
_ANSWERS = {row.answer.removesuffix("{id}") for row in TOPICS if row.answer}
_FILTERS = {row.subscribe for row in TOPICS if row.subscribe}


def find_request(name: str) -> tuple[Topic, str] | None:
    """The row of a topic with an id in it, and the id as it was written."""
    prefix, _, request_id = name.rpartition("/")
    row = _REQUESTS.get(f"{prefix}/")
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


def is_answer_topic(name: str) -> bool:
    """Whether the server sends answers to requests there."""
    prefix, _, request_id = name.rpartition("/")
    return is_request_id(request_id) and f"{prefix}/" in _ANSWERS


def topic_to_send(row: Topic, request_id: int | None = None) -> str:
    """Where the server sends what it sends by itself."""
    assert row.send is not None, row.purpose
    return row.send if request_id is None else row.send.replace("{id}", str(request_id))


def reply_topic(request_id: int) -> str:
    """Where a device replies to a call of the server."""
    return RPC_TO_DEVICE.topic.replace("{id}", str(request_id))


def answer_topic(row: Topic, request_id: str) -> str:
    assert row.answer is not None, row.purpose
    return row.answer.replace("{id}", request_id)
