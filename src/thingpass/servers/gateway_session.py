"""The devices behind one gateway: who is connected through it, and what is sent to them by its connection.

A connection makes a `GatewaySession` when its device, which is a gateway, first publishes to a gateway's
topic; other connections have none. A device behind it is a session like any other: presence knows it, so that
it and a direct connection of the same device end each other; it listens for pushes and calls.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog

from thingpass.bus.messages import DeviceUpdated
from thingpass.devices.events import LastWill
from thingpass.devices.gateways import GatewayDevices, TooManyMade, may_speak_for, overwrites_activity
from thingpass.devices.states import Link
from thingpass.errors import Forbidden, Invalid, NotFound, Unavailable
from thingpass.messaging.listeners import ReportDelivery, RpcRequest
from thingpass.messaging.presence import (
    CLOSE_CREDENTIALS_CHANGED,
    CLOSE_DEVICE_REMOVED,
    CLOSE_TAKEN_OVER,
    Connection,
    Presence,
)
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers import gateway_payloads
from thingpass.servers.call_deliveries import Deliveries, Sender, acknowledged, send_call
from thingpass.servers.connection_ends import END_BY_CLOSE_REASON, GATEWAY_LEFT, GATEWAY_SAID_GOODBYE, End
from thingpass.servers.connection_limits import ConnectionLimits
from thingpass.servers.device_topics import GATEWAY_ATTRIBUTES, GATEWAY_DISCONNECT, GATEWAY_RPC
from thingpass.servers.gateway_metrics import WRITE_EVERY_S, GatewayMetrics
from thingpass.servers.gateway_payloads import ConnectorTime, Fault, Problem
from thingpass.servers.mqtt_device_session import ToDevice
from thingpass.store.rows import Device, Value
from thingpass.telemetry.ingest import Ingest

log = structlog.get_logger(__name__)

_REASON_CODES: Final = {
    CLOSE_TAKEN_OVER: ReasonCode.SESSION_TAKEN_OVER,
    CLOSE_CREDENTIALS_CHANGED: ReasonCode.ADMINISTRATIVE_ACTION,
    CLOSE_DEVICE_REMOVED: ReasonCode.ADMINISTRATIVE_ACTION,
}


class SubDeviceLife(Protocol):
    """Hears of the devices behind gateways, as of every session (`device_life.DeviceLife`)."""

    def came(self, connection: Connection, link: Link, *, resumed: bool) -> None: ...
    def left(
        self, connection: Connection, link: Link, end: End, seen: str, will: LastWill | None
    ) -> None: ...


class GatewayServices(msgspec.Struct, frozen=True, kw_only=True):
    """What gateways need of the house."""

    devices: GatewayDevices
    presence: Presence
    to_device: ToDevice
    ingest: Ingest
    now_ms: Callable[[], int]
    max_devices: int  # behind one gateway at a time, and made by one session
    life: SubDeviceLife
    sessions: dict[str, GatewaySession] = msgspec.field(default_factory=dict)  # by the gateway's id
    sub_devices: dict[str, SubDevice] = msgspec.field(default_factory=dict)  # by the device's id

    async def device_updated(self, message: DeviceUpdated) -> None:
        """A gateway, or a device behind one, may have gone to another customer."""
        session, sub_device = self.sessions.get(message.device_id), self.sub_devices.get(message.device_id)
        if session is not None:
            found = await self.devices.find(session.device)
            if found is not None:
                session.changed(found)
        elif sub_device is not None:
            found = await self.devices.find(sub_device.device)
            if found is not None:
                sub_device.changed(found)


class GatewayLink(Sender, Protocol):
    """The gateway's own connection."""

    @property
    def speaks_mqtt5(self) -> bool: ...

    @property
    def heard_at(self) -> float:
        """When something was last heard of the gateway (monotonic, s)."""

    def run_in_order(self, work: Coroutine[Any, Any, None]) -> None: ...


