"""How long a gateway's connectors take: the telemetry key `gatewayMetrics` (device API reference, 2.11).

Gathered from the metadata of samples, written once a minute with the gateway's own telemetry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from thingpass.servers.gateway_payloads import ConnectorTime
from thingpass.store.rows import JsonText, Sample

KEY: Final = "gatewayMetrics"
WRITE_EVERY_S: Final = 60.0
MOST_CONNECTORS: Final = 100
"""Of one gateway in one minute; what comes through others is not measured."""


class _Latency:
    """Of one connector, in milliseconds."""

    __slots__ = ("count", "gateway_max", "gateway_min", "gateway_sum", "way_max", "way_min", "way_sum")

    def __init__(self) -> None:
        self.count = self.gateway_sum = self.way_sum = 0
        self.gateway_min = self.way_min = 2**62
        self.gateway_max = self.way_max = -(2**62)

    def add(self, gateway_ms: int, way_ms: int) -> None:
        self.count += 1
        self.gateway_sum += gateway_ms
        self.gateway_min = min(self.gateway_min, gateway_ms)
        self.gateway_max = max(self.gateway_max, gateway_ms)
        self.way_sum += way_ms
        self.way_min = min(self.way_min, way_ms)
        self.way_max = max(self.way_max, way_ms)

    def members(self) -> dict[str, int]:
        return {
            "avgGwLatency": self.gateway_sum // self.count,
            "minGwLatency": self.gateway_min,
            "maxGwLatency": self.gateway_max,
            "avgTransportLatency": self.way_sum // self.count,
            "minTransportLatency": self.way_min,
            "maxTransportLatency": self.way_max,
        }


class GatewayMetrics:
    __slots__ = ("_by_connector",)

    def __init__(self) -> None:
        self._by_connector: dict[str, _Latency] = {}

    def note(self, times: Iterable[ConnectorTime], now_ms: int) -> None:
        """From the device to the gateway's sending, and from there to here."""
        for each in times:
            latency = self._by_connector.get(each.connector)
            if latency is None:
                if len(self._by_connector) >= MOST_CONNECTORS:
                    continue
                latency = self._by_connector[each.connector] = _Latency()
            latency.add(each.published_ms - each.received_ms, now_ms - each.published_ms)

    def take(self, now_ms: int) -> Sample | None:
        """What to store of what was noted since the last time; None if that is nothing."""
        if not self._by_connector:
            return None
        document = {connector: latency.members() for connector, latency in self._by_connector.items()}
        self._by_connector = {}
        return Sample(now_ms, {KEY: JsonText(msgspec.json.encode(document).decode())})
