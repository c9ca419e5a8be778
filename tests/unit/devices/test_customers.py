from __future__ import annotations

import msgspec
import pytest

from thingpass.bus.local import LocalBus
from thingpass.bus.messages import DeviceUpdated
from thingpass.clock import ManualClock
from thingpass.devices.activation import LINK_S, UserAccounts
from thingpass.devices.customers import CustomerService
from thingpass.devices.devices import DeviceService
from thingpass.devices.roles import CUSTOMER_USER, TENANT_ADMIN
from thingpass.devices.users import UserService
from thingpass.errors import AlreadyExists, Invalid, NotFound, Unauthenticated
from thingpass.store.rows import Customer, Tenant, User
from thingpass.store.sqlite.store import SqliteStore

FOREIGN = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def customers(store: SqliteStore, bus: LocalBus, clock: ManualClock) -> CustomerService:
    return CustomerService(store, bus, clock)


@pytest.fixture
def devices(store: SqliteStore, bus: LocalBus, clock: ManualClock) -> DeviceService:
    return DeviceService(store, bus, clock)


@pytest.fixture
def accounts(store: SqliteStore, clock: ManualClock) -> UserAccounts:
    return UserAccounts(store, UserService(store, clock), clock)


def new_customer(tenant: Tenant, title: str = "ACME", **fields: object) -> Customer:
    return Customer(id="", created_at_ms=0, tenant_id=tenant.id, title=title, **fields)


def new_user(tenant: Tenant, **fields: object) -> User:
    return User(
        **{
            "id": "",
            "created_at_ms": 0,
            "tenant_id": tenant.id,
            "authority": TENANT_ADMIN,
            "email": "a@example.org",
            "password_hash": "",
            **fields,
        }
    )


class TestCustomers:
    async def test_customer_is_added_found_and_changed(
        self, customers: CustomerService, tenant: Tenant, clock: ManualClock
    ) -> None:
        acme = await customers.add(new_customer(tenant, city="杭州"))
        assert acme.created_at_ms == clock.now_ms()
        assert await customers.get(tenant.id, acme.id) == acme
        changed = await customers.update(tenant.id, msgspec.structs.replace(acme, title="Acme"))
        assert changed == msgspec.structs.replace(acme, title="Acme", version=2)
        assert await customers.find_by_title(tenant.id, "Acme") == changed

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"title": " "}, "Customer title should be specified!"),
            ({"title": "Public"}, "'Public' title for customer is system reserved!"),
            ({"title": "x" * 256}, "Validation error: title length must be equal or less than 255"),
            ({"title": "a", "city": "<b>"}, "Validation error: city is malformed"),
        ],
    )
    async def test_what_thingsboard_refuses(
        self, customers: CustomerService, tenant: Tenant, fields: dict[str, str], sentence: str
    ) -> None:
        with pytest.raises(Invalid) as caught:
            await customers.add(new_customer(tenant, **fields))
        assert caught.value.sentence == sentence

    async def test_title_is_taken_once(self, customers: CustomerService, tenant: Tenant) -> None:
        await customers.add(new_customer(tenant))
        other = await customers.add(new_customer(tenant, "Other"))
        with pytest.raises(AlreadyExists, match="Customer with such title already exists!"):
            await customers.add(new_customer(tenant))
        with pytest.raises(AlreadyExists, match="Customer with such title already exists!"):
            await customers.update(tenant.id, msgspec.structs.replace(other, title="ACME"))

    async def test_another_tenants_customer_is_not_found(
        self, customers: CustomerService, devices: DeviceService, tenant: Tenant
    ) -> None:
        acme = await customers.add(new_customer(tenant))
        with pytest.raises(NotFound):
            await customers.get(FOREIGN, acme.id)
        with pytest.raises(NotFound):
            await customers.remove(FOREIGN, acme.id)
        with pytest.raises(NotFound):
            await customers.update(FOREIGN, acme)
        with pytest.raises(Invalid):
            await customers.check_may_have(FOREIGN, acme.id)
        device = await devices.add(tenant.id, "lamp")
        with pytest.raises(NotFound):
            await customers.assign(msgspec.structs.replace(device, tenant_id=FOREIGN), acme.id)

    async def test_devices_are_given_taken_and_told_of(
        self, customers: CustomerService, devices: DeviceService, tenant: Tenant, bus: LocalBus
    ) -> None:
        news: list[str] = []
        bus.subscribe(DeviceUpdated, lambda message: news.append(message.device_id))
        acme = await customers.add(new_customer(tenant))
        device = await devices.add(tenant.id, "lamp")
        device = await customers.assign(device, acme.id)
        assert device.customer_id == acme.id
        assert await customers.titles([device]) == {acme.id: "ACME"}
        device = await customers.unassign(device)
        with pytest.raises(Invalid, match="Device isn't assigned to any customer!"):
            await customers.unassign(device)
        await customers.assign(device, acme.id)
        await customers.remove(tenant.id, acme.id)
        assert (await devices.get(tenant.id, device.id)).customer_id is None
        assert news == [device.id] * 4


