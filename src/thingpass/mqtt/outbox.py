"""What goes to the client.

In its version, within its Maximum Packet Size, with no more words than it wants.
"""

from __future__ import annotations

import msgspec

from thingpass.mqtt.data_types import MAXIMUM_TWO_BYTE_INTEGER
from thingpass.mqtt.encoding import encode, encode_publish_head
from thingpass.mqtt.errors import MqttError, UnsupportedVersion
from thingpass.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    ProtocolVersion,
    PubAck,
    Publish,
    PubRec,
)
from thingpass.mqtt.properties import NO_PROPERTIES, Properties
from thingpass.mqtt.reason_codes import REASON_BY_CODE, PacketType, permitted
from thingpass.mqtt.topic_aliases import GivenTopicAliases

_MQTT_5 = ProtocolVersion.MQTT_5
_VERSION_REFUSED_MQTT_3 = b"\x20\x02\x00\x01"
_VERSION_REFUSED_MQTT_5 = b"\x20\x03\x00\x84\x00"
_MOST_TOPIC_ALIASES = 10  # kept per connection; a device has one or two topics that repeat
_BRIDGE_BIT = 0x80  # some brokers set it in the level when they connect as a client


class Outbox:
    """Encoded packets that wait to be sent. `waiting` is appended to by the session's hot path."""

    __slots__ = ("_maximum_packet_size", "_topic_aliases", "_version", "_wants_reasons", "waiting")

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self._version: ProtocolVersion | None = None
        self._maximum_packet_size: int | None = None
        self._topic_aliases: GivenTopicAliases | None = None  # None: the client takes none
        self._wants_reasons = True

    def speak(self, version: ProtocolVersion) -> None:
        """The client's version is known."""
        self._version = version

    def adopt(self, connect: Connect) -> None:
        """The client's limits are known. MQTT5 3.1.2.11.4, 3.1.2.11.5 and 3.1.2.11.7."""
        if connect.properties is not None:
            self._maximum_packet_size = connect.properties.maximum_packet_size
            self._wants_reasons = connect.properties.request_problem_information != 0
            if aliases := connect.properties.topic_alias_maximum:
                self._topic_aliases = GivenTopicAliases(min(aliases, _MOST_TOPIC_ALIASES))

    def collect(self) -> bytes:
        """All that waits; it counts as sent."""
        waiting = self.waiting
        if len(waiting) == 1:
            return waiting.pop()
        data = b"".join(waiting)
        waiting.clear()
        return data

    def send(self, packet: Packet) -> bool:
        """Queue the packet. False, and nothing is queued, when it is larger than the client takes."""
        assert self._version is not None, "no packet but the refusal of a version goes out before CONNECT"
        data = encode(packet, self._version)
        if self._maximum_packet_size is not None and len(data) > self._maximum_packet_size:
            return False  # MQTT5 3.1.2.11.4 [MQTT-3.1.2-24]
        self.waiting.append(data)
        return True

    def send_message(self, message: Publish) -> bool:
        """As `send`, with a number in the place of a topic name that repeats, where the client takes them."""
        aliases = self._topic_aliases
        if aliases is None:
            return self.send(message)
        topic = message.topic
        if (alias := aliases.given(topic)) is not None:
            return self.send(_with_alias(message, "", alias))
        if (alias := aliases.due(topic)) is not None and self.send(_with_alias(message, topic, alias)):
            aliases.give(topic, alias)
            return True
        return self.send(message)  # also where the number made it too large

    def head_of(self, packet: Publish, payload_size: int) -> bytes | None:
        """All of the packet before its payload; None: it is larger than the client takes, or any packet."""
        assert self._version is not None
        head = encode_publish_head(packet, payload_size, self._version)
        if head is None:
            return None
        most = self._maximum_packet_size
        return None if most is not None and len(head) + payload_size > most else head

    def fits(self, packet: Packet) -> bool:
        """Whether the client takes a packet of this size."""
        if self._maximum_packet_size is None:
            return True
        assert self._version is not None
        return len(encode(packet, self._version)) <= self._maximum_packet_size

    def send_with_reason(self, packet: PubAck | PubRec, reason_string: str | None) -> None:
        """Queue it, without the words where they do not fit [MQTT-3.4.2-2], [MQTT-3.5.2-2]."""
        properties = (
            None if reason_string is None or self._version is not _MQTT_5 else self._reason(reason_string)
        )
        if properties is None or not self.send(msgspec.structs.replace(packet, properties=properties)):
            self.send(packet)

    def send_disconnect(self, reason_code: int, reason_string: str | None) -> None:
        """DISCONNECT for MQTT 5; in MQTT 3 only clients send it."""
        if self._version is not _MQTT_5:
            return
        reason_code = permitted(reason_code, PacketType.DISCONNECT)  # [MQTT-3.14.2-1]
        properties = self._reason(reason_string)
        if properties is None or not self.send(Disconnect(reason_code, properties)):
            self.send(Disconnect(reason_code))  # [MQTT-3.14.2-3]: without the words where they do not fit

    def send_refusal(self, mqtt5: int, mqtt3: int | None, reason_string: str | None) -> None:
        """CONNACK with the reason code of the client's version; `mqtt3` None: MQTT 3 has no word for it."""
        if self._version is not _MQTT_5:
            if mqtt3 is not None:
                self.send(ConnAck(False, mqtt3))
            return
        mqtt5 = permitted(mqtt5, PacketType.CONNACK)  # [MQTT-3.2.2-8]
        properties = self._reason(reason_string)
        if properties is None or not self.send(ConnAck(False, mqtt5, properties)):
            self.send(ConnAck(False, mqtt5))  # [MQTT-3.2.2-19]: without the words where they do not fit

    def send_connect_fault(self, error: MqttError) -> None:
        """The answer to a CONNECT that cannot stand, or to silence before it; often there is none."""
        if isinstance(error, UnsupportedVersion):
            # MQTT5 3.1.2.2 [MQTT-3.1.2-2]: in the form that a client of that level can read
            old = error.level & ~_BRIDGE_BIT < _MQTT_5
            self.waiting.append(_VERSION_REFUSED_MQTT_3 if old else _VERSION_REFUSED_MQTT_5)
        elif self._version is not None:
            # MQTT5 3.1.4 [MQTT-3.1.4-1]; MQTT 3 is told only what has a return code
            self.send_refusal(error.reason_code, REASON_BY_CODE[error.reason_code].mqtt3, error.seen)

    def _reason(self, reason_string: str | None) -> Properties | None:
        if not self._wants_reasons or not reason_string:
            return None
        if len(reason_string.encode()) > MAXIMUM_TWO_BYTE_INTEGER:
            return None
        return Properties(reason_string=reason_string)


def _with_alias(message: Publish, topic: str, alias: int) -> Publish:
    properties = msgspec.structs.replace(message.properties or NO_PROPERTIES, topic_alias=alias)
    return msgspec.structs.replace(message, topic=topic, properties=properties)
