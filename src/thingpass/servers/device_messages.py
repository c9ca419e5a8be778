"""What a device's messages do: one function per handler of `device_topics`, nothing about sockets.

Telemetry goes to `telemetry.ingest` and is acknowledged when its batch is stored. What has to wait for the
store (attributes) runs as work of its connection, one after the other, in the order of arrival.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, Protocol

import msgspec

from thingpass.clock import Clock
from thingpass.messaging.rpc import RpcService
from thingpass.metrics import Counters
from thingpass.mqtt.events import MessagePublished
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers.device_payloads import AttributeRequest
from thingpass.servers.device_topics import (
    Purpose,
    TopicRequest,
    find_request,
    is_answer_topic,
    is_request_id,
)
from thingpass.servers.device_transport import DeviceTransport, Handler, RequestHandler
from thingpass.servers.payload_codecs import Codec
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

    transport: DeviceTransport

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
    route = connection.transport.routes.get(message.topic)
    try:
        if route is not None:
            route[0](connection, message, route[1])
        else:
            _receive_other(connection, message)
    except PayloadInvalid as error:
        connection.refuse_message(message, error)


def _receive_other(connection: DeviceConnection, message: MessagePublished) -> None:
    """A topic that a custom filter matches, or one with a number in it, or none of the device API's."""
    transport = connection.transport
    route = transport.find_wildcard(message.topic)
    if route is not None:
        route[0](connection, message, route[1])
        return
    request = find_request(message.topic)
    handler = None if request is None else transport.request_handlers.get(request.topic.purpose)
    if request is None or handler is None:
        # Device API reference 2.3: an unknown topic is acknowledged, and the connection stays.
        connection.messages.counters.messages_rejected += 1
        connection.acknowledge(message.packet_id, ReasonCode.TOPIC_NAME_INVALID)
        return
    for number in (request.id, request.piece or "0"):
        if not is_request_id(number):
            raise PayloadInvalid(f"The request's id {number[:20]!r} is not a number of at most 10 digits.")
    handler(connection, message, transport.codec_up(request.topic), request)


def _telemetry(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    messages = connection.messages
    samples = codec.parse_telemetry(message.payload, messages.clock.now_ms())
    packet_id = message.packet_id
    messages.ingest.append(connection.device.number, samples, connection if packet_id else None, packet_id)


def _client_attributes(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    values = codec.parse_attributes(message.payload)
    connection.run_in_order(_save_client_attributes(connection, message.packet_id, values))


async def _save_client_attributes(
    connection: DeviceConnection, packet_id: int, values: dict[str, Any]
) -> None:
    await connection.messages.attributes.save(connection.device.id, CLIENT_SCOPE, values)
    connection.acknowledge(packet_id)


def _attribute_request(
    connection: DeviceConnection, message: MessagePublished, codec: Codec, request: TopicRequest
) -> None:
    wanted = codec.parse_attribute_request(message.payload)
    connection.run_in_order(_answer_attribute_request(connection, message, wanted, request))


async def _answer_attribute_request(
    connection: DeviceConnection, message: MessagePublished, wanted: AttributeRequest, request: TopicRequest
) -> None:
    attributes, device_id = connection.messages.attributes, connection.device.id
    client = shared = None
    if wanted.wants_client:
        client = await attributes.find(device_id, CLIENT_SCOPE, wanted.client_keys)
    if wanted.wants_shared:
        shared = await attributes.find(device_id, SHARED_SCOPE, wanted.shared_keys)
    connection.acknowledge(message.packet_id)
    codec = connection.transport.codec_down(request.topic)
    _answer(connection, message, request, codec.attribute_response(request.id, client, shared))


def _rpc_to_server(
    connection: DeviceConnection, message: MessagePublished, codec: Codec, request: TopicRequest
) -> None:
    method = codec.parse_rpc_method(message.payload)
    connection.acknowledge(message.packet_id)
    answer_json = answer_call(method, connection.messages, connection.device)
    down = connection.transport.codec_down(request.topic)
    _answer(connection, message, request, down.rpc_answer(request.id, answer_json))


def _rpc_reply(
    connection: DeviceConnection, message: MessagePublished, codec: Codec, request: TopicRequest
) -> None:
    """Goes to who called; a reply that nobody waits for is acknowledged and dropped (2.7)."""
    reply = codec.parse_rpc_reply(message.payload).encode()
    number = int(request.id)
    if number > LARGEST_REQUEST_ID or connection.messages.rpc.answered_at_once(
        connection.device.id, number, reply
    ):
        connection.acknowledge(message.packet_id)
    else:
        connection.run_in_order(_take_rpc_reply(connection, message.packet_id, number, reply))


async def _take_rpc_reply(
    connection: DeviceConnection, packet_id: int, request_id: int, reply: bytes
) -> None:
    await connection.messages.rpc.answered(connection.device.id, request_id, reply)
    connection.acknowledge(packet_id)


def _answer(
    connection: DeviceConnection, message: MessagePublished, request: TopicRequest, payload: bytes
) -> None:
    """Sends an answer, in MQTT 5 with the request's Correlation Data (MQTT5 4.10).

    A Response Topic is followed within the device API's answers alone: a device cannot have anything
    published anywhere else.
    """
    asked = message.properties
    if asked is None or (asked.response_topic is None and asked.correlation_data is None):
        connection.send_to_device(request.answer_topic, payload)
        return
    wished = asked.response_topic
    topic = wished if wished is not None and is_answer_topic(wished) else request.answer_topic
    properties = None
    if asked.correlation_data is not None:
        properties = Properties(correlation_data=asked.correlation_data)
    connection.send_to_device(topic, payload, properties)


HANDLERS: Final[dict[Purpose, Handler]] = {
    Purpose.TELEMETRY: _telemetry,
    Purpose.ATTRIBUTES: _client_attributes,
}
"""What is done with a message on a topic without a number in it. A purpose that has no row here or below is
answered as an unknown topic."""

REQUEST_HANDLERS: Final[dict[Purpose, RequestHandler]] = {
    Purpose.ATTRIBUTE_REQUEST: _attribute_request,
    Purpose.RPC_TO_SERVER: _rpc_to_server,
    Purpose.RPC_TO_DEVICE: _rpc_reply,
}
"""And on one with a number; its id is a decimal number of at most ten digits when it comes here."""
