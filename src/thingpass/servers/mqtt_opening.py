"""From CONNECT to its answer: who is this, and what does the connection begin with.

It decides nothing: identity is `identity.authentication`'s, who may have a new one `provisioning_session`'s.
A connection has an opening until it is answered, and with it go the certificates that the peer has shown.
"""

from __future__ import annotations

import secrets
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from thingpass.devices.states import Link
from thingpass.errors import ThingpassError
from thingpass.identity.decisions import Allowed, ConnectAttempt, Refused
from thingpass.identity.refusals import STORE_UNAVAILABLE
from thingpass.messaging.presence import Connection
from thingpass.mqtt.errors import MqttError
from thingpass.mqtt.events import ConnectReceived, Event
from thingpass.mqtt.packets import Connect, ProtocolVersion
from thingpass.mqtt.session import Session
from thingpass.servers.connection_limits import ConnectionLimits, LimitedConnection
from thingpass.servers.connection_services import ConnectionServices
from thingpass.servers.device_transport import DeviceTransport
from thingpass.servers.misplaced import Misplaced
from thingpass.servers.mqtt_device_session import MqttDeviceSession
from thingpass.servers.protocol_refusals import Fault, mqtt_fault
from thingpass.servers.provisioning_session import ProvisioningSession, asks_for_identity
from thingpass.store.rows import Device
from thingpass.tls.evidence import Evidence, without_chain

_PROTOCOL_NAMES: Final = {
    ProtocolVersion.MQTT_3_1: "MQTT 3.1",
    ProtocolVersion.MQTT_3_1_1: "MQTT 3.1.1",
    ProtocolVersion.MQTT_5: "MQTT 5.0",
}


class OpeningConnection(LimitedConnection, Link, Protocol):
    """What an opening needs of its connection."""

    limits: ConnectionLimits | None

    @property
    def closed(self) -> bool: ...
    def record(self, fault: Fault) -> None: ...
    def decide_later(self, work: Coroutine[Any, Any, None]) -> None:
        """Reads nothing until `decision_is_due`."""

    def decision_is_due(self) -> None: ...
    def is_device(self, device: Device, connection: Connection, transport: DeviceTransport) -> None: ...
    def is_nobody(self, peer: Evidence) -> None:
        """It came for an identity."""

    def provisions(self, session: ProvisioningSession) -> None: ...
    def opened(self, held_back: list[Event], resumed: MqttDeviceSession | None = None) -> None:
        """It is accepted. `held_back`: what the client had sent already."""

    def refused(self) -> None: ...
    def end(self, reason: str) -> None: ...


