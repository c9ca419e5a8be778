from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.rate_limits import LARGEST_CAPACITY, LONGEST_S, Bandwidth, Meter, RateLimit, parse_rate_limit

bandwidths = st.builds(Bandwidth, st.integers(1, 1_000), st.integers(1, 3_600))
limits = st.builds(RateLimit, st.lists(bandwidths, min_size=1, max_size=3).map(tuple))
steps = st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 300)), max_size=60)  # ms later, how many


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("100:1", "100:1"),
        ("100:1,5000:60", "100:1,5000:60"),
        (" 100 : 1 ; 5000:60 ", "100:1,5000:60"),
        ("0100:01", "100:1"),
        (f"{LARGEST_CAPACITY}:{LONGEST_S}", f"{LARGEST_CAPACITY}:{LONGEST_S}"),
    ],
)
def test_notation_is_read(text: str, read: str) -> None:
    assert parse_rate_limit(text).text == read


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "100", "100:", ":1", "0:1", "1:0", "-1:1", "1:1.5", "1e3:1", "1:1,", "1:1,,1:2", "1:1:1"),
        *(
            f"{LARGEST_CAPACITY + 1}:1",
            f"1:{LONGEST_S + 1}",
            "1" * 5_000 + ":1",
            "\u0661:1",
            ",".join(["1:1"] * 9),
        ),
    ],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rate_limit(text)


@given(limits)
def test_text_is_read_back(limit: RateLimit) -> None:
    assert parse_rate_limit(limit.text) == limit


class Reference:
    """Token buckets as ThingsBoard describes them, in exact arithmetic: tokens that time brings back."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.tokens = [Fraction(each.capacity) for each in limit.bandwidths]

    def pass_time(self, ms: int) -> None:
        for number, each in enumerate(self.limit.bandwidths):
            refill = Fraction(ms, 1_000) * each.capacity / each.seconds
            self.tokens[number] = min(self.tokens[number] + refill, Fraction(each.capacity))

    def spare(self, count: int) -> Fraction:
        """Seconds by which there is enough (below zero: is missing), in the scarcest bucket."""
        pairs = zip(self.tokens, self.limit.bandwidths, strict=True)
        return min((tokens - count) * each.seconds / each.capacity for tokens, each in pairs)

    def spend(self, count: int) -> None:
        self.tokens = [tokens - count for tokens in self.tokens]


@given(limits, steps, st.floats(0, 1e7))
def test_meter_agrees_with_buckets_of_tokens(
    limit: RateLimit, taken: list[tuple[int, int]], start: float
) -> None:
    meter, reference = Meter(limit, start), Reference(limit)
    elapsed_ms = 0
    for later_ms, count in taken:
        elapsed_ms += later_ms
        now = start + elapsed_ms / 1_000
        reference.pass_time(later_ms)
        spare_s = reference.spare(count)
        allowed = meter.take(count, now)
        if abs(spare_s) > Fraction(1, 1_000_000):  # closer than that, floats cannot tell
            assert allowed is (spare_s > 0)
        if allowed:
            reference.spend(count)


@given(limits, steps)
def test_what_has_to_be_waited_for_is_there_then_and_not_before(
    limit: RateLimit, taken: list[tuple[int, int]]
) -> None:
    meter = Meter(limit, 0.0)
    now = 0.0
    for later_ms, count in taken:
        now += later_ms / 1_000
        wait_s = meter.wait_s(count, now)
        if count > min(each.capacity for each in limit.bandwidths):
            assert wait_s == float("inf")
        elif wait_s > 0.001:
            assert meter.wait_s(count, now + wait_s - 0.001) > 0
            assert meter.wait_s(count, now + wait_s + 0.000_001) == 0
        meter.spend(count, now)  # also into debt


def test_more_than_one_bucket_ever_holds_is_waited_for_for_ever() -> None:
    meter = Meter(parse_rate_limit("2:4,1:1"), 0.0)
    meter.spend(1, 0.0)
    assert meter.wait_s(2, 0.0) == float("inf")


def test_a_debt_is_paid_by_time_and_never_more_than_full() -> None:
    meter = Meter(parse_rate_limit("10:1"), 0.0)
    meter.spend(30, 0.0)
    assert meter.wait_s(1, 0.0) == pytest.approx(2.1)
    assert not meter.is_full(2.9)
    assert meter.is_full(3.0)
    assert meter.take(10, 1_000.0)
    assert not meter.take(1, 1_000.0)


def test_what_is_refused_takes_nothing() -> None:
    meter = Meter(parse_rate_limit("10:1,15:60"), 0.0)
    assert meter.take(10, 0.0)
    assert not any(meter.take(6, 2.0) for _ in range(100))
    assert meter.take(5, 2.0)
