"""A device's side of one MQTT connection (3.1.1 or 5), sans-I/O: feed, act, collect, as `mqtt.session` is.

Bytes are the codec's of `mqtt/`. Only what a device needs is here: QoS 1 out, QoS 0 and 1 in, no session that
outlives the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from thingpass.mqtt.data_types import Cursor
from thingpass.mqtt.decoding import decode_body
from thingpass.mqtt.encoding import encode
from thingpass.mqtt.errors import MqttError
from thingpass.mqtt.fixed_header import read_fixed_header
from thingpass.mqtt.packets import (
    PROTOCOL_NAMES,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    ProtocolVersion,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Subscription,
)
from thingpass.mqtt.reason_codes import ReasonCode, describe

_MQTT_5 = ProtocolVersion.MQTT_5
MOST_IN_FLIGHT: Final = 64  # messages without their acknowledgement; a device has no more memory to keep them
LARGEST_PACKET: Final = 1_048_576  # bytes; more from a server is no message for a sensor

MQTT3_REFUSALS: Final = {
    1: "This version of the protocol is not spoken here.",
    2: "The client identifier is not allowed.",
    3: "The server is not available.",
    4: "The user name or the password is not accepted.",
    5: "The client is not allowed to connect.",
}
"""MQTT 3.1.1 section 3.2.2.3: the return codes of CONNACK."""


class Accepted(msgspec.Struct, frozen=True):
    """The server knows the device."""


class Refused(msgspec.Struct, frozen=True):
    """CONNACK said no, or the server ended the connection with a reason. `detail` is its Reason String."""

    reason: str
    detail: str | None = None


class Acknowledged(msgspec.Struct, frozen=True):
    """A message's PUBACK; `problem` is the reason code's meaning where it was refused."""

    latency_s: float
    problem: str | None = None


class Arrived(msgspec.Struct, frozen=True):
    """A message to the device; its PUBACK is in what is to be sent already."""

    topic: str
    payload: bytes


class SubscriptionRefused(msgspec.Struct, frozen=True):
    reason: str


ClientEvent: TypeAlias = Accepted | Refused | Acknowledged | Arrived | SubscriptionRefused


class MqttClient:
    """One connection. `receive` raises MqttError on what no server may send; close the connection then."""

    __slots__ = (
        "_incoming",
        "_next_id",
        "_outgoing",
        "_version",
        "in_flight",
        "is_open",
        "last_sent_at",
        "most_in_flight",
    )

    def __init__(self, version: ProtocolVersion) -> None:
        self._version = version
        self._incoming = b""
        self._outgoing = bytearray()
        self._next_id = 0
        self.in_flight: dict[int, float] = {}  # packet id -> when it was sent; the oldest first
        self.is_open = False
        self.last_sent_at = 0.0
        self.most_in_flight = MOST_IN_FLIGHT

    def data_to_send(self) -> bytes:
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    # --- act ---

    def connect(self, *, client_id: str, user_name: str | None, keep_alive_s: int) -> None:
        self._send(
            Connect(
                protocol_name=PROTOCOL_NAMES[self._version],
                protocol_version=self._version,
                clean_start=True,
                keep_alive=keep_alive_s,
                client_id=client_id,
                user_name=user_name,
            )
        )

    def subscribe(self, *topic_filters: str) -> None:
        wanted = tuple(Subscription(topic_filter, qos=1) for topic_filter in topic_filters)
        self._send(Subscribe(self._free_id(), None, wanted))

    def publish(self, topic: str, payload: bytes, now: float) -> bool:
        """At QoS 1; False, and nothing is sent, while too many wait for their acknowledgement."""
        if len(self.in_flight) >= self.most_in_flight:
            return False
        packet_id = self._free_id()
        self.in_flight[packet_id] = now
        self.last_sent_at = now
        self._send(
            Publish(
                duplicate=False,
                qos=1,
                retain=False,
                topic=topic,
                packet_id=packet_id,
                properties=None,
                payload=payload,
            )
        )
        return True

    def ping(self, now: float) -> None:
        self.last_sent_at = now
        self._send(PingReq())

    def disconnect(self) -> None:
        self._send(Disconnect())

    # --- feed ---

    def receive(self, data: bytes, now: float) -> list[ClientEvent]:
        """What the server did by sending `data`, in order."""
        if self._incoming:
            data = self._incoming + data
            self._incoming = b""
        events: list[ClientEvent] = []
        position, size = 0, len(data)
        while position < size:
            body = read_fixed_header(data, position, self._version)
            if body is None or body[1] > size:
                if body is not None and body[1] - position > LARGEST_PACKET:
                    raise MqttError(f"a packet of {body[1] - position} bytes")
                self._incoming = data[position:]
                return events
            cursor = Cursor(data, *body)
            packet = decode_body(data[position], cursor, self._version)
            handle = _HANDLERS.get(type(packet))
            if handle is not None:
                handle(self, packet, events, now)
            position = body[1]
        return events

    def _on_connack(self, packet: ConnAck, events: list[ClientEvent], now: float) -> None:
        if packet.reason_code:
            events.append(self._refused("refused", packet.reason_code, packet))
            return
        self.is_open = True
        self.last_sent_at = now
        if packet.properties is not None and packet.properties.receive_maximum is not None:
            self.most_in_flight = min(MOST_IN_FLIGHT, packet.properties.receive_maximum)
        events.append(Accepted())

    def _on_disconnect(self, packet: Disconnect, events: list[ClientEvent], now: float) -> None:
        self.is_open = False
        events.append(self._refused("disconnected by the server", packet.reason_code, packet))

    def _on_puback(self, packet: PubAck, events: list[ClientEvent], now: float) -> None:
        sent_at = self.in_flight.pop(packet.packet_id, None)
        if sent_at is None:
            raise MqttError("an acknowledgement of nothing that was sent")
        problem = None
        if packet.reason_code >= ReasonCode.UNSPECIFIED_ERROR:
            problem = f"{describe(packet.reason_code)} (0x{packet.reason_code:02X})"
        events.append(Acknowledged(now - sent_at, problem))

    def _on_publish(self, packet: Publish, events: list[ClientEvent], now: float) -> None:
        if packet.qos == 2:
            raise MqttError("a message of QoS 2, which no subscription asked for")
        if packet.qos:
            self._send(PubAck(packet.packet_id))
        events.append(Arrived(packet.topic, packet.payload))

    def _on_suback(self, packet: SubAck, events: list[ClientEvent], now: float) -> None:
        for code in packet.reason_codes:
            if code >= ReasonCode.UNSPECIFIED_ERROR:
                events.append(SubscriptionRefused(f"{describe(code)} (0x{code:02X})"))
                return

    def _refused(self, what: str, code: int, packet: ConnAck | Disconnect) -> Refused:
        if self._version is _MQTT_5:
            detail = None if packet.properties is None else packet.properties.reason_string
            return Refused(f"{what}: {describe(code)} (0x{code:02X})", detail)
        return Refused(f"{what}: {MQTT3_REFUSALS.get(code, 'No reason that is known.')} (code {code})")

    def _free_id(self) -> int:
        packet_id = self._next_id % 65_535 + 1
        while packet_id in self.in_flight:
            packet_id = packet_id % 65_535 + 1
        self._next_id = packet_id
        return packet_id

    def _send(self, packet: Packet) -> None:
        self._outgoing += encode(packet, self._version)


# Any: each function takes the packet that its row names, which a dictionary's type cannot say.
_HANDLERS: Final[dict[type, Callable[[MqttClient, Any, list[ClientEvent], float], None]]] = {
    ConnAck: MqttClient._on_connack,
    Disconnect: MqttClient._on_disconnect,
    PubAck: MqttClient._on_puback,
    Publish: MqttClient._on_publish,
    SubAck: MqttClient._on_suback,
}
