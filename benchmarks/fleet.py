"""The fleet of `thingpass simulate` as a load: devices with keys of their own, their values, their pauses.

It is the command that users run, in a process of its own, and registers its devices by REST. What counts
happens when all are connected, and the server's own counters say what was done meanwhile.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import msgspec

from benchmarks.load_sources import LoadFailed
from benchmarks.measurements import Measurement, Plan
from benchmarks.process_stats import cpu_seconds
from benchmarks.servers import RunningServer

_ADDRESS = "127.0.0.1"
_ARRIVED_WITHIN_S = 30.0
_ARRIVAL_S_PER_DEVICE = 0.1  # a key, its registration by REST, a handshake: a tenth of it on a quick machine
_STOPPED_WITHIN_S = 30.0
_ASKED_EVERY_S = 0.2
_CONNECTED = "thingpass_devices_connected"
_ACKNOWLEDGED = "thingpass_publishes_acknowledged_total"


class _Problem(msgspec.Struct, frozen=True):
    reason: str
    count: int


class _Summary(msgspec.Struct, frozen=True):
    """What `thingpass simulate --json` says at its end, as far as it is asked here."""

    connects_failed: int
    lost: int
    rejected: int
    held_back: int
    latency_ms: dict[str, float | None]
    problems: tuple[_Problem, ...]


def measure_fleet(server: RunningServer, plan: Plan) -> Measurement:
    """Open loop: devices that send when their time has come, as devices do."""
    assert server.rest is not None, "only a server with a REST API can be measured so"
    with tempfile.TemporaryFile() as said, _simulator(server, plan, said) as simulator:
        _wait_until_connected(server, plan.fleet_devices, simulator, said)
        time.sleep(plan.warm_up_s)
        began, before, server_before_s = (
            time.monotonic(),
            _counter(server, _ACKNOWLEDGED),
            cpu_seconds(server.pid),
        )
        load_before_s = cpu_seconds(simulator.pid)
        time.sleep(plan.duration_s)
        took_s, done = time.monotonic() - began, _counter(server, _ACKNOWLEDGED) - before
        server_cpu_s = cpu_seconds(server.pid) - server_before_s
        load_cpu_s = cpu_seconds(simulator.pid) - load_before_s
        summary = _end(simulator, said)
    each = 1e6 / max(done, 1)
    figures = {
        "per_s": done / took_s,
        "server_cpu": server_cpu_s * each,
        "load_cpu": load_cpu_s * each,
        "server_busy": server_cpu_s / took_s * 100,
        "p50_ms": _milliseconds(summary, "p50"),
        "p99_ms": _milliseconds(summary, "p99"),
    }
    return Measurement(figures, failures=_failures(summary))


@contextmanager
def _simulator(server: RunningServer, plan: Plan, said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    assert server.rest is not None
    directory = plan.certificates.devices_pem.parent
    command = [sys.executable, "-m", "thingpass", "simulate", "--x509", "--json"]
    command += ["--to", f"mqtts://{_ADDRESS}:{server.port}", "--ca", str(plan.certificates.authority_pem)]
    command += ["--devices", str(plan.fleet_devices), "--rate", str(plan.fleet_messages_per_s)]
    command += ["--processes", str(min(plan.processes, plan.fleet_devices))]
    environment = {
        "THINGPASS_URL": f"http://{_ADDRESS}:{server.rest.port}",
        "THINGPASS_TOKEN": server.rest.token,
        "XDG_CACHE_HOME": str(
            directory / "fleet"
        ),  # the keys: made in the first round, and gone with the run
    }
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=said,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _wait_until_connected(
    server: RunningServer, devices: int, simulator: subprocess.Popen[bytes], said: IO[bytes]
) -> None:
    until = time.monotonic() + _ARRIVED_WITHIN_S + devices * _ARRIVAL_S_PER_DEVICE
    while (connected := _counter(server, _CONNECTED)) < devices:
        if simulator.poll() is not None or time.monotonic() > until:
            raise LoadFailed(f"{connected:.0f} of {devices} simulated devices connected: {_end_of(said)}")
        time.sleep(_ASKED_EVERY_S)


def _end(simulator: subprocess.Popen[bytes], said: IO[bytes]) -> _Summary:
    simulator.send_signal(signal.SIGTERM)
    try:
        printed, _ = simulator.communicate(timeout=_STOPPED_WITHIN_S)
        return msgspec.json.decode(printed, type=_Summary)
    except (subprocess.TimeoutExpired, msgspec.DecodeError) as error:
        raise LoadFailed(f"the simulated fleet gave no summary: {_end_of(said)}") from error


def _end_of(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read()[-2000:].decode(errors="replace").strip() or "it said nothing"


def _counter(server: RunningServer, name: str) -> float:
    """One of the server's metrics that has no labels."""
    assert server.rest is not None
    connection = http.client.HTTPConnection(_ADDRESS, server.rest.port, timeout=_ARRIVED_WITHIN_S)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    for line in text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise LoadFailed(f"the server has no metric {name}")


def _milliseconds(summary: _Summary, percentile: str) -> float:
    found = summary.latency_ms.get(percentile)
    return float("nan") if found is None else found


def _failures(summary: _Summary) -> dict[str, int]:
    counts = {
        "connects failed": summary.connects_failed,
        "connections lost": summary.lost,
        "messages refused": summary.rejected,
        "messages held back": summary.held_back,
        **{problem.reason: problem.count for problem in summary.problems},
    }
    return {reason: count for reason, count in counts.items() if count}
