"""How many connections may ask for an identity at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingpass.bus.local import LocalBus
from thingpass.clock import ManualClock
from thingpass.devices.devices import DeviceService
from thingpass.devices.provisioning import ProvisioningService
from thingpass.identity import refusals
from thingpass.identity.refusal_log import RefusalLog
from thingpass.metrics import Counters
from thingpass.servers.protocol_refusals import Fault
from thingpass.servers.provisioning_session import MOST_OF_ADDRESS, ProvisioningDesk, ProvisioningSession
from thingpass.store.sqlite.store import SqliteStore
from thingpass.tls.evidence import Evidence


@pytest.fixture
def desk(tmp_path: Path) -> ProvisioningDesk:
    store, clock = SqliteStore(tmp_path), ManualClock()
    devices = DeviceService(store, LocalBus(), clock)
    service = ProvisioningService(store, devices, RefusalLog(), Counters(), clock)
    return ProvisioningDesk(service, clock.monotonic)


def come(desk: ProvisioningDesk, address: str) -> ProvisioningSession | Fault:
    return desk.open(Evidence(listener="mqtts", peer_address=address, peer_port=1))


def test_one_address_does_not_keep_the_others_out(desk: ProvisioningDesk) -> None:
    sessions = [come(desk, "192.0.2.7") for _ in range(MOST_OF_ADDRESS)]
    assert all(isinstance(session, ProvisioningSession) for session in sessions)
    refused = come(desk, "192.0.2.7")
    assert isinstance(refused, Fault)
    assert refused.refusal is refusals.TOO_MANY_PROVISIONING
    assert refused.seen == {"limit": f"{MOST_OF_ADDRESS} of one address"}
    assert isinstance(come(desk, "192.0.2.8"), ProvisioningSession)
    assert isinstance(sessions[0], ProvisioningSession)
    sessions[0].close()
    assert isinstance(come(desk, "192.0.2.7"), ProvisioningSession)


def test_one_host_has_a_whole_network_of_ipv6(desk: ProvisioningDesk) -> None:
    for number in range(MOST_OF_ADDRESS):
        assert isinstance(come(desk, f"2001:db8::{number:x}"), ProvisioningSession)
    assert isinstance(come(desk, "2001:db8::ffff"), Fault)
    assert isinstance(come(desk, "2001:db8:0:1::1"), ProvisioningSession)


def test_who_has_left_is_forgotten(desk: ProvisioningDesk) -> None:
    for number in range(100):
        session = come(desk, f"192.0.2.{number}")
        assert isinstance(session, ProvisioningSession)
        session.close()
    assert len(desk) == 0
    assert not desk._of_address
