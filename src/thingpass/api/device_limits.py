"""Rate limits on requests of devices by HTTP: the meters are those of the device's MQTT messages."""

from __future__ import annotations

from thingpass.api.error_answers import TooManyRequests
from thingpass.clock import Clock
from thingpass.identity.refusal_log import RefusalLog
from thingpass.identity.refusals import RATE_LIMIT_EXCEEDED
from thingpass.messaging.rate_limiting import Breach, DeviceMeters, RateLimiter
from thingpass.metrics import Counters
from thingpass.store.rows import Device
from thingpass.tls.evidence import Evidence


class DeviceRequestLimits:
    """Asked once the device is known and before the body is read: a request above a limit costs little."""

    def __init__(
        self, limiter: RateLimiter, *, counters: Counters, refusal_log: RefusalLog, clock: Clock
    ) -> None:
        self._limiter = limiter
        self._counters = counters
        self._refusal_log = refusal_log
        self._clock = clock

    def admit(self, device: Device, evidence: Evidence, *, carries_data: bool) -> None:
        """`carries_data`: telemetry or attributes to the server. Raises TooManyRequests."""
        meters = self._meters(device)
        if meters is None:
            return
        now = self._clock.monotonic()
        breach = meters.admit(now, carries_data=carries_data)
        if breach is not None:
            self._count(meters, breach, device, evidence, now)
            raise TooManyRequests(breach.sentence, retry_after_s=breach.retry_after_s)

    def charge_points(self, device: Device, count: int) -> None:
        """The data points of a request that was admitted, once it is read."""
        meters = self._meters(device)
        if meters is not None:
            meters.charge_points(count, self._clock.monotonic())

    def _meters(self, device: Device) -> DeviceMeters | None:
        return self._limiter.meters_for(device, self._clock.monotonic())

    def _count(
        self, meters: DeviceMeters, breach: Breach, device: Device, evidence: Evidence, now: float
    ) -> None:
        counts = self._counters.rate_limited
        counts[breach.name] = counts.get(breach.name, 0) + 1
        if meters.begins_episode(now):
            self._refusal_log.record(
                RATE_LIMIT_EXCEEDED,
                listener=evidence.listener,
                peer_address=evidence.peer_address,
                peer_port=evidence.peer_port,
                at_ms=self._clock.now_ms(),
                seen={"name": breach.name, "limit": breach.limit, "device": device.name},
                device=device,
            )
