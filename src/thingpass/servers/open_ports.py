"""The ports that the server listens on: opens a listener for each, and says where they are."""

from __future__ import annotations

from collections.abc import Iterator

from thingpass.servers.listeners import TcpListener, TlsListener
from thingpass.servers.reception import ListenerServices, Reception
from thingpass.settings import Settings
from thingpass.tls.handshake_pool import HandshakePool
from thingpass.tls.server_certificate import ServerCertificate


class OpenPorts:
    """By name: `mqtts`, `mqtt`, `wss`, `ws`, `https`."""

    def __init__(
        self,
        services: ListenerServices,
        settings: Settings,
        server_certificate: ServerCertificate,
        pool: HandshakePool,
    ) -> None:
        self._services = services
        self._settings = settings
        self._server_certificate = server_certificate
        self._pool = pool
        self._listeners: dict[str, TcpListener] = {}

    def open(self, name: str, port: int, reception: Reception, *, with_tls: bool) -> TcpListener:
        """Starts to listen; the caller stops it. Ports without TLS have an address of their own."""
        settings = self._settings
        listener: TcpListener
        if with_tls:
            listener = TlsListener(
                self._services,
                name,
                reception,
                bind=settings.listeners.bind,
                port=port,
                server_certificate=self._server_certificate,
                pool=self._pool,
                handshake_timeout_s=settings.tls.handshake_timeout_s,
                max_handshakes=settings.tls.max_handshakes,
            )
        else:
            bind = settings.listeners.mqtt_bind
            listener = TcpListener(self._services, name, reception, bind=bind, port=port)
        listener.start()
        self._listeners[name] = listener
        return listener

    def find(self, name: str) -> int | None:
        """The port; None: nobody listens under this name."""
        listener = self._listeners.get(name)
        return None if listener is None else listener.port

    def list_addresses(self) -> Iterator[tuple[str, str, int]]:
        """Name, address, port."""
        listeners = self._settings.listeners
        for name, listener in self._listeners.items():
            host = listeners.bind if isinstance(listener, TlsListener) else listeners.mqtt_bind
            yield name, host, listener.port

    def handshakes_in_progress(self) -> int:
        tls = (each for each in self._listeners.values() if isinstance(each, TlsListener))
        return sum(listener.handshakes_in_progress for listener in tls)
