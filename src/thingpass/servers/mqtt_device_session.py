"""One device's MQTT session as the listener of its pushes and calls, while the device is there and while not.

A connection makes one when its device subscribes to something that is sent unasked, or asks for a session
that outlives the connection. While the device is away nothing is queued here: calls wait where they are kept
anyway (`messaging.rpc`), of attributes only the keys that have changed are noted, and what was on its way at
QoS 1 waits in the protocol's state. So a session that waits costs about two kilobytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from thingpass.messaging.listeners import Delivery, ReportDelivery, RpcRequest
from thingpass.messaging.pushes import AttributePushes
from thingpass.messaging.rpc import RpcService
from thingpass.mqtt.properties import Properties
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.mqtt.session_state import SessionState
from thingpass.servers.device_topics import Purpose
from thingpass.servers.device_transport import DeviceTransport
from thingpass.servers.payload_codecs import Codec
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.servers.subscriptions import Subscriptions
from thingpass.store.rows import Value

log = structlog.get_logger(__name__)

MOST_KEYS_NOTED: Final = 1_000  # changed while the device was away; it then has to ask for all of them
MOST_DELIVERIES_NOTED: Final = 200  # twice the calls that may wait for one device


class ToDevice(msgspec.Struct, frozen=True):
    """What is sent to devices unasked, and who listens for it."""

    pushes: AttributePushes
    rpc: RpcService


class DeviceLink(Protocol):
    """A connection, as far as messages to its device are concerned."""

    transport: DeviceTransport  # in what topics and formats the device is spoken to

    def publish_to_device(
        self,
        topic: str,
        payload: bytes,
        *,
        properties: Properties | None = None,
        expires_at: float | None = None,
    ) -> int | None:
        """The packet identifier (0 at QoS 0); None if it was not sent, and then see `can_send()`."""

    def can_send(self) -> bool:
        """False: the connection is ending, so that nothing more can be sent on it."""

    def time(self) -> float: ...


class MqttDeviceSession:
    __slots__ = (
        "_changed_keys",
        "_deliveries",
        "_link",
        "_to_device",
        "client_id",
        "device_id",
        "state",
        "subscriptions",
    )

    def __init__(
        self,
        to_device: ToDevice,
        *,
        device_id: str,
        client_id: str,
        subscriptions: Subscriptions,
        link: DeviceLink,
    ) -> None:
        self._to_device = to_device
        self.device_id = device_id
        self.client_id = client_id
        self.subscriptions = subscriptions
        self._link: DeviceLink | None = link
        self._deliveries: dict[int, tuple[ReportDelivery, float]] = {}
        self._changed_keys: dict[str, None] | None = None
        self.state: SessionState | None = None  # of a session whose device is away

    # The life of the session

    def subscribed(self, filters: Sequence[str]) -> None:
        """The device subscribed to these; each time to calls, all that wait are sent (device API, 2.7)."""
        link = self._link
        if link is None:
            return
        rows = [link.transport.find_subscribable(topic_filter) for topic_filter in filters]
        purposes = {row.purpose for row in rows if row is not None}
        if Purpose.ATTRIBUTES in purposes and self._wants(Purpose.ATTRIBUTES, link):
            self._to_device.pushes.listen(self.device_id, self)
        if Purpose.RPC_TO_DEVICE in purposes and self._wants(Purpose.RPC_TO_DEVICE, link):
            self._to_device.rpc.listen(self.device_id, self)

    def unsubscribed(self) -> None:
        link = self._link
        if link is None:
            return
        if not self._wants(Purpose.ATTRIBUTES, link):
            self._to_device.pushes.leave(self.device_id, self)
        if not self._wants(Purpose.RPC_TO_DEVICE, link):
            self._to_device.rpc.leave(self.device_id, self)

    def _wants(self, purpose: Purpose, link: DeviceLink) -> bool:
        return self.subscriptions.find(purpose, link.transport) is not None

    def go_away(self, state: SessionState) -> None:
        """The connection is gone, the session stays."""
        self.state = state
        self._link = None

    def come_back(self, link: DeviceLink) -> None:
        """The device is there again; what it did not acknowledge is on its way already."""
        self._link, self.state = link, None
        keys, self._changed_keys = self._changed_keys, None
        if keys:
            self._to_device.pushes.push_again(self.device_id, keys)
        if self._wants(Purpose.RPC_TO_DEVICE, link):
            self._to_device.rpc.resume(self.device_id, self)

    def end(self) -> None:
        """The session is over."""
        self._link = self.state = None
        self._to_device.pushes.leave(self.device_id, self)
        self._to_device.rpc.leave(self.device_id, self)
        self._deliveries.clear()

    @property
    def has_missed_too_much(self) -> bool:
        """Whether more keys have changed than are noted: the device has to begin anew."""
        return self._changed_keys is not None and len(self._changed_keys) > MOST_KEYS_NOTED

    @property
    def bytes_held(self) -> int:
        return 0 if self.state is None else self.state.outbound.bytes_held

    # What `messaging.listeners` asks of a listener

    def attributes_saved(self, values: Mapping[str, Value]) -> None:
        self._push(lambda codec: codec.attributes_update(values), values)

    def attributes_removed(self, keys: Sequence[str]) -> None:
        self._push(lambda codec: codec.attributes_removal(keys), keys)

    def rpc_requested(self, request: RpcRequest, report: ReportDelivery) -> bool:
        link = self._link
        if link is None or not link.can_send():
            return False
        found = self.subscriptions.find(Purpose.RPC_TO_DEVICE, link.transport)
        if found is None:
            return False
        row, request_id = found[0], str(request.id)
        try:
            payload = link.transport.codec_down(row).rpc_request(
                request_id, request.method, request.params_json
            )
        except PayloadInvalid as error:
            log.warning("rpc.not_said", device_id=self.device_id, problem=error.sentence)
            report(Delivery.REFUSED)
            return True
        packet_id = link.publish_to_device(
            row.topic_to_send(request_id),
            payload,
            # MQTT5 4.10: where to answer, and to what; devices may go by the topic alone
            properties=Properties(
                response_topic=row.topic_to_publish(request_id), correlation_data=request_id.encode()
            ),
            expires_at=request.expires_at,
        )
        if packet_id is None:
            if not link.can_send():
                return False
            report(Delivery.REFUSED)  # larger than the device takes
            return True
        report(Delivery.SENT)
        if packet_id == 0:
            report(Delivery.DELIVERED)
        else:
            self._expect(packet_id, report, request.expires_at, link.time())
        return True

    def delivered(self, packet_id: int, reason_code: int) -> None:
        """The device acknowledged what was sent under this identifier."""
        found = self._deliveries.pop(packet_id, None)
        if found is not None:
            refused = reason_code >= ReasonCode.UNSPECIFIED_ERROR
            found[0](Delivery.REFUSED if refused else Delivery.DELIVERED)

    def _expect(self, packet_id: int, report: ReportDelivery, expires_at: float, now: float) -> None:
        if len(self._deliveries) >= MOST_DELIVERIES_NOTED:  # of messages that were dropped, nobody hears more
            self._deliveries = {
                known: delivery for known, delivery in self._deliveries.items() if delivery[1] > now
            }
        self._deliveries[packet_id] = (report, expires_at)

    def _push(self, write: Callable[[Codec], bytes], keys: Iterable[str]) -> None:
        link = self._link
        if link is not None and link.can_send():
            found = self.subscriptions.find(Purpose.ATTRIBUTES, link.transport)
            if found is None:
                return
            try:
                payload = write(link.transport.codec_down(found[0]))
            except PayloadInvalid as error:
                log.warning("attributes.not_said", device_id=self.device_id, problem=error.sentence)
                return
            link.publish_to_device(found[0].topic_to_send(), payload)
        if link is None or not link.can_send():  # or it ended over this
            self._note(keys)

    def _note(self, keys: Iterable[str]) -> None:
        if self._changed_keys is None:
            self._changed_keys = {}
        if not self.has_missed_too_much:
            self._changed_keys.update(dict.fromkeys(keys))
