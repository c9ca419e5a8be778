"""How profiles become transports, and how connections hear of a change. The store and the bus are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from thingpass.bus.local import LocalBus
from thingpass.bus.messages import ProfileChanged
from thingpass.clock import ManualClock
from thingpass.devices.devices import DeviceService
from thingpass.devices.profiles import ProfileService
from thingpass.devices.tenants import ensure_default_tenant
from thingpass.errors import Unavailable
from thingpass.servers.device_transport import DeviceTransport
from thingpass.servers.device_transports import DEFAULT, DeviceTransports, compile_transport
from thingpass.servers.payload_codecs import JSON
from thingpass.store.rows import Device, DeviceProfile
from thingpass.store.sqlite.store import SqliteStore


@dataclass(eq=False)
class FakeConnection:
    """Stands for a socket: what is tested is who is told."""

    device_or_none: Device | None
    transport: DeviceTransport = DEFAULT
    told: int = 0

    def follow(self, device: Device, transport: DeviceTransport) -> None:
        self.device_or_none, self.transport, self.told = device, transport, self.told + 1


@dataclass
class House:
    store: SqliteStore
    bus: LocalBus
    tenant_id: str
    profiles: ProfileService
    devices: DeviceService
    transports: DeviceTransports
    connections: set[FakeConnection] = field(default_factory=set)

    def profile(self, name: str, **fields: object) -> DeviceProfile:
        return DeviceProfile(
            **{
                "id": "",
                "created_at_ms": 0,
                "tenant_id": self.tenant_id,
                "name": name,
                "is_default": False,
                "transport_type": "MQTT",
                "transport_json": '{"deviceTelemetryTopic":"my/data"}',
                **fields,
            }
        )

    async def settled(self) -> None:
        if self.transports._telling is not None:
            await self.transports._telling


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store, bus, clock = SqliteStore(tmp_path / "data", synchronous="normal"), LocalBus(), ManualClock()
    await store.open()
    tenant = await ensure_default_tenant(store, clock)
    connections: set[FakeConnection] = set()
    transports = DeviceTransports(store, bus, lambda: list(connections))
    yield House(
        store,
        bus,
        tenant.id,
        ProfileService(store, bus, clock),
        DeviceService(store, bus, clock),
        transports,
        connections,
    )
    await transports.close()
    await bus.close()
    await store.close()


async def test_profile_without_wishes_shares_the_default(house: House) -> None:
    default = await house.store.get_default_profile(house.tenant_id)
    assert house.transports.find(default.id) is None
    assert await house.transports.load(default.id) is DEFAULT
    assert house.transports.find(default.id) is DEFAULT
    plain = await house.profiles.add(house.profile("plain", transport_json="{}"))
    assert await house.transports.load(plain.id) is DEFAULT


async def test_devices_of_a_profile_share_its_transport(house: House) -> None:
    profile = await house.profiles.add(house.profile("pump"))
    first = await house.transports.load(profile.id)
    assert "my/data" in first.routes
    assert await house.transports.load(profile.id) is first is house.transports.find(profile.id)


async def test_what_was_loaded_is_found_at_once(house: House) -> None:
    """Also by who asks when the reading has just ended: it would ask again and again, and never wait."""
    profile = await house.profiles.add(house.profile("pump"))

    async def ask(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        transport = await house.transports.load(profile.id)
        assert house.transports.find(profile.id) is transport

    await asyncio.gather(*(ask(turns) for turns in range(20)))


async def test_profile_that_is_gone_is_as_the_default(house: House) -> None:
    assert await house.transports.load("gone") is DEFAULT


async def test_profile_is_read_once_however_many_ask(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = count_reads(house, monkeypatch)
    profile = await house.profiles.add(house.profile("pump"))
    reads.clear()
    transports = await asyncio.gather(*(house.transports.load(profile.id) for _ in range(50)))
    assert len({id(transport) for transport in transports}) == 1
    assert reads == [profile.id]


async def test_what_was_read_while_it_changed_is_not_kept(house: House) -> None:
    profile = await house.profiles.add(house.profile("pump"))
    asked = asyncio.create_task(house.transports.load(profile.id))
    await asyncio.sleep(0)
    house.bus.publish(ProfileChanged(profile_id=profile.id))
    await asked
    assert house.transports.find(profile.id) is None


async def test_store_that_does_not_answer_is_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = await house.profiles.add(house.profile("pump"))

    async def fail(_profile_id: str) -> DeviceProfile | None:
        raise Unavailable("The store is away.")

    with monkeypatch.context() as patched:
        patched.setattr(house.store, "find_profile", fail)
        with pytest.raises(Unavailable):
            await house.transports.load(profile.id)
    assert "my/data" in (await house.transports.load(profile.id)).routes


def count_reads(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of profiles that the store is asked for."""
    reads: list[str] = []
    find = house.store.find_profile

    async def counted(profile_id: str) -> DeviceProfile | None:
        reads.append(profile_id)
        return await find(profile_id)

    monkeypatch.setattr(house.store, "find_profile", counted)
    return reads


