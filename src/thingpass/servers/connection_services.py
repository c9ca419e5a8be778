"""What connections of devices need of the house, handed to each as one value."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from thingpass.identity.authentication import Authentication
from thingpass.identity.refusal_log import RefusalLog
from thingpass.messaging.presence import Presence
from thingpass.mqtt.session import Limits
from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.device_life import DeviceLife
from thingpass.servers.device_messages import MessageServices
from thingpass.servers.device_transports import DeviceTransports
from thingpass.servers.gateway_session import GatewayServices
from thingpass.servers.kept_sessions import KeptSessions
from thingpass.servers.mqtt_device_session import ToDevice
from thingpass.servers.provisioning_session import ProvisioningDesk
from thingpass.servers.readiness import Readiness

if TYPE_CHECKING:
    from thingpass.servers.mqtt_connection import MqttConnection


class ConnectionServices(msgspec.Struct, frozen=True, kw_only=True):
    """One for all connections of a server; only the set of the open ones is each listener's own."""

    loop: asyncio.AbstractEventLoop
    readiness: Readiness
    wheel: DeadlineWheel
    authentication: Authentication
    refusal_log: RefusalLog
    presence: Presence
    life: DeviceLife
    messages: MessageServices
    transports: DeviceTransports
    provisioning: ProvisioningDesk
    to_device: ToDevice
    kept_sessions: KeptSessions
    gateways: GatewayServices
    limits: Limits
    maximum_keep_alive_s: int  # 0: as long as the client likes
    open_connections: set[MqttConnection]
