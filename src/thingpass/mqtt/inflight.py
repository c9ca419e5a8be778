"""Messages on their way from the client at QoS 1 and 2: packet identifiers, Receive Maximum, what is owed.

Identifiers of the two directions are independent (MQTT5 2.2.1); the other one is `outbound.py`.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Sequence
from itertools import islice
from typing import TypeAlias

from thingpass.mqtt.errors import ProtocolViolation
from thingpass.mqtt.reason_codes import PacketType, ReasonCode


class Arrival(enum.Enum):
    """What a PUBLISH of the client is."""

    NEW = 1
    KNOWN = 2  # sent again while its acknowledgement is pending: that one will answer both
    RECEIVED = 3  # QoS 2, sent again after PUBREC: answered with PUBREC again, reported no second time


Answer: TypeAlias = tuple[int, int, str | None]
"""Packet identifier, reason code, reason string."""

_NONE_AT_QOS_2: dict[int, bool] = {}
"""What nearly all devices have: shared, and never written to."""


class InboundMessages:
    """Messages from the client. The session's fast path reads and writes the fields itself.

    `in_flight` counts what stands against the Receive Maximum: every message of QoS 1 until PUBACK, of QoS 2
    until PUBCOMP (or a PUBREC that refuses it).
    """

    __slots__ = ("at_qos_1", "at_qos_2", "awaiting_release", "held", "in_flight", "maximum")

    def __init__(self) -> None:
        self.maximum = (
            sys.maxsize
        )  # MQTT 3 knows no Receive Maximum; there the packet identifiers are the bound
        self.in_flight = 0
        self.at_qos_1: dict[int, None] = {}  # as a set, which would take 150 bytes more while it is empty
        self.at_qos_2 = _NONE_AT_QOS_2  # True: PUBREC is sent, PUBREL awaited
        self.awaiting_release = 0
        self.held: list[Answer] | None = None  # those that wait for the answers to earlier messages

    @property
    def unacknowledged(self) -> int:
        """Messages that wait for the caller's `acknowledge`."""
        return self.in_flight - self.awaiting_release

    def begin(self, qos: int, packet_id: int, duplicate: bool) -> Arrival:
        """Take note of a PUBLISH of QoS 1 or 2. Raises ProtocolViolation."""
        return self._begin_qos_1(packet_id, duplicate) if qos == 1 else self._begin_qos_2(packet_id)

    def _begin_qos_1(self, packet_id: int, duplicate: bool) -> Arrival:
        if packet_id in self.at_qos_2:
            raise _in_use()
        if duplicate and packet_id in self.at_qos_1:
            return Arrival.KNOWN
        # Deviates: an identifier in use without DUP is a new message, although the client should have waited
        # [MQTT-2.2.1-3]. Small clients send all messages under one identifier, and each is acknowledged.
        self._count_in()
        self.at_qos_1[packet_id] = None
        return Arrival.NEW

    def _begin_qos_2(self, packet_id: int) -> Arrival:
        if packet_id in self.at_qos_1:
            raise _in_use()
        released = self.at_qos_2.get(packet_id)
        if released is not None:
            # MQTT5 4.3.3 [MQTT-4.3.3-10]: until PUBREL the same identifier is the same message, with DUP or
            # without
            return Arrival.RECEIVED if released else Arrival.KNOWN
        self._count_in()
        if self.at_qos_2 is _NONE_AT_QOS_2:
            self.at_qos_2 = {}
        self.at_qos_2[packet_id] = False
        return Arrival.NEW

    def _count_in(self) -> None:
        if self.in_flight >= self.maximum:  # MQTT5 3.3.4 [MQTT-3.3.4-7]
            raise ProtocolViolation(
                f"more than {self.maximum} messages are unacknowledged",
                statement="MQTT-3.3.4-7",
                reason_code=ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
            )
        self.in_flight += 1

    def are_next(self, packet_ids: Sequence[int]) -> bool:
        """Whether these are the oldest messages of QoS 1, in their order, and nothing waits behind them."""
        return self.held is None and list(islice(self.at_qos_1, len(packet_ids))) == packet_ids

    def must_wait(self, packet_id: int) -> bool:
        """Whether an earlier message of the same QoS has no answer yet [MQTT-4.6.0-2], [MQTT-4.6.0-3]."""
        if packet_id in self.at_qos_1:
            return next(iter(self.at_qos_1)) != packet_id
        if packet_id in self.at_qos_2:
            return next((other for other, released in self.at_qos_2.items() if not released), 0) != packet_id
        return False

    def hold(self, answer: Answer) -> None:
        """It gets its turn. The message counts as unacknowledged until then, which bounds what waits."""
        if self.held is None:
            self.held = []
        self.held.append(answer)

    def next_held(self) -> Answer | None:
        """An answer whose turn has come."""
        for index, answer in enumerate(self.held or ()):
            if not self.must_wait(answer[0]):
                assert self.held is not None
                del self.held[index]
                self.held = self.held or None
                return answer
        return None

    def settle(self, packet_id: int, reason_code: int) -> PacketType:
        """The caller has stored or refused the message: which packet answers it, PUBACK or PUBREC."""
        released = self.at_qos_2.get(packet_id)
        if released is None:
            self.at_qos_1.pop(packet_id, None)
            self.in_flight -= 1
            self.release_memory()
            return PacketType.PUBACK
        if not released:
            if reason_code >= ReasonCode.UNSPECIFIED_ERROR:  # MQTT5 4.3.3: a refusal ends the exchange
                del self.at_qos_2[packet_id]
                self.in_flight -= 1
            else:
                self.at_qos_2[packet_id] = True
                self.awaiting_release += 1
        return PacketType.PUBREC

    def received(self) -> tuple[int, ...]:
        """Identifiers of QoS 2 that wait for PUBREL: what a kept session knows of its client's messages."""
        return tuple(packet_id for packet_id, released in self.at_qos_2.items() if released)

    def restore(self, received: tuple[int, ...]) -> None:
        """What `received` gave when the session was left."""
        self.at_qos_2 = dict.fromkeys(received, True)
        self.awaiting_release = self.in_flight = len(received)

    def release_memory(self) -> None:
        """An empty dictionary keeps its table, 160 bytes that an idle connection has no use for."""
        if not self.at_qos_1:
            self.at_qos_1.clear()

    def release(self, packet_id: int) -> ReasonCode:
        """PUBREL of the client: the reason code of the PUBCOMP. Raises ProtocolViolation."""
        released = self.at_qos_2.get(packet_id)
        if released is None:
            return ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
        if not released:
            raise ProtocolViolation("PUBREL for a message that has no PUBREC yet", statement="MQTT-4.3.3-4")
        del self.at_qos_2[packet_id]
        self.awaiting_release -= 1
        self.in_flight -= 1
        return ReasonCode.SUCCESS


def _in_use() -> ProtocolViolation:
    return ProtocolViolation("a packet identifier is in use at another QoS", statement="MQTT-2.2.1-3")
