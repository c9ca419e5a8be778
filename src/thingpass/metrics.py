"""The server's numbers: one row each in `METRICS`, plain slots in `Counters`, rendered for Prometheus.

The hot path only adds to an integer (`counters.messages_received += 1`) or calls `Histogram.observe`; nothing
here locks, because everything is written on the event loop, and a number written by another thread (commit
times) has that thread as its only writer. Names and labels are made when somebody asks for `/metrics`.
There is no label per device: the number of series must not grow with the number of devices.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypeAlias

import msgspec
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Gauge: TypeAlias = Callable[[], float | Mapping[str, float]]
"""A number, or one by label value where the row has a label. Asked at scrapes, on the loop; never blocks."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_SIZES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0)


class MetricRow(msgspec.Struct, frozen=True, kw_only=True):
    """One number that is published. `attribute` is its slot in `Counters`, or the key of its gauge."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    attribute: str
    help: str
    label: str | None = None  # a labelled counter or gauge is a dict: label value -> number
    bounds: tuple[float, ...] = ()


METRICS: tuple[MetricRow, ...] = (
    MetricRow(
        name="thingpass_connections_opened_total",
        kind="counter",
        attribute="connections_opened",
        help="Connections taken on device listeners, whatever became of them.",
    ),
    MetricRow(
        name="thingpass_connections_open",
        kind="gauge",
        attribute="connections_open",
        help="Connections on device listeners right now.",
    ),
    MetricRow(
        name="thingpass_connections_by_listener",
        kind="gauge",
        attribute="connections_by_listener",
        help="Connections right now, of devices and of people, by listener (mqtts, wss, https, http, ...).",
        label="listener",
    ),
    MetricRow(
        name="thingpass_devices_connected",
        kind="gauge",
        attribute="devices_connected",
        help="Connections right now whose device is known and accepted.",
    ),
    MetricRow(
        name="thingpass_handshakes_completed_total",
        kind="counter",
        attribute="handshakes_completed",
        help="TLS handshakes that succeeded, resumed ones included.",
    ),
    MetricRow(
        name="thingpass_handshakes_resumed_total",
        kind="counter",
        attribute="handshakes_resumed",
        help="TLS handshakes that resumed an earlier session.",
    ),
    MetricRow(
        name="thingpass_handshakes_failed_total",
        kind="counter",
        attribute="handshakes_failed",
        help="TLS handshakes that failed or took too long.",
    ),
    MetricRow(
        name="thingpass_handshakes_in_progress",
        kind="gauge",
        attribute="handshakes_in_progress",
        help="TLS handshakes that have begun and not ended.",
    ),
    MetricRow(
        name="thingpass_handshake_seconds",
        kind="histogram",
        attribute="handshake_seconds",
        help="Time from accepting a connection to the end of its TLS handshake.",
        bounds=SECONDS,
    ),
    MetricRow(
        name="thingpass_connects_accepted_total",
        kind="counter",
        attribute="connects_accepted",
        help="CONNECT packets whose device was recognised.",
    ),
    MetricRow(
        name="thingpass_refused_total",
        kind="counter",
        attribute="refused",
        help="Connections and CONNECT packets refused, by the refusal's code.",
        label="code",
    ),
    MetricRow(
        name="thingpass_messages_received_total",
        kind="counter",
        attribute="messages_received",
        help="PUBLISH packets received from devices.",
    ),
    MetricRow(
        name="thingpass_bytes_received_total",
        kind="counter",
        attribute="bytes_received",
        help="Bytes received from devices, after decryption.",
    ),
    MetricRow(
        name="thingpass_messages_rejected_total",
        kind="counter",
        attribute="messages_rejected",
        help="PUBLISH packets whose topic or payload could not be used.",
    ),
    MetricRow(
        name="thingpass_rate_limited_total",
        kind="counter",
        attribute="rate_limited",
        help="PUBLISH packets and requests above a rate limit: refused, delayed, or ended with.",
        label="limit",
    ),
    MetricRow(
        name="thingpass_messages_sent_total",
        kind="counter",
        attribute="messages_sent",
        help="PUBLISH packets sent to devices.",
    ),
    MetricRow(
        name="thingpass_publishes_acknowledged_total",
        kind="counter",
        attribute="publishes_acknowledged",
        help="PUBLISH packets of QoS 1 and 2 answered after their data was stored.",
    ),
    MetricRow(
        name="thingpass_points_stored_total",
        kind="counter",
        attribute="points_stored",
        help="Data points committed to the store.",
    ),
    MetricRow(
        name="thingpass_commits_total",
        kind="counter",
        attribute="commits",
        help="Batches committed to the store.",
    ),
    MetricRow(
        name="thingpass_commits_failed_total",
        kind="counter",
        attribute="commits_failed",
        help="Batches that the store did not take; their messages were not acknowledged.",
    ),
    MetricRow(
        name="thingpass_commit_seconds",
        kind="histogram",
        attribute="commit_seconds",
        help="Time to commit one batch of telemetry.",
        bounds=SECONDS,
    ),
    MetricRow(
        name="thingpass_commit_messages",
        kind="histogram",
        attribute="commit_messages",
        help="Messages in one committed batch.",
        bounds=BATCH_SIZES,
    ),
    MetricRow(
        name="thingpass_backlog_messages",
        kind="gauge",
        attribute="backlog_messages",
        help="Messages received and not yet committed.",
    ),
    MetricRow(
        name="thingpass_unfolded_messages",
        kind="gauge",
        attribute="unfolded_messages",
        help="Messages committed to the journal and not yet folded into the series.",
    ),
    MetricRow(
        name="thingpass_reading_paused_total",
        kind="counter",
        attribute="reading_paused",
        help="Times that reading from devices paused because the store was behind.",
    ),
    MetricRow(
        name="thingpass_ota_devices_told_total",
        kind="counter",
        attribute="ota_devices_told",
        help="Devices that were told of a new firmware or software package, or that theirs is taken away.",
    ),
    MetricRow(
        name="thingpass_ota_devices_waiting",
        kind="gauge",
        attribute="ota_devices_waiting",
        help="Devices that the rollout under way has not come to yet.",
    ),
    MetricRow(
        name="thingpass_ota_bytes_read_total",
        kind="counter",
        attribute="ota_bytes_read",
        help="Bytes of firmware and software packages that devices were sent.",
    ),
    MetricRow(
        name="thingpass_provisioning_total",
        kind="counter",
        attribute="provisioning",
        help="Requests of devices for an identity, by what became of them.",
        label="status",
    ),
    MetricRow(
        name="thingpass_claims_total",
        kind="counter",
        attribute="claims",
        help="Claims that devices offered and customers tried, by what became of them.",
        label="result",
    ),
    MetricRow(
        name="thingpass_devices_active",
        kind="gauge",
        attribute="devices_active",
        help="Devices that were heard of within their inactivity timeout.",
    ),
    MetricRow(
        name="thingpass_state_writes_total",
        kind="counter",
        attribute="state_writes",
        help="Devices whose state (connected, active, last heard) was written to the store.",
    ),
    MetricRow(
        name="thingpass_device_events_total",
        kind="counter",
        attribute="device_events",
        help="Events of devices that were written to the store.",
    ),
    MetricRow(
        name="thingpass_device_events_dropped_total",
        kind="counter",
        attribute="device_events_dropped",
        help="Events of devices that were dropped, because too many waited to be written.",
    ),
    MetricRow(
        name="thingpass_rpc_calls_total",
        kind="counter",
        attribute="rpc_calls",
        help=(
            "Calls to devices, by what became of them: answered, delivered (one-way), kept (persistent), "
            "away (not taken in time), silent (no answer in time), refused, withdrawn."
        ),
        label="outcome",
    ),
    MetricRow(
        name="thingpass_rpc_seconds",
        kind="histogram",
        attribute="rpc_seconds",
        help="Time from a call to its answer, or to its delivery when it is one-way.",
        bounds=SECONDS,
    ),
    MetricRow(
        name="thingpass_rpc_waiting",
        kind="gauge",
        attribute="rpc_waiting",
        help="Calls to devices whose caller waits now.",
    ),
    MetricRow(
        name="thingpass_attribute_pushes_total",
        kind="counter",
        attribute="attribute_pushes",
        help="Changes of shared attributes told to devices.",
    ),
    MetricRow(
        name="thingpass_sessions_kept",
        kind="gauge",
        attribute="sessions_kept",
        help="MQTT sessions of devices that are away and may come back to them.",
    ),
    MetricRow(
        name="thingpass_sessions_resumed_total",
        kind="counter",
        attribute="sessions_resumed",
        help="Connections that found the session of an earlier one.",
    ),
    MetricRow(
        name="thingpass_http_requests_total",
        kind="counter",
        attribute="http_requests",
        help="Requests answered by the REST API, by status.",
        label="status",
    ),
    MetricRow(
        name="thingpass_device_requests_total",
        kind="counter",
        attribute="device_requests",
        help="Requests over HTTP of recognised devices, and for an identity, by what they are about.",
        label="endpoint",
    ),
    MetricRow(
        name="thingpass_device_requests_waiting",
        kind="gauge",
        attribute="device_requests_waiting",
        help="Requests of devices over HTTP that wait for a call or a changed attribute.",
    ),
    MetricRow(
        name="thingpass_logins_failed_total",
        kind="counter",
        attribute="logins_failed",
        help="Logins to the REST API refused for a wrong name or password, or for too many attempts.",
    ),
)


class Histogram:
    """Counts by upper bound. `observe` costs one binary search and two additions."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last one: above every bound
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value, in the unit of the bounds (seconds, messages)."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)


