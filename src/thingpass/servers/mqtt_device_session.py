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
from thingpass.mqtt.session_state import SessionState
from thingpass.servers.call_deliveries import Deliveries, Sender, acknowledged, send_call
from thingpass.servers.device_topics import Purpose, Topic
from thingpass.servers.device_transport import DeviceTransport
from thingpass.servers.payload_codecs import Codec
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.servers.subscriptions import Subscriptions
from thingpass.store.rows import Value

log = structlog.get_logger(__name__)

MOST_KEYS_NOTED: Final = 1_000  # changed while the device was away; it then has to ask for all of them


class ToDevice(msgspec.Struct, frozen=True):
    """What is sent to devices unasked, and who listens for it."""

    pushes: AttributePushes
    rpc: RpcService


class DeviceLink(Sender, Protocol):
    """A connection, as far as messages to its device are concerned."""

    transport: DeviceTransport


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
        self._deliveries: Deliveries | None = None
        self._changed_keys: dict[str, None] | None = None
        self.state: SessionState | None = None  # of a session whose device is away

    # The life of the session

    def subscribed(self, purpose: Purpose) -> None:
        """The device subscribed to this; each time to calls, all that wait are sent (device API, 2.7)."""
        if purpose is Purpose.ATTRIBUTES:
            self._to_device.pushes.listen(self.device_id, self)
        else:
            self._to_device.rpc.listen(self.device_id, self)

    def unsubscribed(self) -> None:
        """The device unsubscribed from something."""
        if self._wanted(Purpose.ATTRIBUTES) is None:
            self._to_device.pushes.leave(self.device_id, self)
        if self._wanted(Purpose.RPC_TO_DEVICE) is None:
            self._to_device.rpc.leave(self.device_id, self)

    def go_away(self, state: SessionState) -> None:
        """The connection is gone, the session stays."""
        self.state = state
        self._link = None
        self._report_all(Delivery.DELAYED)

    def come_back(self, link: DeviceLink) -> None:
        """The device is there again; what it did not acknowledge is on its way already."""
        self._link, self.state = link, None
        self._report_all(Delivery.SENT)
        keys, self._changed_keys = self._changed_keys, None
        if keys:
            self._to_device.pushes.push_again(self.device_id, keys)
        if self._wanted(Purpose.RPC_TO_DEVICE) is not None:
            self._to_device.rpc.resume(self.device_id, self)

    def end(self) -> None:
        """The session is over."""
        self._link = self.state = None
        self._to_device.pushes.leave(self.device_id, self)
        self._to_device.rpc.leave(self.device_id, self)
        self._deliveries = None

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
        link, wanted = self._link, self._wanted(Purpose.RPC_TO_DEVICE)
        if link is None or wanted is None:
            return False
        (row, qos), request_id = wanted, str(request.id)
        try:
            codec = link.transport.codec_down(row)
            payload = codec.rpc_request(request_id, request.method, request.params_json)
        except PayloadInvalid as error:
            log.info("call.not_expressible", device_id=self.device_id, problem=error.sentence)
            report(Delivery.REFUSED)
            return True
        if self._deliveries is None:
            self._deliveries = {}
        return send_call(
            link,
            self._deliveries,
            request,
            report,
            topic=row.topic_to_send(request_id),
            payload=payload,
            # MQTT5 4.10: where to answer, and to what; devices may go by the topic alone
            properties=Properties(
                response_topic=row.topic_to_publish(request_id), correlation_data=request_id.encode()
            ),
            qos=qos,
        )

    def _report_all(self, delivery: Delivery) -> None:
        for report, _ in tuple((self._deliveries or {}).values()):
            report(delivery)

    def delivered(self, packet_id: int, reason_code: int) -> None:
        """The device acknowledged what was sent under this identifier."""
        if self._deliveries:
            acknowledged(self._deliveries, packet_id, reason_code)

    def _wanted(self, purpose: Purpose) -> tuple[Topic, int] | None:
        """The topic and the QoS for this; None: the device is away, or has not subscribed."""
        link = self._link
        if link is None or not link.can_send():
            return None
        return self.subscriptions.find(purpose, link.transport)

    def _push(self, write: Callable[[Codec], bytes], keys: Iterable[str]) -> None:
        link, wanted = self._link, self._wanted(Purpose.ATTRIBUTES)
        if link is not None and wanted is not None:
            row, qos = wanted
            try:
                payload = write(link.transport.codec_down(row))
            except PayloadInvalid as error:
                log.info("attributes.not_expressible", device_id=self.device_id, problem=error.sentence)
                return
            link.publish_to_device(row.topic_to_send(), payload, qos=qos)
        if link is None or not link.can_send():  # or it ended over this
            self._note(keys)

    def _note(self, keys: Iterable[str]) -> None:
        if self._changed_keys is None:
            self._changed_keys = {}
        if not self.has_missed_too_much:
            self._changed_keys.update(dict.fromkeys(keys))
