from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from tests.unit.messaging.waiting import until
from thingpass.bus.local import LocalBus
from thingpass.bus.messages import SharedAttributesChanged
from thingpass.errors import Unavailable
from thingpass.messaging.pushes import AttributePushes
from thingpass.metrics import Counters
from thingpass.store.rows import Attribute, Value


class Listener:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def attributes_saved(self, values: Mapping[str, Value]) -> None:
        self.heard.append(dict(values))

    def attributes_removed(self, keys: Sequence[str]) -> None:
        self.heard.append(list(keys))


class Stored:
    """What is stored; reading waits while `gate` is closed."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Unavailable | None = None
        self.reads = 0

    async def find(self, device_id: str, keys: Sequence[str]) -> list[Attribute]:
        self.reads += 1
        await self.gate.wait()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return [Attribute(key, self.values[key], 0) for key in keys if key in self.values]


@pytest.fixture
def bus() -> LocalBus:
    return LocalBus()


@pytest.fixture
async def stored() -> Stored:
    return Stored()


@pytest.fixture
async def pushes(bus: LocalBus, stored: Stored) -> AsyncIterator[AttributePushes]:
    pushes = AttributePushes(stored.find, bus, Counters())
    yield pushes
    await pushes.close()


def changed(bus: LocalBus, *keys: str, device_id: str = "d") -> None:
    bus.publish(SharedAttributesChanged(device_id, keys))


async def test_every_listener_hears_what_is_stored(
    pushes: AttributePushes, bus: LocalBus, stored: Stored
) -> None:
    one, two, other = Listener(), Listener(), Listener()
    for device_id, listener in (("d", one), ("d", two), ("another", other)):
        pushes.listen(device_id, listener)
    stored.values = {"a": 1, "b": 2}
    changed(bus, "a", "gone")
    await until(lambda: len(two.heard) == 2)
    assert one.heard == two.heard == [["gone"], {"a": 1}]
    assert other.heard == []


async def test_changes_in_a_row_are_told_as_one_with_the_last_value(
    pushes: AttributePushes, bus: LocalBus, stored: Stored
) -> None:
    listener = Listener()
    pushes.listen("d", listener)
    stored.gate.clear()
    stored.values = {"a": 1}
    changed(bus, "first")
    await until(lambda: stored.reads == 1)
    for value in (2, 3):
        stored.values["a"] = value
        changed(bus, "a", f"b{value}")
    stored.gate.set()
    await until(lambda: len(listener.heard) == 3)
    assert listener.heard == [["first"], ["b2", "b3"], {"a": 3}]


async def test_nothing_is_read_where_nobody_listens(
    pushes: AttributePushes, bus: LocalBus, stored: Stored
) -> None:
    listener = Listener()
    pushes.listen("d", listener)
    pushes.leave("d", listener)
    pushes.leave("d", listener)
    changed(bus, "a")
    await asyncio.sleep(0)
    assert stored.reads == 0


async def test_the_store_is_asked_again_after_it_failed(
    pushes: AttributePushes, bus: LocalBus, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thingpass.messaging.pushes.RETRY_S", 0.0)
    listener = Listener()
    pushes.listen("d", listener)
    stored.values = {"a": 1}
    stored.fault = Unavailable("The disk is full.")
    changed(bus, "a")
    await until(lambda: listener.heard == [{"a": 1}])
    assert stored.reads == 2


async def test_one_listener_that_fails_does_not_end_the_others(
    pushes: AttributePushes, bus: LocalBus, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, good = Listener(), Listener()
    monkeypatch.setattr(broken, "attributes_removed", lambda keys: 1 / 0)
    pushes.listen("broken", broken)
    pushes.listen("d", good)
    changed(bus, "a", device_id="broken")
    changed(bus, "a")
    await until(lambda: good.heard == [["a"]])