class Counters:
    """The numbers themselves. Integers are added to directly; `gauges` are asked when somebody looks."""

    __slots__ = (
        "attribute_pushes",
        "bytes_received",
        "claims",
        "commit_messages",
        "commit_seconds",
        "commits",
        "commits_failed",
        "connections_opened",
        "connects_accepted",
        "device_events",
        "device_events_dropped",
        "device_requests",
        "gauges",
        "handshake_seconds",
        "handshakes_completed",
        "handshakes_failed",
        "handshakes_resumed",
        "http_requests",
        "logins_failed",
        "messages_received",
        "messages_rejected",
        "messages_sent",
        "ota_bytes_read",
        "ota_devices_told",
        "points_stored",
        "provisioning",
        "publishes_acknowledged",
        "rate_limited",
        "reading_paused",
        "refused",
        "rpc_calls",
        "rpc_seconds",
        "sessions_resumed",
        "state_writes",
    )

    def __init__(self) -> None:
        self.connections_opened = 0
        self.handshakes_completed = 0
        self.handshakes_resumed = 0
        self.handshakes_failed = 0
        self.connects_accepted = 0
        self.messages_received = 0
        self.bytes_received = 0
        self.messages_rejected = 0
        self.messages_sent = 0
        self.publishes_acknowledged = 0
        self.points_stored = 0
        self.commits = 0
        self.commits_failed = 0
        self.reading_paused = 0
        self.logins_failed = 0
        self.ota_devices_told = 0
        self.ota_bytes_read = 0
        self.state_writes = 0
        self.device_events = 0
        self.device_events_dropped = 0
        self.attribute_pushes = 0
        self.sessions_resumed = 0
        self.rpc_calls: dict[str, int] = {}
        self.rpc_seconds = Histogram(SECONDS)
        self.refused: dict[str, int] = {}
        self.rate_limited: dict[str, int] = {}
        self.http_requests: dict[str, int] = {}
        self.device_requests: dict[str, int] = {}
        self.provisioning: dict[str, int] = {}
        self.claims: dict[str, int] = {}
        self.handshake_seconds = Histogram(SECONDS)
        self.commit_seconds = Histogram(SECONDS)
        self.commit_messages = Histogram(BATCH_SIZES)
        self.gauges: dict[str, Gauge] = {}

    def count_refused(self, code: str) -> None:
        """Counts one refusal under its published code (a row of `identity.refusals`, never peer's text)."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def count_rpc(self, outcome: str) -> None:
        """Counts one call to a device under one of the outcomes that the row names."""
        self.rpc_calls[outcome] = self.rpc_calls.get(outcome, 0) + 1

    def set_gauge(self, attribute: str, gauge: Gauge) -> None:
        """Has the gauge row named `attribute` answered by `gauge`. Raises KeyError for an unknown row."""
        if not any(row.kind == "gauge" and row.attribute == attribute for row in METRICS):
            raise KeyError(attribute)
        self.gauges[attribute] = gauge


class CountersCollector(Collector):
    """Turns the slots into Prometheus metric families, row by row. A gauge nobody answers is left out."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        for row in METRICS:
            if row.kind == "gauge":
                gauge = self._counters.gauges.get(row.attribute)
                if gauge is not None:
                    yield _gauge_family(row, gauge())
            elif row.kind == "histogram":
                yield _histogram_family(row, getattr(self._counters, row.attribute))
            else:
                yield _counter_family(row, getattr(self._counters, row.attribute))


