"""Who may send how much: the limits of devices, of gateways and of tenants, and what was used of them.

Telemetry and attributes take one telemetry message and, once they are read, their data points; everything
else takes one message (device API reference, 5). Whether a message may come is asked before it is read: one
above the limit costs less than a good one. With data points left a message is taken whole, and what it takes
too much is a debt that the next one waits for.

Nothing is made and nothing is asked where no limit is set: `RateLimiter.meters_for` then gives None. What a
device has used outlives its connection, or connecting anew would be a way around.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec

from thingpass.messaging.gateway_mark import is_gateway
from thingpass.rate_limits import Meter, RateLimit
from thingpass.store.rows import Device

EPISODE_S: Final = 60.0  # a breach so long after the last one is news again
SWEEP_ABOVE: Final = 10_000  # kept meters, before those are looked for that nobody needs


class ScopeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one kind of sender; None: none."""

    messages: RateLimit | None = None
    telemetry_messages: RateLimit | None = None
    data_points: RateLimit | None = None

    def __bool__(self) -> bool:
        return bool(self.messages or self.telemetry_messages or self.data_points)


NO_LIMITS: Final = ScopeLimits()


class TransportLimits(msgspec.Struct, frozen=True, kw_only=True):
    """All limits that hold for a tenant: ThingsBoard's `transport...RateLimit` of a tenant profile."""

    device: ScopeLimits = NO_LIMITS
    gateway: ScopeLimits = NO_LIMITS  # a gateway's sub-devices together
    gateway_device: ScopeLimits = NO_LIMITS  # a gateway as the device that it is itself
    tenant: ScopeLimits = NO_LIMITS

    def of(self, device: Device) -> ScopeLimits:
        """What holds for the device's own messages."""
        return self.gateway_device if is_gateway(device) else self.device


class Breach(msgspec.Struct, frozen=True):
    """A message above a limit: which one (the setting's name), and when there is room again."""

    name: str
    limit: str
    wait_s: float

    @property
    def sentence(self) -> str:
        """For the device."""
        return f"The limit {self.name}, {self.limit}, is used up; try again in {self.retry_after_s} s."

    @property
    def retry_after_s(self) -> int:
        """For HTTP's Retry-After: whole seconds, at least one."""
        return max(1, math.ceil(self.wait_s))


class _Named(msgspec.Struct, frozen=True):
    """A meter and the name of its limit."""

    name: str
    meter: Meter


class _Scope:
    """The meters of one sender; each only where there is a limit."""

    __slots__ = ("messages", "meters", "points", "telemetry")

    def __init__(self, name: str, limits: ScopeLimits, now: float) -> None:
        def meter(what: str, limit: RateLimit | None) -> _Named | None:
            return None if limit is None else _Named(f"{name}_{what}", Meter(limit, now))

        self.messages = meter("messages", limits.messages)
        self.telemetry = meter("telemetry_messages", limits.telemetry_messages)
        self.points = meter("data_points", limits.data_points)
        self.meters = tuple(each for each in (self.messages, self.telemetry, self.points) if each is not None)

    def is_full(self, now: float) -> bool:
        return all(each.meter.is_full(now) for each in self.meters)


