"""The installation's rate limits, from its settings."""

from __future__ import annotations

from thingpass.messaging.rate_limiting import ScopeLimits, TransportLimits
from thingpass.rate_limits import RateLimit, parse_rate_limit
from thingpass.settings import LimitSettings


def make_transport_limits(settings: LimitSettings) -> TransportLimits:
    """What holds for every tenant. The settings' texts have been read once already, so nothing is raised."""

    def scope(sender: str) -> ScopeLimits:
        def limit(what: str) -> RateLimit | None:
            text: str | None = getattr(settings, f"{sender}_{what}")
            return None if text is None else parse_rate_limit(text)

        return ScopeLimits(
            messages=limit("messages"),
            telemetry_messages=limit("telemetry_messages"),
            data_points=limit("data_points"),
        )

    return TransportLimits(
        device=scope("device"),
        gateway=scope("gateway"),
        gateway_device=scope("gateway_device"),
        tenant=scope("tenant"),
    )
