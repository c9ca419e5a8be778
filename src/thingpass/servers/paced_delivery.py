"""What is sent no faster than the device reads it: packages, whole or in pieces.

There is one of these on a connection that has asked for something large, and none on the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Protocol

from thingpass.errors import Unavailable
from thingpass.metrics import Counters
from thingpass.mqtt.session import Session
from thingpass.servers.subscriptions import Subscriptions
from thingpass.tls.endpoint import Endpoint

UNREAD_S: Final = 300.0  # how long a peer may take to read what is sent by pieces, a piece at a time


class PacedConnection(Protocol):
    """What is asked of the connection."""

    @property
    def closed(self) -> bool: ...
    @property
    def unread(self) -> bool:
        """Whether so much waits for the peer to read that the connection waits too."""

    def send(self) -> None:
        """Sends what the session has queued."""

    def write(self, data: bytes) -> None:
        """Sends these bytes, past the session."""

    def begin_streaming(self) -> None:
        """Until `end_streaming` what the session queues stays there, and nothing is read."""

    def end_streaming(self) -> None: ...
    def close(self, why: str) -> None: ...


class PacedDelivery:
    __slots__ = ("_connection", "_counters", "_endpoint", "_sent", "_session", "_subscriptions")

    def __init__(
        self,
        connection: PacedConnection,
        session: Session,
        endpoint: Endpoint,
        subscriptions: Subscriptions,
        counters: Counters,
    ) -> None:
        self._connection = connection
        self._session = session
        self._endpoint = endpoint
        self._subscriptions = subscriptions
        self._counters = counters
        self._sent: asyncio.Future[None] | None = None

    async def deliver(self, topic: str, payload: bytes) -> bool:
        """A client that acknowledges too slowly gets it at QoS 0: nothing is lost on one connection."""
        if self._connection.unread:
            await self._wait_until_sent()
        session = self._session
        behind = session.send_quota <= 0 or session.backed_up
        qos = 0 if behind else self._subscriptions.qos_for(topic)
        if self._connection.closed or session.closing:
            return True  # nobody is left who could be told otherwise
        if session.publish(topic, payload, qos) is None:
            return False
        self._counters.messages_sent += 1
        self._connection.send()
        return True

    async def deliver_in_pieces(self, topic: str, size: int, pieces: AsyncIterator[bytes]) -> bool:
        """Reading pauses, so that what the session would have to say meanwhile stays little."""
        connection, session = self._connection, self._session
        if connection.unread:
            await self._wait_until_sent()
        # What is never whole cannot be sent again, as QoS 1 would want it of a session that outlives this.
        behind = session.send_quota <= 0 or session.session_expiry_interval > 0
        qos = 0 if behind else self._subscriptions.qos_for(topic)
        if connection.closed or session.closing:
            return True
        # Read before the packet begins: a package that is gone can still be told by an error.
        piece: bytes | None = await anext(pieces)
        head = session.begin_publish(topic, size, qos)
        if head is None:
            return False
        self._counters.messages_sent += 1
        connection.send()  # what the session has said before goes before
        connection.begin_streaming()
        try:
            connection.write(head)
            while piece is not None and not connection.closed:
                connection.write(piece)
                await self._wait_until_sent()
                piece = await anext(pieces, None)
        except BaseException:
            connection.close("a packet could not be sent to its end")
            raise
        connection.end_streaming()
        connection.send()
        return True

    def sent(self) -> None:
        """The socket has taken everything."""
        if self._sent is not None and not self._sent.done():
            self._sent.set_result(None)

    async def _wait_until_sent(self) -> None:
        """Raises Unavailable when the peer does not read."""
        if self._connection.closed or not self._endpoint.unsent_bytes:
            await asyncio.sleep(0)  # others get their turn
            return
        self._sent = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(UNREAD_S):
                await self._sent
        except TimeoutError as error:
            raise Unavailable(f"The device read nothing for {UNREAD_S:g} s.") from error
        finally:
            self._sent = None
