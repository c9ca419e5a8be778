"""Calls on their way over one MQTT connection: sent, then followed until the client has acknowledged them.

A plain dictionary, packet identifier to who wants to know: empty for a connection that is sent no call.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeAlias

from thingpass.messaging.listeners import Delivery, ReportDelivery, RpcRequest
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.reason_codes import ReasonCode

FORGET_AT: Final = 200
"""Twice the calls that may wait for one device. At every multiple of it, those whose time is over go."""

Deliveries: TypeAlias = dict[int, tuple[ReportDelivery, float]]


class Sender(Protocol):
    """A connection, as far as sending to its client is concerned."""

    def publish_to_device(
        self,
        topic: str,
        payload: bytes,
        *,
        properties: Properties | None = None,
        expires_at: float | None = None,
        qos: int | None = None,
    ) -> int | None:
        """The packet identifier (0 at QoS 0); None if it was not sent, and then see `can_send()`."""

    def can_send(self) -> bool:
        """False: the connection is ending, so that nothing more can be sent on it."""

    def time(self) -> float: ...


def send_call(
    sender: Sender,
    deliveries: Deliveries,
    request: RpcRequest,
    report: ReportDelivery,
    *,
    topic: str,
    payload: bytes,
    properties: Properties | None = None,
    qos: int | None = None,
) -> bool:
    """Whether the call was taken, as `RpcListener.rpc_requested` answers."""
    packet_id = sender.publish_to_device(
        topic, payload, properties=properties, expires_at=request.expires_at, qos=qos
    )
    if packet_id is None:
        if not sender.can_send():
            return False
        report(Delivery.REFUSED)  # larger than the client takes
        return True
    report(Delivery.SENT)
    if packet_id == 0:
        report(Delivery.DELIVERED)
    else:
        _expect(deliveries, packet_id, report, request.expires_at, sender.time())
    return True


def acknowledged(deliveries: Deliveries, packet_id: int, reason_code: int) -> None:
    """The client acknowledged what was sent under this identifier, a call or something else."""
    found = deliveries.pop(packet_id, None)
    if found is not None:
        refused = reason_code >= ReasonCode.UNSPECIFIED_ERROR
        found[0](Delivery.REFUSED if refused else Delivery.DELIVERED)


def _expect(
    deliveries: Deliveries, packet_id: int, report: ReportDelivery, expires_at: float, now: float
) -> None:
    if deliveries and len(deliveries) % FORGET_AT == 0:  # of messages that were dropped, nobody hears more
        for known in [known for known, delivery in deliveries.items() if delivery[1] <= now]:
            del deliveries[known]
    deliveries[packet_id] = (report, expires_at)
