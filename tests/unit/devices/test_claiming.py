from __future__ import annotations

import asyncio

import msgspec
import pytest

from thingpass.bus.local import LocalBus
from thingpass.bus.messages import DeviceUpdated
from thingpass.clock import ManualClock
from thingpass.devices.claiming import (
    FAILURES_PER_DEVICE,
    FAILURES_PER_USER,
    LONGEST_WINDOW_MS,
    ClaimingTriedTooOften,
    ClaimResult,
    ClaimService,
)
from thingpass.devices.customers import CustomerService
from thingpass.devices.devices import DeviceService
from thingpass.metrics import Counters
from thingpass.settings import DeviceSettings
from thingpass.store.rows import Customer, Device, JsonText, Tenant
from thingpass.store.sqlite.store import SqliteStore

SUCCESS, FAILURE, CLAIMED = ClaimResult.SUCCESS, ClaimResult.FAILURE, ClaimResult.CLAIMED


class Bench:
    """A device, two customers, and the service."""

    def __init__(
        self, store: SqliteStore, bus: LocalBus, clock: ManualClock, settings: DeviceSettings
    ) -> None:
        self.store, self.clock, self.counters = store, clock, Counters()
        self.service = ClaimService(store, bus, self.counters, clock, settings)
        self.device: Device
        self.acme: Customer
        self.zeta: Customer

    async def claim(
        self, secret: str, customer: Customer | None = None, user_id: str = "user"
    ) -> ClaimResult:
        device = await self.store.find_device(self.device.id)
        assert device is not None
        who = (customer or self.acme).id
        result, given = await self.service.claim(device, who, secret, user_id=user_id)
        assert (given.customer_id == who) is (result is SUCCESS)
        assert given == await self.store.find_device(self.device.id)
        return result

    async def attributes(self) -> dict[str, object]:
        found = await self.store.find_attributes(self.device.id, "SERVER_SCOPE", None)
        return {each.key: each.value for each in found}

    async def note(self, **values: bool | str) -> None:
        await self.store.save_attributes(self.device.id, "SERVER_SCOPE", values, 1)


async def make_bench(
    store: SqliteStore, tenant: Tenant, bus: LocalBus, clock: ManualClock, settings: DeviceSettings
) -> Bench:
    bench = Bench(store, bus, clock, settings)
    customers = CustomerService(store, bus, clock)
    bench.device = await DeviceService(store, bus, clock).add(tenant.id, "lamp")
    for name in ("acme", "zeta"):
        customer = Customer(id="", created_at_ms=0, tenant_id=tenant.id, title=name)
        setattr(bench, name, await customers.add(customer))
    return bench


@pytest.fixture
async def bench(store: SqliteStore, tenant: Tenant, bus: LocalBus, clock: ManualClock) -> Bench:
    return await make_bench(store, tenant, bus, clock, DeviceSettings(claim_window_s=60))


@pytest.fixture
async def strict(store: SqliteStore, tenant: Tenant, bus: LocalBus, clock: ManualClock) -> Bench:
    """Where a device must be allowed to be claimed."""
    return await make_bench(store, tenant, bus, clock, DeviceSettings(claiming_allowed_by_default=False))


async def test_who_knows_the_secret_has_the_device_once(bench: Bench, bus: LocalBus) -> None:
    news: list[str] = []
    bus.subscribe(DeviceUpdated, lambda message: news.append(message.device_id))
    assert await bench.service.offer(bench.device.id, "s3cret")
    assert await bench.claim("s3cret") is SUCCESS
    assert news == [bench.device.id]
    assert await bench.claim("s3cret", bench.zeta) is CLAIMED
    assert bench.counters.claims == {"offered": 1, "success": 1, "claimed": 1}


async def test_of_two_customers_at_once_one_has_it(bench: Bench) -> None:
    await bench.service.offer(bench.device.id, "s")
    results = await asyncio.gather(
        *(
            bench.service.claim(bench.device, customer.id, "s", user_id="u")
            for customer in (bench.acme, bench.zeta)
        )
    )
    assert {result for result, _ in results} == {SUCCESS, CLAIMED}


async def test_device_that_offered_nothing_is_not_claimed(bench: Bench) -> None:
    assert await bench.claim("") is FAILURE


async def test_empty_secret_is_a_secret(bench: Bench) -> None:
    await bench.service.offer(bench.device.id, "")
    assert await bench.claim("x") is FAILURE
    assert await bench.claim("") is SUCCESS


@pytest.mark.parametrize(("duration_ms", "lasts_s"), [(0, 60), (-5, 60), (2_000, 2)])
async def test_offer_ends_after_its_time_or_the_settings(
    bench: Bench, duration_ms: int, lasts_s: int
) -> None:
    await bench.service.offer(bench.device.id, "s", duration_ms)
    bench.clock.advance(lasts_s)
    assert await bench.claim("s") is FAILURE


