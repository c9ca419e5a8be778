"""What is measured: one row a measure, one row a figure. Options, report and JSON come from these rows."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from benchmarks.fleet import measure_fleet
from benchmarks.measurements import (
    Measurement,
    Plan,
    measure_attribute_requests,
    measure_calls,
    measure_connects,
    measure_idle_memory,
    measure_messages,
    measure_mixed,
)
from benchmarks.servers import RunningServer


class Figure(msgspec.Struct, frozen=True):
    key: str
    title: str
    unit: str
    higher_is_better: bool
    digits: int = 0
    goal: str = ""
    """The project's, for the reader; nothing checks it."""


class Measure(msgspec.Struct, frozen=True):
    key: str
    title: str
    run: Callable[[RunningServer, Plan], Measurement]
    figures: tuple[Figure, ...]
    brokers_too: bool = True
    """Whether a bare broker has anything that could be measured so."""


MEASURES: tuple[Measure, ...] = (
    Measure(
        "connects",
        "TLS 1.3 handshake to CONNACK",
        measure_connects,
        (
            Figure("per_s", "connects", "1/s", True, goal="ratio >= 1.3"),
            Figure("server_cpu", "server CPU per connect", "ms", False, 3),
            Figure("load_cpu", "load source CPU per connect", "ms", False, 3),
            Figure("server_busy", "server busy", "% of a core", False),
            Figure("load_busy", "load source busy", "% of a core", False),
            Figure("p50_ms", "connect latency p50", "ms", False, 1),
            Figure("p99_ms", "connect latency p99", "ms", False, 1),
        ),
    ),
    Measure(
        "messages",
        "QoS 1, as fast as it goes",
        measure_messages,
        (
            Figure("per_s", "messages acknowledged", "1/s", True, goal="ratio >= 0.7"),
            Figure("slowest_window_per_s", "the slowest window", "1/s", True),
            Figure("server_cpu", "server CPU per message", "us", False, 1),
            Figure("load_cpu", "load source CPU per message", "us", False, 1),
            Figure("server_busy", "server busy", "% of a core", False),
            Figure("load_busy", "load source busy", "% of a core", False),
            Figure("p50_ms", "acknowledgement latency p50", "ms", False, 1),
            Figure("p99_ms", "acknowledgement latency p99", "ms", False, 1),
        ),
    ),
    Measure(
        "idle",
        "memory of a connection",
        measure_idle_memory,
        (
            Figure("idle_kb", "connected, nothing sent", "kB", False, 1, goal="<= 30 kB"),
            Figure("idle_after_message_kb", "connected, one message sent", "kB", False, 1),
            Figure("before_mb", "server before them", "MB", False, 1),
        ),
    ),
    Measure(
        "mixed",
        "QoS 1 at a rate, devices arriving",
        measure_mixed,
        (
            Figure("p99_ms", "acknowledgement latency p99", "ms", False, 2, goal="<= 50 ms"),
            Figure("p50_ms", "acknowledgement latency p50", "ms", False, 2),
            Figure("p999_ms", "acknowledgement latency p99.9", "ms", False, 2),
            Figure("messages_per_s", "messages acknowledged", "1/s", True),
            Figure("connects_per_s", "devices connected", "1/s", True),
            Figure("connect_p99_ms", "connect latency p99", "ms", False, 1),
            Figure("server_busy", "server busy", "% of a core", False),
            Figure("load_lag_p99_ms", "load source late by, p99", "ms", False, 2),
        ),
    ),
    Measure(
        "attributes",
        "attribute requests, one at a time each",
        measure_attribute_requests,
        (
            Figure("per_s", "round trips", "1/s", True),
            Figure("server_cpu", "server CPU per round trip", "us", False, 1),
            Figure("server_busy", "server busy", "% of a core", False),
            Figure("p50_ms", "latency p50", "ms", False, 2),
            Figure("p99_ms", "latency p99", "ms", False, 2),
        ),
        brokers_too=False,
    ),
    Measure(
        "calls",
        "two-way RPC, from REST to the device and back",
        measure_calls,
        (
            Figure("per_s", "round trips", "1/s", True),
            Figure("server_cpu", "server CPU per round trip", "us", False, 1),
            Figure("server_busy", "server busy", "% of a core", False),
            Figure("p50_ms", "latency p50", "ms", False, 2),
            Figure("p99_ms", "latency p99", "ms", False, 2),
        ),
        brokers_too=False,
    ),
    Measure(
        "fleet",
        "the devices of thingpass simulate",
        measure_fleet,
        (
            Figure("per_s", "messages acknowledged", "1/s", True),
            Figure("server_cpu", "server CPU per message", "us", False, 1),
            Figure("load_cpu", "fleet CPU per message", "us", False, 1),
            Figure("server_busy", "server busy", "% of a core", False),
            Figure("p50_ms", "acknowledgement latency p50", "ms", False, 2),
            Figure("p99_ms", "acknowledgement latency p99", "ms", False, 2),
        ),
        brokers_too=False,
    ),
)
