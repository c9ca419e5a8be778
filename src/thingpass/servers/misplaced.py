"""What is said to a peer that speaks the right protocol to the wrong port: a row for each kind of port."""

from __future__ import annotations

from typing import Final

import msgspec

from thingpass.identity import refusals
from thingpass.identity.refusals import Refusal


class Misplaced(msgspec.Struct, frozen=True):
    """`mqtt` and `http`: as what such a peer is refused; `answer`: what a browser or curl is told."""

    mqtt: Refusal | None  # None: MQTT is spoken here
    http: Refusal
    answer: bytes


def http_answer(status: str, text: str) -> bytes:
    """A whole response, after which the connection ends."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text) + 1}\r\n"
    )
    return f"{head}Connection: close\r\n\r\n{text}\n".encode("ascii")


_NO_HTTP: Final = http_answer("400 Bad Request", "This port speaks MQTT, not HTTP.")

PLAIN_MQTT_PORT: Final = Misplaced(None, refusals.HTTP_ON_MQTT_PORT, _NO_HTTP)
MQTT_PORT: Final = Misplaced(refusals.PLAIN_MQTT_ON_TLS_PORT, refusals.HTTP_ON_MQTT_PORT, _NO_HTTP)
HTTPS_PORT: Final = Misplaced(
    refusals.PLAIN_MQTT_ON_TLS_PORT,
    refusals.PLAIN_HTTP_ON_TLS_PORT,
    http_answer("400 Bad Request", "This port speaks HTTP over TLS: use https:// in the URL."),
)
WEBSOCKET_PORT: Final = Misplaced(
    refusals.PLAIN_MQTT_ON_TLS_PORT,
    refusals.PLAIN_HTTP_ON_TLS_PORT,
    http_answer("400 Bad Request", "This port speaks MQTT over WebSocket with TLS: use wss:// in the URL."),
)
