"""HTTP: uvicorn inside our own event loop, on a socket that we opened; with TLS, behind our own listener."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from thingpass.servers.connection_services import ConnectionServices
from thingpass.servers.endpoint_transport import EndpointTransport
from thingpass.servers.http_protocol import HttpBounds, HttpProtocol
from thingpass.servers.listeners import listening_socket
from thingpass.servers.misplaced import HTTPS_PORT
from thingpass.servers.mqtt_reception import refuse_without_tls
from thingpass.servers.protocol_refusals import Fault
from thingpass.settings import HttpSettings
from thingpass.tls.endpoint import ByteChannel, Endpoint
from thingpass.tls.evidence import Evidence

START_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 2  # how long requests in flight may take after the server was told to stop
BACKLOG: Final = 4_096


class _EmbeddedUvicorn(uvicorn.Server):
    """Signals belong to whoever owns the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpListener:
    """The port without TLS, and the reception of the one with it: both end together."""

    def __init__(
        self,
        application: ASGIApp,
        services: ConnectionServices,
        settings: HttpSettings,
        *,
        bind: str,
        port: int,
    ) -> None:
        self._services = services
        self._bind = bind
        self._wanted_port = port
        self._task: asyncio.Task[None] | None = None
        self._tls_connections: set[EndpointTransport] = set()
        self.max_connections = settings.max_connections
        self.port = port
        self._bounds = HttpBounds(
            wheel=services.wheel,
            head_timeout_s=settings.head_timeout_s,
            record=self._record,
            has_room=lambda: self.open_connections <= self.max_connections,
            max_connections=settings.max_connections,
        )
        self._config = uvicorn.Config(
            application,
            http=functools.partial(HttpProtocol, bounds=self._bounds),  # type: ignore[arg-type]  # makes one
            ws="none",
            lifespan="off",
            log_config=None,  # the house's logging is set up already
            log_level="warning",  # starting and stopping is said by the command, not here
            access_log=False,  # a device's token stands in its path
            server_header=False,
            proxy_headers=False,  # a header must not be able to name another peer address
            backlog=BACKLOG,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            timeout_keep_alive=settings.keep_alive_s,
        )
        self._server = _EmbeddedUvicorn(self._config)

    async def start(self) -> None:
        """Raises Unavailable when the address cannot be had."""
        sock = listening_socket(self._bind, self._wanted_port)
        self.port = sock.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[sock]), name="http")
        async with asyncio.timeout(START_TIMEOUT_S):
            while not self._server.started:
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        if self._task is None:
            return
        self._server.should_exit = True
        await asyncio.wait((self._task,), timeout=STOP_TIMEOUT_S + 1)
        if not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for transport in list(self._tls_connections):
            transport.abort()

    @property
    def open_connections(self) -> int:
        """Without TLS."""
        return len(self._server.server_state.connections) - len(self._tls_connections)

    @property
    def open_tls_connections(self) -> int:
        return len(self._tls_connections)

    # The reception of the TLS port

    def has_room(self) -> bool:
        return len(self._tls_connections) < self.max_connections

    def receive(self, sock: socket.socket, channel: ByteChannel, evidence: Evidence) -> None:
        transport = EndpointTransport(
            self._services.loop,
            self._services.wheel,
            Endpoint(sock, channel),
            extra={
                "peername": (evidence.peer_address, evidence.peer_port),
                "sockname": sock.getsockname()[:2],
                "sslcontext": True,  # by this uvicorn knows that the scheme is https
            },
            on_end=self._tls_connections.discard,
        )
        self._tls_connections.add(transport)
        transport.start(
            HttpProtocol(self._config, self._server.server_state, {}, bounds=self._bounds, evidence=evidence)
        )

    def receive_without_tls(self, sock: socket.socket, evidence: Evidence) -> None:
        refuse_without_tls(self._services, sock, evidence, HTTPS_PORT)

    def _record(self, fault: Fault, evidence: Evidence) -> None:
        self._services.refusal_log.record(
            fault.refusal,
            listener=evidence.listener,
            peer_address=evidence.peer_address,
            peer_port=evidence.peer_port,
            at_ms=self._services.messages.clock.now_ms(),
            seen=fault.seen,
        )
