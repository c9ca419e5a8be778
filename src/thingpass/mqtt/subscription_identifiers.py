"""Which numbers a client gave its subscriptions, to be sent along with what matches them (MQTT5 3.8.2.1.2).

Only sessions whose client uses identifiers have one of these.
"""

from __future__ import annotations

from collections.abc import Sequence

from thingpass.mqtt.packets import Subscribe
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.mqtt.topics import matches


class SubscriptionIdentifiers:
    """Topic filter -> identifier, for granted subscriptions."""

    __slots__ = ("_by_filter", "_requested")

    def __init__(self) -> None:
        self._by_filter: dict[str, int] = {}
        self._requested: dict[int, Subscribe] = {}

    def requested(self, subscribe: Subscribe) -> None:
        """A SUBSCRIBE came; its identifier counts once it is granted."""
        self._requested[subscribe.packet_id] = subscribe

    def granted(self, packet_id: int, reason_codes: Sequence[int]) -> None:
        """The SUBSCRIBE was answered.

        A new subscription replaces the one of the same filter [MQTT-3.8.4-3].
        """
        subscribe = self._requested.pop(packet_id, None)
        if subscribe is None:
            return
        identifiers = subscribe.properties.subscription_identifier if subscribe.properties is not None else ()
        for subscription, reason_code in zip(subscribe.subscriptions, reason_codes, strict=False):
            if reason_code >= ReasonCode.UNSPECIFIED_ERROR:
                continue
            if identifiers:
                self._by_filter[subscription.topic_filter] = identifiers[0]
            else:
                self._by_filter.pop(subscription.topic_filter, None)

    def ended(self, topic_filters: Sequence[str]) -> None:
        """An UNSUBSCRIBE came."""
        for topic_filter in topic_filters:
            self._by_filter.pop(topic_filter, None)

    def identifiers_for(self, topic: str) -> tuple[int, ...]:
        """What a PUBLISH to the client carries: the identifiers of all that match [MQTT-3.3.4-4]."""
        return tuple(
            identifier for topic_filter, identifier in self._by_filter.items() if matches(topic_filter, topic)
        )
