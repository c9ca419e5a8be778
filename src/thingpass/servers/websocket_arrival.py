"""A connection on a WebSocket port from its first byte to the end of its opening handshake (RFC 6455 4.2).

Who asks for something else than `/mqtt` with the subprotocol `mqtt` gets an answer that a person can read.
The `Origin` is not looked at: pages of any site may speak for a device whose credentials they have.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import structlog
from websockets.http11 import Request

from thingpass.identity import refusals
from thingpass.identity.refusals import Refusal
from thingpass.servers.connection_services import ConnectionServices
from thingpass.servers.farewell import Farewell
from thingpass.servers.misplaced import http_answer
from thingpass.servers.mqtt_connection import MqttConnection
from thingpass.servers.websocket_channel import SUBPROTOCOLS, WebSocketEndpoint, make_protocol
from thingpass.tls.binding import ChannelFailed
from thingpass.tls.endpoint import ByteChannel, Endpoint
from thingpass.tls.evidence import Evidence

log = structlog.get_logger(__name__)

PATH: Final = "/mqtt"
MOST_REQUEST_BYTES: Final = 16_384
SWITCHING_PROTOCOLS: Final = 101
HELP: Final = f"This port speaks MQTT over WebSocket at {PATH}, subprotocol {' or '.join(SUBPROTOCOLS)}.\n"
NOT_HTTP: Final = http_answer("400 Bad Request", HELP.rstrip())
TOO_LARGE: Final = http_answer(
    "431 Request Header Fields Too Large", f"A request's head has at most {MOST_REQUEST_BYTES} bytes here."
)

# The first byte of what is plainly something else.
_MQTT_CONNECT: Final = 0x10
_TLS_HANDSHAKE: Final = 0x16


class WebSocketArrival:
    """One opening handshake. Every way ends in `_close`, or in a `MqttConnection` that takes over."""

    __slots__ = (
        "__weakref__",
        "_began",
        "_channel",
        "_closed",
        "_endpoint",
        "_evidence",
        "_farewell",
        "_on_end",
        "_protocol",
        "_received",
        "_services",
        "_sock",
        "wheel_slot",
    )

    def __init__(
        self,
        services: ConnectionServices,
        sock: socket.socket,
        channel: ByteChannel,
        evidence: Evidence,
        *,
        on_end: Callable[[WebSocketArrival], None],
    ) -> None:
        """`on_end` is called once, when the handshake has ended in whatever way."""
        self._services = services
        self._sock = sock
        self._channel = channel
        self._endpoint = Endpoint(sock, channel)
        self._evidence = evidence
        self._on_end = on_end
        self._protocol = make_protocol(services.limits.maximum_packet_size)
        self._received = 0
        self._began = services.loop.time()
        self._farewell: Farewell | None = None
        self._closed = False
        self.wheel_slot = 0

    def start(self) -> None:
        self._services.wheel.watch(self)
        self._services.readiness.add_reader(self._sock.fileno(), self._ready)

    def _ready(self) -> None:
        try:
            self._read()
        except ChannelFailed:
            self._close()
        except Exception:
            log.exception("websocket.failed")
            self._close()

    def _read(self) -> None:
        while True:
            data = self._channel.read()
            if data is None:
                return
            if not data:
                self._close()
                return
            if not self._received and data[0] in (_MQTT_CONNECT, _TLS_HANDSHAKE):
                is_mqtt = data[0] == _MQTT_CONNECT
                self._record(refusals.MQTT_ON_WEBSOCKET_PORT if is_mqtt else refusals.TLS_ON_PLAIN_PORT)
                self._close()
                return
            self._received += len(data)
            self._protocol.receive_data(data)
            if self._protocol.events:
                request = self._protocol.events.pop(0)
                assert isinstance(request, Request)
                self._answer(request)
                return
            if self._protocol.handshake_exc is not None:
                self._refuse(b"".join(self._protocol.data_to_send()) or NOT_HTTP, "no HTTP request")
                return
            if self._received > MOST_REQUEST_BYTES:
                self._refuse(TOO_LARGE, "its head is too large")
                return

    def _answer(self, request: Request) -> None:
        protocol = self._protocol
        if urlsplit(request.path).path != PATH:
            response, seen = protocol.reject(404, HELP), "another path"
        else:
            response = protocol.accept(request)
            seen = str(protocol.handshake_exc or "")
        protocol.send_response(response)
        answer = b"".join(protocol.data_to_send())
        if response.status_code != SWITCHING_PROTOCOLS:
            self._refuse(answer, seen)
            return
        self._end()
        self._services.readiness.remove_reader(self._sock.fileno())
        endpoint = WebSocketEndpoint(self._sock, self._channel, protocol)
        connection = MqttConnection(self._services, endpoint, self._evidence)
        endpoint.when_blocked = connection.wait_for_writable
        Endpoint.write(endpoint, answer)
        connection.start()

    def _refuse(self, answer: bytes, seen: str) -> None:
        """Answers, and sees to it that the answer arrives."""
        self._record(refusals.WEBSOCKET_HANDSHAKE_INVALID, {"seen": f"{seen}."})
        self._endpoint.write(answer)
        self._services.wheel.forget(self)
        self._farewell = Farewell(self._services, self._endpoint, self._gone)

    def _record(self, refusal: Refusal, seen: dict[str, str] | None = None) -> None:
        self._services.refusal_log.record(
            refusal,
            listener=self._evidence.listener,
            peer_address=self._evidence.peer_address,
            peer_port=self._evidence.peer_port,
            at_ms=self._services.messages.clock.now_ms(),
            seen=seen or {},
        )

    # The wheel asks

    def deadline(self) -> float | None:
        if self._closed or self._farewell is not None:
            return None
        return self._began + self._services.limits.connect_timeout_s

    def overdue(self, now: float) -> None:
        limit = {"limit": f"{self._services.limits.connect_timeout_s:g} s"}
        self._record(refusals.CONNECT_TOOK_TOO_LONG, limit)
        self._close()

    def close_now(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._closed:
            return
        if self._farewell is not None:
            self._farewell.end("the server stops, or reading failed")
            return
        self._services.readiness.remove_reader(self._sock.fileno())
        self._end()
        self._endpoint.close()

    def _gone(self, why: str) -> None:
        self._farewell = None
        self._end()

    def _end(self) -> None:
        self._closed = True
        self._services.wheel.forget(self)
        self._on_end(self)