async def test_profile_that_cannot_be_read_is_as_the_default(house: House) -> None:
    for text in ("nonsense", '{"sparkplug":true}', '{"deviceTelemetryTopic":5}'):
        assert await compile_transport(house.profile("x", transport_json=text)) is DEFAULT


async def test_flags_of_protobuf(house: House) -> None:
    def text(**flags: bool) -> str:
        payload = {"transportPayloadType": "PROTOBUF", **flags}
        return msgspec.json.encode({"transportPayloadTypeConfiguration": payload}).decode()

    plain = await compile_transport(house.profile("x", transport_json=text()))
    assert plain.up is plain.down is plain.down_v1 is plain.protobuf
    both = await compile_transport(
        house.profile("x", transport_json=text(enableCompatibilityWithJsonPayloadFormat=True))
    )
    assert both.up is not both.down
    assert both.down is both.down_v1 is both.protobuf
    json_down = {"useJsonPayloadFormatForDefaultDownlinkTopics": True}
    flags = text(enableCompatibilityWithJsonPayloadFormat=True, **json_down)
    assert (await compile_transport(house.profile("x", transport_json=flags))).down_v1 is JSON
    # As in ThingsBoard, the second flag does not count without the first.
    ignored = await compile_transport(house.profile("x", transport_json=text(**json_down)))
    assert ignored.down_v1 is ignored.protobuf


async def test_changed_profile_is_told_to_its_connections_alone(house: House) -> None:
    profile = await house.profiles.add(house.profile("pump"))
    pump = await house.devices.add(house.tenant_id, "pump 1", profile_name="pump")
    other = await house.devices.add(house.tenant_id, "other")
    concerned, unconcerned, nobody = FakeConnection(pump), FakeConnection(other), FakeConnection(None)
    house.connections.update((concerned, unconcerned, nobody))
    await house.profiles.update(
        msgspec.structs.replace(profile, transport_json='{"deviceTelemetryTopic":"new/data"}')
    )
    await house.settled()
    assert "new/data" in concerned.transport.routes
    assert (concerned.told, unconcerned.told, nobody.told) == (1, 0, 0)


async def test_many_changes_are_one_walk(house: House) -> None:
    profile = await house.profiles.add(house.profile("pump"))
    connections = [
        FakeConnection(await house.devices.add(house.tenant_id, f"device {number}")) for number in range(20)
    ]
    house.connections.update(connections)
    for connection in connections:
        assert connection.device_or_none is not None
        moved = msgspec.structs.replace(connection.device_or_none, profile_id=profile.id)
        await house.devices.update(house.tenant_id, moved)
    await house.settled()
    for connection in connections:
        assert connection.device_or_none is not None
        assert (connection.device_or_none.profile_id, connection.told) == (profile.id, 1)
        assert "my/data" in connection.transport.routes


async def test_change_of_a_name_tells_nobody(house: House) -> None:
    device = await house.devices.add(house.tenant_id, "pump 1")
    connection = FakeConnection(device)
    house.connections.add(connection)
    await house.devices.update(house.tenant_id, msgspec.structs.replace(device, name="pump 2"))
    await house.settled()
    assert connection.told == 0
