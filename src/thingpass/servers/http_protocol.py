"""uvicorn's HTTP protocol with what a server on the open network needs besides: bounds, and who the peer is.

The application finds the connection's `Evidence` in `scope["state"]["evidence"]`, and on TLS the ASGI
extension `scope["extensions"]["tls"]` (https://asgi.readthedocs.io/en/latest/specs/tls.html). The same class
serves both HTTP ports: on asyncio's transport without TLS, on `EndpointTransport` with it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any, Final

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from thingpass.identity import refusals
from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.endpoint_transport import STALL_S
from thingpass.servers.misplaced import http_answer
from thingpass.servers.protocol_refusals import Fault
from thingpass.tls.evidence import Evidence

MOST_HEAD_BYTES: Final = 65_536  # request line and header fields
SILENCE_IN_BODY_S: Final = 30.0
SLOWEST_BODY: Final = 256  # bytes a second; whoever sends less has the time of silence for all of it

HEAD_TOO_LARGE: Final = http_answer(
    "431 Request Header Fields Too Large", f"A request's head has at most {MOST_HEAD_BYTES} bytes here."
)
HEAD_TOO_SLOW: Final = http_answer("408 Request Timeout", "The request's head did not arrive in time.")

# uvicorn warns of every request that it cannot read: strangers must not be able to fill the log.
_quiet = logging.getLogger(f"{__name__}.uvicorn")
_quiet.setLevel(logging.ERROR)

_MQTT_CONNECT: Final = 0x10
_TLS_VERSIONS: Final = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
_NOT_JUDGED: Final = "not verified: only possession of its key was proven"


class HttpBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What all connections of the HTTP ports have in common."""

    wheel: DeadlineWheel
    head_timeout_s: float
    record: Callable[[Fault, Evidence], None]
    has_room: Callable[[], bool]  # on the port without TLS, the connection that asks included
    max_connections: int
    stall_s: float = STALL_S  # how long a peer may take nothing of what is sent to it


class HttpProtocol(HttpToolsProtocol):
    """One connection. What the peer is to send or to take has a deadline; what it waits for has none."""

    wheel_slot = 0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: HttpBounds,
        evidence: Evidence | None = None,
    ) -> None:
        """`evidence`: of a TLS connection; without TLS it is made of the peer's address."""
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _quiet
        self._bounds = bounds
        self._evidence = evidence
        self._tls: dict[object, object] | None = None
        self._head_bytes = 0
        self._in_head = True
        self._in_body = False
        self._waiting_since = self.loop.time()
        self._unsent = 0
        self._taken_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        if self._evidence is None:
            address, port = self.client or ("", 0)
            self._evidence = Evidence(listener="http", peer_address=address, peer_port=port)
            if not self._bounds.has_room():
                limit = {"limit": str(self._bounds.max_connections)}
                self._bounds.record(Fault(refusals.CONNECTION_LIMIT_REACHED, limit), self._evidence)
                transport.close()
        else:
            self._tls = tls_extension(self._evidence)
        self.app_state = {"evidence": self._evidence}
        self._bounds.wheel.watch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._bounds.wheel.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.url == b"" and data[0] == _MQTT_CONNECT:  # no request begins like this
            assert self._evidence is not None
            self._bounds.record(Fault(refusals.MQTT_ON_HTTP_PORT, {}), self._evidence)
            self.transport.close()
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
                self._end_with(HEAD_TOO_LARGE)
        elif self._in_body:
            # A byte now and then must not hold a connection for ever: what came buys a time.
            paid_until = self._waiting_since + len(data) / SLOWEST_BODY
            self._waiting_since = min(self.loop.time(), paid_until)

    url = b""  # before the first request

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._waiting_since = self.loop.time()
        if self._tls is not None:
            self.scope["extensions"] = {"tls": self._tls}

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        self._waiting_since = self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def _end_with(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()

    # The wheel asks

    def deadline(self) -> float | None:
        timeout_s = self._bounds.head_timeout_s
        if self._in_head:
            return self._waiting_since + timeout_s
        if self._in_body and not self.flow.read_paused:
            return self._waiting_since + SILENCE_IN_BODY_S
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._taken_at = unsent, now
        # Asked again before any later deadline, so that a request need not be put into the wheel.
        return min(now + min(timeout_s, SILENCE_IN_BODY_S), self._taken_at + self._bounds.stall_s)

    def overdue(self, now: float) -> None:
        if self.transport.is_closing() or not (self._in_head or self._in_body):
            self.transport.abort()  # it takes nothing
        elif self._in_head and self._head_bytes:
            self._end_with(HEAD_TOO_SLOW)
        else:
            self.transport.close()


def tls_extension(evidence: Evidence) -> dict[object, object]:
    """What the peer showed. No authority has judged it, and `client_cert_error` says so."""
    chain = [ssl.DER_cert_to_PEM_cert(der) for der in evidence.chain_der]
    return {
        "server_cert": None,
        "client_cert_chain": chain,
        "client_cert_name": None,
        "client_cert_error": _NOT_JUDGED if chain else None,
        "tls_version": _TLS_VERSIONS.get(evidence.tls_version or ""),
        "cipher_suite": None,
    }
