"""Which devices a gateway may speak for: device API reference, 2.11."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.unit.identity.examples import NOW_MS
from thingpass.bus.local import LocalBus
from thingpass.clock import ManualClock
from thingpass.devices.devices import DeviceService
from thingpass.devices.gateways import GatewayDevices, overwrites_activity
from thingpass.devices.tenants import new_profile
from thingpass.errors import Forbidden, Invalid
from thingpass.messaging.gateway_mark import is_gateway
from thingpass.store.rows import Device, Tenant
from thingpass.store.sqlite.store import SqliteStore

ONE, OTHER = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"


@pytest.fixture
def devices(store: SqliteStore, bus: LocalBus, clock: ManualClock) -> DeviceService:
    return DeviceService(store, bus, clock)


@pytest.fixture
def behind(devices: DeviceService) -> GatewayDevices:
    return GatewayDevices(devices)


@pytest.fixture
async def gateway(devices: DeviceService, tenant: Tenant) -> Device:
    return await devices.add(tenant.id, "gateway", additional_info_json='{"gateway":true}')


@pytest.mark.parametrize(
    ("info", "flags"),
    [
        (None, (False, False)),
        ('{"gateway":true}', (True, False)),
        ('{"gateway":true,"overwriteActivityTime":true}', (True, True)),
        ('{"gateway":"true","overwriteActivityTime":1}', (False, False)),
        ('[{"gateway":true}]', (False, False)),
        ("null", (False, False)),
    ],
)
def test_flags(info: str | None, flags: tuple[bool, bool]) -> None:
    device = Device(
        id="d",
        number=1,
        created_at_ms=0,
        tenant_id="t",
        profile_id="p",
        profile_name="default",
        name="n",
        additional_info_json=info,
    )
    assert (is_gateway(device), overwrites_activity(device)) == flags


async def test_an_unknown_device_is_made(behind: GatewayDevices, gateway: Device) -> None:
    made, is_new = await behind.find_or_add(gateway, "A", "pump")
    assert is_new
    assert (made.tenant_id, made.profile_name, made.customer_id) == (gateway.tenant_id, "pump", None)
    assert json.loads(made.additional_info_json or "") == {
        "lastConnectedGateway": gateway.id,
        "createdByGateway": gateway.id,
    }
    assert await behind.find_or_add(gateway, "A", "other") == (made, False)


async def test_a_known_device_is_only_noted(
    behind: GatewayDevices, devices: DeviceService, gateway: Device
) -> None:
    known = await devices.add(gateway.tenant_id, "A", label="L", additional_info_json='{"more":[1]}')
    found, is_new = await behind.find_or_add(gateway, "A", "pump")
    assert (found.id, found.profile_name, found.label, is_new) == (known.id, known.profile_name, "L", False)
    assert json.loads(found.additional_info_json or "") == {"more": [1], "lastConnectedGateway": gateway.id}
    again, _ = await behind.find_or_add(gateway, "A")
    assert again.version == found.version


@pytest.mark.parametrize("info", ["[1]", '"text"', "5"])
async def test_information_that_is_no_object_stays(
    behind: GatewayDevices, devices: DeviceService, gateway: Device, info: str
) -> None:
    await devices.add(gateway.tenant_id, "A", additional_info_json=info)
    found, _ = await behind.find_or_add(gateway, "A")
    assert found.additional_info_json == info


async def test_another_tenant_s_device_of_that_name_is_another(
    behind: GatewayDevices, devices: DeviceService, gateway: Device, store: SqliteStore
) -> None:
    other = Tenant(id=OTHER, created_at_ms=NOW_MS + 1, title="Other")
    await store.add_tenant(other, new_profile(other.id, "default", NOW_MS, is_default=True))
    theirs = await devices.add(other.id, "A")
    made, is_new = await behind.find_or_add(gateway, "A")
    assert is_new
    assert made.id != theirs.id
    assert await devices.get(other.id, theirs.id) == theirs


@pytest.mark.parametrize(
    ("of_gateway", "of_device", "allowed"),
    [(None, None, True), (None, ONE, True), (ONE, None, True), (ONE, ONE, True), (ONE, OTHER, False)],
)
async def test_customers(
    behind: GatewayDevices,
    devices: DeviceService,
    gateway: Device,
    of_gateway: str | None,
    of_device: str | None,
    allowed: bool,
) -> None:
    """A customer's gateway does not speak for another customer's devices; theirs stay as they are."""
    known = await devices.add(gateway.tenant_id, "A", customer_id=of_device)
    asking = msgspec.structs.replace(gateway, customer_id=of_gateway)
    if allowed:
        assert (await behind.find_or_add(asking, "A"))[0].customer_id == of_device
        assert (await behind.find_or_add(asking, "B"))[0].customer_id == of_gateway
    else:
        with pytest.raises(Forbidden):
            await behind.find_or_add(asking, "A")
        assert await devices.get(gateway.tenant_id, known.id) == known


@pytest.mark.parametrize("name", ["gateway", "", " ", "x" * 256, "<b>", "a\x00b"])
async def test_names_that_cannot_be(behind: GatewayDevices, gateway: Device, name: str) -> None:
    with pytest.raises(Invalid):
        await behind.find_or_add(gateway, name)


async def test_where_none_may_be_made(
    behind: GatewayDevices, devices: DeviceService, gateway: Device
) -> None:
    known = await devices.add(gateway.tenant_id, "A")
    assert (await behind.find_or_add(gateway, "A", may_add=False))[0].id == known.id
    with pytest.raises(Forbidden):
        await behind.find_or_add(gateway, "B", may_add=False)
