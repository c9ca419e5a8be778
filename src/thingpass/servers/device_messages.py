"""What a device's messages do: one function per handler of `device_topics`, nothing about sockets.

Telemetry goes to `telemetry.ingest` and is acknowledged when its batch is stored. What has to wait for the
store (attributes) runs as work of its connection, one after the other, in the order of arrival.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, Protocol

import msgspec

from thingpass.clock import Clock
from thingpass.devices.claiming import ClaimService
from thingpass.devices.ota_downloads import OtaDownloads
from thingpass.messaging.rate_limiting import RateLimiter
from thingpass.messaging.rpc import RpcService
from thingpass.metrics import Counters
from thingpass.mqtt.events import MessagePublished
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers.connection_limits import ConnectionLimits
from thingpass.servers.device_claiming import receive_claim
from thingpass.servers.device_ota import Downloads, receive_ota_request
from thingpass.servers.device_payloads import AttributeRequest
from thingpass.servers.device_topics import Purpose, TopicRequest, find_answer, find_request, is_request_id
from thingpass.servers.device_transport import DeviceTransport, Handler, RequestHandler, Route
from thingpass.servers.gateway_messages import GATEWAY_HANDLERS
from thingpass.servers.gateway_session import GatewaySession
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
    ota: OtaDownloads
    claims: ClaimService
    rate_limiter: RateLimiter
    rpc: RpcService
    counters: Counters
    clock: Clock
    maximum_packet_size: int
    receive_maximum: int


class DeviceConnection(Acknowledger, Protocol):
    """What the handlers need of a connection."""

    limits: ConnectionLimits | None  # None: nothing is limited
    transport: DeviceTransport
    downloads: Downloads | None  # made by the first request for a piece

    @property
    def device(self) -> Device: ...

    @property
    def messages(self) -> MessageServices: ...

    @property
    def gateway(self) -> GatewaySession | None:
        """The devices behind it; None: it is no gateway."""

    @property
    def speaks_mqtt5(self) -> bool: ...

    def acknowledge(self, packet_id: int, reason_code: int = 0) -> None:
        """At QoS 0 (packet id 0) nothing happens."""

    def acknowledge_in_part(self, packet_id: int, reason_code: int, sentence: str) -> None:
        """What could be used of the message is stored; MQTT 5 hears what could not. Sends at once."""

    def refuse_message(self, message: MessagePublished, error: PayloadInvalid) -> None: ...
    def disconnect(self, reason_code: ReasonCode, sentence: str) -> None:
        """Ends the connection; MQTT 5 hears why."""

    def send_to_device(self, topic: str, payload: bytes, properties: Properties | None = None) -> None: ...
    async def deliver(self, topic: str, payload: bytes) -> bool:
        """As `send_to_device`, but waits until the device reads; False: larger than the device takes."""

    async def deliver_in_pieces(self, topic: str, size: int, pieces: AsyncIterator[bytes]) -> bool:
        """The same for `size` bytes that are never in memory at once; nothing else is sent meanwhile."""

    def run_in_order(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs it after the connection's earlier work; reading pauses while too much of it waits."""


def receive_message(connection: DeviceConnection, message: MessagePublished) -> None:
    """Routes one message; a payload that cannot be used is refused by the connection."""
    limits, transport = connection.limits, connection.transport
    route = transport.routes.get(message.topic)
    if (
        limits is not None
        and not _is_for_sub_devices(connection, route)
        and not limits.admit(message, carries_data=carries_data(transport, message.topic))
    ):
        return
    try:
        if route is not None:
            route[0](connection, message, route[1])
        else:
            _receive_other(connection, message)
    except PayloadInvalid as error:
        connection.refuse_message(message, error)


def _is_for_sub_devices(connection: DeviceConnection, route: Route | None) -> bool:
    """What a gateway says of devices behind it has limits of its own, which its handlers ask."""
    return route is not None and route[0] in _GATEWAY_HANDLERS and connection.gateway is not None


