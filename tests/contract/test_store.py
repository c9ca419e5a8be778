"""What every store promises, run against each implementation of `store.store.Store`."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from thingpass.errors import AlreadyExists, Invalid, NotFound, ThingpassError, Unavailable
from thingpass.store.rows import (
    CREDENTIALS_ACCESS_TOKEN,
    CREDENTIALS_X509,
    OTA_FIRMWARE,
    OTA_SOFTWARE,
    Activation,
    Attribute,
    Claim,
    Credentials,
    Customer,
    DataPoint,
    Device,
    DeviceEvent,
    DeviceProfile,
    DeviceStateChange,
    JsonText,
    OtaAnnouncement,
    OtaData,
    OtaPackage,
    RpcCall,
    Tenant,
    User,
    Value,
)
from thingpass.store.samples import encode_sample
from thingpass.store.sqlite.store import SqliteStore
from thingpass.store.store import Store

STORES: dict[str, Callable[[Path], Store]] = {"sqlite": SqliteStore}

_numbers = itertools.count(1)


def new_id() -> str:
    return f"00000000-0000-4000-8000-{next(_numbers):012x}"


class Registry:
    """A store with one tenant, and short ways to add to it."""

    def __init__(self, store: Store, tenant: Tenant, profile: DeviceProfile) -> None:
        self.store = store
        self.tenant = tenant
        self.profile = profile

    def device(self, name: str, **fields: object) -> Device:
        profile = {"profile_id": self.profile.id, "profile_name": self.profile.name}
        return Device(
            id=new_id(),
            number=0,
            created_at_ms=1_000 + next(_numbers),
            tenant_id=self.tenant.id,
            name=name,
            **(profile | fields),
        )

    def credentials(self, device: Device, credentials_id: str) -> Credentials:
        return Credentials(
            id=new_id(),
            created_at_ms=device.created_at_ms,
            device_id=device.id,
            kind=CREDENTIALS_ACCESS_TOKEN,
            credentials_id=credentials_id,
        )

    async def add(self, name: str, token: str | None = None, **fields: object) -> Device:
        device = self.device(name, **fields)
        return await self.store.add_device(device, self.credentials(device, token or f"token of {name}"))

    async def add_customer(self, title: str, **fields: object) -> Customer:
        customer = Customer(
            id=new_id(), created_at_ms=next(_numbers), tenant_id=self.tenant.id, title=title, **fields
        )
        await self.store.add_customer(customer)
        return customer


def new_tenant() -> tuple[Tenant, DeviceProfile]:
    tenant = Tenant(id=new_id(), created_at_ms=next(_numbers), title="Tenant")
    profile = DeviceProfile(
        id=new_id(), created_at_ms=next(_numbers), tenant_id=tenant.id, name="default", is_default=True
    )
    return tenant, profile


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = STORES[request.param](tmp_path / "data")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def registry(store: Store) -> Registry:
    tenant, profile = new_tenant()
    await store.add_tenant(tenant, profile)
    return Registry(store, tenant, profile)


async def append(store: Store, number: int, *samples: tuple[int, dict[str, Value]]) -> None:
    await store.append_samples([(number, encode_sample(ts_ms, values)) for ts_ms, values in samples])


class TestTenants:
    async def test_tenant_is_listed_with_its_default_profile(self, registry: Registry) -> None:
        assert await registry.store.list_tenants() == (registry.tenant,)
        assert await registry.store.get_default_profile(registry.tenant.id) == registry.profile

    async def test_profiles_are_found_by_id_and_name(self, registry: Registry) -> None:
        meter = DeviceProfile(
            id=new_id(), created_at_ms=5, tenant_id=registry.tenant.id, name="Meter", is_default=False
        )
        await registry.store.add_profile(meter)
        assert await registry.store.find_profile(meter.id) == meter
        assert await registry.store.find_profile_by_name(registry.tenant.id, "Meter") == meter
        assert await registry.store.find_profile_by_name(registry.tenant.id, "meter") is None
        names = [(profile.id, profile.name) for profile in (registry.profile, meter)]
        listed = await registry.store.list_profiles(registry.tenant.id)
        assert [(row.id, row.name) for row in listed] == names
        assert {row.tenant_id for row in listed} == {registry.tenant.id}
        assert await registry.store.list_profiles(registry.tenant.id, used_only=True) == ()
        await registry.add("boiler", profile_id=meter.id)
        assert await registry.store.list_profiles(registry.tenant.id, used_only=True) == listed[1:]

    async def test_profile_name_is_taken_once_in_a_tenant(self, registry: Registry) -> None:
        twin = msgspec.structs.replace(registry.profile, id=new_id(), is_default=False)
        with pytest.raises(AlreadyExists) as caught:
            await registry.store.add_profile(twin)
        assert caught.value.constraint == "device_profiles.name"

    async def test_second_default_profile_is_refused(self, registry: Registry) -> None:
        other = msgspec.structs.replace(registry.profile, id=new_id(), name="other")
        with pytest.raises(AlreadyExists) as caught:
            await registry.store.add_profile(other)
        assert caught.value.constraint == "device_profiles.default"

    async def test_unknown_tenant_has_no_default_profile(self, store: Store) -> None:
        with pytest.raises(NotFound):
            await store.get_default_profile(new_id())

    async def test_profile_of_an_unknown_tenant_is_refused(self, store: Store) -> None:
        _, profile = new_tenant()
        with pytest.raises(Invalid):
            await store.add_profile(profile)


def full_profile(registry: Registry, **fields: object) -> DeviceProfile:
    """A profile with a value in each field."""
    values = {
        "id": new_id(),
        "created_at_ms": next(_numbers),
        "name": "Meter",
        "description": "of water",
        "image": "data:image/png;base64,AA==",
        "transport_type": "MQTT",
        "transport_json": '{"type":"MQTT"}',
        "provision_type": "X509_CERTIFICATE_CHAIN",
        "provision_key": f"key {new_id()}",
        "provision_secret": "secret",
        "provision_pattern": "(.*)",
        "provision_creates": True,
        "default_firmware_id": new_id(),
        "default_software_id": new_id(),
        "data_json": '{"alarms":[]}',
    }
    return DeviceProfile(tenant_id=registry.tenant.id, is_default=False, **(values | fields))


class TestProfiles:
    async def names(self, registry: Registry, **arguments: object) -> tuple[list[str], int]:
        page = await registry.store.list_profile_page(registry.tenant.id, **{"limit": 10, **arguments})
        return [profile.name for profile in page.rows], page.total

    async def test_profile_is_found_with_every_field(self, registry: Registry) -> None:
        meter = full_profile(registry)
        await registry.store.add_profile(meter)
        assert await registry.store.find_profile(meter.id) == meter
        assert await registry.store.find_profile_by_provision_key(str(meter.provision_key)) == meter
        assert await registry.store.find_profile_by_provision_key("other") is None

    async def test_provision_key_is_taken_once_in_the_installation(self, registry: Registry) -> None:
        other = Registry(registry.store, *new_tenant())
        await registry.store.add_tenant(other.tenant, other.profile)
        await registry.store.add_profile(full_profile(registry, provision_key="k"))
        with pytest.raises(AlreadyExists) as caught:
            await registry.store.add_profile(full_profile(other, provision_key="k"))
        assert caught.value.constraint == "device_profiles.provision_key"
        for name in ("a", "b"):
            await registry.store.add_profile(full_profile(registry, name=name, provision_key=None))

    async def test_profile_is_changed_under_its_next_version(self, registry: Registry) -> None:
        profile = full_profile(registry, name="old", description=None)
        await registry.store.add_profile(profile)
        device = await registry.add("boiler", profile_id=profile.id)
        wanted = full_profile(registry, id=profile.id, created_at_ms=profile.created_at_ms)
        changed = await registry.store.update_profile(wanted)
        assert changed == msgspec.structs.replace(wanted, version=2)
        assert await registry.store.find_profile(profile.id) == changed
        found = await registry.store.find_device(device.id)
        assert found is not None
        assert found.profile_name == "Meter"

    async def test_change_of_an_old_version_is_refused(self, registry: Registry) -> None:
        profile = full_profile(registry)
        await registry.store.add_profile(profile)
        await registry.store.update_profile(profile)
        with pytest.raises(ThingpassError) as caught:
            await registry.store.update_profile(profile)
        assert caught.value.code == "version-conflict"
        with pytest.raises(NotFound):
            await registry.store.update_profile(full_profile(registry))

    async def test_default_moves(self, registry: Registry) -> None:
        meter = full_profile(registry)
        await registry.store.add_profile(meter)
        await registry.store.set_default_profile(registry.tenant.id, meter.id)
        default = await registry.store.get_default_profile(registry.tenant.id)
        assert (default.id, default.version) == (meter.id, 2)
        await registry.store.set_default_profile(registry.tenant.id, meter.id)  # it is already
        assert (await registry.store.get_default_profile(registry.tenant.id)).version == 2
        before = await registry.store.find_profile(registry.profile.id)
        assert before is not None
        assert (before.is_default, before.version) == (False, 2)

    async def test_default_is_kept_when_the_next_one_does_not_exist(self, registry: Registry) -> None:
        with pytest.raises(NotFound):
            await registry.store.set_default_profile(registry.tenant.id, new_id())
        assert await registry.store.get_default_profile(registry.tenant.id) == registry.profile

    async def test_profile_in_use_and_the_default_one_stay(self, registry: Registry) -> None:
        meter = full_profile(registry)
        await registry.store.add_profile(meter)
        device = await registry.add("boiler", profile_id=meter.id)
        assert await registry.store.profile_is_used(meter.id)
        with pytest.raises(Invalid):
            await registry.store.remove_profile(meter.id)
        await registry.store.remove_device(device.id)
        assert not await registry.store.profile_is_used(meter.id)
        await registry.store.remove_profile(meter.id)
        assert await registry.store.find_profile(meter.id) is None
        for profile_id in (meter.id, registry.profile.id):
            with pytest.raises(NotFound):
                await registry.store.remove_profile(profile_id)

    async def test_pages(self, registry: Registry) -> None:
        for name in ("B", "c", "Ä"):
            profile = full_profile(registry, name=name, transport_type="MQTT" if name == "B" else "DEFAULT")
            await registry.store.add_profile(profile)
        assert await self.names(registry) == (["default", "B", "c", "Ä"], 4)
        assert await self.names(registry, sort_by="name") == (["B", "c", "default", "Ä"], 4)
        assert await self.names(registry, sort_by="name", descending=True, limit=2, offset=1) == (
            ["default", "c"],
            4,
        )
        assert await self.names(registry, text_search="ä") == (["Ä"], 1)
        assert await self.names(registry, transport_type="MQTT") == (["B"], 1)
        with pytest.raises(Invalid):
            await self.names(registry, sort_by="1; --")


class TestUsers:
    @pytest.fixture
    def user(self, registry: Registry) -> User:
        return User(
            id=new_id(),
            created_at_ms=7,
            tenant_id=registry.tenant.id,
            authority="TENANT_ADMIN",
            email="admin@example.org",
            password_hash="$argon2id$...",
        )

    async def test_user_is_found_by_id_and_email_in_any_case(self, registry: Registry, user: User) -> None:
        assert await registry.store.count_users() == 0
        await registry.store.add_user(user)
        assert await registry.store.find_user(user.id) == user
        assert await registry.store.find_user_by_email("Admin@Example.ORG") == user
        assert await registry.store.find_user_by_email("nobody@example.org") is None
        assert await registry.store.count_users() == 1

    async def test_email_is_taken_once(self, registry: Registry, user: User) -> None:
        await registry.store.add_user(user)
        with pytest.raises(AlreadyExists) as caught:
            await registry.store.add_user(
                msgspec.structs.replace(user, id=new_id(), email="ADMIN@example.org")
            )
        assert caught.value.constraint == "users.email"

    async def test_user_is_changed(self, registry: Registry, user: User) -> None:
        await registry.store.add_user(user)
        changed = msgspec.structs.replace(user, email="b@example.org", first_name="A", phone="1")
        await registry.store.update_user(changed)
        assert await registry.store.find_user(user.id) == changed

    async def test_password_and_permission_are_set_by_themselves(
        self, registry: Registry, user: User
    ) -> None:
        await registry.store.add_user(user)
        await registry.store.set_user_password(user.id, "$argon2id$new")
        await registry.store.set_user_enabled(user.id, False)
        await registry.store.update_user(msgspec.structs.replace(user, first_name="A"))  # read before
        assert await registry.store.find_user(user.id) == msgspec.structs.replace(
            user, password_hash="$argon2id$new", enabled=False, first_name="A"
        )

    async def test_unknown_user_is_not_changed(self, registry: Registry, user: User) -> None:
        with pytest.raises(NotFound):
            await registry.store.update_user(user)
        with pytest.raises(NotFound):
            await registry.store.set_user_password(user.id, "x")
        with pytest.raises(NotFound):
            await registry.store.set_user_enabled(user.id, False)

    async def users(self, registry: Registry, **arguments: object) -> tuple[list[str], int]:
        page = await registry.store.list_users(registry.tenant.id, **{"limit": 10, **arguments})
        return [user.email for user in page.rows], page.total

    async def test_users_are_listed_by_customer_and_part_of_the_email(
        self, registry: Registry, user: User
    ) -> None:
        acme = await registry.add_customer("ACME")
        clerk = msgspec.structs.replace(
            user,
            id=new_id(),
            created_at_ms=8,
            email="Clerk@acme.example",
            authority="CUSTOMER_USER",
            customer_id=acme.id,
            phone="1",
            additional_info_json="{}",
        )
        for each in (user, clerk):
            await registry.store.add_user(each)
        assert await registry.store.find_user(clerk.id) == clerk
        assert await self.users(registry) == (["admin@example.org", "Clerk@acme.example"], 2)
        assert await self.users(registry, customer_id=acme.id) == (["Clerk@acme.example"], 1)
        assert await self.users(registry, text_search="ACME") == (["Clerk@acme.example"], 1)
        assert await self.users(registry, sort_by="email", descending=True, limit=1) == (
            ["Clerk@acme.example"],
            2,
        )
        with pytest.raises(Invalid):
            await self.users(registry, sort_by="password_hash")

    async def test_last_user_of_an_authority_stays(self, registry: Registry, user: User) -> None:
        await registry.store.add_user(user)
        assert not await registry.store.remove_user(user.id, never_the_last="TENANT_ADMIN")
        second = msgspec.structs.replace(user, id=new_id(), email="second@example.org")
        await registry.store.add_user(second)
        assert await registry.store.remove_user(user.id, never_the_last="TENANT_ADMIN")
        assert await registry.store.find_user(user.id) is None
        with pytest.raises(NotFound):
            await registry.store.remove_user(user.id, never_the_last="TENANT_ADMIN")

    async def test_activation_sets_the_password_once(self, registry: Registry, user: User) -> None:
        await registry.store.add_user(msgspec.structs.replace(user, password_hash=""))
        early = Activation(user_id=user.id, token_sha256="early", expires_at_ms=10)
        late = Activation(user_id=user.id, token_sha256="late", expires_at_ms=20)
        await registry.store.save_activation(early)
        await registry.store.save_activation(late)
        assert await registry.store.find_activation("early") is None
        assert await registry.store.find_activation("late") == late
        assert await registry.store.activate_user("early", "x") is None
        activated = await registry.store.activate_user("late", "$argon2id$...")
        assert activated == user
        assert await registry.store.find_user(user.id) == user
        assert await registry.store.activate_user("late", "other") is None
        with pytest.raises(Invalid):
            await registry.store.save_activation(msgspec.structs.replace(late, user_id=new_id()))


class TestCustomers:
    async def titles(self, registry: Registry, **arguments: object) -> tuple[list[str], int]:
        page = await registry.store.list_customers(registry.tenant.id, **{"limit": 10, **arguments})
        return [customer.title for customer in page.rows], page.total

    async def test_customer_is_found_by_id_and_title(self, registry: Registry) -> None:
        acme = await registry.add_customer(
            "ACME", email="a@b.c", phone="1", country="CN", city="杭州", zip="2", additional_info_json="{}"
        )
        store = registry.store
        assert await store.find_customer(acme.id) == acme
        assert await store.find_customer_by_title(registry.tenant.id, "ACME") == acme
        assert await store.find_customer_by_title(registry.tenant.id, "acme") is None
        assert await store.find_customer_by_title(new_id(), "ACME") is None
        assert await store.find_customer(new_id()) is None

    async def test_title_is_taken_once_in_a_tenant(self, registry: Registry) -> None:
        await registry.add_customer("ACME")
        with pytest.raises(AlreadyExists) as caught:
            await registry.add_customer("ACME")
        assert caught.value.constraint == "customers.title"

    async def test_customer_is_changed_under_its_next_version(self, registry: Registry) -> None:
        acme = await registry.add_customer("ACME")
        wanted = msgspec.structs.replace(acme, title="Acme", address="Road 1", state="ZJ", address2="b")
        changed = await registry.store.update_customer(wanted)
        assert changed == msgspec.structs.replace(wanted, version=2)
        assert await registry.store.find_customer(acme.id) == changed
        with pytest.raises(ThingpassError) as caught:
            await registry.store.update_customer(wanted)
        assert caught.value.code == "version-conflict"
        with pytest.raises(NotFound):
            await registry.store.update_customer(msgspec.structs.replace(acme, id=new_id()))

    async def test_pages_are_searched_and_sorted(self, registry: Registry) -> None:
        for title, city in (("b", "Z"), ("A", "y"), ("Über", "x")):
            await registry.add_customer(title, city=city)
        assert await self.titles(registry, sort_by="title") == (["A", "b", "Über"], 3)
        assert await self.titles(registry, sort_by="city", limit=1) == (["Über"], 3)
        assert await self.titles(registry, text_search="ÜB") == (["Über"], 1)
        other = Registry(registry.store, *new_tenant())
        await registry.store.add_tenant(other.tenant, other.profile)
        assert await self.titles(other) == ([], 0)
        with pytest.raises(Invalid):
            await self.titles(registry, sort_by="tenant_id")

    async def test_removed_customer_leaves_its_devices_and_takes_its_users(self, registry: Registry) -> None:
        acme = await registry.add_customer("ACME")
        device = await registry.add("boiler", customer_id=acme.id)
        other = await registry.add("pump")
        clerk = User(
            id=new_id(),
            created_at_ms=1,
            tenant_id=registry.tenant.id,
            authority="CUSTOMER_USER",
            email="clerk@acme.example",
            password_hash="",
            customer_id=acme.id,
        )
        await registry.store.add_user(clerk)
        assert await registry.store.remove_customer(acme.id) == (device.id,)
        found = await registry.store.find_device(device.id)
        assert found is not None
        assert (found.customer_id, found.version) == (None, 2)
        assert await registry.store.find_device(other.id) == other
        assert await registry.store.find_user(clerk.id) is None
        assert await registry.store.find_customer(acme.id) is None
        with pytest.raises(NotFound):
            await registry.store.remove_customer(acme.id)

    async def test_devices_are_listed_and_sorted_by_customer(self, registry: Registry) -> None:
        acme, zeta = await registry.add_customer("acme"), await registry.add_customer("Zeta")
        await registry.add("of zeta", customer_id=zeta.id)
        await registry.add("of acme", customer_id=acme.id)
        await registry.add("of nobody")
        page = await registry.store.list_devices(registry.tenant.id, limit=10, customer_id=acme.id)
        assert ([device.name for device in page.rows], page.total) == (["of acme"], 1)
        page = await registry.store.list_devices(registry.tenant.id, limit=10, sort_by="customer_title")
        assert [device.name for device in page.rows] == ["of nobody", "of acme", "of zeta"]


class TestClaims:
    def claim(self, device: Device, expires_at_ms: int = 100, secret: bytes = b"hash") -> Claim:
        return Claim(
            device_id=device.id, secret_salt=b"salt", secret_sha256=secret, expires_at_ms=expires_at_ms
        )

    async def test_claim_holds_until_its_end(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        first, second = self.claim(device), self.claim(device, 200, b"other")
        assert await registry.store.add_claim(first, now_ms=1)
        assert not await registry.store.add_claim(second, now_ms=99)
        assert await registry.store.find_claim(device.id) == first
        assert await registry.store.add_claim(second, now_ms=100)
        assert await registry.store.find_claim(device.id) == second
        await registry.store.remove_claim(device.id)
        await registry.store.remove_claim(device.id)
        assert await registry.store.find_claim(device.id) is None

    async def test_claim_of_no_device_is_refused(self, registry: Registry) -> None:
        with pytest.raises(NotFound):
            await registry.store.add_claim(self.claim(registry.device("ghost")), now_ms=1)

    async def test_claim_goes_with_its_device(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        await registry.store.add_claim(self.claim(device), now_ms=1)
        await registry.store.remove_device(device.id)
        assert await registry.store.find_claim(device.id) is None

    async def test_device_is_taken_once(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        acme, zeta = await registry.add_customer("ACME"), await registry.add_customer("Zeta")
        await registry.store.add_claim(self.claim(device), now_ms=1)
        taken = await registry.store.take_claim(device.id, acme.id)
        assert taken == msgspec.structs.replace(device, customer_id=acme.id, version=2)
        assert await registry.store.find_device(device.id) == taken
        assert await registry.store.find_claim(device.id) is None
        assert await registry.store.take_claim(device.id, zeta.id) is None


class TestDevices:
    async def test_added_device_gets_a_number_and_is_found(self, registry: Registry) -> None:
        device = await registry.add("boiler", label="Cellar", additional_info_json='{"a":1}')
        assert device.number > 0
        assert await registry.store.find_device(device.id) == device
        assert await registry.store.find_device_by_name(registry.tenant.id, "boiler") == device
        assert await registry.store.find_device_by_name(new_id(), "boiler") is None
        assert await registry.store.find_device(new_id()) is None

    async def test_device_is_added_with_what_people_know_of_it(self, registry: Registry) -> None:
        device = registry.device("boiler")
        added = await registry.store.add_device(device, registry.credentials(device, "t"), {"a": 1, "b": "x"})
        assert await registry.store.find_attributes(added.id, "SERVER_SCOPE", None) == [
            Attribute("a", 1, device.created_at_ms),
            Attribute("b", "x", device.created_at_ms),
        ]

    async def test_name_is_taken_once_in_a_tenant(self, registry: Registry) -> None:
        await registry.add("boiler")
        with pytest.raises(AlreadyExists) as caught:
            await registry.add("boiler", "another token")
        assert caught.value.constraint == "devices.name"

    async def test_name_may_repeat_in_another_tenant(self, registry: Registry) -> None:
        await registry.add("boiler")
        other = Registry(registry.store, *new_tenant())
        await registry.store.add_tenant(other.tenant, other.profile)
        await other.add("boiler", "another token")

    async def test_device_without_its_credentials_is_not_added(self, registry: Registry) -> None:
        await registry.add("boiler", "secret")
        with pytest.raises(AlreadyExists) as caught:
            await registry.add("pump", "secret")
        assert caught.value.constraint == "credentials.credentials_id"
        assert await registry.store.find_device_by_name(registry.tenant.id, "pump") is None

    async def test_device_is_changed_under_its_next_version(self, registry: Registry) -> None:
        meter = msgspec.structs.replace(registry.profile, id=new_id(), name="Meter", is_default=False)
        await registry.store.add_profile(meter)
        device = await registry.add("boiler")
        changed = await registry.store.update_device(
            msgspec.structs.replace(device, name="pump", label="Roof", profile_id=meter.id)
        )
        assert changed == msgspec.structs.replace(
            device, name="pump", label="Roof", profile_id=meter.id, profile_name="Meter", version=2
        )
        assert await registry.store.find_device(device.id) == changed

    async def test_change_of_an_old_version_is_refused(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        await registry.store.update_device(device)
        with pytest.raises(ThingpassError) as caught:
            await registry.store.update_device(device)
        assert caught.value.code == "version-conflict"

    async def test_unknown_device_is_neither_changed_nor_removed(self, registry: Registry) -> None:
        with pytest.raises(NotFound):
            await registry.store.update_device(registry.device("ghost"))
        with pytest.raises(NotFound):
            await registry.store.remove_device(new_id())

    async def test_device_is_removed_with_credentials_and_attributes(self, registry: Registry) -> None:
        device = await registry.add("boiler", "secret")
        await registry.store.save_attributes(device.id, "SERVER_SCOPE", {"a": 1}, 5)
        await registry.store.remove_device(device.id)
        assert await registry.store.find_device(device.id) is None
        assert await registry.store.find_credentials("secret") is None
        assert await registry.store.find_attributes(device.id, "SERVER_SCOPE", None) == []

    async def test_number_of_a_removed_device_is_not_given_again(self, registry: Registry) -> None:
        first = await registry.add("boiler")
        await registry.store.remove_device(first.id)
        assert (await registry.add("boiler")).number > first.number


class TestDevicePages:
    async def names(self, registry: Registry, **arguments: object) -> tuple[list[str], int]:
        page = await registry.store.list_devices(registry.tenant.id, **{"limit": 10, **arguments})
        return [device.name for device in page.rows], page.total

    async def test_pages_count_all_that_match(self, registry: Registry) -> None:
        for number in range(5):
            await registry.add(f"device {number}")
        assert await self.names(registry, limit=2) == (["device 0", "device 1"], 5)
        assert await self.names(registry, limit=2, offset=4) == (["device 4"], 5)
        assert await self.names(registry, limit=2, offset=9) == ([], 5)
        assert await self.names(registry, limit=1, descending=True) == (["device 4"], 5)

    async def test_page_of_one_profile(self, registry: Registry) -> None:
        meter = full_profile(registry)
        await registry.store.add_profile(meter)
        for number in range(3):
            await registry.add(f"meter {number}", profile_id=meter.id)
        await registry.add("boiler")
        assert await self.names(registry, profile_id=meter.id, limit=1) == (["meter 0"], 3)
        assert await self.names(registry, profile_id=meter.id, text_search="2") == (["meter 2"], 1)
        assert await self.names(registry, profile_id=new_id()) == ([], 0)

    async def test_other_tenants_devices_are_not_listed(self, registry: Registry) -> None:
        await registry.add("boiler")
        other = Registry(registry.store, *new_tenant())
        await registry.store.add_tenant(other.tenant, other.profile)
        assert await self.names(other) == ([], 0)

    async def test_search_finds_parts_of_name_and_label_in_any_case(self, registry: Registry) -> None:
        await registry.add("Boiler 1", label="Küche")
        await registry.add("boiler 2")
        await registry.add("100% pump", label="under_score")
        assert await self.names(registry, text_search="OILER") == (["Boiler 1", "boiler 2"], 2)
        assert await self.names(registry, text_search="KÜCHE") == (["Boiler 1"], 1)
        assert await self.names(registry, text_search="%") == (["100% pump"], 1)
        assert await self.names(registry, text_search="r_s") == (["100% pump"], 1)
        assert await self.names(registry, text_search="absent") == ([], 0)

    async def test_search_sees_the_changed_name(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        await registry.store.update_device(msgspec.structs.replace(device, name="Pump"))
        assert await self.names(registry, text_search="boil") == ([], 0)
        assert await self.names(registry, text_search="pump") == (["Pump"], 1)

    @pytest.mark.parametrize(
        ("sort_by", "expected"),
        [
            ("created_at_ms", ["b", "A", "c"]),
            ("name", ["A", "b", "c"]),
            ("label", ["c", "b", "A"]),
            ("profile_name", ["b", "A", "c"]),
        ],
    )
    async def test_sorting_ignores_case(self, registry: Registry, sort_by: str, expected: list[str]) -> None:
        for name, label in (("b", "Y"), ("A", "z"), ("c", "x")):
            await registry.add(name, label=label)
        assert (await self.names(registry, sort_by=sort_by))[0] == expected
        assert (await self.names(registry, sort_by=sort_by, descending=True))[0] == expected[::-1]

    async def test_unknown_order_is_refused(self, registry: Registry) -> None:
        with pytest.raises(Invalid):
            await self.names(registry, sort_by="name; DROP TABLE devices")


class TestCredentials:
    async def test_credentials_are_found_with_their_device(self, registry: Registry) -> None:
        device = await registry.add("boiler", "secret")
        found = await registry.store.find_credentials("secret")
        assert found is not None
        assert found.device == device
        assert found.credentials == await registry.store.find_credentials_of_device(device.id)
        assert await registry.store.find_credentials("Secret") is None

    async def test_credentials_are_replaced_under_their_next_version(self, registry: Registry) -> None:
        device = await registry.add("boiler", "secret")
        before = await registry.store.find_credentials_of_device(device.id)
        assert before is not None
        certificate = msgspec.structs.replace(
            before, kind=CREDENTIALS_X509, credentials_id="f00d", credentials_value="MIIB"
        )
        after = await registry.store.update_credentials(certificate)
        assert after == msgspec.structs.replace(certificate, version=2)
        assert await registry.store.find_credentials_of_device(device.id) == after
        assert await registry.store.find_credentials("secret") is None

    async def test_credentials_of_another_device_are_refused(self, registry: Registry) -> None:
        await registry.add("boiler", "secret")
        pump = await registry.add("pump", "other")
        with pytest.raises(AlreadyExists) as caught:
            await registry.store.update_credentials(registry.credentials(pump, "secret"))
        assert caught.value.constraint == "credentials.credentials_id"

    async def test_credentials_of_no_device_are_refused(self, registry: Registry) -> None:
        with pytest.raises(NotFound):
            await registry.store.update_credentials(registry.credentials(registry.device("ghost"), "x"))
        assert await registry.store.find_credentials_of_device(new_id()) is None


VALUES: dict[str, Value] = {
    "flag": True,
    "whole": -(1 << 63),
    "greatest": (1 << 63) - 1,
    "fraction": 0.1,
    "round": 3.0,
    "text": "é 漢 \x00",
    "json": JsonText('{"a":[1,2]}'),
    "empty": "",
}


def assert_same_values(found: dict[str, Value], expected: dict[str, Value]) -> None:
    assert found == expected
    assert {key: type(value) for key, value in found.items()} == {
        key: type(value) for key, value in expected.items()
    }


class TestAttributes:
    async def test_every_kind_of_value_comes_back(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        await registry.store.save_attributes(device.id, "CLIENT_SCOPE", VALUES, 9)
        found = await registry.store.find_attributes(device.id, "CLIENT_SCOPE", None)
        assert_same_values({attribute.key: attribute.value for attribute in found}, VALUES)
        assert {attribute.updated_at_ms for attribute in found} == {9}

    async def test_who_adds_a_key_first_has_it_alone(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        store = registry.store
        assert await store.add_attribute(device.id, "SERVER_SCOPE", "a", "first", 1)
        assert not await store.add_attribute(device.id, "SERVER_SCOPE", "a", "second", 2)
        assert await store.find_attributes(device.id, "SERVER_SCOPE", None) == [Attribute("a", "first", 1)]
        with pytest.raises(NotFound):
            await store.add_attribute(new_id(), "SERVER_SCOPE", "a", "x", 1)

    async def test_saving_replaces_and_scopes_are_apart(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        await registry.store.save_attributes(device.id, "SHARED_SCOPE", {"a": 1, "b": 2}, 1)
        await registry.store.save_attributes(device.id, "SHARED_SCOPE", {"a": "x"}, 2)
        await registry.store.save_attributes(device.id, "SERVER_SCOPE", {"a": 3}, 3)
        assert await registry.store.find_attributes(device.id, "SHARED_SCOPE", None) == [
            Attribute("a", "x", 2),
            Attribute("b", 2, 1),
        ]

    async def test_asked_keys_are_found_where_they_exist(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        await registry.store.save_attributes(device.id, "SERVER_SCOPE", {"a": 1, "b": 2}, 1)
        found = await registry.store.find_attributes(device.id, "SERVER_SCOPE", ["b", "absent"])
        assert found == [Attribute("b", 2, 1)]
        assert await registry.store.find_attributes(device.id, "SERVER_SCOPE", []) == []

    async def test_removing_leaves_the_others(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        await registry.store.save_attributes(device.id, "SERVER_SCOPE", {"a": 1, "b": 2}, 1)
        await registry.store.remove_attributes(device.id, "SERVER_SCOPE", ["a", "absent"])
        assert await registry.store.find_attributes(device.id, "SERVER_SCOPE", None) == [Attribute("b", 2, 1)]

    async def test_attributes_of_an_unknown_device_are_refused(self, store: Store) -> None:
        with pytest.raises(NotFound):
            await store.save_attributes(new_id(), "SERVER_SCOPE", {"a": 1}, 1)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 1 << 64, "\ud800"])
    async def test_value_that_json_cannot_hold_is_refused(self, registry: Registry, value: Value) -> None:
        device = await registry.add("boiler")
        with pytest.raises(Invalid):
            await registry.store.save_attributes(device.id, "SERVER_SCOPE", {"a": value}, 1)


class TestSeries:
    async def test_appended_samples_are_read_at_once(self, store: Store) -> None:
        await append(store, 1, (1_000, VALUES), (2_000, {"whole": 5}))
        await append(store, 2, (1_500, {"whole": 7}))
        latest = await store.latest(1, None)
        assert_same_values({key: point.value for key, point in latest.items()}, {**VALUES, "whole": 5})
        assert await store.latest(1, ["whole", "absent"]) == {"whole": DataPoint(2_000, 5)}
        assert await store.latest(3, None) == {}
        assert await store.series_keys(1) == sorted(VALUES)

    async def test_range_includes_its_start_and_excludes_its_end(self, store: Store) -> None:
        await append(store, 1, *((ts_ms, {"a": ts_ms}) for ts_ms in (10, 20, 30)))
        found = await store.series(1, ["a", "b"], start_ms=10, end_ms=30, limit=10)
        assert found == {"a": [DataPoint(20, 20), DataPoint(10, 10)]}

    async def test_limit_counts_each_key_from_the_asked_side(self, store: Store) -> None:
        await append(store, 1, *((ts_ms, {"a": ts_ms}) for ts_ms in (30, 10, 20)), (5, {"b": 1}))
        newest = await store.series(1, ["a", "b"], start_ms=0, end_ms=100, limit=2)
        assert newest == {"a": [DataPoint(30, 30), DataPoint(20, 20)], "b": [DataPoint(5, 1)]}
        oldest = await store.series(1, ["a"], start_ms=0, end_ms=100, limit=2, descending=False)
        assert oldest == {"a": [DataPoint(10, 10), DataPoint(20, 20)]}

    async def test_later_arrival_wins_at_the_same_time(self, store: Store) -> None:
        await append(store, 1, (10, {"a": 1, "b": 1}), (10, {"a": 2}))
        await append(store, 1, (10, {"b": 3}), (5, {"a": 9}))
        assert await store.latest(1, None) == {"a": DataPoint(10, 2), "b": DataPoint(10, 3)}
        found = await store.series(1, ["a", "b"], start_ms=0, end_ms=100, limit=10)
        assert found == {"a": [DataPoint(10, 2), DataPoint(5, 9)], "b": [DataPoint(10, 3)]}

    async def test_times_may_be_as_far_away_as_64_bits_reach(self, store: Store) -> None:
        first, last = -(1 << 63), (1 << 63) - 1
        await append(store, 1, (last, {"a": 2}), (first, {"a": 1}))
        found = await store.series(1, ["a"], start_ms=first, end_ms=last, limit=10)
        assert found == {"a": [DataPoint(first, 1)]}
        assert await store.latest(1, None) == {"a": DataPoint(last, 2)}

    async def test_nothing_to_append_is_nothing(self, store: Store) -> None:
        await store.append_samples([])
        assert await store.latest(1, None) == {}


class TestOtaPackages:
    async def test_added_package_is_found_without_data(self, registry: Registry) -> None:
        package = await add_package(registry)
        assert await registry.store.find_ota_package(package.id) == package
        assert await registry.store.find_ota_package(new_id()) is None

    async def test_title_and_version_are_taken_once_in_a_tenant(self, registry: Registry) -> None:
        package = await add_package(registry)
        with pytest.raises(AlreadyExists) as caught:
            await registry.store.add_ota_package(msgspec.structs.replace(package, id=new_id()))
        assert caught.value.constraint == "ota_packages.title"
        await add_package(registry, version="2")
        tenant, profile = new_tenant()
        await registry.store.add_tenant(tenant, profile)
        await registry.store.add_ota_package(
            msgspec.structs.replace(package, id=new_id(), tenant_id=tenant.id, profile_id=None)
        )

    async def test_only_additional_information_changes(self, registry: Registry) -> None:
        package = await add_package(registry)
        changed = await registry.store.update_ota_package(
            msgspec.structs.replace(package, title="other", additional_info_json='{"a":1}')
        )
        assert changed == msgspec.structs.replace(package, additional_info_json='{"a":1}')
        with pytest.raises(NotFound):
            await registry.store.update_ota_package(msgspec.structs.replace(package, id=new_id()))

    async def test_uploaded_bytes_are_read_in_pieces(self, registry: Registry) -> None:
        data = bytes(range(256)) * 3000
        package = await add_package(registry, data=data)
        assert package.data is not None
        assert package.data.size == len(data)
        assert await registry.store.find_ota_package(package.id) == package
        assert await registry.store.read_ota_data(package.id, 0, len(data) + 1) == data
        assert await registry.store.read_ota_data(package.id, 700_000, 100) == data[700_000:700_100]
        assert await registry.store.read_ota_data(package.id, len(data), 100) == b""

    async def test_upload_knows_size_and_checksum_of_what_was_written(self, registry: Registry) -> None:
        package = await add_package(registry)
        upload = await registry.store.begin_ota_upload(package.id)
        for part in (b"a", b"", b"bc"):
            await upload.write(part)
        assert upload.size == 3
        assert await upload.checksum("CRC32") == "c2412435"
        assert await upload.checksum("MURMUR3_32") == "fa93ddb3"
        await upload.discard()
        await upload.discard()
        with pytest.raises(NotFound):
            await registry.store.read_ota_data(package.id, 0, 1)

    async def test_of_two_uploads_the_first_commit_wins(self, registry: Registry) -> None:
        package = await add_package(registry)
        first, second = [await registry.store.begin_ota_upload(package.id) for _ in range(2)]
        await first.write(b"first")
        await second.write(b"second")
        await second.commit(ota_data(6))
        with pytest.raises(Invalid):
            await first.commit(ota_data(5))
        assert await registry.store.read_ota_data(package.id, 0, 10) == b"second"

    async def test_upload_to_a_removed_package_is_refused(self, registry: Registry) -> None:
        package = await add_package(registry)
        upload = await registry.store.begin_ota_upload(package.id)
        await registry.store.remove_ota_package(package.id)
        with pytest.raises(NotFound):
            await upload.commit(ota_data(0))

    async def test_removed_package_is_gone_with_its_bytes(self, registry: Registry) -> None:
        package = await add_package(registry, data=b"abc")
        await registry.store.remove_ota_package(package.id)
        assert await registry.store.find_ota_package(package.id) is None
        with pytest.raises(NotFound):
            await registry.store.read_ota_data(package.id, 0, 1)
        with pytest.raises(NotFound):
            await registry.store.remove_ota_package(package.id)

    async def test_package_in_use_stays(self, registry: Registry) -> None:
        firmware = await add_package(registry, data=b"abc")
        software = await add_package(registry, title="app", kind=OTA_SOFTWARE, data=b"abc")
        device = await registry.add("pump", software_id=software.id)
        profile = await registry.store.update_profile(
            msgspec.structs.replace(registry.profile, default_firmware_id=firmware.id)
        )
        for package, users in ((firmware, "device profile"), (software, "devices")):
            with pytest.raises(Invalid, match=users):
                await registry.store.remove_ota_package(package.id)
        await registry.store.update_profile(msgspec.structs.replace(profile, default_firmware_id=None))
        await registry.store.update_device(msgspec.structs.replace(device, software_id=None))
        await registry.store.remove_ota_package(firmware.id)
        await registry.store.remove_ota_package(software.id)

    async def test_device_has_its_own_package_else_its_profiles(self, registry: Registry) -> None:
        store = registry.store
        own, common = await add_package(registry, data=b"a"), await add_package(registry, version="2")
        device = await registry.add("pump")
        assert await store.find_ota_package_of_device(device.id, OTA_FIRMWARE) is None
        await store.update_profile(msgspec.structs.replace(registry.profile, default_firmware_id=common.id))
        assert await store.find_ota_package_of_device(device.id, OTA_FIRMWARE) == common
        assert await store.count_devices_without_ota_package(registry.profile.id, OTA_FIRMWARE) == 1
        await store.update_device(msgspec.structs.replace(device, firmware_id=own.id))
        assert await store.find_ota_package_of_device(device.id, OTA_FIRMWARE) == own
        assert await store.find_ota_package_of_device(device.id, OTA_SOFTWARE) is None
        assert await store.count_devices_without_ota_package(registry.profile.id, OTA_FIRMWARE) == 0
        assert await store.count_devices_without_ota_package(registry.profile.id, OTA_SOFTWARE) == 1

    async def test_devices_that_follow_are_counted_by_customer_too(self, registry: Registry) -> None:
        acme, zeta = await registry.add_customer("ACME"), await registry.add_customer("Zeta")
        await registry.add("nobody's")
        await registry.add("boiler", customer_id=acme.id)
        count = registry.store.count_devices_without_ota_package
        assert await count(registry.profile.id, OTA_FIRMWARE) == 2
        assert await count(registry.profile.id, OTA_FIRMWARE, acme.id) == 1
        assert await count(registry.profile.id, OTA_FIRMWARE, zeta.id) == 0

    async def test_pages_and_what_fits_a_profile(self, registry: Registry) -> None:
        store, tenant_id = registry.store, registry.tenant.id
        meter = DeviceProfile(
            id=new_id(), created_at_ms=5, tenant_id=tenant_id, name="Meter", is_default=False
        )
        await store.add_profile(meter)
        for_all = await add_package(registry, title="A", data=b"a")
        for_meters = await add_package(registry, title="b", profile_id=meter.id, data=b"a")
        elsewhere = await add_package(registry, title="c", url="https://example.org/c.bin")
        await add_package(registry, title="without data")
        await add_package(registry, title="app", kind=OTA_SOFTWARE, data=b"a")
        page = await store.list_ota_packages(tenant_id, limit=2, offset=1, sort_by="title", descending=True)
        assert [row.title for row in page.rows] == ["c", "b"]
        assert page.total == 5
        found = await store.list_ota_packages(tenant_id, limit=9, text_search="WITH")
        assert (len(found.rows), found.total) == (1, 1)
        fitting = await store.list_ota_packages(tenant_id, limit=9, fitting=(meter.id, OTA_FIRMWARE))
        assert fitting.rows == (for_all, for_meters, elsewhere)
        other = await store.list_ota_packages(tenant_id, limit=9, fitting=(registry.profile.id, OTA_FIRMWARE))
        assert other.rows == (for_all, elsewhere)
        assert (await store.list_ota_packages(new_id(), limit=9)).total == 0
        with pytest.raises(Invalid):
            await store.list_ota_packages(tenant_id, limit=9, sort_by="checksum")


class TestOtaRollouts:
    KEYS = ("fw_title", "fw_version")

    async def test_change_of_a_device_waits_until_it_is_told(self, registry: Registry) -> None:
        store, package = registry.store, await add_package(registry, data=b"abc")
        device = await registry.add("pump", firmware_id=package.id)
        await store.save_attributes(device.id, "SHARED_SCOPE", {"fw_title": "old", "x": 1}, 5)
        [target] = await store.list_ota_changes(self.KEYS, limit=10)
        assert (target.device_id, target.device_number) == (device.id, device.number)
        assert (target.kind, target.package, target.told) == (OTA_FIRMWARE, package, {"fw_title": "old"})
        await store.save_ota_announcements(
            [OtaAnnouncement(target=target, removed=("fw_title",), values={"fw_version": "1"})],
            at_ms=7,
            looked_at=[target],
        )
        found = await store.find_attributes(device.id, "SHARED_SCOPE", None)
        assert found == [Attribute("fw_version", "1", 7), Attribute("x", 1, 5)]
        assert await store.list_ota_changes(self.KEYS, limit=10) == ()

    async def test_device_that_changes_again_waits_again(self, registry: Registry) -> None:
        store, package = registry.store, await add_package(registry, data=b"abc")
        device = await registry.add("pump", firmware_id=package.id)
        [first] = await store.list_ota_changes(self.KEYS, limit=10)
        await store.update_device(msgspec.structs.replace(device, firmware_id=None))
        await store.save_ota_announcements([], at_ms=7, looked_at=[first])
        [second] = await store.list_ota_changes(self.KEYS, limit=10)
        assert second.package is None
        assert second.change_id > first.change_id

    async def test_device_without_packages_is_no_change(self, registry: Registry) -> None:
        device = await registry.add("pump")
        await registry.store.update_device(msgspec.structs.replace(device, label="north"))
        assert await registry.store.list_ota_changes(self.KEYS, limit=10) == ()

    async def test_new_device_of_a_profile_with_packages_is_told_of_them(self, registry: Registry) -> None:
        package = await add_package(registry, kind=OTA_SOFTWARE, data=b"abc")
        await assign(registry, default_software_id=package.id)
        device = await registry.add("pump")
        [target] = await registry.store.list_ota_changes(self.KEYS, limit=10)
        assert (target.device_id, target.kind, target.package) == (device.id, OTA_SOFTWARE, package)

    async def test_device_that_goes_is_forgotten(self, registry: Registry) -> None:
        store, package = registry.store, await add_package(registry, data=b"abc")
        device = await registry.add("pump", firmware_id=package.id)
        [target] = await store.list_ota_changes(self.KEYS, limit=10)
        await store.remove_device(device.id)
        assert await store.list_ota_changes(self.KEYS, limit=10) == ()
        told = OtaAnnouncement(target=target, removed=(), values={"fw_title": "x"})
        await store.save_ota_announcements([told], at_ms=7, looked_at=[target])

    async def test_rollout_goes_through_a_profiles_followers_in_order(self, registry: Registry) -> None:
        store, package = registry.store, await add_package(registry, data=b"abc")
        devices = [await registry.add(f"pump {n}") for n in range(5)]
        await registry.add("with its own", firmware_id=package.id)
        assert await store.find_ota_rollout() is None
        await assign(registry, default_firmware_id=package.id)
        rollout = await store.find_ota_rollout()
        assert rollout is not None
        assert (rollout.devices, rollout.done, rollout.package_id) == (5, 0, package.id)
        seen: list[str] = []
        while targets := await store.list_ota_targets(rollout, self.KEYS, limit=2):
            seen += [target.device_id for target in targets]
            told = [OtaAnnouncement(target=targets[0], removed=(), values={"fw_title": "t"})]
            await store.save_ota_announcements(told, at_ms=7, looked_at=targets, rollout=rollout)
            rollout = await store.find_ota_rollout()
            assert rollout is not None
        assert seen == [device.id for device in devices]
        await store.save_ota_announcements([], at_ms=9, looked_at=(), rollout=rollout)
        assert await store.find_ota_rollout() is None
        [ended] = await store.list_ota_rollouts(registry.tenant.id, limit=10)
        assert (ended.done, ended.told, ended.devices, ended.ended_at_ms) == (5, 3, 5, 9)
        assert await store.list_ota_rollouts(new_id(), limit=10) == ()

    async def test_new_assignment_replaces_a_rollout_that_has_not_ended(self, registry: Registry) -> None:
        store, package = registry.store, await add_package(registry, data=b"abc")
        await registry.add("pump")
        await assign(registry, default_firmware_id=package.id)
        first = await store.find_ota_rollout()
        assert first is not None
        await assign(registry, default_firmware_id=None)
        second = await store.find_ota_rollout()
        assert second is not None
        assert (second.id > first.id, second.package_id) == (True, None)
        await store.save_ota_announcements([], at_ms=9, looked_at=(), rollout=first)
        assert await store.find_ota_rollout() == second
        assert len(await store.list_ota_rollouts(registry.tenant.id, limit=10)) == 1


def ota_data(size: int) -> OtaData:
    return OtaData(
        file_name="fw.bin",
        content_type="application/octet-stream",
        size=size,
        algorithm="SHA256",
        checksum="ab" * 32,
    )


async def add_package(registry: Registry, *, data: bytes | None = None, **members: object) -> OtaPackage:
    """Firmware of the tenant, with these bytes."""
    fields: dict[str, object] = {"kind": OTA_FIRMWARE, "title": "pump-fw", "version": "1"}
    package = OtaPackage(
        id=new_id(),
        created_at_ms=next(_numbers),
        tenant_id=registry.tenant.id,
        **{"profile_id": None, **fields, **members},
    )
    await registry.store.add_ota_package(package)
    if data is None:
        return package
    upload = await registry.store.begin_ota_upload(package.id)
    await upload.write(data)
    return await upload.commit(ota_data(len(data)))


async def assign(registry: Registry, **packages: str | None) -> None:
    profile = await registry.store.find_profile(registry.profile.id)
    assert profile is not None
    await registry.store.update_profile(msgspec.structs.replace(profile, **packages))


def change(device: Device, *, active: bool = True, connected: bool = True, **times: int) -> DeviceStateChange:
    return DeviceStateChange(device_id=device.id, active=active, connected=connected, **times)


class TestDeviceStates:
    async def test_device_that_was_never_heard_of_is_not_active(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        state = await registry.store.find_device_state(device.id)
        assert state is not None
        assert (state.device_id, state.device_number) == (device.id, device.number)
        assert state.device_created_at_ms == device.created_at_ms
        assert not state.active
        assert not state.connected
        assert state.changed_at_ms is state.connected_at_ms is state.disconnected_at_ms is None
        assert state.activity_at_ms is state.alarm_at_ms is state.inactivity_timeout is None
        assert await registry.store.find_device_state(new_id()) is None

    async def test_times_that_a_change_leaves_out_stay(self, registry: Registry) -> None:
        device, store = await registry.add("boiler"), registry.store
        await store.save_device_states(
            [change(device, changed_at_ms=1, connected_at_ms=2, disconnected_at_ms=3, activity_at_ms=4)],
            alive_at_ms=5,
        )
        await store.save_device_states(
            [change(device, active=False, connected=False, activity_at_ms=6, alarm_at_ms=0)], alive_at_ms=7
        )
        state = await store.find_device_state(device.id)
        assert state is not None
        assert (state.active, state.connected) == (False, False)
        assert (state.changed_at_ms, state.connected_at_ms, state.disconnected_at_ms) == (1, 2, 3)
        assert (state.activity_at_ms, state.alarm_at_ms) == (6, 0)

    async def test_states_come_with_the_timeout_that_people_wrote(self, registry: Registry) -> None:
        devices = [await registry.add(name) for name in ("a", "b", "c")]
        await registry.store.save_attributes(devices[0].id, "SERVER_SCOPE", {"inactivityTimeout": 5}, 1)
        await registry.store.save_attributes(devices[1].id, "SHARED_SCOPE", {"inactivityTimeout": 6}, 1)
        wanted = [devices[0].id, devices[1].id, new_id()]
        found = await registry.store.find_device_states(wanted)
        timeouts = {state.device_id: state.inactivity_timeout for state in found}
        assert timeouts == {devices[0].id: 5, devices[1].id: None}

    async def test_unknown_device_does_not_stop_the_others(self, registry: Registry) -> None:
        device = await registry.add("boiler")
        gone = msgspec.structs.replace(device, id=new_id())
        await registry.store.save_device_states([change(gone), change(device)], alive_at_ms=1)
        await registry.store.save_device_states([], alive_at_ms=2)
        state = await registry.store.find_device_state(device.id)
        assert state is not None
        assert state.active

    async def test_active_ones_are_listed_by_number(self, registry: Registry) -> None:
        devices = [await registry.add(f"device {number}") for number in range(5)]
        changes = [change(device, active=device is not devices[2]) for device in devices]
        await registry.store.save_device_states(changes, alive_at_ms=1)
        first = await registry.store.list_active_states(limit=3)
        rest = await registry.store.list_active_states(limit=3, after_number=first[-1].device_number)
        assert [state.device_id for state in first] == [devices[n].id for n in (0, 1, 3)]
        assert [state.device_id for state in rest] == [devices[4].id]

    @pytest.mark.parametrize(("at_ms", "ended_at_ms"), [(None, 900), (950, 950), (10, 700)])
    async def test_connections_left_open_end_when_the_server_did(
        self, registry: Registry, at_ms: int | None, ended_at_ms: int
    ) -> None:
        left, closed, store = await registry.add("left"), await registry.add("closed"), registry.store
        changes = [
            change(left, connected_at_ms=600, activity_at_ms=700),
            change(closed, connected=False, disconnected_at_ms=650),
        ]
        await store.save_device_states(changes, alive_at_ms=900)
        assert await store.end_open_connections(kind="disconnected", sentence="Gone.", at_ms=at_ms) == 1
        assert await store.end_open_connections(kind="disconnected", sentence="Gone.", at_ms=at_ms) == 0
        states = [await store.find_device_state(device.id) for device in (left, closed)]
        assert [state.disconnected_at_ms for state in states if state] == [ended_at_ms, 650]
        assert not any(state.connected for state in states if state)
        (event,) = await store.list_device_events(left.id, limit=10)
        assert (event.kind, event.sentence, event.at_ms) == ("disconnected", "Gone.", ended_at_ms)
        assert await store.list_device_events(closed.id, limit=10) == []


def event(device: Device, at_ms: int, kind: str = "connected", **fields: object) -> DeviceEvent:
    members: dict[str, object] = {"sentence": f"At {at_ms}.", "details": {}, **fields}
    return DeviceEvent(device_id=device.id, at_ms=at_ms, kind=kind, **members)


class TestDeviceEvents:
    async def test_events_come_back_newest_first(self, registry: Registry) -> None:
        device, other, store = await registry.add("a"), await registry.add("b"), registry.store
        details = {"peerAddress": "192.0.2.7", "port": 1, "resumed": True}
        written = [
            event(device, 1, details=details),
            event(other, 2),
            event(device, 3, "will", payload=b"\x00\xff"),
        ]
        await store.append_device_events(written, kept=10)
        newest, oldest = await store.list_device_events(device.id, limit=10)
        assert newest == msgspec.structs.replace(written[2], id=newest.id)
        assert oldest == msgspec.structs.replace(written[0], id=oldest.id)
        assert newest.id > oldest.id > 0

    async def test_pages_kinds_and_times(self, registry: Registry) -> None:
        device, store = await registry.add("a"), registry.store
        kinds = ("connected", "will", "connected", "disconnected")
        await store.append_device_events(
            [event(device, at_ms, kind) for at_ms, kind in enumerate(kinds)], kept=10
        )
        page = await store.list_device_events(device.id, limit=3)
        rest = await store.list_device_events(device.id, limit=3, before_id=page[-1].id)
        assert [found.at_ms for found in (*page, *rest)] == [3, 2, 1, 0]
        connects = await store.list_device_events(device.id, limit=9, kind="connected")
        assert [found.at_ms for found in connects] == [2, 0]
        late = await store.list_device_events(device.id, limit=9, since_ms=2)
        assert [found.at_ms for found in late] == [3, 2]

    async def test_newest_of_each_device_stay(self, registry: Registry) -> None:
        device, other, store = await registry.add("a"), await registry.add("b"), registry.store
        await store.append_device_events([event(other, 0)], kept=3)
        for at_ms in range(5):
            await store.append_device_events([event(device, at_ms)], kept=3)
        await store.append_device_events([event(device, at_ms) for at_ms in (5, 6)], kept=3)
        assert [found.at_ms for found in await store.list_device_events(device.id, limit=9)] == [6, 5, 4]
        assert len(await store.list_device_events(other.id, limit=9)) == 1

    async def test_old_ones_are_removed_a_few_at_a_time(self, registry: Registry) -> None:
        device, store = await registry.add("a"), registry.store
        await store.append_device_events([event(device, at_ms) for at_ms in range(10)], kept=100)
        assert await store.remove_device_events(before_ms=5, limit=3) == 3
        assert await store.remove_device_events(before_ms=5, limit=3) == 2
        assert await store.remove_device_events(before_ms=5, limit=3) == 0
        assert len(await store.list_device_events(device.id, limit=100)) == 5

    async def test_events_of_a_removed_device_go_with_it(self, registry: Registry) -> None:
        device, store = await registry.add("a"), registry.store
        await store.append_device_events([event(device, 1)], kept=10)
        await store.remove_device(device.id)
        await store.append_device_events([event(device, 2)], kept=10)
        assert await store.list_device_events(device.id, limit=10) == []


class TestReopening:
    @pytest.mark.parametrize("kind", STORES)
    async def test_everything_is_there_again(self, kind: str, tmp_path: Path) -> None:
        store = STORES[kind](tmp_path)
        await store.open()
        registry = Registry(store, *new_tenant())
        await store.add_tenant(registry.tenant, registry.profile)
        device = await registry.add("boiler", "secret")
        await append(store, device.number, (10, VALUES))
        await store.close()
        store = STORES[kind](tmp_path)
        await store.open()
        try:
            assert await store.find_device(device.id) == device
            latest = await store.latest(device.number, None)
            assert_same_values({key: point.value for key, point in latest.items()}, VALUES)
            await append(store, device.number, (10, {"flag": False}))
            assert await store.latest(device.number, ["flag"]) == {"flag": DataPoint(10, False)}
        finally:
            await store.close()

    async def test_healthy_store_passes_its_check(self, store: Store) -> None:
        await store.check()


class TestRpcCalls:
    """Calls that are kept until they have ended."""

    @pytest.fixture
    async def device(self, registry: Registry) -> Device:
        return await registry.add("pump")

    def call(self, device: Device, **fields: object) -> RpcCall:
        number = next(_numbers)
        given: dict[str, object] = {
            "id": new_id(),
            "tenant_id": device.tenant_id,
            "device_id": device.id,
            "created_at_ms": 1_000 + number,
            "expires_at_ms": 9_000_000,
            "request_id": number,
            "oneway": False,
            "method": "setGpio",
            "params_json": '{"pin":7}',
            "retries": 5,
        }
        return RpcCall(**(given | fields))  # type: ignore[arg-type]  # as the fields' types say

    async def test_what_is_added_is_found(self, store: Store, device: Device) -> None:
        call = self.call(device, additional_info_json='{"a":1}', oneway=True)
        await store.add_rpc_call(call, most_live=10)
        assert await store.find_rpc_call(call.id) == call
        assert await store.find_live_rpc_call(device.id, call.request_id) == call
        assert await store.find_live_rpc_call(device.id, call.request_id + 1) is None
        assert await store.find_rpc_call(new_id()) is None

    async def test_an_id_is_there_once(self, store: Store, device: Device) -> None:
        call = self.call(device)
        await store.add_rpc_call(call, most_live=10)
        with pytest.raises(AlreadyExists) as taken:
            await store.add_rpc_call(msgspec.structs.replace(call, request_id=0), most_live=10)
        assert taken.value.constraint == "rpc_calls.id"
        with pytest.raises(AlreadyExists) as taken:
            await store.add_rpc_call(msgspec.structs.replace(call, id=new_id()), most_live=10)
        assert taken.value.constraint == "rpc_calls.request_id"

    async def test_no_more_than_the_bound_are_live(self, store: Store, device: Device) -> None:
        for _ in range(2):
            await store.add_rpc_call(self.call(device), most_live=2)
        with pytest.raises(Unavailable, match="2 calls are waiting"):
            await store.add_rpc_call(self.call(device), most_live=2)

    async def test_a_call_needs_its_device(self, store: Store, device: Device) -> None:
        with pytest.raises(NotFound):
            await store.add_rpc_call(self.call(device, device_id=new_id()), most_live=10)

    async def test_steps_are_stored_until_it_has_ended(self, store: Store, device: Device) -> None:
        call = self.call(device)
        await store.add_rpc_call(call, most_live=10)
        sent = msgspec.structs.replace(call, status="SENT", attempts=1)
        assert await store.update_rpc_call(sent)
        assert await store.find_rpc_call(call.id) == sent
        answered = msgspec.structs.replace(sent, status="SUCCESSFUL", live=False, response=b"\xff{}")
        assert await store.update_rpc_call(answered)
        assert not await store.update_rpc_call(msgspec.structs.replace(sent, status="FAILED"))
        assert await store.find_rpc_call(call.id) == answered
        assert await store.find_live_rpc_call(device.id, call.request_id) is None

    async def test_live_ones_come_oldest_first(self, store: Store, device: Device) -> None:
        calls = [self.call(device, created_at_ms=at) for at in (30, 10, 20)]
        ended = self.call(device, created_at_ms=1, live=False)
        late = self.call(device, created_at_ms=2, expires_at_ms=500)
        for call in (*calls, ended, late):
            await store.add_rpc_call(call, most_live=10)
        found = await store.list_live_rpc_calls(device.id, now_ms=500, limit=2)
        assert [call.created_at_ms for call in found] == [10, 20]

    async def test_pages_by_status(self, store: Store, registry: Registry, device: Device) -> None:
        other = await registry.add("other")
        await store.add_rpc_call(self.call(other), most_live=10)
        for at, status in ((10, "QUEUED"), (20, "FAILED"), (30, "QUEUED")):
            await store.add_rpc_call(self.call(device, created_at_ms=at, status=status), most_live=10)
        page = await store.list_rpc_calls(device.id, limit=2, descending=True)
        assert ([call.created_at_ms for call in page.rows], page.total) == ([30, 20], 3)
        page = await store.list_rpc_calls(device.id, limit=2, offset=1, status="QUEUED", descending=False)
        assert ([call.created_at_ms for call in page.rows], page.total) == ([30], 2)

    async def test_calls_past_their_time_expire(self, store: Store, device: Device) -> None:
        calls = [self.call(device, expires_at_ms=at) for at in (100, 200, 300)]
        for call in calls:
            await store.add_rpc_call(call, most_live=10)
        assert await store.expire_rpc_calls(99, status="EXPIRED", limit=10) == 0
        assert await store.expire_rpc_calls(200, status="EXPIRED", limit=10) == 2
        found = [await store.find_rpc_call(call.id) for call in calls]
        assert [(call.status, call.live) for call in found if call] == [
            ("EXPIRED", False),
            ("EXPIRED", False),
            ("QUEUED", True),
        ]

    async def test_ended_ones_are_removed_after_a_time(self, store: Store, device: Device) -> None:
        ended, live = self.call(device, expires_at_ms=100, live=False), self.call(device, expires_at_ms=100)
        for call in (ended, live):
            await store.add_rpc_call(call, most_live=10)
        assert await store.remove_ended_rpc_calls(100, limit=10) == 0
        assert await store.remove_ended_rpc_calls(101, limit=10) == 1
        assert await store.find_rpc_call(ended.id) is None
        await store.remove_rpc_call(live.id)
        await store.remove_rpc_call(live.id)
        assert await store.find_rpc_call(live.id) is None

    async def test_they_go_with_their_device(self, store: Store, device: Device) -> None:
        call = self.call(device)
        await store.add_rpc_call(call, most_live=10)
        await store.remove_device(device.id)
        assert await store.find_rpc_call(call.id) is None
