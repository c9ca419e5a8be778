from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.test_store import Registry, append, new_tenant
from thingpass.clock import ManualClock
from thingpass.errors import Invalid
from thingpass.store.rows import Attribute, DataPoint
from thingpass.store.sqlite.store import SqliteStore
from thingpass.telemetry.attributes import CLIENT_SCOPE, SERVER_SCOPE, AttributeService
from thingpass.telemetry.latest import LatestValues
from thingpass.telemetry.series import SeriesService


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    store = SqliteStore(tmp_path)
    await store.open()
    registry = Registry(store, *new_tenant())
    await store.add_tenant(registry.tenant, registry.profile)
    yield registry
    await store.close()


async def test_attributes_carry_the_time_of_their_change(registry: Registry) -> None:
    device = await registry.add("boiler")
    clock = ManualClock(now_ms=5)
    attributes = AttributeService(registry.store, clock)
    await attributes.save(device.id, SERVER_SCOPE, {"a": 1, "b": 2})
    clock.advance(1)
    await attributes.save(device.id, SERVER_SCOPE, {"b": 3})
    await attributes.save(device.id, CLIENT_SCOPE, {})
    assert await attributes.find(device.id, SERVER_SCOPE) == [Attribute("a", 1, 5), Attribute("b", 3, 1005)]
    assert await attributes.find(device.id, CLIENT_SCOPE) == []
    await attributes.remove(device.id, SERVER_SCOPE, ["a"])
    assert await attributes.find(device.id, SERVER_SCOPE, ["a"]) == []


async def test_blank_key_and_unknown_scope_are_refused(registry: Registry) -> None:
    device = await registry.add("boiler")
    attributes = AttributeService(registry.store, ManualClock())
    with pytest.raises(Invalid):
        await attributes.save(device.id, SERVER_SCOPE, {" ": 1})
    for scope in ("ANY_SCOPE", "server_scope"):
        with pytest.raises(Invalid):
            await attributes.save(device.id, scope, {"a": 1})
        with pytest.raises(Invalid):
            await attributes.find(device.id, scope)
        with pytest.raises(Invalid):
            await attributes.remove(device.id, scope, ["a"])


async def test_latest_values_and_ranges_are_read(registry: Registry) -> None:
    await append(registry.store, 1, (1, {"a": 1}), (2, {"a": 2, "b": 0}))
    latest, series = LatestValues(registry.store), SeriesService(registry.store)
    assert await latest.read(1, ["a"]) == {"a": DataPoint(2, 2)}
    assert await latest.keys(1) == ["a", "b"]
    assert await series.read(1, ["a"], start_ms=0, end_ms=2) == {"a": [DataPoint(1, 1)]}


@pytest.mark.parametrize(("start", "end", "limit"), [(2, 1, 10), (1, 2, 0)])
async def test_impossible_range_is_refused(registry: Registry, start: int, end: int, limit: int) -> None:
    with pytest.raises(Invalid):
        await SeriesService(registry.store).read(1, ["a"], start_ms=start, end_ms=end, limit=limit)
