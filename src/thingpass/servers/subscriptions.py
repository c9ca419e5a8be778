"""What one device has subscribed to: the device API's filters, granted at QoS 0 or 1."""

from __future__ import annotations

from collections.abc import Sequence

from thingpass.mqtt import topics
from thingpass.mqtt.packets import Subscription
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers.device_topics import Purpose, Topic
from thingpass.servers.device_transport import DeviceTransport

HIGHEST_QOS = 1  # what ThingsBoard grants at most (device API reference, 3)
MOST_SUBSCRIPTIONS = 100
"""The table has 30 filters, and there is one for each request that is waited for."""


SENT_UNASKED = (Purpose.ATTRIBUTES, Purpose.RPC_TO_DEVICE)
"""What is sent to a device that has subscribed to it, and to no other."""


class Subscriptions:
    """Answers SUBSCRIBE and UNSUBSCRIBE, and says at which QoS to send. No broker: filters route nothing."""

    __slots__ = ("_granted",)

    def __init__(self) -> None:
        self._granted: dict[str, int] = {}  # the filter subscribed last stands last

    def subscribe(self, subscriptions: Sequence[Subscription], transport: DeviceTransport) -> list[int]:
        """A reason code for each: the granted QoS, or why there is none."""
        codes: list[int] = []
        for subscription in subscriptions:
            topic_filter = subscription.topic_filter
            if transport.find_subscribable(topic_filter) is None:
                codes.append(ReasonCode.TOPIC_FILTER_INVALID)
            elif len(self._granted) >= MOST_SUBSCRIPTIONS and topic_filter not in self._granted:
                codes.append(ReasonCode.QUOTA_EXCEEDED)
            else:
                qos = min(subscription.qos, HIGHEST_QOS)
                self._granted.pop(topic_filter, None)
                self._granted[topic_filter] = qos
                codes.append(qos)
        return codes

    def unsubscribe(self, topic_filters: Sequence[str]) -> list[int]:
        return [
            ReasonCode.NO_SUBSCRIPTION_EXISTED
            if self._granted.pop(topic_filter, None) is None
            else ReasonCode.SUCCESS
            for topic_filter in topic_filters
        ]

    def find(self, purpose: Purpose, transport: DeviceTransport) -> tuple[Topic, int] | None:
        """The topic on which the device wants this, and the QoS; None: it has not subscribed to it.

        Of several families it is the one subscribed last (device API reference, 2.2); when that one is
        unsubscribed, the one before.
        """
        for topic_filter, qos in reversed(self._granted.items()):
            row = transport.find_subscribable(topic_filter)
            if row is not None and row.purpose is purpose:
                return row, qos
        return None

    def wants_something_unasked(self, transport: DeviceTransport) -> bool:
        return any(self.find(purpose, transport) is not None for purpose in SENT_UNASKED)

    def qos_for(self, topic: str) -> int:
        """That of the subscription whose filter matches, else 1 (device API reference, 2.3)."""
        prefix = topic.rpartition("/")[0]
        qos = self._granted.get(topic, self._granted.get(f"{prefix}/+"))
        if qos is None:  # pieces of firmware have two numbers in their topic
            matching = (qos for wanted, qos in self._granted.items() if topics.matches(wanted, topic))
            qos = next(matching, HIGHEST_QOS)
        return qos
