"""One function a measure: puts one running server under one load, and gives the figures."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.certificates import Certificates
from benchmarks.load_messages import (
    AnswerJob,
    CallJob,
    ConnectJob,
    Devices,
    HoldJob,
    Job,
    PublishJob,
    RequestJob,
    Result,
)
from benchmarks.load_sources import LoadFailed, load_sources
from benchmarks.process_stats import cpu_seconds, resident_bytes
from benchmarks.registration import device_id
from benchmarks.servers import RunningServer
from thingpass.simulation.histogram import merged, percentile_s

_SOURCES_PER_PROCESS = 8  # 8 x 28,000 ports last for minutes at 1,000 connects a second
_PRIMING_CONNECTIONS = 20  # before memory is measured: what only the first ones cost is not a connection's
_SETTLED_WITHIN_S = 15.0
_SETTLED_CHANGE_BYTES = 256 * 1024


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a run."""

    certificates: Certificates
    duration_s: float
    warm_up_s: float
    window_s: float
    processes: int
    publishers: int
    messages_in_flight: int
    burst: int
    connects_in_flight: int
    idle_connections: int
    mixed_messages_per_s: int
    mixed_connects_per_s: int
    calls_in_flight: int
    fleet_devices: int
    fleet_messages_per_s: int


class Measurement(msgspec.Struct, frozen=True):
    """What one measurement of one server gave."""

    figures: dict[str, float]
    """By the keys of the measure's row in measures.py."""
    windows: list[dict[str, float]] = []
    """Per window of the run: how many a second, and the 99th percentile of the latency."""
    failures: dict[str, int] = {}
    """Connections that were refused or lost, by what was seen."""