class PartRefused(Exception):
    """A device's part of a message cannot be used; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class SubDevice:
    """One device behind a gateway: what `messaging.listeners` and presence ask of a session."""

    __slots__ = ("_session", "connection", "device", "name", "spoken_of_at")

    def __init__(self, session: GatewaySession, name: str, device: Device, connection: Connection) -> None:
        self._session = session
        self.name = name  # what the gateway calls it, also after somebody has renamed it
        self.device = device
        self.connection = connection
        self.spoken_of_at = session.time()

    @property
    def heard_at(self) -> float:
        """When something was last heard of the device (monotonic, s); still known after the session's end."""
        return max(self.spoken_of_at, self._session.heard_for_all_at)

    def attributes_saved(self, values: Mapping[str, Value]) -> None:
        self._session.send(
            GATEWAY_ATTRIBUTES.topic_to_send(), gateway_payloads.attributes_update(self.name, values)
        )

    def attributes_removed(self, keys: Sequence[str]) -> None:
        self._session.send(
            GATEWAY_ATTRIBUTES.topic_to_send(), gateway_payloads.attributes_removal(self.name, keys)
        )

    def rpc_requested(self, request: RpcRequest, report: ReportDelivery) -> bool:
        payload = gateway_payloads.rpc_request(self.name, request.id, request.method, request.params_json)
        return self._session.send_call(request, report, payload)

    def changed(self, device: Device) -> None:
        """Its row is this from now on."""
        self.device = device
        if not may_speak_for(self._session.device, device):
            self.end(CLOSE_CREDENTIALS_CHANGED)

    def end(self, reason: str) -> None:
        """Ends the session from the server's side, for one of presence's reasons."""
        self._session.end_sub_device(self, reason)


