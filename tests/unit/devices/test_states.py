from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from thingpass.bus.local import LocalBus
from thingpass.bus.messages import (
    DeviceBecameActive,
    DeviceBecameInactive,
    DeviceConnected,
    DeviceDisconnected,
    Message,
)
from thingpass.clock import ManualClock
from thingpass.devices.devices import DeviceService
from thingpass.devices.events import DeviceEvents
from thingpass.devices.states import SERVER_CRASHED, SERVER_STOPPED, DeviceStateService
from thingpass.errors import Invalid, Unavailable
from thingpass.metrics import Counters
from thingpass.settings import DeviceSettings
from thingpass.store.rows import Device, Tenant, Value
from thingpass.store.sqlite.store import SqliteStore
from thingpass.telemetry.attributes import SERVER_SCOPE, AttributeService

SETTINGS = DeviceSettings(inactivity_timeout_s=100, activity_flush_s=10)


class FakeLink:
    """A session that hears something whenever the test says so."""

    def __init__(self, house: House) -> None:
        self._clock = house.clock
        self.hear()

    def hear(self) -> None:
        self.heard_at = self._clock.monotonic()


class House:
    """The service over a real store, driven second by second by a clock that the test owns."""

    def __init__(self, store: SqliteStore, clock: ManualClock, tenant: Tenant) -> None:
        self.store, self.clock, self.tenant = store, clock, tenant
        self.bus = LocalBus()
        self.devices = DeviceService(store, self.bus, clock)
        self.heard: list[Message] = []
        for kind in (DeviceBecameActive, DeviceBecameInactive, DeviceConnected, DeviceDisconnected):
            self.bus.subscribe(kind, self.heard.append)
        self.begin()

    def begin(self) -> None:
        """A server's life; an earlier one is over as by `kill -9`."""
        self.counters = Counters()
        self.events = DeviceEvents(self.store, self.bus, self.clock, SETTINGS)
        self.states = DeviceStateService(
            self.store, self.bus, self.clock, self.events, SETTINGS, self.counters
        )
        self.attributes = AttributeService(self.store, self.clock, bus=self.bus, computed=self.states)

    async def start_again(self) -> None:
        self.begin()
        await self.states.recover()  # and the test is the one who calls `work`

    async def add(self, name: str = "pump") -> Device:
        return await self.devices.add(self.tenant.id, name)

    async def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            await self.states.work()

    async def read(self, device: Device) -> dict[str, Value]:
        found = await self.attributes.find(device.id, SERVER_SCOPE)
        return {attribute.key: attribute.value for attribute in found}

    async def stored(self, device: Device) -> tuple[bool, bool, int | None]:
        state = await self.store.find_device_state(device.id)
        assert state is not None
        return state.active, state.connected, state.activity_at_ms

    def told(self) -> list[str]:
        told = [type(message).__name__.removeprefix("Device") for message in self.heard]
        self.heard.clear()
        return told


@pytest.fixture
async def house(store: SqliteStore, clock: ManualClock, tenant: Tenant) -> AsyncIterator[House]:
    house = House(store, clock, tenant)
    yield house
    await house.bus.close()


async def test_device_that_was_never_heard_of_is_inactive_and_no_more_is_known(house: House) -> None:
    device = await house.add()
    assert await house.read(device) == {"active": False}
    assert not house.states.is_active(device.id)


async def test_connected_device_is_active_at_once_and_stored_within_a_second(house: House) -> None:
    device, link = await house.add(), None
    link = FakeLink(house)
    house.states.connected(device.id, link)
    at = house.clock.now_ms()
    expected = {"active": True, "lastConnectTime": at, "lastActivityTime": at}
    assert await house.read(device) == expected
    assert await house.stored(device) == (False, False, None)
    await house.pass_time(1)
    assert await house.stored(device) == (True, True, at)
    assert await house.read(device) == expected
    assert house.told() == ["BecameActive", "Connected"]
    assert len(house.states) == 1


async def test_disconnect_does_not_make_it_inactive_but_silence_does(house: House) -> None:
    device, link = await house.add(), FakeLink(house)
    house.states.connected(device.id, link)
    connected_at = house.clock.now_ms()
    await house.pass_time(5)
    link.hear()
    heard_at = house.clock.now_ms()
    await house.pass_time(2)
    house.states.disconnected(device.id, link)
    left_at = house.clock.now_ms()
    await house.pass_time(97)
    assert await house.read(device) == {
        "active": True,
        "lastConnectTime": connected_at,
        "lastActivityTime": heard_at,
        "lastDisconnectTime": left_at,
    }
    await house.pass_time(2)
    state = await house.read(device)
    assert (state["active"], state["inactivityAlarmTime"]) == (False, heard_at + 101_000)
    assert await house.stored(device) == (False, False, heard_at)
    assert house.told() == ["BecameActive", "Connected", "Disconnected", "BecameInactive"]
    assert len(house.states) == 0


