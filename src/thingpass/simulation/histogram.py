"""Latencies as counts per bucket: small to send between processes, and to merge.

A bucket is a 32nd of a power of two of microseconds, so a percentile read from it is at most 4 % too high,
never too low, at any scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_STEP_BITS = 5
_STEPS = 1 << _STEP_BITS


def bucket_of(seconds: float) -> int:
    microseconds = int(seconds * 1e6)
    if microseconds < _STEPS:
        return max(microseconds, 0)
    exponent = microseconds.bit_length() - _STEP_BITS - 1
    return (exponent << _STEP_BITS) + (microseconds >> exponent)


def upper_bound_s(bucket: int) -> float:
    """The least latency, in seconds, that is too large for the bucket."""
    if bucket < _STEPS:
        return (bucket + 1) / 1e6
    exponent = (bucket >> _STEP_BITS) - 1
    return float((bucket % _STEPS + _STEPS + 1) << exponent) / 1e6


def merged(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for histogram in histograms:
        for bucket, count in histogram.items():
            total[bucket] = total.get(bucket, 0) + count
    return total


def percentile_s(histogram: Mapping[int, int], percent: float) -> float | None:
    """The latency, in seconds, that `percent` of all stayed under; None when nothing was counted."""
    wanted = sum(histogram.values()) * percent / 100
    reached = 0
    for bucket in sorted(histogram):
        reached += histogram[bucket]
        if reached >= wanted:
            return upper_bound_s(bucket)
    return None
