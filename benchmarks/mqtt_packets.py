"""The few MQTT 3.1.1 packets that the load source sends, built once; only ids and times are patched in."""

from __future__ import annotations

from typing import NamedTuple

TELEMETRY_TOPIC = b"v1/devices/me/telemetry"
ATTRIBUTES_TOPIC = b"v1/devices/me/attributes"
ATTRIBUTE_REQUEST_TOPIC = b"v1/devices/me/attributes/request/1"
ATTRIBUTE_RESPONSE_TOPIC = b"v1/devices/me/attributes/response/1"
RPC_REQUEST_TOPIC = b"v1/devices/me/rpc/request/"
RPC_RESPONSE_TOPIC = b"v1/devices/me/rpc/response/"
DISCONNECT = b"\xe0\x00"
CONNACK_ACCEPTED = b"\x20\x02\x00\x00"
PUBACK_SIZE_BYTES = 4
SUBACK_SIZE_BYTES = 5
PUBLISH = 3  # packet type
MAXIMUM_PACKET_ID = 65_000  # far above any number in flight; the ids wrap long before 65,535

_KEEP_ALIVE_S = 1_200  # no measure idles that long, so nobody needs a PINGREQ
_TS_DIGITS = 13  # milliseconds since 1970 have 13 digits until the year 2286


def connect_packet(client_id: str) -> bytes:
    body = _string(b"MQTT") + b"\x04\x02" + _KEEP_ALIVE_S.to_bytes(2, "big") + _string(client_id.encode())
    return b"\x10" + _remaining_length(len(body)) + body


class TelemetryPacket:
    """A QoS 1 PUBLISH of three data points, with the places of the packet id and of the time in it.

    Every message of a device has its own time, one millisecond after the one before: messages of the same
    millisecond would replace each other in the store, and the benchmark would store less than it says.
    """

    def __init__(self) -> None:
        payload = (
            b'{"ts":'
            + b"0" * _TS_DIGITS
            + b',"values":{"temperature":21.53,"humidity":55.2,"pressure":1013.25}}'
        )
        body = _string(TELEMETRY_TOPIC) + b"\x00\x01" + payload
        self.template = b"\x32" + _remaining_length(len(body)) + body
        payload_at = len(self.template) - len(payload)
        self.packet_id_at = slice(payload_at - 2, payload_at)
        ts_at = payload_at + len(b'{"ts":')
        self.ts_at = slice(ts_at, ts_at + _TS_DIGITS)


def publish_packet(topic: bytes, payload: bytes, *, packet_id: int = 0) -> bytes:
    """At QoS 1 with a packet identifier, else at QoS 0."""
    body = _string(topic) + (packet_id.to_bytes(2, "big") if packet_id else b"") + payload
    return (b"\x32" if packet_id else b"\x30") + _remaining_length(len(body)) + body


def subscribe_packet(topic_filter: bytes, qos: int, *, packet_id: int) -> bytes:
    body = packet_id.to_bytes(2, "big") + _string(topic_filter) + bytes((qos,))
    return b"\x82" + _remaining_length(len(body)) + body


def puback_packet(packet_id: int) -> bytes:
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


class Received(NamedTuple):
    """A PUBLISH of the server; `packet_id` is 0 at QoS 0."""

    topic: bytes
    packet_id: int


def split_packets(data: bytes) -> tuple[list[Received], int]:
    """The PUBLISH packets that `data` begins with, and how many bytes all whole packets take.

    For short packets: the remaining length has one byte or two.
    """
    found: list[Received] = []
    position = 0
    while position + 2 <= len(data):
        first, length, start = data[position], data[position + 1], position + 2
        if length & 0x80:
            if start >= len(data):
                break
            length = (length & 0x7F) | data[start] << 7
            start += 1
        end = start + length
        if end > len(data):
            break
        if first >> 4 == PUBLISH:
            topic_end = start + 2 + int.from_bytes(data[start : start + 2], "big")
            packet_id = int.from_bytes(data[topic_end : topic_end + 2], "big") if first & 0x06 else 0
            found.append(Received(data[start + 2 : topic_end], packet_id))
        position = end
    return found, position


def _string(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def _remaining_length(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | 0x80 if length else low)
        if not length:
            return bytes(encoded)
