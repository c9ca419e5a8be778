"""Saving devices: REST reference, 3.3."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.unit.identity.examples import NOW_MS
from thingpass.bus.local import LocalBus
from thingpass.bus.messages import CredentialsChanged, DeviceRemoved, DeviceUpdated, Message
from thingpass.clock import ManualClock
from thingpass.devices.devices import DeviceService, new_access_token
from thingpass.devices.tenants import ensure_default_tenant, new_profile
from thingpass.errors import AlreadyExists, Invalid, NotFound, ThingpassError
from thingpass.store.rows import CREDENTIALS_ACCESS_TOKEN, Tenant
from thingpass.store.sqlite.store import SqliteStore


@pytest.fixture
def devices(store: SqliteStore, bus: LocalBus, clock: ManualClock) -> DeviceService:
    return DeviceService(store, bus, clock)


@pytest.fixture
async def other_tenant(store: SqliteStore, tenant: Tenant) -> Tenant:
    other = Tenant(id="11111111-0000-4000-8000-000000000000", created_at_ms=NOW_MS + 1, title="Other")
    await store.add_tenant(other, new_profile(other.id, "default", NOW_MS, is_default=True))
    return other


@pytest.fixture
def heard(bus: LocalBus) -> list[Message]:
    messages: list[Message] = []
    for kind in (CredentialsChanged, DeviceUpdated, DeviceRemoved):
        bus.subscribe(kind, messages.append)
    return messages


async def test_the_first_tenant_is_made_once(store: SqliteStore, clock: ManualClock) -> None:
    tenant = await ensure_default_tenant(store, clock)
    clock.advance(10)
    assert await ensure_default_tenant(store, clock) == tenant
    profile = await store.get_default_profile(tenant.id)
    assert (profile.name, profile.is_default) == ("default", True)


class TestAdd:
    async def test_a_device_gets_the_default_profile_and_a_random_token(
        self, devices: DeviceService, tenant: Tenant
    ) -> None:
        device = await devices.add(
            tenant.id, "Pump 1", label="north", additional_info_json='{"gateway":false}'
        )
        assert (device.name, device.label, device.profile_name) == ("Pump 1", "north", "default")
        assert device.number > 0
        assert (device.created_at_ms, device.version) == (NOW_MS, 1)
        assert await devices.get(tenant.id, device.id) == device
        assert await devices.find_by_name(tenant.id, "Pump 1") == device
        credentials = await devices.credentials(tenant.id, device.id)
        assert credentials.kind == CREDENTIALS_ACCESS_TOKEN
        assert len(credentials.credentials_id) == 20
        assert credentials.credentials_id.isalnum()
        assert credentials.credentials_value is None

    async def test_tokens_are_random(self) -> None:
        assert len({new_access_token() for _ in range(100)}) == 100

    async def test_a_given_token_is_taken_and_known_at_once(
        self, devices: DeviceService, tenant: Tenant, heard: list[Message]
    ) -> None:
        device = await devices.add(tenant.id, "Pump 1", access_token="A1_TEST_TOKEN")
        assert (await devices.credentials(tenant.id, device.id)).credentials_id == "A1_TEST_TOKEN"
        assert heard == [CredentialsChanged(device_id=device.id, credentials_ids=("A1_TEST_TOKEN",))]

    async def test_an_unknown_profile_is_made(
        self, devices: DeviceService, tenant: Tenant, store: SqliteStore
    ) -> None:
        first = await devices.add(tenant.id, "a", profile_name="pump")
        second = await devices.add(tenant.id, "b", profile_name="pump")
        assert first.profile_id == second.profile_id
        assert {profile.name for profile in await store.list_profiles(tenant.id)} == {"default", "pump"}

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"name": ""}, "Device name should be specified!"),
            ({"name": "  "}, "Device name should be specified!"),
            ({"name": "a\x00b"}, "Device name should not contain 0x00 symbol!"),
            ({"name": "x" * 256}, "Validation error: name length must be equal or less than 255"),
            ({"name": "<b>x</b>"}, "Validation error: name is malformed"),
            ({"label": "x" * 256}, "Validation error: label length must be equal or less than 255"),
            ({"profile_name": "x" * 256}, "Validation error: type length must be equal or less than 255"),
            ({"access_token": ""}, "Device credentials id should be specified!"),
            ({"access_token": "a\nb"}, "credentialsId must not contain control characters!"),
        ],
    )
    async def test_messages_are_thingsboards(
        self, devices: DeviceService, tenant: Tenant, fields: dict[str, str], message: str
    ) -> None:
        with pytest.raises(Invalid) as caught:
            await devices.add(tenant.id, **{"name": "Pump 1", **fields})
        assert caught.value.sentence == message

    @pytest.mark.parametrize("name", ["a < b", "x<5", "ü / 泵 1", "x" * 255])
    async def test_names_that_only_look_odd_are_taken(
        self, devices: DeviceService, tenant: Tenant, name: str
    ) -> None:
        assert (await devices.add(tenant.id, name)).name == name

    async def test_a_taken_name_is_refused_in_this_tenant_only(
        self, devices: DeviceService, tenant: Tenant, other_tenant: Tenant
    ) -> None:
        await devices.add(tenant.id, "Pump 1")
        with pytest.raises(AlreadyExists, match="Device with such name already exists!"):
            await devices.add(tenant.id, "Pump 1")
        await devices.add(other_tenant.id, "Pump 1")
        await devices.add(tenant.id, "pump 1")

    async def test_a_taken_token_is_refused_by_name_in_this_tenant_only(
        self, devices: DeviceService, tenant: Tenant, other_tenant: Tenant
    ) -> None:
        await devices.add(tenant.id, "Pump 1", access_token="token")
        already = "Device credentials are already assigned to another device!"
        with pytest.raises(AlreadyExists) as caught:
            await devices.add(tenant.id, "Pump 2", access_token="token")
        assert caught.value.sentence == f"{already} They are those of device 'Pump 1'."
        with pytest.raises(AlreadyExists) as caught:
            await devices.add(other_tenant.id, "Pump 2", access_token="token")
        assert caught.value.sentence == already
        assert await devices.find_by_name(tenant.id, "Pump 2") is None

    async def test_of_many_at_once_one_wins(self, devices: DeviceService, tenant: Tenant) -> None:
        added = await asyncio.gather(
            *(devices.add(tenant.id, "Pump 1", profile_name="new") for _ in range(10)), return_exceptions=True
        )
        assert sum(isinstance(each, AlreadyExists) for each in added) == 9
        tokens = await asyncio.gather(
            *(devices.add(tenant.id, f"T{n}", access_token="same") for n in range(10)), return_exceptions=True
        )
        lost = [each for each in tokens if isinstance(each, AlreadyExists)]
        assert len(lost) == 9
        assert all("already" in each.sentence for each in lost)


class TestUpdate:
    async def test_name_label_profile_and_information_change(
        self, devices: DeviceService, tenant: Tenant, heard: list[Message]
    ) -> None:
        device = await devices.add(tenant.id, "Pump 1", label="north")
        heard.clear()
        wanted = msgspec.structs.replace(
            device, name="Pump 2", label=None, profile_name="pump", additional_info_json="{}"
        )
        updated = await devices.update(tenant.id, wanted)
        assert (updated.name, updated.label, updated.profile_name) == ("Pump 2", None, "pump")
        assert (updated.version, updated.number) == (2, device.number)
        assert heard == [DeviceUpdated(device_id=device.id, profile_changed=True)]
        assert await devices.get(tenant.id, device.id) == updated

    async def test_what_belongs_to_the_server_does_not_change(
        self, devices: DeviceService, tenant: Tenant
    ) -> None:
        device = await devices.add(tenant.id, "Pump 1")
        wanted = msgspec.structs.replace(device, number=99, created_at_ms=0, tenant_id="x", profile_name="")
        updated = await devices.update(tenant.id, wanted)
        assert updated == msgspec.structs.replace(device, version=2)

    async def test_the_profile_may_be_chosen_by_id(
        self, devices: DeviceService, tenant: Tenant, other_tenant: Tenant, store: SqliteStore
    ) -> None:
        device = await devices.add(tenant.id, "Pump 1")
        pump = await devices.add(tenant.id, "Pump 2", profile_name="pump")
        updated = await devices.update(tenant.id, msgspec.structs.replace(device, profile_id=pump.profile_id))
        assert updated.profile_name == "pump"
        foreign = (await store.get_default_profile(other_tenant.id)).id
        for profile_id, message in (
            ("22222222-0000-4000-8000-000000000000", "Device is referencing non existing device profile!"),
            (foreign, "Device is referencing non existing device profile!"),
        ):
            with pytest.raises(Invalid) as caught:
                await devices.update(tenant.id, msgspec.structs.replace(updated, profile_id=profile_id))
            assert caught.value.sentence == message

    async def test_a_stale_version_is_a_conflict(self, devices: DeviceService, tenant: Tenant) -> None:
        device = await devices.add(tenant.id, "Pump 1")
        await devices.update(tenant.id, device)
        with pytest.raises(ThingpassError) as caught:
            await devices.update(tenant.id, device)
        assert caught.value.code == "version-conflict"

    async def test_a_taken_name_is_refused_and_its_own_is_not(
        self, devices: DeviceService, tenant: Tenant
    ) -> None:
        device = await devices.add(tenant.id, "Pump 1")
        await devices.add(tenant.id, "Pump 2")
        with pytest.raises(AlreadyExists, match="such name"):
            await devices.update(tenant.id, msgspec.structs.replace(device, name="Pump 2"))
        await devices.update(tenant.id, device)

    async def test_another_tenants_device_is_not_found(
        self, devices: DeviceService, tenant: Tenant, other_tenant: Tenant
    ) -> None:
        device = await devices.add(tenant.id, "Pump 1")
        not_found = f"Device with id [{device.id}] is not found"
        for attempt in (
            devices.get(other_tenant.id, device.id),
            devices.update(other_tenant.id, device),
            devices.remove(other_tenant.id, device.id),
            devices.credentials(other_tenant.id, device.id),
            devices.save_credentials(other_tenant.id, await devices.credentials(tenant.id, device.id)),
        ):
            with pytest.raises(NotFound) as caught:
                await attempt
            assert caught.value.sentence == not_found
        assert await devices.find_by_name(other_tenant.id, "Pump 1") is None
        assert (await devices.list(other_tenant.id, limit=10)).total == 0


async def test_removing_takes_the_credentials_with_it(
    devices: DeviceService, tenant: Tenant, heard: list[Message]
) -> None:
    device = await devices.add(tenant.id, "Pump 1", access_token="token")
    heard.clear()
    await devices.remove(tenant.id, device.id)
    assert heard == [DeviceRemoved(device_id=device.id, credentials_ids=("token",))]
    with pytest.raises(NotFound):
        await devices.remove(tenant.id, device.id)
    await devices.add(tenant.id, "Pump 1", access_token="token")


async def test_pages_are_those_of_the_tenant(
    devices: DeviceService, tenant: Tenant, other_tenant: Tenant
) -> None:
    for name in "cab":
        await devices.add(tenant.id, name, label="x")
    await devices.add(other_tenant.id, "d")
    page = await devices.list(tenant.id, limit=2, sort_by="name")
    assert ([row.name for row in page.rows], page.total) == (["a", "b"], 3)
    page = await devices.list(tenant.id, limit=2, offset=2, sort_by="name", text_search="X")
    assert [row.name for row in page.rows] == ["c"]
