"""Behind the listeners of MQTT: every connection becomes a `MqttConnection`."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Collection, Iterator
from typing import Final

from thingpass.servers.connection_services import ConnectionServices
from thingpass.servers.misplaced import MQTT_PORT, WEBSOCKET_PORT, Misplaced
from thingpass.servers.mqtt_connection import MqttConnection
from thingpass.servers.websocket_arrival import WebSocketArrival
from thingpass.tls.endpoint import ByteChannel, Endpoint, PlainChannel
from thingpass.tls.evidence import Evidence

LOOK_EVERY_S: Final = 0.02  # while connections end


class MqttConnections(Collection[MqttConnection]):
    """Those of all listeners; a set for each, so that they are counted by listener without a counter."""

    def __init__(self) -> None:
        self._of_listener: dict[str, set[MqttConnection]] = {}

    def of(self, listener: str) -> set[MqttConnection]:
        return self._of_listener.setdefault(listener, set())

    def __len__(self) -> int:
        return sum(map(len, self._of_listener.values()))

    def __iter__(self) -> Iterator[MqttConnection]:
        return itertools.chain.from_iterable(self._of_listener.values())

    def __contains__(self, connection: object) -> bool:
        return any(connection in each for each in self._of_listener.values())


class MqttReception:
    def __init__(
        self, services: ConnectionServices, *, connections: MqttConnections, max_connections: int
    ) -> None:
        """`connections`: those of all listeners, because the limit is on them together."""
        self._services = services
        self._connections = connections
        self.max_connections = max_connections

    def has_room(self) -> bool:
        return len(self._connections) < self.max_connections

    def __len__(self) -> int:
        """Connections that are open."""
        return len(self._services.open_connections)

    async def drain(self, *, timeout_s: float) -> None:
        """Says goodbye to everybody, waits until they are gone, and closes who is not."""
        connections = self._services.open_connections
        for connection in list(connections):
            connection.end_for_shutdown()
        for _ in range(int(timeout_s / LOOK_EVERY_S)):
            if not connections:
                return
            await asyncio.sleep(LOOK_EVERY_S)
        for connection in list(connections):
            connection.close_now()

    def receive(self, sock: socket.socket, channel: ByteChannel, evidence: Evidence) -> None:
        MqttConnection(self._services, Endpoint(sock, channel), evidence).start()

    def receive_without_tls(self, sock: socket.socket, evidence: Evidence) -> None:
        refuse_without_tls(self._services, sock, evidence, MQTT_PORT)


class WebSocketReception(MqttReception):
    """Behind the listeners of MQTT over WebSocket: a handshake of its own comes before MQTT."""

    def __init__(
        self, services: ConnectionServices, *, connections: MqttConnections, max_connections: int
    ) -> None:
        super().__init__(services, connections=connections, max_connections=max_connections)
        self._arrivals: set[WebSocketArrival] = set()

    def has_room(self) -> bool:
        return len(self._connections) + len(self._arrivals) < self.max_connections

    def __len__(self) -> int:
        return super().__len__() + len(self._arrivals)

    def receive(self, sock: socket.socket, channel: ByteChannel, evidence: Evidence) -> None:
        arrival = WebSocketArrival(self._services, sock, channel, evidence, on_end=self._arrivals.discard)
        self._arrivals.add(arrival)
        arrival.start()

    def receive_without_tls(self, sock: socket.socket, evidence: Evidence) -> None:
        refuse_without_tls(self._services, sock, evidence, WEBSOCKET_PORT)

    async def drain(self, *, timeout_s: float) -> None:
        for arrival in list(self._arrivals):  # who has not come to MQTT has nothing to lose
            arrival.close_now()
        await super().drain(timeout_s=timeout_s)


def refuse_without_tls(
    services: ConnectionServices, sock: socket.socket, evidence: Evidence, misplaced: Misplaced
) -> None:
    """A connection that is told, in MQTT or HTTP, whichever it speaks, that this port expects TLS."""
    endpoint = Endpoint(sock, PlainChannel(sock))
    MqttConnection(services, endpoint, evidence, misplaced=misplaced).start()
