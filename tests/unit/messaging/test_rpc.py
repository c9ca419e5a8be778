"""Who gets a call, and what becomes of it; the store is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.messaging.waiting import PATIENCE_S, until
from thingpass.bus.local import LocalBus
from thingpass.clock import ManualClock
from thingpass.devices.devices import DeviceService
from thingpass.devices.tenants import ensure_default_tenant
from thingpass.errors import Unavailable
from thingpass.messaging.kept_calls import NewKeptCall
from thingpass.messaging.listeners import Delivery, Listeners, ReportDelivery, RpcRequest
from thingpass.messaging.pending_calls import (
    LARGEST_REQUEST_ID,
    DeviceAway,
    DeviceRefused,
    DeviceSilent,
    RequestIds,
    TooManyCalls,
)
from thingpass.messaging.rpc import RpcService
from thingpass.metrics import Counters
from thingpass.store.rows import Device, RpcCall
from thingpass.store.sqlite.store import SqliteStore


class Listener:
    """Takes calls, or not, and keeps how to report them."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.requests: list[RpcRequest] = []
        self.reports: list[ReportDelivery] = []

    def rpc_requested(self, request: RpcRequest, report: ReportDelivery) -> bool:
        if self.takes:
            self.requests.append(request)
            self.reports.append(report)
            report(Delivery.SENT)
        return self.takes


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "data", synchronous="normal")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
async def rpc(store: SqliteStore, clock: ManualClock, counters: Counters) -> AsyncIterator[RpcService]:
    rpc = RpcService(store, clock, counters, kept_for_s=3600)
    yield rpc
    await rpc.close()


@pytest.fixture
async def device(store: SqliteStore, clock: ManualClock) -> Device:
    tenant = await ensure_default_tenant(store, clock)
    return await DeviceService(store, LocalBus(), clock).add(tenant.id, "pump")


def waits(
    rpc: RpcService, device: Device, *, oneway: bool = False, timeout_s: float = PATIENCE_S
) -> asyncio.Task[bytes | None]:
    return asyncio.create_task(rpc.call(device.id, "m", "1", oneway=oneway, timeout_s=timeout_s))


def new_call(device: Device, clock: ManualClock, number: int = 1, **fields: object) -> NewKeptCall:
    given: dict[str, object] = {
        "id": f"00000000-0000-4000-8000-{number:012x}",
        "tenant_id": device.tenant_id,
        "device_id": device.id,
        "method": "m",
        "params_json": "1",
        "oneway": False,
        "expires_at_ms": clock.now_ms() + 60_000,
        "retries": 5,
    }
    return NewKeptCall(**(given | fields))  # type: ignore[arg-type]  # as the fields' types say


class TestOffering:
    """A call goes to one listener."""

    async def test_the_newest_that_takes_it(self, rpc: RpcService, device: Device) -> None:
        first, second, third = Listener(), Listener(), Listener(takes=False)
        for listener in (first, second, third):
            rpc.listen(device.id, listener)
        task = waits(rpc, device)
        await until(lambda: bool(second.requests))
        assert not first.requests
        assert rpc.answered_at_once(device.id, second.requests[0].id, b"2")
        assert await task == b"2"

    async def test_what_a_leaving_listener_carried_goes_to_another(
        self, rpc: RpcService, device: Device
    ) -> None:
        first, second = Listener(), Listener()
        rpc.listen(device.id, first)
        rpc.listen(device.id, second)
        task = waits(rpc, device, oneway=True)
        await until(lambda: bool(second.requests))
        rpc.leave(device.id, second)
        assert first.requests == second.requests
        second.reports[0](Delivery.DELIVERED)
        assert not task.done()
        first.reports[0](Delivery.DELIVERED)
        assert await task is None

    async def test_what_is_on_its_way_is_not_offered_twice(self, rpc: RpcService, device: Device) -> None:
        listener = Listener()
        rpc.listen(device.id, listener)
        task = waits(rpc, device)
        await until(lambda: bool(listener.requests))
        rpc.listen(device.id, listener)
        assert len(listener.requests) == 1
        listener.reports[0](Delivery.DELIVERED)
        rpc.resume(device.id, listener)
        assert len(listener.requests) == 1, "who has been there all along has it"
        rpc.listen(device.id, listener)
        assert len(listener.requests) == 2, "who subscribes anew may have lost it"
        task.cancel()

    async def test_leaving_without_having_come_is_no_error(self, rpc: RpcService, device: Device) -> None:
        rpc.leave(device.id, Listener())

    async def test_other_devices_hear_nothing_and_cannot_answer(
        self, rpc: RpcService, device: Device
    ) -> None:
        listener, other = Listener(), Listener()
        rpc.listen(device.id, listener)
        rpc.listen("another", other)
        task = waits(rpc, device)
        await until(lambda: bool(listener.requests))
        assert not other.requests
        assert not rpc.answered_at_once("another", listener.requests[0].id, b"forged")
        assert not await rpc.answered("another", listener.requests[0].id, b"forged")
        task.cancel()