def carries_data(transport: DeviceTransport, topic: str) -> bool:
    """Whether what comes on the topic is telemetry or attributes, which have rate limits of their own."""
    route = transport.routes.get(topic) or transport.find_wildcard(topic)
    return route is not None and route[0] in _DATA_HANDLERS


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
    for number in request.numbers:
        if not is_request_id(number):
            raise PayloadInvalid(f"In the topic, {number[:20]!r} is not a number of at most 10 digits.")
    handler(connection, message, transport.codec_up(request.topic), request)


def _telemetry(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    messages = connection.messages
    samples = codec.parse_telemetry(message.payload, messages.clock.now_ms())
    if connection.limits is not None:
        connection.limits.charge_points(sum(len(sample.values) for sample in samples))
    packet_id = message.packet_id
    messages.ingest.append(connection.device.number, samples, connection if packet_id else None, packet_id)


def _client_attributes(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    values = codec.parse_attributes(message.payload)
    if connection.limits is not None:
        connection.limits.charge_points(len(values))
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
    answer, properties = _where_to_answer(message, request)
    codec = connection.transport.codec_down(answer.topic)
    payload = codec.attribute_response(answer.id, client, shared)
    connection.send_to_device(answer.answer_topic, payload, properties)


def _rpc_to_server(
    connection: DeviceConnection, message: MessagePublished, codec: Codec, request: TopicRequest
) -> None:
    method = codec.parse_rpc_method(message.payload)
    connection.acknowledge(message.packet_id)
    answer_json = answer_call(method, connection.messages, connection.device)
    answer, properties = _where_to_answer(message, request)
    payload = connection.transport.codec_down(answer.topic).rpc_answer(answer.id, answer_json)
    connection.send_to_device(answer.answer_topic, payload, properties)


def _where_to_answer(
    message: MessagePublished, request: TopicRequest
) -> tuple[TopicRequest, Properties | None]:
    """MQTT5 4.10: Correlation Data comes back, a Response Topic is followed if it is one of the purpose's.

    Any other one is ignored: a device cannot have anything published elsewhere.
    """
    asked = message.properties
    if asked is None or (asked.response_topic is None and asked.correlation_data is None):
        return request, None
    wished = find_answer(asked.response_topic) if asked.response_topic is not None else None
    if wished is None or wished.topic.purpose is not request.topic.purpose:
        wished = request
    data = asked.correlation_data
    return wished, None if data is None else Properties(correlation_data=data)


def _rpc_reply(
    connection: DeviceConnection, message: MessagePublished, codec: Codec, request: TopicRequest
) -> None:
    """Goes to who called; a reply that nobody waits for is acknowledged and dropped (2.7)."""
    reply, number = codec.parse_rpc_reply(message.payload).encode(), int(request.id)
    rpc, device_id = connection.messages.rpc, connection.device.id
    if number > LARGEST_REQUEST_ID or rpc.answered_at_once(device_id, number, reply):
        connection.acknowledge(message.packet_id)
    else:
        connection.run_in_order(_take_rpc_reply(connection, message.packet_id, number, reply))


async def _take_rpc_reply(connection: DeviceConnection, packet_id: int, number: int, reply: bytes) -> None:
    await connection.messages.rpc.answered(connection.device.id, number, reply)
    connection.acknowledge(packet_id)


_GATEWAY_HANDLERS: Final = frozenset(GATEWAY_HANDLERS.values())
_DATA_HANDLERS: Final = frozenset({_telemetry, _client_attributes})

HANDLERS: Final[dict[Purpose, Handler]] = {
    Purpose.TELEMETRY: _telemetry,
    Purpose.ATTRIBUTES: _client_attributes,
    Purpose.CLAIM: receive_claim,
    **GATEWAY_HANDLERS,
}
"""What is done with a message on a topic without a number in it. A purpose that has no row here or below is
answered as an unknown topic."""

REQUEST_HANDLERS: Final[dict[Purpose, RequestHandler]] = {
    Purpose.ATTRIBUTE_REQUEST: _attribute_request,
    Purpose.RPC_TO_SERVER: _rpc_to_server,
    Purpose.FIRMWARE: receive_ota_request,
    Purpose.SOFTWARE: receive_ota_request,
    Purpose.RPC_TO_DEVICE: _rpc_reply,
}
"""And on one with a number; its id is a decimal number of at most ten digits when it comes here."""