async def test_connected_device_that_is_silent_gets_inactive_and_comes_back(house: House) -> None:
    device, link = await house.add(), FakeLink(house)
    house.states.connected(device.id, link)
    await house.pass_time(102)
    assert (await house.read(device))["active"] is False
    alarm_at = (await house.read(device))["inactivityAlarmTime"]
    link.hear()
    heard_at = house.clock.now_ms()
    await house.pass_time(4)
    state = await house.read(device)
    assert state["active"] is True
    assert state["lastActivityTime"] == heard_at
    assert state["inactivityAlarmTime"] == alarm_at  # kept until the next one
    assert house.states.is_connected(device.id)


async def test_one_sign_of_life_makes_a_device_active_however_short_its_timeout(house: House) -> None:
    device, link = await house.add(), FakeLink(house)
    await house.attributes.save(device.id, SERVER_SCOPE, {"inactivityTimeout": 1})  # taken as a second
    house.states.connected(device.id, link)
    await house.pass_time(4)
    assert house.told() == ["BecameActive", "Connected", "BecameInactive"]
    link.hear()
    await house.pass_time(10)
    assert house.told() == ["BecameActive", "BecameInactive"]


async def test_activity_of_a_connection_is_exact_when_read_and_stored_now_and_then(house: House) -> None:
    device, link = await house.add(), FakeLink(house)
    house.states.connected(device.id, link)
    began = house.clock.now_ms()
    writes = []
    for _ in range(60):
        link.hear()
        await house.pass_time(1)
        assert (await house.read(device))["lastActivityTime"] == house.clock.now_ms() - 1_000
        writes.append((await house.stored(device))[2])
    assert len(set(writes)) <= 7  # the connect, and once in 10 s
    assert (writes[-1] or 0) >= began + 45_000
    assert house.counters.state_writes == len(set(writes))


async def test_takeover_is_a_connect_and_no_disconnect(house: House) -> None:
    device, old, new = await house.add(), FakeLink(house), FakeLink(house)
    house.states.connected(device.id, old)
    await house.pass_time(3)
    house.states.disconnected(device.id, old, taken_over=True)
    house.states.connected(device.id, new)
    second = house.clock.now_ms()
    house.states.disconnected(device.id, old)  # its socket ends later
    assert house.states.is_connected(device.id)
    state = await house.read(device)
    assert state["lastConnectTime"] == second
    assert "lastDisconnectTime" not in state
    assert house.told() == ["BecameActive", "Connected", "Connected"]


async def test_timeout_that_people_write_holds_at_once(house: House) -> None:
    device, link = await house.add(), FakeLink(house)
    house.states.connected(device.id, link)
    await house.pass_time(20)
    await house.attributes.save(device.id, SERVER_SCOPE, {"inactivityTimeout": 5_000})
    await house.pass_time(1)
    assert (await house.read(device))["active"] is False
    await house.attributes.save(device.id, SERVER_SCOPE, {"inactivityTimeout": 60_000})
    await house.pass_time(1)
    assert (await house.read(device))["active"] is True
    await house.attributes.save(device.id, SERVER_SCOPE, {"inactivityTimeout": 0})
    await house.pass_time(70)
    assert (await house.read(device))["active"] is True
    await house.pass_time(10)
    assert (await house.read(device))["active"] is False


@pytest.mark.parametrize("value", [0, -1, True, "soon"])
async def test_timeout_that_is_none_means_the_setting(house: House, value: Value) -> None:
    device, link = await house.add(), FakeLink(house)
    await house.attributes.save(device.id, SERVER_SCOPE, {"inactivityTimeout": value})
    house.states.connected(device.id, link)
    await house.pass_time(99)
    assert (await house.read(device))["active"] is True
    await house.pass_time(2)
    assert (await house.read(device))["active"] is False


async def test_longer_timeout_makes_a_device_that_has_gone_active_again(house: House) -> None:
    device, link = await house.add(), FakeLink(house)
    house.states.connected(device.id, link)
    house.states.disconnected(device.id, link)
    await house.pass_time(102)
    assert len(house.states) == 0
    await house.attributes.save(device.id, SERVER_SCOPE, {"inactivityTimeout": 500_000})
    await house.pass_time(1)
    state = await house.read(device)
    assert state["active"] is True
    assert state["inactivityAlarmTime"] == 0  # the activity is older than the alarm, which was wrong
    await house.attributes.remove(device.id, SERVER_SCOPE, ["inactivityTimeout"])
    await house.pass_time(1)
    assert (await house.read(device))["active"] is False


async def test_noted_activity_counts_without_a_connection(house: House) -> None:
    device = await house.add()
    for _ in range(3):
        house.states.note_activity(device.id, house.clock.now_ms())
        await house.pass_time(40)
    state = await house.read(device)
    assert state == {"active": True, "lastActivityTime": house.clock.now_ms() - 40_000}
    assert await house.stored(device) == (True, False, house.clock.now_ms() - 40_000)
    await house.pass_time(62)
    assert (await house.read(device))["active"] is False


