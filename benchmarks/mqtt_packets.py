"""The few MQTT 3.1.1 packets that the load source sends, built once; only ids and times are patched in."""

from __future__ import annotations

TELEMETRY_TOPIC = b"v1/devices/me/telemetry"
DISCONNECT = b"\xe0\x00"
CONNACK_ACCEPTED = b"\x20\x02\x00\x00"
PUBACK_SIZE_BYTES = 4
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


def _string(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def _remaining_length(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | 0x80 if length else low)
        if not length:
            return bytes(encoded)
