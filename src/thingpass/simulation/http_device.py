"""A simulated device that speaks ThingsBoard's HTTP device API (device API reference 6).

A server may close a connection on which nothing happens, so a device counts as connected from the first good
answer on, and opens a connection again when it has something to send.
"""

from __future__ import annotations

from collections import deque
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec

from thingpass.simulation.behaviour import INTERVAL_ATTRIBUTE
from thingpass.simulation.device import DeviceIdentity, DeviceServices, SimulatedDevice
from thingpass.simulation.http_requests import AnswerReader, AnswerUnusable, HttpAnswer, request_bytes

MOST_WAITING: Final = 4  # requests behind the one that is being answered
WITH_CERTIFICATE: Final = "me"
"""Stands in the path for a device that proves itself with its certificate."""

_STRANGER: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class _Request(msgspec.Struct, frozen=True):
    data: bytes
    asked_at: float
    reads_attributes: bool


class HttpDevice(SimulatedDevice):
    """Sends client attributes when it connects, reads its shared attributes, then sends telemetry."""

    __slots__ = (
        "_has_answered",
        "_is_asked",
        "_link_is_open",
        "_path",
        "_quiet_until",
        "_reader",
        "_waiting",
    )

    def __init__(self, services: DeviceServices, identity: DeviceIdentity, *, interval_s: float) -> None:
        super().__init__(services, identity, interval_s=interval_s)
        name = WITH_CERTIFICATE if identity.token is None else identity.token
        self._path = f"/api/v1/{quote(name, safe='')}"
        self._reader = AnswerReader()
        self._waiting: deque[_Request] = deque()  # the first one is on its way if `_is_asked`
        self._is_asked = False
        self._link_is_open = False
        self._has_answered = False  # on this connection
        self._quiet_until = 0.0

    def link_opened(self) -> None:
        self._link_is_open = True
        self._has_answered = False
        self._reader = AnswerReader()
        if not self.is_connected:
            self._post("attributes", self.behaviour.client_attributes())
            query = f"attributes?sharedKeys={INTERVAL_ATTRIBUTE}"
            self._ask("GET", query, None)
        self._send_next()

    def link_lost(self, reason: str) -> None:
        """A server may close between two requests. What it has not read then is asked once more (RFC 9112
        9.3.1): it is known that telemetry with its time may come twice."""
        served = self._link_is_open and self._has_answered
        self._link_is_open = False
        if not served or not self.is_connected:
            super().link_lost(reason)
            return
        self._link = None
        self._is_asked = False
        self._send_next()

    def link_received(self, data: bytes) -> None:
        try:
            answers = self._reader.receive(data)
        except AnswerUnusable as error:
            self._fail(f"the server sent what it may not: {error}")
            return
        for answer in answers:
            self._answered(answer)
            if not self._link_is_open:
                return

    def _answered(self, answer: HttpAnswer) -> None:
        if not self._is_asked:
            self._fail("the server sent what it may not: an answer that nobody asked for")
            return
        tally, now = self._services.tally, self._services.loop.time()
        request = self._waiting.popleft()
        self._is_asked = False
        self._has_answered = True
        tally.unacknowledged -= 1
        if answer.status < HTTPStatus.BAD_REQUEST:
            tally.answered(now - request.asked_at)
            if not self.is_connected:
                self._connected()
                self._start_telemetry()
            if request.reads_attributes and self.behaviour.take_shared(answer.body):
                self._interval_changed()
        else:
            tally.rejected += 1
            reason = f"refused: HTTP {answer.status} {_phrase(answer.status)}"
            if not self.is_connected or answer.status in _STRANGER:
                self._fail(reason)
                return
            tally.problem(reason)
            self._quiet_until = now + (answer.retry_after_s or 0.0)
        if not answer.keeps_connection:
            self._close_link()
        self._send_next()

    def _post(self, what: str, body: bytes) -> bool:
        return self._ask("POST", what, body)

    def _ask(self, method: str, what: str, body: bytes | None) -> bool:
        tally, now = self._services.tally, self._services.loop.time()
        if len(self._waiting) > MOST_WAITING or now < self._quiet_until:
            tally.held_back += 1
            return False
        data = request_bytes(method, self._services.host, f"{self._path}/{what}", body)
        self._waiting.append(_Request(data, now, method == "GET"))
        tally.sent += 1
        tally.unacknowledged += 1
        return True

    def _send_next(self) -> None:
        if self._is_asked or not self._waiting:
            return
        if self._link_is_open:
            self._is_asked = True
            self._write(self._waiting[0].data)
        elif self._link is None:
            self._open_link()

    def _send_telemetry(self, payload: bytes) -> None:
        if self._post("telemetry", payload):
            self._send_next()

    def _oldest_unanswered(self) -> float | None:
        return self._waiting[0].asked_at if self._waiting else None

    def _forget_unanswered(self) -> int:
        lost = len(self._waiting)
        self._waiting.clear()
        self._is_asked = self._link_is_open = False
        return lost

    def _close_link(self) -> None:
        link, self._link = self._link, None
        self._link_is_open = False
        if link is not None:
            link.close()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(no known status)"
