"""What the routes need of the rest of the server, in one frozen bundle that the composition root fills."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from thingpass.bus.bus import Bus
from thingpass.clock import Clock
from thingpass.devices.activation import UserAccounts
from thingpass.devices.claiming import ClaimService
from thingpass.devices.customers import CustomerService
from thingpass.devices.devices import DeviceService
from thingpass.devices.events import DeviceEvents
from thingpass.devices.ota import Ota
from thingpass.devices.profiles import ProfileService
from thingpass.devices.provisioning import ProvisioningService
from thingpass.devices.states import DeviceStateService
from thingpass.devices.users import UserService
from thingpass.identity.refusal_log import RefusalLog
from thingpass.messaging.presence import Presence
from thingpass.messaging.rpc import RpcService
from thingpass.metrics import Counters
from thingpass.settings import ApiSettings
from thingpass.store.store import Store
from thingpass.telemetry.attributes import AttributeService
from thingpass.telemetry.ingest import Ingest
from thingpass.telemetry.latest import LatestValues
from thingpass.telemetry.series import SeriesService


class ListenerAddress(msgspec.Struct, frozen=True):
    """Where one listener really listens. `name` is `http`, `https`, `mqtts`, `wss`, ..."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything a route may use. `data_dir` holds the signing key and what was logged out."""

    settings: ApiSettings
    clock: Clock
    data_dir: Path
    local_secret: str
    store: Store
    devices: DeviceService
    profiles: ProfileService
    users: UserService
    accounts: UserAccounts
    customers: CustomerService
    claims: ClaimService
    provisioning: ProvisioningService
    ingest: Ingest
    latest: LatestValues
    series: SeriesService
    attributes: AttributeService
    ota: Ota
    device_states: DeviceStateService
    device_events: DeviceEvents
    rpc: RpcService
    bus: Bus
    refusal_log: RefusalLog
    presence: Presence
    counters: Counters
    trust_pem: Callable[
        [], bytes | None
    ]  # what a client must trust to accept the MQTT listener; None: no TLS
    addresses: Callable[[], Sequence[ListenerAddress]]
    server_names: Callable[[], Sequence[str]]  # names and addresses in the server's certificate

    def __repr__(self) -> str:
        return "Services(...)"  # never the local secret
