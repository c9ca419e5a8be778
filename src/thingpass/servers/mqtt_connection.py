"""One MQTT connection: reads the endpoint, feeds the session, asks who it is, hands its messages on.

It decides nothing: the protocol is `mqtt.session`'s, identity is `identity.authentication`'s, what a message
does is `device_messages`'. The same class serves TLS, plain TCP and WebSocket.

Reading pauses, and so does the peer by TCP's own flow control, while something it caused is not done: the
decision on its CONNECT, its unstored messages, its unsent answers.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec
import structlog

from thingpass.devices.gateways import is_gateway
from thingpass.errors import ThingpassError, Unavailable
from thingpass.identity.authentication import Authentication
from thingpass.identity.decisions import Allowed, ConnectAttempt, Refused
from thingpass.identity.refusal_log import RefusalLog
from thingpass.identity.refusals import RATE_LIMIT_EXCEEDED, STORE_UNAVAILABLE
from thingpass.messaging.presence import (
    CLOSE_CREDENTIALS_CHANGED,
    CLOSE_DEVICE_REMOVED,
    CLOSE_TAKEN_OVER,
    Connection,
    Presence,
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
from thingpass.mqtt.packets import Connect, ProtocolVersion
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.reason_codes import ReasonCode, describe
from thingpass.mqtt.session import Limits, Session
from thingpass.servers import connection_ends
from thingpass.servers.connection_ends import END_BY_CLOSE_REASON, End
from thingpass.servers.connection_limits import ConnectionLimits
from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.device_life import DeviceLife, last_will
from thingpass.servers.device_messages import MessageServices, receive_message
from thingpass.servers.device_ota import Downloads
from thingpass.servers.device_transport import DeviceTransport
from thingpass.servers.device_transports import DEFAULT, DeviceTransports
from thingpass.servers.gateway_session import GatewayServices, GatewaySession
from thingpass.servers.kept_sessions import KeptSessions
from thingpass.servers.misplaced import PLAIN_MQTT_PORT, Misplaced
from thingpass.servers.mqtt_device_session import MqttDeviceSession, ToDevice
from thingpass.servers.ordered_work import OrderedWork
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.servers.protocol_refusals import Fault, mqtt_fault
from thingpass.servers.provisioning_session import ProvisioningDesk, ProvisioningSession, asks_for_identity
from thingpass.servers.readiness import Readiness
from thingpass.servers.subscriptions import Subscriptions
from thingpass.sparing_logs import SparingLog
from thingpass.store.rows import Device
from thingpass.tls.binding import ChannelFailed
from thingpass.tls.endpoint import Endpoint
from thingpass.tls.evidence import Evidence, without_chain

log = structlog.get_logger(__name__)
sparing_log = SparingLog(log)
stdlib_log = logging.getLogger(__name__)

MOST_UNACKNOWLEDGED: Final = 2_000  # MQTT 3 has no Receive Maximum; above this the peer has to wait
MOST_UNSENT_BYTES: Final = 1_048_576  # a peer that asks and does not read its answers is not read either
MOST_WORK_WAITING: Final = 100
UNREAD_S: Final = 300.0  # how long a peer may take to read what is sent by pieces, a piece at a time
LINGER_S: Final = 1.0  # how long a goodbye may take to reach the peer
REFUSAL_HEARD_S: Final = 0.1  # how long a refused client has for reading why, before we end the connection

NOT_STORED: Final = "The server could not store this now."
TOO_FAR_BEHIND: Final = "Too many messages to this device are unread or unacknowledged."

# Why reading pauses; the reasons add up.
DECIDING: Final = 1
STORE_IS_BEHIND: Final = 2
UNACKNOWLEDGED: Final = 4
UNSENT: Final = 8
WORK_WAITS: Final = 16
STREAMING: Final = 32
RATE_LIMITED: Final = 64

_CLOSE_REASONS: Final = {
    CLOSE_TAKEN_OVER: ReasonCode.SESSION_TAKEN_OVER,
    CLOSE_CREDENTIALS_CHANGED: ReasonCode.ADMINISTRATIVE_ACTION,
    CLOSE_DEVICE_REMOVED: ReasonCode.ADMINISTRATIVE_ACTION,
}
_PROTOCOL_NAMES: Final = {
    ProtocolVersion.MQTT_3_1: "MQTT 3.1",
    ProtocolVersion.MQTT_3_1_1: "MQTT 3.1.1",
    ProtocolVersion.MQTT_5: "MQTT 5.0",
}


class Peer(Protocol):
    """Where a connection comes from."""

    @property
    def listener(self) -> str: ...
    @property
    def peer_address(self) -> str: ...
    @property
    def peer_port(self) -> int: ...


class ConnectionServices(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection needs of the house; one for all connections of a server."""

    loop: asyncio.AbstractEventLoop
    readiness: Readiness
    wheel: DeadlineWheel
    authentication: Authentication
    refusal_log: RefusalLog
    presence: Presence
    life: DeviceLife
    messages: MessageServices
    transports: DeviceTransports
    provisioning: ProvisioningDesk
    to_device: ToDevice
    kept_sessions: KeptSessions
    gateways: GatewayServices
    limits: Limits
    maximum_keep_alive_s: int  # 0: as long as the client likes
    open_connections: set[MqttConnection]


