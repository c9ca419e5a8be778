"""The devices of the RPC load: connected, subscribed at QoS 1, and answering each call at once."""

from __future__ import annotations

import select
import time

from benchmarks.load_counting import Tally
from benchmarks.load_messages import AnswerJob, Go, Result
from benchmarks.load_opening import Dialer, open_all
from benchmarks.mqtt_packets import (
    MAXIMUM_PACKET_ID,
    RPC_REQUEST_TOPIC,
    RPC_RESPONSE_TOPIC,
    SUBACK_SIZE_BYTES,
    puback_packet,
    publish_packet,
    split_packets,
    subscribe_packet,
)
from benchmarks.tls_client import Connection, ConnectionFailed

_SUBSCRIBED_WITHIN_S = 30.0
_SUBSCRIBE = subscribe_packet(RPC_REQUEST_TOPIC + b"+", 1, packet_id=1)


class Answerer:
    """One device; a packet that came in part waits in `received`."""

    __slots__ = ("answered", "connection", "received")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.received = b""
        self.answered = 0

    def take(self) -> int:
        """Reads what came and answers the calls in it; how many they were."""
        self.received += self.connection.receive_data()
        calls, taken = split_packets(self.received)
        self.received = self.received[taken:]
        for call in calls:
            if not call.topic.startswith(RPC_REQUEST_TOPIC):
                continue
            self.answered += 1
            topic = RPC_RESPONSE_TOPIC + call.topic.removeprefix(RPC_REQUEST_TOPIC)
            answer = publish_packet(topic, b'{"ok":true}', packet_id=self.answered % MAXIMUM_PACKET_ID + 1)
            self.connection.send((puback_packet(call.packet_id) if call.packet_id else b"") + answer)
        return len(calls)


class AnswerLoad:
    def __init__(self, job: AnswerJob) -> None:
        self._job = job
        self._epoll = select.epoll()
        self._dialer = Dialer(job.port, job.devices, self._epoll, release_buffers=False)
        self._answerers: dict[int, Answerer] = {}

    def open(self) -> int:
        for connection in open_all(self._dialer, self._epoll, self._job.devices.count):
            self._answerers[connection.fileno] = Answerer(connection)
            connection.send(_SUBSCRIBE)
        expected_bytes = len(self._answerers) * SUBACK_SIZE_BYTES
        until = time.monotonic() + _SUBSCRIBED_WITHIN_S
        while expected_bytes > 0:
            for fileno, _ in self._epoll.poll(1.0):
                expected_bytes -= self._answerers[fileno].connection.receive()
            if time.monotonic() > until:
                raise ConnectionFailed(f"subscriptions not granted within {_SUBSCRIBED_WITHIN_S:.0f} s")
        return len(self._answerers)

    def run(self, go: Go) -> Result:
        """Counts the calls that were answered; what they took is the caller's to say."""
        tally = Tally(go)
        while (now := time.monotonic()) < go.measure_until and self._answerers:
            for fileno, _ in self._epoll.poll(0.1):
                answerer = self._answerers[fileno]
                try:
                    calls = answerer.take()
                except ConnectionFailed as failure:
                    tally.failures[str(failure)] += 1
                    self._answerers.pop(fileno).connection.close(politely=False)
                    continue
                if calls:
                    tally.done(now, 0.0, calls)
        return tally.result()
