"""The REST application over the real parts: SQLite in a temporary directory, the bus, the services."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from fastapi import FastAPI

from thingpass.api.application import create_application
from thingpass.api.secret_files import load_or_make_local_secret
from thingpass.api.services import ListenerAddress, Services
from thingpass.bus.local import LocalBus
from thingpass.clock import ManualClock
from thingpass.devices.activation import UserAccounts
from thingpass.devices.claiming import ClaimService
from thingpass.devices.customers import CustomerService
from thingpass.devices.devices import DeviceService
from thingpass.devices.events import DeviceEvents
from thingpass.devices.ota import make_ota
from thingpass.devices.ota_checks import check_assignable
from thingpass.devices.profiles import ProfileService
from thingpass.devices.provisioning import ProvisioningService
from thingpass.devices.states import DeviceStateService
from thingpass.devices.tenants import ensure_default_tenant, new_profile
from thingpass.devices.users import UserService
from thingpass.identity.refusal_log import RefusalLog
from thingpass.messaging.presence import Presence
from thingpass.messaging.rpc import RpcService
from thingpass.metrics import Counters
from thingpass.settings import ApiSettings, DeviceSettings, OtaSettings
from thingpass.store.rows import Device, Tenant, User
from thingpass.store.sqlite.store import SqliteStore
from thingpass.telemetry.attributes import AttributeService
from thingpass.telemetry.ingest import Ingest
from thingpass.telemetry.latest import LatestValues
from thingpass.telemetry.series import SeriesService

ADMINISTRATOR = "admin@thingpass.local"
PASSWORD = "correct horse battery"
TRUST_PEM = b"-----BEGIN CERTIFICATE-----\nTRUST\n-----END CERTIFICATE-----\n"


@dataclass
class Api:
    """The application, its services, and clients to ask it as somebody or as nobody."""

    application: FastAPI
    services: Services
    clock: ManualClock
    tenant: Tenant
    other_tenant: Tenant
    nobody: httpx.AsyncClient
    admin: httpx.AsyncClient

    def client(self, address: str = "192.0.2.1", **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.application, client=(address, 40_000))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.AsyncClient(
            transport=transport, base_url="http://gateway.example.org:8080", headers=named
        )

    async def add_device(self, name: str = "Pump 1", **members: object) -> dict[str, object]:
        answer = await self.admin.post("/api/device", json={"name": name, **members})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def add_foreign_device(self, name: str = "Foreign") -> Device:
        return await self.services.devices.add(self.other_tenant.id, name)


def administrator(tenant_id: str, now_ms: int) -> User:
    """With a password hash that costs a thousandth of a real one; a PHC string says its own cost."""
    weak = Argon2id(salt=b"0123456789abcdef", length=32, iterations=1, lanes=1, memory_cost=8)
    return User(
        id=str(uuid.uuid4()),
        created_at_ms=now_ms,
        tenant_id=tenant_id,
        authority="TENANT_ADMIN",
        email=ADMINISTRATOR,
        password_hash=weak.derive_phc_encoded(PASSWORD.encode()),
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def api(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Api]:
    store, bus = SqliteStore(tmp_path / "data", synchronous="normal"), LocalBus()
    await store.open()
    tenant = await ensure_default_tenant(store, clock)
    other = Tenant(id=str(uuid.uuid4()), created_at_ms=clock.now_ms() + 1, title="Other")
    await store.add_tenant(other, new_profile(other.id, "default", clock.now_ms(), is_default=True))
    users = UserService(store, clock)
    await store.add_user(administrator(tenant.id, clock.now_ms()))
    counters, refusal_log, devices = Counters(), RefusalLog(), DeviceService(store, bus, clock)
    ingest = Ingest(store)
    await ingest.start()
    profiles = ProfileService(store, bus, clock, check_package=partial(check_assignable, store))
    ota = make_ota(
        OtaSettings(maximum_package_bytes=1_000_000),
        store=store,
        devices=devices,
        profiles=profiles,
        ingest=ingest,
        bus=bus,
        clock=clock,
        counters=counters,
    )
    rpc = RpcService(store, clock, counters, kept_for_s=3600)
    events = DeviceEvents(store, bus, clock, DeviceSettings())
    rpc = RpcService(store, clock, counters := Counters(), kept_for_s=3600)
    services = Services(
        settings=ApiSettings(),
        clock=clock,
        data_dir=tmp_path / "data",
        local_secret=load_or_make_local_secret(tmp_path / "data"),
        store=store,
        devices=devices,
        profiles=profiles,
        users=users,
        accounts=UserAccounts(store, users, clock),
        customers=CustomerService(store, bus, clock),
        claims=ClaimService(store, bus, counters, clock, DeviceSettings()),
        provisioning=ProvisioningService(store, devices, refusal_log, counters, clock),
        ingest=ingest,
        latest=LatestValues(store),
        series=SeriesService(store),
        ota=ota,
        device_states=DeviceStateService(store, bus, clock, events, DeviceSettings()),
        device_events=events,
        attributes=AttributeService(store, clock, bus=bus),
        rpc=rpc,
        bus=bus,
        refusal_log=refusal_log,
        presence=Presence(),
        counters=counters,
        trust_pem=lambda: TRUST_PEM,
        addresses=lambda: [
            ListenerAddress("http", "0.0.0.0", 8080),
            ListenerAddress("https", "0.0.0.0", 8443),
            ListenerAddress("mqtts", "0.0.0.0", 8883),
            ListenerAddress("mqtt", "127.0.0.1", 1883),
        ],
        server_names=lambda: ["gateway.example.org", "localhost"],
    )
    application = create_application(services)
    made = Api(application, services, clock, tenant, other, nobody=None, admin=None)  # type: ignore[arg-type]  # below
    made.nobody = made.client()
    made.admin = made.client("127.0.0.1", X_Authorization=f"Local {services.local_secret}")
    yield made
    await made.nobody.aclose()
    await made.admin.aclose()
    await ota.stop()
    await rpc.close()
    await ingest.stop()
    await bus.close()
    await store.close()


@pytest.fixture
async def tokens(api: Api) -> dict[str, str]:
    """A fresh login's pair."""
    answer = await api.nobody.post("/api/auth/login", json={"username": ADMINISTRATOR, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
async def user(api: Api, tokens: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client(X_Authorization=f"Bearer {tokens['token']}") as client:
        yield client
