"""Who is connected to this server now."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted connection of a device."""

    id: int  # unique while the server runs
    device_id: str
    device_name: str
    tenant_id: str
    credentials_kind: str
    credentials_id: str
    fingerprint_sha256: str | None  # of the client certificate; None: it sent none
    listener: str
    peer_address: str
    peer_port: int
    protocol: str  # "MQTT 5.0"
    tls_version: str | None
    cipher: str | None
    key_exchange_group: str | None
    resumed: bool
    client_id: str
    connected_at_ms: int
    via_gateway: str | None = None  # name of the gateway through which the device is connected


CloseConnection = Callable[[str], None]
"""Ends a connection; the argument is one of the CLOSE_... reasons below."""

CLOSE_TAKEN_OVER = "taken-over"
CLOSE_CREDENTIALS_CHANGED = "credentials-changed"
CLOSE_DEVICE_REMOVED = "device-removed"


class Presence:
    """The accepted connections, one a device: a new one ends the one before (device API reference, 4)."""

    def __init__(self) -> None:
        self._by_device: dict[str, tuple[Connection, CloseConnection]] = {}
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._by_device)

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def opened(self, connection: Connection, close: CloseConnection) -> None:
        earlier = self._by_device.pop(connection.device_id, None)
        self._by_device[connection.device_id] = (connection, close)
        if earlier is not None:
            earlier[1](CLOSE_TAKEN_OVER)

    def closed(self, connection: Connection) -> None:
        """Takes the connection out, unless a later one of the same device has its place."""
        current = self._by_device.get(connection.device_id)
        if current is not None and current[0].id == connection.id:
            del self._by_device[connection.device_id]

    def end_device(self, device_id: str, reason: str) -> None:
        current = self._by_device.pop(device_id, None)
        if current is not None:
            current[1](reason)

    def find_by_device(self, device_id: str) -> Connection | None:
        current = self._by_device.get(device_id)
        return None if current is None else current[0]

    def list_connections(self, tenant_id: str, *, limit: int = 1000) -> list[Connection]:
        """Newest first."""
        found: list[Connection] = []
        for connection, _ in reversed(self._by_device.values()):
            if connection.tenant_id == tenant_id:
                found.append(connection)
                if len(found) == limit:
                    break
        return found
