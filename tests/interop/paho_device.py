"""A device made with paho-mqtt, in a form that a test can ask: connect, publish and wait, what came."""

from __future__ import annotations

import queue
import ssl
from types import TracebackType
from typing import Any, Literal, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.device import Device

PATIENCE_S = 10.0
MQTT_3_1, MQTT_3_1_1, MQTT_5 = (
    MQTTProtocolVersion.MQTTv31,
    MQTTProtocolVersion.MQTTv311,
    MQTTProtocolVersion.MQTTv5,
)


class PahoDevice:
    """`with PahoDevice(device) as paho:` is connected, or has `paho.result` say why not."""

    def __init__(
        self,
        device: Device,
        *,
        version: MQTTProtocolVersion = MQTT_3_1_1,
        tls_version: ssl.TLSVersion | None = None,
        with_certificate: bool = True,
        user_name: str | None = None,
        client_id: str = "",
        transport: Literal["tcp", "websockets"] = "tcp",
        **connect_options: Any,
    ) -> None:
        """`connect_options` go to paho's `connect`: `clean_start`, `properties`."""
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self.result: int | None = None
        self.reason_string: str | None = None
        self.session_present: bool | None = None
        self._answers: queue.Queue[None] = queue.Queue()
        self._subscribed: queue.Queue[list[int]] = queue.Queue()
        self._disconnected: queue.Queue[int] = queue.Queue()
        self._connect_options = connect_options
        self._port = device.port if transport == "tcp" else device.server.wss_port
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, transport=transport
        )
        self.client.tls_set_context(_context(device, tls_version, with_certificate))
        if user_name is not None:
            self.client.username_pw_set(user_name)
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda _c, _d, message: self.messages.put(message)
        self.client.on_subscribe = lambda _c, _d, _mid, codes, _p: self._subscribed.put(
            [c.value for c in codes]
        )
        self.client.on_disconnect = lambda _c, _d, _f, reason, _p: self._disconnected.put(reason.value)

    def __enter__(self) -> Self:
        self.client.connect("127.0.0.1", self._port, keepalive=30, **self._connect_options)
        self.client.loop_start()
        self._answers.get(timeout=PATIENCE_S)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def publish(self, topic: str, payload: str | bytes, *, qos: int = 1) -> None:
        """Returns when the server has acknowledged (QoS 0: when it is sent)."""
        sending = self.client.publish(topic, payload, qos=qos)
        sending.wait_for_publish(PATIENCE_S)
        assert sending.is_published(), f"no acknowledgement of a QoS {qos} message within {PATIENCE_S} s"

    def subscribe(self, topic: str, *, qos: int = 1) -> list[int]:
        """The granted QoS, or the reason code, of each filter."""
        self.client.subscribe(topic, qos)
        return self._subscribed.get(timeout=PATIENCE_S)

    def next_message(self) -> mqtt.MQTTMessage:
        return self.messages.get(timeout=PATIENCE_S)

    def wait_until_disconnected(self) -> int:
        return self._disconnected.get(timeout=PATIENCE_S)

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.result = reason.value
        self.session_present = flags.session_present
        self.reason_string = getattr(properties, "ReasonString", None)
        if reason.is_failure:
            self.client.disconnect()  # no second try
        self._answers.put(None)


def _context(device: Device, tls_version: ssl.TLSVersion | None, with_certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(device.ca_file))
    if tls_version is not None:
        context.minimum_version = context.maximum_version = tls_version
    if with_certificate:
        context.load_cert_chain(device.combined_file)
    return context
