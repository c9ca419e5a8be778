"""What a device's messages do: one function per handler of `device_topics`, nothing about sockets.

Telemetry goes to `telemetry.ingest` and is acknowledged when its batch is stored. What has to wait for the
store (attributes) runs as work of its connection, one after the other, in the order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec

from thingpass.clock import Clock
from thingpass.messaging.rpc import RpcService
from thingpass.metrics import Counters
from thingpass.mqtt.events import MessagePublished
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers import device_payloads
from thingpass.servers.device_topics import (
    ATTRIBUTE_REQUEST,
    ATTRIBUTES,
    RPC_TO_DEVICE,
    RPC_TO_SERVER,
    TELEMETRY,
    Topic,
    answer_topic,
    find_request,
    is_answer_topic,
    is_request_id,
)
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.servers.server_methods import answer_call
from thingpass.store.rows import Device
from thingpass.telemetry.attributes import CLIENT_SCOPE, SHARED_SCOPE, AttributeService
from thingpass.telemetry.ingest import Acknowledger, Ingest

LARGEST_REQUEST_ID: Final = 2**31 - 1


class MessageServices(msgspec.Struct, frozen=True):
    """What the handlers need of the house."""

    ingest: Ingest
    attributes: AttributeService
    rpc: RpcService
    counters: Counters
    clock: Clock
    maximum_packet_size: int
    receive_maximum: int


class DeviceConnection(Acknowledger, Protocol):
    """What the handlers need of a connection."""

    @property
    def device(self) -> Device: ...

    @property
    def messages(self) -> MessageServices: ...

    def acknowledge(self, packet_id: int, reason_code: int = 0) -> None:
        """At QoS 0 (packet id 0) nothing happens."""

    def refuse_message(self, message: MessagePublished, error: PayloadInvalid) -> None: ...
    def send_to_device(self, topic: str, payload: bytes, properties: Properties | None = None) -> None: ...
    def run_in_order(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs it after the connection's earlier work; reading pauses while too much of it waits."""


def receive_message(connection: DeviceConnection, message: MessagePublished) -> None:
    """Routes one message; a payload that cannot be used is refused by the connection."""
    handler = _HANDLERS_BY_TOPIC.get(message.topic)
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
    _REQUEST_HANDLERS[topic](connection, message, request_id)


def _answer(connection: DeviceConnection, message: MessagePublished, default: str, payload: bytes) -> None:
    """Sends an answer, in MQTT 5 with the request's Correlation Data (MQTT5 4.10).

    A Response Topic is followed within the device API's answers alone: a device cannot have anything
    published anywhere else.
    """
    asked = message.properties
    if asked is None or (asked.response_topic is None and asked.correlation_data is None):
        connection.send_to_device(default, payload)
        return
    wished = asked.response_topic
    topic = wished if wished is not None and is_answer_topic(wished) else default
    properties = None
    if asked.correlation_data is not None:
        properties = Properties(correlation_data=asked.correlation_data)
    connection.send_to_device(topic, payload, properties)


def _telemetry(connection: DeviceConnection, message: MessagePublished) -> None:
    messages = connection.messages
    samples = device_payloads.parse_telemetry(message.payload, messages.clock.now_ms())
    packet_id = message.packet_id
    messages.ingest.append(connection.device.number, samples, connection if packet_id else None, packet_id)


def _client_attributes(connection: DeviceConnection, message: MessagePublished) -> None:
    values = device_payloads.parse_attributes(message.payload)
    connection.run_in_order(_save_client_attributes(connection, message.packet_id, values))


async def _save_client_attributes(
    connection: DeviceConnection, packet_id: int, values: dict[str, Any]
) -> None:
    await connection.messages.attributes.save(connection.device.id, CLIENT_SCOPE, values)
    connection.acknowledge(packet_id)


def _attribute_request(connection: DeviceConnection, message: MessagePublished, request_id: str) -> None:
    request = device_payloads.parse_attribute_request(message.payload)
    connection.run_in_order(_answer_attribute_request(connection, message, request, request_id))


async def _answer_attribute_request(
    connection: DeviceConnection,
    message: MessagePublished,
    request: device_payloads.AttributeRequest,
    request_id: str,
) -> None:
    attributes, device_id = connection.messages.attributes, connection.device.id
    client = shared = None
    if request.wants_client:
        client = await attributes.find(device_id, CLIENT_SCOPE, request.client_keys)
    if request.wants_shared:
        shared = await attributes.find(device_id, SHARED_SCOPE, request.shared_keys)
    connection.acknowledge(message.packet_id)
    payload = device_payloads.attribute_response(client, shared)
    _answer(connection, message, answer_topic(ATTRIBUTE_REQUEST, request_id), payload)


def _rpc_to_server(connection: DeviceConnection, message: MessagePublished, request_id: str) -> None:
    method = device_payloads.parse_rpc_method(message.payload)
    connection.acknowledge(message.packet_id)
    payload = answer_call(method, connection.messages, connection.device)
    _answer(connection, message, answer_topic(RPC_TO_SERVER, request_id), payload)


def _rpc_reply(connection: DeviceConnection, message: MessagePublished, request_id: str) -> None:
    """Goes to who called; a reply that nobody waits for is acknowledged and dropped (2.7)."""
    number = int(request_id)
    if number > LARGEST_REQUEST_ID or connection.messages.rpc.answered_at_once(
        connection.device.id, number, message.payload
    ):
        connection.acknowledge(message.packet_id)
    else:
        connection.run_in_order(_take_rpc_reply(connection, message, number))


async def _take_rpc_reply(connection: DeviceConnection, message: MessagePublished, request_id: int) -> None:
    await connection.messages.rpc.answered(connection.device.id, request_id, message.payload)
    connection.acknowledge(message.packet_id)


_HANDLERS_BY_TOPIC: dict[str, Callable[[DeviceConnection, MessagePublished], None]] = {
    TELEMETRY.topic: _telemetry,
    ATTRIBUTES.topic: _client_attributes,
}
_REQUEST_HANDLERS: dict[Topic, Callable[[DeviceConnection, MessagePublished, str], None]] = {
    ATTRIBUTE_REQUEST: _attribute_request,
    RPC_TO_SERVER: _rpc_to_server,
    RPC_TO_DEVICE: _rpc_reply,
}
