"""Messages on their way to the client at QoS 1 and 2: packet identifiers, Receive Maximum, what waits.

A message has its packet identifier from the beginning, also while it waits because the client's Receive
Maximum is used up. Of a session that may be resumed the messages themselves are kept until they are
acknowledged, and are sent again when the client comes back (MQTT5 4.4).
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from thingpass.mqtt.errors import ProtocolViolation
from thingpass.mqtt.packets import Publish
from thingpass.mqtt.reason_codes import PacketType, ReasonCode

MAXIMUM_PACKET_ID = 65_535
_OVERHEAD = 300  # bytes of a waiting message beside its topic and payload, about


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message that waits, or that may have to be sent again."""

    publish: Publish
    expires_at: float | None  # on the session's clock; not sent after that

    @property
    def size(self) -> int:
        return len(self.publish.payload) + len(self.publish.topic) + _OVERHEAD


class OutboundMessages:
    """Messages to the client, at most `maximum` of them unacknowledged."""

    __slots__ = ("_awaited", "_last_id", "_sent", "_waiting", "bytes_held", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.bytes_held = 0  # of messages that wait, or that are kept to be sent again
        self._last_id = 0
        self._awaited: dict[int, PacketType] = {}  # the packet that the client owes
        self._waiting: OrderedDict[int, Outgoing] | None = None  # by packet identifier
        self._sent: dict[int, Outgoing] | None = None  # only of a session that may be resumed

    @property
    def quota(self) -> int:
        """How many more messages of QoS 1 and 2 the client takes now. MQTT5 4.9."""
        return self.maximum - len(self._awaited)

    @property
    def waiting(self) -> int:
        return len(self._waiting) if self._waiting else 0

    @property
    def unacknowledged(self) -> int:
        return len(self._awaited)

    def keep(self) -> None:
        """The session may be resumed: what is sent is kept until it is acknowledged."""
        if self._sent is None:
            self._sent = {}

    def new_id(self) -> int | None:
        """A packet identifier that is not in use; None when all are."""
        waiting = self._waiting or ()
        if len(self._awaited) + self.waiting >= MAXIMUM_PACKET_ID:
            return None
        packet_id = self._last_id % MAXIMUM_PACKET_ID + 1
        while packet_id in self._awaited or packet_id in waiting:  # MQTT5 2.2.1 [MQTT-2.2.1-4]
            packet_id = packet_id % MAXIMUM_PACKET_ID + 1
        self._last_id = packet_id
        return packet_id

    def sent(self, message: Outgoing) -> None:
        """The message is on its way."""
        publish = message.publish
        self._awaited[publish.packet_id] = PacketType.PUBACK if publish.qos == 1 else PacketType.PUBREC
        if self._sent is not None:
            self._sent[publish.packet_id] = message
            self.bytes_held += message.size

    def wait(self, message: Outgoing) -> None:
        """The message is sent when its turn comes."""
        if self._waiting is None:
            self._waiting = OrderedDict()
        self._waiting[message.publish.packet_id] = message
        self.bytes_held += message.size

    def next_to_send(self, now: float) -> Outgoing | None:
        """The next one that waits, if the quota lets it go; those past their time are dropped.

        Deviates: a message that was sent before, and may have arrived, is dropped too, although it should be
        sent again [MQTT-4.4.0-1]. Nobody waits for it any more, and what it orders must not happen late.
        """
        while self._waiting and self.quota > 0:
            _, message = self._waiting.popitem(last=False)
            self.bytes_held -= message.size
            if not self._waiting:
                self._waiting = None
            if message.expires_at is None or message.expires_at > now:
                return message
        return None

    def acknowledged(self, packet_id: int, packet_type: PacketType) -> bool:
        """The packet ends a delivery, or comes for a second time (False). Raises ProtocolViolation."""
        awaited = self._awaited.get(packet_id)
        if awaited is None:
            return False
        if awaited is not packet_type:
            raise _not_due(packet_type, awaited)
        del self._awaited[packet_id]
        self._forget_sent(packet_id)
        return True

    def received(self, packet_id: int) -> ReasonCode:
        """PUBREC of the client: the reason code of the PUBREL. Raises ProtocolViolation."""
        awaited = self._awaited.get(packet_id)
        if awaited is None:
            return ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
        if awaited is PacketType.PUBACK:
            raise _not_due(PacketType.PUBREC, awaited)
        self._awaited[packet_id] = PacketType.PUBCOMP  # MQTT5 4.3.3; sent again, it is answered again
        self._forget_sent(packet_id)  # [MQTT-4.3.3-4]: from now on PUBREL is what is sent again
        return ReasonCode.SUCCESS

    def _forget_sent(self, packet_id: int) -> None:
        if self._sent and (message := self._sent.pop(packet_id, None)) is not None:
            self.bytes_held -= message.size

    def start_again(self, maximum: int) -> list[int]:
        """The client is back on a new connection: what it did not acknowledge waits again, before the rest.

        Gives the identifiers whose PUBREL is to be sent again.
        """
        self.maximum = maximum
        again = list(self._sent.values()) if self._sent else []
        releases = [
            packet_id for packet_id, awaited in self._awaited.items() if awaited is PacketType.PUBCOMP
        ]
        self._awaited = dict.fromkeys(releases, PacketType.PUBCOMP)
        self._sent = {}
        later = list(self._waiting.values()) if self._waiting else []
        self._waiting, self.bytes_held = None, 0
        for message in again:  # [MQTT-3.3.1-1], [MQTT-4.6.0-1]: with DUP, in the order of before
            self.wait(Outgoing(msgspec.structs.replace(message.publish, duplicate=True), message.expires_at))
        for message in later:
            self.wait(message)
        return releases


def _not_due(packet_type: PacketType, awaited: PacketType) -> ProtocolViolation:
    return ProtocolViolation(f"{packet_type.name} where {awaited.name} is due")