async def test_activity_that_comes_late_does_not_move_what_is_known(house: House) -> None:
    device, link = await house.add(), FakeLink(house)
    house.states.connected(device.id, link)
    heard_at = house.clock.now_ms()
    house.states.disconnected(device.id, link)
    await house.pass_time(150)
    house.states.note_activity(device.id, heard_at - 5_000)
    await house.pass_time(1)
    state = await house.read(device)
    assert (state["active"], state["lastActivityTime"]) == (False, heard_at)
    house.states.note_activity(device.id, heard_at + 90_000)  # before the alarm, and not 100 s ago
    await house.pass_time(1)
    state = await house.read(device)
    assert (state["active"], state["lastActivityTime"]) == (True, heard_at + 90_000)
    assert state["inactivityAlarmTime"] == 0


async def test_activity_of_the_future_is_of_now(house: House) -> None:
    device = await house.add()
    house.states.note_activity(device.id, house.clock.now_ms() + 3_600_000)
    assert (await house.read(device))["lastActivityTime"] == house.clock.now_ms()


async def test_unknown_and_removed_devices_leave_nothing(house: House) -> None:
    house.states.note_activity("00000000-0000-4000-8000-000000000000", house.clock.now_ms())
    device, link = await house.add(), FakeLink(house)
    house.states.connected(device.id, link)
    await house.devices.remove(house.tenant.id, device.id)
    house.states.disconnected(device.id, link)
    await house.pass_time(1)
    assert len(house.states) == 0
    assert not house.states.is_connected(device.id)
    assert await house.attributes.find(device.id, SERVER_SCOPE) == []


async def test_what_the_store_did_not_take_is_written_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, link = await house.add(), FakeLink(house)
    house.states.connected(device.id, link)
    connected_at = house.clock.now_ms()

    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "save_device_states", fail)
        with pytest.raises(Unavailable):
            await house.pass_time(1)
    house.states.disconnected(device.id, link)
    await house.pass_time(1)
    state = await house.store.find_device_state(device.id)
    assert state is not None
    assert (state.active, state.connected, state.connected_at_ms) == (True, False, connected_at)
    assert state.disconnected_at_ms == connected_at + 1_000


async def test_crash_is_found_at_the_next_start(house: House) -> None:
    stays, gone = await house.add("stays"), await house.add("gone")
    links = {device.id: FakeLink(house) for device in (stays, gone)}
    for device_id, link in links.items():
        house.states.connected(device_id, link)
    await house.pass_time(25)
    alive_until = house.clock.now_ms()
    house.clock.advance(500)  # the server was down, and longer than the timeout
    await house.start_again()
    for device in (stays, gone):
        state = await house.read(device)
        assert state["active"] is True  # nobody could hear them: they get time to come back
        assert alive_until - 10_000 <= state["lastDisconnectTime"] <= alive_until
        (event,) = await house.events.list(device.id, limit=10)
        assert (event.kind, event.sentence, event.at_ms) == (
            "disconnected",
            SERVER_CRASHED,
            state["lastDisconnectTime"],
        )
    link = FakeLink(house)
    house.states.connected(stays.id, link)
    await house.pass_time(62)
    assert (await house.read(stays))["active"] is True
    assert (await house.read(gone))["active"] is False
    assert house.told()[-1] == "BecameInactive"


async def test_timeout_goes_on_over_a_short_stop(house: House) -> None:
    device, link = await house.add(), FakeLink(house)
    house.states.connected(device.id, link)
    heard_at = house.clock.now_ms()
    await house.pass_time(5)
    await house.states.stop()
    stopped_at = house.clock.now_ms()
    house.clock.advance(5)
    await house.start_again()
    state = await house.read(device)
    assert state == {
        "active": True,
        "lastConnectTime": heard_at,
        "lastActivityTime": heard_at,
        "lastDisconnectTime": stopped_at,
    }
    newest, earlier = await house.events.list(device.id, limit=10)
    assert (newest.sentence, earlier.kind) == (SERVER_STOPPED, "active")
    await house.pass_time(88)
    assert (await house.read(device))["active"] is True
    await house.pass_time(4)
    assert (await house.read(device))["active"] is False


async def test_state_cannot_be_written_by_people(house: House) -> None:
    device = await house.add()
    with pytest.raises(Invalid) as caught:
        await house.attributes.save(device.id, SERVER_SCOPE, {"active": True, "note": 1})
    assert "active" in caught.value.sentence
    await house.store.save_attributes(device.id, SERVER_SCOPE, {"active": "of old", "note": 2}, 1)
    assert await house.read(device) == {"active": False, "note": 2}
    found = await house.attributes.find(device.id, SERVER_SCOPE, ["note"])
    assert [attribute.key for attribute in found] == ["note"]


async def test_devices_are_written_a_few_at_a_time_and_not_all_at_one_moment(house: House) -> None:
    devices = [await house.add(f"pump {number}") for number in range(30)]
    links = {}
    for device in devices:  # three a second: their flushes stay as far apart
        links[device.id] = FakeLink(house)
        house.states.connected(device.id, links[device.id])
        if len(links) % 3 == 0:
            await house.pass_time(1)
    before = house.counters.state_writes
    for _ in range(10):
        for link in links.values():
            link.hear()
        await house.pass_time(1)
        assert house.counters.state_writes - before <= 6
        before = house.counters.state_writes
