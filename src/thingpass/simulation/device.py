"""One simulated device between its mind (`behaviour`) and its wire: connecting, sending in time, coming back.

`MqttDevice` and `HttpDevice` add the protocol. Everything runs on the loop.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

import msgspec

from thingpass.simulation import backoff
from thingpass.simulation.behaviour import Behaviour
from thingpass.simulation.link import Link, LinkServices
from thingpass.simulation.tally import Tally

DIAL_TIMEOUT_S: Final = 20.0  # to the CONNACK, or to an HTTP connection
ANSWER_TIMEOUT_S: Final = 30.0  # for the acknowledgement of a message


class DeviceIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a device is. `key_pem`: its private key and certificate, PEM one behind the other."""

    number: int
    name: str
    token: str | None = None
    key_pem: str | None = None

    def __repr__(self) -> str:
        return f"DeviceIdentity({self.number}, {self.name!r})"


class Dispatcher(Protocol):
    """What a device needs of its fleet: leave to connect, so that not all do at once."""

    def wants_to_dial(self, device: SimulatedDevice) -> None: ...
    def dial_ended(self, device: SimulatedDevice) -> None: ...


class DeviceServices(msgspec.Struct, frozen=True):
    """What the devices of a fleet share."""

    loop: asyncio.AbstractEventLoop
    links: LinkServices
    tally: Tally
    dispatcher: Dispatcher
    host: str  # as HTTP's Host names it
    seed: int


class SimulatedDevice:
    """A device's life: waiting, dialling, connected; again and again until `leave`."""

    __slots__ = (
        "_dialled_at",
        "_failures",
        "_identity",
        "_link",
        "_sending",
        "_services",
        "_timer",
        "behaviour",
        "is_connected",
        "is_dialling",
    )

    def __init__(self, services: DeviceServices, identity: DeviceIdentity, *, interval_s: float) -> None:
        self._services = services
        self._identity = identity
        self.behaviour = Behaviour(services.seed, identity.number, identity.name, interval_s=interval_s)
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failures = 0
        self._dialled_at = 0.0
        self._sending = True
        self.is_connected = False
        self.is_dialling = False

    # --- what the fleet asks ---

    def dial(self) -> None:
        """Connects; the dispatcher hears when that has ended, well or not."""
        self.is_dialling = True
        self._dialled_at = self._services.loop.time()
        self._open_link()

    def tick(self, now: float) -> None:
        """Called about every second: what was waited for too long has failed."""
        if self.is_dialling and now - self._dialled_at > DIAL_TIMEOUT_S:
            self._fail(f"no answer to the connection within {DIAL_TIMEOUT_S:g} s")
        elif self.is_connected:
            oldest = self._oldest_unanswered()
            if oldest is not None and now - oldest > ANSWER_TIMEOUT_S:
                self._fail(f"no acknowledgement within {ANSWER_TIMEOUT_S:g} s")
            else:
                self._keep_alive(now)

    def stop_sending(self) -> None:
        """No new telemetry; what is on its way may still be acknowledged."""
        self._sending = False
        self._cancel_timer()

    def leave(self) -> None:
        """Ends the connection as a device does that is switched off."""
        if self.is_connected:
            self._say_goodbye()
        self._hang_up()

    def come_back_after(self, pause_s: float) -> None:
        self._cancel_timer()
        if self._sending:
            self._timer = self._services.loop.call_later(
                pause_s, self._services.dispatcher.wants_to_dial, self
            )

    # --- what a protocol adds ---

    def _say_goodbye(self) -> None: ...

    def _keep_alive(self, now: float) -> None: ...

    def _oldest_unanswered(self) -> float | None:
        """When the oldest message was sent that was not acknowledged."""
        return None

    def _forget_unanswered(self) -> int:
        """How many messages will never be acknowledged now."""
        return 0

    def _send_telemetry(self, payload: bytes) -> None:
        """Sends it, or counts it as held back while too much is on its way."""

    def link_opened(self) -> None: ...

    def link_received(self, data: bytes) -> None: ...

    def link_lost(self, reason: str) -> None:
        self._fail(reason)

    # --- what a protocol calls ---

    def _open_link(self) -> None:
        key_pem = self._identity.key_pem
        self._link = Link(self._services.links, self, key_pem.encode() if key_pem is not None else None)
        self._link.dial()

    def _connected(self) -> None:
        self._failures = 0
        self.is_connected = True
        self._services.tally.connects += 1
        self._services.tally.connected += 1
        self._end_dial()

    def _write(self, data: bytes) -> None:
        if self._link is not None and data:
            self._link.write(data)

    def _start_telemetry(self) -> None:
        if self._sending:
            self._cancel_timer()
            self._timer = self._services.loop.call_later(self.behaviour.first_pause_s(), self._due)

    def _interval_changed(self) -> None:
        """The pause that runs was made of the old interval."""
        self._services.tally.settings_applied += 1
        self._start_telemetry()

    def _fail(self, reason: str, example: str | None = None) -> None:
        """Ends the connection for a reason of the other side's, and comes back later."""
        tally = self._services.tally
        if self.is_connected:
            tally.lost += 1
        else:
            tally.connects_failed += 1
        tally.problem(reason, example)
        self._failures += 1
        self._hang_up()
        self.come_back_after(backoff.pause_s(self._failures, self._services.seed, self.behaviour.number))

    def _due(self) -> None:
        self._send_telemetry(self.behaviour.telemetry(time.time_ns() // 1_000_000))
        if self.is_connected:  # sending may have shown that the connection is gone
            self._timer = self._services.loop.call_later(self.behaviour.next_pause_s(), self._due)

    def _hang_up(self) -> None:
        self._cancel_timer()
        tally = self._services.tally
        if self.is_connected:
            self.is_connected = False
            tally.connected -= 1
        tally.unacknowledged -= self._forget_unanswered()
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._end_dial()

    def _end_dial(self) -> None:
        if self.is_dialling:
            self.is_dialling = False
            self._services.dispatcher.dial_ended(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
