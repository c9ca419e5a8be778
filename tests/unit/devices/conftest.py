from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.identity.examples import NOW_MS
from thingpass.bus.local import LocalBus
from thingpass.clock import ManualClock
from thingpass.devices.tenants import ensure_default_tenant
from thingpass.store.rows import Tenant
from thingpass.store.sqlite.store import SqliteStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "data", synchronous="normal", clock=clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def tenant(store: SqliteStore, clock: ManualClock) -> Tenant:
    return await ensure_default_tenant(store, clock)


@pytest.fixture
def bus() -> LocalBus:
    return LocalBus()
