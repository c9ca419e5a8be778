"""What a device's messages do: one function per handler of `device_topics`, nothing about sockets.

Telemetry goes to `telemetry.ingest` and is acknowledged when its batch is stored. What has to wait for the
store (attributes) runs as work of its connection, one after the other, in the order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec

from thingpass.clock import Clock
from thingpass.messaging.rate_limiting import RateLimiter
from thingpass.metrics import Counters
from thingpass.mqtt.events import MessagePublished
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers import device_payloads
from thingpass.servers.connection_limits import ConnectionLimits
from thingpass.servers.device_payloads_session import SESSION_LIMITS_METHOD, session_limits
from thingpass.servers.device_topics import (
    ATTRIBUTE_REQUEST,
    ATTRIBUTES,
    RPC_TO_SERVER,
    TELEMETRY,
    Topic,
    answer_topic,
    find_request,
    is_request_id,
)
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.store.rows import Device
from thingpass.telemetry.attributes import CLIENT_SCOPE, SHARED_SCOPE, AttributeService
from thingpass.telemetry.ingest import Acknowledger, Ingest


class MessageServices(msgspec.Struct, frozen=True):
    """What the handlers need of the house."""

    ingest: Ingest
    attributes: AttributeService
    rate_limiter: RateLimiter
    counters: Counters
    clock: Clock
    maximum_packet_size: int
    receive_maximum: int


class DeviceConnection(Acknowledger, Protocol):
    """What the handlers need of a connection."""

    limits: ConnectionLimits | None  # None: nothing is limited

    @property
    def device(self) -> Device: ...

    @property
    def messages(self) -> MessageServices: ...

    def acknowledge(self, packet_id: int, reason_code: int = 0) -> None:
        """At QoS 0 (packet id 0) nothing happens."""

    def refuse_message(self, message: MessagePublished, error: PayloadInvalid) -> None: ...
    def send_to_device(self, topic: str, payload: bytes) -> None: ...
    def run_in_order(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs it after the connection's earlier work; reading pauses while too much of it waits."""


def receive_message(connection: DeviceConnection, message: MessagePublished) -> None:
    """Routes one message; a payload that cannot be used is refused by the connection."""
    handler = _HANDLERS_BY_TOPIC.get(message.topic)
    limits = connection.limits
    if limits is not None and not limits.admit(message, carries_data=handler is not None):
        return
    try:
        if handler is not None:
            handler(connection, message)
        else:
            _receive_request(connection, message)
    except PayloadInvalid as error:
        connection.refuse_message(message, error)


def _receive_request(connection: DeviceConnection, message: MessagePublished) -> None:
    found = find_request(message.topic)
    if found is None:
        # Device API reference 2.3: an unknown topic is acknowledged, and the connection stays.
        connection.messages.counters.messages_rejected += 1
        connection.acknowledge(message.packet_id, ReasonCode.TOPIC_NAME_INVALID)
        return
    topic, request_id = found
    if not is_request_id(request_id):
        raise PayloadInvalid(f"The request's id {request_id[:20]!r} is not a number of at most 10 digits.")
    _REQUEST_HANDLERS[topic](connection, message, answer_topic(topic, request_id))


def _telemetry(connection: DeviceConnection, message: MessagePublished) -> None:
    messages = connection.messages
    samples = device_payloads.parse_telemetry(message.payload, messages.clock.now_ms())
    if connection.limits is not None:
        connection.limits.charge_points(sum(len(sample.values) for sample in samples))
    packet_id = message.packet_id
    messages.ingest.append(connection.device.number, samples, connection if packet_id else None, packet_id)


def _client_attributes(connection: DeviceConnection, message: MessagePublished) -> None:
    values = device_payloads.parse_attributes(message.payload)
    if connection.limits is not None:
        connection.limits.charge_points(len(values))
    connection.run_in_order(_save_client_attributes(connection, message.packet_id, values))


async def _save_client_attributes(
    connection: DeviceConnection, packet_id: int, values: dict[str, Any]
) -> None:
    await connection.messages.attributes.save(connection.device.id, CLIENT_SCOPE, values)
    connection.acknowledge(packet_id)


def _attribute_request(connection: DeviceConnection, message: MessagePublished, answer: str) -> None:
    request = device_payloads.parse_attribute_request(message.payload)
    connection.run_in_order(_answer_attribute_request(connection, message.packet_id, request, answer))


async def _answer_attribute_request(
    connection: DeviceConnection, packet_id: int, request: device_payloads.AttributeRequest, answer: str
) -> None:
    attributes, device_id = connection.messages.attributes, connection.device.id
    client = shared = None
    if request.wants_client:
        client = await attributes.find(device_id, CLIENT_SCOPE, request.client_keys)
    if request.wants_shared:
        shared = await attributes.find(device_id, SHARED_SCOPE, request.shared_keys)
    connection.acknowledge(packet_id)
    payload = device_payloads.attribute_response(client, shared)
    connection.send_to_device(answer, payload)


def _rpc_to_server(connection: DeviceConnection, message: MessagePublished, answer: str) -> None:
    """Answers `getSessionLimits` (device API reference, 7.3), by which ThingsBoard's client sets its pace."""
    method = device_payloads.parse_rpc_method(message.payload)
    connection.acknowledge(message.packet_id)
    if method == SESSION_LIMITS_METHOD:
        messages, device = connection.messages, connection.device
        reply = session_limits(
            device,
            messages.rate_limiter.limits_of(device.tenant_id),
            maximum_packet_size=messages.maximum_packet_size,
            receive_maximum=messages.receive_maximum,
        )
    else:
        reply = {"error": f"This server has no method named {method[:100]!r}."}
    connection.send_to_device(answer, msgspec.json.encode(reply))


_HANDLERS_BY_TOPIC: dict[str, Callable[[DeviceConnection, MessagePublished], None]] = {
    TELEMETRY.topic: _telemetry,
    ATTRIBUTES.topic: _client_attributes,
}
_REQUEST_HANDLERS: dict[Topic, Callable[[DeviceConnection, MessagePublished, str], None]] = {
    ATTRIBUTE_REQUEST: _attribute_request,
    RPC_TO_SERVER: _rpc_to_server,
}
