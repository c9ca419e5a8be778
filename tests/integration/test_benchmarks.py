"""The benchmark runs: its packets are MQTT, its counting is right, and its load reaches both servers."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load_counting import Tally
from benchmarks.load_messages import Go
from benchmarks.measures import MEASURES
from benchmarks.mqtt_packets import TelemetryPacket, connect_packet
from thingpass.mqtt.events import ConnectReceived, MessagePublished
from thingpass.mqtt.session import Limits, Session
from thingpass.servers.device_payloads import parse_telemetry
from thingpass.simulation.histogram import bucket_of, merged, percentile_s, upper_bound_s

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs Linux (epoll, /proc)")

TINY = {
    "rounds": 1,
    "duration": 1,
    "warm-up": 0.3,
    "window": 0.5,
    "connections": 10,
    "idle": 20,
    "devices": 40,
    "rate": 100,
    "arrivals": 10,
    "connecting": 4,
    "calling": 4,
    "fleet": 10,
    "fleet-rate": 50,
}


class TestPackets:
    def test_packets_of_the_load_source_are_what_the_server_reads(self) -> None:
        session = Session(Limits(), 0.0)
        (connected,) = session.receive(connect_packet("bench-000001"), 0.0)
        assert isinstance(connected, ConnectReceived)
        assert connected.connect.client_id == "bench-000001"
        session.accept(0.0)

        packet = TelemetryPacket()
        message = bytearray(packet.template)
        message[packet.packet_id_at] = (4711).to_bytes(2, "big")
        message[packet.ts_at] = b"1700000000123"
        (published,) = session.receive(bytes(message), 0.0)
        assert isinstance(published, MessagePublished)
        assert (published.topic, published.qos, published.packet_id) == ("v1/devices/me/telemetry", 1, 4711)
        (sample,) = parse_telemetry(published.payload, 0)
        assert sample.ts_ms == 1_700_000_000_123
        assert sample.values == {"temperature": 21.53, "humidity": 55.2, "pressure": 1013.25}


class TestHistogram:
    @given(st.floats(min_value=0, max_value=3_600))
    def test_bucket_holds_its_latency_with_at_most_four_percent_too_much(self, seconds: float) -> None:
        bound = upper_bound_s(bucket_of(seconds))
        assert seconds < bound <= seconds * 1.04 + 2e-6

    @given(st.lists(st.floats(min_value=1e-5, max_value=10), min_size=1, max_size=50))
    def test_percentile_is_not_below_the_true_one(self, latencies: list[float]) -> None:
        histogram = merged({bucket_of(latency): 1} for latency in latencies)
        for percent in (50, 99):
            true = sorted(latencies)[math.ceil(len(latencies) * percent / 100) - 1]
            found = percentile_s(histogram, percent)
            assert found is not None
            assert true < found <= true * 1.04 + 2e-6

    def test_nothing_counted_has_no_percentile(self) -> None:
        assert percentile_s({}, 99) is None


class TestTally:
    def test_only_what_is_done_between_the_two_times_counts(self) -> None:
        tally = Tally(Go(measure_from=10.0, measure_until=14.0, window_s=2.0))
        for now, count in ((9.9, 1), (10.0, 2), (11.9, 4), (12.0, 8), (13.9, 16), (14.0, 32), (15.0, 64)):
            tally.done(now, 0.001, count)
        assert [window.done for window in tally.result().windows] == [6, 24]


@pytest.mark.timeout(300)  # starts a server for every measure, and other tests may run beside it
class TestRun:
    def test_every_measure_runs_against_thingpass(self, tmp_path: Path) -> None:
        everything = tuple(measure.key for measure in MEASURES)
        assert_complete(run_benchmark(tmp_path, "thingpass", everything), everything)

    @pytest.mark.needs("mosquitto")
    def test_mosquitto_takes_the_same_load(self, tmp_path: Path) -> None:
        throughput = ("connects", "messages")
        assert_complete(run_benchmark(tmp_path, "mosquitto", throughput), throughput)


def run_benchmark(directory: Path, server: str, measures: tuple[str, ...]) -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    outcome = directory / "outcome.json"
    sizes = [word for name, value in TINY.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "benchmarks", "--servers", server, "--only", ",".join(measures), *sizes]
    command += ["--json", str(outcome), "--data-dir", str(directory)]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return dict(json.loads(outcome.read_bytes()))


def assert_complete(outcome: dict[str, Any], measures: tuple[str, ...]) -> None:
    """Every figure of the measures is there and nothing failed; how large they are is not asked."""
    measured = {each["measure"]: each["measurement"] for each in outcome["rounds"]}
    assert tuple(measured) == measures
    for measure in (measure for measure in MEASURES if measure.key in measures):
        measurement = measured[measure.key]
        assert measurement["failures"] == {}, measure.key
        assert {figure.key for figure in measure.figures} <= set(measurement["figures"]), measure.key
    assert measured["connects"]["figures"]["per_s"] > 0
    for key in {"messages", "fleet"} & measured.keys():
        assert measured[key]["figures"]["per_s"] > 0
