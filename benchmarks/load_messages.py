"""What the benchmark and its load processes say to each other: one JSON line each way per step.

    benchmark -> load   a job (ConnectJob, PublishJob, ...), then a Go
    load -> benchmark   Ready when every connection that the job starts with is open, then a Result

Times are seconds of CLOCK_MONOTONIC, which all processes of the machine share.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Devices(msgspec.Struct, frozen=True):
    """The devices that one load process plays, and where from: numbers first .. first + count - 1."""

    devices_pem: str
    first: int
    count: int
    sources: tuple[str, ...]
    """Loopback addresses to connect from in turn: one address has only some 28,000 ports, and a closed
    connection keeps its port for a minute."""


class ConnectJob(msgspec.Struct, frozen=True, tag="connect"):
    """Connect, wait for CONNACK, disconnect; over and over, each time another device."""

    port: int
    devices: Devices
    in_flight: int
    """How many connections are being opened at any time; the next starts when one is done."""
    rate_per_s: float = 0.0
    """Instead of `in_flight`: start so many a second, whatever the server does. 0 = no rate."""
    hold_s: float = 0.0
    """How long a connection stays after its CONNACK."""


class PublishJob(msgspec.Struct, frozen=True, tag="publish"):
    """Keep all devices connected and publish QoS 1 telemetry from each."""

    port: int
    devices: Devices
    window: int
    """Most messages of a connection on the way to their acknowledgement."""
    burst: int
    """A connection sends again when so many have been acknowledged, and then as many."""
    rate_per_s: float = 0.0
    """Instead of the window: send so many a second over all connections, whatever the server does."""


class HoldJob(msgspec.Struct, frozen=True, tag="hold"):
    """Keep all devices connected, each having sent `messages` messages, and do nothing."""

    port: int
    devices: Devices
    messages: int


class RequestJob(msgspec.Struct, frozen=True, tag="request"):
    """Keep all devices connected; each asks for two of its attributes, again when it has them."""

    port: int
    devices: Devices


class AnswerJob(msgspec.Struct, frozen=True, tag="answer"):
    """Keep all devices connected, and answer each call that comes."""

    port: int
    devices: Devices


class CallJob(msgspec.Struct, frozen=True, tag="call"):
    """Call the devices in turn by REST (two-way), over so many connections, one call at a time on each."""

    http_port: int
    token: str
    device_ids: tuple[str, ...]
    in_flight: int


Job: TypeAlias = ConnectJob | PublishJob | HoldJob | RequestJob | AnswerJob | CallJob


class Go(msgspec.Struct, frozen=True):
    """Start at once; count from `measure_from` to `measure_until`, in windows of `window_s`."""

    measure_from: float
    measure_until: float
    window_s: float


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    connections: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The job could not be done at all."""

    reason: str


class Window(msgspec.Struct):
    """What was counted in one window. `latencies` is a sparse histogram (see histogram.py)."""

    done: int = 0
    latencies: dict[int, int] = {}


class Result(msgspec.Struct, frozen=True, tag="result"):
    windows: list[Window]
    cpu_s: float
    """CPU seconds of this load process between `measure_from` and `measure_until`."""
    send_lag: dict[int, int]
    """How late the load source itself was, where it sends at a rate: the same kind of histogram."""
    failures: dict[str, int]
    """Connections that were refused or lost, by what was seen."""


Answer: TypeAlias = Ready | Failed | Result
