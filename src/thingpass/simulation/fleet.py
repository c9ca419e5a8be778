"""A fleet of one process: who connects when, the clock that all devices share, and a clean end."""

from __future__ import annotations

import asyncio
import resource
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from thingpass.errors import Unavailable
from thingpass.mqtt.packets import ProtocolVersion
from thingpass.simulation.chance import between, mix
from thingpass.simulation.device import DeviceIdentity, DeviceServices, SimulatedDevice
from thingpass.simulation.http_device import HttpDevice
from thingpass.simulation.link import LinkServices
from thingpass.simulation.mqtt_device import MqttDevice
from thingpass.simulation.tally import Snapshot, Tally
from thingpass.simulation.target import ServerTrust, Target, resolve
from thingpass.tls.handshake_pool import HandshakePool

MOST_DIALLING: Final = 64  # connections being opened at any time; more only wait in the server's queue
TICKS_A_SECOND: Final = 10  # each looks at a tenth of the devices
LAST_ANSWERS_S: Final = 5.0  # how long the end waits for acknowledgements that are on their way
_SPARE_FILES: Final = 100


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one process of a fleet does."""

    target: Target
    devices: tuple[DeviceIdentity, ...]
    interval_s: float
    seed: int
    mqtt_version: Literal["3.1.1", "5"] = "5"
    connect_rate: float = 0.0  # a second; 0: as fast as the server takes them
    churn_percent: float = 0.0  # of the connected devices, a minute


class Fleet:
    """`await run()` until `stop()`; `snapshot()` at any time. Raises Unavailable before it starts."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tally = Tally()
        self._devices: list[SimulatedDevice] = []
        self._waiting: deque[SimulatedDevice] = deque()
        self._dialling = 0
        self._next_dial_at = 0.0
        self._pump_scheduled = False
        self._ending = asyncio.Event()
        self._ticks = 0
        self._churn_debt = 0.0
        self._churned = 0

    def snapshot(self) -> Snapshot:
        return self._tally.snapshot(len(self._plan.devices))

    def stop(self) -> None:
        self._ending.set()

    async def run(self) -> None:
        allow_open_files(len(self._plan.devices))
        loop = asyncio.get_running_loop()
        family, address = await loop.run_in_executor(None, resolve, self._plan.target)
        pool = HandshakePool()
        pool.start(loop)
        try:
            trust = ServerTrust(self._plan.target) if self._plan.target.is_tls else None
            links = LinkServices(loop, pool, family, address, trust)
            host = self._plan.target.text.partition("://")[2]
            services = DeviceServices(loop, links, self._tally, self, host, self._plan.seed)
            self._devices = [self._make_device(services, identity) for identity in self._plan.devices]
            self._waiting.extend(self._devices)
            self._schedule_pump(0.0)
            while not self._ending.is_set():
                await self._wait_for_end(1 / TICKS_A_SECOND)
                self._tick(loop.time())
            await self._finish()
        finally:
            for device in self._devices:
                device.leave()
            await pool.stop()

    def _make_device(self, services: DeviceServices, identity: DeviceIdentity) -> SimulatedDevice:
        plan = self._plan
        if plan.target.is_http:
            return HttpDevice(services, identity, interval_s=plan.interval_s)
        version = ProtocolVersion.MQTT_5 if plan.mqtt_version == "5" else ProtocolVersion.MQTT_3_1_1
        return MqttDevice(services, identity, interval_s=plan.interval_s, version=version)

    async def _wait_for_end(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            pass

    async def _finish(self) -> None:
        self._waiting.clear()
        for device in self._devices:
            device.stop_sending()
        for _ in range(int(LAST_ANSWERS_S * 20)):
            if self._tally.unacknowledged == 0:
                return
            await asyncio.sleep(0.05)

    # --- connecting ---

    def wants_to_dial(self, device: SimulatedDevice) -> None:
        self._waiting.append(device)
        self._schedule_pump(0.0)

    def dial_ended(self, device: SimulatedDevice) -> None:
        self._dialling -= 1
        self._schedule_pump(0.0)

    def _schedule_pump(self, after_s: float) -> None:
        if not self._pump_scheduled:
            self._pump_scheduled = True
            asyncio.get_running_loop().call_later(after_s, self._pump)

    def _pump(self) -> None:
        self._pump_scheduled = False
        loop_time = asyncio.get_running_loop().time
        while self._waiting and self._dialling < MOST_DIALLING and not self._ending.is_set():
            if self._plan.connect_rate:
                now = loop_time()
                if self._next_dial_at > now:
                    self._schedule_pump(self._next_dial_at - now)
                    return
                # What was missed is not made up for by a burst.
                self._next_dial_at = max(self._next_dial_at, now - 0.1) + 1 / self._plan.connect_rate
            self._dialling += 1
            self._waiting.popleft().dial()

    # --- time ---

    def _tick(self, now: float) -> None:
        for device in self._devices[self._ticks % TICKS_A_SECOND :: TICKS_A_SECOND]:
            device.tick(now)
        self._ticks += 1
        if self._plan.churn_percent:
            self._churn()

    def _churn(self) -> None:
        """Switches some devices off; each comes back after one to ten seconds."""
        a_minute = self._tally.connected * self._plan.churn_percent / 100
        self._churn_debt += a_minute / 60 / TICKS_A_SECOND
        while self._churn_debt >= 1:
            self._churn_debt -= 1
            self._churned += 1
            device = self._devices[mix(self._plan.seed, 31, self._churned) % len(self._devices)]
            if device.is_connected:
                device.leave()
                device.come_back_after(between(1.0, 10.0, self._plan.seed, 32, self._churned))


def allow_open_files(devices: int) -> None:
    """Raises this process's limit as far as it may be raised, and Unavailable where that is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = devices + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < needed:
            raise Unavailable(
                f"{devices} devices need {needed} open files in one process; {hard} are allowed.",
                mend="Use more --processes, or raise the limit (ulimit -Hn).",
            )


def shares(devices: Sequence[DeviceIdentity], processes: int) -> list[tuple[DeviceIdentity, ...]]:
    """The devices of each process; none is empty."""
    return [tuple(devices[number::processes]) for number in range(min(processes, len(devices)))]
