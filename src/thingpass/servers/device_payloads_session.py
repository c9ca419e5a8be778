"""The answer to `getSessionLimits`, by which ThingsBoard's clients set their pace (device API, 7.3)."""

from __future__ import annotations

from thingpass.messaging.gateway_mark import is_gateway
from thingpass.messaging.rate_limiting import ScopeLimits, TransportLimits
from thingpass.rate_limits import RateLimit
from thingpass.store.rows import Device


def session_limits(
    device: Device, limits: TransportLimits, *, maximum_packet_size: int, receive_maximum: int
) -> dict[str, object]:
    """Members without a limit are null, not left out: the clients tell these apart."""
    answer: dict[str, object] = {
        "maxPayloadSize": maximum_packet_size,
        "maxInflightMessages": receive_maximum,
        "rateLimits": _rate_limits(limits.of(device)),
    }
    if is_gateway(device):
        answer["gatewayRateLimits"] = _rate_limits(limits.gateway)
    return answer


def _rate_limits(limits: ScopeLimits) -> dict[str, str | None]:
    return {
        "messages": _text(limits.messages),
        "telemetryMessages": _text(limits.telemetry_messages),
        "telemetryDataPoints": _text(limits.data_points),
    }


def _text(limit: RateLimit | None) -> str | None:
    return None if limit is None else limit.text