class TestWaiting:
    """Calls whose caller waits."""

    async def test_one_way_is_not_answered(self, rpc: RpcService, device: Device) -> None:
        listener = Listener()
        rpc.listen(device.id, listener)
        task = waits(rpc, device, oneway=True)
        await until(lambda: bool(listener.requests))
        assert not rpc.answered_at_once(device.id, listener.requests[0].id, b"1")
        listener.reports[0](Delivery.DELIVERED)
        assert await task is None

    async def test_an_answer_may_come_before_the_acknowledgement(
        self, rpc: RpcService, device: Device
    ) -> None:
        listener = Listener()
        rpc.listen(device.id, listener)
        task = waits(rpc, device)
        await until(lambda: bool(listener.requests))
        assert await rpc.answered(device.id, listener.requests[0].id, b"1")
        listener.reports[0](Delivery.DELIVERED)
        assert await task == b"1"
        assert not await rpc.answered(device.id, listener.requests[0].id, b"again")

    async def test_how_it_can_fail(self, rpc: RpcService, device: Device, counters: Counters) -> None:
        with pytest.raises(DeviceAway, match="was not there"):
            await waits(rpc, device, timeout_s=0.01)
        listener = Listener()
        rpc.listen(device.id, listener)
        with pytest.raises(DeviceSilent, match="did not answer"):
            await waits(rpc, device, timeout_s=0.01)
        with pytest.raises(DeviceSilent, match="did not acknowledge"):
            await waits(rpc, device, oneway=True, timeout_s=0.01)
        task = waits(rpc, device)
        await until(lambda: len(listener.reports) == 3)
        listener.reports[2](Delivery.REFUSED)
        with pytest.raises(DeviceRefused):
            await task
        task = waits(rpc, device)
        await until(lambda: len(listener.reports) == 4)
        rpc.device_removed(device.id)
        with pytest.raises(DeviceAway, match="removed"):
            await task
        assert counters.rpc_calls == {"away": 2, "silent": 2, "refused": 1}
        assert rpc.waiting == 0

    async def test_as_many_as_the_bound_and_none_after_the_stop(
        self, rpc: RpcService, device: Device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("thingpass.messaging.rpc.MOST_WAITING", 2)
        tasks = [waits(rpc, device) for _ in range(2)]
        await until(lambda: rpc.waiting == 2)
        with pytest.raises(TooManyCalls):
            await waits(rpc, device)
        rpc.stop_waiting()
        for task in (*tasks, waits(rpc, device)):
            with pytest.raises(Unavailable, match="stops"):
                await task


class TestKept:
    """Calls that the store keeps. A device by hand shows the rest: tests/integration/test_calls.py."""

    async def kept(self, store: SqliteStore, row: RpcCall) -> RpcCall:
        found = await store.find_rpc_call(row.id)
        assert found is not None
        return found

    async def until_status(self, store: SqliteStore, row: RpcCall, status: str) -> None:
        async def reached() -> bool:
            return (await self.kept(store, row)).status == status

        await until(reached)

    async def test_the_end_is_stored_when_answered_returns(
        self, rpc: RpcService, store: SqliteStore, device: Device, clock: ManualClock
    ) -> None:
        listener = Listener()
        rpc.listen(device.id, listener)
        row = await rpc.call_and_keep(new_call(device, clock))
        await until(lambda: bool(listener.requests))
        listener.reports[0](Delivery.DELIVERED)
        assert await rpc.answered(device.id, row.request_id, b"5")
        found = await self.kept(store, row)
        assert (found.status, found.live, found.response) == ("SUCCESSFUL", False, b"5")
        assert not await rpc.answered(device.id, row.request_id, b"again")
        rpc.listen(device.id, Listener())
        assert (await self.kept(store, row)).response == b"5"

    async def test_answered_although_it_is_not_in_memory(
        self, rpc: RpcService, store: SqliteStore, device: Device, clock: ManualClock
    ) -> None:
        row = await rpc.call_and_keep(new_call(device, clock))
        one_way = await rpc.call_and_keep(new_call(device, clock, 2, oneway=True))
        assert await rpc.answered(device.id, row.request_id, b"5")
        assert not await rpc.answered(device.id, one_way.request_id, b"5")
        clock.advance(61)
        late = await rpc.call_and_keep(new_call(device, clock, 3, expires_at_ms=clock.now_ms()))
        assert not await rpc.answered(device.id, late.request_id, b"5")
        assert (await self.kept(store, row)).status == "SUCCESSFUL"

    async def test_silence_counts_and_ends_in_failure(
        self,
        rpc: RpcService,
        store: SqliteStore,
        device: Device,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("thingpass.messaging.rpc.ACKNOWLEDGED_WITHIN_S", 0.01)
        listener = Listener()
        rpc.listen(device.id, listener)
        row = await rpc.call_and_keep(new_call(device, clock, retries=1))
        for status, attempts in (("TIMEOUT", 1), ("FAILED", 2)):
            await self.until_status(store, row, status)
            found = await self.kept(store, row)
            assert found.attempts == attempts
            rpc.leave(device.id, listener)
            listener = Listener()
            rpc.listen(device.id, listener)
        assert not found.live

    async def test_a_late_acknowledgement_is_one(
        self,
        rpc: RpcService,
        store: SqliteStore,
        device: Device,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("thingpass.messaging.rpc.ACKNOWLEDGED_WITHIN_S", 0.01)
        listener = Listener()
        rpc.listen(device.id, listener)
        row = await rpc.call_and_keep(new_call(device, clock, oneway=True))
        for status in ("TIMEOUT", "DELIVERED"):
            await self.until_status(store, row, status)
            listener.reports[0](Delivery.DELIVERED)

    async def test_a_device_that_is_away_has_time(
        self,
        rpc: RpcService,
        store: SqliteStore,
        device: Device,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Its session is kept: what was sent is sent again there, and does not count as tried in vain."""
        monkeypatch.setattr("thingpass.messaging.rpc.ACKNOWLEDGED_WITHIN_S", 0.05)
        listener = Listener()
        rpc.listen(device.id, listener)
        row = await rpc.call_and_keep(new_call(device, clock, retries=0))
        await until(lambda: bool(listener.requests))
        listener.reports[0](Delivery.DELAYED)
        await self.until_status(store, row, "QUEUED")
        await asyncio.sleep(0.1)
        assert await self.kept(store, row) == row
        listener.reports[0](Delivery.SENT)
        await self.until_status(store, row, "FAILED")

    async def test_a_device_that_is_back_at_once_finds_the_latest_of_its_calls(
        self,
        rpc: RpcService,
        store: SqliteStore,
        device: Device,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Also what the store has not committed yet."""
        listener = Listener()
        rpc.listen(device.id, listener)
        row = await rpc.call_and_keep(new_call(device, clock, retries=1))
        await until(lambda: bool(listener.requests))
        await self.until_status(store, row, "SENT")
        gate, update = asyncio.Event(), store.update_rpc_call

        async def slow(call: RpcCall) -> bool:
            await gate.wait()
            return await update(call)

        monkeypatch.setattr(store, "update_rpc_call", slow)
        rpc.leave(device.id, listener)
        again = Listener()
        rpc.listen(device.id, again)
        await until(lambda: bool(again.requests))
        rpc.leave(device.id, again)
        third = Listener()
        rpc.listen(device.id, third)
        gate.set()
        await self.until_status(store, row, "FAILED")
        assert (await self.kept(store, row)).attempts == 2
        assert not third.requests

    async def test_answer_sent_again_waits_for_the_first_to_be_stored(
        self,
        rpc: RpcService,
        store: SqliteStore,
        device: Device,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A device that lost its connection over an answer sends it again."""
        row = await rpc.call_and_keep(new_call(device, clock))
        gate, update = asyncio.Event(), store.update_rpc_call

        async def slow(call: RpcCall) -> bool:
            await gate.wait()
            return await update(call)

        monkeypatch.setattr(store, "update_rpc_call", slow)
        first = asyncio.create_task(rpc.answered(device.id, row.request_id, b"5"))
        await asyncio.sleep(0)
        first.cancel()  # its connection has ended
        again = asyncio.create_task(rpc.answered(device.id, row.request_id, b"5"))
        for _ in range(20):
            await asyncio.sleep(0)
        told_before_it_is_stored = again.done()
        gate.set()
        await again
        assert not told_before_it_is_stored
        assert (await self.kept(store, row)).response == b"5"

    async def test_what_failed_to_be_stored_is_not_answered(
        self,
        rpc: RpcService,
        store: SqliteStore,
        device: Device,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        row = await rpc.call_and_keep(new_call(device, clock))

        async def full(call: RpcCall) -> bool:
            raise Unavailable("The disk is full.")

        with monkeypatch.context() as broken:
            broken.setattr(store, "update_rpc_call", full)
            with pytest.raises(Unavailable, match="full"):
                await rpc.answered(device.id, row.request_id, b"5")
        assert await rpc.answered(device.id, row.request_id, b"5"), "the device sends it again"
        assert (await self.kept(store, row)).response == b"5"

    async def test_old_ones_are_removed(
        self, rpc: RpcService, store: SqliteStore, device: Device, clock: ManualClock
    ) -> None:
        old = await rpc.call_and_keep(new_call(device, clock))
        clock.advance(60 + 3600 + 1)
        new = await rpc.call_and_keep(new_call(device, clock, 2))
        rpc.start()

        async def removed() -> bool:
            return await store.find_rpc_call(old.id) is None

        await until(removed)
        assert await store.find_rpc_call(new.id) is not None


def test_request_ids_stay_within_31_bits_and_differ() -> None:
    ids = RequestIds()
    assert len({ids.next() for _ in range(1000)}) == 1000
    ids._last = LARGEST_REQUEST_ID - 1
    assert [ids.next(), ids.next()] == [LARGEST_REQUEST_ID, 1]
    assert len({RequestIds().next() for _ in range(5)}) == 5, "a new server begins elsewhere"


def test_listeners_are_kept_in_the_order_of_their_coming() -> None:
    listeners: Listeners[str] = Listeners()
    first, second = "first", "second"
    assert listeners.add("d", first)
    assert listeners.add("d", second)
    assert not listeners.add("d", first)
    assert listeners.of("d") == (first, second)
    listeners.remove("d", first)
    listeners.remove("other", first)
    assert (listeners.of("d"), len(listeners)) == ((second,), 1)
    listeners.remove("d", second)
    assert (listeners.of("d"), len(listeners)) == ((), 0)