class TestUsers:
    async def test_user_chooses_the_password_once(
        self, accounts: UserAccounts, store: SqliteStore, clock: ManualClock, tenant: Tenant
    ) -> None:
        users = UserService(store, clock)
        user = await accounts.add(new_user(tenant))
        with pytest.raises(Unauthenticated):
            await users.authenticate("a@example.org", "")
        first, link = await accounts.make_link(user), await accounts.make_link(user)
        for token in (first.token, "", "x" * 10_000):
            with pytest.raises(Invalid, match="unknown or has ended"):
                await accounts.activate(token, "secret1")
        with pytest.raises(Invalid, match="Password must be 6"):
            await accounts.activate(link.token, "short")
        activated = await accounts.activate(link.token, "secret1")
        assert await users.authenticate("a@example.org", "secret1") == activated
        with pytest.raises(Invalid):
            await accounts.activate(link.token, "secret2")
        with pytest.raises(Invalid, match="User is already activated!"):
            await accounts.make_link(activated)
        assert link.token not in repr(link)

    async def test_link_ends(self, accounts: UserAccounts, clock: ManualClock, tenant: Tenant) -> None:
        link = await accounts.make_link(await accounts.add(new_user(tenant)))
        clock.advance(LINK_S)
        with pytest.raises(Invalid):
            await accounts.activate(link.token, "secret1")

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"email": ""}, "User email should be specified!"),
            ({"authority": ""}, "User authority isn't defined!"),
            ({"authority": "SYS_ADMIN"}, "Users of authority 'SYS_ADMIN' cannot be added!"),
            ({"customer_id": FOREIGN}, "Tenant administrator can't be assigned to customer!"),
            ({"authority": CUSTOMER_USER}, "Customer user should be assigned to customer!"),
            (
                {"authority": CUSTOMER_USER, "customer_id": FOREIGN},
                "User is referencing to non-existent customer!",
            ),
            ({"first_name": "<b>"}, "Validation error: firstName is malformed"),
            ({"phone": "1" * 256}, "Validation error: phone length must be equal or less than 255"),
        ],
    )
    async def test_what_thingsboard_refuses(
        self, accounts: UserAccounts, tenant: Tenant, fields: dict[str, str], sentence: str
    ) -> None:
        with pytest.raises(Invalid) as caught:
            await accounts.add(new_user(tenant, **fields))
        assert caught.value.sentence == sentence

    async def test_what_may_change_and_what_not(
        self, accounts: UserAccounts, customers: CustomerService, tenant: Tenant
    ) -> None:
        acme = await customers.add(new_customer(tenant))
        user = await accounts.add(new_user(tenant, authority=CUSTOMER_USER, customer_id=acme.id))
        wanted = msgspec.structs.replace(user, email="b@example.org", first_name="B", phone="1")
        assert await accounts.update(tenant.id, wanted) == wanted
        await accounts.add(new_user(tenant))
        for fields, sentence in (
            ({"email": "a@example.org"}, "User with email 'a@example.org' already present in database!"),
            ({"authority": TENANT_ADMIN}, "Can't update user authority!"),
            ({"customer_id": None}, "Can't update user customer id!"),
        ):
            with pytest.raises((Invalid, AlreadyExists)) as caught:
                await accounts.update(tenant.id, msgspec.structs.replace(wanted, **fields))
            assert caught.value.sentence == sentence
        with pytest.raises(NotFound):
            await accounts.update(FOREIGN, wanted)

    async def test_one_administrator_remains(self, accounts: UserAccounts, tenant: Tenant) -> None:
        only = await accounts.add(new_user(tenant))
        with pytest.raises(Invalid, match="At least one tenant administrator must remain!"):
            await accounts.remove(tenant.id, only.id)
        second = await accounts.add(new_user(tenant, email="b@example.org"))
        with pytest.raises(NotFound):
            await accounts.remove(FOREIGN, second.id)
        await accounts.remove(tenant.id, second.id)
        with pytest.raises(NotFound):
            await accounts.get(tenant.id, second.id)
