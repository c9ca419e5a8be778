from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from thingpass.bus.local import LocalBus
from thingpass.bus.messages import CredentialsChanged
from thingpass.clock import ManualClock
from thingpass.devices import events as events_module
from thingpass.devices.devices import DeviceService
from thingpass.devices.event_kinds import CONNECTED, EVENT_KINDS, WILL
from thingpass.devices.events import DAY_MS, LONGEST_TEXT, DeviceEvents, LastWill
from thingpass.errors import Unavailable
from thingpass.metrics import Counters
from thingpass.settings import DeviceSettings
from thingpass.store.rows import Device, DeviceEvent, Tenant
from thingpass.store.sqlite.store import SqliteStore

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "device-events.md"


class House:
    def __init__(self, store: SqliteStore, clock: ManualClock, tenant: Tenant, bus: LocalBus) -> None:
        self.store, self.clock, self.tenant, self.bus = store, clock, tenant, bus
        self.devices = DeviceService(store, bus, clock)
        self.counters = Counters()
        self.events = DeviceEvents(store, bus, clock, DeviceSettings(events_kept=5), self.counters)

    async def add(self, name: str = "pump") -> Device:
        return await self.devices.add(self.tenant.id, name)

    async def read(self, device: Device) -> list[DeviceEvent]:
        """Oldest first, after what is due was done."""
        await self.events.work()
        return (await self.events.list(device.id, limit=1_000))[::-1]


@pytest.fixture
async def house(
    store: SqliteStore, clock: ManualClock, tenant: Tenant, bus: LocalBus
) -> AsyncIterator[House]:
    yield House(store, clock, tenant, bus)
    await bus.close()


def will(payload: bytes = b"gone", *, delay_s: int = 0) -> LastWill:
    return LastWill(
        topic="pumps/1/state",
        payload=payload,
        payload_bytes=len(payload),
        qos=1,
        retain=True,
        delay_s=delay_s,
    )


def test_kinds_are_unique_and_in_the_reference() -> None:
    assert len({kind.code for kind in EVENT_KINDS}) == len({kind.help for kind in EVENT_KINDS})
    page = PAGE.read_text()
    for kind in EVENT_KINDS:
        assert f"| `{kind.code}` | {kind.help} |" in page


async def test_recorded_event_is_written_with_the_next_round(house: House) -> None:
    device = await house.add()
    house.events.record(device.id, CONNECTED, "It came.", {"peerPort": 7, "clientId": "c" * 2_000})
    assert await house.events.list(device.id, limit=10) == []
    (event,) = await house.read(device)
    assert (event.kind, event.sentence, event.at_ms) == ("connected", "It came.", house.clock.now_ms())
    assert event.details == {"peerPort": 7, "clientId": "c" * LONGEST_TEXT}
    assert house.counters.device_events == 1


async def test_stop_writes_what_waits(house: House) -> None:
    device = await house.add()
    house.events.start()
    house.events.record(device.id, CONNECTED, "It came.")
    await house.events.stop()
    assert len(await house.events.list(device.id, limit=10)) == 1


async def test_newest_events_of_a_device_are_kept(house: House) -> None:
    device = await house.add()
    for number in range(8):
        house.events.record(device.id, CONNECTED, str(number))
    assert [event.sentence for event in await house.read(device)] == ["3", "4", "5", "6", "7"]


async def test_old_events_are_gone_at_once_and_removed_in_time(house: House) -> None:
    device = await house.add()
    house.events.record(device.id, CONNECTED, "It came.")
    assert len(await house.read(device)) == 1
    house.clock.advance(31 * DAY_MS / 1000)
    assert await house.events.list(device.id, limit=10) == []
    await house.events.work()
    assert await house.store.list_device_events(device.id, limit=10) == []


async def test_full_queue_drops_and_counts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "MOST_WAITING", 3)
    device = await house.add()
    for number in range(5):
        house.events.record(device.id, CONNECTED, str(number))
    assert house.counters.device_events_dropped == 2
    assert [event.sentence for event in await house.read(device)] == ["0", "1", "2"]
    house.events.record(device.id, CONNECTED, "again")
    assert len(await house.read(device)) == 4


async def test_payloads_are_bounded_together(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "MOST_WAITING_BYTES", 10)
    device = await house.add()
    for _ in range(3):
        house.events.record(device.id, WILL, "Gone.", payload=b"12345")
    assert house.counters.device_events_dropped == 1
    assert len(await house.read(device)) == 2
    house.events.record(device.id, WILL, "Gone.", payload=b"12345")
    assert len(await house.read(device)) == 3


async def test_events_wait_for_a_store_that_fails(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    device = await house.add()
    house.events.record(device.id, CONNECTED, "It came.")

    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "append_device_events", fail)
        with pytest.raises(Unavailable):
            await house.events.work()
    assert len(await house.read(device)) == 1


async def test_will_without_delay_is_kept_at_once(house: House) -> None:
    device = await house.add()
    house.events.keep_will(device.id, will(b"\xff\x00"))
    (event,) = await house.read(device)
    assert (event.kind, event.payload) == ("will", b"\xff\x00")
    assert event.details == {"topic": "pumps/1/state", "qos": 1, "retain": True, "payloadBytes": 2}


async def test_delayed_will_is_kept_when_the_device_stays_away(house: House) -> None:
    device = await house.add()
    house.events.keep_will(device.id, will(delay_s=10))
    house.clock.advance(9)
    assert await house.read(device) == []
    house.clock.advance(1)
    assert [event.kind for event in await house.read(device)] == ["will"]
    house.clock.advance(10)
    assert len(await house.read(device)) == 1


@pytest.mark.parametrize(("resumed", "kept"), [(True, 0), (False, 1)])
async def test_who_comes_back_in_time_takes_the_will_back_unless_the_session_is_new(
    house: House, resumed: bool, kept: int
) -> None:
    device = await house.add()
    house.events.keep_will(device.id, will(delay_s=10))
    house.events.came_back(device.id, resumed=resumed)
    assert len(await house.read(device)) == kept
    house.clock.advance(20)
    assert len(await house.read(device)) == kept


async def test_more_wills_than_are_held_lose_their_delay(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "MOST_HELD_WILLS", 1)
    first, second = await house.add("a"), await house.add("b")
    for device in (first, second):
        house.events.keep_will(device.id, will(delay_s=10))
    assert (len(await house.read(first)), len(await house.read(second))) == (0, 1)


async def test_replaced_credentials_are_an_event_and_first_ones_are_not(house: House) -> None:
    device = await house.add()
    assert await house.read(device) == []
    house.bus.publish(CredentialsChanged(device.id, ("old", "new")))
    (event,) = await house.read(device)
    assert event.kind == "credentials-changed"
    assert "old" not in repr(event.details) + event.sentence
