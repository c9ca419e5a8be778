"""Messages to the client: sent at once, sent by the caller, or waiting while its Receive Maximum is used up.

Which identifiers are in use is `outbound.py`'s, bytes are `outbox.py`'s. A session has one of these from its
first message on; a device that is told nothing costs nothing.
"""

from __future__ import annotations

import math

import msgspec

from thingpass.mqtt.outbound import OutboundMessages, Outgoing
from thingpass.mqtt.outbox import Outbox
from thingpass.mqtt.packets import Publish, PubRel, Subscribe
from thingpass.mqtt.properties import NO_PROPERTIES, Properties
from thingpass.mqtt.reason_codes import PacketType
from thingpass.mqtt.subscription_identifiers import SubscriptionIdentifiers


class Deliveries:
    __slots__ = ("_is_mqtt5", "_outbox", "outbound", "subscription_identifiers")

    def __init__(self, outbox: Outbox, outbound: OutboundMessages, *, is_mqtt5: bool) -> None:
        """`outbound` outlives the connection where the session does."""
        self._outbox = outbox
        self._is_mqtt5 = is_mqtt5
        self.outbound = outbound
        self.subscription_identifiers: SubscriptionIdentifiers | None = None

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        *,
        retain: bool,
        properties: Properties | None,
        expires_at: float | None,
        now: float,
    ) -> int | None:
        """Its packet identifier (0 at QoS 0); None: no identifier is free, or it is larger than allowed."""
        outbound = self.outbound
        packet_id = outbound.new_id() if qos else 0
        if packet_id is None:
            return None
        identifiers = self._identifiers_for(topic)
        if identifiers:
            properties = msgspec.structs.replace(
                properties or NO_PROPERTIES, subscription_identifier=identifiers
            )
        publish = Publish(False, qos, retain, topic, packet_id, properties, payload)
        message = Outgoing(publish, expires_at)
        if qos and (outbound.waiting or outbound.quota <= 0):
            if not self._outbox.fits(publish):
                return None
            outbound.wait(message)
        elif not self._send(message, now):
            return None
        return packet_id

    def begin_publish(self, topic: str, size: int, qos: int) -> bytes | None:
        """The beginning of a message whose payload the caller sends; None: not now, or too large."""
        outbound = self.outbound
        if qos and outbound.quota <= 0:
            return None
        packet_id = outbound.new_id() if qos else 0
        if packet_id is None:
            return None
        identifiers = self._identifiers_for(topic)
        properties = Properties(subscription_identifier=identifiers) if identifiers else None
        publish = Publish(False, qos, False, topic, packet_id, properties, b"")
        head = self._outbox.head_of(publish, size)
        if head is not None and qos:
            outbound.sent(Outgoing(publish, None))
        return head

    def ended(self, packet_id: int, packet_type: PacketType, now: float) -> bool:
        """The packet ends a delivery, or comes for a second time (False). Raises ProtocolViolation."""
        if not self.outbound.acknowledged(packet_id, packet_type):
            return False
        if self.outbound.waiting:
            self.send_waiting(now)
        return True

    def received(self, packet_id: int) -> None:
        """PUBREC of the client: the first half of a delivery at QoS 2. Raises ProtocolViolation."""
        self._outbox.send(PubRel(packet_id, self.outbound.received(packet_id)))

    def go_on(self, maximum: int, now: float) -> None:
        """What an earlier connection has left is sent again; `maximum` is the client's on this one."""
        for packet_id in self.outbound.start_again(maximum):
            self._outbox.send(PubRel(packet_id))
        self.send_waiting(now)

    def send_waiting(self, now: float) -> None:
        while (message := self.outbound.next_to_send(now)) is not None:
            # Too large can only be what another connection's client would have taken: it counts as sent and
            # acknowledged [MQTT-3.1.2-25].
            self._send(message, now)

    def subscription_requested(self, packet: Subscribe) -> None:
        """A SUBSCRIBE with a subscription identifier, or one that may end an earlier one."""
        if self.subscription_identifiers is None:
            self.subscription_identifiers = SubscriptionIdentifiers()
        self.subscription_identifiers.requested(packet)

    def _identifiers_for(self, topic: str) -> tuple[int, ...]:
        identifiers = self.subscription_identifiers
        return identifiers.identifiers_for(topic) if identifiers is not None else ()

    def _send(self, message: Outgoing, now: float) -> bool:
        publish = message.publish
        if message.expires_at is not None and self._is_mqtt5:  # MQTT5 3.3.2.3.3
            left = max(1, math.ceil(message.expires_at - now))
            properties = msgspec.structs.replace(
                publish.properties or NO_PROPERTIES, message_expiry_interval=left
            )
            publish = msgspec.structs.replace(publish, properties=properties)
        if not self._outbox.send_message(publish):
            return False
        if publish.qos:
            self.outbound.sent(message)
        return True
