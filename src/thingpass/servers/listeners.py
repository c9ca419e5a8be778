"""The listeners: accept, bound what strangers may hold, shake hands where there is TLS, hand over, stop.

What a listener's connections speak is its reception's matter: MQTT, HTTP and WebSocket share all of this.
"""

from __future__ import annotations

import collections
import socket
from typing import Final

import structlog

from thingpass.errors import Unavailable
from thingpass.identity import refusals
from thingpass.servers.protocol_refusals import Fault
from thingpass.servers.reception import ListenerServices, Reception
from thingpass.servers.tls_arrival import TlsArrival
from thingpass.tls.endpoint import PlainChannel
from thingpass.tls.evidence import Evidence
from thingpass.tls.handshake_pool import HandshakePool
from thingpass.tls.server_certificate import ServerCertificate

log = structlog.get_logger(__name__)

BACKLOG: Final = 4_096  # the kernel caps it at net.core.somaxconn
ACCEPTS_PER_TURN: Final = 64
RETRY_ACCEPT_S: Final = 0.1  # after the process ran out of file descriptors


class TcpListener:
    """A listening socket without TLS; `TlsListener` adds the handshake. `name` stands in the evidence."""

    def __init__(
        self, services: ListenerServices, name: str, reception: Reception, *, bind: str, port: int
    ) -> None:
        self.name = name
        self._services = services
        self._reception = reception
        self._bind = bind
        self._wanted_port = port
        self._sock: socket.socket | None = None

    @property
    def port(self) -> int:
        assert self._sock is not None
        port: int = self._sock.getsockname()[1]
        return port

    def start(self) -> None:
        """Raises Unavailable when the address cannot be had."""
        self._sock = listening_socket(self._bind, self._wanted_port)
        self._services.loop.add_reader(self._sock.fileno(), self._accept)

    def stop_accepting(self) -> None:
        if self._sock is not None:
            self._services.loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._sock is None or self._is_full():
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("accept.failed", problem=error.strerror, mend="raise the limit of open files")
                self._pause_accepting()
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._services.counters.connections_opened += 1
            peer = (address[0], address[1])
            if self._reception.has_room():
                self._arrived(sock, peer)
            else:
                limit = {"limit": str(self._reception.max_connections)}
                self._record(Fault(refusals.CONNECTION_LIMIT_REACHED, limit), peer)
                sock.close()

    def _record(self, fault: Fault, peer: tuple[str, int]) -> None:
        self._services.refusal_log.record(
            fault.refusal,
            listener=self.name,
            peer_address=peer[0],
            peer_port=peer[1],
            at_ms=self._services.clock.now_ms(),
            seen=fault.seen,
        )

    def _is_full(self) -> bool:
        return False

    def _pause_accepting(self) -> None:
        """A level-triggered reader would spin; the kernel's queue keeps who knocks meanwhile."""
        assert self._sock is not None
        self._services.loop.remove_reader(self._sock.fileno())
        self._services.loop.call_later(RETRY_ACCEPT_S, self._resume_accepting)

    def _resume_accepting(self) -> None:
        if self._sock is not None:
            self._services.loop.add_reader(self._sock.fileno(), self._accept)

    def _arrived(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        evidence = Evidence(listener=self.name, peer_address=peer[0], peer_port=peer[1])
        self._reception.receive(sock, PlainChannel(sock), evidence)


class TlsListener(TcpListener):
    """A TLS port: one-way and two-way on the same one."""

    def __init__(
        self,
        services: ListenerServices,
        name: str,
        reception: Reception,
        *,
        bind: str,
        port: int,
        server_certificate: ServerCertificate,
        pool: HandshakePool,
        handshake_timeout_s: float,
        max_handshakes: int,
    ) -> None:
        super().__init__(services, name, reception, bind=bind, port=port)
        self._server_certificate = server_certificate
        self._pool = pool
        self._handshake_timeout_s = handshake_timeout_s
        self._max_handshakes = max_handshakes
        # Half of the places: one address (or all devices behind one router) cannot keep everybody else out.
        self._max_handshakes_per_address = max(1, max_handshakes // 2)
        self._arrivals: set[TlsArrival] = set()
        self._by_address: collections.Counter[str] = collections.Counter()
        self._accepting = True

    @property
    def handshakes_in_progress(self) -> int:
        return len(self._arrivals)

    def _is_full(self) -> bool:
        """No place for another handshake: the kernel's queue keeps the others until one ends."""
        if len(self._arrivals) < self._max_handshakes:
            return False
        if self._accepting and self._sock is not None:
            self._accepting = False
            self._services.loop.remove_reader(self._sock.fileno())
        return True

    def _arrived(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        if self._by_address[peer[0]] >= self._max_handshakes_per_address:
            limit = f"{self._max_handshakes_per_address} of one address"
            self._record(Fault(refusals.TOO_MANY_HANDSHAKES, {"limit": limit}), peer)
            sock.close()
            return
        arrival = TlsArrival(
            self._services,
            self._reception,
            sock,
            peer,
            listener=self.name,
            server_certificate=self._server_certificate,
            pool=self._pool,
            timeout_s=self._handshake_timeout_s,
            record=self._record,
            on_end=self._arrival_ended,
        )
        self._arrivals.add(arrival)
        self._by_address[peer[0]] += 1
        arrival.start()

    def _arrival_ended(self, arrival: TlsArrival) -> None:
        if arrival not in self._arrivals:
            return
        self._arrivals.discard(arrival)
        self._by_address[arrival.peer_address] -= 1
        if not self._by_address[arrival.peer_address]:
            del self._by_address[arrival.peer_address]
        if not self._accepting:
            self._accepting = True
            self._resume_accepting()

    def stop_accepting(self) -> None:
        super().stop_accepting()
        for arrival in list(self._arrivals):
            arrival.give_up()


def listening_socket(bind: str, port: int) -> socket.socket:
    """A non-blocking listening socket. Raises Unavailable with the address and the mend."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((bind, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise Unavailable(
            f"Cannot listen on {bind} port {port}: {error.strerror}.",
            mend="Stop what uses the port, or choose another one (see: thingpass up --help).",
        ) from error
    sock.setblocking(False)
    return sock
