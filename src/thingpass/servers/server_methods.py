"""What devices may call on the server: a row each (device API reference, 2.7).

In ThingsBoard a rule chain answers such calls. Here is what needs no rules: the time, and what the server
knows of the device.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from thingpass.clock import Clock
from thingpass.messaging.rate_limiting import RateLimiter
from thingpass.servers.device_payloads_session import session_limits
from thingpass.store.rows import Device


class Asked(Protocol):
    """What the methods read of the server."""

    @property
    def clock(self) -> Clock: ...
    @property
    def rate_limiter(self) -> RateLimiter: ...
    @property
    def maximum_packet_size(self) -> int: ...
    @property
    def receive_maximum(self) -> int: ...


class ServerMethod(msgspec.Struct, frozen=True):
    """One row. `answer` gives what is sent as JSON."""

    name: str
    help: str
    answer: Callable[[Asked, Device], Any]


def _session_limits(asked: Asked, device: Device) -> dict[str, object]:
    """Device API reference, 7.3: by this ThingsBoard's client sets its pace."""
    return session_limits(
        device,
        asked.rate_limiter.limits_of(device.tenant_id),
        maximum_packet_size=asked.maximum_packet_size,
        receive_maximum=asked.receive_maximum,
    )


def _current_time(asked: Asked, device: Device) -> int:
    return asked.clock.now_ms()


def _server_time(asked: Asked, device: Device) -> dict[str, Any]:
    now_ms = asked.clock.now_ms()
    iso = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {"ts": now_ms, "iso": iso.replace("+00:00", "Z")}


def _device_info(asked: Asked, device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "name": device.name,
        "label": device.label,
        "profile": device.profile_name,
        "createdTime": device.created_at_ms,
    }


METHODS: Final[tuple[ServerMethod, ...]] = (
    ServerMethod("getSessionLimits", "what the server takes from this session", _session_limits),
    ServerMethod(
        "getCurrentTime", "milliseconds since 1970, as in ThingsBoard's tutorial on such calls", _current_time
    ),
    ServerMethod("getServerTime", '`{"ts": ..., "iso": "..."}`, the time in both forms', _server_time),
    ServerMethod("getDeviceInfo", "id, name, label, profile and creation time of the device", _device_info),
)

_BY_NAME: Final = {row.name: row for row in METHODS}


def answer_call(method: str, asked: Asked, device: Device) -> bytes:
    """The answer as JSON; `{"error": ...}` for a method that there is not."""
    row = _BY_NAME.get(method)
    if row is not None:
        return msgspec.json.encode(row.answer(asked, device))
    known = ", ".join(_BY_NAME)
    return msgspec.json.encode({"error": f"There is no method {method[:100]!r}; there are {known}."})