class DeviceMeters:
    """What one sender is measured by: its own meters and its tenant's. All or none of them are spent."""

    __slots__ = ("_data", "_last_breach_at", "_messages", "_own", "_points", "users")

    def __init__(self, own: _Scope, tenant: _Scope | None) -> None:
        scopes = (own,) if tenant is None else (own, tenant)
        self._own = own
        self._messages = tuple(scope.messages for scope in scopes if scope.messages is not None)
        self._points = tuple(scope.points for scope in scopes if scope.points is not None)
        self._data = tuple(scope.telemetry for scope in scopes if scope.telemetry is not None)
        self._last_breach_at = -math.inf
        self.users = 0  # connections that hold it

    def admit(self, now: float, *, carries_data: bool) -> Breach | None:
        """Takes one message, or takes nothing and says what is in its way."""
        breach = self.breach(now, carries_data=carries_data)
        if breach is None:
            self.charge(now, carries_data=carries_data)
        return breach

    def breach(self, now: float, *, carries_data: bool) -> Breach | None:
        """The limit that has to be waited for the longest, if there is one."""
        worst: Breach | None = None
        for each in (*self._data, *self._points) if carries_data else self._messages:
            wait_s = each.meter.wait_s(1, now)
            if wait_s and (worst is None or wait_s > worst.wait_s):
                worst = Breach(each.name, each.meter.limit.text, wait_s)
        return worst

    def charge(self, now: float, *, carries_data: bool) -> None:
        """Takes one message, be there room or not."""
        for each in self._data if carries_data else self._messages:
            each.meter.spend(1, now)

    def charge_points(self, count: int, now: float) -> None:
        """Takes the data points of a message that was admitted."""
        for each in self._points:
            each.meter.spend(count, now)

    def begins_episode(self, now: float) -> bool:
        """Called at each breach: whether it is the first one for some time."""
        last, self._last_breach_at = self._last_breach_at, now
        return now - last >= EPISODE_S

    def is_needed(self, now: float) -> bool:
        return self.users > 0 or now - self._last_breach_at < EPISODE_S or not self._own.is_full(now)


class RateLimiter:
    """The meters of all senders of one node. Use it on one thread."""

    def __init__(self, limits_of: Callable[[str], TransportLimits]) -> None:
        """`limits_of` a tenant's id; asked when a device connects."""
        self._limits_of = limits_of
        self._devices: dict[str, DeviceMeters] = {}
        self._gateways: dict[str, DeviceMeters] = {}
        self._tenants: dict[str, _Scope] = {}
        self._sweep_above = SWEEP_ABOVE

    def limits_of(self, tenant_id: str) -> TransportLimits:
        return self._limits_of(tenant_id)

    def meters_for(self, device: Device, now: float) -> DeviceMeters | None:
        """For a device's own messages; None: nothing is limited."""
        limits = self._limits_of(device.tenant_id)
        name = "gateway_device" if is_gateway(device) else "device"
        return self._meters(self._devices, device, name, limits.of(device), limits.tenant, now)

    def meters_for_sub_devices(self, gateway: Device, now: float) -> DeviceMeters | None:
        """For what a gateway sends for the devices behind it; None: nothing is limited."""
        limits = self._limits_of(gateway.tenant_id)
        return self._meters(self._gateways, gateway, "gateway", limits.gateway, limits.tenant, now)

    def _meters(
        self,
        kept: dict[str, DeviceMeters],
        device: Device,
        name: str,
        own: ScopeLimits,
        of_tenant: ScopeLimits,
        now: float,
    ) -> DeviceMeters | None:
        if not own and not of_tenant:
            return None
        found = kept.get(device.id)
        if found is None:
            tenant = self._tenant(device.tenant_id, of_tenant, now) if of_tenant else None
            found = kept[device.id] = DeviceMeters(_Scope(name, own, now), tenant)
            if len(kept) > self._sweep_above:
                self._sweep(kept, found, now)
        return found

    def _tenant(self, tenant_id: str, limits: ScopeLimits, now: float) -> _Scope:
        scope = self._tenants.get(tenant_id)
        if scope is None:
            scope = self._tenants[tenant_id] = _Scope("tenant", limits, now)
        return scope

    def _sweep(self, kept: dict[str, DeviceMeters], new: DeviceMeters, now: float) -> None:
        """Forgets who is as if it had never sent; the next sweep comes when as many again are kept."""
        for device_id, meters in tuple(kept.items()):
            if meters is not new and not meters.is_needed(now):
                del kept[device_id]
        self._sweep_above = max(SWEEP_ABOVE, 2 * len(kept))
