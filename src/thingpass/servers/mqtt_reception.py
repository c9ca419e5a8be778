"""Behind the listeners of MQTT: every connection becomes a `MqttConnection`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection
from typing import Final

from thingpass.servers.misplaced import MQTT_PORT, WEBSOCKET_PORT, Misplaced
from thingpass.servers.mqtt_connection import ConnectionServices, MqttConnection
from thingpass.servers.websocket_arrival import WebSocketArrival
from thingpass.tls.endpoint import ByteChannel, Endpoint, PlainChannel
from thingpass.tls.evidence import Evidence

LOOK_EVERY_S: Final = 0.02  # while connections end


class MqttReception:
    def __init__(
        self, services: ConnectionServices, *, connections: Callable[[], int], max_connections: int
    ) -> None:
        """`connections` counts those of all listeners of MQTT: the limit is on them together."""
        self._services = services
        self._connections = connections
        self.max_connections = max_connections

    def has_room(self) -> bool:
        return self._connections() < self.max_connections

    @property
    def connections(self) -> Collection[MqttConnection]:
        return self._services.open_connections

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
        self, services: ConnectionServices, *, connections: Callable[[], int], max_connections: int
    ) -> None:
        super().__init__(services, connections=connections, max_connections=max_connections)
        self._arrivals: set[WebSocketArrival] = set()

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
