"""What one device has subscribed to: the device API's filters, granted at QoS 0 or 1."""

from __future__ import annotations

from collections.abc import Sequence

from thingpass.mqtt.packets import Subscription
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers.device_topics import ATTRIBUTES, RPC_TO_DEVICE, Topic, is_subscribable

HIGHEST_QOS = 1  # what ThingsBoard grants at most (device API reference, 3)


class Subscriptions:
    """Answers SUBSCRIBE and UNSUBSCRIBE, and says at which QoS to send. No broker: nothing is matched."""

    __slots__ = ("_granted",)

    def __init__(self) -> None:
        self._granted: dict[str, int] = {}

    def subscribe(self, subscriptions: Sequence[Subscription]) -> list[int]:
        """A reason code for each: the granted QoS, or that the filter is none of the device API's."""
        codes: list[int] = []
        for subscription in subscriptions:
            if is_subscribable(subscription.topic_filter):
                qos = min(subscription.qos, HIGHEST_QOS)
                self._granted[subscription.topic_filter] = qos
                codes.append(qos)
            else:
                codes.append(ReasonCode.TOPIC_FILTER_INVALID)
        return codes

    def unsubscribe(self, topic_filters: Sequence[str]) -> list[int]:
        return [
            ReasonCode.NO_SUBSCRIPTION_EXISTED
            if self._granted.pop(topic_filter, None) is None
            else ReasonCode.SUCCESS
            for topic_filter in topic_filters
        ]

    def wants(self, row: Topic) -> bool:
        """Whether the device has subscribed to what is sent by itself on this row's topic."""
        return row.subscribe in self._granted

    @property
    def wants_something_unasked(self) -> bool:
        return self.wants(ATTRIBUTES) or self.wants(RPC_TO_DEVICE)

    def qos_for(self, topic: str) -> int:
        """That of the subscription whose filter matches, else 1 (device API reference, 2.3)."""
        prefix = topic.rpartition("/")[0]
        return self._granted.get(topic, self._granted.get(f"{prefix}/+", HIGHEST_QOS))