class Opening:
    __slots__ = ("_connection", "_evidence", "_misplaced", "_services", "_session")

    def __init__(
        self,
        services: ConnectionServices,
        connection: OpeningConnection,
        session: Session,
        evidence: Evidence,
        misplaced: Misplaced,
    ) -> None:
        self._services = services
        self._connection = connection
        self._session = session
        self._evidence = evidence
        self._misplaced = misplaced

    def connect_received(self, event: ConnectReceived) -> None:
        connect = event.connect
        if self._misplaced.mqtt is not None:
            self._refuse(Fault(self._misplaced.mqtt, {"client_id": connect.client_id}))
            return
        if asks_for_identity(connect):
            self._accept_nobody(connect)
            return
        attempt = ConnectAttempt(
            client_id=connect.client_id,
            user_name=connect.user_name,
            password=connect.password,
            protocol_version=connect.protocol_version,
        )
        decision = self._services.authentication.decide_at_once(self._evidence, attempt)
        if decision is not None:
            self._decided(decision, attempt, connect)
        else:
            self._connection.decide_later(self._decide(attempt, connect))

    def failed(self, error: MqttError) -> tuple[Fault, bytes]:
        """The session failed before there was anything to decide: what that is, and what to say to it."""
        fault = mqtt_fault(error, connect_timeout_s=self._services.limits.connect_timeout_s)
        if error.looks_like == "http":
            return Fault(self._misplaced.http, fault.seen), self._misplaced.answer
        return fault, b""

    async def _decide(self, attempt: ConnectAttempt, connect: Connect) -> None:
        decision = await self._services.authentication.decide(self._evidence, attempt)
        if not self._connection.closed:
            self._connection.decision_is_due()
            self._decided(decision, attempt, connect)

    def _decided(self, decision: Allowed | Refused, attempt: ConnectAttempt, connect: Connect) -> None:
        match decision:
            case Allowed():
                profile_id = decision.device.profile_id
                transport = self._services.transports.find(profile_id)
                if transport is None:
                    self._connection.decide_later(self._read_profile(profile_id, attempt, connect))
                else:
                    self._accept(decision, connect, transport)
            case Refused():
                self._session.refuse(
                    mqtt5=decision.mqtt5, mqtt3=decision.mqtt3, reason_string=decision.for_peer
                )
                self._connection.refused()

    async def _read_profile(self, profile_id: str, attempt: ConnectAttempt, connect: Connect) -> None:
        """For the first device of a profile; those after it find what was read here.

        Who it is, is decided once more: its credentials may have been taken away meanwhile.
        """
        try:
            await self._services.transports.load(profile_id)
        except ThingpassError as error:
            if not self._connection.closed:
                self._refuse(Fault(STORE_UNAVAILABLE, {"problem": error.sentence}))
                self._connection.decision_is_due()
            return
        await self._decide(attempt, connect)

    def _refuse(self, fault: Fault) -> None:
        self._connection.record(fault)
        refusal = fault.refusal
        self._session.refuse(mqtt5=refusal.mqtt5, mqtt3=refusal.mqtt3, reason_string=refusal.for_peer)
        self._connection.refused()

    def _accept_nobody(self, connect: Connect) -> None:
        """A connection without a device: it asks for one (device API reference, 1.6)."""
        opened = self._services.provisioning.open(self._evidence)
        self._connection.is_nobody(without_chain(self._evidence))
        if isinstance(opened, Fault):
            self._refuse(opened)
            return
        self._connection.provisions(opened)
        held_back = self._session.accept(
            self._services.loop.time(), assigned_client_id=_assigned_client_id(connect)
        )
        self._connection.opened(held_back)

    def _accept(self, allowed: Allowed, connect: Connect, transport: DeviceTransport) -> None:
        services, connection, device = self._services, self._connection, allowed.device
        assigned = _assigned_client_id(connect)
        most = services.maximum_keep_alive_s
        keep_alive = most if most and (connect.keep_alive == 0 or connect.keep_alive > most) else None
        row = self._row(allowed, connect, assigned or connect.client_id)
        connection.is_device(device, row, transport)
        services.presence.opened(row, connection.end)
        counters = services.messages.counters
        meters = services.messages.rate_limiter.meters_for(device, services.loop.time())
        if meters is not None:
            can_refuse = connect.protocol_version is ProtocolVersion.MQTT_5
            connection.limits = ConnectionLimits(connection, meters, counters, can_refuse=can_refuse)
        counters.connects_accepted += 1
        # After `presence.opened`, which ends the device's earlier connection: that one may leave a session.
        resumed = services.kept_sessions.take(device.id, row.client_id, clean_start=connect.clean_start)
        if resumed is not None:
            counters.sessions_resumed += 1
        services.life.came(row, connection, resumed=resumed is not None)
        held_back = self._session.accept(
            services.loop.time(),
            assigned_client_id=assigned,
            server_keep_alive=keep_alive,
            resumed=None if resumed is None else resumed.state,
        )
        connection.opened(held_back, resumed)

    def _row(self, allowed: Allowed, connect: Connect, client_id: str) -> Connection:
        """The connection as it is shown and noted."""
        evidence = self._evidence
        return Connection(
            id=self._services.presence.next_id(),
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
            client_id=client_id,
            connected_at_ms=self._services.messages.clock.now_ms(),
        )


def _assigned_client_id(connect: Connect) -> str | None:
    """MQTT 5 is told its client id when it brings none."""
    if connect.client_id or connect.protocol_version is not ProtocolVersion.MQTT_5:
        return None
    return f"thingpass-{secrets.token_hex(8)}"
