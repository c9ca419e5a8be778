"""The composition root: builds every part from the settings, opens and closes them in order. Nothing else."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import msgspec
import structlog
from starlette.types import ASGIApp

from thingpass.api.application import create_application
from thingpass.api.device_api.long_polls import LongPolls
from thingpass.api.device_api.services import DeviceApiServices
from thingpass.api.device_limits import DeviceRequestLimits
from thingpass.api.secret_files import load_or_make_local_secret
from thingpass.api.services import ListenerAddress, Services
from thingpass.bus.local import LocalBus
from thingpass.bus.messages import CredentialsChanged, DeviceRemoved, DeviceUpdated
from thingpass.clock import SystemClock
from thingpass.devices.activation import UserAccounts
from thingpass.devices.claiming import ClaimService
from thingpass.devices.customers import CustomerService
from thingpass.devices.devices import DeviceService
from thingpass.devices.events import DeviceEvents
from thingpass.devices.gateways import GatewayDevices
from thingpass.devices.ota import Ota, make_ota
from thingpass.devices.ota_checks import check_assignable
from thingpass.devices.profiles import ProfileService
from thingpass.devices.provisioning import ProvisioningService
from thingpass.devices.states import DeviceStateService
from thingpass.devices.tenants import ensure_default_tenant
from thingpass.devices.users import UserService
from thingpass.identity.authentication import Authentication
from thingpass.identity.refusal_log import RefusalLog
from thingpass.messaging.presence import CLOSE_CREDENTIALS_CHANGED, CLOSE_DEVICE_REMOVED, Presence
from thingpass.messaging.pushes import AttributePushes
from thingpass.messaging.rate_limiting import RateLimiter
from thingpass.messaging.rpc import RpcService
from thingpass.metrics import Counters
from thingpass.mqtt.session import Limits
from thingpass.servers.connection_services import ConnectionServices
from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.device_life import DeviceLife
from thingpass.servers.device_messages import MessageServices
from thingpass.servers.device_transports import DeviceTransports
from thingpass.servers.gateway_session import GatewayServices
from thingpass.servers.heap_trimmer import HeapTrimmer, find_malloc_trim
from thingpass.servers.http_listener import HttpListener
from thingpass.servers.kept_sessions import KeptSessions
from thingpass.servers.mqtt_device_session import ToDevice
from thingpass.servers.mqtt_reception import MqttConnections, MqttReception, WebSocketReception
from thingpass.servers.open_ports import OpenPorts
from thingpass.servers.provisioning_session import ProvisioningDesk
from thingpass.servers.readiness import make_readiness
from thingpass.servers.reception import ListenerServices
from thingpass.servers.server_identity import load_server_certificate
from thingpass.servers.transport_limits import make_transport_limits
from thingpass.settings import Secret, Settings
from thingpass.store.sqlite.store import SqliteStore
from thingpass.telemetry.attributes import AttributeService
from thingpass.telemetry.ingest import Ingest
from thingpass.telemetry.latest import LatestValues
from thingpass.telemetry.series import SeriesService
from thingpass.tls.handshake_pool import HandshakePool
from thingpass.tls.server_certificate import ServerCertificate
from thingpass.x509.certificate import Certificate

log = structlog.get_logger(__name__)

DAY_S = 86_400
DRAIN_S = 1.5  # how long devices may take to hear that the server stops


class Addresses(msgspec.Struct, frozen=True):
    """Where a started server listens; what was 0 in the settings is a port here."""

    http_url: str
    mqtts_host: str
    mqtts_port: int
    https_url: str | None
    wss_port: int | None
    mqtt_port: int | None
    ws_port: int | None


class Server:
    """One node. `start` raises ThingpassError with one clear sentence; `stop` may follow at any time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened = AsyncExitStack()
        self._clock = SystemClock()
        self._counters = Counters()
        self._presence = Presence()
        self._polls = LongPolls()
        self._mqtt_connections = MqttConnections()
        self._bus = LocalBus()
        limits = make_transport_limits(settings.limits)
        self._rate_limiter = RateLimiter(lambda tenant_id: limits)
        self._refusal_log = RefusalLog(
            kept=settings.identity.refusals_kept,
            kept_per_device=settings.identity.refusals_kept_per_device,
        )
        self._server_certificate: ServerCertificate | None = None
        self._ports: OpenPorts | None = None
        self._receptions: dict[str, MqttReception] = {}
        self._http: HttpListener | None = None
        self.first_administrator: tuple[str, Secret] | None = None

    @property
    def addresses(self) -> Addresses:
        http, ports = self._http, self._ports
        assert http is not None and ports is not None, "the server is not started"
        mqtts_port, https_port = ports.find("mqtts"), ports.find("https")
        assert mqtts_port is not None
        bind = self._settings.listeners.bind
        host = "127.0.0.1" if bind in ("0.0.0.0", "::") else bind
        return Addresses(
            http_url=f"http://{host}:{http.port}",
            mqtts_host=host,
            mqtts_port=mqtts_port,
            https_url=None if https_port is None else f"https://{host}:{https_port}",
            wss_port=ports.find("wss"),
            mqtt_port=ports.find("mqtt"),
            ws_port=ports.find("ws"),
        )

    @property
    def certificate(self) -> Certificate:
        """The certificate that the TLS listeners show now."""
        assert self._server_certificate is not None, "the server is not started"
        return self._server_certificate.chain[0]

    async def start(self) -> None:
        async with AsyncExitStack() as opened:
            await self._open(opened)
            self._opened = opened.pop_all()

    async def stop(self) -> None:
        """Ends the listeners, says goodbye to the devices, commits what was received, closes the store."""
        await self._opened.aclose()

    async def _open(self, opened: AsyncExitStack) -> None:
        settings, clock, bus = self._settings, self._clock, self._bus
        store = SqliteStore(
            settings.data_dir,
            synchronous=settings.store.synchronous,
            unfolded_messages=settings.store.unfolded_messages,
        )
        await store.open()
        opened.push_async_callback(store.close)
        opened.push_async_callback(bus.close)

        users = UserService(store, clock)
        await self._ensure_administrator(store, users)
        certificate = await self._open_certificate(opened)

        ingest = Ingest(store, backlog_messages=settings.store.backlog_messages, counters=self._counters)
        self._counters.set_gauge("backlog_messages", lambda: ingest.backlog)
        self._counters.set_gauge("unfolded_messages", lambda: store.unfolded_messages_now)
        await ingest.start()
        opened.push_async_callback(ingest.stop)
        events = DeviceEvents(store, bus, clock, settings.devices, self._counters)
        events.start()
        opened.push_async_callback(events.stop)
        states = DeviceStateService(store, bus, clock, events, settings.devices, self._counters)
        await states.start()
        opened.push_async_callback(states.stop)
        self._counters.set_gauge("devices_active", lambda: len(states))
        attributes = AttributeService(store, clock, bus=bus, computed=states)
        authentication = Authentication(store, bus, clock, self._refusal_log, settings.identity)
        opened.callback(authentication.close)
        self._end_connections_on_news()
        devices = DeviceService(store, bus, clock)
        profiles = ProfileService(store, bus, clock, check_package=partial(check_assignable, store))
        ota = make_ota(
            settings.ota,
            store=store,
            devices=devices,
            profiles=profiles,
            ingest=ingest,
            bus=bus,
            clock=clock,
            counters=self._counters,
        )
        await ota.start()
        opened.push_async_callback(ota.stop)

        rpc = RpcService(store, clock, self._counters, kept_for_s=settings.rpc.kept_days * DAY_S)
        rpc.start()
        opened.push_async_callback(rpc.close)
        self._counters.set_gauge("rpc_waiting", lambda: rpc.waiting)
        bus.subscribe(DeviceRemoved, lambda message: rpc.device_removed(message.device_id))
        pushes = AttributePushes(attributes.find_shared, bus, self._counters)
        opened.push_async_callback(pushes.close)

        to_device = ToDevice(pushes, rpc)
        claims = ClaimService(store, bus, self._counters, clock, settings.devices)
        provisioning = ProvisioningService(store, devices, self._refusal_log, self._counters, clock)
        life = DeviceLife(states, events)
        gateways = GatewayServices(
            devices=GatewayDevices(devices),
            presence=self._presence,
            to_device=to_device,
            ingest=ingest,
            now_ms=clock.now_ms,
            max_devices=settings.mqtt.max_gateway_devices,
            life=life,
        )
        bus.subscribe(DeviceUpdated, gateways.device_updated)
        connections = await self._open_mqtt(
            opened,
            store,
            ingest,
            attributes,
            ota,
            authentication,
            to_device,
            claims,
            provisioning,
            gateways,
            life,
        )
        services = Services(
            settings=settings.api,
            clock=clock,
            data_dir=settings.data_dir,
            local_secret=load_or_make_local_secret(settings.data_dir),
            store=store,
            devices=devices,
            profiles=profiles,
            users=users,
            accounts=UserAccounts(store, users, clock),
            customers=CustomerService(store, bus, clock),
            claims=claims,
            provisioning=provisioning,
            ingest=ingest,
            latest=LatestValues(store),
            series=SeriesService(store),
            attributes=attributes,
            ota=ota,
            device_states=states,
            device_events=events,
            rpc=rpc,
            bus=bus,
            refusal_log=self._refusal_log,
            presence=self._presence,
            counters=self._counters,
            trust_pem=lambda: certificate.trust_pem.encode(),
            addresses=self._listener_addresses,
            server_names=lambda: certificate.chain[0].alternative_names,
        )
        device_api = DeviceApiServices(
            settings=settings.http,
            authentication=authentication,
            limits=DeviceRequestLimits(
                self._rate_limiter, counters=self._counters, refusal_log=self._refusal_log, clock=clock
            ),
            ingest=ingest,
            attributes=attributes,
            pushes=pushes,
            rpc=rpc,
            polls=self._polls,
            claims=claims,
            provisioning=provisioning,
            downloads=ota.downloads,
            server_methods=connections.messages,
            counters=self._counters,
            clock=clock,
            note_activity=states.note_activity,
        )
        await self._open_http(opened, create_application(services, device_api), connections)
        opened.callback(self._polls.stop)
        opened.callback(rpc.stop_waiting)  # first of all: requests that wait for a device end with an answer

    async def _ensure_administrator(self, store: SqliteStore, users: UserService) -> None:
        tenant = await ensure_default_tenant(store, self._clock)
        settings = self._settings.api
        given = settings.admin_password
        first = await users.ensure_first_administrator(
            tenant.id, email=settings.admin_username, password=None if given is None else given.reveal()
        )
        if first is not None and first.generated_password is not None:
            self.first_administrator = (first.user.email, Secret(first.generated_password))

    async def _open_certificate(self, opened: AsyncExitStack) -> ServerCertificate:
        settings = self._settings
        self._server_certificate = certificate = await asyncio.to_thread(
            load_server_certificate, settings.tls, settings.data_dir
        )
        certificate.start_watching()
        opened.push_async_callback(certificate.stop_watching)
        return certificate

    async def _open_mqtt(
        self,
        opened: AsyncExitStack,
        store: SqliteStore,
        ingest: Ingest,
        attributes: AttributeService,
        ota: Ota,
        authentication: Authentication,
        to_device: ToDevice,
        claims: ClaimService,
        provisioning: ProvisioningService,
        gateways: GatewayServices,
        life: DeviceLife,
    ) -> ConnectionServices:
        settings, loop = self._settings, asyncio.get_running_loop()
        assert self._server_certificate is not None
        pool = HandshakePool(threads=settings.tls.handshake_threads)
        pool.start(loop)
        opened.push_async_callback(pool.stop)
        readiness = make_readiness(loop)
        opened.callback(readiness.close)
        wheel = DeadlineWheel()
        wheel.start()
        opened.push_async_callback(wheel.stop)
        if (malloc_trim := find_malloc_trim()) is not None:
            trimmer = HeapTrimmer(self._counters, malloc_trim)
            trimmer.start()
            opened.push_async_callback(trimmer.stop)
        transports = DeviceTransports(store, self._bus, lambda: list(self._mqtt_connections))
        opened.push_async_callback(transports.close)
        kept_sessions = KeptSessions(wheel, maximum=settings.mqtt.max_kept_sessions)
        # What a device proved itself with is gone: so is the session that it might come back to.
        self._bus.subscribe(CredentialsChanged, lambda m: kept_sessions.discard(m.device_id))
        self._bus.subscribe(DeviceRemoved, lambda m: kept_sessions.discard(m.device_id))
        services = ConnectionServices(
            loop=loop,
            readiness=readiness,
            wheel=wheel,
            authentication=authentication,
            refusal_log=self._refusal_log,
            presence=self._presence,
            life=life,
            messages=MessageServices(
                ingest=ingest,
                attributes=attributes,
                ota=ota.downloads,
                claims=claims,
                rate_limiter=self._rate_limiter,
                rpc=to_device.rpc,
                counters=self._counters,
                clock=self._clock,
                maximum_packet_size=settings.mqtt.maximum_packet_size,
                receive_maximum=settings.mqtt.receive_maximum,
            ),
            transports=transports,
            provisioning=ProvisioningDesk(provisioning, loop.time),
            to_device=to_device,
            kept_sessions=kept_sessions,
            gateways=gateways,
            limits=Limits(
                maximum_packet_size=settings.mqtt.maximum_packet_size,
                receive_maximum=settings.mqtt.receive_maximum,
                connect_timeout_s=settings.mqtt.connect_timeout_s,
                session_expiry_maximum=settings.mqtt.maximum_session_expiry_s,
            ),
            maximum_keep_alive_s=settings.mqtt.maximum_keep_alive_s,
            open_connections=self._mqtt_connections.of("https"),
        )
        listener_services = ListenerServices(
            loop=loop,
            readiness=readiness,
            wheel=wheel,
            refusal_log=self._refusal_log,
            counters=self._counters,
            clock=self._clock,
        )
        self._ports = ports = OpenPorts(listener_services, settings, self._server_certificate, pool)
        opened.push_async_callback(self._drain)
        listeners = settings.listeners
        for name, port, is_tls, kind in (
            ("mqtts", listeners.mqtts_port, True, MqttReception),
            ("mqtt", listeners.mqtt_port, False, MqttReception),
            ("wss", listeners.wss_port, True, WebSocketReception),
            ("ws", listeners.ws_port, False, WebSocketReception),
        ):
            if port is not None:
                own = msgspec.structs.replace(services, open_connections=self._mqtt_connections.of(name))
                reception = kind(
                    own, connections=self._mqtt_connections, max_connections=settings.mqtt.max_connections
                )
                self._receptions[name] = reception
                opened.callback(ports.open(name, port, reception, with_tls=is_tls).stop_accepting)
        self._counters.refused = self._refusal_log.counts
        gauges = self._counters.set_gauge
        gauges("connections_open", lambda: len(self._mqtt_connections))
        gauges("connections_by_listener", self._connections_by_listener)
        gauges("devices_connected", lambda: len(self._presence))
        gauges("device_requests_waiting", lambda: len(self._polls))
        gauges("sessions_kept", lambda: len(kept_sessions))
        gauges("handshakes_in_progress", ports.handshakes_in_progress)
        return services

    async def _open_http(
        self, opened: AsyncExitStack, application: ASGIApp, services: ConnectionServices
    ) -> None:
        listeners = self._settings.listeners
        self._http = HttpListener(
            application, services, self._settings.http, bind=listeners.bind, port=listeners.http_port
        )
        await self._http.start()
        opened.push_async_callback(self._http.stop)
        if listeners.https_port is not None:
            assert self._ports is not None
            listener = self._ports.open("https", listeners.https_port, self._http, with_tls=True)
            opened.callback(listener.stop_accepting)

    async def _drain(self) -> None:
        await asyncio.gather(*(each.drain(timeout_s=DRAIN_S) for each in self._receptions.values()))

    def _connections_by_listener(self) -> dict[str, float]:
        counts: dict[str, float] = {name: len(each) for name, each in self._receptions.items()}
        if self._http is not None:
            counts["http"] = self._http.open_connections
            if self._ports is not None and self._ports.find("https") is not None:
                counts["https"] = self._http.open_tls_connections
        return counts

    def _end_connections_on_news(self) -> None:
        """What a device proved itself with is gone: so is its connection (device API reference, 4)."""
        end = self._presence.end_device
        polls = self._polls
        self._bus.subscribe(CredentialsChanged, lambda m: polls.credentials_changed(m.device_id))
        self._bus.subscribe(DeviceRemoved, lambda m: polls.device_removed(m.device_id))
        self._bus.subscribe(CredentialsChanged, lambda m: end(m.device_id, CLOSE_CREDENTIALS_CHANGED))
        self._bus.subscribe(DeviceRemoved, lambda m: end(m.device_id, CLOSE_DEVICE_REMOVED))

    def _listener_addresses(self) -> list[ListenerAddress]:
        assert self._http is not None and self._ports is not None
        http = ListenerAddress("http", self._settings.listeners.bind, self._http.port)
        return [http, *(ListenerAddress(*each) for each in self._ports.list_addresses())]
