"""What is kept of a session while its client is away (MQTT5 4.1); subscriptions are the caller's."""

from __future__ import annotations

from thingpass.mqtt.outbound import OutboundMessages
from thingpass.mqtt.subscription_identifiers import SubscriptionIdentifiers


class SessionState:
    """Goes from the `Session` of one connection into `accept` of the next one's. Belongs to one at a time."""

    __slots__ = ("outbound", "received", "subscription_identifiers")

    def __init__(
        self,
        outbound: OutboundMessages,
        received: tuple[int, ...],
        subscription_identifiers: SubscriptionIdentifiers | None,
    ) -> None:
        self.outbound = outbound
        self.received = received  # identifiers of QoS 2 that the client has still to release
        self.subscription_identifiers = subscription_identifiers