class GatewaySession:
    __slots__ = (
        "_closed",
        "_connection",
        "_deliveries",
        "_is_heard_for_all",
        "_link",
        "_made",
        "_metrics",
        "_metrics_timer",
        "_services",
        "_waiting",
        "device",
        "limits",
        "sub_devices",
    )

    def __init__(
        self,
        services: GatewayServices,
        link: GatewayLink,
        device: Device,
        connection: Connection,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self._services = services
        self._link = link
        self.device = device  # the gateway itself
        self._connection = connection
        self.limits = limits  # of what it sends for the devices behind it, all together
        self.sub_devices: dict[str, SubDevice] = {}
        self._deliveries: Deliveries = {}
        self._made = 0
        self._waiting = 0
        self._closed = False
        self._metrics: GatewayMetrics | None = None
        self._metrics_timer: asyncio.TimerHandle | None = None
        self._is_heard_for_all = overwrites_activity(device)
        services.sessions[device.id] = self

    def changed(self, device: Device) -> None:
        """The gateway's row is this from now on."""
        self.device = device
        for sub_device in list(self.sub_devices.values()):
            sub_device.changed(sub_device.device)

    def time(self) -> float:
        return self._link.time()

    @property
    def heard_for_all_at(self) -> float:
        """When the gateway was heard, if that counts for its devices (reference 4, overwriteActivityTime)."""
        return self._link.heard_at if self._is_heard_for_all else -math.inf

    # What the gateway says

    def knows(self, names: Collection[str]) -> bool:
        """Whether these can be acted upon at once: all are connected, and no earlier message waits."""
        return not self._waiting and self.sub_devices.keys() >= set(names)

    def run_in_order(self, work: Callable[[], Awaitable[None]]) -> None:
        """After what the gateway said before; until it is done, `knows` says no."""
        self._waiting += 1
        self._link.run_in_order(self._run(work))

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        finally:
            self._waiting -= 1

    async def connect(self, name: str, profile_name: str | None = None) -> SubDevice:
        """The device's session, begun if there is none. Raises PartRefused, and Unavailable."""
        known = self.sub_devices.get(name)
        if known is not None:
            return known
        services, most = self._services, self._services.max_devices
        if len(self.sub_devices) >= most:
            sentence = f"{most} devices are connected through this gateway, and no more are taken."
            raise PartRefused(Problem(name, Fault.TOO_MANY_DEVICES, sentence))
        try:
            device, is_new = await services.devices.find_or_add(
                self.device, name, profile_name, may_add=self._made < most
            )
        except TooManyMade as error:
            raise PartRefused(Problem(name, Fault.TOO_MANY_DEVICES, error.sentence)) from None
        except Forbidden as error:
            raise PartRefused(Problem(name, Fault.NOT_ITS_DEVICE, error.sentence)) from None
        except Invalid as error:
            raise PartRefused(Problem(name, Fault.BAD_NAME, error.sentence)) from None
        except NotFound as error:
            raise PartRefused(Problem(name, Fault.DEVICE_GONE, error.sentence)) from None
        if self._closed:
            raise Unavailable("The gateway's connection has ended.")
        self._made += is_new
        return self._begin(name, device)

    async def connect_all(self, names: Collection[str], problems: list[Problem]) -> None:
        """Those that cannot be connected are added to the problems."""
        for name in names:
            try:
                await self.connect(name)
            except PartRefused as error:
                problems.append(error.problem)

    def _begin(self, name: str, device: Device) -> SubDevice:
        services = self._services
        connection = msgspec.structs.replace(
            self._connection,
            id=services.presence.next_id(),
            device_id=device.id,
            device_name=device.name,
            connected_at_ms=services.now_ms(),
            via_gateway=self.device.name,
        )
        sub_device = SubDevice(self, name, device, connection)
        self.sub_devices[name] = sub_device
        services.sub_devices[device.id] = sub_device
        services.presence.opened(connection, sub_device.end)
        services.life.came(connection, sub_device, resumed=False)
        services.to_device.pushes.listen(device.id, sub_device)
        services.to_device.rpc.listen(device.id, sub_device)
        return sub_device

    def disconnect(self, name: str) -> None:
        """The gateway says that the device is gone; of one that was not there, nothing."""
        sub_device = self.sub_devices.get(name)
        if sub_device is not None:
            self._end(sub_device, GATEWAY_SAID_GOODBYE)

    def note_times(self, times: Sequence[ConnectorTime]) -> None:
        """What samples said of their way; written once a minute."""
        if self._metrics is None:
            self._metrics = GatewayMetrics()
        self._metrics.note(times, self._services.now_ms())
        if self._metrics_timer is None:
            loop = asyncio.get_running_loop()
            self._metrics_timer = loop.call_later(WRITE_EVERY_S, self._write_metrics)

    def _write_metrics(self) -> None:
        if self._metrics_timer is not None:
            self._metrics_timer.cancel()
            self._metrics_timer = None
        sample = None if self._metrics is None else self._metrics.take(self._services.now_ms())
        if sample is not None:
            self._services.ingest.append(self.device.number, (sample,), None, 0)

    # What is sent to the gateway

    def send(self, topic: str, payload: bytes) -> None:
        self._link.publish_to_device(topic, payload)

    def send_call(self, request: RpcRequest, report: ReportDelivery, payload: bytes) -> bool:
        if not self._link.can_send():
            return False
        topic = GATEWAY_RPC.topic_to_send()
        return send_call(self._link, self._deliveries, request, report, topic=topic, payload=payload)

    def delivered(self, packet_id: int, reason_code: int) -> None:
        """The gateway acknowledged what was sent under this identifier."""
        acknowledged(self._deliveries, packet_id, reason_code)

    # Ending

    def end_sub_device(self, sub_device: SubDevice, reason: str) -> None:
        """Ends one session for one of presence's reasons. MQTT 5 gateways are told (reference 2.11)."""
        if self.sub_devices.get(sub_device.name) is not sub_device:
            return
        self._end(sub_device, END_BY_CLOSE_REASON[reason])
        log.info("gateway.device_ended", gateway=self.device.name, device=sub_device.name, reason=reason)
        if self._link.speaks_mqtt5:
            payload = gateway_payloads.disconnected(
                sub_device.name, _REASON_CODES.get(reason, ReasonCode.ADMINISTRATIVE_ACTION)
            )
            self.send(GATEWAY_DISCONNECT.topic_to_send(), payload)

    def close(self, end: End = GATEWAY_LEFT) -> None:
        """The gateway's connection is over, and so are the sessions of all devices behind it."""
        self._closed = True
        if self.limits is not None:
            self.limits.ended()
        if self._services.sessions.get(self.device.id) is self:
            del self._services.sessions[self.device.id]
        for sub_device in list(self.sub_devices.values()):
            self._end(sub_device, end)
        self._write_metrics()
        self._deliveries.clear()

    def _end(self, sub_device: SubDevice, end: End) -> None:
        services, device_id = self._services, sub_device.device.id
        del self.sub_devices[sub_device.name]
        if services.sub_devices.get(device_id) is sub_device:
            del services.sub_devices[device_id]
        services.to_device.pushes.leave(device_id, sub_device)
        services.to_device.rpc.leave(device_id, sub_device)
        services.presence.closed(sub_device.connection)
        services.life.left(sub_device.connection, sub_device, end, "", None)
