"""Between a listener and what its connections speak: who takes a socket over once it may say something."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

import msgspec

from thingpass.clock import Clock
from thingpass.identity.refusal_log import RefusalLog
from thingpass.metrics import Counters
from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.readiness import Readiness
from thingpass.tls.endpoint import ByteChannel
from thingpass.tls.evidence import Evidence


class Reception(Protocol):
    """What stands behind a listener and takes its connections over."""

    max_connections: int

    def has_room(self) -> bool:
        """Whether one more connection may be open here."""

    def receive(self, sock: socket.socket, channel: ByteChannel, evidence: Evidence) -> None:
        """Takes the socket over; where there is TLS, its handshake is done."""

    def receive_without_tls(self, sock: socket.socket, evidence: Evidence) -> None:
        """Takes over, and refuses in words, a peer that speaks without TLS to a TLS port."""


class ListenerServices(msgspec.Struct, frozen=True, kw_only=True):
    """What listeners need of the house; one for all of them."""

    loop: asyncio.AbstractEventLoop
    readiness: Readiness
    wheel: DeadlineWheel
    refusal_log: RefusalLog
    counters: Counters
    clock: Clock