class MqttConnection:
    __slots__ = (
        "__weakref__",
        "_closed",
        "_connection",
        "_device",
        "_device_session",
        "_end",
        "_endpoint",
        "_evidence",
        "_fd",
        "_flushing",
        "_gateway",
        "_linger_until",
        "_misplaced",
        "_paused",
        "_peer",
        "_provisioning",
        "_services",
        "_session",
        "_subscriptions",
        "_until_sent",
        "_work",
        "downloads",
        "limits",
        "transport",
        "wheel_slot",
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
        self._services = services
        self._endpoint = endpoint
        self._evidence: Evidence | None = evidence  # until it is decided who this is
        self._peer: Peer = evidence
        self._misplaced = misplaced
        self._fd = endpoint.fileno()
        self._session = Session(services.limits, services.loop.time())
        self._device: Device | None = None
        self._connection: Connection | None = None
        self._device_session: MqttDeviceSession | None = None  # once something is sent to it unasked
        self._gateway: GatewaySession | None = None  # once a gateway speaks of devices behind it
        self._end: tuple[End, str] | None = None  # how it ended, and what was seen
        self._subscriptions = Subscriptions()
        self._flushing = False
        self._paused = 0
        self._closed = False
        self._linger_until: float | None = None
        self._work: OrderedWork | None = None
        self._until_sent: asyncio.Future[None] | None = None
        self.downloads: Downloads | None = None
        self._provisioning: ProvisioningSession | None = None
        self.limits: ConnectionLimits | None = None  # only where limits are set
        self.transport = DEFAULT
        self.wheel_slot = 0

    def start(self) -> None:
        self._services.open_connections.add(self)
        self._services.readiness.add_reader(self._fd, self._ready)
        self._services.wheel.watch(self)
        if self._endpoint.channel.pending():  # bytes came with the WebSocket handshake
            self._services.loop.call_soon(self._ready_again)

    # Reading

    def _ready(self) -> None:
        if self._linger_until is not None:
            self._discard()
            return
        try:
            self._read_some()
            if self._session.outgoing or self._session.closing:
                self._send()
        except ChannelFailed as error:
            self._close(error.reason)
        except Exception:
            log.exception("connection.failed", device=self._device_name)
            self._ends(connection_ends.SERVER_FAILED)
            self._close("internal error")

    def _read_some(self) -> None:
        channel, services = self._endpoint.channel, self._services
        data = channel.read()
        if data is None:
            return
        if not data:
            self._close("peer closed the connection")
            return
        services.messages.counters.bytes_received += len(data)
        events = self._session.receive(data, services.loop.time())
        if events:
            self._act_on(events)
        if not self._paused and not self._closed and channel.pending():
            services.loop.call_soon(self._ready_again)

    def _ready_again(self) -> None:
        if not self._closed and not self._paused:
            self._ready()

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

    def _pause(self, reason: int) -> None:
        if self._paused == 0 and not self._closed:
            self._services.readiness.remove_reader(self._fd)
        self._paused |= reason

    def _resume(self, reason: int) -> None:
        if not self._paused & reason:
            return
        self._paused &= ~reason
        if self._paused == 0 and not self._closed:
            self._services.readiness.add_reader(self._fd, self._ready)
            if self._endpoint.channel.pending():
                self._services.loop.call_soon(self._ready_again)

    # Writing

    def _send(self) -> None:
        """Sends what the session has queued; closes behind its goodbye."""
        if self._closed or self._linger_until is not None:
            return
        if self._paused & STREAMING:  # the session's packets wait for the end of this one
            if self._session.closing:
                self._close("ended within a packet")
            return
        try:
            data = self._session.data_to_send()
            if data and not self._endpoint.write(data):
                self._services.readiness.add_writer(self._fd, self._writable)
                if self._endpoint.unsent_bytes > MOST_UNSENT_BYTES:
                    self._pause(UNSENT)
        except ChannelFailed as error:
            self._close(error.reason)
            return
        if self._session.closing and self._endpoint.unsent_bytes == 0:
            self._linger()

    def wait_for_writable(self) -> None:
        """The endpoint has sent something by itself, and the socket did not take all of it."""
        if not self._closed and self._linger_until is None:
            self._services.readiness.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        try:
            if not self._endpoint.flush():
                return
        except ChannelFailed as error:
            self._close(error.reason)
            return
        self._services.readiness.remove_writer(self._fd)
        if self._until_sent is not None and not self._until_sent.done():
            self._until_sent.set_result(None)
        self._resume(UNSENT)
        self._send()

    # Deciding who it is

    def _connect_received(self, event: ConnectReceived) -> None:
        connect = event.connect
        if self._misplaced.mqtt is not None:
            self._refuse(Fault(self._misplaced.mqtt, {"client_id": connect.client_id}))
            return
        if asks_for_identity(connect):
            self._open_provisioning(connect)
            return
        attempt = ConnectAttempt(
            client_id=connect.client_id,
            user_name=connect.user_name,
            password=connect.password,
            protocol_version=connect.protocol_version,
        )
        assert self._evidence is not None
        decision = self._services.authentication.decide_at_once(self._evidence, attempt)
        if decision is not None:
            self._decided(decision, attempt, event)
        else:
            self._pause(DECIDING)
            self.run_in_order(self._decide(attempt, event))

    async def _decide(self, attempt: ConnectAttempt, event: ConnectReceived) -> None:
        assert self._evidence is not None
        decision = await self._services.authentication.decide(self._evidence, attempt)
        if not self._closed:
            self._resume(DECIDING)
            self._decided(decision, attempt, event)

    def _decided(self, decision: Allowed | Refused, attempt: ConnectAttempt, event: ConnectReceived) -> None:
        match decision:
            case Allowed():
                transport = self._services.transports.find(decision.device.profile_id)
                if transport is None:
                    self._pause(DECIDING)
                    self.run_in_order(self._read_profile(decision.device.profile_id, attempt, event))
                    return
                self.transport = transport
                self._accept(decision, event)
            case Refused():
                self._session.refuse(
                    mqtt5=decision.mqtt5, mqtt3=decision.mqtt3, reason_string=decision.for_peer
                )
        self._evidence = None  # what it proved has served: a connection keeps no certificate while it lives

    async def _read_profile(self, profile_id: str, attempt: ConnectAttempt, event: ConnectReceived) -> None:
        """For the first device of a profile; those after it find what was read here.

        Who it is, is decided once more: its credentials may have been taken away meanwhile.
        """
        try:
            await self._services.transports.load(profile_id)
        except ThingpassError as error:
            if not self._closed:
                self._refuse(Fault(STORE_UNAVAILABLE, {"problem": error.sentence}))
                self._resume(DECIDING)
            return
        await self._decide(attempt, event)

    def _refuse(self, fault: Fault) -> None:
        self._record(fault)
        refusal = fault.refusal
        self._session.refuse(mqtt5=refusal.mqtt5, mqtt3=refusal.mqtt3, reason_string=refusal.for_peer)

    def _open_provisioning(self, connect: Connect) -> None:
        """A connection without a device: it asks for one (device API reference, 1.6)."""
        assert self._evidence is not None
        opened = self._services.provisioning.open(self._evidence)
        self._peer, self._evidence = without_chain(self._evidence), None
        if isinstance(opened, Fault):
            self._refuse(opened)
            return
        self._provisioning = opened
        self.transport = opened.transport
        held_back = self._session.accept(
            self._services.loop.time(), assigned_client_id=_assigned_client_id(connect)
        )
        self._services.wheel.forget(self)
        self._services.wheel.watch(self)
        self._act_on(held_back)

    def _accept(self, allowed: Allowed, event: ConnectReceived) -> None:
        services, connect, evidence = self._services, event.connect, self._evidence
        assert evidence is not None
        self._device = allowed.device
        assigned = _assigned_client_id(connect)
        most = services.maximum_keep_alive_s
        keep_alive = most if most and (connect.keep_alive == 0 or connect.keep_alive > most) else None
        self._connection = Connection(
            id=services.presence.next_id(),
            device_id=allowed.device.id,
            device_name=allowed.device.name,
            tenant_id=allowed.device.tenant_id,
            credentials_kind=allowed.credentials.kind,
            fingerprint_sha256=allowed.fingerprint_sha256,
            listener=evidence.listener,
            peer_address=evidence.peer_address,
            peer_port=evidence.peer_port,
            protocol=_PROTOCOL_NAMES[connect.protocol_version],
            tls_version=evidence.tls_version,
            cipher=evidence.cipher,
            key_exchange_group=evidence.key_exchange_group,
            resumed=evidence.resumed,
            client_id=assigned or connect.client_id,
            connected_at_ms=services.messages.clock.now_ms(),
        )
        self._peer = self._connection
        services.presence.opened(self._connection, self.end)
        meters = services.messages.rate_limiter.meters_for(allowed.device, services.loop.time())
        if meters is not None:
            can_refuse = connect.protocol_version is ProtocolVersion.MQTT_5
            counters = services.messages.counters
            self.limits = ConnectionLimits(self, meters, counters, can_refuse=can_refuse)
        services.messages.counters.connects_accepted += 1
        # After `opened`, which ends the device's earlier connection: that one may leave a session.
        resumed = services.kept_sessions.take(
            allowed.device.id, self._connection.client_id, clean_start=connect.clean_start
        )
        services.life.came(self._connection, self, resumed=resumed is not None)
        held_back = self._session.accept(
            services.loop.time(),
            assigned_client_id=assigned,
            server_keep_alive=keep_alive,
            resumed=None if resumed is None else resumed.state,
        )
        if resumed is not None:
            services.messages.counters.sessions_resumed += 1
            self._device_session, self._subscriptions = resumed, resumed.subscriptions
            resumed.come_back(self)
        elif self._session.session_expiry_interval:
            self._make_device_session()
        self._services.wheel.forget(self)
        self._services.wheel.watch(self)  # its keep alive may end before the time for CONNECT would have
        self._act_on(held_back)

    # What the peer asks

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
        self._close("device said goodbye")

    def _session_failed(self, event: SessionFailed) -> None:
        error = event.error
        silent = isinstance(error, TimedOut)
        self._ends(connection_ends.SILENT if silent else connection_ends.PROTOCOL_BROKEN, error.seen)
        if silent and (self._device is not None or self._provisioning is not None):
            log.info("connection.silent", device=self._device_name, seen=error.seen)
            return
        fault = mqtt_fault(error, connect_timeout_s=self._services.limits.connect_timeout_s)
        if error.looks_like == "http":
            fault = Fault(self._misplaced.http, fault.seen)
            self._endpoint.write(self._misplaced.answer)
        self._record(fault)

    def _record(self, fault: Fault) -> None:
        self._services.refusal_log.record(
            fault.refusal,
            listener=self._peer.listener,
            peer_address=self._peer.peer_address,
            peer_port=self._peer.peer_port,
            at_ms=self.messages.clock.now_ms(),
            seen=fault.seen if self._device is None else {**fault.seen, "device": self._device.name},
            device=self._device,
        )

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
        sparing_log.info(
            "message.rejected", device=self._device_name, topic=message.topic[:100], problem=error.sentence
        )
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
        """A client that acknowledges too slowly gets it at QoS 0: nothing is lost on one connection."""
        if self._paused & UNSENT:
            await self._wait_until_sent()
        session = self._session
        behind = session.send_quota <= 0 or session.backed_up
        qos = 0 if behind else self._subscriptions.qos_for(topic)
        if self._closed or session.closing:
            return True  # nobody is left who could be told otherwise
        if session.publish(topic, payload, qos) is None:
            return False
        self.messages.counters.messages_sent += 1
        self._send()
        return True

    async def deliver_in_pieces(self, topic: str, size: int, pieces: AsyncIterator[bytes]) -> bool:
        """Reading pauses, so that what the session would have to say meanwhile stays little."""
        if self._paused & UNSENT:
            await self._wait_until_sent()
        session = self._session
        # What is never whole cannot be sent again, as QoS 1 would want it of a session that outlives this.
        behind = session.send_quota <= 0 or session.session_expiry_interval > 0
        qos = 0 if behind else self._subscriptions.qos_for(topic)
        if self._closed or session.closing:
            return True
        # Read before the packet begins: a package that is gone can still be told by an error.
        piece: bytes | None = await anext(pieces)
        head = session.begin_publish(topic, size, qos)
        if head is None:
            return False
        self.messages.counters.messages_sent += 1
        self._send()  # what the session has said before goes before
        self._pause(STREAMING)
        try:
            self._write(head)
            while piece is not None and not self._closed:
                self._write(piece)
                await self._wait_until_sent()
                piece = await anext(pieces, None)
        except BaseException:
            self._close("a packet could not be sent to its end")
            raise
        self._resume(STREAMING)
        self._send()
        return True

    def _write(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            if not self._endpoint.write(data):
                self._services.readiness.add_writer(self._fd, self._writable)
        except ChannelFailed as error:
            self._close(error.reason)

    async def _wait_until_sent(self) -> None:
        """Raises Unavailable when the peer does not read."""
        if self._closed or not self._endpoint.unsent_bytes:
            await asyncio.sleep(0)  # others get their turn
            return
        self._until_sent = self._services.loop.create_future()
        try:
            async with asyncio.timeout(UNREAD_S):
                await self._until_sent
        except TimeoutError as error:
            raise Unavailable(f"The device read nothing for {UNREAD_S:g} s.") from error
        finally:
            self._until_sent = None

    def run_in_order(self, work: Coroutine[Any, Any, None]) -> None:
        if self._work is None:
            self._work = OrderedWork(
                self._services.loop, after_each=self._work_done, failed=self._work_failed
            )
        self._work.add(work)
        if len(self._work) >= MOST_WORK_WAITING:
            self._pause(WORK_WAITS)

    def _work_done(self) -> None:
        self._resume(WORK_WAITS)
        self._send()

    def _work_failed(self, error: Exception) -> None:
        if isinstance(error, ThingpassError):
            log.warning("connection.work_failed", device=self._device_name, problem=error.sentence)
            self._ends(connection_ends.NOT_STORED)
            self._end_with(ReasonCode.SERVER_BUSY, NOT_STORED)
        else:
            log.error("connection.failed", device=self._device_name, exc_info=error)
            self._ends(connection_ends.SERVER_FAILED)
            self._end_with(ReasonCode.UNSPECIFIED_ERROR, None)

    # What `devices.states` asks

    @property
    def heard_at(self) -> float:
        return self._session.heard_at

    # What `mqtt_device_session` needs of a connection

    def can_send(self) -> bool:
        return not (self._closed or self._session.closing)

    def time(self) -> float:
        return self._services.loop.time()

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
            if not self._flushing:  # one write for all that is sent in this turn of the loop
                self._flushing = True
                self._services.loop.call_soon(self._flush)
        elif session.backed_up or self._endpoint.unsent_bytes > MOST_UNSENT_BYTES:
            log.info("connection.too_far_behind", device=self._device_name)
            self._ends(connection_ends.TOO_FAR_BEHIND)
            self._end_with(ReasonCode.QUOTA_EXCEEDED, TOO_FAR_BEHIND)
        else:
            sparing_log.info(
                "message.too_large", device=self._device_name, topic=topic, size_bytes=len(payload)
            )
        return packet_id

    def _flush(self) -> None:
        self._flushing = False
        self._send()

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
        self._record(Fault(RATE_LIMIT_EXCEEDED, {"name": breach.name, "limit": breach.limit}))

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
        self._send()

    def not_stored(self, packet_ids: list[int], error: ThingpassError) -> None:
        """Nothing is acknowledged: the device sends its messages again, to a server that can store them."""
        self._ends(connection_ends.NOT_STORED)
        self._end_with(ReasonCode.SERVER_BUSY, NOT_STORED)

    # Ending

    def deadline(self) -> float | None:
        if self._closed:
            return None
        if self._linger_until is not None:
            return self._linger_until
        deadline = self._session.deadline()
        if self._provisioning is not None:
            ends_at = self._provisioning.ends_at
            return ends_at if deadline is None else min(ends_at, deadline)
        return deadline

    def overdue(self, now: float) -> None:
        if self._linger_until is not None:
            self._close("goodbye took too long")
        elif self._provisioning is not None and now >= self._provisioning.ends_at:
            self._end_with(ReasonCode.MAXIMUM_CONNECT_TIME, None)
        elif not self._paused:  # a peer that we do not read cannot be told to be silent
            self._act_on(self._session.tick(now))
            self._send()

    def end(self, reason: str) -> None:
        """Ends the connection from the server's side, for one of presence's reasons."""
        self._ends(END_BY_CLOSE_REASON[reason])
        if reason != CLOSE_TAKEN_OVER:
            self._session.session_expiry_interval = 0  # nobody has a right to this session any more
        self._end_with(_CLOSE_REASONS[reason], None)

    def end_for_shutdown(self) -> None:
        self._ends(connection_ends.SERVER_STOPPED)
        self._end_with(ReasonCode.SERVER_SHUTTING_DOWN, None)

    def _end_with(self, code: ReasonCode, sentence: str | None) -> None:
        if self._closed or self._session.closing:
            return
        self._session.disconnect(code, sentence)
        self._leave_session()  # at once: who takes over finds it
        self._send()

    def _linger(self) -> None:
        """Closes our half and reads the rest away: closing with unread bytes would reset the goodbye."""
        self._linger_until = self._services.loop.time() + LINGER_S
        self._leave()
        self._services.readiness.remove_writer(self._fd)
        if self._device is None:
            # Some clients (fusesource's for Java) see a goodbye that comes together with the refusal first,
            # and report a lost connection instead of the reason.
            self._services.loop.call_later(REFUSAL_HEARD_S, self._say_goodbye)
        else:
            self._say_goodbye()
        if self._paused:
            self._services.readiness.add_reader(self._fd, self._ready)
            self._paused = 0
        self._services.wheel.forget(self)
        self._services.wheel.watch(self)

    def _say_goodbye(self) -> None:
        if not self._closed:
            self._endpoint.finish()

    def _discard(self) -> None:
        if not self._endpoint.discard():
            self._close("goodbye")

    def _ends(self, end: End, seen: str = "") -> None:
        """Why the connection is about to end; the first cause counts."""
        if self._end is None:
            self._end = (end, seen)

    def _leave(self) -> None:
        """The device is no longer connected here."""
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

    def _close(self, why: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._services.readiness.remove_reader(self._fd)
        self._services.readiness.remove_writer(self._fd)
        self._leave()
        self._services.wheel.forget(self)
        self._services.open_connections.discard(self)
        self._endpoint.close()
        if self._work is not None:
            self._work.cancel()
        if stdlib_log.isEnabledFor(logging.DEBUG):  # asked first: making a line costs more than closing
            log.debug("connection.closed", device=self._device_name, why=why)

    def close_now(self) -> None:
        self._ends(connection_ends.SERVER_STOPPED)
        self._close("server stops")

    @property
    def _device_name(self) -> str | None:
        return None if self._device is None else self._device.name


def _assigned_client_id(connect: Connect) -> str | None:
    """MQTT 5 is told its client id when it brings none."""
    if connect.client_id or connect.protocol_version is not ProtocolVersion.MQTT_5:
        return None
    return f"thingpass-{secrets.token_hex(8)}"


_ON_EVENT: Final[dict[type, Callable[[MqttConnection, Any], None]]] = {
    ConnectReceived: MqttConnection._connect_received,
    SubscribeRequested: MqttConnection._subscribe_requested,
    UnsubscribeRequested: MqttConnection._unsubscribe_requested,
    DeliveryAcknowledged: MqttConnection._delivery_acknowledged,
    PingReceived: MqttConnection._nothing_to_do,
    Disconnected: MqttConnection._disconnected,
    SessionFailed: MqttConnection._session_failed,
}
