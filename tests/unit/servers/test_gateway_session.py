"""The devices behind a gateway, without a socket: what other parts hear of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from thingpass.bus.local import LocalBus
from thingpass.clock import ManualClock
from thingpass.devices.devices import DeviceService
from thingpass.devices.events import LastWill
from thingpass.devices.gateways import GatewayDevices
from thingpass.devices.states import Link
from thingpass.devices.tenants import ensure_default_tenant
from thingpass.errors import Unavailable
from thingpass.messaging.presence import CLOSE_TAKEN_OVER, Connection, Presence
from thingpass.messaging.pushes import AttributePushes
from thingpass.messaging.rpc import RpcService
from thingpass.metrics import Counters
from thingpass.mqtt.properties import Properties
from thingpass.servers.connection_ends import End
from thingpass.servers.gateway_session import GatewayServices, GatewaySession
from thingpass.servers.mqtt_device_session import ToDevice
from thingpass.store.rows import Device
from thingpass.store.sqlite.store import SqliteStore
from thingpass.telemetry.attributes import AttributeService
from thingpass.telemetry.ingest import Ingest

NOW_MS = 1_767_225_600_000


class Wire:
    """A connection that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.heard_at = 1.0
        self.now = 10.0
        self.speaks_mqtt5 = True
        self.open = True
        self.work: list[asyncio.Task[None]] = []

    def time(self) -> float:
        return self.now

    def can_send(self) -> bool:
        return self.open

    def publish_to_device(
        self,
        topic: str,
        payload: bytes,
        *,
        properties: Properties | None = None,
        expires_at: float | None = None,
        qos: int | None = None,
    ) -> int | None:
        if not self.open:
            return None
        self.sent.append((topic, payload))
        return len(self.sent)

    def run_in_order(self, work: Coroutine[Any, Any, None]) -> None:
        self.work.append(asyncio.get_running_loop().create_task(work))


class Life:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def came(self, connection: Connection, link: Link, *, resumed: bool) -> None:
        self.heard.append((connection.device_name, "came"))

    def left(self, connection: Connection, link: Link, end: End, seen: str, will: LastWill | None) -> None:
        self.heard.append((connection.device_name, end.code))


class House:
    """The parts that a gateway's session works with, all real but the connection."""

    def __init__(self, store: SqliteStore, devices: DeviceService, gateway: Device, bus: LocalBus) -> None:
        clock, counters = ManualClock(NOW_MS), Counters()
        attributes = AttributeService(store, clock, bus=bus)
        self.rpc = RpcService(store, clock, counters, kept_for_s=60)
        self.pushes = AttributePushes(attributes.find_shared, bus, counters)
        self.presence = Presence()
        self.life = Life()
        self.link = Wire()
        self.services = GatewayServices(
            devices=GatewayDevices(devices),
            presence=self.presence,
            to_device=ToDevice(self.pushes, self.rpc),
            ingest=Ingest(store, counters=counters),
            now_ms=clock.now_ms,
            max_devices=3,
            life=self.life,
        )
        self.gateway = gateway
        self.session = GatewaySession(self.services, self.link, gateway, connection_of(gateway))

    async def close(self) -> None:
        self.session.close()
        await self.pushes.close()
        await self.rpc.close()


def connection_of(device: Device) -> Connection:
    return Connection(
        id=1,
        device_id=device.id,
        device_name=device.name,
        tenant_id=device.tenant_id,
        credentials_kind="ACCESS_TOKEN",
        credentials_id="x",
        fingerprint_sha256=None,
        listener="mqtts",
        peer_address="192.0.2.7",
        peer_port=1,
        protocol="MQTT 5.0",
        tls_version=None,
        cipher=None,
        key_exchange_group=None,
        resumed=False,
        client_id="c",
        connected_at_ms=0,
    )


@pytest.fixture
async def house(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    clock, bus = ManualClock(NOW_MS), LocalBus()
    store = SqliteStore(tmp_path / "data", synchronous="normal", clock=clock)
    await store.open()
    tenant = await ensure_default_tenant(store, clock)
    devices = DeviceService(store, bus, clock)
    info = getattr(request, "param", '{"gateway":true}')
    gateway = await devices.add(tenant.id, "gateway", additional_info_json=info)
    made = House(store, devices, gateway, bus)
    yield made
    await made.close()
    await bus.close()
    await store.close()


async def test_comings_and_goings_are_told(house: House) -> None:
    session = house.session
    sub_device = await session.connect("A")
    assert await session.connect("A") is sub_device
    await session.connect("B")
    other = await session.connect("C")
    session.disconnect("A")
    session.disconnect("A")
    other.end(CLOSE_TAKEN_OVER)
    other.end(CLOSE_TAKEN_OVER)
    session.close()
    assert house.life.heard == [
        ("A", "came"),
        ("B", "came"),
        ("C", "came"),
        ("A", "gateway-said-goodbye"),
        ("C", "taken-over"),
        ("B", "gateway-left"),
    ]
    assert house.link.sent == [("v1/gateway/disconnect", b'{"device":"C","reason":142}')]
    assert len(house.presence) == 0
    assert (house.services.sessions, house.services.sub_devices) == ({}, {})


async def test_nothing_begins_after_the_end(house: House) -> None:
    house.session.close()
    with pytest.raises(Unavailable):
        await house.session.connect("A")
    assert len(house.presence) == 0


@pytest.mark.parametrize(
    ("house", "counts"),
    [('{"gateway":true}', False), ('{"gateway":true,"overwriteActivityTime":true}', True)],
    indirect=["house"],
)
async def test_when_a_device_was_heard(house: House, counts: bool) -> None:
    sub_device = await house.session.connect("A")
    assert sub_device.heard_at == 10.0
    house.link.heard_at = 20.0  # a ping of the gateway
    assert sub_device.heard_at == (20.0 if counts else 10.0)


async def test_a_call_is_followed_to_its_acknowledgement(house: House) -> None:
    sub_device = await house.session.connect("A")
    calling = asyncio.create_task(house.rpc.call(sub_device.device.id, "m", "1", oneway=True, timeout_s=10))
    await asyncio.sleep(0)
    ((topic, payload),) = house.link.sent
    assert topic == "v1/gateway/rpc"
    assert payload.startswith(b'{"device":"A","data":{"id":')
    assert not calling.done()
    house.session.delivered(1, 0)
    assert await calling is None


async def test_a_call_that_cannot_be_sent_is_not_taken(house: House) -> None:
    sub_device = await house.session.connect("A")
    house.link.open = False
    calling = asyncio.create_task(house.rpc.call(sub_device.device.id, "m", "1", oneway=True, timeout_s=10))
    await asyncio.sleep(0)
    assert not calling.done()
    assert house.link.sent == []
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)


async def test_later_messages_wait_for_earlier_ones(house: House) -> None:
    await house.session.connect("A")
    assert house.session.knows(["A"])
    assert not house.session.knows(["A", "B"])
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()

    house.session.run_in_order(work)
    assert not house.session.knows(["A"])
    go_on.set()
    await asyncio.gather(*house.link.work)
    assert house.session.knows(["A"])
