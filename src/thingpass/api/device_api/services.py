"""What the HTTP device API needs of the house."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from thingpass.api.device_api.long_polls import LongPolls
from thingpass.api.device_limits import DeviceRequestLimits
from thingpass.clock import Clock
from thingpass.devices.claiming import ClaimService
from thingpass.devices.ota_downloads import OtaDownloads
from thingpass.devices.provisioning import ProvisioningService
from thingpass.identity.authentication import Authentication
from thingpass.messaging.pushes import AttributePushes
from thingpass.messaging.rpc import RpcService
from thingpass.metrics import Counters
from thingpass.servers.server_methods import Asked
from thingpass.settings import HttpSettings
from thingpass.telemetry.attributes import AttributeService
from thingpass.telemetry.ingest import Ingest


class DeviceApiServices(msgspec.Struct, frozen=True, kw_only=True):
    """One for all requests of a server."""

    settings: HttpSettings
    authentication: Authentication
    limits: DeviceRequestLimits
    ingest: Ingest
    attributes: AttributeService
    pushes: AttributePushes
    rpc: RpcService
    polls: LongPolls
    claims: ClaimService
    provisioning: ProvisioningService
    server_methods: Asked  # what calls to the server are answered from
    downloads: OtaDownloads
    counters: Counters
    clock: Clock
    note_activity: Callable[[str, int], None]  # device id, when it was heard