async def test_offer_is_bounded_in_time(bench: Bench) -> None:
    await bench.service.offer(bench.device.id, "s", 2**62)
    claim = await bench.store.find_claim(bench.device.id)
    assert claim is not None
    assert claim.expires_at_ms == bench.clock.now_ms() + LONGEST_WINDOW_MS


async def test_second_offer_changes_nothing_while_the_first_holds(bench: Bench) -> None:
    await bench.service.offer(bench.device.id, "first", 10_000)
    assert await bench.service.offer(bench.device.id, "second", 90_000)
    assert await bench.claim("second") is FAILURE
    bench.clock.advance(10)
    assert await bench.claim("first") is FAILURE
    assert await bench.service.offer(bench.device.id, "third")
    assert await bench.claim("third") is SUCCESS


async def test_secret_is_not_kept(bench: Bench) -> None:
    await bench.service.offer(bench.device.id, "s3cret")
    claim = await bench.store.find_claim(bench.device.id)
    assert claim is not None
    assert b"s3cret" not in claim.secret_salt + claim.secret_sha256


async def test_wrong_secret_leaves_the_offer_but_not_for_ever(bench: Bench) -> None:
    await bench.service.offer(bench.device.id, "s", 3_600_000)
    for _ in range(FAILURES_PER_DEVICE):
        assert await bench.claim("x") is FAILURE
    with pytest.raises(ClaimingTriedTooOften) as caught:
        await bench.claim("s", user_id="another")
    bench.clock.advance(caught.value.retry_after_s)
    assert await bench.claim("s") is SUCCESS


async def test_user_that_guesses_over_many_devices_is_stopped(
    bench: Bench, tenant: Tenant, bus: LocalBus
) -> None:
    devices = DeviceService(bench.store, bus, bench.clock)
    for number in range(FAILURES_PER_USER):
        device = await devices.add(tenant.id, f"lamp {number}")
        await bench.service.offer(device.id, "s")
        await bench.service.claim(device, bench.acme.id, "x", user_id="u")
    await bench.service.offer(bench.device.id, "s")
    with pytest.raises(ClaimingTriedTooOften):
        await bench.claim("s", user_id="u")
    assert await bench.claim("s", user_id="another") is SUCCESS


async def test_device_of_somebody_offers_nothing(bench: Bench) -> None:
    await bench.service.offer(bench.device.id, "s")
    await bench.claim("s")
    assert not await bench.service.offer(bench.device.id, "s")
    assert await bench.store.find_claim(bench.device.id) is None


async def test_device_that_is_gone_offers_nothing(bench: Bench) -> None:
    await bench.store.remove_device(bench.device.id)
    assert not await bench.service.offer(bench.device.id, "s")


async def test_claim_that_people_wrote_as_an_attribute(bench: Bench) -> None:
    until = bench.clock.now_ms() + 1_000
    text = msgspec.json.encode({"secretKey": "s", "expirationTime": until}).decode()
    await bench.note(claimingData=JsonText(text))
    assert await bench.claim("x") is FAILURE
    assert await bench.claim("s") is SUCCESS
    assert await bench.attributes() == {}


@pytest.mark.parametrize("text", ['{"secretKey":"s"}', '{"expirationTime":"x"}', "[]"])
async def test_written_claim_that_has_ended_or_is_unreadable_claims_nothing(bench: Bench, text: str) -> None:
    await bench.note(claimingData=JsonText(text))
    assert await bench.claim("s") is FAILURE


async def test_claiming_must_be_allowed_where_the_setting_says_so(strict: Bench) -> None:
    assert not await strict.service.offer(strict.device.id, "s")
    await strict.note(claimingAllowed="true")
    assert not await strict.service.offer(strict.device.id, "s")
    await strict.note(claimingAllowed=True)
    assert await strict.service.offer(strict.device.id, "s")
    assert await strict.claim("s") is SUCCESS
    assert await strict.attributes() == {}


async def test_device_that_was_given_back_can_be_claimed_again(strict: Bench) -> None:
    await strict.note(claimingAllowed=True)
    await strict.service.offer(strict.device.id, "s")
    await strict.claim("s")
    device = await strict.store.find_device(strict.device.id)
    assert device is not None
    await strict.service.give_back(device)
    assert await strict.attributes() == {"claimingAllowed": True}
    assert await strict.claim("s") is FAILURE
    await strict.service.offer(strict.device.id, "s")
    assert await strict.claim("s", strict.zeta) is SUCCESS
