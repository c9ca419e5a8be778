"""A simulated device that speaks MQTT."""

from __future__ import annotations

import time
from typing import Final

from thingpass.mqtt.errors import MqttError
from thingpass.mqtt.packets import ProtocolVersion
from thingpass.servers.device_topics import (
    ATTRIBUTE_REQUEST,
    ATTRIBUTES,
    RPC_TO_DEVICE,
    TELEMETRY,
)
from thingpass.simulation.behaviour import shared_request
from thingpass.simulation.device import DeviceIdentity, DeviceServices, SimulatedDevice
from thingpass.simulation.mqtt_client import (
    Accepted,
    Acknowledged,
    Arrived,
    ClientEvent,
    MqttClient,
    Refused,
    SubscriptionRefused,
)

KEEP_ALIVE_S: Final = 120
_PING_AFTER_S: Final = KEEP_ALIVE_S / 2

_SUBSCRIPTIONS: Final = tuple(
    row.subscribe for row in (ATTRIBUTES, ATTRIBUTE_REQUEST, RPC_TO_DEVICE) if row.subscribe
)
_ATTRIBUTE_ANSWERS: Final = (ATTRIBUTE_REQUEST.subscribe or "").removesuffix("+")
_RPC_REQUESTS: Final = (RPC_TO_DEVICE.subscribe or "").removesuffix("+")
_RPC_ANSWERS: Final = RPC_TO_DEVICE.topic.removesuffix("{id}")
_SHARED_REQUEST_TOPIC: Final = ATTRIBUTE_REQUEST.topic.replace("{id}", "1")


class MqttDevice(SimulatedDevice):
    """Sends client attributes when it connects, then telemetry; answers RPC; obeys its shared attributes."""

    __slots__ = ("_client", "_version")

    def __init__(
        self,
        services: DeviceServices,
        identity: DeviceIdentity,
        *,
        interval_s: float,
        version: ProtocolVersion,
    ) -> None:
        super().__init__(services, identity, interval_s=interval_s)
        self._version = version
        self._client: MqttClient | None = None

    def link_opened(self) -> None:
        self._client = MqttClient(self._version)
        self._client.connect(
            client_id=self._identity.name, user_name=self._identity.token, keep_alive_s=KEEP_ALIVE_S
        )
        self._flush()

    def link_received(self, data: bytes) -> None:
        client = self._client
        assert client is not None
        try:
            events = client.receive(data, self._services.loop.time())
        except MqttError as error:
            self._fail(f"the server sent what it may not: {error.seen}")
            return
        for event in events:
            self._act_on(event)
            if self._client is not client:
                return  # the connection ended with this event
        self._flush()

    def _act_on(self, event: ClientEvent) -> None:
        tally = self._services.tally
        match event:
            case Acknowledged():
                tally.unacknowledged -= 1
                if event.problem is None:
                    tally.answered(event.latency_s)
                else:
                    tally.rejected += 1
                    tally.problem(f"message refused: {event.problem}")
            case Arrived():
                self._arrived(event)
            case Accepted():
                self._accepted()
            case Refused():
                self._fail(event.reason, event.detail)
            case SubscriptionRefused():
                tally.problem(f"subscription refused: {event.reason}")

    def _accepted(self) -> None:
        assert self._client is not None
        self._connected()
        self._client.subscribe(*_SUBSCRIPTIONS)
        self._publish(ATTRIBUTES.topic, self.behaviour.client_attributes())
        self._publish(_SHARED_REQUEST_TOPIC, shared_request())
        self._start_telemetry()

    def _arrived(self, message: Arrived) -> None:
        if message.topic.startswith(_RPC_REQUESTS):
            request_id = message.topic.removeprefix(_RPC_REQUESTS)
            interval_s = self.behaviour.interval_s
            answer = self.behaviour.answer(message.payload, time.time_ns() // 1_000_000)
            if self._publish(_RPC_ANSWERS + request_id, answer):
                self._services.tally.rpc_answered += 1
            if self.behaviour.interval_s != interval_s:
                self._interval_changed()
        elif (
            message.topic == ATTRIBUTES.topic or message.topic.startswith(_ATTRIBUTE_ANSWERS)
        ) and self.behaviour.take_shared(message.payload):
            self._interval_changed()

    def _publish(self, topic: str, payload: bytes) -> bool:
        assert self._client is not None
        tally = self._services.tally
        if not self._client.publish(topic, payload, self._services.loop.time()):
            tally.held_back += 1
            return False
        tally.sent += 1
        tally.unacknowledged += 1
        return True

    def _send_telemetry(self, payload: bytes) -> None:
        if self._client is not None and self._publish(TELEMETRY.topic, payload):
            self._flush()

    def _keep_alive(self, now: float) -> None:
        if self._client is not None and now - self._client.last_sent_at > _PING_AFTER_S:
            self._client.ping(now)
            self._flush()

    def _say_goodbye(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._flush()

    def _oldest_unanswered(self) -> float | None:
        return None if self._client is None else next(iter(self._client.in_flight.values()), None)

    def _forget_unanswered(self) -> int:
        client, self._client = self._client, None
        return 0 if client is None else len(client.in_flight)

    def _flush(self) -> None:
        if self._client is not None:
            self._write(self._client.data_to_send())
