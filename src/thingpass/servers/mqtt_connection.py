"""One device's MQTT connection: asks who it is, hands its messages on, tells who has to know how it ended.

It decides nothing: the protocol is `mqtt.session`'s, reading and writing `mqtt_stream`'s, identity is
`identity.authentication`'s, whom `mqtt_opening` asks; what a message does is `device_messages`'.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, Protocol

import structlog

from thingpass.errors import ThingpassError
from thingpass.identity.refusals import RATE_LIMIT_EXCEEDED
from thingpass.log_floods import FLOODS
from thingpass.messaging.gateway_mark import is_gateway
from thingpass.messaging.presence import (
    CLOSE_TAKEN_OVER,
    Connection,
)
from thingpass.messaging.rate_limiting import Breach
from thingpass.mqtt.errors import TimedOut
from thingpass.mqtt.events import (
    ConnectReceived,
    DeliveryAcknowledged,
    Disconnected,
    Event,
    MessagePublished,
    PingReceived,
    SessionFailed,
    SubscribeRequested,
    UnsubscribeRequested,
)
from thingpass.mqtt.packets import ProtocolVersion
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.reason_codes import ReasonCode, describe
from thingpass.servers import connection_ends
from thingpass.servers.connection_ends import END_BY_CLOSE_REASON, End
from thingpass.servers.connection_limits import ConnectionLimits
from thingpass.servers.connection_services import ConnectionServices
from thingpass.servers.device_life import last_will
from thingpass.servers.device_messages import MessageServices, receive_message
from thingpass.servers.device_ota import Downloads
from thingpass.servers.device_transport import DeviceTransport
from thingpass.servers.device_transports import DEFAULT
from thingpass.servers.gateway_session import GatewaySession
from thingpass.servers.misplaced import PLAIN_MQTT_PORT, Misplaced
from thingpass.servers.mqtt_device_session import MqttDeviceSession
from thingpass.servers.mqtt_opening import Opening
from thingpass.servers.mqtt_stream import (
    DECIDING,
    MOST_UNSENT_BYTES,
    RATE_LIMITED,
    STORE_IS_BEHIND,
    UNACKNOWLEDGED,
    MqttStream,
)
from thingpass.servers.paced_delivery import PacedDelivery
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.servers.protocol_refusals import Fault, mqtt_fault
from thingpass.servers.provisioning_session import ProvisioningSession
from thingpass.servers.subscriptions import Subscriptions
from thingpass.store.rows import Device
from thingpass.tls.endpoint import Endpoint
from thingpass.tls.evidence import Evidence

log = structlog.get_logger(__name__)
stdlib_log = logging.getLogger(__name__)

MOST_UNACKNOWLEDGED: Final = 2_000  # MQTT 3 has no Receive Maximum; above this the peer has to wait


class Peer(Protocol):
    """Where a connection comes from."""

    @property
    def listener(self) -> str: ...
    @property
    def peer_address(self) -> str: ...
    @property
    def peer_port(self) -> int: ...


class MqttConnection(MqttStream):
    __slots__ = (
        "_connection",
        "_device",
        "_device_session",
        "_end",
        "_gateway",
        "_opening",
        "_peer",
        "_provisioning",
        "_subscriptions",
        "downloads",
        "limits",
        "transport",
    )

    def __init__(
        self,
        services: ConnectionServices,
        endpoint: Endpoint,
        evidence: Evidence,
        *,
        misplaced: Misplaced = PLAIN_MQTT_PORT,
    ) -> None:
        """`misplaced`: what is said to HTTP, and to MQTT where this port expects something else."""
        super().__init__(services, endpoint)
        self._peer: Peer = evidence
        self._opening: Opening | None = Opening(services, self, self._session, evidence, misplaced)
        self._device: Device | None = None
        self._connection: Connection | None = None
        self._device_session: MqttDeviceSession | None = None  # once something is sent to it unasked
        self._gateway: GatewaySession | None = None  # once a gateway speaks of devices behind it
        self._end: tuple[End, str] | None = None  # how it ended, and what was seen
        self._subscriptions = Subscriptions()
        self.downloads: Downloads | None = None
        self._provisioning: ProvisioningSession | None = None
        self.limits: ConnectionLimits | None = None  # only where limits are set
        self.transport = DEFAULT

    def start(self) -> None:
        self._services.open_connections.add(self)
        super().start()

    # What the session reports

    def _act_on(self, events: list[Event]) -> None:
        messages = self._services.messages
        for event in events:
            if type(event) is MessagePublished:
                messages.counters.messages_received += 1
                receive_message(self, event)
            else:
                _ON_EVENT[type(event)](self, event)
        if messages.ingest.full:
            self._pause(STORE_IS_BEHIND)
            messages.counters.reading_paused += 1
            messages.ingest.when_drained(self._store_caught_up)
        if self._session.unacknowledged >= MOST_UNACKNOWLEDGED:
            self._pause(UNACKNOWLEDGED)

    def _store_caught_up(self) -> None:
        self._resume(STORE_IS_BEHIND)

    # What `mqtt_opening` needs of a connection, and tells it

    def decide_later(self, work: Coroutine[Any, Any, None]) -> None:
        self._pause(DECIDING)
        self.run_in_order(work)

    def decision_is_due(self) -> None:
        self._resume(DECIDING)

    def is_device(self, device: Device, connection: Connection, transport: DeviceTransport) -> None:
        self._device = device
        self._connection = self._peer = connection
        self.transport = transport

    def is_nobody(self, peer: Evidence) -> None:
        self._peer = peer

    def provisions(self, session: ProvisioningSession) -> None:
        self._provisioning = session
        self.transport = session.transport

    def opened(self, held_back: list[Event], resumed: MqttDeviceSession | None = None) -> None:
        self._opening = None
        if resumed is not None:
            self._device_session, self._subscriptions = resumed, resumed.subscriptions
            resumed.come_back(self)
        elif self._device is not None and self._session.session_expiry_interval:
            self._make_device_session()
        self._ask_anew()  # its keep alive may end before the time for CONNECT would have
        self._act_on(held_back)

    def refused(self) -> None:
        self._opening = None

    def record(self, fault: Fault) -> None:
        self._services.refusal_log.record(
            fault.refusal,
            listener=self._peer.listener,
            peer_address=self._peer.peer_address,
            peer_port=self._peer.peer_port,
            at_ms=self.messages.clock.now_ms(),
            seen=fault.seen if self._device is None else {**fault.seen, "device": self._device.name},
            device=self._device,
        )

    # What the peer asks

    def _connect_received(self, event: ConnectReceived) -> None:
        assert self._opening is not None, "the session reports one CONNECT"
        self._opening.connect_received(event)

    def _subscribe_requested(self, event: SubscribeRequested) -> None:
        if self.limits is not None:
            self.limits.charge()
        codes = self._subscriptions.subscribe(event.subscriptions, self.transport)
        self._session.grant(event.packet_id, codes)
        for purpose in self._subscriptions.unasked(event.subscriptions, self.transport):
            self._make_device_session().subscribed(purpose)

    def _unsubscribe_requested(self, event: UnsubscribeRequested) -> None:
        codes = self._subscriptions.unsubscribe(event.topic_filters)
        self._session.confirm_unsubscribe(event.packet_id, codes)
        if self._device_session is not None:
            self._device_session.unsubscribed()

    def _make_device_session(self) -> MqttDeviceSession:
        if self._device_session is None:
            assert self._connection is not None
            self._device_session = MqttDeviceSession(
                self._services.to_device,
                device_id=self._connection.device_id,
                client_id=self._connection.client_id,
                subscriptions=self._subscriptions,
                link=self,
            )
        return self._device_session

    def _delivery_acknowledged(self, event: DeliveryAcknowledged) -> None:
        if self._device_session is not None:
            self._device_session.delivered(event.packet_id, event.reason_code)
        if self._gateway is not None:
            self._gateway.delivered(event.packet_id, event.reason_code)

    def _nothing_to_do(self, event: PingReceived) -> None:
        """The session has done what there was to do."""

    def _disconnected(self, event: Disconnected) -> None:
        if event.reason_code == ReasonCode.NORMAL_DISCONNECTION:
            self._ends(connection_ends.GOODBYE)
        else:
            self._ends(connection_ends.GOODBYE_WITH_REASON, describe(event.reason_code).rstrip("."))
        self.close("device said goodbye")

    def _session_failed(self, event: SessionFailed) -> None:
        error = event.error
        silent = isinstance(error, TimedOut)
        self._ends(connection_ends.SILENT if silent else connection_ends.PROTOCOL_BROKEN, error.seen)
        if silent and (self._device is not None or self._provisioning is not None):
            log.info("connection.silent", device=self._device_name, seen=error.seen)
            return
        if self._opening is None:
            self.record(mqtt_fault(error, connect_timeout_s=self._services.limits.connect_timeout_s))
            return
        fault, answer = self._opening.failed(error)
        if answer:
            self._endpoint.write(answer)
        self.record(fault)

    # What `device_messages` needs of a connection

    @property
    def device(self) -> Device:
        assert self._device is not None
        return self._device

    @property
    def device_or_none(self) -> Device | None:
        return self._device

    def follow(self, device: Device, transport: DeviceTransport) -> None:
        """The device's profile changed while it is connected."""
        self._device = device
        self.transport = transport

    @property
    def gateway(self) -> GatewaySession | None:
        """What the device is a gateway for; None: it is none (device API reference, 2.11)."""
        if self._gateway is None and self._connection is not None and is_gateway(self.device):
            services, counters = self._services, self._services.messages.counters
            meters = services.messages.rate_limiter.meters_for_sub_devices(self.device, self.time())
            limits = None
            if meters is not None:
                limits = ConnectionLimits(self, meters, counters, can_refuse=self.speaks_mqtt5)
            self._gateway = GatewaySession(services.gateways, self, self.device, self._connection, limits)
        return self._gateway

    @property
    def speaks_mqtt5(self) -> bool:
        return self._session.protocol_version is ProtocolVersion.MQTT_5

    @property
    def messages(self) -> MessageServices:
        return self._services.messages

    def acknowledge(self, packet_id: int, reason_code: int = 0) -> None:
        if packet_id and not self._closed:
            self._session.acknowledge(packet_id, reason_code)

    def acknowledge_in_part(self, packet_id: int, reason_code: int, sentence: str) -> None:
        if packet_id and not self._closed:
            self._session.acknowledge(packet_id, reason_code, sentence)
            self._acknowledged(1)

    def refuse_message(self, message: MessagePublished, error: PayloadInvalid) -> None:
        """Device API reference 2.3, case A: MQTT 5 hears of it and stays (QoS 1, 2), others are closed.

        Unless the profile says that they are not: MQTT 3 then gets its acknowledgement and hears nothing.
        """
        self.messages.counters.messages_rejected += 1
        name, topic = self._device_name, message.topic[:100]
        if not FLOODS.holds_back("message.rejected", name):
            log.info("message.rejected", device=name, topic=topic, problem=error.sentence)
        if message.packet_id and (self.speaks_mqtt5 or self.transport.acknowledges_bad_payloads):
            self._session.acknowledge(message.packet_id, ReasonCode.PAYLOAD_FORMAT_INVALID, error.sentence)
        else:
            self._ends(connection_ends.MESSAGE_REFUSED, error.sentence)
            self._session.disconnect(ReasonCode.PAYLOAD_FORMAT_INVALID, error.sentence)

    def disconnect(self, reason_code: ReasonCode, sentence: str) -> None:
        self._session.disconnect(reason_code, sentence)

    def send_to_device(self, topic: str, payload: bytes, properties: Properties | None = None) -> None:
        self.publish_to_device(topic, payload, properties=properties)

    async def deliver(self, topic: str, payload: bytes) -> bool:
        return await self._paced_delivery().deliver(topic, payload)

    async def deliver_in_pieces(self, topic: str, size: int, pieces: AsyncIterator[bytes]) -> bool:
        return await self._paced_delivery().deliver_in_pieces(topic, size, pieces)

    def _paced_delivery(self) -> PacedDelivery:
        if self._paced is None:
            self._paced = PacedDelivery(
                self, self._session, self._endpoint, self._subscriptions, self.messages.counters
            )
        return self._paced

    def _failed(self, error: Exception) -> None:
        log.error("connection.failed", device=self._device_name, exc_info=error)
        self._ends(connection_ends.SERVER_FAILED)

    def _work_failed(self, error: Exception) -> None:
        if isinstance(error, ThingpassError):
            log.warning("connection.work_failed", device=self._device_name, problem=error.sentence)
            self._end_as(connection_ends.NOT_STORED)
        else:
            log.error("connection.failed", device=self._device_name, exc_info=error)
            self._end_as(connection_ends.SERVER_FAILED)

    # What `devices.states` asks

    @property
    def heard_at(self) -> float:
        return self._session.heard_at

    # What `mqtt_device_session` needs of a connection

    def can_send(self) -> bool:
        return not (self._closed or self._session.closing)

    def publish_to_device(
        self,
        topic: str,
        payload: bytes,
        *,
        properties: Properties | None = None,
        expires_at: float | None = None,
        qos: int | None = None,
    ) -> int | None:
        """The packet identifier (0 at QoS 0); None: not sent, being too large or at the end (`can_send()`).

        A device that neither reads nor acknowledges is disconnected, rather than told only a part.
        """
        if not self.can_send():
            return None
        session = self._session
        if qos is None:
            qos = self._subscriptions.qos_for(topic)
        packet_id = None
        if self._endpoint.unsent_bytes <= MOST_UNSENT_BYTES:
            now = self._services.loop.time()
            packet_id = session.publish(
                topic, payload, qos, properties=properties, expires_at=expires_at, now=now
            )
        if packet_id is not None:
            self.messages.counters.messages_sent += 1
            self._send_soon()
        elif session.backed_up or self._endpoint.unsent_bytes > MOST_UNSENT_BYTES:
            log.info("connection.too_far_behind", device=self._device_name)
            self._end_as(connection_ends.TOO_FAR_BEHIND)
        else:
            log.info("message.too_large", device=self._device_name, topic=topic, size_bytes=len(payload))
        return packet_id

    # What `connection_limits` needs of a connection, beside `time`

    def hold_reading(self, seconds: float) -> None:
        if not self._paused & RATE_LIMITED and not self._closed:
            self._pause(RATE_LIMITED)
            self._services.loop.call_later(seconds, self._hold_ended)

    def _hold_ended(self) -> None:
        if self._closed:
            return
        limited = (self.limits, None if self._gateway is None else self._gateway.limits)
        if debt_s := max((each.debt_s() for each in limited if each is not None), default=0.0):
            self._services.loop.call_later(debt_s, self._hold_ended)
            return
        self._resume(RATE_LIMITED)
        self._ready_again()  # at once: its keep alive may have run out while nobody read it

    def end_for_rate(self, sentence: str) -> None:
        self._end_with(ReasonCode.MESSAGE_RATE_TOO_HIGH, sentence)

    def record_breach(self, breach: Breach) -> None:
        self.record(Fault(RATE_LIMIT_EXCEEDED, {"name": breach.name, "limit": breach.limit}))

    # `telemetry.ingest` reports

    def stored(self, packet_ids: list[int]) -> None:
        if self._closed:
            return
        self._session.acknowledge_many(packet_ids)
        self._acknowledged(len(packet_ids))

    def _acknowledged(self, count: int) -> None:
        self.messages.counters.publishes_acknowledged += count
        if self._paused & UNACKNOWLEDGED and self._session.unacknowledged < MOST_UNACKNOWLEDGED:
            self._resume(UNACKNOWLEDGED)
        self.send()

    def not_stored(self, packet_ids: list[int], error: ThingpassError) -> None:
        """Nothing is acknowledged: the device sends its messages again, to a server that can store them."""
        self._end_as(connection_ends.NOT_STORED)

    # Ending

    def deadline(self) -> float | None:
        deadline = super().deadline()
        if self._provisioning is None:
            return deadline
        ends_at = self._provisioning.ends_at
        return ends_at if deadline is None else min(ends_at, deadline)

    def overdue(self, now: float) -> None:
        if self._provisioning is not None and now >= self._provisioning.ends_at:
            self._end_with(ReasonCode.MAXIMUM_CONNECT_TIME, None)
        else:
            super().overdue(now)

    def end(self, reason: str) -> None:
        """Ends the connection from the server's side, for one of presence's reasons."""
        if reason != CLOSE_TAKEN_OVER:
            self._session.session_expiry_interval = 0  # nobody has a right to this session any more
        self._end_as(END_BY_CLOSE_REASON[reason])

    def end_for_shutdown(self) -> None:
        self._end_as(connection_ends.SERVER_STOPPED)

    def _end_as(self, end: End) -> None:
        self._ends(end)
        self._end_with(end.tells, end.for_device)

    def _end_with(self, code: ReasonCode, sentence: str | None) -> None:
        if self._closed or self._session.closing:
            return
        self._session.disconnect(code, sentence)
        self._leave_session()  # at once: who takes over finds it
        self.send()

    def _ends(self, end: End, seen: str = "") -> None:
        """Why the connection is about to end; the first cause counts."""
        if self._end is None:
            self._end = (end, seen)

    def _leave(self) -> None:
        """The device is no longer connected here."""
        self._opening = None
        if self._gateway is not None:
            stopped = self._end is not None and self._end[0] is connection_ends.SERVER_STOPPED
            self._gateway.close(connection_ends.SERVER_STOPPED if stopped else connection_ends.GATEWAY_LEFT)
            self._gateway = None
        connection, session = self._connection, self._session
        if connection is not None:
            self._connection = None
            self._services.presence.closed(connection)
            end, seen = self._end or (connection_ends.NETWORK_LOST, "")
            will = last_will(session.will, session_expiry_s=session.session_expiry_interval)
            self._services.life.left(connection, self, end, seen, will)
        if self._provisioning is not None:
            self._provisioning.close()
            self._provisioning = None
        if self.limits is not None:
            self.limits.ended()
        self._leave_session()

    def _leave_session(self) -> None:
        session, self._device_session = self._device_session, None
        if session is None:
            return
        expiry_s = self._session.session_expiry_interval
        if expiry_s:
            expires_at = self._services.loop.time() + expiry_s
            self._services.kept_sessions.keep(session, self._session.state_to_keep(), expires_at)
        else:
            session.end()

    def _is_refused(self) -> bool:
        return self._device is None

    def _ended(self, why: str) -> None:
        self._services.open_connections.discard(self)
        if stdlib_log.isEnabledFor(logging.DEBUG):  # asked first: making a line costs more than closing
            log.debug("connection.closed", device=self._device_name, why=why)

    def close_now(self) -> None:
        self._ends(connection_ends.SERVER_STOPPED)
        self.close("server stops")

    @property
    def _device_name(self) -> str | None:
        return None if self._device is None else self._device.name


_ON_EVENT: Final[dict[type, Callable[[MqttConnection, Any], None]]] = {
    ConnectReceived: MqttConnection._connect_received,
    SubscribeRequested: MqttConnection._subscribe_requested,
    UnsubscribeRequested: MqttConnection._unsubscribe_requested,
    DeliveryAcknowledged: MqttConnection._delivery_acknowledged,
    PingReceived: MqttConnection._nothing_to_do,
    Disconnected: MqttConnection._disconnected,
    SessionFailed: MqttConnection._session_failed,
}
