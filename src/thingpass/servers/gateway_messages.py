"""What a gateway's messages do (device API reference, 2.11): one function per topic.

A message is about several devices, and what is wrong with one of them does not touch the others. There is one
acknowledgement: it comes when everything that can be used is stored. What cannot be used is reported in it
to MQTT 5, by a reason code and in words; MQTT 3 hears nothing of it, or is closed where ThingsBoard closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from thingpass.errors import Invalid, NotFound, ThingpassError
from thingpass.mqtt.events import MessagePublished
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers import gateway_payloads
from thingpass.servers.device_payloads_onboarding import ClaimOffer
from thingpass.servers.device_topics import (
    GATEWAY_ATTRIBUTE_REQUEST,
    GATEWAY_ATTRIBUTES,
    GATEWAY_TELEMETRY,
    Purpose,
)
from thingpass.servers.gateway_payloads import (
    AttributesWanted,
    ConnectorTime,
    ConnectRequest,
    Fault,
    Parts,
    Problem,
    RpcReply,
)
from thingpass.servers.gateway_session import GatewaySession, PartRefused
from thingpass.servers.payload_codecs import Codec
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.sparing_logs import SparingLog
from thingpass.store.rows import Sample, Value
from thingpass.telemetry.attributes import CLIENT_SCOPE, SHARED_SCOPE

if TYPE_CHECKING:
    from thingpass.servers.device_messages import DeviceConnection
    from thingpass.servers.device_transport import Handler

log = structlog.get_logger(__name__)
sparing_log = SparingLog(log)

_DATA_TOPICS: Final = frozenset((GATEWAY_TELEMETRY.topic, GATEWAY_ATTRIBUTES.topic))


# Telemetry


def _telemetry(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    gateway = _gateway_of(connection, message)
    if gateway is None:
        return
    parts, times = gateway_payloads.parse_telemetry(message.payload, connection.messages.clock.now_ms())
    if gateway.knows(parts.by_device):
        _store(connection, gateway, message, parts, times)
    else:
        gateway.run_in_order(partial(_connect_and_store, connection, gateway, message, parts, times))


async def _connect_and_store(
    connection: DeviceConnection,
    gateway: GatewaySession,
    message: MessagePublished,
    parts: Parts[list[Sample]],
    times: Sequence[ConnectorTime],
) -> None:
    await gateway.connect_all(parts.by_device, parts.problems)
    _store(connection, gateway, message, parts, times)


def _store(
    connection: DeviceConnection,
    gateway: GatewaySession,
    message: MessagePublished,
    parts: Parts[list[Sample]],
    times: Sequence[ConnectorTime],
) -> None:
    """Everything goes into one batch, since nothing is awaited here; so one acknowledgement is for all."""
    ingest, now, problems = connection.messages.ingest, gateway.time(), parts.problems
    if gateway.limits is not None:
        gateway.limits.charge_points(
            sum(len(sample.values) for samples in parts.by_device.values() for sample in samples)
        )
    for name, samples in parts.by_device.items():
        sub_device = gateway.sub_devices.get(name)
        if sub_device is None:
            continue  # not connected: it is among the problems
        sub_device.spoken_of_at = now
        if samples:
            try:
                ingest.append(sub_device.device.number, samples, None, 0)
            except Invalid as error:
                problems.append(Problem(name, Fault.BAD_VALUES, error.sentence))
    if times:
        gateway.note_times(times)
    packet_id = message.packet_id
    if not problems:
        if packet_id:
            ingest.append(gateway.device.number, (), connection, packet_id)
    elif not _is_closed_over(connection, message, problems) and packet_id:
        ingest.append(gateway.device.number, (), _StoredInPart(connection, problems), packet_id)


class _StoredInPart:
    """Who acknowledges a message of which something could not be used, when the rest is stored."""

    __slots__ = ("_connection", "_problems")

    def __init__(self, connection: DeviceConnection, problems: Sequence[Problem]) -> None:
        self._connection = connection
        self._problems = problems

    def stored(self, packet_ids: list[int]) -> None:
        for packet_id in packet_ids:
            _acknowledge(self._connection, packet_id, self._problems)

    def not_stored(self, packet_ids: list[int], error: ThingpassError) -> None:
        self._connection.not_stored(packet_ids, error)


# Attributes


def _attributes(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    gateway = _gateway_of(connection, message)
    if gateway is not None:
        parts = gateway_payloads.parse_attributes(message.payload)
        if gateway.limits is not None:
            gateway.limits.charge_points(sum(map(len, parts.by_device.values())))
        gateway.run_in_order(partial(_save_attributes, connection, gateway, message, parts))


async def _save_attributes(
    connection: DeviceConnection,
    gateway: GatewaySession,
    message: MessagePublished,
    parts: Parts[dict[str, Value]],
) -> None:
    await gateway.connect_all(parts.by_device, parts.problems)
    now, names, saves = gateway.time(), [], []
    for name, values in parts.by_device.items():
        sub_device = gateway.sub_devices.get(name)
        if sub_device is not None:
            sub_device.spoken_of_at = now
            names.append(name)
            saves.append(connection.messages.attributes.save(sub_device.device.id, CLIENT_SCOPE, values))
    # Side by side, so that the store commits them together.
    for name, result in zip(names, await asyncio.gather(*saves, return_exceptions=True), strict=True):
        if isinstance(result, Invalid):
            parts.problems.append(Problem(name, Fault.BAD_VALUES, result.sentence))
        elif isinstance(result, NotFound):
            parts.problems.append(Problem(name, Fault.DEVICE_GONE, result.sentence))
        elif result is not None:
            raise result
    _answer(connection, message, parts.problems)


def _attribute_request(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    gateway = _gateway_of(connection, message)
    if gateway is not None:
        wanted = gateway_payloads.parse_attribute_request(message.payload)
        gateway.run_in_order(partial(_answer_attribute_request, connection, gateway, message, wanted))


async def _answer_attribute_request(
    connection: DeviceConnection, gateway: GatewaySession, message: MessagePublished, wanted: AttributesWanted
) -> None:
    try:
        sub_device = await gateway.connect(wanted.device)
    except PartRefused as error:
        _answer(connection, message, [error.problem])
        return
    sub_device.spoken_of_at = gateway.time()
    scope = CLIENT_SCOPE if wanted.client else SHARED_SCOPE
    found = await connection.messages.attributes.find(sub_device.device.id, scope, wanted.keys)
    connection.acknowledge(message.packet_id)
    answer = gateway_payloads.attribute_response(wanted, found)
    connection.send_to_device(GATEWAY_ATTRIBUTE_REQUEST.topic_to_send(), answer)


# Who is there


def _connect(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    gateway = _gateway_of(connection, message)
    if gateway is not None:
        wanted = gateway_payloads.parse_connect(message.payload)
        if gateway.knows((wanted.device,)):
            connection.acknowledge(message.packet_id)
        else:
            gateway.run_in_order(partial(_connect_device, connection, gateway, message, wanted))


async def _connect_device(
    connection: DeviceConnection, gateway: GatewaySession, message: MessagePublished, wanted: ConnectRequest
) -> None:
    problems = []
    try:
        await gateway.connect(wanted.device, wanted.profile_name)
    except PartRefused as error:
        problems.append(error.problem)
    _answer(connection, message, problems)


def _disconnect(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    gateway = _gateway_of(connection, message)
    if gateway is not None:
        name = gateway_payloads.parse_disconnect(message.payload)
        gateway.run_in_order(partial(_disconnect_device, connection, gateway, message, name))


async def _disconnect_device(
    connection: DeviceConnection, gateway: GatewaySession, message: MessagePublished, name: str
) -> None:
    gateway.disconnect(name)
    connection.acknowledge(message.packet_id)


# Calls


def _rpc_reply(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    """Goes to who called; a reply that nobody waits for is acknowledged and dropped (2.7)."""
    gateway = _gateway_of(connection, message)
    if gateway is None:
        return
    reply = gateway_payloads.parse_rpc_reply(message.payload)
    if gateway.knows((reply.device,)):
        sub_device = gateway.sub_devices[reply.device]
        sub_device.spoken_of_at = gateway.time()
        if connection.messages.rpc.answered_at_once(sub_device.device.id, reply.id, reply.data):
            connection.acknowledge(message.packet_id)
            return
    gateway.run_in_order(partial(_take_rpc_reply, connection, gateway, message, reply))


async def _take_rpc_reply(
    connection: DeviceConnection, gateway: GatewaySession, message: MessagePublished, reply: RpcReply
) -> None:
    try:
        sub_device = await gateway.connect(reply.device)
    except PartRefused as error:
        _answer(connection, message, [error.problem])
        return
    await connection.messages.rpc.answered(sub_device.device.id, reply.id, reply.data)
    connection.acknowledge(message.packet_id)


# Claims


def _claim(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    gateway = _gateway_of(connection, message)
    if gateway is not None:
        parts = gateway_payloads.parse_claims(message.payload)
        gateway.run_in_order(partial(_offer_claims, connection, gateway, message, parts))


async def _offer_claims(
    connection: DeviceConnection, gateway: GatewaySession, message: MessagePublished, parts: Parts[ClaimOffer]
) -> None:
    await gateway.connect_all(parts.by_device, parts.problems)
    for name, offer in parts.by_device.items():
        sub_device = gateway.sub_devices.get(name)
        if sub_device is None:
            continue  # not connected: it is among the problems
        sub_device.spoken_of_at = gateway.time()
        try:
            taken = await connection.messages.claims.offer(
                sub_device.device.id, offer.secret, offer.duration_ms
            )
        except NotFound as error:
            parts.problems.append(Problem(name, Fault.DEVICE_GONE, error.sentence))
            continue
        if not taken:
            sentence = "It is somebody's already, or claiming is not allowed."
            parts.problems.append(Problem(name, Fault.NOT_TO_BE_CLAIMED, sentence))
    _answer(connection, message, parts.problems)


# Answers


def _gateway_of(connection: DeviceConnection, message: MessagePublished) -> GatewaySession | None:
    """None: the device is no gateway, or says more than it may; which it is told."""
    gateway = connection.gateway
    if gateway is None:
        connection.messages.counters.messages_rejected += 1
        connection.acknowledge(message.packet_id, ReasonCode.TOPIC_NAME_INVALID)
        return None
    limits = gateway.limits
    if limits is not None and not limits.admit(message, carries_data=message.topic in _DATA_TOPICS):
        return None
    return gateway


def _answer(connection: DeviceConnection, message: MessagePublished, problems: Sequence[Problem]) -> None:
    """What can be used is stored."""
    if not problems:
        connection.acknowledge(message.packet_id)
    elif not _is_closed_over(connection, message, problems):
        _acknowledge(connection, message.packet_id, problems)


def _acknowledge(connection: DeviceConnection, packet_id: int, problems: Sequence[Problem]) -> None:
    connection.acknowledge_in_part(
        packet_id, problems[0].fault.code, gateway_payloads.reason_string(problems)
    )


def _is_closed_over(
    connection: DeviceConnection, message: MessagePublished, problems: Sequence[Problem]
) -> bool:
    """Notes what could not be used; whether an MQTT 3 connection was closed over it."""
    sparing_log.info(
        "gateway.parts_rejected",
        device=connection.device.name,
        topic=message.topic,
        count=len(problems),
        first=str(problems[0]),
    )
    if not connection.speaks_mqtt5 and not connection.transport.acknowledges_bad_payloads:
        worst = next((problem for problem in problems if problem.fault.closes_mqtt3), None)
        if worst is not None:
            connection.refuse_message(message, PayloadInvalid(str(worst)))
            return True
    connection.messages.counters.messages_rejected += 1
    return False


GATEWAY_HANDLERS: Final[dict[Purpose, Handler]] = {
    Purpose.GATEWAY_CONNECT: _connect,
    Purpose.GATEWAY_DISCONNECT: _disconnect,
    Purpose.GATEWAY_TELEMETRY: _telemetry,
    Purpose.GATEWAY_ATTRIBUTES: _attributes,
    Purpose.GATEWAY_ATTRIBUTE_REQUEST: _attribute_request,
    Purpose.GATEWAY_RPC: _rpc_reply,
    Purpose.GATEWAY_CLAIM: _claim,
}