def _gauge_family(row: MetricRow, value: float | Mapping[str, float]) -> Metric:
    if not isinstance(value, Mapping):
        return GaugeMetricFamily(row.name, row.help, value=value)
    family = GaugeMetricFamily(row.name, row.help, labels=(row.label or "",))
    for label_value, number in sorted(value.items()):
        family.add_metric((label_value,), number)
    return family


def _counter_family(row: MetricRow, value: int | Mapping[str, int]) -> Metric:
    if isinstance(value, int):
        return CounterMetricFamily(row.name, row.help, value=value)
    family = CounterMetricFamily(row.name, row.help, labels=(row.label or "",))
    for label_value, count in sorted(value.items()):
        family.add_metric((label_value,), count)
    return family


def _histogram_family(row: MetricRow, histogram: Histogram) -> Metric:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
    return HistogramMetricFamily(row.name, row.help, buckets=buckets, sum_value=histogram.sum)


def make_registry(counters: Counters) -> CollectorRegistry:
    """A registry of our own (the library's global one would outlive a server), with the process's numbers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(CountersCollector(counters))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """The numbers as Prometheus text, format 0.0.4; serve it as `CONTENT_TYPE`."""
    return generate_latest(registry)


def reference_page() -> str:
    """The text of docs/reference/metrics.md; a test holds the page to it."""
    lines = [
        "# Metrics",
        "",
        "After this page you can watch a Thingpass server with Prometheus: `GET /metrics` answers every row",
        "below, without a login. No row has a label per device, and none holds a secret. Standard rows about",
        "the process (`process_resident_memory_bytes`, `process_cpu_seconds_total`, ...) and about Python's",
        "garbage collector come along. This page is made from the table in `src/thingpass/metrics.py`.",
        "",
        "```yaml",
        "scrape_configs:",
        "  - job_name: thingpass",
        "    static_configs:",
        '      - targets: ["127.0.0.1:8080"]',
        "```",
        "",
        "| name | kind | label | what it counts |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{row.name}` | {row.kind} | {f'`{row.label}`' if row.label else ''} | {row.help} |"
        for row in METRICS
    ]
    return "\n".join(lines) + "\n"
