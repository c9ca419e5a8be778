"""What a `Session` reports upwards: what the peer did, past tense, as values.

`msgspec.Struct` with `gc=False` where it is made once per message: nothing in them can form a cycle.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from thingpass.mqtt.errors import MqttError
from thingpass.mqtt.packets import Connect, Subscription
from thingpass.mqtt.properties import Properties


class ConnectReceived(msgspec.Struct, frozen=True):
    """The first packet. The session waits for `accept` or `refuse` and holds back what follows."""

    connect: Connect


class MessagePublished(msgspec.Struct, frozen=True, gc=False):
    """A message from the peer. At QoS 1 and 2 answer it with `acknowledge(packet_id)` once it is stored.

    `topic` is already resolved from an alias. `packet_id` is 0 at QoS 0. `properties` is None when there are
    none.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    packet_id: int
    properties: Properties | None = None

    def __repr__(self) -> str:
        return (
            f"MessagePublished(topic={self.topic!r}, payload=<{len(self.payload)} bytes>, qos={self.qos}, "
            f"retain={self.retain}, duplicate={self.duplicate}, packet_id={self.packet_id}, "
            f"properties={self.properties!r})"
        )


class SubscribeRequested(msgspec.Struct, frozen=True):
    """Answer with `grant(packet_id, reason_codes)`, one code per subscription in their order."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties | None = None


class UnsubscribeRequested(msgspec.Struct, frozen=True):
    """Answer with `confirm_unsubscribe(packet_id, reason_codes)`, one code per filter in their order."""

    packet_id: int
    topic_filters: tuple[str, ...]
    properties: Properties | None = None


class DeliveryAcknowledged(msgspec.Struct, frozen=True):
    """The peer has taken (or, from 0x80 on, refused) what `publish` sent at QoS 1 or 2."""

    packet_id: int
    reason_code: int


class PingReceived(msgspec.Struct, frozen=True):
    """The answer is already queued; only for counters."""


class Disconnected(msgspec.Struct, frozen=True):
    """The peer said DISCONNECT. Code 0x04 asks for its Will to be published all the same."""

    reason_code: int
    reason_string: str | None


class SessionFailed(msgspec.Struct, frozen=True):
    """The peer broke the protocol or was silent too long. Its goodbye is queued: send it, then close."""

    error: MqttError


Event: TypeAlias = (
    ConnectReceived
    | MessagePublished
    | SubscribeRequested
    | UnsubscribeRequested
    | DeliveryAcknowledged
    | PingReceived
    | Disconnected
    | SessionFailed
)
