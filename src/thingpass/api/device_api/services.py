"""What the HTTP device API needs of the house."""

from __future__ import annotations

import msgspec

from thingpass.clock import Clock
from thingpass.identity.authentication import Authentication
from thingpass.metrics import Counters
from thingpass.settings import HttpSettings
from thingpass.telemetry.attributes import AttributeService
from thingpass.telemetry.ingest import Ingest


class DeviceApiServices(msgspec.Struct, frozen=True, kw_only=True):
    """One for all requests of a server."""

    settings: HttpSettings
    authentication: Authentication
    ingest: Ingest
    attributes: AttributeService
    counters: Counters
    clock: Clock
