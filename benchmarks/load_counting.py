"""What a load process counts while it runs: windows of done things with their latencies."""

from __future__ import annotations

import time
from collections import Counter

from benchmarks.load_messages import Go, Result, Window
from thingpass.simulation.histogram import bucket_of


class Tally:
    """Counts between `measure_from` and `measure_until`; what is done before or after is left out."""

    def __init__(self, go: Go) -> None:
        self._from = go.measure_from
        self._until = go.measure_until
        self._window_s = go.window_s
        self._windows: list[Window] = []
        self._current = Window(latencies={})
        self._next_window_at = go.measure_from
        self._cpu_at_start: float | None = None
        self._send_lag: dict[int, int] = {}
        self.failures: Counter[str] = Counter()

    def done(self, now: float, latency_s: float, count: int = 1) -> None:
        """`count` things were done at `now` (CLOCK_MONOTONIC), each `latency_s` after it was begun."""
        if now >= self._next_window_at:
            self._turn_window(now)
        window = self._current
        window.done += count
        bucket = bucket_of(latency_s)
        latencies = window.latencies
        latencies[bucket] = latencies.get(bucket, 0) + count

    def lagged(self, now: float, lag_s: float) -> None:
        if self._from <= now < self._until:
            bucket = bucket_of(lag_s)
            self._send_lag[bucket] = self._send_lag.get(bucket, 0) + 1

    def result(self) -> Result:
        self._turn_window(time.monotonic())
        return Result(
            windows=self._windows,
            cpu_s=time.process_time() - (self._cpu_at_start or 0.0),
            send_lag=self._send_lag,
            failures=dict(self.failures),
        )

    def _turn_window(self, now: float) -> None:
        if self._cpu_at_start is None and now >= self._from:
            self._cpu_at_start = time.process_time()
        while now >= self._next_window_at and self._next_window_at < self._until:
            self._current = Window(latencies={})
            self._windows.append(self._current)
            self._next_window_at += self._window_s
        if now >= self._until:
            self._current = Window(latencies={})  # not among the result's