def measure_connects(server: RunningServer, plan: Plan) -> Measurement:
    """Closed loop: as many connects as the server and the machine manage."""
    in_flight = max(1, plan.connects_in_flight // plan.processes)
    devices = _shared_out(plan, plan.certificates.device_count)
    jobs = [ConnectJob(server.port, share, in_flight) for share in devices]
    results, server_cpu_s = _run(jobs, server, plan)
    return _measurement(results, plan, _throughput_figures(results, plan, server_cpu_s, cpu_unit=1e-3))


def measure_messages(server: RunningServer, plan: Plan) -> Measurement:
    """Closed loop: as many messages as the server acknowledges."""
    devices = _shared_out(plan, plan.publishers)
    jobs = [PublishJob(server.port, share, plan.messages_in_flight, plan.burst) for share in devices]
    results, server_cpu_s = _run(jobs, server, plan)
    measured = _measurement(results, plan, _throughput_figures(results, plan, server_cpu_s, cpu_unit=1e-6))
    slowest = min((window["per_s"] for window in measured.windows), default=0.0)
    return msgspec.structs.replace(measured, figures=measured.figures | {"slowest_window_per_s": slowest})


def measure_idle_memory(server: RunningServer, plan: Plan) -> Measurement:
    """Resident kB a connection: all connected and idle; then again, having sent a message each before."""
    _held_bytes(server, plan, min(_PRIMING_CONNECTIONS, plan.idle_connections), messages=1)
    before = _settled_resident_bytes(server)
    fresh = _held_bytes(server, plan, plan.idle_connections, messages=0) - before
    used = _held_bytes(server, plan, plan.idle_connections, messages=1) - before
    each = plan.idle_connections * 1000
    return Measurement(
        {"idle_kb": fresh / each, "idle_after_message_kb": used / each, "before_mb": before / 1e6}
    )


def measure_mixed(server: RunningServer, plan: Plan) -> Measurement:
    """Open loop: messages at a fixed rate while other devices come, stay a second and go."""
    comers = plan.certificates.device_count - plan.publishers
    jobs: list[Job] = [
        PublishJob(
            server.port, _devices(plan, 0, plan.publishers, 0), 0, 0, float(plan.mixed_messages_per_s)
        ),
        ConnectJob(
            server.port, _devices(plan, plan.publishers, comers, 1), 0, float(plan.mixed_connects_per_s), 1.0
        ),
    ]
    results, server_cpu_s = _run(jobs, server, plan)
    published, connected = results
    latencies, connect_latencies = _latencies([published]), _latencies([connected])
    figures = {
        "p50_ms": _percentile_ms(latencies, 50),
        "p99_ms": _percentile_ms(latencies, 99),
        "p999_ms": _percentile_ms(latencies, 99.9),
        "messages_per_s": _done([published]) / plan.duration_s,
        "connects_per_s": _done([connected]) / plan.duration_s,
        "connect_p99_ms": _percentile_ms(connect_latencies, 99),
        "server_busy": server_cpu_s / plan.duration_s * 100,
        "load_lag_p99_ms": _percentile_ms(published.send_lag, 99),
    }
    measured = _measurement([published], plan, figures)
    return msgspec.structs.replace(measured, failures=_failures(results))


def measure_attribute_requests(server: RunningServer, plan: Plan) -> Measurement:
    """Closed loop: each device asks for two attributes, and again when it has them."""
    jobs = [RequestJob(server.port, share) for share in _shared_out(plan, plan.publishers)]
    results, server_cpu_s = _run(jobs, server, plan)
    return _measurement(results, plan, _throughput_figures(results, plan, server_cpu_s, cpu_unit=1e-6))


def measure_calls(server: RunningServer, plan: Plan) -> Measurement:
    """Closed loop: callers that have one two-way call under way each, devices that answer at once."""
    assert server.rest is not None, "only a server with a REST API can be measured so"
    called = [device_id(number) for number in range(plan.publishers)]
    jobs: list[Job] = [
        CallJob(server.rest.port, server.rest.token, tuple(called), plan.calls_in_flight),
        AnswerJob(server.port, _devices(plan, 0, plan.publishers, 0)),
    ]
    results, server_cpu_s = _run(jobs, server, plan)
    calls = results[:1]
    figures = _throughput_figures(calls, plan, server_cpu_s, cpu_unit=1e-6)
    return msgspec.structs.replace(_measurement(calls, plan, figures), failures=_failures(results))


def _devices(plan: Plan, first: int, count: int, process: int) -> Devices:
    """The devices of one load process, with loopback addresses that no other process uses."""
    sources = tuple(f"127.0.{process + 1}.{number + 1}" for number in range(_SOURCES_PER_PROCESS))
    return Devices(str(plan.certificates.devices_pem), first, count, sources)


def _shared_out(plan: Plan, count: int) -> list[Devices]:
    bounds = [count * process // plan.processes for process in range(plan.processes + 1)]
    return [
        _devices(plan, bounds[process], bounds[process + 1] - bounds[process], process)
        for process in range(plan.processes)
    ]


def _run(jobs: Sequence[Job], server: RunningServer, plan: Plan) -> tuple[list[Result], float]:
    """The results, and the CPU seconds of the server between the first and the last that was counted."""
    samples: list[float] = []
    with load_sources(jobs) as load:
        load.wait_until_ready()
        results = load.run(
            warm_up_s=plan.warm_up_s,
            duration_s=plan.duration_s,
            window_s=plan.window_s,
            sample=lambda: samples.append(cpu_seconds(server.pid)),
        )
    return results, samples[-1] - samples[0]


def _held_bytes(server: RunningServer, plan: Plan, connections: int, *, messages: int) -> int:
    """The server's resident bytes while so many connections are open and idle."""
    jobs = [HoldJob(server.port, share, messages) for share in _shared_out(plan, connections)]
    with load_sources(jobs) as load:
        load.wait_until_ready()
        resident = _settled_resident_bytes(server)
        lost = _failures(load.run(warm_up_s=0.0, duration_s=0.2, window_s=0.2, sample=lambda: None))
    if lost:
        raise LoadFailed(f"idle connections were lost: {lost}")
    return resident


def _settled_resident_bytes(server: RunningServer) -> int:
    """Waits until resident memory has stopped changing."""
    until = time.monotonic() + _SETTLED_WITHIN_S
    resident = resident_bytes(server.pid)
    while time.monotonic() < until:
        time.sleep(2.0)
        last, resident = resident, resident_bytes(server.pid)
        if abs(resident - last) < _SETTLED_CHANGE_BYTES:
            break
    return resident


def _throughput_figures(
    results: Sequence[Result], plan: Plan, server_cpu_s: float, *, cpu_unit: float
) -> dict[str, float]:
    done = _done(results)
    load_cpu_s = sum(result.cpu_s for result in results)
    latencies = _latencies(results)
    return {
        "per_s": done / plan.duration_s,
        "server_cpu": server_cpu_s / max(done, 1) / cpu_unit,
        "load_cpu": load_cpu_s / max(done, 1) / cpu_unit,
        "server_busy": server_cpu_s / plan.duration_s * 100,
        "load_busy": load_cpu_s / plan.duration_s * 100,
        "p50_ms": _percentile_ms(latencies, 50),
        "p99_ms": _percentile_ms(latencies, 99),
    }


def _measurement(results: Sequence[Result], plan: Plan, figures: dict[str, float]) -> Measurement:
    windows = [
        {
            "per_s": sum(window.done for window in together) / plan.window_s,
            "p99_ms": _percentile_ms(merged(window.latencies for window in together), 99),
        }
        for together in zip(*(result.windows for result in results), strict=False)
    ]
    return Measurement(figures, windows, _failures(results))


def _done(results: Sequence[Result]) -> int:
    return sum(window.done for result in results for window in result.windows)


def _latencies(results: Sequence[Result]) -> dict[int, int]:
    return merged(window.latencies for result in results for window in result.windows)


def _percentile_ms(histogram: Mapping[int, int], percent: float) -> float:
    seconds = percentile_s(histogram, percent)
    return float("nan") if seconds is None else seconds * 1000


def _failures(results: Sequence[Result]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.failures)
    return dict(total)
