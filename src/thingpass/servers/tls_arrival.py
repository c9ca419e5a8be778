"""A connection on a TLS port from its first byte to the end of its handshake.

The first byte is looked at before OpenSSL sees it: what is not TLS goes to its reception as that, to be
refused by name whatever it says. The handshake runs flight by flight in the pool; in between the loop waits.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

import structlog

from thingpass.identity import refusals
from thingpass.identity.certificate_checks import read_leaf
from thingpass.servers.protocol_refusals import Fault, handshake_fault
from thingpass.servers.reception import ListenerServices, Reception
from thingpass.tls.binding import Channel, ChannelFailed, PeerGone, Wants, channel_factory
from thingpass.tls.evidence import Evidence, gather_evidence
from thingpass.tls.handshake_pool import HandshakePool
from thingpass.tls.server_certificate import ServerCertificate

RecordFault = Callable[[Fault, tuple[str, int]], None]

log = structlog.get_logger(__name__)

TLS_HANDSHAKE: Final = 0x16  # RFC 8446 5.1, the content type of the record that a ClientHello comes in


class TlsArrival:
    """One handshake. Every step ends in `_close`, or in the reception that takes the socket over."""

    __slots__ = (
        "__weakref__",
        "_began",
        "_channel",
        "_evidence",
        "_failure",
        "_fd",
        "_given_up",
        "_in_pool",
        "_listener",
        "_on_end",
        "_peer",
        "_pool",
        "_reception",
        "_record",
        "_server_certificate",
        "_services",
        "_sock",
        "_timeout_s",
        "_wants",
        "wheel_slot",
    )

    def __init__(
        self,
        services: ListenerServices,
        reception: Reception,
        sock: socket.socket,
        peer: tuple[str, int],
        *,
        listener: str,
        server_certificate: ServerCertificate,
        pool: HandshakePool,
        timeout_s: float,
        record: RecordFault,
        on_end: Callable[[TlsArrival], None],
    ) -> None:
        """`on_end` is called once, when the handshake has ended in whatever way."""
        self._services = services
        self._reception = reception
        self._sock = sock
        self._fd = sock.fileno()
        self._peer = peer
        self._listener = listener
        self._server_certificate = server_certificate
        self._pool = pool
        self._timeout_s = timeout_s
        self._record = record
        self._on_end = on_end
        self._began = services.loop.time()
        self._channel: Channel | None = None
        self._wants = Wants.READ
        self._failure: ChannelFailed | None = None
        self._evidence: Evidence | None = None
        self._in_pool = False
        self._given_up = False
        self.wheel_slot = 0

    @property
    def peer_address(self) -> str:
        return self._peer[0]

    def start(self) -> None:
        self._services.wheel.watch(self)
        self._first_bytes()  # they are often there already, and then need not be waited for

    def _first_bytes(self) -> None:
        try:
            first = self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            self._services.readiness.add_reader(self._fd, self._first_bytes)
            return
        except OSError:
            first = b""
        self._services.readiness.remove_reader(self._fd)
        if not first:
            self._close()  # somebody looked whether the port is open; nothing to tell anybody
        elif first[0] == TLS_HANDSHAKE:
            self._submit()
        else:
            self._go_on_without_tls()

    def _go_on_without_tls(self) -> None:
        self._end()
        address, port = self._peer
        evidence = Evidence(listener=self._listener, peer_address=address, peer_port=port)
        self._reception.receive_without_tls(self._sock, evidence)

    def _submit(self) -> None:
        self._in_pool = True
        self._pool.submit(self)

    def run(self) -> None:
        """In a thread of the pool: one flight, and at the end the facts."""
        try:
            channel = self._channel
            if channel is None:  # made here, because OpenSSL takes its time for that too
                channel = channel_factory(self._server_certificate.context, self._sock)
                self._channel = channel
            self._wants = channel.handshake()
            if self._wants is Wants.NOTHING:
                self._evidence = gather_evidence(
                    channel.connection,
                    listener=self._listener,
                    peer_address=self._peer[0],
                    peer_port=self._peer[1],
                )
                channel.settle()
                if self._evidence.chain_der:
                    read_leaf(self._evidence.chain_der[0])  # here and not on the loop, which finds it read
        except ChannelFailed as error:
            self._failure = error
        except Exception:
            log.exception("handshake.failed")
            self._failure = PeerGone("internal error")

    def finished(self) -> None:
        """Back on the loop after `run`."""
        self._in_pool = False
        readiness = self._services.readiness
        if self._given_up:
            self._close()
        elif self._failure is not None:
            self._failed(self._failure)
        elif self._evidence is not None:
            self._succeeded(self._evidence)
        elif self._wants is Wants.READ:
            readiness.add_reader(self._fd, self._go_on)
        else:
            readiness.add_writer(self._fd, self._go_on)

    def _go_on(self) -> None:
        self._services.readiness.remove_reader(self._fd)
        self._services.readiness.remove_writer(self._fd)
        self._submit()

    def _succeeded(self, evidence: Evidence) -> None:
        counters = self._services.counters
        counters.handshakes_completed += 1
        counters.handshakes_resumed += evidence.resumed
        counters.handshake_seconds.observe(self._services.loop.time() - self._began)
        self._end()
        assert self._channel is not None
        self._reception.receive(self._sock, self._channel, evidence)

    def _failed(self, failure: ChannelFailed) -> None:
        self._services.counters.handshakes_failed += 1
        self._record(
            handshake_fault(
                failure,
                minimum_version=self._server_certificate.minimum_version,
                server_names=", ".join(self._server_certificate.chain[0].alternative_names),
            ),
            self._peer,
        )
        self._close()

    # The wheel asks

    def deadline(self) -> float | None:
        return None if self._given_up else self._began + self._timeout_s

    def overdue(self, now: float) -> None:
        self._services.counters.handshakes_failed += 1
        fault = Fault(refusals.HANDSHAKE_TOOK_TOO_LONG, {"limit": f"{self._timeout_s:g} s"})
        self._record(fault, self._peer)
        self.give_up()

    def give_up(self) -> None:
        """Ends it now, or once the pool has let go of it: OpenSSL must not lose its socket meanwhile."""
        self._given_up = True
        if not self._in_pool:
            self._close()

    def _close(self) -> None:
        self._services.readiness.remove_reader(self._fd)
        self._services.readiness.remove_writer(self._fd)
        self._end()
        self._sock.close()

    def _end(self) -> None:
        self._services.wheel.forget(self)
        self._on_end(self)
