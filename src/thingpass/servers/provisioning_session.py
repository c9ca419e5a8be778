"""Connections of devices that have no identity yet and ask for one (device API reference, 1.6 and 2.9).

A client that calls itself `provision`, by user name or client id, is let in without any proof, whatever else
it brings: a certificate or a token beside it is not looked at. That gives away nothing, because such a
connection has no device: it may ask on one topic, and hear the answer on another. Who may have an identity is
decided by the key and secret in the request.

How many such connections there are, how long each lives and what it may ask is bounded, because anybody may
open one.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from thingpass.devices.provisioning import Asker, ProvisionAnswer, ProvisioningService, ProvisionRequest
from thingpass.identity import refusals
from thingpass.mqtt.events import MessagePublished
from thingpass.mqtt.packets import Connect
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers.device_payloads_onboarding import (
    ProvisionRequestInvalid,
    parse_provision_request,
    provision_response,
)
from thingpass.servers.device_topics import PROVISION, Topic
from thingpass.servers.device_transport import DeviceTransport, Route
from thingpass.servers.payload_codecs import JSON, Codec
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.servers.protocol_refusals import Fault
from thingpass.tls.evidence import Evidence

if TYPE_CHECKING:
    from thingpass.servers.device_messages import DeviceConnection

NAME: Final = "provision"

LASTS_S: Final = 60.0
"""From CONNECT while nothing was answered, then from the first answer. ThingsBoard has the second alone."""

MOST_SESSIONS: Final = 1_000
MOST_OF_ADDRESS: Final = 250  # so that one stranger who only keeps them open does not keep a fleet out
MOST_REQUESTS: Final = 100  # of one connection

PROTOBUF_STARTS: Final = tuple(
    bytes([field << 3 | wire]) for field, wire in ((1, 2), (2, 0), (3, 2), (4, 2), (5, 0))
)
"""The first bytes that a request in protobuf can have; everything else costs no look at it."""

Writer: TypeAlias = Callable[[ProvisionAnswer], bytes]


def asks_for_identity(connect: Connect) -> bool:
    return connect.user_name == NAME or connect.client_id == NAME


async def answer_request(service: ProvisioningService, payload: bytes, asker: Asker) -> bytes:
    """One request and its answer, for HTTP. Raises PayloadInvalid, ProvisionRequestInvalid, Unavailable."""
    return provision_response(await service.provision(parse_provision_request(payload), asker))


class ProvisioningDesk:
    """Where such connections are let in; one for a server. Use it on one event loop."""

    def __init__(self, service: ProvisioningService, now: Callable[[], float]) -> None:
        """`now`: the monotonic time of the connections' deadlines (s)."""
        self._service = service
        self._now = now
        self._open = 0
        self._of_address: Counter[str] = Counter()

    def open(self, evidence: Evidence) -> ProvisioningSession | Fault:
        """A session, to be closed when its connection ends, or why there is none."""
        asker = Asker(evidence.listener, evidence.peer_address, evidence.peer_port)
        wait_s = self._service.wait_s(asker)
        if wait_s:
            return Fault(refusals.PROVISIONING_TRIED_TOO_OFTEN, {"wait": f"{wait_s} s"})
        if self._open >= MOST_SESSIONS:
            return Fault(refusals.TOO_MANY_PROVISIONING, {"limit": str(MOST_SESSIONS)})
        address = asker.address_group
        if self._of_address.get(address, 0) >= MOST_OF_ADDRESS:
            return Fault(refusals.TOO_MANY_PROVISIONING, {"limit": f"{MOST_OF_ADDRESS} of one address"})
        self._open += 1
        self._of_address[address] += 1
        return ProvisioningSession(self._service, asker, self._now, on_close=partial(self._closed, address))

    def __len__(self) -> int:
        return self._open

    def _closed(self, address: str) -> None:
        self._open -= 1
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]


class ProvisioningSession:
    """What one such connection may do, and until when."""

    __slots__ = (
        "_asker",
        "_now",
        "_on_close",
        "_requests",
        "_service",
        "_was_answered",
        "ends_at",
        "transport",
    )

    def __init__(
        self,
        service: ProvisioningService,
        asker: Asker,
        now: Callable[[], float],
        *,
        on_close: Callable[[], None],
    ) -> None:
        self._service = service
        self._asker = asker
        self._now = now
        self._on_close = on_close
        self._requests = 0
        self._was_answered = False
        self.ends_at = now() + LASTS_S
        self.transport: DeviceTransport = ProvisioningTransport(
            routes={PROVISION.topic: (self._receive, JSON)}, fixed_routes=1, request_handlers={}
        )

    def close(self) -> None:
        self._on_close()

    def _receive(self, connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
        """Raises PayloadInvalid for what is neither JSON nor protobuf; it is answered as for a device."""
        self._requests += 1
        if self._requests > MOST_REQUESTS:
            connection.disconnect(ReasonCode.QUOTA_EXCEEDED, "Too many requests on one connection.")
            return
        try:
            request, write = _read_request(message.payload)
        except ProvisionRequestInvalid as error:
            connection.acknowledge(message.packet_id, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR)
            connection.disconnect(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, error.sentence)
            return
        connection.run_in_order(self._answer(connection, message.packet_id, request, write))

    async def _answer(
        self, connection: DeviceConnection, packet_id: int, request: ProvisionRequest, write: Writer
    ) -> None:
        answer = await self._service.provision(request, self._asker)
        if not self._was_answered:
            self._was_answered = True
            self.ends_at = self._now() + LASTS_S
        connection.acknowledge(packet_id)
        connection.send_to_device(PROVISION.topic_to_send(), write(answer))


def _read_request(payload: bytes) -> tuple[ProvisionRequest, Writer]:
    """JSON is tried first, then protobuf (2.9); the answer is written in what was read.

    Raises PayloadInvalid, which speaks of JSON, and ProvisionRequestInvalid.
    """
    try:
        return parse_provision_request(payload), provision_response
    except PayloadInvalid:
        if payload[:1] not in PROTOBUF_STARTS:
            raise
        from thingpass.servers import protobuf_provisioning

        with contextlib.suppress(PayloadInvalid):
            request = protobuf_provisioning.parse_request(payload)
            if request is not None:
                return request, protobuf_provisioning.response
        raise


class ProvisioningTransport(DeviceTransport, frozen=True, kw_only=True):
    """The topics of a connection without a device."""

    def find_wildcard(self, name: str) -> Route | None:
        """Everything but `/provision/request`."""
        return _refuse_topic, JSON

    def find_subscribable(self, topic_filter: str) -> Topic | None:
        return PROVISION if topic_filter == PROVISION.subscribe else None


def _refuse_topic(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    connection.messages.counters.messages_rejected += 1
    connection.acknowledge(message.packet_id, ReasonCode.TOPIC_NAME_INVALID)
    connection.disconnect(
        ReasonCode.TOPIC_NAME_INVALID, f"A connection named {NAME} may publish to {PROVISION.topic} alone."
    )
