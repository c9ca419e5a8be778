from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.messaging.test_presence import connection
from thingpass.bus.local import LocalBus
from thingpass.clock import ManualClock
from thingpass.devices.devices import DeviceService
from thingpass.devices.events import LONGEST_PAYLOAD, DeviceEvents, LastWill
from thingpass.devices.states import DeviceStateService
from thingpass.devices.tenants import ensure_default_tenant
from thingpass.messaging.presence import Presence
from thingpass.mqtt.packets import Will
from thingpass.mqtt.properties import Properties
from thingpass.servers.connection_ends import ENDS, TAKEN_OVER
from thingpass.servers.device_life import MOST_WILL_DELAY_S, DeviceLife, last_will
from thingpass.settings import DeviceSettings
from thingpass.store.sqlite.store import SqliteStore

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "device-events.md"


def test_ends_are_unique_and_in_the_reference() -> None:
    assert len({end.code for end in ENDS}) == len({end.sentence for end in ENDS}) == len(ENDS)
    page = PAGE.read_text()
    for end in ENDS:
        assert f"| `{end.code}` | {end.sentence.replace('{seen}', '*seen*')} |" in page


@pytest.mark.parametrize(
    ("delay_s", "expiry_s", "held_s"),
    [
        (None, 0, 0),
        (30, 0, 0),  # the session ends with the connection, and so its will is due
        (None, 30, 0),
        (30, 60, 30),
        (60, 30, 30),
        (0xFFFF_FFFF, 0xFFFF_FFFF, MOST_WILL_DELAY_S),
    ],
)
def test_delay_ends_with_the_session(delay_s: int | None, expiry_s: int, held_s: int) -> None:
    properties = None if delay_s is None else Properties(will_delay_interval=delay_s)
    will = last_will(Will("t", b"gone", properties=properties), session_expiry_s=expiry_s)
    assert will is not None
    assert will.delay_s == held_s


def test_no_more_of_the_payload_is_kept_than_the_bound() -> None:
    will = last_will(Will("t", b"x" * 10_000), session_expiry_s=0)
    assert will is not None
    assert (will.payload, will.payload_bytes) == (b"x" * LONGEST_PAYLOAD, 10_000)
    assert "xxx" not in repr(will)


def test_no_will_is_none() -> None:
    assert last_will(None, session_expiry_s=60) is None


class Link:
    heard_at = 0.0


@pytest.mark.parametrize(("delay_s", "wills"), [(0, 1), (60, 0)])
async def test_device_whose_old_socket_ends_after_it_came_back_has_not_vanished(
    tmp_path: Path, delay_s: int, wills: int
) -> None:
    store, bus, clock = SqliteStore(tmp_path), LocalBus(), ManualClock()
    await store.open()
    try:
        tenant = await ensure_default_tenant(store, clock)
        device = await DeviceService(store, bus, clock).add(tenant.id, "pump")
        events = DeviceEvents(store, bus, clock, DeviceSettings())
        life = DeviceLife(DeviceStateService(store, bus, clock, events, DeviceSettings()), events)
        presence = Presence()
        first, second = (connection(presence, device.id) for _ in range(2))
        old, new = Link(), Link()
        life.came(first, old, resumed=False)
        life.came(second, new, resumed=True)
        will = LastWill("t", b"gone", payload_bytes=4, qos=0, retain=False, delay_s=delay_s)
        life.left(first, old, TAKEN_OVER, "", will)
        clock.advance(120)
        await events.work()
        assert len(await events.list(device.id, limit=10, kind="will")) == wills
    finally:
        await store.close()
